//! Recovery codes: ten, each accepted once, for when the authenticator app is lost.
//!
//! Of a code only a hash is stored: HMAC-SHA-256 of its 80 bits under the server-only key, with the row's random id as the salt.

use uuid::Uuid;

use super::Factors;
use crate::act::{Act, Entry};
use crate::app::App;
use crate::crypto;
use crate::domain::{Audit, FactorMethod, MailKind, RecoveryCode, UserId};
use crate::error::Result;
use crate::store::User;

/// How many codes there are in a set.
pub const IN_A_SET: usize = 10;

/// With so many left their owner is asked for a new set.
const FEW: usize = 3;

fn mac(app: &App, user: UserId, id: &Uuid, code: &RecoveryCode) -> [u8; 32] {
    let user = user.0.to_be_bytes();
    app.keys
        .tag("recovery-code", &[&user, id.as_bytes(), code.as_bytes()])
}

/// Replaces the codes of a user, who is locked, by a new set, and records it. The codes are shown once.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn replace(act: &mut Act, user: UserId) -> Result<Vec<RecoveryCode>> {
    act.tx
        .delete_credentials(user, FactorMethod::RecoveryCode)
        .await?;
    let codes: Vec<RecoveryCode> = (0..IN_A_SET).map(|_| RecoveryCode::generate()).collect();
    let rows: Vec<_> = codes
        .iter()
        .map(|code| {
            let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
            (id, mac(&act.app, user, &id, code))
        })
        .collect();
    let now = act.now;
    act.tx.insert_recovery_codes(user, &rows, now).await?;
    act.audit(
        Entry::success(Audit::FactorAdd)
            .subject(user)
            .reason("recovery_codes"),
    );
    Ok(codes)
}

/// Redeems a code of a user, who is locked and is notified. False for a code that is none of the user's, or was used.
///
/// # Errors
/// `StoreUnavailable`.
pub(super) async fn redeem(
    act: &mut Act,
    factors: &Factors,
    user: &User,
    code: &RecoveryCode,
) -> Result<bool> {
    // All of them are compared, so that the time does not disclose which one it is.
    let found = factors.recovery_codes().fold(None, |found, row| {
        let expected = mac(&act.app, user.id, &row.id, code);
        let is_same = row
            .code_mac
            .as_ref()
            .is_some_and(|stored| crypto::equal(stored, &expected));
        if is_same { Some(row.id) } else { found }
    });
    let Some(id) = found else { return Ok(false) };
    if !act.tx.redeem_recovery_code(id).await? {
        return Ok(false);
    }
    let left = factors.recovery_codes().count().saturating_sub(1);
    let kind = if left <= FEW {
        MailKind::RecoveryCodesLow
    } else {
        MailKind::RecoveryCodeUsed
    };
    act.notify(user, kind).await?;
    Ok(true)
}
