//! Hashes as other programs write them, rewritten to the forms that are verified here.
//!
//! * Django: `argon2$argon2id$…`, `bcrypt$$2b$…`, `scrypt$N$salt$r$p$hash`;
//! * Werkzeug: `scrypt:N:r:p$salt$hex`, `pbkdf2:sha256:rounds$salt$hex`;
//! * Ory Kratos: `$scrypt$ln=16384,…`, with N itself where PHC has its logarithm;
//! * ASP.NET Core Identity, versions 2 and 3: one base64 text;
//! * better-auth: `salt:key` in hexadecimal digits, scrypt with fixed parameters;
//! * Spring Security, Dovecot and LDAP servers: `{bcrypt}` and the like before a hash that says itself what it is.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

pub(super) const UNKNOWN: &str = "its format is unknown";
/// A copy of the database would be enough to find most of the passwords within hours. Imported they would stay that way until
/// their owners sign in.
pub(super) const TOO_FAST: &str =
    "it is a plain digest (MD5, SHA), which is computed too fast to protect a password";

/// Names in braces before a hash that needs them not.
const LABELS: [&str; 9] = [
    "crypt",
    "bcrypt",
    "blf-crypt",
    "sha256-crypt",
    "sha512-crypt",
    "argon2",
    "argon2i",
    "argon2id",
    "argon2@springsecurity_v5_8",
];

/// What plain digests are called, in braces or before a `$`.
const FAST: [&str; 15] = [
    "md5",
    "smd5",
    "unsalted_md5",
    "plain-md5",
    "ldap-md5",
    "sha",
    "ssha",
    "sha1",
    "unsalted_sha1",
    "sha256",
    "ssha256",
    "sha384",
    "ssha384",
    "sha512",
    "ssha512",
];

/// Whether it says that there is no password to sign in with: Django's `!` and a random text, and the marks of Unix systems.
pub(super) fn is_unusable(text: &str) -> bool {
    text.starts_with('!') || text == "*"
}

/// The same hash in a form that is verified here. What is not known is returned as it is.
pub(super) fn rewrite(text: &str) -> Result<Cow<'_, str>, &'static str> {
    let is_among = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let text = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((label, rest)) if is_among(&LABELS, label) => rest,
        Some((label, _)) if is_among(&FAST, label) => return Err(TOO_FAST),
        _ => text,
    };
    if text
        .split_once('$')
        .is_some_and(|(name, _)| is_among(&FAST, name))
        || matches!(text.len(), 32 | 40 | 64 | 128) && hex(text).is_some()
    {
        return Err(TOO_FAST);
    }
    if let Some(rest) = text.strip_prefix("argon2$argon2") {
        return Ok(format!("$argon2{rest}").into());
    }
    if let Some(rest) = text.strip_prefix("bcrypt$$") {
        return Ok(format!("${rest}").into());
    }
    if let Some(rest) = text.strip_prefix("scrypt$") {
        return django_scrypt(rest).map(Cow::from);
    }
    if let Some(rest) = text.strip_prefix("scrypt:") {
        return werkzeug_scrypt(rest).map(Cow::from);
    }
    if let Some(rest) = text.strip_prefix("pbkdf2:") {
        return werkzeug_pbkdf2(rest).map(Cow::from);
    }
    if let Some(rest) = text.strip_prefix("$scrypt$ln=") {
        return Ok(kratos_scrypt(rest).map_or(text.into(), Cow::from));
    }
    if let Some(hash) = aspnet(text) {
        return Ok(hash.into());
    }
    if let Some(hash) = better_auth(text) {
        return Ok(hash.into());
    }
    Ok(text.into())
}

const CUT: &str = "it is cut short";
const NOT_HEX: &str = "its digest is not hexadecimal";
const NOT_A_NUMBER: &str = "a parameter of it is no number";
const NOT_SCRYPTS: &str = "its parameters are not scrypt's";

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| (pair[0] << 4) | pair[1]).collect())
}

/// scrypt in the form of PHC, from N.
fn scrypt(n: &str, r: &str, p: &str, salt: &[u8], output: &str) -> Result<String, &'static str> {
    let n: u64 = n.parse().map_err(|_| NOT_A_NUMBER)?;
    if !n.is_power_of_two() {
        return Err(NOT_SCRYPTS);
    }
    Ok(format!(
        "$scrypt$ln={},r={r},p={p}${}${output}",
        n.ilog2(),
        STANDARD_NO_PAD.encode(salt)
    ))
}

/// `N$salt$r$p$hash`
fn django_scrypt(rest: &str) -> Result<String, &'static str> {
    let mut parts = rest.split('$');
    let mut next = || parts.next().ok_or(CUT);
    let (n, salt, r, p, output) = (next()?, next()?, next()?, next()?, next()?);
    scrypt(n, r, p, salt.as_bytes(), output)
}

/// `N:r:p$salt$hash`
fn werkzeug_scrypt(rest: &str) -> Result<String, &'static str> {
    let (parameters, rest) = rest.split_once('$').ok_or(CUT)?;
    let (salt, output) = rest.split_once('$').ok_or(CUT)?;
    let mut parts = parameters.split(':');
    let mut next = || parts.next().ok_or(NOT_SCRYPTS);
    let (n, r, p) = (next()?, next()?, next()?);
    let output = STANDARD_NO_PAD.encode(hex(output).ok_or(NOT_HEX)?);
    scrypt(n, r, p, salt.as_bytes(), &output)
}

/// `sha256:rounds$salt$hash`
fn werkzeug_pbkdf2(rest: &str) -> Result<String, &'static str> {
    let (parameters, rest) = rest.split_once('$').ok_or(CUT)?;
    let (salt, output) = rest.split_once('$').ok_or(CUT)?;
    let (digest, rounds) = parameters.split_once(':').ok_or("it has no rounds")?;
    let name = match digest {
        "sha1" => "pbkdf2",
        "sha256" => "pbkdf2-sha256",
        "sha512" => "pbkdf2-sha512",
        _ => return Err(UNKNOWN),
    };
    Ok(format!(
        "${name}$i={rounds}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hex(output).ok_or(NOT_HEX)?)
    ))
}

/// What follows `$scrypt$ln=`, if that is N itself: no logarithm is as large.
fn kratos_scrypt(rest: &str) -> Option<String> {
    let (n, rest) = rest.split_once(',')?;
    let n: u64 = n.parse().ok()?;
    (n >= 64 && n.is_power_of_two()).then(|| format!("$scrypt$ln={},{rest}", n.ilog2()))
}

/// Version 3: a byte 1; the function, the rounds and the length of the salt in four bytes each; the salt; the digest. Version 2: a
/// byte 0, 16 bytes of salt, 32 of digest.
fn aspnet(text: &str) -> Option<String> {
    if !text.starts_with('A') || text.len() > 1024 {
        return None;
    }
    let bytes = STANDARD.decode(text).ok()?;
    let (name, rounds, salt, output) = match bytes.split_first()? {
        (0, rest) if rest.len() == 48 => ("pbkdf2", 1000, &rest[..16], &rest[16..]),
        (1, rest) => {
            let (head, rest) = rest.split_at_checked(12)?;
            let number = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
            let name = match number(0)? {
                0 => "pbkdf2",
                1 => "pbkdf2-sha256",
                2 => "pbkdf2-sha512",
                _ => return None,
            };
            let (salt, output) = rest.split_at_checked(usize::try_from(number(8)?).ok()?)?;
            (name, number(4)?, salt, output)
        }
        _ => return None,
    };
    Some(format!(
        "${name}$i={rounds}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(output)
    ))
}

/// 32 digits of salt, of which the text counts, and 128 of the key. N is 16,384, r is 16, p is 1, the password in Unicode's form
/// NFKC.
fn better_auth(text: &str) -> Option<String> {
    let (salt, key) = text.split_once(':')?;
    if salt.len() != 32 || key.len() != 128 {
        return None;
    }
    hex(salt)?;
    Some(format!(
        "$scrypt-nfkc$ln=14,r=16,p=1${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hex(key)?)
    ))
}
