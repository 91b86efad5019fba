//! The local cache under every order in which its steps can happen.
//!
//! This compiles the very source of the local cache with the locks and atomics of `shuttle`, which runs threads one step at a
//! time and tries the orders of those steps: all of them where a reading meets a change, very many where whole requests of
//! several threads do. The stores below the cache are models of what PostgreSQL and Redis do in one step.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../src/local_cache.rs"]
#[expect(
    unreachable_pub,
    reason = "the models do not need all of the cache, which is public elsewhere"
)]
mod local_cache;

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shuttle::thread;
use uuid::Uuid;

use local_cache::{CachedSession, LocalCache, ReadSession, Versioned, is_retired};
use sync::Mutex;

const SESSION: Uuid = Uuid::from_u128(7);
const USER: i64 = 9;
const FAR: i64 = i64::MAX;

/// The generation of the token in all requests. A change of the password retires it.
const GENERATION: i64 = 1;

/// A user's copy: the version, and a role that says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User(i64);

impl Versioned for User {
    fn version(&self) -> i64 {
        self.0
    }

    fn bytes(&self) -> u64 {
        16
    }
}

/// Why a session has ended; one reason is enough here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended;

/// What stands under a session's key in Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shared {
    Absent,
    /// With the generation up to which tokens are refused.
    Live(i64),
    Tombstone,
}

/// The stores that all nodes share. Each method is one step.
struct Stores {
    session_is_live: Mutex<bool>,
    retired: Mutex<i64>,
    user_version: Mutex<i64>,
    shared_session: Mutex<Shared>,
    shared_user: Mutex<i64>,
}

impl Stores {
    fn new() -> Self {
        Self {
            session_is_live: Mutex::new(true),
            retired: Mutex::new(0),
            user_version: Mutex::new(1),
            shared_session: Mutex::new(Shared::Absent),
            shared_user: Mutex::new(0),
        }
    }

    fn read_session(&self) -> Option<ReadSession> {
        let is_live = self.session_is_live.lock().unwrap();
        is_live.then(|| session_with(*self.retired.lock().unwrap()))
    }

    fn read_user(&self) -> User {
        User(*self.user_version.lock().unwrap())
    }

    /// The script that writes copies: it replaces no tombstone, and no copy with more generations that are retired.
    fn write_session_copy(&self, retired: i64) {
        let mut shared = self.shared_session.lock().unwrap();
        match *shared {
            Shared::Tombstone => {}
            Shared::Live(known) if known > retired => {}
            _ => *shared = Shared::Live(retired),
        }
    }

    /// The same for users: a lower version replaces no higher one.
    fn write_user_copy(&self, version: i64) {
        let mut shared = self.shared_user.lock().unwrap();
        *shared = version.max(*shared);
    }
}

type Node = LocalCache<User, Ended>;

const fn session_with(retired: i64) -> ReadSession {
    ReadSession {
        user: USER,
        expires_at: FAR,
        retired,
    }
}

/// Whether a request is accepted, as the service decides it: the local cache, then the shared copies, then the database. The
/// order of the steps is that of `hot.rs`. Gives the version of the user that it was let in with.
fn request(node: &Node, stores: &Stores) -> Option<i64> {
    let now = Instant::now();
    match node.session(SESSION, now) {
        Some(CachedSession::Revoked(_)) => return None,
        Some(CachedSession::Live { retired, .. }) if is_retired(GENERATION, retired) => return None,
        Some(CachedSession::Live { user, .. }) => {
            if let Some(copy) = node.user(user, now) {
                return Some(copy.0);
            }
        }
        None => {}
    }
    let filled = Instant::now();
    let snapshot = node.snapshot(SESSION, USER);
    let shared = *stores.shared_session.lock().unwrap();
    match shared {
        Shared::Tombstone => {
            node.revoke_session(SESSION, Ended);
            return None;
        }
        Shared::Live(retired) => {
            let retired = node.fill_session(SESSION, snapshot, session_with(retired), filled);
            if is_retired(GENERATION, retired) {
                return None;
            }
            let version = *stores.shared_user.lock().unwrap();
            let copy = Arc::new(User(version));
            if version > 0 && node.fill_user(USER, snapshot, &copy, filled) {
                return Some(version);
            }
        }
        Shared::Absent => {}
    }
    let (session, user) = (stores.read_session(), stores.read_user());
    let Some(session) = session else {
        node.revoke_session(SESSION, Ended);
        return None;
    };
    let copy = Arc::new(user);
    let retired = node.fill_session(SESSION, snapshot, session, filled);
    node.fill_user(USER, snapshot, &copy, filled);
    stores.write_session_copy(session.retired);
    stores.write_user_copy(copy.0);
    (!is_retired(GENERATION, retired)).then_some(copy.0)
}

/// Ends the session as `announce` does: the commit, this node, the tombstone, the message to the other nodes.
fn revoke(own: &Node, others: &[Arc<Node>], stores: &Stores) {
    *stores.session_is_live.lock().unwrap() = false;
    own.revoke_session(SESSION, Ended);
    *stores.shared_session.lock().unwrap() = Shared::Tombstone;
    for other in others {
        other.revoke_session(SESSION, Ended);
    }
}

/// Changes the password in the same order: generations up to this one are retired.
fn retire(up_to: i64, own: &Node, others: &[Arc<Node>], stores: &Stores) {
    {
        let mut retired = stores.retired.lock().unwrap();
        *retired = up_to.max(*retired);
    }
    own.retire_generations(SESSION, up_to);
    stores.write_session_copy(up_to);
    for other in others {
        other.retire_generations(SESSION, up_to);
    }
}

/// Changes the user's role in the same order.
fn change_role(own: &Node, others: &[Arc<Node>], stores: &Stores) {
    let version = {
        let mut version = stores.user_version.lock().unwrap();
        *version += 1;
        *version
    };
    own.raise_user_version(USER, version);
    stores.write_user_copy(version);
    for other in others {
        other.raise_user_version(USER, version);
    }
}

fn node() -> Arc<Node> {
    Arc::new(LocalCache::new(1 << 16, Duration::from_hours(1), true))
}

/// Every order of the steps. How many there were.
fn in_every_order(test: impl Fn() + Send + Sync + 'static) -> usize {
    let scheduler = shuttle::scheduler::DfsScheduler::new(None, false);
    shuttle::Runner::new(scheduler, shuttle::Config::new()).run(test)
}

/// Very many orders of the steps, half of them chosen so that rare ones are met.
fn in_many_orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), 5_000);
    shuttle::check_pct(test, 5_000, 4);
}

/// The same for models of many steps, in fewer orders.
fn in_some_orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), 1_000);
    shuttle::check_pct(test, 1_000, 4);
}

/// What a request does below the local cache, and nothing else.
fn reading(node: &Node, stores: &Stores) {
    let filled = Instant::now();
    let snapshot = node.snapshot(SESSION, USER);
    let (session, user) = (stores.read_session(), stores.read_user());
    if let Some(session) = session {
        let _ = node.fill_session(SESSION, snapshot, session, filled);
        node.fill_user(USER, snapshot, &Arc::new(user), filled);
    }
}

#[test]
fn a_reading_and_a_sign_out_in_every_order() {
    let orders = in_every_order(|| {
        let (node, stores) = (node(), Arc::new(Stores::new()));
        let reader = {
            let (node, stores) = (Arc::clone(&node), Arc::clone(&stores));
            thread::spawn(move || reading(&node, &stores))
        };
        *stores.session_is_live.lock().unwrap() = false;
        node.revoke_session(SESSION, Ended);
        reader.join().unwrap();
        assert_eq!(
            node.session(SESSION, Instant::now()),
            Some(CachedSession::Revoked(Ended))
        );
    });
    assert!(orders > 20, "only {orders} orders");
}

#[test]
fn a_reading_and_a_change_of_role_in_every_order() {
    let orders = in_every_order(|| {
        let (node, stores) = (node(), Arc::new(Stores::new()));
        let reader = {
            let (node, stores) = (Arc::clone(&node), Arc::clone(&stores));
            thread::spawn(move || reading(&node, &stores))
        };
        *stores.user_version.lock().unwrap() = 2;
        node.raise_user_version(USER, 2);
        reader.join().unwrap();
        let known = node.user(USER, Instant::now());
        assert!(known.is_none_or(|copy| copy.0 == 2));
    });
    assert!(orders > 20, "only {orders} orders");
}

#[test]
fn a_request_in_the_middle_of_a_sign_out_leaves_nothing_behind() {
    for is_shared in [false, true] {
        in_many_orders(move || {
            let (node, stores) = (node(), Arc::new(Stores::new()));
            if is_shared {
                stores.write_session_copy(0);
                stores.write_user_copy(1);
            }
            let reader = {
                let (node, stores) = (Arc::clone(&node), Arc::clone(&stores));
                thread::spawn(move || request(&node, &stores))
            };
            revoke(&node, &[], &stores);
            // Answered: it holds on this node from the next request on, whatever is still under way.
            assert_eq!(request(&node, &stores), None);
            reader.join().unwrap();
            assert_eq!(request(&node, &stores), None);
            assert_eq!(*stores.shared_session.lock().unwrap(), Shared::Tombstone);
        });
    }
}

#[test]
fn a_request_in_the_middle_of_a_change_of_role_leaves_nothing_behind() {
    for is_shared in [false, true] {
        in_many_orders(move || {
            let (node, stores) = (node(), Arc::new(Stores::new()));
            if is_shared {
                stores.write_session_copy(0);
                stores.write_user_copy(1);
            }
            let reader = {
                let (node, stores) = (Arc::clone(&node), Arc::clone(&stores));
                thread::spawn(move || request(&node, &stores))
            };
            change_role(&node, &[], &stores);
            assert_eq!(request(&node, &stores), Some(2));
            reader.join().unwrap();
            assert_eq!(request(&node, &stores), Some(2));
            assert_eq!(*stores.shared_user.lock().unwrap(), 2);
        });
    }
}

#[test]
fn a_reading_and_a_change_of_the_password_in_every_order() {
    let orders = in_every_order(|| {
        let (node, stores) = (node(), Arc::new(Stores::new()));
        let reader = {
            let (node, stores) = (Arc::clone(&node), Arc::clone(&stores));
            thread::spawn(move || reading(&node, &stores))
        };
        *stores.retired.lock().unwrap() = GENERATION;
        node.retire_generations(SESSION, GENERATION);
        reader.join().unwrap();
        match node.session(SESSION, Instant::now()) {
            None => {}
            Some(CachedSession::Live { retired, .. }) => assert_eq!(retired, GENERATION),
            Some(CachedSession::Revoked(_)) => panic!("nothing has ended it"),
        }
    });
    assert!(orders > 20, "only {orders} orders");
}

#[test]
fn a4_a_request_in_the_middle_of_a_change_of_the_password_leaves_no_token_valid() {
    for is_shared in [false, true] {
        in_some_orders(move || {
            let (own, other, stores) = (node(), node(), Arc::new(Stores::new()));
            if is_shared {
                stores.write_session_copy(0);
                stores.write_user_copy(1);
            }
            let readers: Vec<_> = [&own, &other]
                .map(|node| {
                    let (node, stores) = (Arc::clone(node), Arc::clone(&stores));
                    thread::spawn(move || request(&node, &stores))
                })
                .into();
            retire(GENERATION, &own, &[Arc::clone(&other)], &stores);
            for node in [&own, &other] {
                assert_eq!(request(node, &stores), None);
            }
            for reader in readers {
                reader.join().unwrap();
            }
            for node in [&own, &other] {
                assert_eq!(request(node, &stores), None);
            }
            assert_eq!(*stores.shared_session.lock().unwrap(), Shared::Live(GENERATION));
        });
    }
}

#[test]
fn a4_a_lower_generation_never_replaces_a_higher_one() {
    in_many_orders(|| {
        let (node, stores) = (node(), Arc::new(Stores::new()));
        let changers: Vec<_> = [3, 2]
            .map(|up_to| {
                let (node, stores) = (Arc::clone(&node), Arc::clone(&stores));
                thread::spawn(move || retire(up_to, &node, &[], &stores))
            })
            .into();
        request(&node, &stores);
        for changer in changers {
            changer.join().unwrap();
        }
        assert_eq!(request(&node, &stores), None);
        assert_eq!(*stores.shared_session.lock().unwrap(), Shared::Live(3));
        let Some(CachedSession::Live { retired, .. }) = node.session(SESSION, Instant::now()) else {
            return;
        };
        assert_eq!(retired, 3);
    });
}

#[test]
fn another_node_receives_the_message_in_the_middle_of_its_requests() {
    in_many_orders(|| {
        let (own, other, stores) = (node(), node(), Arc::new(Stores::new()));
        let readers: Vec<_> = [&own, &other]
            .map(|node| {
                let (node, stores) = (Arc::clone(node), Arc::clone(&stores));
                thread::spawn(move || request(&node, &stores))
            })
            .into();
        change_role(&own, &[Arc::clone(&other)], &stores);
        for node in [&own, &other] {
            assert_eq!(request(node, &stores), Some(2));
        }
        revoke(&own, &[Arc::clone(&other)], &stores);
        for node in [&own, &other] {
            assert_eq!(request(node, &stores), None);
        }
        for reader in readers {
            reader.join().unwrap();
        }
        for node in [&own, &other] {
            assert_eq!(request(node, &stores), None);
        }
        assert_eq!(*stores.shared_session.lock().unwrap(), Shared::Tombstone);
        assert_eq!(*stores.shared_user.lock().unwrap(), 2);
    });
}

#[test]
fn messages_that_overtake_each_other_bring_no_old_version_back() {
    in_many_orders(|| {
        let (node, stores) = (node(), Arc::new(Stores::new()));
        let changers: Vec<_> = (0..2)
            .map(|_| {
                let (node, stores) = (Arc::clone(&node), Arc::clone(&stores));
                thread::spawn(move || change_role(&node, &[], &stores))
            })
            .collect();
        request(&node, &stores);
        for changer in changers {
            changer.join().unwrap();
        }
        assert_eq!(request(&node, &stores), Some(3));
        assert_eq!(*stores.shared_user.lock().unwrap(), 3);
    });
}

#[test]
fn what_was_filled_before_the_channel_came_back_is_stale() {
    in_many_orders(|| {
        let (node, stores) = (node(), Arc::new(Stores::new()));
        node.on_unsubscribed();
        let reader = {
            let (node, stores) = (Arc::clone(&node), Arc::clone(&stores));
            thread::spawn(move || request(&node, &stores))
        };
        // No message reaches this node.
        *stores.session_is_live.lock().unwrap() = false;
        *stores.shared_session.lock().unwrap() = Shared::Tombstone;
        node.on_subscribed();
        // A request that began before the end may still be let in; one that begins now must not profit from it.
        reader.join().unwrap();
        assert_eq!(request(&node, &stores), None);
    });
}

/// The model finds a fault where there is one: a node that receives no message.
#[test]
fn the_model_can_fail() {
    let found = catch_unwind(AssertUnwindSafe(|| {
        in_every_order(|| {
            let (other, stores) = (node(), Arc::new(Stores::new()));
            let reader = {
                let (other, stores) = (Arc::clone(&other), Arc::clone(&stores));
                thread::spawn(move || reading(&other, &stores))
            };
            *stores.session_is_live.lock().unwrap() = false;
            reader.join().unwrap();
            assert_eq!(request(&other, &stores), None);
        })
    }));
    assert!(found.is_err(), "a node that receives no message passed the check");
}
