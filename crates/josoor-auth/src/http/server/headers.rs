//! The security headers of every response (OWASP Secure Headers, ASVS 3.4).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The headers of every response, unless its handler sets one of the same name.
const DEFAULTS: [(HeaderName, &str); 8] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    // Most answers are about one user; a handler that serves something public sets its own.
    (header::CACHE_CONTROL, "no-store"),
];

/// Two years, as browsers ask for (RFC 6797). Only this host: others of the domain are not ours to decide about.
const HSTS: &str = "max-age=63072000";

/// The headers that every response gets unless it has them.
#[derive(Clone, Debug)]
pub struct SecurityHeaders(HeaderMap);

impl SecurityHeaders {
    /// For a service under this address.
    pub fn new(public_url: &str) -> Self {
        let defaults = DEFAULTS.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let mut headers = HeaderMap::from_iter(defaults);
        if public_url.starts_with("https://") {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
        }
        Self(headers)
    }

    /// Adds those that are missing.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(public_url: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=60"),
        );
        SecurityHeaders::new(public_url).add_to(&mut headers);
        headers
    }

    #[test]
    fn defaults_yield_to_the_handler_and_hsts_needs_https() {
        let plain = headers("http://localhost:8000");
        assert_eq!(plain["cache-control"], "public, max-age=60");
        assert_eq!(plain["x-frame-options"], "DENY");
        assert_eq!(
            plain["content-security-policy"],
            "default-src 'none'; frame-ancestors 'none'"
        );
        assert!(!plain.contains_key("strict-transport-security"));
        assert!(headers("https://auth.example").contains_key("strict-transport-security"));
    }
}
