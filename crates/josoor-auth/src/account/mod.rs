//! What a person does to the account of their own: registering, recovering it, undoing a change, deleting it.

pub mod links;
pub(crate) mod notices;
pub mod recovery;
pub mod register;
pub mod secure;
pub mod undo;
