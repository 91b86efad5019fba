//! Passkeys as browsers write them: the JSON forms of `PublicKeyCredential` (WebAuthn level 3, 5.1, `toJSON`). Members that are not
//! listed here are ignored, because browsers add some.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::domain::{PasskeyAssertion, PasskeyName, PasskeyRegistration};
use crate::error::Invalid;
use crate::http::request::definition::{Field, FieldDescription, FieldText, Presence, TextSchema};
use crate::http::request::field_types::name_schema;
use crate::http::request::fields::Fields;
use crate::passwords::Policy;

/// How many ways of reaching an authenticator are kept, and how long their names may be.
const TRANSPORTS_AT_MOST: usize = 8;
const TRANSPORT_AT_MOST: usize = 20;

/// What `navigator.credentials.create()` gave, as its `toJSON()` writes it. Binary values are in base64url without padding.
#[derive(Deserialize, ToSchema)]
#[schema(as = PasskeyRegistration)]
struct RegistrationJson {
    /// The credential's id.
    #[schema(pattern = "^([A-Za-z0-9_-]{4})+$")]
    id: String,
    #[serde(rename = "rawId", default)]
    #[schema(ignore)]
    raw_id: Option<String>,
    /// Always `public-key`.
    #[serde(rename = "type")]
    #[schema(pattern = "^public-key$")]
    kind: String,
    #[schema(inline)]
    response: AttestationJson,
}

/// What the authenticator answered.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AttestationJson {
    /// What the browser says of the ceremony.
    #[serde(rename = "clientDataJSON")]
    #[schema(pattern = "^([A-Za-z0-9_-]{4})+$")]
    client_data: String,
    /// The new key, in CBOR.
    #[schema(pattern = "^([A-Za-z0-9_-]{4})+$")]
    attestation_object: String,
    /// How the authenticator is reached.
    #[serde(default)]
    #[schema(required = false)]
    transports: Vec<String>,
}

/// What `navigator.credentials.get()` gave, as its `toJSON()` writes it. Binary values are in base64url without padding.
#[derive(Deserialize, ToSchema)]
#[schema(as = PasskeyAssertion)]
struct AssertionJson {
    /// The credential's id.
    #[schema(pattern = "^([A-Za-z0-9_-]{4})+$")]
    id: String,
    #[serde(rename = "rawId", default)]
    #[schema(ignore)]
    raw_id: Option<String>,
    /// Always `public-key`.
    #[serde(rename = "type")]
    #[schema(pattern = "^public-key$")]
    kind: String,
    #[schema(inline)]
    response: AssertionResponseJson,
}

/// What the authenticator answered.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AssertionResponseJson {
    /// What the browser says of the ceremony.
    #[serde(rename = "clientDataJSON")]
    #[schema(pattern = "^([A-Za-z0-9_-]{4})+$")]
    client_data: String,
    /// What the authenticator says.
    #[schema(pattern = "^([A-Za-z0-9_-]{4})+$")]
    authenticator_data: String,
    /// Over both.
    #[schema(pattern = "^([A-Za-z0-9_-]{4})+$")]
    signature: String,
    /// Whose passkey it is.
    #[serde(default)]
    #[schema(required = false, pattern = "^([A-Za-z0-9_-]{4})+$")]
    user_handle: Option<String>,
}

fn read<T: DeserializeOwned>(json: serde_json::Value) -> Result<T, Invalid> {
    serde_json::from_value(json).map_err(|_| malformed())
}

fn malformed() -> Invalid {
    Invalid::new(
        "invalid_passkey",
        "This is no passkey. Send what `navigator.credentials` gave, as its `toJSON()` writes it.",
    )
}

fn bytes(text: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())
}

/// The id, where it is the same in both of its forms.
fn id_of(id: &str, raw_id: Option<&str>, kind: &str) -> Result<Vec<u8>, Invalid> {
    if kind != "public-key" || raw_id.is_some_and(|raw_id| raw_id != id) {
        return Err(malformed());
    }
    bytes(id)
}

fn registration(json: serde_json::Value) -> Result<PasskeyRegistration, Invalid> {
    let json: RegistrationJson = read(json)?;
    let is_name = |name: &String| {
        name.len() <= TRANSPORT_AT_MOST && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let transports = json.response.transports.into_iter().filter(is_name);
    Ok(PasskeyRegistration {
        id: id_of(&json.id, json.raw_id.as_deref(), &json.kind)?,
        client_data: bytes(&json.response.client_data)?,
        attestation_object: bytes(&json.response.attestation_object)?,
        transports: transports.take(TRANSPORTS_AT_MOST).collect(),
    })
}

fn assertion(json: serde_json::Value) -> Result<PasskeyAssertion, Invalid> {
    let json: AssertionJson = read(json)?;
    let handle = json.response.user_handle.as_deref();
    Ok(PasskeyAssertion {
        id: id_of(&json.id, json.raw_id.as_deref(), &json.kind)?,
        client_data: bytes(&json.response.client_data)?,
        authenticator_data: bytes(&json.response.authenticator_data)?,
        signature: bytes(&json.response.signature)?,
        user_handle: handle
            .filter(|handle| !handle.is_empty())
            .map(bytes)
            .transpose()?,
    })
}

impl Field for PasskeyRegistration {
    fn read(fields: &mut Fields, name: &'static str, _: &Policy) -> Option<Self> {
        fields.required_json(name, registration)
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        let schema = TextSchema::named::<RegistrationJson>();
        fields.push(FieldDescription::required(name, about, schema));
    }
}

impl Field for PasskeyAssertion {
    fn read(fields: &mut Fields, name: &'static str, _: &Policy) -> Option<Self> {
        fields.required_json(name, assertion)
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        let schema = TextSchema::named::<AssertionJson>();
        fields.push(FieldDescription::required(name, about, schema));
    }
}

impl Field for Option<PasskeyAssertion> {
    fn read(fields: &mut Fields, name: &'static str, _: &Policy) -> Option<Self> {
        Some(fields.optional_json(name, assertion))
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        let schema = TextSchema::named::<AssertionJson>();
        fields.push(FieldDescription::new(name, about, schema, Presence::Nullable));
    }
}

/// The name of a passkey, which shows something.
pub struct NewPasskeyName(pub PasskeyName);

impl FieldText for NewPasskeyName {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        let name = PasskeyName::parse(text)?;
        let name = name.ok_or_else(|| Invalid::new("required", "This field is required."))?;
        Ok(Self(name))
    }

    fn schema() -> TextSchema {
        let object = name_schema(PasskeyName::MAX_CHARACTERS)
            .min_length(Some(1))
            .examples(["My phone"]);
        TextSchema::Inline(object.build())
    }
}
