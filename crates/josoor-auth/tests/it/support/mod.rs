//! What the integration tests stand on.

pub(crate) mod process;
pub(crate) mod services;
