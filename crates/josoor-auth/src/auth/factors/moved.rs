//! Second factors that move from one service to another: an export reads them, and an import adds them.

use std::collections::HashMap;

use uuid::Uuid;

use super::passkeys;
use super::recovery_codes::{self, CodeHash};
use super::totp::{self, TotpSecret};
use crate::act::{Act, Entry};
use crate::app::App;
use crate::crypto;
use crate::domain::{Audit, FactorMethod, PasskeyName, Timestamp, UserId};
use crate::error::Result;
use crate::store::{Conn, NewPasskey, User, WholeCredential};

/// The second factors of one user.
#[derive(Debug, Default)]
pub struct MovedFactors {
    /// The authenticator app.
    pub totp: Option<MovedTotp>,
    /// The passkeys.
    pub passkeys: Vec<MovedPasskey>,
    /// The recovery codes that were not used.
    pub recovery_codes: Vec<CodeHash>,
}

/// An authenticator app.
#[derive(Debug)]
pub struct MovedTotp {
    /// Its secret.
    pub secret: TotpSecret,
    /// The last time step whose code was accepted (RFC 6238, 5.2); 0 where that is not known.
    pub last_step: i64,
}

/// A passkey.
#[derive(Debug)]
pub struct MovedPasskey {
    /// The credential's id.
    pub external_id: Vec<u8>,
    /// The public key, as COSE.
    pub public_key: Vec<u8>,
    /// The signature counter.
    pub counter: u32,
    /// The model of the authenticator.
    pub aaguid: Uuid,
    /// How the authenticator is reached.
    pub transports: Vec<String>,
    /// Whether it can be copied to other devices of its user.
    pub is_backup_eligible: bool,
    /// Whether it is.
    pub is_backed_up: bool,
    /// The host or domain that it is for.
    pub rp_id: String,
    /// What its owner calls it.
    pub name: PasskeyName,
    /// When it was added.
    pub created_at: Timestamp,
}

impl MovedFactors {
    /// An app alone, of which nothing else is known.
    pub fn app(secret: TotpSecret) -> Self {
        let totp = Some(MovedTotp { secret, last_step: 0 });
        Self {
            totp,
            ..Self::default()
        }
    }

    /// Whether there is an app or a passkey: recovery codes alone are no factor.
    pub const fn has_factor(&self) -> bool {
        self.totp.is_some() || !self.passkeys.is_empty()
    }

    /// Whether there is nothing at all.
    pub const fn is_empty(&self) -> bool {
        !self.has_factor() && self.recovery_codes.is_empty()
    }
}

/// Adds the factors of a user who was created in this unit of work, at a verified address. Gives how many passkeys were left out
/// because they are registered already.
///
/// # Errors
/// `StoreUnavailable`; `Internal`.
pub async fn add(act: &mut Act, made: &User, factors: &MovedFactors) -> Result<usize> {
    let (user, now) = (made.id, act.now);
    let mut added = 0;
    if let Some(MovedTotp { secret, last_step }) = &factors.totp {
        let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
        let sealed = totp::seal(&act.app, user, &id, secret)?;
        // A step of the future would lock the owner out until then.
        let step = (*last_step).min(totp::step_at(now));
        act.tx
            .insert_code_factor(user, FactorMethod::Totp, id, &sealed, step, now)
            .await?;
        added += 1;
    }
    let mut left_out = 0;
    for passkey in &factors.passkeys {
        let new = NewPasskey {
            id: uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid(),
            user,
            label: passkey.name.as_str(),
            external_id: &passkey.external_id,
            public_key: &passkey.public_key,
            counter: i64::from(passkey.counter),
            aaguid: passkey.aaguid,
            transports: &passkey.transports.join(" "),
            is_backup_eligible: passkey.is_backup_eligible,
            is_backed_up: passkey.is_backed_up,
            rp_id: &passkey.rp_id,
            created_at: passkey.created_at.min(now),
        };
        if act.tx.insert_passkey(&new).await? {
            added += 1;
        } else {
            left_out += 1;
        }
    }
    if added > 0 {
        recovery_codes::insert(act, user, &factors.recovery_codes).await?;
        // The account is as the source last changed it.
        let updated_at = made.updated_at;
        act.tx.set_second_factor(user, Some(now), updated_at).await?;
        act.audit(Entry::success(Audit::FactorAdd).subject(user).reason("import"));
    }
    Ok(left_out)
}

/// The factors of the users whose ids are above `after` and up to `last`, decrypted.
///
/// # Errors
/// `StoreUnavailable`; `Internal` where a stored secret cannot be decrypted.
pub async fn of_users(
    app: &App,
    conn: &mut Conn,
    after: UserId,
    last: UserId,
) -> Result<HashMap<UserId, MovedFactors>> {
    let mut all: HashMap<UserId, MovedFactors> = HashMap::new();
    for row in conn.whole_credentials(after, last).await? {
        let user = row.user_id();
        let factors = all.entry(user).or_default();
        if row.is(FactorMethod::Totp) {
            let Some(sealed) = &row.sealed else { continue };
            factors.totp = Some(MovedTotp {
                secret: totp::open(app, user, &row.id, sealed)?,
                last_step: row.counter,
            });
        } else if row.is(FactorMethod::RecoveryCode) {
            // A set from before hashes had keys of their own cannot move.
            let Some(sealed) = &row.sealed else { continue };
            let hash = recovery_codes::open(app, user, &row.id, sealed)?;
            factors.recovery_codes.push(hash);
        } else {
            factors.passkeys.extend(passkey_of(row));
        }
    }
    Ok(all)
}

fn passkey_of(row: WholeCredential) -> Option<MovedPasskey> {
    let transports = row.transports.unwrap_or_default();
    let name = row
        .label
        .as_deref()
        .and_then(|label| PasskeyName::parse(label).ok()?);
    Some(MovedPasskey {
        external_id: row.external_id?,
        public_key: row.public_key?,
        counter: u32::try_from(row.counter).ok()?,
        aaguid: row.aaguid.unwrap_or_default(),
        transports: transports.split_ascii_whitespace().map(str::to_owned).collect(),
        is_backup_eligible: row.is_backup_eligible,
        is_backed_up: row.is_backed_up,
        rp_id: row.rp_id?,
        name: name.or_else(|| PasskeyName::parse(passkeys::UNNAMED).ok()?)?,
        created_at: row.created_at,
    })
}
