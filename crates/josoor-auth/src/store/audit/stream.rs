//! How far the sealed rows have been handed to other systems.

use super::rows::{AuditRow, columns};
use crate::domain::Timestamp;
use crate::error::Result;
use crate::store::conn::{Conn, execute, on};

impl Conn {
    /// The position of the last row that a stream has handed over; `None` before it has begun.
    pub async fn stream_position(&mut self, name: &str) -> Result<Option<i64>> {
        const SQL: &str = "select seq from audit_streams where name = $1";
        on!(self, sqlx::query_scalar(SQL).bind(name), fetch_optional)
    }

    /// Begins a stream after the row at `seq`, unless it has begun.
    pub async fn begin_stream(&mut self, name: &str, seq: i64, now: Timestamp) -> Result<()> {
        const SQL: &str = "insert into audit_streams (name, seq, moved_at) values ($1, $2, $3) on conflict (name) do nothing";
        execute!(self, sqlx::query(SQL).bind(name).bind(seq).bind(now)).map(drop)
    }

    /// Moves a stream from one position to the next. False: another node has moved it.
    pub async fn move_stream(&mut self, name: &str, from: i64, to: i64, now: Timestamp) -> Result<bool> {
        const SQL: &str = "update audit_streams set seq = $3, moved_at = $4 where name = $1 and seq = $2";
        Ok(execute!(self, sqlx::query(SQL).bind(name).bind(from).bind(to).bind(now))? == 1)
    }

    /// Up to `limit` sealed rows after a position, in the order of the chain.
    pub async fn sealed_after(&mut self, seq: i64, limit: i64) -> Result<Vec<AuditRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from audit where seq > $1 order by seq limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(seq).bind(limit), fetch_all)
    }
}
