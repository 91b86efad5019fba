//! What a node knows of the mails that wait, between two reads of the table.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use super::queue::Backlog;
use crate::domain::{MailClass, Timestamp};
use crate::telemetry::codes;

/// What this node knows of the mails that wait.
#[derive(Debug, Default)]
pub struct OutboxState {
    classes: [ClassState; MailClass::ALL.len()],
    is_away: AtomicBool,
}

#[derive(Debug, Default)]
struct ClassState {
    /// Until when its budget is spent, in microseconds; in the past while it is not.
    closed_until: AtomicI64,
    /// Whether its budget was spent and rows may still wait for it.
    is_spent: AtomicBool,
    waiting: AtomicI64,
    /// When the oldest that waits was asked for, in microseconds; 0 when none waits.
    oldest: AtomicI64,
}

/// What waits in one class, as metrics show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many rows.
    pub count: u64,
    /// The age of the oldest.
    pub oldest: Duration,
}

impl OutboxState {
    /// A mail that waits for longer than this is worth attention.
    pub const LATE: Duration = Duration::from_mins(15);

    const fn of(&self, class: MailClass) -> &ClassState {
        &self.classes[class as usize]
    }

    pub(crate) fn is_open(&self, class: MailClass, now: Timestamp) -> bool {
        self.of(class).closed_until.load(Ordering::Relaxed) <= now.as_micros()
    }

    /// The budget of a class is spent until then.
    pub(crate) fn close(&self, class: MailClass, until: Timestamp) {
        let state = self.of(class);
        state.closed_until.store(until.as_micros(), Ordering::Relaxed);
        if !state.is_spent.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                code = codes::MAIL_BUDGET_SPENT,
                class = class.as_str(),
                "the budget of mails is spent (limits.mail_total); mails of this class wait"
            );
        }
    }

    /// The budget of a class is open, and no row of it is due.
    pub(crate) fn settle(&self, class: MailClass) {
        if self.of(class).is_spent.swap(false, Ordering::Relaxed) {
            tracing::info!(
                class = class.as_str(),
                "no mail of this class waits for its budget any more"
            );
        }
    }

    pub(crate) fn note(&self, backlog: &[Backlog]) {
        for class in MailClass::ALL {
            let found = backlog.iter().find(|backlog| backlog.class() == class);
            let state = self.of(class);
            state
                .waiting
                .store(found.map_or(0, |found| found.waiting), Ordering::Relaxed);
            state.oldest.store(
                found.map_or(0, |found| found.oldest.as_micros()),
                Ordering::Relaxed,
            );
        }
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    /// What waits in each class.
    pub fn waiting(&self, now: Timestamp) -> [Waiting; MailClass::ALL.len()] {
        MailClass::ALL.map(|class| {
            let state = self.of(class);
            let oldest = match state.oldest.load(Ordering::Relaxed) {
                0 => Duration::ZERO,
                micros => now.since(Timestamp::from_micros(micros)),
            };
            Waiting {
                count: u64::try_from(state.waiting.load(Ordering::Relaxed)).unwrap_or(0),
                oldest,
            }
        })
    }

    /// Whether mails are late or about to be: a budget is spent, the mail server is away, or one waits for longer than
    /// [`LATE`](Self::LATE).
    pub fn is_degraded(&self, now: Timestamp) -> bool {
        self.is_away.load(Ordering::Relaxed)
            || self
                .classes
                .iter()
                .any(|state| state.is_spent.load(Ordering::Relaxed))
            || self
                .waiting(now)
                .iter()
                .any(|waiting| waiting.oldest > Self::LATE)
    }
}
