//! Known devices: where the owner of an account has signed in.
//!
//! A browser that has signed in holds a **mark**, a cookie that names a row of `devices` and is bound to the user and to the
//! canonical address. The mark alone is not accepted: its row must exist, must not have been forgotten, and must be of the
//! account's present **credential epoch**. The epoch is made from the address and from when the password was last set, so a
//! change or reset of the password and a change of the address forget every device in the same statement that makes the
//! change, also when a node of an older release makes it.
//!
//! A forgotten row is kept for [`KEEP_FORGOTTEN`]: undoing a change of address asks for a device that was known before.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::caller::Caller;
use crate::act::{Act, Client, Entry, address_of};
use crate::app::App;
use crate::crypto;
use crate::domain::{Audit, KnownDevice, MailKind, Network, Purpose, Timestamp, UserId, device_label};
use crate::error::{Error, Refusal, Result};
use crate::keys::DeviceMark;
use crate::store::{Conn, Device, DeviceSeen, NewOneTimeToken, User};

/// How many devices of one account are known at the same time.
pub const DEVICES_AT_MOST: usize = 20;

/// How many forgotten ones of one account are kept besides.
const FORGOTTEN_AT_MOST: usize = 20;

/// How long a device stays known without a sign-in: the longest that browsers keep a cookie (RFC 6265bis, 5.5).
pub const DEVICE_LIFE: Duration = Duration::from_hours(400 * 24);

/// How long a forgotten device is kept: longer than a change of address can be undone.
pub const KEEP_FORGOTTEN: Duration = Duration::from_hours(7 * 24);

/// How long a trusted device spares its user the second factor.
pub const TRUST: Duration = Duration::from_hours(30 * 24);

/// How an account knows the origin of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Familiarity {
    /// The account has no devices: its first sign-in, or the first one since devices are recorded.
    First,
    /// The mark of a known device came along.
    Device,
    /// No mark, but a known device has the same network and the same label. Programs of other origins carry no cookie.
    Place,
    /// Neither: a new device.
    New,
}

/// The device of a sign-in.
#[derive(Clone, Copy, Debug)]
pub struct SignInDevice {
    /// The device whose mark the client gets.
    pub device: KnownDevice,
    /// How the account knew it before this sign-in.
    pub familiarity: Familiarity,
}

/// A code of an account's present password and address that discloses neither.
pub fn epoch_of(app: &App, user: &User) -> Result<String> {
    let email = address_of(user)?;
    let changed = user.password_changed_at.map_or(0, Timestamp::as_micros);
    let tag = app.keys.tag(
        "credential-epoch",
        &[
            &user.id.0.to_be_bytes(),
            &changed.to_be_bytes(),
            email.key().as_bytes(),
        ],
    );
    Ok(URL_SAFE_NO_PAD.encode(&tag[..16]))
}

/// The device that a mark names, if its user knows it now. One read of the database, and a second one for a mark whose row
/// exists; none without a mark whose signature is right.
pub async fn verify_mark(app: &App, mark: Option<&DeviceMark>) -> Result<Option<KnownDevice>> {
    let Some(mark) = mark else { return Ok(None) };
    let mut conn = app.db.read().await?;
    let Some(device) = conn.device(mark.user, mark.id).await? else {
        return Ok(None);
    };
    let Some(user) = conn.user_by_id(mark.user).await? else {
        return Ok(None);
    };
    let is_current = is_known(&device, &epoch_of(app, &user)?, app.clock.now());
    Ok(is_current.then_some(KnownDevice {
        user: mark.user,
        id: mark.id,
    }))
}

/// Whether a known device of `user`, which has a second factor, spares it.
pub async fn is_trusted(app: &App, user: &User, device: Option<&KnownDevice>) -> Result<bool> {
    let Some(device) = device.filter(|_| may_trust(app, user)) else {
        return Ok(false);
    };
    let row = app.db.read().await?.device(device.user, device.id).await?;
    Ok(row.is_some_and(|row| row.trusted_until(app.clock.now()).is_some()))
}

/// Those of a user's devices that spare the second factor now.
///
/// # Errors
/// `Internal`.
pub fn trusted<'d>(
    app: &App,
    user: &User,
    devices: &'d [Device],
) -> Result<impl Iterator<Item = &'d Device> + use<'d>> {
    let (epoch, now) = (epoch_of(app, user)?, app.clock.now());
    let may_trust = user.mfa_at.is_some() && may_trust(app, user);
    Ok(devices.iter().filter(move |device| {
        may_trust && is_known(device, &epoch, now) && device.trusted_until(now).is_some()
    }))
}

/// Whether devices of a user may spare the second factor (`mfa.no_trust`).
pub fn may_trust(app: &App, user: &User) -> bool {
    !app.config.mfa.no_trust.contains(&user.role)
}

/// Records a sign-in on a device in the unit of work in which the user is locked. A device that is known keeps its row; so does
/// a program without a cookie, as long as it comes from the same network.
pub(crate) async fn record_sign_in(
    act: &mut Act,
    user: &User,
    mark: Option<&DeviceMark>,
) -> Result<SignInDevice> {
    let (tx, now) = (&mut act.tx, act.now);
    let mut devices = tx.devices_of(user.id).await?;
    let epoch = epoch_of(&act.app, user)?;
    let place = Place::of(&act.client);
    let (familiarity, found) = find(&devices, &epoch, mark, &place, now);
    let id = found.unwrap_or_else(|| uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid());
    let seen = DeviceSeen {
        id,
        user: user.id,
        epoch: &epoch,
        at: now,
        presented: familiarity == Familiarity::Device,
        label: &place.label,
        network: &place.network,
        ip: &act.client.ip,
    };
    if found.is_some() {
        tx.touch_device(&seen).await?;
    } else {
        evict_beyond_the_cap(tx, &mut devices, &epoch, now).await?;
        tx.insert_device(&seen).await?;
    }
    Ok(SignInDevice {
        device: KnownDevice { user: user.id, id },
        familiarity,
    })
}

/// The owner of an account is notified of new devices at most once in this time.
pub const NOTIFY_EVERY: Duration = Duration::from_hours(24);

/// Notifies the owner of a sign-in from a new device, in the unit of work that signs in and in which the account is locked. Only
/// at a verified address: any other may be a stranger's. The mail has the link that secures the account.
pub(crate) async fn notify_of_new_device(act: &mut Act, user: &User) -> Result<()> {
    let before = act.now.minus(NOTIFY_EVERY);
    if user.email_verified_at.is_none() || !act.tx.claim_new_device_mail(user.id, before, act.now).await? {
        return Ok(());
    }
    let email = address_of(user)?;
    let token = NewOneTimeToken {
        email: Some(&email),
        ..act.new_token(Purpose::SecureAccount, Some(user.id))
    };
    act.tx.insert_one_time_token(&token).await?;
    let mail = act.mail_to(user, &email, MailKind::NewDevice, Some(token.id));
    act.queue(&mail).await?;
    act.audit(Entry::success(Audit::NewDevice).subject(user.id));
    Ok(())
}

/// The origin of a sign-in, as far as it is known without a mark.
#[derive(Debug)]
pub struct Place {
    network: String,
    label: String,
}

impl Place {
    /// The network and the label of a client.
    pub fn of(client: &Client) -> Self {
        Self {
            network: Network::of(&client.ip).map_or_else(String::new, |network| network.to_string()),
            label: device_label(&client.user_agent),
        }
    }
}

fn is_known(device: &Device, epoch: &str, now: Timestamp) -> bool {
    device.is_current(epoch) && now.since(device.last_seen_at) < DEVICE_LIFE
}

/// How an account that has `devices` knows a sign-in from a place, and which row that continues.
pub fn find(
    devices: &[Device],
    epoch: &str,
    mark: Option<&DeviceMark>,
    place: &Place,
    now: Timestamp,
) -> (Familiarity, Option<Uuid>) {
    let known = || devices.iter().filter(|device| is_known(device, epoch, now));
    if let Some(mark) = mark
        && known().any(|device| device.id == mark.id && device.user_id() == mark.user)
    {
        return (Familiarity::Device, Some(mark.id));
    }
    let mut alike = known()
        .filter(|device| device.network == place.network && device.label == place.label)
        .peekable();
    if alike.peek().is_some() {
        // A browser that has presented its mark is one device; another one beside it is not taken for the same.
        let unmarked = alike.find(|device| device.presented_at.is_none());
        return (Familiarity::Place, unmarked.map(|device| device.id));
    }
    let familiarity = if devices.is_empty() {
        Familiarity::First
    } else {
        Familiarity::New
    };
    (familiarity, None)
}

/// Forgets the device that was unused for longest when there are as many as can be known, and removes what is forgotten beyond
/// its number: the one that was made last, so that an intruder who signs in again and again cannot push the owner's out.
async fn evict_beyond_the_cap(
    tx: &mut Conn,
    devices: &mut [Device],
    epoch: &str,
    now: Timestamp,
) -> Result<()> {
    // The latest first, so what is beyond the number was unused for longest.
    let beyond: Vec<usize> = (0..devices.len())
        .filter(|at| devices[*at].is_current(epoch))
        .skip(DEVICES_AT_MOST - 1)
        .collect();
    for at in beyond {
        tx.forget_device(devices[at].user_id(), devices[at].id, now)
            .await?;
        devices[at].forgotten_at = Some(now);
    }
    let mut old: Vec<&Device> = devices
        .iter()
        .filter(|device| !device.is_current(epoch))
        .collect();
    old.sort_by_key(|device| device.created_at);
    for device in old.into_iter().skip(FORGOTTEN_AT_MOST) {
        tx.delete_device(device.id).await?;
    }
    Ok(())
}

/// The devices that the caller's account knows, the one that was used last first, and the one that the caller's session was
/// opened on.
pub async fn list(app: &App, caller: &Caller) -> Result<(Vec<Device>, Option<Uuid>)> {
    let mut conn = app.db.read().await?;
    let user = conn
        .user_by_id(caller.id())
        .await?
        .ok_or(Refusal::SessionRevoked)?;
    let session = conn.session_by_id(caller.session).await?;
    let (epoch, now) = (epoch_of(app, &user)?, app.clock.now());
    let mut devices = conn.devices_of(user.id).await?;
    devices.retain(|device| is_known(device, &epoch, now));
    if user.mfa_at.is_none() || !may_trust(app, &user) {
        devices = devices.into_iter().map(Device::without_trust).collect();
    }
    Ok((devices, session.and_then(|session| session.device_id)))
}

/// Forgets one device of a user.
///
/// # Errors
/// `NotFound` when the account does not know it.
pub async fn forget(app: &App, user: UserId, id: Uuid, client: &Client) -> Result<()> {
    let mut act = app.act(client).await?;
    let now = act.now;
    // Before the row, as every unit of work that changes both.
    let owner = act.tx.lock_user(user).await?.ok_or(Error::NotFound)?;
    let epoch = epoch_of(app, &owner)?;
    let device = act.tx.device(user, id).await?;
    if !device.is_some_and(|device| is_known(&device, &epoch, now))
        || !act.tx.forget_device(user, id, now).await?
    {
        return Err(Error::NotFound);
    }
    act.audit(Entry::success(Audit::DeviceForget).subject(user));
    act.commit().await
}

/// Forgets all devices of a user. Returns how many the account knew.
///
/// # Errors
/// `NotFound`.
pub async fn forget_all(app: &App, user: UserId, client: &Client) -> Result<usize> {
    let mut act = app.act(client).await?;
    let now = act.now;
    let owner = act.tx.lock_user(user).await?.ok_or(Error::NotFound)?;
    let epoch = epoch_of(app, &owner)?;
    let known = act.tx.devices_of(user).await?;
    let known = known
        .iter()
        .filter(|device| is_known(device, &epoch, now))
        .count();
    if act.tx.forget_devices(user, now).await? > 0 {
        act.audit(Entry::success(Audit::DeviceForget).subject(user));
    }
    act.commit().await?;
    Ok(known)
}
