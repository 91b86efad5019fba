//! The subscription to the service's invalidations.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::mpsc;

use super::connection::{Address, CONNECT_TIMEOUT, Redis};
use super::copies::LocalCopies;
use crate::sentinels::{is_master, master_by_sentinels};

/// Between two heartbeats, and for one to be answered: twice that is how long a silent loss stays unnoticed.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Between the loss of a subscription and the next try.
const PAUSE: Duration = Duration::from_millis(250);

struct Subscription {
    connection: MultiplexedConnection,
    pushes: mpsc::UnboundedReceiver<PushInfo>,
    /// Whether the server must be the master, behind Sentinels.
    at_master: bool,
}

impl Subscription {
    async fn is_alive(&mut self) -> bool {
        let connection = &mut self.connection;
        let ping = redis::cmd("PING");
        let answer = async {
            if self.at_master {
                is_master(connection).await
            } else {
                connection.req_packed_command(&ping).await.map(drop)
            }
        };
        matches!(tokio::time::timeout(HEARTBEAT, answer).await, Ok(Ok(())))
    }
}

/// Keeps a subscription on a task of its own until the check is dropped. While it is up, cached copies are used.
pub(super) fn start(redis: &Arc<Redis>, local: &Arc<LocalCopies>, channel: String) {
    tokio::spawn(keep_subscribed(
        Arc::downgrade(redis),
        Arc::downgrade(local),
        channel,
    ));
}

async fn keep_subscribed(redis: Weak<Redis>, local: Weak<LocalCopies>, channel: String) {
    let mut is_failing = false;
    while let Some(strong) = redis.upgrade() {
        match subscribe(&strong, &channel).await {
            Ok(subscription) => {
                drop(strong);
                if is_failing {
                    tracing::info!("subscribed to the service's invalidations again");
                }
                is_failing = false;
                follow(subscription, &local).await;
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(
                        category = ?error.kind(),
                        "cannot subscribe to the service's invalidations; sessions are checked in Redis for each request"
                    );
                }
                is_failing = true;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Applies messages until the subscription is lost or the check is dropped.
async fn follow(mut subscription: Subscription, local: &Weak<LocalCopies>) {
    if let Some(local) = local.upgrade() {
        local.copies.on_subscribed();
    }
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            push = subscription.pushes.recv() => {
                let Some(local) = local.upgrade() else { return };
                match push {
                    // A message is its channel, then its payload.
                    Some(PushInfo { kind: PushKind::Message, data }) => match data.get(1) {
                        Some(Value::BulkString(payload)) => local.apply(payload),
                        Some(Value::SimpleString(payload)) => local.apply(payload.as_bytes()),
                        _ => {}
                    },
                    Some(PushInfo { kind: PushKind::Disconnection | PushKind::Unsubscribe, .. }) | None => break,
                    Some(_) => {}
                }
            }
            _ = heartbeat.tick() => {
                if local.strong_count() == 0 {
                    return;
                }
                if !subscription.is_alive().await {
                    break;
                }
            }
        }
    }
    if let Some(local) = local.upgrade() {
        local.copies.on_unsubscribed();
    }
}

/// Subscribes at the one server, at the master, or at any of a Cluster: a message reaches every server of it.
async fn subscribe(redis: &Redis, channel: &str) -> RedisResult<Subscription> {
    let servers = match &redis.address {
        Address::Single(client) => std::slice::from_ref(client),
        Address::Cluster(_, servers) => servers,
        Address::Sentinel(url) => {
            let master = url.client(master_by_sentinels(url).await?)?;
            let mut subscription = subscribe_at(&master, channel).await?;
            subscription.at_master = true;
            is_master(&mut subscription.connection).await?;
            return Ok(subscription);
        }
    };
    let mut failure = (redis::ErrorKind::Io, "no server was named").into();
    for server in servers {
        match subscribe_at(server, channel).await {
            Ok(subscription) => return Ok(subscription),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn subscribe_at(client: &redis::Client, channel: &str) -> RedisResult<Subscription> {
    // RESP3 lets one connection carry messages and answers, so that the heartbeat travels with the messages.
    let info = client.get_connection_info().clone();
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(redis::ProtocolVersion::RESP3);
    let client = redis::Client::open(info.set_redis_settings(settings))?;
    let (sender, pushes) = mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT))
        .set_push_sender(sender);
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    connection.subscribe(channel).await?;
    Ok(Subscription {
        connection,
        pushes,
        at_master: false,
    })
}
