//! `/auth/check`: what gateways ask before they let a request through (nginx `auth_request`, Traefik `ForwardAuth`,
//! Caddy `forward_auth`, Envoy `ext_authz`).

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use url::form_urlencoded;
use utoipa::openapi::PathItem;
use utoipa_axum::router::OpenApiRouter;

use super::caller;
use super::passage::Passage;
use super::problem::{Problem, ProblemDocument};
use super::representation::{RoleName, Shown};
use crate::app::App;
use crate::error::{Error, Invalid, Refusal, Result};
use crate::sessions::Caller;
use crate::types::Role;

const USER_ID: HeaderName = HeaderName::from_static("x-auth-user-id");
const EMAIL: HeaderName = HeaderName::from_static("x-auth-email");
const ROLE: HeaderName = HeaderName::from_static("x-auth-role");
const SESSION_ID: HeaderName = HeaderName::from_static("x-auth-session-id");

/// The documentation of the endpoint; its routes are in [`any_method`].
pub fn routes() -> OpenApiRouter<App> {
    let described = <__path_check as utoipa::Path>::operation();
    let operation = |method: &str| {
        let mut operation = described.clone();
        operation.operation_id = Some(format!("check_{method}"));
        Some(operation)
    };
    let mut item = PathItem::default();
    item.get = Some(described.clone());
    item.put = operation("put");
    item.post = operation("post");
    item.delete = operation("delete");
    item.options = operation("options");
    item.head = operation("head");
    item.patch = operation("patch");
    item.trace = operation("trace");
    let mut document = OpenApiRouter::new();
    let path = <__path_check as utoipa::Path>::path();
    document.get_openapi_mut().paths.paths.insert(path, item);
    document
}

/// The endpoint, under its path and every path below it, for every method: gateways repeat the method and may append
/// the path of the request that they ask about.
pub fn any_method() -> Router<App> {
    Router::new()
        .route("/auth/check", any(check))
        // A gateway that appends the path of the site's root.
        .route("/auth/check/", any(check))
        .route("/auth/check/{*path}", any(check))
}

/// Says whether a token lets its bearer in
///
/// Answers every method, also below `/auth/check/…`. The caller is in the headers `X-Auth-User-Id`, `X-Auth-Email`
/// (percent-encoded), `X-Auth-Role` and `X-Auth-Session-Id`. A gateway must strip these from what clients send.
#[utoipa::path(
    get, path = "/auth/check", tag = "gateway", operation_id = "check", security(("bearer" = [])),
    params(("role" = Option<RoleName>, Query, description = "Ask for at least this role")),
    responses(
        (status = 200, description = "The bearer may pass", headers(
            ("X-Auth-User-Id" = i64, description = "The user's id"),
            ("X-Auth-Email" = String, description = "The user's address, percent-encoded when not ASCII"),
            ("X-Auth-Role" = String, description = "The user's role, now"),
            ("X-Auth-Session-Id" = String, description = "The session's id"),
        )),
        (status = 401, description = "Missing or bad token, always 401 here", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_role`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn check(State(app): State<App>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let passage = Passage::of(&request.extensions);
    let caller = caller::authenticate(&app, &request.headers, &passage).await;
    answer(caller, &request.uri)
}

/// The answer about a caller, to a question that was asked at this address.
pub(super) fn answer(caller: Result<Caller>, uri: &Uri) -> Response {
    let mut response = Response::default();
    match caller.and_then(|caller| describe(&caller, uri)) {
        Ok(headers) => *response.headers_mut() = headers,
        Err(error) => {
            // `auth.missing_token_status` is for browsers' requests; gateways tell 401 and 403 apart.
            let is_missing = matches!(error, Error::Refused(Refusal::MissingToken));
            let problem = Problem::from(error);
            response = if is_missing {
                problem.always(StatusCode::UNAUTHORIZED)
            } else {
                problem
            }
            .into_response();
        }
    }
    // `Cache-Control: no-store` is what every answer says that says nothing else.
    response
}

fn describe(caller: &Caller, uri: &Uri) -> Result<HeaderMap> {
    let role = wanted_role(uri.path(), uri.query())?;
    if role.is_some_and(|role| caller.user.role < role) {
        return Err(Refusal::InsufficientRole.into());
    }
    let shown = Shown::of(&caller.user);
    let mut session = uuid::Uuid::encode_buffer();
    let session = HeaderValue::from_str(caller.session.0.hyphenated().encode_lower(&mut session));
    let Some(email) = &shown.email else {
        return Err(Error::internal(anyhow::anyhow!(
            "a stored address fits into no header"
        )));
    };
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(USER_ID, shown.id.clone());
    headers.insert(EMAIL, email.clone());
    headers.insert(ROLE, shown.role.clone());
    headers.insert(SESSION_ID, session.map_err(Error::internal)?);
    Ok(headers)
}

/// The role that a query asks for; of several the highest.
///
/// Below `/auth/check/…` the query may be that of the request which the gateway asks about. A `role` in it that is none
/// of ours is not meant for us; on the endpoint itself it is a mistake, which must not pass as "any role will do".
fn wanted_role(path: &str, query: Option<&str>) -> Result<Option<Role>> {
    let is_appended = path.starts_with("/auth/check/");
    let mut wanted = None;
    for (_, value) in
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(|(name, _)| name == "role")
    {
        match value.parse::<Role>() {
            Ok(role) => wanted = wanted.max(Some(role)),
            Err(_) if is_appended => {}
            Err(_) => {
                let reason = Invalid::new("unknown_role", "A role is user, analyst or admin.");
                return Err(Error::invalid("role", reason));
            }
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::wanted_role;
    use crate::types::Role;

    #[test]
    fn a_role_is_asked_for_strictly_here_and_leniently_below() {
        let wanted = |path, query| wanted_role(path, Some(query)).ok();
        assert_eq!(wanted("/auth/check", "role=analyst"), Some(Some(Role::Analyst)));
        assert_eq!(
            wanted("/auth/check", "role=user&role=admin"),
            Some(Some(Role::Admin))
        );
        assert_eq!(wanted("/auth/check", "role=root"), None);
        assert_eq!(wanted("/auth/check", "role="), None);
        assert_eq!(wanted("/auth/check", "other=1&%zz"), Some(None));
        assert_eq!(wanted("/auth/check/a", "role=analyst"), Some(Some(Role::Analyst)));
        assert_eq!(wanted("/auth/check/a", "role=editor&page=2"), Some(None));
    }
}
