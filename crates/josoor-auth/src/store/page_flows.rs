//! The rows of `flows` that belong to a page: what a browser has done so far on a page of several steps.

use uuid::Uuid;

use super::conn::{Conn, execute, on};
use super::row::from_row;
use crate::domain::Timestamp;
use crate::error::Result;

/// A flow of a page, as stored.
#[derive(Clone, Debug)]
pub struct PageFlow {
    /// Its name; not a secret.
    pub id: Uuid,
    /// The page.
    pub kind: String,
    /// HMAC of the browser's cookie.
    pub client_mac: Option<Vec<u8>>,
    /// What was done so far, sealed.
    pub sealed: Vec<u8>,
    /// Its end.
    pub expires_at: Timestamp,
}

from_row!(PageFlow {
    id,
    kind,
    client_mac,
    sealed,
    expires_at
});

impl Conn {
    /// Adds a flow, or writes what has become of it.
    pub async fn put_page_flow(&mut self, flow: &PageFlow, now: Timestamp) -> Result<()> {
        const SQL: &str = "insert into flows (id, kind, client_mac, sealed, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (id) do update set sealed = excluded.sealed";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(flow.id)
                .bind(flow.kind.as_str())
                .bind(flow.client_mac.as_deref())
                .bind(flow.sealed.as_slice())
                .bind(now)
                .bind(flow.expires_at)
        )
        .map(drop)
    }

    /// The flow of this name that is not over.
    pub async fn page_flow(&mut self, id: Uuid, now: Timestamp) -> Result<Option<PageFlow>> {
        const SQL: &str = "select id, kind, client_mac, sealed, expires_at from flows
             where id = $1 and expires_at > $2";
        on!(self, sqlx::query_as(SQL).bind(id).bind(now), fetch_optional)
    }
}
