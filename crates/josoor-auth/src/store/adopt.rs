//! Taking over a `users` table of the platform's first design where it stands, in one transaction.
//!
//! In PostgreSQL it stays the same table, so the foreign keys of other tables go on pointing at it. SQLite knows tables by
//! their names; there a table of our shape takes the name and the rows. Whatever cannot be taken over is reported, all of it, and
//! then nothing is changed.

use std::collections::HashMap;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, QueryBuilder, Row as _};

use super::db::Db;
use super::failure::store_error;
use super::migrate::{Engine, backfill_sqlite, lock_and_prepare, migrate_error, migrator, sqlite_tables};
use super::postgres::{begin_alone, commit_alone};
use crate::domain::{Email, FullName, Locale, PasswordHash, Role, SearchKeys, Timestamp};
use crate::error::{Error, Result};

/// What became of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Rows taken over, or that would be.
    pub users: u64,
    /// Why it cannot be done: the row's id, and the reason. With any of these nothing was changed.
    pub conflicts: Vec<(i64, String)>,
}

/// A row of the old table, as far as both engines read it alike.
struct Old {
    id: i64,
    email: String,
    password_hash: Option<String>,
    full_name: Option<String>,
    role: String,
    is_active: bool,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

/// The same row in our shape.
struct New {
    id: i64,
    email: String,
    email_key: String,
    password_hash: Option<String>,
    full_name: Option<String>,
    keys: SearchKeys,
    role: &'static str,
    is_active: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// The columns of the platform's table, besides the password's, which has two names.
const COLUMNS: [&str; 7] = [
    "id",
    "email",
    "full_name",
    "role",
    "is_active",
    "created_at",
    "updated_at",
];

/// The names that the platform's documents have for the password's column.
const PASSWORD_COLUMNS: [&str; 2] = ["password_hash", "hashed_password"];

/// Columns of our table, with types and defaults.
const COLUMNS_OF_OURS: &str =
    "select a.attname::text, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid)
    from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = 'users'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum";

/// Those that may not be null.
const REQUIRED_OF_OURS: &str = "select attname::text from pg_attribute
    where attrelid = 'users'::regclass and attnum > 0 and not attisdropped and attnotnull order by attnum";

/// The statements that give another table of that name the constraints, indexes and triggers of ours, and other tables their
/// references to it. The primary key is there.
const PARTS_OF_OURS: &str = "
    select format('alter table users add %s', pg_get_constraintdef(oid))
        from pg_constraint where conrelid = 'users'::regclass and contype in ('c', 'u')
    union all
    select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'users'::regclass
        and not exists (select 1 from pg_constraint where conindid = indexrelid and conrelid = indrelid)
    union all
    select pg_get_triggerdef(oid) from pg_trigger where tgrelid = 'users'::regclass and not tgisinternal
    union all
    select format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
        from pg_constraint where confrelid = 'users'::regclass and contype = 'f'";

/// Rows written in one statement: five values each.
const BATCH: usize = 500;

impl Db {
    /// Takes over the `users` table of the schema and brings everything else up to date. With `dry_run` only tells what
    /// would happen. `None` when there is nothing to take over.
    ///
    /// # Errors
    /// A table of another shape: the message names what is missing or in the way.
    pub async fn adopt(
        &self,
        schema: &str,
        locale: Locale,
        now: Timestamp,
        dry_run: bool,
    ) -> Result<Option<Adopted>> {
        match self {
            Self::Postgres(store) => {
                self.refuse_unfit(schema).await?;
                let mut conn = store.connect_alone().await?;
                let mut tx = begin_alone(store, &mut conn).await?;
                let (users, ours) = lock_and_prepare(&mut tx, schema).await?;
                if users == 0 || ours > 0 {
                    return Ok(None);
                }
                let adopted = adopt_postgres(&mut tx, schema, locale, now).await?;
                if adopted.conflicts.is_empty() && !dry_run {
                    commit_alone(store, tx).await?;
                }
                Ok(Some(adopted))
            }
            Self::Sqlite { writer, .. } => {
                let mut conn = writer.acquire().await.map_err(store_error)?;
                // Without these SQLite would follow the renaming into other tables' foreign keys. Neither can be said inside of a
                // transaction.
                let set = async |conn: &mut sqlx::SqliteConnection, on: bool| {
                    let text = if on {
                        "pragma foreign_keys = off; pragma legacy_alter_table = on"
                    } else {
                        "pragma legacy_alter_table = off; pragma foreign_keys = on"
                    };
                    sqlx::raw_sql(text).execute(conn).await.map_err(store_error)
                };
                set(&mut conn, true).await?;
                let adopted = adopt_sqlite(&mut conn, locale, now, dry_run).await;
                set(&mut conn, false).await?;
                adopted
            }
        }
    }
}

fn refused(what: impl std::fmt::Display) -> Error {
    Error::Internal(anyhow::anyhow!(
        "the table `users` cannot be taken over: {what}. Nothing was changed"
    ))
}

/// Which column has the passwords; an error when a column that is needed is missing.
fn password_column(columns: &[String]) -> Result<&'static str> {
    let has = |name: &str| columns.iter().any(|column| column == name);
    if let Some(missing) = COLUMNS.iter().find(|column| !has(column)) {
        return Err(refused(format!("it has no column `{missing}`")));
    }
    PASSWORD_COLUMNS
        .into_iter()
        .find(|column| has(column))
        .ok_or_else(|| refused("it has no column `password_hash`"))
}

/// Checks every row and gives it our shape.
fn translate(rows: Vec<Old>, now: Timestamp) -> (Vec<New>, Vec<(i64, String)>) {
    let (mut users, mut conflicts) = (Vec::with_capacity(rows.len()), Vec::new());
    let mut owners: HashMap<String, i64> = HashMap::new();
    for row in rows {
        let id = row.id;
        match translate_row(row, now) {
            Err(reason) => conflicts.push((id, reason)),
            Ok(user) => {
                if let Some(other) = owners.insert(user.email_key.clone(), id) {
                    conflicts.push((
                        id,
                        format!("its address is that of user {other}, but for letter case or form"),
                    ));
                }
                users.push(user);
            }
        }
    }
    (users, conflicts)
}

fn translate_row(row: Old, now: Timestamp) -> Result<New, String> {
    if row.id < 1 {
        return Err("its id is not positive".to_owned());
    }
    let email = Email::parse(&row.email)
        .map_err(|reason| format!("its address is not accepted ({})", reason.code))?;
    let full_name = match row.full_name.as_deref() {
        Some(name) => {
            FullName::parse(name).map_err(|reason| format!("its name is not accepted ({})", reason.code))?
        }
        None => None,
    };
    let role: Role = row
        .role
        .to_lowercase()
        .parse()
        .map_err(|_| "its role is none of user, analyst and admin".to_owned())?;
    let password_hash = match row.password_hash.filter(|text| !text.is_empty()) {
        Some(text) => {
            let hash = PasswordHash::import(&text)
                .map_err(|why| format!("its password hash cannot be checked here: {why}"))?;
            hash.map(|hash| hash.as_str().to_owned())
        }
        None => None,
    };
    let created_at = row.created_at.unwrap_or(now);
    Ok(New {
        id: row.id,
        email_key: email.key().to_owned(),
        keys: SearchKeys::of(email.key(), full_name.as_ref().map(FullName::as_str)),
        email: email.address().to_owned(),
        password_hash,
        full_name: full_name.map(|name| name.as_str().to_owned()),
        role: role.as_str(),
        is_active: row.is_active,
        created_at,
        updated_at: row.updated_at.unwrap_or(created_at),
    })
}

async fn run(conn: &mut PgConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(conn)
        .await
        .map(drop)
        .map_err(store_error)
}

async fn adopt_postgres(
    conn: &mut PgConnection,
    schema: &str,
    locale: Locale,
    now: Timestamp,
) -> Result<Adopted> {
    let columns: Vec<(String, String, bool)> = sqlx::query_as(
        "select column_name::text, data_type::text,
            is_nullable = 'NO' and column_default is null and is_identity = 'NO'
         from information_schema.columns where table_schema = $1 and table_name = 'users'",
    )
    .bind(schema)
    .fetch_all(&mut *conn)
    .await
    .map_err(store_error)?;
    let names: Vec<String> = columns.iter().map(|(name, ..)| name.clone()).collect();
    let password = password_column(&names)?;
    let is_known = |name: &str| COLUMNS.contains(&name) || name == password;
    if let Some((name, ..)) = columns
        .iter()
        .find(|(name, _, needed)| *needed && !is_known(name))
    {
        return Err(refused(format!(
            "its column `{name}` must have a value and has no default; give it a default, or let it be null"
        )));
    }
    // A time without a zone is in UTC, as the platform wrote it.
    let zoned = |name: &str| {
        let naive = columns
            .iter()
            .any(|(column, kind, _)| column == name && kind == "timestamp without time zone");
        if naive {
            format!("{name} at time zone 'UTC'")
        } else {
            name.to_owned()
        }
    };
    let rows = sqlx::query(AssertSqlSafe(format!(
        "select id::bigint as id, email::text as email, {password}::text as password_hash, full_name::text as full_name,
            role::text as role, coalesce(is_active, true) as is_active,
            ({})::timestamptz as created_at, ({})::timestamptz as updated_at
         from users order by id",
        zoned("created_at"),
        zoned("updated_at"),
    )))
    .fetch_all(&mut *conn)
    .await
    .map_err(store_error)?;
    let rows = rows
        .iter()
        .map(|row| {
            Ok(Old {
                id: row.try_get("id")?,
                email: row.try_get("email")?,
                password_hash: row.try_get("password_hash")?,
                full_name: row.try_get("full_name")?,
                role: row.try_get::<Option<String>, _>("role")?.unwrap_or_default(),
                is_active: row.try_get("is_active")?,
                created_at: row.try_get("created_at")?,
                updated_at: row.try_get("updated_at")?,
            })
        })
        .collect::<sqlx::Result<Vec<Old>>>()
        .map_err(store_error)?;
    let (users, conflicts) = translate(rows, now);
    let adopted = Adopted {
        users: users.len() as u64,
        conflicts,
    };
    if !adopted.conflicts.is_empty() {
        return Ok(adopted);
    }
    // Our tables are created as always, with a `users` of their own, whose place the old one then takes: with the columns that it
    // lacks, then, once they are filled, with everything else that belongs to the table.
    run(conn, "alter table users rename to users_adopted".to_owned()).await?;
    migrator(Engine::Postgres)
        .run(&mut *conn)
        .await
        .map_err(migrate_error)?;
    let is_taken = |name: &str| is_known(name) || name == "password_hash";
    let ours: Vec<(String, String, Option<String>)> = sqlx::query_as(COLUMNS_OF_OURS)
        .fetch_all(&mut *conn)
        .await
        .map_err(store_error)?;
    let parts: Vec<String> = sqlx::query_scalar(PARTS_OF_OURS)
        .fetch_all(&mut *conn)
        .await
        .map_err(store_error)?;
    let required: Vec<String> = sqlx::query_scalar(REQUIRED_OF_OURS)
        .fetch_all(&mut *conn)
        .await
        .map_err(store_error)?;
    let mut steps = vec![
        "drop table users cascade".to_owned(),
        "alter table users_adopted rename to users".to_owned(),
    ];
    if password != "password_hash" {
        steps.push(format!(
            "alter table users rename column {password} to password_hash"
        ));
    }
    for column in COLUMNS.into_iter().chain(["password_hash"]) {
        steps.push(format!("alter table users alter column {column} drop default"));
    }
    steps.extend([
        "alter table users alter column id drop identity if exists".to_owned(),
        "alter table users alter column id type bigint".to_owned(),
        "alter table users alter column email type text, alter column email drop not null".to_owned(),
        "alter table users alter column password_hash type text, alter column password_hash drop not null"
            .to_owned(),
        "alter table users alter column full_name type text, alter column full_name drop not null".to_owned(),
        "alter table users alter column role type text using lower(role::text)".to_owned(),
        format!(
            "alter table users alter column created_at type timestamptz using ({})::timestamptz,
             alter column updated_at type timestamptz using ({})::timestamptz",
            zoned("created_at"),
            zoned("updated_at")
        ),
    ]);
    for (name, kind, default) in ours.iter().filter(|(name, ..)| !is_taken(name)) {
        let default = default
            .as_ref()
            .map_or_else(String::new, |value| format!(" default {value}"));
        steps.push(format!("alter table users add column {name} {kind}{default}"));
    }
    for step in steps {
        run(conn, step).await?;
    }
    // The sequence of a serial column still belongs to it, and would be taken for the new one's.
    let serial: Option<String> = sqlx::query_scalar("select pg_get_serial_sequence('users', 'id')")
        .fetch_one(&mut *conn)
        .await
        .map_err(store_error)?;
    if let Some(serial) = serial {
        run(conn, format!("drop sequence {serial}")).await?;
    }
    for batch in users.chunks(BATCH) {
        let mut query = QueryBuilder::new(
            "update users set email = v.column2, email_key = v.column3, search_text = v.column4, full_name = v.column5,
                created_at = v.column6, updated_at = v.column7, is_active = v.column8, name_key = v.column10,
                password_hash = v.column9::text, version = 1,
                password_changed_at = case when v.column9 is null then null else v.column6 end,
                invited_at = case when v.column9 is null then v.column6 end, locale = ",
        );
        query.push_bind(locale.as_str()).push(" from (");
        query.push_values(batch, |mut row, user| {
            row.push_bind(user.id)
                .push_bind(user.email.as_str())
                .push_bind(user.email_key.as_str())
                .push_bind(user.keys.text.as_str())
                .push_bind(user.full_name.as_deref())
                .push_bind(user.created_at)
                .push_bind(user.updated_at)
                .push_bind(user.is_active)
                .push_bind(user.password_hash.as_deref())
                .push_bind(user.keys.name.as_deref());
        });
        query.push(") as v where users.id = v.column1");
        query.build().execute(&mut *conn).await.map_err(store_error)?;
    }
    let required = required
        .iter()
        .filter(|name| *name != "id")
        .map(|name| format!("alter table users alter column {name} set not null"));
    for step in required.chain(parts) {
        run(conn, step).await?;
    }
    for step in [
        "alter table users alter column id add generated by default as identity",
        "select setval(pg_get_serial_sequence('users', 'id'), greatest((select max(id) from users), 1),
            exists (select 1 from users))",
    ] {
        run(conn, step.to_owned()).await?;
    }
    let record = sqlx::query(
        "insert into audit (at, action, outcome, reason) values ($1, 'user_import', 'success', $2)",
    );
    record
        .bind(now)
        .bind(format!("{} users adopted", adopted.users))
        .execute(&mut *conn)
        .await
        .map_err(store_error)?;
    Ok(adopted)
}

async fn adopt_sqlite(
    conn: &mut sqlx::SqliteConnection,
    locale: Locale,
    now: Timestamp,
    dry_run: bool,
) -> Result<Option<Adopted>> {
    let mut tx = conn.begin_with("begin immediate").await.map_err(store_error)?;
    let (there, ours) = sqlite_tables(&mut tx).await?;
    if there == 0 || ours > 0 {
        return Ok(None);
    }
    let names: Vec<String> = sqlx::query_scalar("select name from pragma_table_info('users')")
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
    let password = password_column(&names)?;
    if let Some(name) = names
        .iter()
        .find(|name| !COLUMNS.contains(&name.as_str()) && *name != password)
    {
        return Err(refused(format!(
            "its column `{name}` would be lost; move it to a table of its own first"
        )));
    }
    let rows = sqlx::query(AssertSqlSafe(format!(
        "select id, email, {password} as password_hash, full_name, cast(role as text) as role,
            coalesce(is_active, 1) <> 0 as is_active,
            cast(round((julianday(created_at) - 2440587.5) * 86400000) as integer) as created_at,
            cast(round((julianday(updated_at) - 2440587.5) * 86400000) as integer) as updated_at
         from users order by id"
    )))
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?;
    let moment =
        |millis: Option<i64>| millis.map(|millis| Timestamp::from_micros(millis.saturating_mul(1000)));
    let rows = rows
        .iter()
        .map(|row| {
            Ok(Old {
                id: row.try_get("id")?,
                email: row.try_get::<Option<String>, _>("email")?.unwrap_or_default(),
                password_hash: row.try_get("password_hash")?,
                full_name: row.try_get("full_name")?,
                role: row.try_get::<Option<String>, _>("role")?.unwrap_or_default(),
                is_active: row.try_get("is_active")?,
                created_at: moment(row.try_get("created_at")?),
                updated_at: moment(row.try_get("updated_at")?),
            })
        })
        .collect::<sqlx::Result<Vec<Old>>>()
        .map_err(store_error)?;
    let (users, conflicts) = translate(rows, now);
    let adopted = Adopted {
        users: users.len() as u64,
        conflicts,
    };
    if !adopted.conflicts.is_empty() {
        return Ok(Some(adopted));
    }
    sqlx::raw_sql("alter table users rename to users_adopted")
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    migrator(Engine::Sqlite)
        .run(&mut *tx)
        .await
        .map_err(migrate_error)?;
    for user in &users {
        let insert = sqlx::query(
            "insert into users (id, email, email_key, password_hash, full_name, search_text, role, is_active, locale, version,
                created_at, updated_at, password_changed_at, name_key, invited_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $11, case when $4 is not null then $10 end, $12,
                case when $4 is null then $10 end)",
        );
        insert
            .bind(user.id)
            .bind(user.email.as_str())
            .bind(user.email_key.as_str())
            .bind(user.password_hash.as_deref())
            .bind(user.full_name.as_deref())
            .bind(user.keys.text.as_str())
            .bind(user.role)
            .bind(user.is_active)
            .bind(locale.as_str())
            .bind(user.created_at)
            .bind(user.updated_at)
            .bind(user.keys.name.as_deref())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
    }
    backfill_sqlite(&mut tx).await?;
    sqlx::raw_sql("drop table users_adopted")
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    let broken = sqlx::query("pragma foreign_key_check")
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
    if !broken.is_empty() {
        return Err(refused("other tables refer to users that do not exist"));
    }
    sqlx::query("insert into audit (at, action, outcome, reason) values ($1, 'user_import', 'success', $2)")
        .bind(now)
        .bind(format!("{} users adopted", adopted.users))
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    if !dry_run {
        tx.commit().await.map_err(store_error)?;
    }
    Ok(Some(adopted))
}
