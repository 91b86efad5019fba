//! Second factors: an authenticator app, passkeys, and recovery codes for when these are lost.
//!
//! An account **has** a second factor from its first app or passkey until the last of them is removed: `users.mfa_at`, which a sign-in
//! reads with the user, says since when. Recovery codes alone are none. Only accounts whose address is verified have factors.

pub mod moved;
pub mod passkeys;
pub mod recovery_codes;
pub mod totp;

use self::passkeys::Fault;
use self::passkeys::challenge::Purpose;
use super::proof::{Method, Proof};
use crate::act::{Act, Entry};
use crate::domain::{
    Audit, FactorCode, FactorMethod, MailKind, PasskeyAssertion, RecoveryCode, Timestamp, UserId,
};
use crate::error::{Error, Result};
use crate::limits::CodeCheck;
use crate::store::{Conn, Credential, User};

/// The factors of one user.
#[derive(Clone, Debug)]
pub struct Factors(Vec<Credential>);

impl Factors {
    /// Reads them.
    pub async fn of(conn: &mut Conn, user: UserId) -> Result<Self> {
        conn.credentials_of(user).await.map(Self)
    }

    /// Those of one method, in the order in which they were confirmed.
    pub fn of_method(&self, method: FactorMethod) -> impl Iterator<Item = &Credential> {
        self.0.iter().filter(move |row| row.is(method))
    }

    /// The authenticator app, if one is confirmed.
    pub fn totp(&self) -> Option<&Credential> {
        self.of_method(FactorMethod::Totp).next()
    }

    /// The passkeys.
    pub fn passkeys(&self) -> impl Iterator<Item = &Credential> {
        self.of_method(FactorMethod::Passkey)
    }

    /// The recovery codes that were not used.
    pub fn recovery_codes(&self) -> impl Iterator<Item = &Credential> {
        self.of_method(FactorMethod::RecoveryCode)
    }

    /// Whether there is an app or a passkey.
    fn is_any(&self) -> bool {
        self.totp().is_some() || self.passkeys().next().is_some()
    }

    /// By which methods a sign-in can be finished now, with passkeys for this host or domain.
    pub fn methods(&self, rp_id: &str) -> Vec<FactorMethod> {
        let is_of_use = |row: &Credential| row.rp_id.as_deref().is_none_or(|domain| domain == rp_id);
        FactorMethod::ALL
            .iter()
            .copied()
            .filter(|method| self.0.iter().any(|row| row.is(*method) && is_of_use(row)))
            .collect()
    }
}

/// What a user shows a second factor with, and what it is compared by.
#[derive(Debug)]
pub enum Shown<'a> {
    /// A code, which was counted.
    Code(&'a FactorCode, CodeCheck),
    /// A passkey, which cannot be guessed, in answer to a challenge.
    Passkey(&'a PasskeyAssertion, Purpose),
}

/// Why a second factor is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A wrong code, or one that was used.
    Code,
    /// A wrong code from a mail, or one that was used.
    MailCode,
    /// The passkey.
    Passkey(Fault),
}

impl Wrong {
    /// As the audit trail has it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Code => "mfa_code_invalid",
            Self::MailCode => "mail_code_invalid",
            Self::Passkey(fault) => fault.reason(),
        }
    }

    /// As the client sees it.
    pub const fn error(self) -> Error {
        match self {
            Self::Code => Error::MfaCodeInvalid,
            Self::MailCode => Error::MailCodeInvalid,
            Self::Passkey(fault) => fault.of_use(),
        }
    }
}

/// Verifies a second factor of a user, who is locked, and uses up what it was shown with: a code and the answer to a challenge are
/// accepted once. The owner is notified of a used recovery code.
///
/// # Errors
/// `StoreUnavailable`; `Internal` where a stored secret cannot be decrypted.
pub async fn verify(act: &mut Act, user: &User, shown: Shown<'_>) -> Result<Result<Vec<Proof>, Wrong>> {
    let code = match shown {
        // Counted, whatever becomes of it.
        Shown::Code(code, CodeCheck { .. }) => code,
        Shown::Passkey(assertion, purpose) => {
            let verified = passkeys::verify(act, user, assertion, purpose).await?;
            return Ok(verified.map_err(Wrong::Passkey));
        }
    };
    let factors = Factors::of(&mut act.tx, user.id).await?;
    let (is_right, method) = match code {
        FactorCode::Totp(code) => (totp::verify(act, &factors, user.id, code).await?, Method::Totp),
        FactorCode::Recovery(code) => (
            recovery_codes::redeem(act, &factors, user, code).await?,
            Method::RecoveryCode,
        ),
        // No factor of the account: `confirm_code` verifies it.
        FactorCode::Mail(_) => return Ok(Err(Wrong::MailCode)),
    };
    let proof = Proof::new(user.id, method, act.now);
    Ok(is_right.then(|| vec![proof]).ok_or(Wrong::Code))
}

/// Why factors are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// By an administrator or an operator.
    Reset,
    /// The address was verified for the first time, or its owner has taken over an account that had never verified it: who
    /// registered the account need not be its owner.
    Claimed,
}

impl Removal {
    const fn reason(self) -> &'static str {
        match self {
            Self::Reset => "administrator",
            Self::Claimed => "claimed",
        }
    }
}

/// Removes all factors of a user, who is locked, and the trust in devices. Gives the user as it is then; the caller publishes it.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn remove_all(act: &mut Act, user: User, why: Removal) -> Result<User> {
    let since = Timestamp::from_micros(0);
    let removed = act.tx.delete_credentials_since(user.id, since).await?;
    if removed == 0 && user.mfa_at.is_none() {
        return Ok(user);
    }
    let user = set_none(act, user).await?;
    act.audit(
        Entry::success(Audit::FactorRemove)
            .subject(user.id)
            .reason(why.reason()),
    );
    let mail = match why {
        Removal::Reset => Some(MailKind::FactorsReset),
        Removal::Claimed => None,
    };
    if let Some(kind) = mail {
        act.notify(&user, kind).await?;
    }
    Ok(user)
}

/// Removes the factors of a user, who is locked, that were added at `since` or later, with an event that the owner disputes. Older
/// ones stay. Gives the user as it is then; the caller publishes it.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn remove_since(act: &mut Act, user: User, since: Timestamp) -> Result<User> {
    if act.tx.delete_credentials_since(user.id, since).await? == 0 {
        return Ok(user);
    }
    act.audit(
        Entry::success(Audit::FactorRemove)
            .subject(user.id)
            .reason("disputed"),
    );
    after_removal(act, user).await
}

/// What follows once one factor of a user, who is locked, was removed: if it was the last one, the account has none from now on. Gives
/// the user as it is then; the caller publishes it.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn after_removal(act: &mut Act, user: User) -> Result<User> {
    act.tx.revoke_trust_of(user.id).await?;
    let is_left = Factors::of(&mut act.tx, user.id).await?.is_any();
    if is_left || user.mfa_at.is_none() {
        return Ok(user);
    }
    set_none(act, user).await
}

/// What follows once a factor of a user, who is locked, was added: devices are trusted no longer, and where it was the first one there
/// are recovery codes, which are shown once.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn after_addition(act: &mut Act, user: &User) -> Result<(User, Option<Vec<RecoveryCode>>)> {
    let factors = Factors::of(&mut act.tx, user.id).await?;
    let codes = if factors.recovery_codes().next().is_none() {
        Some(recovery_codes::replace(act, user.id).await?)
    } else {
        None
    };
    act.tx.revoke_trust_of(user.id).await?;
    let now = act.now;
    let since = user.mfa_at.unwrap_or(now);
    let user = act.tx.set_second_factor(user.id, Some(since), now).await?;
    Ok((user.ok_or(Error::NotFound)?, codes))
}

/// Without an app and passkeys there are no recovery codes either.
async fn set_none(act: &mut Act, user: User) -> Result<User> {
    act.tx.revoke_trust_of(user.id).await?;
    act.tx
        .delete_credentials(user.id, FactorMethod::RecoveryCode)
        .await?;
    let now = act.now;
    let user = act.tx.set_second_factor(user.id, None, now).await?;
    user.ok_or(Error::NotFound)
}
