//! One's own second factors: enrolling, listing, replacing and removing them; and resetting a user's.

use std::time::Duration;

use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::devices;
use crate::auth::factors::totp::{self, Setup, TotpSecret};
use crate::auth::factors::{Factors, Removal, after_addition, after_removal, recovery_codes, remove_all};
use crate::auth::step_up::{self, Policy};
use crate::crypto;
use crate::domain::{Audit, FactorCode, FactorMethod, MailKind, Password, RecoveryCode, Timestamp, UserId};
use crate::error::{Error, Invalid, Refusal, Result};
use crate::sessions::{self, Issued};
use crate::store::{FlowKind, FlowRow, NewFlow, Passkey, User};

/// How long an enrolment waits for the first code of the app.
pub const ENROLMENT_LIFE: Duration = Duration::from_mins(10);

/// How many codes an enrolment takes.
const ATTEMPTS: i64 = 5;

/// What an account has.
#[derive(Debug)]
pub struct Summary {
    /// When the authenticator app was added, and when a code of it was last accepted.
    pub totp: Option<(Timestamp, Option<Timestamp>)>,
    /// The passkeys, in the order in which they were added.
    pub passkeys: Vec<Passkey>,
    /// How many recovery codes were not used.
    pub recovery_codes_left: usize,
    /// How many known devices spare the second factor.
    pub trusted_devices: usize,
}

/// A confirmed enrolment.
#[derive(Debug)]
pub struct Confirmed {
    /// An access token of the same session, which has both factors now.
    pub issued: Issued,
    /// The recovery codes, if the account had none.
    pub recovery_codes: Option<Vec<RecoveryCode>>,
}

/// What the caller's account has.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn summary(app: &App, caller: &Caller) -> Result<Summary> {
    match summary_of(app, caller.id()).await {
        Err(Error::NotFound) => Err(Refusal::SessionRevoked.into()),
        other => other,
    }
}

/// What a user's account has.
///
/// # Errors
/// `NotFound`; `StoreUnavailable`.
pub async fn summary_of(app: &App, id: UserId) -> Result<Summary> {
    let mut conn = app.db.read().await?;
    let factors = Factors::of(&mut conn, id).await?;
    let user = conn.user_by_id(id).await?.ok_or(Error::NotFound)?;
    let devices = conn.devices_of(id).await?;
    let passkeys = conn.passkeys_of(id).await?;
    drop(conn);
    let totp = factors.totp().map(|row| {
        let since = row.confirmed_at.unwrap_or(Timestamp::from_micros(0));
        (since, row.last_used_at)
    });
    Ok(Summary {
        totp,
        passkeys,
        recovery_codes_left: factors.recovery_codes().count(),
        trusted_devices: devices::trusted(app, &user, &devices)?.count(),
    })
}

/// The name that a flow's secret is sealed under.
fn name(id: &uuid::Uuid) -> [&[u8]; 2] {
    [b"enroll-totp", id.as_bytes()]
}

/// Begins to enrol an authenticator app: a new secret, which [`confirm_totp`] in the same session puts in place of an earlier one.
/// The password is verified here and now, so that a token alone enrols nothing.
///
/// # Errors
/// `StepUpRequired` for an account with a second factor; `InvalidCredentials`, with an audit row; `RateLimited`; `Overloaded`;
/// `EmailNotVerified`.
pub async fn begin_totp(app: &App, caller: &Caller, password: Password, client: &Client) -> Result<Setup> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let verified = step_up::verify(app, caller, password, Audit::FactorAdd, client).await?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::revalidate(&mut act.tx, caller, &verified, now).await?;
    require_verified(&user)?;
    let secret = TotpSecret::generate();
    let setup = secret.setup(&service_name(app), &user.email)?;
    act.tx.end_flows(user.id, FlowKind::EnrollTotp, now).await?;
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let flow = NewFlow {
        id,
        kind: FlowKind::EnrollTotp,
        client_mac: None,
        user: user.id,
        user_version: user.version,
        session: Some(caller.session),
        sealed: &app.keys.flow_contents.seal(&name(&id), secret.as_bytes())?,
        created_at: now,
        expires_at: now.plus(ENROLMENT_LIFE),
    };
    act.tx.insert_flow(&flow).await?;
    act.commit().await?;
    Ok(setup)
}

/// What apps show the account under.
pub(super) fn service_name(app: &App) -> String {
    let host = app.config.server.public_url.host();
    host.map_or_else(|| "JOSOOR".to_owned(), |host| host.to_string())
}

/// The person who registers an address need not be its owner, whom a factor would lock out.
pub(super) fn require_verified(user: &User) -> Result<()> {
    if user.email_verified_at.is_none() {
        return Err(Refusal::EmailNotVerified.into());
    }
    Ok(())
}

/// Confirms an enrolment with a code of the app: from now on a sign-in takes one. The session has both factors then.
///
/// # Errors
/// `RateLimited`; `FlowExpired` when this session has begun no enrolment in the last ten minutes, or the account was changed
/// since, or after five codes; `MfaCodeInvalid`, with an audit row.
pub async fn confirm_totp(
    app: &App,
    caller: &Caller,
    code: &FactorCode,
    client: &Client,
) -> Result<Confirmed> {
    let FactorCode::Totp(code) = code else {
        let reason = Invalid::new("invalid_code", "Type the six digits that the app shows.");
        return Err(Error::invalid("code", reason));
    };
    // Compared with the secret of the enrolment, and counted like every code.
    app.limits
        .code_in_session(&client.ip, caller.id(), caller.session)
        .await?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::lock_own(&mut act.tx, caller, now).await?;
    let flow = open_enrolment(&mut act, caller, &user).await?;
    let secret = app.keys.flow_contents.open(&name(&flow.id), &flow.sealed)?;
    let secret = TotpSecret::new(secret);
    let Some(step) = secret.step_of(code, now, app.config.mfa.totp_skew)? else {
        let failure = Entry::failure(Audit::FactorAdd, "mfa_code_invalid");
        act.audit(failure.subject(user.id).session(caller.session));
        act.commit().await?;
        return Err(Error::MfaCodeInvalid);
    };
    if !act.tx.consume_flow(flow.id, now).await? {
        return Err(Error::FlowExpired);
    }
    act.tx.delete_credentials(user.id, FactorMethod::Totp).await?;
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let sealed = totp::seal(app, user.id, &id, &secret)?;
    act.tx
        .insert_code_factor(user.id, FactorMethod::Totp, id, &sealed, step, now)
        .await?;
    act.audit(
        Entry::success(Audit::FactorAdd)
            .subject(user.id)
            .session(caller.session)
            .reason("totp"),
    );
    let (user, recovery_codes) = after_addition(&mut act, &user).await?;
    let proofs = [
        step_up::password_proof(&user, flow.created_at),
        totp::proof(&user, now),
    ];
    let session = sessions::record_verification(&mut act, caller, &proofs).await?;
    act.notify(&user, MailKind::FactorAdded).await?;
    act.publish_user(&user).await?;
    act.commit().await?;
    Ok(Confirmed {
        issued: sessions::issue_verified(app, &session, &user, now)?,
        recovery_codes,
    })
}

/// The enrolment that the caller's session has begun, with one more attempt counted.
async fn open_enrolment(act: &mut Act, caller: &Caller, user: &User) -> Result<FlowRow> {
    let now = act.now;
    let flow = begun(act, caller, user, FlowKind::EnrollTotp).await?;
    let counted = act.tx.count_flow_attempt(flow.id, ATTEMPTS, now).await?;
    counted.map(|_| flow).ok_or(Error::FlowExpired)
}

/// What the caller's session has begun, unless the account was changed since.
pub(super) async fn begun(act: &mut Act, caller: &Caller, user: &User, kind: FlowKind) -> Result<FlowRow> {
    act.tx
        .flow_of_session(caller.session, kind)
        .await?
        .filter(|flow| flow.user_id() == Some(user.id) && flow.user_version == Some(user.version))
        .ok_or(Error::FlowExpired)
}

/// Replaces the caller's recovery codes.
///
/// # Errors
/// `StepUpRequired`; `MfaEnrollmentRequired` for an account that needs none.
pub async fn replace_recovery_codes(
    app: &App,
    caller: &Caller,
    client: &Client,
) -> Result<Vec<RecoveryCode>> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::lock_own(&mut act.tx, caller, now).await?;
    if user.mfa_at.is_none() {
        return Err(Refusal::MfaEnrollmentRequired.into());
    }
    let codes = recovery_codes::replace(&mut act, user.id).await?;
    act.notify(&user, MailKind::RecoveryCodesReplaced).await?;
    act.commit().await?;
    Ok(codes)
}

/// Removes the caller's authenticator app, and with it the trust in devices; with the last factor the recovery codes, too.
///
/// # Errors
/// `StepUpRequired`; `MfaEnrollmentRequired` when there is none.
pub async fn remove_totp(app: &App, caller: &Caller, client: &Client) -> Result<()> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::lock_own(&mut act.tx, caller, now).await?;
    if act.tx.delete_credentials(user.id, FactorMethod::Totp).await? == 0 {
        return Err(Refusal::MfaEnrollmentRequired.into());
    }
    let user = after_removal(&mut act, user).await?;
    act.audit(
        Entry::success(Audit::FactorRemove)
            .subject(user.id)
            .reason("owner"),
    );
    act.notify(&user, MailKind::FactorRemoved).await?;
    act.publish_user(&user).await?;
    act.commit().await
}

/// [`reset`], for an administrator. Their own factors they remove as everybody does, with a fresh verification.
///
/// # Errors
/// `NotFound`; `StepUpRequired` for the administrator's own factors.
pub async fn reset_by(app: &App, admin: &Caller, id: UserId, client: &Client) -> Result<bool> {
    if admin.id() == id {
        step_up::require(app, admin, Policy::OwnAccount)?;
    }
    reset(app, id, client).await
}

/// Removes all factors of a user, for an administrator or an operator: the user has lost them. The owner is notified. Whether there
/// were any.
///
/// # Errors
/// `NotFound`.
pub async fn reset(app: &App, id: UserId, client: &Client) -> Result<bool> {
    let mut act = app.act(client).await?;
    let user = act.tx.lock_user(id).await?;
    let user = user
        .filter(|user| user.deleted_at.is_none())
        .ok_or(Error::NotFound)?;
    if user.mfa_at.is_none() {
        return Ok(false);
    }
    let user = remove_all(&mut act, user, Removal::Reset).await?;
    act.publish_user(&user).await?;
    act.commit().await?;
    Ok(true)
}
