//! Bringing users in: batches of one transaction each, none of which costs another one anything.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::factors::registered_already;
use super::judging::{Existing, Numbered, Verdict, judge_all, keys};
use super::reading::{Line, Message};
use super::user::{Mapping, Preset, ReportRow};
use crate::act::Client;
use crate::app::App;
use crate::auth::factors::moved;
use crate::domain::{Audit, Role, UserId};
use crate::error::{Error, Invalid, Result};
use crate::store::{NewUser, Seen, User};
use crate::telemetry::codes;

/// The most lines of one transaction: large enough that its commit costs little for each, small enough that others who
/// write wait for milliseconds.
const BATCH: usize = 500;

/// How often a batch is tried while the database is away.
const TRIES: u32 = 5;

/// What is to be done with the lines.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where they come from, for the audit trail.
    pub preset: Preset,
    /// Checks everything and writes nothing.
    pub dry_run: bool,
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Records that were read.
    pub lines: u64,
    /// Users that were made, or would have been.
    pub created: u64,
    /// Users that were already there as the line says.
    pub unchanged: u64,
    /// Lines that were not taken.
    pub refused: u64,
    /// Administrators among those that were made.
    pub admins: u64,
    /// Those that were made and have no password yet.
    pub without_password: u64,
    /// Lines that were taken, but not as they are.
    #[serde(default)]
    pub changed: u64,
}

/// What happened since the last one.
#[derive(Debug)]
pub enum Event<'a> {
    /// Columns of the source that nothing is made of.
    IgnoredColumns(&'a [String]),
    /// A line was not taken, or not as it is.
    Reported(&'a ReportRow),
    /// Users of the source that are here now, whether they were before or not.
    Mapped(&'a [Mapping]),
    /// Everything up to here is done for good.
    Done {
        /// How many records.
        records: u64,
        /// How many bytes of the file.
        bytes: u64,
        /// What became of them.
        summary: &'a Summary,
    },
}

/// Called with each event.
pub type Observer<'a> = dyn FnMut(Event<'_>) -> Result<()> + Send + 'a;

/// Takes lines until the source ends. `before` is what an earlier run has done with the first records, which are skipped.
///
/// # Errors
/// `StoreUnavailable`, and `Internal` when the source breaks off; what was done until then stays.
pub async fn run(
    app: &App,
    mut source: mpsc::Receiver<Message>,
    options: &Options,
    before: Summary,
    observer: &mut Observer<'_>,
) -> Result<Summary> {
    let mut seen = Seen::open().await?;
    let mut summary = before;
    let mut messages = Vec::with_capacity(BATCH);
    loop {
        let mut lines: Vec<Line> = Vec::with_capacity(BATCH);
        let mut ended = None;
        while lines.len() < BATCH && ended.is_none() {
            if source.recv_many(&mut messages, BATCH - lines.len()).await == 0 {
                // It neither ended nor broke: its thread is gone.
                ended = Some(Err(Error::Internal(anyhow::anyhow!(
                    "the reader ended before the source"
                ))));
            }
            for message in messages.drain(..) {
                match message {
                    Message::Line(line) => lines.push(line),
                    Message::IgnoredColumns(columns) => observer(Event::IgnoredColumns(&columns))?,
                    Message::End => ended = Some(Ok(())),
                    Message::Broken(why) => ended = Some(Err(Error::Internal(anyhow::anyhow!(why)))),
                }
            }
        }
        if let Some(last) = lines.last() {
            let (records, bytes) = (last.ordinal + 1, last.end);
            let settled = settle(app, &mut seen, lines, options, before.lines).await?;
            summary = add(summary, settled.summary);
            for row in &settled.report {
                observer(Event::Reported(row))?;
            }
            observer(Event::Mapped(&settled.mapped))?;
            observer(Event::Done {
                records,
                bytes,
                summary: &summary,
            })?;
        }
        match ended {
            Some(Ok(())) => return Ok(summary),
            Some(Err(error)) => return Err(error),
            None => {}
        }
    }
}

fn add(left: Summary, right: Summary) -> Summary {
    Summary {
        lines: left.lines + right.lines,
        created: left.created + right.created,
        unchanged: left.unchanged + right.unchanged,
        refused: left.refused + right.refused,
        admins: left.admins + right.admins,
        without_password: left.without_password + right.without_password,
        changed: left.changed + right.changed,
    }
}

/// What became of a batch.
struct Settled {
    report: Vec<ReportRow>,
    mapped: Vec<Mapping>,
    summary: Summary,
}

/// Deals with one batch.
async fn settle(
    app: &App,
    seen: &mut Seen,
    lines: Vec<Line>,
    options: &Options,
    skip: u64,
) -> Result<Settled> {
    let mut summary = Summary::default();
    let mut report = Vec::new();
    let mut users: Vec<Numbered> = Vec::new();
    for line in lines {
        // Done and reported by an earlier run. A later line with the same address or id finds the user in the database.
        if line.ordinal < skip {
            continue;
        }
        summary.lines += 1;
        match line.content {
            Ok(user) => users.push((line.number, user)),
            Err(row) => report.push(row),
        }
    }
    let all: Vec<String> = users
        .iter()
        .flat_map(|(_, user)| keys(user, user.uid.or(user.preferred_uid)))
        .collect();
    let met: HashMap<String, u64> = seen.find(&all).await?.into_iter().collect();

    let mut tries = 0;
    let outcome = loop {
        tries += 1;
        match apply(app, &users, &met, options).await {
            Err(Error::StoreUnavailable(cause)) if tries < TRIES => {
                tracing::warn!(code = codes::IMPORT_BATCH_RETRIED, cause = %format!("{cause:#}"), "the database is away; the batch is tried again");
                tokio::time::sleep(Duration::from_secs(1) * tries).await;
            }
            other => break other?,
        }
    };
    let mut claimed = Vec::new();
    let mut mapped = Vec::new();
    summary.refused = report.len() as u64;
    for ((number, user), verdict) in users.iter().zip(outcome) {
        let mut late = None;
        let (uid, here) = match verdict {
            Verdict::Unchanged(here) => {
                summary.unchanged += 1;
                (user.uid, Some(here))
            }
            Verdict::New { uid, here, warning } => {
                late = warning;
                summary.created += 1;
                summary.admins += u64::from(user.role == Some(Role::Admin));
                summary.without_password += u64::from(user.password_hash.is_none());
                (uid, here)
            }
            Verdict::Refused(reason) => {
                summary.refused += 1;
                report.push(ReportRow::refused(*number, reason).of(user));
                continue;
            }
        };
        claimed.extend(keys(user, uid).into_iter().map(|key| (key, *number)));
        let warnings: Vec<_> = user.warnings.iter().cloned().chain(late).collect();
        summary.changed += u64::from(!warnings.is_empty());
        for warning in warnings {
            report.push(ReportRow::warning(*number, warning).of(user));
        }
        mapped.extend(here.map(|(id, uid)| Mapping {
            source_id: user.source_id.clone(),
            id,
            uid,
            email: user.email.address().to_owned(),
        }));
    }
    seen.add(&claimed).await?;
    report.sort_by_key(|row| row.line);
    Ok(Settled {
        report,
        mapped,
        summary,
    })
}

/// Creates the users that can be created, in one transaction; gives the outcome of each.
async fn apply(
    app: &App,
    users: &[Numbered],
    met: &HashMap<String, u64>,
    options: &Options,
) -> Result<Vec<Verdict>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<UserId> = users.iter().filter_map(|(_, user)| user.id).collect();
    let uids: Vec<Uuid> = users
        .iter()
        .filter_map(|(_, user)| user.uid.or(user.preferred_uid))
        .collect();
    let keys: Vec<&str> = users.iter().map(|(_, user)| user.email.key()).collect();
    let now = app.clock.now();
    if options.dry_run {
        let mut conn = app.db.read().await?;
        let there = Existing::load(&mut conn, &ids, &uids, &keys, now).await?;
        return Ok(judge_all(users, met, &there));
    }
    if let Some(largest) = ids.iter().max() {
        app.db.reserve_ids(*largest).await?;
    }
    let mut act = app.act(&Client::default()).await?;
    let there = Existing::load(&mut act.tx, &ids, &uids, &keys, now).await?;
    let mut verdicts = judge_all(users, met, &there);
    let new: Vec<NewUser<'_>> = users
        .iter()
        .zip(&verdicts)
        .filter_map(|((_, user), verdict)| match verdict {
            Verdict::New { uid, .. } => Some(user.complete(*uid, app.config.mail.locale, now)),
            _ => None,
        })
        .collect();
    // Those with an id first: the others get the next ones.
    let (with_id, without_id): (Vec<_>, Vec<_>) = new.iter().partition(|user| user.id.is_some());
    // Who was an administrator before: imported ones get no mail about each other.
    let admins = act.admins_to_notify().await?;
    let mut made = act.tx.insert_users(&with_id).await?;
    made.extend(act.tx.insert_users(&without_id).await?);
    let added: HashMap<&str, &User> = made.iter().map(|user| (user.email_key.as_str(), user)).collect();
    for ((_, user), verdict) in users.iter().zip(&mut verdicts) {
        if let Verdict::New { here, .. } = verdict {
            *here = added.get(user.email.key()).map(|made| (made.id, made.uid));
        }
    }
    if made.len() < new.len() {
        // An address or an id was taken between the lookup and the insertion.
        let there = Existing::load(&mut act.tx, &ids, &uids, &keys, now).await?;
        for ((_, user), verdict) in users.iter().zip(&mut verdicts) {
            if matches!(verdict, Verdict::New { here: None, .. }) {
                *verdict = match there.judge(user) {
                    Verdict::New { .. } => Verdict::Refused(
                        Invalid::new(
                            "taken",
                            "Somebody else has just taken the address or the id; run the import again.",
                        )
                        .in_field(""),
                    ),
                    other => other,
                };
            }
        }
    }
    for ((_, user), verdict) in users.iter().zip(&mut verdicts) {
        if let Verdict::New { warning, .. } = verdict
            && let Some(made) = added.get(user.email.key())
            && user.factors.has_factor()
        {
            let left_out = moved::add(&mut act, made, &user.factors).await?;
            *warning = (left_out > 0).then(|| registered_already(left_out));
        }
    }
    let new_admins: HashSet<&str> = new
        .iter()
        .filter(|user| user.role == Role::Admin && user.is_active)
        .map(|user| user.email.key())
        .collect();
    let new_admins: Vec<UserId> = made
        .iter()
        .filter(|user| new_admins.contains(user.email_key.as_str()))
        .map(|user| user.id)
        .collect();
    let made: Vec<UserId> = made.into_iter().map(|user| user.id).collect();
    act.tx
        .insert_import_audit(&made, options.preset.as_str(), now)
        .await?;
    for id in new_admins {
        act.notify_of_new_admin(&admins, id, Audit::UserImport).await?;
    }
    act.commit().await?;
    Ok(verdicts)
}
