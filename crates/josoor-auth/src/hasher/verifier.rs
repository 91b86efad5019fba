//! Verifies a password against a stored hash, or against a decoy where there is none.

use anyhow::bail;

use super::bcrypt::{Bcrypt, PLAIN_BYTES, Ready};
use super::scheme::Scheme;
use super::stored::Stored;
use crate::domain::{Password, PasswordHash};
use crate::telemetry::codes;

/// Whether a password was the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It was.
    Match {
        /// `Hasher::hash` would write another format or other parameters now: hash the password again and store that.
        outdated: bool,
    },
    /// It was not, or there is no readable hash to compare it with.
    NoMatch,
}

/// The scheme of new hashes, and what passwords are compared with where there is nothing else.
pub(super) struct Verifier {
    pub(super) scheme: Scheme,
    /// For passwords of up to [`PLAIN_BYTES`].
    decoy: PasswordHash,
    long_decoy: PasswordHash,
}

impl Verifier {
    pub(super) fn new(scheme: Scheme) -> anyhow::Result<Self> {
        scheme.check()?;
        Ok(Self {
            scheme,
            decoy: scheme.decoy(false)?,
            long_decoy: scheme.decoy(true)?,
        })
    }

    /// What bcrypt has to compute first to verify against this hash, if that is bcrypt.
    pub(super) fn first_bcrypt(&self, password: &[u8], stored: Option<&PasswordHash>) -> Option<Bcrypt> {
        stored
            .and_then(|stored| Stored::parse(stored.as_str(), Some(self.scheme)).ok())
            .or_else(|| Stored::read(self.decoy_for(password).as_str()).ok())
            .and_then(|stored| stored.bcrypt(password))
    }

    /// Our own hashes are of the normal form; those of other programs may be of what was typed. Where the two differ both are
    /// computed, whatever is stored, so that the time reveals nothing about the account.
    pub(super) fn verify_both_forms(
        &self,
        password: &Password,
        stored: Option<PasswordHash>,
        ready: &mut Ready,
    ) -> anyhow::Result<Verdict> {
        let normal = self.verify(password.as_bytes(), stored.clone(), ready)?;
        let Some(typed) = password.as_typed() else {
            return Ok(normal);
        };
        let typed = self.verify(typed, stored, ready)?;
        Ok(match (normal, typed) {
            (Verdict::NoMatch, Verdict::Match { .. }) => Verdict::Match { outdated: true },
            (normal, _) => normal,
        })
    }

    fn verify(
        &self,
        password: &[u8],
        stored: Option<PasswordHash>,
        ready: &mut Ready,
    ) -> anyhow::Result<Verdict> {
        let Some(stored) = stored else {
            return self.verify_decoy(password, ready);
        };
        let stored = match Stored::parse(stored.as_str(), Some(self.scheme)) {
            Ok(stored) => stored,
            Err(reason) => {
                tracing::warn!(
                    code = codes::PASSWORD_HASH_UNUSABLE,
                    reason,
                    "a stored password hash cannot be verified; its owner needs a reset"
                );
                return self.verify_decoy(password, ready);
            }
        };
        if stored.matches(password, ready)? {
            return Ok(Verdict::Match {
                outdated: stored.is_outdated(self.scheme, password),
            });
        }
        // Costs c, c + 1, … C - 1 on top of c add up to C exactly, since each doubles the rounds.
        if let (Stored::Bcrypt { cost, .. }, Scheme::Bcrypt { cost: wanted }) = (&stored, self.scheme) {
            for cost in *cost..wanted {
                std::hint::black_box(Bcrypt::new(cost, [0; 16], password).compute());
            }
        }
        Ok(Verdict::NoMatch)
    }

    /// Verifies against the decoy hash: the same work, and never a match.
    fn verify_decoy(&self, password: &[u8], ready: &mut Ready) -> anyhow::Result<Verdict> {
        match Stored::read(self.decoy_for(password).as_str()) {
            Ok(decoy) => {
                std::hint::black_box(decoy.matches(password, ready)?);
            }
            Err(reason) => bail!("the decoy cannot be verified: {reason}"),
        }
        Ok(Verdict::NoMatch)
    }

    fn decoy_for(&self, password: &[u8]) -> &PasswordHash {
        if password.len() > PLAIN_BYTES {
            &self.long_decoy
        } else {
            &self.decoy
        }
    }
}
