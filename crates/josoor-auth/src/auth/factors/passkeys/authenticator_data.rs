//! What the authenticator says of itself and of its user (WebAuthn level 3, 6.1).

use uuid::Uuid;

use super::cbor;
use super::fault::Fault;
use crate::config::PasskeysConfig;
use crate::crypto;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// The lengths of a credential id that the standard allows, in bytes (4 and 7.1).
pub const ID_LENGTHS: std::ops::RangeInclusive<usize> = 16..=1023;

/// What the authenticator says.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'b> {
    /// The signature counter; 0 where it has none.
    pub(super) counter: u32,
    /// A registration: the new passkey.
    pub(super) attested: Option<Attested<'b>>,
    rp_id_hash: &'b [u8],
    flags: u8,
}

/// A new passkey.
#[derive(Debug)]
pub(super) struct Attested<'b> {
    /// The model of the authenticator, as it says itself.
    pub(super) aaguid: Uuid,
    /// The credential's id.
    pub(super) id: &'b [u8],
    /// The public key, as COSE.
    pub(super) public_key: &'b [u8],
}

/// Takes `length` bytes off the beginning.
fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], Fault> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Fault::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

impl<'b> AuthenticatorData<'b> {
    /// Reads it; nothing may stand behind it.
    pub(super) fn read(mut bytes: &'b [u8]) -> Result<Self, Fault> {
        let rp_id_hash = take(&mut bytes, 32)?;
        let flags = take(&mut bytes, 1)?[0];
        let counter = u32::from_be_bytes(take(&mut bytes, 4)?.try_into().map_err(|_| Fault::Malformed)?);
        let attested = if flags & ATTESTED == 0 {
            None
        } else {
            Some(Attested::read(&mut bytes)?)
        };
        if flags & EXTENSIONS != 0 {
            cbor::map(cbor::read_first(&mut bytes)?)?;
        }
        if !bytes.is_empty() {
            return Err(Fault::Malformed);
        }
        Ok(Self {
            counter,
            attested,
            rp_id_hash,
            flags,
        })
    }

    /// Checks that it is for this service, that its user was present, and that the flags go together.
    pub(super) fn check(&self, config: &PasskeysConfig) -> Result<(), Fault> {
        if !crypto::equal(self.rp_id_hash, &crypto::sha256(config.rp_id.as_bytes())) {
            return Err(Fault::WrongRpId);
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(Fault::NotPresent);
        }
        if self.is_backed_up() && !self.is_backup_eligible() {
            return Err(Fault::WrongBackup);
        }
        Ok(())
    }

    /// Whether the authenticator verified its user, such as by a fingerprint or a PIN.
    pub(super) const fn is_user_verified(&self) -> bool {
        self.flags & USER_VERIFIED != 0
    }

    /// Whether the passkey can be copied to other devices of its user.
    pub(super) const fn is_backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    /// Whether it is.
    pub(super) const fn is_backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}

impl<'b> Attested<'b> {
    fn read(bytes: &mut &'b [u8]) -> Result<Self, Fault> {
        let aaguid = Uuid::from_slice(take(bytes, 16)?).map_err(|_| Fault::Malformed)?;
        let length = u16::from_be_bytes(take(bytes, 2)?.try_into().map_err(|_| Fault::Malformed)?);
        let length = usize::from(length);
        if !ID_LENGTHS.contains(&length) {
            return Err(Fault::Malformed);
        }
        let id = take(bytes, length)?;
        // The key is as long as its CBOR is.
        let mut behind = *bytes;
        cbor::read_first(&mut behind)?;
        let public_key = take(bytes, bytes.len() - behind.len())?;
        Ok(Self {
            aaguid,
            id,
            public_key,
        })
    }
}
