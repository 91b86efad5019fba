//! The OpenAPI 3.1 document: its head, and what every operation has in common.

use axum::Json;
use axum::routing::get;
use axum::{Router, response::IntoResponse as _};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, RefOr, ResponseBuilder};

use super::problem::{CODES, FieldProblem, PROBLEM_JSON, ProblemDocument};
use crate::app::App;

/// Title, description and tags.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "JOSOOR Auth",
        description = "Registration, sign-in, sessions and user management.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "auth", description = "Registering, signing in, refreshing, signing out"),
        (name = "account", description = "One's own account and sessions"),
        (name = "admin", description = "Users, for administrators"),
        (name = "gateway", description = "For other services and gateways"),
        (name = "operation", description = "For operators"),
    ),
    components(schemas(ProblemDocument, FieldProblem)),
)]
struct Head;

/// The document before any route is in it.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

/// Adds what the attributes of the operations leave out because every operation has it.
pub(super) fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .description(Some("The access token of a sign-in."))
                .build(),
        ),
    );
    let codes: Vec<_> = CODES.iter().map(|entry| format!("`{}`", entry.code)).collect();
    document.info.description = Some(format!(
        "Registration, sign-in, sessions and user management.\n\nEvery failure is a problem document (RFC 9457). \
         Its `code` is one of {}; each has a page at `/errors/<code>`.",
        codes.join(", ")
    ));
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
            &mut item.put,
        ];
        for operation in operations.into_iter().flatten() {
            let signed_in = operation.security.is_some();
            let takes_body = operation.request_body.is_some();
            let takes_input = takes_body || operation.parameters.is_some();
            let mut shared = vec![(
                "503",
                "`store_unavailable` or `overloaded`: try again after `Retry-After`",
            )];
            if signed_in {
                shared.push((
                    "401",
                    "The token or its session is not good any more; `code` says why",
                ));
                shared.push(("403", "`missing_token` or `insufficient_role`"));
            }
            if takes_body {
                shared.push(("400", "`malformed_json`"));
                shared.push(("408", "`request_timeout`: the body did not arrive in time"));
                shared.push(("413", "`body_too_large`: more than 64 KiB"));
                shared.push(("415", "`unsupported_media_type`: not `application/json`"));
                shared.push(("429", "`rate_limited`: try again after `Retry-After`"));
            }
            if takes_input {
                shared.push(("400", "`malformed_json` or `bad_request`"));
                shared.push((
                    "422",
                    "`validation_failed` or `unknown_field`; `errors` says which fields",
                ));
            }
            for (status, meaning) in shared {
                let problem = ResponseBuilder::new()
                    .description(meaning)
                    .content(
                        PROBLEM_JSON,
                        Content::new(Some(utoipa::openapi::Ref::from_schema_name("Problem"))),
                    )
                    .build();
                operation
                    .responses
                    .responses
                    .entry(status.to_owned())
                    .or_insert(RefOr::T(problem));
            }
        }
    }
    document
}

/// The document, under its path.
pub fn routes() -> Router<App> {
    Router::new().route(
        "/openapi.json",
        get(async || Json(super::openapi_document()).into_response()),
    )
}
