//! Who is next: everybody who asks has one turn, then everybody the next one.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996) with jobs of equal size: a job's turn comes after those that
//! its asker has waiting already, and the round is that of the job that was taken last. Users who have proved to be
//! known go before networks, which anybody can speak from; their number of sign-ins is limited elsewhere.

use std::collections::VecDeque;

use crate::types::UserId;

/// On whose behalf a password is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A user who is signed in, or sits at a known device of theirs; or an operator.
    Known(UserId),
    /// Anybody, by the network that the request came from.
    Network(String),
}

/// When a job's turn is; the lower one first.
type Turn = (bool, u64);

struct Entry<T> {
    asker: Asker,
    turn: Turn,
    job: T,
}

/// Jobs in the order of their turns.
pub(super) struct Queue<T> {
    waiting: VecDeque<Entry<T>>,
    round: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            round: 0,
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the turn of this asker's next job would be.
    fn turn(&self, asker: &Asker) -> Turn {
        let of_the_same = self.waiting.iter().rev().find(|entry| entry.asker == *asker);
        let round = of_the_same.map_or(self.round, |entry| entry.turn.1 + 1);
        (matches!(asker, Asker::Network(_)), round)
    }

    /// Whether [`push`](Self::push) would take in this asker's next job.
    pub(super) fn has_room(&self, asker: &Asker, capacity: usize) -> bool {
        self.waiting.len() < capacity
            || self
                .waiting
                .back()
                .is_some_and(|last| self.turn(asker) < last.turn)
    }

    /// Takes a job in. What does not find room in `capacity` comes back: the job whose turn is the last.
    pub(super) fn push(&mut self, asker: Asker, job: T, capacity: usize) -> Option<T> {
        let turn = self.turn(&asker);
        let place = self.waiting.partition_point(|entry| entry.turn <= turn);
        self.waiting.insert(place, Entry { asker, turn, job });
        if self.waiting.len() > capacity {
            return self.waiting.pop_back().map(|entry| entry.job);
        }
        None
    }

    /// The job whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let entry = self.waiting.pop_front()?;
        self.round = self.round.max(entry.turn.1);
        Some(entry.job)
    }

    /// Those next in turn that are `like` it, `most` at the most; the others keep their places.
    pub(super) fn pop_like(&mut self, most: usize, like: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        let mut at = 0;
        while at < self.waiting.len() && taken.len() < most {
            if like(&self.waiting[at].job) {
                taken.extend(self.waiting.remove(at).map(|entry| entry.job));
            } else {
                at += 1;
            }
        }
        taken
    }

    /// How many are `like` it.
    pub(super) fn count(&self, like: impl Fn(&T) -> bool) -> usize {
        self.waiting.iter().filter(|entry| like(&entry.job)).count()
    }

    /// Drops the jobs that are not `wanted` any more. How many there were.
    pub(super) fn retain(&mut self, wanted: impl Fn(&T) -> bool) -> u64 {
        let before = self.waiting.len();
        self.waiting.retain(|entry| wanted(&entry.job));
        (before - self.waiting.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str) -> Asker {
        Asker::Network(name.to_owned())
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
    fn who_is_known_goes_first_and_takes_turns_too() {
        let mut queue = Queue::default();
        for job in ["a1", "a2"] {
            assert_eq!(queue.push(network("a"), job, 10), None);
        }
        assert_eq!(queue.push(Asker::Known(UserId(7)), "u1", 10), None);
        assert_eq!(queue.push(Asker::Known(UserId(7)), "u2", 10), None);
        assert_eq!(queue.push(Asker::Known(UserId(8)), "v1", 10), None);
        assert_eq!(drain(&mut queue), ["u1", "v1", "u2", "a1", "a2"]);
    }

    #[test]
    fn a_full_queue_gives_up_what_would_come_last() {
        let mut queue = Queue::default();
        for job in ["a1", "a2", "a3"] {
            assert_eq!(queue.push(network("a"), job, 3), None);
        }
        let mut push = |asker: Asker, job| {
            let has_room = queue.has_room(&asker, 3);
            let refused = queue.push(asker, job, 3);
            assert_eq!(has_room, refused != Some(job), "{job}");
            refused
        };
        assert_eq!(push(network("a"), "a4"), Some("a4"));
        assert_eq!(push(network("b"), "b1"), Some("a3"));
        assert_eq!(push(Asker::Known(UserId(1)), "u1"), Some("a2"));
        assert_eq!(push(network("c"), "c1"), Some("c1"));
        assert_eq!(drain(&mut queue), ["u1", "a1", "b1"]);
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
}
