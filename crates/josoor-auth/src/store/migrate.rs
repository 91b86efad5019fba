//! Bringing the tables up to date: once, whoever starts first, all or nothing.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr};

use super::{Db, store_error};
use crate::error::{Error, Result};

/// Numbered and additive: a released migration never changes, and the release before can run on the new tables.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "accounts and sessions",
        include_str!("../../migrations/0001_accounts_and_sessions.sql"),
    ),
    (
        2,
        "the life of an account",
        include_str!("../../migrations/0002_life_of_an_account.sql"),
    ),
    (
        3,
        "statistics",
        include_str!("../../migrations/0003_statistics.sql"),
    ),
    (4, "search", include_str!("../../migrations/0004_search.sql")),
    (
        5,
        "codes of audit rows",
        include_str!("../../migrations/0005_audit_codes.sql"),
    ),
    (6, "sessions", include_str!("../../migrations/0006_sessions.sql")),
    (7, "mail", include_str!("../../migrations/0007_mail.sql")),
    (8, "recovery", include_str!("../../migrations/0008_recovery.sql")),
    (10, "http", include_str!("../../migrations/0010_http.sql")),
    (
        11,
        "time of changes",
        include_str!("../../migrations/0011_time_of_changes.sql"),
    ),
];

/// All groups of three characters of a text, indexed: who looks for a longer text looks for its groups. Not `pg_trgm`, which
/// has to be installed, and which in a database of the locale C knows no letters but ASCII.
const SEARCH_POSTGRES: &str = "
create function josoor_auth_grams(text) returns text[] language sql immutable strict parallel safe as
$$ select pg_catalog.array_agg(distinct pg_catalog.substr($1, n, 3))
   from pg_catalog.generate_series(1, greatest(pg_catalog.length($1) - 2, 1)) as n $$;
create index users_grams on users using gin (josoor_auth_grams(search_text));
";

/// The same by SQLite's full-text index, which triggers keep.
const SEARCH_SQLITE: &str = "
create virtual table users_search using fts5 (search_text, content='users', content_rowid='id', tokenize='trigram');
insert into users_search (users_search) values ('rebuild');
create trigger users_search_insert after insert on users begin
    insert into users_search (rowid, search_text) values (new.id, new.search_text);
end;
create trigger users_search_delete after delete on users begin
    insert into users_search (users_search, rowid, search_text) values ('delete', old.id, old.search_text);
end;
create trigger users_search_update after update of search_text on users begin
    insert into users_search (users_search, rowid, search_text) values ('delete', old.id, old.search_text);
    insert into users_search (rowid, search_text) values (new.id, new.search_text);
end;
";

/// A random UUID (RFC 9562, version 4) for every user.
const UID_POSTGRES: &str = "
alter table users add column uid uuid not null default gen_random_uuid();
create unique index users_uid on users (uid);
";

/// The same where a column cannot be added with an expression as its default: a trigger fills it in. It uses no function that
/// SQLite got lately, because other programs write to the table with a SQLite of their own.
const UID_SQLITE: &str = "
alter table users add column uid blob;
update users set uid = cast(randomblob(6)
    || substr(x'404142434445464748494a4b4c4d4e4f', 1 + (random() & 15), 1) || randomblob(1)
    || substr(cast(x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'
        || x'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf' as blob), 1 + (random() & 63), 1) || randomblob(7) as blob);
create unique index users_uid on users (uid);
create trigger users_uid_insert after insert on users when new.uid is null begin
    update users set uid = cast(randomblob(6)
        || substr(x'404142434445464748494a4b4c4d4e4f', 1 + (random() & 15), 1) || randomblob(1)
        || substr(cast(x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'
            || x'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf' as blob), 1 + (random() & 63), 1) || randomblob(7) as blob)
        where id = new.id;
end;
";

/// The database stamps changes itself, also those of a node of the version before whose clock is wrong.
const STAMP_CHANGES_POSTGRES: &str = "
create function josoor_auth_stamp_change() returns trigger language plpgsql as
$$ begin new.at := clock_timestamp(); return new; end $$;
create trigger changes_stamp before insert on changes for each row execute function josoor_auth_stamp_change();
";

/// All processes that use one file share one clock.
const STAMP_CHANGES_SQLITE: &str = "select 1;";

/// Not sqlx's own name for it: another program may keep its migrations in the same schema.
pub(super) const TABLE: &str = "josoor_auth_migrations";

/// "josoor" in ASCII: nodes that start together queue for this advisory lock.
const ADVISORY_LOCK: i64 = 0x6a6f_736f_6f72;

pub(super) enum Engine {
    Postgres,
    Sqlite,
}

pub(super) fn migrator(engine: &Engine) -> Migrator {
    let (id, time, uuid, bytes, search, uid, stamp_changes) = match engine {
        // "by default", so that an import can keep the ids it brings.
        Engine::Postgres => (
            "bigint generated by default as identity primary key",
            "timestamptz",
            "uuid",
            "bytea",
            SEARCH_POSTGRES,
            UID_POSTGRES,
            STAMP_CHANGES_POSTGRES,
        ),
        // Without "autoincrement" SQLite gives the id of a deleted last row again.
        Engine::Sqlite => (
            "integer primary key autoincrement",
            "integer",
            "blob",
            "blob",
            SEARCH_SQLITE,
            UID_SQLITE,
            STAMP_CHANGES_SQLITE,
        ),
    };
    // A holder that no node has, and a time that does not come.
    let (no_uuid, no_end) = match engine {
        Engine::Postgres => ("'00000000-0000-0000-0000-000000000000'", "'9999-12-31T00:00:00Z'"),
        Engine::Sqlite => ("x'00000000000000000000000000000000'", "253402214400000000"),
    };
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, description, text)| {
            let sql = text
                .replace("{id}", id)
                .replace("{time}", time)
                .replace("{uuid}", uuid)
                .replace("{bytes}", bytes)
                .replace("{search}", search)
                .replace("{uid}", uid)
                .replace("{stamp_changes}", stamp_changes)
                .replace("{no_uuid}", no_uuid)
                .replace("{no_end}", no_end);
            let sql = AssertSqlSafe(sql).into_sql_str();
            Migration::new(
                *version,
                Cow::Borrowed(*description),
                MigrationType::Simple,
                sql,
                false,
            )
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.dangerous_set_table_name(TABLE);
    // The lock is ours, below: sqlx has none for SQLite. A newer release's migrations are no reason to stop.
    migrator.set_locking(false).set_ignore_missing(true);
    migrator
}

impl Db {
    /// Applies the migrations that are missing, in one transaction.
    ///
    /// Refuses a schema in which another program already has a `users` table.
    pub async fn migrate(&self, schema: &str) -> Result<()> {
        match self {
            Self::Postgres(pool) => {
                let mut tx = pool.begin().await.map_err(store_error)?;
                let (users, ours) = lock_and_prepare(&mut tx, schema).await?;
                if users > 0 && ours == 0 {
                    return Err(foreign_users(schema));
                }
                migrator(&Engine::Postgres)
                    .run(&mut *tx)
                    .await
                    .map_err(migrate_error)?;
                tx.commit().await.map_err(store_error)
            }
            Self::Sqlite { writer, .. } => {
                let mut tx = writer.begin_with("begin immediate").await.map_err(store_error)?;
                let row = sqlx::query(
                    "select coalesce(sum(name = 'users'), 0) as users, coalesce(sum(name = $1), 0) as ours
                     from sqlite_master where type = 'table'",
                )
                .bind(TABLE)
                .fetch_one(&mut *tx)
                .await
                .map_err(store_error)?;
                let (users, ours): (i64, i64) = (
                    row.try_get("users").map_err(store_error)?,
                    row.try_get("ours").map_err(store_error)?,
                );
                if users > 0 && ours == 0 {
                    return Err(foreign_users("this file"));
                }
                migrator(&Engine::Sqlite)
                    .run(&mut *tx)
                    .await
                    .map_err(migrate_error)?;
                tx.commit().await.map_err(store_error)
            }
        }
    }

    /// How many of this release's migrations the database does not have yet.
    pub async fn pending_migrations(&self) -> Result<usize> {
        const SQL: &str = "select version from josoor_auth_migrations";
        let applied: sqlx::Result<Vec<i64>> = match self {
            Self::Postgres(pool) => sqlx::query_scalar(SQL).fetch_all(&**pool).await,
            Self::Sqlite { readers, .. } => sqlx::query_scalar(SQL).fetch_all(readers).await,
        };
        match applied {
            Ok(applied) => Ok(MIGRATIONS
                .iter()
                .filter(|(version, ..)| !applied.contains(version))
                .count()),
            // The table itself is missing.
            Err(sqlx::Error::Database(_)) => Ok(MIGRATIONS.len()),
            Err(error) => Err(store_error(error)),
        }
    }
}

/// Waits for other nodes that migrate, makes the schema where it is missing, and says whether there are a table `users` and
/// our own record of migrations.
pub(super) async fn lock_and_prepare(tx: &mut sqlx::PgConnection, schema: &str) -> Result<(i64, i64)> {
    // Building an index on a large table may take longer than any ordinary statement.
    for sql in [
        "set local statement_timeout = 0",
        "set local idle_in_transaction_session_timeout = 0",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.map_err(store_error)?;
    }
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(ADVISORY_LOCK)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    // Asked first, because "if not exists" leaves a notice in the log at every start.
    let there: bool = sqlx::query_scalar(
        "select exists (select 1 from information_schema.schemata where schema_name = $1)",
    )
    .bind(schema)
    .fetch_one(&mut *tx)
    .await
    .map_err(store_error)?;
    if !there {
        // The configuration admits lower-case letters, digits and underscores only.
        let create = format!("create schema \"{schema}\"");
        sqlx::query(AssertSqlSafe(create))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
    }
    let row = sqlx::query(
        "select count(*) filter (where table_name = 'users') as users,
                count(*) filter (where table_name = $2) as ours
         from information_schema.tables where table_schema = $1",
    )
    .bind(schema)
    .bind(TABLE)
    .fetch_one(&mut *tx)
    .await
    .map_err(store_error)?;
    Ok((
        row.try_get("users").map_err(store_error)?,
        row.try_get("ours").map_err(store_error)?,
    ))
}

fn foreign_users(place: &str) -> Error {
    Error::Internal(anyhow::anyhow!(
        "there is a table `users` of another program in {place}, and it is left untouched. \
         `josoor-auth migrate --adopt` takes over the platform's own. Otherwise give JOSOOR Auth a schema of its own: set JOSOOR_AUTH__DATABASE__SCHEMA (for example to josoor_auth), \
         or another DATABASE_URL"
    ))
}

pub(super) fn migrate_error(error: sqlx::migrate::MigrateError) -> Error {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => store_error(error),
        other => Error::internal(other),
    }
}
