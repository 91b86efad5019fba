//! The committed OpenAPI document is the one that the code describes.

use std::path::Path;

use josoor_auth::http::openapi_document;
use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(openapi_document()).expect("JSON")
}

#[test]
fn the_committed_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let generated = serde_json::to_string_pretty(&openapi_document()).expect("JSON");
    assert!(
        committed.trim_end() == generated.trim_end(),
        "docs/openapi.json is stale; renew it with:\n  cargo run --package josoor-auth -- openapi > docs/openapi.json"
    );
}

/// Clients are generated from the names, so each must be there and be one operation's alone.
#[test]
fn every_operation_has_a_name_of_its_own_and_documents_its_failures() {
    let document = document();
    let mut names = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let label = format!("{method} {path}");
            names.push(operation["operationId"].as_str().expect(&label).to_owned());
            assert!(operation["summary"].is_string(), "{label}");
            let responses = operation["responses"].as_object().expect(&label);
            assert!(responses.keys().any(|status| status.starts_with('2')), "{label}");
            for (status, response) in responses {
                let failure = status.starts_with(['4', '5']) && path != "/readyz";
                let is_problem = response["content"]["application/problem+json"].is_object();
                assert_eq!(
                    is_problem,
                    failure || (path == "/readyz" && is_problem),
                    "{label} {status}"
                );
                assert!(
                    response["headers"]["X-Request-Id"].is_object(),
                    "{label} {status}"
                );
            }
            if operation["security"].is_array() {
                assert!(
                    responses.contains_key("401") && responses.contains_key("403"),
                    "{label}"
                );
            }
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "an operationId is used twice");
}

/// A body's schema must not promise to take what [`josoor_auth::http::request::extract::Fields`] refuses as unknown.
#[test]
fn every_request_body_is_an_object_without_further_members() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let requests: Vec<_> = schemas
        .iter()
        .filter(|(name, _)| name.ends_with("Request"))
        .collect();
    assert!(requests.len() >= 6, "{requests:?}");
    for (name, schema) in requests {
        assert_eq!(schema["type"], "object", "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
    }
}
