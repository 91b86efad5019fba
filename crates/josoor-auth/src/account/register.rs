//! Registering.

use crate::account::{email, links};
use crate::act::{Act, Client, Entry, parse_address};
use crate::app::App;
use crate::auth::flow::{Flow, Step};
use crate::auth::password::{self, LinkOwner};
use crate::config::RegistrationMode;
use crate::domain::{Audit, Email, FullName, Locale, MailKind, Password, Purpose, Role};
use crate::error::{Error, Result};
use crate::passwords::Person;
use crate::sessions::{self, Issued, SignInWith};
use crate::store::{NewMail, NewOneTimeToken, NewUser, OneTimeToken, User};

/// What a person registers with. There is no role in it: everybody begins as a user.
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

/// Creates an account and signs it in; under `require_verified` it is not signed in; under `verify_first` a mail says how to go
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
    email::require_domain(app, "email", &new.email)?;
    if mode == RegistrationMode::VerifyFirst {
        request(app, new, client).await?;
        return Ok(None);
    }
    create(app, new, Role::User, with, client, None).await
}

impl Registration {
    fn person(&self) -> Person<'_> {
        Person {
            email: self.email.address(),
            full_name: self.full_name.as_ref().map(FullName::as_str),
        }
    }
}

/// Creates an account and signs it in; under `registration.require_verified` only the first administrator, who holds a setup
/// link of the operator's.
pub(super) async fn create(
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
    let row = NewUser {
        password_hash: Some(&hash),
        full_name: new.full_name.as_ref(),
        role,
        ..NewUser::new(&new.email, new.locale, now)
    };
    let user = act.tx.insert_user(&row).await?.ok_or(Error::EmailTaken)?;
    // After the row, which waits for a change of address that is under way.
    if links::is_reserved(&mut act.tx, &new.email, now).await? {
        return Err(Error::EmailTaken);
    }
    let may_sign_in = setup.is_some() || !app.config.registration.require_verified;
    let flow = Flow::registration().with(password::just_set(&user, now));
    let opened = match flow.finish(app, &user)? {
        Step::Finished(who) if may_sign_in => Some(sessions::open(&mut act, &who, &user, with).await?),
        Step::Finished(_) | Step::FactorNeeded | Step::MailCodeNeeded => None,
    };
    let entry = Entry::success(Audit::Register).actor(user.id).subject(user.id);
    act.audit(entry.session(opened.as_ref().map(|opened| opened.session.id())));
    if role == Role::Admin {
        let admins = act.admins_to_notify().await?;
        act.notify_of_new_admin(&admins, user.id, Audit::Register).await?;
    }
    email::send_verification(&mut act, &user).await?;
    match opened {
        Some(opened) => opened.commit(act, &user).await.map(Some),
        None => act.commit().await.map(|()| None),
    }
}

/// Registers under `verify_first`: the same work and the same rows for any address.
async fn request(app: &App, new: Registration, client: &Client) -> Result<()> {
    let password = app
        .passwords
        .accept("password", new.password.clone(), new.person())
        .await?;
    let hash = app.hasher.hash(password, client.requester()).await?;
    let mut act = app.act(client).await?;
    let token = NewOneTimeToken {
        email: Some(&new.email),
        ..act.new_token(Purpose::Registration, None)
    };
    act.tx.insert_one_time_token(&token).await?;
    act.tx
        .insert_registration(
            token.id,
            &new.email,
            &hash,
            new.full_name.as_ref(),
            new.locale,
            act.now,
        )
        .await?;
    let request = NewMail {
        content: client.request(),
        ..act.mail_to_stranger(
            &new.email,
            MailKind::RegistrationRequest,
            new.locale,
            Some(token.id),
        )
    };
    act.queue(&request).await?;
    act.commit().await
}

/// Creates the account of a registration whose link was opened, after its password was verified once more. A wrong one is
/// recorded as `failure`.
pub(super) async fn finish(
    app: &App,
    token: &OneTimeToken,
    password: &Password,
    failure: Entry,
    client: &Client,
) -> Result<()> {
    let registration = app.db.write().await?.registration(token.id).await?;
    let registration = registration.ok_or(Error::LinkExpired)?;
    let email = parse_address(&registration.email)?;
    let hash = registration.password_hash;
    let owner = LinkOwner {
        email: &email,
        user: None,
        hashes: vec![hash.clone()],
    };
    password::verify_link_owner(app, owner, password, failure, client).await?;
    let full_name = match registration.full_name {
        Some(name) => FullName::parse(&name).ok().flatten(),
        None => None,
    };
    let mut act = app.act(client).await?;
    links::redeem(&mut act, token).await?;
    let new = NewUser {
        password_hash: Some(&hash),
        full_name: full_name.as_ref(),
        email_verified_at: Some(act.now),
        ..NewUser::new(&email, registration.locale, act.now)
    };
    create_verified(&mut act, &new).await?;
    act.commit().await
}

/// Adds the account of a registration whose address is verified, and ends all registrations of the address.
pub(super) async fn create_verified(act: &mut Act, new: &NewUser<'_>) -> Result<User> {
    // Another link to the same address was quicker.
    let user = act.tx.insert_user(new).await?.ok_or(Error::LinkUsed)?;
    for purpose in [Purpose::Registration, Purpose::ResetPassword] {
        act.tx
            .expire_one_time_tokens_for(purpose, new.email.key(), act.now)
            .await?;
    }
    act.tx.delete_registrations_of(new.email.key()).await?;
    act.acts_as(user.id);
    act.audit(Entry::success(Audit::Register).subject(user.id));
    Ok(user)
}
