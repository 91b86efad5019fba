//! How a page with a form is shown and submitted. Each page is a [`Step`]: what it shows, and what it does with what is submitted.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State as AppState};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::failure::Failure;
use super::frame::{Content, Frame};
use super::state::Next;
use super::visit::Visit;
use crate::app::App;
use crate::domain::Secret;
use crate::error::{Error, Result};
use crate::http::request::body::form_fields;
use crate::http::request::client_info::ClientInfo;
use crate::http::request::cookies;
use crate::http::request::definition::FromFields;
use crate::http::request::fields::Fields;
use crate::http::response::problem::Problem;
use crate::http::response::signed_in::with_cookies;
use crate::http::response::{codes, document};

/// A page with a form.
pub trait Step: 'static {
    /// Its path below the public URL. Forms go to `auth/pages/` and this path.
    const PAGE: &'static str;

    /// The key of the label of a field; `None` for a field that the page does not have.
    fn label_of(field: &str) -> Option<&'static str> {
        Some(match field {
            "email" => "field.email",
            "password" => "field.password",
            "new_password" => "field.new_password",
            "full_name" => "field.full_name",
            "previous_password" => "reset.previous_password",
            "link" => "paste.label",
            "code" => "field.code",
            _ => return None,
        })
    }

    /// What the page shows: by the state of the flow, and by why the last submission was rejected.
    fn show(visit: &mut Visit) -> impl Future<Output = Result<Shown>> + Send;

    /// Does what was submitted. An error is shown on the page: at once where nothing may be stored for it, else after a redirect.
    fn submit(visit: &mut Visit, form: Form) -> impl Future<Output = Result<Next>> + Send;
}

/// What a page shows.
#[derive(Debug)]
pub enum Shown {
    /// This.
    Page(Content),
    /// Nothing: the reader goes on to this address.
    Elsewhere(String),
}

/// What was submitted.
#[derive(Debug)]
pub struct Form {
    fields: Fields,
    action: Option<Secret>,
}

impl Form {
    /// Which of the page's forms it was, if not the first.
    pub fn action(&self) -> &str {
        self.action.as_ref().map_or("", Secret::expose)
    }

    /// Whether the box of this name is ticked.
    pub fn is_ticked(&mut self, name: &str) -> bool {
        self.fields.take(name).is_some()
    }

    /// For a form without fields of its own.
    ///
    /// # Errors
    /// `UnknownFields`.
    pub fn read_nothing(self) -> Result<()> {
        self.fields.finish()
    }

    /// The fields, read as a `T`.
    ///
    /// # Errors
    /// `Invalid`, `UnknownFields`.
    pub fn read<T: FromFields>(mut self, visit: &Visit) -> Result<T> {
        let value = T::read(&mut self.fields, &visit.app.passwords);
        self.fields.finish_with(|| value)
    }
}

/// The routes of a page.
pub fn routes<S: Step>() -> Router<App> {
    let page = format!("/{}", S::PAGE);
    let forms = format!("/auth/pages/{}", S::PAGE);
    Router::new()
        .route(&page, get(show::<S>))
        .route(&forms, get(back::<S>).post(submit::<S>))
}

async fn show<S: Step>(
    AppState(app): AppState<App>,
    Extension(frame): Extension<Arc<Frame>>,
    ClientInfo(client): ClientInfo,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut visit = Visit::new(app, frame, S::PAGE, client, uri, headers);
    let name = visit.query("flow");
    if let Err(error) = visit.load_flow(name.as_deref()).await {
        return visit.problem(error);
    }
    show_again::<S>(visit).await
}

/// Shows the page with why the last submission was rejected.
async fn show_again<S: Step>(mut visit: Visit) -> Response {
    if let Some(code) = visit.state().code {
        visit.failure = Some(Failure::of_code(&code, visit.locale));
    }
    present::<S>(visit, StatusCode::OK).await
}

async fn present<S: Step>(mut visit: Visit, status: StatusCode) -> Response {
    match S::show(&mut visit).await {
        Ok(Shown::Page(content)) => visit.respond(status, content),
        Ok(Shown::Elsewhere(to)) => Redirect::to(&to).into_response(),
        Err(error) => visit.problem(error),
    }
}

/// Where a browser asks for the address that a form went to, such as after a reload: the page itself.
async fn back<S: Step>(Extension(frame): Extension<Arc<Frame>>, uri: Uri) -> Redirect {
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    Redirect::to(&format!("{}/{}{query}", frame.base(), S::PAGE))
}

async fn submit<S: Step>(
    AppState(app): AppState<App>,
    Extension(frame): Extension<Arc<Frame>>,
    ClientInfo(client): ClientInfo,
    request: Request,
) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let mut visit = Visit::new(app, frame, S::PAGE, client, uri, headers);
    if cookies::require_same_origin(&visit.app, &visit.headers).is_err() {
        return visit.refuse("origin_not_allowed");
    }
    let mut fields = match form_fields(request).await {
        Ok(fields) => fields,
        Err(problem) => return visit.problem(problem),
    };
    if !visit.has_cookie() {
        return visit.refuse("cookies_blocked");
    }
    let token = fields.take("form");
    if !token.is_some_and(|token| visit.is_own_form(token.expose())) {
        return visit.refuse("flow_expired");
    }
    if let Some(name) = fields.take("flow") {
        if let Err(error) = visit.load_flow(Some(name.expose())).await {
            return visit.problem(error);
        }
        if visit.flow.is_none() {
            return visit.refuse("flow_expired");
        }
    }
    let action = fields.take("do");
    let mut typed = visit.state();
    for (name, place) in [("email", &mut typed.email), ("full_name", &mut typed.full_name)] {
        if let Some(text) = fields.peek(name) {
            *place = Some(text.chars().take(300).collect());
        }
    }
    typed.code = None;
    typed.is_sent_again = false;
    visit.typed = typed;
    // The same form in the other language, which the address names. Nothing is read but what was typed, and nothing is stored.
    if fields.take("language").is_some() {
        return show_again::<S>(visit).await;
    }
    let next = S::submit(&mut visit, Form { fields, action }).await;
    match next {
        Ok(next) => go_on(next),
        Err(error) => reject::<S>(visit, error).await,
    }
}

fn go_on(next: Next) -> Response {
    with_cookies(Redirect::to(&next.to), next.cookies)
}

/// Shows why a submission was rejected. What was rejected before it was counted by a limit is shown at once, and nothing is stored for
/// it; everything else survives a reload.
async fn reject<S: Step>(mut visit: Visit, error: Error) -> Response {
    let problem = Problem::from(error);
    let code = problem.code.code;
    if code == codes::INTERNAL.code {
        return visit.problem(problem);
    }
    let is_answered_at_once = !problem.errors.is_empty()
        || problem.retry_after.is_some()
        || problem.status.is_server_error()
        || code == codes::REGISTRATION_CLOSED.code;
    if !is_answered_at_once {
        return match visit.reject(code).await {
            Ok(next) => go_on(next),
            Err(error) => visit.problem(error),
        };
    }
    document::log(&problem);
    // An invited user has no earlier password than the new one.
    let is_first = visit.state().is_invitation;
    let label_of = |field: &str| match S::label_of(field) {
        Some("field.new_password") if is_first => Some("field.create_password"),
        label => label,
    };
    let failure = Failure::of(&problem, visit.locale, &visit.client.request_id, label_of);
    visit.failure = Some(failure);
    let mut response = present::<S>(visit, problem.status).await;
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        headers
            .entry(header::RETRY_AFTER)
            .or_insert(HeaderValue::from_static("1"));
    }
    response
}
