//! One change of many users: each in a unit of work of its own, so that what is rejected for one stops no other.

use crate::account::profile;
use crate::act::Client;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::domain::{Role, UserId};
use crate::error::{Error, Refusal, Result};
use crate::store::UserPatch;

/// How many users one request changes, at most.
pub const USERS_AT_MOST: usize = 500;

/// What is changed of each user. What is `None` stays.
#[derive(Clone, Copy, Debug)]
pub struct BulkChange {
    /// What the user may do.
    pub role: Option<Role>,
    /// Whether the user may sign in.
    pub is_active: Option<bool>,
}

impl BulkChange {
    fn patch(self) -> UserPatch {
        UserPatch {
            role: self.role,
            is_active: self.is_active,
            ..UserPatch::default()
        }
    }
}

/// What became of one user.
#[derive(Debug)]
pub enum Outcome {
    /// The user was changed.
    Changed,
    /// The user was so before.
    Unchanged,
    /// One's own account, which was not asked for.
    OwnAccount,
    /// The change was rejected, or was not tried because an earlier failure holds for it, too.
    Failed(Error),
}

/// Changes users in the order of their ids in the list; one's own account only with `includes_self`, and then last, because it may
/// end the caller's right to the others. A result for each, in the order of the list.
///
/// # Errors
/// Why the caller may not go on, or `StoreUnavailable`, if nothing was changed until then. Afterwards it is the result of all that
/// are left.
pub async fn update(
    app: &App,
    caller: &Caller,
    ids: &[UserId],
    change: BulkChange,
    includes_self: bool,
    client: &Client,
) -> Result<Vec<(UserId, Outcome)>> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|at| ids[*at] == caller.id());
    let mut outcomes: Vec<Option<Outcome>> = ids.iter().map(|_| None).collect();
    let (mut is_any_changed, mut stop) = (false, None);
    for at in order {
        let id = ids[at];
        let outcome = if id == caller.id() && !includes_self {
            Outcome::OwnAccount
        } else if let Some(stop) = &stop {
            Outcome::Failed(repeated(stop))
        } else {
            match update_one(app, caller, id, change, client).await {
                Ok(outcome) => outcome,
                Err(error) if ends_the_request(&error) => {
                    if !is_any_changed {
                        return Err(error);
                    }
                    let outcome = Outcome::Failed(repeated(&error));
                    stop = Some(error);
                    outcome
                }
                Err(error) => Outcome::Failed(error),
            }
        };
        is_any_changed |= matches!(outcome, Outcome::Changed);
        outcomes[at] = Some(outcome);
    }
    Ok(ids.iter().copied().zip(outcomes.into_iter().flatten()).collect())
}

async fn update_one(
    app: &App,
    caller: &Caller,
    id: UserId,
    change: BulkChange,
    client: &Client,
) -> Result<Outcome> {
    require_administrator(app, caller).await?;
    let updated = profile::update(app, id, change.patch(), client).await?;
    Ok(if updated.is_changed {
        Outcome::Changed
    } else {
        Outcome::Unchanged
    })
}

/// Another administrator may have taken the caller's role or session since the request began.
async fn require_administrator(app: &App, caller: &Caller) -> Result<()> {
    let mut conn = app.db.write().await?;
    let session = conn.session_by_id(caller.session).await?;
    let session = session.ok_or(Refusal::SessionRevoked)?;
    if let Some(why) = session.ended(app.clock.now()) {
        return Err(why.into());
    }
    let user = conn
        .user_by_id(caller.id())
        .await?
        .ok_or(Refusal::SessionRevoked)?;
    if !user.is_active {
        return Err(Refusal::AccountInactive.into());
    }
    if user.role < Role::Admin {
        return Err(Refusal::InsufficientRole.into());
    }
    Ok(())
}

/// Whether a failure is one of the request and not of one user.
const fn ends_the_request(error: &Error) -> bool {
    !matches!(error, Error::NotFound | Error::LastAdmin)
}

/// The same failure for a user who comes later.
fn repeated(error: &Error) -> Error {
    match error {
        Error::Refused(refusal) => Error::Refused(*refusal),
        _ => Error::unavailable(anyhow::anyhow!("not tried after a failure: {error}")),
    }
}
