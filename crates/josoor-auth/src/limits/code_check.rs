//! Limits before a code of a second factor is verified.

use super::limiter::Limiter;
use crate::domain::limit::Limit;
use crate::domain::{KnownDevice, Network, SessionId, UserId};
use crate::error::Result;

/// A check of a code that has been counted on every axis that applies to it.
///
/// [`Limiter::code_at_sign_in`] and [`Limiter::code_in_session`] make it, and codes are compared with nothing else, so that no
/// use case can compare one without counting.
#[derive(Debug)]
pub struct CodeCheck(());

impl Limiter {
    /// Before a flow is looked up that a code is sent to.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn code_from(&self, ip: &str) -> Result<()> {
        match Network::of(ip) {
            Some(network) => self.take_by_network(Limit::LoginAddress, network, &[]).await,
            None => Ok(()),
        }
    }

    /// Before a code is compared that finishes a sign-in of a user. Its client holds an open flow, so it has given the right
    /// password. The devices that the account knows are counted together, and apart from all others, so that guessing from
    /// elsewhere does not lock the owner out.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn code_at_sign_in(&self, user: UserId, device: Option<&KnownDevice>) -> Result<CodeCheck> {
        let user = user.to_string();
        match device {
            Some(_) => self.take(Limit::MfaDevice, &["device", &user]).await?,
            None => self.take(Limit::MfaAccount, &[&user]).await?,
        }
        Ok(CodeCheck(()))
    }

    /// Before a code is compared within a session. Counted by network, by session, and by account, in a bucket apart from
    /// those of sign-ins.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn code_in_session(&self, ip: &str, user: UserId, session: SessionId) -> Result<CodeCheck> {
        self.code_from(ip).await?;
        let user = user.to_string();
        let key = ["session", &user, &session.to_string()];
        self.take(Limit::MfaDevice, &key).await?;
        self.take(Limit::MfaSessions, &[&user]).await?;
        Ok(CodeCheck(()))
    }
}
