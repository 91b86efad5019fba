//! Hashes that other programs made and that are only verified, until their owner signs in and gets one of our own:
//!
//! * Argon2 in its other kinds and its older version, in the PHC string format;
//! * scrypt (RFC 7914): `$scrypt$ln=…,r=…,p=…$salt$hash`, the form of PHC and of passlib;
//! * PBKDF2 (RFC 8018) with SHA-1, SHA-256 and SHA-512: `$pbkdf2-sha256$i=…,l=…$salt$hash` as PHC has it,
//!   `$pbkdf2-sha256$rounds$salt$hash` as passlib does, and Django's `pbkdf2_sha256$rounds$salt$hash`;
//! * Firebase's scrypt, in a form of our own: see [`PasswordHash::firebase`](crate::domain::PasswordHash::firebase);
//! * phpass: `$P$` and `$H$`, of WordPress and phpBB;
//! * SHA-crypt, `$5$` and `$6$`, of Unix systems.
//!
//! Other spellings of these are rewritten on import: see `spelling`. The variants of bcrypt stand in `stored`.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest as _, Md5};
use password_hash::{PasswordVerifier as _, phc};
use sha_crypt::{PasswordHashRef, ShaCrypt};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::argon2id::{argon2_params, check_argon2_cost};
use super::bounds::Cost;

use crate::crypto;

/// More than any program writes.
const MAX_PART: usize = 256;

/// SHA-crypt's time grows with the password's length: this is what 128 bytes take at the most rounds. A longer password under as
/// many matches nothing.
const MAX_SHA_CRYPT_WORK: u64 = 1_000_000 * (128 + 64);

/// The digits of `crypt`, by their values.
const CRYPT_DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The usual alphabet, with padding or without, whatever is in the bits that do not count.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A stored hash of another program, taken apart.
pub(super) enum Foreign {
    Argon2 {
        algorithm: Algorithm,
        version: Version,
        params: Params,
        salt: Vec<u8>,
        output: Vec<u8>,
    },
    Scrypt {
        /// Of the password in Unicode's form NFKC.
        nfkc: bool,
        params: scrypt::Params,
        salt: Vec<u8>,
        output: Vec<u8>,
    },
    Pbkdf2 {
        algorithm: pbkdf2::Algorithm,
        rounds: NonZeroU32,
        salt: Vec<u8>,
        output: Vec<u8>,
    },
    Firebase {
        params: scrypt::Params,
        salt: Vec<u8>,
        keystream: Vec<u8>,
    },
    Phpass {
        rounds: u32,
        salt: String,
        output: String,
    },
    ShaCrypt {
        rounds: u32,
        text: String,
    },
}

impl Foreign {
    /// Reads a stored hash; `Ok(None)` when it is of none of these forms.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        for (name, nfkc) in [("$scrypt$", false), ("$scrypt-nfkc$", true)] {
            let Some(rest) = text.strip_prefix(name) else {
                continue;
            };
            let [parameters, salt, output] = parts(rest)?;
            return Ok(Some(Self::Scrypt {
                nfkc,
                params: scrypt_params(parameters)?,
                salt: decode(salt)?,
                output: decode_output(output)?,
            }));
        }
        if let Some(rest) = text.strip_prefix("$P$").or_else(|| text.strip_prefix("$H$")) {
            return phpass(rest).map(Some);
        }
        if let Some(rest) = text.strip_prefix("$5$") {
            return sha_crypt(text, rest, 43).map(Some);
        }
        if let Some(rest) = text.strip_prefix("$6$") {
            return sha_crypt(text, rest, 86).map(Some);
        }
        if let Some(rest) = text.strip_prefix("$firebase-scrypt$v=1,") {
            let [parameters, salt, keystream] = parts(rest)?;
            return Ok(Some(Self::Firebase {
                params: scrypt_params(parameters)?,
                salt: decode(salt)?,
                keystream: decode_output(keystream)?,
            }));
        }
        for (name, kind) in [
            ("$argon2i$", Algorithm::Argon2i),
            ("$argon2d$", Algorithm::Argon2d),
            ("$argon2id$", Algorithm::Argon2id),
        ] {
            if text.starts_with(name) {
                return argon2(text, kind).map(Some);
            }
        }
        for (phc, django, algorithm) in [
            ("$pbkdf2-sha256$", "pbkdf2_sha256$", pbkdf2::PBKDF2_HMAC_SHA256),
            ("$pbkdf2-sha512$", "pbkdf2_sha512$", pbkdf2::PBKDF2_HMAC_SHA512),
            ("$pbkdf2-sha1$", "pbkdf2_sha1$", pbkdf2::PBKDF2_HMAC_SHA1),
            ("$pbkdf2$", "", pbkdf2::PBKDF2_HMAC_SHA1),
        ] {
            if let Some(rest) = text.strip_prefix(phc) {
                let [rounds, salt, output] = parts(rest)?;
                let rounds = match rounds.strip_prefix("i=") {
                    Some(rest) => rest.split_once(',').map_or(rest, |(rounds, _)| rounds),
                    None => rounds,
                };
                return pbkdf2(algorithm, rounds, decode(salt)?, decode_output(output)?).map(Some);
            }
            if let (false, Some(rest)) = (django.is_empty(), text.strip_prefix(django)) {
                // Django's salt is text.
                let [rounds, salt, output] = parts(rest)?;
                return pbkdf2(
                    algorithm,
                    rounds,
                    salt.as_bytes().to_vec(),
                    decode_output(output)?,
                )
                .map(Some);
            }
        }
        Ok(None)
    }

    /// Whether it is within the bounds of what is computed here; those of the others are checked in reading.
    pub(super) fn check_cost(&self) -> Result<(), &'static str> {
        match self {
            Self::Argon2 { params, .. } => check_argon2_cost(params),
            Self::Scrypt { .. }
            | Self::Pbkdf2 { .. }
            | Self::Firebase { .. }
            | Self::Phpass { .. }
            | Self::ShaCrypt { .. } => Ok(()),
        }
    }

    /// Computes and compares, in time that does not depend on where they differ.
    pub(super) fn matches(&self, password: &[u8]) -> anyhow::Result<bool> {
        match self {
            Self::Argon2 {
                algorithm,
                version,
                params,
                salt,
                output,
            } => {
                let mut computed = Zeroizing::new(vec![0; output.len()]);
                Argon2::new(*algorithm, *version, params.clone())
                    .hash_password_into(password, salt, &mut computed)
                    .map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
                Ok(crypto::equal(&computed, output))
            }
            Self::Scrypt {
                nfkc,
                params,
                salt,
                output,
            } => {
                let normal = (*nfkc).then(|| Zeroizing::new(nfkc_of(password)));
                let password = normal.as_ref().map_or(password, |normal| normal.as_bytes());
                let mut computed = Zeroizing::new(vec![0; output.len()]);
                scrypt::scrypt(password, salt, params, &mut computed)
                    .map_err(|error| anyhow::anyhow!("scrypt: {error}"))?;
                Ok(crypto::equal(&computed, output))
            }
            Self::Pbkdf2 {
                algorithm,
                rounds,
                salt,
                output,
            } => {
                let mut computed = Zeroizing::new(vec![0; output.len()]);
                pbkdf2::derive(*algorithm, *rounds, salt, password, &mut computed);
                Ok(crypto::equal(&computed, output))
            }
            Self::Firebase {
                params,
                salt,
                keystream,
            } => {
                let mut key = Zeroizing::new([0; 32]);
                scrypt::scrypt(password, salt, params, &mut *key)
                    .map_err(|error| anyhow::anyhow!("scrypt: {error}"))?;
                let mut computed = Zeroizing::new(vec![0; keystream.len()]);
                UnboundCipherKey::new(&AES_256, &*key)
                    .and_then(EncryptingKey::ctr)
                    .and_then(|key| {
                        let start = EncryptionContext::Iv128(FixedLength::from([0; 16]));
                        key.less_safe_encrypt(&mut computed, start)
                    })
                    .map_err(|_| anyhow::anyhow!("AES-256-CTR"))?;
                Ok(crypto::equal(&computed, keystream))
            }
            Self::Phpass { rounds, salt, output } => {
                let mut digest = Md5::new().chain_update(salt).chain_update(password).finalize();
                for _ in 0..*rounds {
                    digest = Md5::new().chain_update(digest).chain_update(password).finalize();
                }
                let computed = Zeroizing::new(crypt_text(&digest));
                Ok(crypto::equal(computed.as_bytes(), output.as_bytes()))
            }
            Self::ShaCrypt { rounds, text } => {
                let work = u64::from(*rounds) * (password.len() as u64 + 64);
                Ok(work <= MAX_SHA_CRYPT_WORK
                    && ShaCrypt::default()
                        .verify_password(password, text.as_str())
                        .is_ok())
            }
        }
    }
}

fn nfkc_of(password: &[u8]) -> String {
    String::from_utf8_lossy(password).nfkc().collect()
}

/// Bytes in the digits of `crypt`, the lowest bits first.
fn crypt_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 1);
    for group in bytes.chunks(3) {
        let value = group
            .iter()
            .rev()
            .fold(0_usize, |value, byte| (value << 8) | usize::from(*byte));
        for digit in 0..=group.len() {
            text.push(char::from(CRYPT_DIGITS[(value >> (6 * digit)) & 63]));
        }
    }
    text
}

fn crypt_digit(digit: u8) -> Option<usize> {
    CRYPT_DIGITS.iter().position(|known| *known == digit)
}

fn are_crypt_digits(text: &str) -> bool {
    text.bytes().all(|byte| crypt_digit(byte).is_some())
}

/// What follows `$P$`: a digit for the rounds, eight characters of salt, 22 of the digest.
fn phpass(text: &str) -> Result<Foreign, &'static str> {
    let (digit, rest) = text.split_at_checked(1).ok_or("it is cut short")?;
    let (salt, output) = rest.split_at_checked(8).ok_or("it is cut short")?;
    if output.len() != 22 || !are_crypt_digits(output) {
        return Err("its digest does not have 22 characters");
    }
    let log_rounds = digit
        .bytes()
        .next()
        .and_then(crypt_digit)
        .filter(|log_rounds| (7..=30).contains(log_rounds))
        .ok_or("its rounds are not phpass's")?;
    Cost::Phpass.check(log_rounds as u64)?;
    Ok(Foreign::Phpass {
        rounds: 1 << log_rounds,
        salt: salt.to_owned(),
        output: output.to_owned(),
    })
}

/// What follows `$5$` or `$6$`: `rounds=N$`, unless they are 5,000, the salt, and this many characters of the digest.
fn sha_crypt(text: &str, rest: &str, length: usize) -> Result<Foreign, &'static str> {
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$').ok_or("it is cut short")?;
            let rounds: u32 = number(rounds)?;
            Cost::ShaCrypt.check(u64::from(rounds))?;
            sha_crypt::Params::new(rounds).map_err(|_| "its rounds are not SHA-crypt's")?;
            (rounds, rest)
        }
        None => (sha_crypt::Params::RECOMMENDED_ROUNDS, rest),
    };
    let (salt, digest) = rest.split_once('$').ok_or("it is cut short")?;
    if salt.len() > 16 || !are_crypt_digits(salt) {
        return Err("its salt is not SHA-crypt's");
    }
    if digest.len() != length || !are_crypt_digits(digest) {
        return Err("its digest is not SHA-crypt's");
    }
    PasswordHashRef::new(text).map_err(|_| "it is not SHA-crypt's")?;
    Ok(Foreign::ShaCrypt {
        rounds,
        text: text.to_owned(),
    })
}

fn parts(text: &str) -> Result<[&str; 3], &'static str> {
    let mut parts = text.split('$');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(first), Some(second), Some(third), None) => Ok([first, second, third]),
        (_, _, _, Some(_)) => Err("it has too many parts"),
        _ => Err("it is cut short"),
    }
}

fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    if text.len() > MAX_PART {
        return Err("a part of it is too long");
    }
    // passlib's alphabet has a dot for the plus sign.
    LENIENT_BASE64
        .decode(text.replace('.', "+"))
        .map_err(|_| "a part of it is not base64")
}

fn decode_output(text: &str) -> Result<Vec<u8>, &'static str> {
    let output = decode(text)?;
    // Shorter ones could be guessed without the password.
    if output.len() < 16 {
        Err("its digest is too short")
    } else {
        Ok(output)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a parameter of it is no number");
    }
    text.parse().map_err(|_| "a parameter of it is too large")
}

/// `ln=14,r=8,p=1`
fn scrypt_params(text: &str) -> Result<scrypt::Params, &'static str> {
    let mut values = text.split(',');
    let mut value = |name: &str| {
        let text = values.next().and_then(|part| part.strip_prefix(name));
        text.ok_or("its parameters are not scrypt's")
    };
    let (log_n, r, p): (u8, u32, u32) = (
        number(value("ln=")?)?,
        number(value("r=")?)?,
        number(value("p=")?)?,
    );
    if values.next().is_some() {
        return Err("its parameters are not scrypt's");
    }
    if log_n == 0 || log_n > 24 {
        return Err(Cost::Scrypt.reason());
    }
    let blocks = (1_u64 << log_n).saturating_mul(u64::from(r));
    // Its memory is 128 bytes for each.
    Cost::Scrypt.check(blocks.saturating_mul(u64::from(p.max(1))))?;
    scrypt::Params::new(log_n, r, p).map_err(|_| "its parameters are not scrypt's")
}

fn argon2(text: &str, algorithm: Algorithm) -> Result<Foreign, &'static str> {
    let hash = phc::PasswordHash::new(text).map_err(|_| "it is not in the PHC format")?;
    let version = match hash.version {
        Some(19) => Version::V0x13,
        // The first version did not write its number.
        Some(16) | None => Version::V0x10,
        Some(_) => return Err("its Argon2 version is unknown"),
    };
    let params = Params::try_from(&hash).map_err(|_| "its parameters are not Argon2's")?;
    let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
        return Err("it is cut short");
    };
    let params = argon2_params(params.m_cost(), params.t_cost(), params.p_cost(), output.len())?;
    Ok(Foreign::Argon2 {
        algorithm,
        version,
        params,
        salt: salt.to_vec(),
        output: output.as_bytes().to_vec(),
    })
}

fn pbkdf2(
    algorithm: pbkdf2::Algorithm,
    rounds: &str,
    salt: Vec<u8>,
    output: Vec<u8>,
) -> Result<Foreign, &'static str> {
    let rounds: u32 = number(rounds)?;
    let rounds = NonZeroU32::new(rounds).ok_or("its rounds are none")?;
    let block = if algorithm == pbkdf2::PBKDF2_HMAC_SHA512 {
        64
    } else if algorithm == pbkdf2::PBKDF2_HMAC_SHA256 {
        32
    } else {
        20
    };
    let blocks = u64::try_from(output.len().div_ceil(block)).unwrap_or(u64::MAX);
    Cost::Pbkdf2.check(u64::from(rounds.get()).saturating_mul(blocks))?;
    Ok(Foreign::Pbkdf2 {
        algorithm,
        rounds,
        salt,
        output,
    })
}

#[cfg(test)]
mod tests;
