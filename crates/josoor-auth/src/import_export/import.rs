//! Bringing users in: batches of one transaction each, none of which costs another one anything.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::fields::Fields;
use super::options::Reading;
use super::reading::{LONGEST_RECORD, Line, Message};
use super::user::{Incoming, Preset, Refused};
use crate::act::Client;
use crate::app::App;
use crate::domain::{Audit, Role, Timestamp, UserId};
use crate::error::{Error, FieldError, Invalid, Result};
use crate::store::{NewUser, Seen, SourceTable, User};
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
}

/// What happened since the last one.
#[derive(Debug)]
pub enum Event<'a> {
    /// Columns of the source that nothing is made of.
    IgnoredColumns(&'a [String]),
    /// A line was not taken.
    Refused(&'a Refused),
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
            let (refused, done) = settle(app, &mut seen, lines, options, before.lines).await?;
            summary = add(summary, done);
            for line in &refused {
                observer(Event::Refused(line))?;
            }
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
    }
}

/// A user with its line.
type Numbered = (u64, Box<Incoming>);

/// Deals with one batch.
async fn settle(
    app: &App,
    seen: &mut Seen,
    lines: Vec<Line>,
    options: &Options,
    skip: u64,
) -> Result<(Vec<Refused>, Summary)> {
    let mut summary = Summary::default();
    let mut refused = Vec::new();
    let mut users: Vec<Numbered> = Vec::new();
    for line in lines {
        // Done and reported by an earlier run. A later line with the same address or id finds the user in the database.
        if line.ordinal < skip {
            continue;
        }
        summary.lines += 1;
        match line.content {
            Ok(user) => users.push((line.number, user)),
            Err(reason) => refused.push(reason),
        }
    }
    let all: Vec<String> = users.iter().flat_map(|(_, user)| keys(user)).collect();
    let met: HashMap<String, u64> = seen.find(&all).await?.into_iter().collect();

    let mut tries = 0;
    let outcome = loop {
        tries += 1;
        match apply(app, &users, &met, options).await {
            Err(Error::StoreUnavailable(cause)) if tries < TRIES => {
                tracing::warn!(code = codes::IMPORT_BATCH_RETRIED, error = ?cause, "the database is away; the batch is tried again");
                tokio::time::sleep(Duration::from_secs(1) * tries).await;
            }
            other => break other?,
        }
    };
    let mut claimed = Vec::new();
    for ((number, user), verdict) in users.iter().zip(outcome) {
        match verdict {
            Verdict::Unchanged => summary.unchanged += 1,
            Verdict::New => {
                summary.created += 1;
                summary.admins += u64::from(user.role == Some(Role::Admin));
                summary.without_password += u64::from(user.password_hash.is_none());
            }
            Verdict::Refused(reason) => {
                refused.push(Refused::new(*number, reason, Some(&user.email)));
                continue;
            }
        }
        claimed.extend(keys(user).into_iter().map(|key| (key, *number)));
    }
    seen.add(&claimed).await?;
    refused.sort_by_key(|line| line.line);
    summary.refused = refused.len() as u64;
    Ok((refused, summary))
}

/// What a user claims for itself within the file.
fn keys(user: &Incoming) -> Vec<String> {
    let mut keys = vec![format!("e{}", user.email.key())];
    keys.extend(user.id.map(|id| format!("i{id}")));
    keys.extend(user.uid.map(|uid| format!("u{uid}")));
    keys
}

#[derive(Debug)]
enum Verdict {
    New,
    Unchanged,
    Refused(FieldError),
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
    let uids: Vec<Uuid> = users.iter().filter_map(|(_, user)| user.uid).collect();
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
        .filter(|(_, verdict)| matches!(verdict, Verdict::New))
        .map(|((_, user), _)| user.complete(app.config.mail.locale, now))
        .collect();
    // Those with an id first: the others get the next ones.
    let (with_id, without_id): (Vec<_>, Vec<_>) = new.iter().partition(|user| user.id.is_some());
    // Who was an administrator before: imported ones get no mail about each other.
    let admins = act.admins_to_notify().await?;
    let mut made = act.tx.insert_users(&with_id).await?;
    made.extend(act.tx.insert_users(&without_id).await?);
    if made.len() < new.len() {
        // An address or an id was taken between the lookup and the insertion.
        let added: HashSet<&str> = made.iter().map(|user| user.email_key.as_str()).collect();
        let there = Existing::load(&mut act.tx, &ids, &uids, &keys, now).await?;
        for ((_, user), verdict) in users.iter().zip(&mut verdicts) {
            if matches!(verdict, Verdict::New) && !added.contains(user.email.key()) {
                *verdict = match there.judge(user) {
                    Verdict::New => Verdict::Refused(
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

/// Judges each line by what the database has and by the lines before it. A line that is refused claims nothing, and so
/// costs no other one.
fn judge_all(users: &[Numbered], met: &HashMap<String, u64>, there: &Existing) -> Vec<Verdict> {
    let mut met = met.clone();
    let mut verdicts = Vec::with_capacity(users.len());
    for (number, user) in users {
        let keys = keys(user);
        let earlier = keys.iter().find_map(|key| Some((key, *met.get(key)?)));
        let verdict = match earlier {
            Some((key, line)) => {
                let (field, what) = match key.as_bytes().first() {
                    Some(b'e') => ("email", "address"),
                    Some(b'u') => ("uid", "uid"),
                    _ => ("id", "id"),
                };
                let reason = format!("Line {line} has the same {what}, and was taken first.");
                Verdict::Refused(Invalid::new("duplicate", reason).in_field(field))
            }
            None => there.judge(user),
        };
        if !matches!(verdict, Verdict::Refused(_)) {
            met.extend(keys.into_iter().map(|key| (key, *number)));
        }
        verdicts.push(verdict);
    }
    verdicts
}

/// What the database has of the ids and addresses of a batch.
struct Existing {
    by_key: HashMap<String, usize>,
    by_id: HashMap<UserId, usize>,
    uids: HashMap<Uuid, UserId>,
    users: Vec<User>,
    deleted: HashSet<UserId>,
}

impl Existing {
    async fn load(
        conn: &mut crate::store::Conn,
        ids: &[UserId],
        uids: &[Uuid],
        keys: &[&str],
        now: Timestamp,
    ) -> Result<Self> {
        let users = conn.users_with(ids, uids, keys).await?;
        let deleted = conn.recently_deleted(ids, now).await?;
        Ok(Self {
            by_key: users
                .iter()
                .enumerate()
                .map(|(index, user)| (user.email_key.clone(), index))
                .collect(),
            by_id: users
                .iter()
                .enumerate()
                .map(|(index, user)| (user.id, index))
                .collect(),
            uids: users.iter().map(|user| (user.uid, user.id)).collect(),
            users,
            deleted: deleted.into_iter().collect(),
        })
    }

    fn judge(&self, user: &Incoming) -> Verdict {
        let refuse = |field: &str, code, message: String| {
            Verdict::Refused(Invalid::new(code, message).in_field(field))
        };
        let by_key = self.by_key.get(user.email.key()).map(|index| &self.users[*index]);
        let by_id = user
            .id
            .and_then(|id| self.by_id.get(&id))
            .map(|index| &self.users[*index]);
        match (by_key, by_id, user.id) {
            (Some(there), _, Some(id)) if there.id != id => {
                refuse("email", "email_taken", format!("The address belongs to the user with the id {}.", there.id))
            }
            (None, Some(there), _) => {
                refuse("id", "id_taken", format!("The id {} belongs to a user with another address.", there.id))
            }
            (Some(there), _, _) => {
                let differences = user.differences(there);
                match differences.first() {
                    None => Verdict::Unchanged,
                    Some(first) => refuse(
                        first,
                        "exists",
                        format!("The user is there with other values of {}, and was left as it is.", differences.join(", ")),
                    ),
                }
            }
            (None, None, _) if user.uid.is_some_and(|uid| self.uids.contains_key(&uid)) => {
                refuse("uid", "uid_taken", "The uid belongs to a user with another address.".to_owned())
            }
            (None, None, Some(id)) if self.deleted.contains(&id) => refuse(
                "id",
                "id_recently_deleted",
                "The id belonged to a user that was deleted less than a day ago; it can be used again a day after the deletion.".to_owned(),
            ),
            (None, None, _) => Verdict::New,
        }
    }
}

/// Sends the rows of a table as lines, numbered from 1. Ends early without a receiver.
pub async fn read_table(mut table: SourceTable, reading: &Reading, sender: mpsc::Sender<Message>) {
    if !table.ignored_columns().is_empty() {
        let columns = table.ignored_columns().to_vec();
        if sender.send(Message::IgnoredColumns(columns)).await.is_err() {
            return;
        }
    }
    let mut ordinal = 0;
    loop {
        let rows = match table.next().await {
            Ok(rows) => rows,
            Err(Error::Internal(cause)) => {
                let _ = sender.send(Message::Broken(format!("{cause:#}"))).await;
                return;
            }
            Err(other) => {
                let _ = sender.send(Message::Broken(other.to_string())).await;
                return;
            }
        };
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let size: usize = row
                .iter()
                .filter_map(|(_, value)| Some(value.as_ref()?.len()))
                .sum();
            let fields = if size > LONGEST_RECORD {
                Err(Invalid::new("line_too_long", "A record has at most 64 KiB.").in_field(""))
            } else {
                let fields = row
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
                Ok(fields.collect::<Fields>())
            };
            let line = reading.line(ordinal + 1, ordinal, 0, fields);
            ordinal += 1;
            if sender.send(Message::Line(line)).await.is_err() {
                return;
            }
        }
    }
    table.close().await;
    let _ = sender.send(Message::End).await;
}
