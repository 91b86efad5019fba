//! Listening for the service's invalidations.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::mpsc;

use super::{Address, CONNECT_TIMEOUT, NearCopies, Redis};
use crate::{is_master, master_by_sentinels};

/// Between two heartbeats, and for one to be answered: twice that is how long a silent loss stays unnoticed.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Between the loss of a subscription and the next try.
const PAUSE: Duration = Duration::from_millis(250);

struct Subscription {
    connection: MultiplexedConnection,
    pushes: mpsc::UnboundedReceiver<PushInfo>,
    /// Whether it has to be at the master, behind Sentinels.
    at_master: bool,
}

impl Subscription {
    async fn is_well(&mut self) -> bool {
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

/// Listens on a task of its own until the check is dropped. While it does, the near copies are believed.
pub(super) fn start(redis: &Arc<Redis>, near: &Arc<NearCopies>, channel: String) {
    tokio::spawn(listen(Arc::downgrade(redis), Arc::downgrade(near), channel));
}

async fn listen(redis: Weak<Redis>, near: Weak<NearCopies>, channel: String) {
    let mut deaf = false;
    while let Some(strong) = redis.upgrade() {
        match subscribe(&strong, &channel).await {
            Ok(subscription) => {
                drop(strong);
                if deaf {
                    tracing::info!("the service's invalidations are heard again");
                }
                deaf = false;
                follow(subscription, &near).await;
            }
            Err(error) => {
                if !deaf {
                    tracing::warn!(
                        category = ?error.kind(),
                        "the service's invalidations cannot be heard; sessions are checked in Redis for each request"
                    );
                }
                deaf = true;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes in what comes until the subscription is lost, or the check is gone.
async fn follow(mut subscription: Subscription, near: &Weak<NearCopies>) {
    if let Some(near) = near.upgrade() {
        near.copies.start_hearing();
    }
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            push = subscription.pushes.recv() => {
                let Some(near) = near.upgrade() else { return };
                match push {
                    // A message is its channel, then its payload.
                    Some(PushInfo { kind: PushKind::Message, data }) => match data.get(1) {
                        Some(Value::BulkString(payload)) => near.hear(payload),
                        Some(Value::SimpleString(payload)) => near.hear(payload.as_bytes()),
                        _ => {}
                    },
                    Some(PushInfo { kind: PushKind::Disconnection | PushKind::Unsubscribe, .. }) | None => break,
                    Some(_) => {}
                }
            }
            _ = heartbeat.tick() => {
                if near.strong_count() == 0 {
                    return;
                }
                if !subscription.is_well().await {
                    break;
                }
            }
        }
    }
    if let Some(near) = near.upgrade() {
        near.copies.stop_hearing();
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
