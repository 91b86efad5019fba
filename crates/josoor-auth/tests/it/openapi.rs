//! The committed OpenAPI document is the one that the code describes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use josoor_auth::http::openapi_document;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::server::{Server, Tokens, on_both};

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

/// A body's schema must not promise to take what [`josoor_auth::http::request::fields::Fields`] refuses as unknown.
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

/// The fields that an answer complains about, with the code of each complaint.
type Complaints = BTreeMap<String, String>;

async fn complaints(server: &Server, request: reqwest::RequestBuilder, code: &str) -> Complaints {
    let answer = server.send(request).await.is_problem(422, code);
    let errors = answer.json["errors"].as_array().expect("errors").clone();
    let text = |error: &Value, member: &str| error[member].as_str().expect("a text").to_owned();
    errors
        .iter()
        .map(|error| (text(error, "field"), text(error, "code")))
        .collect()
}

fn is_nullable(schema: &Value) -> bool {
    let is_null = |schema: &Value| schema["type"] == "null";
    schema["type"]
        .as_array()
        .is_some_and(|types| types.contains(&json!("null")))
        || schema["oneOf"]
            .as_array()
            .is_some_and(|of| of.iter().any(is_null))
}

fn strings(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Sends bodies that are wrong in every field, and compares what is complained about with the schema.
async fn compare_body(server: &Server, admin: &Tokens, label: (Method, &str), schema: &Value) {
    let properties = schema["properties"].as_object().expect("properties");
    let names: BTreeSet<String> = properties.keys().cloned().collect();
    let required = strings(&schema["required"]);
    let ask = |body: Map<String, Value>, code: &'static str| {
        let request = server.request(label.0.clone(), label.1);
        complaints(server, request.bearer_auth(&admin.access).json(&body), code)
    };
    let of_all = |value: Value| -> Map<String, Value> {
        names.iter().map(|name| (name.clone(), value.clone())).collect()
    };
    let all = |names: &BTreeSet<String>, code: &str| -> Complaints {
        names.iter().map(|name| (name.clone(), code.to_owned())).collect()
    };

    let wrong = ask(of_all(json!(5)), "validation_failed").await;
    assert_eq!(wrong, all(&names, "invalid_type"), "{label:?}: numbers");

    let mut body = of_all(json!(5));
    body.insert("surprise".to_owned(), json!(5));
    let unknown = ask(body, "unknown_field").await;
    let mut expected = all(&names, "invalid_type");
    expected.insert("surprise".to_owned(), "unknown_field".to_owned());
    assert_eq!(unknown, expected, "{label:?}: an unknown field");

    if !required.is_empty() {
        let missing = ask(Map::new(), "validation_failed").await;
        assert_eq!(missing, all(&required, "required"), "{label:?}: nothing");
    }

    let mut expected = all(&required, "required");
    for (name, schema) in properties {
        if !required.contains(name) && !is_nullable(schema) {
            expected.insert(name.clone(), "invalid_type".to_owned());
        }
    }
    if !expected.is_empty() {
        let nulls = ask(of_all(Value::Null), "validation_failed").await;
        assert_eq!(nulls, expected, "{label:?}: nulls");
    }
}

on_both!(
    what_operations_read_is_what_the_document_says,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let document = document();
        let (mut bodies, mut queries) = (0, 0);
        for (path, item) in document["paths"].as_object().expect("paths") {
            let id = if path.starts_with("/admin") {
                "1"
            } else {
                "0191f2d4-7c1e-4a33-9f5e-0242ac120002"
            };
            let path = path.replace("{id}", id);
            for (method, operation) in item.as_object().expect("operations") {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
                if operation["requestBody"].is_object() {
                    let mut schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                    if let Some(name) = schema["$ref"].as_str().and_then(|link| link.rsplit('/').next()) {
                        schema = &document["components"]["schemas"][name];
                    }
                    compare_body(&server, &admin, (method.clone(), &path), schema).await;
                    bodies += 1;
                }
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let query: Vec<&str> = parameters
                    .filter(|parameter| parameter["in"] == "query")
                    .filter_map(|parameter| parameter["name"].as_str())
                    .collect();
                if query.is_empty() || method == Method::HEAD {
                    continue;
                }
                let query = query.join("=x&");
                let request = server.request(method.clone(), &format!("{path}?{query}=x&surprise=x"));
                // The other values are wrong as well.
                let all = complaints(&server, request.bearer_auth(&admin.access), "unknown_field").await;
                let unknown = all.into_iter().filter(|(_, code)| code == "unknown_field");
                assert_eq!(
                    unknown.map(|(name, _)| name).collect::<Vec<_>>(),
                    ["surprise"],
                    "{method} {path}"
                );
                queries += 1;
            }
        }
        assert!(bodies >= 15 && queries >= 6, "{bodies} bodies, {queries} queries");
    }
);
