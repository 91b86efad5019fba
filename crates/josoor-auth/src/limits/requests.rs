//! Limits of registrations, mails, refreshes and changes.

use std::time::Duration;

use super::limiter::Limiter;
use crate::config::Quota;
use crate::domain::limit::Limit;
use crate::domain::{Network, SessionId, UserId};
use crate::error::Result;

/// Which shares of `mail_total` a mail may be taken from. A fifth is reserved for resets and a fifth for notices; what is left
/// is common to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailShare {
    /// The reserve of resets, then what is common.
    Reset,
    /// The reserve of notices, then what is common.
    Notice,
    /// Only what is common.
    Common,
}

/// In which role a signed-in user changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Of what is their own.
    Own,
    /// As an administrator.
    Administrator,
}

impl Limiter {
    /// Before a registration.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn register(&self, ip: &str) -> Result<()> {
        match Network::of(ip) {
            Some(network) => self.take_by_network(Limit::RegisterAddress, network, &[]).await,
            None => Ok(()),
        }
    }

    /// Before a request to reset the password of the account with this canonical address, whether there is one or not.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn forgot(&self, ip: &str, email_key: &str) -> Result<()> {
        self.mail_asked_for(ip, Limit::ForgotAccount, email_key).await
    }

    /// Before a request to send the verification of this canonical address again, whether there is an account or not.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn verify(&self, ip: &str, email_key: &str) -> Result<()> {
        self.mail_asked_for(ip, Limit::VerifyAccount, email_key).await
    }

    /// Before a request for a code to sign in to the account with this canonical address, whether there is one or not.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn mail_code(&self, ip: &str, email_key: &str) -> Result<()> {
        self.mail_asked_for(ip, Limit::MailCodeAccount, email_key).await
    }

    /// Before a request for another address of this account, and before its password is checked.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn email_change(&self, ip: &str, user: UserId) -> Result<()> {
        let Some(network) = Network::of(ip) else {
            return Ok(());
        };
        self.take_by_network(Limit::EmailChangeAddress, network, &[])
            .await?;
        self.take(Limit::EmailChangeAccount, &[&user.to_string()]).await
    }

    pub(super) async fn mail_asked_for(&self, ip: &str, limit: Limit, email_key: &str) -> Result<()> {
        let Some(network) = Network::of(ip) else {
            return Ok(());
        };
        self.take_by_network(Limit::ForgotAddress, network, &[]).await?;
        self.take(limit, &[email_key]).await
    }

    /// Before a session is looked up to refresh it, once its token has been verified. A token of an `old` generation is counted
    /// apart, so that its holder does not use up what the owner of the current one may do.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn refresh(&self, session: SessionId, old: Option<i64>) -> Result<()> {
        let session = session.to_string();
        match old {
            None => self.take(Limit::RefreshSession, &[&session]).await,
            Some(generation) => {
                let key = [session.as_str(), &generation.to_string()];
                self.take(Limit::RefreshSession, &key).await
            }
        }
    }

    /// Before a signed-in user changes something: every such request, whatever becomes of it.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn write(&self, ip: &str, user: UserId, writer: Writer) -> Result<()> {
        if let Some(network) = Network::of(ip) {
            self.take_by_network(Limit::WriteAddress, network, &[]).await?;
        }
        let limit = match writer {
            Writer::Own => Limit::WriteAccount,
            Writer::Administrator => Limit::AdminAccount,
        };
        self.take(limit, &[&user.to_string()]).await
    }

    /// Before a browser without a session stores what it does on a page of several steps.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn page_step(&self, ip: &str) -> Result<()> {
        match Network::of(ip) {
            Some(network) => self.take_by_network(Limit::WriteAddress, network, &[]).await,
            None => Ok(()),
        }
    }

    /// Takes one mail from the budget of all mails: `None` when one was taken, else the time after which the next try
    /// succeeds.
    pub async fn wait_for_mail(&self, share: MailShare) -> Option<Duration> {
        if !self.config.enabled {
            return None;
        }
        let total = self.quota(Limit::MailTotal);
        let (name, memory) = (
            Limit::MailTotal.entry().name(),
            &self.memory[Limit::MailTotal as usize],
        );
        // Of fewer than five nothing is reserved.
        let reserve = Quota {
            count: total.count / 5,
            ..total
        };
        let common = Quota {
            count: total.count - 2 * reserve.count,
            ..total
        };
        let reserved = match share {
            MailShare::Reset => Some("reset"),
            MailShare::Notice => Some("notice"),
            MailShare::Common => None,
        };
        if let Some(share) = reserved.filter(|_| reserve.count > 0)
            && self.take_one(name, memory, &[share], reserve).await.is_none()
        {
            return None;
        }
        let refused = self.take_one(name, memory, &["common"], common).await?;
        self.metrics.limited(name);
        Some(refused.wait)
    }

    /// Counts a failed sign-in for the alarm, which rejects nothing: a lock for all would be an attack of its own. Counted for
    /// all nodes together, as limits are.
    pub async fn note_failed_sign_in(&self) {
        let Some(quota) = self.config.failed_sign_ins_alert else {
            return;
        };
        let over = self
            .take_one("failed_sign_ins", &self.failed_sign_ins, &[], quota)
            .await;
        if over.is_some() {
            self.alarm.raise(quota);
        }
    }
}
