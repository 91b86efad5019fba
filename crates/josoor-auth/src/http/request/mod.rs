//! What a handler reads: bodies, parameters, cookies, the client and the caller.

pub mod caller;
pub mod cookies;
pub mod extract;
pub mod language;
pub mod limited;
pub mod passage;
