//! The table `sessions`.

mod open;
mod revocation;
mod rotation;
pub(super) mod session;

pub use open::{LiveSince, SessionPage};
pub use rotation::{Rotation, Touch};
pub use session::{NewSession, SessionRow, Transport};
