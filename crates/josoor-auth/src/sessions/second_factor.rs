//! Finishing a sign-in with its second factor, and verifying the user of a session once more.

use super::issue::{Issued, issue_access};
use super::limit::notify_of_session_limit;
use super::open::{SignInWith, open};
use crate::act::{Act, Client, Entry};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::factors::Shown;
use crate::auth::factors::passkeys::challenge::Purpose;
use crate::auth::flow::{Step, Verification};
use crate::auth::pending::Pending;
use crate::auth::proof::{Method, Proof};
use crate::auth::{devices, step_up, step_up_code};
use crate::cache::{UserCopy, ends_at};
use crate::domain::{Audit, FactorAnswer, FactorCode, FactorMethod, Password, Timestamp};
use crate::error::{Error, Invalid, Refusal, Result};
use crate::limits::CodeCheck;
use crate::store::{SessionRow, User};
use crate::telemetry;

/// Finishes a sign-in with its second factor. With `trust` the device spares it for [`devices::TRUST`], unless the user's role has no
/// trusted devices.
///
/// # Errors
/// `RateLimited`; `MfaCodeInvalid`, `MailCodeInvalid`, `PasskeyInvalid` and `PasskeyUnknown`, with an audit row; `FlowExpired`, also
/// after the fifth wrong answer; `AccountInactive`; `SessionLimit`, which uses up neither the answer nor the flow.
pub async fn finish_log_in(
    app: &App,
    pending: Pending,
    answer: &FactorAnswer,
    trust: bool,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    let result = try_finish_log_in(app, pending, answer, trust, with, client).await;
    let outcome = match &result {
        Ok(_) => Some(telemetry::SignIn::Success),
        Err(Error::MfaCodeInvalid) => Some(telemetry::SignIn::MfaCodeInvalid),
        Err(Error::PasskeyInvalid | Error::PasskeyUnknown) => Some(telemetry::SignIn::PasskeyInvalid),
        Err(Error::MailCodeInvalid) => Some(telemetry::SignIn::MailCodeInvalid),
        Err(Error::RateLimited { .. }) => Some(telemetry::SignIn::RateLimited),
        Err(_) => None,
    };
    if let Some(outcome) = outcome {
        app.metrics.sign_in(outcome);
    }
    if let Some(
        telemetry::SignIn::MfaCodeInvalid
        | telemetry::SignIn::MailCodeInvalid
        | telemetry::SignIn::PasskeyInvalid,
    ) = outcome
    {
        app.limits.note_failed_sign_in().await;
    }
    result
}

async fn try_finish_log_in(
    app: &App,
    pending: Pending,
    answer: &FactorAnswer,
    trust: bool,
    with: SignInWith,
    client: &Client,
) -> Result<Issued> {
    let device = devices::verify_mark(app, with.mark.as_ref()).await?;
    let shown = match answer {
        FactorAnswer::Code(code) => {
            let counted = app.limits.code_at_sign_in(pending.user.id, device.as_ref());
            Shown::Code(code, counted.await?)
        }
        FactorAnswer::Passkey(assertion) => Shown::Passkey(assertion, pending.challenge()),
    };
    let mut act = app.act(client).await?;
    let (user, is_last) = pending.attempt(&mut act).await?;
    let proofs = match pending.verify(&mut act, &user, shown).await? {
        Ok(proofs) => proofs,
        Err(wrong) => {
            if is_last {
                pending.fail(&mut act).await?;
            }
            act.audit(Entry::failure(Audit::SignIn, wrong.reason()).subject(user.id));
            act.commit().await?;
            return Err(wrong.error());
        }
    };
    let flow = pending.finish(&mut act, proofs).await?;
    let Step::Finished(who) = flow.finish(app, &user)? else {
        return Err(Error::FlowExpired);
    };
    let now = act.now;
    if !act.tx.claim_sign_in(user.id, user.version, now).await? {
        return Err(Error::FlowExpired);
    }
    let opened = match open(&mut act, &who, &user, with).await {
        Ok(opened) => opened,
        Err(Error::SessionLimit) => {
            drop(act);
            return reject_for_session_limit(app, &user, client).await;
        }
        Err(error) => return Err(error),
    };
    act.acts_as(user.id);
    let reason = match answer.method() {
        FactorMethod::Totp => None,
        used => Some(used.as_str()),
    };
    let entry = Entry::success(Audit::SignIn).subject(user.id).reason(reason);
    act.audit(entry.session(opened.session.id()));
    if trust && devices::may_trust(app, &user) {
        opened.trust_device(&mut act).await?;
    }
    opened.notify_of_new_device(&mut act, &user).await?;
    opened.commit(act, &user).await
}

/// Records that a sign-in was rejected because the account has as many sessions as it may have.
///
/// # Errors
/// `SessionLimit`.
pub(crate) async fn reject_for_session_limit<T>(app: &App, user: &User, client: &Client) -> Result<T> {
    let mut act = app.act(client).await?;
    notify_of_session_limit(&mut act, user).await?;
    act.audit(Entry::failure(Audit::SignIn, "session_limit").subject(user.id));
    act.commit().await?;
    Err(Error::SessionLimit)
}

/// What the user of a session is verified with once more.
#[derive(Debug)]
pub enum Presented {
    /// The account's password, where the account has no second factor, or the session was opened without it.
    Password(Password),
    /// The account's second factor; or, where the account has neither that nor a password, a code from a mail.
    Factor(FactorAnswer),
}

/// Verifies the user of a session once more, and issues an access token of the session that says so.
///
/// # Errors
/// `Invalid` for the password of an account that has a second factor, unless the session was opened without it, and for a factor of
/// one that has none; `InvalidCredentials`, `MfaCodeInvalid`, `PasskeyInvalid` and `PasskeyUnknown`, with an audit row; `FlowExpired`;
/// `RateLimited`; `Overloaded`; why the session is over.
pub async fn step_up(app: &App, caller: &Caller, with: Presented, client: &Client) -> Result<Issued> {
    let has_factor = caller.user.mfa_enabled;
    match with {
        Presented::Password(_) if has_factor && has_password_proof(app, caller).await? => {
            Err(Error::invalid(
                "code",
                Invalid::new(
                    "required",
                    "This account has a second factor: give one of its codes, or a passkey.",
                ),
            ))
        }
        Presented::Password(password) => {
            let verified = step_up::verify(app, caller, password, Audit::StepUp, client).await?;
            let mut act = app.act(client).await?;
            let now = act.now;
            let user = step_up::revalidate(&mut act.tx, caller, &verified, now).await?;
            let proof = step_up::password_proof(&user, now);
            record_and_issue(act, caller, &user, &[proof]).await
        }
        Presented::Factor(FactorAnswer::Code(FactorCode::Mail(code))) => {
            let counted = count_code(app, caller, client).await?;
            let mut act = app.act(client).await?;
            let now = act.now;
            let user = step_up::lock_own(&mut act.tx, caller, now).await?;
            let (act, proof) = step_up_code::verify(act, caller, &user, &code, counted).await?;
            record_and_issue(act, caller, &user, &[proof]).await
        }
        Presented::Factor(_) if !has_factor => Err(Error::invalid(
            "password",
            Invalid::new(
                "required",
                "This account has no second factor: give its password.",
            ),
        )),
        Presented::Factor(answer) => {
            let shown = match &answer {
                FactorAnswer::Code(code) => Shown::Code(code, count_code(app, caller, client).await?),
                FactorAnswer::Passkey(assertion) => {
                    app.limits.code_from(&client.ip).await?;
                    Shown::Passkey(assertion, Purpose::StepUp(caller.session))
                }
            };
            let mut act = app.act(client).await?;
            let now = act.now;
            let user = step_up::lock_own(&mut act.tx, caller, now).await?;
            let (act, proofs) = step_up::verify_factor(act, caller, &user, shown, Audit::StepUp).await?;
            record_and_issue(act, caller, &user, &proofs).await
        }
    }
}

async fn count_code(app: &App, caller: &Caller, client: &Client) -> Result<CodeCheck> {
    app.limits
        .code_in_session(&client.ip, caller.id(), caller.session)
        .await
}

/// Whether the password was verified in the caller's session. After a sign-in by mail it was not, and both factors take it.
async fn has_password_proof(app: &App, caller: &Caller) -> Result<bool> {
    let session = app.db.write().await?.session_by_id(caller.session).await?;
    let session = session.ok_or(Refusal::SessionRevoked)?;
    let password = Method::Password.amr();
    Ok(session
        .amr
        .split_ascii_whitespace()
        .any(|method| method == password))
}

async fn record_and_issue(mut act: Act, caller: &Caller, user: &User, proofs: &[Proof]) -> Result<Issued> {
    let session = record_verification(&mut act, caller, proofs).await?;
    act.audit(
        Entry::success(Audit::StepUp)
            .subject(user.id)
            .session(caller.session),
    );
    let (app, now) = (act.app.clone(), act.now);
    act.commit().await?;
    // Its level, and with it its end, may be another one.
    app.cache.publish(&session, &UserCopy::from(user)).await;
    issue_verified(&app, &session, user, now)
}

/// Records proofs that were given within the caller's session, whose user is locked.
///
/// # Errors
/// Why the session is over.
pub(crate) async fn record_verification(
    act: &mut Act,
    caller: &Caller,
    proofs: &[Proof],
) -> Result<SessionRow> {
    let session = act.tx.session_by_id(caller.session).await?;
    let session = session.ok_or(Refusal::SessionRevoked)?;
    let verification = Verification::within(&session, proofs)?;
    let now = act.now;
    let recorded = act
        .tx
        .record_verification(
            session.id(),
            verification.auth_time(),
            verification.amr(),
            verification.acr().as_str(),
            now,
        )
        .await?;
    recorded.ok_or_else(|| Refusal::SessionExpired.into())
}

/// Issues an access token of the session's current generation, after the commit. No refresh token: it stays as it is.
///
/// # Errors
/// `Internal`.
pub(crate) fn issue_verified(app: &App, session: &SessionRow, user: &User, now: Timestamp) -> Result<Issued> {
    let until = ends_at(&app.config.session, session, user.role);
    issue_access(app, session, UserCopy::from(user).into(), until, now)
}
