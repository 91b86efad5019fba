//! A sign-in under way: proofs are added until the policy is satisfied.

use super::proof::{Method, Proof};
use crate::app::App;
use crate::domain::{Timestamp, UserId};
use crate::error::{Acr, Error, Result};
use crate::store::User;

/// The proofs of one user so far.
#[derive(Clone, Debug)]
pub struct Flow {
    kind: Kind,
    proofs: Vec<Proof>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    SignIn,
    Registration,
}

/// What comes next in a flow.
#[derive(Debug)]
pub enum Step {
    /// The policy is satisfied.
    Finished(Authenticated),
    /// One of these factors is needed besides.
    FactorNeeded(Vec<Method>),
}

/// A user whose flow is finished. Only [`Flow::finish`] issues one.
#[derive(Clone, Debug)]
pub struct Authenticated {
    user: UserId,
    amr: String,
    acr: Acr,
    auth_time: Timestamp,
}

impl Flow {
    /// Begins a sign-in.
    pub const fn sign_in() -> Self {
        Self::begin(Kind::SignIn)
    }

    /// Begins the sign-in of an account that is created in the same transaction. Whether its address must be verified first,
    /// the registration decides.
    pub const fn registration() -> Self {
        Self::begin(Kind::Registration)
    }

    const fn begin(kind: Kind) -> Self {
        Self {
            kind,
            proofs: Vec::new(),
        }
    }

    /// Adds a proof.
    #[must_use]
    pub fn with(mut self, proof: Proof) -> Self {
        self.proofs.push(proof);
        self
    }

    /// Asks the policy whether the proofs are enough for `user`, the account as of now.
    ///
    /// # Errors
    /// `InvalidCredentials` for proofs of another user; `AccountInactive`; `EmailNotVerified`.
    pub fn finish(&self, app: &App, user: &User) -> Result<Step> {
        if self.proofs.iter().any(|proof| proof.user() != user.id) {
            return Err(Error::InvalidCredentials);
        }
        if !user.is_active {
            return Err(Error::AccountInactive);
        }
        let must_be_verified = self.kind == Kind::SignIn && app.config.registration.require_verified;
        if must_be_verified && user.email_verified_at.is_none() {
            return Err(Error::EmailNotVerified);
        }
        let Some(latest) = self.proofs.iter().map(Proof::at).max() else {
            return Ok(Step::FactorNeeded(vec![Method::Password]));
        };
        let methods: Vec<&str> = self.proofs.iter().map(|proof| proof.method().amr()).collect();
        Ok(Step::Finished(Authenticated {
            user: user.id,
            amr: methods.join(" "),
            // Two different factors would be `Acr::Two`; there is one so far.
            acr: Acr::One,
            auth_time: latest,
        }))
    }
}

impl Authenticated {
    /// The user.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The methods (RFC 8176), separated by blanks.
    pub fn amr(&self) -> &str {
        &self.amr
    }

    /// The level of the verification.
    pub const fn acr(&self) -> Acr {
        self.acr
    }

    /// The time of the last proof.
    pub const fn auth_time(&self) -> Timestamp {
        self.auth_time
    }
}
