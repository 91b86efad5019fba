//! JOSOOR Auth: authentication and user management in one binary.
//!
//! The library is the program: [`run`] is all that it shows. Programs that want tokens and sessions verified use the crate
//! `josoor-auth-verify`. With the feature `internals` the modules are public, for the tests, benches and fuzz targets of this
//! repository; they may change in any release.
//!
//! The map of this crate is `docs/ARCHITECTURE.md`. In short, arrows point down only:
//! `cli`, `http` and `worker` call the use cases (`account`, `admin`, `auth`, `sessions`, `audit`, `import_export`, `backup`);
//! these know neither HTTP nor SQL and stand on `store`, `redis`, `cache`, `hasher`, `keys`, `limits`, `passwords` and
//! `mail`, each of which hides one technology; everything stands on `domain`, `error` and `config`.

#![cfg_attr(
    not(feature = "internals"),
    expect(unreachable_pub, reason = "an item is as public as its module")
)]

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod sources;

// Each list has every module. `cargo fmt` finds modules within this macro, and within no other.
cfg_if::cfg_if! {
    if #[cfg(feature = "internals")] {
        #[doc(hidden)]
        pub mod account;
        #[doc(hidden)]
        pub mod act;
        #[doc(hidden)]
        pub mod admin;
        #[doc(hidden)]
        pub mod app;
        #[doc(hidden)]
        pub mod audit;
        #[doc(hidden)]
        pub mod auth;
        #[doc(hidden)]
        pub mod backup;
        #[doc(hidden)]
        pub mod cache;
        #[doc(hidden)]
        pub mod cli;
        #[doc(hidden)]
        pub mod clock;
        #[doc(hidden)]
        pub mod config;
        #[doc(hidden)]
        pub mod crypto;
        #[doc(hidden)]
        pub mod domain;
        #[doc(hidden)]
        pub mod error;
        #[doc(hidden)]
        pub mod hasher;
        #[doc(hidden)]
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
        #[doc(hidden)]
        pub mod store;
        #[doc(hidden)]
        pub mod telemetry;
        #[doc(hidden)]
        pub mod worker;
    } else {
        mod account;
        mod act;
        mod admin;
        mod app;
        mod audit;
        mod auth;
        mod backup;
        mod cache;
        mod cli;
        mod clock;
        mod config;
        mod crypto;
        mod domain;
        mod error;
        mod hasher;
        mod http;
        mod import_export;
        mod keys;
        mod limits;
        mod mail;
        mod passwords;
        mod redis;
        mod sessions;
        mod store;
        mod telemetry;
        mod worker;
    }
}

pub use cli::run;
