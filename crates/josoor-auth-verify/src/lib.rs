//! Access-token and live-session checks for services behind JOSOOR Auth.

mod claims;
mod json;
mod refusal;
mod role;
mod token;

pub use claims::{ACCESS_TOKEN_TYP, AccessType, Claims};
pub use refusal::Refusal;
pub use role::{Role, UnknownRole};
pub use token::{
    Algorithm, KeyError, MAX_TOKEN_BYTES, MIN_SECRET_BYTES, TokenVerifier, UnknownAlgorithm, VerificationKey,
    bearer_token,
};
