//! The connection to Redis: one task keeps a link for commands, another a subscription.
//!
//! A command never connects and never waits for a connection. It takes the link that stands or fails at once, so that
//! an outage costs the requests nothing but the lookup.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{Cmd, ErrorKind, PushInfo, PushKind, RedisError, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::source::{Health, Link, Source, Subscription, examine_node};
use super::{Kind, KvConfig, KvError, KvEvent, KvState, KvStats};
use crate::crypto;

/// Between two heartbeats, on the link and on the subscription each.
const HEARTBEAT_PERIOD: Duration = Duration::from_millis(500);
/// For the subscription's heartbeat to be answered. With the period: how long a silent loss stays unnoticed.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(900);
/// For one attempt to connect, however many servers it has to try.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest wait between attempts.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A link that lived shorter does not start the waits anew.
const STABLE: Duration = Duration::from_secs(2);
/// Between two questions to the sentinels who is master, and between two fresh looks at an ailing cluster.
const REVIEW_PERIOD: Duration = Duration::from_secs(3);
/// Commands that travel together in `set_many`.
const CHUNK: usize = 256;
/// Redis keeps expiry times as milliseconds in an `i64`; a century is far below and far enough.
const LONGEST_TTL: Duration = Duration::from_hours(100 * 365 * 24);

static ADVANCE: LazyLock<(Script, &'static str)> = LazyLock::new(|| {
    let code = r"
local stored = 0
local text = redis.pcall('GET', KEYS[1])
if type(text) == 'string' then
  local understood, value = pcall(cjson.decode, text)
  if understood and type(value) == 'table' and type(value.version) == 'number' then
    stored = value.version
  end
end
if stored > tonumber(ARGV[2]) + tonumber(ARGV[5]) then
  stored = 0
end
if stored < tonumber(ARGV[1]) then
  return string.format('%.0f', stored)
end
if stored < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return false
";
    (Script::new(code), code)
});

static SET_VERSIONED: LazyLock<(Script, &'static str)> = LazyLock::new(|| {
    let code = r"
local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'string' then
  local understood, value = pcall(cjson.decode, stored)
  if understood and type(value) == 'table' then
    local retired = type(value.retired_generation) == 'number' and value.retired_generation or 0
    local version = type(value.version) == 'number' and value.version or 0
    local given = tonumber(ARGV[4])
    if value.revoked ~= nil or retired > given or retired == given and version > tonumber(ARGV[1]) then
      return 0
    end
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
";
    (Script::new(code), code)
});

/// The step of `limits::gcra`, in microseconds. A clock that was set back leaves times behind that lie too far ahead;
/// they are cut also when nothing is taken, or they would refuse until the clock has caught up.
static TAKE: LazyLock<(Script, &'static str)> = LazyLock::new(|| {
    let code = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = now
local text = redis.pcall('GET', KEYS[1])
if type(text) == 'string' then
  local stored = tonumber(text)
  if stored and stored > now then
    full_at = stored
  end
end
local is_cut = full_at > now + capacity
if is_cut then
  full_at = now + capacity
end
local wait = full_at + interval - capacity - now
if wait <= 0 then
  wait = 0
  full_at = full_at + interval
elseif not is_cut then
  return wait
end
local left = math.ceil((full_at - now) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', string.format('%.0f', left))
return wait
";
    (Script::new(code), code)
});

/// Redis in one of its shapes. A clone is the same connection.
#[derive(Clone)]
pub struct RedisKv {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

impl fmt::Debug for RedisKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisKv")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Ends the background work with the last handle.
struct Tasks([JoinHandle<()>; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

struct Shared {
    source: Source,
    prefix: String,
    channel: String,
    timeout: Duration,
    /// `None` while it is known that no command would be answered.
    link: watch::Sender<Option<Link>>,
    /// Counts the links. It grows while there is none, so that who saw the same number before and after a command
    /// knows which link carried it.
    epoch: AtomicU64,
    /// A command got no proper answer: the link is examined before its time.
    doubt: Notify,
    /// A new link stands; it may lead to another master than the subscription.
    relinked: Notify,
    listeners: Mutex<Listeners>,
    counters: Counters,
}

#[derive(Default)]
struct Listeners {
    subscribed: bool,
    senders: Vec<mpsc::UnboundedSender<KvEvent>>,
}

#[derive(Default)]
struct Counters {
    ok: AtomicU64,
    failed: AtomicU64,
    timeouts: AtomicU64,
    connections: AtomicU64,
    subscriptions: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl RedisKv {
    pub(super) fn start(config: KvConfig) -> Result<Self, KvError> {
        let source = Source::new(&config)?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| KvError::Configuration("there is no runtime to connect on"))?;
        let shared = Arc::new(Shared {
            source,
            channel: format!("{}josoor-auth:invalidate", config.prefix),
            prefix: config.prefix,
            timeout: config.timeout,
            link: watch::Sender::new(None),
            epoch: AtomicU64::new(0),
            doubt: Notify::new(),
            relinked: Notify::new(),
            listeners: Mutex::default(),
            counters: Counters::default(),
        });
        let tasks = [
            runtime.spawn(keep_linked(Arc::clone(&shared))),
            runtime.spawn(keep_subscribed(Arc::clone(&shared))),
        ];
        Ok(Self {
            shared,
            _tasks: Arc::new(Tasks(tasks)),
        })
    }

    pub(super) fn is_sharded(&self) -> bool {
        self.shared.source.kind() == Kind::Cluster
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        let mut link = self.link()?;
        self.bounded(async { link.run(&self.get_command(key)).await })
            .await
    }

    pub(super) async fn get_pair(
        &self,
        first: &str,
        second: &str,
    ) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>), KvError> {
        let (first, second) = (self.get_command(first), self.get_command(second));
        self.bounded(async {
            match self.link_or_down()? {
                Link::Node(mut connection, _) => {
                    let mut pipeline = redis::pipe();
                    pipeline.add_command(first).add_command(second);
                    pipeline.query_async(&mut connection).await
                }
                mut link @ Link::Cluster(_) => {
                    let mut other = link.clone();
                    tokio::try_join!(link.run(&first), other.run(&second))
                }
            }
        })
        .await
    }

    pub(super) async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), KvError> {
        let mut link = self.link()?;
        self.bounded(async { link.run(&self.set_command(key, value, ttl)).await })
            .await
    }

    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    pub(super) async fn set_if_absent(
        &self,
        key: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool, KvError> {
        let mut command = self.set_command(key, value, ttl);
        command.arg("NX");
        let mut link = self.link()?;
        match self.bounded(async { link.run(&command).await }).await? {
            Value::Okay => Ok(true),
            Value::Nil => Ok(false),
            _ => Err(KvError::Garbage),
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), KvError> {
        let mut link = self.link()?;
        let mut command = redis::cmd("DEL");
        command.arg(self.key(key));
        self.bounded(async { link.run(&command).await }).await
    }

    pub(super) async fn set_many(&self, entries: Vec<(String, Vec<u8>, Duration)>) -> Result<(), KvError> {
        for chunk in entries.chunks(CHUNK) {
            let commands = chunk
                .iter()
                .map(|(key, value, ttl)| self.set_command(key, value, *ttl));
            self.bounded(async {
                match self.link_or_down()? {
                    Link::Node(mut connection, _) => {
                        let mut pipeline = redis::pipe();
                        for command in commands {
                            pipeline.add_command(command).ignore();
                        }
                        pipeline.query_async::<()>(&mut connection).await
                    }
                    link @ Link::Cluster(_) => {
                        let all = commands.map(|command| {
                            let mut link = link.clone();
                            async move { link.run::<()>(&command).await }
                        });
                        try_join_all(all).await.map(drop)
                    }
                }
            })
            .await?;
        }
        Ok(())
    }

    pub(super) async fn set_versioned(
        &self,
        key: &str,
        version: i64,
        retired: i64,
        value: &str,
        ttl: Duration,
    ) -> Result<bool, KvError> {
        let arguments = [
            version.to_string(),
            value.to_owned(),
            milliseconds(ttl).to_string(),
            retired.to_string(),
        ];
        self.eval(&SET_VERSIONED, key, &arguments).await
    }

    pub(super) async fn advance(
        &self,
        key: &str,
        expected: i64,
        version: i64,
        value: &str,
        ttl: Duration,
        ahead_at_most: i64,
    ) -> Result<Option<i64>, KvError> {
        let arguments = [
            expected.to_string(),
            version.to_string(),
            value.to_owned(),
            milliseconds(ttl).to_string(),
            ahead_at_most.to_string(),
        ];
        let behind: Option<String> = self.eval(&ADVANCE, key, &arguments).await?;
        behind
            .map(|text| text.parse().map_err(|_| KvError::Garbage))
            .transpose()
    }

    pub(super) async fn take(
        &self,
        key: &str,
        interval: Duration,
        capacity: Duration,
    ) -> Result<Option<Duration>, KvError> {
        let arguments = [interval.as_micros().to_string(), capacity.as_micros().to_string()];
        let wait: i64 = self.eval(&TAKE, key, &arguments).await?;
        let wait = u64::try_from(wait).map_err(|_| KvError::Garbage)?;
        Ok((wait > 0).then(|| Duration::from_micros(wait)))
    }

    /// Runs a script on one key.
    async fn eval<T: redis::FromRedisValue>(
        &self,
        (script, code): &(Script, &'static str),
        key: &str,
        arguments: &[String],
    ) -> Result<T, KvError> {
        let call = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(self.key(key)).arg(arguments);
            command
        };
        let mut link = self.link()?;
        // EVAL, unlike SCRIPT LOAD, goes to the one server that holds the key, and caches the script there.
        self.bounded(async {
            match link.run(&call("EVALSHA", script.get_hash())).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    link.run(&call("EVAL", code)).await
                }
                other => other,
            }
        })
        .await
    }

    pub(super) async fn publish(&self, payload: &str) -> Result<(), KvError> {
        let mut link = self.link()?;
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.shared.channel).arg(payload);
        self.bounded(async { link.run(&command).await }).await
    }

    pub(super) async fn ping(&self) -> Result<(), KvError> {
        let mut link = self.link()?;
        self.bounded(async { link.ping().await }).await
    }

    pub(super) fn add_listener(&self, sender: mpsc::UnboundedSender<KvEvent>) {
        let mut listeners = self
            .shared
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if listeners.subscribed {
            // The receiver is in the caller's hands, so it cannot be closed.
            let _ = sender.send(KvEvent::Subscribed);
        }
        listeners.senders.push(sender);
    }

    pub(super) fn state(&self) -> KvState {
        KvState {
            kind: self.shared.source.kind().as_str(),
            connected: self.shared.link.borrow().is_some(),
            subscribed: self
                .shared
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .subscribed,
        }
    }

    pub(super) fn stats(&self) -> KvStats {
        let Counters {
            ok,
            failed,
            timeouts,
            connections,
            subscriptions,
        } = &self.shared.counters;
        KvStats {
            ok: ok.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            timeouts: timeouts.load(Ordering::Relaxed),
            connections: connections.load(Ordering::Relaxed),
            subscriptions: subscriptions.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn wait_connected(&self, limit: Duration) -> bool {
        let mut link = self.shared.link.subscribe();
        let connected = tokio::time::timeout(limit, link.wait_for(Option::is_some)).await;
        matches!(connected, Ok(Ok(_)))
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.shared.prefix)
    }

    fn get_command(&self, key: &str) -> Cmd {
        let mut command = redis::cmd("GET");
        command.arg(self.key(key));
        command
    }

    fn set_command(&self, key: &str, value: &[u8], ttl: Duration) -> Cmd {
        let mut command = redis::cmd("SET");
        command
            .arg(self.key(key))
            .arg(value)
            .arg("PX")
            .arg(milliseconds(ttl));
        command
    }

    fn link(&self) -> Result<Link, KvError> {
        self.link_or_down().map_err(|error| {
            count(&self.shared.counters.failed);
            explain(&error)
        })
    }

    fn link_or_down(&self) -> RedisResult<Link> {
        let link = self.shared.link.borrow().clone();
        link.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    /// Waits for an answer as long as the configuration allows, counts what became of it, and has the link examined
    /// when the answer makes it doubtful.
    async fn bounded<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Result<T, KvError> {
        let counters = &self.shared.counters;
        let error = match tokio::time::timeout(self.shared.timeout, work).await {
            Ok(Ok(answer)) => {
                count(&counters.ok);
                return Ok(answer);
            }
            Ok(Err(error)) => error,
            Err(_) => std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
        };
        count(if error.is_timeout() {
            &counters.timeouts
        } else {
            &counters.failed
        });
        if !is_plain_refusal(&error) {
            self.shared.doubt.notify_one();
        }
        Err(explain(&error))
    }
}

fn milliseconds(ttl: Duration) -> u64 {
    let ttl = ttl.clamp(Duration::from_millis(1), LONGEST_TTL);
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the server is well and only this command was wrong.
fn is_plain_refusal(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Extension
            | ErrorKind::UnexpectedReturnType
            | ErrorKind::Server(ServerErrorKind::ResponseError)
    )
}

/// What a caller may know of an error. Details are left out: they may quote keys and arguments.
fn explain(error: &RedisError) -> KvError {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    match error.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => KvError::Garbage,
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain | Moved | Ask) => {
            KvError::Unavailable(code(error))
        }
        ErrorKind::Server(_) | ErrorKind::Extension => match code(error) {
            code if code == "WRONGTYPE" => KvError::WrongType,
            code => KvError::Refused(code),
        },
        _ => KvError::Unavailable(reason(error)),
    }
}

/// The server's error code, or as much of it as looks like one.
fn code(error: &RedisError) -> String {
    let in_pipeline = || {
        let errors = error.clone().into_server_errors()?;
        errors.first().map(|(_, error)| error.code().to_owned())
    };
    let code = error
        .code()
        .map(str::to_owned)
        .or_else(in_pipeline)
        .unwrap_or_default();
    let code: String = code
        .chars()
        .take_while(char::is_ascii_uppercase)
        .take(32)
        .collect();
    if code.is_empty() { "ERR".to_owned() } else { code }
}

fn reason(error: &RedisError) -> String {
    if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connection_refusal() {
        "the connection was refused".to_owned()
    } else if error.is_connection_dropped() {
        "not connected".to_owned()
    } else if error.code().is_some() {
        code(error)
    } else {
        // Fixed texts of the client library, which hold nothing of the configuration.
        error.category().to_owned()
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

async fn within<T>(limit: Duration, work: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        // The client library's own words for what it found out on behalf of this module.
        Ok(Err(error)) if error.kind() == ErrorKind::Client => Err("the server is out of service".to_owned()),
        Ok(Err(error)) => Err(reason(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

async fn keep_linked(shared: Arc<Shared>) {
    let mut attempts = Attempts::new("connection", shared.source.kind());
    loop {
        match within(ATTEMPT_TIMEOUT, shared.source.open()).await {
            Ok(link) => {
                let since = attempts.succeeded();
                count(&shared.counters.connections);
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
        // Whether it was time or there was doubt, the examination is the same.
        let _ = tokio::time::timeout(HEARTBEAT_PERIOD, shared.doubt.notified()).await;
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
                    count(&shared.counters.connections);
                    shared.link.send_replace(None);
                    shared.put_link(fresh.clone());
                    link = fresh;
                }
            }
            _ => {}
        }
    }
}

async fn keep_subscribed(shared: Arc<Shared>) {
    let mut attempts = Attempts::new("subscription", shared.source.kind());
    loop {
        let link = shared.link.borrow().clone();
        match within(ATTEMPT_TIMEOUT, shared.source.subscribe(&shared.channel, link)).await {
            Ok(subscription) => {
                let since = attempts.succeeded();
                count(&shared.counters.subscriptions);
                shared.tell(&KvEvent::Subscribed);
                let reason = attend_subscription(&shared, subscription).await;
                shared.tell(&KvEvent::Lost);
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
                        shared.tell(&KvEvent::Message(payload));
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
fn payload(data: Vec<Value>) -> Option<String> {
    match data.into_iter().nth(1)? {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

impl Shared {
    /// Offers a link to the commands, where there is none.
    fn put_link(&self, link: Link) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.link.send_replace(Some(link));
    }

    fn tell(&self, event: &KvEvent) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            KvEvent::Subscribed => listeners.subscribed = true,
            KvEvent::Lost => listeners.subscribed = false,
            KvEvent::Message(_) => {}
        }
        listeners
            .senders
            .retain(|sender| sender.send(event.clone()).is_ok());
    }
}
