//! The ids in a request's path.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use uuid::Uuid;

use crate::domain::{SessionId, UserId};
use crate::error::Error;
use crate::http::response::codes;
use crate::http::response::problem::Problem;

/// The text of the path's `{id}`. A path that does not decode is `bad_request`.
async fn path_id<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::new(&codes::BAD_REQUEST, "The path is not percent-encoded UTF-8."))?;
    parameters
        .iter()
        .find(|(name, _)| *name == "id")
        .map(|(_, value)| value.to_owned())
        .ok_or_else(|| Error::NotFound.into())
}

/// A user's id in the path's `{id}`: a positive decimal number as it is printed, or 404.
#[derive(Clone, Copy, Debug)]
pub struct UserIdPath(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for UserIdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_id(parts, state).await?;
        parse_user_id(&text)
            .map(Self)
            .ok_or_else(|| Error::NotFound.into())
    }
}

fn parse_user_id(text: &str) -> Option<UserId> {
    // One spelling per id, so that no cache, log or gateway rule sees the same user under two paths.
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    canonical.then(|| text.parse::<i64>().ok()).flatten().map(UserId)
}

/// The id of a row of the outbox or the audit trail in the path's `{id}`: a positive decimal number as it is printed, or 404.
#[derive(Clone, Copy, Debug)]
pub struct RowIdPath(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for RowIdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_id(parts, state).await?;
        parse_user_id(&text)
            .map(|id| Self(id.0))
            .ok_or_else(|| Error::NotFound.into())
    }
}

/// A session's id in the path's `{id}`: a UUID with hyphens, or 404.
#[derive(Clone, Copy, Debug)]
pub struct SessionIdPath(pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for SessionIdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_id(parts, state).await?;
        parse_session_id(&text)
            .map(Self)
            .ok_or_else(|| Error::NotFound.into())
    }
}

pub(crate) fn parse_session_id(text: &str) -> Option<SessionId> {
    parse_uuid(text).map(SessionId)
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// A device's id in the path's `{id}`: a UUID with hyphens, or 404.
#[derive(Clone, Copy, Debug)]
pub struct DeviceIdPath(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for DeviceIdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_id(parts, state).await?;
        parse_uuid(&text).map(Self).ok_or_else(|| Error::NotFound.into())
    }
}

/// A passkey's id in the path's `{id}`: a UUID with hyphens, or 404.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyIdPath(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PasskeyIdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_id(parts, state).await?;
        parse_uuid(&text).map(Self).ok_or_else(|| Error::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        assert_eq!(parse_user_id("17"), Some(UserId(17)));
        for bad in [
            "",
            "0",
            "007",
            "+5",
            "-5",
            "5.0",
            "0x5",
            "٥",
            "9223372036854775808",
            " 5",
            "1e3",
        ] {
            assert_eq!(parse_user_id(bad), None, "{bad}");
        }
        assert!(parse_session_id("0191f2d4-7c1e-4a33-9f5e-0242ac120002").is_some());
        for bad in [
            "",
            "0191f2d47c1e4a339f5e0242ac120002",
            "{0191f2d4-7c1e-4a33-9f5e-0242ac120002}",
            "x",
        ] {
            assert!(parse_session_id(bad).is_none(), "{bad}");
        }
    }
}
