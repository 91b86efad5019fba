//! The access keys in force, and the access tokens that one of them signs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use josoor_auth_verify::{Algorithm, Claims, TokenVerifier};

use super::access_key::{AccessKey, algorithm_of, kid_of_secret};
use super::master::MasterKey;
use super::readings::KeyReadings;
use crate::config::Config;
use crate::domain::{Secret, Timestamp};
use crate::error::{Error, Refusal, Result};
use crate::store::KeyRow;

/// Issues and verifies access tokens.
///
/// Of the stored keys of the configured algorithm the one signs that began last; every one whose tokens may live verifies, whatever
/// its algorithm. A key is there before it signs, so that all nodes and services have it by then.
pub struct AccessTokens {
    ring: ArcSwap<Ring>,
    /// Those of the settings, which are there as long as the process.
    given: Vec<AccessKey>,
    /// Stored keys that were decrypted, by id: the master key may be replaced while the process runs.
    opened: Mutex<HashMap<String, AccessKey>>,
    algorithm: Algorithm,
    template: TokenVerifier,
    /// Readings of the stored keys, which follow a change of them.
    pub readings: KeyReadings,
}

/// The keys at one time.
struct Ring {
    signer: jsonwebtoken::EncodingKey,
    header: jsonwebtoken::Header,
    signs_from: Option<Timestamp>,
    verifier: TokenVerifier,
    public: Vec<serde_json::Value>,
    /// The ids of all keys that were read, also of those that verify nothing any more.
    known: HashSet<String>,
    /// When this is no longer the state of the keys.
    until: Option<Timestamp>,
}

/// The keys of the settings: `JWT_SECRET` where the algorithm is HMAC, and the secret before it, which only verifies.
fn given_keys(config: &Config) -> Vec<AccessKey> {
    let auth = &config.auth;
    let key = |secret: &Secret, algorithm: Algorithm, signs_from| {
        let secret = zeroize::Zeroizing::new(secret.expose().as_bytes().to_vec());
        AccessKey {
            kid: kid_of_secret(&secret),
            algorithm,
            secret,
            signs_from,
            verifies_until: None,
        }
    };
    let is_symmetric = auth.algorithm.is_symmetric();
    let current = auth.jwt_secret.as_ref().filter(|_| is_symmetric);
    let current = current.map(|secret| key(secret, auth.algorithm, Some(Timestamp::from_micros(0))));
    // Before a change to a key pair the algorithm was another one.
    let algorithm = if is_symmetric {
        auth.algorithm
    } else {
        Algorithm::HS256
    };
    let previous = auth.jwt_secret_previous.as_ref();
    let previous = previous.map(|secret| key(secret, algorithm, None));
    current.into_iter().chain(previous).collect()
}

impl AccessTokens {
    /// With the stored keys, which `master` decrypts.
    ///
    /// # Errors
    /// `Internal` when a key cannot be decrypted or is no key of its algorithm, or none of the configured algorithm is there.
    pub(super) fn new(config: &Config, master: &MasterKey, rows: &[KeyRow], now: Timestamp) -> Result<Self> {
        let template = TokenVerifier::new(&config.auth.issuer, config.auth.audience.clone())
            .with_memory(config.cache.near_bytes / 4);
        let (given, algorithm) = (given_keys(config), config.auth.algorithm);
        let opened = Mutex::default();
        let (keys, _) = all_keys(&given, &opened, Some(master), rows)?;
        let ring = Ring::new(&keys, algorithm, &template, now)?;
        Ok(Self {
            ring: ArcSwap::from_pointee(ring),
            given,
            opened,
            algorithm,
            template,
            readings: KeyReadings::default(),
        })
    }

    /// Whether a key of the settings signs, and not one of the database.
    pub fn signs_with_setting(config: &Config) -> bool {
        config.auth.algorithm.is_symmetric() && config.auth.jwt_secret.is_some()
    }

    /// Takes the stored keys as they are now. Without the master key those that were decrypted before; whether these are all.
    ///
    /// # Errors
    /// As of [`new`](Self::new); then the keys stay as they were.
    pub(super) fn reload(&self, master: Option<&MasterKey>, rows: &[KeyRow], now: Timestamp) -> Result<bool> {
        let (keys, are_all) = all_keys(&self.given, &self.opened, master, rows)?;
        self.ring
            .store(Arc::new(Ring::new(&keys, self.algorithm, &self.template, now)?));
        Ok(are_all)
    }

    /// Whether a key begins to sign or is no longer accepted at `now`, since the keys were read.
    pub fn are_outdated(&self, now: Timestamp) -> bool {
        self.ring.load().until.is_some_and(|until| until <= now)
    }

    /// The id of the key that signs.
    pub fn signing_kid(&self) -> String {
        self.ring.load().header.kid.clone().unwrap_or_default()
    }

    /// When the key that signs began to; `None` for one of the settings.
    pub fn signing_since(&self) -> Option<Timestamp> {
        self.ring.load().signs_from.filter(|from| from.as_micros() > 0)
    }

    /// Signs an access token.
    ///
    /// # Errors
    /// `Internal`.
    pub fn issue(&self, claims: &Claims) -> Result<Secret> {
        let ring = self.ring.load();
        jsonwebtoken::encode(&ring.header, claims, &ring.signer)
            .map(Secret::new)
            .map_err(Error::internal)
    }

    /// The claims of an access token of ours that has not expired. Its session is not looked up. A token of a key that this node has
    /// not read yet waits for the next reading, up to a second.
    ///
    /// # Errors
    /// `TokenInvalid` or `TokenExpired`.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refusal> {
        self.with_keys_of(token, || self.verify_as_read(token, now)).await
    }

    /// Like [`verify`](Self::verify), by the keys that were read.
    ///
    /// # Errors
    /// As of [`verify`](Self::verify).
    pub fn verify_as_read(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refusal> {
        self.ring.load().verifier.verify_shared(token, now.as_secs())
    }

    /// Like [`verify`](Self::verify), but accepts an expired token: for signing out.
    ///
    /// # Errors
    /// `TokenInvalid`.
    pub async fn verify_at_any_age(&self, token: &str, now: Timestamp) -> Result<Claims, Refusal> {
        self.with_keys_of(token, || {
            self.ring.load().verifier.verify_at_any_age(token, now.as_secs())
        })
        .await
    }

    async fn with_keys_of<T>(
        &self,
        token: &str,
        verify: impl Fn() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let verified = verify();
        if matches!(verified, Err(Refusal::TokenInvalid)) && self.lacks_key_of(token) {
            self.readings.next().await;
            return verify();
        }
        verified
    }

    /// Whether a text looks like an access token of a key that was not read.
    fn lacks_key_of(&self, token: &str) -> bool {
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return false;
        };
        let Some(kid) = header.kid else {
            return false;
        };
        !self.ring.load().known.contains(&kid)
    }

    /// The public keys, as a JWK set (RFC 7517). Empty under HMAC, which has no public key.
    pub fn public_keys(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.ring.load().public })
    }
}

/// The keys of the settings and of the database.
fn all_keys(
    given: &[AccessKey],
    opened: &Mutex<HashMap<String, AccessKey>>,
    master: Option<&MasterKey>,
    rows: &[KeyRow],
) -> Result<(Vec<AccessKey>, bool)> {
    let (mut keys, mut are_all) = (given.to_vec(), true);
    let signs_with_setting = given.iter().any(|key| key.signs_from.is_some());
    // A panic while it is held leaves whole entries.
    let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
    opened.retain(|kid, _| rows.iter().any(|row| row.kid == *kid));
    for row in rows {
        let Some(algorithm) = algorithm_of(&row.purpose) else {
            continue;
        };
        let mut key = match (opened.get(&row.kid), master) {
            (Some(key), _) => key.clone(),
            (None, None) => {
                are_all = false;
                continue;
            }
            (None, Some(master)) => {
                let (secret, _) = master.open(&format!("{} {}", row.purpose, row.kid), &row.sealed)?;
                let key = AccessKey {
                    kid: row.kid.clone(),
                    algorithm,
                    secret,
                    signs_from: None,
                    verifies_until: None,
                };
                opened.insert(row.kid.clone(), key.clone());
                key
            }
        };
        key.signs_from = Some(row.begins_at()).filter(|_| !signs_with_setting);
        key.verifies_until = row.verifies_until;
        keys.push(key);
    }
    Ok((keys, are_all))
}

impl Ring {
    fn new(
        keys: &[AccessKey],
        algorithm: Algorithm,
        template: &TokenVerifier,
        now: Timestamp,
    ) -> Result<Self> {
        let live: Vec<_> = keys
            .iter()
            .filter(|key| key.verifies_until.is_none_or(|until| now < until))
            .collect();
        let own = live
            .iter()
            .filter(|key| key.algorithm == algorithm && key.signs_from.is_some());
        // Where none has begun to sign, the one that is first to.
        let signing = own
            .clone()
            .filter(|key| key.signs_from <= Some(now))
            .max_by_key(|key| key.signs_from)
            .or_else(|| own.min_by_key(|key| key.signs_from))
            .ok_or_else(|| Error::Internal(anyhow::anyhow!("there is no key for {}", algorithm.as_str())))?;
        let mut header = jsonwebtoken::Header::new(algorithm.into());
        header.typ = Some(josoor_auth_verify::ACCESS_TOKEN_TYP.to_owned());
        header.kid = Some(signing.kid.clone());
        let (mut verification, mut public) = (Vec::new(), Vec::new());
        for key in &live {
            let (verifies, jwk) = key.verification()?;
            verification.push(verifies);
            public.extend(jwk);
        }
        let changes = live
            .iter()
            .flat_map(|key| [key.signs_from, key.verifies_until])
            .flatten()
            .filter(|at| now < *at);
        Ok(Self {
            signer: signing.signer()?,
            header,
            signs_from: signing.signs_from,
            verifier: template.clone().with_only_keys(verification),
            public,
            known: keys.iter().map(|key| key.kid.clone()).collect(),
            until: changes.min(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::access_key::generate_access_key;
    use super::*;

    fn key(algorithm: Algorithm, from: i64, until: Option<i64>) -> AccessKey {
        let (kid, secret) = generate_access_key(algorithm).expect("a key");
        AccessKey {
            kid,
            algorithm,
            secret,
            signs_from: Some(Timestamp::from_secs(from)),
            verifies_until: until.map(Timestamp::from_secs),
        }
    }

    fn at(keys: &[AccessKey], algorithm: Algorithm, now: i64) -> (usize, Vec<usize>, Option<i64>) {
        let template = TokenVerifier::new("https://auth.example.com/", None);
        let ring = Ring::new(keys, algorithm, &template, Timestamp::from_secs(now)).expect("keys");
        let place = |kid: &str| keys.iter().position(|key| key.kid == kid).expect("one of them");
        (
            place(ring.header.kid.as_deref().expect("a kid")),
            ring.verifier
                .keys()
                .iter()
                .filter_map(|key| Some(place(key.kid()?)))
                .collect(),
            ring.until.map(Timestamp::as_secs),
        )
    }

    #[test]
    fn a_key_verifies_before_it_signs_and_until_its_last_token_is_over() {
        let keys = [
            key(Algorithm::EdDSA, 100, Some(1200)),
            key(Algorithm::EdDSA, 1000, None),
            key(Algorithm::ES256, 500, None),
        ];
        assert_eq!(at(&keys, Algorithm::EdDSA, 200), (0, vec![0, 1, 2], Some(500)));
        assert_eq!(at(&keys, Algorithm::EdDSA, 999), (0, vec![0, 1, 2], Some(1000)));
        assert_eq!(at(&keys, Algorithm::EdDSA, 1000), (1, vec![0, 1, 2], Some(1200)));
        assert_eq!(at(&keys, Algorithm::EdDSA, 1200), (1, vec![1, 2], None));
        // The other algorithm's key signs only where it is the configured one, and there at once.
        assert_eq!(at(&keys, Algorithm::ES256, 50), (2, vec![0, 1, 2], Some(100)));
        let template = TokenVerifier::new("https://auth.example.com/", None);
        assert!(Ring::new(&keys, Algorithm::RS256, &template, Timestamp::from_secs(50)).is_err());
    }
}
