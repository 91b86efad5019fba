//! Connections, and the layers around every route.

mod accept;
mod activity;
mod capacity;
mod connection;
pub mod drain_body;
pub mod headers;
pub mod host;
mod options;
pub mod service;
pub mod settings;
pub mod stack;

#[cfg(feature = "internals")]
pub use accept::Drained;
pub use accept::serve;
pub use options::ServeOptions;
