//! The `Host` header of a request.

use axum::extract::Request;
use http::{Version, header};

/// Whether a request says once and well-formed which host it is for (RFC 9112, 3.2). Below HTTP/1.1 and above it, `Host` may be
/// missing, but not be there twice.
pub(crate) fn has_one_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, 7.2), with a host that is not empty, as `http` has it (4.2.1).
fn is_host(text: &[u8]) -> bool {
    let (host, rest) = if text.first() == Some(&b'[') {
        let Some(end) = text.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, rest) = (&text[1..end], &text[end + 1..]);
        let is_address =
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_address {
            return false;
        }
        (address, rest)
    } else {
        let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        text.split_at(end)
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(byte);
    let port_is_number = match rest {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && host.iter().all(is_name) && port_is_number
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use http::Version;

    use super::has_one_host;

    #[test]
    fn a_request_names_one_host() {
        let judge = |version: Version, hosts: &[&str]| {
            let mut request = Request::builder().version(version);
            for host in hosts {
                request = request.header("host", *host);
            }
            has_one_host(&request.body(Body::empty()).expect("a request"))
        };
        for good in [
            "a",
            "a.example",
            "A-1.example:80",
            "127.0.0.1:",
            "[::1]",
            "[2001:db8::1]:8080",
            "a_b",
            "x%41",
        ] {
            assert!(judge(Version::HTTP_11, &[good]), "{good}");
        }
        for bad in [
            "", " ", "a b", "a/b", "user@a", "a:b", "a:80:80", ":80", "[::1", "::1", "[a]", "[::1]x",
            "a,b@c", "a\\b", "a:999999", "http://a", "a?b", "a#b", "\u{e9}",
        ] {
            assert!(!judge(Version::HTTP_11, &[bad]), "{bad}");
            assert!(!judge(Version::HTTP_10, &[bad]), "{bad}");
        }
        assert!(!judge(Version::HTTP_11, &[]));
        assert!(!judge(Version::HTTP_11, &["a", "a"]));
        assert!(!judge(Version::HTTP_2, &["a", "b"]));
        assert!(judge(Version::HTTP_10, &[]) && judge(Version::HTTP_2, &[]));
    }
}
