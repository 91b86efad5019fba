//! The access key, and the access tokens that it signs.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use josoor_auth_verify::{Algorithm, Claims, TokenVerifier, VerificationKey};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::crypto;
use crate::domain::{Secret, Timestamp};
use crate::error::{Error, Refusal, Result};

/// Issues and verifies access tokens.
pub struct AccessTokens {
    signer: jsonwebtoken::EncodingKey,
    header: jsonwebtoken::Header,
    verifier: TokenVerifier,
    public: Vec<serde_json::Value>,
}

impl AccessTokens {
    /// Signs with the key `kid`, whose material is `secret`.
    ///
    /// # Errors
    /// `Internal` when the material is not a key of the configured algorithm.
    pub(super) fn new(config: &Config, kid: String, secret: &[u8]) -> Result<Self> {
        let algorithm = config.auth.algorithm;
        let (signer, verification, public) = access_key(algorithm, &kid, secret)?;
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
        })
    }

    /// Signs an access token.
    ///
    /// # Errors
    /// `Internal`.
    pub fn issue(&self, claims: &Claims) -> Result<Secret> {
        jsonwebtoken::encode(&self.header, claims, &self.signer)
            .map(Secret::new)
            .map_err(Error::internal)
    }

    /// The claims of an access token of ours that has not expired. Its session is not looked up.
    ///
    /// # Errors
    /// `TokenInvalid` or `TokenExpired`.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refusal> {
        self.verifier.verify_shared(token, now.as_secs())
    }

    /// Like [`verify`](Self::verify), but accepts an expired token: for signing out.
    ///
    /// # Errors
    /// `TokenInvalid`.
    pub fn verify_at_any_age(&self, token: &str, now: Timestamp) -> Result<Claims, Refusal> {
        self.verifier.verify_at_any_age(token, now.as_secs())
    }

    /// The public keys, as a JWK set (RFC 7517). Empty under HMAC, which has no public key.
    pub fn public_keys(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.public })
    }
}

/// The key id of `JWT_SECRET`: tells secrets apart without disclosing them.
pub(super) fn kid_of_secret(secret: &[u8]) -> String {
    format!(
        "s-{}",
        URL_SAFE_NO_PAD.encode(&crypto::mac(secret, &[b"kid"])[..9])
    )
}

/// Key material for a new access key: random bytes for HMAC, a PKCS #8 document otherwise.
pub(super) fn generate_access_key(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |_| Error::Internal(anyhow::anyhow!("a signing key could not be generated"));
    Ok(Zeroizing::new(match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => crypto::random_bytes::<64>().to_vec(),
        Algorithm::EdDSA => Ed25519KeyPair::generate()
            .and_then(|pair| Ok(pair.to_pkcs8v1()?.as_ref().to_vec()))
            .map_err(failed)?,
        Algorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| Ok(pair.to_pkcs8v1()?.as_ref().to_vec()))
            .map_err(failed)?,
        Algorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa3072)
            .and_then(|pair| {
                Ok(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair)?
                    .as_ref()
                    .to_vec())
            })
            .map_err(failed)?,
    }))
}

type AccessKey = (jsonwebtoken::EncodingKey, VerificationKey, Vec<serde_json::Value>);

/// The signing and the verifying half of a key, and its JWK where it has a public part.
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
