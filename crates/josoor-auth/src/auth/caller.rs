//! The user behind a request with an access token.

use std::sync::Arc;

use josoor_auth_verify::Claims;

use crate::cache::UserCopy;
use crate::domain::{SessionId, UserId};
use crate::error::Acr;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user, as of now.
    pub user: Arc<UserCopy>,
    /// The session of the access token.
    pub session: SessionId,
    /// When the user was last verified interactively, in seconds since 1970, as the token says; `None` in a token of an earlier
    /// release.
    pub auth_time: Option<i64>,
    /// How strongly the user was verified: what the token says, as far as the account's present factors bear it out.
    pub acr: Acr,
}

impl Caller {
    /// The caller with a verified token, whose user is as of now.
    pub fn new(claims: &Claims, user: Arc<UserCopy>) -> Self {
        // Two factors of an account that has had none since are one.
        let acr = match claims.acr_given(user.factor_since) {
            2 => Acr::Two,
            _ => Acr::One,
        };
        Self {
            user,
            session: SessionId(claims.sid),
            auth_time: claims.auth_time,
            acr,
        }
    }

    /// The user's id.
    pub fn id(&self) -> UserId {
        UserId(self.user.id)
    }
}
