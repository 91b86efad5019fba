//! A verification under way: proofs are added until the policy is satisfied.

use super::proof::{Method, Proof};
use crate::app::App;
use crate::domain::{Timestamp, UserId};
use crate::error::{Acr, Error, Result};
use crate::store::{SessionRow, User};

/// The value of `amr` for several different factors (RFC 8176, 2).
const SEVERAL: &str = "mfa";

/// The proofs of one user so far.
#[derive(Clone, Debug)]
pub struct Flow {
    kind: Kind,
    proofs: Vec<Proof>,
    is_trusted: bool,
    wants_mail_code: bool,
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
    /// A second factor is needed besides.
    FactorNeeded,
    /// A code by mail is needed besides.
    MailCodeNeeded,
}

/// A user whose flow is finished. Only [`Flow::finish`] issues one.
#[derive(Clone, Debug)]
pub struct Authenticated {
    user: UserId,
    verification: Verification,
}

/// How a user was verified, as a session records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
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
            is_trusted: false,
            wants_mail_code: false,
        }
    }

    /// Adds a proof.
    #[must_use]
    pub fn with(mut self, proof: Proof) -> Self {
        self.proofs.push(proof);
        self
    }

    /// On a device that spares its user the second factor, or not.
    #[must_use]
    pub const fn on_trusted_device(mut self, is_trusted: bool) -> Self {
        self.is_trusted = is_trusted;
        self
    }

    /// After so many failed sign-ins that a code by mail is needed besides the password, or not.
    #[must_use]
    pub const fn wanting_mail_code(mut self, wants_mail_code: bool) -> Self {
        self.wants_mail_code = wants_mail_code;
        self
    }

    /// Asks the policy whether the proofs are enough for `user`, the account as of now.
    ///
    /// # Errors
    /// `InvalidCredentials` without a proof, and for proofs of another user; `AccountInactive`; `EmailNotVerified`.
    pub fn finish(&self, app: &App, user: &User) -> Result<Step> {
        if self.proofs.is_empty() || self.proofs.iter().any(|proof| proof.user() != user.id) {
            return Err(Error::InvalidCredentials);
        }
        if !user.is_active {
            return Err(Error::AccountInactive);
        }
        let must_be_verified = self.kind == Kind::SignIn && app.config.registration.require_verified;
        if must_be_verified && user.email_verified_at.is_none() {
            return Err(Error::EmailNotVerified);
        }
        // Not the level: after a code by mail the second factor is asked for, and the level stays 1. A passkey that did not verify
        // its user shows possession and nothing besides.
        let shows_possession = |proof: &Proof| proof.method().shows_possession();
        let has_second =
            self.proofs.iter().any(shows_possession) && !self.proofs.iter().all(shows_possession);
        if user.mfa_at.is_some() && !has_second && !self.is_trusted {
            return Ok(Step::FactorNeeded);
        }
        if self.wants_mail_code && !has_second {
            return Ok(Step::MailCodeNeeded);
        }
        Ok(Step::Finished(Authenticated {
            user: user.id,
            verification: Verification::of(Vec::new(), &self.proofs),
        }))
    }
}

impl Authenticated {
    /// The user.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// How the user was verified.
    pub const fn verification(&self) -> &Verification {
        &self.verification
    }
}

impl Verification {
    /// What a session records after proofs that were given within it, besides the methods that it had.
    ///
    /// # Errors
    /// `InvalidCredentials` for proofs of another user.
    pub fn within(session: &SessionRow, proofs: &[Proof]) -> Result<Self> {
        if proofs.is_empty() || proofs.iter().any(|proof| proof.user() != session.user_id()) {
            return Err(Error::InvalidCredentials);
        }
        let before = session
            .amr
            .split_ascii_whitespace()
            .filter_map(Method::of_amr)
            .collect();
        Ok(Self::of(before, proofs))
    }

    /// Of these proofs, and of methods of the same session before. There is at least one proof.
    fn of(mut methods: Vec<Method>, proofs: &[Proof]) -> Self {
        for proof in proofs {
            if !methods.contains(&proof.method()) {
                methods.push(proof.method());
            }
        }
        let is_two = Method::are_two_factors(&methods);
        let several = is_two.then_some(SEVERAL);
        let amr: Vec<&str> = methods.iter().map(|method| method.amr()).chain(several).collect();
        let latest = proofs.iter().map(Proof::at).max();
        Self {
            amr: amr.join(" "),
            acr: if is_two { Acr::Two } else { Acr::One },
            auth_time: latest.unwrap_or(Timestamp::from_micros(0)),
        }
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
