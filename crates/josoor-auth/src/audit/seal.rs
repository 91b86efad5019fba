//! Sealing: new rows get their positions and the chain its codes.

use std::time::{Duration, Instant};

use super::chain::{
    Accept, BEGUN, HEAD, LEASE, LEASE_TIME, MAC_REQUIRED, SEALED_WITHIN, Sealing, UPGRADED, describe, ids,
    refuse, requires_mac, stand, take_chain, was_moved,
};
use super::stream::STREAM_LEASES;
use crate::act::Client;
use crate::app::App;
use crate::cache::audit_watch::Alarm;
use crate::domain::{Audit, Timestamp};
use crate::error::{Error, Result};
use crate::keys::{SealedFormat, Unlocked};
use crate::store::{ChainEnd, Db, NewAudit};
use crate::telemetry::codes;

/// Between two rounds of sealing.
const EVERY: Duration = Duration::from_millis(400);

/// Between two rounds of watching, at most.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// Heads go to the log this often at most, and when the service stops.
const LOG_EVERY: Duration = Duration::from_hours(1);

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
                    tracing::warn!(
                        code = codes::AUDIT_NOT_SEALED,
                        error = &error as &(dyn std::error::Error + 'static),
                        "the audit trail cannot be sealed; trying again"
                    );
                }
                failing = true;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Ends this node's work on the trail, as when the service stops: gives the leases back, so that the next node seals and hands over
/// at once, and writes the head to the log. A database that is away is no failure here.
pub async fn end_sealing(app: &App) {
    let given_back = async {
        let mut conn = app.db.write().await?;
        for lease in STREAM_LEASES {
            conn.drop_lease(lease, app.audit.holder).await?;
        }
        conn.drop_lease(LEASE, app.audit.holder).await
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), given_back).await;
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
        tracing::error!(
            code = codes::AUDIT_SEALING_LATE,
            "rows of the audit trail have not been sealed for over a minute"
        );
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
            tracing::error!(code = codes::AUDIT_ROWS_REFUSED,
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
