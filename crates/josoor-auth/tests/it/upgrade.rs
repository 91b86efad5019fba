//! From the version before to this one: its databases are kept as they were dumped, and its nodes run beside those of this one.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use josoor_auth::config::Config;
use josoor_auth::store::Db;
use reqwest::Method;
use serde_json::{Value, json};

use crate::search::encoded;
use crate::support::acceptance::{record, seed, size};
use crate::support::command::{Serving, run, run_previous, spawn};
use crate::support::database::{execute, execute_script, number, texts};
use crate::support::server::{Footprint, PASSWORD, Server, Stage, Tokens, eventually, http_client, on_both};

const MASTER_KEY: &str = "Zr1wJ5mVt9xYc3Qh7Ls0Nd8Fk2Bg6Pa4Ue1Xi5To9Rw=";
const NEW_PASSWORD: &str = "A newer passphrase";

/// What the dumps were made with: their sessions and their audit rows are to last.
fn prepare(stage: &mut Stage) {
    for (variable, value) in [
        ("MASTER_KEY", MASTER_KEY),
        ("JOSOOR_AUTH__SESSION__IDLE", "3650d"),
        ("JOSOOR_AUTH__SESSION__ABSOLUTE", "3650d"),
        ("JOSOOR_AUTH__AUDIT__RETENTION", "3650d"),
    ] {
        stage.set(variable, value);
    }
}

fn fixture(stage: &Stage, extension: &str) -> PathBuf {
    let engine = match stage.footprint {
        Footprint::Embedded => "sqlite",
        Footprint::Production => "postgres",
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/29a875a");
    PathBuf::from(folder).join(format!("{engine}.{extension}"))
}

/// The tests' own connection, which waits for as long as a statement takes.
async fn open(stage: &Stage) -> Db {
    let config = Config::parse(None, stage.environment());
    let mut database = config.unwrap_or_else(|error| panic!("{error}")).database;
    database.max_connections = 1;
    let db = Db::open(&database).await.expect("it opens");
    if matches!(db, Db::Postgres(_)) {
        execute(&db, "set statement_timeout = 0").await;
    }
    db
}

/// Fills the stage's database with the dump of the version before. What was true when it was made.
async fn restore(stage: &mut Stage) -> Value {
    prepare(stage);
    let dump = std::fs::read_to_string(fixture(stage, "sql")).expect("a dump");
    let db = open(stage).await;
    execute_script(&db, &dump).await;
    db.close().await;
    let facts = std::fs::read_to_string(fixture(stage, "json")).expect("facts");
    serde_json::from_str(&facts).expect("JSON")
}

/// Tables whose rows an upgrade keeps.
const TABLES: [&str; 7] = [
    "users",
    "sessions",
    "one_time_tokens",
    "outbox",
    "keys",
    "changes",
    "registrations",
];

async fn counts(db: &Db) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in TABLES {
        counts.push(number(db, &format!("select count(*) from {table}")).await);
    }
    counts
}

/// Writes the dumps again, with the program of the version before: `cargo test --test it write_the_dumps -- --ignored`.
mod write_the_dumps_of_the_version_before {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "writes files into the repository"]
    async fn embedded() {
        write(Stage::new(Footprint::Embedded)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "writes files into the repository"]
    async fn production() {
        write(Stage::new(Footprint::Production)).await;
    }

    async fn write(mut stage: Stage) {
        prepare(&mut stage);
        let previous = Serving::start_previous(&stage);
        let http = http_client();
        let post = async |path: &str, token: Option<&str>, body: Value| {
            let mut request = http.post(previous.url(path)).json(&body);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = request.send().await.expect("an answer");
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            answer.json::<Value>().await.expect("JSON")
        };
        let text = |body: &Value, member: &str| body[member].as_str().expect("a text").to_owned();
        let credentials = |name: &str| json!({ "email": format!("{name}@example.com"), "password": PASSWORD, "locale": "ar" });
        let sign_in = |name: &str| json!({ "email": format!("{name}@example.com"), "password": PASSWORD });
        let arguments = [
            "user",
            "create",
            "admin@example.com",
            "--role",
            "admin",
            "--password-stdin",
        ];
        run_previous(&stage, &arguments, PASSWORD.as_bytes()).with(0);
        let admin = text(&post("/auth/login", None, sign_in("admin")).await, "access_token");
        // A user with a rotated session, one that was signed out, and one in use.
        let ada = post("/auth/register", None, credentials("Ada")).await;
        let rotated = json!({ "refresh_token": ada["refresh_token"] });
        let current = post("/auth/refresh", None, rotated).await;
        let ended = post("/auth/login", None, sign_in("ada")).await;
        post(
            "/auth/logout",
            None,
            json!({ "refresh_token": ended["refresh_token"] }),
        )
        .await;
        let inactive = post("/auth/register", None, credentials("inactive")).await;
        let id = &inactive["user"]["id"];
        let patch = http.patch(previous.url(&format!("/admin/users/{id}")));
        let patch = patch.bearer_auth(&admin).json(&json!({ "is_active": false }));
        assert!(patch.send().await.expect("an answer").status().is_success());
        post(
            "/auth/password/forgot",
            None,
            json!({ "email": "ada@example.com" }),
        )
        .await;
        for name in ["invited", "accepted"] {
            let body = json!({ "email": format!("{name}@example.com"), "full_name": "Somebody Invited" });
            post("/admin/users", Some(&admin), body).await;
        }
        let link = run_previous(&stage, &["user", "reset-link", "accepted@example.com"], b"")
            .with(0)
            .out;
        let token = link.trim().rsplit('=').next().expect("a token").to_owned();
        post(
            "/auth/password/reset",
            None,
            json!({ "token": token, "new_password": PASSWORD }),
        )
        .await;
        // The last id was given once, and must not be given again.
        let gone = post("/auth/register", None, credentials("gone")).await;
        let gone = gone["user"]["id"].as_i64().expect("an id");
        run_previous(&stage, &["user", "delete", "--yes", "gone@example.com"], b"").with(0);
        let db = open(&stage).await;
        eventually("the mails are sent and the rows are sealed", || async {
            number(
                &db,
                "select count(*) from outbox where sent_at is null and dropped_at is null",
            )
            .await
                == 0
                && number(&db, "select count(*) from audit where seq is null").await == 0
        })
        .await;
        drop(previous);
        let facts = json!({
            "refresh_token": text(&current, "refresh_token"),
            "ended_token": text(&ended, "refresh_token"),
            "last_id": gone,
            "counts": counts(&db).await,
            "audit": number(&db, "select count(*) from audit").await,
        });
        db.close().await;
        let url = &stage.environment()["DATABASE_URL"];
        let output = match stage.footprint {
            Footprint::Embedded => Command::new("sqlite3")
                .arg(url.trim_start_matches("sqlite://"))
                .arg(".dump")
                .output(),
            Footprint::Production => Command::new("pg_dump")
                .args(["--inserts", "--no-owner", "--no-privileges", url])
                .output(),
        };
        let output = output.expect("the program that dumps is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // Newer releases of pg_dump write commands of psql's around the statements.
        let dump: String = String::from_utf8(output.stdout)
            .expect("text")
            .lines()
            .filter(|line| !line.starts_with('\\'))
            .flat_map(|line| [line, "\n"])
            .collect();
        let path = fixture(&stage, "sql");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, dump).expect("written");
        let facts = serde_json::to_string_pretty(&facts).expect("JSON");
        std::fs::write(fixture(&stage, "json"), facts + "\n").expect("written");
    }
}

on_both!(
    a_database_of_the_version_before_is_upgraded_whole,
    async |mut stage: Stage| {
        let facts = restore(&mut stage).await;
        run(&stage, &["migrate"]).with(0);
        let db = open(&stage).await;
        assert_eq!(json!(counts(&db).await), facts["counts"]);
        assert_eq!(
            json!(number(&db, "select count(*) from audit").await),
            facts["audit"]
        );
        assert_eq!(
            number(&db, "select count(*) from users where uid is null").await,
            0
        );
        assert_eq!(
            number(&db, "select count(distinct uid) from users").await,
            number(&db, "select count(*) from users").await
        );
        let invited = "select email from users where invited_at is not null and accepted_at is null";
        assert_eq!(texts(&db, invited).await, ["invited@example.com"]);
        let accepted = "select email from users where accepted_at >= invited_at";
        assert_eq!(texts(&db, accepted).await, ["accepted@example.com"]);
        assert_eq!(texts(&db, "select distinct kind from users").await, ["person"]);
        // From the next release on: any number of users without an address, and any language.
        for name in ["one", "two"] {
            let sql = format!(
                "insert into users (full_name, search_text, role, is_active, locale, version, created_at, updated_at, kind)
                 select '{name}', '{name}', 'user', true, 'pt-BR', 1, created_at, updated_at, 'guest' from users
                 where email = 'Ada@example.com'"
            );
            assert_eq!(execute(&db, &sql).await, 1);
        }
        assert_eq!(execute(&db, "delete from users where email is null").await, 2);
        db.close().await;

        let server = stage.start().await;
        let post = async |path: &str, body: Value| server.post(path, &body).await;
        let sign_in = |name: &str, password: &str| json!({ "email": format!("{name}@example.com"), "password": password });
        // Signing in, and going on with a session.
        let ada = post("/auth/login", sign_in("ADA", PASSWORD)).await.is(200);
        assert_eq!(ada.json["user"]["locale"], "ar");
        post("/auth/login", sign_in("ada", "wrong password"))
            .await
            .is_problem(401, "invalid_credentials");
        post("/auth/login", sign_in("inactive", PASSWORD))
            .await
            .is_problem(403, "account_inactive");
        post("/auth/login", sign_in("accepted", PASSWORD)).await.is(200);
        post("/auth/login", sign_in("invited", PASSWORD))
            .await
            .is_problem(401, "invalid_credentials");
        let old = facts["refresh_token"].as_str().expect("a token");
        let renewed = Tokens::of(&server.refresh(old).await.is(200));
        server.get("/auth/me", &renewed.access).await.is(200);
        let ended = facts["ended_token"].as_str().expect("a token");
        server.refresh(ended).await.is_problem(401, "session_revoked");
        // The invitation, counted and accepted.
        let admin = Tokens::of(&post("/auth/login", sign_in("admin", PASSWORD)).await.is(200));
        let invited =
            async || server.get("/admin/stats", &admin.access).await.is(200).json["users"]["invited"].clone();
        assert_eq!(invited().await, 1);
        let link = run(&stage, &["user", "reset-link", "invited@example.com"])
            .with(0)
            .out;
        let token = link.trim().rsplit('=').next().expect("a token");
        post(
            "/auth/password/reset",
            json!({ "token": token, "new_password": NEW_PASSWORD }),
        )
        .await
        .is(200);
        post("/auth/login", sign_in("invited", NEW_PASSWORD))
            .await
            .is(200);
        let left = "select count(*) from users where invited_at is not null and accepted_at is null";
        assert_eq!(number(&server.app.db, left).await, 0);
        // The search, the ids and what belongs to a user.
        let found = server
            .get("/admin/users?q=ada%40exam", &admin.access)
            .await
            .is(200);
        assert_eq!(found.json["total"], 1);
        eventually("all search texts are folded", || async {
            let unfolded = "select count(*) from users where search_text not like '%\u{1}'";
            number(&server.app.db, unfolded).await == 0
        })
        .await;
        let new = server.register("new@example.com").await;
        assert!(new.user_id > facts["last_id"].as_i64().expect("an id"));
        run(&stage, &["user", "delete", "--yes", "ada@example.com", "--now"]).with(0);
        let orphans = "select count(*) from sessions where user_id not in (select id from users)";
        assert_eq!(number(&server.app.db, orphans).await, 0);
        run(&stage, &["audit", "verify"]).with(0);
        server.stop().await;
    }
);

/// Adds users that the version before could have written, a tenth of them invited and a tenth accepted.
async fn add_users(db: &Db, count: usize) {
    let (numbers, now, at) = match db {
        Db::Postgres(_) => (
            format!("select n from generate_series(1, {count}) as n"),
            "now()",
            "now() - interval '1 day'",
        ),
        Db::Sqlite { .. } => (
            format!(
                "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {count}) select n from numbers"
            ),
            "1795352400000000",
            "1795266000000000",
        ),
    };
    let hash = "'$2b$12$abcdefghijklmnopqrstuuKkVq8bWn1x0h2i3j4k5l6m7n8o9p0q1'";
    execute_script(
        db,
        &format!(
            "insert into users (email, email_key, password_hash, full_name, search_text, role, is_active, locale, version,
                created_at, updated_at, password_changed_at)
             select 'user' || n || '@example.org', 'user' || n || '@example.org', case when n % 10 > 0 then {hash} end,
                'User ' || n, 'user' || n || '@example.org' || char_10 || 'user ' || n, 'user', true, 'en', 1, {at}, {at},
                case when n % 10 > 0 then {at} end
             from ({numbers}) as numbers, (select '{newline}' as char_10) as newline;
             insert into audit (at, action, outcome, subject_id)
             select {at}, 'user_invite', 'success', id from users where id % 10 = 1 and password_hash is not null
                and email like 'user%';
             insert into audit (at, action, outcome, subject_id)
             select {now}, 'password_reset', 'success', id from users where id % 10 = 1 and password_hash is not null
                and email like 'user%';",
            newline = '\n'
        ),
    )
    .await;
}

/// That every fact of [`add_users`]' is there.
async fn is_migrated(stage: &Stage, count: usize) {
    let db = open(stage).await;
    assert_eq!(db.pending_migrations().await.expect("an answer"), 0);
    let all = number(
        &db,
        "select count(*) from users where email like 'user%@example.org'",
    )
    .await;
    assert_eq!(all, i64::try_from(count).expect("a number"));
    for (wrong, sql) in [
        ("lack a uid", "uid is null"),
        (
            "are no invitation",
            "password_hash is null and (invited_at is null or accepted_at is not null)",
        ),
        (
            "have accepted nothing",
            "accepted_at is not null and id not in (select subject_id from audit where action = 'user_invite' and subject_id is not null)",
        ),
        (
            "have not accepted",
            "accepted_at is null and password_hash is not null
                and id in (select subject_id from audit where action = 'user_invite')",
        ),
    ] {
        let sql = format!("select count(*) from users where email like 'user%' and {sql}");
        assert_eq!(number(&db, &sql).await, 0, "some {wrong}");
    }
    assert_eq!(
        number(&db, "select passes from guards where name = 'backfill-users'").await,
        -1
    );
    db.close().await;
}

on_both!(
    acceptance_data_many_users_are_migrated,
    async |mut stage: Stage| {
        restore(&mut stage).await;
        let count = size(5_000, 1_000_000);
        let db = open(&stage).await;
        add_users(&db, count).await;
        // What a node of the version before would write meanwhile.
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let writer = db.clone();
        let waits = tokio::spawn(async move {
            let (mut longest, mut stopped) = (Duration::ZERO, stopped);
            // Another program's write waits as long as SQLite's whole transaction.
            while matches!(writer, Db::Postgres(_)) && stopped.try_recv().is_err() {
                let begun = Instant::now();
                execute(
                    &writer,
                    "update users set last_login_at = now() where email = 'user1@example.org'",
                )
                .await;
                longest = longest.max(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            longest
        });
        let begun = Instant::now();
        let migrating = tokio::task::block_in_place(|| run(&stage, &["migrate"]));
        let took = begun.elapsed();
        migrating.with(0);
        let _ = stop.send(());
        let longest = waits.await.expect("it wrote");
        db.close().await;
        is_migrated(&stage, count).await;
        let locks = match stage.footprint {
            Footprint::Embedded => "all in one transaction".to_owned(),
            // Less than the 5 s after which a statement of the version before gives up.
            Footprint::Production => {
                assert!(longest < Duration::from_secs(4), "{longest:?}");
                format!(
                    "a write of another node waited {:.2} s at most",
                    longest.as_secs_f64()
                )
            }
        };
        record(
            "acceptance_data_many_users_are_migrated",
            &format!(
                "{:?}: {count} users in {:.1} s; {locks}",
                stage.footprint,
                took.as_secs_f64()
            ),
        );
    }
);

on_both!(
    acceptance_data_a_killed_migration_goes_on,
    async |mut stage: Stage| {
        restore(&mut stage).await;
        let count = size(5_000, 1_000_000);
        let db = open(&stage).await;
        add_users(&db, count).await;
        db.close().await;
        let kills = size(8, 12);
        // How long it takes when it is left alone, on a database of this size, is not known: each life is a little longer.
        let mut life = Duration::from_millis(60 + seed() % 40);
        let mut killed = 0;
        for _ in 0..kills {
            let mut child = spawn(&stage, &["migrate"]);
            tokio::time::sleep(life).await;
            if child.try_wait().expect("a status").is_none() {
                killed += 1;
            }
            let _ = child.kill();
            let _ = child.wait();
            life = life.mul_f64(if size(0, 1) == 1 { 1.8 } else { 1.3 });
        }
        assert!(killed > 0, "it was never killed");
        tokio::task::block_in_place(|| run(&stage, &["migrate"])).with(0);
        is_migrated(&stage, count).await;
        record(
            "acceptance_data_a_killed_migration_goes_on",
            &format!("{:?}: {count} users, killed {killed} times", stage.footprint),
        );
    }
);

/// What a node of the version before writes is complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invitations_of_a_node_of_the_version_before_are_marked() {
    let stage = Stage::new(Footprint::Production);
    let previous = Serving::start_previous(&stage);
    let server = stage.start().await;
    let admin = server.register_admin("admin@example.com").await;
    let there = async |path: &str, body: Value| {
        let request = http_client().post(previous.url(path)).json(&body);
        server.send(request.bearer_auth(&admin.access)).await
    };
    let facts = async |email: &str| {
        let sql = format!(
            "select concat(invited_at is not null, ' ', accepted_at is not null, ' ', uid is not null, ' ', kind)
             from users where email = '{email}'"
        );
        texts(&server.app.db, &sql).await.remove(0)
    };
    there("/admin/users", json!({ "email": "invited@example.com" }))
        .await
        .is(201);
    assert_eq!(facts("invited@example.com").await, "t f t person");
    let body = json!({ "email": "registered@example.com", "password": PASSWORD });
    there("/auth/register", body).await.is(201);
    assert_eq!(facts("registered@example.com").await, "f f t person");
    let stats = server.get("/admin/stats", &admin.access).await.is(200);
    assert_eq!(stats.json["users"]["invited"], 1);
    let link = run(&stage, &["user", "reset-link", "invited@example.com"])
        .with(0)
        .out;
    let token = link.trim().rsplit('=').next().expect("a token").to_owned();
    there(
        "/auth/password/reset",
        json!({ "token": token, "new_password": NEW_PASSWORD }),
    )
    .await
    .is(200);
    assert_eq!(facts("invited@example.com").await, "t t t person");
    server.stop().await;
}

/// Each finds what the other one writes: the release before as it always did, this one as people type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d10_a_node_of_the_version_before_and_this_one_find_each_others_users() {
    let stage = Stage::new(Footprint::Production);
    let previous = Serving::start_previous(&stage);
    let server = stage.start().await;
    let admin = server.register_admin("admin@example.com").await;
    let at = |base: &str, path: &str| format!("{}{path}", base.trim_end_matches('/'));
    let (before, now) = (previous.url(""), server.url(""));
    let send = async |method: Method, url: String, body: Value| {
        let request = http_client().request(method, url).json(&body);
        server.send(request.bearer_auth(&admin.access)).await
    };
    let invite = async |base: &str, email: &str, name: &str| {
        let body = json!({ "email": email, "full_name": name });
        let made = send(Method::POST, at(base, "/admin/users"), body).await.is(201);
        made.json["id"].as_i64().expect("an id")
    };
    let finds = async |base: &str, typed: &str, email: &str| {
        let url = at(base, &format!("/admin/users?q={}", encoded(typed)));
        let request = http_client().get(url).bearer_auth(&admin.access);
        let items = server.send(request).await.is(200).json["items"].clone();
        items
            .as_array()
            .expect("a list")
            .iter()
            .any(|user| user["email"] == email)
    };
    let old = invite(&before, "old@example.com", "إبراهيم Müller").await;
    invite(&now, "new@example.com", "أحمد Straße").await;
    eventually("what the node before has written is folded", || async {
        finds(&now, "ابراهيم muller", "old@example.com").await
    })
    .await;
    for (typed, email) in [
        ("إبراهيم", "old@example.com"),
        ("MÜLLER", "old@example.com"),
        ("أحمد", "new@example.com"),
        ("straße", "new@example.com"),
    ] {
        assert!(finds(&before, typed, email).await, "{typed}");
    }
    // What was folded is changed by a node that knows nothing of it.
    let url = at(&before, &format!("/admin/users/{old}"));
    send(Method::PATCH, url, json!({ "full_name": "Ödön" }))
        .await
        .is(200);
    eventually("the change is folded", || async {
        finds(&now, "odon", "old@example.com").await
    })
    .await;
    assert!(!finds(&now, "muller", "old@example.com").await);
    assert!(finds(&before, "ödön", "old@example.com").await);
    server.stop().await;
}

/// What one client of a rolling upgrade has seen.
#[derive(Default)]
struct Seen {
    requests: u64,
    /// Seconds after the beginning, of each 503.
    unavailable: Vec<f64>,
    wrong: Vec<String>,
}

/// One client: signs in, refreshes and asks who it is, at each of the nodes in turn, until there are none.
async fn ride(nodes: tokio::sync::watch::Receiver<Vec<String>>, number: usize, begun: Instant) -> Seen {
    let http = http_client();
    let mut seen = Seen::default();
    let email = format!("client{number}@example.com");
    let mut tokens: Option<Value> = None;
    let mut step = number;
    loop {
        step += 1;
        let nodes = nodes.borrow().clone();
        let Some(node) = nodes.get(step % nodes.len().max(1)) else {
            return seen;
        };
        let request = match (&tokens, step % 7) {
            (None, _) => http
                .post(format!("{node}/auth/login"))
                .json(&json!({ "email": email, "password": PASSWORD })),
            (Some(held), 0) => http
                .post(format!("{node}/auth/refresh"))
                .json(&json!({ "refresh_token": held["refresh_token"] })),
            (Some(held), 1..) => http
                .get(format!("{node}/auth/me"))
                .bearer_auth(held["access_token"].as_str().unwrap_or_default()),
        };
        seen.requests += 1;
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                seen.wrong.push(error.to_string());
                continue;
            }
        };
        match answer.status().as_u16() {
            200 => {
                let is_new = tokens.is_none() || step.is_multiple_of(7);
                let body: Value = answer.json().await.unwrap_or_default();
                if is_new {
                    tokens = Some(body);
                }
            }
            503 => seen.unavailable.push(begun.elapsed().as_secs_f64()),
            status => {
                let body = answer.text().await.unwrap_or_default();
                seen.wrong.push(format!("{status}: {body}"));
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A node of each version on one PostgreSQL and Redis, under load, from before the migration until after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acceptance_data_a_rolling_upgrade_signs_no_client_out() {
    let mut stage = Stage::new(Footprint::Production);
    restore(&mut stage).await;
    let db = open(&stage).await;
    add_users(&db, size(5_000, 1_000_000)).await;
    db.close().await;
    let previous = Serving::start_previous(&stage);
    let clients = 12;
    for number in 0..clients {
        let body = json!({ "email": format!("client{number}@example.com"), "password": PASSWORD });
        let request = http_client().post(previous.url("/auth/register")).json(&body);
        assert_eq!(request.send().await.expect("an answer").status(), 201);
    }
    let begun = Instant::now();
    let (nodes, watched) = tokio::sync::watch::channel(vec![previous.url("")]);
    let mut riders = Vec::new();
    for number in 0..clients {
        riders.push(tokio::spawn(ride(watched.clone(), number, begun)));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = begun.elapsed().as_secs_f64();
    let server = stage.start().await;
    let ready = begun.elapsed().as_secs_f64();
    nodes.send_replace(vec![previous.url(""), server.url("")]);
    tokio::time::sleep(Duration::from_secs(size(3, 30) as u64)).await;
    nodes.send_replace(Vec::new());
    let mut seen = Seen::default();
    for rider in riders {
        let one = rider.await.expect("a client");
        seen.requests += one.requests;
        seen.unavailable.extend(one.unavailable);
        seen.wrong.extend(one.wrong);
    }
    assert_eq!(seen.wrong, [""; 0]);
    // In the first second of the migration, or of the new node.
    let is_early =
        |at: &f64| (started..started + 1.0).contains(at) || (ready - 0.2..ready + 1.0).contains(at);
    assert!(
        seen.unavailable.iter().all(is_early),
        "{started} {ready} {:?}",
        seen.unavailable
    );
    revocations_hold_on_the_other(&server, &previous).await;
    record(
        "acceptance_data_a_rolling_upgrade_signs_no_client_out",
        &format!(
            "{} requests at both nodes, {} answered 503; the new one was ready after {:.1} s",
            seen.requests,
            seen.unavailable.len(),
            ready - started
        ),
    );
    server.stop().await;
}

async fn revocations_hold_on_the_other(server: &Server, previous: &Serving) {
    let http = http_client();
    let sign_in = json!({ "email": "client0@example.com", "password": PASSWORD });
    for ended_here in [true, false] {
        let tokens = Tokens::of(&server.post("/auth/login", &sign_in).await.is(200));
        let (one, other) = (server.url(""), previous.url(""));
        let (one, other) = if ended_here { (one, other) } else { (other, one) };
        for node in [&one, &other] {
            let request = http.get(format!("{node}/auth/me")).bearer_auth(&tokens.access);
            server.send(request).await.is(200);
        }
        let request = http
            .post(format!("{one}/auth/logout"))
            .json(&json!({ "refresh_token": tokens.refresh }));
        server.send(request).await.is(200);
        tokio::time::sleep(Duration::from_millis(250)).await;
        let request = http.get(format!("{other}/auth/me")).bearer_auth(&tokens.access);
        server.send(request).await.is_problem(401, "session_revoked");
    }
}
