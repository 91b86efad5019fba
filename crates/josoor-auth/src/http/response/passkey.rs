//! What browsers are asked for that are to use a passkey.

use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::factors::passkeys::{Descriptor, RequestOptions, encoded};

/// A passkey, as browsers are given it (`PublicKeyCredentialDescriptorJSON`).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PasskeyDescriptor {
    /// Always `public-key`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The credential's id in base64url.
    id: String,
    /// How the authenticator is reached.
    transports: Vec<String>,
}

impl From<&Descriptor> for PasskeyDescriptor {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            kind: "public-key",
            id: encoded(&descriptor.id),
            transports: descriptor.transports.clone(),
        }
    }
}

/// What `PublicKeyCredential.parseRequestOptionsFromJSON()` takes (WebAuthn level 3, 5.1.10).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyRequestOptions {
    /// In base64url. Answered once.
    challenge: String,
    /// For how long, in milliseconds.
    #[schema(minimum = 0)]
    timeout: u64,
    /// The host or domain that the passkeys are for.
    rp_id: String,
    /// Which passkeys may answer; none: any.
    allow_credentials: Vec<PasskeyDescriptor>,
    /// `required` or `preferred`.
    user_verification: &'static str,
}

impl From<&RequestOptions> for PasskeyRequestOptions {
    fn from(options: &RequestOptions) -> Self {
        Self {
            challenge: encoded(&options.challenge),
            timeout: options.timeout.as_secs() * 1000,
            rp_id: options.rp_id.clone(),
            allow_credentials: options.allowed.iter().map(PasskeyDescriptor::from).collect(),
            user_verification: if options.must_verify_user {
                "required"
            } else {
                "preferred"
            },
        }
    }
}
