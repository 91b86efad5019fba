//! What the integration tests stand on.

pub(crate) mod acceptance;
pub(crate) mod authenticator;
pub(crate) mod browser;
pub(crate) mod command;
pub(crate) mod database;
pub(crate) mod disk;
pub(crate) mod mailbox;
pub(crate) mod pgbouncer;
pub(crate) mod process;
pub(crate) mod raw;
#[expect(dead_code, reason = "the tests of `kv` use the rest")]
pub(crate) mod redis;
pub(crate) mod requests;
pub(crate) mod server;
pub(crate) mod services;
pub(crate) mod smtp;
pub(crate) mod token;
pub(crate) mod totp;
pub(crate) mod wire;
