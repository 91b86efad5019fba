//! What a handler answers: representations, exports and problem documents.

pub mod export;
pub mod problem;
pub mod representation;
