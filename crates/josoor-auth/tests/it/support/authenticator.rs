//! An authenticator and the browser in front of it: passkeys of WebAuthn level 3, made and used apart from the service, and everything
//! that a client may do wrong with them.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;
use serde_json::{Value, json};

/// The flags of a present user, of a verified one, of a passkey that can be backed up, and of one that is.
pub(crate) const PRESENT: u8 = 1;
pub(crate) const VERIFIED: u8 = 4;
pub(crate) const SYNCED: u8 = 8 | 16;

/// What the client says, where it is not what it should.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lie {
    pub(crate) origin: Option<String>,
    pub(crate) rp_id: Option<String>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) challenge: Option<String>,
    pub(crate) user_handle: Option<Value>,
    /// Behind what the authenticator says.
    pub(crate) trailing: Vec<u8>,
    pub(crate) is_framed: bool,
    pub(crate) bad_signature: bool,
}

/// A passkey.
pub(crate) struct Passkey {
    key: EcdsaKeyPair,
    pub(crate) id: Vec<u8>,
    pub(crate) origin: String,
    rp_id: String,
    user_handle: String,
    /// The signature counter of the next use.
    pub(crate) counter: u32,
    pub(crate) flags: u8,
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn text(options: &Value, pointer: &str) -> String {
    let found = options.pointer(pointer).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("no {pointer} in {options}"))
        .to_owned()
}

fn cbor(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("CBOR");
    bytes
}

fn client_data(kind: &str, challenge: &str, origin: &str, lie: &Lie) -> Vec<u8> {
    let mut data = json!({
        "type": lie.kind.unwrap_or(kind),
        "challenge": lie.challenge.as_deref().unwrap_or(challenge),
        "origin": lie.origin.as_deref().unwrap_or(origin),
        "crossOrigin": lie.is_framed,
        "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
    });
    if lie.is_framed {
        data["topOrigin"] = json!("https://frame.example");
    }
    data.to_string().into_bytes()
}

impl Passkey {
    /// Makes a passkey, and what the page posts.
    pub(crate) fn create(options: &Value, origin: &str, flags: u8, lie: &Lie) -> (Self, Value) {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let mut id = vec![0; 32];
        aws_lc_rs::rand::fill(&mut id).expect("random bytes");
        let this = Self {
            key,
            id,
            origin: origin.to_owned(),
            rp_id: text(options, "/rp/id"),
            user_handle: text(options, "/user/id"),
            counter: 0,
            flags,
        };
        let credential = this.registration(&text(options, "/challenge"), lie);
        (this, credential)
    }

    /// What the page posts to add it, once more.
    pub(crate) fn again(&self, options: &Value) -> Value {
        self.registration(&text(options, "/challenge"), &Lie::default())
    }

    fn registration(&self, challenge: &str, lie: &Lie) -> Value {
        let point = self.key.public_key().as_ref();
        let cose = Cbor::Map(vec![
            (1.into(), 2.into()),
            (3.into(), (-7).into()),
            ((-1).into(), 1.into()),
            ((-2).into(), Cbor::Bytes(point[1..33].to_vec())),
            ((-3).into(), Cbor::Bytes(point[33..].to_vec())),
        ]);
        let mut data = self.authenticator_data(self.flags | 64, lie);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).expect("a short id").to_be_bytes());
        data.extend(&self.id);
        data.extend(cbor(&cose));
        data.extend(&lie.trailing);
        let attestation = Cbor::Map(vec![
            ("fmt".into(), "none".into()),
            ("attStmt".into(), Cbor::Map(Vec::new())),
            ("authData".into(), Cbor::Bytes(data)),
        ]);
        json!({
            "id": encoded(&self.id),
            "rawId": encoded(&self.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": { "credProps": { "rk": true } },
            "response": {
                "clientDataJSON": encoded(&client_data("webauthn.create", challenge, &self.origin, lie)),
                "attestationObject": encoded(&cbor(&attestation)),
                "transports": ["internal", "hybrid"],
                "publicKeyAlgorithm": -7,
            },
        })
    }

    fn authenticator_data(&self, flags: u8, lie: &Lie) -> Vec<u8> {
        let rp_id = lie.rp_id.as_deref().unwrap_or(&self.rp_id);
        let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// What the page posts to use the passkey.
    pub(crate) fn get(&self, options: &Value) -> Value {
        self.get_with(options, &Lie::default())
    }

    pub(crate) fn get_with(&self, options: &Value, lie: &Lie) -> Value {
        let client_data = client_data("webauthn.get", &text(options, "/challenge"), &self.origin, lie);
        let mut data = self.authenticator_data(self.flags, lie);
        data.extend(&lie.trailing);
        let message = [data.as_slice(), digest(&SHA256, &client_data).as_ref()].concat();
        let signed = self
            .key
            .sign(&SystemRandom::new(), &message)
            .expect("a signature");
        let mut signature = signed.as_ref().to_vec();
        if lie.bad_signature {
            let last = signature.len() - 1;
            signature[last] ^= 1;
        }
        let handle = lie.user_handle.clone().unwrap_or_else(|| json!(self.user_handle));
        json!({
            "id": encoded(&self.id),
            "rawId": encoded(&self.id),
            "type": "public-key",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoded(&client_data),
                "authenticatorData": encoded(&data),
                "signature": encoded(&signature),
                "userHandle": handle,
            },
        })
    }
}
