use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use proptest::prelude::*;

use super::*;

fn nets() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/8"]
        .map(|net| net.parse().expect("a net"))
        .to_vec()
}

/// Header lines: name and value.
type Lines<'text> = &'text [(&'static str, &'text str)];

fn from(peer: &str, lines: Lines<'_>) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().expect("a header value"));
    }
    // Each line of the table is about one header.
    let header = match lines.first() {
        Some(("forwarded", _)) => ForwardedHeader::Forwarded,
        Some(("x-real-ip", _)) => ForwardedHeader::XRealIp,
        _ => ForwardedHeader::XForwardedFor,
    };
    client_address(peer.parse().expect("an address"), &headers, &nets(), header).to_string()
}

#[test]
fn an_address_is_taken_from_trusted_proxies_only() {
    const XFF: &str = "x-forwarded-for";
    const FWD: &str = "forwarded";
    let table: &[(&str, Lines<'_>, &str)] = &[
        ("203.0.113.9", &[], "203.0.113.9"),
        ("203.0.113.9", &[(XFF, "1.2.3.4")], "203.0.113.9"),
        ("203.0.113.9", &[(FWD, "for=1.2.3.4")], "203.0.113.9"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[(XFF, "1.2.3.4")], "1.2.3.4"),
        ("::ffff:10.0.0.1", &[(XFF, "::ffff:1.2.3.4")], "1.2.3.4"),
        ("10.0.0.1", &[(XFF, "6.6.6.6, 1.2.3.4, 10.0.0.2")], "1.2.3.4"),
        ("10.0.0.1", &[(XFF, "6.6.6.6"), (XFF, "1.2.3.4")], "1.2.3.4"),
        ("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ("10.0.0.1", &[(XFF, "1.2.3.4, garbage, 10.0.0.2")], "10.0.0.2"),
        ("10.0.0.1", &[(XFF, "garbage")], "10.0.0.1"),
        ("10.0.0.1", &[(XFF, "")], "10.0.0.1"),
        ("10.0.0.1", &[(XFF, "1.2.3.4:555")], "1.2.3.4"),
        ("10.0.0.1", &[(XFF, "2001:db8::1")], "2001:db8::1"),
        ("10.0.0.1", &[(XFF, "[2001:db8::1]:555")], "2001:db8::1"),
        ("10.0.0.1", &[(XFF, "fe80::1%eth0")], "10.0.0.1"),
        ("10.0.0.1", &[(XFF, "1.2.3.4:99999")], "10.0.0.1"),
        (
            "fd00::1",
            &[(FWD, "for=1.2.3.4;proto=https;by=10.0.0.1")],
            "1.2.3.4",
        ),
        (
            "10.0.0.1",
            &[(FWD, "For=\"[2001:db8:cafe::17]:4711\"")],
            "2001:db8:cafe::17",
        ),
        ("10.0.0.1", &[(FWD, "for=6.6.6.6, for=\"1.2.3.4:_p\"")], "1.2.3.4"),
        ("10.0.0.1", &[(FWD, "for=6.6.6.6, for=_hidden")], "10.0.0.1"),
        (
            "10.0.0.1",
            &[(FWD, "for=6.6.6.6, for=unknown, for=10.0.0.2")],
            "10.0.0.2",
        ),
        ("10.0.0.1", &[(FWD, "for=6.6.6.6, proto=https")], "10.0.0.1"),
        ("10.0.0.1", &[(FWD, "for=6.6.6.6;for=7.7.7.7")], "10.0.0.1"),
        (
            "10.0.0.1",
            &[(FWD, "by=\"a,for=6.6.6.6\\\",\";for=1.2.3.4")],
            "1.2.3.4",
        ),
        ("10.0.0.1", &[(FWD, "for=\"1.2.3.4")], "10.0.0.1"),
        ("10.0.0.1", &[(FWD, "for=1.2.3.4"), (XFF, "1.2.3.4")], "1.2.3.4"),
        ("10.0.0.1", &[(XFF, "1.2.3.4"), (FWD, "for=6.6.6.6")], "1.2.3.4"),
        ("10.0.0.1", &[(FWD, "for=1.2.3.4"), (XFF, "6.6.6.6")], "1.2.3.4"),
        (
            "10.0.0.1",
            &[("x-real-ip", "1.2.3.4"), (XFF, "6.6.6.6")],
            "1.2.3.4",
        ),
        ("10.0.0.1", &[("x-real-ip", "6.6.6.6, 1.2.3.4")], "10.0.0.1"),
        (
            "10.0.0.1",
            &[("x-real-ip", "6.6.6.6"), ("x-real-ip", "1.2.3.4")],
            "10.0.0.1",
        ),
    ];
    for (peer, lines, expected) in table {
        assert_eq!(&from(peer, lines), expected, "{peer} {lines:?}");
    }
}

proptest! {
    #[test]
    fn nothing_a_client_sends_chooses_its_address(
        forwarded in "(for=\"?(6\\.6\\.6\\.[0-9]|10\\.0\\.0\\.[0-9]|_x)\"?(, ?|;)?|[ -~]{1,3}){0,4}",
        x_forwarded_for in "((6\\.6\\.6\\.[0-9]|10\\.0\\.0\\.[0-9]|x)(, ?)?|[ -~]{1,3}){0,4}",
        client: [u8; 4],
    ) {
        let client = IpAddr::from(client);
        prop_assume!(!nets().iter().any(|net| net.contains(&client)));
        let mut headers = HeaderMap::new();
        headers.append("forwarded", forwarded.parse().expect("printable"));
        headers.append("x-forwarded-for", x_forwarded_for.parse().expect("printable"));
        // A peer that is not trusted is itself.
        let header = ForwardedHeader::XForwardedFor;
        prop_assert_eq!(client_address(client, &headers, &nets(), header), client);
        // Behind a proxy that appends what it sees, the client is what the proxy saw, never a claim.
        let proxy: IpAddr = "10.0.0.1".parse().expect("an address");
        headers.append("x-forwarded-for", client.to_string().parse().expect("printable"));
        prop_assert_eq!(client_address(proxy, &headers, &nets(), header), client);
    }

    #[test]
    fn reading_never_panics(line in "\\PC{0,80}") {
        let _ = parse_forwarded(&line);
    }
}

#[test]
fn loopback_is_direct_only_without_traces_of_a_proxy() {
    let parts = |peer: &str, name: Option<&'static str>| {
        let mut request = Request::get("/").body(()).expect("a request");
        let peer: SocketAddr = peer.parse().expect("an address");
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(name) = name {
            request
                .headers_mut()
                .insert(name, http::HeaderValue::from_static("x"));
        }
        request.into_parts().0
    };
    assert!(is_direct_loopback(&parts("127.0.0.1:1", None)));
    assert!(is_direct_loopback(&parts("[::1]:1", None)));
    assert!(is_direct_loopback(&parts("[::ffff:127.0.0.1]:1", None)));
    assert!(!is_direct_loopback(&parts("10.0.0.1:1", None)));
    for trace in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-real-ip",
        "via",
    ] {
        assert!(!is_direct_loopback(&parts("127.0.0.1:1", Some(trace))), "{trace}");
    }
    let unconnected = Request::get("/").body(()).expect("a request").into_parts().0;
    assert!(!is_direct_loopback(&unconnected));
}
