//! Writing rows of the audit trail, and reading them in pages.

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::codes::AuditKey;
use super::rows::{AuditFilter, AuditRow, NewAudit, columns};
use crate::domain::{Audit, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::conn::{Conn, built, execute, on};

const SELECT: &str = concat!("select ", columns!(), " from audit where true");

/// Rows that are written in one statement: 15 values each, far below what both engines take.
const ROWS_AT_ONCE: usize = 500;

impl Conn {
    /// The key that rows are authenticated with.
    pub fn audit_key(&self) -> Result<AuditKey> {
        let key = self.shared.audit.get().cloned();
        key.ok_or_else(|| Error::Internal(anyhow::anyhow!("the key of the audit trail is not loaded")))
    }

    /// Adds a row with its code.
    pub async fn insert_audit(&mut self, new: &NewAudit<'_>) -> Result<()> {
        self.add_audit(new).await.map(drop)
    }

    /// Adds a row with its code, and gives it as it was stored.
    pub async fn insert_audit_row(&mut self, new: &NewAudit<'_>) -> Result<AuditRow> {
        const SQL: &str = concat!("select ", columns!(), " from audit where nonce = $1");
        let nonce = self.add_audit(new).await?;
        on!(self, sqlx::query_as(SQL).bind(nonce), fetch_one)
    }

    async fn add_audit(&mut self, new: &NewAudit<'_>) -> Result<Uuid> {
        const SQL: &str =
            "insert into audit (at, action, outcome, reason, actor_id, subject_id, session_id, ip,
                user_agent, request_id, nonce, row_mac, ip_salt, user_agent_salt, client_request_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
        let signed = self.audit_key()?.sign(new);
        execute!(
            self,
            sqlx::query(SQL)
                .bind(new.at)
                .bind(new.action.as_str())
                .bind(new.outcome())
                .bind(new.reason)
                .bind(new.actor.map(|id| id.0))
                .bind(new.subject.map(|id| id.0))
                .bind(new.session.map(|id| id.0))
                .bind(new.ip)
                .bind(new.user_agent)
                .bind(new.request_id)
                .bind(signed.nonce)
                .bind(signed.row_mac.as_slice())
                .bind(signed.ip_salt.as_deref())
                .bind(signed.user_agent_salt.as_deref())
                .bind(new.client_request_id)
        )
        .map(|_| signed.nonce)
    }

    /// Whether the row's actor has done the same to the same account since a time, in the same session or any other. Asked in
    /// the unit of work that has changed the account, so that two at once see each other.
    pub async fn has_done_since(&mut self, new: &NewAudit<'_>, since: Timestamp) -> Result<bool> {
        const SQL: &str = "select id from audit
             where subject_id = $1 and actor_id = $2 and action = $3 and outcome = $4 and at > $5 limit 1";
        let outcome = if new.succeeded { "success" } else { "failure" };
        let row: Option<i64> = on!(
            self,
            sqlx::query_scalar(SQL)
                .bind(new.subject.map(|id| id.0))
                .bind(new.actor.map(|id| id.0))
                .bind(new.action.as_str())
                .bind(outcome)
                .bind(since),
            fetch_optional
        )?;
        Ok(row.is_some())
    }

    /// Adds rows with their codes, several hundred in one statement.
    pub async fn insert_audits(&mut self, rows: &[NewAudit<'_>]) -> Result<()> {
        const INTO: &str =
            "insert into audit (at, action, outcome, reason, actor_id, subject_id, session_id, ip,
                user_agent, request_id, nonce, row_mac, ip_salt, user_agent_salt, client_request_id) ";
        let key = self.audit_key()?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let signed: Vec<_> = rows.iter().map(|new| (new, key.sign(new))).collect();
            built!(
                self,
                {
                    let mut query = QueryBuilder::new(INTO);
                    query.push_values(&signed, |mut row, (new, signed)| {
                        row.push_bind(new.at)
                            .push_bind(new.action.as_str())
                            .push_bind(new.outcome())
                            .push_bind(new.reason)
                            .push_bind(new.actor.map(|id| id.0))
                            .push_bind(new.subject.map(|id| id.0))
                            .push_bind(new.session.map(|id| id.0))
                            .push_bind(new.ip)
                            .push_bind(new.user_agent)
                            .push_bind(new.request_id)
                            .push_bind(signed.nonce)
                            .push_bind(signed.row_mac.as_slice())
                            .push_bind(signed.ip_salt.as_deref())
                            .push_bind(signed.user_agent_salt.as_deref())
                            .push_bind(new.client_request_id);
                    });
                    query
                },
                execute
            )?;
        }
        Ok(())
    }

    /// The id of the latest row of this action that concerns a user.
    pub async fn latest_audit_of(&mut self, subject: UserId, action: Audit) -> Result<Option<i64>> {
        const SQL: &str = "select max(id) from audit where subject_id = $1 and action = $2";
        on!(
            self,
            sqlx::query_scalar(SQL).bind(subject.0).bind(action.as_str()),
            fetch_one
        )
    }

    /// The ids of the latest row about a user, and of the latest one with one of two actions. Only the latest `among` rows are
    /// read.
    pub async fn latest_activity_of(
        &mut self,
        subject: UserId,
        actions: [Audit; 2],
        among: i64,
    ) -> Result<(Option<i64>, Option<i64>)> {
        const SQL: &str = "select max(id), max(case when action in ($2, $3) then id end)
             from (select id, action from audit where subject_id = $1 order by id desc limit $4) as latest";
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(subject.0)
                .bind(actions[0].as_str())
                .bind(actions[1].as_str())
                .bind(among),
            fetch_one
        )
    }

    /// Up to `limit` rows that match, the latest first, with ids below `before`.
    pub async fn list_audit(
        &mut self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditRow>> {
        built!(
            self,
            {
                let mut query = QueryBuilder::new(SELECT);
                push_filter(&mut query, filter);
                push_page(&mut query, before, limit);
                query
            },
            build_query_as().fetch_all
        )
    }

    /// One page of the rows about a user, or by the user, the latest first; and how many there are, `at_most` counted.
    pub async fn activity_of(
        &mut self,
        user: UserId,
        limit: i64,
        offset: i64,
        at_most: i64,
    ) -> Result<(Vec<AuditRow>, i64)> {
        const COUNT: &str = "select count(*) from
            (select 1 as one from audit where subject_id = $1 limit $2) as counted";
        const PAGE: &str = concat!(
            "select ",
            columns!(),
            " from audit where subject_id = $1 order by id desc limit $2 offset $3"
        );
        let total = on!(
            self,
            sqlx::query_scalar(COUNT).bind(user.0).bind(at_most),
            fetch_one
        )?;
        let rows = on!(
            self,
            sqlx::query_as(PAGE).bind(user.0).bind(limit).bind(offset),
            fetch_all
        )?;
        Ok((rows, total))
    }

    /// The latest row of an action.
    pub async fn last_audit(&mut self, action: Audit) -> Result<Option<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where action = $1 order by id desc limit 1"
        );
        on!(self, sqlx::query_as(SQL).bind(action.as_str()), fetch_optional)
    }

    /// Up to `limit` rows of an action with ids above `after`, in the order of their ids.
    pub async fn audit_of(&mut self, action: Audit, after: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where action = $1 and id > $2 order by id limit $3"
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(action.as_str()).bind(after).bind(limit),
            fetch_all
        )
    }
}

fn push_filter<'a, E>(query: &mut QueryBuilder<E>, filter: &'a AuditFilter)
where
    E: sqlx::Database,
    i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
    &'a str: sqlx::Encode<'a, E> + sqlx::Type<E>,
    Timestamp: sqlx::Encode<'a, E> + sqlx::Type<E>,
    Uuid: sqlx::Encode<'a, E> + sqlx::Type<E>,
{
    if let Some(user) = filter.subject {
        query.push(" and subject_id = ").push_bind(user.0);
    }
    if let Some(user) = filter.actor {
        query.push(" and actor_id = ").push_bind(user.0);
    }
    if let Some(action) = filter.action {
        query.push(" and action = ").push_bind(action.as_str());
    }
    if let Some(outcome) = filter.outcome {
        query.push(" and outcome = ").push_bind(outcome);
    }
    if let Some(from) = filter.from {
        query.push(" and at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" and at < ").push_bind(to);
    }
    if let Some(session) = filter.session {
        query.push(" and session_id = ").push_bind(session.0);
    }
    if let Some(ip) = &filter.ip {
        query.push(" and ip = ").push_bind(ip.as_str());
    }
    if let Some(request) = &filter.request_id {
        query.push(" and request_id = ").push_bind(request.as_str());
    }
    if let Some(after) = filter.after {
        query.push(" and id > ").push_bind(after);
    }
}

fn push_page<'a, E>(query: &mut QueryBuilder<E>, before: Option<i64>, limit: i64)
where
    E: sqlx::Database,
    i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
{
    if let Some(before) = before {
        query.push(" and id < ").push_bind(before);
    }
    query.push(" order by id desc limit ").push_bind(limit);
}
