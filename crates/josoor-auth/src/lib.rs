//! JOSOOR Auth: authentication and user management in one binary.
//!
//! The map of this crate is `docs/ARCHITECTURE.md`. In short, arrows point down only:
//! `cli` and `http` call the use cases (`accounts`, `sessions`, `users`, `recovery`, `outbox`, `audit`, `moving`, `jobs`);
//! these know neither HTTP nor SQL and stand on `store`, `kv`, `hot`, `hasher`, `keys`, `limits`, `passwords` and `mail`, each of which
//! hides one technology; everything stands on `types`, `error` and `config`.

pub mod accounts;
pub mod app;
#[cfg(test)]
mod arrows;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod devices;
pub mod error;
pub mod hasher;
pub mod hot;
pub mod http;
pub mod jobs;
pub mod keys;
pub mod kv;
pub mod limits;
pub mod links;
pub mod mail;
pub mod moving;
pub mod outbox;
pub mod passwords;
pub mod recovery;
pub mod rotation;
pub mod securing;
pub mod sessions;
pub mod stats;
pub mod store;
pub mod telemetry;
pub mod types;
pub mod undo;
pub mod users;
