//! stub

pub mod docs;
pub mod extract;
pub mod headers;
pub mod measure;
pub mod pages;
pub mod problem;
pub mod request_id;
pub mod serve;
pub mod settings;
pub mod stack;
