//! Reading the service's hot copies in Redis.

mod listen;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncCommands, AsyncConnectionConfig};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    Claims, CurrentUser, Flights, Near, ReadSession, RedisKind, RedisUrl, RedisUrlError, Refusal, Role,
    Session, SessionCheck, SetupError, Versioned, clock, is_master, is_retired, json as strict_json,
    master_by_sentinels, service,
};

/// The longest wait for both copies, connecting included.
const TIMEOUT: Duration = Duration::from_millis(200);

/// After a failure Redis is left alone for so long, so that a hung one costs one request the wait and not each.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for a connection, which is made in the background.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The key under which the service says up to when all its revocations are in Redis: `{"version": <microseconds since
/// 1970>}`, moved on every second.
const WATERMARK: &str = "josoor-auth:applied";

/// The longest that the service may not have moved the watermark while its copies are believed, here or in Redis.
const WATERMARK_LIFE: Duration = Duration::from_secs(5);

/// Bytes of the near cache unless told otherwise.
const NEAR_BYTES: u64 = 16 * 1024 * 1024;

/// How many generations are remembered as noted; at most twice as many, of about 40 bytes each.
const NOTED_GENERATIONS: usize = 8192;

/// Checks a session by reading `session:<sid>` and `user:<id>`, the copies that the service keeps in Redis.
///
/// A copy that says the session was revoked or the account is not active refuses; two good copies let in, as long as
/// the service's watermark in Redis is at most 5 s old. Whatever is missing, unreadable, past its end or not there within
/// 200 ms is no answer: `F`, as a rule a [`ServiceCheck`](crate::ServiceCheck), is asked instead, and the service fills the
/// copies again. So losing Redis costs speed, never a sign-in and never a revocation.
///
/// What was read is kept in memory until the watermark that it was read with is 5 s old, and only while the service's
/// invalidations are heard on `josoor-auth:invalidate`: a revocation or a change of role that the service has answered holds
/// here as soon as Redis has carried the message, and with the channel cut after 5 s at the latest.
///
/// The first time that a token of a session's refresh generation is accepted, that is published on
/// `josoor-auth:invalidate`: the service wants to know which generations are in use (RFC 9700, 4.14.2).
pub struct RedisCheck<F> {
    fallback: F,
    prefix: String,
    redis: Arc<Redis>,
    noted: Arc<Mutex<Noted>>,
    near: Option<Arc<NearCopies>>,
}

/// What was read lately.
struct NearCopies {
    copies: Near<UserCopy, Refusal>,
    flights: Flights,
    /// Invalidations are listened for from the first check on, which runs where tasks can be started.
    listening: Once,
}

struct UserCopy {
    version: i64,
    uid: Option<Uuid>,
    email: Box<str>,
    email_verified: bool,
    role: Role,
    is_active: bool,
}

impl Versioned for UserCopy {
    fn version(&self) -> i64 {
        self.version
    }

    fn bytes(&self) -> u64 {
        96 + self.email.len() as u64
    }
}

impl UserCopy {
    fn admit(&self, claims: &Claims) -> Result<CurrentUser, Refusal> {
        if !self.is_active {
            return Err(Refusal::AccountInactive);
        }
        Ok(CurrentUser {
            id: claims.sub,
            uid: self.uid,
            email: self.email.as_ref().to_owned(),
            email_verified: self.email_verified,
            role: self.role,
            session_id: claims.sid,
        })
    }
}

impl NearCopies {
    fn new(bytes: u64) -> Self {
        Self {
            copies: Near::new(bytes, WATERMARK_LIFE, false),
            flights: Flights::default(),
            listening: Once::new(),
        }
    }

    /// What is known here about the token's session and user.
    fn look(&self, claims: &Claims) -> Option<Result<CurrentUser, Refusal>> {
        let now = Instant::now();
        match self.copies.session(claims.sid, now)? {
            Session::Ended(why) => Some(Err(why)),
            Session::Live { expires_at, .. } if expires_at <= clock::now_micros() => None,
            Session::Live { user, .. } if user != claims.sub => Some(Err(Refusal::TokenInvalid)),
            Session::Live { retired, .. } if is_retired(claims.generation, retired) => {
                Some(Err(Refusal::PasswordChanged))
            }
            Session::Live { user, .. } => self.copies.user(user, now).map(|copy| copy.admit(claims)),
        }
    }

    /// Takes in a message of the service.
    fn hear(&self, message: &[u8]) {
        // Anybody who can write to Redis can say anything; nothing said here lets anyone in.
        let Some(message) = strict_json::object(message) else {
            return;
        };
        let list = |name: &str| message.get(name).and_then(Value::as_array).into_iter().flatten();
        for revoked in list("revoked") {
            let session = revoked.get(0).and_then(Value::as_str);
            let reason = revoked.get(1).and_then(Value::as_str).unwrap_or_default();
            if let Some(session) = session.and_then(|session| Uuid::try_parse(session).ok()) {
                self.copies.end_session(session, Refusal::from_reason(reason));
            }
        }
        for retired in list("retired") {
            let session = retired.get(0).and_then(Value::as_str);
            let session = session.and_then(|session| Uuid::try_parse(session).ok());
            if let (Some(session), Some(up_to)) = (session, retired.get(1).and_then(Value::as_i64)) {
                self.copies.retire_generations(session, up_to);
            }
        }
        for changed in list("users") {
            let (user, version) = (changed.get(0), changed.get(1));
            if let (Some(user), Some(version)) =
                (user.and_then(Value::as_i64), version.and_then(Value::as_i64))
            {
                self.copies.user_at_least(user, version);
            }
        }
    }
}

impl<F: SessionCheck> RedisCheck<F> {
    /// Reads the Redis at `redis_url`, the service's own `REDIS_URL`: one server, a Cluster, or the master that Sentinels
    /// name, in the forms of [`RedisUrl`]. `prefix` is the service's `redis.prefix`. Opens no connection yet.
    pub fn new(redis_url: &str, prefix: impl Into<String>, fallback: F) -> Result<Self, SetupError> {
        Ok(Self {
            fallback,
            prefix: prefix.into(),
            redis: Arc::new(Redis::new(redis_url)?),
            noted: Arc::default(),
            near: Some(Arc::new(NearCopies::new(NEAR_BYTES))),
        })
    }

    /// Keeps up to about so many bytes of what was read; 16 MiB without this call. With 0 everything is read from Redis for
    /// each request, and no invalidations are listened for.
    #[must_use]
    pub fn near_cache(mut self, bytes: u64) -> Self {
        self.near = (bytes > 0).then(|| Arc::new(NearCopies::new(bytes)));
        self
    }

    fn channel(&self) -> String {
        format!("{}josoor-auth:invalidate", self.prefix)
    }

    /// What the copies say; nothing when they do not say enough.
    async fn read(&self, claims: &Claims) -> Option<Result<CurrentUser, Refusal>> {
        if self.redis.is_paused() {
            return None;
        }
        let began = Instant::now();
        let heard = self
            .near
            .as_ref()
            .map(|near| near.copies.heard_of(claims.sid, claims.sub));
        let keys = (
            format!("{}session:{}", self.prefix, claims.sid),
            format!("{}user:{}", self.prefix, claims.sub),
            format!("{}{WATERMARK}", self.prefix),
        );
        let read = async {
            let connection = Redis::connection(&self.redis).await?;
            let (mut first, mut second, mut third) = (connection.clone(), connection.clone(), connection);
            // Commands of their own, since in a Cluster the keys may live on several nodes.
            tokio::try_join!(
                first.get_copy(&keys.0),
                second.get_copy(&keys.1),
                third.get_copy(&keys.2)
            )
        };
        let copies = tokio::time::timeout(TIMEOUT, read).await;
        let (session, user, mark) = match copies {
            Ok(Ok(copies)) => copies,
            Ok(Err(error)) => {
                self.redis.pause();
                tracing::warn!(category = ?error.kind(), "Redis cannot be read; the service is asked instead");
                return None;
            }
            Err(_) => {
                self.redis.pause();
                tracing::warn!("Redis did not answer in time; the service is asked instead");
                return None;
            }
        };
        let session = strict_json::object(&session?)?;
        let user = user.and_then(|bytes| strict_json::object(&bytes));
        let mark = mark.and_then(|bytes| strict_json::object(&bytes));
        let now = clock::now_micros();
        let outcome = judge(&session, user.as_ref(), claims, now)?;
        // What refuses is final. What lets in counts only while the service is known to bring its revocations here.
        let (user, session) = match outcome {
            Judged::Live { user, session } => (user, session),
            Judged::Foreign => return Some(Err(Refusal::TokenInvalid)),
            Judged::Ended(why) => {
                if let Some(near) = &self.near {
                    near.copies.end_session(claims.sid, why);
                }
                return Some(Err(why));
            }
        };
        // Counts however old the copy is: a generation that was retired stays so.
        if is_retired(claims.generation, session.retired) {
            return Some(Err(Refusal::PasswordChanged));
        }
        let admitted = user.admit(claims);
        let age = mark.and_then(|mark| age(&mark, now));
        if age.is_none() {
            self.redis.suspect();
        }
        if let (Some(age), Some(near), Some(heard)) = (age, &self.near, heard) {
            // As old as the watermark: what was brought here after that may be missing from the copies.
            let filled = began.checked_sub(age).unwrap_or(began);
            let retired = near.copies.fill_session(claims.sid, heard, session, filled);
            if is_retired(claims.generation, retired) {
                return Some(Err(Refusal::PasswordChanged));
            }
            if !near.copies.fill_user(claims.sub, heard, &Arc::new(user), filled) {
                return None;
            }
        }
        (admitted.is_err() || age.is_some()).then_some(admitted)
    }

    /// Tells the service that a generation is in use: once each, beside the request, and as well as can be.
    fn note_used(&self, claims: &Claims) {
        if !lock(&self.noted).insert(claims.sid, claims.generation) {
            return;
        }
        let message = json!({"used": {"sid": claims.sid, "gen": claims.generation}}).to_string();
        let channel = self.channel();
        let (redis, noted, session) = (Arc::clone(&self.redis), Arc::clone(&self.noted), claims.sid);
        tokio::spawn(async move {
            let publish = async {
                let mut connection = Redis::connection(&redis).await?;
                connection.publish_message(&channel, &message).await
            };
            let published = tokio::time::timeout(CONNECT_TIMEOUT, publish).await;
            if !matches!(published, Ok(Ok(()))) {
                // The next token of this generation tries again.
                lock(&noted).forget(session);
            }
        });
    }
}

impl<F: SessionCheck> SessionCheck for RedisCheck<F> {
    async fn check(&self, token: &str, claims: &Claims) -> Result<CurrentUser, Refusal> {
        let Some(near) = &self.near else {
            return self.read_or_ask(token, claims).await;
        };
        if let Some(known) = near.look(claims) {
            if known.is_ok() {
                self.note_used(claims);
            }
            return known;
        }
        near.listening
            .call_once(|| listen::start(&self.redis, near, self.channel()));
        // One request reads, and the others of the same session wait for it; but only where what it reads is believed.
        let flight = if near.copies.is_hearing() {
            near.flights.board(claims.sid).await
        } else {
            None
        };
        match near.look(claims).filter(|_| flight.is_none()) {
            Some(known) => known,
            None => self.read_or_ask(token, claims).await,
        }
    }
}

impl<F: SessionCheck> RedisCheck<F> {
    async fn read_or_ask(&self, token: &str, claims: &Claims) -> Result<CurrentUser, Refusal> {
        match self.read(claims).await {
            Some(outcome) => {
                if outcome.is_ok() {
                    self.note_used(claims);
                }
                outcome
            }
            None => self.fallback.check(token, claims).await,
        }
    }
}

impl<F> fmt::Debug for RedisCheck<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCheck")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// How long ago the service has brought its revocations here; nothing when that is too long ago. It has not done so when all
/// its nodes are cut off from this Redis, or when this Redis has lost writes that they have not mended yet.
fn age(mark: &Map<String, Value>, now: i64) -> Option<Duration> {
    let applied = mark.get("version").and_then(Value::as_i64)?;
    // The service's clock may be a little ahead. A mark further ahead than one may be old says nothing: it was made by a wrong
    // clock, or is read by one.
    let distance = Duration::from_micros(now.abs_diff(applied));
    let age = if applied > now { Duration::ZERO } else { distance };
    (distance < WATERMARK_LIFE).then_some(age)
}

/// What two copies stand for.
enum Judged {
    /// The session is live, and this is its user.
    Live { user: UserCopy, session: ReadSession },
    /// The session has ended.
    Ended(Refusal),
    /// The session is somebody else's.
    Foreign,
}

/// Nothing when the copies leave it open. A tombstone needs no second copy.
fn judge(
    session: &Map<String, Value>,
    user: Option<&Map<String, Value>>,
    claims: &Claims,
    now: i64,
) -> Option<Judged> {
    if let Some(reason) = session.get("revoked") {
        return Some(Judged::Ended(Refusal::from_reason(reason.as_str()?)));
    }
    let expires_at = OffsetDateTime::parse(session.get("expires_at")?.as_str()?, &Rfc3339).ok()?;
    let expires_at = i64::try_from(expires_at.unix_timestamp_nanos() / 1000).ok()?;
    // The copy may be older than a refresh that moved the end: only the service knows.
    if expires_at <= now {
        return None;
    }
    if session.get("user_id")?.as_i64()? != claims.sub {
        return Some(Judged::Foreign);
    }
    let user = user?;
    let user = UserCopy {
        version: user.get("version")?.as_i64()?,
        uid: match user.get("uid") {
            Some(uid) => Some(Uuid::try_parse(uid.as_str()?).ok()?),
            None => None,
        },
        email: user.get("email")?.as_str()?.into(),
        email_verified: match user.get("email_verified") {
            Some(verified) => verified.as_bool()?,
            None => false,
        },
        role: user.get("role")?.as_str()?.parse().ok()?,
        is_active: user.get("is_active")?.as_bool()?,
    };
    // Copies of a service that retires no generations do not say; then only the service itself knows.
    let session = ReadSession {
        user: claims.sub,
        expires_at,
        retired: session.get("retired_generation")?.as_i64()?,
    };
    Some(Judged::Live { user, session })
}

/// Which sessions' generations were noted as used, lately. Two halves: when the young one is full it becomes the old
/// one, and what was old is forgotten, which costs a message more and nothing else.
#[derive(Default)]
struct Noted {
    young: HashMap<Uuid, i64>,
    old: HashMap<Uuid, i64>,
}

impl Noted {
    /// Whether this is news. An earlier generation than the noted one is not: it is used since the later one exists.
    fn insert(&mut self, session: Uuid, generation: i64) -> bool {
        let known = self.young.get(&session).or_else(|| self.old.get(&session));
        if known.is_some_and(|known| *known >= generation) {
            return false;
        }
        if self.young.len() >= NOTED_GENERATIONS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(session, generation);
        true
    }

    fn forget(&mut self, session: Uuid) {
        self.young.remove(&session);
        self.old.remove(&session);
    }
}

/// A panic elsewhere cannot leave these maps half changed, so a poisoned lock is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One server, a Cluster, or the master behind Sentinels, connected to at the first use.
struct Redis {
    address: Address,
    connection: Mutex<Arc<OnceCell<Connection>>>,
    paused_until: Mutex<Option<Instant>>,
}

#[expect(clippy::large_enum_variant, reason = "there is one of it in a program")]
enum Address {
    Single(redis::Client),
    /// The Cluster, and the servers of it that were named.
    Cluster(ClusterClient, Vec<redis::Client>),
    Sentinel(RedisUrl),
}

#[derive(Clone)]
enum Connection {
    Single(ConnectionManager),
    /// Comes back to no server by itself: after a failure another one may be the master.
    Master(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Redis {
    fn new(redis_url: &str) -> Result<Self, SetupError> {
        service::install_provider();
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

    fn is_paused(&self) -> bool {
        lock(&self.paused_until).is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self) {
        *lock(&self.paused_until) = Some(Instant::now() + PAUSE);
        if matches!(self.address, Address::Sentinel(_)) {
            *lock(&self.connection) = Arc::default();
        }
    }

    /// The service does not show in this Redis. Behind Sentinels it may be in another one by now.
    fn suspect(&self) {
        if matches!(self.address, Address::Sentinel(_)) {
            self.pause();
        }
    }

    /// The connection; made on a task of its own, so that a request that stops waiting does not throw it away.
    async fn connection(this: &Arc<Self>) -> redis::RedisResult<Connection> {
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
    async fn get_copy(&mut self, key: &str) -> redis::RedisResult<Option<Vec<u8>>> {
        match self {
            Self::Single(connection) => connection.get(key).await,
            Self::Master(connection) => connection.get(key).await,
            Self::Cluster(connection) => connection.get(key).await,
        }
    }

    async fn publish_message(&mut self, channel: &str, message: &str) -> redis::RedisResult<()> {
        match self {
            Self::Single(connection) => connection.publish(channel, message).await,
            Self::Master(connection) => connection.publish(channel, message).await,
            Self::Cluster(connection) => connection.publish(channel, message).await,
        }
    }
}
