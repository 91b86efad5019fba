//! Migrations: applied at start, by one node at a time.
//!
//! SQLite applies what is missing in one transaction. On PostgreSQL nodes of the version before serve meanwhile, so each migration
//! is a transaction of its own, which waits only briefly for its locks; what a million rows get is written afterwards, in steps.
//! A migration that was killed goes on where it stood.

#[cfg(test)]
mod additive;
mod engines;
mod program;

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqlSafeStr, SqlitePool};

pub(super) use self::engines::{Engine, FOLDED_POSTGRES, FOLDED_SQLITE};
use super::conn::on;
use super::db::Db;
use super::failure::{code_of, store_error};
use super::postgres::{PgStore, begin_alone, commit_alone};
use super::sqlite::use_wal;
use crate::error::{Error, Result};
use crate::telemetry::codes;

/// Number, description and text of each file of `migrations`, in order. A released migration never changes.
const MIGRATIONS: &[(i64, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// What users get that were there before migration 12, for ids above $1 up to $2: a user without a password was invited and has
/// not accepted, unless its password was taken away; who has accepted since is known from the audit trail.
const BACKFILL: [&str; 2] = [
    "update users set invited_at = created_at
     where id > $1 and id <= $2 and invited_at is null and password_hash is null and password_changed_at is null",
    "update users set invited_at = recorded.invited_at, accepted_at = coalesce(recorded.accepted_at, users.password_changed_at)
     from (select subject_id, min(case when action = 'user_invite' then at end) as invited_at,
            min(case when action = 'password_reset' then at end) as accepted_at
        from audit where subject_id > $1 and subject_id <= $2 group by subject_id) as recorded
     where users.id = recorded.subject_id and recorded.invited_at is not null and users.invited_at is null
        and users.password_changed_at is not null",
];

/// The same for migration 10, where SQLite does it at once.
const BACKFILL_UID: &str =
    "update users set uid = gen_random_uuid() where id > $1 and id <= $2 and uid is null";

/// How far the steps are: the last id, or -1.
const POSITION: &str = "select passes from guards where name = 'backfill-users'";

/// Users in one step: their rows are locked for a fraction of a second.
const STEP: i64 = 2000;

/// How long a statement waits for a lock. While it waits others queue behind it, and give up after `STATEMENT_TIMEOUT`.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '2s'";

/// How often a lock is tried for, and the pause in which others go on: more than a minute.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(500);

/// How long one process waits for another that migrates the same file.
const SQLITE_WAIT: Duration = Duration::from_mins(30);

/// How long it waits before it says so.
const SQLITE_PATIENCE: Duration = Duration::from_secs(2);

/// Not sqlx's own name for it: another program may keep its migrations in the same schema.
pub(super) const TABLE: &str = "josoor_auth_migrations";

const APPLIED: &str = "select version from josoor_auth_migrations";

/// "josoor" in ASCII: nodes that start together queue for this advisory lock.
const ADVISORY_LOCK: i64 = 0x6a6f_736f_6f72;

pub(super) fn migrator(engine: Engine) -> Migrator {
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, description, text)| {
            let sql = engine
                .placeholders()
                .iter()
                .fold((*text).to_owned(), |text, (name, sql)| text.replace(name, sql));
            Migration::new(
                *version,
                Cow::Borrowed(*description),
                MigrationType::Simple,
                AssertSqlSafe(sql).into_sql_str(),
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

/// The migrations of these numbers, for an empty schema of PostgreSQL.
pub(super) fn migrator_of(versions: &[i64]) -> Migrator {
    let all = migrator(Engine::Postgres);
    let chosen = all
        .iter()
        .filter(|migration| versions.contains(&migration.version))
        .cloned()
        .collect();
    let mut migrator = Migrator::with_migrations(chosen);
    migrator.dangerous_set_table_name(TABLE);
    migrator.set_locking(false).set_ignore_missing(true);
    migrator
}

/// The tables that migrations make, in their order: each refers only to those before.
pub(super) fn table_names() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.iter().flat_map(|(_, _, text)| {
        text.lines()
            .filter_map(|line| line.strip_prefix("create table ")?.split([' ', '(']).next())
    })
}

/// Those of these migrations that this version does not know: they are of a newer one.
pub fn unknown_migrations(applied: &[i64]) -> Vec<i64> {
    let is_known = |version: &i64| MIGRATIONS.iter().any(|(known, ..)| known == version);
    applied
        .iter()
        .copied()
        .filter(|version| !is_known(version))
        .collect()
}

fn first_missing(applied: &[i64]) -> Option<i64> {
    missing(applied).next().map(|(version, _)| version)
}

/// Number and description of each migration that is missing.
fn missing(applied: &[i64]) -> impl Iterator<Item = (i64, &'static str)> {
    MIGRATIONS
        .iter()
        .map(|(version, description, _)| (*version, *description))
        .filter(|(version, _)| !applied.contains(version))
}

/// Says what was applied just now.
fn log_applied(engine: &str, migrations: impl Iterator<Item = (i64, &'static str)>) {
    for (version, description) in migrations {
        tracing::info!(database = engine, version, description, "a migration was applied");
    }
}

impl Db {
    /// Applies the migrations that are missing, and gives rows what they lack. Killed anywhere, the next call goes on.
    ///
    /// # Errors
    /// A schema in which another program has a table `users`, or a database of a later version; `StoreUnavailable` when a lock is
    /// not to be had.
    pub async fn migrate(&self, schema: &str) -> Result<()> {
        if matches!(self, Self::Postgres(_)) {
            self.refuse_unfit(schema).await?;
        }
        let applied = self.applied_migrations().await?;
        self.refuse_newer(&applied).await?;
        if matches!(self, Self::Postgres(_)) && !applied.is_empty() {
            // First, so that a node of the version before, which starts meanwhile, knows what it meets. One file of SQLite has
            // one node, and another start may be holding its lock for as long as migrations take.
            self.note_program().await?;
        }
        match self {
            Self::Postgres(store) => {
                while retry_locked(|| apply_next(store, schema)).await? {}
                while self.backfill_is_needed().await? {
                    retry_locked(|| backfill_step(store)).await?;
                }
            }
            Self::Sqlite { writer, .. } => migrate_sqlite(self, writer).await?,
        }
        self.note_program().await
    }

    /// How many of this release's migrations the database does not have yet.
    pub async fn pending_migrations(&self) -> Result<usize> {
        let applied = self.applied_migrations().await?;
        Ok(missing(&applied).count())
    }

    /// The migrations that were applied; none where the database is empty.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn applied_migrations(&self) -> Result<Vec<i64>> {
        let mut conn = self.read().await?;
        let applied: Result<Vec<i64>> = async { on!(conn, sqlx::query_scalar(APPLIED), fetch_all) }.await;
        match applied {
            // The table itself is missing: in PostgreSQL a name that is not known, in SQLite an error of the statement.
            Err(error) if matches!(code_of(&error).as_deref(), Some("42P01" | "1")) => Ok(Vec::new()),
            applied => applied,
        }
    }

    /// Whether there is nothing to apply, nothing to give, and the file has its write-ahead log.
    async fn is_migrated_in_wal(&self) -> Result<bool> {
        if self.pending_migrations().await? > 0 || self.backfill_is_needed().await? {
            return Ok(false);
        }
        let mut conn = self.read().await?;
        let mode: String = on!(conn, sqlx::query_scalar("pragma journal_mode"), fetch_one)?;
        Ok(mode == "wal")
    }

    async fn backfill_is_needed(&self) -> Result<bool> {
        let mut conn = self.read().await?;
        let after: i64 = on!(conn, sqlx::query_scalar(POSITION), fetch_one)?;
        Ok(after >= 0)
    }
}

/// Repeats a step that other transactions keep from its locks.
async fn retry_locked<T>(step: impl AsyncFn() -> Result<T>) -> Result<T> {
    for _ in 1..TRIES {
        match step().await {
            Err(error) if is_lock_conflict(&error) => {
                tracing::warn!(
                    code = codes::MIGRATION_WAITS,
                    "a migration waits for a lock that another transaction holds"
                );
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
    let done = step().await;
    let is_lock = done.as_ref().is_err_and(is_lock_conflict);
    done.map_err(|error| match error {
        Error::StoreUnavailable(cause) if is_lock => {
            Error::unavailable(cause.into_cause().context(
                "a migration cannot get a lock that another transaction has held for more than a minute. What was \
                 applied so far stays; nothing is half done. End the long transaction (pg_stat_activity shows it), then start again",
            ))
        }
        other => other,
    })
}

/// Lock not available, deadlock, serialisation failure.
fn is_lock_conflict(error: &Error) -> bool {
    matches!(code_of(error).as_deref(), Some("55P03" | "40P01" | "40001"))
}

/// Applies the first migration that is missing; in an empty schema all of them. Whether there may be more.
async fn apply_next(store: &PgStore, schema: &str) -> Result<bool> {
    let mut conn = store.connect_alone().await?;
    let mut tx = begin_alone(store, &mut conn).await?;
    let (users, ours) = lock_and_prepare(&mut tx, schema).await?;
    if users > 0 && ours == 0 {
        return Err(foreign_users(schema));
    }
    run_on_postgres(&mut tx, LOCK_TIMEOUT).await?;
    let migrator = migrator(Engine::Postgres);
    let mut applied = Vec::new();
    let mut next = None;
    if ours > 0 {
        applied = sqlx::query_scalar(APPLIED)
            .fetch_all(&mut *tx)
            .await
            .map_err(store_error)?;
        next = first_missing(&applied);
    }
    match next {
        Some(version) => migrator.run_to(version, &mut *tx).await,
        // The migrator creates its table "if not exists", which takes the right to create one.
        None if ours > 0 && !may_create(&mut tx, schema).await? => Ok(()),
        None => migrator.run(&mut *tx).await,
    }
    .map_err(migrate_error)?;
    commit_alone(store, tx).await?;
    // One at a time beside older nodes, all at once in an empty schema.
    let count = if next.is_some() { 1 } else { usize::MAX };
    log_applied("PostgreSQL", missing(&applied).take(count));
    Ok(next.is_some())
}

async fn may_create(conn: &mut sqlx::PgConnection, schema: &str) -> Result<bool> {
    sqlx::query_scalar("select has_schema_privilege($1, 'CREATE')")
        .bind(schema)
        .fetch_one(conn)
        .await
        .map_err(store_error)
}

async fn run_on_postgres(conn: &mut sqlx::PgConnection, sql: &'static str) -> Result<()> {
    sqlx::query(sql)
        .execute(conn)
        .await
        .map(drop)
        .map_err(store_error)
}

/// Gives the next users what they lack.
async fn backfill_step(store: &PgStore) -> Result<()> {
    // Of several nodes that start together one takes the step. The others wait here, before they hold anything of `users`, which the
    // last step alters.
    const TAKE: &str = "select passes from guards where name = 'backfill-users' for update";
    const LAST: &str =
        "select max(id) from (select id from users where id > $1 order by id limit $2) as step";
    const MOVE: &str = "update guards set passes = $1 where name = 'backfill-users'";
    let mut conn = store.connect_alone().await?;
    let mut tx = begin_alone(store, &mut conn).await?;
    for sql in ["set local statement_timeout = 0", LOCK_TIMEOUT] {
        run_on_postgres(&mut tx, sql).await?;
    }
    let after: i64 = sqlx::query_scalar(TAKE)
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
    if after < 0 {
        return Ok(());
    }
    let last: Option<i64> = sqlx::query_scalar(LAST)
        .bind(after)
        .bind(STEP)
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
    match last {
        Some(last) => {
            for sql in [BACKFILL_UID, BACKFILL[0], BACKFILL[1]] {
                let step = sqlx::query(sql).bind(after).bind(last);
                step.execute(&mut *tx).await.map_err(store_error)?;
            }
        }
        None => run_on_postgres(&mut tx, "alter table users alter column uid set not null").await?,
    }
    sqlx::query(MOVE)
        .bind(last.unwrap_or(-1))
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    commit_alone(store, tx).await
}

/// One transaction on a connection of its own: a table is rebuilt with foreign keys off, which cannot be switched inside of one.
async fn migrate_sqlite(db: &Db, writer: &SqlitePool) -> Result<()> {
    // Most starts have nothing to apply. They do not wait for a lock that another program holds.
    if db.is_migrated_in_wal().await? {
        return Ok(());
    }
    let options = SqliteConnectOptions::clone(&writer.connect_options())
        .foreign_keys(false)
        .busy_timeout(SQLITE_WAIT);
    let mut conn = options.connect().await.map_err(store_error)?;
    let migrated = match run_on_sqlite(&mut conn).await {
        // Only now: a file of another program stays as it is.
        Ok(()) => use_wal(&mut conn).await,
        Err(error) => Err(error),
    };
    conn.close().await.map_err(store_error)?;
    migrated
}

async fn run_on_sqlite(conn: &mut SqliteConnection) -> Result<()> {
    let mut beginning = pin!(conn.begin_with("begin immediate"));
    let begun = if let Ok(begun) = tokio::time::timeout(SQLITE_PATIENCE, &mut beginning).await {
        begun
    } else {
        tracing::warn!(
            code = codes::MIGRATION_WAITS,
            "a migration waits for a lock that another transaction holds"
        );
        beginning.await
    };
    let mut tx = begun.map_err(store_error)?;
    let (users, ours) = sqlite_tables(&mut tx).await?;
    if users > 0 && ours == 0 {
        return Err(foreign_users("this file"));
    }
    let migrator = migrator(Engine::Sqlite);
    let mut applied = Vec::new();
    if ours > 0 {
        applied = sqlx::query_scalar(APPLIED)
            .fetch_all(&mut *tx)
            .await
            .map_err(store_error)?;
    }
    let is_current = ours > 0 && first_missing(&applied).is_none();
    let before = if is_current {
        Vec::new()
    } else {
        count_rows(&mut tx).await?
    };
    migrator.run(&mut *tx).await.map_err(migrate_error)?;
    if is_current {
        return tx.commit().await.map_err(store_error);
    }
    backfill_sqlite(&mut tx).await?;
    let after = count_rows(&mut tx).await?;
    let orphans = sqlx::query("pragma foreign_key_check")
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
    if !orphans.is_empty() || before.iter().any(|count| !after.contains(count)) {
        return Err(Error::Internal(anyhow::anyhow!(
            "the migration would lose rows: {} refer to none, {before:?} were there and {after:?} would be. Nothing was changed",
            orphans.len()
        )));
    }
    tx.commit().await.map_err(store_error)?;
    log_applied("SQLite", missing(&applied));
    Ok(())
}

/// What [`backfill_step`] does, at once.
pub(super) async fn backfill_sqlite(conn: &mut SqliteConnection) -> Result<()> {
    let after: i64 = sqlx::query_scalar(POSITION)
        .fetch_one(&mut *conn)
        .await
        .map_err(store_error)?;
    if after < 0 {
        return Ok(());
    }
    for sql in BACKFILL {
        let step = sqlx::query(sql).bind(after).bind(i64::MAX);
        step.execute(&mut *conn).await.map_err(store_error)?;
    }
    sqlx::query("update guards set passes = -1 where name = 'backfill-users'")
        .execute(conn)
        .await
        .map(drop)
        .map_err(store_error)
}

/// Whether there are a table `users` and our own record of migrations.
pub(super) async fn sqlite_tables(conn: &mut SqliteConnection) -> Result<(i64, i64)> {
    sqlx::query_as(
        "select coalesce(sum(name = 'users'), 0), coalesce(sum(name = $1), 0) from sqlite_master where type = 'table'",
    )
    .bind(TABLE)
    .fetch_one(conn)
    .await
    .map_err(store_error)
}

/// How many rows each table has that is rebuilt, or that refers to one.
async fn count_rows(conn: &mut SqliteConnection) -> Result<Vec<(String, i64)>> {
    let names: Vec<String> = sqlx::query_scalar(
        "select name from sqlite_master where type = 'table' and name in ('users', 'sessions', 'one_time_tokens', 'registrations',
            'outbox', 'devices', 'past_credentials', 'email_corrections')",
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(store_error)?;
    let mut counts = Vec::with_capacity(names.len());
    for name in names {
        let count = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {name}")))
            .fetch_one(&mut *conn)
            .await
            .map_err(store_error)?;
        counts.push((name, count));
    }
    Ok(counts)
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
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => store_error(error),
        other => Error::internal(other),
    }
}
