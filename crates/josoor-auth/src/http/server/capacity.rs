//! How many connections there are at once, and which of them are closed when they run short.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::domain::canonical_address;
use crate::http::server::activity::Activity;
use crate::http::server::options::ServeOptions;
use crate::telemetry::codes;

/// The open connections, by network.
pub(super) struct Table {
    slots: Arc<Semaphore>,
    most: usize,
    exempt: Arc<[IpNet]>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    networks: HashMap<IpAddr, HashMap<u64, Arc<Connection>>>,
    next: u64,
    /// When the log last had the line about a shortage.
    reported: Option<Instant>,
}

/// An open connection, as others see it.
pub(super) struct Connection {
    pub(super) activity: Arc<Activity>,
    /// Notified when the connection is closed to free capacity.
    pub(super) close: Notify,
    is_closing: AtomicBool,
}

/// A connection's slot in the table, released on drop.
pub(super) struct Slot {
    table: Arc<Table>,
    network: IpAddr,
    number: u64,
    pub(super) held: Arc<Connection>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Slot {
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
    match canonical_address(peer) {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// How long a new connection waits for the one that is being closed, before another one is.
const CLOSE_WAIT: Duration = Duration::from_millis(50);

/// A request of the largest holder that is not over for so long may be cut, if the holder has nothing idle and more than half of
/// all connections: such a client sends its bodies byte by byte.
const SLOW: Duration = Duration::from_secs(5);

/// The log has at most one line about a shortage in this time.
const REPORT_EVERY: Duration = Duration::from_mins(1);

impl Table {
    pub(super) fn new(options: &ServeOptions) -> Self {
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

    /// Acquires a slot for a connection with `peer`, if necessary by closing another one.
    pub(super) async fn acquire(self: &Arc<Self>, peer: IpAddr) -> Slot {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
                break Some(permit);
            }
            self.close_idle();
            // The semaphore is never closed, so acquiring cannot fail.
            if let Ok(permit) = timeout(CLOSE_WAIT, Arc::clone(&self.slots).acquire_owned()).await {
                break permit.ok();
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
        Slot {
            table: Arc::clone(self),
            network,
            number,
            held: connection,
            _permit: permit,
        }
    }

    /// Closes what was idle for longest of the network that has the most connections.
    fn close_idle(&self) {
        let is_exempt = |network: &IpAddr| self.exempt.iter().any(|net| net.contains(network));
        let mut held = self.lock();
        let mut holders: Vec<(usize, IpAddr)> = held
            .networks
            .iter()
            .filter(|(network, _)| !is_exempt(network))
            .map(|(network, connections)| (connections.len(), *network))
            .collect();
        // Nearly always the largest holder has an idle connection; the others are examined only if not.
        while let Some(largest) = (0..holders.len()).max_by_key(|index| holders[*index].0) {
            let (count, network) = holders.swap_remove(largest);
            let Some(connections) = held.networks.get(&network) else {
                continue;
            };
            let closed = close_longest_idle(connections.values(), count, self.most);
            if closed > 0 {
                if held.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
                    held.reported = Some(Instant::now());
                    tracing::warn!(
                        code = codes::CONNECTIONS_SHORT,
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
