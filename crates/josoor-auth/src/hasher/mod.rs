//! Password hashing on a pool of its own.
//!
//! Hashing is slow on purpose, so it must not run where requests are served, and there must be an end to how much of it
//! waits: beyond that, callers are turned away at once instead of everybody waiting longer and longer.
//!
//! Formats, the same that Python's passlib 1.7 writes for `schemes=["bcrypt", "bcrypt_sha256"]`:
//! * `$2b$…`: bcrypt, for passwords of up to 71 bytes; bcrypt looks at 72.
//! * `$bcrypt-sha256$v=2,…`: bcrypt of an HMAC-SHA-256 of the password, for longer ones.
//! * `$argon2id$v=19$…`: Argon2id (RFC 9106) in the PHC string format.
//!
//! Also verified: `$2a$`, `$2y$`, `$bcrypt-sha256$` of version 1, and what `foreign` lists. Not `$2x$`, which stands for a
//! broken bcrypt.

mod background;
mod bounds;
mod foreign;
mod queue;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, STANDARD_NO_PAD};
use password_hash::phc;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use self::bounds::Cost;
use self::foreign::Foreign;
pub use self::queue::Asker;
use self::queue::Queue;
use crate::crypto;
use crate::domain::Password;
use crate::error::Error;
use crate::limits::PasswordCheck;
use crate::passwords::NewPassword;
use crate::telemetry::Metrics;

/// The longest password that is given to bcrypt as it is. Longer ones are written in the other format, so that each of
/// their bytes counts. One byte short of the 72 that bcrypt looks at: a hash of exactly 72 bytes cannot be told from
/// one that an importing program cut there, and whoever appended anything to the password would get in.
const PLAIN_BYTES: usize = 71;
/// The lowest cost that bcrypt is defined for.
const BCRYPT_MIN_COST: u32 = bcrypt_interleaved::MIN_COST;
/// About four seconds: the most that can be configured. What is stored by others has the bounds of `bounds`.
const BCRYPT_MAX_COST: u32 = 16;
/// Characters of a salt in bcrypt's base64.
const BCRYPT_SALT: usize = 22;
/// Characters of a digest in bcrypt's base64.
const BCRYPT_DIGEST: usize = 31;

/// 1 GiB.
const ARGON2_MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// Memory times iterations, in KiB: the strongest preset in common use (libsodium's "sensitive") is just within.
const ARGON2_MAX_WORK_KIB: u64 = 4 * 1024 * 1024;
const ARGON2_MAX_PARALLELISM: u32 = 64;
const ARGON2_OUTPUT: usize = 32;

/// bcrypt's own alphabet. Salts made by older programs may have bits set that do not count.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// No caller is told to come back later than this.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// How new passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// bcrypt, version 2b.
    Bcrypt {
        /// The base-2 logarithm of the rounds, 4 to 16. OWASP asks for at least 10.
        cost: u32,
    },
    /// Argon2id, version 1.3.
    Argon2id {
        /// Memory in KiB, at least 8 per lane, at most 1 GiB.
        memory_kib: u32,
        /// Passes over the memory, at least 1; memory times iterations is at most 4 GiB.
        iterations: u32,
        /// Lanes, 1 to 64. They are computed one after the other.
        parallelism: u32,
    },
}

impl Scheme {
    /// Argon2id as OWASP's password storage cheat sheet has it: 19 MiB, two passes, one lane.
    pub const DEFAULT_ARGON2ID: Self = Self::Argon2id {
        memory_kib: 19 * 1024,
        iterations: 2,
        parallelism: 1,
    };

    /// bcrypt at cost 12.
    pub const DEFAULT_BCRYPT: Self = Self::Bcrypt { cost: 12 };

    /// Whether the parameters are within what this program is willing to compute.
    fn check(self) -> anyhow::Result<()> {
        match self {
            Self::Bcrypt { cost } => ensure!(
                (BCRYPT_MIN_COST..=BCRYPT_MAX_COST).contains(&cost),
                "bcrypt's cost must be {BCRYPT_MIN_COST} to {BCRYPT_MAX_COST}, not {cost}"
            ),
            Self::Argon2id {
                memory_kib,
                iterations,
                parallelism,
            } => {
                argon2_params(memory_kib, iterations, parallelism, ARGON2_OUTPUT).map_err(|reason| {
                    anyhow!("argon2id with m={memory_kib}, t={iterations}, p={parallelism}: {reason}")
                })?;
            }
        }
        Ok(())
    }

    /// What bcrypt has to compute for [`hash`](Self::hash), if this is bcrypt.
    fn bcrypt(self, password: &[u8], salt: [u8; 16]) -> Option<Bcrypt> {
        let Self::Bcrypt { cost } = self else {
            return None;
        };
        Some(if password.len() <= PLAIN_BYTES {
            Bcrypt::new(cost, salt, password)
        } else {
            let key = bcrypt_sha256_key(2, &BCRYPT_BASE64.encode(salt), password);
            Bcrypt::new(cost, salt, key.as_bytes())
        })
    }

    /// Hashes under a salt, which has to be fresh.
    fn hash(self, password: &[u8], salt: [u8; 16], ready: &mut Ready) -> anyhow::Result<PasswordHash> {
        match self {
            Self::Bcrypt { cost } => {
                let bcrypt = self.bcrypt(password, salt).context("bcrypt is bcrypt")?;
                let digest = ready.digest(&bcrypt);
                Ok(if password.len() <= PLAIN_BYTES {
                    bcrypt_text(cost, salt, &digest)
                } else {
                    bcrypt_sha256_text(cost, salt, &digest)
                })
            }
            Self::Argon2id {
                memory_kib,
                iterations,
                parallelism,
            } => {
                let params = argon2_params(memory_kib, iterations, parallelism, ARGON2_OUTPUT)
                    .map_err(|reason| anyhow!(reason))?;
                Ok(argon2id_text(
                    &params,
                    &salt,
                    &argon2id(password, &params, &salt)?,
                ))
            }
        }
    }

    /// A hash that nothing is known to match, in the form that [`hash`](Self::hash) would give a password of this length.
    fn decoy(self, long: bool) -> anyhow::Result<PasswordHash> {
        let salt: [u8; 16] = crypto::random_bytes();
        let output: [u8; ARGON2_OUTPUT] = crypto::random_bytes();
        let digest = BCRYPT_BASE64.encode(&output[..23]);
        match self {
            Self::Bcrypt { cost } if long => Ok(bcrypt_sha256_text(cost, salt, &digest)),
            Self::Bcrypt { cost } => Ok(bcrypt_text(cost, salt, &digest)),
            Self::Argon2id {
                memory_kib,
                iterations,
                parallelism,
            } => {
                let params = argon2_params(memory_kib, iterations, parallelism, ARGON2_OUTPUT)
                    .map_err(|reason| anyhow!(reason))?;
                Ok(argon2id_text(&params, &salt, &output))
            }
        }
    }
}

/// A stored password hash: modular-crypt or PHC text. Not shown in logs, because who has it can guess at leisure.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a text from the database or from an import. It is not looked at before somebody signs in; one that cannot be
    /// read then matches nothing.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text, to store it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Whether a password was the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It was.
    Match {
        /// [`Hasher::hash`] would write another format or other parameters now: hash the password again and store that.
        outdated: bool,
    },
    /// It was not, or there is no readable hash to compare it with.
    NoMatch,
}

/// A stored hash, taken apart.
enum Stored<'a> {
    Bcrypt {
        current_version: bool,
        cost: u32,
        salt: [u8; 16],
        digest: &'a str,
    },
    BcryptSha256 {
        version: u8,
        cost: u32,
        salt_text: &'a str,
        salt: [u8; 16],
        digest: &'a str,
    },
    Argon2id {
        params: Params,
        salt: phc::Salt,
        output: phc::Output,
    },
    Foreign(Foreign),
}

impl<'a> Stored<'a> {
    /// Reads a stored hash; `Err` says why it will not be computed, in words fit for a log. One with the parameters of `own`
    /// may be costlier than those of others.
    fn parse(text: &'a str, own: Option<Scheme>) -> Result<Self, &'static str> {
        let stored = Self::read(text)?;
        stored.check_cost(own)?;
        Ok(stored)
    }

    fn check_cost(&self, own: Option<Scheme>) -> Result<(), &'static str> {
        match (self, own) {
            (
                Self::Bcrypt { cost, .. } | Self::BcryptSha256 { cost, .. },
                Some(Scheme::Bcrypt { cost: wanted }),
            ) if *cost == wanted => Ok(()),
            (
                Self::Argon2id { params, .. },
                Some(Scheme::Argon2id {
                    memory_kib,
                    iterations,
                    parallelism,
                }),
            ) if (params.m_cost(), params.t_cost(), params.p_cost())
                == (memory_kib, iterations, parallelism) =>
            {
                Ok(())
            }
            (Self::Bcrypt { cost, .. } | Self::BcryptSha256 { cost, .. }, _) => {
                Cost::Bcrypt.check(u64::from(*cost))
            }
            (Self::Argon2id { params, .. }, _) => check_argon2_cost(params),
            (Self::Foreign(foreign), _) => foreign.check_cost(),
        }
    }

    /// Takes a stored hash apart, whatever it costs.
    fn read(text: &'a str) -> Result<Self, &'static str> {
        if !text.is_ascii() {
            return Err("it is not ASCII");
        }
        if let Some(rest) = text.strip_prefix("$bcrypt-sha256$") {
            let (version, rest) = match rest.strip_prefix("v=2,t=2b,r=") {
                Some(rest) => (2, rest),
                None => (
                    1,
                    rest.strip_prefix("2b,")
                        .or_else(|| rest.strip_prefix("2a,"))
                        .ok_or("its version is unknown")?,
                ),
            };
            let (cost, rest) = rest.split_once('$').ok_or("it is cut short")?;
            let (salt_text, digest) = rest.split_once('$').ok_or("it is cut short")?;
            let (cost, salt) = (bcrypt_cost(cost)?, bcrypt_salt(salt_text)?);
            check_digest(digest)?;
            return Ok(Self::BcryptSha256 {
                version,
                cost,
                salt_text,
                salt,
                digest,
            });
        }
        if text.starts_with("$argon2id$v=19$") {
            let hash = phc::PasswordHash::new(text).map_err(|_| "it is not in the PHC format")?;
            let params = Params::try_from(&hash).map_err(|_| "its parameters are not Argon2's")?;
            let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
                return Err("it is cut short");
            };
            argon2_params(params.m_cost(), params.t_cost(), params.p_cost(), output.len())?;
            return Ok(Self::Argon2id { params, salt, output });
        }
        if let Some(foreign) = Foreign::parse(text)? {
            return Ok(Self::Foreign(foreign));
        }
        let (current_version, rest) = match text.get(..4) {
            Some("$2b$") => (true, &text[4..]),
            Some("$2a$" | "$2y$") => (false, &text[4..]),
            _ => return Err("its format is unknown"),
        };
        let (cost, rest) = rest.split_once('$').ok_or("it is cut short")?;
        let (salt, digest) = rest.split_at_checked(BCRYPT_SALT).ok_or("it is cut short")?;
        let (cost, salt) = (bcrypt_cost(cost)?, bcrypt_salt(salt)?);
        check_digest(digest)?;
        Ok(Self::Bcrypt {
            current_version,
            cost,
            salt,
            digest,
        })
    }

    /// What bcrypt has to compute for [`matches`](Self::matches), if this is a bcrypt hash.
    fn bcrypt(&self, password: &[u8]) -> Option<Bcrypt> {
        match self {
            Self::Bcrypt { cost, salt, .. } => Some(Bcrypt::new(*cost, *salt, password)),
            Self::BcryptSha256 {
                version,
                cost,
                salt_text,
                salt,
                ..
            } => {
                let key = bcrypt_sha256_key(*version, salt_text, password);
                Some(Bcrypt::new(*cost, *salt, key.as_bytes()))
            }
            Self::Argon2id { .. } | Self::Foreign(_) => None,
        }
    }

    /// Computes the password's hash under this one's parameters and compares, in time that does not depend on where they
    /// differ.
    fn matches(&self, password: &[u8], ready: &mut Ready) -> anyhow::Result<bool> {
        match self {
            Self::Bcrypt { digest, .. } | Self::BcryptSha256 { digest, .. } => {
                let bcrypt = self.bcrypt(password).context("bcrypt is bcrypt")?;
                Ok(crypto::equal(ready.digest(&bcrypt).as_bytes(), digest.as_bytes()))
            }
            Self::Argon2id { params, salt, output } => {
                let computed = argon2id(password, params, salt)?;
                Ok(crypto::equal(&computed, output.as_bytes()))
            }
            Self::Foreign(foreign) => foreign.matches(password),
        }
    }

    /// Whether `scheme` would write the hash of this password in another format or with other parameters.
    fn is_outdated(&self, scheme: Scheme, password: &[u8]) -> bool {
        let long = password.len() > PLAIN_BYTES;
        match (self, scheme) {
            (
                Self::Bcrypt {
                    current_version,
                    cost,
                    ..
                },
                Scheme::Bcrypt { cost: wanted },
            ) => !*current_version || long || *cost != wanted,
            (Self::BcryptSha256 { version, cost, .. }, Scheme::Bcrypt { cost: wanted }) => {
                *version != 2 || !long || *cost != wanted
            }
            (
                Self::Argon2id { params, salt, output },
                Scheme::Argon2id {
                    memory_kib,
                    iterations,
                    parallelism,
                },
            ) => {
                (params.m_cost(), params.t_cost(), params.p_cost()) != (memory_kib, iterations, parallelism)
                    || salt.len() < 16
                    || output.len() < ARGON2_OUTPUT
            }
            _ => true,
        }
    }
}

fn bcrypt_cost(text: &str) -> Result<u32, &'static str> {
    if !(1..=2).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its cost is not a number of two digits");
    }
    match text.parse() {
        Ok(cost) if cost > BCRYPT_MAX_COST => Err(Cost::Bcrypt.reason()),
        Ok(cost) if cost >= BCRYPT_MIN_COST => Ok(cost),
        _ => Err("its cost is below bcrypt's lowest"),
    }
}

fn bcrypt_salt(text: &str) -> Result<[u8; 16], &'static str> {
    if text.len() != BCRYPT_SALT {
        return Err("its salt does not have 22 characters");
    }
    let salt = BCRYPT_BASE64
        .decode(text)
        .map_err(|_| "its salt is not in bcrypt's base64")?;
    salt.try_into().map_err(|_| "its salt does not have 16 bytes")
}

fn check_digest(text: &str) -> Result<(), &'static str> {
    if text.len() == BCRYPT_DIGEST {
        Ok(())
    } else {
        Err("its digest does not have 31 characters")
    }
}

/// Argon2id's parameters, if they are ones that this program is willing to compute.
fn argon2_params(
    memory_kib: u32,
    iterations: u32,
    parallelism: u32,
    output: usize,
) -> Result<Params, &'static str> {
    let work = u64::from(memory_kib) * u64::from(iterations);
    if memory_kib > ARGON2_MAX_MEMORY_KIB
        || work > ARGON2_MAX_WORK_KIB
        || parallelism > ARGON2_MAX_PARALLELISM
    {
        return Err(Cost::Argon2Work.reason());
    }
    Params::new(memory_kib, iterations, parallelism, Some(output))
        .map_err(|_| "its parameters are not Argon2's")
}

/// Whether Argon2's parameters are within the bounds of what others have stored.
fn check_argon2_cost(params: &Params) -> Result<(), &'static str> {
    Cost::Argon2Memory.check(u64::from(params.m_cost()))?;
    Cost::Argon2Work.check(u64::from(params.m_cost()) * u64::from(params.t_cost()))
}

/// One computation of bcrypt.
#[derive(PartialEq, Eq)]
struct Bcrypt {
    cost: u32,
    salt: [u8; 16],
    key: Zeroizing<Vec<u8>>,
}

impl Bcrypt {
    /// bcrypt looks at the first 72 bytes of the key.
    fn new(cost: u32, salt: [u8; 16], key: &[u8]) -> Self {
        let key = Zeroizing::new(key[..key.len().min(bcrypt_interleaved::MAX_KEY)].to_vec());
        Self { cost, salt, key }
    }

    fn compute(&self) -> Option<bcrypt_interleaved::Digest> {
        Self::compute_all(&[self]).pop()
    }

    /// Computes several of one cost at once.
    fn compute_all(all: &[&Self]) -> Vec<bcrypt_interleaved::Digest> {
        let inputs: Vec<_> = all.iter().map(|one| (one.key.as_slice(), one.salt)).collect();
        all.first()
            .map_or_else(Vec::new, |first| bcrypt_interleaved::all(first.cost, &inputs))
    }
}

/// The digest that a job needs first, computed together with those of other jobs.
#[derive(Default)]
struct Ready(Option<(Bcrypt, bcrypt_interleaved::Digest)>);

impl Ready {
    /// The digest in bcrypt's base64: the one that is ready, or computed now.
    fn digest(&mut self, bcrypt: &Bcrypt) -> String {
        let digest = match self.0.take() {
            Some((ready, digest)) if ready == *bcrypt => Some(digest),
            _ => bcrypt.compute(),
        };
        // One in, one out: there is always a digest, and an empty text would match nothing.
        digest.map_or_else(String::new, |digest| BCRYPT_BASE64.encode(digest))
    }
}

/// What passlib's `bcrypt_sha256` gives to bcrypt instead of the password: 44 characters that depend on all of it. The key of
/// version 2 is the salt as it is written, so that a plain SHA-256 of the password, leaked elsewhere, is of no use.
fn bcrypt_sha256_key(version: u8, salt_text: &str, password: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(if version == 1 {
        STANDARD.encode(digest::digest(&digest::SHA256, password))
    } else {
        let key = hmac::Key::new(hmac::HMAC_SHA256, salt_text.as_bytes());
        STANDARD.encode(hmac::sign(&key, password))
    })
}

fn argon2id(password: &[u8], params: &Params, salt: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut output = Zeroizing::new(vec![0; params.output_len().unwrap_or(ARGON2_OUTPUT)]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into(password, salt, &mut output)
        .map_err(|e| anyhow!("argon2id: {e}"))?;
    Ok(output)
}

fn bcrypt_text(cost: u32, salt: [u8; 16], digest: &str) -> PasswordHash {
    PasswordHash(format!("$2b${cost:02}${}{digest}", BCRYPT_BASE64.encode(salt)))
}

fn bcrypt_sha256_text(cost: u32, salt: [u8; 16], digest: &str) -> PasswordHash {
    PasswordHash(format!(
        "$bcrypt-sha256$v=2,t=2b,r={cost}${}${digest}",
        BCRYPT_BASE64.encode(salt)
    ))
}

fn argon2id_text(params: &Params, salt: &[u8], output: &[u8]) -> PasswordHash {
    PasswordHash(format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        params.m_cost(),
        params.t_cost(),
        params.p_cost(),
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(output)
    ))
}

/// How many threads hash, how many callers may wait, and what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HasherConfig {
    /// Worker threads, at least 1. More than there are cores gain nothing and slow down everything else.
    pub threads: usize,
    /// Waiting jobs per thread.
    pub queue: usize,
    /// How new passwords are hashed.
    pub scheme: Scheme,
}

/// What the pool is doing and has done since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HasherStats {
    /// Worker threads.
    pub threads: usize,
    /// The most jobs that may wait.
    pub capacity: usize,
    /// Jobs that wait now.
    pub queued: usize,
    /// Jobs that are computed now.
    pub running: usize,
    /// Callers turned away because the queue was full.
    pub shed_total: u64,
    /// Jobs computed, failed ones included.
    pub done_total: u64,
    /// Jobs skipped because their caller had gone.
    pub skipped_total: u64,
    /// Time that threads spent computing.
    pub busy_total: Duration,
}

/// The way to the pool. Clones share it; its threads end when the last one is dropped.
#[derive(Clone)]
pub struct Hasher(Arc<Handle>, Option<Metrics>);

impl Hasher {
    /// Starts the threads, named `hash-0` and so on.
    ///
    /// Fails if the parameters are not computable (see [`Scheme`]), there are no threads, or the system gives none.
    pub fn new(config: HasherConfig) -> Result<Self, Error> {
        Self::start(config).map_err(Error::Internal)
    }

    fn start(config: HasherConfig) -> anyhow::Result<Self> {
        let HasherConfig {
            threads,
            queue,
            scheme,
        } = config;
        ensure!(threads > 0, "the password hasher needs at least one thread");
        scheme.check()?;
        let pool = Arc::new(Pool {
            scheme,
            decoy: scheme.decoy(false)?,
            long_decoy: scheme.decoy(true)?,
            threads,
            capacity: threads.saturating_mul(queue),
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        // From here on, an early return drops the handle, which ends the threads started so far.
        let hasher = Self(Arc::new(Handle(Arc::clone(&pool))), None);
        for number in 0..threads {
            let pool = Arc::clone(&pool);
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || pool.work())
                .context("cannot start a thread of the password hasher")?;
        }
        Ok(hasher)
    }

    /// The same pool, which tells `metrics` how long each computation took, waiting included.
    #[must_use]
    pub fn measured_by(self, metrics: Metrics) -> Self {
        Self(self.0, Some(metrics))
    }

    /// Whether there is room for a job of this asker now: what is going to be refused need not be prepared.
    ///
    /// # Errors
    /// `Overloaded`, counted like every caller that is turned away.
    pub fn admit(&self, asker: Asker) -> Result<(), Error> {
        let pool = &self.0.0;
        let mut state = pool.lock();
        let room = pool.room(&mut state);
        if state.waiting.has_room(asker, room) {
            return Ok(());
        }
        Err(pool.refusal(&mut state))
    }

    /// Hashes a password for storing. Only one that the policy has accepted can be set: it alone makes a [`NewPassword`].
    ///
    /// Refuses with [`Error::Overloaded`] at once when too many wait already, or while it waits, when others come whose turn
    /// is before its own. If the caller drops the future before the computation began, it does not happen.
    pub async fn hash(&self, password: NewPassword, asker: Asker) -> Result<PasswordHash, Error> {
        self.hash_any(password.into_password(), asker).await
    }

    /// Hashes an account's own password once more, which was just verified, because its hash is outdated. It may be one that
    /// could not be set any more.
    ///
    /// Refuses as [`hash`](Self::hash) does.
    pub async fn hash_again(
        &self,
        password: Password,
        counted: PasswordCheck,
    ) -> Result<PasswordHash, Error> {
        self.hash_any(password, counted.asker()).await
    }

    async fn hash_any(&self, password: Password, asker: Asker) -> Result<PasswordHash, Error> {
        let task = Task::Hash {
            salt: crypto::random_bytes(),
        };
        let Answer::Hash(hash) = self.submit(password, task, asker).await? else {
            return Err(Error::Internal(anyhow!("the hasher answered another question")));
        };
        Ok(hash)
    }

    /// Compares a password with a stored hash. With none, or one that cannot be read, the work is that of a comparison under
    /// the configured scheme, so that the time does not tell whether there is an account.
    ///
    /// A wrong password takes as long for an imported bcrypt hash of lower cost. For a hash of another scheme than the
    /// configured one, or of higher cost, the time differs until its owner has signed in once.
    ///
    /// Only what [`Limiter`](crate::limits::Limiter) has counted is verified: it alone makes a [`PasswordCheck`].
    ///
    /// Refuses as [`hash`](Self::hash) does.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
        counted: PasswordCheck,
    ) -> Result<Verdict, Error> {
        let task = Task::Verify(stored);
        let Answer::Verdict(verdict) = self.submit(password, task, counted.asker()).await? else {
            return Err(Error::Internal(anyhow!("the hasher answered another question")));
        };
        Ok(verdict)
    }

    /// Figures for the metrics.
    pub fn stats(&self) -> HasherStats {
        let pool = &self.0.0;
        let state = pool.lock();
        HasherStats {
            threads: pool.threads,
            capacity: pool.capacity,
            queued: state.waiting.len(),
            running: state.running,
            shed_total: state.shed_total,
            done_total: state.done_total,
            skipped_total: state.skipped_total,
            busy_total: state.busy_total,
        }
    }

    async fn submit(&self, password: Password, task: Task, asker: Asker) -> Result<Answer, Error> {
        let begun = Instant::now();
        let (reply, answer) = oneshot::channel();
        let pool = &self.0.0;
        let first = pool.first_bcrypt(&password, &task);
        let job = Job {
            password,
            task,
            first,
            reply,
        };
        pool.enqueue(job, asker);
        let answer = answer
            .await
            .unwrap_or_else(|_| Err(Error::Internal(anyhow!("the password hasher has ended"))));
        if let Some(metrics) = &self.1 {
            metrics.password_hashed(begun.elapsed());
        }
        answer
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("scheme", &self.0.0.scheme)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Ends the pool when the last [`Hasher`] goes. The threads hold the pool, not this.
struct Handle(Arc<Pool>);

impl Drop for Handle {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        self.0.wake.notify_all();
        drop(waiting);
    }
}

struct Pool {
    scheme: Scheme,
    /// What passwords of up to [`PLAIN_BYTES`] are compared with when there is nothing else.
    decoy: PasswordHash,
    /// The same for longer ones.
    long_decoy: PasswordHash,
    threads: usize,
    capacity: usize,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Queue<Job>,
    /// Jobs that are computed now.
    running: usize,
    /// Threads that compute now.
    busy: usize,
    closed: bool,
    shed_total: u64,
    done_total: u64,
    skipped_total: u64,
    busy_total: Duration,
    /// What a thread needed for each of the last jobs, the latest weighing most.
    mean: Duration,
}

struct Job {
    password: Password,
    task: Task,
    /// What `task` needs first, if that is bcrypt: may be computed together with that of others.
    first: Option<Bcrypt>,
    reply: oneshot::Sender<Result<Answer, Error>>,
}

enum Task {
    Hash {
        salt: [u8; 16],
    },
    Verify(Option<PasswordHash>),
    #[cfg(test)]
    Call(Box<dyn FnOnce() + Send>),
}

enum Answer {
    Hash(PasswordHash),
    Verdict(Verdict),
    #[cfg(test)]
    Called,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a job in. Whom there is no room for then, this one or another, is turned away.
    fn enqueue(&self, job: Job, asker: Asker) {
        let mut state = self.lock();
        let room = self.room(&mut state);
        let refused = state.waiting.push(asker, job, room);
        if let Some(refused) = refused {
            let refusal = self.refusal(&mut state);
            drop(state);
            // Whoever has gone meanwhile need not be told.
            let _ = refused.reply.send(Err(refusal));
        } else {
            drop(state);
        }
        self.wake.notify_one();
    }

    /// How many jobs may wait. Callers that have gone do not keep others out.
    fn room(&self, state: &mut State) -> usize {
        let room = self.capacity.saturating_add(self.threads - state.busy);
        if state.waiting.len() >= room {
            state.skipped_total += state.waiting.retain(|job| !job.reply.is_closed());
        }
        room
    }

    /// What a caller is told for whom there is no room.
    fn refusal(&self, state: &mut State) -> Error {
        state.shed_total += 1;
        Error::Overloaded {
            retry_after: retry_after(state.mean, state.waiting.len(), self.threads),
        }
    }

    /// The life of a thread.
    fn work(&self) {
        // Where the system does not allow it, it is still a pool of its own.
        if let Err(error) = background::step_back() {
            tracing::warn!(%error, "passwords are computed at the priority of requests");
        }
        while let Some(mut jobs) = self.next() {
            let started = Instant::now();
            let ready = catch_unwind(AssertUnwindSafe(|| compute_first(&mut jobs))).unwrap_or_default();
            let count = jobs.len();
            let mut replies = Vec::with_capacity(count);
            for (job, mut ready) in jobs
                .into_iter()
                .zip(ready.into_iter().chain(std::iter::repeat_with(Ready::default)))
            {
                let Job {
                    password,
                    task,
                    reply,
                    ..
                } = job;
                let answer = catch_unwind(AssertUnwindSafe(|| self.answer(&password, task, &mut ready)));
                replies.push((reply, answer));
            }
            let took = started.elapsed();
            {
                let each = took / u32::try_from(count).unwrap_or(u32::MAX);
                let mut state = self.lock();
                state.busy -= 1;
                state.running -= count;
                state.done_total += count as u64;
                state.busy_total += took;
                state.mean = if state.mean.is_zero() {
                    each
                } else {
                    (state.mean * 7 + each) / 8
                };
            }
            for (reply, answer) in replies {
                let answer = answer.unwrap_or_else(|_| Err(anyhow!("a password computation panicked")));
                // The caller may have gone meanwhile; then nobody wants to know.
                let _ = reply.send(answer.map_err(Error::Internal));
            }
        }
    }

    /// Waits for jobs whose callers are still there: one, or as many as bcrypt computes at once, this thread's
    /// share of what waits. `None` when the pool ends.
    fn next(&self) -> Option<Vec<Job>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.waiting.pop() {
                Some(job) if job.reply.is_closed() => state.skipped_total += 1,
                Some(job) => {
                    let mut jobs = vec![job];
                    if let Some(cost) = jobs[0].first.as_ref().map(|bcrypt| bcrypt.cost) {
                        let like = |job: &Job| job.first.as_ref().is_some_and(|first| first.cost == cost);
                        state.skipped_total += state.waiting.retain(|job| !job.reply.is_closed());
                        let idle = self.threads - state.busy;
                        let share = (1 + state.waiting.count(like))
                            .div_ceil(idle)
                            .min(bcrypt_interleaved::LANES);
                        jobs.extend(state.waiting.pop_like(share - 1, like));
                    }
                    state.busy += 1;
                    state.running += jobs.len();
                    return Some(jobs);
                }
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// What a task begins with, if that is bcrypt.
    fn first_bcrypt(&self, password: &Password, task: &Task) -> Option<Bcrypt> {
        let password = password.as_bytes();
        match task {
            Task::Hash { salt } => self.scheme.bcrypt(password, *salt),
            Task::Verify(stored) => stored
                .as_ref()
                .and_then(|stored| Stored::parse(stored.as_str(), Some(self.scheme)).ok())
                .or_else(|| Stored::read(self.decoy_for(password).as_str()).ok())
                .and_then(|stored| stored.bcrypt(password)),
            #[cfg(test)]
            Task::Call(_) => None,
        }
    }

    /// The one place where jobs become computations.
    fn answer(&self, password: &Password, task: Task, ready: &mut Ready) -> anyhow::Result<Answer> {
        match task {
            Task::Hash { salt } => self
                .scheme
                .hash(password.as_bytes(), salt, ready)
                .map(Answer::Hash),
            Task::Verify(stored) => self.verify_as_typed(password, stored, ready).map(Answer::Verdict),
            #[cfg(test)]
            Task::Call(call) => {
                call();
                Ok(Answer::Called)
            }
        }
    }

    /// Our own hashes are of the normal form; those of other programs may be of what was typed. Where the two differ both are
    /// computed, whatever is stored, so that the time tells nothing about the account.
    fn verify_as_typed(
        &self,
        password: &Password,
        stored: Option<PasswordHash>,
        ready: &mut Ready,
    ) -> anyhow::Result<Verdict> {
        let normal = self.verify(password.as_bytes(), stored.clone(), ready)?;
        let Some(typed) = password.as_typed() else {
            return Ok(normal);
        };
        let typed = self.verify(typed, stored, ready)?;
        Ok(match (normal, typed) {
            (Verdict::NoMatch, Verdict::Match { .. }) => Verdict::Match { outdated: true },
            (normal, _) => normal,
        })
    }

    fn verify(
        &self,
        password: &[u8],
        stored: Option<PasswordHash>,
        ready: &mut Ready,
    ) -> anyhow::Result<Verdict> {
        let Some(stored) = stored else {
            return self.work_in_vain(password, ready);
        };
        let stored = match Stored::parse(stored.as_str(), Some(self.scheme)) {
            Ok(stored) => stored,
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "a stored password hash cannot be verified; its owner needs a reset"
                );
                return self.work_in_vain(password, ready);
            }
        };
        if stored.matches(password, ready)? {
            return Ok(Verdict::Match {
                outdated: stored.is_outdated(self.scheme, password),
            });
        }
        // Costs c, c + 1, … C - 1 on top of c add up to C exactly, since each doubles the rounds.
        if let (
            Stored::Bcrypt { cost, .. } | Stored::BcryptSha256 { cost, .. },
            Scheme::Bcrypt { cost: wanted },
        ) = (&stored, self.scheme)
        {
            for cost in *cost..wanted {
                std::hint::black_box(Bcrypt::new(cost, [0; 16], password).compute());
            }
        }
        Ok(Verdict::NoMatch)
    }

    /// What a comparison costs, for nothing.
    fn work_in_vain(&self, password: &[u8], ready: &mut Ready) -> anyhow::Result<Verdict> {
        match Stored::read(self.decoy_for(password).as_str()) {
            Ok(decoy) => {
                std::hint::black_box(decoy.matches(password, ready)?);
            }
            Err(reason) => bail!("the decoy cannot be verified: {reason}"),
        }
        Ok(Verdict::NoMatch)
    }

    fn decoy_for(&self, password: &[u8]) -> &PasswordHash {
        if password.len() > PLAIN_BYTES {
            &self.long_decoy
        } else {
            &self.decoy
        }
    }
}

/// Computes what jobs of one cost begin with, at once, and gives each its own.
fn compute_first(jobs: &mut [Job]) -> Vec<Ready> {
    let firsts: Vec<Option<Bcrypt>> = jobs.iter_mut().map(|job| job.first.take()).collect();
    let mut digests = Bcrypt::compute_all(&firsts.iter().flatten().collect::<Vec<_>>()).into_iter();
    firsts
        .into_iter()
        .map(|first| Ready(first.and_then(|first| Some((first, digests.next()?)))))
        .collect()
}

/// When a queue of this length is likely to have been worked off, in whole seconds, at least one.
fn retry_after(mean: Duration, waiting: usize, threads: usize) -> Duration {
    let rounds = u32::try_from(waiting.div_ceil(threads.max(1))).unwrap_or(u32::MAX);
    let wait = mean.saturating_mul(rounds).min(MAX_RETRY_AFTER);
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Network, UserId};

    const BCRYPT: Scheme = Scheme::Bcrypt { cost: 4 };
    const ARGON2ID: Scheme = Scheme::Argon2id {
        memory_kib: 64,
        iterations: 1,
        parallelism: 1,
    };

    /// Made with passlib 1.7.4 over bcrypt 4.0.1: the password, then its `bcrypt`, `bcrypt_sha256`, and version 1 of that.
    fn passlib_vectors() -> Vec<(String, [&'static str; 3])> {
        vec![
            (
                "correct horse".to_owned(),
                [
                    "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
                    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$DDZkjU09Vim05Ait7x7R.JfuHDNAppu",
                    "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$fm19hcnOB5jVIa57e1DmQZ/XByRYI72",
                ],
            ),
            (
                "a".repeat(71),
                [
                    "$2b$04$abcdefghijklmnopqrstuuMCu.k1vM/ywQwiONaEn3oEMlZoCVBd6",
                    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$4keXnBSETrAPgpspNEoIIDwOTcTL8iW",
                    "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$AYZaFSX4jbY5MhlansBj.ilC.t.eF7i",
                ],
            ),
            (
                "a".repeat(71) + "b",
                [
                    "$2b$04$abcdefghijklmnopqrstuuOamT/wNYAA2T3dwK/uVZX5KdYiWAze2",
                    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$Cg.lLj3M6k/GQMOnvoYCdAOxNXB8S5.",
                    "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$2sSHkxNtuMxgYDh3T3pguu4LcbE4WXC",
                ],
            ),
            (
                "a".repeat(72) + "c",
                [
                    "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe",
                    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$SpUQNNt4rloFzed7QNzsoRK0ehacAfu",
                    "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$WM2qiA9bgpfM6RV1xENZlRNPT73dGji",
                ],
            ),
            (
                "0123456789".repeat(20),
                [
                    "$2b$04$abcdefghijklmnopqrstuum2G75IXDN/xsgbNa/hCiPSKyIHQd70S",
                    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$fpV4TecfxiO2YYW3GQxin9pUTyWXvbS",
                    "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$GzkzJKROmDFHX2FPBaIW7mFdLCmRaTe",
                ],
            ),
            (
                "كلمة السر الطويلة".to_owned(),
                [
                    "$2b$04$abcdefghijklmnopqrstuuub.pXwoLnFFpt1l237ye17r8GCqvXI6",
                    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$3Zz0EkHCR04nPCPc.FyhVak2dqmj446",
                    "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$fMELa3ejEPLjsedXhbLTS/0gFm6nbZ2",
                ],
            ),
            (
                "كلمة المرور الطويلة جدا التي لا ينساها صاحبها أبدا".to_owned(),
                [
                    "$2b$04$abcdefghijklmnopqrstuumXDeVnNnrE2I5DGBhVzLvMUyDDorkl2",
                    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$9gttRCO/UWzaWeQPe6B2nD8G/ezswdq",
                    "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$oQ1dcjK9FUJE6ZhAkPDCAFSV8Ank4OC",
                ],
            ),
        ]
    }

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    fn new(text: &str) -> NewPassword {
        NewPassword::not_checked(password(text))
    }

    fn anybody() -> Asker {
        Asker::Network(Network::Unknown)
    }

    fn counted() -> PasswordCheck {
        PasswordCheck::not_counted(anybody())
    }

    fn hasher(scheme: Scheme) -> Hasher {
        Hasher::new(HasherConfig {
            threads: 1,
            queue: 2,
            scheme,
        })
        .unwrap()
    }

    async fn check(hasher: &Hasher, text: &str, stored: &str) -> Verdict {
        hasher
            .verify(
                password(text),
                Some(PasswordHash::from_stored(stored.to_owned())),
                counted(),
            )
            .await
            .unwrap()
    }

    /// Holds the only worker until the returned sender is dropped.
    fn block(hasher: &Hasher) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        let (reply, answer) = oneshot::channel();
        let call = move || {
            started.send(()).unwrap();
            let _ = held.recv();
        };
        hasher.0.0.enqueue(
            Job {
                password: password("x"),
                task: Task::Call(Box::new(call)),
                first: None,
                reply,
            },
            anybody(),
        );
        running.recv().unwrap();
        // Kept open so that the job counts as wanted.
        std::mem::forget(answer);
        release
    }

    /// Lets a future take its first step, which puts its job into the queue.
    fn step<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn hashes_of_passlib_are_verified() {
        let hasher = hasher(BCRYPT);
        for (text, [plain, second, first]) in passlib_vectors() {
            let long = text.len() > PLAIN_BYTES;
            assert_eq!(
                check(&hasher, &text, plain).await,
                Verdict::Match { outdated: long },
                "{plain}"
            );
            assert_eq!(
                check(&hasher, &text, second).await,
                Verdict::Match { outdated: !long },
                "{second}"
            );
            assert_eq!(
                check(&hasher, &text, first).await,
                Verdict::Match { outdated: true },
                "{first}"
            );
            let other = format!("X{}", text.chars().skip(1).collect::<String>());
            for stored in [plain, second, first] {
                assert_eq!(check(&hasher, &other, stored).await, Verdict::NoMatch, "{stored}");
            }
        }
    }

    #[tokio::test]
    async fn every_byte_up_to_the_last_counts() {
        for scheme in [BCRYPT, ARGON2ID] {
            let hasher = hasher(scheme);
            for length in [1, 55, 56, 71, 72, 73, 200, 1024] {
                let text = "a".repeat(length);
                let hash = hasher.hash(new(&text), anybody()).await.unwrap();
                assert_eq!(
                    check(&hasher, &text, hash.as_str()).await,
                    Verdict::Match { outdated: false }
                );
                let other = format!("{}b", &text[1..]);
                assert_eq!(
                    check(&hasher, &other, hash.as_str()).await,
                    Verdict::NoMatch,
                    "{length}"
                );
                if length < 1024 {
                    assert_eq!(
                        check(&hasher, &format!("{text}a"), hash.as_str()).await,
                        Verdict::NoMatch,
                        "{length}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn formats_are_those_that_other_programs_read() {
        let bcrypt = hasher(BCRYPT);
        let short = bcrypt.hash(new("short"), anybody()).await.unwrap();
        assert!(
            short.as_str().starts_with("$2b$04$") && short.as_str().len() == 60,
            "{}",
            short.as_str()
        );
        let long = bcrypt.hash(new(&"x".repeat(73)), anybody()).await.unwrap();
        let parts: Vec<&str> = long.as_str().split('$').collect();
        assert_eq!(parts[..3], ["", "bcrypt-sha256", "v=2,t=2b,r=4"]);
        assert_eq!((parts[3].len(), parts[4].len(), parts.len()), (22, 31, 5));
        assert!(parts[3].ends_with(['.', 'O', 'e', 'u']), "padding bits are zero");
        let argon2id = hasher(ARGON2ID).hash(new("short"), anybody()).await.unwrap();
        assert!(
            argon2id.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"),
            "{}",
            argon2id.as_str()
        );
        assert_ne!(
            short.as_str(),
            bcrypt.hash(new("short"), anybody()).await.unwrap().as_str()
        );
        assert_eq!(format!("{short:?}"), "PasswordHash(…)");
    }

    #[tokio::test]
    async fn a_hash_that_would_be_written_otherwise_is_outdated() {
        let bcrypt = hasher(BCRYPT);
        let costlier = hasher(Scheme::Bcrypt { cost: 5 });
        let argon2id = hasher(ARGON2ID);
        let memory = hasher(Scheme::Argon2id {
            memory_kib: 128,
            iterations: 1,
            parallelism: 1,
        });
        let text = "correct horse";
        let hashers = [&bcrypt, &costlier, &argon2id, &memory];
        for (i, writer) in hashers.iter().enumerate() {
            let hash = writer.hash(new(text), anybody()).await.unwrap();
            for (j, reader) in hashers.iter().enumerate() {
                assert_eq!(
                    check(reader, text, hash.as_str()).await,
                    Verdict::Match { outdated: i != j },
                    "{i} {j}"
                );
                assert_eq!(
                    check(reader, "wrong", hash.as_str()).await,
                    Verdict::NoMatch,
                    "{i} {j}"
                );
            }
        }
        for old in [
            "$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        ] {
            assert_eq!(check(&bcrypt, text, old).await, Verdict::Match { outdated: true });
        }
        let broken = "$2x$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
        assert_eq!(check(&bcrypt, text, broken).await, Verdict::NoMatch);
        // The last character of a salt carries four bits that do not count; "v" has them set.
        let padded = "$2b$04$abcdefghijklmnopqrstuvjydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
        assert_eq!(
            check(&bcrypt, text, padded).await,
            Verdict::Match { outdated: false }
        );
    }

    #[tokio::test]
    async fn argon2id_of_other_programs_is_verified() {
        // Made with argon2-cffi over the reference implementation.
        let hasher = hasher(ARGON2ID);
        let same =
            "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA";
        let other =
            "$argon2id$v=19$m=128,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$BbBHUSlDWVd9h+UTYwOokLoVfsJBOmISJQP+UYTSazA";
        assert_eq!(
            check(&hasher, "correct horse", same).await,
            Verdict::Match { outdated: false }
        );
        assert_eq!(
            check(&hasher, "correct horse", other).await,
            Verdict::Match { outdated: true }
        );
        assert_eq!(check(&hasher, "correct house", same).await, Verdict::NoMatch);
    }

    #[tokio::test]
    async fn nothing_and_nonsense_match_nothing() {
        let good = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
        let second = "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$DDZkjU09Vim05Ait7x7R.JfuHDNAppu";
        let argon =
            "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA";
        let hasher = hasher(BCRYPT);
        for text in ["correct horse".to_owned(), "x".repeat(200)] {
            assert_eq!(
                hasher.verify(password(&text), None, counted()).await.unwrap(),
                Verdict::NoMatch
            );
        }
        for whole in [good, second, argon] {
            for end in 0..whole.len() {
                assert_eq!(
                    check(&hasher, "correct horse", &whole[..end]).await,
                    Verdict::NoMatch,
                    "{}",
                    &whole[..end]
                );
            }
        }
        for stored in [
            "!",
            "*",
            "\u{0}",
            "correct horse",
            "$2b$",
            "$2b$+4$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            "$2b$03$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            "$2b$17$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            "$2b$31$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQcé",
            "$2b$04$abcdefghijklmnopqrst!ujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            "$bcrypt-sha256$v=2,t=2b,r=31$abcdefghijklmnopqrstuu$DDZkjU09Vim05Ait7x7R.JfuHDNAppu",
            "$bcrypt-sha256$v=3,t=2b,r=4$abcdefghijklmnopqrstuu$DDZkjU09Vim05Ait7x7R.JfuHDNAppu",
            "$argon2id$v=19$m=1048577,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
            "$argon2id$v=19$m=4294967295,t=4294967295,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
            "$argon2id$v=19$m=64,t=100000000,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
            "$argon2id$v=19$m=64,t=0,p=0$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
            "$argon2i$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
        ] {
            assert_eq!(
                check(&hasher, "correct horse", stored).await,
                Verdict::NoMatch,
                "{stored}"
            );
        }
    }

    #[test]
    fn decoys_are_as_costly_as_what_is_written() {
        for scheme in [BCRYPT, ARGON2ID] {
            for text in ["short".to_owned(), "x".repeat(73)] {
                let decoy = scheme.decoy(text.len() > PLAIN_BYTES).unwrap();
                let decoy = Stored::read(decoy.as_str()).map_err(str::to_owned).unwrap();
                assert!(!decoy.is_outdated(scheme, text.as_bytes()));
                assert!(!decoy.matches(text.as_bytes(), &mut Ready::default()).unwrap());
            }
        }
    }

    #[test]
    fn parameters_out_of_bounds_do_not_start() {
        for scheme in [
            Scheme::Bcrypt { cost: 3 },
            Scheme::Bcrypt { cost: 17 },
            Scheme::Argon2id {
                memory_kib: 7,
                iterations: 1,
                parallelism: 1,
            },
            Scheme::Argon2id {
                memory_kib: 64,
                iterations: 0,
                parallelism: 1,
            },
            Scheme::Argon2id {
                memory_kib: 64,
                iterations: 1,
                parallelism: 0,
            },
            Scheme::Argon2id {
                memory_kib: u32::MAX,
                iterations: 1,
                parallelism: 1,
            },
        ] {
            assert!(
                Hasher::new(HasherConfig {
                    threads: 1,
                    queue: 1,
                    scheme
                })
                .is_err(),
                "{scheme:?}"
            );
        }
        assert!(
            Hasher::new(HasherConfig {
                threads: 0,
                queue: 1,
                scheme: BCRYPT
            })
            .is_err()
        );
        Scheme::DEFAULT_BCRYPT.check().unwrap();
        Scheme::DEFAULT_ARGON2ID.check().unwrap();
    }

    #[tokio::test]
    async fn a_full_queue_turns_callers_away_at_once() {
        let hasher = hasher(BCRYPT);
        let release = block(&hasher);
        let mut first = pin!(hasher.hash(new("first"), anybody()));
        let mut second = pin!(hasher.hash(new("second"), anybody()));
        assert!(!step(first.as_mut()) && !step(second.as_mut()));
        assert_eq!((hasher.stats().queued, hasher.stats().running), (2, 1));
        match hasher.hash(new("third"), anybody()).await {
            Err(Error::Overloaded { retry_after }) => assert!(retry_after >= Duration::from_secs(1)),
            other => panic!("{other:?}"),
        }
        assert_eq!(hasher.stats().shed_total, 1);
        // Nobody needs to wait for that answer who asks before, and whoever would take another's place is let in.
        assert!(matches!(hasher.admit(anybody()), Err(Error::Overloaded { .. })));
        hasher.admit(Asker::Known(UserId(1))).unwrap();
        assert_eq!(hasher.stats().shed_total, 2);
        drop(release);
        first.await.unwrap();
        second.await.unwrap();
        let stats = hasher.stats();
        assert_eq!(
            (stats.queued, stats.running, stats.done_total, stats.shed_total),
            (0, 0, 3, 2)
        );
        hasher.admit(anybody()).unwrap();
        assert!(stats.busy_total > Duration::ZERO);
    }

    #[tokio::test]
    async fn what_waits_is_computed_at_once_and_everybody_gets_their_own_answer() {
        let hasher = Hasher::new(HasherConfig {
            threads: 1,
            queue: 16,
            scheme: BCRYPT,
        })
        .unwrap();
        let stored = hasher.hash(new("correct horse"), anybody()).await.unwrap();
        let costlier = "$2b$05$abcdefghijklmnopqrstuuo8sMI/lBdg2DeGTz/BtFwnH0iv.RIW6";
        let long = "ä".repeat(40);
        let long_stored = hasher.hash(new(&long), anybody()).await.unwrap();
        let release = block(&hasher);
        // Of two costs, short and long, right and wrong, with an account and without, and one that is hashed.
        let right = || hasher.verify(password("correct horse"), Some(stored.clone()), counted());
        let wrong = || hasher.verify(password("correct house"), Some(stored.clone()), counted());
        let unknown = || hasher.verify(password("correct horse"), None, counted());
        let other_cost = hasher.verify(
            password("x"),
            Some(PasswordHash::from_stored(costlier.to_owned())),
            counted(),
        );
        let of_long = hasher.verify(password(&long), Some(long_stored), counted());
        let hashed = hasher.hash(new("new"), anybody());
        let all = async {
            tokio::join!(
                right(),
                wrong(),
                other_cost,
                unknown(),
                right(),
                of_long,
                hashed,
                wrong(),
                right()
            )
        };
        let mut all = pin!(all);
        assert!(!step(all.as_mut()));
        assert_eq!(hasher.stats().queued, 9);
        drop(release);
        let answers = all.await;
        let (is_match, no_match) = (Verdict::Match { outdated: false }, Verdict::NoMatch);
        assert_eq!(answers.0.unwrap(), is_match);
        assert_eq!(answers.1.unwrap(), no_match);
        assert_eq!(answers.2.unwrap(), no_match);
        assert_eq!(answers.3.unwrap(), no_match);
        assert_eq!(answers.4.unwrap(), is_match);
        assert_eq!(answers.5.unwrap(), is_match);
        assert_eq!(check(&hasher, "new", answers.6.unwrap().as_str()).await, is_match);
        assert_eq!(answers.7.unwrap(), no_match);
        assert_eq!(answers.8.unwrap(), is_match);
        let stats = hasher.stats();
        assert_eq!((stats.done_total, stats.running, stats.queued), (13, 0, 0));
    }

    #[tokio::test]
    async fn c11_a_stored_hash_above_the_bounds_takes_no_more_work_than_any_other() {
        let hash = "abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
        let stored = format!("$2b$15${hash}");
        assert!(
            PasswordHash::import(&stored).is_err_and(|reason| reason.contains("bcrypt cost is above 14"))
        );
        let hasher = hasher(BCRYPT);
        assert_eq!(check(&hasher, "correct horse", &stored).await, Verdict::NoMatch);
        assert!(
            hasher.stats().busy_total < Duration::from_secs(1),
            "{:?}",
            hasher.stats()
        );
        // What the operator has set for new passwords is verified whatever it costs.
        let text = "$argon2id$v=19$m=65536,t=32,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA";
        let own = Scheme::Argon2id {
            memory_kib: 65536,
            iterations: 32,
            parallelism: 1,
        };
        assert!(Stored::parse(text, Some(own)).is_ok());
        assert!(Stored::parse(text, None).is_err_and(|reason| reason.contains("1048576")));
        assert!(Stored::parse(&stored, Some(Scheme::Bcrypt { cost: 15 })).is_ok());
        assert!(Stored::parse(&stored, Some(Scheme::Bcrypt { cost: 16 })).is_err());
    }

    #[tokio::test]
    async fn who_is_known_takes_the_place_of_who_is_not() {
        let hasher = hasher(BCRYPT);
        let release = block(&hasher);
        let mut first = pin!(hasher.hash(new("first"), anybody()));
        let mut second = pin!(hasher.hash(new("second"), anybody()));
        assert!(!step(first.as_mut()) && !step(second.as_mut()));
        let mut known = pin!(hasher.hash(new("third"), Asker::Known(UserId(1))));
        assert!(!step(known.as_mut()));
        assert!(matches!(second.await, Err(Error::Overloaded { .. })));
        drop(release);
        known.await.unwrap();
        first.await.unwrap();
        assert_eq!(hasher.stats().shed_total, 1);
    }

    #[tokio::test]
    async fn who_has_gone_is_skipped_and_keeps_nobody_out() {
        let hasher = hasher(BCRYPT);
        let release = block(&hasher);
        {
            let mut first = pin!(hasher.hash(new("first"), anybody()));
            let mut second = pin!(hasher.hash(new("second"), anybody()));
            assert!(!step(first.as_mut()) && !step(second.as_mut()));
        }
        let mut third = pin!(hasher.hash(new("third"), anybody()));
        assert!(!step(third.as_mut()));
        assert_eq!(hasher.stats().queued, 1);
        {
            let mut fourth = pin!(hasher.hash(new("fourth"), anybody()));
            assert!(!step(fourth.as_mut()));
        }
        drop(release);
        third.await.unwrap();
        hasher.hash(new("fifth"), anybody()).await.unwrap();
        let stats = hasher.stats();
        assert_eq!((stats.skipped_total, stats.done_total), (3, 3));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_lives_on() {
        let hasher = hasher(BCRYPT);
        let failed = hasher
            .submit(
                password("x"),
                Task::Call(Box::new(|| panic!("on purpose"))),
                anybody(),
            )
            .await;
        assert!(matches!(failed, Err(Error::Internal(_))));
        hasher.hash(new("after"), anybody()).await.unwrap();
        assert_eq!(hasher.stats().done_total, 2);
    }

    #[tokio::test]
    async fn threads_are_named_and_end_with_the_last_handle() {
        let hasher = hasher(BCRYPT);
        let (name, named) = mpsc::channel();
        let call = move || name.send(thread::current().name().map(str::to_owned)).unwrap();
        assert!(matches!(
            hasher
                .submit(password("x"), Task::Call(Box::new(call)), anybody())
                .await,
            Ok(Answer::Called)
        ));
        assert_eq!(named.recv().unwrap().as_deref(), Some("hash-0"));

        let pool = Arc::downgrade(&hasher.0.0);
        let clone = hasher.clone();
        drop(hasher);
        clone.hash(new("still there"), anybody()).await.unwrap();
        drop(clone);
        let deadline = Instant::now() + Duration::from_secs(20);
        while pool.strong_count() > 0 {
            assert!(Instant::now() < deadline, "the thread still holds the pool");
            thread::yield_now();
        }
    }

    #[test]
    fn callers_are_told_a_sensible_time() {
        let mean = Duration::from_millis(250);
        assert_eq!(retry_after(Duration::ZERO, 0, 1), Duration::from_secs(1));
        assert_eq!(retry_after(mean, 4, 2), Duration::from_secs(1));
        assert_eq!(retry_after(mean, 32, 2), Duration::from_secs(4));
        assert_eq!(retry_after(mean, 33, 2), Duration::from_secs(5));
        assert_eq!(retry_after(Duration::MAX, usize::MAX, 1), MAX_RETRY_AFTER);
    }

    proptest! {
        #[test]
        fn any_stored_text_is_read_or_refused(
            text in "\\PC{0,80}|\\$(2[abxy]|bcrypt-sha256|argon2id)\\$[a-z0-9$=,./]{0,80}|\\$argon2id\\$v=19\\$m=[0-9]{1,11},t=[0-9]{1,11},p=[0-9]{1,9}\\$[A-Za-z0-9+/]{0,90}\\$[A-Za-z0-9+/]{0,90}"
        ) {
            if let Ok(Stored::Argon2id { params, .. }) = Stored::read(&text) {
                prop_assert!(params.m_cost() <= ARGON2_MAX_MEMORY_KIB);
            }
        }

        #[test]
        fn what_is_hashed_matches_itself_alone(text in "\\PC{1,100}", other in "\\PC{1,100}") {
            let (one, two) = (password(&text), password(&other));
            prop_assume!(one.as_bytes() != two.as_bytes());
            for scheme in [BCRYPT, ARGON2ID] {
                let hash = scheme.hash(one.as_bytes(), [9; 16], &mut Ready::default()).unwrap();
                let stored = Stored::read(hash.as_str()).map_err(str::to_owned).unwrap();
                prop_assert!(stored.matches(one.as_bytes(), &mut Ready::default()).unwrap());
                prop_assert!(!stored.is_outdated(scheme, one.as_bytes()));
                prop_assert!(!stored.matches(two.as_bytes(), &mut Ready::default()).unwrap());
            }
        }
    }
}
