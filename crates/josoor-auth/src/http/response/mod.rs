//! What a handler answers: representations, exports and problem documents.

pub mod codes;
pub mod document;
pub mod export;
pub mod passkey;
pub mod problem;
pub mod qr;
pub mod representation;
pub mod signed_in;
