//! Taking over the platform's own table of users.

use josoor_auth::config::Config;
use josoor_auth::store::Db;
use serde_json::json;

use crate::support::command::run;
use crate::support::database::{execute, number, texts};
use crate::support::server::{Footprint, PASSWORD, Stage, on_both};

/// `PASSWORD`, as the platform's passlib wrote it.
const HASH: &str = "$2b$04$";

async fn open(stage: &Stage) -> Db {
    let config = Config::parse(None, stage.environment()).unwrap_or_else(|error| panic!("{error}"));
    Db::open(&config.database).await.expect("it opens")
}

fn hash() -> String {
    let hash = bcrypt(PASSWORD);
    assert!(hash.starts_with(HASH));
    hash
}

/// From the command line, with the lowest cost, in a database of its own.
fn bcrypt(password: &str) -> String {
    use std::sync::OnceLock;
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let stage = Stage::new(Footprint::Embedded);
        let made = crate::support::command::run_with(
            &stage,
            &["user", "create", "hash@example.com", "--password-stdin"],
            password.as_bytes(),
        );
        made.with(0);
        let file = std::fs::read(stage.directory().join("auth.db-wal"))
            .or_else(|_| std::fs::read(stage.directory().join("auth.db")));
        let mut bytes = file.expect("the database");
        bytes.extend(std::fs::read(stage.directory().join("auth.db")).expect("the database"));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let at = text.find("$2b$04$").expect("a hash");
        text[at..at + 60].to_owned()
    })
    .clone()
}

/// The platform's tables, as SQLAlchemy makes them.
async fn platform(db: &Db, role: &str) {
    let (id, kind, time) = match db {
        Db::Postgres(_) => ("serial primary key", role, "timestamptz"),
        Db::Sqlite { .. } => ("integer not null primary key", "varchar(7)", "datetime"),
    };
    if matches!(db, Db::Postgres(_)) && role == "userrole" {
        execute(db, "create type userrole as enum ('USER', 'ANALYST', 'ADMIN')").await;
    }
    execute(
        db,
        &format!(
            "create table users (id {id}, email varchar(255) not null, password_hash varchar(255) not null,
                full_name varchar(255), role {kind} not null, is_active boolean not null,
                created_at {time} default current_timestamp, updated_at {time})"
        ),
    )
    .await;
    execute(db, "create unique index ix_users_email on users (email)").await;
    execute(db, "create index ix_users_id on users (id)").await;
    execute(
        db,
        "create table dashboards (id integer primary key, owner_id integer not null references users (id) on delete cascade)",
    )
    .await;
    let hash = hash();
    for (id, email, name, role, active) in [
        (3, "Sara@Example.com", "'سارة'", "USER", true),
        (7, "boss@example.com", "null", "ADMIN", true),
        (9, "gone@example.com", "'Gone'", "ANALYST", false),
    ] {
        execute(
            db,
            &format!(
                "insert into users (id, email, password_hash, full_name, role, is_active, created_at, updated_at)
                 values ({id}, '{email}', '{hash}', {name}, '{role}', {active}, '2024-05-06 07:08:09', null)"
            ),
        )
        .await;
    }
    execute(db, "insert into dashboards (id, owner_id) values (1, 3), (2, 7)").await;
}

async fn takes_over(mut stage: Stage, role: &str) {
    // What refers to an account goes with its row, which a deletion takes away at once only without a grace.
    stage.set("JOSOOR_AUTH__ACCOUNT__DELETION_GRACE", "0s");
    let db = open(&stage).await;
    platform(&db, role).await;
    db.close().await;
    // Untouched until the operator asks for it; the error says how.
    run(&stage, &["migrate"]).with(1).says(&["migrate --adopt"]);
    let ended = run(&stage, &["migrate", "--adopt", "--dry-run"]).with(0);
    assert!(ended.out.contains("3 users would be taken over"), "{ended:?}");
    run(&stage, &["migrate"]).with(1);
    let ended = run(&stage, &["migrate", "--adopt"]).with(0);
    assert!(ended.out.contains("3 users were taken over"), "{ended:?}");
    let ended = run(&stage, &["migrate", "--adopt"]).with(0);
    assert!(
        ended.out.contains("there is no `users` table of another program"),
        "{ended:?}"
    );
    run(&stage, &["migrate"]).with(0);

    let server = stage.start().await;
    let db = &server.app.db;
    let sara = server.log_in("sara@example.com").await;
    assert_eq!(sara.user_id, 3);
    let me = server.get("/auth/me", &sara.access).await.is(200).json;
    assert_eq!(
        (&me["email"], &me["full_name"], &me["role"], &me["created_at"]),
        (
            &json!("Sara@Example.com"),
            &json!("سارة"),
            &json!("user"),
            &json!("2024-05-06T07:08:09.000000Z")
        )
    );
    let boss = server.log_in("boss@example.com").await;
    let users = server.get("/admin/users?q=sara", &boss.access).await.is(200);
    assert_eq!(users.json["total"], 1);
    let body = json!({ "email": "gone@example.com", "password": PASSWORD });
    server
        .post("/auth/login", &body)
        .await
        .is_problem(403, "account_inactive");
    // New ids come after the old ones, and the other table still hangs on this one.
    assert!(server.register("new@example.com").await.user_id > 9);
    server.delete("/admin/users/3", &boss.access).await.is(204);
    assert_eq!(
        texts(db, "select cast(owner_id as text) from dashboards").await,
        ["7"]
    );
    let orphan = match db {
        Db::Postgres(pool) => sqlx::query("insert into dashboards (id, owner_id) values (9, 999)")
            .execute(&**pool)
            .await
            .is_err(),
        Db::Sqlite { writer, .. } => sqlx::query("insert into dashboards (id, owner_id) values (9, 999)")
            .execute(writer)
            .await
            .is_err(),
    };
    assert!(orphan, "the foreign key holds");
    assert_eq!(
        number(
            db,
            "select count(*) from audit where action = 'user_import' and reason = '3 users adopted'"
        )
        .await,
        1
    );
    if let Db::Postgres(_) = db {
        // As the migration makes it, but for the order of the columns and what the platform has besides.
        let shape = "select column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') || ' ' || is_identity
             from information_schema.columns where table_name = 'users' and table_schema = 'public' order by 1";
        let keys = "select contype::text || ' ' || pg_get_constraintdef(oid) from pg_constraint
             where conrelid in ('users'::regclass, 'sessions'::regclass, 'one_time_tokens'::regclass) order by 1";
        let fresh = Stage::new(Footprint::Production);
        let other = fresh.start().await;
        for sql in [shape, keys] {
            let (mut ours, expected) = (texts(db, sql).await, texts(&other.app.db, sql).await);
            ours.retain(|line| line != "n NOT NULL id" || expected.contains(line));
            assert_eq!(ours, expected);
        }
        other.stop().await;
    }
    server.stop().await;
}

on_both!(
    the_platforms_table_is_taken_over_where_it_stands,
    async |stage: Stage| {
        takes_over(stage, "userrole").await;
    }
);

#[tokio::test(flavor = "multi_thread")]
async fn a_role_as_text_is_taken_over_as_well() {
    takes_over(Stage::new(Footprint::Production), "varchar(20)").await;
}

on_both!(
    d14_hashes_as_django_writes_them_are_taken_over,
    async |stage: Stage| {
        let db = open(&stage).await;
        platform(&db, "varchar(20)").await;
        let django = format!(
            "update users set password_hash = 'bcrypt${}' where id = 3",
            hash()
        );
        execute(&db, &django).await;
        execute(&db, "update users set password_hash = '!unusable' where id = 7").await;
        run(&stage, &["migrate", "--adopt"]).with(0);
        let hashes =
            "select coalesce(substr(password_hash, 1, 4), '-') from users where id in (3, 7) order by id";
        assert_eq!(texts(&db, hashes).await, ["$2b$", "-"]);
        let invited = "select case when invited_at = created_at then 'invited' else '-' end from users where id in (3, 7) order by id";
        assert_eq!(texts(&db, invited).await, ["-", "invited"]);
        db.close().await;
        let server = stage.start().await;
        server.log_in("sara@example.com").await;
        server.stop().await;
    }
);

on_both!(
    what_cannot_be_taken_over_is_reported_and_nothing_is_changed,
    async |stage: Stage| {
        let db = open(&stage).await;
        platform(&db, "varchar(20)").await;
        for (id, email, password, role) in [
            (11, "SARA@example.com", hash(), "USER"),
            (12, "not an address", hash(), "USER"),
            (
                13,
                "md5@example.com",
                "5f4dcc3b5aa765d61d8327deb882cf99".to_owned(),
                "USER",
            ),
            (14, "owner@example.com", hash(), "OWNER"),
        ] {
            execute(&db, &format!("insert into users (id, email, password_hash, role, is_active) values ({id}, '{email}', '{password}', '{role}', true)")).await;
        }
        let ended = run(&stage, &["migrate", "--adopt"]).with(1);
        for reported in [
            "user 11: its address is that of user 3",
            "user 12: its address",
            "user 13: its password hash",
            "user 14: its role",
        ] {
            assert!(ended.out.contains(reported), "{ended:?}");
        }
        assert!(!format!("{ended:?}").contains("5f4dcc3b"), "{ended:?}");
        assert_eq!(number(&db, "select count(*) from users").await, 7);
        assert_eq!(texts(&db, "select role from users where id = 3").await, ["USER"]);
        // A column that would be in the way of every registration.
        execute(&db, "delete from users where id > 9").await;
        if let Db::Postgres(_) = db {
            execute(&db, "alter table users add column tenant integer").await;
            execute(&db, "update users set tenant = 1").await;
            execute(&db, "alter table users alter column tenant set not null").await;
        } else {
            execute(&db, "alter table users add column tenant integer").await;
        }
        run(&stage, &["migrate", "--adopt"]).with(1).says(&["tenant"]);
        execute(&db, "alter table users drop column tenant").await;
        run(&stage, &["migrate", "--adopt"]).with(0);
        db.close().await;
    }
);
