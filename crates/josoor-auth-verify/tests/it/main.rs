//! What the crate promises to services that use it. The numbers `t46` to `t57` are cases that come from published
//! flaws of other libraries and servers.

#![cfg(all(feature = "axum", feature = "check", feature = "redis"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod layer;
mod redis;
mod service;
mod support;
mod token;
