//! `/dev/mail`: the mails that would have been sent, for developers on their own machine.
//!
//! Nothing of them is stored: a mail is rendered again from its row in the outbox, its link with it. The page exists only under
//! `serve --dev` and without a mail server, and only while the peer and the `Host` header are this machine.

use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, Uri, header};
use serde_json::json;

use super::{branding, files};
use crate::app::App;
use crate::domain::Locale;
use crate::error::{Error, Result};
use crate::http::request::accept::wants_page;
use crate::http::request::client_address::is_direct_loopback;
use crate::http::request::language::{escape, page_locale};
use crate::mail::{self, Mail, Mailer};
use crate::store::MailRow;

/// How many of the last mails are shown.
const SHOWN: i64 = 100;

const POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src data:; frame-src 'self'; frame-ancestors 'self'; \
                      base-uri 'none'; form-action 'none'; sandbox allow-popups allow-popups-to-escape-sandbox allow-same-origin";

/// The routes of this file. They are not part of the documented API.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/dev/mail", get(list))
        .route("/dev/mail.json", get(list_json))
        .route("/dev/mail/{id}", get(show))
}

/// Accepts requests from this machine under `serve --dev`; for all others there is no such page.
pub(super) struct Developer;

impl FromRequestParts<App> for Developer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let is_open = app.config.dev && is_direct_loopback(parts) && host_is_loopback(parts);
        if is_open { Ok(Self) } else { Err(Error::NotFound) }
    }
}

/// Whether the request was meant for this machine by name: a page elsewhere whose name was made to lead here says
/// another one (DNS rebinding).
fn host_is_loopback(parts: &Parts) -> bool {
    let authority = if let Some(authority) = parts.uri.authority() {
        Some(authority.as_str())
    } else {
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        if hosts.next().is_some() { None } else { host }
    };
    let Some(authority) = authority.and_then(|text| text.parse::<http::uri::Authority>().ok()) else {
        return false;
    };
    let host = authority.host();
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

async fn mails(app: &App) -> Result<Vec<(MailRow, Mail)>> {
    if !matches!(app.mailer, Mailer::Mailbox) {
        return Err(Error::NotFound);
    }
    let rows = app.db.read().await?.sent_mails(SHOWN).await?;
    let base = app.config.server.public_url.as_str();
    rows.into_iter()
        .map(|row| {
            let mut mail = mail::render(&row, base, &app.config.branding, &app.keys)?;
            mail.html = branding::with_logo_inside(&mail);
            Ok((row, mail))
        })
        .collect()
}

async fn list(developer: Developer, state: State<App>, uri: Uri, headers: HeaderMap) -> Result<Response> {
    if !wants_page(&headers) {
        return list_json(developer, state).await;
    }
    let locale = page_locale(&uri, &headers, Locale::En);
    let page = render_list(&mails(&state).await?, locale);
    Ok(html(page, locale))
}

async fn list_json(_: Developer, State(app): State<App>) -> Result<Response> {
    let from = app.mailer.sender();
    let items: Vec<_> = mails(&app)
        .await?
        .into_iter()
        .map(|(row, mail)| {
            json!({
                "id": row.id,
                "kind": row.kind.as_str(),
                "to": mail.to,
                "from": from,
                "subject": mail.subject,
                "text": mail.text,
                "html": mail.html,
                "link": mail.link,
                "locale": row.locale.as_str(),
                "created_at": row.created_at,
                "sent_at": row.sent_at,
            })
        })
        .collect();
    let total = items.len();
    let answer = Json(json!({ "items": items, "total": total }));
    Ok(([(header::CACHE_CONTROL, "no-store")], answer).into_response())
}

async fn show(_: Developer, State(app): State<App>, Path(id): Path<String>) -> Result<Response> {
    let (_, mail) = mails(&app)
        .await?
        .into_iter()
        .find(|(row, _)| row.id.to_string() == id)
        .ok_or(Error::NotFound)?;
    Ok(html(mail.html, mail.locale))
}

fn html(page: String, locale: Locale) -> Response {
    (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, locale.as_str()),
            (header::CACHE_CONTROL, "no-store"),
            (header::VARY, "accept, accept-language, cookie"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        ],
        page,
    )
        .into_response()
}

fn render_list(mails: &[(MailRow, Mail)], locale: Locale) -> String {
    let (direction, title, lead, none, open, plain) = match locale {
        Locale::En => (
            "ltr",
            "Development mailbox",
            "No mail server is configured, so nothing leaves this machine. These are the last mails, the newest first.",
            "No mail yet.",
            "Open the link",
            "Plain text",
        ),
        Locale::Ar => (
            "rtl",
            "صندوق بريد التطوير",
            "لم يُضبط خادم بريد، ولذلك لا تغادر أي رسالة هذا الجهاز. هذه آخر الرسائل، الأحدث أولًا.",
            "لا توجد رسائل بعد.",
            "فتح الرابط",
            "النص العادي",
        ),
    };
    let mut items = String::new();
    for (row, sent) in mails {
        let link = sent.link.as_deref().map_or_else(String::new, |link| {
            format!(
                "<p><a class=\"button\" href=\"{}\" target=\"_blank\" rel=\"noopener\">{open}</a></p>",
                escape(link)
            )
        });
        let time = mail::moment(locale, row.created_at);
        items.push_str(&format!(
            "<section class=\"card\"><h2><bdi>{}</bdi></h2>\
             <p class=\"small\"><bdi dir=\"ltr\">{}</bdi> · <time datetime=\"{}\"><bdi>{time}</bdi></time></p>{link}\
             <iframe sandbox=\"allow-popups\" title=\"{}\" src=\"/dev/mail/{}\"></iframe>\
             <details><summary>{plain}</summary><pre dir=\"auto\">{}</pre></details></section>",
            escape(&sent.subject),
            escape(&sent.to),
            row.created_at,
            escape(&sent.subject),
            row.id,
            escape(&sent.text),
        ));
    }
    if items.is_empty() {
        items = format!("<p class=\"card\">{none}</p>");
    }
    let style = files::style_sheet();
    format!(
        r#"<!doctype html>
<html lang="{locale}" dir="{direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · JOSOOR</title>
<link rel="stylesheet" href="/{style}">
<style>
iframe{{inline-size:100%;block-size:34rem;border:1px solid var(--line);border-radius:var(--radius-2);background:#fff;resize:vertical}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;font:var(--text-1)/1.6 var(--mono)}}
summary{{cursor:pointer;margin-block-start:var(--space-3)}}
</style>
<link rel="icon" href="data:,">
</head>
<body>
<header class="top"><a class="brand" href="/account"><b lang="ar">جسور</b><b>JOSOOR</b></a></header>
<main class="wide">
<h1>{title}</h1>
<p>{lead}</p>
{items}
</main>
</body>
</html>
"#
    )
}
