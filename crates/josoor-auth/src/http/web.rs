//! The pages that people see: sign-in, account, console. They are built by Vite (`web/`), packed by `build.rs` and part of the
//! binary.
//!
//! Every page is the same small document in the reader's language, which loads the program that draws it; the title and what
//! the program has to know of the configuration are put in here. The files have their content's hash in their
//! names and may be kept for a year; the document never is.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::json;

use crate::app::App;
use crate::config::RegistrationMode;
use crate::domain::Locale;
use crate::error::{Error, Result};
use crate::http::request::language::{escape, page_locale, remember};
use crate::mail::Mailer;

/// No script and no style but our own files, nothing from elsewhere, in no frame; and no text that becomes a script:
/// the pages make no policy for such texts (Trusted Types), so that none can be made.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

struct File {
    /// Below `assets/web`.
    name: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// Where pages are, and what they are called until their program has drawn them.
const PAGES: [(&str, &str, &str); 14] = [
    ("/login", "Sign in", "تسجيل الدخول"),
    ("/register", "Create an account", "إنشاء حساب"),
    ("/forgot-password", "Forgot your password?", "نسيت كلمة المرور؟"),
    (
        "/reset-password",
        "Choose a new password",
        "اختيار كلمة مرور جديدة",
    ),
    (
        "/verify-email",
        "Confirm your email address",
        "تأكيد بريدك الإلكتروني",
    ),
    ("/undo", "Undo a change", "التراجع عن تغيير"),
    ("/secure-account", "Secure your account", "تأمين حسابك"),
    (
        "/setup",
        "Create the first administrator",
        "إنشاء مدير النظام الأول",
    ),
    ("/signed-out", "You're signed out", "تم تسجيل خروجك"),
    (
        "/unauthorized",
        "You don't have access to this page",
        "لا تملك صلاحية الوصول إلى هذه الصفحة",
    ),
    ("/account", "My account", "حسابي"),
    ("/account/{*section}", "My account", "حسابي"),
    ("/console", "Console", "لوحة الإدارة"),
    ("/console/{*section}", "Console", "لوحة الإدارة"),
];

/// The routes of this file. They are not part of the documented API.
pub fn routes() -> Router<App> {
    let mut router = Router::new()
        .route("/", get(home))
        .route("/assets/{*name}", get(file))
        // Where password managers send their users (W3C, A Well-Known URL for Changing Passwords).
        .route("/.well-known/change-password", get(change_password));
    for (path, title, title_ar) in PAGES {
        let page = async move |State(app): State<App>, uri: Uri, headers: HeaderMap| {
            shell(&app, StatusCode::OK, (title, title_ar), &uri, &headers)
        };
        router = router.route(path, get(page));
    }
    router
}

/// For people the way in; for programs there is nothing here.
async fn home(State(app): State<App>, headers: HeaderMap) -> Result<Redirect> {
    if !wants_page(&headers) {
        return Err(Error::NotFound);
    }
    Ok(Redirect::to(&app.config.server.public_url.join("/account")))
}

/// Whether the client is a browser that wants a page.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

async fn change_password(State(app): State<App>) -> Response {
    let to = app.config.server.public_url.join("/account/password");
    (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
}

/// The answer where there is no route: a page for browsers, and a problem document for programs.
pub async fn nothing(
    State(app): State<App>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let is_read = matches!(method, Method::GET | Method::HEAD);
    // No page's path ends with a slash. In the API such a path is nothing, whatever the method.
    let path = uri.path().trim_matches('/');
    let is_api = path.starts_with("auth/") || path.starts_with("admin/");
    if is_read && uri.path().ends_with('/') && !path.is_empty() && !is_api {
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let to = app.config.server.public_url.join(&format!("{path}{query}"));
        return Ok(Redirect::permanent(&to).into_response());
    }
    if wants_page(&headers) && is_read {
        let title = ("Page not found", "الصفحة غير موجودة");
        return Ok(shell(&app, StatusCode::NOT_FOUND, title, &uri, &headers));
    }
    Err(Error::NotFound)
}

/// The document of a page.
fn shell(app: &App, status: StatusCode, title: (&str, &str), uri: &Uri, headers: &HeaderMap) -> Response {
    let config = &app.config;
    let base = config.server.public_url.path().trim_end_matches('/');
    let locale = page_locale(uri, headers, config.mail.locale);
    let (name, title) = match locale {
        Locale::En => ("shell.en.html", title.0),
        Locale::Ar => ("shell.ar.html", title.1),
    };
    let Some(template) = find(name).and_then(|file| std::str::from_utf8(file.plain).ok()) else {
        return Error::Internal(anyhow::anyhow!("{name} is not in the binary")).into_response();
    };
    let settings = json!({
        "base": base,
        "registration": match config.registration.mode {
            RegistrationMode::Open => "open",
            RegistrationMode::VerifyFirst => "verify_first",
            RegistrationMode::Closed => "closed",
        },
        "passwordMinLength": config.password.min_length,
        "deletionGrace": config.account.deletion_grace.as_secs(),
        "devMail": matches!(app.mailer, Mailer::Mailbox),
    });
    let document = template
        .replace("{{base}}", &escape(base))
        .replace("{{config}}", &escape(&settings.to_string()))
        .replace("{{title}}", &format!("{} · JOSOOR", escape(title)));
    let mut response = (
        status,
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, locale.as_str()),
            (header::VARY, "accept-language, cookie"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        document,
    )
        .into_response();
    if let Some(cookie) = remember(uri, &config.server.public_url) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn find(name: &str) -> Option<&'static File> {
    FILES
        .binary_search_by(|file| file.name.cmp(name))
        .ok()
        .and_then(|index| FILES.get(index))
}

/// The address of the pages' style sheet, below the service's own.
pub fn style_sheet() -> &'static str {
    FILES
        .iter()
        .map(|file| file.name)
        .find(|name| {
            std::path::Path::new(name)
                .extension()
                .is_some_and(|kind| kind == "css")
        })
        .unwrap_or_default()
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response> {
    let file = find(&format!("assets/{name}")).ok_or(Error::NotFound)?;
    let kind = match name.rsplit_once('.').map(|(_, kind)| kind) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    };
    // What has no hash in its name may be another file tomorrow.
    let keep = if name.contains('-') {
        "public, max-age=31536000, immutable"
    } else {
        "public, max-age=86400"
    };
    let (encoding, content) = match accepted_encoding(&headers) {
        Some("br") => (Some("br"), file.brotli),
        Some("gzip") => (Some("gzip"), file.gzip),
        _ => (None, file.plain),
    };
    let mut response = (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, keep),
            (header::VARY, "accept-encoding"),
        ],
        content,
    )
        .into_response();
    if let Some(encoding) = encoding {
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, http::HeaderValue::from_static(encoding));
    }
    Ok(response)
}

/// The best of our encodings that an `Accept-Encoding` header (RFC 9110, 12.5.3) takes.
fn accepted_encoding(headers: &HeaderMap) -> Option<&'static str> {
    let takes = |wanted: &str| {
        headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|part| {
                let mut part = part.split(';').map(str::trim);
                let is_wanted = part.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
                let quality = part.find_map(|p| p.strip_prefix("q=")?.parse::<f32>().ok());
                is_wanted && quality.is_none_or(|quality| quality > 0.0)
            })
    };
    ["br", "gzip"].into_iter().find(|encoding| takes(encoding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_a_page_names_is_there_and_packs_well() {
        for name in ["shell.en.html", "shell.ar.html"] {
            let page = std::str::from_utf8(find(name).expect("a page").plain).expect("UTF-8");
            let named: Vec<_> = page
                .split("{{base}}/")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .collect();
            assert!(named.len() >= 4 && named.contains(&style_sheet()), "{named:?}");
            for name in named {
                assert!(find(name).is_some(), "{name}");
            }
            assert!(!page.contains("<style") && !page.contains("javascript:") && !page.contains("://"));
            assert_eq!(
                page.matches("<script").count(),
                page.matches("<script type=\"module\" src=").count()
            );
        }
    }

    #[test]
    fn the_first_load_of_the_sign_in_is_at_most_90_kb() {
        for name in ["shell.en.html", "shell.ar.html"] {
            let document = find(name).expect("a page");
            let page = std::str::from_utf8(document.plain).expect("UTF-8");
            let mut wanted: Vec<_> = page
                .split("{{base}}/")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .collect();
            // What the program imports at once is loaded as well.
            let mut index = 0;
            while let Some(name) = wanted.get(index).copied() {
                let text = String::from_utf8_lossy(find(name).expect("a file").plain);
                for import in text
                    .split("from\"./")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next())
                {
                    let found = FILES
                        .iter()
                        .find(|file| file.name.strip_prefix("assets/") == Some(import));
                    if let Some(found) = found.filter(|found| !wanted.contains(&found.name)) {
                        wanted.push(found.name);
                    }
                }
                index += 1;
            }
            wanted.sort_unstable();
            wanted.dedup();
            let bytes: usize = document.gzip.len()
                + wanted
                    .iter()
                    .filter_map(|name| find(name))
                    .map(|file| file.gzip.len())
                    .sum::<usize>();
            assert!((20_000..=90_000).contains(&bytes), "{bytes} bytes: {wanted:?}");
        }
    }

    #[test]
    fn encodings_are_sent_to_who_takes_them() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static(value));
            accepted_encoding(&headers)
        };
        assert_eq!(with("gzip, deflate, br, zstd"), Some("br"));
        assert_eq!(with("gzip;q=0.5, br;q=0"), Some("gzip"));
        assert_eq!(with("identity"), None);
        assert_eq!(accepted_encoding(&HeaderMap::new()), None);
    }
}
