//! The table `credentials`: the second factors of users. A row that is there is in use; what was removed stands in the audit trail.

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::conn::{Conn, built, execute, on};
use super::row::from_row;
use crate::domain::{FactorMethod, Timestamp, UserId};
use crate::error::Result;

/// A second factor, as stored.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Names it in what is sealed and hashed.
    pub id: Uuid,
    kind: String,
    /// When its owner first verified it.
    pub confirmed_at: Option<Timestamp>,
    /// When it was last accepted.
    pub last_used_at: Option<Timestamp>,
    /// TOTP: the secret. Recovery codes: what they are compared with. Sealed.
    pub sealed: Option<Vec<u8>>,
    /// Recovery codes of a set that was shown before these were sealed: the code's hash.
    pub code_mac: Option<Vec<u8>>,
    /// Passkeys: the host or domain that it is for.
    pub rp_id: Option<String>,
}

from_row!(Credential as columns {
    id,
    kind,
    confirmed_at,
    last_used_at,
    sealed,
    code_mac,
    rp_id
});

/// A second factor with everything that moves with it, as stored.
#[derive(Clone, Debug)]
pub struct WholeCredential {
    /// Names it in what is sealed and hashed.
    pub id: Uuid,
    user_id: i64,
    kind: String,
    /// Passkeys: what the owner calls it.
    pub label: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// TOTP: the secret. Recovery codes: what they are compared with. Sealed.
    pub sealed: Option<Vec<u8>>,
    /// TOTP: the last accepted time step. Passkeys: the signature counter.
    pub counter: i64,
    /// Passkeys: the credential's id.
    pub external_id: Option<Vec<u8>>,
    /// Passkeys: the public key, as COSE.
    pub public_key: Option<Vec<u8>>,
    /// Passkeys: the model of the authenticator.
    pub aaguid: Option<Uuid>,
    /// Passkeys: how the authenticator is reached, separated by blanks.
    pub transports: Option<String>,
    /// Passkeys: whether it can be copied to other devices of its user.
    pub is_backup_eligible: bool,
    /// Passkeys: whether it is.
    pub is_backed_up: bool,
    /// Passkeys: the host or domain that it is for.
    pub rp_id: Option<String>,
}

from_row!(WholeCredential as whole {
    id,
    user_id,
    kind,
    label,
    created_at,
    sealed,
    counter,
    external_id,
    public_key,
    aaguid,
    transports,
    is_backup_eligible,
    is_backed_up,
    rp_id
});

impl WholeCredential {
    /// Whose it is.
    pub const fn user_id(&self) -> UserId {
        UserId(self.user_id)
    }

    /// Whether it is of this method.
    pub fn is(&self, method: FactorMethod) -> bool {
        self.kind == method.as_str()
    }
}

impl Credential {
    /// Whether it is of this method.
    pub fn is(&self, method: FactorMethod) -> bool {
        self.kind == method.as_str()
    }
}

impl Conn {
    /// The second factors of a user that are in use, in the order in which they were confirmed.
    pub async fn credentials_of(&mut self, user: UserId) -> Result<Vec<Credential>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from credentials where user_id = $1 and confirmed_at is not null order by confirmed_at, id limit 1000"
        );
        on!(self, sqlx::query_as(SQL).bind(user.0), fetch_all)
    }

    /// Adds what a code of this method is compared with, which was confirmed with one; of an app, the code of the time step `counter`.
    /// The user is locked and has none.
    pub async fn insert_code_factor(
        &mut self,
        user: UserId,
        method: FactorMethod,
        id: Uuid,
        sealed: &[u8],
        counter: i64,
        now: Timestamp,
    ) -> Result<()> {
        const SQL: &str =
            "insert into credentials (id, user_id, kind, created_at, confirmed_at, last_used_at, sealed, counter)
             values ($1, $2, $3, $4, $4, $4, $5, $6)";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(id)
                .bind(user.0)
                .bind(method.as_str())
                .bind(now)
                .bind(sealed)
                .bind(counter)
        )
        .map(drop)
    }

    /// Accepts a time step of a TOTP secret, unless it or a later one was accepted before; of any number of callers one wins.
    pub async fn accept_totp_step(&mut self, id: Uuid, step: i64, now: Timestamp) -> Result<bool> {
        const SQL: &str = "update credentials set counter = $2, last_used_at = $3
             where id = $1 and kind = 'totp' and confirmed_at is not null and counter < $2";
        Ok(execute!(self, sqlx::query(SQL).bind(id).bind(step).bind(now))? == 1)
    }

    /// The second factors in use of the users whose ids are above `after` and up to `last`, those of one user in the order in which
    /// they were added.
    pub async fn whole_credentials(&mut self, after: UserId, last: UserId) -> Result<Vec<WholeCredential>> {
        const SQL: &str = concat!(
            "select ",
            whole!(),
            " from credentials where user_id > $1 and user_id <= $2 and confirmed_at is not null order by user_id, created_at, id"
        );
        on!(self, sqlx::query_as(SQL).bind(after.0).bind(last.0), fetch_all)
    }

    /// Adds recovery codes, each by id and what it is compared with, sealed.
    pub async fn insert_recovery_codes(
        &mut self,
        user: UserId,
        codes: &[(Uuid, Vec<u8>)],
        now: Timestamp,
    ) -> Result<()> {
        if codes.is_empty() {
            return Ok(());
        }
        built!(
            self,
            {
                let mut query = QueryBuilder::new(
                    "insert into credentials (id, user_id, kind, created_at, confirmed_at, sealed) ",
                );
                query.push_values(codes, |mut row, (id, sealed)| {
                    row.push_bind(*id)
                        .push_bind(user.0)
                        .push_bind("recovery_code")
                        .push_bind(now)
                        .push_bind(now)
                        .push_bind(sealed.clone());
                });
                query
            },
            execute
        )
        .map(drop)
    }

    /// Redeems a recovery code; of any number of callers one wins.
    pub async fn redeem_recovery_code(&mut self, id: Uuid) -> Result<bool> {
        const SQL: &str = "delete from credentials where id = $1 and kind = 'recovery_code'";
        Ok(execute!(self, sqlx::query(SQL).bind(id))? == 1)
    }

    /// Removes a user's factors of one method. How many there were.
    pub async fn delete_credentials(&mut self, user: UserId, method: FactorMethod) -> Result<u64> {
        const SQL: &str = "delete from credentials where user_id = $1 and kind = $2";
        execute!(self, sqlx::query(SQL).bind(user.0).bind(method.as_str()))
    }

    /// Removes the factors of all users.
    pub async fn delete_every_credential(&mut self, now: Timestamp) -> Result<()> {
        const USERS: &str = "update users set mfa_at = null, updated_at = $1, version = version + 1
             where mfa_at is not null";
        execute!(self, sqlx::query("delete from credentials"))?;
        execute!(self, sqlx::query(USERS).bind(now)).map(drop)
    }

    /// Removes a user's factors that were confirmed at a time or later. How many there were.
    pub async fn delete_credentials_since(&mut self, user: UserId, since: Timestamp) -> Result<u64> {
        const SQL: &str = "delete from credentials where user_id = $1 and confirmed_at >= $2";
        execute!(self, sqlx::query(SQL).bind(user.0).bind(since))
    }
}
