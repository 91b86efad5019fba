use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::StatusCode;
use proptest::prelude::*;
use tower::ServiceExt;

use super::*;
use crate::http::server::stack::Stack;
use crate::telemetry::Metrics;

#[expect(clippy::unnecessary_wraps, reason = "it has the form of a parser")]
fn text(text: &str) -> Result<String, Invalid> {
    Ok(text.to_owned())
}

fn refused(body: &[u8]) -> (&'static str, StatusCode) {
    let problem = Fields::from_json(body).expect_err("accepted");
    (problem.code.code, problem.status)
}

#[test]
fn json_is_read_strictly() {
    for bad in [
        &b""[..],
        b"{",
        b"{\"a\":1,}",
        b"{} x",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":1,\"a\":2}",
        br#"{"email":"a","\u0065mail":"b"}"#,
        br#"{"a":{"b":1,"b":2}}"#,
        br#"{"a":"\ud800"}"#,
        br#"{"a":"\udc00\ud800"}"#,
        br#"{"a":1e999}"#,
        b"{'a':1}",
        b"{\"a\":NaN}",
        b"{\"a\":\"\n\"}",
    ] {
        let what = String::from_utf8_lossy(bad).into_owned();
        assert_eq!(
            refused(bad),
            ("malformed_json", StatusCode::BAD_REQUEST),
            "{what}"
        );
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(refused(deep.as_bytes()).0, "malformed_json");
    for other in ["[]", "null", "1", "\"text\"", "true"] {
        let problem = Fields::from_json(other.as_bytes()).expect_err("accepted");
        assert_eq!(problem.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem.errors[0].field, "");
        assert_eq!(problem.errors[0].code, "invalid_type");
    }
}

#[test]
fn a_complaint_about_json_never_quotes_it() {
    let problem = Fields::from_json(br#"{"password":"hunter2" oops}"#).expect_err("accepted");
    assert!(!problem.detail.contains("hunter2"), "{}", problem.detail);
    assert!(problem.detail.contains("line 1"), "{}", problem.detail);
    assert!(!format!("{:?}", Fields::from_json(br#"{"password":"hunter2"}"#)).contains("hunter2"));
}

#[test]
fn every_complaint_is_collected() {
    let mut fields = Fields::from_json(br#"{"email":5,"role":"king","is_active":"yes","name":null}"#)
        .expect("well-formed");
    assert_eq!(fields.required("email", text), None);
    assert_eq!(fields.required("password", text), None);
    assert_eq!(
        fields.optional("role", |_| Err::<(), _>(Invalid::new(
            "unknown_role",
            "No such role."
        ))),
        None
    );
    assert_eq!(fields.bool("is_active"), None);
    assert_eq!(fields.optional("name", text), None);
    let Err(Error::Invalid(errors)) = fields.finish() else {
        panic!("accepted");
    };
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error.field.as_str(), error.code))
        .collect();
    assert_eq!(
        told,
        [
            ("email", "invalid_type"),
            ("password", "required"),
            ("role", "unknown_role"),
            ("is_active", "invalid_type")
        ]
    );
}

#[test]
fn unknown_fields_are_told_before_anything_else() {
    let mut fields = Fields::from_json(br#"{"role":"admin"}"#).expect("well-formed");
    assert_eq!(fields.required("email", text), None);
    let Err(Error::UnknownFields(errors)) = fields.finish() else {
        panic!("accepted");
    };
    assert_eq!(errors[0].field, "role");
    let many: Vec<_> = (0..5000).map(|number| format!("\"f{number}\":0")).collect();
    let fields = Fields::from_json(format!("{{{}}}", many.join(",")).as_bytes()).expect("well-formed");
    let Err(Error::UnknownFields(errors)) = fields.finish() else {
        panic!("accepted");
    };
    assert_eq!(errors.len(), MAX_COMPLAINTS);
}

#[test]
fn a_patch_tells_absent_from_null() {
    let read = |body: &[u8]| {
        let mut fields = Fields::from_json(body).expect("well-formed");
        let change = fields.optional_nullable("full_name", text);
        fields.finish().map(|()| change).expect("acceptable")
    };
    assert_eq!(read(b"{}"), Change::Keep);
    assert_eq!(read(br#"{"full_name":null}"#), Change::Clear);
    assert_eq!(read(br#"{"full_name":"x"}"#), Change::Set("x".to_owned()));
}

#[test]
fn query_strings_are_read_strictly() {
    let mut fields = Fields::from_query("q=a+b%20%D8%B3&is_active=true&&empty=").expect("decodes");
    assert_eq!(fields.optional("q", text).as_deref(), Some("a b س"));
    assert_eq!(fields.bool("is_active"), Some(true));
    assert_eq!(fields.optional("empty", text).as_deref(), Some(""));
    assert!(fields.finish().is_ok());

    for bad in ["q=%", "q=%4", "q=%zz", "q=%ff", "%c0%80=1", "q=%ED%A0%80"] {
        let problem = Fields::from_query(bad).expect_err(bad);
        assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    for (bad, code) in [
        ("q=a%00b", "invalid_characters"),
        ("q=1&q=2", "duplicate"),
        ("q=1&%71=2", "duplicate"),
    ] {
        let mut fields = Fields::from_query(bad).expect("decodes");
        let _ = fields.optional("q", text);
        let Err(Error::Invalid(errors)) = fields.finish() else {
            panic!("{bad} accepted");
        };
        assert_eq!(errors[0].code, code);
    }
    let fields = Fields::from_query("surprise=1").expect("decodes");
    assert!(matches!(fields.finish(), Err(Error::UnknownFields(_))));
}

#[test]
fn ids_have_one_spelling() {
    assert_eq!(parse_user_id("17"), Some(UserId(17)));
    for bad in [
        "",
        "0",
        "007",
        "+5",
        "-5",
        "5.0",
        "0x5",
        "٥",
        "9223372036854775808",
        " 5",
        "1e3",
    ] {
        assert_eq!(parse_user_id(bad), None, "{bad}");
    }
    assert!(parse_session_id("0191f2d4-7c1e-4a33-9f5e-0242ac120002").is_some());
    for bad in [
        "",
        "0191f2d47c1e4a339f5e0242ac120002",
        "{0191f2d4-7c1e-4a33-9f5e-0242ac120002}",
        "x",
    ] {
        assert!(parse_session_id(bad).is_none(), "{bad}");
    }
}

async fn answer(request: http::request::Builder, body: Body) -> StatusCode {
    let settings = HttpSettings {
        body_timeout: Duration::from_millis(50),
        ..HttpSettings::default()
    };
    let router = Router::new()
        .route("/", post(async |JsonBody(_): JsonBody| ()))
        .route(
            "/optional",
            post(async |OptionalJsonBody(_): OptionalJsonBody| ()),
        );
    let router = Stack::new(std::sync::Arc::new(settings), Metrics::new()).wrap(router);
    let request = request.body(body).expect("a request");
    router.oneshot(request).await.expect("an answer").status()
}

#[tokio::test]
async fn the_media_type_has_to_be_json() {
    for good in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
        "application/json; version=1",
    ] {
        let request = Request::post("/").header("content-type", good);
        assert_eq!(answer(request, Body::from("{}")).await, StatusCode::OK, "{good}");
    }
    for bad in [
        "text/plain",
        "application/jsonp",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let request = Request::post("/").header("content-type", bad);
        let status = answer(request, Body::from("{}")).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{bad}");
    }
    assert_eq!(
        answer(Request::post("/"), Body::from("{}")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let packed = Request::post("/")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    assert_eq!(
        answer(packed, Body::from("{}")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn an_optional_body_may_be_empty_but_not_untyped() {
    assert_eq!(
        answer(Request::post("/optional"), Body::empty()).await,
        StatusCode::OK
    );
    assert_eq!(
        answer(Request::post("/optional"), Body::from("{}")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn long_and_slow_bodies_are_cut() {
    let json = || Request::post("/").header("content-type", "application/json");
    let longest = format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024 - 8));
    assert_eq!(longest.len(), 64 * 1024);
    assert_eq!(answer(json(), Body::from(longest)).await, StatusCode::OK);
    let declared = json().header("content-length", "65537");
    assert_eq!(
        answer(declared, Body::from_stream(never())).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let endless = futures_util::stream::repeat(Ok::<_, Infallible>(bytes::Bytes::from_static(&[b' '; 1000])));
    assert_eq!(
        answer(json(), Body::from_stream(endless)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        answer(json(), Body::from_stream(never())).await,
        StatusCode::REQUEST_TIMEOUT
    );
}

fn never() -> futures_util::stream::Pending<Result<bytes::Bytes, std::io::Error>> {
    futures_util::stream::pending()
}

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
fn only_trusted_proxies_are_believed() {
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
    fn reading_never_panics(bytes: Vec<u8>, query in "\\PC{0,80}") {
        let _ = Fields::from_json(&bytes);
        let _ = Fields::from_query(&query);
        let _ = parse_forwarded(&query);
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

#[test]
fn user_agents_are_cleaned() {
    assert_eq!(
        clean_user_agent("a\u{1b}[31m\r\nb\u{202e}c").as_deref(),
        Some("a[31mbc")
    );
    assert_eq!(clean_user_agent(" \t "), None);
    assert_eq!(
        clean_user_agent(&"ض".repeat(500)).map(|text| text.chars().count()),
        Some(400)
    );
}
