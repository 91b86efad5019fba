//! Writes problem documents (RFC 9457), and turns what axum answers by itself (404, 405, 413, …) and a caught panic into them,
//! so that a client never meets another shape of failure.

use std::thread;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::http::request::context::RequestContext;
use crate::http::response::codes;
use crate::http::response::passkey::PasskeyRequestOptions;
use crate::http::response::problem::Problem;
use crate::telemetry::codes as log_codes;

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The document as it is sent (RFC 9457, 3).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// Address of the page that explains the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short name of the failure.
    pub title: String,
    /// The response's status.
    pub status: u16,
    /// One sentence for a person.
    pub detail: String,
    /// Stable; what programs go by.
    pub code: String,
    /// What is wrong with which field; 422 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// `mfa_required` only: names the sign-in for `/auth/login/mfa`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub flow: Option<String>,
    /// `mfa_required` only: how the sign-in can be finished, `passkey`, `totp` or `recovery_code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub methods: Option<Vec<&'static str>>,
    /// `mfa_required` with the method `passkey` only: what the browser is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub passkey: Option<PasskeyRequestOptions>,
    /// `mfa_required` only: for how long, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    pub expires_in: Option<u64>,
    /// Also in the header `X-Request-Id`; leads to the request in the service's log.
    pub request_id: String,
}

/// One field that cannot be accepted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field as the request names it; empty for the body as a whole.
    pub field: String,
    /// Stable, `snake_case`.
    pub code: String,
    /// One English sentence.
    pub message: String,
}

/// Writes the problem that an answer carries, or that it is: what axum itself answers (404, 405, 413, …) and a panic.
/// `answer` is an error when the handler panicked.
pub fn finish(answer: thread::Result<Response>, context: &RequestContext, is_head: bool) -> Response {
    let Ok(mut response) = answer else {
        tracing::error!(
            code = log_codes::HANDLER_PANICKED,
            "a handler panicked; the panic's own line precedes this one"
        );
        return write(
            Problem::plain(&codes::INTERNAL),
            Response::default(),
            context,
            is_head,
        );
    };
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(mut problem) = problem {
        if problem.code.code == codes::MISSING_TOKEN.code && !problem.is_fixed {
            problem.status = context.settings.missing_token_status;
        }
        log(&problem);
        return write(problem, response, context, is_head);
    }
    let status = response.status();
    if (status.is_client_error() || status.is_server_error()) && says_nothing(&response) {
        return write(Problem::from_status(status), response, context, is_head);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .entry(header::RETRY_AFTER)
            .or_insert(HeaderValue::from_static("1"));
    }
    response
}

/// Whether a failure has no body of its own form: those of axum are empty or plain text.
fn says_nothing(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// The one place where faults of ours are logged; the request's span adds its id.
pub fn log(problem: &Problem) {
    let Some(cause) = &problem.cause else {
        return;
    };
    // `{:#}` prints the whole chain of causes on one line.
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(code = log_codes::STORE_UNAVAILABLE, cause = %format!("{cause:#}"), "a store did not answer");
    } else {
        tracing::error!(code = log_codes::INTERNAL, cause = %format!("{cause:#}"), "a request failed");
    }
}

/// Puts the document and its headers into `response`, which keeps the headers that it has (`Allow`, cookies).
fn write(problem: Problem, mut response: Response, context: &RequestContext, is_head: bool) -> Response {
    let status = problem.status;
    let next_step = problem.next_step.map(|next| *next);
    let document = ProblemDocument {
        kind: format!("{}/errors/{}", context.settings.public_url, problem.code.code),
        title: problem.code.title.to_owned(),
        status: status.as_u16(),
        detail: problem.detail.into_string(),
        code: problem.code.code.to_owned(),
        errors: problem
            .errors
            .into_iter()
            .map(|error| FieldProblem {
                field: error.field,
                code: error.code.to_owned(),
                message: error.message,
            })
            .collect(),
        flow: next_step.as_ref().map(|next| next.flow.expose().to_owned()),
        expires_in: next_step.as_ref().map(|next| next.expires_in),
        passkey: next_step.as_ref().and_then(|next| next.passkey.clone()),
        methods: next_step.map(|next| next.methods),
        request_id: context.id.as_str().to_owned(),
    };
    // Serialising strings and one number into memory cannot fail; an empty body would still be a correct answer.
    let body = serde_json::to_vec(&document).unwrap_or_default();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Some(Ok(challenge)) = problem.challenge.as_deref().map(HeaderValue::from_str) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    let retry_after = problem.retry_after.map(whole_seconds).or_else(|| {
        (status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS).then_some(1)
    });
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(policy) = problem.policy {
        let window = whole_seconds(policy.window);
        let (allowed, left) = (
            format!("\"{}\";q={};w={window}", policy.name, policy.quota),
            format!("\"{}\";r=0;t={}", policy.name, retry_after.unwrap_or(window)),
        );
        if let (Ok(allowed), Ok(left)) = (HeaderValue::try_from(allowed), HeaderValue::try_from(left)) {
            headers.insert("ratelimit-policy", allowed);
            headers.insert("ratelimit", left);
        }
    }
    *response.body_mut() = if is_head { Body::empty() } else { Body::from(body) };
    response
}

/// Whole seconds, rounded up, at least one: `Retry-After: 0` would invite a loop.
fn whole_seconds(duration: Duration) -> u64 {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() > 0 {
        seconds.saturating_add(1)
    } else {
        seconds.max(1)
    }
}

#[cfg(test)]
mod tests;
