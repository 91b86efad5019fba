//! Hashes that other programs made and that are only verified, until their owner signs in and gets one of our own:
//!
//! * Argon2 in its other kinds and its older version, in the PHC string format;
//! * scrypt (RFC 7914): `$scrypt$ln=…,r=…,p=…$salt$hash`, the form of PHC and of passlib;
//! * PBKDF2 (RFC 8018) with SHA-1, SHA-256 and SHA-512: `$pbkdf2-sha256$i=…,l=…$salt$hash` as PHC has it,
//!   `$pbkdf2-sha256$rounds$salt$hash` as passlib does, and Django's `pbkdf2_sha256$rounds$salt$hash`;
//! * Firebase's scrypt, in a form of our own: see [`PasswordHash::firebase`](crate::domain::PasswordHash::firebase).

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use password_hash::phc;
use zeroize::Zeroizing;

use super::argon2id::{argon2_params, check_argon2_cost};
use super::bounds::Cost;

use crate::crypto;

/// More than any program writes.
const MAX_PART: usize = 256;

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
}

impl Foreign {
    /// Reads a stored hash; `Ok(None)` when it is of none of these forms.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        if let Some(rest) = text.strip_prefix("$scrypt$") {
            let [parameters, salt, output] = parts(rest)?;
            return Ok(Some(Self::Scrypt {
                params: scrypt_params(parameters)?,
                salt: decode(salt)?,
                output: decode_output(output)?,
            }));
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

    /// Whether it is within the bounds of what is computed here; those of scrypt and PBKDF2 are checked in reading.
    pub(super) fn check_cost(&self) -> Result<(), &'static str> {
        match self {
            Self::Argon2 { params, .. } => check_argon2_cost(params),
            Self::Scrypt { .. } | Self::Pbkdf2 { .. } | Self::Firebase { .. } => Ok(()),
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
            Self::Scrypt { params, salt, output } => {
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
        }
    }
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
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::super::bcrypt::Ready;
    use super::super::stored::Stored;
    use super::*;
    use crate::domain::PasswordHash;

    fn verifies(hash: &PasswordHash, password: &str) -> bool {
        let stored = Stored::parse(hash.as_str(), None).unwrap_or_else(|reason| panic!("{reason}"));
        assert!(
            !stored
                .matches(b"another password", &mut Ready::default())
                .expect("computed")
        );
        stored
            .matches(password.as_bytes(), &mut Ready::default())
            .expect("computed")
    }

    #[test]
    fn hashes_of_other_programs_verify() {
        for (text, password) in [
            (
                "$pbkdf2$1000$c2l4dGVlbiBieXRlcyAhIQ$Hn7A.NpbFzwg125JnafoXde3xlI",
                "correct horse \u{628}",
            ),
            (
                "$pbkdf2-sha256$1000$//79c2l4dGVlbg$4PmtSoxc4ZG12XTQNwOcmnOKmerCQzEj4AxdSAAPAwY",
                "correct horse \u{628}",
            ),
            (
                "$pbkdf2-sha512$1000$c2l4dGVlbiBieXRlcyAhIQ$l/fJGeafMR147x/j/mtT.X9ZCieeBdTlHI0.J8xjfM5eU8ljuyEiN00DmzDmeIwTNKTA8yUyN/3A0DWqxD0XHQ",
                "correct horse \u{628}",
            ),
            (
                "$scrypt$ln=10,r=8,p=2$c29tZSBzYWx0$DjVKFsdNs2/gkKxlARTn37OUDQkunDwx7DjAaf7Njr8",
                "correct horse \u{628}",
            ),
            (
                "$pbkdf2-sha256$i=2000,l=32$cGhjIHNhbHQ$7w1Au/VQnn5bes+dVo0OkZGzF2yHiOX48chvrv3gNyA",
                "correct horse \u{628}",
            ),
            (
                "$pbkdf2$i=27500$a2V5Y2xvYWs$z4iqWpsFVYK1qW2bl59XdKjbZHOxwTYKnczGCkWaPBKuK+2MmTW/Ol8/ldO/gC+foY51Sh6yi6VW29w9llyLkw",
                "correct horse \u{628}",
            ),
            (
                "pbkdf2_sha256$3000$textsalt$mPrwZwDvdmtwONtPPhMT8RDBJ6tmDtSCRLOeRfckflg=",
                "correct horse \u{628}",
            ),
            (
                "$bcrypt-sha256$v=2,t=2b,r=4$wCOEezUp818qRzQ5zKrAJe$NMbEOApGnyZxAsZOfiD8.7TkfcKoBTq",
                "correct horse \u{628}",
            ),
            (
                "$2a$04$TD9NVEK8uEWQg8X8.i6nkuqnJ9holO/1fxxTcXgTKga1q3LKbrwxW",
                "correct horse \u{628}",
            ),
            (
                "$2y$04$alG4oA7rINHVUCzHUOeYFe55hcT6y3m.RvVankEcGCfc29MRyMXVS",
                "correct horse \u{628}",
            ),
            (
                "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$gyf6zs9xB1D8ppWEzSVVrqGakbvpBN7a7wCUThMpXmQ",
                "correct horse \u{628}",
            ),
            (
                "$argon2i$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$4HJytgN+3W+XJ3qjhbV7xJ+XZpHlavUL0CVobRm1wY4",
                "correct horse \u{628}",
            ),
            (
                "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$vC54CNRc08JvrpF90HxhIcdLkCuM38VDz6/Mr8X2yRI",
                "correct horse \u{628}",
            ),
            (
                "$argon2d$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$d6ewdz06epUIpryN+wVMZwdfDxLCzc21RdyWqH63f3E",
                "correct horse \u{628}",
            ),
            (
                "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$ZVtMy3Rzpwfb82zPz/7v1suTvLj6wI1L5qiWAKpVSJM",
                "correct horse \u{628}",
            ),
            (
                "$argon2id$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$bc9+LK1sOShww5TwbmRFyPEc1wGmwO2HO0nK5mgv4W0",
                "correct horse \u{628}",
            ),
        ] {
            let hash = PasswordHash::import(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert!(verifies(&hash, password), "{text}");
        }
    }

    #[test]
    fn firebase_verifies_without_the_signer_key() {
        // The example of Firebase's own scrypt utility.
        let decode = |text: &str| {
            STANDARD
                .decode(text)
                .or_else(|_| URL_SAFE.decode(text))
                .expect("base64")
        };
        let signer = decode(
            "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
        );
        let hash = decode(
            "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
        );
        let stored = PasswordHash::firebase(
            14,
            8,
            &decode("42xEC+ixf3L2lw=="),
            &decode("Bw=="),
            &signer,
            &hash,
        )
        .expect("a hash");
        assert!(verifies(&stored, "user1password"));
        assert!(!stored.as_str().contains("jxspr8Ki0RYycVU8"));
        assert!(PasswordHash::firebase(14, 8, b"salt", b"", &signer, &hash[1..]).is_err());
        assert!(PasswordHash::firebase(25, 8, b"salt", b"", &signer, &hash).is_err());
    }

    #[test]
    fn c11_costs_of_more_than_about_a_second_are_refused_with_parameter_and_bound() {
        let salt = "c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
        let bcrypt = "abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
        for (text, bound) in [
            (format!("$2b$14${bcrypt}"), None),
            (format!("$2b$15${bcrypt}"), Some("bcrypt cost is above 14")),
            (format!("$2b$16${bcrypt}"), Some("bcrypt cost is above 14")),
            (format!("$pbkdf2-sha512$2000000${salt}"), None),
            (format!("$pbkdf2-sha512$9900000${salt}"), Some("above 2000000")),
            (format!("$pbkdf2-sha256$i=2000001${salt}"), Some("above 2000000")),
            (format!("pbkdf2_sha256$2000001${salt}"), Some("above 2000000")),
            (format!("$scrypt$ln=17,r=8,p=1${salt}"), None),
            (format!("$scrypt$ln=17,r=8,p=2${salt}"), Some("above 1048576")),
            (format!("$scrypt$ln=20,r=8,p=1${salt}"), Some("above 1048576")),
            (format!("$argon2id$v=19$m=262144,t=4,p=1${salt}"), None),
            (
                format!("$argon2id$v=19$m=262145,t=1,p=1${salt}"),
                Some("above 262144 KiB"),
            ),
            (
                format!("$argon2i$v=19$m=262144,t=5,p=1${salt}"),
                Some("above 1048576 KiB"),
            ),
            (
                format!("$argon2d$v=16$m=65536,t=17,p=1${salt}"),
                Some("above 1048576 KiB"),
            ),
        ] {
            match (PasswordHash::import(&text), bound) {
                (Ok(_), None) => {}
                (Err(reason), Some(bound)) => assert!(reason.contains(bound), "{text}: {reason}"),
                (other, bound) => panic!("{text}: {:?}, {bound:?}", other.map(drop)),
            }
        }
    }

    #[test]
    fn t21_what_is_damaged_dear_or_unknown_is_refused_with_a_reason() {
        for text in [
            "",
            "$",
            "plain",
            "$2x$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            "$2b$17$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            "$1$abc$def",
            "$scrypt$ln=14,r=8,p=1$c2FsdA",
            "$scrypt$ln=14,r=8$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
            "$scrypt$ln=25,r=8,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
            "$scrypt$ln=20,r=4294967295,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
            "$scrypt$ln=14,r=8,p=1$c2FsdA$AAAA",
            "$scrypt$ln=14,r=8,p=1$!$AAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-sha256$0$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-sha256$99999999$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-sha256$-1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-md5$1000$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2i$v=19$m=4294967295,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2i$v=17$m=64,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$firebase-scrypt$v=2,ln=14,r=8,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
            "pbkdf2_sha256$260000$salt",
            "\u{e4}$2b$",
        ] {
            let reason = PasswordHash::import(text).expect_err(text);
            assert!(
                !reason.is_empty() && !reason.contains("c2FsdA"),
                "{text}: {reason}"
            );
        }
    }
}
