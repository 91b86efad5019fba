//! How new passwords are hashed, and what is written of them.

use anyhow::{Context as _, anyhow, ensure};
use argon2::Params;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::argon2id::{ARGON2_OUTPUT, argon2_params, argon2id};
use super::bcrypt::{
    BCRYPT_BASE64, BCRYPT_MAX_COST, BCRYPT_MIN_COST, Bcrypt, PLAIN_BYTES, Ready, bcrypt_sha256_key,
};
use crate::crypto;
use crate::domain::PasswordHash;

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
    /// Whether the parameters are within what this program is willing to compute.
    pub(super) fn check(self) -> anyhow::Result<()> {
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
    pub(super) fn bcrypt(self, password: &[u8], salt: [u8; 16]) -> Option<Bcrypt> {
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
    pub(super) fn hash(
        self,
        password: &[u8],
        salt: [u8; 16],
        ready: &mut Ready,
    ) -> anyhow::Result<PasswordHash> {
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
    pub(super) fn decoy(self, long: bool) -> anyhow::Result<PasswordHash> {
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

fn bcrypt_text(cost: u32, salt: [u8; 16], digest: &str) -> PasswordHash {
    PasswordHash::from_stored(format!("$2b${cost:02}${}{digest}", BCRYPT_BASE64.encode(salt)))
}

fn bcrypt_sha256_text(cost: u32, salt: [u8; 16], digest: &str) -> PasswordHash {
    PasswordHash::from_stored(format!(
        "$bcrypt-sha256$v=2,t=2b,r={cost}${}${digest}",
        BCRYPT_BASE64.encode(salt)
    ))
}

fn argon2id_text(params: &Params, salt: &[u8], output: &[u8]) -> PasswordHash {
    PasswordHash::from_stored(format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        params.m_cost(),
        params.t_cost(),
        params.p_cost(),
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(output)
    ))
}
