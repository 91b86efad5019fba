//! Verifying a password: the one place that compares a password with a stored hash.
//!
//! Every path counts first ([`PasswordCheck`] is issued by `limits` alone), compares at full cost also where there is no hash,
//! and records a wrong password in the audit trail.

use super::devices;
use super::failures;
use super::proof::{Method, Proof};
use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::domain::{Audit, Email, KnownDevice, Password, PasswordHash, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::hasher::Verdict;
use crate::keys::DeviceMark;
use crate::limits::PasswordCheck;
use crate::store::User;

/// A password that was verified for a sign-in, with the account that it was verified against.
#[derive(Debug)]
pub struct SignIn {
    /// The account, as it was read before the comparison.
    pub user: User,
    /// The proof.
    pub proof: Proof,
    /// The device that it comes from, if the account knows it.
    pub device: Option<KnownDevice>,
    /// How many sign-ins to the address have failed in a row before.
    pub failures: i64,
    password: Password,
    counted: PasswordCheck,
    is_outdated: bool,
    /// The hash that replaces an outdated one.
    upgrade: Option<PasswordHash>,
}

/// Verifies address and password of a sign-in. The work is the same for an unknown address.
///
/// # Errors
/// `RateLimited`, before the account is read and without an audit row, which a flood must not multiply; `Overloaded`;
/// `InvalidCredentials`, with an audit row.
pub async fn verify_sign_in(
    app: &App,
    email: &Email,
    password: Password,
    mark: Option<&DeviceMark>,
    client: &Client,
) -> Result<SignIn> {
    // The network comes first, so that a client over that limit costs the database nothing; the row of a mark is read only
    // when the mark's code is right, which no stranger's is.
    let network = app.limits.sign_in_from(&client.ip).await?;
    let device = devices::verify_mark(app, mark).await?;
    let counted = app
        .limits
        .sign_in_to(network, email.key(), device.as_ref())
        .await?;
    // Most of a flood is rejected here, before the database has any work with it.
    app.hasher.admit(counted.requester())?;
    let user = app.db.read().await?.user_by_email(email).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let failure =
        Entry::failure(Audit::SignIn, "invalid_credentials").subject(user.as_ref().map(|user| user.id));
    let is_outdated = compare(app, &password, hash, counted, failure, client).await?;
    // There is no account without a hash that matches.
    let user = user.ok_or(Error::InvalidCredentials)?;
    Ok(SignIn {
        proof: Proof::new(user.id, Method::Password, app.clock.now()),
        user,
        device,
        failures: failures::in_a_row(app, email).await?,
        password,
        counted,
        is_outdated,
        upgrade: None,
    })
}

impl SignIn {
    /// Hashes the password again, if its hash is outdated. The sign-in does not fail because that cannot be done.
    pub async fn rehash_outdated(&mut self, app: &App) {
        if std::mem::take(&mut self.is_outdated) {
            let hash = app.hasher.hash_again(self.password.clone(), self.counted).await;
            self.upgrade = hash.ok();
        }
    }

    /// Locks the account, if it is still as it was verified, and stores the upgraded hash. False when it was changed since.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn claim(&self, act: &mut Act) -> Result<bool> {
        if !act
            .tx
            .claim_sign_in(self.user.id, self.user.version, act.now)
            .await?
        {
            return Ok(false);
        }
        self.upgrade_hash(act).await?;
        Ok(true)
    }

    /// Locks the account, if it is still as it was verified, without noting a sign-in, and stores the upgraded hash. False when
    /// it was changed since.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn hold(&self, act: &mut Act) -> Result<bool> {
        let user = act.tx.lock_user(self.user.id).await?;
        if user.is_none_or(|user| user.version != self.user.version) {
            return Ok(false);
        }
        self.upgrade_hash(act).await?;
        Ok(true)
    }

    async fn upgrade_hash(&self, act: &mut Act) -> Result<()> {
        if let (Some(old), Some(new)) = (&self.user.password_hash, &self.upgrade) {
            act.tx.upgrade_password_hash(self.user.id, old, new).await?;
        }
        Ok(())
    }

    /// Verifies the password against the account as it is now, after [`claim`](Self::claim) has failed. A change that leaves
    /// the hash alone, such as another name, needs no comparison.
    ///
    /// # Errors
    /// `InvalidCredentials`, with an audit row; `Overloaded`.
    pub async fn verify_again(self, app: &App, client: &Client) -> Result<Self> {
        let user = app.db.write().await?.user_by_id(self.user.id).await?;
        let failure =
            Entry::failure(Audit::SignIn, "invalid_credentials").subject(user.as_ref().map(|user| user.id));
        let Some(user) = user else {
            return reject(app, failure, client).await;
        };
        let text = |user: &User| user.password_hash.as_ref().map(|hash| hash.as_str().to_owned());
        if text(&user) != text(&self.user) {
            let hash = user.password_hash.clone();
            compare(app, &self.password, hash, self.counted, failure, client).await?;
        }
        Ok(Self { user, ..self })
    }
}

/// The proof of an account whose password is set in the transaction that creates it.
pub fn just_set(user: &User, now: Timestamp) -> Proof {
    Proof::new(user.id, Method::Password, now)
}

/// The account whose password completes a link from a mail.
#[derive(Debug)]
pub struct LinkOwner<'a> {
    /// The account's address, by which the check is counted.
    pub email: &'a Email,
    /// The account, unless it is still a registration.
    pub user: Option<UserId>,
    /// The hashes that may match, one after the other. With none the comparison is with a decoy hash.
    pub hashes: Vec<PasswordHash>,
}

/// Verifies a password that completes a link, without a session. A wrong one is recorded as `action` with `reason`.
///
/// # Errors
/// `RateLimited`; `Overloaded`; `InvalidCredentials`, with an audit row.
pub async fn verify_link_owner(
    app: &App,
    owner: LinkOwner<'_>,
    password: &Password,
    failure: Entry,
    client: &Client,
) -> Result<()> {
    let counted = app.limits.sign_in(&client.ip, owner.email.key(), None).await?;
    let failure = failure.subject(owner.user);
    let mut hashes = owner.hashes.into_iter().map(Some).collect::<Vec<_>>();
    let last = hashes.pop().flatten();
    for hash in hashes {
        if is_match(app, password, hash, counted).await?.is_some() {
            return Ok(());
        }
    }
    compare(app, password, last, counted, failure, client)
        .await
        .map(drop)
}

/// Compares a password with a hash, or with the decoy hash where there is none. Returns whether the hash is outdated.
///
/// # Errors
/// `InvalidCredentials`, after recording `failure`; `Overloaded`.
pub(super) async fn compare(
    app: &App,
    password: &Password,
    hash: Option<PasswordHash>,
    counted: PasswordCheck,
    failure: Entry,
    client: &Client,
) -> Result<bool> {
    match is_match(app, password, hash, counted).await? {
        Some(is_outdated) => Ok(is_outdated),
        // For an unknown account too: the work after the comparison is the same.
        None => reject(app, failure, client).await,
    }
}

async fn reject<T>(app: &App, failure: Entry, client: &Client) -> Result<T> {
    app.record(client, failure).await?;
    Err(Error::InvalidCredentials)
}

/// Whether a matching hash is outdated; `None` for a mismatch.
async fn is_match(
    app: &App,
    password: &Password,
    hash: Option<PasswordHash>,
    counted: PasswordCheck,
) -> Result<Option<bool>> {
    Ok(match app.hasher.verify(password.clone(), hash, counted).await? {
        Verdict::Match { outdated } => Some(outdated),
        Verdict::NoMatch => None,
    })
}
