//! A fair queue keyed by requester: no requester can delay the others.
//!
//! Two classes, known users and networks, alternate whenever both wait: each gets half of the turns. Within a class every
//! requester has one turn per round: start-time fair queueing (Goyal, Vin and Cheng, 1996) with jobs of equal size. A job's
//! turn comes after the waiting jobs of the same requester, and the round is that of the job that was taken last. So the first
//! job of an account or a network waits among the first jobs of the others; its further jobs wait behind these, and are the
//! first to be evicted when the queue is full.

use std::collections::VecDeque;

use crate::domain::Requester;

/// Which half of the turns a job belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Class {
    #[default]
    Known,
    Network,
}

impl Class {
    const fn of(requester: Requester) -> Self {
        match requester {
            Requester::Known(_) | Requester::Operator => Self::Known,
            Requester::Network(_) => Self::Network,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Known => Self::Network,
            Self::Network => Self::Known,
        }
    }
}

struct Entry<T> {
    requester: Requester,
    /// The lower one first.
    turn: u64,
    job: T,
}

/// The jobs of one class, in the order of their turns.
struct Line<T> {
    waiting: VecDeque<Entry<T>>,
    round: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            round: 0,
        }
    }
}

impl<T> Line<T> {
    /// When the turn of this requester's next job would be.
    fn turn(&self, requester: Requester) -> u64 {
        let of_the_same = self
            .waiting
            .iter()
            .rev()
            .find(|entry| entry.requester == requester);
        let behind_own = of_the_same.map_or(self.round, |entry| entry.turn + 1);
        let Requester::Network(network) = requester else {
            return behind_own;
        };
        // The /64s of one customer must not have a turn each.
        let others = self.waiting.iter().filter_map(|entry| match entry.requester {
            Requester::Network(other) => Some(other),
            Requester::Known(_) | Requester::Operator => None,
        });
        behind_own.max(self.round + network.crowd(others))
    }

    fn insert(&mut self, requester: Requester, job: T) {
        let turn = self.turn(requester);
        let place = self.waiting.partition_point(|entry| entry.turn <= turn);
        self.waiting.insert(place, Entry { requester, turn, job });
    }

    /// Takes the first job that is `like` it.
    fn take(&mut self, like: impl Fn(&T) -> bool) -> Option<T> {
        let place = self.waiting.iter().position(|entry| like(&entry.job))?;
        let entry = self.waiting.remove(place)?;
        if place == 0 {
            self.round = self.round.max(entry.turn);
        }
        Some(entry.job)
    }
}

/// Jobs in the order of their turns.
pub(super) struct Queue<T> {
    known: Line<T>,
    networks: Line<T>,
    /// Whose turn it is when both classes wait.
    next: Class,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            known: Line::default(),
            networks: Line::default(),
            next: Class::default(),
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.known.waiting.len() + self.networks.waiting.len()
    }

    const fn line(&self, class: Class) -> &Line<T> {
        match class {
            Class::Known => &self.known,
            Class::Network => &self.networks,
        }
    }

    const fn line_mut(&mut self, class: Class) -> &mut Line<T> {
        match class {
            Class::Known => &mut self.known,
            Class::Network => &mut self.networks,
        }
    }

    /// Whether a full queue makes space for one more of this class at the cost of the other, which has more than its half.
    fn other_has_more(&self, class: Class) -> bool {
        self.line(class).waiting.len() + 1 < self.line(class.other()).waiting.len()
    }

    /// Whether [`push`](Self::push) would take in this requester's next job.
    pub(super) fn accepts(&self, requester: Requester, capacity: usize) -> bool {
        let class = Class::of(requester);
        let line = self.line(class);
        self.len() < capacity
            || self.other_has_more(class)
            || line
                .waiting
                .back()
                .is_some_and(|last| line.turn(requester) < last.turn)
    }

    /// Takes a job in. What is over `capacity` comes back: the last one of the class that has more than its half, so that
    /// neither class can take the other's half.
    pub(super) fn push(&mut self, requester: Requester, job: T, capacity: usize) -> Option<T> {
        let class = Class::of(requester);
        let refused = if self.len() < capacity {
            None
        } else if self.other_has_more(class) {
            Some(class.other())
        } else {
            Some(class)
        };
        self.line_mut(class).insert(requester, job);
        let entry = self.line_mut(refused?).waiting.pop_back();
        entry.map(|entry| entry.job)
    }

    /// The job whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.take(|_| true)
    }

    /// Takes the first job that is `like` it of the class whose turn it is, else of the other one.
    fn take(&mut self, like: impl Fn(&T) -> bool) -> Option<T> {
        for class in [self.next, self.next.other()] {
            if let Some(job) = self.line_mut(class).take(&like) {
                self.next = class.other();
                return Some(job);
            }
        }
        None
    }

    /// Those next in turn that are `like` it, `most` at the most; the others keep their places.
    pub(super) fn pop_like(&mut self, most: usize, like: impl Fn(&T) -> bool) -> Vec<T> {
        std::iter::from_fn(|| self.take(&like)).take(most).collect()
    }

    /// How many are `like` it.
    pub(super) fn count(&self, like: impl Fn(&T) -> bool) -> usize {
        let all = self.known.waiting.iter().chain(&self.networks.waiting);
        all.filter(|entry| like(&entry.job)).count()
    }

    /// Drops the jobs that are not `wanted` any more. How many there were.
    pub(super) fn retain(&mut self, wanted: impl Fn(&T) -> bool) -> u64 {
        let before = self.len();
        for line in [&mut self.known, &mut self.networks] {
            line.waiting.retain(|entry| wanted(&entry.job));
        }
        (before - self.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Network, UserId};

    fn network(name: &str) -> Requester {
        let last = name.bytes().next().unwrap_or_default();
        Requester::Network(Network::of(&format!("192.0.2.{last}")).expect("a network"))
    }

    fn known(id: i64) -> Requester {
        Requester::Known(UserId(id))
    }

    fn drain(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn one_who_asks_often_does_not_keep_others_waiting() {
        let mut queue = Queue::default();
        for job in ["a1", "a2", "a3", "a4"] {
            assert_eq!(queue.push(network("a"), job, 10), None);
        }
        assert_eq!(queue.push(network("b"), "b1", 10), None);
        assert_eq!(queue.push(network("b"), "b2", 10), None);
        assert_eq!(queue.pop(), Some("a1"));
        assert_eq!(queue.push(network("c"), "c1", 10), None);
        assert_eq!(drain(&mut queue), ["b1", "c1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn a1_known_users_and_networks_alternate_and_each_takes_turns() {
        let mut queue = Queue::default();
        for job in ["a1", "a2", "a3", "a4"] {
            assert_eq!(queue.push(network("a"), job, 10), None);
        }
        for (user, job) in [(7, "u1"), (7, "u2"), (7, "u3"), (8, "v1")] {
            assert_eq!(queue.push(known(user), job, 10), None);
        }
        assert_eq!(
            drain(&mut queue),
            ["u1", "a1", "v1", "a2", "u2", "a3", "u3", "a4"],
            "half of the turns each; a user's second job behind everybody's first"
        );
    }

    #[test]
    fn a1_a_class_that_is_alone_has_all_turns() {
        let mut queue = Queue::default();
        for job in ["u1", "u2", "u3"] {
            assert_eq!(queue.push(known(7), job, 10), None);
        }
        assert_eq!(queue.pop(), Some("u1"));
        assert_eq!(queue.pop(), Some("u2"));
        assert_eq!(queue.push(network("a"), "a1", 10), None);
        assert_eq!(drain(&mut queue), ["a1", "u3"]);
    }

    #[test]
    fn a_full_queue_gives_up_what_would_come_last() {
        let mut queue = Queue::default();
        for job in ["a1", "a2", "a3"] {
            assert_eq!(queue.push(network("a"), job, 3), None);
        }
        let mut push = |requester: Requester, job| {
            let accepts = queue.accepts(requester, 3);
            let refused = queue.push(requester, job, 3);
            assert_eq!(accepts, refused != Some(job), "{job}");
            refused
        };
        assert_eq!(push(network("a"), "a4"), Some("a4"));
        assert_eq!(push(network("b"), "b1"), Some("a3"));
        assert_eq!(push(known(1), "u1"), Some("a2"));
        assert_eq!(
            push(known(2), "v1"),
            Some("v1"),
            "the others have no more than their half"
        );
        assert_eq!(push(network("c"), "c1"), Some("c1"));
        assert_eq!(drain(&mut queue), ["u1", "a1", "b1"]);
    }

    #[test]
    fn a1_a_flood_of_one_class_leaves_the_other_its_half() {
        for flood_is_known in [true, false] {
            let flood = |number: usize| {
                let ip = format!("198.51.100.{}", number % 250);
                if flood_is_known {
                    known(i64::try_from(number).expect("small"))
                } else {
                    Requester::Network(Network::of(&ip).expect("a network"))
                }
            };
            let other = if flood_is_known { network("a") } else { known(1) };
            let mut queue = Queue::default();
            for number in 0..100 {
                queue.push(flood(number), "flood", 32);
            }
            for _ in 0..16 {
                assert!(queue.accepts(other, 32));
                assert_eq!(queue.push(other, "other", 32), Some("flood"));
            }
            for number in 100..200 {
                assert!(!queue.accepts(flood(number), 32));
                assert_eq!(queue.push(flood(number), "flood", 32), Some("flood"));
            }
            assert_eq!(queue.count(|job| *job == "other"), 16);
            let order = drain(&mut queue);
            assert_eq!(
                order[..8].iter().filter(|job| **job == "other").count(),
                4,
                "{order:?}"
            );
        }
    }

    #[test]
    fn c8_the_networks_of_one_customer_have_few_turns() {
        let mut queue = Queue::default();
        for number in 0..32 {
            let ip = format!("2001:db8:1:{number:x}::1");
            queue.push(
                Requester::Network(Network::of(&ip).expect("a network")),
                "flood",
                32,
            );
        }
        assert_eq!(queue.push(network("a"), "a1", 32), Some("flood"));
        let order = drain(&mut queue);
        let place = order.iter().position(|job| *job == "a1");
        assert!(place.is_some_and(|place| place <= 4), "{order:?}");
    }

    #[test]
    fn like_ones_are_taken_in_their_order() {
        let mut queue = Queue::default();
        for (job, name) in [("x1", "a"), ("y1", "b"), ("x2", "c"), ("x3", "d")] {
            assert_eq!(queue.push(network(name), job, 10), None);
        }
        let is_x = |job: &&str| job.starts_with('x');
        assert_eq!(queue.count(is_x), 3);
        assert_eq!(queue.pop_like(2, is_x), ["x1", "x2"]);
        assert_eq!(queue.retain(|job| *job != "y1"), 1);
        assert_eq!((queue.len(), drain(&mut queue)), (1, vec!["x3"]));
    }

    proptest! {
        /// Whatever comes and goes: `accepts` says what `push` does, nothing is lost, no more wait than there may, and a
        /// class never loses a job to the other one while it has no more than half.
        #[test]
        fn a1_room_is_exact_and_half_is_safe(
            steps in prop::collection::vec((0_u8..8, 0_u8..6), 1..200),
            capacity in 0_usize..12,
        ) {
            let mut queue = Queue::default();
            let (mut pushed, mut gone) = (0, 0);
            for (kind, who) in steps {
                if kind >= 6 {
                    gone += usize::from(queue.pop().is_some());
                    continue;
                }
                let requester = if kind % 2 == 0 { known(i64::from(who)) } else {
                    Requester::Network(Network::of(&format!("2001:db8:{who}:1::1")).expect("a network"))
                };
                let accepts = queue.accepts(requester, capacity);
                let other = queue.line(Class::of(requester).other()).waiting.len();
                pushed += 1;
                let refused = queue.push(requester, pushed, capacity);
                prop_assert_eq!(accepts, refused != Some(pushed));
                gone += usize::from(refused.is_some());
                let other_after = queue.line(Class::of(requester).other()).waiting.len();
                prop_assert!(other_after == other || 2 * other > capacity);
                prop_assert!(queue.len() <= capacity);
                prop_assert_eq!(queue.len() + gone, pushed);
            }
        }
    }
}
