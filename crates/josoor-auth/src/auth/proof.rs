//! The proof that one factor of a user was verified.

use crate::domain::{Timestamp, UserId};

/// How a user was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// With the account's password.
    Password,
    /// With a code of an authenticator app.
    Totp,
    /// With a recovery code.
    RecoveryCode,
    /// With a passkey that stays on its device.
    HardwareKey,
    /// With a passkey that can be copied to other devices of its user.
    SoftwareKey,
    /// By the device of the passkey, such as by a fingerprint or a PIN.
    UserVerification,
    /// With a code or link that was sent to the account's address.
    MailCode,
}

/// What a method shows (NIST SP 800-63B-4, 2.2.1 and 3.2.10): something possessed; or something known or a biometric, which an
/// authenticator is activated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Factor {
    Activation,
    Possession,
}

impl Method {
    const ALL: [Self; 7] = [
        Self::Password,
        Self::Totp,
        Self::RecoveryCode,
        Self::HardwareKey,
        Self::SoftwareKey,
        Self::UserVerification,
        Self::MailCode,
    ];

    /// The value in `amr` (RFC 8176, 2).
    pub const fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::Totp => "otp",
            Self::RecoveryCode => "recovery",
            Self::HardwareKey => "hwk",
            Self::SoftwareKey => "swk",
            Self::UserVerification => "user",
            // `otp` (RFC 8176) is the authenticator app's, which is a factor.
            Self::MailCode => "mail",
        }
    }

    /// The method with this value in `amr`.
    pub(super) fn of_amr(amr: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.amr() == amr)
    }

    /// The factor; `None` for mail, which is none (NIST SP 800-63B-4, 3.1.3.1; ASVS 6.3.6).
    const fn factor(self) -> Option<Factor> {
        match self {
            Self::Password | Self::UserVerification => Some(Factor::Activation),
            Self::Totp | Self::RecoveryCode | Self::HardwareKey | Self::SoftwareKey => {
                Some(Factor::Possession)
            }
            Self::MailCode => None,
        }
    }

    /// Whether it shows that something is possessed, which a second factor does.
    pub(super) fn shows_possession(self) -> bool {
        self.factor() == Some(Factor::Possession)
    }

    /// Whether there are two different factors among some methods.
    pub(super) fn are_two_factors(methods: &[Self]) -> bool {
        let has = |factor| methods.iter().any(|method| method.factor() == Some(factor));
        has(Factor::Activation) && has(Factor::Possession)
    }
}

/// One verified factor. Only the modules of `auth` that verify a factor issue one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    user: UserId,
    method: Method,
    at: Timestamp,
}

impl Proof {
    pub(super) const fn new(user: UserId, method: Method, at: Timestamp) -> Self {
        Self { user, method, at }
    }

    /// The user who was verified.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The factor.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The time of the verification.
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}
