//! One's own passkeys: adding, renaming and removing them.

use uuid::Uuid;

use super::factors::{begun, require_verified, service_name};
use crate::act::{Act, Client, Entry, address_of};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::factors::passkeys::challenge;
use crate::auth::factors::passkeys::challenge::Purpose as Challenge;
use crate::auth::factors::passkeys::{self, Descriptor, Registered, RequestOptions};
use crate::auth::factors::{after_addition, after_removal};
use crate::auth::step_up::{self, Policy};
use crate::crypto;
use crate::domain::{
    Audit, MailKind, PasskeyName, PasskeyRegistration, Password, Purpose, RecoveryCode, device_label,
    passkey_provider,
};
use crate::error::{Error, Result};
use crate::sessions::{self, Issued};
use crate::store::{FlowKind, FlowRow, NewFlow, NewOneTimeToken, NewPasskey, Passkey, User};

/// What a browser is asked for that is to make a passkey (`PublicKeyCredentialCreationOptions`; WebAuthn level 3, 5.4).
#[derive(Debug)]
pub struct CreationOptions {
    /// The challenge.
    pub challenge: Vec<u8>,
    /// The host or domain.
    pub rp_id: String,
    /// What authenticators show the service under.
    pub service: String,
    /// The user handle.
    pub user: Uuid,
    /// What authenticators show the account under.
    pub email: String,
    /// What authenticators may show the user under.
    pub display_name: String,
    /// The passkeys that the account has.
    pub excluded: Vec<Descriptor>,
}

/// A passkey that was added.
#[derive(Debug)]
pub struct Added {
    /// The passkey.
    pub passkey: Passkey,
    /// An access token of the same session, which has both factors now.
    pub issued: Issued,
    /// The recovery codes, if the account had none.
    pub recovery_codes: Option<Vec<RecoveryCode>>,
}

/// The name that a registration is sealed under.
fn name(id: &Uuid) -> [&[u8]; 2] {
    [b"enroll-passkey", id.as_bytes()]
}

/// Begins to add a passkey, which [`add`] in the same session finishes. The password is verified here and now, so that a token alone
/// adds nothing.
///
/// # Errors
/// `StepUpRequired` for an account with a second factor; `InvalidCredentials`, with an audit row; `RateLimited`; `Overloaded`;
/// `EmailNotVerified`; `PasskeyLimit`.
pub async fn begin(
    app: &App,
    caller: &Caller,
    password: Password,
    client: &Client,
) -> Result<CreationOptions> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let verified = step_up::verify(app, caller, password, Audit::FactorAdd, client).await?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::revalidate(&mut act.tx, caller, &verified, now).await?;
    require_verified(&user)?;
    require_room(&mut act, &user).await?;
    act.tx.end_flows(user.id, FlowKind::EnrollPasskey, now).await?;
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let flow = NewFlow {
        id,
        kind: FlowKind::EnrollPasskey,
        client_mac: None,
        user: user.id,
        user_version: user.version,
        session: Some(caller.session),
        // The challenge is made of the flow's id.
        sealed: &app.keys.flow_contents.seal(&name(&id), &[])?,
        created_at: now,
        expires_at: now.plus(challenge::LIFE),
    };
    act.tx.insert_flow(&flow).await?;
    let excluded = passkeys::own(app, &mut act.tx, user.id).await?;
    act.commit().await?;
    Ok(CreationOptions {
        challenge: challenge::issue(app, Challenge::Flow(id)),
        rp_id: app.config.passkeys.rp_id.clone(),
        service: service_name(app),
        user: user.uid,
        display_name: user.full_name.unwrap_or_else(|| user.email.clone()),
        email: user.email,
        excluded,
    })
}

async fn require_room(act: &mut Act, user: &User) -> Result<()> {
    if act.tx.passkeys_of(user.id).await?.len() >= passkeys::AT_MOST {
        return Err(Error::PasskeyLimit);
    }
    Ok(())
}

/// Adds a passkey: from now on a sign-in takes it, or another factor besides the password. The session has both factors then.
///
/// # Errors
/// `FlowExpired` when this session has begun nothing in the last ten minutes, or the account was changed since; `Invalid` for a
/// registration that is not acceptable, with an audit row; `PasskeyLimit`.
pub async fn add(
    app: &App,
    caller: &Caller,
    registration: &PasskeyRegistration,
    label: Option<&PasskeyName>,
    client: &Client,
) -> Result<Added> {
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::lock_own(&mut act.tx, caller, now).await?;
    let flow = take_flow(&mut act, caller, &user).await?;
    require_room(&mut act, &user).await?;
    let expected = challenge::issue(app, Challenge::Flow(flow.id));
    let registered = match passkeys::register(registration, &expected, &app.config.passkeys) {
        Ok(registered) => registered,
        Err(fault) => return reject(act, caller, fault).await,
    };
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let known = passkey_provider(registered.aaguid).map(str::to_owned);
    let label = label.map(|name| name.as_str().to_owned()).or(known);
    let label = label.unwrap_or_else(|| device_label(&client.user_agent));
    if !insert(&mut act, &user, id, registration, &registered, &label).await? {
        return reject(act, caller, passkeys::Fault::Registered).await;
    }
    act.audit(
        Entry::success(Audit::FactorAdd)
            .subject(user.id)
            .session(caller.session)
            .reason("passkey"),
    );
    let (user, recovery_codes) = after_addition(&mut act, &user).await?;
    let mut proofs = passkeys::registration_proofs(user.id, &registered, now);
    proofs.insert(0, step_up::password_proof(&user, flow.created_at));
    let session = sessions::record_verification(&mut act, caller, &proofs).await?;
    let passkey = act.tx.passkey_by_external_id(&registration.id).await?;
    let passkey = passkey.ok_or(Error::NotFound)?;
    notify_of_passkey(&mut act, &user).await?;
    act.publish_user(&user).await?;
    act.commit().await?;
    Ok(Added {
        passkey,
        issued: sessions::issue_verified(app, &session, &user, now)?,
        recovery_codes,
    })
}

/// The mail has the link that secures the account: a passkey signs in until it is removed, whatever becomes of the password.
async fn notify_of_passkey(act: &mut Act, user: &User) -> Result<()> {
    let email = address_of(user)?;
    let token = NewOneTimeToken {
        email: Some(&email),
        ..act.new_token(Purpose::SecureAccount, Some(user.id))
    };
    act.tx.insert_one_time_token(&token).await?;
    let mail = act.mail_to(user, &email, MailKind::PasskeyAdded, Some(token.id));
    act.queue(&mail).await
}

async fn insert(
    act: &mut Act,
    user: &User,
    id: Uuid,
    registration: &PasskeyRegistration,
    registered: &Registered,
    label: &str,
) -> Result<bool> {
    let rp_id = act.app.config.passkeys.rp_id.clone();
    let new = NewPasskey {
        id,
        user: user.id,
        label,
        external_id: &registration.id,
        public_key: &registered.public_key,
        counter: i64::from(registered.counter),
        aaguid: registered.aaguid,
        transports: &registration.transports.join(" "),
        is_backup_eligible: registered.is_backup_eligible,
        is_backed_up: registered.is_backed_up,
        rp_id: &rp_id,
        created_at: act.now,
    };
    act.tx.insert_passkey(&new).await
}

/// Records why a registration was rejected. Its challenge was answered, and is answered once.
async fn reject<T>(mut act: Act, caller: &Caller, fault: passkeys::Fault) -> Result<T> {
    let failure = Entry::failure(Audit::FactorAdd, fault.reason());
    act.audit(failure.subject(caller.id()).session(caller.session));
    act.commit().await?;
    Err(fault.of_registration())
}

/// Takes up, and ends, what the caller's session has begun.
async fn take_flow(act: &mut Act, caller: &Caller, user: &User) -> Result<FlowRow> {
    let now = act.now;
    let flow = begun(act, caller, user, FlowKind::EnrollPasskey).await?;
    if act.tx.consume_flow(flow.id, now).await? {
        Ok(flow)
    } else {
        Err(Error::FlowExpired)
    }
}

/// What the caller's browser is asked for to show one of the account's passkeys within the session.
///
/// # Errors
/// `NotFound` when the account has none for this host or domain.
pub async fn step_up_options(app: &App, caller: &Caller) -> Result<RequestOptions> {
    let mut conn = app.db.read().await?;
    let purpose = Challenge::StepUp(caller.session);
    let options = passkeys::options_for(app, &mut conn, caller.id(), purpose).await?;
    options.ok_or(Error::NotFound)
}

/// Renames a passkey of the caller's.
///
/// # Errors
/// `StepUpRequired`; `NotFound`.
pub async fn rename(
    app: &App,
    caller: &Caller,
    id: Uuid,
    label: &PasskeyName,
    client: &Client,
) -> Result<Passkey> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::lock_own(&mut act.tx, caller, now).await?;
    let renamed = act.tx.rename_passkey(user.id, id, label.as_str()).await?;
    let renamed = renamed.ok_or(Error::NotFound)?;
    act.audit(
        Entry::success(Audit::FactorRename)
            .subject(user.id)
            .session(caller.session)
            .reason("passkey"),
    );
    act.commit().await?;
    Ok(renamed)
}

/// Removes a passkey of the caller's, and with it the trust in devices; with the last factor the recovery codes, too.
///
/// # Errors
/// `StepUpRequired`; `NotFound`.
pub async fn remove(app: &App, caller: &Caller, id: Uuid, client: &Client) -> Result<()> {
    step_up::require(app, caller, Policy::OwnAccount)?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::lock_own(&mut act.tx, caller, now).await?;
    if !act.tx.delete_passkey(user.id, id).await? {
        return Err(Error::NotFound);
    }
    let user = after_removal(&mut act, user).await?;
    act.audit(
        Entry::success(Audit::FactorRemove)
            .subject(user.id)
            .session(caller.session)
            .reason("passkey"),
    );
    act.notify(&user, MailKind::PasskeyRemoved).await?;
    act.publish_user(&user).await?;
    act.commit().await
}
