//! `[password]` and `[hash]`: how passwords are hashed.

use std::path::PathBuf;

use super::reader::Reader;
use super::values::{self, optional};

/// How new passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum PasswordScheme {
    /// bcrypt, with `bcrypt_cost`.
    Bcrypt,
    /// Argon2id (RFC 9106), with the three `argon2_` settings.
    Argon2id,
}

/// `[password]`
#[derive(Clone, Debug)]
pub struct PasswordConfig {
    /// How new passwords are hashed.
    pub scheme: PasswordScheme,
    /// 4 to 16; each step doubles the work.
    pub bcrypt_cost: u32,
    /// The least length of a new password, in characters.
    pub min_length: usize,
    /// Memory of one computation, in KiB.
    pub argon2_memory_kib: u32,
    /// Passes over the memory.
    pub argon2_iterations: u32,
    /// Lanes.
    pub argon2_parallelism: u32,
    /// A file of breached passwords that may not be set.
    pub breached_file: Option<PathBuf>,
}

/// `[hash]`: the pool that computes password hashes.
#[derive(Clone, Copy, Debug)]
pub struct HashConfig {
    /// Threads; 0 means one for each core.
    pub threads: usize,
    /// Passwords that may wait for each thread.
    pub queue: usize,
}

impl Reader<'_> {
    pub(super) fn password(&mut self) -> Option<PasswordConfig> {
        let scheme = self.read("password.scheme", values::variant);
        let bcrypt_cost = self.read("password.bcrypt_cost", |raw| values::whole(raw, 4..=16));
        let min_length = self.read("password.min_length", |raw| values::whole(raw, 1..=128));
        let argon2_memory_kib = self.read("password.argon2_memory_kib", |raw| {
            values::whole(raw, 1024..=1_048_576)
        });
        let argon2_iterations = self.read("password.argon2_iterations", |raw| values::whole(raw, 1..=64));
        let argon2_parallelism = self.read("password.argon2_parallelism", |raw| values::whole(raw, 1..=16));
        if scheme == Some(PasswordScheme::Bcrypt) && bcrypt_cost.is_some_and(|cost: u32| cost < 10) {
            self.warn(
                "password.bcrypt_cost",
                "below 10, stolen hashes are cheap to guess; use 10 or more outside tests",
            );
        }
        if scheme == Some(PasswordScheme::Argon2id) && argon2_memory_kib.is_some_and(|kib: u32| kib < 7168) {
            self.warn(
                "password.argon2_memory_kib",
                "below 7168, stolen hashes are cheap to guess; use 7168 or more outside tests",
            );
        }
        if min_length.is_some_and(|length: usize| length < 8) {
            self.warn(
                "password.min_length",
                "passwords below 8 characters are easily guessed; use 8 or more",
            );
        }
        let breached_file = self.read("password.breached_file", |raw| optional(raw, values::path));
        Some(PasswordConfig {
            breached_file: breached_file?,
            scheme: scheme?,
            bcrypt_cost: bcrypt_cost?,
            min_length: min_length?,
            argon2_memory_kib: argon2_memory_kib?,
            argon2_iterations: argon2_iterations?,
            argon2_parallelism: argon2_parallelism?,
        })
    }

    pub(super) fn hash(&mut self) -> Option<HashConfig> {
        let threads = self.read("hash.threads", |raw| values::whole(raw, 0..=1024));
        let queue = self.read("hash.queue", |raw| values::whole(raw, 1..=10_000));
        Some(HashConfig {
            threads: threads?,
            queue: queue?,
        })
    }
}
