//! The connection to the service's Redis.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncCommands, AsyncConnectionConfig};
use tokio::sync::OnceCell;

use crate::caller::SetupError;
use crate::redis_url::{RedisKind, RedisUrl, RedisUrlError};
use crate::sentinels::{is_master, master_by_sentinels};
use crate::service::install_provider;

/// The longest wait for both copies, connecting included.
pub(super) const TIMEOUT: Duration = Duration::from_millis(200);

/// The pause after a failure, so that a server that hangs costs one request the wait and not each.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for a connection, which is opened in the background.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A panic elsewhere cannot leave these values half changed, so a poisoned lock is used like any other.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One server, a Cluster, or the master behind Sentinels, connected to at the first use.
pub(super) struct Redis {
    pub(super) address: Address,
    connection: Mutex<Arc<OnceCell<Connection>>>,
    paused_until: Mutex<Option<Instant>>,
}

#[expect(clippy::large_enum_variant, reason = "there is one of it in a program")]
pub(super) enum Address {
    Single(redis::Client),
    /// The Cluster, and the servers of it that were named.
    Cluster(ClusterClient, Vec<redis::Client>),
    Sentinel(RedisUrl),
}

#[derive(Clone)]
pub(super) enum Connection {
    Single(ConnectionManager),
    /// Does not reconnect by itself: after a failure another server may be the master.
    Master(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Redis {
    pub(super) fn new(redis_url: &str) -> Result<Self, SetupError> {
        install_provider();
        let url = RedisUrl::parse(redis_url).map_err(SetupError::RedisAddress)?;
        let unusable = |_| SetupError::RedisAddress(RedisUrlError("a host cannot be used"));
        let mut servers = url.clients().map_err(unusable)?;
        let address = match url.kind() {
            RedisKind::Sentinel => Address::Sentinel(url),
            // One host, as the URL was read.
            RedisKind::Single => Address::Single(servers.remove(0)),
            RedisKind::Cluster => {
                let infos = servers.iter().map(|server| server.get_connection_info().clone());
                let cluster = ClusterClient::builder(infos)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(TIMEOUT)
                    .retries(1)
                    .build();
                Address::Cluster(cluster.map_err(unusable)?, servers)
            }
        };
        Ok(Self {
            address,
            connection: Mutex::default(),
            paused_until: Mutex::default(),
        })
    }

    pub(super) fn is_paused(&self) -> bool {
        lock(&self.paused_until).is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn pause(&self) {
        *lock(&self.paused_until) = Some(Instant::now() + PAUSE);
        if matches!(self.address, Address::Sentinel(_)) {
            *lock(&self.connection) = Arc::default();
        }
    }

    /// Called when the service's watermark is stale: behind Sentinels another server may be the master by now.
    pub(super) fn reconnect_to_master(&self) {
        if matches!(self.address, Address::Sentinel(_)) {
            self.pause();
        }
    }

    /// The connection; opened on a task of its own, so that a request that stops waiting does not drop it.
    pub(super) async fn connection(this: &Arc<Self>) -> redis::RedisResult<Connection> {
        let place = Arc::clone(&lock(&this.connection));
        if let Some(connection) = place.get() {
            return Ok(connection.clone());
        }
        let this = Arc::clone(this);
        let connecting = tokio::spawn(async move { place.get_or_try_init(|| this.connect()).await.cloned() });
        connecting
            .await
            .unwrap_or_else(|_| Err((redis::ErrorKind::Io, "the program is stopping").into()))
    }

    async fn connect(&self) -> redis::RedisResult<Connection> {
        match &self.address {
            Address::Single(client) => {
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(TIMEOUT))
                    .set_number_of_retries(1)
                    .set_max_delay(PAUSE);
                let manager = client.get_connection_manager_with_config(config).await?;
                Ok(Connection::Single(manager))
            }
            Address::Cluster(client, _) => Ok(Connection::Cluster(client.get_async_connection().await?)),
            Address::Sentinel(url) => {
                let master = url.client(master_by_sentinels(url).await?)?;
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(TIMEOUT));
                let mut connection = master
                    .get_multiplexed_async_connection_with_config(&config)
                    .await?;
                is_master(&mut connection).await?;
                Ok(Connection::Master(connection))
            }
        }
    }
}

impl Connection {
    pub(super) async fn get_copy(&mut self, key: &str) -> redis::RedisResult<Option<Vec<u8>>> {
        match self {
            Self::Single(connection) => connection.get(key).await,
            Self::Master(connection) => connection.get(key).await,
            Self::Cluster(connection) => connection.get(key).await,
        }
    }

    pub(super) async fn publish_message(&mut self, channel: &str, message: &str) -> redis::RedisResult<()> {
        match self {
            Self::Single(connection) => connection.publish(channel, message).await,
            Self::Master(connection) => connection.publish(channel, message).await,
            Self::Cluster(connection) => connection.publish(channel, message).await,
        }
    }
}
