//! The integration tests: one binary, so that everything in it shares one PostgreSQL and one Redis.

#![expect(
    clippy::allow_attributes,
    reason = "the macro `on_both!` cannot know which imports a test needs"
)]

mod support;

mod auth;
mod hot;
mod openapi;
mod refresh;
mod timing;
