//! Second factors: an authenticator app, and recovery codes for when it is lost.
//!
//! An account **has** a second factor from the confirmation of its app until the app is removed: `users.mfa_at`, which a sign-in
//! reads with the user, says since when. Recovery codes alone are none. Only accounts whose address is verified have factors.

pub mod recovery_codes;
pub mod totp;

use super::proof::{Method, Proof};
use crate::act::{Act, Entry};
use crate::domain::{Audit, FactorCode, FactorMethod, MailKind, Timestamp, UserId};
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

    /// The authenticator app, if one is confirmed.
    pub fn totp(&self) -> Option<&Credential> {
        self.0.iter().find(|row| row.is(FactorMethod::Totp))
    }

    /// The recovery codes that were not used.
    pub fn recovery_codes(&self) -> impl Iterator<Item = &Credential> {
        self.0.iter().filter(|row| row.is(FactorMethod::RecoveryCode))
    }

    /// By which methods a sign-in can be finished now.
    pub fn methods(&self) -> Vec<FactorMethod> {
        FactorMethod::ALL
            .iter()
            .copied()
            .filter(|method| self.0.iter().any(|row| row.is(*method)))
            .collect()
    }
}

/// Verifies a code of a user, who is locked, and uses it up: a code is accepted once. `None` for a wrong one and for one that was
/// used. The owner is notified of a used recovery code.
///
/// # Errors
/// `StoreUnavailable`; `Internal` where a stored secret cannot be decrypted.
pub async fn verify(
    act: &mut Act,
    user: &User,
    code: &FactorCode,
    counted: CodeCheck,
) -> Result<Option<Proof>> {
    // Counted, whatever becomes of it.
    let CodeCheck { .. } = counted;
    let factors = Factors::of(&mut act.tx, user.id).await?;
    let is_right = match code {
        FactorCode::Totp(code) => totp::verify(act, &factors, user.id, code).await?,
        FactorCode::Recovery(code) => recovery_codes::redeem(act, &factors, user, code).await?,
        // No factor of the account: `confirm_code` verifies it.
        FactorCode::Mail(_) => false,
    };
    let method = match code.method() {
        FactorMethod::Totp => Method::Totp,
        FactorMethod::RecoveryCode => Method::RecoveryCode,
        FactorMethod::MailCode => Method::MailCode,
    };
    Ok(is_right.then(|| Proof::new(user.id, method, act.now)))
}

/// Why factors are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// By their owner.
    Owner,
    /// By an administrator or an operator.
    Reset,
    /// The address was verified for the first time, or its owner has taken over an account that had never verified it: who
    /// registered the account need not be its owner.
    Claimed,
}

impl Removal {
    const fn reason(self) -> &'static str {
        match self {
            Self::Owner => "owner",
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
        Removal::Owner => Some(MailKind::FactorRemoved),
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
    act.tx.revoke_trust_of(user.id).await?;
    act.audit(
        Entry::success(Audit::FactorRemove)
            .subject(user.id)
            .reason("disputed"),
    );
    let has_app = Factors::of(&mut act.tx, user.id).await?.totp().is_some();
    if has_app || user.mfa_at.is_none() {
        return Ok(user);
    }
    set_none(act, user).await
}

/// Without an app there are no recovery codes either.
async fn set_none(act: &mut Act, user: User) -> Result<User> {
    act.tx.revoke_trust_of(user.id).await?;
    act.tx
        .delete_credentials(user.id, FactorMethod::RecoveryCode)
        .await?;
    let now = act.now;
    let user = act.tx.set_second_factor(user.id, None, now).await?;
    user.ok_or(Error::NotFound)
}
