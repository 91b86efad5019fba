//! stub

pub mod extract;
pub mod problem;
pub mod request_id;
pub mod settings;
