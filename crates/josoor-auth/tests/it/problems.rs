//! Failures: their form, the requests that are none of ours, and tokens that somebody else made.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use josoor_auth::http::response::codes::CODES;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::support::server::{Answer, JWT_SECRET, PASSWORD, Server, Tokens, on_both};
use crate::support::{raw, token};

/// How long a raw connection may be silent.
const PATIENCE: Duration = Duration::from_secs(2);

async fn ask(server: &Server, method: &str, path: &str) -> Answer {
    let request = server.request(method.parse().expect("a method"), path);
    server.send(request).await
}

on_both!(
    every_failure_is_a_problem_document_with_its_page,
    async |mut stage: Stage| {
        stage.set("PUBLIC_URL", "https://auth.example.com/base");
        let server = stage.start().await;
        for (method, path, status, code) in [
            ("GET", "/", 404, "not_found"),
            ("GET", "/no/such", 404, "not_found"),
            ("DELETE", "/no/such", 404, "not_found"),
            ("GET", "/auth", 404, "not_found"),
            ("GET", "/auth/login/", 404, "not_found"),
            ("POST", "//auth/login", 404, "not_found"),
            ("POST", "/auth//login", 404, "not_found"),
            ("POST", "/AUTH/login", 404, "not_found"),
            ("POST", "/auth/login;x", 404, "not_found"),
            ("POST", "/auth%2Flogin", 404, "not_found"),
            ("GET", "/errors/no_such_code", 404, "not_found"),
            ("GET", "/auth/login", 405, "method_not_allowed"),
            ("PUT", "/auth/me", 405, "method_not_allowed"),
            ("POST", "/healthz", 405, "method_not_allowed"),
            ("POST", "/auth/login", 415, "unsupported_media_type"),
            ("GET", "/auth/me", 403, "missing_token"),
            ("GET", "/admin/users/x", 403, "missing_token"),
        ] {
            let answer = ask(&server, method, path).await.is_problem(status, code);
            let document = answer.json.as_object().unwrap();
            assert_eq!(
                document["type"],
                format!("https://auth.example.com/base/errors/{code}"),
                "{path}"
            );
            assert_eq!(document["status"], status);
            assert!(document["title"].is_string() && document["detail"].is_string());
            assert_eq!(
                document["request_id"],
                answer.headers["x-request-id"].to_str().unwrap()
            );
            assert!(!document.contains_key("errors"));
            assert_eq!(answer.headers["cache-control"], "no-store");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff");
            assert_eq!(answer.headers.contains_key("allow"), status == 405, "{path}");
        }
        for (path, methods) in [
            ("/auth/login", &["POST"][..]),
            ("/auth/me", &["GET", "PATCH", "DELETE"]),
            ("/admin/users/1", &["GET", "PATCH", "DELETE"]),
        ] {
            let answer = ask(&server, "PUT", path).await;
            let allow = answer.headers["allow"].to_str().unwrap();
            assert!(
                methods.iter().all(|method| allow.contains(method)),
                "{path}: {allow}"
            );
        }
        let head = ask(&server, "HEAD", "/no/such").await.is(404);
        assert_eq!(head.text, "");
        server.stop().await;
    }
);

on_both!(
    every_code_has_its_hosted_page_in_both_languages,
    async |stage: Stage| {
        let server = stage.start().await;
        assert!(CODES.len() >= 26);
        for entry in CODES {
            let path = format!("/errors/{}", entry.code);
            for (language, direction, title) in [
                ("en", "ltr", entry.title),
                ("ar-EG,en;q=0.5", "rtl", entry.title_ar),
                ("de", "ltr", entry.title),
            ] {
                let request = server.request(Method::GET, &path);
                let page = server
                    .send(request.header("accept-language", language))
                    .await
                    .is(200);
                assert!(
                    page.text.contains(&format!("dir=\"{direction}\"")),
                    "{path} {language}"
                );
                assert!(page.text.contains(title) && page.text.contains(entry.code));
                let kind = page.headers["content-type"].to_str().unwrap();
                assert!(kind.starts_with("text/html"));
                assert_eq!(page.headers["vary"], "accept-language, cookie");
                assert!(
                    page.headers["content-security-policy"]
                        .to_str()
                        .unwrap()
                        .contains("default-src 'none'")
                );
            }
        }
        server.stop().await;
    }
);

on_both!(
    c9_a_request_id_of_a_client_is_kept_beside_ours_when_it_is_harmless,
    async |stage: Stage| {
        let server = stage.start().await;
        let id_for = async |ids: &[&[u8]]| {
            let mut request = server.request(Method::GET, "/healthz");
            for id in ids {
                request = request.header("x-request-id", HeaderValue::from_bytes(id).unwrap());
            }
            let answer = server.send(request).await.is(200);
            let text = |name: &str| {
                let value = answer.headers.get(name)?;
                Some(value.to_str().unwrap().to_owned())
            };
            (text("x-request-id").unwrap(), text("x-client-request-id"))
        };
        for kept in ["a", "0191f2d4-7c1e-7a33-9f5e-0242ac120002", &"x".repeat(128)] {
            // Two requests never have the same, whatever their clients say.
            let (first, beside) = id_for(&[kept.as_bytes()]).await;
            let (second, _) = id_for(&[kept.as_bytes()]).await;
            assert_eq!(beside.as_deref(), Some(kept));
            assert!(
                first != kept && second != first && first.len() == 32,
                "{first} {second}"
            );
        }
        let long = "x".repeat(129);
        for left_out in [
            &[b"<script>".as_slice()][..],
            &[b""],
            &[b"a b"],
            &[b"\xc3\xa9"],
            &[b"\"}"],
            &[long.as_bytes()],
            &[b"a", b"b"],
        ] {
            let (id, beside) = id_for(left_out).await;
            assert!(
                id.len() == 32 && beside.is_none(),
                "{left_out:?}: {id} {beside:?}"
            );
        }
        assert_ne!(id_for(&[]).await, id_for(&[]).await);
        // The audit trail has both, also of what is done behind the answer.
        let admin = server.register_admin("auditor@example.com").await;
        for (path, body) in [
            (
                "/auth/login",
                json!({ "email": "auditor@example.com", "password": "WrongPassword" }),
            ),
            ("/auth/password/forgot", json!({ "email": "auditor@example.com" })),
        ] {
            let request = server
                .request(Method::POST, path)
                .header("x-request-id", "chosen-by-a-client")
                .json(&body);
            server.send(request).await;
        }
        let rows = async || {
            let answer = server.get("/admin/audit?limit=100", &admin.access).await.is(200);
            let items = answer.json["items"].as_array().unwrap().clone();
            items
                .into_iter()
                .filter(|row| row["client_request_id"] == "chosen-by-a-client")
                .collect::<Vec<Value>>()
        };
        crate::support::server::eventually("both are recorded", || async { rows().await.len() >= 2 }).await;
        for row in rows().await {
            assert_eq!(row["request_id"].as_str().map(str::len), Some(32), "{row}");
        }
        server.stop().await;
    }
);

on_both!(
    t75_slow_broken_and_hostile_bytes_get_a_refusal_and_no_other_client_notices,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__SERVER__BODY_TIMEOUT", "300ms");
        let server = stage.start().await;
        let head = |rest: &str| {
            format!("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{rest}\r\n")
        };
        for (request, status, code) in [
            (
                head("Content-Length: 100\r\n") + "{\"email\":",
                408,
                "request_timeout",
            ),
            (
                head("Transfer-Encoding: chunked\r\n") + "5\r\n{\"ema\r\n",
                408,
                "request_timeout",
            ),
            (
                head("Transfer-Encoding: chunked\r\n") + "zz\r\n",
                400,
                "bad_request",
            ),
            (
                head("Content-Length: 65537\r\nExpect: 100-continue\r\n"),
                413,
                "body_too_large",
            ),
            (
                "GET /admin/users?q=%ff HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
                403,
                "missing_token",
            ),
            (
                "GET http://evil.example/no/such HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
                404,
                "not_found",
            ),
        ] {
            let answer = raw::exchange(server.address, request.as_bytes(), PATIENCE).await;
            assert_eq!(raw::status(&answer), status, "{request}: {answer}");
            assert!(answer.contains(code), "{answer}");
            assert!(!answer.contains("evil.example/errors"), "{answer}");
        }
        // What is not HTTP is answered with 400 or not at all, never with a 5xx.
        for bytes in [
            b"\x16\x03\x01\x02\x00".as_slice(),
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nY\x00: b\r\n\r\n",
            b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        ] {
            let answer = raw::exchange(server.address, bytes, Duration::from_millis(300)).await;
            assert!(
                !answer.starts_with("HTTP/1.1 5") && !answer.starts_with("HTTP/1.1 2"),
                "{answer}"
            );
        }
        let broken = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
        {
            use tokio::io::AsyncWriteExt as _;
            let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
            stream.write_all(broken.as_bytes()).await.unwrap();
        }
        server.register("after@example.com").await;
        server.stop().await;
    }
);

on_both!(t76_a_nul_is_refused_wherever_it_stands, async |stage: Stage| {
    let server = stage.start().await;
    let admin = server.register_admin("admin@example.com").await;
    for (method, path, body) in [
        (
            "POST",
            "/auth/register",
            json!({ "email": "a\u{0}@example.com", "password": PASSWORD }),
        ),
        (
            "POST",
            "/auth/register",
            json!({ "email": "a@example.com", "password": "Pass\u{0}word123" }),
        ),
        (
            "POST",
            "/auth/register",
            json!({ "email": "a@example.com", "password": PASSWORD, "full_name": "a\u{0}" }),
        ),
        (
            "POST",
            "/auth/register",
            json!({ "email": "a@example.com", "password": PASSWORD, "locale": "e\u{0}n" }),
        ),
        (
            "POST",
            "/auth/login",
            json!({ "email": "a@example.com", "password": PASSWORD, "transport": "\u{0}" }),
        ),
        ("POST", "/auth/refresh", json!({ "refresh_token": "\u{0}" })),
        ("POST", "/auth/login", json!({ "\u{0}": 1 })),
        ("PATCH", "/auth/me", json!({ "full_name": "\u{0}" })),
        ("DELETE", "/auth/me", json!({ "password": "\u{0}" })),
        ("DELETE", "/auth/sessions/%00", json!({})),
        ("GET", "/admin/users?q=%00", json!({})),
        ("GET", "/admin/users?%00=1", json!({})),
        ("GET", "/admin/users/%00", json!({})),
        ("GET", "/auth/check?role=%00", json!({})),
        ("GET", "/errors/%00", json!({})),
        ("GET", "/errors/%ff", json!({})),
        ("GET", "/%00", json!({})),
    ] {
        let request = server
            .request(method.parse().unwrap(), path)
            .bearer_auth(&admin.access)
            .json(&body);
        let answer = server.send(request).await;
        assert!(
            answer.status.is_client_error(),
            "{method} {path} {body}: {answer:?}"
        );
    }
    let me = server.get("/auth/me", &admin.access).await.is(200);
    assert_eq!(me.json["full_name"], Value::Null);
    server.stop().await;
});

on_both!(
    t54_authorization_headers_of_every_shape_are_refused_with_a_challenge,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("shapes@example.com").await;
        let good = &tokens.access;
        let send = async |values: &[Vec<u8>]| {
            let mut request = server.request(Method::GET, "/auth/me");
            for value in values {
                request = request.header("authorization", HeaderValue::from_bytes(value).unwrap());
            }
            server.send(request).await
        };
        for accepted in [
            format!("Bearer {good}"),
            format!("bearer {good}"),
            format!("BEARER {good}"),
            format!("Bearer   {good}"),
            format!("Bearer\t{good}"),
        ] {
            send(&[accepted.into_bytes()]).await.is(200);
        }
        for (value, status, code) in [
            (String::new(), 401, "token_invalid"),
            ("Bearer".to_owned(), 401, "token_invalid"),
            ("Bearer  ".to_owned(), 401, "token_invalid"),
            (format!("Bearer{good}"), 403, "missing_token"),
            (good.clone(), 403, "missing_token"),
            (format!("Basic {good}"), 403, "missing_token"),
            ("Basic dXNlcjpwYXNz".to_owned(), 403, "missing_token"),
            (format!("Token {good}"), 403, "missing_token"),
            (format!("Bearer {good} {good}"), 401, "token_invalid"),
            (format!("Bearer Bearer {good}"), 401, "token_invalid"),
            (format!("Bearer {good},"), 401, "token_invalid"),
            (format!("Bearer \"{good}\""), 401, "token_invalid"),
            (format!("Bearer {good}%00"), 401, "token_invalid"),
            ("Bearer \u{e9}".to_owned(), 401, "token_invalid"),
            (format!("Bearer {}", "x".repeat(16_000)), 401, "token_invalid"),
            (
                format!("Bearer {good}{}", "x".repeat(9_000)),
                401,
                "token_invalid",
            ),
        ] {
            let shown: String = value.chars().take(40).collect();
            let refused = send(&[value.into_bytes()]).await;
            assert_eq!(
                (refused.status.as_u16(), refused.code()),
                (status, code),
                "{shown:?}"
            );
            assert!(
                refused.headers["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .starts_with("Bearer"),
                "{shown:?}"
            );
        }
        send(&[b"Bearer \xff\xfe".to_vec()])
            .await
            .is_problem(401, "token_invalid");
        for two in [[good, good], [good, &"x".to_owned()]] {
            let values: Vec<_> = two
                .iter()
                .map(|token| format!("Bearer {token}").into_bytes())
                .collect();
            send(&values).await.is_problem(401, "token_invalid");
        }
        // A token elsewhere than in the header is none.
        let elsewhere = server
            .request(Method::GET, &format!("/auth/me?access_token={good}"))
            .header("cookie", format!("access_token={good}"));
        server.send(elsewhere).await.is_problem(403, "missing_token");
        server.stop().await;
    }
);

/// Fails the test unless the token is refused as none of ours, at an ordinary door and at the gateways'.
async fn refused(server: &Server, token: &str, what: &str) {
    for path in ["/auth/me", "/auth/check"] {
        let answer = server.get(path, token).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "token_invalid"),
            "{path}, {what}: {token}"
        );
    }
}

/// A token cut, stretched, changed in single places, and spelt otherwise.
fn variants(token: &str) -> Vec<String> {
    let mut all: Vec<String> = (0..token.len())
        .step_by(23)
        .chain(token.len() - 3..token.len())
        .flat_map(|at| [token[..at].to_owned(), token[at + 1..].to_owned()])
        .collect();
    for at in (0..token.len()).step_by(29).chain(token.len() - 4..token.len()) {
        for other in ["A", "_", ".", "="] {
            if &token[at..=at] != other {
                all.push(format!("{}{other}{}", &token[..at], &token[at + 1..]));
            }
        }
    }
    // Other spellings of the same bytes: padding, the other alphabet, bits that do not count.
    all.push(format!("{token}="));
    all.push(format!("{token}=="));
    all.push(token.replace('.', "=."));
    all.push(format!("{token}."));
    all.push(format!(".{token}"));
    all.push(format!("{token}.{token}"));
    let swapped = token.replace('-', "+").replace('_', "/");
    if swapped != token {
        all.push(swapped);
    }
    let last = token.as_bytes()[token.len() - 1];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = alphabet
        .iter()
        .position(|letter| *letter == last)
        .expect("base64url");
    let alias = alphabet[value ^ 1] as char;
    all.push(format!("{}{alias}", &token[..token.len() - 1]));
    all
}

on_both!(
    t46_a_cut_or_changed_token_is_refused_in_every_place,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("cut@example.com").await;
        for token in variants(&tokens.access) {
            if !token.is_empty() {
                let answer = server.get("/auth/me", &token).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.code()),
                    (401, "token_invalid"),
                    "{token}"
                );
            }
        }
        for token in variants(&tokens.refresh) {
            server.refresh(&token).await.is_problem(401, "token_invalid");
        }
        server.get("/auth/me", &tokens.access).await.is(200);
        server.refresh(&tokens.refresh).await.is(200);
        server.stop().await;
    }
);

on_both!(
    t49_t50_t51_well_signed_tokens_with_wrong_claims_are_refused,
    async |mut stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("claims@example.com").await;
        let other = server.register("other@example.com").await;
        let (header, claims) = token::read(&tokens.access);
        let forge = |claims: &Value| token::sign(JWT_SECRET, &header, claims);
        // The forger can forge: this is what all that follows differ from.
        server.get("/auth/me", &forge(&claims)).await.is(200);
        for name in ["exp", "iat", "nbf"] {
            for value in [
                json!("4102444800"),
                json!(1e308),
                json!(-1),
                json!(-9_223_372_036_854_775_808_i64),
                json!(18_446_744_073_709_551_615_u64),
                json!(4_102_444_800.5),
                json!(null),
                json!([4_102_444_800_i64]),
                json!(true),
                json!({}),
                json!(9_223_372_036_854_775_807_i64),
            ] {
                if name == "exp" || value != json!(-1) || name == "iat" {
                    let mut claims = claims.clone();
                    claims[name] = value.clone();
                    refused(&server, &forge(&claims), &format!("{name} {value}")).await;
                }
            }
        }
        for name in [
            "exp", "iat", "sub", "sid", "jti", "iss", "type", "gen", "email", "role",
        ] {
            let mut claims = claims.clone();
            claims.as_object_mut().unwrap().remove(name);
            refused(&server, &forge(&claims), &format!("without {name}")).await;
        }
        for (name, value) in [
            ("type", json!("refresh")),
            ("type", json!("Access")),
            ("sub", json!(tokens.user_id)),
            ("sub", json!(format!("0{}", tokens.user_id))),
            ("sub", json!(format!("{} ", tokens.user_id))),
            ("sub", json!("-1")),
            ("sub", json!("99999999999999999999")),
            ("sid", json!("x")),
            ("sid", json!(7)),
            ("role", json!("owner")),
            ("gen", json!("1")),
            ("iss", json!("http://localhost:8000/")),
            ("iss", json!("http://localhost:800")),
            ("iss", json!("http://localhost:8000.evil.example")),
            ("iss", json!("")),
            ("iss", json!(["http://localhost:8000"])),
            ("aud", json!("somebody")),
            ("aud", json!(["somebody"])),
            ("iat", json!(4_102_444_800_i64)),
            ("nbf", json!(4_102_444_800_i64)),
        ] {
            let mut claims = claims.clone();
            claims[name] = value.clone();
            refused(&server, &forge(&claims), &format!("{name} {value}")).await;
        }
        for (name, value) in [
            ("typ", Value::Null),
            ("typ", json!("JWT")),
            ("typ", json!("rt+jwt")),
            ("typ", json!(7)),
            ("alg", Value::Null),
            ("kid", json!(7)),
        ] {
            let mut header = header.clone();
            if value.is_null() {
                header.as_object_mut().unwrap().remove(name);
            } else {
                header[name] = value.clone();
            }
            let forged = token::sign(JWT_SECRET, &header, &claims);
            refused(&server, &forged, &format!("header {name} {value}")).await;
        }
        // The session of somebody else, and one that never was, under good signatures.
        let mut foreign = claims.clone();
        foreign["sid"] = other.claim("sid");
        let mut unknown = claims.clone();
        unknown["sid"] = json!("0191f2d4-7c1e-4a33-9f5e-0242ac120002");
        let mut no_user = claims.clone();
        no_user["sub"] = json!("9223372036854775807");
        for claims in [foreign, unknown, no_user] {
            let answer = server.get("/auth/me", &forge(&claims)).await;
            assert_eq!(answer.status, 401, "{answer:?}");
        }
        // A role in a token is only for show (T45).
        let mut promoted = claims.clone();
        promoted["role"] = json!("admin");
        promoted["email"] = json!("root@example.com");
        server
            .get("/admin/users", &forge(&promoted))
            .await
            .is_problem(403, "insufficient_role");
        let me = server.get("/auth/me", &forge(&promoted)).await.is(200);
        assert_eq!(me.json["email"], "claims@example.com");
        let mut expired = claims.clone();
        expired["exp"] = json!(claims["iat"]);
        server
            .get("/auth/me", &forge(&expired))
            .await
            .is_problem(401, "token_expired");
        server.stop().await;

        stage.set("JOSOOR_AUTH__AUTH__AUDIENCE", "platform");
        let server = stage.start().await;
        refused(&server, &tokens.access, "without the audience").await;
        for audience in [
            json!("other"),
            json!(["other"]),
            json!("platform2"),
            json!(null),
            json!(7),
        ] {
            let mut claims = claims.clone();
            claims["aud"] = audience.clone();
            refused(&server, &forge(&claims), &format!("aud {audience}")).await;
        }
        let mut claims = claims.clone();
        claims["aud"] = json!("platform");
        server.get("/auth/me", &forge(&claims)).await.is(200);
        server.stop().await;
    }
);

on_both!(
    t52_t53_t55_tokens_that_choose_their_own_key_or_algorithm_are_refused,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("forged@example.com").await;
        let (header, claims) = token::read(&tokens.access);
        let body = claims.to_string();
        let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys.json", trap.local_addr().unwrap());
        for alg in [
            "none", "None", "nOnE", "NONE", "", "hs256", "HS384", "HS512", "RS256", "EdDSA", "ES256",
        ] {
            let mut header = header.clone();
            header["alg"] = json!(alg);
            let signed = format!("{}.{}", token::encode(header.to_string()), token::encode(&body));
            let signature = tokens.access.rsplit('.').next().unwrap();
            for signature in ["", signature, &token::encode([0; 32]), &token::encode([0; 64])] {
                refused(&server, &format!("{signed}.{signature}"), alg).await;
            }
            refused(&server, &token::sign(JWT_SECRET, &header, &claims), alg).await;
            for (algorithm, alg_of_key) in [(hmac::HMAC_SHA384, "HS384"), (hmac::HMAC_SHA512, "HS512")] {
                header["alg"] = json!(alg_of_key);
                let forged = token::sign_with(algorithm, JWT_SECRET.as_bytes(), &header, &claims);
                refused(&server, &forged, alg_of_key).await;
            }
        }
        for (name, value) in [
            ("crit", json!(["x"])),
            ("crit", json!([])),
            ("b64", json!(false)),
            ("b64", json!(true)),
            ("zip", json!("DEF")),
            ("jku", json!(url)),
            ("x5u", json!(url)),
            ("x5c", json!(["MIIB"])),
            (
                "jwk",
                json!({ "kty": "oct", "k": token::encode(JWT_SECRET), "alg": "HS256" }),
            ),
            ("kid", json!("../../dev/null")),
            ("kid", json!("' OR 1=1--")),
            ("kid", json!(url)),
            ("kid", json!("")),
            ("kid", json!("k".repeat(7_000))),
            ("kid", json!("k".repeat(10_240))),
        ] {
            let mut header = header.clone();
            header[name] = value.clone();
            refused(&server, &token::sign(JWT_SECRET, &header, &claims), name).await;
            refused(&server, &token::sign("", &header, &claims), name).await;
        }
        // A member named twice: which one counts must not depend on who reads it.
        let twice = format!("{{\"alg\":\"HS256\",{}", &header.to_string()[1..]);
        let forged = token::sign_text(hmac::HMAC_SHA256, JWT_SECRET.as_bytes(), &twice, &body);
        refused(&server, &forged, "alg twice").await;
        let twice = format!("{{\"sub\":\"1\",{}", &body[1..]);
        let forged = token::sign_text(
            hmac::HMAC_SHA256,
            JWT_SECRET.as_bytes(),
            &header.to_string(),
            &twice,
        );
        refused(&server, &forged, "sub twice").await;
        for secret in [
            "",
            "secret",
            "change-this-secret-key-in-production",
            &JWT_SECRET[..42],
            &format!("{JWT_SECRET} "),
        ] {
            refused(&server, &token::sign(secret, &header, &claims), "another secret").await;
        }
        for text in ["[]", "null", "7", "\"x\"", "{", ""] {
            let key = JWT_SECRET.as_bytes();
            let forged = token::sign_text(hmac::HMAC_SHA256, key, &header.to_string(), text);
            refused(&server, &forged, "claims that are no object").await;
            let forged = token::sign_text(hmac::HMAC_SHA256, key, text, &body);
            refused(&server, &forged, "a header that is no object").await;
        }
        for shape in ["a.b.c.d.e", "..", "...", ".....", "a", "a.b", "a..c"] {
            refused(&server, shape, "another shape").await;
        }
        refused(&server, &tokens.refresh, "a refresh token").await;
        // An access token, however signed, refreshes nothing.
        let mut refreshing = claims.clone();
        refreshing["type"] = json!("refresh");
        for header in [json!({ "alg": "HS256", "typ": "rt+jwt" }), header.clone()] {
            let forged = token::sign(JWT_SECRET, &header, &refreshing);
            server.refresh(&forged).await.is_problem(401, "token_invalid");
        }
        assert!(
            tokio::time::timeout(Duration::from_millis(50), trap.accept())
                .await
                .is_err(),
            "a token made the server fetch something"
        );
        server.get("/auth/me", &tokens.access).await.is(200);
        server.stop().await;
    }
);

on_both!(t52_a_public_key_is_no_shared_secret, async |mut stage: Stage| {
    stage.set("JWT_ALGORITHM", "EdDSA");
    let server = stage.start().await;
    let tokens: Tokens = server.register("confused@example.com").await;
    let keys = ask(&server, "GET", "/.well-known/jwks.json").await.is(200);
    let jwk = &keys.json["keys"][0];
    let point = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(jwk["x"].as_str().unwrap())
        .unwrap();
    // SubjectPublicKeyInfo of Ed25519 (RFC 8410, 4).
    let der = [
        &[
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ][..],
        &point,
    ]
    .concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&der)
    );
    let (header, claims) = token::read(&tokens.access);
    for key in [
        point.clone(),
        der,
        pem.clone().into_bytes(),
        pem.trim().to_owned().into_bytes(),
        jwk.to_string().into_bytes(),
        jwk["x"].as_str().unwrap().to_owned().into_bytes(),
        keys.text.clone().into_bytes(),
        JWT_SECRET.as_bytes().to_vec(),
    ] {
        for alg in ["HS256", "EdDSA"] {
            let mut header = header.clone();
            header["alg"] = json!(alg);
            let forged = token::sign_with(hmac::HMAC_SHA256, &key, &header, &claims);
            refused(&server, &forged, alg).await;
            header.as_object_mut().unwrap().remove("kid");
            let forged = token::sign_with(hmac::HMAC_SHA256, &key, &header, &claims);
            refused(&server, &forged, alg).await;
        }
    }
    server.get("/auth/me", &tokens.access).await.is(200);
    server.stop().await;
});
