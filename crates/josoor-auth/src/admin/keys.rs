//! Replacing keys.
//!
//! A new signing key is published first and signs later, so that every node and service has it by then; the one before is accepted until
//! its last token has expired. The times are in the database, so nodes need no agreement at the moment itself.

use std::time::Duration;

use crate::act::{Client, Entry};
use crate::app::App;
use crate::config::{Algorithm, MasterKey};
use crate::domain::{Audit, RevokeReason, Timestamp};
use crate::error::{Error, Result};
use crate::keys::{AccessTokens, Resealed, Unlocked, algorithm_of, purpose_of, unlock};
use crate::store::KeyRow;

/// What a token's last moment may be late by: clocks, and nodes that have not read the keys yet.
const MARGIN: Duration = Duration::from_mins(5);

/// How a key is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The next key is published now and signs after `keys.publish_for`.
    Planned,
    /// It signs at once: services that keep the list of keys for a while may refuse its tokens until they read it again.
    Now,
    /// It signs at once, and no other key is accepted any more.
    Compromised,
}

/// A key that was made.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Its id.
    pub kid: String,
    /// When it begins to sign.
    pub signs_from: Timestamp,
    /// Keys that are accepted until a time, each with it.
    pub ended: Vec<(String, Timestamp)>,
}

/// What a stored key for access tokens does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is published and signs later.
    Published,
    /// It signs new tokens.
    Signs,
    /// What it has signed is accepted.
    Verifies,
    /// Nothing that it has signed is accepted.
    Over,
}

/// A stored key for access tokens.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Its id.
    pub kid: String,
    /// What it is a key of.
    pub algorithm: Algorithm,
    /// What it does now.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it begins to sign, or has begun.
    pub signs_from: Timestamp,
    /// When what it has signed is no longer accepted; `None`: that is not known yet.
    pub verifies_until: Option<Timestamp>,
}

/// The stored keys for access tokens, the latest first.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn list(app: &App) -> Result<Vec<AccessKey>> {
    let rows = app.db.read().await?.all_keys().await?;
    let now = app.clock.now();
    let configured = app.config.auth.algorithm;
    let stored_keys_sign = !AccessTokens::signs_with_setting(&app.config);
    let signing = rows
        .iter()
        .filter(|row| stored_keys_sign && algorithm_of(&row.purpose) == Some(configured))
        .filter(|row| row.begins_at() <= now && row.verifies_at(now))
        .max_by_key(|row| row.begins_at())
        .map(|row| row.kid.clone());
    let mut keys: Vec<AccessKey> = rows
        .into_iter()
        .filter_map(|row| {
            let state = if !row.verifies_at(now) {
                KeyState::Over
            } else if signing.as_deref() == Some(row.kid.as_str()) {
                KeyState::Signs
            } else if row.begins_at() > now {
                KeyState::Published
            } else {
                KeyState::Verifies
            };
            Some(AccessKey {
                algorithm: algorithm_of(&row.purpose)?,
                state,
                created_at: row.created_at,
                signs_from: row.begins_at(),
                verifies_until: row.verifies_until,
                kid: row.kid,
            })
        })
        .collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.created_at));
    Ok(keys)
}

fn refused(text: impl Into<String>) -> Error {
    Error::Internal(anyhow::anyhow!(text.into()))
}

/// Makes the next signing key. With another algorithm than the configured one it is published only, for the time when that is
/// configured, and no key ends.
///
/// # Errors
/// `KeyNotRotated` when `JWT_SECRET` signs, or when a key waits already. `Internal` when the master key is not the one that the keys are
/// stored under. `StoreUnavailable`.
pub async fn rotate(app: &App, algorithm: Option<Algorithm>, how: How, client: &Client) -> Result<Rotation> {
    let made = rotate_where(app, algorithm, how, client, "rotated", |_, _| true).await?;
    made.ok_or_else(|| refused("no key was made"))
}

/// Makes the next signing key when the present one is older than `keys.rotate_every` and none waits.
///
/// # Errors
/// As of [`rotate`].
pub async fn rotate_if_old(app: &App) -> Result<Option<Rotation>> {
    let Some(every) = app.config.keys.rotate_every else {
        return Ok(None);
    };
    let is_old = |newest: &KeyRow, now: Timestamp| {
        // The next one is published while this one still signs.
        newest.begins_at().plus(every) <= now.plus(app.config.keys.publish_for)
    };
    if AccessTokens::signs_with_setting(&app.config) {
        return Ok(None);
    }
    let purpose = purpose_of(app.config.auth.algorithm);
    let rows = app.db.read().await?.keys_for(&purpose).await?;
    let now = app.clock.now();
    if !rows.first().is_some_and(|newest| is_old(newest, now)) {
        return Ok(None);
    }
    rotate_where(
        app,
        None,
        How::Planned,
        &Client::default(),
        "rotated_by_age",
        is_old,
    )
    .await
}

/// Makes the next key if the newest one of its algorithm is such, which is seen while no other can be made.
async fn rotate_where(
    app: &App,
    algorithm: Option<Algorithm>,
    how: How,
    client: &Client,
    reason: &'static str,
    is_so: impl Fn(&KeyRow, Timestamp) -> bool,
) -> Result<Option<Rotation>> {
    let configured = app.config.auth.algorithm;
    let algorithm = algorithm.unwrap_or(configured);
    let is_ahead = algorithm != configured;
    if !is_ahead && AccessTokens::signs_with_setting(&app.config) {
        return Err(Error::KeyNotRotated(format!(
            "JWT_SECRET signs, which is the operator's: give every node and service the new secret as JWT_SECRET and, unless it leaked, the \
             old one as JWT_SECRET_PREVIOUS. `josoor-auth key rotate --algorithm EdDSA` prepares a key pair in place of {configured}"
        )));
    }
    // Not in the transaction: a key of RSA takes a second.
    let unlocked = unlock(&app.config, &app.db).await?;
    let made_at = app.clock.now();
    let mut key = generate(unlocked, algorithm, made_at).await?;
    let mut act = app.act(client).await?;
    act.tx.change_keys().await?;
    let now = act.now;
    let rows = act.tx.all_keys().await?;
    let purpose = purpose_of(algorithm);
    let newest = rows
        .iter()
        .filter(|row| row.purpose == purpose && row.verifies_at(now))
        .max_by_key(|row| row.begins_at());
    if let Some(newest) = newest {
        if !is_so(newest, now) {
            return Ok(None);
        }
        if newest.begins_at() > now && how == How::Planned {
            return Err(Error::KeyNotRotated(format!(
                "the key {} is published and signs from {} on; `josoor-auth key rotate --now` lets a new one sign at once",
                newest.kid,
                newest.begins_at()
            )));
        }
    }
    let signs_from = match how {
        How::Planned if newest.is_some() || is_ahead => now.plus(app.config.keys.publish_for),
        _ => now,
    };
    (key.created_at, key.signs_from) = (now, Some(signs_from));
    let until = match how {
        How::Compromised => now,
        How::Planned | How::Now => signs_from.plus(app.config.auth.access_lifetime).plus(MARGIN),
    };
    // A key of another algorithm that is younger than the one that signs is prepared for later.
    let replaced = |row: &&KeyRow| {
        let is_older = newest.is_some_and(|newest| row.begins_at() <= newest.begins_at());
        algorithm_of(&row.purpose).is_some() && !is_ahead && (is_older || how == How::Compromised)
    };
    let mut ended = Vec::new();
    for row in rows.iter().filter(replaced) {
        // One that has not begun has signed nothing.
        let until = if row.begins_at() > now { now } else { until };
        if act.tx.end_key(&row.kid, until).await? {
            ended.push((row.kid.clone(), until));
        }
    }
    if !act.tx.insert_next_key(&key).await? {
        return Err(refused("the new key could not be stored; try again"));
    }
    let reason = if how == How::Compromised {
        "compromised"
    } else {
        reason
    };
    act.audit(Entry::success(Audit::KeyChange).reason(reason));
    act.publish_keys();
    act.commit().await?;
    Ok(Some(Rotation {
        kid: key.kid,
        signs_from,
        ended,
    }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a second at most, once for each key: the hashing threads are for sign-ins"
)]
async fn generate(unlocked: Unlocked, algorithm: Algorithm, now: Timestamp) -> Result<KeyRow> {
    let made = tokio::task::spawn_blocking(move || unlocked.new_access_key(algorithm, now));
    made.await.map_err(Error::internal)?
}

/// Encrypts every stored key with another master key, in one transaction. How many keys there were.
///
/// The keys themselves stay, that of the audit trail too, so that the trail can be checked from its beginning. When the master key
/// leaked, they are replaced and every session is revoked: no token, link or mark of a device is good any more, and the trail has
/// to be begun again. Second factors are removed then: their secrets leaked with the key. No node may run then: each would go on with
/// the keys that it has.
///
/// # Errors
/// `Internal` when a key cannot be decrypted, or the new key is the old one; nothing is changed then. `StoreUnavailable`.
pub async fn rotate_master(app: &App, new: &MasterKey, leaked: bool, client: &Client) -> Result<usize> {
    let unlocked = unlock(&app.config, &app.db).await?;
    let mut act = app.act(client).await?;
    act.tx.change_keys().await?;
    let rows = act.tx.all_keys().await?;
    let Resealed { keys, audit } = unlocked.reseal(&rows, new, leaked, act.now)?;
    for (kid, sealed) in &keys {
        if !act.tx.reseal_key(kid, sealed).await? {
            return Err(refused("a key went away meanwhile; try again"));
        }
    }
    if let Some(audit) = audit
        && !act.tx.insert_first_key(&audit).await?
    {
        return Err(refused(
            "the key of the audit trail could not be stored; try again",
        ));
    }
    let now = act.now;
    let reason = if leaked {
        for row in rows.iter().filter(|row| algorithm_of(&row.purpose).is_some()) {
            act.tx.end_key(&row.kid, now).await?;
        }
        act.tx
            .revoke_every_session(RevokeReason::RevokedByAdmin, now)
            .await?;
        act.tx.delete_every_credential(now).await?;
        "master_key_leaked"
    } else {
        "master_key"
    };
    act.audit(Entry::success(Audit::KeyChange).reason(reason));
    act.commit().await?;
    Ok(keys.len())
}
