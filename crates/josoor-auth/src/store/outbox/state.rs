//! What a node knows of the mails that wait, between two reads of the table.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{Backlog, MailError};
use crate::domain::{MailClass, Timestamp};
use crate::telemetry::codes;

/// What this node knows of the mails that wait.
#[derive(Debug, Default)]
pub struct OutboxState {
    classes: [ClassState; MailClass::ALL.len()],
    trouble: Mutex<Trouble>,
}

/// What the mail server refuses.
#[derive(Debug, Default)]
struct Trouble {
    is_away: bool,
    is_refusing: bool,
    /// The reasons that the log has, and since when.
    reported: BTreeMap<String, Instant>,
}

/// The log has each reason once in this time, and at most so many.
const REPORT_EVERY: Duration = Duration::from_hours(1);
const REASONS_AT_MOST: usize = 8;

impl Trouble {
    fn is_news(&mut self, reason: &str) -> bool {
        self.reported.retain(|_, at| at.elapsed() < REPORT_EVERY);
        if self.reported.len() >= REASONS_AT_MOST || self.reported.contains_key(reason) {
            return false;
        }
        self.reported.insert(reason.to_owned(), Instant::now());
        true
    }
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

    /// Whether the mail server took nothing when it was last tried.
    pub(crate) fn is_away(&self) -> bool {
        self.trouble().is_away
    }

    /// The mail server takes nothing.
    pub(crate) fn set_away(&self, reason: &MailError) {
        let mut trouble = self.trouble();
        trouble.is_away = true;
        if trouble.is_news(&reason.text) {
            tracing::warn!(
                code = codes::MAIL_NOT_SENT,
                reason = reason.text,
                smtp_code = reason.code,
                enhanced_code = reason.status,
                "mail cannot be sent; it waits"
            );
        }
    }

    /// The mail server has answered about one mail; `refused` where its answer need not be about that mail.
    pub(crate) fn note_answer(&self, refused: Option<&MailError>) {
        let mut trouble = self.trouble();
        if std::mem::take(&mut trouble.is_away) {
            trouble.reported.clear();
            tracing::info!("mail is sent again");
        }
        trouble.is_refusing = refused.is_some();
        if let Some(reason) = refused
            && trouble.is_news(&reason.text)
        {
            tracing::warn!(
                code = codes::MAIL_REFUSED,
                reason = reason.text,
                smtp_code = reason.code,
                enhanced_code = reason.status,
                "the mail server refuses a mail for a reason that need not be the mail's; it waits for a day"
            );
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
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
        let is_troubled = {
            let trouble = self.trouble();
            trouble.is_away || trouble.is_refusing
        };
        is_troubled
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
