//! Hostile input: too deep, too large, too long on the way, and other people's errors. The numbers are those of the list of
//! known attacks in docs/SECURITY-MODEL.md.

use std::fmt::Write as _;
use std::time::Duration;

use josoor_auth::app::App;
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::server::{Footprint, PASSWORD, Server, Stage, Tokens, on_both};
use crate::support::{database, raw};

/// What one request may weigh; docs/reference/http-api.md.
const BODY_LIMIT: usize = 64 * 1024;

async fn post_bytes(
    server: &Server,
    path: &str,
    token: &str,
    body: Vec<u8>,
) -> crate::support::server::Answer {
    let request = server
        .request(Method::POST, path)
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(body);
    server.send(request).await
}

on_both!(
    t75_depth_and_numbers_without_end_are_refused_quickly,
    async |stage: Stage| {
        let server = stage.start().await;
        let digits = "9".repeat(60_000);
        let mut bodies: Vec<String> = vec![
            "[".repeat(BODY_LIMIT - 1),
            "{\"a\":".repeat(10_000),
            format!(r#"{{"email":{}"#, "[".repeat(50_000)),
            format!(r#"{{"email":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000)),
            r#"{"email":1e400,"password":"x"}"#.to_owned(),
            r#"{"email":-1e-400,"password":"x"}"#.to_owned(),
            format!(r#"{{"email":{digits},"password":"x"}}"#),
            format!(r#"{{"email":0.{digits},"password":"x"}}"#),
            format!(r#"{{"email":1e{digits},"password":"x"}}"#),
        ];
        let mut members = String::from("{");
        for n in 0..4_000 {
            let _ = write!(members, r#""f{n}":1,"#);
        }
        members.push_str(r#""email":"a@example.com"}"#);
        bodies.push(members);
        for path in ["/auth/register", "/auth/login", "/auth/refresh"] {
            for body in &bodies {
                let answer = post_bytes(&server, path, "x", body.clone().into_bytes()).await;
                let status = answer.status.as_u16();
                assert!(
                    matches!(status, 400 | 401 | 413 | 422),
                    "{path} {}: {answer:?}",
                    &body[..40]
                );
                // A refusal never repeats what it refuses.
                assert!(answer.text.len() < 400_000, "{path}: {} bytes", answer.text.len());
                assert!(!answer.text.contains("9999999999"), "{path}");
            }
        }
        // Larger than any body may be: refused by its length alone.
        let large = post_bytes(&server, "/auth/login", "x", vec![b'['; 1024 * 1024]).await;
        large.is_problem(413, "body_too_large");
        server.register("alive@example.com").await;
        server.stop().await;
    }
);

on_both!(
    t76_text_that_is_no_unicode_is_refused_wherever_it_stands,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let bodies: [&[u8]; 8] = [
            br#"{"email":"a\ud800@example.com","password":"Password123"}"#,
            br#"{"email":"a@example.com","password":"\udc00\ud800word"}"#,
            b"{\"email\":\"a\xc0\xaf@example.com\",\"password\":\"Password123\"}",
            b"{\"email\":\"a@example.com\",\"password\":\"\xed\xa0\x80Password\"}",
            b"{\"email\":\"a@example.com\",\"password\":\"\xf5\x80\x80\x80\"}",
            b"{\"em\xff\":\"a@example.com\"}",
            b"\xef\xbb\xbf{\"email\":\"a@example.com\",\"password\":\"Password123\"}",
            b"\xfe\xff\x00{\x00}",
        ];
        for path in ["/auth/register", "/auth/login", "/auth/refresh", "/auth/logout"] {
            for body in bodies {
                let answer = post_bytes(&server, path, "x", body.to_vec()).await;
                assert!(
                    matches!(answer.status.as_u16(), 400 | 401 | 422),
                    "{path} {}: {answer:?}",
                    String::from_utf8_lossy(body)
                );
            }
        }
        assert_eq!(
            database::number(&server.app.db, "select count(*) from users").await,
            1
        );
        for target in [
            "/admin/users?q=%ff",
            "/admin/users?q=%c0%af",
            "/admin/users?q=%ed%a0%80",
            "/admin/users/%c0%af",
            "/auth/sessions/%ff",
            "/errors/%ed%a0%80",
            "/%ff%fe",
        ] {
            let answer = server.get(target, &admin.access).await;
            assert!(answer.status.is_client_error(), "{target}: {answer:?}");
        }
        // Header values may hold any byte above 0x7f; none of them is a reason to fail.
        let head = format!(
            "GET /auth/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n",
            admin.access
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(b"User-Agent: \xff\xfe\xc0\xaf\r\nCookie: a=\xff\r\nAccept-Language: \xed\xa0\x80\r\nX-Request-Id: \xff\r\n\r\n");
        let answer = raw::exchange(server.address, &request, Duration::from_secs(2)).await;
        assert!(matches!(raw::status(&answer), 200 | 400), "{answer}");
        server.stop().await;
    }
);

/// Sends a request's head and then bytes until the server has had enough; how many it took.
async fn pour(server: &Server, head: &str, piece: &[u8], at_most: usize) -> (usize, String) {
    let stream = TcpStream::connect(server.address).await.expect("accepted");
    let (mut stream, mut writer) = stream.into_split();
    writer
        .write_all(head.as_bytes())
        .await
        .expect("the head is taken");
    let mut sent = 0;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while sent < at_most {
        tokio::select! {
            biased;
            read = stream.read(&mut buffer) => match read {
                Ok(length @ 1..) => {
                    answer.extend_from_slice(&buffer[..length]);
                    break;
                }
                _ => break,
            },
            written = writer.write(piece) => match written {
                Ok(length) => sent += length,
                Err(_) => break,
            },
        }
    }
    (sent, String::from_utf8_lossy(&answer).into_owned())
}

on_both!(t77_a_body_without_end_is_not_waited_for, async |stage: Stage| {
    let server = stage.start().await;
    let head = |rest: &str| {
        format!("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{rest}\r\n\r\n")
    };
    let huge = 100 * 1024 * 1024;
    // By its announced length alone: nothing of it has come, and nothing of it is waited for.
    let announced = head(&format!("Content-Length: {huge}"));
    let answer = raw::exchange(server.address, announced.as_bytes(), Duration::from_secs(2)).await;
    assert_eq!(raw::status(&answer), 413, "{answer}");
    // In chunks, without a length: by what has come.
    let chunk = [b"4000\r\n".as_slice(), &[b'a'; 0x4000], b"\r\n"].concat();
    let (sent, answer) = pour(&server, &head("Transfer-Encoding: chunked"), &chunk, huge).await;
    // The answer may be lost when the connection is closed with bytes of ours still on the way.
    assert!(answer.is_empty() || raw::status(&answer) == 413, "{answer}");
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes were taken");
    // Compressed: no bomb goes off, since nothing is unpacked.
    for coding in ["gzip", "br", "deflate", "zstd"] {
        let request = server
            .request(Method::POST, "/auth/login")
            .header("content-type", "application/json")
            .header("content-encoding", coding)
            .body(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
        let answer = server.send(request).await;
        assert!(
            matches!(answer.status.as_u16(), 400 | 415),
            "{coding}: {answer:?}"
        );
    }
    server.register("alive@example.com").await;
    server.stop().await;
});

on_both!(
    t78_no_endpoint_takes_a_body_over_the_limit,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let document = server.get("/openapi.json", "").await.is(200).json;
        let mut seen = 0;
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                if operation.get("requestBody").is_none() {
                    continue;
                }
                seen += 1;
                // Users have numbers, the rest has UUIDs.
                let id = if path.contains("/users/") {
                    admin.user_id.to_string()
                } else {
                    uuid::Uuid::nil().to_string()
                };
                let path = path.replace("{id}", &id);
                let request = server
                    .request(method.to_uppercase().parse().expect("a method"), &path)
                    .bearer_auth(&admin.access)
                    .header("content-type", "application/json")
                    .body(format!(r#"{{"x":"{}"}}"#, "a".repeat(BODY_LIMIT)));
                server.send(request).await.is_problem(413, "body_too_large");
            }
        }
        assert!(seen >= 7, "{seen} operations with a body");
        server.get("/auth/me", &admin.access).await.is(200);
        server.stop().await;
    }
);

on_both!(
    t81_errors_of_one_caller_hold_nothing_of_another,
    async |stage: Stage| {
        let server = stage.start().await;
        let mut callers: Vec<(&str, &str, Tokens)> = Vec::new();
        for (email, mark) in [
            ("first@example.com", "MARK-OF-FIRST"),
            ("second@example.com", "MARK-OF-SECOND"),
        ] {
            callers.push((email, mark, server.register(email).await));
        }
        let hammer = async |own: usize| {
            let (email, mark, tokens) = &callers[own];
            let (other_email, other_mark, other) = &callers[1 - own];
            for round in 0..20 {
                let id = format!("{mark}-{round}");
                let bodies = [
                    ("/auth/login", json!({ "email": email, "password": mark })),
                    ("/auth/login", json!({ "email": mark, "password": PASSWORD })),
                    (
                        "/auth/register",
                        json!({ "email": email, "password": PASSWORD, "full_name": mark }),
                    ),
                    (
                        "/auth/register",
                        json!({ "email": email, "password": PASSWORD, (*mark): 1 }),
                    ),
                    ("/auth/refresh", json!({ "refresh_token": mark })),
                ];
                for (path, body) in bodies {
                    let request = server
                        .request(Method::POST, path)
                        .bearer_auth(&tokens.access)
                        .header("x-request-id", &id)
                        .json(&body);
                    let answer = server.send(request).await;
                    assert!(answer.status.is_client_error(), "{path}: {answer:?}");
                    assert_eq!(answer.headers["x-client-request-id"], id.as_str(), "{path}");
                    for foreign in [*other_mark, *other_email, other.access.as_str()] {
                        assert!(!answer.text.contains(foreign), "{path}: {answer:?}");
                    }
                }
            }
        };
        tokio::join!(hammer(0), hammer(1));
        server.stop().await;
    }
);

#[tokio::test(flavor = "multi_thread")]
async fn t83_what_cannot_be_read_stops_the_start_and_opens_nothing() {
    let stage = Stage::new(Footprint::Embedded);
    let server = stage.start().await;
    let tokens = server.register("kept@example.com").await;
    server.stop().await;
    // A damaged or emptied master key is no reason to make another one.
    let file = stage.directory().join("master.key");
    let good = std::fs::read(&file).expect("the master key");
    for damaged in [
        Vec::new(),
        b"short".to_vec(),
        good[..good.len() / 2].to_vec(),
        vec![0xff; 44],
    ] {
        std::fs::write(&file, damaged).expect("written");
        let config = Config::parse(None, stage.environment()).expect("the settings are right");
        assert!(App::open(config, Clock::System).await.is_err());
    }
    std::fs::write(&file, good).expect("written");
    let server = stage.start().await;
    server.get("/auth/me", &tokens.access).await.is(200);
    // Cookies that nothing can be made of leave the caller a stranger.
    let long = "x".repeat(7_000);
    for cookie in [
        "josoor_refresh",
        "josoor_refresh=",
        "josoor_refresh=;=;;",
        "=x",
        "josoor_device=%00%ff",
        &long,
    ] {
        let request = server
            .request(Method::POST, "/auth/refresh")
            .header("origin", "http://localhost:8000")
            .header("cookie", cookie);
        let answer = server.send(request).await;
        assert!(
            matches!(answer.status.as_u16(), 401 | 403),
            "{cookie}: {answer:?}"
        );
        assert_eq!(answer.json.get("access_token"), None::<&Value>);
    }
    server.stop().await;
}
