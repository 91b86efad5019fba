//! The background tasks: one keeps a link for commands, another a subscription.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, PushInfo, PushKind, RedisResult, Value};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::failure::reason;
use super::shared::Shared;
use super::source::{Health, Link, Subscription, examine_node};
use super::types::{Kind, RedisEvent};
use crate::crypto;
use crate::telemetry::codes;

/// Between two heartbeats, on the link and on the subscription each.
const HEARTBEAT_PERIOD: Duration = Duration::from_millis(500);

/// For the subscription's heartbeat to be answered. With the period: how long a silent loss stays unnoticed.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(900);

/// For one attempt to connect, however many servers it has to try.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The first and the longest wait between attempts.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A link that lived shorter does not reset the waits.
const STABLE: Duration = Duration::from_secs(2);

/// Between two questions to the sentinels who is master, and between two examinations of an ailing cluster.
const REVIEW_PERIOD: Duration = Duration::from_secs(3);

/// Ends the background work with the last handle.
pub(super) struct Tasks(pub(super) [JoinHandle<()>; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Half of it certain, half by chance, so that the nodes of an installation do not return all at once.
fn back_off(attempt: u32) -> Duration {
    let (first, longest) = BACK_OFF;
    let wait = first.saturating_mul(2_u32.saturating_pow(attempt)).min(longest);
    let [chance] = crypto::random_bytes();
    wait / 2 + wait / 2 * u32::from(chance) / 255
}

/// Counts the attempts since the connection last was stable, and writes one line per change of state.
struct Attempts {
    what: &'static str,
    kind: Kind,
    failed: u32,
    reported: bool,
}

impl Attempts {
    fn new(what: &'static str, kind: Kind) -> Self {
        Self {
            what,
            kind,
            failed: 0,
            reported: false,
        }
    }

    fn succeeded(&mut self) -> Instant {
        self.reported = false;
        tracing::info!(kind = self.kind.as_str(), "redis: {} established", self.what);
        Instant::now()
    }

    async fn lost(&mut self, since: Instant, reason: &str) {
        if since.elapsed() >= STABLE {
            self.failed = 0;
        }
        self.reported = true;
        tracing::warn!(
            code = codes::REDIS_CONNECTION_LOST,
            kind = self.kind.as_str(),
            reason,
            "redis: {} lost, connecting again",
            self.what
        );
        self.wait().await;
    }

    async fn failed(&mut self, reason: &str) {
        if !self.reported {
            self.reported = true;
            tracing::warn!(
                code = codes::REDIS_CONNECTION_FAILED,
                kind = self.kind.as_str(),
                reason,
                "redis: no {}, still trying",
                self.what
            );
        }
        self.wait().await;
    }

    async fn wait(&mut self) {
        let wait = back_off(self.failed);
        self.failed = self.failed.saturating_add(1);
        tokio::time::sleep(wait).await;
    }
}

pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = RedisResult<T>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        // The client library's own words for what it found out on behalf of this module.
        Ok(Err(error)) if error.kind() == ErrorKind::Client => Err("the server is out of service".to_owned()),
        Ok(Err(error)) => Err(reason(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

pub(super) async fn keep_linked(shared: Arc<Shared>) {
    let mut attempts = Attempts::new("connection", shared.source.kind());
    loop {
        match within(ATTEMPT_TIMEOUT, shared.source.open()).await {
            Ok(link) => {
                let since = attempts.succeeded();
                shared.put_link(link.clone());
                shared.relinked.notify_one();
                let reason = attend_link(&shared, link).await;
                shared.link.send_replace(None);
                attempts.lost(since, &reason).await;
            }
            Err(reason) => attempts.failed(&reason).await,
        }
    }
}

/// Examines the link until it does not serve any more, and says why.
async fn attend_link(shared: &Shared, mut link: Link) -> String {
    let mut reviewed = Instant::now();
    // An ailing cluster takes the time of a command twice: to find out, and to find who is well.
    let limit = match link {
        Link::Node(..) => shared.timeout,
        Link::Cluster(_) => shared.timeout * 3,
    };
    loop {
        // On time or early, the examination is the same.
        let _ = tokio::time::timeout(HEARTBEAT_PERIOD, shared.examine_now.notified()).await;
        let health = match within(limit, link.examine()).await {
            Ok(health) => health,
            Err(reason) => return reason,
        };
        if reviewed.elapsed() < REVIEW_PERIOD {
            continue;
        }
        reviewed = Instant::now();
        match (&link, health) {
            (Link::Node(_, Some(node)), Health::Good) => {
                let master = within(ATTEMPT_TIMEOUT, shared.source.master_by_sentinels()).await;
                if master.is_ok_and(|master| master != *node) {
                    return "the sentinels name another master".to_owned();
                }
            }
            (Link::Cluster(_), Health::Partial) => {
                // Looked at afresh, the cluster may be whole: a replica has taken over.
                if let Ok(fresh) = within(ATTEMPT_TIMEOUT, shared.source.open()).await {
                    shared.link.send_replace(None);
                    shared.put_link(fresh.clone());
                    link = fresh;
                }
            }
            _ => {}
        }
    }
}

pub(super) async fn keep_subscribed(shared: Arc<Shared>) {
    let mut attempts = Attempts::new("subscription", shared.source.kind());
    loop {
        let link = shared.link.borrow().clone();
        match within(ATTEMPT_TIMEOUT, shared.source.subscribe(&shared.channel, link)).await {
            Ok(subscription) => {
                let since = attempts.succeeded();
                shared.notify_listeners(&RedisEvent::Subscribed);
                let reason = attend_subscription(&shared, subscription).await;
                shared.notify_listeners(&RedisEvent::Lost);
                attempts.lost(since, &reason).await;
            }
            Err(reason) => attempts.failed(&reason).await,
        }
    }
}

/// Passes messages on until the subscription cannot be relied on any more, and says why.
async fn attend_subscription(shared: &Shared, subscription: Subscription) -> String {
    let Subscription {
        mut connection,
        mut pushes,
        node,
    } = subscription;
    let kind = shared.source.kind();
    let mut heartbeat = pin!(async {
        loop {
            tokio::time::sleep(HEARTBEAT_PERIOD).await;
            if let Err(reason) = within(HEARTBEAT_TIMEOUT, examine_node(&mut connection, kind)).await {
                return reason;
            }
        }
    });
    loop {
        tokio::select! {
            reason = &mut heartbeat => return reason,
            () = shared.relinked.notified() => {
                let elsewhere = matches!(
                    &*shared.link.borrow(),
                    Some(Link::Node(_, Some(master))) if node.as_ref() != Some(master)
                );
                if elsewhere {
                    return "commands go to another master".to_owned();
                }
            }
            push = pushes.recv() => match push {
                Some(PushInfo { kind: PushKind::Message, data }) => {
                    if let Some(payload) = payload(data) {
                        shared.notify_listeners(&RedisEvent::Message(payload));
                    }
                }
                Some(PushInfo { kind: PushKind::Disconnection | PushKind::Unsubscribe, .. }) | None => {
                    return "the server closed it".to_owned();
                }
                Some(_) => {}
            },
        }
    }
}

/// A message is its channel, then its payload.
pub(super) fn payload(data: Vec<Value>) -> Option<String> {
    match data.into_iter().nth(1)? {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
