//! Requests that anybody may make for any address. They are queued without a lookup, and resolved afterwards: so neither the
//! answer nor its time discloses whether there is an account.

use crate::account::{deletion, email, links, mail_code, password};
use crate::act::{Act, Client, Entry, address_of, parse_address};
use crate::app::App;
use crate::auth::failures;
use crate::domain::{Audit, Email, Locale, MailKind};
use crate::error::{Error, Result};
use crate::store::{Content, MailRow, NewMail, User};

/// How many registrations of one address may wait beside each other.
const PENDING_REGISTRATIONS: usize = 5;

/// Requests the link that sets another password.
///
/// # Errors
/// `RateLimited`, for any address alike.
pub async fn forgot_password(app: &App, email: &Email, locale: Locale, client: &Client) -> Result<()> {
    app.limits.forgot(&client.ip, email.key()).await?;
    queue(app, MailKind::ResetRequest, email, locale, client).await
}

/// Requests the mail that verifies an address once more.
///
/// # Errors
/// `RateLimited`, for any address alike.
pub async fn resend_verification(app: &App, email: &Email, locale: Locale, client: &Client) -> Result<()> {
    app.limits.verify(&client.ip, email.key()).await?;
    queue(app, MailKind::VerifyRequest, email, locale, client).await
}

async fn queue(app: &App, kind: MailKind, email: &Email, locale: Locale, client: &Client) -> Result<()> {
    let mut act = app.act(client).await?;
    let request = NewMail {
        content: client.request(),
        ..act.mail_to_stranger(email, kind, locale, None)
    };
    act.queue(&request).await?;
    act.commit().await
}

/// Resolves a request from the outbox: removes it and queues the mails that follow, in one act.
///
/// # Errors
/// `StoreUnavailable`; `Internal` for a row that is no request.
pub async fn resolve(app: &App, request: &MailRow) -> Result<()> {
    let email = parse_address(&request.recipient)?;
    let Content::Request(origin) = request.content.clone() else {
        return Err(no_request(request));
    };
    let mut act = app.act(&Client::from(origin)).await?;
    if !act.tx.settle_request(request).await? {
        return Ok(());
    }
    let mut owner = act.tx.user_by_email(&email).await?;
    if owner.is_none() {
        act.tx.pass_guard(links::REGISTRATIONS).await?;
        owner = act.tx.user_by_email(&email).await?;
    }
    let owner = match owner {
        // It may have been deleted, or have got another address, while this waited for its lock.
        Some(user) => act
            .tx
            .lock_user(user.id)
            .await?
            .filter(|locked| locked.email == user.email),
        None => None,
    };
    match owner {
        Some(owner) if owner.deleted_at.is_some() && request.kind != MailKind::FailureLimitRequest => {
            resolve_deleted(&mut act, &owner, request).await?;
        }
        owner => match request.kind {
            MailKind::ResetRequest => resolve_reset(&mut act, &email, owner).await?,
            MailKind::VerifyRequest => resolve_verification(&mut act, &email, owner, request).await?,
            MailKind::RegistrationRequest => resolve_registration(&mut act, &email, owner, request).await?,
            MailKind::EmailChangeRequest => resolve_change(&mut act, &email, owner, request).await?,
            MailKind::FailureLimitRequest => failures::record(&mut act, owner.as_ref()).await?,
            MailKind::SignInRequest => mail_code::send(&mut act, owner, request).await?,
            _ => return Err(no_request(request)),
        },
    }
    act.commit().await
}

fn no_request(row: &MailRow) -> Error {
    Error::Internal(anyhow::anyhow!("{} is no request", row.kind.as_str()))
}

/// What a request about the address of a deleted account leads to: its owner is sent the link that restores it.
async fn resolve_deleted(act: &mut Act, owner: &User, request: &MailRow) -> Result<()> {
    let email = address_of(owner)?;
    match request.kind {
        MailKind::ResetRequest => act.audit(Entry::success(Audit::PasswordResetRequest).subject(owner.id)),
        MailKind::RegistrationRequest => {
            act.tx.delete_registrations_of(email.key()).await?;
        }
        // The address is reserved, and its owner has nothing to decide.
        MailKind::EmailChangeRequest => {
            return match request.token {
                Some(token) => act.tx.expire_one_time_token(token).await,
                None => Ok(()),
            };
        }
        _ => {}
    }
    deletion::send_restoration(act, owner, &email).await
}

async fn resolve_reset(act: &mut Act, email: &Email, owner: Option<User>) -> Result<()> {
    let Some(owner) = owner else {
        password::send_reset_for_registration(act, email.key()).await?;
        act.audit(Entry::failure(Audit::PasswordResetRequest, "unknown_address"));
        return Ok(());
    };
    // A user who may not sign in needs no password; but the owner of a frozen account recovers it with one.
    if owner.is_active || owner.frozen_at.is_some() {
        password::send_reset(act, &owner).await?;
    }
    act.audit(Entry::success(Audit::PasswordResetRequest).subject(owner.id));
    Ok(())
}

async fn resolve_registration(
    act: &mut Act,
    email: &Email,
    owner: Option<User>,
    request: &MailRow,
) -> Result<()> {
    if let Some(owner) = owner {
        // The registration leads nowhere; its link is never sent.
        act.notify(&owner, MailKind::AlreadyRegistered).await?;
        return act.tx.delete_registrations_of(email.key()).await.map(drop);
    }
    if keep_registration(act, email, request).await? {
        let kind = MailKind::FinishRegistration;
        let mail = NewMail {
            network: request.network.clone(),
            ..act.mail_to_stranger(email, kind, request.locale, request.token)
        };
        return act.queue(&mail).await;
    }
    password::send_reset_for_registration(act, email.key()).await
}

/// Whether a registration may wait beside the earlier ones of its address. Each has its own link and its own password, so a
/// stranger who registers the address again ends none. One too many is removed: then the mail offers to set a password,
/// which works for the owner of the address whatever the others have registered.
async fn keep_registration(act: &mut Act, email: &Email, request: &MailRow) -> Result<bool> {
    let waiting = act.tx.live_registrations_of(email.key(), act.now).await?;
    if waiting.len() <= PENDING_REGISTRATIONS {
        return Ok(true);
    }
    if let Some(token) = request.token {
        act.tx.expire_one_time_token(token).await?;
        act.tx.delete_registration(token).await?;
    }
    Ok(false)
}

async fn resolve_verification(
    act: &mut Act,
    email: &Email,
    owner: Option<User>,
    request: &MailRow,
) -> Result<()> {
    match owner {
        Some(owner) if owner.email_verified_at.is_some() || !owner.is_active => Ok(()),
        Some(owner) if owner.password_hash.is_some() => email::send_verification(act, &owner).await,
        // It cannot be signed in to yet, so the verification could not be finished: the invitation verifies the address, too.
        Some(owner) => password::send_reset(act, &owner).await,
        // Which of them the owner of the address has made is not known here.
        None => {
            for registration in act.tx.live_registrations_of(email.key(), act.now).await? {
                let email = parse_address(&registration.email)?;
                let mail = NewMail {
                    network: request.network.clone(),
                    ..act.mail_to_stranger(
                        &email,
                        MailKind::FinishRegistration,
                        registration.locale,
                        Some(registration.token),
                    )
                };
                act.queue(&mail).await?;
            }
            Ok(())
        }
    }
}

async fn resolve_change(act: &mut Act, email: &Email, owner: Option<User>, request: &MailRow) -> Result<()> {
    let Some(id) = request.user else { return Ok(()) };
    let Some(user) = act.tx.user_by_id(id).await? else {
        return Ok(());
    };
    if let Some(other) = owner.filter(|owner| owner.id != id) {
        // This one alone: its owner may have asked for another address since.
        if let Some(token) = request.token {
            act.tx.expire_one_time_token(token).await?;
        }
        // Only a verified account may cause a notice to the owner of another one.
        if user.email_verified_at.is_none() {
            return Ok(());
        }
        let stored = address_of(&other)?;
        let mail = NewMail {
            network: request.network.clone(),
            ..act.mail_to(&other, &stored, MailKind::EmailWanted, None)
        };
        return act.queue(&mail).await;
    }
    // To an address that may be a stranger's: it names neither the account nor its owner.
    let mail = NewMail {
        user: Some(id),
        network: request.network.clone(),
        ..act.mail_to_stranger(email, MailKind::ConfirmEmail, user.locale, request.token)
    };
    act.queue(&mail).await
}
