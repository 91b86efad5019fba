//! The chain of the audit trail: its rows, its ends, and what the sealer and the checks ask for.

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::codes::{Blanked, Signed};
use super::rows::{AuditRow, columns};
use crate::domain::{Timestamp, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, built, execute, on};
use crate::store::db::Db;
use crate::store::row::from_row;

/// A row's place in the chain.
#[derive(Clone, Debug)]
pub struct Seal {
    /// The row.
    pub id: i64,
    /// Its position.
    pub seq: i64,
    /// The code of the position.
    pub mac: [u8; 32],
}

/// An end of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The position of the row.
    pub seq: i64,
    /// Its code.
    pub mac: Vec<u8>,
    /// Authenticates this end.
    pub tag: Vec<u8>,
}

from_row!(ChainEnd { seq, mac, tag });

impl Conn {
    /// Up to `limit` rows that are not in the chain yet and were not refused, in the order of their ids.
    pub async fn unsealed_audit(&mut self, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq is null and refused_at is null order by id limit $1"
        );
        on!(self, sqlx::query_as(SQL).bind(limit), fetch_all)
    }

    /// Up to `limit` rows with ids above `after` that are not in the chain, refused or not, in the order of their ids.
    pub async fn unchained_audit(&mut self, after: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq is null and id > $1 order by id limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(after).bind(limit), fetch_all)
    }

    /// Up to `limit` ids of rows that were refused.
    pub async fn refused_audit(&mut self, limit: i64) -> Result<Vec<i64>> {
        const SQL: &str = "select id from audit where refused_at is not null order by id limit $1";
        on!(self, sqlx::query_scalar(SQL).bind(limit), fetch_all)
    }

    /// The row at a position.
    pub async fn audit_at(&mut self, seq: i64) -> Result<Option<AuditRow>> {
        const SQL: &str = concat!("select ", columns!(), " from audit where seq = $1");
        on!(self, sqlx::query_as(SQL).bind(seq), fetch_optional)
    }

    /// The last position that a row has.
    pub async fn last_audit_position(&mut self) -> Result<i64> {
        const SQL: &str = "select coalesce(max(seq), 0) from audit";
        on!(self, sqlx::query_scalar(SQL), fetch_one)
    }

    /// How many rows about a person, as in [`personal_audit_of`](Self::personal_audit_of), are not in the chain.
    pub async fn count_unsealed_of(&mut self, user: UserId) -> Result<i64> {
        const SQL: &str = "select count(*) from audit where seq is null
             and (actor_id = $1 or (actor_id is null and subject_id = $1))
             and (ip is not null or user_agent is not null)";
        on!(self, sqlx::query_scalar(SQL).bind(user.0), fetch_one)
    }

    /// How many rows after a position got their code from the sealer.
    pub async fn count_adopted(&mut self, after: i64) -> Result<i64> {
        const SQL: &str = "select count(*) from audit where seq > $1 and mac_origin = 1";
        on!(self, sqlx::query_scalar(SQL).bind(after), fetch_one)
    }

    /// Whether a row that is due since `before` is not in the chain.
    pub async fn has_late_audit(&mut self, before: Timestamp) -> Result<bool> {
        const SQL: &str = "select id from audit where seq is null and refused_at is null and at < $1 limit 1";
        let late: Option<i64> = on!(self, sqlx::query_scalar(SQL).bind(before), fetch_optional)?;
        Ok(late.is_some())
    }

    /// Marks rows that this service did not write.
    pub async fn refuse_audit(&mut self, ids: &[i64], now: Timestamp) -> Result<()> {
        for id in ids {
            const SQL: &str = "update audit set refused_at = $2 where id = $1 and seq is null";
            execute!(self, sqlx::query(SQL).bind(*id).bind(now))?;
        }
        Ok(())
    }

    /// Gives rows that were written without a code, or refused, the one that the sealer made for them.
    pub async fn adopt_audit(&mut self, rows: &[(i64, Signed)]) -> Result<()> {
        for (id, signed) in rows {
            const SQL: &str = "update audit set nonce = $2, row_mac = $3, mac_origin = 1, ip_salt = $4,
                    user_agent_salt = $5, refused_at = null,
                    ip_commitment = case when ip is null then ip_commitment end,
                    user_agent_commitment = case when user_agent is null then user_agent_commitment end
                 where id = $1 and seq is null";
            execute!(
                self,
                sqlx::query(SQL)
                    .bind(*id)
                    .bind(signed.nonce)
                    .bind(signed.row_mac.as_slice())
                    .bind(signed.ip_salt.as_deref())
                    .bind(signed.user_agent_salt.as_deref())
            )?;
        }
        Ok(())
    }

    /// Takes what is personal out of rows.
    pub async fn blank_audit(&mut self, rows: &[Blanked]) -> Result<()> {
        for row in rows {
            const SQL: &str =
                "update audit set ip = null, ip_salt = null, user_agent = null, user_agent_salt = null,
                    ip_commitment = $2, user_agent_commitment = $3, nonce = $4, row_mac = $5, mac_origin = $6
                 where id = $1";
            execute!(
                self,
                sqlx::query(SQL)
                    .bind(row.id)
                    .bind(row.ip_commitment.as_deref())
                    .bind(row.user_agent_commitment.as_deref())
                    .bind(row.nonce)
                    .bind(row.row_mac.as_deref())
                    .bind(row.origin)
            )?;
        }
        Ok(())
    }

    /// Begins the trail, once for all nodes and for good. Whether it was this call.
    pub async fn pass_audit_begin(&mut self) -> Result<bool> {
        const SQL: &str = "update guards set passes = 1 where name = 'audit-begin' and passes = 0";
        Ok(execute!(self, sqlx::query(SQL))? == 1)
    }

    /// Nonces that several rows have. Only asked when [`Db::has_audit_index`] does not hold.
    pub async fn repeated_audit(&mut self) -> Result<Vec<i64>> {
        const SQL: &str =
            "select max(id) from audit where nonce is not null group by nonce having count(*) > 1 limit 100";
        on!(self, sqlx::query_scalar(SQL), fetch_all)
    }

    /// Up to `limit` rows of the chain after a position, in its order.
    pub async fn sealed_audit(&mut self, after: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq > $1 order by seq limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(after).bind(limit), fetch_all)
    }

    /// Up to `limit` rows at or before a position that should have been removed when the anchor moved past them.
    pub async fn audit_before_anchor(&mut self, seq: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq <= $1 order by seq limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(seq).bind(limit), fetch_all)
    }

    /// Puts rows into the chain.
    pub async fn seal_audit(&mut self, seals: &[Seal]) -> Result<u64> {
        fn push<'a, E>(query: &mut QueryBuilder<E>, seals: &'a [Seal])
        where
            E: sqlx::Database,
            i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
            &'a [u8]: sqlx::Encode<'a, E> + sqlx::Type<E>,
        {
            query.push_values(seals, |mut row, seal| {
                row.push_bind(seal.id)
                    .push_bind(seal.seq)
                    .push_bind(seal.mac.as_slice());
            });
            query.push(") as sealed where audit.id = sealed.column1 and audit.seq is null");
        }
        // The columns of a bare `values` have these names in both engines.
        const HEAD: &str =
            "update audit set seq = sealed.column2, mac = sealed.column3, refused_at = null from (";
        if seals.is_empty() {
            return Ok(0);
        }
        built!(
            self,
            {
                let mut query = QueryBuilder::new(HEAD);
                push(&mut query, seals);
                query
            },
            execute
        )
    }

    /// An end of the chain: `head` or `anchor`.
    pub async fn chain_end(&mut self, name: &str) -> Result<Option<ChainEnd>> {
        const SQL: &str = "select seq, mac, tag from audit_chain where name = $1";
        on!(self, sqlx::query_as(SQL).bind(name), fetch_optional)
    }

    /// Moves an end of the chain, if it still stands at `from` (0: there is none yet). Whether it did.
    pub async fn move_chain_end(&mut self, name: &str, from: i64, to: &ChainEnd) -> Result<bool> {
        const INSERT: &str = "insert into audit_chain (name, seq, mac, tag) values ($1, 0, $2, $2)
             on conflict (name) do nothing";
        const MOVE: &str = "update audit_chain set seq = $3, mac = $4, tag = $5 where name = $1 and seq = $2";
        if from == 0 {
            let nothing: &[u8] = &[];
            execute!(self, sqlx::query(INSERT).bind(name).bind(nothing))?;
        }
        Ok(execute!(
            self,
            sqlx::query(MOVE)
                .bind(name)
                .bind(from)
                .bind(to.seq)
                .bind(to.mac.as_slice())
                .bind(to.tag.as_slice())
        )? == 1)
    }

    /// Removes the rows of the chain up to a position. How many went.
    pub async fn delete_audit_through(&mut self, seq: i64) -> Result<u64> {
        const SQL: &str = "delete from audit where seq <= $1";
        execute!(self, sqlx::query(SQL).bind(seq))
    }

    /// Takes work on for all nodes until `until`, or goes on with it. Whether it is this node's. A lease that ends later than
    /// twice as far from now was taken by a clock that has been set back since, and is no one's.
    pub async fn take_lease(
        &mut self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "insert into leases (name, holder, until) values ($1, $2, $4)
             on conflict (name) do update set holder = excluded.holder, until = excluded.until
             where leases.holder = $2 or leases.until <= $3 or leases.until > $5";
        let too_late = until.plus(until.since(now));
        Ok(execute!(
            self,
            sqlx::query(SQL)
                .bind(name)
                .bind(holder)
                .bind(now)
                .bind(until)
                .bind(too_late)
        )? == 1)
    }

    /// Gives a lease back, if it is this node's.
    pub async fn drop_lease(&mut self, name: &str, holder: Uuid) -> Result<()> {
        const SQL: &str = "delete from leases where name = $1 and holder = $2";
        execute!(self, sqlx::query(SQL).bind(name).bind(holder)).map(drop)
    }

    /// Up to `limit` sealed rows about a person that hold something personal, in the order of the chain: acts of the
    /// person, and acts of strangers on the person's account. Other people's acts hold what is theirs.
    pub async fn personal_audit_of(&mut self, user: UserId, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where (actor_id = $1 or (actor_id is null and subject_id = $1))
                and seq is not null and (ip is not null or user_agent is not null or ip_salt is not null
                    or user_agent_salt is not null)
             order by seq limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(user.0).bind(limit), fetch_all)
    }
}

impl Db {
    /// How many connections nodes of the version before have to this database. They write rows without a code.
    pub async fn count_previous_connections(&self) -> Result<i64> {
        // A session of another role shows its name to none but superusers; nodes share a role.
        const SQL: &str = "select count(*) from pg_stat_activity
             where datname = current_database() and application_name = 'josoor-auth'";
        match self {
            Self::Postgres(_) => {
                let mut conn = self.read().await?;
                on!(conn, sqlx::query_scalar(SQL), fetch_one)
            }
            Self::Sqlite { .. } => Ok(0),
        }
    }

    /// Whether the index is there that admits no nonce twice.
    pub async fn has_audit_index(&self) -> Result<bool> {
        const POSTGRES: &str = "select count(*) from pg_index
             where indexrelid = to_regclass('audit_nonce') and indrelid = to_regclass('audit') and indisunique
                and indisvalid and indpred is null and indexprs is null and indnkeyatts = 1
                and pg_get_indexdef(indexrelid, 1, false) = 'nonce'";
        const SQLITE: &str = "select count(*) from pragma_index_list('audit') as list, pragma_index_info(list.name) as info
             where list.name = 'audit_nonce' and list.\"unique\" = 1 and list.partial = 0 and info.name = 'nonce'
                and (select count(*) from pragma_index_info('audit_nonce')) = 1";
        let sql = match self {
            Self::Postgres(_) => POSTGRES,
            Self::Sqlite { .. } => SQLITE,
        };
        let mut conn = self.read().await?;
        let found: i64 = on!(conn, sqlx::query_scalar(sql), fetch_one)?;
        Ok(found == 1)
    }
}
