//! stub

pub mod extract;
pub mod headers;
pub mod measure;
pub mod problem;
pub mod request_id;
pub mod serve;
pub mod settings;
