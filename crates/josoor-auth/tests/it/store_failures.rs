//! Databases that fail while the service runs: a full disk, a failover, silent connections, a lock of another program, a pooler.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use josoor_auth::config::Config;
use josoor_auth::store::Db;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use crate::support::acceptance;
use crate::support::command::{self, Serving};
use crate::support::database;
use crate::support::disk::Disk;
use crate::support::pgbouncer::PgBouncer;
use crate::support::server::{Answer, Footprint, PASSWORD, Server, Stage, eventually, http_client, on_both};
use crate::support::services::postgres;
use crate::support::wire::Wire;

/// No request may take longer than five seconds on account of a database that does not answer; a machine that does other things
/// meanwhile takes its time, too.
fn longest() -> Duration {
    Duration::from_millis(acceptance::size(9000, 5400) as u64)
}

async fn log_in(server: &Server, email: &str) -> Answer {
    server
        .post("/auth/login", &json!({ "email": email, "password": PASSWORD }))
        .await
}

async fn post(serving: &Serving, path: &str, body: &Value) -> (StatusCode, Value) {
    let answer = http_client().post(serving.url(path)).json(body).send().await;
    read(answer.expect("an answer")).await
}

async fn get(serving: &Serving, path: &str, token: &str) -> (StatusCode, Value) {
    let answer = http_client()
        .get(serving.url(path))
        .bearer_auth(token)
        .send()
        .await;
    read(answer.expect("an answer")).await
}

async fn read(answer: reqwest::Response) -> (StatusCode, Value) {
    let status = answer.status();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_d1_a_full_disk_is_503_and_the_first_write_after_is_200() {
    let mut stage = Stage::new(Footprint::Embedded);
    let disk = Disk::at(&stage.directory().join("disk"));
    let file = stage.directory().join("disk/auth.db");
    stage.set("DATABASE_URL", &format!("sqlite://{}", file.display()));
    let serving = Serving::start(&stage);
    let person = json!({ "email": "full@example.com", "password": PASSWORD });
    let (status, tokens) = post(&serving, "/auth/register", &person).await;
    assert_eq!(status, 201, "{tokens}");
    let token = tokens["access_token"].as_str().expect("a token").to_owned();
    let rounds = acceptance::size(3, 30);
    for round in 0..rounds {
        disk.fill(serving.id());
        // What SQLite overwrites may still take a few.
        let mut tries = 0;
        let mut refused = 0;
        while refused < 5 {
            let (status, answer) = post(&serving, "/auth/login", &person).await;
            assert!(status == 200 || status == 503, "round {round}: {status} {answer}");
            if status == 503 {
                assert_eq!(answer["code"], "store_unavailable", "{answer}");
                refused += 1;
                let (status, ready) = get(&serving, "/readyz", "").await;
                assert_eq!(status, 503, "{ready}");
                assert_eq!(ready["parts"]["database"], "degraded", "{ready}");
            }
            tries += 1;
            assert!(tries < 2000, "the disk does not fill");
        }
        // Reads go on.
        assert_eq!(get(&serving, "/auth/me", &token).await.0, 200);
        assert_eq!(get(&serving, "/healthz", "").await.0, 200);
        disk.free(serving.id());
        let (status, answer) = post(&serving, "/auth/login", &person).await;
        assert_eq!(status, 200, "round {round}: {answer}\n{}", serving.log());
        eventually("it is ready again", || async {
            get(&serving, "/readyz", "").await.0 == 200
        })
        .await;
    }
    acceptance::record(
        "disk full and freed",
        &format!("{rounds} rounds: 503 while full, the first sign-in after is 200, /readyz agrees"),
    );
}

on_both!(
    d1_a_unit_of_work_that_is_dropped_anywhere_leaves_no_transaction,
    async |stage: Stage| {
        let server = stage.start().await;
        let db = &server.app.db;
        let passes = "select passes from guards where name = 'admins'";
        let before = database::number(db, passes).await;
        let mut done = 0;
        for step in 0..300_u64 {
            let unit = async {
                let mut unit = db.begin().await?;
                unit.pass_guard("admins").await?;
                unit.pass_guard("admins").await?;
                unit.commit().await
            };
            let limit = Duration::from_micros(step * 20);
            if let Ok(ended) = tokio::time::timeout(limit, unit).await {
                ended.expect("the database is there");
                done += 1;
            }
        }
        // One after another, so that each connection of the pool has its turn.
        for _ in 0..30 {
            let mut unit = db.begin().await.expect("a unit of work begins");
            unit.pass_guard("admins").await.expect("a write");
            unit.commit().await.expect("committed");
        }
        let after = database::number(db, passes).await;
        assert!(
            (after - before - 30) % 2 == 0 && after - before - 30 >= 2 * done,
            "{before} {after} {done}"
        );
        server.register("after@example.com").await;
        server.stop().await;
    }
);

/// A connection of an operator's to the same server.
async fn operator(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("PostgreSQL is there")
}

async fn run(operator: &mut PgConnection, sql: String) {
    operator
        .execute(AssertSqlSafe(sql))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_d4_after_a_failover_of_postgres_sign_ins_work_within_five_seconds() {
    let stage = Stage::new(Footprint::Production);
    let url = stage.environment()["DATABASE_URL"].clone();
    let name = url.rsplit('/').next().expect("a name").to_owned();
    let mut operator = operator(&postgres().url()).await;
    let server = stage.start().await;
    server.register("failover@example.com").await;
    server.get("/readyz", "").await.is(200);
    let end_sessions =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
    run(
        &mut operator,
        format!("alter database {name} set default_transaction_read_only = on"),
    )
    .await;
    run(&mut operator, end_sessions).await;
    // New connections are those of a standby.
    eventually("sign-ins fail", || async {
        let answer = log_in(&server, "failover@example.com").await;
        assert!(
            answer.status == 200 || answer.code() == "store_unavailable",
            "{answer:?}"
        );
        answer.status == 503
    })
    .await;
    for _ in 0..20 {
        let answer = log_in(&server, "failover@example.com").await;
        answer.is_problem(503, "store_unavailable");
        let ready = server.get("/readyz", "").await.is(503);
        assert_eq!(ready.json["parts"]["database"], "degraded", "{ready:?}");
    }
    run(
        &mut operator,
        format!("alter database {name} reset default_transaction_read_only"),
    )
    .await;
    let reset = Instant::now();
    eventually("sign-ins work again", || async {
        log_in(&server, "failover@example.com").await.status == 200
    })
    .await;
    let took = reset.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    // None of the connections of the outage is left.
    for _ in 0..30 {
        log_in(&server, "failover@example.com").await.is(200);
    }
    server.get("/readyz", "").await.is(200);
    acceptance::record(
        "PostgreSQL to read-only and back",
        &format!("the first sign-in worked at most {took:?} after it was writable again"),
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_readiness_replaces_connections_that_became_read_only_without_a_request() {
    let stage = Stage::new(Footprint::Production);
    let url = stage.environment()["DATABASE_URL"].clone();
    let name = url.rsplit('/').next().expect("a name").to_owned();
    let mut operator = operator(&postgres().url()).await;
    let server = stage.start().await;
    server.register("ready@example.com").await;
    run(
        &mut operator,
        format!("alter database {name} set default_transaction_read_only = on"),
    )
    .await;
    run(
        &mut operator,
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
    )
    .await;
    eventually("readiness sees it", || async {
        server.get("/readyz", "").await.json["parts"]["database"] == "degraded"
    })
    .await;
    run(
        &mut operator,
        format!("alter database {name} reset default_transaction_read_only"),
    )
    .await;
    eventually("readiness sees the end", || async {
        server.get("/readyz", "").await.status == 200
    })
    .await;
    log_in(&server, "ready@example.com").await.is(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_f5_silent_connections_cost_no_request_more_than_five_seconds() {
    let mut stage = Stage::new(Footprint::Production);
    let url = stage.environment()["DATABASE_URL"].clone();
    let name = url.rsplit('/').next().expect("a name").to_owned();
    let wire = Wire::to(postgres().port()).await;
    stage.set(
        "DATABASE_URL",
        &format!("postgres://postgres@{}/{name}", wire.address),
    );
    let server = stage.start().await;
    let tokens = server.register("silent@example.com").await;
    let check = |answer: Answer, took: Duration| {
        assert!(took < longest(), "{took:?}: {answer:?}");
        if answer.status != 200 {
            answer.is_problem(503, "store_unavailable");
        }
    };
    let timed = async || {
        let started = Instant::now();
        (log_in(&server, "silent@example.com").await, started.elapsed())
    };
    // The pool is full of connections that have just served.
    join_all((0..20).map(|_| timed())).await;
    wire.silence_open();
    let cut = Instant::now();
    for (answer, took) in join_all((0..20).map(|_| timed())).await {
        check(answer, took);
    }
    // By then all of them are replaced.
    for _ in 0..20 {
        timed().await.0.is(200);
    }
    acceptance::record(
        "silent connections to PostgreSQL",
        &format!(
            "all requests were answered, and the next ones served, {:?} after the cut",
            cut.elapsed()
        ),
    );
    // Nothing answers at all.
    join_all((0..20).map(|_| timed())).await;
    wire.silence_all();
    for _ in 0..2 {
        for (answer, took) in join_all((0..20).map(|_| timed())).await {
            assert!(took < longest(), "{took:?}: {answer:?}");
            answer.is_problem(503, "store_unavailable");
        }
        let started = Instant::now();
        let answer = server.get("/auth/sessions", &tokens.access).await;
        assert!(started.elapsed() < longest());
        answer.is_problem(503, "store_unavailable");
        server.get("/readyz", "").await.is(503);
    }
    wire.end_silence();
    eventually("sign-ins work again", || async { timed().await.0.status == 200 }).await;
    for _ in 0..20 {
        timed().await.0.is(200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_sqlite_file_that_another_program_locks_is_503_after_the_documented_wait() {
    let stage = Stage::new(Footprint::Embedded);
    let server = stage.start().await;
    let tokens = server.register("locked@example.com").await;
    let file = stage.directory().join("auth.db");
    let mut other = SqliteConnectOptions::new()
        .filename(&file)
        .connect()
        .await
        .expect("another program");
    other.execute("begin immediate").await.expect("the lock");
    for _ in 0..2 {
        let started = Instant::now();
        let answers = join_all((0..5).map(|_| log_in(&server, "locked@example.com"))).await;
        // The first waits a second for the lock, the others for its connection, and then for the lock.
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "{:?}",
            started.elapsed()
        );
        for answer in answers {
            answer.is_problem(503, "store_unavailable");
        }
        server.get("/auth/me", &tokens.access).await.is(200);
        server.get("/readyz", "").await.is(200);
    }
    // A command says what is in its way, and does not wait for as long as a migration would.
    command::run(&stage, &["user", "list"])
        .with(1)
        .says(&["database is locked"]);
    other.execute("rollback").await.expect("the lock ends");
    log_in(&server, "locked@example.com").await.is(200);
    server.stop().await;
}

/// What users and administrators do, several at once, through whatever is in between.
async fn everything_works(stage: &Stage) {
    let (one, other) = (stage.start().await, stage.start().await);
    let admin = one.register_admin("boss@example.com").await;
    let journey = async |number: usize| {
        let email = format!("person{number}@example.com");
        let (one, other) = if number.is_multiple_of(2) {
            (&one, &other)
        } else {
            (&other, &one)
        };
        one.register(&email).await;
        for _ in 0..3 {
            let tokens = other.log_in(&email).await;
            one.get("/auth/me", &tokens.access).await.is(200);
            let tokens = crate::support::server::Tokens::of(&one.refresh(&tokens.refresh).await.is(200));
            one.get("/auth/sessions", &tokens.access).await.is(200);
            one.get("/auth/activity", &tokens.access).await;
            let body = json!({ "full_name": format!("منى {number}") });
            other.patch("/auth/me", &tokens.access, &body).await.is(200);
            let body = json!({ "refresh_token": tokens.refresh });
            other.post("/auth/logout", &body).await.is(200);
        }
        let body = json!({ "email": email, "password": PASSWORD });
        one.post("/auth/register", &body).await;
    };
    join_all((0..12).map(journey)).await;
    let found = one.get("/admin/users?q=person1", &admin.access).await.is(200);
    assert!(
        found.json["total"].as_i64().is_some_and(|total| total >= 3),
        "{found:?}"
    );
    let found = other
        .get("/admin/users?q=%D9%85%D9%86%D9%89&sort=email", &admin.access)
        .await
        .is(200);
    assert_eq!(found.json["total"], 12, "{found:?}");
    one.get("/admin/audit", &admin.access).await.is(200);
    one.get("/admin/stats", &admin.access).await.is(200);
    let path = format!("/admin/users/{}", admin.user_id);
    one.get(&path, &admin.access).await.is(200);
    other.get("/readyz", "").await.is(200);
    other.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_pgbouncer_in_transaction_mode_works() {
    for (settings, schema) in [
        // As it is installed: it refuses the settings of a connection's start.
        ("", "public"),
        // As many set it: it drops them without a word.
        (
            "ignore_startup_parameters = extra_float_digits,options",
            "josoor_auth",
        ),
    ] {
        let mut stage = Stage::new(Footprint::Production);
        let direct = stage.environment()["DATABASE_URL"].clone();
        let bouncer = PgBouncer::start(postgres().port(), settings);
        stage.set("DATABASE_URL", &bouncer.url(&direct));
        stage.set("JOSOOR_AUTH__DATABASE__SCHEMA", schema);
        // Three connections of the server for two nodes, on a machine that may be busy.
        stage.set("JOSOOR_AUTH__DATABASE__ACQUIRE_TIMEOUT", "20s");
        everything_works(&stage).await;
        // The tables are where they belong, and the pool's connections were left without settings of ours.
        let mut operator = operator(&direct).await;
        let tables: i64 = sqlx::query_scalar(
            "select count(*) from pg_tables where schemaname = $1 and tablename = 'users'",
        )
        .bind(schema)
        .fetch_one(&mut operator)
        .await
        .expect("the catalogue");
        assert_eq!(tables, 1);
        let mut through = PgConnection::connect_with(
            &bouncer
                .url(&direct)
                .parse::<sqlx::postgres::PgConnectOptions>()
                .expect("a URL")
                .extra_float_digits(None),
        )
        .await
        .expect("the pooler takes it");
        let left =
            "select current_setting('statement_timeout') || ' ' || current_setting('search_path') || ' ' ||
            (select count(*) from pg_prepared_statements where name like 'sqlx%')";
        let rows = sqlx::raw_sql(left).fetch_one(&mut through).await.expect("a row");
        let left: String = sqlx::Row::try_get(&rows, 0).expect("a text");
        assert_eq!(left, "0 \"$user\", public 0");
        let report = crate::support::command::run(&stage, &["doctor"]);
        assert!(report.out.contains("pooler"), "{report:?}");
        assert!(
            !bouncer.log().contains("closing because: no such"),
            "{}",
            bouncer.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_a_pooler_in_session_mode_works() {
    let mut stage = Stage::new(Footprint::Production);
    let direct = stage.environment()["DATABASE_URL"].clone();
    let bouncer = PgBouncer::start(postgres().port(), "pool_mode = session\ndefault_pool_size = 60");
    stage.set(
        "DATABASE_URL",
        &format!("{}?pgbouncer=true", bouncer.url(&direct)),
    );
    everything_works(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_handled_outage_is_logged_without_a_backtrace_and_with_its_cause() {
    let server = crate::support::services::Postgres::start_own();
    let mut stage = Stage::new(Footprint::Production);
    stage.set("DATABASE_URL", &server.new_database());
    stage.set("RUST_BACKTRACE", "1");
    let serving = Serving::start(&stage);
    tokio::task::block_in_place(|| server.stop());
    let person = json!({ "email": "outage@example.com", "password": PASSWORD });
    let (status, answer) = post(&serving, "/auth/login", &person).await;
    assert_eq!(
        (status, &answer["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("store_unavailable"))
    );
    let lines = || {
        serving
            .lines()
            .into_iter()
            .filter(|line| line["level"] == "WARN")
            .collect::<Vec<_>>()
    };
    eventually("the background tasks warn", || async {
        ["changes_not_read", "outbox_not_read", "store_unavailable"]
            .iter()
            .all(|code| lines().iter().any(|line| line["fields"]["code"] == *code))
    })
    .await;
    for line in lines() {
        let text = line.to_string();
        assert!(!text.contains("backtrace") && !text.contains(".rs:"), "{text}");
    }
    // The first request may have been on a connection that the outage cut.
    let refused = || {
        let of_requests = lines()
            .into_iter()
            .filter(|line| line["fields"]["code"] == "store_unavailable");
        let mut causes = of_requests.filter_map(|line| line["fields"]["cause"].as_str().map(str::to_owned));
        causes.find(|cause| cause.starts_with("Connection refused"))
    };
    eventually("a refused connection is the cause", || async {
        post(&serving, "/auth/login", &person).await;
        refused().is_some()
    })
    .await;
    let cause = refused().expect("it was there");
    assert_eq!(cause.matches("refused").count(), 1, "{cause}");
}

/// Opens the stage's database as the service does.
pub(crate) async fn open(stage: &Stage) -> josoor_auth::error::Result<Db> {
    let config = Config::parse(None, stage.environment()).unwrap_or_else(|error| panic!("{error}"));
    Db::open(&config.database).await
}
