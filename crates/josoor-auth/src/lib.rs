//! JOSOOR Auth: authentication and user management in one binary.
//!
//! What the binary uses, and programs that embed the service: [`Config`], [`Clock`], [`App`], [`http`], [`worker`] and [`cli`].
//! The other modules are public for the tests and measurements of this repository only: they may change in any release.
//!
//! The map of this crate is `docs/ARCHITECTURE.md`. In short, arrows point down only:
//! `cli`, `http` and `worker` call the use cases (`account`, `admin`, `auth`, `sessions`, `audit`, `import_export`, `backup`);
//! these know neither HTTP nor SQL and stand on `store`, `redis`, `cache`, `hasher`, `keys`, `limits`, `passwords` and
//! `mail`, each of which hides one technology; everything stands on `domain`, `error` and `config`.

#[doc(hidden)]
pub mod account;
#[doc(hidden)]
pub mod act;
#[doc(hidden)]
pub mod admin;
#[doc(hidden)]
pub mod app;
#[cfg(test)]
mod arrows;
#[doc(hidden)]
pub mod audit;
#[doc(hidden)]
pub mod auth;
#[doc(hidden)]
pub mod backup;
#[doc(hidden)]
pub mod cache;
pub mod cli;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod crypto;
#[cfg(test)]
mod documents;
#[doc(hidden)]
pub mod domain;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod hasher;
pub mod http;
#[doc(hidden)]
pub mod import_export;
#[doc(hidden)]
pub mod keys;
#[doc(hidden)]
pub mod limits;
#[doc(hidden)]
pub mod mail;
#[doc(hidden)]
pub mod passwords;
#[doc(hidden)]
pub mod redis;
#[doc(hidden)]
pub mod sessions;
#[cfg(test)]
mod sources;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod telemetry;
pub mod worker;

#[doc(inline)]
pub use app::App;
#[doc(inline)]
pub use clock::Clock;
#[doc(inline)]
pub use config::Config;
