//! `/auth/check`: what gateways ask before they let a request through (nginx `auth_request`, Traefik `ForwardAuth`,
//! Caddy `forward_auth`, Envoy `ext_authz`).

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use josoor_auth_verify::bearer_token;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::form_urlencoded;
use utoipa_axum::router::OpenApiRouter;

use super::problem::{Problem, ProblemDocument};
use super::representation::RoleName;
use super::request_id::LoggedUser;
use crate::app::App;
use crate::error::{Error, Invalid, Refusal, Result};
use crate::sessions;
use crate::types::Role;

/// What is encoded of an address that has other than ASCII characters, which are all encoded; `%` so that it reads back.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The documentation of the endpoint; its routes, for every method, are in [`any_method`].
pub fn routes() -> OpenApiRouter<App> {
    let mut document = OpenApiRouter::new();
    let path = <__path_check as utoipa::Path>::path();
    let item = utoipa::openapi::PathItem::new(
        utoipa::openapi::HttpMethod::Get,
        <__path_check as utoipa::Path>::operation(),
    );
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
    let mut response = match answer(&app, &request).await {
        Ok(headers) => (StatusCode::OK, headers).into_response(),
        Err(error) => {
            // `auth.missing_token_status` is for browsers' requests; gateways tell 401 and 403 apart.
            let is_missing = matches!(error, Error::Refused(Refusal::MissingToken));
            let problem = Problem::from(error);
            if is_missing {
                problem.always(StatusCode::UNAUTHORIZED)
            } else {
                problem
            }
            .into_response()
        }
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn answer(app: &App, request: &Parts) -> Result<HeaderMap> {
    let token = bearer_token(&request.headers)?.ok_or(Refusal::MissingToken)?;
    let caller = sessions::authenticate(app, token).await?;
    LoggedUser::note(&request.extensions, caller.id());
    let role = wanted_role(request.uri.path(), request.uri.query())?;
    if role.is_some_and(|role| caller.user.role < role) {
        return Err(Refusal::InsufficientRole.into());
    }
    let user = &caller.user;
    let email = if user.email.is_ascii() {
        user.email.clone()
    } else {
        utf8_percent_encode(&user.email, ENCODED).to_string()
    };
    let pairs = [
        ("x-auth-user-id", user.id.to_string()),
        ("x-auth-email", email),
        ("x-auth-role", user.role.as_str().to_owned()),
        ("x-auth-session-id", caller.session.to_string()),
    ];
    pairs
        .into_iter()
        .map(|(name, value)| {
            Ok((
                HeaderName::from_static(name),
                HeaderValue::from_str(&value).map_err(Error::internal)?,
            ))
        })
        .collect()
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
