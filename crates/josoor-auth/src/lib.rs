//! JOSOOR Auth: authentication and user management in one binary.
//!
//! The map of this crate is `docs/ARCHITECTURE.md`. In short, arrows point down only:
//! `cli` and `http` call the use cases (`accounts`, `sessions`, `users`, `jobs`); these know neither HTTP nor SQL and
//! stand on `store`, `kv`, `hasher` and `keys`, each of which hides one technology; everything stands on `types`,
//! `error` and `config`.

pub mod clock;
pub mod config;
pub mod crypto;
pub mod error;
pub mod hasher;
pub mod http;
pub mod keys;
pub mod kv;
pub mod store;
pub mod telemetry;
pub mod types;
