//! How connections are opened to each kind of installation, and how it is known that one still serves.

use std::time::Duration;

use josoor_auth_verify::{RedisNode as Node, RedisUrl, is_master, master_by_sentinels};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, ProtocolVersion, PushInfo,
    RedisError as DriverError, RedisResult, Value,
};
use tokio::sync::mpsc;

use super::types::{ConnectionSettings, Kind, RedisError, read};
use crate::crypto;

/// For one server to accept and greet. A server that needs longer is as good as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What commands travel on. A clone is the same connection.
#[derive(Clone)]
pub(super) enum Link {
    /// To one server; the node is named where sentinels chose it.
    Node(MultiplexedConnection, Option<Node>),
    Cluster(ClusterConnection),
}

/// How a link did in its last examination.
pub(super) enum Health {
    Good,
    /// A part of the cluster does not answer. The connection's own picture of the cluster may be outdated.
    Partial,
}

impl Link {
    /// Sends one command and waits for as long as it takes.
    pub(super) async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Node(connection, _) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Sends one command to a server of the cluster, or, without one, as [`run`](Self::run) does.
    pub(super) async fn run_at<T: FromRedisValue>(
        &mut self,
        command: &Cmd,
        server: Option<&Node>,
    ) -> RedisResult<T> {
        match (&mut *self, server) {
            (Self::Cluster(connection), Some((host, port))) => {
                let at = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress {
                    host: host.clone(),
                    port: *port,
                });
                let value = connection.route_command(command.clone(), at).await?;
                Ok(T::from_redis_value(value)?)
            }
            _ => self.run(command).await,
        }
    }

    /// The servers that hold keys: those of a cluster by address, or the only one.
    pub(super) async fn masters(&mut self) -> RedisResult<Vec<Option<Node>>> {
        match self {
            Self::Node(..) => Ok(vec![None]),
            Self::Cluster(connection) => {
                let masters = cluster_nodes(connection.clone(), 1).await;
                if masters.is_empty() {
                    return Err(nothing_answered());
                }
                Ok(masters.into_iter().map(Some).collect())
            }
        }
    }

    /// Succeeds when some master answers.
    pub(super) async fn ping(&mut self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self {
            Self::Node(connection, _) => ping.query_async(connection).await,
            Self::Cluster(connection) => {
                let any = RoutingInfo::MultiNode((
                    MultipleNodeRoutingInfo::AllMasters,
                    Some(ResponsePolicy::OneSucceeded),
                ));
                connection.route_command(ping, any).await.and_then(answered)
            }
        }
    }

    /// Whether this link still serves.
    pub(super) async fn examine(&mut self) -> RedisResult<Health> {
        match self {
            Self::Node(connection, None) => examine_node(connection, Kind::Single).await?,
            Self::Node(connection, Some(_)) => examine_node(connection, Kind::Sentinel).await?,
            Self::Cluster(connection) => {
                let all = RoutingInfo::MultiNode((
                    MultipleNodeRoutingInfo::AllMasters,
                    Some(ResponsePolicy::AllSucceeded),
                ));
                let everyone = connection
                    .route_command(redis::cmd("PING"), all)
                    .await
                    .and_then(answered);
                if everyone.is_err() {
                    self.ping().await?;
                    return Ok(Health::Partial);
                }
            }
        }
        Ok(Health::Good)
    }
}

/// A subscription that the server has confirmed.
pub(super) struct Subscription {
    pub(super) connection: MultiplexedConnection,
    pub(super) pushes: mpsc::UnboundedReceiver<PushInfo>,
    /// Where sentinels chose it.
    pub(super) node: Option<Node>,
}

/// Opens connections to one installation.
pub(super) struct Source {
    url: RedisUrl,
    timeout: Duration,
    /// The servers, or the sentinels.
    clients: Vec<Client>,
    cluster: Option<ClusterClient>,
}

impl Source {
    pub(super) fn new(config: &ConnectionSettings) -> Result<Self, RedisError> {
        let url = read(&config.url)?;
        if url.kind() != config.kind {
            return Err(RedisError::Configuration(
                "the scheme of the URL names another kind of installation",
            ));
        }
        if config.timeout.is_zero() {
            return Err(RedisError::Configuration("the timeout is zero"));
        }
        if url.is_tls() {
            // The crate brings rustls without a provider. An error says that one is installed already.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let unusable = |_| RedisError::Configuration("a host cannot be used");
        let clients = url.clients().map_err(unusable)?;
        let infos = clients.iter().map(|client| client.get_connection_info().clone());
        let cluster = match url.kind() {
            Kind::Cluster => Some(
                ClusterClient::builder(infos)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(config.timeout)
                    // Moved keys and short votes are worth another try, as long as it fits into the timeout.
                    .retries(3)
                    .min_retry_wait(10)
                    .max_retry_wait(40)
                    .build()
                    .map_err(unusable)?,
            ),
            Kind::Single | Kind::Sentinel => None,
        };
        Ok(Self {
            url,
            timeout: config.timeout,
            clients,
            cluster,
        })
    }

    pub(super) fn kind(&self) -> Kind {
        self.url.kind()
    }

    /// The master, as the Sentinels name it now.
    pub(super) async fn master_by_sentinels(&self) -> RedisResult<Node> {
        master_by_sentinels(&self.url).await
    }

    /// Opens a connection for commands that has answered already.
    pub(super) async fn open(&self) -> RedisResult<Link> {
        let mut link = if let Some(cluster) = &self.cluster {
            Link::Cluster(cluster.get_async_connection().await?)
        } else {
            let (client, node) = self.master().await?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(self.timeout));
            Link::Node(
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await?,
                node,
            )
        };
        link.examine().await?;
        Ok(link)
    }

    /// Opens a connection of its own that listens to a channel. In a cluster, where a message reaches every server,
    /// it is to any one that considers the cluster whole.
    pub(super) async fn subscribe(&self, channel: &str, link: Option<Link>) -> RedisResult<Subscription> {
        let Some(Link::Cluster(_)) = &link else {
            if self.cluster.is_none() {
                let (client, node) = self.master().await?;
                return self.subscribe_at(&client, node, channel).await;
            }
            return self.subscribe_anywhere(self.clients.clone(), channel).await;
        };
        // The hosts of the configuration may be gone long since; the cluster knows its present ones.
        let mut clients = self.clients.clone();
        if let Some(Link::Cluster(connection)) = link {
            let present = tokio::time::timeout(self.timeout, cluster_nodes(connection, usize::MAX)).await;
            for node in present.unwrap_or_default() {
                if !self.url.hosts().contains(&node) {
                    clients.push(self.url.client(node)?);
                }
            }
        }
        self.subscribe_anywhere(clients, channel).await
    }

    async fn subscribe_anywhere(&self, clients: Vec<Client>, channel: &str) -> RedisResult<Subscription> {
        let [chance] = crypto::random_bytes();
        let start = usize::from(chance) % clients.len();
        let mut failure = nothing_answered();
        for client in clients[start..].iter().chain(&clients[..start]) {
            match self.subscribe_at(client, None, channel).await {
                Ok(subscription) => return Ok(subscription),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn subscribe_at(
        &self,
        client: &Client,
        node: Option<Node>,
        channel: &str,
    ) -> RedisResult<Subscription> {
        // RESP3 lets one connection carry messages and answers, so that the heartbeat travels with the messages.
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        let (sender, pushes) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CONNECT_TIMEOUT))
            .set_push_sender(sender);
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        examine_node(&mut connection, self.kind()).await?;
        connection.subscribe(channel).await?;
        Ok(Subscription {
            connection,
            pushes,
            node,
        })
    }

    /// The server that takes writes: the only one, or the one that the sentinels name.
    async fn master(&self) -> RedisResult<(Client, Option<Node>)> {
        if self.kind() == Kind::Sentinel {
            let node = self.master_by_sentinels().await?;
            return Ok((self.url.client(node.clone())?, Some(node)));
        }
        let client = self.clients.first().ok_or_else(nothing_answered)?;
        Ok((client.clone(), None))
    }
}

fn nothing_answered() -> DriverError {
    std::io::Error::from(std::io::ErrorKind::NotConnected).into()
}

fn answered(value: Value) -> RedisResult<()> {
    value.extract_error().map(drop)
}

/// Whether a server answers and still is what it was chosen for: a master behind sentinels, or a member of a cluster
/// that sees most of the others. A server that was cut off with this node would otherwise seem well, while
/// invalidations are published on the other side.
pub(super) async fn examine_node(connection: &mut impl ConnectionLike, kind: Kind) -> RedisResult<()> {
    let out_of_service = |what| Err(DriverError::from((ErrorKind::Client, what)));
    match kind {
        Kind::Single => redis::cmd("PING").query_async(connection).await,
        Kind::Sentinel => is_master(connection).await,
        Kind::Cluster => {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(connection).await?;
            if info.contains("cluster_state:ok") {
                Ok(())
            } else {
                out_of_service("the server has lost its cluster")
            }
        }
    }
}

/// The servers of a cluster as one of them lists them, up to a number of each range of keys, whose master comes first; what cannot
/// be understood is left out.
async fn cluster_nodes(mut connection: ClusterConnection, of_each: usize) -> Vec<Node> {
    let anyone = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("SLOTS");
    let Ok(Value::Array(ranges)) = connection.route_command(slots, anyone).await else {
        return Vec::new();
    };
    let mut nodes = Vec::new();
    for range in ranges {
        let Value::Array(parts) = range else { continue };
        // The first two are the ends of the range.
        for server in parts.into_iter().skip(2).take(of_each) {
            let Value::Array(server) = server else { continue };
            let mut server = server.into_iter();
            let (Some(host), Some(port)) = (server.next(), server.next()) else {
                continue;
            };
            let (Ok(host), Ok(port)) = (String::from_redis_value(host), u16::from_redis_value(port)) else {
                continue;
            };
            if !host.is_empty() && !nodes.contains(&(host.clone(), port)) {
                nodes.push((host, port));
            }
        }
    }
    nodes
}
