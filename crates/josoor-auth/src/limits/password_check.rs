//! Limits before a password is verified.

use super::limiter::Limiter;
use crate::domain::limit::Limit;
use crate::domain::{KnownDevice, Network, Requester, SessionId, UserId};
use crate::error::Result;

/// The network of a sign-in that has been counted by it; `None` inside is the command line, which is not counted.
#[derive(Clone, Copy, Debug)]
pub struct CountedNetwork(Option<Network>);

/// A check of a password that has been counted on every axis that applies to it, and on whose behalf it is computed.
///
/// [`Limiter::sign_in`] and [`Limiter::password_in_session`] make it, and [`Hasher::verify`](crate::hasher::Hasher::verify)
/// takes nothing else, so that no use case can verify a password without counting, or count only half.
#[derive(Clone, Copy, Debug)]
pub struct PasswordCheck(Requester);

impl PasswordCheck {
    /// On whose behalf the password is verified.
    pub const fn requester(self) -> Requester {
        self.0
    }

    /// For measurements and tests of the hasher alone.
    #[cfg(feature = "internals")]
    pub const fn not_counted(requester: Requester) -> Self {
        Self(requester)
    }
}

impl Limiter {
    /// Before a password is verified that comes without a session: at a sign-in, or beside a
    /// token of a mail. `ip` is the client's address and `email_key` the canonical form of the account's.
    ///
    /// The network comes first: a client over that limit cannot use up an account's.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn sign_in(
        &self,
        ip: &str,
        email_key: &str,
        device: Option<&KnownDevice>,
    ) -> Result<PasswordCheck> {
        let from = self.sign_in_from(ip).await?;
        self.sign_in_to(from, email_key, device).await
    }

    /// The first half of [`sign_in`](Self::sign_in): by network. What it gives is needed for the second half.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn sign_in_from(&self, ip: &str) -> Result<CountedNetwork> {
        let network = Network::of(ip);
        if let Some(network) = network {
            self.take_by_network(Limit::LoginAddress, network, &[]).await?;
        }
        Ok(CountedNetwork(network))
    }

    /// The second half of [`sign_in`](Self::sign_in): by account. The devices that the account knows are counted together,
    /// and apart from all others, so that guessing from elsewhere does not lock the owner out and many marks are no more than
    /// one.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn sign_in_to(
        &self,
        from: CountedNetwork,
        email_key: &str,
        device: Option<&KnownDevice>,
    ) -> Result<PasswordCheck> {
        let CountedNetwork(Some(network)) = from else {
            return Ok(PasswordCheck(Requester::Operator));
        };
        if let Some(KnownDevice { user, .. }) = device {
            let key = ["device", &user.to_string()];
            self.take(Limit::LoginDevice, &key).await?;
            return Ok(PasswordCheck(Requester::Known(*user)));
        }
        self.take_by_network(Limit::LoginPair, network, &[email_key])
            .await?;
        self.take(Limit::LoginAccount, &[email_key]).await?;
        Ok(PasswordCheck(Requester::Network(network)))
    }

    /// Before a password is verified within a session: to delete the account, to change the password or the address.
    ///
    /// Counted by network together with sign-ins, by session, and by account: sessions and networks can be multiplied by
    /// an attacker of one account. The account's bucket is apart from those of sign-ins and larger than a session's, so
    /// that neither a thief of one session nor guessing from outside locks the owner out.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn password_in_session(
        &self,
        ip: &str,
        user: UserId,
        session: SessionId,
    ) -> Result<PasswordCheck> {
        if let Some(network) = Network::of(ip) {
            self.take_by_network(Limit::LoginAddress, network, &[]).await?;
        }
        let user_text = user.to_string();
        let key = ["session", &user_text, &session.to_string()];
        self.take(Limit::LoginDevice, &key).await?;
        self.take(Limit::PasswordAccount, &[&user_text]).await?;
        Ok(PasswordCheck(Requester::Known(user)))
    }
}
