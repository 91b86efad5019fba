//! A visit to a page: who asks, in which language, and what was done before.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use minijinja::context;
use minijinja::value::Value;
use url::form_urlencoded;
use uuid::Uuid;

use super::failure::Failure;
use super::frame::{Content, Frame, address};
use super::return_to;
use super::state::{Flow, Next, State};
use super::texts;
use crate::act::Client;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::crypto;
use crate::domain::{Locale, Role, Secret, Timestamp};
use crate::error::{Error, Result};
use crate::http::request::cookies;
use crate::http::request::language::{page_locale, remember};
use crate::http::request::transport::Transport;
use crate::http::response::{document, problem::Problem};
use crate::keys::DeviceMark;
use crate::sessions::{self, Issued, SignInWith};
use crate::store::PageFlow;

/// How long a flow is kept.
const FLOW_LIFE: Duration = Duration::from_hours(1);

/// How long a form can be submitted.
const FORM_LIFE: Duration = Duration::from_hours(24);

/// A visit to a page.
pub struct Visit {
    /// The service.
    pub app: App,
    /// What all pages have in common.
    pub frame: Arc<Frame>,
    /// The page: its path below the public URL.
    pub page: &'static str,
    /// The client.
    pub client: Client,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The reader's language.
    pub locale: Locale,
    /// What was done before, if anything.
    pub flow: Option<Flow>,
    /// Why what was submitted is rejected.
    pub failure: Option<Failure>,
    /// What was submitted and is no secret, over the state that the form was shown in.
    pub typed: State,
    uri: Uri,
    secret: Option<Secret>,
    new_secret: Option<HeaderValue>,
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit")
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

impl Visit {
    /// A visit to this page.
    pub fn new(
        app: App,
        frame: Arc<Frame>,
        page: &'static str,
        client: Client,
        uri: Uri,
        headers: HeaderMap,
    ) -> Self {
        let locale = page_locale(&uri, &headers, app.config.mail.locale);
        let secret = cookies::page_secret(&app, &headers).map(Secret::new);
        Self {
            app,
            frame,
            page,
            client,
            headers,
            locale,
            flow: None,
            failure: None,
            typed: State::default(),
            uri,
            secret,
            new_secret: None,
        }
    }

    /// The value of this name in the address.
    pub fn query(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes())
            .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    }

    /// A text in the reader's language.
    pub fn text(&self, key: &'static str) -> &'static str {
        texts::text(self.locale, key)
    }

    /// Loads the flow that the address names, if it is this browser's and of this page.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn load_flow(&mut self, name: Option<&str>) -> Result<()> {
        let id = name.and_then(|name| name.parse::<Uuid>().ok());
        let (Some(id), Some(secret)) = (id, &self.secret) else {
            return Ok(());
        };
        let mut conn = self.app.db.read().await?;
        let row = conn.page_flow(id, self.app.clock.now()).await?;
        drop(conn);
        let expected = self.flow_mac(secret, id);
        self.flow = row
            .filter(|row| row.kind == self.kind())
            .filter(|row| {
                row.client_mac
                    .as_deref()
                    .is_some_and(|mac| crypto::equal(mac, &expected))
            })
            .and_then(|row| {
                self.app
                    .keys
                    .flow_contents
                    .open(&sealed_name(&id), &row.sealed)
                    .ok()
            })
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .map(|state| Flow { id, state });
        Ok(())
    }

    /// The state of the flow; an empty one where none has begun.
    pub fn state(&self) -> State {
        self.flow
            .as_ref()
            .map(|flow| flow.state.clone())
            .unwrap_or_default()
    }

    /// Stores the state, and gives the address that shows it.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn store(&mut self, state: State) -> Result<String> {
        let secret = self.secret.clone().ok_or(Error::OriginNotAllowed)?;
        let id = self
            .flow
            .as_ref()
            .map_or_else(|| Uuid::from_bytes(crypto::random_bytes()), |flow| flow.id);
        let now = self.app.clock.now();
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&state).map_err(Error::internal)?);
        let row = PageFlow {
            id,
            kind: self.kind(),
            client_mac: Some(self.flow_mac(&secret, id).to_vec()),
            sealed: self.app.keys.flow_contents.seal(&sealed_name(&id), &plain)?,
            expires_at: now.plus(FLOW_LIFE),
        };
        self.app.db.write().await?.put_page_flow(&row, now).await?;
        self.flow = Some(Flow { id, state });
        Ok(self.address_with(self.page, &[("flow", &id.to_string())]))
    }

    /// Stores that what was typed is rejected for this reason.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn reject(&mut self, code: &str) -> Result<Next> {
        let state = State {
            code: Some(code.to_owned()),
            ..self.typed.clone()
        };
        self.store(state).await.map(Next::to)
    }

    fn kind(&self) -> String {
        format!("page:{}", self.page)
    }

    fn flow_mac(&self, secret: &Secret, id: Uuid) -> [u8; 32] {
        self.app
            .keys
            .tag("page flow", &[secret.expose().as_bytes(), id.as_bytes()])
    }

    /// The address of a page of this service, with the way back kept.
    pub fn address(&self, page: &str) -> String {
        self.address_with(page, &[])
    }

    fn address_with(&self, page: &str, values: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(values);
        if let Some(return_to) = self.return_to() {
            query.append_pair("return_to", &return_to);
        }
        let query = query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}/{page}{mark}{query}", self.frame.base())
    }

    /// Where to go after a sign-in, as the address names it.
    pub fn return_to(&self) -> Option<String> {
        self.query("return_to").and_then(|value| return_to::safe(&value))
    }

    /// Where a user goes after the sign-in.
    pub fn destination(&self, role: Role) -> String {
        self.return_to().unwrap_or_else(|| {
            let page = if role == Role::Admin { "console" } else { "account" };
            format!("{}/{page}", self.frame.base())
        })
    }

    /// The user of the browser's refresh cookie, if the session is live. Requests for pages say no origin, so that nothing may be changed
    /// on the strength of it unless the request's origin was verified.
    pub async fn holder(&self) -> Option<Caller> {
        let token = cookies::refresh_token(&self.app, &self.headers)?;
        sessions::holder(&self.app, token).await.ok()
    }

    /// What a sign-in on this page comes with.
    pub fn sign_in_with(&self, mark: Option<DeviceMark>) -> SignInWith {
        Transport::Cookie.sign_in_with(&self.app, &self.headers, mark)
    }

    /// The cookies of a sign-in.
    pub fn cookies_of(&self, issued: &Issued) -> Vec<HeaderValue> {
        let mut all = cookies::set_refresh(&self.app, &self.headers, issued);
        all.extend(cookies::set_device(&self.app, &self.headers, issued));
        all
    }

    /// Takes the refresh cookie away if its session is over.
    pub async fn clear_dead_cookie(&self) -> Vec<HeaderValue> {
        let Some(token) = cookies::refresh_token(&self.app, &self.headers) else {
            return Vec::new();
        };
        match sessions::holder(&self.app, token).await {
            Err(Error::Refused(_)) => cookies::clear_refresh(&self.app, &self.headers),
            _ => Vec::new(),
        }
    }

    /// The token of a form on this page: until when it is good, and a code over that, the page and the browser's cookie. Sets that
    /// cookie where there is none.
    fn form_token(&mut self) -> String {
        let secret = self.secret.get_or_insert_with(|| {
            let bytes: [u8; 32] = crypto::random_bytes();
            let secret = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
            self.new_secret = cookies::set_page_secret(&self.app, &secret);
            secret
        });
        let until = self.app.clock.now().plus(FORM_LIFE).as_secs();
        let mac = form_mac(&self.app, secret, self.page, until);
        URL_SAFE_NO_PAD.encode([until.to_be_bytes().as_slice(), &mac].concat())
    }

    /// Whether the token is one that was given to this browser on this page, and not too long ago.
    pub fn is_own_form(&self, token: &str) -> bool {
        let Some(secret) = &self.secret else {
            return false;
        };
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else {
            return false;
        };
        let Some((until, mac)) = bytes.split_first_chunk::<8>() else {
            return false;
        };
        let until = i64::from_be_bytes(*until);
        crypto::equal(mac, &form_mac(&self.app, secret, self.page, until))
            && Timestamp::from_secs(until) > self.app.clock.now()
    }

    /// Whether the browser has the cookie that forms are bound to.
    pub const fn has_cookie(&self) -> bool {
        self.secret.is_some()
    }

    /// The answer with a page.
    pub fn respond(mut self, status: StatusCode, mut content: Content) -> Response {
        let token = self.form_token();
        let flow = self.flow.as_ref().map(|flow| flow.id.to_string());
        let wait = self.failure.as_ref().and_then(|failure| failure.wait);
        let form = context! {
            token,
            flow,
            wait,
            // Below "auth", where browsers send the cookies to (`request::cookies`); in the language of the page, also without cookies.
            action => address(&self.address_with(
                &format!("auth/pages/{}", self.page),
                &[("lang", self.locale.as_str())],
            )),
            in_other_language => address(&self.in_other_language(&format!("auth/pages/{}", self.page))),
        };
        content.values = context! {
            form,
            failure => self.failure.as_ref().map(Failure::to_value),
            page => self.page,
            address => context! {
                sign_in => address(&self.address("login")),
                register => address(&self.address("register")),
                login_code => address(&self.address("login-code")),
                forgot => address(&self.address("forgot-password")),
                account => address(&format!("{}/account", self.frame.base())),
                console => address(&format!("{}/console", self.frame.base())),
                account_email => address(&format!("{0}/login?return_to={0}%2Faccount%2Femail", self.frame.base())),
            },
            is_dev_mail => matches!(self.app.mailer, crate::mail::Mailer::Mailbox),
            min_length => self.app.config.password.min_length,
            ..content.values
        };
        let other = self.in_other_language(self.page);
        let document = match self.frame.render(&content, self.locale, &other) {
            Ok(document) => document,
            Err(error) => return error.into_response(),
        };
        let mut response = self.frame.respond(status, document, self.locale);
        let language = remember(&self.uri, &self.app.config.server.public_url);
        for cookie in language.into_iter().chain(self.new_secret.take()) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        if let Some(seconds) = wait {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// This path in the other language, with what the address says besides.
    fn in_other_language(&self, path: &str) -> String {
        let other = match self.locale {
            Locale::En => "ar",
            Locale::Ar => "en",
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("lang", other);
        if let Some(flow) = &self.flow {
            query.append_pair("flow", &flow.id.to_string());
        }
        for name in ["return_to", "reason"] {
            if let Some(value) = self.query(name) {
                query.append_pair(name, &value);
            }
        }
        format!("{}/{path}?{}", self.frame.base(), query.finish())
    }

    /// The answer to what is no matter of this page's form: a page that says so, and leads back.
    pub fn problem(self, error: impl Into<Problem>) -> Response {
        let problem = error.into();
        document::log(&problem);
        let code = problem.code.code;
        let failure = Failure::of(&problem, self.locale, &self.client.request_id, |_| None);
        let title = self.text("failed.title");
        let again = address(&self.address(self.page));
        let values = context! {
            text => failure.message,
            reference => failure.reference.or_else(|| problem.status.is_server_error().then(|| self.client.request_id.clone())),
            again,
            code,
        };
        self.respond(
            problem.status,
            Content {
                template: "notice.html",
                title: title.to_owned(),
                values,
            },
        )
    }

    /// The answer to a form that this page did not give to this browser.
    pub fn refuse(self, code: &'static str) -> Response {
        let (title, text) = match code {
            "flow_expired" => ("expired.title", self.text("expired.lead")),
            "cookies_blocked" => ("refused.title", self.text("error.cookies_blocked")),
            _ => ("refused.title", self.text("error.origin_not_allowed")),
        };
        let title = self.text(title).to_owned();
        let again = address(&self.address(self.page));
        let content = Content {
            template: "notice.html",
            title,
            values: context! { text, again, code },
        };
        self.respond(StatusCode::FORBIDDEN, content)
    }

    /// A page of this template and title.
    pub fn content(&self, template: &'static str, title: &'static str, values: Value) -> Content {
        Content {
            template,
            title: self.text(title).to_owned(),
            values,
        }
    }
}

/// The name that the state of a flow is sealed under.
fn sealed_name(id: &Uuid) -> [&[u8]; 2] {
    [b"page", id.as_bytes()]
}

fn form_mac(app: &App, secret: &Secret, page: &str, until: i64) -> [u8; 32] {
    let parts = [secret.expose().as_bytes(), page.as_bytes(), &until.to_be_bytes()];
    app.keys.tag("page form", &parts)
}
