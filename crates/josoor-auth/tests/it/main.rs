//! The integration tests: one binary, so that everything in it shares one PostgreSQL and one Redis.

#![expect(
    clippy::allow_attributes,
    reason = "the macro `on_both!` cannot know which imports a test needs"
)]

mod support;

mod account;
mod admin;
mod auth;
mod check;
mod cli;
mod cookies;
mod failures;
mod hot;
mod migrations;
mod nodes;
mod problems;
mod refresh;
mod revocation;
mod startup;
mod store;
mod timing;
