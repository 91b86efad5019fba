//! The integration tests: one binary, so that everything in it shares one PostgreSQL and one Redis.

mod support;

mod account;
mod activity;
#[expect(
    clippy::unwrap_used,
    clippy::large_futures,
    clippy::disallowed_methods,
    reason = "one long test, on a thread with a stack of its own; a step that fails ends it"
)]
mod acts;
mod admin;
mod admin_keys;
mod adopt;
mod audit;
mod audit_codes;
mod auth;
mod axes;
mod backups;
mod bare_admins;
mod branding;
mod bulk;
mod check;
mod cli;
mod clocks;
mod connections;
mod console;
mod cookies;
mod devices;
mod disputed_factors;
mod factor_page;
mod failure_limit;
mod failures;
mod health;
mod idle;
mod imports;
mod keys;
mod lifetimes;
mod limits;
mod lists;
mod mail;
mod mail_answers;
mod mail_code;
mod migrations;
mod moved_factors;
mod moving;
mod nodes;
mod openapi;
mod outbox;
mod outbox_api;
mod page_language;
mod pages;
mod parsing;
mod passkeys;
mod policy;
mod problems;
mod recovery;
mod redis_refusals;
mod refresh;
mod remedies;
mod revocation;
mod rolling;
mod search;
mod second_factors;
mod start;
mod startup;
mod store;
mod store_failures;
mod store_start;
mod timing;
mod tokens;
mod undo;
mod upgrade;
mod verification;
mod warnings;
