//! `[session]` and `[account]`: lifetimes.

use std::time::Duration;

use josoor_auth_verify::Role;

use super::raw::{Parsed, refused, shown};
use super::reader::Reader;
use super::values::{self, SECOND, TEN_MINUTES, TEN_YEARS};
use super::variables::variable_of;

/// `[session]`
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// A session ends this long after its last use, a request or a refresh; never more than `absolute`.
    pub idle: Duration,
    /// A session ends this long after the sign-in.
    pub absolute: Duration,
    /// How long a superseded refresh token still gets the current one; may be zero.
    pub refresh_grace: Duration,
    /// How many live sessions an account has at most.
    pub max_per_user: u32,
    /// Shorter idle times for some.
    pub idle_by: LifetimesBy,
    /// Shorter lives for some, from the last verification of the user on.
    pub absolute_by: LifetimesBy,
}

/// Whom a lifetime is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Role(Role),
    /// The level of a session's verification: 1 or 2.
    Level(u8),
}

impl Holder {
    const ALL: [Self; 5] = [
        Self::Role(Role::User),
        Self::Role(Role::Analyst),
        Self::Role(Role::Admin),
        Self::Level(1),
        Self::Level(2),
    ];

    fn parse(name: &str) -> Option<Self> {
        match name {
            "acr1" => Some(Self::Level(1)),
            "acr2" => Some(Self::Level(2)),
            role => role.parse().ok().map(Self::Role),
        }
    }
}

/// Lifetimes of the sessions of roles, and of sessions of a level (`acr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifetimesBy([Option<Duration>; Holder::ALL.len()]);

impl LifetimesBy {
    /// The shortest that holds for a session of a user with this role, which was verified on this level.
    pub fn of(&self, role: Role, level: u8) -> Option<Duration> {
        let holds = |holder: &Holder| *holder == Holder::Role(role) || *holder == Holder::Level(level);
        let all = Holder::ALL.iter().zip(self.0);
        all.filter_map(|(holder, life)| life.filter(|_| holds(holder)))
            .min()
    }

    fn shortest(&self) -> Option<Duration> {
        self.0.into_iter().flatten().min()
    }

    fn new(given: Vec<(Holder, Duration)>) -> Self {
        let mut all = Self::default();
        for (holder, life) in given {
            for (slot, known) in all.0.iter_mut().zip(Holder::ALL) {
                if known == holder {
                    *slot = Some(slot.map_or(life, |before| before.min(life)));
                }
            }
        }
        all
    }
}

/// `admin=1h`
fn lifetime(item: &str) -> Parsed<(Holder, Duration)> {
    const REMEDY: &str = "write NAME=TIME, such as admin=1h or acr2=12h: a role (user, analyst, admin), acr1 or acr2, and 1m to 3650d";
    let read = item.split_once('=').and_then(|(name, life)| {
        let life = values::duration_of(life.trim()).ok()?;
        let is_in_range = (MINUTE..=TEN_YEARS).contains(&life);
        Holder::parse(name.trim())
            .filter(|_| is_in_range)
            .map(|holder| (holder, life))
    });
    read.map_or_else(
        || refused(format!("{:?} is no lifetime", shown(item)), REMEDY),
        Ok,
    )
}

/// The shortest lifetime that may be set for some.
const MINUTE: Duration = Duration::from_mins(1);

impl SessionConfig {
    /// How long a use of a session counts as noted before the next one is written down; by so much may the idle end be early.
    pub fn note_every(&self) -> Duration {
        let idle = self
            .idle_by
            .shortest()
            .map_or(self.idle, |idle| idle.min(self.idle));
        (idle / 60).clamp(Duration::from_millis(100), Duration::from_secs(15))
    }

    /// Whether a lifetime depends on the role or the level.
    pub fn has_lifetimes_by(&self) -> bool {
        self.idle_by != LifetimesBy::default() || self.absolute_by != LifetimesBy::default()
    }
}

/// `[account]`
#[derive(Clone, Copy, Debug)]
pub struct AccountConfig {
    /// How long a deleted account can be restored; zero: not at all.
    pub deletion_grace: Duration,
}

impl Reader<'_> {
    pub(super) fn session(&mut self) -> Option<SessionConfig> {
        let idle = self.duration("session.idle", SECOND, TEN_YEARS);
        let absolute = self.duration("session.absolute", SECOND, TEN_YEARS);
        let refresh_grace = self.duration("session.refresh_grace", Duration::ZERO, TEN_MINUTES);
        let max_per_user = self.read("session.max_per_user", |raw| values::whole(raw, 1..=100_000));
        let idle_by = self.read("session.idle_by", |raw| values::list(raw, lifetime));
        let absolute_by = self.read("session.absolute_by", |raw| values::list(raw, lifetime));
        let (idle, absolute) = (idle?, absolute?);
        if idle > absolute {
            self.problem(
                "session.idle",
                format!(
                    "{} is more than session.absolute, which is {}",
                    values::spoken(idle),
                    values::spoken(absolute)
                ),
                format!("lower this one or raise {}", variable_of("session.absolute")),
            );
            return None;
        }
        Some(SessionConfig {
            idle,
            absolute,
            refresh_grace: refresh_grace?,
            max_per_user: max_per_user?,
            idle_by: LifetimesBy::new(idle_by?),
            absolute_by: LifetimesBy::new(absolute_by?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_lifetime_that_holds_counts() {
        let read = |items: &[&str]| {
            let all: Parsed<Vec<_>> = items.iter().map(|item| lifetime(item)).collect();
            all.map(LifetimesBy::new)
        };
        let by = read(&["admin=1h", "acr2=30m", "acr1=12h", "admin=2h"])
            .ok()
            .expect("lifetimes");
        let minutes = |role, level| by.of(role, level).map(|life| life.as_secs() / 60);
        assert_eq!(minutes(Role::Admin, 1), Some(60));
        assert_eq!(minutes(Role::Admin, 2), Some(30));
        assert_eq!(minutes(Role::User, 1), Some(12 * 60));
        assert_eq!(by.shortest(), Some(Duration::from_mins(30)));
        assert_eq!(LifetimesBy::default().of(Role::User, 1), None);
        for wrong in [
            "admin",
            "admin=",
            "root=1h",
            "acr3=1h",
            "admin=1",
            "admin=1s",
            "admin=9999d",
        ] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
    }
}
