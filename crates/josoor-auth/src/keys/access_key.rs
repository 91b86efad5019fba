//! One access key: making it, its id, and its two halves.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use josoor_auth_verify::{Algorithm, VerificationKey};
use zeroize::Zeroizing;

use crate::crypto;
use crate::domain::Timestamp;
use crate::error::{Error, Result};

/// An access key, decrypted.
#[derive(Clone)]
pub(super) struct AccessKey {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    /// Random bytes for HMAC, a PKCS #8 document otherwise.
    pub(super) secret: Zeroizing<Vec<u8>>,
    /// When it begins to sign; `None`: never.
    pub(super) signs_from: Option<Timestamp>,
    /// When what it has signed is no longer accepted.
    pub(super) verifies_until: Option<Timestamp>,
}

/// The key id of `JWT_SECRET`: tells secrets apart without disclosing them.
pub(super) fn kid_of_secret(secret: &[u8]) -> String {
    format!(
        "s-{}",
        URL_SAFE_NO_PAD.encode(&crypto::mac(secret, &[b"kid"])[..9])
    )
}

/// The purpose of an algorithm's keys in the table `keys`.
pub fn purpose_of(algorithm: Algorithm) -> String {
    format!("{PURPOSE}{}", algorithm.as_str())
}

/// The algorithm of a purpose; `None` when it is none of an access key.
pub fn algorithm_of(purpose: &str) -> Option<Algorithm> {
    purpose.strip_prefix(PURPOSE)?.parse().ok()
}

const PURPOSE: &str = "access:";

/// A new access key: its id, and its material. Under a key pair the id is the thumbprint of the public key (RFC 7638), so that anyone
/// who has the key can tell its id.
pub(super) fn generate_access_key(algorithm: Algorithm) -> Result<(String, Zeroizing<Vec<u8>>)> {
    let failed = |_| Error::Internal(anyhow::anyhow!("a signing key could not be generated"));
    let secret = Zeroizing::new(match algorithm {
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
    });
    let kid = if algorithm.is_symmetric() {
        URL_SAFE_NO_PAD.encode(crypto::random_bytes::<9>())
    } else {
        thumbprint(&public_members(algorithm, "new", &secret)?)
    };
    Ok((kid, secret))
}

/// RFC 7638: SHA-256 of the required members in the order of their names, in base64url.
fn thumbprint(members: &[(&'static str, String)]) -> String {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort();
    let members: Vec<_> = sorted
        .iter()
        .map(|(name, value)| format!("\"{name}\":\"{value}\""))
        .collect();
    let text = format!("{{{}}}", members.join(","));
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// The required members of a public key's JWK (RFC 7518, 6; RFC 8037, 2).
fn public_members(algorithm: Algorithm, kid: &str, secret: &[u8]) -> Result<Vec<(&'static str, String)>> {
    let unreadable = |_| Error::Internal(anyhow::anyhow!("the stored signing key {kid} cannot be read"));
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Ok(match algorithm {
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8(secret).map_err(unreadable)?;
            vec![
                ("kty", "OKP".to_owned()),
                ("crv", "Ed25519".to_owned()),
                ("x", encode(pair.public_key().as_ref())),
            ]
        }
        Algorithm::ES256 => {
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret).map_err(unreadable)?;
            // An uncompressed point (SEC 1, 2.3.3): 0x04, x, y.
            let point = pair.public_key().as_ref();
            vec![
                ("kty", "EC".to_owned()),
                ("crv", "P-256".to_owned()),
                ("x", encode(&point[1..33])),
                ("y", encode(&point[33..65])),
            ]
        }
        Algorithm::RS256 => {
            let pair = RsaKeyPair::from_pkcs8(secret).map_err(unreadable)?;
            let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
            vec![
                ("kty", "RSA".to_owned()),
                ("n", encode(&public.n)),
                ("e", encode(&public.e)),
            ]
        }
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Vec::new(),
    })
}

impl AccessKey {
    /// The half that signs.
    pub(super) fn signer(&self) -> Result<jsonwebtoken::EncodingKey> {
        let body = Zeroizing::new(STANDARD.encode(&*self.secret));
        let pem = Zeroizing::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            *body
        ));
        match self.algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                Ok(jsonwebtoken::EncodingKey::from_secret(&self.secret))
            }
            Algorithm::EdDSA => {
                jsonwebtoken::EncodingKey::from_ed_pem(pem.as_bytes()).map_err(Error::internal)
            }
            Algorithm::ES256 => {
                jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes()).map_err(Error::internal)
            }
            Algorithm::RS256 => {
                jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(Error::internal)
            }
        }
    }

    /// The half that verifies, and its JWK (RFC 7517) where it may be published.
    pub(super) fn verification(&self) -> Result<(VerificationKey, Option<serde_json::Value>)> {
        if self.algorithm.is_symmetric() {
            let key = VerificationKey::hmac(Some(self.kid.clone()), self.algorithm, &self.secret);
            return Ok((key.map_err(Error::internal)?, None));
        }
        let mut jwk = serde_json::json!({ "kid": self.kid, "use": "sig", "alg": self.algorithm.as_str() });
        for (name, value) in public_members(self.algorithm, &self.kid, &self.secret)? {
            jwk[name] = value.into();
        }
        let key = VerificationKey::from_jwk(&jwk).map_err(Error::internal)?;
        Ok((key, Some(jwk)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_that_of_the_standards() {
        // RFC 7638, 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
                 tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI\
                 SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let rsa = [
            ("kty", "RSA".to_owned()),
            ("n", n.to_owned()),
            ("e", "AQAB".to_owned()),
        ];
        assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037, A.3.
        let ed25519 = [
            ("crv", "Ed25519".to_owned()),
            ("kty", "OKP".to_owned()),
            ("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned()),
        ];
        assert_eq!(
            thumbprint(&ed25519),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn the_id_of_a_new_key_pair_is_its_thumbprint() {
        for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
            let (kid, secret) = generate_access_key(algorithm).expect("a key");
            assert_eq!(kid.len(), 43, "256 bits");
            let key = AccessKey {
                kid: kid.clone(),
                algorithm,
                secret,
                signs_from: None,
                verifies_until: None,
            };
            let (_, jwk) = key.verification().expect("a public key");
            let jwk = jwk.expect("published");
            let members: Vec<_> = ["crv", "e", "kty", "n", "x", "y"]
                .into_iter()
                .filter_map(|name| Some((name, jwk.get(name)?.as_str()?.to_owned())))
                .collect();
            assert_eq!(thumbprint(&members), kid);
        }
        let (one, other) = (
            generate_access_key(Algorithm::HS256).expect("a key").0,
            generate_access_key(Algorithm::HS256).expect("a key").0,
        );
        assert_ne!(one, other);
    }

    #[test]
    fn purposes_name_their_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm_of(&purpose_of(algorithm)), Some(algorithm));
        }
        for other in ["server", "audit", "access:none", "access:"] {
            assert_eq!(algorithm_of(other), None);
        }
    }
}
