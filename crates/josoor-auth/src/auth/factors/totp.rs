//! Authenticator apps: time-based one-time passwords (RFC 6238) with SHA-1, six digits and steps of 30 seconds, which is what all
//! apps take.

use totp_rs::{Builder, Totp};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Factors;
use crate::act::Act;
use crate::app::App;
use crate::auth::proof::{Method, Proof};
use crate::crypto;
use crate::domain::{Secret, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::User;

/// Bytes of a secret: the length of SHA-1's output (RFC 4226, 4).
const SECRET_BYTES: usize = 20;

/// The length of a time step, in seconds.
const STEP_SECONDS: i64 = 30;

/// Bytes of a secret of another service, at least.
const SECRET_BYTES_AT_LEAST: usize = 16;

/// The secret of an authenticator app.
pub struct TotpSecret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// What an app is set up with.
#[derive(Debug)]
pub struct Setup {
    /// The secret in base 32 (RFC 4648), to type in.
    pub secret: Secret,
    /// The `otpauth://totp/…` address that the QR code has.
    pub uri: Secret,
}

impl TotpSecret {
    /// A new one.
    pub fn generate() -> Self {
        Self(Zeroizing::new(crypto::random_bytes::<SECRET_BYTES>().to_vec()))
    }

    /// From its bytes.
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// From another service, if it has the 128 bits that RFC 4226 (4) asks for at least.
    pub fn accept(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        (bytes.len() >= SECRET_BYTES_AT_LEAST).then_some(Self(bytes))
    }

    /// The same in base 32 (RFC 4648).
    pub fn from_base32(text: &str) -> Option<Self> {
        let secret = totp_rs::Secret::try_from_base32(text).ok()?;
        Self::accept(Zeroizing::new(secret.as_bytes().to_vec()))
    }

    /// In base 32 (RFC 4648), without padding.
    pub fn to_base32(&self) -> Secret {
        Secret::new(totp_rs::Secret::from(self.0.to_vec()).to_base32())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What an app is set up with, under the name of this service and this account.
    ///
    /// # Errors
    /// `Internal`.
    pub fn setup(&self, service: &str, account: &str) -> Result<Setup> {
        let totp = self.totp(0, service, account)?;
        Ok(Setup {
            secret: Secret::new(totp.secret().to_base32()),
            uri: Secret::new(totp.to_url().map_err(|error| unusable(&error))?),
        })
    }

    /// The time step of a code, within `skew` steps of `now`; `None` for a code of none of them.
    ///
    /// # Errors
    /// `Internal`.
    pub fn step_of(&self, code: &str, now: Timestamp, skew: u16) -> Result<Option<i64>> {
        let seconds = u64::try_from(now.as_secs()).map_err(Error::internal)?;
        let step = self.totp(skew, "service", "account")?.check(code, seconds);
        step.map(|step| i64::try_from(step).map_err(Error::internal))
            .transpose()
    }

    fn totp(&self, skew: u16, service: &str, account: &str) -> Result<Totp> {
        // A colon separates the two in the address (Key URI format).
        let name = |text: &str| text.replace(':', " ");
        Builder::new()
            .with_secret(self.0.to_vec())
            .with_skew(skew)
            .with_issuer(Some(name(service)))
            .with_account_name(name(account))
            .build()
            .map_err(|error| unusable(&error))
    }
}

fn unusable(error: &totp_rs::TotpError) -> Error {
    Error::Internal(anyhow::anyhow!("a TOTP secret cannot be used: {error}"))
}

/// What the sealed secret of a credential is bound to.
fn name<'a>(user: &'a [u8; 8], id: &'a Uuid) -> [&'a [u8]; 3] {
    [b"totp", user, id.as_bytes()]
}

/// Seals the secret of a credential.
///
/// # Errors
/// `Internal`.
pub fn seal(app: &App, user: UserId, id: &Uuid, secret: &TotpSecret) -> Result<Vec<u8>> {
    let user = user.0.to_be_bytes();
    app.keys.factor_secrets.seal(&name(&user, id), secret.as_bytes())
}

/// The secret of a credential that was sealed.
///
/// # Errors
/// `Internal`.
pub(super) fn open(app: &App, user: UserId, id: &Uuid, sealed: &[u8]) -> Result<TotpSecret> {
    let user = user.0.to_be_bytes();
    let secret = app.keys.factor_secrets.open(&name(&user, id), sealed)?;
    Ok(TotpSecret::new(secret))
}

/// The time step at a time (RFC 6238, 4.2).
pub(super) const fn step_at(now: Timestamp) -> i64 {
    now.as_secs() / STEP_SECONDS
}

/// The proof of a code with which an app was confirmed.
pub fn proof(user: &User, now: Timestamp) -> Proof {
    Proof::new(user.id, Method::Totp, now)
}

/// Verifies a code of the user's app and accepts its time step, once. False for any other code.
///
/// # Errors
/// `StoreUnavailable`; `Internal`.
pub(super) async fn verify(act: &mut Act, factors: &Factors, user: UserId, code: &str) -> Result<bool> {
    let Some((row, sealed)) = factors.totp().and_then(|row| Some((row, row.sealed.as_ref()?))) else {
        return Ok(false);
    };
    let secret = open(&act.app, user, &row.id, sealed)?;
    let skew = act.app.config.mfa.totp_skew;
    let Some(step) = secret.step_of(code, act.now, skew)? else {
        return Ok(false);
    };
    act.tx.accept_totp_step(row.id, step, act.now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the rows of SHA-1: the time in seconds, and the last six of the eight digits.
    const VECTORS: [(i64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];

    fn secret() -> TotpSecret {
        TotpSecret::new(Zeroizing::new(b"12345678901234567890".to_vec()))
    }

    fn step_of(code: &str, seconds: i64, skew: u16) -> Option<i64> {
        let now = Timestamp::from_micros(seconds * 1_000_000);
        secret().step_of(code, now, skew).expect("a secret of 20 bytes")
    }

    #[test]
    fn the_codes_of_rfc_6238_are_accepted() {
        for (seconds, code) in VECTORS {
            assert_eq!(step_of(code, seconds, 0), Some(seconds / 30), "{seconds}");
            assert_eq!(step_of(code, seconds, 1), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_is_accepted_within_the_skew_and_no_further() {
        let (seconds, code) = VECTORS[3];
        let begin = seconds / 30 * 30;
        for (skew, steps) in [(0, 0), (1, 1), (2, 2)] {
            let width = 30 * steps;
            assert_eq!(step_of(code, begin - width, skew), Some(begin / 30));
            assert_eq!(step_of(code, begin + 29 + width, skew), Some(begin / 30));
            assert_eq!(step_of(code, begin - width - 1, skew), None);
            assert_eq!(step_of(code, begin + 30 + width, skew), None);
        }
        for wrong in ["005925", "5924", "0005924", "", "ab5924"] {
            assert_eq!(step_of(wrong, seconds, 1), None, "{wrong}");
        }
    }

    #[test]
    fn an_app_is_set_up_under_the_names_of_service_and_account() {
        let setup = secret()
            .setup("auth.example.com", "sara@example.com")
            .expect("a setup");
        assert_eq!(setup.secret.expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = setup.uri.expose();
        assert!(
            uri.starts_with("otpauth://totp/auth.example.com:sara%40example.com?"),
            "{uri}"
        );
        assert!(uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), "{uri}");
        assert!(uri.contains("issuer=auth.example.com"), "{uri}");
        // A colon in a quoted local part is no separator.
        assert!(secret().setup("[::1]", "\"a:b\"@example.com").is_ok());
    }
}
