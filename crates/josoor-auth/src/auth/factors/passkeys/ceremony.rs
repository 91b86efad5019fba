//! The checks of WebAuthn level 3, 7.1 (a registration) and 7.2 (a use), but for what takes the database.

use ciborium::Value;
use uuid::Uuid;

use super::authenticator_data::AuthenticatorData;
use super::cbor;
use super::client_data::{Ceremony, ClientData};
use super::fault::Fault;
use super::public_key::PublicKey;
use crate::config::PasskeysConfig;
use crate::crypto;
use crate::domain::{PasskeyAssertion, PasskeyRegistration};

/// A passkey that was registered.
#[derive(Debug)]
pub struct Registered {
    /// The public key, as COSE.
    pub public_key: Vec<u8>,
    /// The model of the authenticator, as it says itself.
    pub aaguid: Uuid,
    /// The signature counter.
    pub counter: u32,
    /// Whether it can be backed up.
    pub is_backup_eligible: bool,
    /// Whether it is.
    pub is_backed_up: bool,
    /// Whether its user was verified.
    pub is_user_verified: bool,
}

/// A passkey that was used: its signature is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    /// The signature counter.
    pub(super) counter: u32,
    /// Whether it is backed up.
    pub(super) is_backed_up: bool,
    /// Whether its user was verified.
    pub(super) is_user_verified: bool,
}

/// What authenticators sign.
fn signed(authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
    [authenticator_data, &crypto::sha256(client_data)].concat()
}

/// Verifies a registration that answers `challenge`.
pub fn register(
    registration: &PasskeyRegistration,
    challenge: &[u8],
    config: &PasskeysConfig,
) -> Result<Registered, Fault> {
    let client_data = ClientData::read(&registration.client_data)?;
    client_data.check(Ceremony::Create, config)?;
    client_data.answers(challenge)?;
    let attestation = cbor::map(cbor::read(&registration.attestation_object)?)?;
    let member = |name: &str| cbor::get(&attestation, &Value::from(name)).ok_or(Fault::Malformed);
    let format = member("fmt")?.as_text().ok_or(Fault::Malformed)?;
    let bytes = member("authData")?.as_bytes().ok_or(Fault::Malformed)?;
    let data = AuthenticatorData::read(bytes)?;
    data.check(config)?;
    let attested = data.attested.as_ref().ok_or(Fault::Malformed)?;
    if attested.id != registration.id {
        return Err(Fault::Malformed);
    }
    let public_key = PublicKey::read(attested.public_key)?;
    let statement = cbor::map(member("attStmt")?.clone())?;
    let message = signed(bytes, &registration.client_data);
    check_attestation(format, &statement, &public_key, &message)?;
    Ok(Registered {
        public_key: attested.public_key.to_vec(),
        aaguid: attested.aaguid,
        counter: data.counter,
        is_backup_eligible: data.is_backup_eligible(),
        is_backed_up: data.is_backed_up(),
        is_user_verified: data.is_user_verified(),
    })
}

/// None was asked for. A browser may pass on one that an authenticator made with the passkey itself (5.1.3 and 8.2), which says no more.
fn check_attestation(
    format: &str,
    statement: &[(Value, Value)],
    public_key: &PublicKey,
    message: &[u8],
) -> Result<(), Fault> {
    let member = |name: &str| cbor::get(statement, &Value::from(name));
    match format {
        "none" if statement.is_empty() => Ok(()),
        "packed" if statement.len() == 2 => {
            let algorithm = member("alg").and_then(Value::as_integer);
            let signature = member("sig").and_then(Value::as_bytes);
            let (Some(algorithm), Some(signature)) = (algorithm, signature) else {
                return Err(Fault::WrongAttestation);
            };
            if i64::try_from(algorithm).ok() != Some(public_key.algorithm()) {
                return Err(Fault::WrongAttestation);
            }
            let verified = public_key.verify(message, signature);
            verified.map_err(|_| Fault::WrongAttestation)
        }
        _ => Err(Fault::WrongAttestation),
    }
}

/// Verifies a use of the passkey with this public key, except for its challenge.
pub(super) fn verify(
    assertion: &PasskeyAssertion,
    client_data: &ClientData,
    public_key: &[u8],
    was_backup_eligible: bool,
    config: &PasskeysConfig,
) -> Result<Used, Fault> {
    client_data.check(Ceremony::Get, config)?;
    let data = AuthenticatorData::read(&assertion.authenticator_data)?;
    data.check(config)?;
    let message = signed(&assertion.authenticator_data, &assertion.client_data);
    PublicKey::read(public_key)?.verify(&message, &assertion.signature)?;
    if data.is_backup_eligible() != was_backup_eligible {
        return Err(Fault::WrongBackup);
    }
    Ok(Used {
        counter: data.counter,
        is_backed_up: data.is_backed_up(),
        is_user_verified: data.is_user_verified(),
    })
}
