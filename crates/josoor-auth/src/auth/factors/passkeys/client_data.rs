//! What the browser says of a ceremony: `clientDataJSON` (WebAuthn level 3, 5.8.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::fault::Fault;
use crate::config::PasskeysConfig;
use crate::crypto;

/// Which ceremony it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ceremony {
    /// A registration.
    Create,
    /// A use.
    Get,
}

/// What the browser says. Members that are not here are ignored: browsers add some.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: Option<bool>,
    #[serde(default)]
    top_origin: Option<String>,
}

impl ClientData {
    /// Reads it.
    pub(super) fn read(json: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(json).map_err(|_| Fault::Malformed)
    }

    /// The challenge that it answers.
    pub(super) fn challenge(&self) -> Result<Vec<u8>, Fault> {
        URL_SAFE_NO_PAD
            .decode(&self.challenge)
            .map_err(|_| Fault::Malformed)
    }

    /// Whether it answers this challenge.
    pub(super) fn answers(&self, challenge: &[u8]) -> Result<(), Fault> {
        if crypto::equal(&self.challenge()?, challenge) {
            Ok(())
        } else {
            Err(Fault::WrongChallenge)
        }
    }

    /// Checks the rest: the ceremony, and that a page of one of our origins asked, itself and in no frame of another one. Origins are
    /// compared whole.
    pub(super) fn check(&self, ceremony: Ceremony, config: &PasskeysConfig) -> Result<(), Fault> {
        let kind = match ceremony {
            Ceremony::Create => "webauthn.create",
            Ceremony::Get => "webauthn.get",
        };
        if self.kind != kind {
            return Err(Fault::WrongType);
        }
        if !config.origins.contains(&self.origin) {
            return Err(Fault::WrongOrigin);
        }
        if self.cross_origin == Some(true) || self.top_origin.is_some() {
            return Err(Fault::CrossOrigin);
        }
        Ok(())
    }
}
