//! How often something may happen: a bucket for each limit and key, for all nodes together.
//!
//! The rule is GCRA (the generic cell rate algorithm): a bucket remembers one moment, at which it would be full again. It
//! lets a whole quota through at once and then one for each part of the window; what is refused takes nothing and moves
//! nothing, so trying on does not prolong the wait. No counter stands at zero or begins anew: there is no lock that could be
//! forgotten or thrown at somebody else for good.
//!
//! With Redis one script decides, by Redis' own clock. Without it, or while it fails, each node decides by itself, with
//! half of the quota: a failing Redis never opens a limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Clock;
use crate::config::{LimitsConfig, Quota};
use crate::crypto;
use crate::error::{Error, RateLimitPolicy, Result};
use crate::kv::Kv;
use crate::telemetry::Metrics;
use crate::types::{SessionId, Timestamp, UserId};

/// The limits, each with a quota of its own in `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Sign-ins from one network address.
    LoginAddress,
    /// Sign-ins to one account from one network address.
    LoginPair,
    /// Sign-ins to one account from devices that it does not know.
    LoginAccount,
    /// Sign-ins to one account from one device that it knows; also what is asked of the password within one session.
    LoginDevice,
    /// Registrations from one network address.
    RegisterAddress,
    /// Requests to reset a password, and to send a proof of address again, from one network address.
    ForgotAddress,
    /// Requests to reset the password of one account.
    ForgotAccount,
    /// Requests to send the proof of one address again.
    VerifyAccount,
    /// Refreshes of one session.
    RefreshSession,
    /// Mails to one recipient.
    MailRecipient,
    /// Mails in all.
    MailTotal,
}

impl Limit {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::LoginAddress,
        Self::LoginPair,
        Self::LoginAccount,
        Self::LoginDevice,
        Self::RegisterAddress,
        Self::ForgotAddress,
        Self::ForgotAccount,
        Self::VerifyAccount,
        Self::RefreshSession,
        Self::MailRecipient,
        Self::MailTotal,
    ];

    /// Its key in `[limits]`, and its name in `RateLimit-Policy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LoginAddress => "login_address",
            Self::LoginPair => "login_pair",
            Self::LoginAccount => "login_account",
            Self::LoginDevice => "login_device",
            Self::RegisterAddress => "register_address",
            Self::ForgotAddress => "forgot_address",
            Self::ForgotAccount => "forgot_account",
            Self::VerifyAccount => "verify_account",
            Self::RefreshSession => "refresh_session",
            Self::MailRecipient => "mail_recipient",
            Self::MailTotal => "mail_total",
        }
    }

    /// What is counted, and what by: the table of docs/API.md.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::LoginAddress => "sign-ins from one network address (IPv6: one /64)",
            Self::LoginPair => {
                "sign-ins to one account from one network address, on devices that it does not know"
            }
            Self::LoginAccount => "sign-ins to one account, on devices that it does not know",
            Self::LoginDevice => {
                "sign-ins to one account on one device that it knows; the password asked for within one session"
            }
            Self::RegisterAddress => "registrations from one network address",
            Self::ForgotAddress => {
                "requests for a reset or for another proof of address, from one network address"
            }
            Self::ForgotAccount => "requests for a reset, for one address",
            Self::VerifyAccount => "requests for another proof of address, for one address",
            Self::RefreshSession => "refreshes of one session",
            Self::MailRecipient => "mails to one recipient",
            Self::MailTotal => "mails in all",
        }
    }
}

/// A device that an account knows: whose, and its own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The user who signed in with it.
    pub user: UserId,
    /// Random.
    pub id: [u8; 16],
}

/// Counts what happens.
#[derive(Debug)]
pub struct Limiter {
    config: LimitsConfig,
    kv: Kv,
    clock: Clock,
    metrics: Metrics,
    /// Names buckets without saying whose they are.
    key: [u8; 32],
    here: Buckets,
    /// Redis failed at the last question.
    alone: AtomicBool,
}

impl Limiter {
    /// With the configured quotas. `key` is secret, and the same on all nodes.
    pub fn new(config: LimitsConfig, kv: Kv, clock: Clock, metrics: Metrics, key: [u8; 32]) -> Self {
        Self {
            config,
            kv,
            clock,
            metrics,
            key,
            here: Buckets::default(),
            alone: AtomicBool::new(false),
        }
    }

    /// The quota of a limit.
    pub const fn quota(&self, limit: Limit) -> Quota {
        quota_of(&self.config, limit)
    }

    /// Before a password is looked at: `account` is the canonical address, registered or not. A device that the account
    /// knows has a bucket of its own, so that nobody else can use up its owner's tries.
    pub async fn sign_in(&self, ip: &str, account: &str, device: Option<Device>) -> Result<()> {
        let address = network(ip);
        self.take_from(Limit::LoginAddress, address.as_deref(), &[])
            .await?;
        if let Some(device) = device {
            let (user, id) = (device.user.to_string(), URL_SAFE_NO_PAD.encode(device.id));
            return self.take(Limit::LoginDevice, &["device", &user, &id]).await;
        }
        self.take_from(Limit::LoginPair, address.as_deref(), &[account])
            .await?;
        self.take(Limit::LoginAccount, &[account]).await
    }

    /// Before a registration.
    pub async fn register(&self, ip: &str) -> Result<()> {
        self.take_from(Limit::RegisterAddress, network(ip).as_deref(), &[])
            .await
    }

    /// Before a password is asked for within a session.
    pub async fn password_in_session(&self, user: UserId, session: SessionId) -> Result<()> {
        let (user, session) = (user.to_string(), session.to_string());
        self.take(Limit::LoginDevice, &["session", &user, &session]).await
    }

    /// Before a request to reset the password of an address.
    pub async fn forgot(&self, ip: &str, account: &str) -> Result<()> {
        self.take_from(Limit::ForgotAddress, network(ip).as_deref(), &[])
            .await?;
        self.take(Limit::ForgotAccount, &[account]).await
    }

    /// Before a request to send the proof of an address again.
    pub async fn verify(&self, ip: &str, account: &str) -> Result<()> {
        self.take_from(Limit::ForgotAddress, network(ip).as_deref(), &[])
            .await?;
        self.take(Limit::VerifyAccount, &[account]).await
    }

    /// Before a refresh.
    pub async fn refresh(&self, session: SessionId) -> Result<()> {
        self.take(Limit::RefreshSession, &[&session.to_string()]).await
    }

    /// By network address. The command line has none, and no limit of this kind.
    async fn take_from(&self, limit: Limit, address: Option<&str>, more: &[&str]) -> Result<()> {
        match address {
            Some(address) => self.take(limit, &[&[address], more].concat()).await,
            None => Ok(()),
        }
    }

    /// Takes one from the bucket of a limit that the parts of `key` name.
    ///
    /// # Errors
    /// `RateLimited`, with the time after which the next try succeeds.
    pub async fn take(&self, limit: Limit, key: &[&str]) -> Result<()> {
        if !self.config.enabled {
            return Ok(());
        }
        let quota = self.quota(limit);
        let parts: Vec<&[u8]> = std::iter::once(limit.name())
            .chain(key.iter().copied())
            .map(str::as_bytes)
            .collect();
        let hash = crypto::mac(&self.key, &parts);
        let Some(wait) = self.wait(limit, quota, &hash).await else {
            return Ok(());
        };
        self.metrics.limited(limit.name());
        Err(Error::RateLimited {
            retry_after: wait,
            policy: RateLimitPolicy {
                name: limit.name(),
                quota: quota.count,
                window: quota.window,
            },
        })
    }

    /// Takes one, or says how long to wait.
    async fn wait(&self, limit: Limit, quota: Quota, hash: &[u8; 32]) -> Option<Duration> {
        let here = |quota: Quota| self.here.take(hash, quota, self.clock.now());
        if matches!(self.kv, Kv::InProcess) {
            return here(quota);
        }
        let key = format!(
            "josoor-auth:limit:{}:{}",
            limit.name(),
            URL_SAFE_NO_PAD.encode(&hash[..18])
        );
        match self.kv.take(&key, emission(quota), window(quota)).await {
            Ok(wait) => {
                if self.alone.swap(false, Ordering::Relaxed) {
                    tracing::info!("Redis counts the limits again");
                }
                wait
            }
            Err(error) => {
                if !self.alone.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "Redis does not count the limits; this node does, with half of each quota");
                }
                here(Quota {
                    count: (quota.count / 2).max(1),
                    ..quota
                })
            }
        }
    }
}

/// The quota of a limit in the settings.
pub const fn quota_of(config: &LimitsConfig, limit: Limit) -> Quota {
    match limit {
        Limit::LoginAddress => config.login_address,
        Limit::LoginPair => config.login_pair,
        Limit::LoginAccount => config.login_account,
        Limit::LoginDevice => config.login_device,
        Limit::RegisterAddress => config.register_address,
        Limit::ForgotAddress => config.forgot_address,
        Limit::ForgotAccount => config.forgot_account,
        Limit::VerifyAccount => config.verify_account,
        Limit::RefreshSession => config.refresh_session,
        Limit::MailRecipient => config.mail_recipient,
        Limit::MailTotal => config.mail_total,
    }
}

/// What an address counts as: an IPv4 address, however it is written; of IPv6 the /64, which one customer has whole.
/// `None` for the command line.
fn network(ip: &str) -> Option<String> {
    if ip.is_empty() {
        return None;
    }
    Some(match ip.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Err(_) => ip.to_owned(),
    })
}

/// The time in which one comes back, in microseconds.
fn emission(quota: Quota) -> i64 {
    (window(quota) / i64::from(quota.count.max(1))).max(1)
}

/// The window in microseconds.
fn window(quota: Quota) -> i64 {
    i64::try_from(quota.window.as_micros()).unwrap_or(i64::MAX / 4)
}

/// GCRA: from the moment at which the bucket is full, the next such moment; or how long to wait. All in microseconds.
fn gcra(full_at: i64, now: i64, emission: i64, window: i64) -> Result<i64, i64> {
    // A clock that was put back must not keep anybody out for longer than a window.
    let full_at = full_at.clamp(now, now.saturating_add(window));
    let next = full_at.saturating_add(emission);
    let over = next - now - window;
    if over > 0 { Err(over) } else { Ok(next) }
}

/// Buckets in one process: as many as memory is set aside for.
#[derive(Debug)]
struct Buckets([Mutex<HashMap<[u8; 16], i64>>; SHARDS]);

const SHARDS: usize = 16;

/// Buckets of one shard; about 1 MiB for all shards together each 1,000.
const SHARD_BUCKETS: usize = 16 * 1024;

/// How many are compared to find one that is not missed much.
const SAMPLE: usize = 8;

impl Default for Buckets {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Buckets {
    fn take(&self, hash: &[u8; 32], quota: Quota, now: Timestamp) -> Option<Duration> {
        let mut name = [0; 16];
        name.copy_from_slice(&hash[..16]);
        let now = now.as_micros();
        let shard = &self.0[usize::from(hash[31]) % SHARDS];
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.get(&name).copied().unwrap_or(now);
        match gcra(full_at, now, emission(quota), window(quota)) {
            Ok(next) => {
                if buckets.len() >= SHARD_BUCKETS && !buckets.contains_key(&name) {
                    make_room(&mut buckets, now);
                }
                buckets.insert(name, next);
                None
            }
            Err(wait) => Some(Duration::from_micros(u64::try_from(wait).unwrap_or(1))),
        }
    }
}

/// Drops the buckets that are full again; if there are none, of a few the one that has the least to forget. A bucket under
/// attack has the most.
fn make_room(buckets: &mut HashMap<[u8; 16], i64>, now: i64) {
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() < SHARD_BUCKETS {
        return;
    }
    let least = buckets
        .iter()
        .take(SAMPLE)
        .min_by_key(|(_, full_at)| **full_at)
        .map(|(name, _)| *name);
    if let Some(name) = least {
        buckets.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn quota(count: u32, window: Duration) -> Quota {
        Quota { count, window }
    }

    #[test]
    fn a_quota_at_once_and_then_one_for_each_part_of_the_window() {
        let (emission, mut full_at) = (MINUTE / 10, 0);
        let start = 1_000 * MINUTE;
        for _ in 0..10 {
            full_at = gcra(full_at, start, emission, MINUTE).expect("within the quota");
        }
        assert_eq!(gcra(full_at, start, emission, MINUTE), Err(emission));
        assert_eq!(gcra(full_at, start + emission - 1, emission, MINUTE), Err(1));
        let full_at = gcra(full_at, start + emission, emission, MINUTE).expect("one has come back");
        assert!(gcra(full_at, start + emission, emission, MINUTE).is_err());
    }

    #[test]
    fn a_clock_put_back_costs_a_window_at_most() {
        let future = 100_000 * MINUTE;
        let wait = gcra(future, MINUTE, MINUTE / 10, MINUTE).expect_err("no more for now");
        assert!(wait <= MINUTE, "{wait}");
    }

    #[test]
    fn t59_one_network_is_one_bucket_however_it_is_written() {
        let expected = network("2001:db8:1:2::1");
        for text in [
            "2001:db8:1:2:ffff:ffff:ffff:ffff",
            "2001:DB8:1:2::A",
            "2001:0db8:0001:0002:0000:0000:0000:0001",
        ] {
            assert_eq!(network(text), expected, "{text}");
        }
        assert_ne!(network("2001:db8:1:3::1"), expected);
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_eq!(network("::FFFF:c000:201"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.2"), network("192.0.2.1"));
        assert_eq!(network(""), None);
    }

    #[test]
    fn a_flood_of_keys_neither_grows_without_end_nor_frees_the_one_under_attack() {
        let buckets = Buckets::default();
        let quota = quota(10, Duration::from_mins(10));
        let now = Timestamp::from_secs(1_800_000_000);
        let key = |number: u64| crypto::mac(b"key", &[&number.to_be_bytes()]);
        let attacked = key(u64::MAX);
        for _ in 0..10 {
            assert_eq!(buckets.take(&attacked, quota, now), None);
        }
        for number in 0..400_000 {
            assert_eq!(buckets.take(&key(number), quota, now), None);
        }
        assert!(buckets.take(&attacked, quota, now).is_some());
        let held: usize = buckets
            .0
            .iter()
            .map(|shard| shard.lock().expect("a shard").len())
            .sum();
        assert!(held <= SHARDS * SHARD_BUCKETS, "{held}");
    }

    proptest! {
        #[test]
        fn never_more_than_the_quota_and_what_came_back(
            count in 1_u32..50,
            steps in proptest::collection::vec(0_i64..20_000_000, 1..200),
        ) {
            let quota = quota(count, Duration::from_mins(1));
            let (emission, window) = (emission(quota), window(quota));
            let start = 1_000 * MINUTE;
            let (mut now, mut full_at, mut passed) = (start, 0, 0_i64);
            for step in steps {
                now += step;
                match gcra(full_at, now, emission, window) {
                    Ok(next) => {
                        full_at = next;
                        passed += 1;
                    }
                    // Who waits as long as was said gets through.
                    Err(wait) => prop_assert!(gcra(full_at, now + wait, emission, window).is_ok()),
                }
            }
            prop_assert!(passed <= i64::from(count) + 1 + (now - start) / emission);
        }
    }
}
