//! The document around every page that the server renders: one template, with style and script in it, so that one request shows the
//! page.

use std::sync::{Arc, LazyLock};

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, ErrorKind, context};

use super::texts;
use crate::config::BrandingConfig;
use crate::crypto;
use crate::domain::{Locale, Theme};
use crate::error::{Error, Result};
use crate::http::request::language::{direction, escape};
use crate::http::{branding, files};

macro_rules! templates {
    ($($name:literal)*) => {
        const TEMPLATES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../templates/pages/", $name)))),*];
    };
}

templates! {
    "base.html" "macros.html"
    "sign_in.html" "code.html" "register.html" "forgot.html" "inbox.html"
    "reset.html" "verify.html" "undo.html" "secure.html" "setup.html"
    "link.html" "bad_link.html" "done.html"
    "login_code.html" "mail_code.html" "login_link.html"
    "sign_out.html" "signed_out.html" "unauthorized.html"
    "notice.html" "error.html"
}

static ENGLISH: LazyLock<Environment<'static>> = LazyLock::new(|| environment(Locale::En));
static ARABIC: LazyLock<Environment<'static>> = LazyLock::new(|| environment(Locale::Ar));

/// The templates, with `t("key", name=value)`, `n("key", count)` and `forms("key")` for the texts of a language.
fn environment(locale: Locale) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Chainable);
    environment.add_function("t", move |key: &str, values: Kwargs| {
        let names: Vec<String> = values.args().map(str::to_owned).collect();
        let mut given = Vec::new();
        for name in &names {
            given.push((name.as_str(), values.get::<String>(name)?));
        }
        let given: Vec<_> = given
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let text = texts::find(locale, key).ok_or_else(|| {
            minijinja::Error::new(ErrorKind::UndefinedError, format!("there is no text {key}"))
        })?;
        Ok::<_, minijinja::Error>(texts::fill(text, &given))
    });
    environment.add_function("n", move |key: &str, count: u64| {
        texts::counted(locale, key, count)
    });
    environment.add_function("forms", move |key: &str| match texts::all(locale).get(key) {
        Some(texts::Text::Counted(forms)) => serde_json::to_string(forms).unwrap_or_default(),
        _ => String::new(),
    });
    for (name, source) in TEMPLATES {
        // A template that cannot be read is missing when its page is rendered, which the tests do for each.
        let _ = environment.add_template(name, source);
    }
    environment
}

/// An address for a template. Nothing more than what HTML needs is escaped in it, unlike in a text.
pub fn address(address: &str) -> Value {
    Value::from_safe_string(escape(address))
}

/// What all pages of a service have in common.
#[derive(Debug)]
pub struct Frame {
    base: String,
    /// What pages show of the product, by language.
    brands: [Value; 2],
    style: String,
    script: &'static str,
    passkey_script: &'static str,
    policy: HeaderValue,
    sample_policy: HeaderValue,
}

/// What one page says.
#[derive(Debug)]
pub struct Content {
    /// Its template.
    pub template: &'static str,
    /// Its title, in the reader's language.
    pub title: String,
    /// What the template puts in.
    pub values: Value,
}

impl Frame {
    /// The frame of a service that is mounted at this path: `""` or `/identity`.
    pub fn new(base: &str, branding: &BrandingConfig) -> Arc<Self> {
        let mut style = files::text(files::style_sheet())
            .trim_end()
            .replace("url(./", &format!("url({base}/assets/"));
        style.push_str(&branding::style_sheet(branding).unwrap_or_default());
        let script = files::text("flow.js").trim_end();
        let passkey_script = files::text("passkey.js").trim_end();
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(crypto::sha256(text.as_bytes())));
        // No script and no style but these, nothing from elsewhere, in no frame; and no text that becomes a script.
        let policy = format!(
            "default-src 'none'; script-src {} {}; style-src {}; font-src 'self'; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash(script),
            hash(passkey_script),
            hash(&style)
        );
        let sample_policy = format!(
            "default-src 'none'; style-src {}; font-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'self'; sandbox allow-same-origin",
            hash(&style)
        );
        let [policy, sample_policy] = [policy, sample_policy].map(|policy| {
            HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
        });
        Arc::new(Self {
            base: base.to_owned(),
            brands: [Locale::En, Locale::Ar].map(|locale| branding::for_template(branding, base, locale)),
            style,
            script,
            passkey_script,
            policy,
            sample_policy,
        })
    }

    /// Where the service is mounted.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The document of a page. `other_language` is its address in the other language.
    ///
    /// # Errors
    /// `Internal` for a fault in a template.
    pub fn render(&self, content: &Content, locale: Locale, other_language: &str) -> Result<String> {
        let script = Value::from_safe_string(self.script.to_owned());
        self.render_with(content, locale, other_language, Some(script), None)
    }

    /// The document of a page in this theme, whatever the reader's is, and without its script.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_sample(&self, content: &Content, locale: Locale, theme: Theme) -> Result<String> {
        self.render_with(content, locale, "#main", None, Some(theme))
    }

    fn render_with(
        &self,
        content: &Content,
        locale: Locale,
        other_language: &str,
        script: Option<Value>,
        theme: Option<Theme>,
    ) -> Result<String> {
        let [english, arabic] = &self.brands;
        let (environment, brand) = match locale {
            Locale::En => (&*ENGLISH, english),
            Locale::Ar => (&*ARABIC, arabic),
        };
        let (other, other_name) = match locale {
            Locale::En => ("ar", "العربية"),
            Locale::Ar => ("en", "English"),
        };
        let values = context! {
            base => address(&self.base),
            brand,
            lang => locale.as_str(),
            dir => direction(locale),
            other,
            other_name,
            other_language => address(other_language),
            title => content.title.clone(),
            style => Value::from_safe_string(self.style.clone()),
            script,
            passkey_script => Value::from_safe_string(self.passkey_script.to_owned()),
            theme => theme.map(Theme::as_str),
            ..content.values.clone()
        };
        environment
            .get_template(content.template)
            .and_then(|template| template.render(values))
            .map_err(Error::internal)
    }

    /// The answer with a document.
    pub fn respond(&self, status: StatusCode, document: String, locale: Locale) -> Response {
        let mut response = (
            status,
            [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_LANGUAGE, locale.as_str()),
                (header::VARY, "accept-language, cookie"),
                // With `no-referrer` browsers would send `Origin: null` with the forms (Fetch, 3.2).
                (header::REFERRER_POLICY, "same-origin"),
            ],
            document,
        )
            .into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }

    /// The answer with a sample, which pages of this service may show in a frame. Nothing in it runs or can be submitted.
    pub fn respond_sample(&self, document: String, locale: Locale) -> Response {
        let mut response = self.respond(StatusCode::OK, document, locale);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.sample_policy.clone());
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
        response
    }
}
