//! Keys and what is made with them: access tokens, refresh tokens, one-time tokens, device cookies.
//!
//! Three kinds of key, never mixed:
//! * the **access key** signs access tokens; with an HMAC algorithm it may be `JWT_SECRET`, which other services hold;
//! * the **server-only key** makes everything that only this service may make or read; nobody else ever holds it;
//! * the **master key** encrypts the other two in the database and is kept outside of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use josoor_auth_verify::{Algorithm, Claims, TokenVerifier, VerificationKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use crate::config::{Config, Database};
use crate::crypto;
use crate::domain::{Secret, SessionId, Timestamp, UserId};
use crate::error::{Error, Refusal, Result};
use crate::store::{Audit, AuditKey, Db, KeyRow, NewAudit, Purpose, SessionRow};

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The header of every refresh token, as it stands in the token.
const REFRESH_HEADER: &str = r#"{"alg":"HS256","typ":"rt+jwt"}"#;

/// The purpose of the server-only key in the table `keys`.
const SERVER_PURPOSE: &str = "server";

/// All keys of a running service.
pub struct Keys {
    signer: jsonwebtoken::EncodingKey,
    header: jsonwebtoken::Header,
    verifier: TokenVerifier,
    public: Vec<serde_json::Value>,
    server: Zeroizing<[u8; 32]>,
    /// Signs refresh tokens; made from `server`.
    refresh: aws_lc_rs::hmac::Key,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// What a refresh token says. Its signature is right; whether it is still worth anything the session's row decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshClaims {
    sub: String,
    sid: Uuid,
    /// The session's generation that it belongs to.
    #[serde(rename = "gen")]
    pub generation: i64,
    #[serde(rename = "type")]
    token_type: RefreshType,
    jti: String,
    iat: i64,
    /// Expires at, in seconds since 1970.
    pub exp: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RefreshType {
    Refresh,
}

/// What the cookie of a device says. Its signature is right; whether the account still knows the device its row decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMark {
    /// Who signed in.
    pub user: UserId,
    /// On which device.
    pub id: Uuid,
}

/// A device that an account knows now: its row says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Whose it is.
    pub user: UserId,
    /// Which one.
    pub id: Uuid,
}

impl RefreshClaims {
    /// Whose session it is.
    pub fn user(&self) -> Option<UserId> {
        self.sub.parse().ok().map(UserId)
    }

    /// The session.
    pub const fn session(&self) -> SessionId {
        SessionId(self.sid)
    }
}

impl Keys {
    /// Loads the keys, making those that are missing. Of several nodes that start together all end up with the same.
    ///
    /// Fails when a stored key cannot be decrypted: the master key is not the one it was encrypted with.
    pub async fn load(
        config: &Config,
        db: &Db,
        unlocked: Unlocked,
        format: SealedFormat,
        now: Timestamp,
    ) -> Result<Self> {
        let master = unlocked.master;
        let server = stored_key(db, &master, format, SERVER_PURPOSE, now, || {
            Ok(Zeroizing::new(crypto::random_bytes::<32>().to_vec()))
        })
        .await?;
        let server = <[u8; 32]>::try_from(server.1.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| Error::Internal(anyhow::anyhow!("the stored server-only key has a wrong length")))?;

        let algorithm = config.auth.algorithm;
        let (kid, secret) = if let (Some(secret), true) = (&config.auth.jwt_secret, algorithm.is_symmetric())
        {
            let secret = Zeroizing::new(secret.expose().as_bytes().to_vec());
            // Tells secrets apart without telling anything of them.
            let kid = format!(
                "s-{}",
                URL_SAFE_NO_PAD.encode(&crypto::mac(&secret, &[b"kid"])[..9])
            );
            (kid, secret)
        } else {
            let purpose = format!("access:{}", algorithm.as_str());
            stored_key(db, &master, format, &purpose, now, || {
                generate_access_key(algorithm)
            })
            .await?
        };
        let (signer, verification, public) = access_key(algorithm, &kid, &secret)?;
        let mut header = jsonwebtoken::Header::new(algorithm.into());
        header.typ = Some(josoor_auth_verify::ACCESS_TOKEN_TYP.to_owned());
        header.kid = Some(kid);
        let verifier = TokenVerifier::new(&config.auth.issuer, config.auth.audience.clone())
            .with_memory(config.cache.near_bytes / 4)
            .with_key(verification);
        Ok(Self {
            signer,
            header,
            verifier,
            public,
            refresh: refresh_key(&server),
            server,
        })
    }

    /// Signs an access token.
    pub fn sign_access(&self, claims: &Claims) -> Result<Secret> {
        jsonwebtoken::encode(&self.header, claims, &self.signer)
            .map(Secret::new)
            .map_err(Error::internal)
    }

    /// What an access token says, if it is one of ours and not expired. Whether its session lives is not known yet.
    pub fn verify_access(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refusal> {
        self.verifier.verify_shared(token, now.as_secs())
    }

    /// Like [`verify_access`](Self::verify_access), but an expired token is as good as any other: for signing out.
    pub fn verify_access_at_any_age(&self, token: &str, now: Timestamp) -> Result<Claims, Refusal> {
        self.verifier.verify_at_any_age(token, now.as_secs())
    }

    /// The public keys, as a JWK set (RFC 7517). Empty under HMAC, where there is nothing public.
    pub fn public_keys(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.public })
    }

    /// The refresh token of the session's current generation. The same row always gives the same token, so that a
    /// lost answer can be given again.
    pub fn mint_refresh(&self, session: &SessionRow) -> Secret {
        let claims = RefreshClaims {
            sub: session.user_id().to_string(),
            sid: session.id().0,
            generation: session.generation,
            token_type: RefreshType::Refresh,
            jti: self.refresh_id(session.id(), session.generation),
            iat: session.generation_issued_at.as_secs(),
            exp: session.generation_expires_at.as_secs(),
        };
        let mut payload = serde_json::to_string(&claims).unwrap_or_default();
        let mut token = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(REFRESH_HEADER),
            URL_SAFE_NO_PAD.encode(&payload)
        );
        payload.zeroize();
        let signature = self.refresh_signature(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Secret::new(token)
    }

    /// Reads a refresh token of ours. `exp` is not judged here.
    pub fn read_refresh(&self, token: &str) -> Result<RefreshClaims, Refusal> {
        let invalid = Refusal::TokenInvalid;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid)?;
        let expected = self.refresh_signature(signed.as_bytes());
        if !crypto::equal(&signature, &expected) || header != URL_SAFE_NO_PAD.encode(REFRESH_HEADER) {
            return Err(invalid);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| invalid)?;
        let claims: RefreshClaims = serde_json::from_slice(&payload).map_err(|_| invalid)?;
        let known = crypto::equal(
            claims.jti.as_bytes(),
            self.refresh_id(claims.session(), claims.generation).as_bytes(),
        );
        if known { Ok(claims) } else { Err(invalid) }
    }

    fn refresh_id(&self, session: SessionId, generation: i64) -> String {
        let mac = crypto::mac(
            &*self.server,
            &[b"refresh-jti", session.0.as_bytes(), &generation.to_be_bytes()],
        );
        URL_SAFE_NO_PAD.encode(&mac[..16])
    }

    fn refresh_signature(&self, signed: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(aws_lc_rs::hmac::sign(&self.refresh, signed).as_ref());
        out
    }

    /// The one-time token of a row of `one_time_tokens`: 128 random bits that name the row, and 256 that only this
    /// service can make.
    pub fn one_time_token(&self, purpose: Purpose, id: Uuid) -> Secret {
        let mac = crypto::mac(
            &*self.server,
            &[b"one-time", purpose.as_str().as_bytes(), id.as_bytes()],
        );
        let mut bytes = Zeroizing::new(Vec::with_capacity(48));
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&mac);
        Secret::new(URL_SAFE_NO_PAD.encode(&*bytes))
    }

    /// Which row a one-time token names, if it is one of ours for this purpose.
    pub fn read_one_time_token(&self, purpose: Purpose, token: &str) -> Option<Uuid> {
        if token.len() != 64 {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(token).ok()?);
        let id = Uuid::from_slice(bytes.get(..16)?).ok()?;
        let expected = self.one_time_token(purpose, id);
        crypto::equal(token.as_bytes(), expected.expose().as_bytes()).then_some(id)
    }

    /// What a device cookie says, if it is ours and made for this canonical address. Nothing is read for it, so that a
    /// sign-in without a mark costs the same for every address.
    pub fn read_device_cookie(&self, email_key: &str, value: &str) -> Option<DeviceMark> {
        if value.len() != 64 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (user, rest) = bytes.split_first_chunk()?;
        let device = DeviceMark {
            user: UserId(i64::from_be_bytes(*user)),
            id: Uuid::from_slice(rest.get(..16)?).ok()?,
        };
        let expected = self.device_cookie(&device, email_key);
        crypto::equal(value.as_bytes(), expected.as_bytes()).then_some(device)
    }

    /// The value of a device's cookie: the user, the device, and a code that binds both to the canonical address.
    pub fn device_cookie(&self, device: &DeviceMark, email_key: &str) -> String {
        let (user, id) = (device.user.0.to_be_bytes(), device.id.as_bytes());
        let mac = crypto::mac(&*self.server, &[b"device", &user, id, email_key.as_bytes()]);
        URL_SAFE_NO_PAD.encode([user.as_slice(), id, &mac[..24]].concat())
    }

    /// A code that only this service can make, for something that is named and holds no secret itself.
    pub fn tag(&self, name: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut all = vec![b"tag".as_slice(), name.as_bytes()];
        all.extend_from_slice(parts);
        crypto::mac(&*self.server, &all)
    }

    /// What names the buckets of the limits.
    pub fn limits_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(crypto::mac(&*self.server, &[b"limits"]))
    }
}

fn refresh_key(server: &[u8; 32]) -> aws_lc_rs::hmac::Key {
    let key = Zeroizing::new(crypto::mac(server, &[b"refresh-token"]));
    aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &*key)
}

/// Key material for a new access key: random bytes for HMAC, a PKCS #8 document otherwise.
fn generate_access_key(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |_| Error::Internal(anyhow::anyhow!("a signing key could not be generated"));
    Ok(Zeroizing::new(match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => crypto::random_bytes::<64>().to_vec(),
        Algorithm::EdDSA => Ed25519KeyPair::generate()
            .and_then(|pair| Ok(pair.to_pkcs8v1()?.as_ref().to_vec()))
            .map_err(failed)?,
        Algorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| Ok(pair.to_pkcs8v1()?.as_ref().to_vec()))
            .map_err(failed)?,
        Algorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| {
                Ok(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair)?
                    .as_ref()
                    .to_vec())
            })
            .map_err(failed)?,
    }))
}

type AccessKey = (jsonwebtoken::EncodingKey, VerificationKey, Vec<serde_json::Value>);

/// Makes the signing and the verifying half, and the JWK where there is something public.
fn access_key(algorithm: Algorithm, kid: &str, secret: &[u8]) -> Result<AccessKey> {
    let unreadable = |_| Error::Internal(anyhow::anyhow!("the stored signing key {kid} cannot be read"));
    if algorithm.is_symmetric() {
        let verification =
            VerificationKey::hmac(Some(kid.to_owned()), algorithm, secret).map_err(Error::internal)?;
        return Ok((
            jsonwebtoken::EncodingKey::from_secret(secret),
            verification,
            Vec::new(),
        ));
    }
    let pem = |label: &str| {
        let body = Zeroizing::new(STANDARD.encode(secret));
        Zeroizing::new(format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            *body
        ))
    };
    let mut jwk = serde_json::json!({ "kid": kid, "use": "sig", "alg": algorithm.as_str() });
    let mut set = |name: &str, value: String| jwk[name] = value.into();
    let signer = match algorithm {
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8(secret).map_err(unreadable)?;
            set("kty", "OKP".to_owned());
            set("crv", "Ed25519".to_owned());
            set("x", URL_SAFE_NO_PAD.encode(pair.public_key()));
            jsonwebtoken::EncodingKey::from_ed_pem(pem("PRIVATE KEY").as_bytes()).map_err(Error::internal)?
        }
        Algorithm::ES256 => {
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret).map_err(unreadable)?;
            // An uncompressed point (SEC 1, 2.3.3): 0x04, x, y.
            let point = pair.public_key().as_ref();
            set("kty", "EC".to_owned());
            set("crv", "P-256".to_owned());
            set("x", URL_SAFE_NO_PAD.encode(&point[1..33]));
            set("y", URL_SAFE_NO_PAD.encode(&point[33..65]));
            jsonwebtoken::EncodingKey::from_ec_pem(pem("PRIVATE KEY").as_bytes()).map_err(Error::internal)?
        }
        _ => {
            let pair = RsaKeyPair::from_pkcs8(secret).map_err(unreadable)?;
            let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
            set("kty", "RSA".to_owned());
            set("n", URL_SAFE_NO_PAD.encode(&public.n));
            set("e", URL_SAFE_NO_PAD.encode(&public.e));
            jsonwebtoken::EncodingKey::from_rsa_pem(pem("PRIVATE KEY").as_bytes()).map_err(Error::internal)?
        }
    };
    let verification = VerificationKey::from_jwk(&jwk).map_err(Error::internal)?;
    Ok((signer, verification, vec![jwk]))
}

/// The current key of a purpose, opened; made first when there is none.
async fn stored_key(
    db: &Db,
    master: &MasterKey,
    format: SealedFormat,
    purpose: &str,
    now: Timestamp,
    generate: impl FnOnce() -> Result<Zeroizing<Vec<u8>>>,
) -> Result<(String, Zeroizing<Vec<u8>>)> {
    let mut rows = db.read().await?.keys_for(purpose).await?;
    if !rows.iter().any(|row| row.is_current) {
        let kid = URL_SAFE_NO_PAD.encode(crypto::random_bytes::<9>());
        let sealed = master.seal(&format!("{purpose} {kid}"), &generate()?, format)?;
        let row = KeyRow {
            kid,
            purpose: purpose.to_owned(),
            sealed,
            created_at: now,
            is_current: true,
        };
        if db.write().await?.insert_first_key(&row).await? {
            let made = NewAudit {
                reason: Some(purpose),
                ..NewAudit::by_operator(Audit::KeyChange, now)
            };
            db.write().await?.insert_audit(&made).await?;
        }
        // Ours, or that of the node that was quicker. From the writer, which sees every commit.
        rows = db.write().await?.keys_for(purpose).await?;
    }
    let row = rows
        .into_iter()
        .find(|row| row.is_current)
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("the key {purpose} was not kept")))?;
    let (opened, _) = master.open(&format!("{purpose} {}", row.kid), &row.sealed)?;
    Ok((row.kid, opened))
}

/// How a value is encrypted at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedFormat {
    /// Nonce, ciphertext, tag: what nodes of the version before read, too.
    Unversioned,
    /// The same after a byte that names the format.
    Versioned,
}

/// The byte in front of [`SealedFormat::Versioned`].
const SEALED_VERSION: u8 = 1;

/// The master key, after it opened the keys that are stored.
pub struct Unlocked {
    master: MasterKey,
    /// Whether no key is stored yet.
    pub is_new: bool,
    /// Whether the server-only key is stored as [`SealedFormat::Versioned`].
    pub is_versioned: bool,
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unlocked")
            .field("is_new", &self.is_new)
            .field("is_versioned", &self.is_versioned)
            .finish_non_exhaustive()
    }
}

impl Unlocked {
    /// The key of the audit trail.
    pub fn audit_key(&self) -> AuditKey {
        AuditKey::new(self.master.audit.clone())
    }
}

/// Finds the master key, and makes it where it may be made: for a database without keys. Fails when it does not open the stored
/// server-only key, before anything is written with it.
pub async fn unlock(config: &Config, db: &Db) -> Result<Unlocked> {
    // From the writer, which sees every commit.
    let rows = db.write().await?.all_keys().await?;
    let master = master_key(config, rows.is_empty())?;
    let mut is_versioned = false;
    for row in rows.iter().filter(|row| row.purpose == SERVER_PURPOSE) {
        let (_, format) = master.open(&format!("{} {}", row.purpose, row.kid), &row.sealed)?;
        is_versioned |= row.is_current && format == SealedFormat::Versioned;
    }
    Ok(Unlocked {
        master,
        is_new: rows.is_empty(),
        is_versioned,
    })
}

/// Opens every stored key and tells which ones the configured master key does not open.
pub async fn unreadable_keys(config: &Config, db: &Db) -> Result<Vec<String>> {
    let master = master_key(config, false)?;
    let rows = db.read().await?.all_keys().await?;
    Ok(rows
        .into_iter()
        .filter(|row| {
            master
                .open(&format!("{} {}", row.purpose, row.kid), &row.sealed)
                .is_err()
        })
        .map(|row| row.kid)
        .collect())
}

/// A fresh master key, as `MASTER_KEY` takes it.
pub fn generate_master_key() -> Secret {
    Secret::new(STANDARD.encode(*Zeroizing::new(crypto::random_bytes::<32>())))
}

/// The key that the others are sealed with (AES-256-GCM).
struct MasterKey {
    key: LessSafeKey,
    /// The bytes of the [`AuditKey`].
    audit: Zeroizing<[u8; 32]>,
    /// Where it came from, for error messages.
    origin: String,
}

impl MasterKey {
    fn new(bytes: &[u8; 32], origin: impl Into<String>) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, bytes)
            .map_err(|_| Error::Internal(anyhow::anyhow!("the master key has a wrong length")))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            audit: Zeroizing::new(crypto::mac(bytes, &[b"audit-chain"])),
            origin: origin.into(),
        })
    }

    /// Encrypts a value. `name` is authenticated with it, so that values cannot be swapped.
    fn seal(&self, name: &str, plain: &[u8], format: SealedFormat) -> Result<Vec<u8>> {
        let nonce: [u8; 12] = crypto::random_bytes();
        let mut text = plain.to_vec();
        let (version, data): (&[u8], _) = match format {
            SealedFormat::Unversioned => (&[], name.as_bytes().to_vec()),
            SealedFormat::Versioned => (&[SEALED_VERSION], versioned_name(name)),
        };
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(data), &mut text)
            .map_err(|_| Error::Internal(anyhow::anyhow!("a key could not be encrypted")))?;
        Ok([version, nonce.as_slice(), &text].concat())
    }

    /// Decrypts a value of either format. One without a version may begin with any byte, so both are tried; the tag decides.
    fn open(&self, name: &str, sealed: &[u8]) -> Result<(Zeroizing<Vec<u8>>, SealedFormat)> {
        if let Some((&SEALED_VERSION, rest)) = sealed.split_first()
            && let Some(plain) = self.decrypt(versioned_name(name), rest)
        {
            return Ok((plain, SealedFormat::Versioned));
        }
        let plain = self.decrypt(name.as_bytes().to_vec(), sealed).ok_or_else(|| {
            Error::Internal(anyhow::anyhow!(
                "the stored key `{name}` cannot be decrypted with {}: it was sealed with another MASTER_KEY. \
                 Give the one that this database was made with",
                self.origin
            ))
        })?;
        Ok((plain, SealedFormat::Unversioned))
    }

    fn decrypt(&self, data: Vec<u8>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_at_checked(12)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(data), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }
}

/// What a versioned value is authenticated with.
fn versioned_name(name: &str) -> Vec<u8> {
    [&[SEALED_VERSION], name.as_bytes()].concat()
}

/// Finds the master key: given; or, beside a SQLite file, generated once (only with `may_create`); or derived from
/// `JWT_SECRET`.
fn master_key(config: &Config, may_create: bool) -> Result<MasterKey> {
    if let Some(key) = &config.keys.master_key {
        return MasterKey::new(key.expose(), "MASTER_KEY");
    }
    match (&config.database.url, &config.auth.jwt_secret) {
        (Database::Sqlite { path }, _) => {
            let file = master_key_file(path);
            let key = read_or_create_master_key(&file, may_create).map_err(|cause| {
                Error::Internal(cause.context(format!("the master key file {}", file.display())))
            })?;
            MasterKey::new(&key, file.display().to_string())
        }
        (Database::Postgres { .. }, Some(secret)) => {
            let key = Zeroizing::new(crypto::mac(secret.expose().as_bytes(), &[b"master-key"]));
            MasterKey::new(&key, "the key derived from JWT_SECRET")
        }
        (Database::Postgres { .. }, None) => Err(Error::Internal(anyhow::anyhow!(
            "MASTER_KEY is needed on PostgreSQL: `josoor-auth key generate` prints one"
        ))),
    }
}

/// Where the master key of a SQLite database is kept when `MASTER_KEY` is not given.
pub fn master_key_file(database: &Path) -> PathBuf {
    database.with_file_name("master.key")
}

fn read_or_create_master_key(file: &Path, may_create: bool) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt;

    if !file.exists() {
        anyhow::ensure!(
            may_create,
            "is missing; put back the one that this database was made with, or give it in MASTER_KEY"
        );
        // Written aside and linked into place, so that another process sees it whole or not at all.
        let draft = file.with_extension(format!("key.{}", std::process::id()));
        let mut handle = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(handle, "{}", generate_master_key().expose())?;
        handle.sync_all()?;
        let linked = std::fs::hard_link(&draft, file);
        std::fs::remove_file(&draft)?;
        match linked {
            Ok(()) => {
                tracing::info!(file = %file.display(), "generated a master key; keep a copy of it apart from the database");
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = Zeroizing::new(std::fs::read_to_string(file)?);
    let bytes = Zeroizing::new(
        STANDARD
            .decode(text.trim())
            .map_err(|_| anyhow::anyhow!("is not base64"))?,
    );
    let key =
        <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| anyhow::anyhow!("does not hold 32 bytes"))?;
    Ok(Zeroizing::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_either_format_is_decrypted_and_says_which_it_is() {
        let master = MasterKey::new(&[7; 32], "a test").expect("a key");
        for format in [SealedFormat::Unversioned, SealedFormat::Versioned] {
            // Every first byte of a value without a version comes up, also that of a version.
            for _ in 0..2000 {
                let sealed = master.seal("server k", b"plain", format).expect("encrypted");
                let (plain, found) = master.open("server k", &sealed).expect("decrypted");
                assert_eq!((plain.as_slice(), found), (&b"plain"[..], format));
            }
        }
    }

    #[test]
    fn a_value_is_bound_to_its_name_its_format_and_its_key() {
        let master = MasterKey::new(&[7; 32], "a test").expect("a key");
        let other = MasterKey::new(&[8; 32], "a test").expect("a key");
        let sealed = master
            .seal("server k", b"plain", SealedFormat::Versioned)
            .expect("encrypted");
        assert_eq!(sealed[0], SEALED_VERSION);
        assert!(master.open("server l", &sealed).is_err());
        assert!(other.open("server k", &sealed).is_err());
        // Without its version byte it is not one of the other format.
        assert!(master.open("server k", &sealed[1..]).is_err());
        assert!(master.open("server k", &[]).is_err());
        assert!(master.open("server k", &[SEALED_VERSION; 9]).is_err());
    }
}
