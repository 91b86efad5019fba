//! The OpenAPI 3.1 document: its head, and what every operation has in common.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, Header, Ref, RefOr, ResponseBuilder};

use super::auth::RegisterRequest;
use crate::http::response::codes::CODES;
use crate::http::response::document::{FieldProblem, PROBLEM_JSON, ProblemDocument};
use crate::http::response::passkey::{PasskeyDescriptor, PasskeyRequestOptions};

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
    // The registration's body stands in its operation as well: schemathesis, which signs up by itself, reads it there only.
    components(schemas(ProblemDocument, FieldProblem, RegisterRequest, PasskeyRequestOptions, PasskeyDescriptor)),
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
    document.info.description = Some(
        "Registration, sign-in, sessions and user management.\n\nEvery failure is a problem document (RFC 9457) with a stable \
         `code`: the schema `Problem` lists all of them, and each has a page at `/errors/<code>`."
            .to_owned(),
    );
    if let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("Problem")
        && let Some(RefOr::T(Schema::Object(code))) = problem.properties.get_mut("code")
    {
        code.enum_values = Some(CODES.iter().map(|entry| entry.code.into()).collect());
    }
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
            &mut item.put,
            &mut item.options,
            &mut item.head,
            &mut item.trace,
        ];
        for operation in operations.into_iter().flatten() {
            complete_operation(operation);
        }
    }
    document
}

/// Adds the failures that follow from what the operation takes, and the headers of its answers.
fn complete_operation(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            refuse_null(parameter);
        }
    }
    let has = |place: ParameterIn| {
        let parameters = operation.parameters.as_deref().unwrap_or_default();
        parameters
            .iter()
            .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == place))
    };
    let mut failures = vec![(
        "503",
        "`store_unavailable` or `overloaded`: try again after `Retry-After`",
    )];
    if operation.security.is_some() {
        failures.push((
            "401",
            "The token or its session is not good any more; `code` says why. `missing_token` where the setting \
             `auth.missing_token_status` is 401",
        ));
        failures.push(("403", "`missing_token` or `insufficient_role`"));
    }
    if let Some(body) = &mut operation.request_body {
        if let RefOr::T(body) = body {
            make_optional(body);
        }
        failures.push(("400", "`malformed_json` or `bad_request`"));
        failures.push(("408", "`request_timeout`: the body did not arrive in time"));
        failures.push(("413", "`body_too_large`: more than 64 KiB"));
        failures.push(("415", "`unsupported_media_type`: not `application/json`"));
        failures.push(("429", "`rate_limited`: try again after `Retry-After`"));
    }
    if has(ParameterIn::Path) || has(ParameterIn::Query) {
        failures.push(("400", "`bad_request`: the address is not percent-encoded UTF-8"));
    }
    if operation.request_body.is_some() || has(ParameterIn::Query) {
        failures.push((
            "422",
            "`validation_failed` or `unknown_field`; `errors` says which fields",
        ));
    }
    let responses = &mut operation.responses.responses;
    for (status, meaning) in failures {
        let problem = ResponseBuilder::new()
            .description(meaning)
            .content(PROBLEM_JSON, Content::new(Some(Ref::from_schema_name("Problem"))))
            .build();
        responses.entry(status.to_owned()).or_insert(RefOr::T(problem));
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else {
            continue;
        };
        let mut add = |name: &str, kind: Type, meaning: &str| {
            let mut header = Header::new(ObjectBuilder::new().schema_type(kind));
            header.description = Some(meaning.to_owned());
            response
                .headers
                .entry(name.to_owned())
                .or_insert(RefOr::T(header));
        };
        add(
            "X-Request-Id",
            Type::String,
            "The request's id in the service's log",
        );
        add(
            "X-Client-Request-Id",
            Type::String,
            "The id that the client sent as `X-Request-Id`, if it is well-formed; kept beside the service's own",
        );
        match status.as_str() {
            "401" => add("WWW-Authenticate", Type::String, "The challenge (RFC 6750, 3)"),
            "429" => {
                add(
                    "Retry-After",
                    Type::Integer,
                    "Seconds until it makes sense to try again",
                );
                add("RateLimit-Policy", Type::String, "The limit that was hit");
                add("RateLimit", Type::String, "What is left of it");
            }
            "503" => add(
                "Retry-After",
                Type::Integer,
                "Seconds until it makes sense to try again",
            ),
            _ => {}
        }
    }
}

/// A header that may be left out is written as `Option<…>` in the attributes, which would also allow the text `null`.
fn refuse_null(parameter: &mut Parameter) {
    match &mut parameter.schema {
        Some(RefOr::T(Schema::Object(object))) => {
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|kind| *kind != Type::Null);
                if let [only] = types.as_slice() {
                    object.schema_type = SchemaType::Type(only.clone());
                }
            }
        }
        Some(schema @ RefOr::T(Schema::OneOf(_))) => {
            if let RefOr::T(Schema::OneOf(choice)) = &*schema
                && let Some(reference @ RefOr::Ref(_)) = choice.items.first()
            {
                *schema = reference.clone();
            }
        }
        _ => {}
    }
}

/// A body that may be left out is written as `Option<…>` in the attributes, which would also allow the JSON text
/// `null`. That is no object, and is refused.
fn make_optional(body: &mut RequestBody) {
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(choice))) = &content.schema
            && let Some(object @ RefOr::Ref(_)) = choice.items.first()
        {
            content.schema = Some(object.clone());
            body.required = None;
        }
    }
}
