//! Databases that do not fit or are not there yet, as the start and `doctor` see them, and what a URL may ask for.

use std::io::{Read as _, Seek as _};
use std::time::{Duration, Instant};

use josoor_auth::config::Config;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::store_failures::open;
use crate::support::command::{Ended, Serving, run};
use crate::support::process::free_port;
use crate::support::server::{Footprint, Stage};
use crate::support::services::Postgres;

async fn as_operator(url: &str, statements: &[String]) {
    let mut operator = PgConnection::connect(url).await.expect("PostgreSQL is there");
    for statement in statements {
        operator
            .execute(AssertSqlSafe(statement.clone()))
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// What `doctor` says of one subject: its level, what was found and the remedy.
pub(crate) fn findings(stage: &Stage, check: &str) -> Vec<[String; 3]> {
    let ended = run(stage, &["doctor", "--json"]);
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    ended
        .json()
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["check"] == check)
        .map(|finding| ["level", "found", "remedy"].map(|name| text(finding, name)))
        .collect()
}

#[track_caller]
fn finds(stage: &Stage, check: &str, words: &[&str]) {
    let found = findings(stage, check);
    assert!(
        found.iter().any(|[level, found, remedy]| level == "problem"
            && words
                .iter()
                .all(|word| found.contains(word) || remedy.contains(word))),
        "{words:?} are not in {found:?}"
    );
}

/// The cause stands first, once, and nothing of somebody else's source.
#[track_caller]
fn is_plain(ended: &Ended, first: &str) {
    assert!(ended.err.starts_with(&format!("error: {first}")), "{ended:?}");
    assert_eq!(ended.err.matches(first).count(), 1, "{ended:?}");
    assert!(
        !ended.err.contains("at line") && !ended.err.contains("error returned from"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d8_a_database_that_is_not_utf8_is_refused_with_the_remedy() {
    let server = Postgres::start_own();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("in_{}", encoding.to_lowercase());
        let create = format!(
            "create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
        );
        as_operator(&server.url(), &[create]).await;
        let mut stage = Stage::new(Footprint::Production);
        stage.set("PORT", "0");
        stage.set(
            "DATABASE_URL",
            &format!("postgres://postgres@127.0.0.1:{}/{name}", server.port()),
        );
        for command in ["migrate", "serve"] {
            let ended = run(&stage, &[command]).with(1);
            assert!(
                [encoding, "UTF8", "create database"]
                    .iter()
                    .all(|word| ended.err.contains(word)),
                "{ended:?}"
            );
        }
        finds(&stage, "database", &[encoding, "UTF8", "create database"]);
        let mut operator = PgConnection::connect(&stage.environment()["DATABASE_URL"])
            .await
            .expect("it is there");
        let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&mut operator)
            .await
            .expect("the catalogue");
        assert_eq!(tables, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d17_missing_rights_are_named_with_the_remedy_that_helps() {
    let server = Postgres::start_own();
    let url = server.new_database();
    let name = url.rsplit('/').next().expect("a name");
    as_operator(
        &url,
        &[
            "create role plain login".to_owned(),
            // As PostgreSQL 15 and later have it from the start.
            "revoke create on schema public from public".to_owned(),
        ],
    )
    .await;
    let mut stage = Stage::new(Footprint::Production);
    stage.set("PORT", "0");
    stage.set("DATABASE_URL", &url.replace("postgres@", "plain@"));
    let ended = run(&stage, &["migrate"]).with(1);
    is_plain(
        &ended,
        "the user plain may not create tables in the schema public",
    );
    assert!(
        ended
            .err
            .contains("grant usage, create on schema public to plain"),
        "{ended:?}"
    );
    finds(
        &stage,
        "database",
        &[
            "plain",
            "grant usage, create on schema public to plain",
            "JOSOOR_AUTH__DATABASE__SCHEMA",
        ],
    );
    // A schema of its own, which it may not create either.
    stage.set("JOSOOR_AUTH__DATABASE__SCHEMA", "own");
    let ended = run(&stage, &["migrate"]).with(1);
    assert!(
        ended.err.contains("create schema own authorization plain"),
        "{ended:?}"
    );
    // What the remedies say helps.
    as_operator(&url, &["create schema own authorization plain".to_owned()]).await;
    run(&stage, &["migrate"]).with(0);
    stage.set("JOSOOR_AUTH__DATABASE__SCHEMA", "third");
    as_operator(&url, &[format!("grant create on database {name} to plain")]).await;
    run(&stage, &["migrate"]).with(0);
    stage.set("JOSOOR_AUTH__DATABASE__SCHEMA", "public");
    as_operator(
        &url,
        &["grant usage, create on schema public to plain".to_owned()],
    )
    .await;
    run(&stage, &["migrate"]).with(0);
    assert_eq!(findings(&stage, "database")[0][0], "ok");
    // Tables of another owner, with nothing to migrate.
    as_operator(
        &url,
        &[
            "create role reader login".to_owned(),
            "grant usage on schema public to reader".to_owned(),
        ],
    )
    .await;
    stage.set("DATABASE_URL", &url.replace("postgres@", "reader@"));
    finds(
        &stage,
        "database",
        &[
            "reader",
            "grant select, insert, update, delete on all tables in schema public to reader",
        ],
    );
    as_operator(
        &url,
        &[
            "grant select, insert, update, delete on all tables in schema public to reader".to_owned(),
            "grant usage on all sequences in schema public to reader".to_owned(),
        ],
    )
    .await;
    stage.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_a10_the_cause_stands_first_and_once() {
    let server = Postgres::start_own();
    let url = server.new_database();
    let mut stage = Stage::new(Footprint::Production);
    stage.set("PORT", "0");
    stage.set("JOSOOR_AUTH__DATABASE__START_TIMEOUT", "0s");
    let port = server.port();
    let nothing = free_port();
    let hashes = "alter system set password_encryption = 'scram-sha-256'".to_owned();
    as_operator(
        &url,
        &[hashes, "create role named login password 'right'".to_owned()],
    )
    .await;
    for (url, first, words) in [
        (
            format!("postgres://postgres@127.0.0.1:{nothing}/x"),
            "Connection refused",
            vec![format!("127.0.0.1:{nothing}"), "DATABASE_URL".to_owned()],
        ),
        (
            format!("postgres://postgres@127.0.0.1:{port}/nothing"),
            "database \"nothing\" does not exist",
            vec!["create database".to_owned()],
        ),
        (
            format!("postgres://stranger@127.0.0.1:{port}/postgres"),
            "role \"stranger\" does not exist",
            vec!["user and the password in DATABASE_URL".to_owned()],
        ),
        (
            format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=require"),
            "TLS: server does not support TLS",
            vec!["sslmode in DATABASE_URL".to_owned()],
        ),
        (
            format!(
                "postgres://postgres@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert=/no/such/file"
            ),
            "No such file or directory",
            vec!["/no/such/file".to_owned(), "sslrootcert".to_owned()],
        ),
        (
            "postgres://postgres@/postgres?host=/no/such/folder".to_owned(),
            "No such file or directory",
            vec!["/no/such/folder/.s.PGSQL.5432".to_owned()],
        ),
    ] {
        stage.set("DATABASE_URL", &url);
        for command in [&["user", "list"][..], &["migrate"], &["serve"]] {
            let ended = run(&stage, command).with(1);
            // `serve` logs before it.
            let last = ended.err.find("error: ").map_or("", |at| &ended.err[at..]);
            let said = Ended {
                code: 1,
                out: String::new(),
                err: last.to_owned(),
            };
            is_plain(&said, first);
            assert!(words.iter().all(|word| said.err.contains(word)), "{said:?}");
        }
        let [level, found, remedy] = findings(&stage, "database").remove(0);
        assert!(level == "problem" && found.starts_with(first), "{level} {found}");
        assert!(
            words
                .iter()
                .all(|word| found.contains(word) || remedy.contains(word)),
            "{found} {remedy}"
        );
        assert!(!found.contains("doctor"), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_a10_serve_waits_for_a_database_that_comes_up() {
    let server = Postgres::start_own();
    let mut stage = Stage::new(Footprint::Production);
    stage.set("PORT", "0");
    stage.set("DATABASE_URL", &server.new_database());
    tokio::task::block_in_place(|| {
        server.stop();
        std::thread::scope(|scope| {
            let serving = scope.spawn(|| Serving::start(&stage));
            let log = stage.directory().join("log");
            crate::support::services::until("it says that it waits", || {
                std::fs::read_to_string(&log).is_ok_and(|text| text.contains("database_awaited"))
            });
            server.start();
            let serving = serving.join().expect("it runs");
            let log = serving.log();
            assert_eq!(log.matches("database_awaited").count(), 1, "{log}");
            assert!(
                log.contains("Connection refused") && log.contains("waited_ms"),
                "{log}"
            );
        });
    });
    // What does not pass by itself is not waited for, and neither is anything for longer than it is said.
    let port = server.port();
    stage.set(
        "DATABASE_URL",
        &format!("postgres://postgres@127.0.0.1:{port}/nothing"),
    );
    let started = Instant::now();
    run(&stage, &["serve"]).with(1);
    assert!(started.elapsed() < Duration::from_secs(10));
    stage.set(
        "DATABASE_URL",
        &format!("postgres://postgres@127.0.0.1:{}/x", free_port()),
    );
    stage.set("JOSOOR_AUTH__DATABASE__START_TIMEOUT", "1s");
    let started = Instant::now();
    run(&stage, &["serve"]).with(1).says(&["Connection refused"]);
    assert!((Duration::from_secs(1)..Duration::from_secs(15)).contains(&started.elapsed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d17_tls_takes_the_certificates_that_the_url_or_the_system_names() {
    let server = Postgres::start_with_tls();
    let url = server.new_database();
    let mut stage = Stage::new(Footprint::Production);
    stage.set("PORT", "0");
    stage.set("JOSOOR_AUTH__DATABASE__START_TIMEOUT", "0s");
    let authority = server.certificate();
    let with = |query: &str| format!("{}?{query}", url.replace("127.0.0.1", "localhost"));
    stage.set("DATABASE_URL", &with("sslmode=verify-full"));
    let ended = run(&stage, &["migrate"]).with(1);
    is_plain(&ended, "invalid peer certificate: UnknownIssuer");
    for query in [
        format!("sslmode=verify-full&sslrootcert={}", authority.display()),
        format!("sslmode=verify-ca&sslrootcert={}", authority.display()),
        "sslmode=require&connect_timeout=5&target_session_attrs=read-write&channel_binding=prefer".to_owned(),
    ] {
        stage.set("DATABASE_URL", &with(&query));
        run(&stage, &["migrate"]).with(0);
    }
    stage.set("SSL_CERT_FILE", &authority.display().to_string());
    for query in ["sslmode=verify-full", "sslrootcert=system"] {
        stage.set("DATABASE_URL", &with(query));
        run(&stage, &["migrate"]).with(0);
    }
    stage.set("SSL_CERT_FILE", "/no/such/file");
    let ended = run(&stage, &["migrate"]).with(1);
    assert!(ended.err.contains("SSL_CERT_FILE"), "{ended:?}");
}

#[test]
fn d17_each_parameter_of_the_url_is_understood_or_refused_by_name() {
    let check = |url: &str| {
        let mut stage = Stage::new(Footprint::Embedded);
        stage.set("DATABASE_URL", url);
        stage.set("MASTER_KEY", "Zr1wJ5mVt9xYc3Qh7Ls0Nd8Fk2Bg6Pa4Ue1Xi5To9Rw=");
        Config::parse(None, stage.environment()).map_err(|error| error.to_string())
    };
    for (url, words) in [
        (
            "postgres://u:p@a:5432,b:5432/db",
            &["several hosts", "primary"][..],
        ),
        (
            "postgres://u:p@a,b/db?target_session_attrs=read-write",
            &["several hosts"],
        ),
        ("postgres:///db?host=a,b", &["several hosts"]),
        (
            "postgres://u@a/db?target_session_attrs=standby",
            &["target_session_attrs", "read-write"],
        ),
        (
            "postgres://u@a/db?target_session_attrs=prefer-standby",
            &["target_session_attrs"],
        ),
        (
            "postgres://u@a/db?channel_binding=require",
            &["channel_binding", "verify-full"],
        ),
        ("postgres://u@a/db?gssencmode=require", &["gssencmode"]),
        ("postgres://u@a/db?sslnegotiation=direct", &["sslnegotiation"]),
        ("postgres://u@a/db?sslmode=allow", &["sslmode=allow"]),
        (
            "postgres://u@a/db?sslmode=no-verify",
            &["no-verify", "verify-full"],
        ),
        ("postgres://u@a/db?ssl=true", &["ssl", "sslmode=require"]),
        (
            "postgres://u@a/db?sslrootcert=system&sslmode=require",
            &["sslrootcert=system", "verify-full"],
        ),
        ("postgres://u@a/db?connect_timeout=soon", &["connect_timeout"]),
        (
            "postgres://u@a/db?schema=auth",
            &["JOSOOR_AUTH__DATABASE__SCHEMA=auth"],
        ),
        (
            "postgres://u@a/db?currentSchema=auth",
            &["JOSOOR_AUTH__DATABASE__SCHEMA=auth"],
        ),
        ("postgres://u@a/db?application_name=x", &["application_name"]),
        (
            "postgres://u@a/db?keepalives_idle=5",
            &["keepalives_idle", "leave it out"],
        ),
        ("postgres://u@a/db?pgbouncer=maybe", &["pgbouncer"]),
        ("postgres://u@/db", &["DATABASE_URL"]),
    ] {
        let error = check(url).expect_err(url);
        assert!(words.iter().all(|word| error.contains(word)), "{url}: {error}");
    }
    for (url, host, port, socket) in [
        (
            "postgres://u:p@a:5433/db?connect_timeout=3&target_session_attrs=primary&channel_binding=disable",
            "a",
            5433,
            None,
        ),
        (
            "postgres://u@/db?host=/run/postgresql",
            "",
            5432,
            Some("/run/postgresql"),
        ),
        (
            "postgres://u:p@:5433/db?host=/run/postgresql",
            "",
            5433,
            Some("/run/postgresql"),
        ),
        (
            "postgres:///db?host=/run/postgresql&user=u",
            "",
            5432,
            Some("/run/postgresql"),
        ),
        (
            "postgres://u@%2Frun%2Fpostgresql/db",
            "",
            5432,
            Some("/run/postgresql"),
        ),
        (
            "postgres://u:p%40ss%3Aw%2For%23d%3F%25@a/db?sslmode=require&pgbouncer=true",
            "a",
            5432,
            None,
        ),
    ] {
        let config = check(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let josoor_auth::config::Database::Postgres { url: read, options } = &config.database.url else {
            panic!("{url}");
        };
        let driver: sqlx::postgres::PgConnectOptions =
            read.expose().parse().expect("the driver understands it");
        assert_eq!(
            (driver.get_port(), driver.get_username(), driver.get_database()),
            (port, "u", Some("db")),
            "{url}"
        );
        match socket {
            Some(folder) => assert_eq!(
                driver
                    .get_socket()
                    .map(|path| path.display().to_string().trim_end_matches('/').to_owned()),
                Some(folder.to_owned())
            ),
            None => assert_eq!(driver.get_host(), host),
        }
        assert_eq!(options.connect_timeout.is_some(), url.contains("connect_timeout"));
        assert_eq!(options.is_pooled, url.contains("pgbouncer"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_a11_a_foreign_sqlite_file_is_left_as_it_was() {
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("PORT", "0");
    let file = stage.directory().join("foreign.db");
    {
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true);
        let mut other = sqlx::sqlite::SqliteConnection::connect_with(&options)
            .await
            .expect("a file");
        other
            .execute(
                "create table users (id integer primary key, name text); insert into users values (1, 'x')",
            )
            .await
            .expect("a table");
        other.close().await.expect("closed");
    }
    let before = std::fs::read(&file).expect("the file");
    stage.set("DATABASE_URL", &format!("sqlite://{}", file.display()));
    run(&stage, &["serve"])
        .with(1)
        .says(&["another program", "left untouched"]);
    run(&stage, &["doctor"]);
    run(&stage, &["user", "list"]).with(1);
    assert!(std::fs::read(&file).expect("the file") == before);
    for suffix in ["-wal", "-shm", "-journal"] {
        assert!(
            !stage.directory().join(format!("foreign.db{suffix}")).exists(),
            "{suffix}"
        );
    }
    // A file of ours is changed to a write-ahead log, in which readers do not wait.
    let stage = Stage::new(Footprint::Embedded);
    run(&stage, &["migrate"]).with(0);
    let mut head = [0; 20];
    let mut ours = std::fs::File::open(stage.directory().join("auth.db")).expect("the file");
    ours.rewind()
        .and_then(|()| ours.read_exact(&mut head))
        .expect("a head");
    assert_eq!(head[18..], [2, 2]);
}

#[test]
fn trials_a11_a_second_server_on_the_same_sqlite_file_is_warned_about() {
    let stage = Stage::new(Footprint::Embedded);
    let one = Serving::start(&stage);
    assert!(!one.log().contains("second_server"), "{}", one.log());
    // A command beside the server is as it should be.
    let listed = run(&stage, &["user", "list"]).with(0);
    assert!(!listed.err.contains("server"), "{listed:?}");
    let two = Serving::start_with(&stage, "log-of-second", &[]);
    assert!(two.log().contains("second_server"), "{}", two.log());
    drop((one, two));
    let three = Serving::start_with(&stage, "log-of-third", &[]);
    assert!(!three.log().contains("second_server"), "{}", three.log());
}

#[test]
fn trials_a11_doctor_tries_the_folder_of_the_database() {
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("PORT", "0");
    // Nothing can be created there, not even by root.
    stage.set("DATABASE_URL", "sqlite:///proc/josoor-auth/data/auth.db");
    finds(&stage, "files", &["/proc", "belong to the user"]);
    run(&stage, &["serve"])
        .with(1)
        .says(&["/proc/josoor-auth/data/auth.db"]);
    let folder = stage.directory().join("new/folder");
    stage.set("DATABASE_URL", &format!("sqlite://{}/auth.db", folder.display()));
    assert_eq!(findings(&stage, "files")[0][0], "ok");
    assert!(!stage.directory().join("new").exists());
    assert_eq!(std::fs::read_dir(stage.directory()).expect("a folder").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_opening_a_database_changes_nothing_in_it() {
    let stage = Stage::new(Footprint::Embedded);
    open(&stage).await.expect("it opens").close().await;
    let size = std::fs::metadata(stage.directory().join("auth.db"))
        .expect("a file")
        .len();
    assert_eq!(size, 0);
}
