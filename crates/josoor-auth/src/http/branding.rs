//! How the product looks on pages (`[branding]`): its files, and what pages have to know of it.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, header};
use minijinja::context;
use minijinja::value::Value;
use serde_json::json;

use crate::app::App;
use crate::config::BrandingConfig;
use crate::crypto;
use crate::domain::{Locale, Picture, Shades};
use crate::error::{Error, Result};
use crate::http::request::language::escape;
use crate::mail::{LOGO, Mail};

/// Files of a picture may hold anything that a browser draws: as documents of their own they run nothing and load nothing.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
);

/// The rules for what only a branded page has.
const RULES: &str = include_str!("../../templates/pages/branding.css");

/// The route of the files.
pub fn routes() -> Router<App> {
    Router::new().route("/branding/{file}", get(file))
}

/// The pictures that there are, each with its role.
fn pictures(branding: &BrandingConfig) -> impl Iterator<Item = (&'static str, &Picture)> {
    [
        ("logo", &branding.logo),
        ("logo-dark", &branding.logo_dark),
        ("icon", &branding.icon),
    ]
    .into_iter()
    .filter_map(|(role, picture)| picture.as_ref().map(|picture| (role, picture)))
}

async fn file(Path(name): Path<String>, State(app): State<App>) -> Result<Response> {
    let branding = &app.config.branding;
    let style = style_sheet(branding);
    let mut files = pictures(branding)
        .map(|(role, picture)| {
            let kind = picture.kind().media_type();
            (role, picture.file_name(role), kind, picture.content())
        })
        .chain(style.as_ref().map(|style| {
            let name = style_name(style);
            ("theme", name, "text/css; charset=utf-8", style.as_bytes())
        }));
    // A node that is updated later, or earlier, than the one that named the file has another one in its place.
    let role_of = |name: &str| name.rsplit_once('-').map(|(role, _)| role.to_owned());
    let asked = role_of(&name);
    let (_, own_name, kind, content) = files
        .find(|(role, ..)| asked.as_deref() == Some(*role))
        .ok_or(Error::NotFound)?;
    let keep = if own_name == name {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    Ok((
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        content.to_vec(),
    )
        .into_response())
}

/// The rules that follow the pages' style sheet; `None` where nothing is configured that needs one.
pub fn style_sheet(branding: &BrandingConfig) -> Option<String> {
    let has_links = branding.support.is_some() || branding.terms.is_some() || branding.privacy.is_some();
    let mut style = String::new();
    if let Some(accent) = branding.accent {
        let of = |shade: fn(&Shades) -> crate::domain::Colour| {
            format!("light-dark({},{})", shade(&accent.light), shade(&accent.dark))
        };
        style = format!(
            ":root{{--main:{};--on-main:{};--main-hover:{};--main-soft:{}}}",
            of(|shades| shades.main),
            of(|shades| shades.on_main),
            of(|shades| shades.hover),
            of(|shades| shades.soft)
        );
    }
    if has_links || branding.logo.is_some() {
        style.extend(RULES.lines().filter(|line| !line.starts_with("/*")));
    }
    (!style.is_empty()).then_some(style)
}

fn style_name(style: &str) -> String {
    let hash = crypto::content_name(style.as_bytes());
    format!("theme-{hash}.css")
}

fn address_of(base: &str, role: &str, picture: &Picture) -> String {
    format!("{base}/branding/{}", picture.file_name(role))
}

/// The element that loads the icon.
pub fn icon_link(branding: &BrandingConfig, base: &str) -> String {
    let (kind, address) = match &branding.icon {
        Some(icon) => (icon.kind().media_type(), address_of(base, "icon", icon)),
        None => ("image/svg+xml", format!("{base}/assets/icon.svg")),
    };
    format!(r#"<link rel="icon" type="{kind}" href="{}">"#, escape(&address))
}

/// The element that loads the style sheet, for pages that have style from files only; empty where there is none.
pub fn style_link(branding: &BrandingConfig, base: &str) -> String {
    style_sheet(branding).map_or_else(String::new, |style| {
        let address = format!("{base}/branding/{}", style_name(&style));
        format!(r#"<link rel="stylesheet" href="{}">"#, escape(&address))
    })
}

/// For the templates of the pages that the server renders.
pub fn for_template(branding: &BrandingConfig, base: &str, locale: Locale) -> Value {
    let picture = |role: &str, picture: &Option<Picture>| {
        picture
            .as_ref()
            .map(|picture| Value::from_safe_string(escape(&address_of(base, role, picture))))
    };
    let link = |url: &Option<url::Url>| {
        url.as_ref()
            .map(|url| Value::from_safe_string(escape(url.as_str())))
    };
    context! {
        name => branding.name(locale),
        has_name => branding.has_name(),
        icon_link => Value::from_safe_string(icon_link(branding, base)),
        logo => picture("logo", &branding.logo),
        logo_dark => picture("logo-dark", &branding.logo_dark),
        support => link(&branding.support),
        terms => link(&branding.terms),
        privacy => link(&branding.privacy),
    }
}

/// The HTML part of a mail as a page of its own: its logo stands in it.
pub fn with_logo_inside(mail: &Mail) -> String {
    let Some(logo) = &mail.logo else {
        return mail.html.clone();
    };
    let data = format!(
        "data:{};base64,{}",
        logo.kind().media_type(),
        STANDARD.encode(logo.content())
    );
    mail.html.replace(&format!("cid:{LOGO}"), &data)
}

/// For the program of account and console.
pub fn for_program(branding: &BrandingConfig, base: &str) -> serde_json::Value {
    let picture = |role: &str, picture: &Option<Picture>| {
        picture.as_ref().map(|picture| address_of(base, role, picture))
    };
    json!({
        "name": { "en": branding.name(Locale::En), "ar": branding.name(Locale::Ar) },
        "hasName": branding.has_name(),
        "logo": picture("logo", &branding.logo),
        "logoDark": picture("logo-dark", &branding.logo_dark),
        "support": branding.support,
        "terms": branding.terms,
        "privacy": branding.privacy,
    })
}
