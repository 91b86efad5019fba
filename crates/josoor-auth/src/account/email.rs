//! Verifying and changing the address of an account.

use crate::account::links::{self, Cause};
use crate::account::past;
use crate::act::{Act, Client, Entry, address_of, parse_address};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::factors::{self, Removal};
use crate::auth::step_up::{self, Policy};
use crate::domain::{Audit, Email, MailKind, Password, Purpose, RevokeReason, SessionId};
use crate::error::{Error, Invalid, Refusal, Result};
use crate::store::{Content, MailDetails, NewMail, NewOneTimeToken, OneTimeToken, User};

/// How often an account whose address is not verified may correct it, in all.
const CORRECTIONS_AT_MOST: i64 = 3;

/// Rejects an address whose mail domain may not be registered.
///
/// # Errors
/// `Invalid` with `email_domain_not_allowed` for `field`.
pub(super) fn require_domain(app: &App, field: &'static str, email: &Email) -> Result<()> {
    if app.config.registration.domains.admit(email) {
        return Ok(());
    }
    let reason = Invalid::new(
        "email_domain_not_allowed",
        "Addresses of this mail domain are not accepted here; use another one.",
    );
    Err(Error::invalid(field, reason))
}

/// Sends the mail that verifies the caller's address once more, unless it is verified.
///
/// # Errors
/// `RateLimited`.
pub async fn resend_own(app: &App, caller: &Caller, client: &Client) -> Result<()> {
    let email = parse_address(&caller.user.email)?;
    app.limits.verify(&client.ip, email.key()).await?;
    let mut act = app.act(client).await?;
    let user = act.tx.lock_user(caller.id()).await?;
    let user = user.ok_or(Refusal::SessionRevoked)?;
    if user.email_verified_at.is_none() {
        send_verification(&mut act, &user).await?;
    }
    act.commit().await
}

/// Queues the link that verifies an account's address.
pub(super) async fn send_verification(act: &mut Act, user: &User) -> Result<()> {
    let email = address_of(user)?;
    let token = NewOneTimeToken {
        email: Some(&email),
        bound_to: Some(email.key()),
        ..act.new_token(Purpose::VerifyEmail, Some(user.id))
    };
    act.tx.insert_one_time_token(&token).await?;
    let mail = NewMail {
        // To an address that is not verified, also where a user is signed in.
        network: act.client.network(),
        ..act.mail_to(user, &email, MailKind::VerifyEmail, Some(token.id))
    };
    act.queue(&mail).await
}

/// Asks for another address. It takes effect when the new one is verified; whether it is free is not reported. An account whose
/// own address is not verified gets three mails in all, and nothing else happens after that: otherwise an account that anybody
/// can register would send mail to anybody.
///
/// # Errors
/// `Invalid`; `StepUpRequired` for an account with a second factor; `RateLimited`; `InvalidCredentials`; `Overloaded`.
pub async fn request_change(
    app: &App,
    caller: &Caller,
    new: &Email,
    password: Password,
    client: &Client,
) -> Result<()> {
    require_domain(app, "new_email", new)?;
    step_up::require(app, caller, Policy::OwnAccount)?;
    app.limits.email_change(&client.ip, caller.id()).await?;
    let verified = step_up::verify(app, caller, password, Audit::EmailChangeRequest, client).await?;
    let mut act = app.act(client).await?;
    let user = step_up::revalidate(&mut act.tx, caller, &verified, act.now).await?;
    let may_mail = user.email_verified_at.is_some()
        || act
            .tx
            .count_email_correction(user.id, CORRECTIONS_AT_MOST)
            .await?;
    if may_mail {
        let state = links::state_of(&user, &address_of(&user)?);
        let token = NewOneTimeToken {
            email: Some(new),
            session: Some(caller.session),
            bound_to: Some(&state),
            ..act.new_token(Purpose::ChangeEmail, Some(user.id))
        };
        act.tx.insert_one_time_token(&token).await?;
        let request = NewMail {
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
            at: act.now,
        };
        act.queue(&request).await?;
    }
    let entry = if may_mail {
        Entry::success(Audit::EmailChangeRequest)
    } else {
        Entry::failure(Audit::EmailChangeRequest, "email_not_verified")
    };
    act.audit(entry.subject(user.id).session(caller.session));
    act.commit().await
}

/// Makes the verified address the account's. All sessions are revoked but the one that asked.
pub(super) async fn change(mut act: Act, token: &OneTimeToken, before: &User) -> Result<()> {
    let old = address_of(before)?;
    if token.bound_to.as_deref() != Some(&links::state_of(before, &old)) {
        return Err(Error::LinkExpired);
    }
    let new = parse_address(token.email.as_deref().unwrap_or_default())?;
    past::remember_before_change(&mut act, before).await?;
    // Taken since the link was sent: there is nothing left that it could do.
    let user = act
        .tx
        .change_email(before, &new, Some(act.now), act.now)
        .await?
        .ok_or(Error::LinkExpired)?;
    let user = if before.email_verified_at.is_none() {
        factors::remove_all(&mut act, user, Removal::Claimed).await?
    } else {
        user
    };
    act.tx.forget_devices(user.id, act.now).await?;
    links::expire(&mut act, user.id, Cause::AddressChanged).await?;
    // Earlier ones stay: a second change must not take the first owner's way back.
    let undo = NewOneTimeToken {
        email: Some(&old),
        bound_to: before.email_verified_at.map(|_| links::VERIFIED),
        ..act.new_token(Purpose::UndoEmailChange, Some(user.id))
    };
    act.tx.insert_one_time_token(&undo).await?;
    // As the account was: whether the old address was verified decides what the mail may say.
    let details = MailDetails::for_owner(before, act.client.origin()).with_new_address(before, &user);
    let mail = NewMail {
        content: Content::Mail(details),
        ..act.mail_to(before, &old, MailKind::EmailChanged, Some(undo.id))
    };
    act.queue(&mail).await?;
    let mail = act.mail_to(&user, &new, MailKind::EmailChangeDone, None);
    act.queue(&mail).await?;
    commit_with_sessions(act, &user, token.session_id(), Audit::EmailChange).await
}

/// Revokes all sessions of a changed user but, if given, one, records the change, and commits.
pub(super) async fn commit_with_sessions(
    mut act: Act,
    user: &User,
    except: Option<SessionId>,
    action: Audit,
) -> Result<()> {
    act.revoke_sessions_of(user.id, except, RevokeReason::RevokedByUser)
        .await?;
    act.audit(Entry::success(action).subject(user.id).session(except));
    act.publish_user(user).await?;
    act.commit().await
}
