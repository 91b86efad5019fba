//! `[auth]` and `[keys]`: tokens, and what protects the keys in the database.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use josoor_auth_verify::Algorithm;
use zeroize::Zeroizing;

use super::raw::{Parsed, Raw, refused};
use super::reader::Reader;
use super::urls::PublicUrl;
use super::values::{self, DAY, SECOND, TEN_YEARS, any_text, optional, text};
use crate::domain::Secret;

/// `[auth]`: the tokens.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The claim `iss`; the public URL unless set.
    pub issuer: String,
    /// The claim `aud`, if there is to be one.
    pub audience: Option<String>,
    /// The answer to a request without a token.
    pub missing_token_status: MissingTokenStatus,
    /// How access tokens are signed.
    pub algorithm: Algorithm,
    /// How long an access token is valid, in whole minutes.
    pub access_lifetime: Duration,
    /// Whether an access token alone may be renewed.
    pub bearer_renewal: bool,
    /// For how long after the sign-in.
    pub bearer_renewal_max: Duration,
    /// How long a verification of the user counts before a dangerous act.
    pub step_up_age: Duration,
    /// The secret of the HMAC algorithms. Without one, one is generated and kept. Given under another algorithm it
    /// signs nothing.
    pub jwt_secret: Option<Secret>,
    /// The secret before, with which tokens are verified and none is signed.
    pub jwt_secret_previous: Option<Secret>,
}

/// The answer to a request without a token where one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingTokenStatus {
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
}

impl MissingTokenStatus {
    /// The number.
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
        }
    }
}

/// `[keys]`: what protects the keys in the database.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// With SQLite and `None`: a file beside the database. With PostgreSQL and `None`: `auth.jwt_secret` is there, and
    /// the key is derived from it.
    pub master_key: Option<MasterKey>,
    /// How old the key that signs access tokens becomes before it is replaced; `None`: until an operator does.
    pub rotate_every: Option<Duration>,
    /// How long a new key is published before it signs.
    pub publish_for: Duration,
}

/// 32 random bytes that encrypt the keys which the database holds. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// From base64 (RFC 4648), standard or URL-safe, with padding or without; `None` unless it is 32 bytes and not one
    /// byte repeated.
    pub fn from_base64(text: &str) -> Option<Self> {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let alphabet = if text.contains(['-', '_']) {
            &alphabet::URL_SAFE
        } else {
            &alphabet::STANDARD
        };
        let decoded = Zeroizing::new(GeneralPurpose::new(alphabet, config).decode(text).ok()?);
        let bytes: [u8; 32] = decoded.as_slice().try_into().ok()?;
        let key = Self::new(bytes);
        let first = key.0[0];
        if key.0.iter().all(|byte| *byte == first) {
            None
        } else {
            Some(key)
        }
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl Reader<'_> {
    pub(super) fn auth(&mut self, public_url: Option<&PublicUrl>) -> Option<AuthConfig> {
        let issuer = self.read("auth.issuer", |raw| optional(raw, claim));
        let audience = self.read("auth.audience", |raw| optional(raw, claim));
        let missing_token_status = self.read("auth.missing_token_status", |raw| {
            values::choice(
                raw,
                &[
                    ("403", MissingTokenStatus::Forbidden),
                    ("401", MissingTokenStatus::Unauthorized),
                ],
            )
        });
        let algorithm = self.read("auth.jwt_algorithm", |raw| {
            values::choice(
                raw,
                &Algorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm)),
            )
        });
        let minutes = self.read("auth.jwt_expiration_minutes", |raw| {
            values::whole::<u64>(raw, 1..=525_600)
        });
        let bearer_renewal = self.read("auth.bearer_renewal", values::truth);
        let bearer_renewal_max = self.duration("auth.bearer_renewal_max", SECOND, TEN_YEARS);
        let jwt_secret_previous = self.read("auth.jwt_secret_previous", |raw| optional(raw, jwt_secret));
        let step_up_age = self.duration("auth.step_up_age", SECOND, DAY);
        let jwt_secret = self.read("auth.jwt_secret", |raw| optional(raw, jwt_secret));
        if let (Some(Some(current)), Some(Some(previous))) = (&jwt_secret, &jwt_secret_previous)
            && current.expose() == previous.expose()
        {
            self.problem(
                "auth.jwt_secret_previous",
                "this is the secret that signs, not the one before",
                "leave it out, or give the secret that JWT_SECRET was before",
            );
        }
        Some(AuthConfig {
            issuer: match issuer? {
                Some(issuer) => issuer,
                None => public_url?.to_string(),
            },
            audience: audience?,
            missing_token_status: missing_token_status?,
            algorithm: algorithm?,
            access_lifetime: Duration::from_mins(minutes?),
            bearer_renewal: bearer_renewal?,
            bearer_renewal_max: bearer_renewal_max?,
            step_up_age: step_up_age?,
            jwt_secret: jwt_secret?,
            jwt_secret_previous: jwt_secret_previous?,
        })
    }

    pub(super) fn keys(&mut self) -> Option<KeysConfig> {
        let master_key = self.read("keys.master_key", |raw| optional(raw, master_key));
        let rotate_every = self.read("keys.rotate_every", |raw| {
            values::duration_or_never(raw, Duration::from_mins(1)..=TEN_YEARS)
        });
        let publish_for = self.duration("keys.publish_for", SECOND, DAY * 7);
        if let (Some(Some(every)), Some(lead)) = (rotate_every, publish_for)
            && every <= lead
        {
            self.problem(
                "keys.rotate_every",
                "a key would be replaced before it has signed",
                "write more than keys.publish_for",
            );
        }
        Some(KeysConfig {
            master_key: master_key?,
            rotate_every: rotate_every?,
            publish_for: publish_for?,
        })
    }

    /// Several nodes over one PostgreSQL must agree on the key, so none of them can make one up. What was given but is
    /// bad, or could not be read, has its own problem already.
    pub(super) fn check_master_key(&mut self, is_postgres: bool) {
        let key = "keys.master_key";
        if !is_postgres || self.is_given(key) || self.has_problem(key) {
            return;
        }
        if self.is_given("auth.jwt_secret") {
            self.warn(
                key,
                "derived from JWT_SECRET, which other services may hold; set it to what `josoor-auth key generate` prints",
            );
        } else if !self.has_problem("auth.jwt_secret") {
            self.problem(
                key,
                "PostgreSQL needs a master key, which encrypts the keys that are kept in the database",
                "set MASTER_KEY to what `josoor-auth key generate` prints, the same for every node",
            );
        }
    }

    pub(super) fn check_jwt_secret(&mut self, auth: &AuthConfig, is_postgres: bool) {
        let key = "auth.jwt_secret";
        let Some(secret) = &auth.jwt_secret else {
            return;
        };
        if auth.algorithm.is_symmetric() {
            if secret.expose().len() < secret_bytes(auth.algorithm) {
                let text = format!(
                    "{} wants at least {} bytes (RFC 7518, 3.2)",
                    auth.algorithm,
                    secret_bytes(auth.algorithm)
                );
                self.warn(key, &text);
            }
        } else if !is_postgres || self.is_given("keys.master_key") {
            let text = format!("{} does not use it; leave it unset", auth.algorithm);
            self.warn(key, &text);
        } else {
            let text = format!(
                "{} does not sign with it; the master key is derived from it",
                auth.algorithm
            );
            self.warn(key, &text);
        }
    }
}

/// The least length in bytes of the secret that RFC 7518, 3.2, asks for; 0 for key pairs.
const fn secret_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        Algorithm::EdDSA | Algorithm::ES256 | Algorithm::RS256 => 0,
    }
}

fn master_key(raw: &Raw) -> Parsed<MasterKey> {
    MasterKey::from_base64(text(raw)?).map_or_else(
        || {
            refused(
                "this is not 32 random bytes in base64",
                "`josoor-auth key generate` prints a good one",
            )
        },
        Ok,
    )
}

/// A shared secret worth its name: long enough (RFC 7518, 3.2, asks for the hash's length) and no placeholder.
fn jwt_secret(raw: &Raw) -> Parsed<Secret> {
    const REMEDY: &str = "set JWT_SECRET to the output of `openssl rand -base64 48`, or leave it unset: one is \
                          generated and kept";
    let given = any_text(raw)?;
    if let Some(reason) = placeholder(given) {
        return refused(reason, REMEDY);
    }
    if given.len() < 32 {
        return refused("this secret is shorter than 32 bytes", REMEDY);
    }
    Ok(Secret::new(given))
}

/// Why a text is no secret, whatever its length.
fn placeholder(given: &str) -> Option<&'static str> {
    const WORDS: [&str; 22] = [
        "change-this",
        "change_this",
        "changethis",
        "change-me",
        "change_me",
        "changeme",
        "your-secret",
        "your_secret",
        "yoursecret",
        "your-256-bit",
        "replace-me",
        "replace_me",
        "replaceme",
        "replace-this",
        "replace_this",
        "example-secret",
        "example_secret",
        "placeholder",
        "super-secret",
        "supersecret",
        "abcdefghijklmnop",
        "0123456789",
    ];
    let lower = Zeroizing::new(given.to_ascii_lowercase());
    if WORDS.iter().any(|word| lower.contains(word)) {
        return Some("this is a placeholder that every attacker can guess");
    }
    let bytes = given.as_bytes();
    let repeats = |period: usize| bytes.iter().zip(bytes.iter().skip(period)).all(|(a, b)| a == b);
    // The longest piece that is checked keeps this short for texts of any length.
    if (1..=(bytes.len() / 2).min(256)).any(repeats) {
        return Some("this repeats one piece of text");
    }
    None
}

/// A claim's text (`iss`, `aud`): RFC 7519 lets it be any string.
fn claim(raw: &Raw) -> Parsed<String> {
    let given = text(raw)?;
    if given.len() > 255 || given.chars().any(char::is_control) {
        return refused(
            "this is longer than 255 bytes or has control characters",
            "write a short name or URL",
        );
    }
    Ok(given.to_owned())
}
