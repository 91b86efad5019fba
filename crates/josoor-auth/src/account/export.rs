//! Everything that is kept about a person, for that person.

use crate::act::{Client, Entry};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::factors::Factors;
use crate::domain::{Audit, Timestamp};
use crate::error::{Refusal, Result};
use crate::store::{Device, MailSummary, PastCredential, PastKind, SessionRow, User};

/// How many sessions, devices and mails an export has, at most.
const ROWS_AT_MOST: i64 = 10_000;

/// What is kept about a user besides the audit trail, which is read in pages.
#[derive(Debug)]
pub struct Kept {
    /// When it was read.
    pub at: Timestamp,
    /// The account.
    pub user: User,
    /// The sessions, also ended ones until they are purged.
    pub sessions: Vec<SessionRow>,
    /// The devices, also forgotten ones until they are purged.
    pub devices: Vec<Device>,
    /// The mails about the account until they are purged.
    pub mails: Vec<MailSummary>,
    /// The second factors.
    pub factors: Factors,
    /// Addresses that the account had before, with the time until when.
    pub previous_addresses: Vec<PastCredential>,
}

/// Reads what is kept about the caller, and records that it was read.
///
/// # Errors
/// `SessionRevoked` when the account is gone.
pub async fn export(app: &App, caller: &Caller, client: &Client) -> Result<Kept> {
    let id = caller.id();
    let entry = Entry::success(Audit::Export)
        .reason("account")
        .subject(id)
        .session(caller.session);
    app.record(client, entry).await?;
    let mut conn = app.db.read().await?;
    let user = conn.user_by_id(id).await?.ok_or(Refusal::SessionRevoked)?;
    let mut past = conn.past_credentials(id, Timestamp::from_micros(0)).await?;
    past.retain(|row| row.is(PastKind::Address));
    Ok(Kept {
        at: app.clock.now(),
        user,
        sessions: conn.sessions_of(id, ROWS_AT_MOST).await?,
        devices: conn.devices_of(id).await?,
        mails: conn.mails_of(id, ROWS_AT_MOST).await?,
        factors: Factors::of(&mut conn, id).await?,
        previous_addresses: past,
    })
}
