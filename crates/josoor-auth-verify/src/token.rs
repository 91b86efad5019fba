//! Verification of access tokens.
