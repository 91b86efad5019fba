//! The cookie transport: who gets a cookie, who may send it, and what it is worth.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::server::{Answer, PASSWORD, Server, Tokens, on_both};

/// The service's own origin, as the tests configure it by default.
const OWN: &str = "http://localhost:8000";

const COOKIE: &str = "josoor_refresh";

/// The `Set-Cookie` of this name, whole.
fn set_cookie(answer: &Answer, name: &str) -> Option<String> {
    let mut all = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().expect("ASCII"))
        .filter(|value| value.split('=').next() == Some(name))
        // What the release before has set at the root is removed beside it.
        .filter(|value| {
            name.starts_with("__") || !value.contains("Path=/; ") || !value.contains("Max-Age=0")
        });
    let found = all.next().map(str::to_owned);
    assert!(all.next().is_none(), "{name} is set twice");
    found
}

/// The value that a `Set-Cookie` sets.
#[track_caller]
fn value(answer: &Answer, name: &str) -> String {
    let cookie = set_cookie(answer, name).unwrap_or_else(|| panic!("no {name} in {answer:?}"));
    let pair = cookie.split(';').next().expect("a pair");
    pair.split_once('=').expect("a pair").1.to_owned()
}

fn attributes(cookie: &str) -> Vec<&str> {
    cookie.split(';').skip(1).map(str::trim).collect()
}

fn account(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD, "transport": "cookie" })
}

fn from(request: RequestBuilder, origin: &str) -> RequestBuilder {
    request.header("origin", origin)
}

async fn sign_in(server: &Server, path: &str, email: &str, origin: &str) -> Answer {
    let request = server.request(Method::POST, path).json(&account(email));
    server.send(from(request, origin)).await
}

/// A request with a cookie header and, if given, an origin.
async fn send(server: &Server, path: &str, cookies: &[&str], origin: Option<&str>) -> Answer {
    let mut request = server.request(Method::POST, path);
    for cookie in cookies {
        request = request.header("cookie", *cookie);
    }
    if let Some(origin) = origin {
        request = from(request, origin);
    }
    server.send(request).await
}

on_both!(
    the_refresh_token_goes_into_a_cookie_that_scripts_cannot_read,
    async |mut stage: Stage| {
        for (public_url, name, known, secure) in [
            (OWN, COOKIE, "josoor_device", false),
            (
                "https://auth.example.com",
                "__Host-josoor_refresh",
                "__Host-josoor_device",
                true,
            ),
        ] {
            stage.set("PUBLIC_URL", public_url);
            let server = stage.start().await;
            let email = format!("cookie-{secure}@example.com");
            for (path, status) in [("/auth/register", 201), ("/auth/login", 200)] {
                let answer = sign_in(&server, path, &email, public_url).await.is(status);
                assert!(answer.json.get("refresh_token").is_none(), "{answer:?}");
                assert!(answer.json["access_token"].is_string());
                assert_eq!(answer.headers["cache-control"], "no-store");
                let cookie = set_cookie(&answer, name).unwrap();
                let path = if secure { "Path=/" } else { "Path=/auth" };
                // The grace, the life of an access token and the idle time: 30 s, a day and seven days.
                let mut expected = vec![path, "HttpOnly", "SameSite=Strict", "Max-Age=691230"];
                if secure {
                    expected.push("Secure");
                }
                assert_eq!(attributes(&cookie), expected);
                assert!(!answer.text.contains(&value(&answer, name)));
                let device = set_cookie(&answer, known).unwrap();
                expected[3] = "Max-Age=34560000";
                assert_eq!(attributes(&device), expected);
            }
            // In body transport there is the device cookie alone.
            let body = json!({ "email": email, "password": PASSWORD, "transport": "body" });
            let answer = server.post("/auth/login", &body).await.is(200);
            assert!(answer.json["refresh_token"].is_string());
            assert!(set_cookie(&answer, name).is_none());
            assert!(set_cookie(&answer, known).is_some());
            for transport in [json!("Cookie"), json!(""), json!(1)] {
                let body = json!({ "email": email, "password": PASSWORD, "transport": transport });
                server
                    .post("/auth/login", &body)
                    .await
                    .is_problem(422, "validation_failed");
            }
            server.stop().await;
        }
    }
);

on_both!(
    only_pages_of_the_service_or_of_its_site_may_have_the_cookie,
    async |mut stage: Stage| {
        let ask = async |server: &Server, origin: Option<&str>| {
            let mut request = server
                .request(Method::POST, "/auth/login")
                .json(&account("origin@example.com"));
            if let Some(origin) = origin {
                request = from(request, origin);
            }
            server.send(request).await
        };
        let server = stage.start().await;
        server.register("origin@example.com").await;
        for origin in [
            None,
            Some(""),
            Some("null"),
            Some("http://evil.example"),
            Some("http://localhost"),
            Some("http://localhost:8001"),
            Some("https://localhost:8000"),
            Some("http://localhost:8000/"),
            Some("http://localhost:8000.evil.example"),
            Some("http://127.0.0.1.evil.example:8000"),
            Some("http://evil.example#http://localhost:8000"),
            Some("http://localhost:8000, http://evil.example"),
            Some("HTTP://LOCALHOST:8000"),
        ] {
            let refused = ask(&server, origin).await.is_problem(403, "origin_not_allowed");
            assert!(set_cookie(&refused, COOKIE).is_none(), "{origin:?}");
        }
        for origin in [OWN, "http://127.0.0.1:8000"] {
            ask(&server, Some(origin)).await.is(200);
        }
        let twice = server
            .request(Method::POST, "/auth/login")
            .header("origin", OWN)
            .header("origin", "http://evil.example");
        server
            .send(twice.json(&account("origin@example.com")))
            .await
            .is_problem(403, "origin_not_allowed");
        // A refused registration makes no account.
        sign_in(
            &server,
            "/auth/register",
            "new@example.com",
            "http://evil.example",
        )
        .await
        .is_problem(403, "origin_not_allowed");
        let body = json!({ "email": "new@example.com", "password": PASSWORD });
        server
            .post("/auth/login", &body)
            .await
            .is_problem(401, "invalid_credentials");
        server.stop().await;

        stage.set("PUBLIC_URL", "https://auth.example.com");
        stage.set(
            "CORS_ORIGINS",
            "https://app.example.com, https://other.example.net, http://plain.example.com",
        );
        let server = stage.start().await;
        for (origin, status) in [
            ("https://auth.example.com", 200),
            ("https://app.example.com", 200),
            // Listed, but of another site or without TLS; of the site, but not listed.
            ("https://other.example.net", 403),
            ("http://plain.example.com", 403),
            ("https://www.example.com", 403),
            ("https://badexample.com", 403),
            ("http://127.0.0.1:8000", 403),
        ] {
            let answer = ask(&server, Some(origin)).await;
            assert_eq!(answer.status, status, "{origin}: {answer:?}");
        }
        // CORS answers who may read: the listed ones, with credentials, and no others.
        for (origin, allowed) in [
            ("https://app.example.com", true),
            ("https://other.example.net", true),
            ("https://www.example.com", false),
            ("null", false),
        ] {
            let request = server
                .request(Method::OPTIONS, "/auth/login")
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "content-type,authorization");
            let answer = server.send(request).await;
            let answered = answer.headers.get("access-control-allow-origin");
            if allowed {
                assert_eq!(answered.unwrap(), origin);
                assert_eq!(answer.headers["access-control-allow-credentials"], "true");
            } else {
                assert!(answered.is_none(), "{origin}: {answer:?}");
            }
        }
        server.stop().await;
    }
);

on_both!(
    a_refresh_by_cookie_needs_its_origin_and_sets_the_next_cookie,
    async |stage: Stage| {
        let server = stage.start().await;
        let first = sign_in(&server, "/auth/register", "rotating@example.com", OWN)
            .await
            .is(201);
        let old = value(&first, COOKIE);
        let cookie = format!("theme=dark; {COOKIE}={old}; josoor_device=x");
        for origin in [None, Some("http://evil.example"), Some("null")] {
            let refused = send(&server, "/auth/refresh", &[&cookie], origin)
                .await
                .is_problem(403, "origin_not_allowed");
            assert!(set_cookie(&refused, COOKIE).is_none());
        }
        let answer = send(&server, "/auth/refresh", &[&cookie], Some(OWN))
            .await
            .is(200);
        assert!(answer.json.get("refresh_token").is_none(), "{answer:?}");
        let new = value(&answer, COOKIE);
        assert_ne!(new, old);
        assert!(!answer.text.contains(&new));
        server
            .get("/auth/me", &answer.text_of("access_token"))
            .await
            .is(200);
        // Another tab with the old cookie gets the same one again.
        let again = send(&server, "/auth/refresh", &[&cookie], Some(OWN))
            .await
            .is(200);
        assert_eq!(value(&again, COOKIE), new);
        // A token in the body counts before the cookie, which then stays alone.
        let other = server.register("other@example.com").await;
        let request = server
            .request(Method::POST, "/auth/refresh")
            .header("cookie", format!("{COOKIE}={new}"))
            .json(&json!({ "refresh_token": other.refresh }));
        let answer = server.send(request).await.is(200);
        assert_eq!(answer.json["user"]["id"], other.user_id);
        assert!(set_cookie(&answer, COOKIE).is_none() && answer.json["refresh_token"].is_string());
        // The cookie counts before the bearer token.
        let request = server
            .request(Method::POST, "/auth/refresh")
            .header("cookie", format!("{COOKIE}={new}"))
            .header("origin", OWN)
            .bearer_auth(&other.access);
        let answer = server.send(request).await.is(200);
        assert_eq!(answer.json["user"]["email"], "rotating@example.com");
        // A cookie that will never be good again goes, or it would stand before every later bearer token.
        let last = value(&answer, COOKIE);
        server
            .post("/auth/logout", &json!({ "refresh_token": &last }))
            .await
            .is(200);
        let cookie = format!("{COOKIE}={last}");
        let refused = send(&server, "/auth/refresh", &[&cookie], Some(OWN))
            .await
            .is_problem(401, "session_revoked");
        assert_eq!(value(&refused, COOKIE), "");
        server.stop().await;
    }
);

on_both!(
    two_cookies_of_one_name_are_none_and_a_broken_one_is_refused,
    async |stage: Stage| {
        let server = stage.start().await;
        let first = sign_in(&server, "/auth/register", "twice@example.com", OWN)
            .await
            .is(201);
        let own = format!("{COOKIE}={}", value(&first, COOKIE));
        let planted = format!("{COOKIE}=planted");
        for cookies in [
            &[format!("{own}; {planted}").as_str()][..],
            &[own.as_str(), planted.as_str()][..],
            &[format!("{COOKIE}=").as_str()][..],
            &["josoor_refreshx=1; xjosoor_refresh=1"][..],
            &[format!("__Host-{own}").as_str()][..],
        ] {
            send(&server, "/auth/refresh", cookies, Some(OWN))
                .await
                .is_problem(403, "missing_token");
            // It ends nothing, and says no more.
            send(&server, "/auth/logout", cookies, Some(OWN)).await.is(200);
        }
        for broken in ["planted", "a.b.c", &first.text_of("access_token"), "\"x\""] {
            let cookie = format!("{COOKIE}={broken}");
            send(&server, "/auth/refresh", &[&cookie], Some(OWN))
                .await
                .is_problem(401, "token_invalid");
        }
        send(&server, "/auth/refresh", &[&own], Some(OWN)).await.is(200);
        server.stop().await;
    }
);

on_both!(
    signing_out_by_cookie_ends_the_session_and_takes_the_cookie_away,
    async |stage: Stage| {
        let server = stage.start().await;
        let answer = sign_in(&server, "/auth/register", "leaver@example.com", OWN)
            .await
            .is(201);
        let access = answer.text_of("access_token");
        let cookie = format!("{COOKIE}={}", value(&answer, COOKIE));
        for origin in [None, Some("http://evil.example")] {
            let refused = send(&server, "/auth/logout", &[&cookie], origin)
                .await
                .is_problem(403, "origin_not_allowed");
            assert!(set_cookie(&refused, COOKIE).is_none());
        }
        server.get("/auth/me", &access).await.is(200);
        // Again and again, and also when the cookie is of other keys.
        for cookie in [&cookie, &cookie, &format!("{COOKIE}=x")] {
            let answer = send(&server, "/auth/logout", &[cookie], Some(OWN)).await.is(200);
            let cleared = set_cookie(&answer, COOKIE).unwrap();
            assert!(cleared.starts_with(&format!("{COOKIE}=;")), "{cleared}");
            assert!(attributes(&cleared).contains(&"Max-Age=0"), "{cleared}");
            server
                .get("/auth/me", &access)
                .await
                .is_problem(401, "session_revoked");
        }
        send(&server, "/auth/refresh", &[&cookie], Some(OWN))
            .await
            .is_problem(401, "session_revoked");
        server.stop().await;
    }
);

on_both!(
    t44_a_sign_in_never_takes_up_a_session_that_was_there_before,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("victim@example.com").await;
        let attacker = server.register("attacker@example.com").await;
        let planted = format!(
            "{COOKIE}={}; josoor_device=planted; sid={}",
            attacker.refresh,
            attacker.claim("sid")
        );
        let mut seen = vec![attacker.claim("sid")];
        for path in ["/auth/login", "/auth/login", "/auth/register"] {
            let email = if path == "/auth/login" {
                "victim@example.com"
            } else {
                "new@example.com"
            };
            let request = server
                .request(Method::POST, path)
                .header("cookie", &planted)
                .bearer_auth(&attacker.access)
                .json(&account(email));
            let answer = server.send(from(request, OWN)).await;
            assert!(answer.status.is_success(), "{answer:?}");
            assert_eq!(answer.json["user"]["email"], email);
            assert_ne!(value(&answer, COOKIE), attacker.refresh);
            let tokens = Tokens {
                access: answer.text_of("access_token"),
                refresh: value(&answer, COOKIE),
                user_id: 0,
            };
            assert!(!seen.contains(&tokens.claim("sid")));
            seen.push(tokens.claim("sid"));
        }
        // The planted one has ended: its cookie was overwritten.
        server
            .get("/auth/me", &attacker.access)
            .await
            .is_problem(401, "session_revoked");
        server.stop().await;
    }
);

on_both!(
    a_known_device_stays_known_to_its_own_user_alone,
    async |stage: Stage| {
        const DEVICE: &str = "josoor_device";
        let server = stage.start().await;
        server.register("one@example.com").await;
        server.register("two@example.com").await;
        let sign_in = async |email: &str, device: Option<&str>| {
            let body = json!({ "email": email, "password": PASSWORD });
            let mut request = server.request(Method::POST, "/auth/login").json(&body);
            if let Some(device) = device {
                request = request.header("cookie", format!("{DEVICE}={device}"));
            }
            value(&server.send(request).await.is(200), DEVICE)
        };
        let device = sign_in("one@example.com", None).await;
        // A program without cookies stays one device.
        assert_eq!(sign_in("one@example.com", None).await, device);
        assert_eq!(sign_in("one@example.com", Some(&device)).await, device);
        let foreign = sign_in("two@example.com", Some(&device)).await;
        assert_ne!(foreign, device);
        assert_eq!(sign_in("two@example.com", Some(&foreign)).await, foreign);
        let flipped = if device.starts_with('A') { "B" } else { "A" }.to_owned() + &device[1..];
        for forged in [
            flipped.as_str(),
            &device[..63],
            &format!("{device}x"),
            &format!("{device}{device}"),
            "x",
            "%00",
        ] {
            let given = sign_in("one@example.com", Some(forged)).await;
            assert_ne!(given, forged);
            assert_eq!(given.len(), device.len());
        }
        // A sign-in that fails marks nothing.
        let body = json!({ "email": "one@example.com", "password": "WrongPassword" });
        let refused = server.post("/auth/login", &body).await.is(401);
        assert!(refused.headers.get("set-cookie").is_none());
        server.stop().await;
    }
);
