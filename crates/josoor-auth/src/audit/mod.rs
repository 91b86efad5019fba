//! The audit trail: reading it, and what shows that somebody else has written in it.
//!
//! A row commits with its act and carries its own code (HMAC-SHA-256) from then on. One node, which holds a lease, comes by
//! within a second and seals what is new: it checks each row's code and gives the row the next position and a code over the
//! position, the row and the code before. A row without a right code is refused: it is marked, reported, and stays out of the
//! chain. So without the key no row can be changed, inserted, removed, repeated or swapped unseen. The end of the chain can
//! be cut off together with the stored head; running nodes remember the head, it is written to the log, and
//! `audit verify --head` compares with one that was logged.
//!
//! Rows past their retention go from the beginning of the chain, after they were checked. An anchor, authenticated under the
//! same key, remembers the position and code of the last one that went. [ADR 6](../docs/adr/0006-audit-chain.md),
//! [ADR 14](../docs/adr/0014-audit-row-codes.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::act::Client;
use crate::app::App;
use crate::crypto;
use crate::domain::{Timestamp, UserId};
use crate::error::{Error, Result};
use crate::keys::{SealedFormat, Unlocked};
use crate::store::{
    Audit, AuditFilter, AuditKey, AuditRow, ChainEnd, Conn, Db, MacOrigin, NewAudit, RowCode, Seal,
};

const HEAD: &str = "head";
const ANCHOR: &str = "anchor";

/// What the sealer's lease is called. That of the version before, `audit-sealer`, is never free again.
const LEASE: &str = "audit-sealer-2";

/// How long the sealer is this node's, unless it goes on: how late sealing can be after a crash.
const LEASE_TIME: Duration = Duration::from_secs(5);

/// Between two rounds of sealing.
const EVERY: Duration = Duration::from_millis(400);

/// Between two rounds of watching, at most.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// Rows sealed in one transaction; three bound values each stay below what both engines take.
const BATCH: i64 = 250;

/// Rows that a check has in memory.
const PAGE: i64 = 1000;

/// Heads go to the log this often at most, and when the service stops.
const LOG_EVERY: Duration = Duration::from_hours(1);

/// An unsealed row that is older than this was left behind by a sealer that does not work.
const SEALED_WITHIN: Duration = Duration::from_mins(1);

/// How many rows a user is shown as counted.
const ACTIVITY_COUNTED: i64 = 1000;

/// Ids that one finding names.
const IDS_NAMED: usize = 100;

/// Reasons of [`Audit::AuditBoundary`]: the trail began on a new database; on the tables of the version before; rows without
/// a code are refused from here on.
const BEGUN: &str = "begun";
const UPGRADED: &str = "upgraded";
const MAC_REQUIRED: &str = "mac_required";

/// Why a trail cannot be sealed: what is the matter with its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Missing,
    Forged,
    WentBack,
}

impl Fault {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "the head of the chain is missing",
            Self::Forged => "the head of the chain was not set with this master key",
            Self::WentBack => "the head of the chain went back to an earlier one",
        }
    }
}

/// What a node remembers of the trail, so that it notices what the tables alone would not show.
#[derive(Debug)]
pub struct Watch {
    holder: Uuid,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The last head, and whether rows without a code were refused then.
    head: Option<(ChainEnd, bool)>,
    /// The last row with which the chain began again.
    base: Option<Uuid>,
    is_base_known: bool,
    fault: Option<Fault>,
    alarms: BTreeSet<Alarm>,
}

/// What else is the matter with a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// Rows were refused.
    Refused,
    /// Rows wait for too long.
    Late,
    /// Retention met a changed row.
    Changed,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            holder: uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid(),
            memory: Mutex::default(),
        }
    }
}

impl Watch {
    /// Whether the trail is sealed and nothing was refused, as far as this node has seen.
    pub fn is_sound(&self) -> bool {
        let memory = self.memory();
        memory.fault.is_none() && memory.alarms.is_empty()
    }

    /// Whether this alarm is a new one.
    fn set_alarm(&self, alarm: Alarm, is_on: bool) -> bool {
        let alarms = &mut self.memory().alarms;
        if is_on {
            alarms.insert(alarm)
        } else {
            alarms.remove(&alarm);
            false
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_fault(&self, fault: Option<Fault>) {
        let before = std::mem::replace(&mut self.memory().fault, fault);
        match (before, fault) {
            (before, Some(fault)) if before != Some(fault) => tracing::error!(
                reason = fault.as_str(),
                "the audit trail is not sealed: it was tampered with; see `josoor-auth audit verify`"
            ),
            (Some(_), None) => tracing::info!("the audit trail is sealed again"),
            _ => {}
        }
    }
}

/// Seals new rows for as long as the service runs, and watches over the trail.
pub async fn seal_regularly(app: App) {
    let watch_every = app
        .config
        .audit
        .mac_required_after
        .map_or(WATCH_EVERY, |after| WATCH_EVERY.min(after / 4));
    let mut logged: Option<(Timestamp, i64)> = None;
    let mut failing = false;
    let mut quiet = Quiet::default();
    let mut watched: Option<Instant> = None;
    loop {
        let round = async {
            let head = seal(&app).await?;
            if watched.is_none_or(|at| at.elapsed() >= watch_every) {
                watch_over(&app, &mut quiet).await?;
                watched = Some(Instant::now());
            }
            Ok::<_, Error>(head)
        };
        match round.await {
            Ok(head) => {
                if failing {
                    tracing::info!("the audit trail is sealed again");
                }
                failing = false;
                let now = app.clock.now();
                if let Some(head) = head {
                    let is_news = logged.is_none_or(|(at, seq)| head.seq > seq && now.since(at) >= LOG_EVERY);
                    if is_news {
                        tracing::info!(head = %describe(&head), "audit head");
                        logged = Some((now, head.seq));
                    }
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(error = ?error, "the audit trail cannot be sealed; trying again");
                }
                failing = true;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Writes the head to the log, as when the service stops. A database that is away is no failure here.
pub async fn log_head(app: &App) {
    let head = async { app.db.read().await?.chain_end(HEAD).await };
    if let Ok(Ok(Some(head))) = tokio::time::timeout(Duration::from_secs(1), head).await {
        tracing::info!(head = %describe(&head), "audit head");
    }
}

/// Since when nothing has been seen of nodes that write rows without a code.
#[derive(Debug)]
struct Quiet {
    since: Instant,
    seq: Option<i64>,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            seq: None,
        }
    }
}

/// Checks what the sealer does not see on its way, and starts to require codes once the last node of the version before has been
/// gone for long enough.
async fn watch_over(app: &App, quiet: &mut Quiet) -> Result<()> {
    let mut conn = app.db.read().await?;
    let standing = stand(app, &mut conn).await?;
    let refused = conn.refused_audit(1).await?;
    let late = app.clock.now().minus(SEALED_WITHIN);
    let is_late = conn.has_late_audit(late).await?;
    if app.audit.set_alarm(Alarm::Late, is_late) {
        tracing::error!("rows of the audit trail have not been sealed for over a minute");
    }
    app.audit.set_alarm(Alarm::Refused, !refused.is_empty());
    let (Ok((head, false)), Some(after)) = (standing, app.config.audit.mac_required_after) else {
        return Ok(());
    };
    let adopted = match quiet.seq {
        Some(seq) => conn.count_adopted(seq).await?,
        None => 1,
    };
    drop(conn);
    if adopted > 0 || app.db.count_previous_connections().await? > 0 {
        quiet.since = Instant::now();
    }
    quiet.seq = Some(head.seq);
    if quiet.since.elapsed() >= after && require_mac(app, &Client::default()).await? {
        tracing::info!(
            "no node of the version before is left: rows of the audit trail without a code are refused from now on"
        );
    }
    Ok(())
}

/// The head, and whether rows without a code are refused; or why nothing can be sealed.
async fn stand(app: &App, conn: &mut Conn) -> Result<std::result::Result<(ChainEnd, bool), Fault>> {
    let key = conn.audit_key()?;
    let found = match conn.chain_end(HEAD).await? {
        None => Err(Fault::Missing),
        Some(head) => match requires_mac(&key, &head) {
            None => Err(Fault::Forged),
            Some(required) => Ok((head, required)),
        },
    };
    if !app.audit.memory().is_base_known {
        let base = last_base(conn, &key).await?;
        let mut memory = app.audit.memory();
        memory.base = base.and_then(|base| base.nonce);
        memory.is_base_known = true;
    }
    let went_back = match (&found, &app.audit.memory().head) {
        (Ok((head, required)), Some((known, was_required))) => {
            head.seq < known.seq
                || (head.seq == known.seq && head.mac != known.mac)
                || (*was_required && !required)
        }
        _ => false,
    };
    let found = if went_back {
        // An operator may have begun the chain again.
        let base = last_base(conn, &key).await?.and_then(|base| base.nonce);
        let mut memory = app.audit.memory();
        if base.is_some() && base != memory.base {
            memory.base = base;
            found
        } else {
            Err(Fault::WentBack)
        }
    } else {
        found
    };
    app.audit.set_fault(found.as_ref().err().copied());
    if let Ok(found) = &found {
        app.audit.memory().head = Some(found.clone());
    }
    Ok(found)
}

/// Whether this head says that rows without a code are refused; `None` when it was not set with this key.
fn requires_mac(key: &AuditKey, head: &ChainEnd) -> Option<bool> {
    [true, false]
        .into_iter()
        .find(|required| crypto::equal(&head.tag, &key.end(HEAD, head.seq, &head.mac, *required)))
}

/// The last row with which the chain began again, if there is one.
async fn last_base(conn: &mut Conn, key: &AuditKey) -> Result<Option<AuditRow>> {
    let mut last: Option<AuditRow> = None;
    let mut after = 0;
    loop {
        let rows = conn.audit_of(Audit::AuditRebase, after, PAGE).await?;
        let Some(end) = rows.last().map(|row| row.id) else {
            return Ok(last);
        };
        after = end;
        for row in rows {
            let is_later = last.as_ref().is_none_or(|last| last.seq < row.seq);
            if is_later && is_base(key, &row) {
                last = Some(row);
            }
        }
    }
}

fn is_base(key: &AuditKey, row: &AuditRow) -> bool {
    let (Some(seq), Some(mac), Some(row_mac)) = (row.seq, &row.mac, &row.row_mac) else {
        return false;
    };
    let is_written = matches!(
        key.check(row),
        RowCode::Right {
            origin: MacOrigin::Written,
            ..
        }
    );
    is_written && crypto::equal(mac, &key.restart(seq, row.id, row_mac))
}

/// Which rows are sealed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    /// Those with a right code.
    Coded,
    /// Those, and rows without one, as the version before writes them.
    Uncoded,
    /// All, also refused ones.
    All,
}

/// The end of the chain while it is sealed.
struct Sealing {
    seq: i64,
    mac: Vec<u8>,
}

/// What became of a batch.
#[derive(Default)]
struct Batch {
    sealed: usize,
    refused: Vec<i64>,
    is_full: bool,
}

impl Sealing {
    /// Seals a batch. `None`: another node has sealed some of it.
    async fn seal_batch(
        &mut self,
        tx: &mut Conn,
        key: &AuditKey,
        accept: Accept,
        now: Timestamp,
    ) -> Result<Option<Batch>> {
        let rows = match accept {
            Accept::All => tx.unchained_audit(0, BATCH).await?,
            Accept::Coded | Accept::Uncoded => tx.unsealed_audit(BATCH).await?,
        };
        let mut batch = Batch {
            is_full: i64::try_from(rows.len()).unwrap_or(BATCH) == BATCH,
            ..Batch::default()
        };
        let (mut seals, mut adopted) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            let row_mac = match (key.check(row), &row.row_mac) {
                (
                    RowCode::Right {
                        origin: MacOrigin::Written,
                        is_blank: false,
                    },
                    Some(row_mac),
                ) => row_mac.clone(),
                (code, _)
                    if accept == Accept::All || (accept == Accept::Uncoded && code == RowCode::Missing) =>
                {
                    let signed = key.adopt(row);
                    let row_mac = signed.row_mac.to_vec();
                    adopted.push((row.id, signed));
                    row_mac
                }
                _ => {
                    batch.refused.push(row.id);
                    continue;
                }
            };
            seals.push(self.place(key, row.id, &row_mac));
        }
        tx.adopt_audit(&adopted).await?;
        tx.refuse_audit(&batch.refused, now).await?;
        batch.sealed = seals.len();
        if tx.seal_audit(&seals).await? != seals.len() as u64 {
            return Ok(None);
        }
        Ok(Some(batch))
    }

    /// Seals everything that is there.
    async fn seal_all(
        &mut self,
        tx: &mut Conn,
        key: &AuditKey,
        accept: Accept,
        now: Timestamp,
    ) -> Result<()> {
        loop {
            let batch = self.seal_batch(tx, key, accept, now).await?;
            if !batch.ok_or_else(was_moved)?.is_full {
                return Ok(());
            }
        }
    }

    /// Writes a row and seals it; with `restart` the chain begins again with it.
    async fn append(
        &mut self,
        tx: &mut Conn,
        key: &AuditKey,
        new: &NewAudit<'_>,
        restart: bool,
    ) -> Result<()> {
        let row = tx.insert_audit_row(new).await?;
        let row_mac = row.row_mac.unwrap_or_default();
        let mut seal = self.place(key, row.id, &row_mac);
        if restart {
            seal.mac = key.restart(seal.seq, row.id, &row_mac);
            self.mac = seal.mac.to_vec();
        }
        if tx.seal_audit(&[seal]).await? == 1 {
            Ok(())
        } else {
            Err(was_moved())
        }
    }

    fn place(&mut self, key: &AuditKey, id: i64, row_mac: &[u8]) -> Seal {
        self.seq += 1;
        let mac = key.link(&self.mac, self.seq, id, row_mac);
        self.mac = mac.to_vec();
        Seal {
            id,
            seq: self.seq,
            mac,
        }
    }

    fn end(&self, key: &AuditKey, name: &str, mac_required: bool) -> ChainEnd {
        end(key, name, self.seq, self.mac.clone(), mac_required)
    }
}

fn was_moved() -> Error {
    Error::StoreUnavailable(anyhow::anyhow!(
        "another node moved the audit trail's chain at the same moment; try again"
    ))
}

/// Begins the trail on a database that has none, and says how keys are to be stored. Called at each start, before any key is made.
///
/// The trail begins once: a database that has begun and lacks its head was tampered with, and no new head is made.
pub async fn begin(db: &Db, unlocked: &Unlocked, now: Timestamp) -> Result<SealedFormat> {
    let mut tx = db.begin().await?;
    let key = tx.audit_key()?;
    // A server-only key in the format of this version was made after the trail had begun.
    if !unlocked.is_versioned && tx.pass_audit_begin().await? {
        let head = tx.chain_end(HEAD).await?;
        let last = tx.last_audit_position().await?;
        let required = unlocked.is_new;
        let from = match &head {
            Some(head) if requires_mac(&key, head) == Some(false) => Some(Sealing {
                seq: head.seq,
                mac: head.mac.clone(),
            }),
            None if last == 0 => Some(Sealing {
                seq: 0,
                mac: Vec::new(),
            }),
            _ => None,
        };
        if let Some(mut sealing) = from {
            let from = sealing.seq;
            if required {
                // What `migrate --adopt` wrote, which has no key.
                sealing.seal_all(&mut tx, &key, Accept::Uncoded, now).await?;
            }
            let row = NewAudit {
                reason: Some(if required { BEGUN } else { UPGRADED }),
                ..NewAudit::by_operator(Audit::AuditBoundary, now)
            };
            sealing.append(&mut tx, &key, &row, false).await?;
            let head = sealing.end(&key, HEAD, required);
            if !tx.move_chain_end(HEAD, from, &head).await? {
                return Err(was_moved());
            }
        }
    }
    let head = tx.chain_end(HEAD).await?;
    tx.commit().await?;
    let is_required = head.is_some_and(|head| requires_mac(&key, &head) == Some(true));
    Ok(if unlocked.is_new || is_required {
        SealedFormat::Versioned
    } else {
        SealedFormat::Unversioned
    })
}

/// Seals what is new, if this node holds the lease or can take it. The head of the chain, where it was this node's work.
pub async fn seal(app: &App) -> Result<Option<ChainEnd>> {
    loop {
        // Without this every node would write its lease at every round, on a database where nothing happens.
        if app.db.read().await?.unsealed_audit(1).await?.is_empty() {
            return Ok(None);
        }
        let mut tx = app.db.begin().await?;
        let now = app.clock.now();
        if !tx
            .take_lease(LEASE, app.audit.holder, now, now.plus(LEASE_TIME))
            .await?
        {
            return Ok(None);
        }
        let key = tx.audit_key()?;
        let Ok((before, required)) = stand(app, &mut tx).await? else {
            return Ok(None);
        };
        let mut sealing = Sealing {
            seq: before.seq,
            mac: before.mac.clone(),
        };
        let accept = if required { Accept::Coded } else { Accept::Uncoded };
        let Some(batch) = sealing.seal_batch(&mut tx, &key, accept, now).await? else {
            return Ok(None);
        };
        let head = sealing.end(&key, HEAD, required);
        // A node that has lost the lease meanwhile finds the head elsewhere, and undoes everything.
        if batch.sealed > 0 && !tx.move_chain_end(HEAD, before.seq, &head).await? {
            return Ok(None);
        }
        tx.commit().await?;
        app.audit.memory().head = Some((head.clone(), required));
        if !batch.refused.is_empty() {
            app.metrics.audit_refused(batch.refused.len() as u64);
            app.audit.set_alarm(Alarm::Refused, true);
            tracing::error!(
                rows = %ids(&batch.refused),
                "rows of the audit trail were not written by this service, and are refused; see `josoor-auth audit verify`"
            );
        }
        if !batch.is_full {
            return Ok((batch.sealed > 0).then_some(head));
        }
    }
}

/// Refuses rows without a code from now on, at every node, for good. False: that was so already.
pub async fn require_mac(app: &App, client: &Client) -> Result<bool> {
    let mut tx = take_chain(app).await?;
    let key = tx.audit_key()?;
    let (before, required) = stand(app, &mut tx).await?.map_err(refuse)?;
    if required {
        return Ok(false);
    }
    let now = app.clock.now();
    let mut sealing = Sealing {
        seq: before.seq,
        mac: before.mac,
    };
    sealing.seal_all(&mut tx, &key, Accept::Uncoded, now).await?;
    let row = NewAudit {
        reason: Some(MAC_REQUIRED),
        ..client.audit(Audit::AuditBoundary, now)
    };
    sealing.append(&mut tx, &key, &row, false).await?;
    let head = sealing.end(&key, HEAD, true);
    if !tx.move_chain_end(HEAD, before.seq, &head).await? {
        return Err(was_moved());
    }
    tx.commit().await?;
    app.audit.memory().head = Some((head, true));
    Ok(true)
}

fn refuse(fault: Fault) -> Error {
    Error::Internal(anyhow::anyhow!(
        "{}; `josoor-auth audit verify` shows what was found, `josoor-auth audit rebase` begins the chain again",
        fault.as_str()
    ))
}

/// A unit of work in which this process alone seals. A running sealer gives its lease up within seconds.
async fn take_chain(app: &App) -> Result<Conn> {
    for _ in 0..100 {
        let mut tx = app.db.begin().await?;
        let now = app.clock.now();
        if tx
            .take_lease(LEASE, app.audit.holder, now, now.plus(LEASE_TIME))
            .await?
        {
            return Ok(tx);
        }
        drop(tx);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Error::StoreUnavailable(anyhow::anyhow!(
        "another node seals the audit trail without a pause; try again"
    )))
}

/// Begins the chain again after a break that an operator knows of: another master key, a restored copy, tampering that was
/// looked into. What is there stays as it is and is no longer checked; rows that were refused are taken in. The new head.
pub async fn rebase(app: &App, reason: &str, client: &Client) -> Result<String> {
    let mut tx = take_chain(app).await?;
    let key = tx.audit_key()?;
    let now = app.clock.now();
    let head = tx.chain_end(HEAD).await?;
    let anchor = tx.chain_end(ANCHOR).await?;
    let from = head.as_ref().map_or(0, |head| head.seq);
    let known = app.audit.memory().head.as_ref().map_or(0, |(head, _)| head.seq);
    let mut sealing = Sealing {
        seq: from
            .max(tx.last_audit_position().await?)
            .max(anchor.as_ref().map_or(0, |anchor| anchor.seq))
            .max(known),
        mac: Vec::new(),
    };
    sealing.seal_all(&mut tx, &key, Accept::All, now).await?;
    let last = head.as_ref().map_or_else(|| "none".to_owned(), describe);
    let text = format!("{reason} (head before: {last})");
    let row = NewAudit {
        reason: Some(&text),
        ..client.audit(Audit::AuditRebase, now)
    };
    sealing.append(&mut tx, &key, &row, true).await?;
    // The old anchor may be of another key. What it says of the beginning is not checked any more.
    if let Some(anchor) = anchor {
        let again = end(&key, ANCHOR, anchor.seq, anchor.mac, false);
        if !tx.move_chain_end(ANCHOR, again.seq, &again).await? {
            return Err(was_moved());
        }
    }
    let end = sealing.end(&key, HEAD, true);
    if !tx.move_chain_end(HEAD, from, &end).await? {
        return Err(was_moved());
    }
    let base = last_base(&mut tx, &key).await?.and_then(|base| base.nonce);
    tx.commit().await?;
    let mut memory = app.audit.memory();
    memory.head = Some((end.clone(), true));
    memory.base = base;
    memory.is_base_known = true;
    Ok(describe(&end))
}

/// What [`erase`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Rows from which something was erased.
    pub rows: u64,
    /// Rows about the person that are not in the chain yet; erase again once they are.
    pub waiting: u64,
}

/// Erases what is personal (network addresses, user agents) from the sealed rows about a person, who may be deleted already.
/// The chain stays whole. Each step writes a row that names the positions and who asked.
///
/// Rows of other people's acts on the account, such as an administrator's, hold what is theirs and stay.
pub async fn erase(app: &App, user: UserId, client: &Client) -> Result<Erased> {
    let mut erased = Erased { rows: 0, waiting: 0 };
    loop {
        let mut tx = app.db.begin().await?;
        let rows = tx.personal_audit_of(user, BATCH).await?;
        if rows.is_empty() {
            let waiting = tx.count_unsealed_of(user).await?;
            erased.waiting = u64::try_from(waiting).unwrap_or_default();
            return Ok(erased);
        }
        let key = tx.audit_key()?;
        let base = last_base(&mut tx, &key).await?.and_then(|base| base.seq);
        let mut blanked = Vec::with_capacity(rows.len());
        for row in &rows {
            let is_right = match (key.check(row), row.seq) {
                (RowCode::Missing, Some(seq)) if base.is_none_or(|base| seq > base) => {
                    let before = code_before(&mut tx, seq).await?;
                    let expected = key.previous_link(&before, seq, row);
                    crypto::equal(row.mac.as_deref().unwrap_or_default(), &expected)
                }
                _ => false,
            };
            blanked.push(key.blank(row, is_right));
        }
        tx.blank_audit(&blanked).await?;
        let positions = ranges(rows.iter().filter_map(|row| row.seq));
        let mut row = NewAudit {
            reason: Some(&positions),
            subject: Some(user),
            ..client.audit(Audit::AuditErase, app.clock.now())
        };
        if client.actor == Some(user) {
            // Else each erasure would write what the next one has to erase.
            (row.ip, row.user_agent) = (None, None);
        }
        tx.insert_audit(&row).await?;
        tx.commit().await?;
        erased.rows += rows.len() as u64;
    }
}

/// The code of the position before this one.
async fn code_before(conn: &mut Conn, seq: i64) -> Result<Vec<u8>> {
    if let Some(row) = conn.audit_at(seq - 1).await? {
        return Ok(row.mac.unwrap_or_default());
    }
    let anchor = conn.chain_end(ANCHOR).await?;
    Ok(anchor
        .filter(|anchor| anchor.seq == seq - 1)
        .map_or_else(Vec::new, |anchor| anchor.mac))
}

/// Positions as they stand in an erasure: `3-5 9`.
fn ranges(positions: impl Iterator<Item = i64>) -> String {
    let mut all: Vec<(i64, i64)> = Vec::new();
    for position in positions {
        match all.last_mut() {
            Some((_, to)) if *to + 1 == position => *to = position,
            _ => all.push((position, position)),
        }
    }
    let texts: Vec<_> = all
        .into_iter()
        .map(|(from, to)| {
            if from == to {
                from.to_string()
            } else {
                format!("{from}-{to}")
            }
        })
        .collect();
    texts.join(" ")
}

/// Reads what [`ranges`] wrote.
fn parse_ranges(text: &str) -> Option<Vec<(i64, i64)>> {
    text.split_whitespace()
        .map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            Some((from.parse().ok()?, to.parse().ok()?))
        })
        .collect()
}

/// Positions whose personal values were erased: from, to, whose, and the position of the row that says so.
#[derive(Default)]
struct Erasures(BTreeMap<i64, (i64, Option<i64>, i64)>);

impl Erasures {
    async fn read(conn: &mut Conn, key: &AuditKey) -> Result<Self> {
        let mut all = Self::default();
        let mut after = 0;
        loop {
            let rows = conn.audit_of(Audit::AuditErase, after, PAGE).await?;
            let Some(end) = rows.last().map(|row| row.id) else {
                return Ok(all);
            };
            after = end;
            for row in rows {
                if matches!(key.check(&row), RowCode::Right { .. }) {
                    let ranges = row.reason.as_deref().and_then(parse_ranges).unwrap_or_default();
                    let at = row.seq.unwrap_or(i64::MAX);
                    all.0.extend(
                        ranges
                            .into_iter()
                            .map(|(from, to)| (from, (to, row.subject_id, at))),
                    );
                }
            }
        }
    }

    /// Whether the row's position was erased by a later row, for the person whom the row is about.
    fn name(&self, row: &AuditRow) -> bool {
        let seq = row.seq.unwrap_or_default();
        let person = row.actor_id.or(row.subject_id);
        self.0
            .range(..=seq)
            .next_back()
            .is_some_and(|(_, (to, subject, at))| *to >= seq && *at > seq && *subject == person)
    }
}

/// An end of the chain, authenticated.
fn end(key: &AuditKey, name: &str, seq: i64, mac: Vec<u8>, mac_required: bool) -> ChainEnd {
    let tag = key.end(name, seq, &mac, mac_required).to_vec();
    ChainEnd { seq, mac, tag }
}

fn ids(ids: &[i64]) -> String {
    let named: Vec<_> = ids.iter().take(IDS_NAMED).map(ToString::to_string).collect();
    let more = if ids.len() > IDS_NAMED { " and more" } else { "" };
    format!("{}{more}", named.join(" "))
}

/// A head as it stands in the log and as `--head` takes it: `position:code`, the code in hexadecimal.
pub fn describe(end: &ChainEnd) -> String {
    let mut text = format!("{}:", end.seq);
    for byte in &end.mac {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads what [`describe`] wrote.
pub fn parse_head(text: &str) -> Option<(i64, Vec<u8>)> {
    let (seq, code) = text.trim().split_once(':')?;
    let seq = seq.parse().ok().filter(|seq| *seq > 0)?;
    if code.len() != 64 || !code.is_ascii() {
        return None;
    }
    let bytes = (0..32)
        .map(|at| u8::from_str_radix(&code[2 * at..2 * at + 2], 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    Some((seq, bytes))
}

/// What a check of the chain found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rows whose place in the chain was checked.
    pub checked: u64,
    /// The present head, to keep elsewhere.
    pub head: Option<String>,
    /// What is wrong, in the order of the chain. Empty: nothing is.
    pub findings: Vec<String>,
    /// The ids of rows that are not in the chain yet, up to a thousand.
    pub unsealed: Vec<i64>,
    /// The ids of rows that this service did not write, up to a thousand.
    pub refused: Vec<i64>,
    /// Rows that came from nodes of the version before, without a code of their own.
    pub adopted: u64,
    /// Rows from which something personal was erased, as a later row says.
    pub erased: u64,
    /// Whether rows without a code are refused.
    pub mac_required: bool,
    /// When and why the chain began again; rows before that were not checked.
    pub rebased: Option<String>,
}

/// A walk along the chain.
struct Walk<'k> {
    key: &'k AuditKey,
    /// The position and code that come before.
    seq: i64,
    mac: Vec<u8>,
    /// The position at which the chain begins again; 0 where it does not.
    base: i64,
    /// Rows after this position carry a code from the transaction of their act.
    boundary: Option<i64>,
    /// A row with a code of its own was passed.
    is_coded: bool,
}

/// What one step of a walk found.
#[derive(Default)]
struct Step {
    findings: Vec<String>,
    is_blank: bool,
    is_adopted: bool,
}

impl<'k> Walk<'k> {
    async fn begin(conn: &mut Conn, key: &'k AuditKey, anchor: Option<&ChainEnd>) -> Result<Walk<'k>> {
        let base = last_base(conn, key).await?.and_then(|base| base.seq).unwrap_or(0);
        let (seq, mac) = match anchor {
            Some(anchor) if anchor.seq >= base => (anchor.seq, anchor.mac.clone()),
            _ if base > 0 => (base - 1, Vec::new()),
            _ => (0, Vec::new()),
        };
        Ok(Self {
            key,
            seq,
            mac,
            base,
            boundary: None,
            is_coded: false,
        })
    }

    fn step(&mut self, row: &AuditRow) -> Step {
        let mut step = Step::default();
        let place = row.seq.unwrap_or_default();
        let follows = place == self.seq + 1;
        if !follows {
            step.findings.push(if place == self.seq + 2 {
                format!("the row at position {} is missing", self.seq + 1)
            } else {
                format!(
                    "the rows at positions {} to {} are missing",
                    self.seq + 1,
                    place - 1
                )
            });
        }
        let stored = row.mac.clone().unwrap_or_default();
        let mut find = |what: &str| {
            step.findings
                .push(format!("row {} at position {place} {what}", row.id));
        };
        // After a gap the code before is not known, so this position's cannot be checked.
        let fits = |expected: [u8; 32]| !follows || crypto::equal(&stored, &expected);
        match (self.key.check(row), &row.row_mac) {
            (RowCode::Right { origin, is_blank }, Some(row_mac)) => {
                step.is_blank = is_blank;
                if origin == MacOrigin::Erased {
                    if self.is_coded {
                        find("was sealed by the version before, after the upgrade");
                    }
                } else {
                    self.is_coded = true;
                    let expected = if place == self.base {
                        self.key.restart(place, row.id, row_mac)
                    } else {
                        self.key.link(&self.mac, place, row.id, row_mac)
                    };
                    if !fits(expected) {
                        find("was changed");
                    }
                    step.is_adopted = origin == MacOrigin::Adopted;
                    if step.is_adopted && self.boundary.is_some_and(|boundary| place > boundary) {
                        find("came without a code, after codes were required");
                    }
                }
            }
            (RowCode::Missing, _) => {
                if self.is_coded {
                    find("was sealed by the version before, after the upgrade");
                } else if !fits(self.key.previous_link(&self.mac, place, row)) {
                    find("was changed");
                }
            }
            _ => find("was changed"),
        }
        self.seq = place;
        self.mac = stored;
        step
    }
}

/// Checks the whole chain, page by page, and with `kept` also that it still holds what was the head at another time.
pub async fn verify(app: &App, kept: Option<&(i64, Vec<u8>)>) -> Result<Report> {
    for _ in 0..3 {
        let before = app.db.read().await?.chain_end(ANCHOR).await?;
        let report = verify_once(app, kept).await?;
        // Rows that went past their retention meanwhile would look like missing ones.
        if app.db.read().await?.chain_end(ANCHOR).await? == before {
            return Ok(report);
        }
    }
    verify_once(app, kept).await
}

async fn verify_once(app: &App, kept: Option<&(i64, Vec<u8>)>) -> Result<Report> {
    let mut report = Report::default();
    let mut conn = app.db.read().await?;
    let key = conn.audit_key()?;
    let (head, anchor) = (conn.chain_end(HEAD).await?, conn.chain_end(ANCHOR).await?);
    let mut findings = Vec::new();
    let required = head.as_ref().and_then(|head| requires_mac(&key, head));
    match (&head, required) {
        (None, _) => findings.push("the head of the chain is missing".to_owned()),
        (Some(head), None) => findings.push(format!(
            "the head at position {} was not set with this master key",
            head.seq
        )),
        _ => {}
    }
    report.mac_required = required == Some(true);
    if let Some(anchor) = &anchor {
        let expected = key.end(ANCHOR, anchor.seq, &anchor.mac, false);
        if !crypto::equal(&anchor.tag, &expected) {
            findings.push(format!(
                "the anchor at position {} was not set with this master key",
                anchor.seq
            ));
        }
    }
    for row in conn
        .audit_before_anchor(anchor.as_ref().map_or(0, |anchor| anchor.seq), PAGE)
        .await?
    {
        findings.push(format!(
            "row {} stands at position {}, before the beginning of the chain",
            row.id,
            row.seq.unwrap_or_default()
        ));
    }
    if !app.db.has_audit_index().await? {
        findings.push(
            "the unique index audit_nonce is missing; without it a row can be written again with its code"
                .to_owned(),
        );
        for id in conn.repeated_audit().await? {
            findings.push(format!("row {id} repeats another row"));
        }
    }
    let mut walk = Walk::begin(&mut conn, &key, anchor.as_ref()).await?;
    if walk.base > walk.seq {
        report.rebased = conn.audit_at(walk.base).await?.map(|row| {
            format!(
                "position {} at {}: {}",
                walk.base,
                row.at,
                row.reason.unwrap_or_default()
            )
        });
    }
    walk.boundary = boundary(&mut conn, &walk, report.mac_required).await?;
    let erasures = Erasures::read(&mut conn, &key).await?;
    let mut at = walk.seq;
    loop {
        let rows = conn.sealed_audit(at, PAGE).await?;
        let full = i64::try_from(rows.len()).unwrap_or(PAGE) == PAGE;
        for row in &rows {
            at = row.seq.unwrap_or_default();
            let step = walk.step(row);
            findings.extend(step.findings);
            if step.is_blank {
                if erasures.name(row) {
                    report.erased += 1;
                } else {
                    findings.push(format!(
                        "row {} at position {at} lost what was personal in it, and no erasure names it",
                        row.id
                    ));
                }
            }
            report.adopted += u64::from(step.is_adopted);
            report.checked += 1;
        }
        if !full {
            break;
        }
    }
    match &head {
        Some(head) if head.seq > walk.seq => {
            // The sealer may have gone on since the head was read; it never goes back.
            findings.push(format!(
                "the chain ends at position {}, but its head is at {}: {} rows were cut off",
                walk.seq,
                head.seq,
                head.seq - walk.seq
            ));
        }
        Some(head) if head.seq == walk.seq && head.mac != walk.mac => {
            findings.push(format!(
                "the head at position {} does not fit the last row",
                walk.seq
            ));
        }
        _ => {}
    }
    if let Some(kept) = kept {
        findings.extend(compare(&mut conn, kept, anchor.as_ref(), walk.seq).await?);
    }
    verify_unsealed(app, &mut conn, &key, &mut report, &mut findings).await?;
    report.findings = findings;
    report.head = head.as_ref().map(describe);
    Ok(report)
}

/// From which position on every row has a code from the transaction of its act.
async fn boundary(conn: &mut Conn, walk: &Walk<'_>, required: bool) -> Result<Option<i64>> {
    if walk.base > walk.seq {
        return Ok(Some(walk.base));
    }
    let first = conn
        .audit_of(Audit::AuditBoundary, 0, PAGE)
        .await?
        .into_iter()
        .filter(|row| matches!(row.reason.as_deref(), Some(BEGUN | MAC_REQUIRED)))
        .filter_map(|row| row.seq)
        .filter(|seq| *seq > walk.seq)
        .min();
    // Where the row that says so is past its retention, so is every row before it.
    Ok(first.or_else(|| required.then_some(walk.seq)))
}

/// What is wrong with a head that was kept.
async fn compare(
    conn: &mut Conn,
    (position, code): &(i64, Vec<u8>),
    anchor: Option<&ChainEnd>,
    last: i64,
) -> Result<Option<String>> {
    let stored = match (conn.audit_at(*position).await?, anchor) {
        (Some(row), _) => row.mac,
        (None, Some(anchor)) if anchor.seq == *position => Some(anchor.mac.clone()),
        (None, Some(anchor)) if anchor.seq > *position => return Ok(None),
        _ => None,
    };
    Ok(match stored {
        Some(stored) if stored == *code => None,
        None if *position > last => Some(format!(
            "the chain ends at position {last}, before the head that was kept ({position}): rows were cut off"
        )),
        _ => Some(format!(
            "the code of position {position} is not the one that was kept"
        )),
    })
}

/// Checks what is not in the chain.
async fn verify_unsealed(
    app: &App,
    conn: &mut Conn,
    key: &AuditKey,
    report: &mut Report,
    findings: &mut Vec<String>,
) -> Result<()> {
    let listed = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let (mut after, mut late, mut refused) = (0, 0_u64, 0_u64);
    loop {
        let rows = conn.unchained_audit(after, PAGE).await?;
        let now = app.clock.now();
        let Some(end) = rows.last().map(|row| row.id) else {
            break;
        };
        after = end;
        for row in rows {
            let is_ours = match key.check(&row) {
                RowCode::Right { origin, is_blank } => origin == MacOrigin::Written && !is_blank,
                RowCode::Missing => !report.mac_required,
                RowCode::Wrong => false,
            };
            if is_ours && row.refused_at.is_none() {
                late += u64::from(now.since(row.at) > SEALED_WITHIN);
                report.unsealed.push(row.id);
                report.unsealed.truncate(listed);
            } else if is_ours {
                findings.push(format!(
                    "row {} is marked as refused, though its code is right",
                    row.id
                ));
            } else {
                refused += 1;
                report.refused.push(row.id);
                report.refused.truncate(listed);
            }
        }
    }
    if refused > 0 {
        findings.push(format!(
            "{refused} rows were not written by this service (no code, or a wrong one): {}",
            ids(&report.refused)
        ));
    }
    if late > 0 {
        findings.push(format!(
            "{late} rows have not been sealed for over a minute; is the service running?"
        ));
    }
    Ok(())
}

/// Removes rows past `before` from the beginning of the chain, up to `limit`, and moves the anchor with them. How many
/// went. What is not sealed stays, and so does what does not check out: it is evidence.
pub async fn prune(app: &App, before: Timestamp, limit: i64) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let key = tx.audit_key()?;
    let anchor = tx.chain_end(ANCHOR).await?;
    let from = anchor.as_ref().map_or(0, |anchor| anchor.seq);
    let is_ours = anchor
        .as_ref()
        .is_none_or(|anchor| crypto::equal(&anchor.tag, &key.end(ANCHOR, anchor.seq, &anchor.mac, false)));
    let rows = tx.sealed_audit(from, limit).await?;
    let mut walk = Walk::begin(&mut tx, &key, anchor.as_ref()).await?;
    let mut last: Option<&AuditRow> = None;
    let mut findings = Vec::new();
    for row in rows.iter().take_while(|row| row.at < before) {
        // Rows of an earlier chain cannot be checked.
        if row.seq.is_some_and(|seq| seq >= walk.base) {
            findings = walk.step(row).findings;
            if !findings.is_empty() {
                break;
            }
        }
        last = Some(row);
    }
    if !is_ours {
        findings.push("the anchor was not set with this master key".to_owned());
    }
    if app.audit.set_alarm(Alarm::Changed, !findings.is_empty()) {
        tracing::error!(
            finding = findings.first(),
            "the beginning of the audit trail was tampered with, and is not removed; see `josoor-auth audit verify`"
        );
    }
    let Some(last) = last.filter(|_| is_ours) else {
        return Ok(0);
    };
    let (Some(seq), Some(mac)) = (last.seq, last.mac.clone()) else {
        return Ok(0);
    };
    let to = end(&key, ANCHOR, seq, mac, false);
    if !tx.move_chain_end(ANCHOR, from, &to).await? {
        return Ok(0);
    }
    let gone = tx.delete_audit_through(seq).await?;
    tx.commit().await?;
    Ok(gone)
}

/// Rows that match, the latest first, and the cursor of the next page, if there is one.
pub async fn list(
    app: &App,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: i64,
) -> Result<(Vec<AuditRow>, Option<i64>)> {
    let mut rows = app.db.read().await?.list_audit(filter, before, limit + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|count| count > limit);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(|row| row.id);
    Ok((rows, next))
}

/// One page of what happened to a user; how many rows there are, and whether that was counted to the end.
pub async fn activity(
    app: &App,
    user: UserId,
    page: i64,
    page_size: i64,
) -> Result<(Vec<AuditRow>, i64, bool)> {
    let offset = (page - 1).saturating_mul(page_size);
    let (rows, counted) = app
        .db
        .read()
        .await?
        .activity_of(user, page_size, offset, ACTIVITY_COUNTED + 1)
        .await?;
    Ok((rows, counted.min(ACTIVITY_COUNTED), counted > ACTIVITY_COUNTED))
}

/// Records that rows are written to a file or a download.
pub async fn record_export(app: &App, what: &str, client: &Client) -> Result<()> {
    let row = NewAudit {
        reason: Some(what),
        ..client.audit(Audit::Export, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await
}

/// Records that the service starts with other settings than at its last start. A fingerprint is kept, no value.
pub async fn record_configuration(app: &App) -> Result<()> {
    let mut settings = String::new();
    for entry in app.config.sources() {
        // Writing to a String cannot fail.
        let _ = writeln!(settings, "{} = {}", entry.key, entry.value);
    }
    let print = app.keys.tag("configuration", &[settings.as_bytes()]);
    let print: String = print[..8].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let last = app
        .db
        .read()
        .await?
        .last_audit(Audit::ConfigurationChange)
        .await?;
    if last.is_some_and(|row| row.reason.as_deref() == Some(&print)) {
        return Ok(());
    }
    let nobody = Client::default();
    let row = NewAudit {
        reason: Some(&print),
        ..nobody.audit(Audit::ConfigurationChange, app.clock.now())
    };
    app.db.write().await?.insert_audit(&row).await
}

/// The header of an export as CSV.
pub const CSV_HEADER: [&str; 14] = [
    "id",
    "at",
    "action",
    "outcome",
    "reason",
    "actor_id",
    "subject_id",
    "session_id",
    "ip",
    "user_agent",
    "request_id",
    "client_request_id",
    "seq",
    "mac",
];

/// A row as JSON, for lists and exports.
pub fn to_json(row: &AuditRow) -> serde_json::Value {
    serde_json::json!({
        "id": row.id,
        "at": row.at,
        "action": row.action,
        "outcome": row.outcome,
        "reason": row.reason,
        "actor_id": row.actor_id,
        "subject_id": row.subject_id,
        "session_id": row.session_id,
        "ip": row.ip,
        "user_agent": row.user_agent,
        "request_id": row.request_id,
        "client_request_id": row.client_request_id,
        "seq": row.seq,
        "sealed": row.seq.is_some(),
    })
}

/// A text for a cell: one that a spreadsheet would compute gets an apostrophe before it.
pub fn csv_text(value: &str) -> String {
    if value.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{value}")
    } else {
        value.to_owned()
    }
}

/// A row of an export as CSV (RFC 4180).
pub fn to_csv(row: &AuditRow) -> Vec<u8> {
    let number = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
    let text = |value: &Option<String>| csv_text(value.as_deref().unwrap_or_default());
    let mac = row.mac.iter().flatten().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    });
    csv_line(&[
        row.id.to_string(),
        row.at.to_string(),
        row.action.clone(),
        row.outcome.clone(),
        text(&row.reason),
        number(row.actor_id),
        number(row.subject_id),
        row.session_id.map_or_else(String::new, |id| id.to_string()),
        text(&row.ip),
        text(&row.user_agent),
        text(&row.request_id),
        text(&row.client_request_id),
        number(row.seq),
        mac,
    ])
}

/// One line of CSV.
pub fn csv_line<S: AsRef<[u8]>>(fields: &[S]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(fields);
    writer.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_were_written() {
        let text = ranges([1, 2, 3, 7, 9, 10].into_iter());
        assert_eq!(text, "1-3 7 9-10");
        assert_eq!(parse_ranges(&text), Some(vec![(1, 3), (7, 7), (9, 10)]));
        assert_eq!(parse_ranges("1-x"), None);
        assert_eq!(parse_ranges("all"), None);
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let end = ChainEnd {
            seq: 17,
            mac: (0..32).collect(),
            tag: Vec::new(),
        };
        assert_eq!(parse_head(&describe(&end)), Some((17, end.mac)));
        for text in [
            "",
            "1",
            "1:",
            "x:00",
            "0:",
            "-1:00",
            &format!("1:{}", "g".repeat(64)),
            &format!("1:{}", "é".repeat(32)),
        ] {
            assert_eq!(parse_head(text), None, "{text}");
        }
    }
}
