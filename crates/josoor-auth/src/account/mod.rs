//! One's own account: registering, the profile, the password, the address, deleting, and taking back what somebody else did.

pub mod activity;
pub mod deletion;
pub mod email;
pub mod export;
pub mod factors;
pub mod links;
pub mod mail_code;
pub mod passkeys;
pub mod password;
mod past;
pub mod profile;
pub mod register;
pub mod requests;
pub mod secure;
pub mod setup;
pub mod undo;
pub mod verification;

pub use past::{Shown, WINDOW};
