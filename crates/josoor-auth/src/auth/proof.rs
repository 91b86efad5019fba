//! The proof that one factor of a user was verified.

use crate::domain::{Timestamp, UserId};

/// How a user was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// With the account's password.
    Password,
}

impl Method {
    /// The value in `amr` (RFC 8176, 2).
    pub const fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
        }
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
