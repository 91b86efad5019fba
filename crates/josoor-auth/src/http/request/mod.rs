//! What a handler reads: bodies, parameters, cookies, the client and the caller.

pub mod accept;
pub mod body;
pub mod caller;
pub mod client_address;
pub mod client_info;
pub mod context;
pub mod cookies;
pub mod definition;
pub mod field_types;
pub mod fields;
pub mod language;
pub mod page;
pub mod passkey_fields;
pub mod path;
pub mod session_token;
pub mod transport;
pub mod user_agent;
