//! The settings as `config show` prints them.

use super::problem::Source;
use super::raw::{Raw, shown};
use super::source::Layers;
use super::urls::{PublicUrl, without_userinfo};
use super::variables::is_secret;

/// One setting as `config show` prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `session.idle`
    pub key: String,
    /// A JSON value with the default's type; `null` when not set; the text `(set)` for a secret. The URLs of the
    /// database and of Redis are shown without user, password and parameters.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub source: Source,
}

impl std::fmt::Display for Entry {
    /// `session.idle = "7d"  # default`: the value as in a TOML file, except that `(set)` and `(not set)` are bare.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = match &self.value {
            serde_json::Value::Null => "(not set)".to_owned(),
            serde_json::Value::String(text) if text == SET => SET.to_owned(),
            value => value.to_string(),
        };
        write!(f, "{} = {value}  # {}", self.key, self.source)
    }
}

const SET: &str = "(set)";

/// What `config show` prints of the layers; `public_url` is the one in force, which the default follows the port with.
pub(super) fn entries(layers: &Layers, public_url: &PublicUrl) -> Vec<Entry> {
    use serde_json::Value;

    layers
        .iter()
        .map(|(key, given)| {
            let value = match &given.raw {
                _ if key == "server.public_url" => public_url.to_string().into(),
                _ if given.raw.is_unset() && !matches!(given.raw, Raw::List(_)) => Value::Null,
                Raw::Text(text) if matches!(key.as_str(), "database.url" | "redis.url") => {
                    without_userinfo(text.trim()).into()
                }
                _ if is_secret(key) => SET.into(),
                // The environment has texts only; the same setting has one JSON type, wherever it comes from.
                Raw::Text(text) => typed(key, text.trim()),
                Raw::Number(digits) | Raw::Fraction(digits) if is_ratio(key) => typed(key, digits),
                Raw::Fraction(digits) => shown(digits).into(),
                Raw::Number(digits) => digits
                    .parse::<u64>()
                    .map_or_else(|_| shown(digits).into(), Value::from),
                Raw::Boolean(truth) => (*truth).into(),
                Raw::List(items) => items.iter().map(|item| shown(item)).collect(),
                Raw::Other(kind) => (*kind).into(),
            };
            Entry {
                key: key.clone(),
                value,
                source: given.source.clone(),
            }
        })
        .collect()
}

/// Whether a setting is a number with a fraction.
fn is_ratio(key: &str) -> bool {
    matches!(key, "tracing.sample" | "tracing.sample_checks")
}

/// A text as the type that the setting has in `config.default.toml`.
fn typed(key: &str, text: &str) -> serde_json::Value {
    match key {
        "server.cors_origins"
        | "server.cors_headers"
        | "server.trusted_proxies"
        | "server.connection_exempt"
        | "registration.allowed_domains"
        | "registration.denied_domains"
        | "session.idle_by"
        | "session.absolute_by"
        | "mfa.required"
        | "mfa.no_trust"
        | "passkeys.origins" => text
            .split(|char: char| char == ',' || char.is_whitespace())
            .filter(|item| !item.is_empty())
            .map(shown)
            .collect(),
        "limits.enabled" | "auth.bearer_renewal" | "registration.require_verified" | "login.mail_code" => {
            (text == "true").into()
        }
        _ if is_ratio(key) => text
            .parse::<f64>()
            .map_or_else(|_| shown(text).into(), serde_json::Value::from),
        "server.port"
        | "server.max_connections"
        | "auth.missing_token_status"
        | "auth.jwt_expiration_minutes"
        | "session.max_per_user"
        | "mfa.totp_skew"
        | "login.failures_until_code"
        | "password.bcrypt_cost"
        | "password.min_length"
        | "password.argon2_memory_kib"
        | "password.argon2_iterations"
        | "password.argon2_parallelism"
        | "database.max_connections"
        | "backup.keep"
        | "hash.threads"
        | "hash.queue" => text
            .parse::<u64>()
            .map_or_else(|_| shown(text).into(), serde_json::Value::from),
        _ => shown(text).into(),
    }
}
