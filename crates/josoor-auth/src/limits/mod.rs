//! How often something may happen.
//!
//! Every limit is a set of buckets of one size: one for each address, account, pair, device, session or recipient. With
//! Redis the buckets are counted there, for all nodes together, in one step each; without it, in this process. While
//! Redis does not answer, each node counts alone, and stricter: nothing is ever let through uncounted.
//!
//! A use case asks at its top, before it looks anything up, so that the answer cannot depend on what exists.

mod alarm;
mod gcra;
pub(crate) mod keyed_mutex;
mod memory;

use std::fmt;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::{LimitsConfig, Quota};
use crate::crypto;
use crate::domain::{Network, SessionId, UserId};
use crate::error::{Error, RateLimitPolicy, Result};
use crate::hasher::Asker;
use crate::keys::KnownDevice;
use crate::redis::{Kv, KvError};
use crate::telemetry::Metrics;
use alarm::Alarm;
use gcra::Rate;
use memory::Buckets;

/// The limits, each with a quota of its own in `[limits]`; [`TABLE`] describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Sign-ins, and checks of the password within a session, from one network address.
    LoginAddress,
    /// Sign-ins to one account from one network address, on devices that the account does not know.
    LoginPair,
    /// Sign-ins to one account from devices that it does not know.
    LoginAccount,
    /// Sign-ins to one account from all devices that it knows; also what is asked of the password within one session.
    LoginDevice,
    /// Checks of one account's password within all of its sessions.
    PasswordAccount,
    /// Registrations from one network address.
    RegisterAddress,
    /// Requests for mail with a link from one network address.
    ForgotAddress,
    /// Requests to reset the password of one account.
    ForgotAccount,
    /// Requests to prove the address of one account.
    VerifyAccount,
    /// Requests for another address from one network address.
    EmailChangeAddress,
    /// Requests for another address of one account.
    EmailChangeAccount,
    /// Refreshes of one session.
    RefreshSession,
    /// Requests that change something, of signed-in users from one network address.
    WriteAddress,
    /// Requests of one user that change something.
    WriteAccount,
    /// Requests below `/admin` of one administrator that change something.
    AdminAccount,
    /// Mails to one recipient.
    MailRecipient,
    /// Mails caused by requests without a session from one network.
    MailNetwork,
    /// Mails in all.
    MailTotal,
}

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

/// What there is to say about one limit.
#[derive(Debug)]
pub struct Entry {
    /// Which one.
    pub limit: Limit,
    /// Its key in `[limits]`, and the name of its policy in the `RateLimit` headers.
    pub name: &'static str,
    /// Its quota unless the configuration says otherwise.
    pub default: &'static str,
    /// What it counts, and of what there is one bucket each.
    pub counts: &'static str,
    /// What who is over it is told.
    pub message: &'static str,
}

/// All limits, in the order of [`Limit`].
pub static TABLE: [Entry; 18] = [
    Entry {
        limit: Limit::LoginAddress,
        name: "login_address",
        default: "100/1m",
        counts: "sign-ins, and checks of the password within a session, from one network address",
        message: "Too many sign-ins from your network. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::LoginPair,
        name: "login_pair",
        default: "as `login_account`",
        counts: "sign-ins to one account from one network address, on devices that the account does not know",
        message: "Too many sign-ins to this account. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::LoginAccount,
        name: "login_account",
        default: "10/1m",
        counts: "sign-ins to one account from everywhere, on devices that it does not know",
        message: "Too many sign-ins to this account. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::LoginDevice,
        name: "login_device",
        default: "10/1m",
        counts: "sign-ins to one account on all devices that it knows; and, counted apart, checks of the password within one session",
        message: "The password was tried too often. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::PasswordAccount,
        name: "password_account",
        default: "30/1m",
        counts: "checks of one account's password within all of its sessions together",
        message: "The password was tried too often. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::RegisterAddress,
        name: "register_address",
        default: "30/1m",
        counts: "registrations from one network address",
        message: "Too many registrations from your network. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::ForgotAddress,
        name: "forgot_address",
        default: "30/1m",
        counts: "requests for mail with a link (reset, proof of an address) from one network address",
        message: "Too many requests for mail from your network. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::ForgotAccount,
        name: "forgot_account",
        default: "5/15m",
        counts: "requests to reset the password of one account",
        message: "A reset was asked for too often. Look at the newest mail, or try again later.",
    },
    Entry {
        limit: Limit::VerifyAccount,
        name: "verify_account",
        default: "5/15m",
        counts: "requests to prove the address of one account",
        message: "The mail was asked for too often. Look at the newest one, or try again later.",
    },
    Entry {
        limit: Limit::EmailChangeAddress,
        name: "email_change_address",
        default: "30/1h",
        counts: "requests for another address of an account from one network address",
        message: "Too many changes of address from your network. Try again later.",
    },
    Entry {
        limit: Limit::EmailChangeAccount,
        name: "email_change_account",
        default: "5/1h",
        counts: "requests for another address of one account",
        message: "Another address was asked for too often. Look at the newest mail, or try again later.",
    },
    Entry {
        limit: Limit::RefreshSession,
        name: "refresh_session",
        default: "300/1m",
        counts: "refreshes of one session, with a refresh token or an access token; with an old one, counted apart",
        message: "This session was refreshed too often. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::WriteAddress,
        name: "write_address",
        default: "600/1m",
        counts: "requests that change something, of signed-in users from one network address",
        message: "Too many changes from your network. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::WriteAccount,
        name: "write_account",
        default: "60/1m",
        counts: "requests of one user that change something, those below `/admin` aside",
        message: "Too many changes in a short time. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::AdminAccount,
        name: "admin_account",
        default: "300/1m",
        counts: "requests of one administrator below `/admin` that change something or export",
        message: "Too many changes in a short time. Wait a little, then try again.",
    },
    Entry {
        limit: Limit::MailRecipient,
        name: "mail_recipient",
        default: "10/1h",
        counts: "mails of one kind to one recipient",
        message: "Too many mails to this recipient. Try again later.",
    },
    Entry {
        limit: Limit::MailNetwork,
        name: "mail_network",
        default: "60/1h",
        counts: "mails caused by requests without a session from one network address",
        message: "Too many mails were caused from your network. Try again later.",
    },
    Entry {
        limit: Limit::MailTotal,
        name: "mail_total",
        default: "1000/1h",
        counts: "mails to all recipients together; a fifth is reserved for resets and a fifth for notices",
        message: "Too many mails. Try again later.",
    },
];

impl Limit {
    /// What there is to say about it.
    pub fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }
}

/// The table of all limits, in Markdown, as `docs/reference/limits.md` has it.
pub fn table() -> String {
    let mut text = "| Limit | Default | Counts | The answer says |\n|---|---|---|---|\n".to_owned();
    for entry in &TABLE {
        let default = if entry.default.contains('`') {
            entry.default.to_owned()
        } else {
            format!("`{}`", entry.default)
        };
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {default} | {} | {} |",
            entry.name, entry.counts, entry.message
        );
    }
    text
}

/// In which role a signed-in user changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Of what is their own.
    Own,
    /// As an administrator.
    Administrator,
}

/// A refusal: after what time the next try succeeds, and the quota that was counted against.
struct Refused {
    wait: Duration,
    quota: Quota,
}

impl Refused {
    fn into_error(self, limit: Limit) -> Error {
        let entry = limit.entry();
        Error::RateLimited {
            retry_after: self.wait,
            policy: RateLimitPolicy {
                name: entry.name,
                quota: self.quota.count,
                window: self.quota.window,
                message: entry.message,
            },
        }
    }
}

/// Counts what happens, for all nodes together.
pub struct Limiter {
    config: LimitsConfig,
    kv: Kv,
    clock: Clock,
    metrics: Metrics,
    /// Names the buckets, so that Redis holds no addresses.
    key: Zeroizing<[u8; 32]>,
    /// One for each limit, in the order of [`TABLE`].
    memory: [Buckets; TABLE.len()],
    /// The one bucket of failed sign-ins.
    failed_sign_ins: Buckets,
    alarm: Alarm,
    alone: Alone,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Limiter {
    /// With the configured quotas. `key` has to be the same on all nodes and known to nobody else.
    pub fn new(
        config: LimitsConfig,
        key: Zeroizing<[u8; 32]>,
        kv: Kv,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            config,
            kv,
            clock,
            alarm: Alarm::new(metrics.clone()),
            metrics,
            key,
            memory: Default::default(),
            failed_sign_ins: Buckets::default(),
            alone: Alone::default(),
        }
    }

    /// The quota of a limit.
    pub const fn quota(&self, limit: Limit) -> Quota {
        let config = &self.config;
        match limit {
            Limit::LoginAddress => config.login_address,
            Limit::LoginPair => config.login_pair,
            Limit::LoginAccount => config.login_account,
            Limit::LoginDevice => config.login_device,
            Limit::PasswordAccount => config.password_account,
            Limit::RegisterAddress => config.register_address,
            Limit::ForgotAddress => config.forgot_address,
            Limit::ForgotAccount => config.forgot_account,
            Limit::VerifyAccount => config.verify_account,
            Limit::EmailChangeAddress => config.email_change_address,
            Limit::EmailChangeAccount => config.email_change_account,
            Limit::RefreshSession => config.refresh_session,
            Limit::WriteAddress => config.write_address,
            Limit::WriteAccount => config.write_account,
            Limit::AdminAccount => config.admin_account,
            Limit::MailRecipient => config.mail_recipient,
            Limit::MailNetwork => config.mail_network,
            Limit::MailTotal => config.mail_total,
        }
    }

    /// Takes one from the bucket of a limit that the parts of `key` name. What is refused takes nothing.
    ///
    /// # Errors
    /// `RateLimited`, with the time after which the next try succeeds.
    pub async fn take(&self, limit: Limit, key: &[&str]) -> Result<()> {
        let refused = self.count(limit, key, 1).await;
        refused.map_or(Ok(()), |refused| Err(refused.into_error(limit)))
    }

    /// Like [`take`](Self::take), for work that can wait: `None` when one was taken, else the time after which the
    /// next try succeeds.
    pub async fn wait(&self, limit: Limit, key: &[&str]) -> Option<Duration> {
        self.count(limit, key, 1).await.map(|refused| refused.wait)
    }

    /// Takes one from the buckets of a network, at every width that is counted (see [`Network::levels`]), for what the parts
    /// of `key` name within it. Narrowest first: a client over the limit of a narrow network takes nothing from its
    /// neighbours.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn take_by_network(&self, limit: Limit, network: Network, key: &[&str]) -> Result<()> {
        for (name, factor) in network.levels() {
            let mut parts = vec![name.as_str()];
            parts.extend(key);
            let refused = self.count(limit, &parts, factor).await;
            refused.map_or(Ok(()), |refused| Err(refused.into_error(limit)))?;
        }
        Ok(())
    }

    /// Before a password is verified that somebody without a session gives for an account: at a sign-in, or beside a
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
            return Ok(PasswordCheck(Asker::Operator));
        };
        if let Some(KnownDevice { user, .. }) = device {
            let key = ["device", &user.to_string()];
            self.take(Limit::LoginDevice, &key).await?;
            return Ok(PasswordCheck(Asker::Known(*user)));
        }
        self.take_by_network(Limit::LoginPair, network, &[email_key])
            .await?;
        self.take(Limit::LoginAccount, &[email_key]).await?;
        Ok(PasswordCheck(Asker::Network(network)))
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
        Ok(PasswordCheck(Asker::Known(user)))
    }

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

    /// Before a request to send the proof of this canonical address again, whether there is an account or not.
    ///
    /// # Errors
    /// `RateLimited`.
    pub async fn verify(&self, ip: &str, email_key: &str) -> Result<()> {
        self.mail_asked_for(ip, Limit::VerifyAccount, email_key).await
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

    async fn mail_asked_for(&self, ip: &str, limit: Limit, email_key: &str) -> Result<()> {
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

    /// Takes one mail from the budget of all mails: `None` when one was taken, else the time after which the next try
    /// succeeds.
    pub async fn wait_for_mail(&self, share: MailShare) -> Option<Duration> {
        if !self.config.enabled {
            return None;
        }
        let total = self.quota(Limit::MailTotal);
        let (name, memory) = (
            Limit::MailTotal.entry().name,
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

    /// Counts a failed sign-in for the alarm, which stops no one: a lock for all would be an attack of its own. Counted for
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

    /// Takes one from a bucket that has `factor` times the limit's quota.
    async fn count(&self, limit: Limit, key: &[&str], factor: u32) -> Option<Refused> {
        if !self.config.enabled {
            return None;
        }
        let mut quota = self.quota(limit);
        quota.count = quota.count.saturating_mul(factor);
        let (name, memory) = (limit.entry().name, &self.memory[limit as usize]);
        let refused = self.take_one(name, memory, key, quota).await;
        if refused.is_some() {
            self.metrics.limited(name);
        }
        refused
    }

    async fn take_one(
        &self,
        name: &'static str,
        memory: &Buckets,
        key: &[&str],
        quota: Quota,
    ) -> Option<Refused> {
        let id = self.bucket(name, key);
        match self.kv {
            Kv::InProcess => self.take_here(memory, id, quota),
            Kv::Redis(_) => match self.take_shared(name, id, quota).await {
                Ok(refused) => {
                    self.alone.ends(self.clock.now().as_micros());
                    refused
                }
                Err(error) => {
                    self.alone.begins(self.clock.now().as_micros(), &error);
                    self.metrics.limit_without_redis();
                    self.take_here(memory, id, stricter(quota))
                }
            },
        }
    }

    fn take_here(&self, memory: &Buckets, id: [u8; 16], quota: Quota) -> Option<Refused> {
        let now = self.clock.now().as_micros();
        let key = id.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let wait = memory.take(key, now, Rate::of(quota))?;
        Some(Refused {
            wait: micros(wait),
            quota,
        })
    }

    async fn take_shared(
        &self,
        name: &'static str,
        id: [u8; 16],
        quota: Quota,
    ) -> Result<Option<Refused>, KvError> {
        let key = format!("josoor-auth:limit:{name}:{}", URL_SAFE_NO_PAD.encode(id));
        let rate = Rate::of(quota);
        let wait = self
            .kv
            .take(&key, micros(rate.interval), micros(rate.capacity))
            .await?;
        Ok(wait.map(|wait| Refused { wait, quota }))
    }

    /// The name of a bucket: 128 bits that tell nobody what is counted in it.
    fn bucket(&self, name: &'static str, key: &[&str]) -> [u8; 16] {
        let mut parts = vec![name.as_bytes()];
        parts.extend(key.iter().map(|part| part.as_bytes()));
        let mut id = [0; 16];
        id.copy_from_slice(&crypto::mac(&*self.key, &parts)[..16]);
        id
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// What a node grants while it counts alone: half, because nobody knows what the others grant; at least one.
fn stricter(quota: Quota) -> Quota {
    Quota {
        count: (quota.count / 2).max(1),
        ..quota
    }
}

/// The network of a sign-in that has been counted by it; `None` inside is the command line, which is not counted.
#[derive(Clone, Copy, Debug)]
pub struct CountedNetwork(Option<Network>);

/// A check of a password that has been counted on every axis that applies to it, and on whose behalf it is computed.
///
/// [`Limiter::sign_in`] and [`Limiter::password_in_session`] make it, and [`Hasher::verify`](crate::hasher::Hasher::verify)
/// takes nothing else, so that no use case can verify a password without counting, or count only half.
#[derive(Clone, Copy, Debug)]
pub struct PasswordCheck(Asker);

impl PasswordCheck {
    /// On whose behalf the password is verified.
    pub const fn asker(self) -> Asker {
        self.0
    }

    /// For measurements and tests of the hasher alone.
    #[doc(hidden)]
    pub const fn not_counted(asker: Asker) -> Self {
        Self(asker)
    }
}

/// Whether this node counts alone, with one line in the log for each change.
#[derive(Debug, Default)]
struct Alone {
    is_so: AtomicBool,
    /// When Redis last failed, in microseconds.
    failed_at: AtomicI64,
}

/// For so long Redis has to answer before that is worth a line: one that answers every other time must not fill the log.
const STEADY: i64 = 5_000_000;

impl Alone {
    fn begins(&self, now: i64, error: &KvError) {
        self.failed_at.store(now, Ordering::Relaxed);
        if !self.is_so.swap(true, Ordering::Relaxed) {
            tracing::warn!(cause = %error, "limits: Redis does not count; this node counts alone, with half of every quota");
        }
    }

    fn ends(&self, now: i64) {
        if self.is_so.load(Ordering::Relaxed)
            && now.abs_diff(self.failed_at.load(Ordering::Relaxed)) >= STEADY.unsigned_abs()
            && self.is_so.swap(false, Ordering::Relaxed)
        {
            tracing::info!("limits: Redis counts again, for all nodes together");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::Config;
    use crate::domain::Timestamp;

    fn limiter(settings: &[(&str, &str)]) -> (Limiter, Clock) {
        let environment = settings
            .iter()
            .map(|(name, value)| (format!("JOSOOR_AUTH__LIMITS__{name}"), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>();
        let config = Config::parse(None, &environment).unwrap().limits;
        let clock = Clock::manual(Timestamp::from_micros(1_700_000_000_000_000));
        let key = Zeroizing::new([7; 32]);
        let limiter = Limiter::new(config, key, Kv::InProcess, clock.clone(), Metrics::new());
        (limiter, clock)
    }

    #[test]
    fn the_table_is_complete_and_says_what_the_configuration_says() {
        let (limiter, _) = limiter(&[]);
        for (position, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.limit as usize, position);
            let quota = limiter.quota(entry.limit).to_string();
            if entry.limit == Limit::LoginPair {
                assert_eq!(quota, limiter.quota(Limit::LoginAccount).to_string());
            } else {
                assert_eq!(quota, entry.default, "{}", entry.name);
            }
        }
    }

    #[test]
    fn the_documentation_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/limits.md");
        let text = std::fs::read_to_string(path).unwrap();
        let table = table();
        assert!(
            text.contains(&table),
            "docs/reference/limits.md is stale; it should have:\n{table}"
        );
    }

    #[tokio::test]
    async fn who_is_refused_takes_nothing_and_is_told_when_to_come_back() {
        let (limiter, clock) = limiter(&[("LOGIN_ACCOUNT", "3/1m")]);
        let take = || limiter.take(Limit::LoginAccount, &["a@example.com"]);
        for _ in 0..3 {
            take().await.unwrap();
        }
        for _ in 0..100 {
            let Err(Error::RateLimited { retry_after, policy }) = take().await else {
                panic!("over the limit");
            };
            assert_eq!(retry_after, Duration::from_secs(20));
            assert_eq!(
                (policy.name, policy.quota, policy.window),
                ("login_account", 3, Duration::from_mins(1))
            );
        }
        let wait = limiter.wait(Limit::LoginAccount, &["a@example.com"]).await;
        assert_eq!(wait, Some(Duration::from_secs(20)));
        clock.advance(Duration::from_secs(20));
        take().await.unwrap();
        assert!(take().await.is_err());
        // Another account, another limit and another cut of the same text are other buckets.
        limiter
            .take(Limit::LoginAccount, &["b@example.com"])
            .await
            .unwrap();
        limiter
            .take(Limit::LoginAccount, &["a@", "example.com"])
            .await
            .unwrap();
        limiter.take(Limit::LoginPair, &["a@example.com"]).await.unwrap();
    }

    #[tokio::test]
    async fn who_is_over_the_limit_of_the_address_does_not_use_up_an_account() {
        let (limiter, _) = limiter(&[("LOGIN_ADDRESS", "5/1h"), ("LOGIN_ACCOUNT", "3/1h")]);
        for number in 0..5 {
            let email = format!("{number}@example.com");
            limiter.sign_in("192.0.2.1", &email, None).await.unwrap();
        }
        for _ in 0..10 {
            let refused = limiter.sign_in("192.0.2.1", "victim@example.com", None).await;
            let Err(Error::RateLimited { policy, .. }) = refused else {
                panic!("over the limit");
            };
            assert_eq!(policy.name, "login_address");
        }
        for _ in 0..3 {
            limiter
                .sign_in("192.0.2.2", "victim@example.com", None)
                .await
                .unwrap();
        }
        assert!(
            limiter
                .sign_in("192.0.2.2", "victim@example.com", None)
                .await
                .is_err()
        );
        // The command line is not counted.
        limiter.sign_in("", "victim@example.com", None).await.unwrap();
    }

    #[tokio::test]
    async fn mail_is_asked_for_by_address_then_by_account() {
        let (limiter, _) = limiter(&[
            ("FORGOT_ADDRESS", "4/1h"),
            ("FORGOT_ACCOUNT", "2/1h"),
            ("VERIFY_ACCOUNT", "1/1h"),
        ]);
        // One address may ask for so many, whatever for.
        limiter.forgot("192.0.2.1", "a@example.com").await.unwrap();
        limiter.verify("192.0.2.1", "a@example.com").await.unwrap();
        limiter.forgot("192.0.2.1", "a@example.com").await.unwrap();
        let third = limiter.forgot("192.0.2.1", "a@example.com").await;
        assert_eq!(refused_by(third), "forgot_account");
        let fifth = limiter.forgot("192.0.2.1", "b@example.com").await;
        assert_eq!(refused_by(fifth), "forgot_address");
        // An account gets so many, whoever asks.
        let elsewhere = limiter.forgot("192.0.2.2", "a@example.com").await;
        assert_eq!(refused_by(elsewhere), "forgot_account");
        let elsewhere = limiter.verify("192.0.2.2", "a@example.com").await;
        assert_eq!(refused_by(elsewhere), "verify_account");
        limiter.forgot("192.0.2.2", "b@example.com").await.unwrap();
        limiter.forgot("", "a@example.com").await.unwrap();
    }

    fn refused_by<T: fmt::Debug>(result: Result<T>) -> &'static str {
        match result {
            Err(Error::RateLimited { policy, .. }) => policy.name,
            other => panic!("not over a limit: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_session_and_a_device_of_one_user_are_counted_apart() {
        let (limiter, _) = limiter(&[("LOGIN_DEVICE", "1/1h")]);
        let (user, session) = (UserId(7), SessionId::random());
        let device = KnownDevice { user, id: session.0 };
        let other = KnownDevice {
            user,
            id: SessionId::random().0,
        };
        let within = |user, session| limiter.password_in_session("192.0.2.1", user, session);
        let on_device = |ip, device| limiter.sign_in(ip, "a@example.com", Some(device));
        within(user, session).await.unwrap();
        on_device("192.0.2.1", &device).await.unwrap();
        within(user, SessionId::random()).await.unwrap();
        within(UserId(8), session).await.unwrap();
        assert_eq!(refused_by(within(user, session).await), "login_device");
        assert_eq!(refused_by(on_device("192.0.2.9", &other).await), "login_device");
    }

    #[tokio::test]
    async fn a1_a_check_within_a_session_counts_by_network_session_and_account() {
        let (limiter, _) = limiter(&[
            ("LOGIN_ADDRESS", "6/1h"),
            ("LOGIN_DEVICE", "2/1h"),
            ("PASSWORD_ACCOUNT", "4/1h"),
        ]);
        let session = SessionId::random();
        let check = |ip, user: i64, session| limiter.password_in_session(ip, UserId(user), session);
        let asker = check("192.0.2.1", 7, session).await.unwrap().asker();
        assert_eq!(asker, Asker::Known(UserId(7)));
        check("192.0.2.1", 7, session).await.unwrap();
        for _ in 0..3 {
            // One session, also from elsewhere; it takes nothing of the account's.
            assert_eq!(refused_by(check("192.0.2.2", 7, session).await), "login_device");
        }
        for _ in 0..2 {
            check("192.0.2.1", 7, SessionId::random()).await.unwrap();
        }
        // New sessions and new addresses make no new account.
        let elsewhere = check("192.0.2.3", 7, SessionId::random()).await;
        assert_eq!(refused_by(elsewhere), "password_account");
        // Guessing from outside neither uses this bucket up nor is stopped by it.
        limiter
            .sign_in("192.0.2.4", "owner@example.com", None)
            .await
            .unwrap();
        // New accounts make no new network; and it is the one that sign-ins are counted in.
        check("192.0.2.1", 8, SessionId::random()).await.unwrap();
        check("192.0.2.1", 9, SessionId::random()).await.unwrap();
        let seventh = check("192.0.2.1", 10, SessionId::random()).await;
        assert_eq!(refused_by(seventh), "login_address");
        let seventh = limiter.sign_in("192.0.2.1", "other@example.com", None).await;
        assert_eq!(refused_by(seventh), "login_address");
    }

    #[tokio::test]
    async fn c8_every_limit_by_network_counts_wider_v6_networks_too() {
        let (limiter, _) = limiter(&[
            ("LOGIN_ADDRESS", "2/1h"),
            ("LOGIN_PAIR", "2/1h"),
            ("LOGIN_ACCOUNT", "1000/1h"),
            ("REGISTER_ADDRESS", "2/1h"),
            ("FORGOT_ADDRESS", "2/1h"),
            ("EMAIL_CHANGE_ADDRESS", "2/1h"),
            ("WRITE_ADDRESS", "2/1h"),
        ]);
        for limit in [
            Limit::LoginAddress,
            Limit::EmailChangeAddress,
            Limit::WriteAddress,
            Limit::LoginPair,
            Limit::RegisterAddress,
            Limit::ForgotAddress,
        ] {
            let take = async |ip: &str| {
                let network = Network::of(ip).unwrap();
                limiter.take_by_network(limit, network, &["a@example.com"]).await
            };
            let (mut admitted, mut quotas) = (0, Vec::new());
            for number in 0..2000_u32 {
                let ip = format!("2001:db8:1:{number:x}::1");
                match take(&ip).await {
                    Ok(()) => admitted += 1,
                    Err(Error::RateLimited { policy, .. }) => quotas.push(policy.quota),
                    Err(other) => panic!("{other}"),
                }
            }
            // Of each /56 eight: with four of them the /48 is used up.
            assert_eq!(admitted, 32, "{limit:?}");
            assert!(quotas.contains(&8) && quotas.contains(&32), "{limit:?}");
            take("2001:db8:2:1::1").await.unwrap();
            // An IPv4 address is one customer or a whole ministry; its neighbours are others.
            for number in 0..200 {
                take(&format!("192.0.2.{number}")).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn half_is_left_while_a_node_counts_alone_but_at_least_one() {
        for (count, left) in [(10, 5), (3, 1), (2, 1), (1, 1)] {
            let quota = Quota {
                count,
                window: Duration::from_mins(1),
            };
            assert_eq!(stricter(quota).count, left);
        }
    }

    #[test]
    fn a_redis_that_comes_and_goes_is_worth_two_lines() {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let (alone, away) = (Alone::default(), KvError::Unavailable("gone".to_owned()));
            alone.ends(0);
            // Every other check fails for ten seconds.
            for now in (0..10_000_000).step_by(1000) {
                alone.begins(now, &away);
                alone.ends(now + 500);
            }
            for now in (10_000_000..20_000_000).step_by(1000) {
                alone.ends(now);
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("counts alone") && text.contains("gone") && text.contains("counts again"));
    }

    #[tokio::test]
    async fn a2_resets_and_notices_have_shares_of_the_mails_that_others_cannot_take() {
        let (limiter, clock) = limiter(&[("MAIL_TOTAL", "100/1h")]);
        let take_all = async |share| {
            let mut taken = 0;
            while limiter.wait_for_mail(share).await.is_none() {
                taken += 1;
            }
            taken
        };
        assert_eq!(take_all(MailShare::Common).await, 60);
        assert_eq!(take_all(MailShare::Reset).await, 20);
        assert_eq!(take_all(MailShare::Notice).await, 20);
        assert_eq!(
            limiter.wait_for_mail(MailShare::Common).await,
            Some(Duration::from_mins(1))
        );
        clock.advance(Duration::from_hours(1));
        assert_eq!(take_all(MailShare::Reset).await, 80);
        assert_eq!(take_all(MailShare::Notice).await, 20);
        assert_eq!(take_all(MailShare::Common).await, 0);
        for (total, whole) in [("1/1h", 1), ("4/1h", 4), ("7/1h", 6)] {
            let (limiter, _) = self::limiter(&[("MAIL_TOTAL", total)]);
            let mut taken = 0;
            while limiter.wait_for_mail(MailShare::Reset).await.is_none() {
                taken += 1;
            }
            assert_eq!(taken, whole, "{total}");
        }
    }

    #[tokio::test]
    async fn switched_off_nothing_is_counted() {
        let (limiter, _) = limiter(&[("ENABLED", "false"), ("MAIL_TOTAL", "1/30d")]);
        for _ in 0..100 {
            limiter.take(Limit::MailTotal, &[]).await.unwrap();
            assert_eq!(limiter.wait_for_mail(MailShare::Common).await, None);
        }
    }
}
