//! The cookies: the refresh token of cookie transport, the mark of a known device, the binding of a sign-in that waits for its second
//! factor, and what the forms of the pages are bound to.
//!
//! The first three are `HttpOnly` and `SameSite=Strict`. When the public URL is https they are also `Secure` and have a prefix that browsers
//! enforce (RFC 6265bis, 4.1.3): `__Host-` at the root of a host, so that no other host of the site can set them, and below a
//! path `__Secure-`, because `__Host-` would give them to every program of the host. Without that prefix they go to `/auth` of
//! the service alone. A request that sends the refresh cookie or asks for one must come from an origin that may have it.
//!
//! Names and paths of the release before are read and removed until the next release.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use crate::app::App;
use crate::auth::devices;
use crate::config::{Config, loopback_alike};
use crate::domain::{Email, KnownDevice, Secret};
use crate::error::{Error, Result};
use crate::keys::DeviceMark;
use crate::sessions::{Held, Issued};

/// The names of one cookie, by prefix.
struct Names {
    plain: &'static str,
    host: &'static str,
    secure: &'static str,
    /// What it was called under https in the release before, at `Path=/`.
    before: &'static str,
}

const REFRESH: Names = Names {
    plain: "josoor_refresh",
    host: "__Host-josoor_refresh",
    secure: "__Secure-josoor_refresh",
    before: "__Host-josoor_refresh",
};

const DEVICE: Names = Names {
    plain: "josoor_device",
    host: "__Host-josoor_device",
    secure: "__Secure-josoor_device",
    before: "josoor_device",
};

const FLOW: Names = Names {
    plain: "josoor_flow",
    host: "__Host-josoor_flow",
    secure: "__Secure-josoor_flow",
    before: "josoor_flow",
};

/// What the forms of the pages are bound to: a random text that only this browser sends. It goes to the pages as well, and with a visit
/// that comes from a link elsewhere, so that it is `SameSite=Lax`.
const PAGE: Names = Names {
    plain: "josoor_page",
    host: "__Host-josoor_page",
    secure: "__Secure-josoor_page",
    before: "josoor_page",
};

/// What all cookies of the release before had.
const PATH_BEFORE: &str = "/";

impl Names {
    fn name(&self, config: &Config) -> &'static str {
        let url = &config.server.public_url;
        match (url.is_https(), url.path().is_empty()) {
            (true, true) => self.host,
            (true, false) => self.secure,
            (false, _) => self.plain,
        }
    }

    fn name_before(&self, config: &Config) -> &'static str {
        if config.server.public_url.is_https() {
            self.before
        } else {
            self.plain
        }
    }

    /// The cookie that sets a value, and the one that removes what the release before has set, if the request sends one.
    fn set(&self, config: &Config, headers: &HeaderMap, value: &str, max_age: i64) -> Vec<HeaderValue> {
        let (name, path) = (self.name(config), path(config));
        let mut all = vec![cookie(config, name, &path, value, max_age)];
        let before = self.name_before(config);
        if (before, PATH_BEFORE) != (name, path.as_str()) && is_sent(headers, before) {
            all.push(cookie(config, before, PATH_BEFORE, "", 0));
        }
        all.into_iter().flatten().collect()
    }
}

/// The path below which browsers send the cookies. Every endpoint that reads them is there.
fn path(config: &Config) -> String {
    let url = &config.server.public_url;
    // `__Host-` wants the root; and a cookie's attribute ends at a semicolon.
    if url.is_https() && url.path().is_empty() || url.path().contains(';') {
        return "/".to_owned();
    }
    format!("{}/auth", url.path())
}

/// The values of all cookies of a name that the request sends.
fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(move |(key, value)| (key == name).then_some(value))
}

fn is_sent(headers: &HeaderMap, name: &str) -> bool {
    values(headers, name).next().is_some()
}

/// The value of a cookie, if the request sends exactly one of that name.
fn read<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = values(headers, name);
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Some(value),
        // Two of one name: one of them was planted, and it is not known which.
        _ => None,
    }
}

fn cookie(config: &Config, name: &str, path: &str, value: &str, max_age: i64) -> Option<HeaderValue> {
    let secure = if config.server.public_url.is_https() {
        "; Secure"
    } else {
        ""
    };
    let text = format!("{name}={value}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The refresh token in the request's cookie. The request's origin is not verified yet.
pub fn refresh_token<'h>(app: &App, headers: &'h HeaderMap) -> Option<&'h str> {
    let name = REFRESH.name(&app.config);
    if is_sent(headers, name) {
        return read(headers, name);
    }
    read(headers, REFRESH.name_before(&app.config))
}

/// The session whose refresh cookie the request sends, if its token is ours and within its time. The request's origin has been
/// verified.
pub fn held_session(app: &App, headers: &HeaderMap) -> Option<Held> {
    let claims = app.keys.refresh.read(refresh_token(app, headers)?).ok()?;
    (app.clock.now().as_secs() < claims.exp).then(|| Held {
        session: claims.session(),
        generation: claims.generation,
    })
}

/// Sets the refresh cookie for as long as the refresh token is valid.
pub fn set_refresh(app: &App, headers: &HeaderMap, issued: &Issued) -> Vec<HeaderValue> {
    let Some(token) = &issued.refresh_token else {
        return Vec::new();
    };
    let seconds = issued.refresh_expires_at.as_secs() - issued.issued_at.as_secs();
    REFRESH.set(&app.config, headers, token.expose(), seconds.max(1))
}

/// Takes the refresh cookie away.
pub fn clear_refresh(app: &App, headers: &HeaderMap) -> Vec<HeaderValue> {
    REFRESH.set(&app.config, headers, "", 0)
}

/// Takes the refresh cookie away, if the request sends one from where it may.
pub fn clear_refresh_if_allowed(app: &App, headers: &HeaderMap) -> Vec<HeaderValue> {
    if refresh_token(app, headers).is_some() && require_origin(app, headers).is_ok() {
        clear_refresh(app, headers)
    } else {
        Vec::new()
    }
}

/// The mark of the device that the request comes from, if it is ours and issued for this canonical address. Whether the account
/// knows the device still has to be verified.
pub fn device_mark(app: &App, email_key: &str, headers: &HeaderMap) -> Option<DeviceMark> {
    // Marks of the release before have no rows and are worth nothing, so their name is not read.
    read(headers, DEVICE.name(&app.config)).and_then(|value| app.keys.marks.read(email_key, value))
}

/// Gives the browser the mark of the device that the user has signed in on.
pub fn set_device(app: &App, headers: &HeaderMap, issued: &Issued) -> Vec<HeaderValue> {
    let (Some(KnownDevice { user, id }), Ok(email)) = (issued.device, Email::parse(&issued.user.email))
    else {
        return Vec::new();
    };
    let value = app.keys.marks.issue(&DeviceMark { user, id }, email.key());
    let seconds = i64::try_from(devices::DEVICE_LIFE.as_secs()).unwrap_or(i64::MAX);
    DEVICE.set(&app.config, headers, &value, seconds)
}

/// What binds the browser to the sign-in that it has begun.
pub fn flow_binding<'h>(app: &App, headers: &'h HeaderMap) -> Option<&'h str> {
    read(headers, FLOW.name(&app.config))
}

/// Binds the browser to the sign-in that it has begun, for as long as that waits.
pub fn set_flow(
    app: &App,
    headers: &HeaderMap,
    binding: Option<&Secret>,
    expires_in: Duration,
) -> Vec<HeaderValue> {
    let Some(binding) = binding else {
        return Vec::new();
    };
    let seconds = i64::try_from(expires_in.as_secs()).unwrap_or(i64::MAX);
    FLOW.set(&app.config, headers, binding.expose(), seconds)
}

/// Takes the binding away, if the request sends one.
pub fn clear_flow(app: &App, headers: &HeaderMap) -> Vec<HeaderValue> {
    if is_sent(headers, FLOW.name(&app.config)) {
        FLOW.set(&app.config, headers, "", 0)
    } else {
        Vec::new()
    }
}

/// The text that the forms of this browser are bound to.
pub fn page_secret<'h>(app: &App, headers: &'h HeaderMap) -> Option<&'h str> {
    read(headers, PAGE.name(&app.config)).filter(|value| value.len() == 43)
}

/// Gives the browser the text that its forms are bound to, until it is closed.
pub fn set_page_secret(app: &App, value: &Secret) -> Option<HeaderValue> {
    let url = &app.config.server.public_url;
    let path = if url.path().is_empty() || url.path().contains(';') {
        "/"
    } else {
        url.path()
    };
    let secure = if url.is_https() { "; Secure" } else { "" };
    let name = PAGE.name(&app.config);
    let text = format!(
        "{name}={}; Path={path}; HttpOnly; SameSite=Lax{secure}",
        value.expose()
    );
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Refuses a form unless the browser says that it comes from a page of the service itself: by `Origin`, which browsers send with
/// every POST, and, where they send it as well, by `Sec-Fetch-Site` (Fetch Metadata).
pub fn require_same_origin(app: &App, headers: &HeaderMap) -> Result<()> {
    let is_same = |site: &HeaderValue| site == "same-origin";
    if !headers.get_all("sec-fetch-site").iter().all(is_same) {
        return Err(Error::OriginNotAllowed);
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return Err(Error::OriginNotAllowed);
    };
    let origin = origin.to_str().map_err(|_| Error::OriginNotAllowed)?;
    if loopback_alike(origin) == loopback_alike(&app.config.server.public_url.origin()) {
        Ok(())
    } else {
        Err(Error::OriginNotAllowed)
    }
}

/// Refuses a request about the refresh cookie unless a browser says that it comes from the service's own origin, or
/// from a configured one of the same site.
pub fn require_origin(app: &App, headers: &HeaderMap) -> Result<()> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return Err(Error::OriginNotAllowed);
    };
    let origin = origin.to_str().map_err(|_| Error::OriginNotAllowed)?;
    let server = &app.config.server;
    let own = server.public_url.origin();
    let listed = server
        .cors_origins
        .iter()
        .any(|allowed| allowed.to_string() == origin);
    if loopback_alike(origin) == loopback_alike(&own) || (listed && same_site(origin, &own)) {
        Ok(())
    } else {
        Err(Error::OriginNotAllowed)
    }
}

/// Whether two origins belong to one site: same scheme, and hosts that are equal or under one registrable domain. The
/// last two labels stand for that domain. Under a public suffix of two labels this is too generous, but the origin
/// is one that the operator has listed, and browsers, which know all suffixes, do not send a `SameSite=Strict` cookie
/// from another site.
fn same_site(left: &str, right: &str) -> bool {
    let parts = |origin: &str| {
        let (scheme, rest) = origin.split_once("://")?;
        let host = rest.rsplit_once(':').map_or(rest, |(host, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) {
                host
            } else {
                rest
            }
        });
        Some((scheme.to_owned(), host.to_ascii_lowercase()))
    };
    let (Some((scheme, host)), Some((other_scheme, other_host))) =
        (parts(&loopback_alike(left)), parts(&loopback_alike(right)))
    else {
        return false;
    };
    if scheme != other_scheme {
        return false;
    }
    let is_name = |host: &str| host.parse::<std::net::Ipv4Addr>().is_err() && !host.starts_with('[');
    let domain = |host: &str| {
        let mut labels = host.rsplitn(3, '.');
        Some(format!("{1}.{0}", labels.next()?, labels.next()?))
    };
    host == other_host
        || (is_name(&host)
            && is_name(&other_host)
            && domain(&host).is_some()
            && domain(&host) == domain(&other_host))
}

#[cfg(test)]
mod tests {
    use super::{read, same_site};
    use http::{HeaderMap, HeaderValue, header};

    #[test]
    fn one_site_is_one_scheme_and_one_registrable_domain() {
        for (left, right) in [
            ("https://app.example.com", "https://auth.example.com"),
            ("https://example.com:8443", "https://auth.example.com"),
            ("http://localhost:3000", "http://127.0.0.1:8000"),
            ("http://10.0.0.1:3000", "http://10.0.0.1:8000"),
        ] {
            assert!(same_site(left, right), "{left} {right}");
        }
        for (left, right) in [
            ("http://app.example.com", "https://auth.example.com"),
            ("https://evil.com", "https://auth.example.com"),
            ("https://badexample.com", "https://example.com"),
            ("http://10.0.0.1", "http://9.0.0.1"),
            ("null", "https://example.com"),
        ] {
            assert!(!same_site(left, right), "{left} {right}");
        }
    }

    #[test]
    fn two_cookies_of_one_name_are_none() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_static("a=1; josoor_refresh=x; b=2"),
        );
        assert_eq!(read(&headers, "josoor_refresh"), Some("x"));
        headers.append(header::COOKIE, HeaderValue::from_static("josoor_refresh=y"));
        assert_eq!(read(&headers, "josoor_refresh"), None);
        assert_eq!(read(&headers, "josoor"), None);
    }
}
