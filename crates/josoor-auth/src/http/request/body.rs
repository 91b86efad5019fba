//! Extractors of JSON bodies and query strings.

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use zeroize::Zeroizing;

use crate::app::App;
use crate::error::Error;
use crate::http::request::context::RequestContext;
use crate::http::request::definition::FromFields;
use crate::http::request::fields::{Fields, Source};
use crate::http::response::codes;
use crate::http::response::problem::Problem;

/// The request's body, which has to be a JSON object.
#[derive(Debug)]
pub struct JsonBody(pub Fields);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let body = read_body(request).await?;
        Fields::from_json(&body).map(Self)
    }
}

/// The request's body, which may be left out; without one there are no fields. An empty body needs no media type.
#[derive(Debug)]
pub struct OptionalJsonBody(pub Fields);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let declared = require_json(request.headers());
        let body = read_body(request).await?;
        if body.is_empty() {
            return Ok(Self(Fields::empty(Source::Body)));
        }
        declared?;
        Fields::from_json(&body).map(Self)
    }
}

/// The request's body, read as a `T`.
pub struct Body<T>(pub T);

impl<T: FromFields> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let JsonBody(fields) = JsonBody::from_request(request, app).await?;
        Ok(Self(read_fields(fields, app)?))
    }
}

/// The request's body, which may be left out, read as a `T`.
pub struct OptionalBody<T>(pub T);

impl<T: FromFields> FromRequest<App> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let OptionalJsonBody(fields) = OptionalJsonBody::from_request(request, app).await?;
        Ok(Self(read_fields(fields, app)?))
    }
}

/// The request's query string, read as a `T`.
pub struct QueryString<T>(pub T);

impl<T: FromFields> FromRequestParts<App> for QueryString<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let fields = Fields::from_query(parts.uri.query().unwrap_or_default())?;
        Ok(Self(read_fields(fields, app)?))
    }
}

fn read_fields<T: FromFields>(mut fields: Fields, app: &App) -> Result<T, Error> {
    let value = T::read(&mut fields, &app.passwords);
    fields.finish_with(|| value)
}

/// Refuses a body that is not declared as JSON in UTF-8 (RFC 9110, 8.3 and 15.5.16). A content encoding is refused
/// too: unpacking would let a short body grow past every limit.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: &str| Err(Problem::new(&codes::UNSUPPORTED_MEDIA_TYPE, detail));
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !plain {
        return refuse("A body with a content encoding is not accepted. Send it unpacked.");
    }
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return refuse("Send the body with the header Content-Type: application/json.");
    };
    let mut parts = kind.to_str().unwrap_or_default().split(';');
    let essence = parts.next().unwrap_or_default().trim();
    let charset_is_utf8 = parts
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, value)| {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        });
    if !essence.eq_ignore_ascii_case("application/json") || !charset_is_utf8 {
        return refuse("The body has to be application/json in UTF-8.");
    }
    Ok(())
}

/// The fields of a submitted form.
///
/// # Errors
/// `unsupported_media_type`, `body_too_large`, `request_timeout`, `bad_request`; `Invalid` is noted in the fields.
pub async fn form_fields(request: Request) -> Result<Fields, Problem> {
    let mut kinds = request.headers().get_all(header::CONTENT_TYPE).iter();
    let kind = kinds
        .next()
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") || kinds.next().is_some() {
        let detail = "Send the form as application/x-www-form-urlencoded.";
        return Err(Problem::new(&codes::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = read_body(request).await?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| Problem::new(&codes::BAD_REQUEST, "The form is not percent-encoded UTF-8."))?;
    Fields::from_form(text)
}

/// Reads the whole body, up to `body_limit` bytes within `body_timeout`. Wiped when dropped.
async fn read_body(request: Request) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let settings = RequestContext::settings_of(request.extensions());
    let limit = settings.body_limit;
    let too_large = || {
        Problem::new(
            &codes::BODY_TOO_LARGE,
            format!("The body may have at most {limit} bytes."),
        )
    };
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut stream = request.into_body();
    let reading = async {
        // Capacity for all of it from the start where the length is known: a growing buffer leaves unwiped copies behind.
        let capacity = declared.and_then(|length| usize::try_from(length).ok());
        let mut body = Zeroizing::new(Vec::with_capacity(capacity.unwrap_or(1024)));
        while let Some(frame) = stream.frame().await {
            let frame = frame.map_err(|_| Problem::new(&codes::BAD_REQUEST, "The body broke off."))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if body.len() + data.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(data);
        }
        Ok(body)
    };
    tokio::time::timeout(settings.body_timeout, reading)
        .await
        .unwrap_or_else(|_| {
            Err(Problem::new(
                &codes::REQUEST_TIMEOUT,
                "The body did not arrive in time.",
            ))
        })
}

#[cfg(test)]
mod tests;
