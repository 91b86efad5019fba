//! Whether a PostgreSQL database fits: its encoding, its version, and what its user may do.

use super::conn::on;
use super::db::Db;
use super::failure::code_of;
use super::row::from_row;
use crate::error::{Error, Result};

/// The oldest release that the statements are written for: it has `gen_random_uuid()` built in.
const OLDEST: i32 = 13;

/// What is in the way, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// What was found.
    pub found: String,
    /// What helps.
    pub remedy: String,
}

impl Objection {
    fn new(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is the answer to a question of its own"
)]
struct Facts {
    encoding: String,
    version: i32,
    role: String,
    database: String,
    has_schema: bool,
    may_create_schema: bool,
    may_use_schema: bool,
    may_create_in_schema: bool,
    is_public: bool,
    closed_tables: i64,
    is_read_only: bool,
}

from_row!(Facts {
    encoding,
    version,
    role,
    database,
    has_schema,
    may_create_schema,
    may_use_schema,
    may_create_in_schema,
    is_public,
    closed_tables,
    is_read_only
});

/// Asked of the catalogue, because the privilege functions fail for names that are not there.
const FACTS: &str = "select current_setting('server_encoding') as encoding,
        current_setting('server_version_num')::int / 10000 as version,
        current_user::text as role, current_database()::text as database,
        exists (select 1 from pg_namespace where nspname = $1) as has_schema,
        has_database_privilege(current_database(), 'CREATE') as may_create_schema,
        exists (select 1 from pg_namespace where nspname = $1 and has_schema_privilege(oid, 'USAGE')) as may_use_schema,
        exists (select 1 from pg_namespace where nspname = $1 and has_schema_privilege(oid, 'CREATE')) as may_create_in_schema,
        $1 = 'public' as is_public,
        (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = $1 and c.relkind = 'r'
                and c.relname in ('users', 'sessions', 'changes', 'audit', 'outbox', 'guards', 'keys', 'one_time_tokens',
                    'josoor_auth_migrations')
                and exists (select 1 from pg_class m where m.relnamespace = n.oid and m.relname = 'josoor_auth_migrations')
                and not (has_table_privilege(c.oid, 'SELECT') and has_table_privilege(c.oid, 'INSERT')
                    and has_table_privilege(c.oid, 'UPDATE') and has_table_privilege(c.oid, 'DELETE'))) as closed_tables,
        current_setting('transaction_read_only') = 'on' as is_read_only";

fn objections(facts: &Facts, schema: &str, pending: usize) -> Vec<Objection> {
    let Facts {
        encoding,
        version,
        role,
        database,
        ..
    } = facts;
    let mut found = Vec::new();
    if encoding != "UTF8" {
        found.push(Objection::new(
            format!("the database {database} has the encoding {encoding}, which cannot hold every name"),
            format!("create one with UTF8 and move the data: create database {database}_utf8 encoding 'UTF8' template template0"),
        ));
    }
    if *version < OLDEST {
        found.push(Objection::new(
            format!("PostgreSQL {version} is too old"),
            format!("use PostgreSQL {OLDEST} or newer"),
        ));
    }
    if facts.is_read_only {
        found.push(Objection::new(
            "the server takes only reads: it is a standby, or default_transaction_read_only is on",
            "let DATABASE_URL name the primary, or an address that follows it",
        ));
    }
    if pending > 0 && !facts.has_schema && !facts.may_create_schema {
        found.push(Objection::new(
            format!("there is no schema {schema}, and the user {role} may not create one in {database}"),
            format!("as its owner: create schema {schema} authorization {role}"),
        ));
    } else if facts.has_schema && !facts.may_use_schema
        || pending > 0 && facts.has_schema && !facts.may_create_in_schema
    {
        let own = if facts.is_public {
            "; or set JOSOOR_AUTH__DATABASE__SCHEMA to a schema of its own, for which the user needs CREATE on the database"
        } else {
            ""
        };
        found.push(Objection::new(
            format!("the user {role} may not create tables in the schema {schema}"),
            format!("as its owner: grant usage, create on schema {schema} to {role}{own}"),
        ));
    } else if facts.closed_tables > 0 {
        found.push(Objection::new(
            format!("the user {role} may not read and write all tables of the schema {schema}"),
            format!(
                "as their owner: grant select, insert, update, delete on all tables in schema {schema} to {role}; \
                 grant usage on all sequences in schema {schema} to {role}"
            ),
        ));
    }
    found
}

impl Db {
    /// What keeps the service from working on this database, with remedies; nothing for SQLite.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn examine(&self, schema: &str) -> Result<Vec<Objection>> {
        if matches!(self, Self::Sqlite { .. }) {
            return Ok(Vec::new());
        }
        let pending = match self.pending_migrations().await {
            // It is there, and the user may not read it.
            Err(error) if code_of(&error).as_deref() == Some("42501") => 0,
            other => other?,
        };
        let mut conn = self.read().await?;
        let facts: Facts = on!(conn, sqlx::query_as(FACTS).bind(schema), fetch_one)?;
        Ok(objections(&facts, schema, pending))
    }

    /// Whether a pooler is in between that gives a connection of the server for one transaction only.
    pub fn is_pooled(&self) -> bool {
        matches!(self, Self::Postgres(store) if store.is_pooled())
    }

    /// Refuses a database that does not fit, before anything is written to it.
    pub(super) async fn refuse_unfit(&self, schema: &str) -> Result<()> {
        let objections = self.examine(schema).await?;
        let Some(first) = objections.first() else {
            return Ok(());
        };
        Err(Error::Internal(anyhow::anyhow!(
            "{}\n{}",
            first.found,
            first.remedy
        )))
    }
}
