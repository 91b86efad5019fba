//! Users in and out of files and other databases, through the program itself.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use josoor_auth::config::Config;
use josoor_auth::store::Db;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::command::{Ended, run, run_with, spawn};
use crate::support::database;
use crate::support::server::{Footprint, PASSWORD, Server, Stage, on_both};
use crate::support::services;
use crate::support::totp;

pub(crate) fn fixture(name: &str) -> String {
    format!("{}/tests/it/fixtures/moving/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Writes a file of the test's own. Its path.
pub(crate) fn file(stage: &Stage, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = stage.directory().join(name);
    std::fs::write(&path, content).expect("a file");
    path.to_str().expect("text").to_owned()
}

/// Imports with a report. How it ended, the summary and the report's lines.
#[track_caller]
pub(crate) fn import(stage: &Stage, arguments: &[&str], code: i32) -> (Value, Vec<Value>) {
    let report = stage.directory().join("report.ndjson");
    let report = report.to_str().expect("text");
    let mut all = vec!["user", "import", "--json", "--report", report];
    all.extend(arguments);
    let ended = run(stage, &all).with(code);
    is_discreet(&ended);
    let text = std::fs::read_to_string(report).expect("a report");
    assert!(!text.contains("$2") && !text.contains("$argon2"), "{text}");
    let mode = std::fs::metadata(report).expect("a report").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let summary = ended.json();
    let refused = lines.iter().filter(|line| line["warning"].is_null()).count();
    assert_eq!(summary["refused"], refused, "{summary} {lines:?}");
    assert!(
        !Path::new(&format!("{report}.state")).exists(),
        "a complete import leaves nothing to resume"
    );
    (summary, lines)
}

#[track_caller]
fn is_discreet(ended: &Ended) {
    for text in [&ended.out, &ended.err] {
        assert!(!text.contains("$2") && !text.contains("$argon2"), "{ended:?}");
    }
}

/// The numbers and codes of refused lines.
pub(crate) fn codes(lines: &[Value]) -> Vec<(u64, &str)> {
    lines
        .iter()
        .map(|line| {
            (
                line["line"].as_u64().expect("a number"),
                line["code"].as_str().expect("a code"),
            )
        })
        .collect()
}

#[track_caller]
pub(crate) fn counts(summary: &Value, created: u64, unchanged: u64, refused: u64) {
    assert_eq!(
        (&summary["created"], &summary["unchanged"], &summary["refused"]),
        (&json!(created), &json!(unchanged), &json!(refused)),
        "{summary}"
    );
}

/// The stage's database, when no server has it open.
async fn db(stage: &Stage) -> Db {
    let config = Config::parse(None, stage.environment()).unwrap_or_else(|error| panic!("{error}"));
    Db::open(&config.database).await.expect("the database opens")
}

pub(crate) async fn user(server: &Server, email: &str) -> Value {
    let tokens = server.log_in(email).await;
    server.get("/auth/me", &tokens.access).await.is(200).json
}

/// Every column of every user, as text.
async fn table(stage: &Stage) -> Vec<String> {
    let db = db(stage).await;
    let columns = [
        "id",
        "email",
        "email_key",
        "password_hash",
        "full_name",
        "search_text",
        "role",
        "is_active",
        "email_verified_at",
        "locale",
        "version",
        "created_at",
        "updated_at",
        "password_changed_at",
        "last_login_at",
    ];
    let list = columns
        .map(|column| format!("coalesce(cast({column} as text), '-')"))
        .join(" || '|' || ");
    let rows = database::texts(&db, &format!("select {list} from users order by id")).await;
    db.close().await;
    rows
}

async fn audit(stage: &Stage, action: &str) -> Vec<String> {
    let db = db(stage).await;
    let sql = format!(
        "select coalesce(reason, '') from audit where action = '{action}' and outcome = 'success' order by id"
    );
    let rows = database::texts(&db, &sql).await;
    db.close().await;
    rows
}

/// Runs statements in a database of another program.
pub(crate) async fn source(url: &str, sql: &str) {
    let mut connection = sqlx::PgConnection::connect(url).await.expect("a connection");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    connection.close().await.expect("closed");
}

/// The first hash in a fixture: of [`PASSWORD`].
pub(crate) fn hash() -> String {
    let text = std::fs::read_to_string(fixture("native.csv")).expect("a fixture");
    let at = text.find("$2b$04$").expect("a hash");
    text[at..at + 60].to_owned()
}

on_both!(
    a_native_file_brings_users_with_their_ids_and_passwords,
    async |stage: Stage| {
        let (summary, refused) = import(&stage, &[&fixture("native.csv")], 0);
        counts(&summary, 4, 0, 0);
        assert_eq!(
            (&summary["admins"], &summary["without_password"], refused.len()),
            (&json!(1), &json!(1), 0)
        );
        let server = stage.start().await;
        let mut noura = user(&server, "noura@example.com").await;
        let uid = noura.as_object_mut().and_then(|fields| fields.remove("uid"));
        assert!(uid.is_some_and(|uid| uid.is_string()));
        let created = "2023-05-06T07:08:09.123456Z";
        assert_eq!(
            noura,
            json!({ "id": 41, "email": "Noura@Example.com", "full_name": "القحطاني, نورة", "role": "admin", "is_active": true,
                "email_verified": true, "mfa_enabled": false, "locale": "ar", "created_at": created,
                "updated_at": "2024-01-01T00:00:00.000000Z" })
        );
        let salem = user(&server, "salem@example.com").await;
        assert_eq!(
            (
                &salem["id"],
                &salem["role"],
                &salem["email_verified"],
                &salem["created_at"]
            ),
            (
                &json!(42),
                &json!("analyst"),
                &json!(false),
                &json!("2023-05-06T04:08:09.000000Z")
            )
        );
        let body = |email: &str| json!({ "email": email, "password": PASSWORD });
        server
            .post("/auth/login", &body("gone@example.com"))
            .await
            .is_problem(403, "account_inactive");
        server
            .post("/auth/login", &body("invited@example.com"))
            .await
            .is_problem(401, "invalid_credentials");
        // The next account gets a larger id.
        assert!(server.register("next@example.com").await.user_id > 44);
        server.stop().await;
        assert_eq!(audit(&stage, "user_import").await, ["native"; 4]);
        // Nor does a mail go to anybody.
        let db = db(&stage).await;
        assert_eq!(
            database::number(
                &db,
                "select count(*) from outbox where recipient <> 'next@example.com'"
            )
            .await,
            0
        );
        db.close().await;
    }
);

on_both!(a_second_run_changes_nothing, async |stage: Stage| {
    let native = fixture("native.csv");
    import(&stage, &[&native], 0);
    let before = table(&stage).await;
    counts(&import(&stage, &[&native], 0).0, 0, 4, 0);
    assert_eq!(table(&stage).await, before);
    assert_eq!(audit(&stage, "user_import").await.len(), 4);
    // A sign-in upgrades the hash: Salem's is of a version that is written no more.
    let server = stage.start().await;
    let old = database::password_hash(&server.app.db, "salem@example.com").await;
    server.log_in("salem@example.com").await;
    assert_ne!(
        database::password_hash(&server.app.db, "salem@example.com").await,
        old
    );
    counts(&import(&stage, &[&native], 0).0, 0, 4, 0);
    // A change is none of the file's business any more, and is not undone.
    let tokens = server.log_in("salem@example.com").await;
    server
        .patch("/auth/me", &tokens.access, &json!({ "full_name": "سالم" }))
        .await
        .is(200);
    let (summary, refused) = import(&stage, &[&native], 1);
    counts(&summary, 0, 3, 1);
    assert_eq!(codes(&refused), [(3, "exists")]);
    assert_eq!(
        (&refused[0]["field"], &refused[0]["email"]),
        (&json!("full_name"), &json!("salem@example.com"))
    );
    assert_eq!(user(&server, "salem@example.com").await["full_name"], "سالم");
    server.stop().await;
});

on_both!(
    a_dry_run_tells_the_same_and_writes_nothing,
    async |stage: Stage| {
        let native = fixture("native.csv");
        import(
            &stage,
            &[&file(&stage, "first.csv", "email,id\nother@example.com,42\n")],
            0,
        );
        let before = table(&stage).await;
        let (dry, reported) = import(&stage, &[&native, "--dry-run"], 1);
        assert_eq!(dry["dry_run"], true);
        assert_eq!(codes(&reported), [(3, "id_taken")]);
        assert_eq!(table(&stage).await, before);
        assert_eq!(audit(&stage, "user_import").await.len(), 1);
        let (wet, reported_again) = import(&stage, &[&native], 1);
        assert_eq!(reported, reported_again);
        for count in [
            "lines",
            "created",
            "unchanged",
            "refused",
            "admins",
            "without_password",
        ] {
            assert_eq!(dry[count], wet[count], "{count}");
        }
        let words = run(&stage, &["user", "import", &native, "--dry-run"]).with(1);
        assert!(words.out.contains("0 would be created"), "{words:?}");
        assert!(
            words.err.contains("\"id_taken\"") && words.err.contains("1 line was refused"),
            "{words:?}"
        );
    }
);

on_both!(conflicts_cost_their_own_line_only, async |stage: Stage| {
    let first = file(
        &stage,
        "first.csv",
        "id,email\n5,a@example.com\n6,b@example.com\n",
    );
    counts(&import(&stage, &[&first], 0).0, 2, 0, 0);
    let second = "id,email,role\n\
        5,other@example.com,\n\
        7,A@EXAMPLE.COM,\n\
        6,b@example.com,admin\n\
        8,c@example.com,\n\
        9,C@example.com,\n\
        8,d@example.com,\n\
        9,e@example.com,\n\
        5,a@example.com,user\n";
    let (summary, refused) = import(&stage, &[&file(&stage, "second.csv", second)], 1);
    counts(&summary, 2, 1, 5);
    assert_eq!(
        codes(&refused),
        [
            (2, "id_taken"),
            (3, "email_taken"),
            (4, "exists"),
            (6, "duplicate"),
            (7, "duplicate")
        ]
    );
    assert!(
        refused[3]["message"].as_str().unwrap().contains("Line 5"),
        "{refused:?}"
    );
    assert_eq!(table(&stage).await.len(), 4);
    // Duplicates are found however far apart they are.
    let mut long = String::from("{\"email\":\"first@example.com\",\"id\":100}\n");
    for number in 0..1200 {
        writeln!(long, "{{\"email\":\"u{number}@example.com\"}}").unwrap();
    }
    long.push_str("{\"email\":\"FIRST@example.com\",\"id\":100}\n");
    let long = file(&stage, "long.ndjson", long);
    let (dry, reported) = import(&stage, &[&long, "--dry-run"], 1);
    let (wet, refused) = import(&stage, &[&long], 1);
    counts(&dry, 1201, 0, 1);
    counts(&wet, 1201, 0, 1);
    assert_eq!(
        (codes(&refused), &reported),
        (vec![(1202, "duplicate")], &refused)
    );
});

on_both!(
    an_id_of_a_user_deleted_just_now_is_not_given_again,
    async |stage: Stage| {
        let one = file(&stage, "one.csv", "id,email\n5,a@example.com\n");
        import(&stage, &[&one], 0);
        run(&stage, &["user", "delete", "5", "--yes", "--now"]).with(0);
        let (_, refused) = import(&stage, &[&one], 1);
        assert_eq!(codes(&refused), [(2, "id_recently_deleted")]);
        counts(
            &import(&stage, &[&file(&stage, "two.csv", "email\na@example.com\n")], 0).0,
            1,
            0,
            0,
        );
    }
);

on_both!(
    broken_lines_are_reported_by_number_and_affect_no_other,
    async |stage: Stage| {
        let hash = hash();
        let mut csv = b"\xEF\xBB\xBFemail,full_name,password_hash\r\n".to_vec();
        csv.extend(format!("ok1@example.com,\"مريم, \"\"أم علي\"\"\",{hash}\r\n").as_bytes());
        csv.extend(b"open@example.com,\"never closed,\r\n");
        csv.extend(b"ok2@example.com,,\r\n");
        csv.extend(b"bytes@example.com,\xFF\xFE,\r\n");
        csv.extend(b"few@example.com\r\n");
        csv.extend(b"many@example.com,,,,\r\n");
        csv.extend(b"\r\n");
        csv.extend(b"lines@example.com,\"one\r\ntwo\",\r\n");
        csv.extend(format!("long@example.com,{},\r\n", "x".repeat(10 * 1024 * 1024)).as_bytes());
        csv.extend(b"ok3@example.com,\"Last\",");
        let (summary, refused) = import(&stage, &[&file(&stage, "broken.csv", csv)], 1);
        counts(&summary, 3, 0, 6);
        assert_eq!(
            codes(&refused),
            [
                (3, "invalid_csv"),
                (5, "invalid_utf8"),
                (6, "wrong_number_of_fields"),
                (7, "wrong_number_of_fields"),
                (9, "forbidden_character"),
                (11, "line_too_long"),
            ]
        );
        let mut ndjson = b"{\"email\":\"n1@example.com\"}\n{\"email\":\n[1]\n\xFF\n".to_vec();
        ndjson.extend(format!("{{\"email\":\"{}\"}}\n", "x".repeat(70_000)).as_bytes());
        ndjson.extend(b"{\"email\":\"n2@example.com\",\"full_name\":7}\n{\"email\":\"n3@example.com\",\"is_admin\":true}\n");
        ndjson.extend(b"{\"email\":\"n4@example.com\",\"full_name\":\"\\u0639\"}");
        let ndjson = file(&stage, "broken.ndjson", ndjson);
        let (summary, refused) = import(&stage, &[&ndjson], 1);
        counts(&summary, 2, 0, 6);
        assert_eq!(
            codes(&refused),
            [
                (2, "malformed_json"),
                (3, "malformed_json"),
                (4, "invalid_utf8"),
                (5, "line_too_long"),
                (6, "wrong_type"),
                (7, "unknown_field"),
            ]
        );
        // A document that breaks off: what came before stays, and the end is no success.
        let cut = file(
            &stage,
            "cut.json",
            "[{\"email\":\"c1@example.com\"},\n{\"email\":7},\n{\"email\":\"c2",
        );
        let ended = run(&stage, &["user", "import", &cut])
            .with(1)
            .says(&["breaks off at line 3", "run the same command again"]);
        assert!(
            ended.out.is_empty() && ended.err.contains("\"line\":2"),
            "{ended:?}"
        );
        let server = stage.start().await;
        let found = user(&server, "ok1@example.com").await;
        assert_eq!(found["full_name"], "مريم, \"أم علي\"");
        for email in ["ok2", "ok3", "n1", "n4", "c1"] {
            run(&stage, &["user", "show", &format!("{email}@example.com")]).with(0);
        }
        server.stop().await;
    }
);

on_both!(
    hostile_values_are_refused_or_kept_as_text,
    async |stage: Stage| {
        let lines = [
            json!({ "email": "nul@example.com", "full_name": "a\u{0}b" }),
            json!({ "email": "a\u{0}@example.com" }),
            json!({ "email": "owner@example.com", "role": "owner" }),
            json!({ "email": "minus@example.com", "id": -1 }),
            json!({ "email": "zero@example.com", "id": 0 }),
            json!({ "email": "huge@example.com", "id": 9_007_199_254_740_993_i64 }),
            json!({ "email": "half@example.com", "id": 1.5 }),
            json!({ "email": "early@example.com", "created_at": "1969-12-31T23:59:59Z" }),
            json!({ "email": "never@example.com", "created_at": "2024-02-30T00:00:00Z" }),
            json!({ "email": "plain@example.com", "password_hash": PASSWORD }),
            json!({ "email": "sql@example.com'; drop table users; --" }),
            json!({ "full_name": "No Address" }),
            json!({ "email": "tongue@example.com", "locale": "fr" }),
            json!({ "email": "liar@example.com", "email_verified": false, "email_verified_at": "2024-01-01T00:00:00Z" }),
            json!({ "email": "formula@example.com", "full_name": "=HYPERLINK(\"x\")" }),
            json!({ "email": "last@example.com", "id": 9_007_199_254_740_992_i64 }),
        ];
        let text = lines.each_ref().map(ToString::to_string).join("\n");
        let (summary, refused) = import(&stage, &[&file(&stage, "hostile.ndjson", text)], 1);
        counts(&summary, 2, 0, 14);
        assert_eq!(
            refused
                .iter()
                .map(|line| line["code"].as_str().unwrap())
                .collect::<Vec<_>>(),
            [
                "forbidden_character",
                "forbidden_character",
                "unknown_role",
                "invalid_id",
                "invalid_id",
                "invalid_id",
                "invalid_id",
                "invalid_time",
                "invalid_time",
                "unsupported_hash",
                "forbidden_character",
                "email_missing",
                "unknown_locale",
                "contradiction",
            ]
        );
        assert!(
            !format!("{refused:?}").contains(PASSWORD),
            "what stands for a hash is repeated nowhere"
        );
        let shown = run(&stage, &["user", "show", "formula@example.com", "--json"])
            .with(0)
            .json();
        assert_eq!(shown["full_name"], "=HYPERLINK(\"x\")");
        let (summary, _) = import(
            &stage,
            &[
                &file(&stage, "plain.ndjson", lines[9].to_string()),
                "--without-password",
            ],
            0,
        );
        assert_eq!(
            (&summary["created"], &summary["without_password"]),
            (&json!(1), &json!(1))
        );
    }
);

#[test]
fn what_makes_no_sense_as_a_whole_is_reported_before_anything_is_done() {
    let stage = Stage::new(Footprint::Embedded);
    let import = |arguments: &[&str]| {
        let all: Vec<&str> = ["user", "import"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        run(&stage, &all)
    };
    let native = fixture("native.csv");
    for arguments in [
        &[][..],
        &[&native, "--resume"],
        &[&native, "--database-url-env", "X"],
    ] {
        import(arguments).with(2).says(&["Usage"]);
    }
    import(&[&native, "--from", "unknown"])
        .with(2)
        .says(&["keycloak"]);
    import(&["absent.csv"]).with(1).says(&["cannot read absent.csv"]);
    import(&["-"]).with(1).says(&["--format"]);
    import(&[&native, "--from", "keycloak"])
        .with(1)
        .says(&["keycloak does not write csv"]);
    import(&["--from", "keycloak", "--database-url-env"])
        .with(1)
        .says(&["IMPORT_DATABASE_URL"]);
    let parameters = file(
        &stage,
        "parameters.json",
        "{\"algorithm\":\"SCRYPT\",\"base64_signer_key\":\"c2VjcmV0\"}",
    );
    let ended = import(&[
        &fixture("firebase.json"),
        "--from",
        "firebase",
        "--firebase-config",
        &parameters,
    ])
    .with(1);
    assert!(
        ended.err.contains("base64_salt_separator") && !ended.err.contains("c2VjcmV0"),
        "{ended:?}"
    );
    assert!(!stage.directory().join("auth.db").exists());
    for (text, words) in [
        ("", &["empty"][..]),
        ("id,full_name\n", &["no column email"]),
        (
            "a@example.com,Sara\n",
            &["the first line has to name the columns"],
        ),
        ("email,is_root,\"x y\"\n", &["\"is_root\", \"x y\""]),
        ("email,id,email\n", &["\"email\" is there twice"]),
    ] {
        let path = file(&stage, "header.csv", text);
        import(&[&path]).with(1).says(words);
    }
    import(&[&file(&stage, "x.json", "{\"realm\":\"x\"}"), "--from", "keycloak"])
        .with(1)
        .says(&["no array \"users\""]);
    let taken = run_with(
        &stage,
        &["user", "import", "-", "--format", "ndjson"],
        b"{\"email\":\"in@example.com\"}",
    )
    .with(0);
    assert!(taken.out.starts_with("1 created"), "{taken:?}");
}

on_both!(the_platforms_table_comes_from_a_file, async |stage: Stage| {
    let (summary, _) = import(&stage, &[&fixture("document.csv"), "--from", "document"], 0);
    counts(&summary, 3, 0, 0);
    let server = stage.start().await;
    let admin = user(&server, "admin@example.com").await;
    assert_eq!(
        (
            &admin["id"],
            &admin["role"],
            &admin["full_name"],
            &admin["created_at"]
        ),
        (
            &json!(3),
            &json!("admin"),
            &json!("المدير"),
            &json!("2024-02-03T04:05:06.789012Z")
        )
    );
    assert_eq!(user(&server, "analyst@example.com").await["role"], "analyst");
    server.stop().await;
    counts(
        &import(&stage, &[&fixture("document.csv"), "--from", "document"], 0).0,
        0,
        3,
        0,
    );
});

on_both!(
    the_platforms_table_comes_from_a_live_database,
    async |mut stage: Stage| {
        let hash = hash();
        for (kind, column) in [("enum", "userrole"), ("varchar", "varchar(20)")] {
            let url = services::postgres().new_database();
            let (shift, mark) = if kind == "enum" { (0, "e") } else { (5000, "v") };
            source(
            &url,
            &format!(
                "create type userrole as enum ('USER', 'ANALYST', 'ADMIN');
                 create table users (id serial primary key, email varchar(255) unique not null, password_hash varchar(255) not null,
                    full_name varchar(255), role {column} not null, is_active boolean not null, phone text,
                    created_at timestamptz default now(), updated_at timestamptz);
                 insert into users (id, email, password_hash, full_name, role, is_active)
                    select {shift} + n, '{mark}' || n || '@example.com', '{hash}', 'مستخدم ' || n,
                        (case n % 3 when 0 then 'USER' when 1 then 'ANALYST' else 'ADMIN' end)::{column}, n % 2 = 0
                    from generate_series(1, 1300) as n;"
            ),
        )
        .await;
            stage.set("IMPORT_DATABASE_URL", &url);
            let (summary, refused) = import(&stage, &["--from", "document", "--database-url-env"], 0);
            counts(&summary, 1300, 0, 0);
            assert_eq!((&summary["admins"], refused.len()), (&json!(433), 0));
            let path = file(&stage, "url", format!("{url}\n"));
            counts(
                &import(&stage, &["--from", "document", "--database-url-file", &path], 0).0,
                0,
                1300,
                0,
            );
            // What is left behind is named.
            run(
                &stage,
                &[
                    "user",
                    "import",
                    "--from",
                    "document",
                    "--database-url-env",
                    "--dry-run",
                ],
            )
            .with(0)
            .says(&["phone"]);
        }
        let server = stage.start().await;
        let found = user(&server, "e2@example.com").await;
        assert_eq!(
            (&found["id"], &found["role"], &found["full_name"]),
            (&json!(2), &json!("admin"), &json!("مستخدم 2"))
        );
        assert_eq!(user(&server, "v1300@example.com").await["id"], 6300);
        assert!(server.register("next@example.com").await.user_id > 6300);
        server.stop().await;
        let empty = services::postgres().new_database();
        stage.set("IMPORT_DATABASE_URL", &empty);
        run(
            &stage,
            &["user", "import", "--from", "document", "--database-url-env"],
        )
        .with(1)
        .says(&["there is no table users"]);
        stage.set("IMPORT_DATABASE_URL", "postgres://u:Secret-Word@127.0.0.1:1/x");
        let ended = run(
            &stage,
            &["user", "import", "--from", "document", "--database-url-env"],
        )
        .with(1);
        assert!(!ended.err.contains("Secret-Word"), "{ended:?}");
    }
);

on_both!(
    supabase_comes_from_a_file_and_from_a_live_database,
    async |mut stage: Stage| {
        let (summary, refused) = import(&stage, &[&fixture("supabase.csv"), "--from", "supabase"], 1);
        counts(&summary, 2, 0, 2);
        assert_eq!(codes(&refused), [(5, "sso_user"), (6, "deleted")]);
        let server = stage.start().await;
        let hind = user(&server, "hind@example.com").await;
        assert_eq!(
            (
                &hind["full_name"],
                &hind["role"],
                &hind["email_verified"],
                &hind["created_at"]
            ),
            (
                &json!("هند"),
                &json!("analyst"),
                &json!(true),
                &json!("2024-04-01T00:00:00.000000Z")
            )
        );
        let banned = json!({ "email": "banned@example.com", "password": PASSWORD });
        server
            .post("/auth/login", &banned)
            .await
            .is_problem(403, "account_inactive");
        let url = services::postgres().new_database();
        let hash = hash();
        source(
        &url,
        &format!(
            "create schema auth;
             create table auth.users (instance_id uuid, id uuid primary key, role varchar(255), email varchar(255), encrypted_password varchar(255),
                email_confirmed_at timestamptz, last_sign_in_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb,
                created_at timestamptz, updated_at timestamptz, banned_until timestamptz, is_sso_user boolean not null default false,
                deleted_at timestamptz);
             insert into auth.users (id, role, email, encrypted_password, email_confirmed_at, raw_user_meta_data, created_at, banned_until)
                values (gen_random_uuid(), 'authenticated', 'live@example.com', '{hash}', now(), '{{\"name\": \"Live\"}}', now(), null),
                       (gen_random_uuid(), 'authenticated', 'ever@example.com', '{hash}', now(), null, now(), 'infinity'),
                       (gen_random_uuid(), 'authenticated', null, '', null, null, now(), null);"
        ),
    )
    .await;
        stage.set("SOURCE", &url);
        let (summary, refused) = import(&stage, &["--from", "supabase", "--database-url-env", "SOURCE"], 1);
        counts(&summary, 2, 0, 1);
        assert_eq!(refused[0]["code"], "email_missing");
        assert_eq!(user(&server, "live@example.com").await["full_name"], "Live");
        let banned = json!({ "email": "ever@example.com", "password": PASSWORD });
        server
            .post("/auth/login", &banned)
            .await
            .is_problem(403, "account_inactive");
        server.stop().await;
    }
);

on_both!(
    an_import_that_was_killed_goes_on_where_it_was,
    async |stage: Stage| {
        const USERS: usize = 6000;
        let hash = hash();
        let mut text = String::from("id,email,role,password_hash\n");
        for number in 1..=USERS {
            // Every hundredth line is refused.
            let role = if number % 100 == 0 { "owner" } else { "user" };
            writeln!(text, "{number},u{number}@example.com,{role},{hash}").unwrap();
        }
        let path = file(&stage, "many.csv", text);
        let report = stage.directory().join("report.ndjson");
        let arguments = [
            "user",
            "import",
            &path,
            "--report",
            report.to_str().unwrap(),
            "--resume",
        ];
        run(&stage, &["migrate"]).with(0);
        let db = db(&stage).await;
        let count = async || database::number(&db, "select count(*) from users").await;
        let mut child = spawn(&stage, &arguments);
        let end = Instant::now() + Duration::from_mins(1);
        while count().await < 500 {
            assert!(Instant::now() < end, "nothing is imported");
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        let half = count().await;
        assert!(half < 5940, "it was over before it was killed");
        assert_eq!(half % 495, 0, "whole batches only");
        assert!(stage.directory().join("report.ndjson.state").exists());
        let (summary, refused) = import(&stage, &[&path, "--resume"], 1);
        assert_eq!(summary["lines"], USERS);
        // The batch that was committed before the state was written is there already.
        let made = summary["created"].as_u64().unwrap() + summary["unchanged"].as_u64().unwrap();
        assert_eq!((made, count().await), (5940, 5940));
        let expected: Vec<(u64, &str)> = (1..=60)
            .map(|number| (number * 100 + 1, "unknown_role"))
            .collect();
        assert_eq!(codes(&refused), expected);
        assert_eq!(
            database::number(&db, "select count(*) from audit where action = 'user_import'").await,
            5940
        );
        // Without --resume the same command does the same, more slowly.
        counts(&import(&stage, &[&path], 1).0, 0, 5940, 60);
        db.close().await;
    }
);

on_both!(a_resume_with_another_file_is_refused, async |stage: Stage| {
    let report = stage.directory().join("report.ndjson");
    let state = stage.directory().join("report.ndjson.state");
    let path = file(&stage, "a.csv", "email\na@example.com\n");
    let summary =
        json!({ "lines": 1, "created": 1, "unchanged": 0, "refused": 0, "admins": 0, "without_password": 1 });
    std::fs::write(
        &state,
        json!({ "fingerprint": "x", "report": 0, "done": summary }).to_string(),
    )
    .unwrap();
    run(
        &stage,
        &[
            "user",
            "import",
            &path,
            "--report",
            report.to_str().unwrap(),
            "--resume",
        ],
    )
    .with(1)
    .says(&["is of another file", "--resume"]);
    assert!(state.exists());
    counts(&import(&stage, &[&path], 0).0, 1, 0, 0);
});

on_both!(an_export_imports_again_as_it_is, async |stage: Stage| {
    import(&stage, &[&fixture("native.csv")], 0);
    run_with(
        &stage,
        &[
            "user",
            "create",
            "second@example.com",
            "--name",
            "=1+1, \"x\"",
            "--password-stdin",
        ],
        PASSWORD.as_bytes(),
    )
    .with(0);
    let server = stage.start().await;
    server.log_in("salem@example.com").await;
    server.log_in("second@example.com").await;
    server.stop().await;
    // The counter of changes is the database's own; everything else is the user's.
    let before: Vec<String> = table(&stage).await;
    assert_eq!(before.len(), 5);
    for format in ["csv", "ndjson"] {
        let out = stage.directory().join(format!("users.{format}"));
        let out = out.to_str().unwrap();
        let ended = run(&stage, &["user", "export", "--format", format, "--out", out])
            .with(0)
            .says(&["5 users exported"]);
        assert!(ended.out.is_empty(), "{ended:?}");
        assert_eq!(
            std::fs::metadata(out).unwrap().permissions().mode() & 0o777,
            0o600
        );
        run(&stage, &["user", "export", "--format", format, "--out", out])
            .with(1)
            .says(&["already there"]);
        let piped = run(&stage, &["user", "export", "--format", format]).with(0);
        assert_eq!(piped.out, std::fs::read_to_string(out).unwrap());
        counts(&import(&stage, &[out], 0).0, 0, 5, 0);
        // On its own footprint, and on the other one.
        assert!(
            format != "csv" || piped.out.contains("\"'=1+1, \"\"x\"\"\""),
            "a spreadsheet would compute it: {piped:?}"
        );
        for footprint in [Footprint::Embedded, Footprint::Production] {
            let other = Stage::new(footprint);
            counts(&import(&other, &[out], 0).0, 5, 0, 0);
            let after = table(&other).await;
            if footprint == stage.footprint {
                assert_eq!(after, before);
            }
            let again = run(&other, &["user", "export", "--format", format]).with(0);
            assert_eq!(again.out, piped.out);
        }
        let bare = run(
            &stage,
            &["user", "export", "--format", format, "--without-hashes"],
        )
        .with(0);
        assert!(
            !bare.out.contains("$2") && bare.out.contains("salem@example.com"),
            "{bare:?}"
        );
        let bare = file(&stage, &format!("bare.{format}"), bare.out);
        counts(&import(&stage, &[&bare], 0).0, 0, 5, 0);
    }
    let reported = audit(&stage, "export").await;
    assert_eq!(reported[0], "5 users, with password hashes");
    assert_eq!(
        reported
            .iter()
            .filter(|reason| reason.contains("without"))
            .count(),
        2
    );
});

on_both!(a_uid_is_kept_and_never_given_twice, async |stage: Stage| {
    let codes = |rows: &str| {
        let path = file(&stage, "uids.csv", format!("uid,email\n{rows}"));
        let (_, refused) = import(&stage, &[&path], i32::from(!rows.contains("kept")));
        let codes = refused
            .iter()
            .map(|line| line["code"].as_str().expect("a code").to_owned());
        codes.collect::<Vec<_>>()
    };
    let uid = "0b2a1f52-6a1c-4c57-9d7e-3f5a8f1f8a11";
    assert_eq!(codes(&format!("{uid},kept@example.com\n")), [""; 0]);
    assert_eq!(
        codes(&format!(
            "{uid},other@example.com\nnonsense,third@example.com\n00000000-0000-0000-0000-000000000000,zero@example.com\n"
        )),
        ["uid_taken", "invalid_uid", "invalid_uid"]
    );
    let other = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let twice = format!("{other},one@example.com\n{other},two@example.com\n");
    assert_eq!(codes(&twice), ["duplicate"]);
    let db = db(&stage).await;
    let shown = match stage.footprint {
        Footprint::Embedded => "lower(hex(uid))",
        Footprint::Production => "replace(uid::text, '-', '')",
    };
    let sql = format!("select {shown} from users where email = 'kept@example.com'");
    assert_eq!(database::texts(&db, &sql).await, [uid.replace('-', "")]);
    db.close().await;
});

on_both!(keycloaks_realm_comes_from_its_export, async |stage: Stage| {
    let arguments = [&*fixture("keycloak.json"), "--from", "keycloak"];
    let (_, refused) = import(&stage, &arguments, 1);
    let reported: Vec<_> = refused
        .iter()
        .map(|line| (line["code"].as_str().unwrap(), line["email"].as_str()))
        .collect();
    assert!(reported.contains(&("email_missing", None)), "{refused:?}");
    assert!(
        reported.contains(&("unsupported_hash", Some("md5@example.com"))),
        "{refused:?}"
    );
    let server = stage.start().await;
    assert_eq!(user(&server, "argon2@example.com").await["role"], "admin");
    // The code of an app that came along, of a user whose address is verified, is asked for.
    let body = json!({ "email": "khalid@example.com", "password": PASSWORD });
    let asked = server
        .post("/auth/login", &body)
        .await
        .is_problem(403, "mfa_required");
    assert_eq!(asked.json["methods"], json!(["totp", "recovery_code"]));
    let code = totp::code(
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        server.app.clock.now().as_secs(),
    );
    let body = json!({ "flow": asked.text_of("flow"), "method": "totp", "code": code });
    server.post("/auth/login/mfa", &body).await.is(200);
    assert!(
        reported.contains(&("factor_not_taken", Some("argon2@example.com"))),
        "{refused:?}"
    );
    // Each once as Keycloak hashed it, and once as we have hashed it since.
    for email in ["sha512@example.com", "argon2@example.com"] {
        for _ in 0..2 {
            server.log_in(email).await;
        }
        let hash = database::password_hash(&server.app.db, email).await;
        assert!(hash.starts_with("$2b$04$"), "{email}: {hash}");
    }
    server.stop().await;
    let (summary, refused) = import(
        &stage,
        &[arguments[0], arguments[1], arguments[2], "--without-password"],
        1,
    );
    assert_eq!((refused.len(), &summary["lines"]), (2, &json!(6)));
    let khalid = run(&stage, &["user", "show", "khalid@example.com", "--json"])
        .with(0)
        .json();
    assert_eq!(
        khalid,
        json!({ "id": khalid["id"], "uid": khalid["uid"], "email": "khalid@example.com", "full_name": "خالد العتيبي", "role": "analyst", "is_active": true,
            "email_verified": true, "mfa_enabled": true, "locale": "ar", "created_at": "2023-11-14T22:13:20.123000Z", "updated_at": khalid["updated_at"],
            "last_login_at": khalid["last_login_at"], "frozen_at": null, "deleted_at": null, "purge_at": null })
    );
    let sha512 = run(&stage, &["user", "show", "sha512@example.com", "--json"])
        .with(0)
        .json();
    assert_eq!(
        (&sha512["role"], &sha512["email_verified"]),
        (&json!("user"), &json!(false))
    );
    let sha1 = run(&stage, &["user", "show", "sha1@example.com", "--json"])
        .with(0)
        .json();
    assert_eq!(sha1["is_active"], false);
});

on_both!(auth0s_users_come_from_its_export, async |stage: Stage| {
    let path = fixture("auth0.ndjson");
    let (_, refused) = import(&stage, &[&path, "--from", "auth0"], 1);
    assert!(codes(&refused).contains(&(3, "unsupported_hash")), "{refused:?}");
    let server = stage.start().await;
    let reem = user(&server, "reem@example.com").await;
    assert_eq!(
        (&reem["full_name"], &reem["email_verified"], &reem["created_at"]),
        (&json!("ريم"), &json!(true), &json!("2024-03-04T00:00:00.000000Z"))
    );
    server.stop().await;
    import(&stage, &[&path, "--from", "auth0", "--without-password"], 0);
    let custom = run(&stage, &["user", "show", "custom@example.com", "--json"])
        .with(0)
        .json();
    assert_eq!(
        (&custom["full_name"], &custom["is_active"]),
        (&json!("Cus Tom"), &json!(false))
    );
});

on_both!(firebases_users_come_from_its_export, async |stage: Stage| {
    for (name, without, refused_lines) in [("firebase.json", 1, 1), ("firebase.csv", 0, 0)] {
        let path = fixture(name);
        // The parameters are asked for, line by line.
        let (_, refused) = import(&stage, &[&path, "--from", "firebase", "--dry-run"], 1);
        assert_eq!(
            refused
                .iter()
                .filter(|line| line["code"] == "hash_parameters_missing")
                .count(),
            2
        );
        let config = fixture("firebase-config.json");
        let arguments = [&*path, "--from", "firebase", "--firebase-config", &config];
        import(&stage, &arguments, i32::from(refused_lines > 0));
        if refused_lines > 0 {
            let server = stage.start().await;
            for _ in 0..2 {
                server.log_in("layla@example.com").await;
            }
            let hash = database::password_hash(&server.app.db, "layla@example.com").await;
            assert!(hash.starts_with("$2b$04$"), "{hash}");
            let body = json!({ "email": "adam@example.com", "password": PASSWORD });
            server
                .post("/auth/login", &body)
                .await
                .is_problem(403, "account_inactive");
            // The project's signer key is nowhere, also not in the hash.
            let stored = database::password_hash(&server.app.db, "adam@example.com").await;
            assert!(
                stored.starts_with("$firebase-scrypt$v=1,ln=12,r=8,p=1$") && !stored.contains("AAECAwQFBgcI"),
                "{stored}"
            );
            server.stop().await;
        }
        for email in ["layla@example.com", "adam@example.com", "google@example.com"] {
            run(&stage, &["user", "delete", email, "--yes", "--now"]);
        }
        let (summary, refused) = import(
            &stage,
            &[&path, "--from", "firebase", "--dry-run", "--without-password"],
            i32::from(refused_lines > 0),
        );
        assert_eq!(
            (&summary["created"], refused.len()),
            (&json!(2 + without), refused_lines),
            "{name}"
        );
    }
});
