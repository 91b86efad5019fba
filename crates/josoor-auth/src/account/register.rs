//! What people do with their own accounts: register, change the profile, leave. And the first account of all.

use crate::account::notices;
use crate::account::recovery;
use crate::act::{Client, Entry};
use crate::admin::users;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::flow::{Flow, Step};
use crate::auth::{password, step_up};
use crate::config::RegistrationMode;
use crate::crypto;
use crate::domain::{Email, FullName, Locale, Password, Role, Secret};
use crate::error::{Error, Invalid, Refusal, Result};
use crate::passwords::Person;
use crate::sessions::{self, Issued, SignInWith};
use crate::store::{Audit, NewOneTimeToken, NewUser, Purpose, RevokeReason, User, UserPatch};

/// What somebody registers with. There is no role in it: everybody begins as a user.
#[derive(Debug)]
pub struct Registration {
    /// The address.
    pub email: Email,
    /// The password; its policy is checked here.
    pub password: Password,
    /// The name to show.
    pub full_name: Option<FullName>,
    /// The language of pages and mails.
    pub locale: Locale,
}

/// Makes an account and signs it in; under `require_verified` it is not signed in; under `verify_first` a mail says how to go
/// on, and there is no account yet.
///
/// # Errors
/// `RegistrationClosed`; `RateLimited`; `Invalid` for a password against the policy; `EmailTaken`, never under
/// `verify_first`; `Overloaded`.
pub async fn register(
    app: &App,
    new: Registration,
    with: SignInWith,
    client: &Client,
) -> Result<Option<Issued>> {
    let mode = app.config.registration.mode;
    if mode == RegistrationMode::Closed {
        return Err(Error::RegistrationClosed);
    }
    app.limits.register(&client.ip).await?;
    require_domain(app, "email", &new.email)?;
    if mode == RegistrationMode::VerifyFirst {
        recovery::request_registration(app, new, client).await?;
        return Ok(None);
    }
    create(app, new, Role::User, with, client, None).await
}

/// Refuses an address whose mail domain may not be registered.
///
/// # Errors
/// `Invalid` with `email_domain_not_allowed` for `field`.
pub(crate) fn require_domain(app: &App, field: &'static str, email: &Email) -> Result<()> {
    if app.config.registration.domains.admit(email) {
        return Ok(());
    }
    let reason = Invalid::new(
        "email_domain_not_allowed",
        "Addresses of this mail domain are not accepted here; use another one.",
    );
    Err(Error::invalid(field, reason))
}

impl Registration {
    /// Whose password it is.
    pub(crate) fn person(&self) -> Person<'_> {
        Person {
            email: self.email.address(),
            full_name: self.full_name.as_ref().map(FullName::as_str),
        }
    }
}

/// Makes a one-time token for the first administrator, if there is no administrator yet. Earlier ones end.
pub async fn offer_setup(app: &App) -> Result<Option<Secret>> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    tx.pass_guard("admins").await?;
    if tx.count_active_admins().await? > 0 {
        return Ok(None);
    }
    tx.expire_one_time_tokens(Purpose::Setup, None, now).await?;
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    tx.insert_one_time_token(&NewOneTimeToken {
        id,
        purpose: Purpose::Setup,
        user: None,
        email: None,
        session: None,
        bound_to: None,
        created_at: now,
        expires_at: now.plus(Purpose::Setup.lifetime()),
        is_pending: false,
    })
    .await?;
    tx.commit().await?;
    Ok(Some(app.keys.one_time.issue(Purpose::Setup, id)))
}

/// Makes the first administrator with the token that the first start printed, and signs it in.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`; `LinkUsed` also once there is an administrator.
pub async fn set_up(
    app: &App,
    token: &str,
    new: Registration,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    let id = app
        .keys
        .one_time
        .read(Purpose::Setup, token)
        .ok_or(Error::LinkInvalid)?;
    let row = app
        .db
        .read()
        .await?
        .one_time_token(id)
        .await?
        .ok_or(Error::LinkInvalid)?;
    if row.used_at.is_some() {
        return Err(Error::LinkUsed);
    }
    if app.clock.now() >= row.expires_at {
        return Err(Error::LinkExpired);
    }
    let issued = create(app, new, Role::Admin, with, client, Some(id)).await?;
    issued.ok_or_else(|| Error::internal(anyhow::anyhow!("the first administrator was not signed in")))
}

/// Makes an account and signs it in; under `registration.require_verified` only the first administrator, who holds a link
/// of the operator's.
async fn create(
    app: &App,
    new: Registration,
    role: Role,
    with: SignInWith,
    client: &Client,
    setup: Option<uuid::Uuid>,
) -> Result<Option<Issued>> {
    let password = app
        .passwords
        .accept("password", new.password.clone(), new.person())
        .await?;
    // One at a time for each address: of many that ask for one address at once, one hashes and the others are rejected.
    let _guard = app.registrations.lock(new.email.key()).await;
    if app.db.read().await?.user_by_email(&new.email).await?.is_some() {
        return Err(Error::EmailTaken);
    }
    let hash = app.hasher.hash(password, client.requester()).await?;
    let mut act = app.act(client).await?;
    let now = act.now;
    if let Some(id) = setup {
        act.tx.pass_guard("admins").await?;
        if act.tx.count_active_admins().await? > 0 || !act.tx.claim_one_time_token(id, now).await? {
            return Err(Error::LinkUsed);
        }
    }
    let user = act
        .tx
        .insert_user(&NewUser {
            password_hash: Some(&hash),
            full_name: new.full_name.as_ref(),
            role,
            ..NewUser::new(&new.email, new.locale, now)
        })
        .await?
        .ok_or(Error::EmailTaken)?;
    // After the row, which waits for a change of address that is under way.
    if recovery::is_kept_for_its_owner(&mut act.tx, &new.email, now).await? {
        return Err(Error::EmailTaken);
    }
    let may_sign_in = setup.is_some() || !app.config.registration.require_verified;
    let flow = Flow::registration().with(password::just_set(&user, now));
    let opened = match flow.finish(app, &user)? {
        Step::Finished(who) if may_sign_in => Some(sessions::open(&mut act, &who, &user, with).await?),
        Step::Finished(_) | Step::FactorNeeded(_) => None,
    };
    let entry = Entry::success(Audit::Register).actor(user.id).subject(user.id);
    act.audit(entry.session(opened.as_ref().map(|opened| opened.session.id())));
    if role == Role::Admin {
        let admins = notices::admins_to_notify(&mut act.tx).await?;
        notices::notify_of_new_admin(&mut act, &admins, user.id, Audit::Register).await?;
    }
    recovery::send_verification(&mut act.tx, &user, client, now).await?;
    let issued = if let Some(opened) = opened {
        Some(opened.commit(act, &user).await?)
    } else {
        act.commit().await?;
        None
    };
    app.mail_queued.notify_one();
    Ok(issued)
}

/// Changes one's own name or language.
pub async fn update_profile(app: &App, caller: &Caller, patch: UserPatch, client: &Client) -> Result<User> {
    debug_assert!(
        patch.role.is_none() && patch.is_active.is_none(),
        "a profile has neither"
    );
    users::update(app, caller.id(), patch, client)
        .await
        .map_err(as_own_account)
}

/// The account went away after the request was let in, and its sessions with it.
fn as_own_account(error: Error) -> Error {
    match error {
        Error::NotFound => Refusal::SessionRevoked.into(),
        other => other,
    }
}

/// Deletes one's own account. For `account.deletion_grace` a mail's link restores it.
///
/// # Errors
/// `InvalidCredentials` for a wrong password; `RateLimited`; `LastAdmin`.
pub async fn delete(app: &App, caller: &Caller, password: Password, client: &Client) -> Result<()> {
    let user = step_up::verify(app, caller, password, Audit::UserDelete, client).await?;
    let (session, password_changed_at) = (caller.session, user.password_changed_at);
    let grace = app.config.account.deletion_grace;
    users::delete_if(app, caller.id(), grace, client, async |act, user| {
        // A password change or a sign-out during the hash wins.
        if user.password_changed_at != password_changed_at {
            return Err(Error::InvalidCredentials);
        }
        let row = act
            .tx
            .session_by_id(session)
            .await?
            .ok_or(Refusal::SessionRevoked)?;
        row.ended(act.now).map_or(Ok(()), |why| Err(why.into()))
    })
    .await
    .map_err(as_own_account)
}

/// One's own sessions but the current one, ended. How many there were.
pub async fn revoke_other_sessions(app: &App, caller: &Caller, client: &Client) -> Result<usize> {
    sessions::revoke_all(
        app,
        caller.id(),
        Some(caller.session),
        RevokeReason::RevokedByUser,
        client,
    )
    .await
}
