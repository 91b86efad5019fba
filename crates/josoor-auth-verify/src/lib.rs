//! Access-token and live-session checks for services behind JOSOOR Auth.

mod claims;
mod refusal;
mod role;
mod token;

pub use claims::{ACCESS_TOKEN_TYP, AccessType, Claims};
pub use refusal::Refusal;
pub use role::{Role, UnknownRole};
