//! Who somebody is: verified before a session is opened.
//!
//! A sign-in is a [`flow`]; between its factors it is [`pending`]. Each factor has a module of its own that verifies it and alone
//! issues its `Proof`: [`password`], and those in [`factors`]. `Flow::finish` asks the policy whether the proofs are enough and alone issues `Authenticated`, without which
//! `sessions::open` opens no session.

pub mod caller;
mod confirm_code;
pub mod devices;
pub mod factors;
pub mod failures;
pub mod flow;
pub mod mail_code;
pub mod password;
pub mod pending;
pub mod proof;
pub mod step_up;
pub mod step_up_code;
