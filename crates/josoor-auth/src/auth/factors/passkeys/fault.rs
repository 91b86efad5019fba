//! Why a passkey is rejected.

use crate::error::{Error, Invalid};

/// The check that a registration or a use of a passkey fails (WebAuthn level 3, 7.1 and 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str, prefix = "passkey_")]
pub enum Fault {
    /// What the client sent cannot be read, or has more than it should.
    Malformed,
    /// It is of another ceremony: a registration in place of a use, or the other way round.
    WrongType,
    /// It answers another challenge.
    WrongChallenge,
    /// It answers a challenge that is too old, was answered before, or is none of ours.
    StaleChallenge,
    /// A page of an origin that is not in the settings asked for it.
    WrongOrigin,
    /// A frame inside of a page of another origin asked for it.
    CrossOrigin,
    /// It is of another host or domain.
    WrongRpId,
    /// The user was not present.
    NotPresent,
    /// It is backed up although it cannot be, or that has changed.
    WrongBackup,
    /// A signature algorithm that was not asked for.
    WrongAlgorithm,
    /// An attestation that was not asked for, or is wrong.
    WrongAttestation,
    /// It is registered already.
    Registered,
    /// There is no such passkey, or it is another user's.
    Unknown,
    /// The user handle is another user's.
    WrongUser,
    /// The signature is wrong.
    WrongSignature,
    /// The signature counter is not above the last one: there may be a copy of the passkey.
    CounterBack,
}

impl Fault {
    /// As the audit trail has it.
    pub const fn reason(self) -> &'static str {
        self.into_str()
    }

    /// The failure of a sign-in or a step-up.
    pub const fn of_use(self) -> Error {
        match self {
            Self::Unknown => Error::PasskeyUnknown,
            Self::StaleChallenge => Error::FlowExpired,
            _ => Error::PasskeyInvalid,
        }
    }

    /// The failure of a registration, whose caller is signed in and may know the reason.
    pub fn of_registration(self) -> Error {
        let (code, message) = match self {
            Self::WrongType => (
                "wrong_type",
                "This is no new passkey. Send what `navigator.credentials.create()` gave.",
            ),
            Self::WrongChallenge | Self::StaleChallenge => return Error::FlowExpired,
            Self::WrongOrigin => (
                "wrong_origin",
                "A page of another origin asked for this passkey. List its origin in the setting passkeys.origins.",
            ),
            Self::CrossOrigin => (
                "cross_origin",
                "A passkey is not added in a frame of another site. Open the page itself.",
            ),
            Self::WrongRpId => (
                "wrong_rp_id",
                "This passkey is for another domain. Use the options as they were given.",
            ),
            Self::NotPresent => (
                "not_present",
                "The authenticator did not ask its user. Try again.",
            ),
            Self::WrongAlgorithm => (
                "wrong_algorithm",
                "This passkey signs with an algorithm that was not asked for. Use the options as they were given.",
            ),
            Self::WrongAttestation => (
                "wrong_attestation",
                "This passkey has an attestation, which was not asked for. Use the options as they were given.",
            ),
            Self::Registered => (
                "already_registered",
                "This passkey is registered already. Add another one.",
            ),
            Self::Malformed
            | Self::WrongBackup
            | Self::Unknown
            | Self::WrongUser
            | Self::WrongSignature
            | Self::CounterBack => (
                "invalid_passkey",
                "This passkey is not acceptable. Try again, or use another one.",
            ),
        };
        Error::invalid("credential", Invalid::new(code, message))
    }
}
