//! Connections, and the layers around every route.

pub mod front;
pub mod headers;
pub mod serve;
pub mod settings;
pub mod stack;
pub mod unread;
