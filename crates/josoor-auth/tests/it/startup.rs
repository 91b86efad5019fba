//! What operators see of a server: its first start, its probes, its figures and its public keys.

use std::time::Duration;

use josoor_auth::account::setup;
use josoor_auth::app::App;
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;
use josoor_auth::error::Error;
use josoor_auth_verify::{TokenVerifier, VerificationKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{Answer, Footprint, PASSWORD, Server, Stage, Tokens, on_both};
use crate::support::{command, database, raw, token};

async fn get(server: &Server, path: &str) -> Answer {
    server.send(server.request(Method::GET, path)).await
}

fn setup(token: &str, email: &str) -> Value {
    json!({ "token": token, "email": email, "password": PASSWORD })
}

on_both!(
    the_link_of_the_first_start_makes_one_administrator_once,
    async |stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        let post = async |body: Value| server.post("/setup", &body).await;
        let offer = async || {
            let offer = setup::offer_setup(&server.app).await.unwrap();
            offer.map(|offer| offer.token.expose().to_owned())
        };
        let page = get(&server, "/setup").await.is(200);
        assert!(
            page.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        assert!(
            !page.headers["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("unsafe")
        );

        let late = offer().await.expect("there is no administrator");
        clock.advance(Duration::from_hours(1));
        post(setup(&late, "late@example.com"))
            .await
            .is_problem(400, "link_expired");
        let replaced = offer().await.unwrap();
        // A second start gives the same link while it is good for long enough.
        assert_eq!(offer().await.as_deref(), Some(replaced.as_str()));
        clock.advance(Duration::from_mins(31));
        let good = offer().await.unwrap();
        assert!(replaced != late && good != replaced);
        let refused = post(setup(&replaced, "early@example.com")).await.is(400);
        assert!(
            ["link_invalid", "link_expired", "link_used"].contains(&refused.code()),
            "{refused:?}"
        );
        let flipped = if good.ends_with('A') { "B" } else { "A" };
        for garbage in [
            "",
            "x",
            &good[..63],
            &format!("{good}x"),
            &format!("{}{flipped}", &good[..63]),
            &"A".repeat(64),
            &"é".repeat(32),
        ] {
            post(setup(garbage, "x@example.com"))
                .await
                .is_problem(400, "link_invalid");
        }
        for (body, code) in [
            (json!({ "token": good }), "validation_failed"),
            (
                json!({ "token": good, "email": "a@example.com", "password": "short" }),
                "validation_failed",
            ),
            (
                json!({ "token": good, "email": "a@example.com", "password": PASSWORD, "role": "user" }),
                "unknown_field",
            ),
        ] {
            post(body).await.is_problem(422, code);
        }
        server.register("taken@example.com").await;
        post(setup(&good, "taken@example.com"))
            .await
            .is_problem(400, "email_taken");
        // Of many that come at once with it, one becomes the administrator.
        let attempts = (0..8).map(|number| post(setup(&good, &format!("admin{number}@example.com"))));
        let answers = futures_util::future::join_all(attempts).await;
        let mut made = Vec::new();
        for answer in answers {
            if answer.status == 201 {
                made.push(Tokens::of(&answer));
            } else {
                answer.is_problem(400, "link_used");
            }
        }
        assert_eq!(made.len(), 1);
        server.get("/admin/users", &made[0].access).await.is(200);
        post(setup(&good, "second@example.com"))
            .await
            .is_problem(400, "link_used");
        assert_eq!(offer().await, None);
        let admins = "select count(*) from users where role = 'admin'";
        assert_eq!(database::number(&server.app.db, admins).await, 1);
        server.stop().await;
    }
);

on_both!(
    an_open_link_makes_no_second_administrator,
    async |stage: Stage| {
        let server = stage.start().await;
        let token = setup::offer_setup(&server.app).await.unwrap().unwrap().token;
        server.register_admin("first@example.com").await;
        server
            .post("/setup", &setup(token.expose(), "second@example.com"))
            .await
            .is_problem(400, "link_used");
        server.stop().await;
    }
);

on_both!(
    b11_figures_are_on_their_own_listener_and_for_developers_on_the_main_one,
    async |mut stage: Stage| {
        let server = stage.start().await;
        server.register("counted@example.com").await;
        let wrong = json!({ "email": "counted@example.com", "password": "WrongPassword" });
        server.post("/auth/login", &wrong).await.is(401);
        let figures = get(&server, "/metrics").await.is(200);
        let kind = figures.headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("application/openmetrics-text"));
        for line in [
            r#"josoor_auth_http_requests_total{method="POST",route="/auth/register",status="201"} 1"#,
            r#"josoor_auth_http_requests_total{method="POST",route="/auth/login",status="401"} 1"#,
        ] {
            assert!(figures.text.contains(line), "{}", figures.text);
        }
        assert!(figures.text.ends_with("# EOF\n"));
        assert!(!figures.text.contains("counted"));
        for header in [
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "forwarded",
            "via",
            "x-real-ip",
        ] {
            let request = server
                .request(Method::GET, "/metrics")
                .header(header, "127.0.0.1");
            server.send(request).await.is_problem(404, "not_found");
        }
        // A page elsewhere whose name was made to lead to this machine says another one.
        let request = server
            .request(Method::GET, "/metrics")
            .header("host", "auth.example");
        server.send(request).await.is_problem(404, "not_found");
        server.stop().await;

        stage.dev = false;
        let server = stage.start().await;
        get(&server, "/metrics").await.is_problem(404, "not_found");
        server.stop().await;
        // The program opens the second listener; there nothing else is served.
        let port = crate::support::process::free_port();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        stage.set("JOSOOR_AUTH__METRICS__BIND", &address.to_string());
        let serving = command::Serving::start(&stage);
        let ask = async |address, path: &str| {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
            );
            let answer = raw::exchange(address, request.as_bytes(), Duration::from_secs(5)).await;
            raw::status(&answer)
        };
        assert_eq!(ask(address, "/metrics").await, 200);
        assert_eq!(ask(address, "/healthz").await, 404);
        assert_eq!(ask(serving.address, "/metrics").await, 404);
        assert_eq!(ask(serving.address, "/healthz").await, 200);
        drop(serving);
        for (variable, value) in [("BIND", "0.0.0.0"), ("PUBLIC_URL", "https://auth.example.org")] {
            let mut stage = Stage::new(stage.footprint);
            stage.set(variable, value);
            command::run(&stage, &["serve", "--dev"])
                .with(1)
                .says(&[variable, "--dev", "this machine"]);
        }
    }
);

on_both!(a_request_says_which_host_it_is_for, async |stage: Stage| {
    let server = stage.start().await;
    let status = async |request: &str| {
        let answer = raw::exchange(server.address, request.as_bytes(), Duration::from_secs(5)).await;
        raw::status(&answer)
    };
    for path in ["/healthz", "/auth/me", "/auth/check", "/no/such", "/login"] {
        for hosts in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host:\r\n",
            "Host: a b\r\n",
            "Host: user@a\r\n",
            "Host: a/b\r\n",
        ] {
            let request = format!("GET {path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
            assert_eq!(status(&request).await, 400, "{path} {hosts:?}");
        }
    }
    for request in [
        "GET /healthz HTTP/1.1\r\nHost: auth.example:8000\r\nConnection: close\r\n\r\n",
        "GET http://auth.example/healthz HTTP/1.1\r\nHost: auth.example\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(status(request).await, 200, "{request}");
    }
    let text = raw::exchange(
        server.address,
        b"GET /auth/me HTTP/1.1\r\nConnection: close\r\n\r\n",
        Duration::from_secs(5),
    )
    .await;
    assert!(
        text.contains("application/problem+json") && text.contains("bad_request") && text.contains("Host"),
        "{text}"
    );
    server.stop().await;
});

on_both!(
    probes_tell_each_parts_state_and_need_no_token,
    async |stage: Stage| {
        let server = stage.start().await;
        let alive = get(&server, "/healthz").await.is(200);
        assert_eq!(alive.json, json!({ "status": "ok" }));
        let ready = get(&server, "/readyz").await.is(200);
        let mut parts =
            json!({ "audit": "ok", "changes": "ok", "database": "ok", "factors": "ok", "mail": "ok" });
        if stage.footprint == Footprint::Production {
            parts["redis"] = json!("ok");
            parts["clock"] = json!("ok");
        }
        assert_eq!(ready.json, json!({ "status": "ok", "parts": parts }));
        assert_eq!(ready.headers["cache-control"], "no-store");
        // What a load balancer sees while the node drains, and while the database is away.
        server
            .app
            .readiness()
            .store(false, std::sync::atomic::Ordering::SeqCst);
        let draining = get(&server, "/readyz").await.is(503);
        assert_eq!(draining.json["status"], "draining");
        assert!(draining.headers.contains_key("retry-after"));
        server
            .app
            .readiness()
            .store(true, std::sync::atomic::Ordering::SeqCst);
        server.app.db.close().await;
        let down = get(&server, "/readyz").await.is(503);
        assert_eq!(
            (&down.json["status"], &down.json["parts"]["database"]),
            (&json!("down"), &json!("down"))
        );
        get(&server, "/healthz").await.is(200);
        server
            .post(
                "/auth/login",
                &json!({ "email": "a@example.com", "password": PASSWORD }),
            )
            .await
            .is_problem(503, "store_unavailable");
        server.stop().await;
    }
);

on_both!(
    public_keys_verify_the_tokens_of_their_algorithm,
    async |mut stage: Stage| {
        let server = stage.start().await;
        for algorithm in ["HS256"] {
            let keys = get(&server, "/.well-known/jwks.json").await.is(200);
            assert_eq!(keys.json, json!({ "keys": [] }), "{algorithm}");
        }
        server.stop().await;
        let now = Clock::System.now().as_secs();
        for (algorithm, kty, private) in [
            ("EdDSA", "OKP", &["d"][..]),
            ("ES256", "EC", &["d"]),
            ("RS256", "RSA", &["d", "p", "q", "dp", "dq", "qi"]),
        ] {
            stage.set("JWT_ALGORITHM", algorithm);
            let server = stage.start().await;
            let tokens = server
                .register(&format!("{}@example.com", algorithm.to_lowercase()))
                .await;
            let keys = get(&server, "/.well-known/jwks.json").await.is(200);
            assert!(
                keys.headers["cache-control"]
                    .to_str()
                    .unwrap()
                    .starts_with("public")
            );
            // Those of the algorithms before verify still.
            let published = keys.json["keys"].clone();
            let mut keys = published.as_array().unwrap().clone();
            keys.retain(|key| key["alg"] == algorithm);
            assert_eq!(keys.len(), 1, "{keys:?}");
            let (header, _) = token::read(&tokens.access);
            assert_eq!(
                (&header["alg"], &header["kid"], &header["typ"]),
                (&json!(algorithm), &keys[0]["kid"], &json!("at+jwt"))
            );
            assert_eq!(
                (&keys[0]["kty"], &keys[0]["alg"], &keys[0]["use"]),
                (&json!(kty), &json!(algorithm), &json!("sig"))
            );
            assert!(
                private.iter().all(|name| keys[0].get(*name).is_none()),
                "{keys:?}"
            );
            // With our own verifier, and with another library that knows nothing but the JWK.
            let key = VerificationKey::from_jwk(&keys[0]).unwrap();
            let verifier = TokenVerifier::new("http://localhost:8000", None).with_key(key);
            let claims = verifier.verify(&tokens.access, now).unwrap();
            assert_eq!(claims.sub, tokens.user_id);
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(keys[0].clone()).unwrap();
            let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            let validation = jsonwebtoken::Validation::new(algorithm.parse().unwrap());
            let read = jsonwebtoken::decode::<Value>(&tokens.access, &key, &validation).unwrap();
            assert_eq!(read.claims["sub"], tokens.user_id.to_string());
            server.get("/auth/me", &tokens.access).await.is(200);
            server.stop().await;
            // The same key after a restart.
            let server = stage.start().await;
            let again = get(&server, "/.well-known/jwks.json").await.is(200);
            assert_eq!(again.json["keys"], published);
            server.get("/auth/me", &tokens.access).await.is(200);
            server.stop().await;
        }
    }
);

on_both!(
    the_documentation_is_there_without_any_other_host,
    async |stage: Stage| {
        let server = stage.start().await;
        let document = get(&server, "/openapi.json").await.is(200);
        assert!(document.json["openapi"].as_str().unwrap().starts_with("3.1"));
        let viewer = get(&server, "/docs").await.is(200);
        assert!(viewer.text.contains("<html"));
        assert!(!viewer.text.contains("https://") && !viewer.text.contains("//cdn"));
        let arabic = get(&server, "/docs?lang=ar").await.is(200);
        assert!(arabic.text.contains(r#"<html lang="ar" dir="rtl">"#));
        assert_eq!(arabic.headers["content-language"], "ar");
        let cookie = arabic.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.starts_with("josoor_locale=ar;"), "{cookie}");
        server.stop().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_key_is_missed_and_not_replaced() {
    let stage = Stage::new(Footprint::Embedded);
    stage.start().await.stop().await;
    let key = stage.directory().join("master.key");
    std::fs::remove_file(&key).unwrap();
    let config = Config::parse(None, stage.environment()).unwrap();
    let Err(Error::Internal(cause)) = App::open(config, Clock::System).await else {
        panic!("a server without its key has started");
    };
    let cause = format!("{cause:#}");
    assert!(
        cause.contains("is missing") && cause.contains("master.key"),
        "{cause}"
    );
    assert!(!key.exists());
}

on_both!(
    c6_pages_allow_no_policy_that_makes_scripts_of_texts,
    async |stage: Stage| {
        let server = stage.start().await;
        for path in ["/login", "/register", "/account", "/console", "/no/such/page"] {
            let request = server.request(Method::GET, path).header("accept", "text/html");
            let page = server.send(request).await;
            let policy = page.headers["content-security-policy"].to_str().unwrap();
            assert!(
                policy.contains("require-trusted-types-for 'script'")
                    && policy.contains("trusted-types 'none'"),
                "{path}: {policy}"
            );
        }
        server.stop().await;
    }
);
