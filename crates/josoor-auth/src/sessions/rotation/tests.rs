use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{Decision, Generations, Step, decide};
use crate::domain::Timestamp;
use crate::store::SessionRow;

const GRACE: Duration = Duration::from_secs(30);
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn at(secs: u64) -> Timestamp {
    START.plus(Duration::from_secs(secs))
}

fn begun() -> SessionRow {
    SessionRow::begun(START, at(30 * 86_400))
}

/// Presents a generation and takes the step as the database does.
fn present(row: &mut SessionRow, generation: i64, now: Timestamp) -> Decision {
    let decision = decide(&Generations::from(&*row), generation, now, GRACE);
    if let Decision::Rotate(step) = &decision {
        assert!(!step.only_if_unused || row.used_generation < row.generation);
        take(row, step);
    }
    decision
}

/// What `store::Conn::rotate_session` does to the row.
fn take(row: &mut SessionRow, step: &Step) {
    assert_eq!(step.from, row.generation);
    row.generation += 1;
    row.replaced_generation = Some(step.replaced);
    let kept = step.kept.as_ref().unwrap_or(&row.superseded);
    let kept = &kept[kept.len().saturating_sub(360)..];
    row.superseded = format!("{kept},{}", step.added);
}

fn use_access(row: &mut SessionRow, generation: i64) {
    row.used_generation = row.used_generation.max(generation.min(row.generation));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Next,
    Again,
    Ended,
}

impl From<&Decision> for Outcome {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Rotate(_) => Self::Next,
            Decision::RepeatCurrent => Self::Again,
            Decision::Retired | Decision::Reuse => Self::Ended,
        }
    }
}

/// The table of the interface, row by row, with another memory than the code's: everything that ever happened.
struct Reference {
    current: i64,
    predecessor: Option<i64>,
    current_was_used: bool,
    /// Every supersession, oldest first; a generation may come up again.
    history: Vec<(i64, Timestamp)>,
}

impl Reference {
    fn new() -> Self {
        Self {
            current: 1,
            predecessor: None,
            current_was_used: false,
            history: Vec::new(),
        }
    }

    fn supersede(&mut self, generation: i64, now: Timestamp) -> Outcome {
        self.history.push((generation, now));
        self.predecessor = Some(generation);
        self.current += 1;
        self.current_was_used = false;
        Outcome::Next
    }

    fn present(&mut self, generation: i64, now: Timestamp) -> Outcome {
        if generation == self.current {
            return self.supersede(generation, now);
        }
        let latest: HashMap<i64, usize> = self
            .history
            .iter()
            .enumerate()
            .map(|(index, (generation, _))| (*generation, index))
            .collect();
        let mut remembered: Vec<(i64, usize)> = latest.into_iter().collect();
        remembered.sort_by_key(|(_, index)| std::cmp::Reverse(*index));
        let since = remembered
            .iter()
            .take(8)
            .find(|(known, _)| *known == generation)
            .map(|(_, index)| self.history[*index].1);
        if since.is_some_and(|since| now < since.plus(GRACE)) {
            Outcome::Again
        } else if self.predecessor == Some(generation) && !self.current_was_used {
            self.supersede(generation, now)
        } else {
            Outcome::Ended
        }
    }
}

#[test]
fn a_predicted_step_is_the_step_of_the_row() {
    let mut row = begun();
    for round in 1..=60 {
        let now = at(round);
        let generation = row.generation;
        let predicted = decide(&Generations::predicted(generation), generation, now, GRACE);
        assert_eq!(
            predicted,
            decide(&Generations::from(&row), generation, now, GRACE)
        );
        let Decision::Rotate(step) = predicted else {
            panic!("the current generation is rotated");
        };
        take(&mut row, &step);
    }
    assert!(row.superseded.len() <= 400, "{}", row.superseded);
    // A pair that was cut in two is not among the last eight.
    row.generation = i64::MAX / 2;
    for _ in 0..40 {
        let generation = row.generation;
        present(&mut row, generation, at(100));
    }
    assert_eq!(
        present(&mut row, i64::MAX / 2 + 32, at(100)),
        Decision::RepeatCurrent
    );
    for cut in ["9", "99", "999999999"] {
        assert_eq!(
            present(&mut row, cut.parse().expect("a number"), at(100)),
            Decision::Reuse
        );
    }
}

#[test]
fn each_row_of_the_table() {
    let mut row = begun();
    assert_eq!(Outcome::from(&present(&mut row, 1, at(0))), Outcome::Next);
    // Superseded a moment ago, and at the last microsecond of the grace.
    assert_eq!(present(&mut row, 1, at(0)), Decision::RepeatCurrent);
    let last = at(30).minus(Duration::from_micros(1));
    assert_eq!(present(&mut row, 1, last), Decision::RepeatCurrent);
    // From then on it takes the unused generation's place, and its own grace starts again.
    assert_eq!(Outcome::from(&present(&mut row, 1, at(30))), Outcome::Next);
    assert_eq!(row.generation, 3);
    assert_eq!(present(&mut row, 1, at(59)), Decision::RepeatCurrent);
    // The generation that was given up unused was never superseded: it has no grace.
    assert_eq!(present(&mut row, 2, at(31)), Decision::Reuse);
    // Once the current one is used, the one before it is over.
    use_access(&mut row, 3);
    assert_eq!(present(&mut row, 1, at(59)), Decision::RepeatCurrent);
    assert_eq!(present(&mut row, 1, at(60)), Decision::Reuse);
    // A generation that was never issued.
    assert_eq!(present(&mut row, 4, at(60)), Decision::Reuse);
    assert_eq!(present(&mut row, 0, at(60)), Decision::Reuse);
    assert_eq!(present(&mut row, -1, at(60)), Decision::Reuse);
    assert_eq!(present(&mut row, i64::MAX, at(60)), Decision::Reuse);
}

#[test]
fn an_access_token_of_an_older_generation_does_not_use_the_current_one() {
    let mut row = begun();
    present(&mut row, 1, at(0));
    use_access(&mut row, 1);
    assert_eq!(Outcome::from(&present(&mut row, 1, at(30))), Outcome::Next);
}

#[test]
fn eight_superseded_generations_are_remembered() {
    let mut row = begun();
    for generation in 1..=9 {
        present(&mut row, generation, at(0));
    }
    assert_eq!(present(&mut row, 2, at(1)), Decision::RepeatCurrent);
    assert_eq!(present(&mut row, 1, at(1)), Decision::Reuse);
}

#[test]
fn a_memory_that_cannot_be_read_is_none() {
    for text in [
        "x",
        ":",
        "1:",
        ":5",
        "1:2:3",
        ",,,",
        "9223372036854775808:1",
        "1;5",
    ] {
        let mut row = begun();
        present(&mut row, 1, at(0));
        present(&mut row, 2, at(0));
        row.superseded = text.to_owned();
        assert_eq!(present(&mut row, 1, at(0)), Decision::Reuse, "{text}");
    }
}

#[test]
fn a_clock_that_goes_back_ends_nothing() {
    let mut row = begun();
    present(&mut row, 1, at(100));
    use_access(&mut row, 2);
    assert_eq!(present(&mut row, 1, at(40)), Decision::RepeatCurrent);
}

#[derive(Clone, Debug)]
enum Event {
    /// Presents the generation this far behind the current one.
    Present(i64),
    /// An access token of the generation this far behind is accepted.
    Use(i64),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4i64).prop_map(Event::Present),
        1 => (-2..12i64).prop_map(Event::Present),
        2 => (0..3i64).prop_map(Event::Use),
        2 => (0..5u64).prop_map(Event::Wait),
        2 => (25..40u64).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn agrees_with_the_table(events in prop::collection::vec(event(), 1..60)) {
        let (mut row, mut reference) = (begun(), Reference::new());
        let mut now = START;
        for event in events {
            match event {
                Event::Wait(secs) => now = now.plus(Duration::from_secs(secs)),
                Event::Use(behind) => {
                    let generation = row.generation - behind;
                    use_access(&mut row, generation);
                    reference.current_was_used |= behind == 0;
                }
                Event::Present(behind) => {
                    let generation = row.generation - behind;
                    let decision = present(&mut row, generation, now);
                    let expected = reference.present(generation, now);
                    prop_assert_eq!(Outcome::from(&decision), expected);
                    prop_assert_eq!(row.generation, reference.current);
                    // A reuse ends the session; here it goes on, to see more of the table.
                }
            }
        }
    }

    #[test]
    fn a_client_that_always_presents_the_last_token_received_is_never_signed_out(
        steps in prop::collection::vec((0..90u64, any::<bool>(), any::<bool>(), 0..3usize), 1..60),
    ) {
        let mut row = begun();
        let (mut held, mut now) = (1, START);
        for (wait, is_lost, is_used, repeats) in steps {
            now = now.plus(Duration::from_secs(wait));
            // Tabs and retries that send the same token before any answer is back.
            for _ in 0..=repeats {
                prop_assert_ne!(present(&mut row, held, now), Decision::Reuse);
            }
            if !is_lost {
                held = row.generation;
            }
            if is_used {
                use_access(&mut row, held);
            }
        }
    }

    #[test]
    fn an_old_token_whose_successor_was_used_ends_the_session(
        chain in 1..20i64,
        back in 0..20i64,
        wait in 30..100_000u64,
        is_used_by_refresh in any::<bool>(),
    ) {
        let mut row = begun();
        for generation in 1..=chain {
            present(&mut row, generation, at(0));
        }
        let stolen = (chain - back).max(1);
        if is_used_by_refresh {
            present(&mut row, chain + 1, at(0));
        } else {
            let current = row.generation;
            use_access(&mut row, current);
        }
        prop_assert_eq!(present(&mut row, stolen, at(wait)), Decision::Reuse);
    }

    #[test]
    fn what_is_kept_stays_short(steps in prop::collection::vec((0..3i64, 0..40u64), 1..80)) {
        let mut row = begun();
        let mut now = START;
        for (behind, wait) in steps {
            now = now.plus(Duration::from_secs(wait));
            let generation = row.generation - behind;
            present(&mut row, generation, now);
            prop_assert!(row.superseded.len() <= 400);
        }
    }
}

/// The owner of a session and a thief who has copied both tokens of some moment, in every order of what they may do.
///
/// Whatever happened, each path that the owner takes next ends the thief's: by finding him out, or by locking him out.
mod owner_and_thief {
    use super::*;
    use crate::sessions::rotation::may_renew;
    use josoor_auth_verify::is_retired;

    const MAX: Duration = Duration::from_hours(7 * 24);

    /// The generations of the last tokens that a party holds.
    #[derive(Clone, Copy, Debug)]
    struct Party {
        refresh: i64,
        access: i64,
    }

    #[derive(Clone)]
    struct World {
        row: SessionRow,
        has_ended: bool,
        was_found_out: bool,
        now: Timestamp,
        owner: Party,
        thief: Party,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Who {
        Owner,
        Thief,
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Refresh(Who),
        Use(Who),
        Renew(Who),
        WaitInGrace,
        WaitPastGrace,
    }

    const ACTS: [Act; 8] = [
        Act::Refresh(Who::Owner),
        Act::Refresh(Who::Thief),
        Act::Use(Who::Owner),
        Act::Use(Who::Thief),
        Act::Renew(Who::Owner),
        Act::Renew(Who::Thief),
        Act::WaitInGrace,
        Act::WaitPastGrace,
    ];

    impl World {
        /// Stolen in generation 1 or 2 of the session.
        fn new(rotations: i64) -> Self {
            let mut row = begun();
            for generation in 1..=rotations {
                present(&mut row, generation, at(0));
            }
            let party = Party {
                refresh: row.generation,
                access: row.generation,
            };
            Self {
                row,
                has_ended: false,
                was_found_out: false,
                now: at(3600),
                owner: party,
                thief: party,
            }
        }

        fn party(&mut self, who: Who) -> &mut Party {
            match who {
                Who::Owner => &mut self.owner,
                Who::Thief => &mut self.thief,
            }
        }

        fn accepts(&self, access: i64) -> bool {
            !self.has_ended && !is_retired(access, self.row.retired_generation)
        }

        fn refresh(&mut self, who: Who) -> bool {
            if self.has_ended {
                return false;
            }
            let (presented, now) = (self.party(who).refresh, self.now);
            match present(&mut self.row, presented, now) {
                Decision::Rotate(_) | Decision::RepeatCurrent => {
                    let generation = self.row.generation;
                    *self.party(who) = Party {
                        refresh: generation,
                        access: generation,
                    };
                    true
                }
                Decision::Retired => false,
                Decision::Reuse => {
                    self.has_ended = true;
                    self.was_found_out = true;
                    false
                }
            }
        }

        fn use_access(&mut self, who: Who) -> bool {
            let access = self.party(who).access;
            let accepted = self.accepts(access);
            if accepted {
                use_access(&mut self.row, access);
            }
            accepted
        }

        fn renew(&mut self, who: Who) -> bool {
            let access = self.party(who).access;
            let renewed = self.accepts(access) && may_renew(&self.row, access, self.now, MAX);
            if renewed {
                use_access(&mut self.row, access);
            }
            renewed
        }

        fn act(&mut self, act: Act) {
            match act {
                Act::Refresh(who) => drop(self.refresh(who)),
                Act::Use(who) => drop(self.use_access(who)),
                Act::Renew(who) => drop(self.renew(who)),
                Act::WaitInGrace => self.now = self.now.plus(GRACE / 3),
                Act::WaitPastGrace => self.now = self.now.plus(GRACE),
            }
        }

        /// What `change_password` and `retire_generations` do. Whether the owner could.
        fn change_password(&mut self) -> bool {
            if !self.use_access(Who::Owner) {
                return false;
            }
            self.row.retired_generation = self.row.generation;
            self.row.generation += 1;
            self.row.retirements += 1;
            self.row.replaced_generation = None;
            self.row.superseded.clear();
            self.owner = Party {
                refresh: self.row.generation,
                access: self.row.generation,
            };
            true
        }

        /// What `revoke_session_by_token` does.
        fn sign_out(&mut self, who: Who) {
            let presented = self.party(who).refresh;
            self.has_ended |= self.row.retired_generation < presented;
        }

        fn thief_is_out(&self) -> bool {
            let mut world = self.clone();
            !world.use_access(Who::Thief) && !world.renew(Who::Thief) && !world.refresh(Who::Thief)
        }
    }

    /// The owner signs out, changes the password, or just goes on.
    fn every_path_ends_the_thiefs(world: &World, acts: &[Act]) {
        let mut signed_out = world.clone();
        signed_out.sign_out(Who::Owner);
        assert!(signed_out.thief_is_out(), "signing out after {acts:?}");

        let mut changed = world.clone();
        if changed.change_password() {
            assert!(changed.thief_is_out(), "a change of the password after {acts:?}");
            // And what the thief tries then does not hurt the owner.
            changed.refresh(Who::Thief);
            changed.sign_out(Who::Thief);
            assert!(
                changed.use_access(Who::Owner) && changed.refresh(Who::Owner),
                "{acts:?}"
            );
        }

        let mut goes_on = world.clone();
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds <= 3, "the thief stays in after {acts:?}");
            if !goes_on.refresh(Who::Owner) {
                // The owner is signed out with the reason, and so is the thief.
                assert!(goes_on.was_found_out && goes_on.thief_is_out(), "{acts:?}");
                break;
            }
            goes_on.use_access(Who::Owner);
            assert!(
                !goes_on.renew(Who::Thief),
                "renewed beside the owner after {acts:?}"
            );
            goes_on.now = goes_on.now.plus(GRACE);
            if !goes_on.refresh(Who::Thief) {
                assert!(goes_on.was_found_out && goes_on.thief_is_out(), "{acts:?}");
                break;
            }
            goes_on.now = goes_on.now.plus(GRACE);
        }
    }

    /// How many orders were looked through.
    fn explore(world: &World, acts: &mut Vec<Act>, left: usize) -> usize {
        every_path_ends_the_thiefs(world, acts);
        if left == 0 {
            return 1;
        }
        let mut count = 1;
        for act in ACTS {
            let mut next = world.clone();
            next.act(act);
            acts.push(act);
            count += explore(&next, acts, left - 1);
            acts.pop();
        }
        count
    }

    #[test]
    fn a4_every_path_of_the_owner_ends_the_thiefs() {
        let mut count = 0;
        for rotations in [0, 1] {
            count += explore(&World::new(rotations), &mut Vec::new(), 5);
        }
        assert_eq!(count, 2 * (1 + 8 + 64 + 512 + 4096 + 32_768));
    }

    /// Without a refresh by the owner only the contract's bounds help: the renewals end.
    #[test]
    fn a4_renewals_by_bearer_end_with_the_first_refresh_and_with_their_time() {
        let mut world = World::new(0);
        assert!(world.renew(Who::Thief) && world.renew(Who::Owner));
        let mut refreshed = world.clone();
        assert!(refreshed.refresh(Who::Thief));
        assert!(
            !refreshed.renew(Who::Owner),
            "the owner sees that something is wrong"
        );
        assert!(!refreshed.renew(Who::Thief));
        let mut changed = world.clone();
        assert!(changed.change_password());
        assert!(!changed.renew(Who::Thief) && changed.renew(Who::Owner));
        world.now = START.plus(MAX);
        assert!(!world.renew(Who::Thief) && !world.renew(Who::Owner));
        let mut by_cookie = World::new(0);
        by_cookie.row.transport = crate::store::Transport::Cookie;
        assert!(!by_cookie.renew(Who::Owner));
    }
}
