//! Challenges. Those of a flow are a code over its id and end with it. Those of a sign-in, whose user is not known yet, and of a
//! step-up carry their own time: giving one out stores nothing, so that strangers cannot fill a table. The use of one is recorded, once,
//! in the transaction that it leads to.

use std::time::Duration;

use uuid::Uuid;

use super::fault::Fault;
use crate::act::Act;
use crate::app::App;
use crate::crypto;
use crate::domain::{SessionId, Timestamp};
use crate::error::Result;

/// For how long a challenge is answered.
pub const LIFE: Duration = Duration::from_mins(10);

/// What a challenge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A sign-in that begins with a passkey.
    SignIn,
    /// Verifying the user of this session once more.
    StepUp(SessionId),
    /// The next step of this flow.
    Flow(Uuid),
}

/// A challenge of one's own that was answered in time.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Names the challenge; `None` for one that ends with its flow.
    nonce: Option<(Uuid, Timestamp)>,
}

/// 128 random bits, the time, and 128 bits of a code over both.
const LENGTH: usize = 16 + 8 + 16;

fn tag(app: &App, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
    let (kind, context) = match purpose {
        Purpose::SignIn => (b"sign-in".as_slice(), Uuid::nil()),
        Purpose::StepUp(session) => (b"step-up".as_slice(), session.0),
        Purpose::Flow(id) => (b"flow".as_slice(), id),
    };
    let mut all = vec![kind, context.as_bytes().as_slice()];
    all.extend_from_slice(parts);
    app.keys.tag("passkey-challenge", &all)
}

/// A challenge; for a flow always the same one.
pub fn issue(app: &App, purpose: Purpose) -> Vec<u8> {
    if let Purpose::Flow(_) = purpose {
        return tag(app, purpose, &[]).to_vec();
    }
    let nonce = crypto::random_bytes::<16>();
    let issued_at = app.clock.now().as_micros().to_be_bytes();
    let code = tag(app, purpose, &[&nonce, &issued_at]);
    [nonce.as_slice(), &issued_at, &code[..16]].concat()
}

/// Whether this is a challenge of ours for this purpose, and not too old.
pub fn check(app: &App, purpose: Purpose, challenge: &[u8]) -> Result<Answered, Fault> {
    if let Purpose::Flow(_) = purpose {
        let is_same = crypto::equal(challenge, &tag(app, purpose, &[]));
        return is_same
            .then_some(Answered { nonce: None })
            .ok_or(Fault::WrongChallenge);
    }
    let (Some((nonce, rest)), LENGTH) = (challenge.split_first_chunk::<16>(), challenge.len()) else {
        return Err(Fault::StaleChallenge);
    };
    let Some((issued_at, given)) = rest.split_first_chunk::<8>() else {
        return Err(Fault::StaleChallenge);
    };
    if !crypto::equal(given, &tag(app, purpose, &[nonce, issued_at])[..16]) {
        return Err(Fault::StaleChallenge);
    }
    let until = Timestamp::from_micros(i64::from_be_bytes(*issued_at)).plus(LIFE);
    if app.clock.now() >= until {
        return Err(Fault::StaleChallenge);
    }
    Ok(Answered {
        nonce: Some((Uuid::from_bytes(*nonce), until)),
    })
}

/// Records that a challenge was answered, in the unit of work that it leads to; of any number of callers one succeeds.
///
/// # Errors
/// `StoreUnavailable`.
pub async fn consume(act: &mut Act, answered: Answered) -> Result<Result<(), Fault>> {
    let Some((nonce, until)) = answered.nonce else {
        return Ok(Ok(()));
    };
    let now = act.now;
    let is_first = act.tx.consume_passkey_challenge(nonce, now, until).await?;
    Ok(is_first.then_some(()).ok_or(Fault::StaleChallenge))
}
