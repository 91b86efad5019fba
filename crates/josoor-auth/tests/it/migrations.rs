//! The tables: created once, by the first node, and never over those of another program.

use std::collections::BTreeSet;

use josoor_auth::app::App;
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;

use crate::store_start;
use crate::support::server::{Footprint, PASSWORD, Stage, Tokens, http_client, on_both};
use crate::support::{command, database};

async fn open(stage: &Stage) -> josoor_auth::error::Result<App> {
    let config = Config::parse(None, stage.environment()).unwrap_or_else(|error| panic!("{error}"));
    App::open(config, Clock::System).await
}

/// The names of all tables of ours.
async fn tables(app: &App, stage: &Stage) -> BTreeSet<String> {
    let sql = match stage.footprint {
        Footprint::Embedded => {
            "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
        }
        Footprint::Production => {
            "select table_name::text from information_schema.tables where table_schema = current_schema()"
        }
    };
    database::texts(&app.db, sql).await.into_iter().collect()
}

on_both!(
    a_database_of_a_later_version_is_refused_unless_that_version_allows_it,
    async |stage: Stage| {
        let app = open(&stage).await.expect("it opens");
        let known = database::number(&app.db, "select max(version) from josoor_auth_migrations").await;
        let nothing = match stage.footprint {
            Footprint::Embedded => "x''",
            Footprint::Production => "''",
        };
        let later = format!(
            "insert into josoor_auth_migrations (version, description, installed_on, success, checksum, execution_time)
             values (9001, 'of a later version', current_timestamp, true, {nothing}, 0)"
        );
        database::execute(&app.db, &later).await;
        let commands = [&["serve"][..], &["migrate"], &["user", "list"]];
        let are_refused = |made_by: &str| {
            for command in commands {
                command::run(&stage, command)
                    .with(1)
                    .says(&[made_by, "this is version 0.1.0"]);
            }
            let [level, found, remedy] = store_start::findings(&stage, "migrations").remove(0);
            assert!(
                level == "problem" && found.contains(made_by) && !remedy.is_empty(),
                "{level} {found}"
            );
        };
        tokio::task::block_in_place(|| are_refused("made by a later version, of which migration 9001 is"));
        // A version says what it knows, and what others have to know that run beside it.
        let says = format!(
            "insert into guards (name, passes) values ('program 9.8.7', 9001), ('beside 9.8.7', {known} + 1)"
        );
        database::execute(&app.db, &says).await;
        tokio::task::block_in_place(|| are_refused("made by version 9.8.7"));
        let allows = format!("update guards set passes = {known} where name = 'beside 9.8.7'");
        database::execute(&app.db, &allows).await;
        app.close().await;
        let listed = tokio::task::block_in_place(|| command::run(&stage, &["user", "list"]));
        listed.with(0);
        let app = open(&stage).await.expect("it opens");
        let noted = format!(
            "select passes from guards where name = 'program {}'",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(database::number(&app.db, &noted).await, known);
        app.close().await;
    }
);

on_both!(
    five_servers_that_start_together_make_one_schema_and_one_set_of_keys,
    async |mut stage: Stage| {
        stage.set("JWT_ALGORITHM", "EdDSA");
        let apps = futures_util::future::join_all((0..5).map(|_| open(&stage))).await;
        let apps: Vec<App> = apps
            .into_iter()
            .map(|app| app.expect("each of them opens"))
            .collect();
        let first = &apps[0];
        let versions = "select count(*) from josoor_auth_migrations";
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
        let expected = i64::try_from(files.expect("a folder").count()).expect("a small number");
        assert_eq!(database::number(&first.db, versions).await, expected);
        let mut purposes = database::texts(&first.db, "select purpose from keys").await;
        purposes.sort_unstable();
        assert_eq!(purposes, ["access:EdDSA", "server"]);
        for app in &apps {
            assert_eq!(app.keys.access.public_keys(), first.keys.access.public_keys());
            assert_eq!(app.db.pending_migrations().await.unwrap(), 0);
        }
        for app in apps {
            app.close().await;
        }
        // And what one has issued, all others know.
        let one = stage.start().await;
        let other = stage.start().await;
        let tokens = one.register("shared@example.com").await;
        other.get("/auth/me", &tokens.access).await.is(200);
        other.refresh(&tokens.refresh).await.is(200);
        one.stop().await;
        other.stop().await;
    }
);

on_both!(opening_again_changes_nothing, async |stage: Stage| {
    let server = stage.start().await;
    let tokens = server.register("kept@example.com").await;
    let before = tables(&server.app, &stage).await;
    for name in [
        "users",
        "sessions",
        "changes",
        "keys",
        "audit",
        "josoor_auth_migrations",
    ] {
        assert!(before.contains(name), "{before:?}");
    }
    server.stop().await;
    for _ in 0..2 {
        let server = stage.start().await;
        assert_eq!(tables(&server.app, &stage).await, before);
        server.get("/auth/me", &tokens.access).await.is(200);
        server.stop().await;
    }
    let migrated = command::run(&stage, &["migrate"]).with(0);
    assert!(migrated.out.contains("up to date"), "{migrated:?}");
});

on_both!(
    a_users_table_of_another_program_is_refused_and_left_alone,
    async |stage: Stage| {
        let config = Config::parse(None, stage.environment()).unwrap();
        let db = josoor_auth::store::Db::open(&config.database).await.unwrap();
        database::execute(&db, "create table users (name text)").await;
        database::execute(&db, "insert into users values ('theirs')").await;
        let refused = open(&stage).await.expect_err("a foreign table");
        let reported = format!("{refused:?}");
        assert!(
            reported.contains("users") && reported.contains("JOSOOR_AUTH__DATABASE__SCHEMA"),
            "{reported}"
        );
        for arguments in [&["migrate"][..], &["serve"], &["user", "list"]] {
            command::run(&stage, arguments)
                .with(1)
                .says(&["users", "another program", "DATABASE_URL"]);
        }
        assert_eq!(database::texts(&db, "select name from users").await, ["theirs"]);
        let tables = match stage.footprint {
            Footprint::Embedded => {
                "select count(*) from sqlite_master where type = 'table' and name not like 'sqlite_%'"
            }
            Footprint::Production => {
                "select count(*) from information_schema.tables where table_schema = 'public'"
            }
        };
        assert_eq!(database::number(&db, tables).await, 1);
        db.close().await;
    }
);

/// Next to another program's tables, in a schema of its own. SQLite has no schemas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_its_own_keeps_the_tables_apart() {
    let mut stage = Stage::new(Footprint::Production);
    let config = Config::parse(None, stage.environment()).unwrap();
    let db = josoor_auth::store::Db::open(&config.database).await.unwrap();
    database::execute(&db, "create table users (name text)").await;
    stage.set("JOSOOR_AUTH__DATABASE__SCHEMA", "josoor_auth");
    let server = stage.start().await;
    server.register("apart@example.com").await;
    assert_eq!(
        database::number(&db, "select count(*) from josoor_auth.users").await,
        1
    );
    assert_eq!(
        database::number(&db, "select count(*) from public.users").await,
        0
    );
    server.stop().await;
    db.close().await;
}

/// During an upgrade nodes of both versions run on one database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_the_version_before_serves_on_the_new_tables() {
    let stage = Stage::new(Footprint::Production);
    let previous = command::Serving::start_previous(&stage);
    let server = stage.start().await;
    let here = server.register("here@example.com").await;
    let http = http_client();
    let body = serde_json::json!({ "email": "there@example.com", "password": PASSWORD });
    let request = http.post(previous.url("/auth/register")).json(&body);
    let there = Tokens::of(&server.send(request).await.is(201));
    for (token, url) in [
        (&here.access, previous.url("/auth/me")),
        (&there.access, server.url("/auth/me")),
    ] {
        server.send(http.get(url).bearer_auth(token)).await.is(200);
    }
    server.stop().await;
}
