//! Verifying the user of a session once more by a code that is sent by mail: where the account has nothing else, neither a password
//! nor a second factor. It waits in a row of `flows` that belongs to the session.

use super::caller::Caller;
use super::confirm_code;
use super::proof::Proof;
use super::step_up;
use crate::act::{Act, Client, Entry, parse_address};
use crate::app::App;
use crate::crypto;
use crate::domain::{Audit, MailCode, MailKind};
use crate::error::{Error, Invalid, Result};
use crate::limits::CodeCheck;
use crate::store::{FlowKind, NewFlow, User};

/// The code that is the last one of a mail.
const ATTEMPTS: i64 = 5;

/// Whether an account is verified once more by a code that is sent to its address.
fn require_nothing_else(user: &User) -> Result<()> {
    if user.password_hash.is_none() && user.mfa_at.is_none() && user.email_verified_at.is_some() {
        return Ok(());
    }
    let reason = "This account has a password or a second factor: give that.";
    Err(Error::invalid("code", Invalid::new("not_available", reason)))
}

/// Sends the caller a code.
///
/// # Errors
/// `NotFound` unless `login.mail_code` is on; `RateLimited`; `Invalid` for an account that has a password or a second factor; why the
/// session is over.
pub async fn request(app: &App, caller: &Caller, client: &Client) -> Result<()> {
    if !app.config.login.mail_code {
        return Err(Error::NotFound);
    }
    let email = parse_address(&caller.user.email)?;
    app.limits.mail_code(&client.ip, email.key()).await?;
    let mut act = app.act(client).await?;
    let now = act.now;
    let user = step_up::lock_own(&mut act.tx, caller, now).await?;
    require_nothing_else(&user)?;
    let id = uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid();
    let flow = NewFlow {
        id,
        kind: FlowKind::StepUp,
        client_mac: None,
        user: user.id,
        user_version: user.version,
        session: Some(caller.session),
        sealed: &[],
        created_at: now,
        expires_at: now.plus(super::mail_code::LIFE),
    };
    act.tx.end_flows(user.id, FlowKind::StepUp, now).await?;
    act.tx.insert_flow(&flow).await?;
    confirm_code::send(&mut act, &user, id, MailKind::StepUpCode).await?;
    act.commit().await
}

/// Verifies the code of the caller's session, in the unit of work in which `user`, the account, is locked. A wrong one is committed
/// and recorded as a failed `step_up`.
///
/// # Errors
/// `FlowExpired` where no code waits, and after the fifth one; `MailCodeInvalid`, with an audit row; `Invalid` for an account that has
/// a password or a second factor.
pub async fn verify(
    mut act: Act,
    caller: &Caller,
    user: &User,
    code: &MailCode,
    counted: CodeCheck,
) -> Result<(Act, Proof)> {
    require_nothing_else(user)?;
    let now = act.now;
    let flow = act.tx.flow_of_session(caller.session, FlowKind::StepUp).await?;
    let flow = flow.ok_or(Error::FlowExpired)?;
    let attempt = act.tx.count_flow_attempt(flow.id, ATTEMPTS, now).await?;
    attempt.ok_or(Error::FlowExpired)?;
    if let Some(proof) = confirm_code::verify(&mut act, user, flow.id, code, counted).await? {
        act.tx.consume_flow(flow.id, now).await?;
        return Ok((act, proof));
    }
    let failure = Entry::failure(Audit::StepUp, "mail_code_invalid");
    act.audit(failure.subject(user.id).session(caller.session));
    act.commit().await?;
    Err(Error::MailCodeInvalid)
}
