//! The integration tests: one binary, so that everything in it shares one PostgreSQL and one Redis.

mod support;

mod auth;
mod openapi;
mod refresh;
