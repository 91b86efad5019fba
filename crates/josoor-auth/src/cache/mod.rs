//! Cached copies of sessions and users: what an authenticated request reads instead of the database.
//!
//! Three tiers, each a copy of the one below: the **local cache** of this node, the shared copies in **Redis** (where there
//! is one), and the **database**, which is the truth. A revocation wins against every copy, whatever fails and in whatever
//! order things arrive:
//!
//! * A revoked session stays revoked. Its tombstone replaces any copy and is replaced by none, in Redis by the script that
//!   writes copies; the local cache rejects a fill if a message about its key arrived since the fill began.
//! * A user's copies carry the user's version; a lower one never replaces a higher one.
//! * A session's copies name its retired generations, and a lower number never replaces a higher one, whatever their
//!   versions are. A copy without that number is not used: nodes of the release before write such copies.
//! * The local cache is used only while this node is subscribed to Redis, and no entry for longer than `cache.near_ttl`.
//!   Revocations that it holds always count.
//! * The copies in Redis are used only while every write has succeeded and the connection has not been lost since. After
//!   that the **tail** first re-applies the table `changes` from the moment up to which Redis is known to be complete (a
//!   watermark that lives in Redis itself, so that a failover or an old snapshot takes it back along with the rest).
//! * The tail also re-reads the last moments of `changes` every second. That covers a crash between commit and
//!   publication, and another process, such as the command line, that works on the same database.

pub mod audit_watch;
mod copies;
mod effects;
mod ends;
mod health;
mod lookup;
mod session_cache;
mod shared;
pub mod stats;
mod tail;
mod touches;

pub use self::copies::{UserCopy, user_copies_until};
pub use self::effects::Effects;
pub use self::ends::{ended, ends_at, live_since};
pub use self::session_cache::SessionCache;
pub use self::tail::{TailMemory, tail_every};
