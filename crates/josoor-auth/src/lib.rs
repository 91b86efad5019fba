//! JOSOOR Auth: authentication and user management in one binary.
//!
//! The map of this crate is `docs/ARCHITECTURE.md`. In short, arrows point down only:
//! `cli`, `http` and `worker` call the use cases (`account`, `admin`, `auth`, `sessions`, `audit`, `import_export`);
//! these know neither HTTP nor SQL and stand on `store`, `redis`, `cache`, `hasher`, `keys`, `limits`, `passwords` and
//! `mail`, each of which hides one technology; everything stands on `domain`, `error` and `config`.

pub mod account;
pub mod act;
pub mod admin;
pub mod app;
#[cfg(test)]
mod arrows;
pub mod audit;
pub mod auth;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
#[cfg(test)]
mod documents;
pub mod domain;
pub mod error;
pub mod hasher;
pub mod http;
pub mod import_export;
pub mod keys;
pub mod limits;
pub mod mail;
pub mod passwords;
pub mod redis;
pub mod sessions;
pub mod store;
pub mod telemetry;
pub mod worker;
