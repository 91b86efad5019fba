//! The table `registrations`: accounts that are created once their address is verified.

use uuid::Uuid;

use super::conn::{Conn, execute, on};
use super::row::from_row;
use crate::domain::{Email, FullName, Locale, PasswordHash, Timestamp};
use crate::error::Result;

/// A registration that waits for the verification of its address.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The token of the mail that verifies the address.
    pub token: Uuid,
    /// The address as it was typed.
    pub email: String,
    /// The password.
    pub password_hash: PasswordHash,
    /// The name to show.
    pub full_name: Option<String>,
    /// The language.
    pub locale: Locale,
}

struct Stored {
    token_id: Uuid,
    email: String,
    password_hash: String,
    full_name: Option<String>,
    locale: Locale,
}

from_row!(Stored {
    token_id,
    email,
    password_hash,
    full_name,
    locale
});

impl From<Stored> for Registration {
    fn from(row: Stored) -> Self {
        Self {
            token: row.token_id,
            email: row.email,
            password_hash: PasswordHash::from_stored(row.password_hash),
            full_name: row.full_name,
            locale: row.locale,
        }
    }
}

impl Conn {
    /// Adds a registration; its token is there already.
    pub async fn insert_registration(
        &mut self,
        token: Uuid,
        email: &Email,
        password_hash: &PasswordHash,
        full_name: Option<&FullName>,
        locale: Locale,
        now: Timestamp,
    ) -> Result<()> {
        const SQL: &str =
            "insert into registrations (token_id, email, email_key, password_hash, full_name, locale, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(token)
                .bind(email.address())
                .bind(email.key())
                .bind(password_hash.as_str())
                .bind(full_name.map(FullName::as_str))
                .bind(locale.as_str())
                .bind(now)
        )
        .map(drop)
    }

    /// The registration that a token belongs to.
    pub async fn registration(&mut self, token: Uuid) -> Result<Option<Registration>> {
        const SQL: &str = "select token_id, email, password_hash, full_name, locale from registrations
             where token_id = $1";
        Ok(on!(self, sqlx::query_as::<_, Stored>(SQL).bind(token), fetch_optional)?.map(Registration::from))
    }

    /// The registrations of an address whose tokens are still good, the latest last.
    pub async fn live_registrations_of(
        &mut self,
        email_key: &str,
        now: Timestamp,
    ) -> Result<Vec<Registration>> {
        const SQL: &str = "select r.token_id, r.email, r.password_hash, r.full_name, r.locale
             from registrations r join one_time_tokens t on t.id = r.token_id
             where r.email_key = $1 and t.used_at is null and t.expires_at > $2
             order by r.created_at, r.token_id";
        let rows = on!(
            self,
            sqlx::query_as::<_, Stored>(SQL).bind(email_key).bind(now),
            fetch_all
        )?;
        Ok(rows.into_iter().map(Registration::from).collect())
    }

    /// Removes the registration that a token belongs to.
    pub async fn delete_registration(&mut self, token: Uuid) -> Result<u64> {
        const SQL: &str = "delete from registrations where token_id = $1";
        execute!(self, sqlx::query(SQL).bind(token))
    }

    /// Removes every registration of an address, once it is verified.
    pub async fn delete_registrations_of(&mut self, email_key: &str) -> Result<u64> {
        const SQL: &str = "delete from registrations where email_key = $1";
        execute!(self, sqlx::query(SQL).bind(email_key))
    }
}
