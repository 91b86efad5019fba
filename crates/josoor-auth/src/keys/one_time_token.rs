//! The single-use tokens in the links of mails.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::server_key::ServerKey;
use crate::crypto;
use crate::domain::{MailCode, Purpose, Secret};

/// How many codes there are.
const CODES: u128 = 100_000_000;

/// Issues and reads single-use tokens. A token is 64 characters: the id of its row in `one_time_tokens`, and a code of 256 bits.
pub struct OneTimeTokens(pub(super) ServerKey);

impl OneTimeTokens {
    /// The token of a row. The same row always gives the same token.
    pub fn issue(&self, purpose: Purpose, id: Uuid) -> Secret {
        let mac = self
            .0
            .mac(&[b"one-time", purpose.as_str().as_bytes(), id.as_bytes()]);
        let mut bytes = Zeroizing::new(Vec::with_capacity(48));
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&mac);
        Secret::new(URL_SAFE_NO_PAD.encode(&*bytes))
    }

    /// The code that is typed where the token's link is not opened: eight digits. The same row always gives the same code.
    pub fn code(&self, purpose: Purpose, id: Uuid) -> Secret {
        let mac = Zeroizing::new(
            self.0
                .mac(&[b"one-time-code", purpose.as_str().as_bytes(), id.as_bytes()]),
        );
        // Of 128 bits: no digit is likelier than another by more than one in 10^30.
        let number = mac
            .iter()
            .take(16)
            .fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        Secret::new(format!("{:0width$}", number % CODES, width = MailCode::DIGITS))
    }

    /// The row's id, if the token is one of ours for this purpose.
    pub fn read(&self, purpose: Purpose, token: &str) -> Option<Uuid> {
        if token.len() != 64 {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(token).ok()?);
        let id = Uuid::from_slice(bytes.get(..16)?).ok()?;
        let expected = self.issue(purpose, id);
        crypto::equal(token.as_bytes(), expected.expose().as_bytes()).then_some(id)
    }
}
