//! Stored hashes of our own formats and of others, read and compared.

use anyhow::Context as _;
use argon2::Params;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use password_hash::phc;
use zeroize::Zeroizing;

use super::argon2id::{ARGON2_OUTPUT, argon2_params, argon2id, check_argon2_cost};
use super::bcrypt::{
    BCRYPT_SALT, Bcrypt, PLAIN_BYTES, Ready, bcrypt_cost, bcrypt_salt, bcrypt_sha256_key, check_digest,
};
use super::bounds::Cost;
use super::foreign::Foreign;
use super::scheme::Scheme;
use super::spelling;
use crate::crypto;
use crate::domain::PasswordHash;

/// What bcrypt is given: the password, or something of a fixed length that depends on all of it.
pub(super) enum Key<'a> {
    Password {
        current_version: bool,
    },
    /// passlib's `bcrypt_sha256`, which we write, too.
    Passlib {
        version: u8,
        salt_text: &'a str,
    },
    /// Django's `bcrypt_sha256`: SHA-256 in hexadecimal digits.
    Django,
    /// WordPress from 6.8 on: HMAC-SHA-384 under a fixed key, in base64.
    WordPress,
}

impl Key<'_> {
    fn of(&self, password: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Password { .. } => password.to_vec(),
            Self::Passlib { version, salt_text } => bcrypt_sha256_key(*version, salt_text, password)
                .as_bytes()
                .to_vec(),
            Self::Django => digest::digest(&digest::SHA256, password)
                .as_ref()
                .iter()
                .flat_map(|byte| [byte >> 4, byte & 15])
                .map(|digit| b"0123456789abcdef"[usize::from(digit)])
                .collect(),
            Self::WordPress => {
                let key = hmac::Key::new(hmac::HMAC_SHA384, b"wp-sha384");
                STANDARD.encode(hmac::sign(&key, password)).into_bytes()
            }
        })
    }
}

/// A stored hash, taken apart.
pub(super) enum Stored<'a> {
    Bcrypt {
        key: Key<'a>,
        cost: u32,
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
    pub(super) fn parse(text: &'a str, own: Option<Scheme>) -> Result<Self, &'static str> {
        let stored = Self::read(text)?;
        stored.check_cost(own)?;
        Ok(stored)
    }

    fn check_cost(&self, own: Option<Scheme>) -> Result<(), &'static str> {
        match (self, own) {
            (Self::Bcrypt { cost, .. }, Some(Scheme::Bcrypt { cost: wanted })) if *cost == wanted => Ok(()),
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
            (Self::Bcrypt { cost, .. }, _) => Cost::Bcrypt.check(u64::from(*cost)),
            (Self::Argon2id { params, .. }, _) => check_argon2_cost(params),
            (Self::Foreign(foreign), _) => foreign.check_cost(),
        }
    }

    /// Takes a stored hash apart, whatever it costs.
    pub(super) fn read(text: &'a str) -> Result<Self, &'static str> {
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
            return Ok(Self::Bcrypt {
                key: Key::Passlib { version, salt_text },
                cost,
                salt,
                digest,
            });
        }
        if let Some(rest) = text.strip_prefix("bcrypt_sha256$") {
            return bcrypt(rest, Some(Key::Django));
        }
        if let Some(rest) = text.strip_prefix("$wp") {
            return bcrypt(rest, Some(Key::WordPress));
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
        bcrypt(text, None)
    }

    /// What bcrypt has to compute for [`matches`](Self::matches), if this is a bcrypt hash.
    pub(super) fn bcrypt(&self, password: &[u8]) -> Option<Bcrypt> {
        match self {
            Self::Bcrypt { key, cost, salt, .. } => Some(Bcrypt::new(*cost, *salt, &key.of(password))),
            Self::Argon2id { .. } | Self::Foreign(_) => None,
        }
    }

    /// Computes the password's hash under this one's parameters and compares, in time that does not depend on where they
    /// differ.
    pub(super) fn matches(&self, password: &[u8], ready: &mut Ready) -> anyhow::Result<bool> {
        match self {
            Self::Bcrypt { digest, .. } => {
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
    pub(super) fn is_outdated(&self, scheme: Scheme, password: &[u8]) -> bool {
        let long = password.len() > PLAIN_BYTES;
        match (self, scheme) {
            (Self::Bcrypt { key, cost, .. }, Scheme::Bcrypt { cost: wanted }) => {
                let is_ours = match key {
                    Key::Password { current_version } => *current_version && !long,
                    Key::Passlib { version, .. } => *version == 2 && long,
                    Key::Django | Key::WordPress => false,
                };
                !is_ours || *cost != wanted
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

/// `$2b$cost$salt` and digest in one, of a password or of another key.
fn bcrypt<'a>(text: &'a str, key: Option<Key<'a>>) -> Result<Stored<'a>, &'static str> {
    let (current_version, rest) = match text.get(..4) {
        Some("$2b$") => (true, &text[4..]),
        Some("$2a$" | "$2y$") => (false, &text[4..]),
        _ => return Err(spelling::UNKNOWN),
    };
    let (cost, rest) = rest.split_once('$').ok_or("it is cut short")?;
    let (salt, digest) = rest.split_at_checked(BCRYPT_SALT).ok_or("it is cut short")?;
    let (cost, salt) = (bcrypt_cost(cost)?, bcrypt_salt(salt)?);
    check_digest(digest)?;
    Ok(Stored::Bcrypt {
        key: key.unwrap_or(Key::Password { current_version }),
        cost,
        salt,
        digest,
    })
}

impl PasswordHash {
    /// The forms that [`import`](Self::import) takes, for messages.
    pub const FORMS: &str = "bcrypt, argon2, scrypt, pbkdf2, phpass and SHA-crypt, as PHC, passlib, Django, Werkzeug, WordPress, Unix systems, \
         ASP.NET Core Identity and better-auth write them";

    /// Takes a hash from elsewhere, if it is of a form that is verified here and not too costly to compute. `Ok(None)` when
    /// it says that there is no password, as Django's `!…` does.
    ///
    /// Forms: see [`FORMS`](Self::FORMS). What other programs only spell differently is rewritten. `Err` says why not, in words
    /// that do not repeat the hash.
    pub fn import(text: &str) -> Result<Option<Self>, &'static str> {
        let text = text.trim();
        if spelling::is_unusable(text) {
            return Ok(None);
        }
        let text = spelling::rewrite(text)?;
        Stored::parse(&text, None)?;
        Ok(Some(Self::from_stored(text.into_owned())))
    }

    /// Whether a refusal of [`import`](Self::import) is about the form, so that it helps to say which are taken.
    pub fn is_about_form(reason: &str) -> bool {
        reason == spelling::UNKNOWN || reason == spelling::TOO_FAST
    }

    /// Takes Firebase's hash of a password. All parts are bytes; `memory_cost` and `rounds` are the project's.
    ///
    /// Firebase encrypts the project's signer key under a key that is derived from the password, and keeps the result. The
    /// signer key is a secret of the whole project and is not kept here: what is encrypted in counter mode, xor'ed with
    /// its plain text, is the keystream, which depends on the password and the salt alone and verifies as well.
    pub fn firebase(
        memory_cost: u8,
        rounds: u32,
        salt: &[u8],
        salt_separator: &[u8],
        signer_key: &[u8],
        hash: &[u8],
    ) -> Result<Self, &'static str> {
        if signer_key.is_empty() || hash.len() != signer_key.len() {
            return Err("its length is not that of the signer key");
        }
        let keystream: Vec<u8> = hash
            .iter()
            .zip(signer_key)
            .map(|(one, other)| one ^ other)
            .collect();
        let text = format!(
            "$firebase-scrypt$v=1,ln={memory_cost},r={rounds},p=1${}${}",
            STANDARD_NO_PAD.encode([salt, salt_separator].concat()),
            STANDARD_NO_PAD.encode(keystream)
        );
        Stored::parse(&text, None)?;
        Ok(Self::from_stored(text))
    }
}
