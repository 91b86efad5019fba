//! Links that prove an address or set a password, and changing a password or an address.
//!
//! Everything that a stranger can ask for is queued without a look at the accounts (`store::MailKind::is_request`), and
//! [`resolve`] looks afterwards: so neither the answer nor its time tells whether somebody has an account.
//!
//! A token is good once, is replaced by the next one of its purpose once that one's mail is sent, and is bound to the state that it was made for. It does
//! its work in the transaction that uses it up.

use crate::account::links::{self, Cause};
use crate::account::register;
use crate::account::undo;
use crate::act::{Client, Entry};
pub(crate) use crate::act::{address_of, parse_address};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::password::{self, LinkOwner};
use crate::auth::step_up;
use crate::cache::{self, Effects};
use crate::crypto;
use crate::domain::{Email, Locale, Password, PasswordHash, Role, SessionId, Timestamp, UserId};
use crate::error::{Error, Invalid, Refusal, Result};
use crate::mail;
use crate::passwords::Person;
use crate::sessions::{self, Issued};
use crate::store::{
    Audit, Conn, Content, MailClass, MailDetails, MailKind, MailRow, NewAudit, NewMail, NewOneTimeToken,
    NewUser, OneTimeToken, Purpose, RevokeReason, User,
};

/// What [`OneTimeToken::bound_to`] says of a reset whose account is still a registration.
const REGISTRATION: &str = "registration";

/// What [`OneTimeToken::bound_to`] says of the way back to an address that was proved.
pub(crate) const PROVED: &str = "proved";

/// The guard that is passed before it is decided what becomes of an address without an account. Locks are always taken in the
/// order guard, account, tokens and sessions, so that no two units of work wait for each other.
pub(crate) const REGISTRATIONS: &str = "registrations";

/// How many registrations of one address may wait beside each other.
const PENDING_REGISTRATIONS: usize = 5;

// Asking

/// Asks for the link that sets another password, for whoever has the address.
///
/// # Errors
/// `RateLimited`, for any address alike.
pub async fn forgot(app: &App, email: &Email, locale: Locale, client: &Client) -> Result<()> {
    app.limits.forgot(&client.ip, email.key()).await?;
    ask(app, MailKind::ResetRequest, email, locale, client).await
}

/// Asks for the mail that proves an address once more, for whoever has the address.
///
/// # Errors
/// `RateLimited`, for any address alike.
pub async fn resend(app: &App, email: &Email, locale: Locale, client: &Client) -> Result<()> {
    app.limits.verify(&client.ip, email.key()).await?;
    ask(app, MailKind::VerifyRequest, email, locale, client).await
}

async fn ask(app: &App, kind: MailKind, email: &Email, locale: Locale, client: &Client) -> Result<()> {
    let mut conn = app.db.write().await?;
    conn.queue_mail(&NewMail {
        kind,
        recipient: email,
        locale,
        user: None,
        token: None,
        content: client.request(),
        network: client.network(),
        at: app.clock.now(),
    })
    .await?;
    drop(conn);
    app.mail_queued.notify_one();
    Ok(())
}

/// Sends the mail that proves the caller's address once more, unless it is proved.
pub async fn resend_own(app: &App, caller: &Caller, client: &Client) -> Result<()> {
    let email = parse_address(&caller.user.email)?;
    app.limits.verify(&client.ip, email.key()).await?;
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let user = tx.lock_user(caller.id()).await?.ok_or(Refusal::SessionRevoked)?;
    if user.email_verified_at.is_none() {
        send_verification(&mut tx, &user, client, now).await?;
    }
    tx.commit().await?;
    app.mail_queued.notify_one();
    Ok(())
}

/// Queues the link that proves an account's address, in the caller's unit of work.
pub(crate) async fn send_verification(
    tx: &mut Conn,
    user: &User,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let email = address_of(user)?;
    let token = NewOneTimeToken {
        email: Some(&email),
        bound_to: Some(email.key()),
        ..token_for(Purpose::VerifyEmail, Some(user.id), now)
    };
    tx.insert_one_time_token(&token).await?;
    tx.queue_mail(&NewMail {
        // To an address that is not verified, also where a user is signed in.
        network: client.network(),
        ..mail_to(user, &email, MailKind::VerifyEmail, Some(token.id), client, now)
    })
    .await
}

/// Queues the link that sets a password, in the caller's unit of work, in which the user is locked: an invitation where
/// there has been no password yet.
pub(crate) async fn send_reset(
    tx: &mut Conn,
    user: &User,
    client: &Client,
    now: Timestamp,
) -> Result<uuid::Uuid> {
    let (kind, purpose) = if user.is_invited() {
        (MailKind::Invitation, Purpose::Invitation)
    } else {
        (MailKind::ResetPassword, Purpose::ResetPassword)
    };
    let email = address_of(user)?;
    let state = state_of(user, &email);
    let token = NewOneTimeToken {
        email: Some(&email),
        bound_to: Some(&state),
        ..token_for(purpose, Some(user.id), now)
    };
    tx.insert_one_time_token(&token).await?;
    tx.queue_mail(&mail_to(user, &email, kind, Some(token.id), client, now))
        .await?;
    Ok(token.id)
}

/// Makes an account for somebody and sends an invitation to choose its password.
///
/// # Errors
/// `EmailTaken`.
pub async fn invite(
    app: &App,
    email: &Email,
    full_name: Option<&crate::domain::FullName>,
    role: Role,
    locale: Locale,
    client: &Client,
) -> Result<User> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let new = NewUser {
        full_name,
        role,
        ..NewUser::new(email, locale, now)
    };
    let user = tx.insert_user(&new).await?.ok_or(Error::EmailTaken)?;
    send_reset(&mut tx, &user, client, now).await?;
    tx.insert_audit(&NewAudit {
        subject: Some(user.id),
        reason: Some(role.as_str()),
        ..client.audit(Audit::UserInvite, now)
    })
    .await?;
    if role == Role::Admin {
        let admins = admins_to_tell(&mut tx).await?;
        tell_of_new_admin(&mut tx, &admins, user.id, Audit::UserInvite, client, now).await?;
    }
    tx.commit().await?;
    app.mail_queued.notify_one();
    Ok(user)
}

/// Sends somebody the link that sets a password, for an administrator.
///
/// # Errors
/// `NotFound`.
pub async fn send_reset_to(app: &App, id: UserId, client: &Client) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let user = lock_present(&mut tx, id).await?;
    send_reset(&mut tx, &user, client, now).await?;
    record_request(&mut tx, Some(id), client, now).await?;
    tx.commit().await?;
    app.mail_queued.notify_one();
    Ok(())
}

/// Makes the link that sets a password, for an operator who hands it over by other means. No mail is sent.
pub async fn make_reset_link(app: &App, id: UserId, client: &Client) -> Result<String> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let user = lock_present(&mut tx, id).await?;
    let email = address_of(&user)?;
    let state = state_of(&user, &email);
    let token = NewOneTimeToken {
        email: Some(&email),
        bound_to: Some(&state),
        is_pending: false,
        ..token_for(Purpose::ResetPassword, Some(id), now)
    };
    // It is handed over at once, so the earlier ones end at once.
    for purpose in Purpose::ResetPassword.replaces() {
        tx.expire_one_time_tokens(*purpose, Some(id), now).await?;
    }
    tx.insert_one_time_token(&token).await?;
    record_request(&mut tx, Some(id), client, now).await?;
    tx.commit().await?;
    let base = app.config.server.public_url.as_str();
    Ok(mail::link_of(base, &app.keys, Purpose::ResetPassword, token.id))
}

/// The user with this id, locked, unless it was deleted.
async fn lock_present(tx: &mut Conn, id: UserId) -> Result<User> {
    tx.lock_user(id)
        .await?
        .filter(|user| user.deleted_at.is_none())
        .ok_or(Error::NotFound)
}

async fn record_request(
    tx: &mut Conn,
    subject: Option<UserId>,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    tx.insert_audit(&NewAudit {
        succeeded: subject.is_some(),
        reason: subject.is_none().then_some("unknown_address"),
        subject,
        ..client.audit(Audit::PasswordResetRequest, now)
    })
    .await
}

/// Looks into a request from the outbox: whose address it is, and which mails follow.
pub async fn resolve(app: &App, request: &MailRow) -> Result<()> {
    let email = parse_address(&request.recipient)?;
    let Content::Request(origin) = request.content.clone() else {
        return Err(Error::Internal(anyhow::anyhow!(
            "{} is no request",
            request.kind.as_str()
        )));
    };
    let client = Client::from(origin);
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    if !tx.settle_request(request).await? {
        return Ok(());
    }
    let mut owner = tx.user_by_email(&email).await?;
    if owner.is_none() {
        tx.pass_guard(REGISTRATIONS).await?;
        owner = tx.user_by_email(&email).await?;
    }
    let owner = match owner {
        // It may have gone, or have got another address, while this waited for its lock.
        Some(user) => tx
            .lock_user(user.id)
            .await?
            .filter(|locked| locked.email == user.email),
        None => None,
    };
    if let Some(owner) = owner.as_ref().filter(|owner| owner.deleted_at.is_some()) {
        resolve_deleted(&mut tx, owner, request, &client, now).await?;
        tx.commit().await?;
        app.mail_queued.notify_one();
        return Ok(());
    }
    match request.kind {
        MailKind::ResetRequest => resolve_reset(&mut tx, &email, owner, &client, now).await?,
        MailKind::VerifyRequest => resolve_resend(&mut tx, &email, owner, request, &client, now).await?,
        MailKind::RegistrationRequest => {
            let kind = match &owner {
                // The registration leads nowhere; its link is never made.
                Some(owner) => {
                    let stored = address_of(owner)?;
                    tx.queue_mail(&mail_to(
                        owner,
                        &stored,
                        MailKind::AlreadyRegistered,
                        None,
                        &client,
                        now,
                    ))
                    .await?;
                    tx.delete_registrations_of(email.key()).await?;
                    None
                }
                None if keep_registration(&mut tx, &email, request, now).await? => {
                    Some(MailKind::FinishRegistration)
                }
                None => {
                    offer_password_for_registration(&mut tx, &email, &client, now).await?;
                    None
                }
            };
            if let Some(kind) = kind {
                tx.queue_mail(&to_stranger(&email, kind, request, now)).await?;
            }
        }
        MailKind::EmailChangeRequest => resolve_change(&mut tx, &email, owner, request, &client, now).await?,
        other => {
            return Err(Error::Internal(anyhow::anyhow!(
                "{} is no request",
                other.as_str()
            )));
        }
    }
    tx.commit().await?;
    app.mail_queued.notify_one();
    Ok(())
}

/// What a request about the address of a deleted account leads to: its owner is sent the link that restores it.
async fn resolve_deleted(
    tx: &mut Conn,
    owner: &User,
    request: &MailRow,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let email = address_of(owner)?;
    match request.kind {
        MailKind::ResetRequest => record_request(tx, Some(owner.id), client, now).await?,
        MailKind::RegistrationRequest => {
            tx.delete_registrations_of(email.key()).await?;
        }
        // The address is reserved, and its owner has nothing to decide.
        MailKind::EmailChangeRequest => {
            return match request.token {
                Some(token) => tx.expire_one_time_token(token).await,
                None => Ok(()),
            };
        }
        _ => {}
    }
    undo::send_restoration(tx, owner, &email, client, now).await
}

async fn resolve_reset(
    tx: &mut Conn,
    email: &Email,
    owner: Option<User>,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    if let Some(owner) = owner {
        // Who may not sign in needs no password; but the owner of a frozen account recovers it with one.
        if owner.is_active || owner.frozen_at.is_some() {
            send_reset(tx, &owner, client, now).await?;
        }
        return record_request(tx, Some(owner.id), client, now).await;
    }
    offer_password_for_registration(tx, email, client, now).await?;
    record_request(tx, None, client, now).await
}

/// Sends the link that makes the account of a registration with another password than the registered one, which the owner of
/// the address may not know. Nothing happens where no registration waits.
async fn offer_password_for_registration(
    tx: &mut Conn,
    email: &Email,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    if let Some(registration) = tx.live_registrations_of(email.key(), now).await?.pop() {
        let email = parse_address(&registration.email)?;
        let token = NewOneTimeToken {
            email: Some(&email),
            bound_to: Some(REGISTRATION),
            ..token_for(Purpose::ResetPassword, None, now)
        };
        tx.insert_one_time_token(&token).await?;
        tx.queue_mail(&NewMail {
            kind: MailKind::ResetPassword,
            recipient: &email,
            locale: registration.locale,
            user: None,
            token: Some(token.id),
            content: Content::Mail(MailDetails::bare()),
            network: client.network(),
            at: now,
        })
        .await?;
    }
    Ok(())
}

/// Whether a registration may wait beside the earlier ones of its address. Each has its own link and its own password, so a
/// stranger who registers the address again ends none. One too many is removed: then the mail offers to set a password,
/// which works for the owner of the address whatever the others have registered.
async fn keep_registration(tx: &mut Conn, email: &Email, request: &MailRow, now: Timestamp) -> Result<bool> {
    if tx.live_registrations_of(email.key(), now).await?.len() <= PENDING_REGISTRATIONS {
        return Ok(true);
    }
    if let Some(token) = request.token {
        tx.expire_one_time_token(token).await?;
        tx.delete_registration(token).await?;
    }
    Ok(false)
}

async fn resolve_resend(
    tx: &mut Conn,
    email: &Email,
    owner: Option<User>,
    request: &MailRow,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    match owner {
        Some(owner) if owner.email_verified_at.is_some() || !owner.is_active => Ok(()),
        Some(owner) if owner.password_hash.is_some() => send_verification(tx, &owner, client, now).await,
        // Nobody can sign in to it yet, so nobody could finish the proof: the invitation proves the address, too.
        Some(owner) => send_reset(tx, &owner, client, now).await.map(drop),
        // Which of them its owner has made is not known here.
        None => {
            for registration in tx.live_registrations_of(email.key(), now).await? {
                let email = parse_address(&registration.email)?;
                let again = NewMail {
                    token: Some(registration.token),
                    locale: registration.locale,
                    ..to_stranger(&email, MailKind::FinishRegistration, request, now)
                };
                tx.queue_mail(&again).await?;
            }
            Ok(())
        }
    }
}

async fn resolve_change(
    tx: &mut Conn,
    email: &Email,
    owner: Option<User>,
    request: &MailRow,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let Some(id) = request.user else { return Ok(()) };
    let Some(user) = tx.user_by_id(id).await? else {
        return Ok(());
    };
    if let Some(other) = owner.filter(|owner| owner.id != id) {
        // This one alone: its owner may have asked for another address since.
        if let Some(token) = request.token {
            tx.expire_one_time_token(token).await?;
        }
        // Only a verified account may cause a notice to somebody else's.
        if user.email_verified_at.is_none() {
            return Ok(());
        }
        let stored = address_of(&other)?;
        return tx
            .queue_mail(&NewMail {
                network: request.network.clone(),
                ..mail_to(&other, &stored, MailKind::EmailWanted, None, client, now)
            })
            .await;
    }
    // To an address that may be a stranger's: it names neither the account nor its owner.
    tx.queue_mail(&NewMail {
        kind: MailKind::ConfirmEmail,
        recipient: email,
        locale: user.locale,
        user: Some(id),
        token: request.token,
        content: Content::Mail(MailDetails::bare()),
        network: request.network.clone(),
        at: now,
    })
    .await
}

// Passwords

/// Sets a password with a link from a mail. All sessions end; no new one begins. A frozen account also wants a
/// password or a known device from before the change that was undone, and is released by it.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`; `AccountInactive`; `RecoveryBlocked`, `InvalidCredentials`, `RateLimited` and
/// `Invalid` for a frozen account; `Invalid` for a password against the policy; `Overloaded`. The link is used up only by success.
pub async fn reset(
    app: &App,
    token: &str,
    new: Password,
    shown: undo::Shown<'_>,
    client: &Client,
) -> Result<()> {
    let token = usable(app, &[Purpose::ResetPassword, Purpose::Invitation], token).await?;
    let owner = match token.user_id() {
        Some(id) => app.db.write().await?.user_by_id(id).await?,
        None => None,
    };
    let frozen_at = owner.as_ref().and_then(|owner| owner.frozen_at);
    if let Some(owner) = owner.as_ref().filter(|owner| owner.frozen_at.is_some()) {
        undo::require_another(&new, &shown)?;
        undo::verify_recovery(app, owner, shown, client).await?;
    }
    let person = match (&owner, &token.email) {
        (Some(owner), _) => person(owner),
        (None, email) => Person {
            email: email.as_deref().unwrap_or_default(),
            full_name: None,
        },
    };
    let new = app.passwords.accept("new_password", new, person).await?;
    // The slow part, with nothing held. Only who has a link gets here.
    let hash = app.hasher.hash(new, client.requester()).await?;
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let Some(before) = lock_and_claim(&mut tx, &token, now).await? else {
        return reset_registration(app, tx, &token, &hash, client, now).await;
    };
    let id = before.id;
    let email = address_of(&before)?;
    if token.bound_to.as_deref() != Some(&state_of(&before, &email)) {
        return Err(Error::LinkExpired);
    }
    if before.frozen_at != frozen_at {
        // Frozen or released meanwhile.
        return Err(Error::LinkExpired);
    }
    if !before.is_active && frozen_at.is_none() {
        return Err(Error::AccountInactive);
    }
    // What stands there before the proof was written by whoever registered the address, who need not be its owner. What
    // stands in an invitation was written by an administrator.
    let forget = before.email_verified_at.is_none() && !before.is_invited();
    let user = if frozen_at.is_some() {
        tx.delete_past_credentials(id).await?;
        tx.recover_user(id, &hash, now).await?
    } else {
        tx.reset_password_hash(id, &hash, forget, now).await?
    };
    let user = user.ok_or(Error::LinkExpired)?;
    tx.forget_devices(id, now).await?;
    let cause = if forget {
        Cause::Claimed
    } else {
        Cause::PasswordReset
    };
    links::end(&mut tx, id, cause, now).await?;
    let client = acting(client, id);
    let reason = RevokeReason::PasswordChanged;
    let mut effects = Effects::default();
    let ended = tx.revoke_sessions_of(id, None, reason, now).await?;
    sessions::record_revocations(&mut tx, &ended, reason, &client, now, &mut effects).await?;
    tx.insert_audit(&NewAudit {
        subject: Some(id),
        reason: Some(if frozen_at.is_some() {
            "recovery"
        } else if before.is_invited() {
            "invitation"
        } else {
            "reset"
        }),
        ..client.audit(Audit::PasswordReset, now)
    })
    .await?;
    tx.queue_mail(&mail_to(
        &user,
        &email,
        MailKind::PasswordChanged,
        None,
        &client,
        now,
    ))
    .await?;
    finish(app, tx, &user, effects, now).await?;
    app.metrics.sessions_revoked(reason.as_str(), ended.len() as u64);
    Ok(())
}

/// Makes the account of a registration whose address was proved by "forgot password". Nothing that was registered is kept
/// but the language.
async fn reset_registration(
    app: &App,
    mut tx: Conn,
    token: &OneTimeToken,
    hash: &PasswordHash,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let email = parse_address(token.email.as_deref().unwrap_or_default())?;
    let locale = tx
        .live_registrations_of(email.key(), now)
        .await?
        .pop()
        .map_or(app.config.mail.locale, |registration| registration.locale);
    let new = NewUser {
        password_hash: Some(hash),
        email_verified_at: Some(now),
        ..NewUser::new(&email, locale, now)
    };
    make_account(&mut tx, &new, client, now).await?;
    tx.commit().await
}

/// Adds the account of a registration, and ends all registrations of the address.
async fn make_account(tx: &mut Conn, new: &NewUser<'_>, client: &Client, now: Timestamp) -> Result<User> {
    // Somebody else's link to the same address was quicker.
    let user = tx.insert_user(new).await?.ok_or(Error::LinkUsed)?;
    tx.expire_one_time_tokens_for(Purpose::Registration, new.email.key(), now)
        .await?;
    tx.expire_one_time_tokens_for(Purpose::ResetPassword, new.email.key(), now)
        .await?;
    tx.delete_registrations_of(new.email.key()).await?;
    tx.insert_audit(&NewAudit {
        subject: Some(user.id),
        ..acting(client, user.id).audit(Audit::Register, now)
    })
    .await?;
    Ok(user)
}

/// Changes one's own password. The other sessions end; this one goes on with its next generation.
///
/// # Errors
/// `InvalidCredentials` for a wrong current password, also when it was changed at the same moment; `RateLimited`.
pub async fn change_password(
    app: &App,
    caller: &Caller,
    current: Password,
    new: Password,
    client: &Client,
) -> Result<Issued> {
    let verified = step_up::verify(app, caller, current, Audit::PasswordChange, client).await?;
    let new = app
        .passwords
        .accept("new_password", new, person(&verified))
        .await?;
    let hash = app.hasher.hash(new, client.requester()).await?;
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let before = step_up::revalidate(&mut tx, caller, &verified, now).await?;
    let own = tx
        .session_by_id(caller.session)
        .await?
        .ok_or(Refusal::SessionRevoked)?;
    undo::remember_before_password(app, &mut tx, &before, &own, now).await?;
    if !tx
        .change_password_hash(before.id, before.password_hash.as_ref(), &hash, now)
        .await?
    {
        return Err(Error::InvalidCredentials);
    }
    let user = tx.user_by_id(before.id).await?.ok_or(Refusal::SessionRevoked)?;
    tx.forget_devices(user.id, now).await?;
    links::end(&mut tx, user.id, Cause::PasswordChanged, now).await?;
    let reason = RevokeReason::PasswordChanged;
    let mut effects = Effects::default();
    let ended = tx
        .revoke_sessions_of(user.id, Some(caller.session), reason, now)
        .await?;
    sessions::record_revocations(&mut tx, &ended, reason, client, now, &mut effects).await?;
    let idle_end = |end: Timestamp| now.plus(app.config.session.idle).min(end);
    let session = tx
        .session_by_id(caller.session)
        .await?
        .ok_or(Refusal::SessionRevoked)?;
    let session = tx
        .retire_generations(caller.session, now, idle_end(session.expires_at))
        .await?
        .ok_or(Refusal::SessionRevoked)?;
    tx.record_retirement(&session, now).await?;
    effects.retire(&session, &user);
    tx.insert_audit(&NewAudit {
        subject: Some(user.id),
        session: Some(caller.session),
        ..client.audit(Audit::PasswordChange, now)
    })
    .await?;
    let email = address_of(&user)?;
    tx.queue_mail(&mail_to(
        &user,
        &email,
        MailKind::PasswordChanged,
        None,
        client,
        now,
    ))
    .await?;
    finish(app, tx, &user, effects, now).await?;
    app.metrics.sessions_revoked(reason.as_str(), ended.len() as u64);
    sessions::issue(app, &session, &user, now).await
}

/// Whose password an account's is.
fn person(user: &User) -> Person<'_> {
    Person {
        email: &user.email,
        full_name: user.full_name.as_deref(),
    }
}

// Addresses

/// How often an account whose address is not verified may correct it, in all.
const CORRECTIONS_AT_MOST: i64 = 3;

/// Asks for another address. It takes effect when the new one is verified; whether it is free is not told. An account whose
/// own address is not verified gets three mails in all, and nothing else happens after that: otherwise an
/// account that anybody can make would send mail to anybody.
///
/// # Errors
/// `RateLimited`; `InvalidCredentials`; `Overloaded`.
pub async fn request_email_change(
    app: &App,
    caller: &Caller,
    new: &Email,
    password: Password,
    client: &Client,
) -> Result<()> {
    register::require_domain(app, "new_email", new)?;
    app.limits.email_change(&client.ip, caller.id()).await?;
    let verified = step_up::verify(app, caller, password, Audit::EmailChangeRequest, client).await?;
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let user = step_up::revalidate(&mut tx, caller, &verified, now).await?;
    let may_mail =
        user.email_verified_at.is_some() || tx.count_email_correction(user.id, CORRECTIONS_AT_MOST).await?;
    if may_mail {
        let state = state_of(&user, &address_of(&user)?);
        let token = NewOneTimeToken {
            email: Some(new),
            session: Some(caller.session),
            bound_to: Some(&state),
            ..token_for(Purpose::ChangeEmail, Some(user.id), now)
        };
        tx.insert_one_time_token(&token).await?;
        tx.queue_mail(&NewMail {
            kind: MailKind::EmailChangeRequest,
            recipient: new,
            locale: user.locale,
            user: Some(user.id),
            token: Some(token.id),
            content: client.request(),
            network: match user.email_verified_at {
                Some(_) => None,
                None => client.network(),
            },
            at: now,
        })
        .await?;
    }
    tx.insert_audit(&NewAudit {
        succeeded: may_mail,
        reason: (!may_mail).then_some("email_not_verified"),
        subject: Some(user.id),
        session: Some(caller.session),
        ..client.audit(Audit::EmailChangeRequest, now)
    })
    .await?;
    tx.commit().await?;
    app.mail_queued.notify_one();
    Ok(())
}

/// Does what a link about an address is for: proves it, makes the account of a registration, or changes an address
/// or changes it back.
///
/// A click alone proves only that somebody reads the mailbox, perhaps on behalf of an account that somebody else has made. So
/// it also takes the account's own session or password; only going back to the old address takes neither.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`; `Invalid` without session and password; `InvalidCredentials`. The link is
/// used up only by success.
pub async fn verify_email(
    app: &App,
    token: &str,
    password: Option<Password>,
    caller: Option<&Caller>,
    client: &Client,
) -> Result<()> {
    let purposes = [
        Purpose::VerifyEmail,
        Purpose::Registration,
        Purpose::ChangeEmail,
        Purpose::UndoEmailChange,
        Purpose::UndoDeletion,
    ];
    let token = usable(app, &purposes, token).await?;
    if [Purpose::UndoEmailChange, Purpose::UndoDeletion]
        .iter()
        .any(|purpose| token.purpose == purpose.as_str())
    {
        return undo::undo_by(app, &token, client).await.map(drop);
    }
    if token.purpose == Purpose::Registration.as_str() {
        return finish_registration(app, &token, password, client).await;
    }
    let id = token.user_id().ok_or(Error::LinkInvalid)?;
    let user = app
        .db
        .write()
        .await?
        .user_by_id(id)
        .await?
        .ok_or(Error::LinkExpired)?;
    let own_session = caller.filter(|caller| caller.id() == id);
    if own_session.is_none() {
        let password = password.ok_or_else(password_wanted)?;
        let owner = LinkOwner {
            email: &address_of(&user)?,
            user: Some(id),
            hashes: user.password_hash.iter().cloned().collect(),
        };
        password::verify_link_owner(app, owner, &password, wrong_password(), client).await?;
    }
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let before = lock_and_claim(&mut tx, &token, now)
        .await?
        .ok_or(Error::LinkInvalid)?;
    if let Some(caller) = own_session {
        step_up::revalidate(&mut tx, caller, &user, now).await?;
    }
    if before.password_changed_at != user.password_changed_at {
        return Err(Error::InvalidCredentials);
    }
    if !before.is_active {
        return Err(Error::AccountInactive);
    }
    let client = acting(client, id);
    if token.purpose == Purpose::ChangeEmail.as_str() {
        return change_email(app, tx, &token, &before, &client, now).await;
    }
    if token.bound_to.as_deref() != Some(address_of(&before)?.key()) {
        return Err(Error::LinkExpired);
    }
    let user = tx.verify_email(id, now).await?.ok_or(Error::LinkExpired)?;
    tx.insert_audit(&NewAudit {
        subject: Some(id),
        session: own_session.map(|caller| caller.session),
        ..client.audit(Audit::EmailVerify, now)
    })
    .await?;
    finish(app, tx, &user, Effects::default(), now).await
}

fn password_wanted() -> Error {
    Error::invalid(
        "password",
        Invalid::new(
            "required",
            "Give the account's password, or send the access token of a session of this account.",
        ),
    )
}

fn wrong_password() -> Entry {
    Entry::failure(Audit::EmailVerify, "invalid_credentials")
}

async fn finish_registration(
    app: &App,
    token: &OneTimeToken,
    password: Option<Password>,
    client: &Client,
) -> Result<()> {
    let password = password.ok_or_else(password_wanted)?;
    let registration = app.db.write().await?.registration(token.id).await?;
    let registration = registration.ok_or(Error::LinkExpired)?;
    let email = parse_address(&registration.email)?;
    let hash = registration.password_hash;
    let owner = LinkOwner {
        email: &email,
        user: None,
        hashes: vec![hash.clone()],
    };
    password::verify_link_owner(app, owner, &password, wrong_password(), client).await?;
    let full_name = match registration.full_name {
        Some(name) => crate::domain::FullName::parse(&name).ok().flatten(),
        None => None,
    };
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    lock_and_claim(&mut tx, token, now).await?;
    let new = NewUser {
        password_hash: Some(&hash),
        full_name: full_name.as_ref(),
        email_verified_at: Some(now),
        ..NewUser::new(&email, registration.locale, now)
    };
    make_account(&mut tx, &new, client, now).await?;
    tx.commit().await
}

/// Makes the proved address the account's. All sessions end but the one that asked.
async fn change_email(
    app: &App,
    mut tx: Conn,
    token: &OneTimeToken,
    before: &User,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let old = address_of(before)?;
    if token.bound_to.as_deref() != Some(&state_of(before, &old)) {
        return Err(Error::LinkExpired);
    }
    let new = parse_address(token.email.as_deref().unwrap_or_default())?;
    undo::remember_before_change(app, &mut tx, before, now).await?;
    // Taken since the link was sent: there is nothing left that it could do.
    let user = tx
        .change_email(before, &new, Some(now), now)
        .await?
        .ok_or(Error::LinkExpired)?;
    tx.forget_devices(user.id, now).await?;
    links::end(&mut tx, user.id, Cause::AddressChanged, now).await?;
    // Earlier ones stay: who changes the address twice must not take the first owner's way back.
    let undo = NewOneTimeToken {
        email: Some(&old),
        bound_to: before.email_verified_at.map(|_| PROVED),
        ..token_for(Purpose::UndoEmailChange, Some(user.id), now)
    };
    tx.insert_one_time_token(&undo).await?;
    // As the account was: whether the old address was verified decides what the mail may say.
    let details = MailDetails::for_owner(before, client.origin()).with_new_address(before, &user);
    tx.queue_mail(&NewMail {
        content: Content::Mail(details),
        ..mail_to(before, &old, MailKind::EmailChanged, Some(undo.id), client, now)
    })
    .await?;
    tx.queue_mail(&mail_to(
        &user,
        &new,
        MailKind::EmailChangeDone,
        None,
        client,
        now,
    ))
    .await?;
    end_sessions(
        app,
        tx,
        &user,
        token.session_id(),
        Audit::EmailChange,
        client,
        now,
    )
    .await
}

pub(crate) async fn end_sessions(
    app: &App,
    mut tx: Conn,
    user: &User,
    except: Option<SessionId>,
    action: Audit,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let reason = RevokeReason::RevokedByUser;
    let mut effects = Effects::default();
    let ended = tx.revoke_sessions_of(user.id, except, reason, now).await?;
    sessions::record_revocations(&mut tx, &ended, reason, client, now, &mut effects).await?;
    tx.insert_audit(&NewAudit {
        subject: Some(user.id),
        session: except,
        ..client.audit(action, now)
    })
    .await?;
    finish(app, tx, user, effects, now).await?;
    app.metrics.sessions_revoked(reason.as_str(), ended.len() as u64);
    Ok(())
}

// What they share

/// Commits a change of a user and makes it known.
pub(crate) async fn finish(
    app: &App,
    mut tx: Conn,
    user: &User,
    mut effects: Effects,
    now: Timestamp,
) -> Result<()> {
    tx.record_user_change(user.id, now, cache::user_copies_until(now))
        .await?;
    effects.change(user);
    app.commit(tx, effects).await?;
    app.mail_queued.notify_one();
    Ok(())
}

/// A token of this purpose with a fresh id, to be completed. It goes out by mail: its life begins, and the links that it
/// replaces end, when that mail is sent ([`outbox`](crate::worker::outbox)).
pub(crate) fn token_for(purpose: Purpose, user: Option<UserId>, now: Timestamp) -> NewOneTimeToken<'static> {
    NewOneTimeToken {
        id: uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid(),
        purpose,
        user,
        email: None,
        session: None,
        bound_to: None,
        created_at: now,
        expires_at: now.plus(purpose.lifetime()),
        is_pending: true,
    }
}

/// Whether an address, which a change or a deletion has just taken from an account, is still kept so that its owner can take
/// it back. Otherwise who takes an account over would only have to register its old address to keep it.
pub(crate) async fn is_kept_for_its_owner(tx: &mut Conn, email: &Email, now: Timestamp) -> Result<bool> {
    for purpose in [Purpose::UndoEmailChange, Purpose::UndoDeletion] {
        if tx
            .has_one_time_token_for(purpose, email.key(), PROVED, now)
            .await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The row of a token that is ours, for one of these purposes, unused and within its time. Says nothing about later.
pub(crate) async fn usable(app: &App, purposes: &[Purpose], token: &str) -> Result<OneTimeToken> {
    let id = purposes
        .iter()
        .find_map(|purpose| app.keys.one_time.read(*purpose, token))
        .ok_or(Error::LinkInvalid)?;
    let row = app.db.write().await?.one_time_token(id).await?;
    let row = row.ok_or(Error::LinkExpired)?;
    match state_of_token(&row, app.clock.now()) {
        Some(error) => Err(error),
        None => Ok(row),
    }
}

fn state_of_token(token: &OneTimeToken, now: Timestamp) -> Option<Error> {
    if token.used_at.is_some() {
        return Some(Error::LinkUsed);
    }
    (now >= token.expires_at).then_some(Error::LinkExpired)
}

/// Uses a token up, in the unit of work that does what it is for. Of any number one goes on. Gives the account that the
/// token belongs to, locked; or else the guard of registrations is passed.
pub(crate) async fn lock_and_claim(
    tx: &mut Conn,
    token: &OneTimeToken,
    now: Timestamp,
) -> Result<Option<User>> {
    let user = if let Some(id) = token.user_id() {
        Some(tx.lock_user(id).await?.ok_or(Error::LinkExpired)?)
    } else {
        tx.pass_guard(REGISTRATIONS).await?;
        None
    };
    if tx.claim_one_time_token(token.id, now).await? {
        return Ok(user);
    }
    let row = tx.one_time_token(token.id).await?;
    Err(row
        .and_then(|row| state_of_token(&row, now))
        .unwrap_or(Error::LinkExpired))
}

/// What of an account must still be so when a token that sets a password or an address is used.
fn state_of(user: &User, email: &Email) -> String {
    let changed = user.password_changed_at.map_or(0, Timestamp::as_micros);
    format!("{} {changed}", email.key())
}

/// The client, with the holder of a link or password as the one who acts.
pub(crate) fn acting(client: &Client, user: UserId) -> Client {
    Client {
        actor: Some(client.actor.unwrap_or(user)),
        ..client.clone()
    }
}

/// A mail to the owner of an account. Its details name nothing that was chosen before the account's address was verified.
pub(crate) fn mail_to<'a>(
    user: &User,
    recipient: &'a Email,
    kind: MailKind,
    token: Option<uuid::Uuid>,
    client: &Client,
    now: Timestamp,
) -> NewMail<'a> {
    NewMail {
        kind,
        recipient,
        locale: user.locale,
        user: Some(user.id),
        token,
        content: Content::Mail(MailDetails::for_owner(user, client.origin())),
        // Notices tell an owner what has happened; no stranger's network must be able to stop them.
        network: match (client.actor, kind.class()) {
            (Some(_), _) | (None, MailClass::Notice) => None,
            (None, MailClass::Reset | MailClass::Other) => client.network(),
        },
        at: now,
    }
}

/// How many administrators are told of a new one, at most.
const TOLD_AT_MOST: i64 = 200;

/// Who is told when there is a new administrator: the active ones whose address is verified.
pub(crate) async fn admins_to_tell(tx: &mut Conn) -> Result<Vec<User>> {
    tx.verified_admins(TOLD_AT_MOST).await
}

/// Tells administrators that a user is one now, in the unit of work of the act, after its row in the audit trail.
pub(crate) async fn tell_of_new_admin(
    tx: &mut Conn,
    admins: &[User],
    new: UserId,
    action: Audit,
    client: &Client,
    now: Timestamp,
) -> Result<()> {
    let Some(row) = tx.latest_audit_of(new, action).await? else {
        return Ok(());
    };
    for admin in admins.iter().filter(|admin| admin.id != new) {
        let email = address_of(admin)?;
        let details = MailDetails::for_owner(admin, client.origin()).with_subject(new, row);
        tx.queue_mail(&NewMail {
            content: Content::Mail(details),
            ..mail_to(admin, &email, MailKind::NewAdmin, None, client, now)
        })
        .await?;
    }
    Ok(())
}

/// A mail to an address without an account. It names nobody: whoever typed the address in could write to its owner that way.
fn to_stranger<'a>(recipient: &'a Email, kind: MailKind, request: &MailRow, now: Timestamp) -> NewMail<'a> {
    NewMail {
        kind,
        recipient,
        locale: request.locale,
        user: None,
        token: request.token,
        content: Content::Mail(MailDetails::bare()),
        network: request.network.clone(),
        at: now,
    }
}

/// Registers under `verify_first`: the same work and the same rows for any address.
pub(crate) async fn request_registration(
    app: &App,
    new: register::Registration,
    client: &Client,
) -> Result<()> {
    let password = app
        .passwords
        .accept("password", new.password.clone(), new.person())
        .await?;
    let hash = app.hasher.hash(password, client.requester()).await?;
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    let token = NewOneTimeToken {
        email: Some(&new.email),
        ..token_for(Purpose::Registration, None, now)
    };
    tx.insert_one_time_token(&token).await?;
    tx.insert_registration(
        token.id,
        &new.email,
        &hash,
        new.full_name.as_ref(),
        new.locale,
        now,
    )
    .await?;
    tx.queue_mail(&NewMail {
        kind: MailKind::RegistrationRequest,
        recipient: &new.email,
        locale: new.locale,
        user: None,
        token: Some(token.id),
        content: client.request(),
        network: client.network(),
        at: now,
    })
    .await?;
    tx.commit().await?;
    app.mail_queued.notify_one();
    Ok(())
}
