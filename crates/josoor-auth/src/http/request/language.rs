//! In which language a page speaks, and what HTML needs of a text.

use http::{HeaderMap, HeaderValue, Uri, header};

use crate::config::PublicUrl;
use crate::domain::Locale;

/// The cookie in which a browser keeps the language that was chosen on a page. It is the page's to set.
const COOKIE: &str = "josoor_locale";

/// The language that an `Accept-Language` header asks for, if it asks for one of ours.
pub fn accepted_locale(headers: &HeaderMap) -> Option<Locale> {
    headers
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| Locale::from_accept_language(value.to_str().ok()?))
}

/// The language of the page that is asked for: by `lang` in the address, else the one that was chosen before, else the
/// browser's, else `default`.
pub fn page_locale(uri: &Uri, headers: &HeaderMap, default: Locale) -> Locale {
    named_in(uri)
        .or_else(|| chosen_before(headers))
        .or_else(|| accepted_locale(headers))
        .unwrap_or(default)
}

fn named_in(uri: &Uri) -> Option<Locale> {
    let query = uri.query()?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("lang=")?.parse().ok())
}

fn chosen_before(headers: &HeaderMap) -> Option<Locale> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then(|| value.parse().ok()).flatten())
}

/// Keeps the language that the address names, for a year, below the public URL.
pub fn remember(uri: &Uri, public_url: &PublicUrl) -> Option<HeaderValue> {
    let locale = named_in(uri)?;
    let base = public_url.path().trim_end_matches('/');
    let path = if base.is_empty() { "/" } else { base };
    let secure = if public_url.is_https() { "; Secure" } else { "" };
    HeaderValue::from_str(&format!(
        "{COOKIE}={locale}; Path={path}; Max-Age=31536000; SameSite=Lax{secure}"
    ))
    .ok()
}

/// The direction of writing, as HTML's `dir` has it.
pub const fn direction(locale: Locale) -> &'static str {
    match locale {
        Locale::En => "ltr",
        Locale::Ar => "rtl",
    }
}

/// Text for HTML, also inside of quotes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_goes_before_the_cookie_and_that_before_the_browser() {
        let mut headers = HeaderMap::new();
        let at = |uri: &'static str| Uri::from_static(uri);
        assert_eq!(page_locale(&at("/login"), &headers, Locale::Ar), Locale::Ar);
        headers.insert(
            header::ACCEPT_LANGUAGE,
            HeaderValue::from_static("ar-SA, en;q=0.5"),
        );
        assert_eq!(page_locale(&at("/login"), &headers, Locale::En), Locale::Ar);
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; josoor_locale=en"));
        assert_eq!(page_locale(&at("/login"), &headers, Locale::Ar), Locale::En);
        assert_eq!(
            page_locale(&at("/login?x=1&lang=ar"), &headers, Locale::En),
            Locale::Ar
        );
        assert_eq!(
            page_locale(&at("/login?lang=fr"), &headers, Locale::Ar),
            Locale::En
        );
        headers.insert(
            header::COOKIE,
            HeaderValue::from_static("josoor_locale=\"><script>"),
        );
        assert_eq!(page_locale(&at("/login"), &headers, Locale::En), Locale::Ar);
    }

    #[test]
    fn only_a_language_of_ours_is_remembered() {
        let remembered = |uri: &'static str, public_url: &str| {
            let env = [("PUBLIC_URL".to_owned(), public_url.to_owned())].into();
            let config = crate::config::Config::parse(None, &env).expect("settings");
            let cookie = remember(&Uri::from_static(uri), &config.server.public_url);
            cookie.map(|cookie| cookie.to_str().expect("ASCII").to_owned())
        };
        assert_eq!(
            remembered("/login?lang=ar", "http://localhost/sub").as_deref(),
            Some("josoor_locale=ar; Path=/sub; Max-Age=31536000; SameSite=Lax")
        );
        assert_eq!(
            remembered("/login?lang=en", "https://auth.example.com").as_deref(),
            Some("josoor_locale=en; Path=/; Max-Age=31536000; SameSite=Lax; Secure")
        );
        assert_eq!(remembered("/login?lang=x", "http://localhost"), None);
        assert_eq!(remembered("/login", "http://localhost"), None);
    }
}
