//! Redeeming a link about an address, whatever it is for.

use crate::account::{email, links, register, undo};
use crate::act::{Client, Entry, address_of};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::factors::{self, Removal};
use crate::auth::password::{self, LinkOwner};
use crate::auth::step_up;
use crate::domain::{Audit, Password, Purpose};
use crate::error::{Error, Invalid, Result};

/// Does what a link about an address is for: verifies it, creates the account of a registration, changes an address, or undoes
/// a change.
///
/// A click alone shows only that somebody reads the mailbox, perhaps for an account that somebody else has created. So it also
/// takes the account's own session or password; only going back to the old address takes neither.
///
/// # Errors
/// `LinkInvalid`, `LinkExpired`, `LinkUsed`; `Invalid` without session and password; `InvalidCredentials`. Only success redeems
/// the link.
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
    let token = links::load(app, &purposes, token).await?;
    if undo::PURPOSES
        .iter()
        .any(|purpose| token.purpose == purpose.as_str())
    {
        return undo::undo_by(app, &token, client).await.map(drop);
    }
    let failure = Entry::failure(Audit::EmailVerify, "invalid_credentials");
    if token.purpose == Purpose::Registration.as_str() {
        let password = password.ok_or_else(password_required)?;
        return register::finish(app, &token, &password, failure, client).await;
    }
    let id = token.user_id().ok_or(Error::LinkInvalid)?;
    let user = app.db.write().await?.user_by_id(id).await?;
    let user = user.ok_or(Error::LinkExpired)?;
    let own_session = caller.filter(|caller| caller.id() == id);
    if own_session.is_none() {
        let password = password.ok_or_else(password_required)?;
        let owner = LinkOwner {
            email: &address_of(&user)?,
            user: Some(id),
            hashes: user.password_hash.iter().cloned().collect(),
        };
        password::verify_link_owner(app, owner, &password, failure, client).await?;
    }
    let mut act = app.act(client).await?;
    let before = links::redeem(&mut act, &token).await?.ok_or(Error::LinkInvalid)?;
    if let Some(caller) = own_session {
        step_up::revalidate(&mut act.tx, caller, &user, act.now).await?;
    }
    if before.password_changed_at != user.password_changed_at {
        return Err(Error::InvalidCredentials);
    }
    if !before.is_active {
        return Err(Error::AccountInactive);
    }
    act.acts_as(id);
    if token.purpose == Purpose::ChangeEmail.as_str() {
        return email::change(act, &token, &before).await;
    }
    if token.bound_to.as_deref() != Some(address_of(&before)?.key()) {
        return Err(Error::LinkExpired);
    }
    let is_first = before.email_verified_at.is_none();
    let verified = act.tx.verify_email(id, act.now).await?;
    let mut user = verified.ok_or(Error::LinkExpired)?;
    if is_first {
        user = factors::remove_all(&mut act, user, Removal::Claimed).await?;
    }
    act.audit(
        Entry::success(Audit::EmailVerify)
            .subject(id)
            .session(own_session.map(|caller| caller.session)),
    );
    act.publish_user(&user).await?;
    act.commit().await
}

fn password_required() -> Error {
    Error::invalid(
        "password",
        Invalid::new(
            "required",
            "Give the account's password, or send the access token of a session of this account.",
        ),
    )
}
