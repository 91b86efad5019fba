//! Serves on a socket that anybody may connect to.
//!
//! `axum::serve` gives hyper no timer, so nothing there ends a connection that sends its headers a byte a minute, or
//! nothing at all. This loop bounds how many connections there are, who makes space when they run short, how long each may
//! take to say something, how long it may stay silent, and how long the shutdown waits for those that are at work.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::server::front::Front;

/// How the loop treats connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Connections at the same time. When they are all taken, a newcomer closes the one that was idle for longest of the
    /// network that has the most. Where none is idle, newcomers wait in the kernel's queue.
    pub max_connections: usize,
    /// Peers whose connections are not closed for others: proxies, which have many for many clients.
    pub exempt: Arc<[IpNet]>,
    /// How long a new connection may take to send its first request's headers.
    pub header_timeout: Duration,
    /// How long a connection may stay without a request. Longer than the idle time of the usual proxies (60 s), so
    /// that they are the ones to close and no request meets a connection that is just being closed.
    pub idle_timeout: Duration,
    /// Between "not ready" and the end of accepting, so that a load balancer can notice.
    pub drain_delay: Duration,
    /// How long requests in flight may go on after that.
    pub drain_timeout: Duration,
}

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            exempt: LOOPBACK.into_iter().filter_map(|net| net.parse().ok()).collect(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still at work after `drain_timeout` and were cut.
    pub cut: usize,
}

/// After a failed accept (usually: no file descriptors left) the loop waits this long. The connection stays in the
/// kernel's queue, so a retry at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections on `listener` and answers them with `front` until `shutdown` completes. Then, in this order:
/// `accepting` becomes false (readiness follows it), `drain_delay` passes, no more connections are accepted, idle
/// ones are closed, those at work finish their requests (`Connection: close`, GOAWAY), and what is left after
/// `drain_timeout` is cut.
///
/// HTTP/1.1 and HTTP/2 without TLS. The peer's address is in the requests' extensions as
/// [`ConnectInfo`](axum::extract::ConnectInfo). A panic ends at most the connection that it happened in.
pub async fn serve(
    listener: TcpListener,
    front: impl Into<Front>,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
    accepting: Arc<AtomicBool>,
) -> Drained {
    let (front, protocol, options) = (front.into(), Arc::new(protocol()), Arc::new(options));
    let table = Arc::new(Table::new(&options));
    let connections = TaskTracker::new();
    let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
    accepting.store(true, Ordering::SeqCst);
    {
        let mut accept_until = pin!(async {
            shutdown.await;
            accepting.store(false, Ordering::SeqCst);
            sleep(options.drain_delay).await;
        });
        loop {
            let next = async {
                let (stream, peer) = accept(&listener).await;
                (table.place(peer.ip()).await, stream, peer)
            };
            let (place, stream, peer) = tokio::select! {
                biased;
                () = &mut accept_until => break,
                next = next => next,
            };
            let (protocol, front, options) = (Arc::clone(&protocol), front.clone(), Arc::clone(&options));
            let (drain, cut) = (drain.clone(), cut.clone());
            connections.spawn(async move {
                let held = &place.held;
                converse(stream, peer, held, &protocol, &front, &options, &drain, &cut).await;
            });
        }
    }
    drop(listener);
    drain.cancel();
    connections.close();
    let finished = timeout(options.drain_timeout, connections.wait()).await;
    let left = if finished.is_ok() { 0 } else { connections.len() };
    cut.cancel();
    connections.wait().await;
    Drained { cut: left }
}

/// The limits that hyper itself enforces.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // A timer of hyper's is set anew for every request; `Activity` watches over silence for less.
        .header_read_timeout(None)
        .max_buf_size(32 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(16 * 1024)
        // Rapid reset (CVE-2023-44487): more than this many streams that were reset before being answered end the connection.
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// The next connection. Errors of one connection and shortages of the process are survived.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(connection) => return connection,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "cannot accept a connection"
                );
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the client gave up before it was accepted, which says nothing about the next one.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Who holds which connections.
struct Table {
    slots: Arc<Semaphore>,
    most: usize,
    exempt: Arc<[IpNet]>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    networks: HashMap<IpAddr, HashMap<u64, Arc<Connection>>>,
    next: u64,
    /// When the log was last told that connections run short.
    told: Option<Instant>,
}

/// An open connection, as others see it.
struct Connection {
    activity: Arc<Activity>,
    /// Told when the connection has to make space.
    close: Notify,
    is_closing: AtomicBool,
}

/// A connection's place in the table, until it is dropped.
struct Place {
    table: Arc<Table>,
    network: IpAddr,
    number: u64,
    held: Arc<Connection>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.table.lock();
        if let Some(connections) = held.networks.get_mut(&self.network) {
            connections.remove(&self.number);
            if connections.is_empty() {
                held.networks.remove(&self.network);
            }
        }
    }
}

/// A network address is one holder: an IPv4 address, or the /64 of an IPv6 address, which is what one client is given.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// How long a newcomer waits for the connection that makes space, before another one has to.
const SPACE_WAIT: Duration = Duration::from_millis(50);

/// A request of the largest holder that is not over for so long may be cut, if the holder has nothing idle and more than half of
/// all connections: such a client sends its bodies byte by byte.
const SLOW: Duration = Duration::from_secs(5);

/// The log is told at most once in so long.
const TELL_EVERY: Duration = Duration::from_mins(1);

impl Table {
    fn new(options: &ServeOptions) -> Self {
        let most = options.max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(most)),
            most,
            exempt: Arc::clone(&options.exempt),
            held: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing in here can leave the table half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection with `peer`, which others may have to make.
    async fn place(self: &Arc<Self>, peer: IpAddr) -> Place {
        let slot = loop {
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                break Some(slot);
            }
            self.make_space();
            // The semaphore is never closed, so acquiring cannot fail.
            if let Ok(slot) = timeout(SPACE_WAIT, Arc::clone(&self.slots).acquire_owned()).await {
                break slot.ok();
            }
        };
        let connection = Arc::new(Connection {
            activity: Arc::new(Activity::new()),
            close: Notify::new(),
            is_closing: AtomicBool::new(false),
        });
        let network = network_of(peer);
        let mut held = self.lock();
        let number = held.next;
        held.next += 1;
        let of_network = held.networks.entry(network).or_default();
        of_network.insert(number, Arc::clone(&connection));
        drop(held);
        Place {
            table: Arc::clone(self),
            network,
            number,
            held: connection,
            _slot: slot,
        }
    }

    /// Closes what was idle for longest of the network that has the most connections.
    fn make_space(&self) {
        let is_exempt = |network: &IpAddr| self.exempt.iter().any(|net| net.contains(network));
        let mut held = self.lock();
        let mut holders: Vec<(usize, IpAddr)> = held
            .networks
            .iter()
            .filter(|(network, _)| !is_exempt(network))
            .map(|(network, connections)| (connections.len(), *network))
            .collect();
        // Nearly always the largest holder has something idle; the others are looked at only if not.
        while let Some(largest) = (0..holders.len()).max_by_key(|index| holders[*index].0) {
            let (count, network) = holders.swap_remove(largest);
            let Some(connections) = held.networks.get(&network) else {
                continue;
            };
            let closed = close_longest_idle(connections.values(), count, self.most);
            if closed > 0 {
                if held.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    held.told = Some(Instant::now());
                    tracing::warn!(
                        %network,
                        connections = count,
                        max_connections = self.most,
                        "connections run short; those that are idle for longest of the largest holder are closed"
                    );
                }
                return;
            }
        }
    }
}

/// Closes one of the connections of a holder, or a few at once when it has more than half of all: looking for them costs
/// more than a connection. How many.
fn close_longest_idle<'a>(
    connections: impl Iterator<Item = &'a Arc<Connection>> + Clone,
    count: usize,
    most: usize,
) -> usize {
    let is_large = count > most / 2;
    let open = connections.filter(|one| !one.is_closing.load(Ordering::Relaxed));
    let mut found: Vec<_> = open
        .clone()
        .filter(|one| one.activity.in_flight.load(Ordering::Relaxed) == 0)
        .map(|one| (one.activity.last(), one))
        .collect();
    if found.is_empty() && is_large {
        let now = Instant::now();
        found = open
            .map(|one| (one.activity.last(), one))
            .filter(|(last, _)| now.saturating_duration_since(*last) > SLOW)
            .collect();
    }
    let wanted = if is_large { (count / 64).max(1) } else { 1 };
    if wanted < found.len() {
        found.select_nth_unstable_by_key(wanted, |(last, _)| *last);
        found.truncate(wanted);
    }
    for (_, one) in &found {
        one.is_closing.store(true, Ordering::Relaxed);
        one.close.notify_one();
    }
    found.len()
}

/// What a connection is doing. Whoever watches over it looks at these when its time comes, so that a request costs a few
/// additions and wakes nobody.
struct Activity {
    born: Instant,
    requests: AtomicU64,
    in_flight: AtomicUsize,
    /// When the connection last had something to do, in nanoseconds since `born`.
    since: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            born: Instant::now(),
            requests: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// When the connection last had something to do, or began.
    fn last(&self) -> Instant {
        self.born + Duration::from_nanos(self.since.load(Ordering::Relaxed))
    }

    fn touch(&self) {
        let nanos = u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.since.store(nanos, Ordering::Relaxed);
    }

    /// Completes once no first request has come for `first`, or nothing was in flight for `idle`; says whether there was
    /// any request. A request that arrives byte by byte is none until its headers are there, and HTTP/2's pings, which keep
    /// an idle connection for ever, are none either.
    async fn silence(&self, first: Duration, idle: Duration) -> bool {
        loop {
            let was_asked = self.requests.load(Ordering::Relaxed) > 0;
            let now = Instant::now();
            let ends = if !was_asked {
                self.born + first
            } else if self.in_flight.load(Ordering::Relaxed) > 0 {
                now + idle
            } else {
                self.born + Duration::from_nanos(self.since.load(Ordering::Relaxed)) + idle
            };
            if now >= ends {
                return was_asked;
            }
            // The end may have come nearer by then: the first request is no reason to wake up.
            sleep_until(ends.min(now + first.min(idle))).await;
        }
    }
}

/// Counts a request as in flight until it is answered or dropped.
struct InFlight(Arc<Activity>);

impl InFlight {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a connection is to end.
enum Ending {
    /// The service drains.
    Drain,
    /// Its time is up.
    Cut,
    /// It was silent for too long.
    Silence { was_asked: bool },
}

/// Serves one connection to its end.
#[expect(
    clippy::too_many_arguments,
    reason = "each is another thing, and it is called once"
)]
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    held: &Connection,
    protocol: &auto::Builder<TokioExecutor>,
    front: &Front,
    options: &ServeOptions,
    drain: &CancellationToken,
    cut: &CancellationToken,
) {
    // Answers are short; waiting for more to send (Nagle) would only delay them.
    let _ = stream.set_nodelay(true);
    let activity = Arc::clone(&held.activity);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let in_flight = InFlight::begin(&activity);
        let request = request.map(|body| {
            if body.is_end_stream() {
                Body::empty()
            } else {
                Body::new(body)
            }
        });
        let front = front.clone();
        async move {
            let response = front.answer(request, peer).await;
            drop(in_flight);
            response
        }
    });
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
    let silence = async |first, idle| Ending::Silence {
        was_asked: activity.silence(first, idle).await,
    };
    // Polled only when one of them is woken; the connection is polled several times for each request.
    let mut watchers: FuturesUnordered<Pin<Box<dyn Future<Output = Ending> + Send + '_>>> =
        FuturesUnordered::new();
    watchers.push(Box::pin(async {
        cut.cancelled().await;
        Ending::Cut
    }));
    watchers.push(Box::pin(async {
        held.close.notified().await;
        Ending::Cut
    }));
    watchers.push(Box::pin(async {
        drain.cancelled().await;
        Ending::Drain
    }));
    watchers.push(Box::pin(silence(options.header_timeout, options.idle_timeout)));
    let mut closing = false;
    loop {
        let ending = tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            Some(ending) = watchers.next() => ending,
        };
        match ending {
            // With nothing asked, nothing has to be answered.
            Ending::Cut | Ending::Silence { was_asked: false } => return,
            Ending::Silence { was_asked: true } if closing => return,
            Ending::Drain | Ending::Silence { was_asked: true } => {
                closing = true;
                connection.as_mut().graceful_shutdown();
                // Requests in flight take the time they need (during a drain the caller's deadline ends them). With none
                // in flight, only bytes are left to move: a client that neither reads nor sends them may not hold this up.
                activity.touch();
                watchers.push(Box::pin(silence(options.header_timeout, options.header_timeout)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
