//! Limits: who is counted together, who is not, and that nothing gets past them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use josoor_auth::telemetry::Sample;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::database;
use crate::support::raw::{exchange, status};
use crate::support::server::{Answer, Footprint, PASSWORD, Server, Stage, Tokens, eventually, on_both};
use crate::support::services::{Redis, redis};

/// Tries to sign in from an address, as a trusted proxy would pass it on.
async fn sign_in_from(server: &Server, ip: &str, email: &str, password: &str) -> Answer {
    let request = server
        .request(Method::POST, "/auth/login")
        .header("x-forwarded-for", ip)
        .json(&json!({ "email": email, "password": password }));
    server.send(request).await
}

async fn sign_in(server: &Server, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    server.post("/auth/login", &body).await
}

/// Fails the test unless this limit refused, with all that belongs to it.
#[track_caller]
fn limited_by(answer: Answer, name: &str, quota: &str) -> Answer {
    let answer = answer.is_problem(429, "rate_limited");
    let seconds = answer.headers["retry-after"].to_str().expect("a number");
    assert!(seconds.parse::<u32>().is_ok_and(|wait| wait >= 1), "{answer:?}");
    assert_eq!(
        answer.headers["ratelimit-policy"],
        format!("\"{name}\";{quota}").as_str()
    );
    assert_eq!(
        answer.headers["ratelimit"],
        format!("\"{name}\";r=0;t={seconds}").as_str()
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer
}

/// How often a limit refused on this server.
fn refusals(server: &Server, name: &str) -> u64 {
    let line = format!("josoor_auth_limited_total{{limit=\"{name}\"}} ");
    let text = server.app.metrics.encode(&Sample::default());
    text.lines()
        .find_map(|text| text.strip_prefix(&line))
        .map_or(0, |count| count.parse().expect("a count"))
}

async fn audited_sign_ins(server: &Server) -> i64 {
    database::number(
        &server.app.db,
        "select count(*) from audit where action = 'sign_in'",
    )
    .await
}

fn hashed(server: &Server) -> u64 {
    server.app.hasher.stats().done_total
}

on_both!(
    t65_of_500_parallel_right_passwords_as_many_reach_the_hasher_as_the_limit_says,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "20/1h");
        // A busy machine is no outage.
        stage.set("JOSOOR_AUTH__REDIS__TIMEOUT", "5s");
        stage.set("JOSOOR_AUTH__HASH__QUEUE", "1000");
        let server = stage.start().await;
        server.register("many@example.com").await;
        let before = hashed(&server);
        let answers = join_all((0..500).map(|_| sign_in(&server, "many@example.com", PASSWORD))).await;
        let mut admitted = 0;
        for answer in answers {
            if answer.status == 200 {
                admitted += 1;
                assert!(!answer.headers.contains_key("ratelimit"), "{answer:?}");
            } else {
                limited_by(answer, "login_account", "q=20;w=3600");
            }
        }
        assert_eq!(admitted, 20);
        assert_eq!(hashed(&server) - before, 20);
        assert_eq!(refusals(&server, "login_account"), 480);
        assert_eq!(audited_sign_ins(&server).await, 20, "a flood leaves no rows");
        let text = server.app.metrics.encode(&Sample::default());
        let line = r#"josoor_auth_sign_ins_total{result="rate_limited"} 480"#;
        assert!(text.contains(line), "{text}");
        server.stop().await;
    }
);

on_both!(
    t65_a_window_ends_on_time_under_constant_traffic,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "4/8s");
        // A busy machine is no outage.
        stage.set("JOSOOR_AUTH__REDIS__TIMEOUT", "5s");
        let server = stage.start().await;
        let begun = Instant::now();
        let mut admitted = Vec::new();
        while begun.elapsed() < Duration::from_secs(7) {
            let sent = begun.elapsed();
            let answer = sign_in(&server, "busy@example.com", "Wrong-Password").await;
            match answer.status.as_u16() {
                401 => admitted.push((sent, begun.elapsed())),
                _ => drop(limited_by(answer, "login_account", "q=4;w=8")),
            }
        }
        // Four at once, then one in every two seconds, however many were refused in between.
        assert_eq!(admitted.len(), 7, "{admitted:?}");
        for (position, (sent, answered)) in admitted.iter().enumerate().skip(4) {
            let due = 2 * Duration::from_secs(position as u64 - 3);
            assert!(*answered >= due, "too early: {admitted:?}");
            assert!(*sent < due + Duration::from_millis(900), "too late: {admitted:?}");
        }
        server.stop().await;
    }
);

on_both!(
    t58_forwarding_headers_of_untrusted_peers_open_no_second_bucket,
    async |mut stage: Stage| {
        const HEADERS: [(&str, &str); 12] = [
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-for", "203.0.113.8, 203.0.113.9"),
            ("x-forwarded-for", "a"),
            ("x-forwarded-for", ""),
            ("x-forwarded-for", ",,,"),
            ("x-forwarded-for", "fe80::1%eth0"),
            ("x-forwarded-for", "2001:db8::1"),
            ("forwarded", "for=203.0.113.10"),
            ("forwarded", "for=\"[2001:db8::2]:443\""),
            ("forwarded", "for=_hidden;by=x"),
            ("x-real-ip", "203.0.113.11"),
            ("true-client-ip", "203.0.113.12"),
        ];
        stage.set_limit("login_address", "5/1h");
        let server = stage.start().await;
        let send = async |server: &Server, (name, value): (&str, &str)| {
            let request = server.request(Method::POST, "/auth/login").header(name, value);
            let body = json!({ "email": "x@example.com", "password": PASSWORD });
            server.send(request.json(&body)).await
        };
        for (position, header) in HEADERS.into_iter().enumerate() {
            let answer = send(&server, header).await;
            if position < 5 {
                answer.is_problem(401, "invalid_credentials");
            } else {
                limited_by(answer, "login_address", "q=5;w=3600");
            }
        }
        server.stop().await;
        // From a trusted proxy an address has its own bucket; what is none counts as the proxy itself. That bucket is
        // empty still where nodes count together, and is new in a new process.
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        let server = stage.start().await;
        for header in &HEADERS[2..6] {
            send(&server, *header).await;
        }
        send(&server, ("x-forwarded-for", "a, b")).await;
        for header in &HEADERS[2..6] {
            limited_by(send(&server, *header).await, "login_address", "q=5;w=3600");
        }
        send(&server, HEADERS[0])
            .await
            .is_problem(401, "invalid_credentials");
        server.stop().await;
    }
);

on_both!(
    t59_one_v6_network_and_all_forms_of_an_address_share_a_bucket,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set_limit("login_address", "5/1h");
        // A busy machine is no outage.
        stage.set("JOSOOR_AUTH__REDIS__TIMEOUT", "5s");
        let server = stage.start().await;
        let mut admitted = 0;
        for number in 0..1000_u32 {
            let ip = match number % 3 {
                0 => format!("2001:db8:0:7::{number:x}"),
                1 => format!("2001:DB8:0000:0007:{number:x}:0:ffff:1"),
                _ => format!("2001:0db8:0:7:ffff::{number:X}"),
            };
            let email = format!("u{number}@example.com");
            let answer = sign_in_from(&server, &ip, &email, PASSWORD).await;
            match answer.status.as_u16() {
                401 => admitted += 1,
                _ => drop(limited_by(answer, "login_address", "q=5;w=3600")),
            }
        }
        assert_eq!(admitted, 5);
        for (position, ip) in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "::FFFF:C000:201",
            "0:0:0:0:0:ffff:192.0.2.1",
            "192.0.2.1:4711",
            "[::ffff:192.0.2.1]:80",
        ]
        .into_iter()
        .enumerate()
        {
            let answer = sign_in_from(&server, ip, "x@example.com", PASSWORD).await;
            assert_eq!(answer.status, if position < 5 { 401 } else { 429 }, "{ip}");
        }
        // The next network is another.
        sign_in_from(&server, "2001:db8:0:8::1", "x@example.com", PASSWORD)
            .await
            .is(401);
        server.stop().await;
    }
);

on_both!(
    t60_nothing_else_in_a_request_opens_a_second_bucket,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "3/1h");
        let server = stage.start().await;
        for _ in 0..3 {
            sign_in(&server, "victim@example.com", "Wrong-Password")
                .await
                .is_problem(401, "invalid_credentials");
        }
        let before = hashed(&server);
        for extra in ["identifier", "username", "Email", "user_id", "ip", ""] {
            let mut body = json!({ "email": "victim@example.com", "password": "Wrong-Password" });
            body[extra] = json!("other@example.com");
            server
                .post("/auth/login", &body)
                .await
                .is_problem(422, "unknown_field");
        }
        for (path, body) in [
            (
                "/auth/login",
                r#"{"password":"Wrong-Password","email":"victim@example.com"}"#,
            ),
            (
                "/auth/login",
                r#"{ "transport": "body", "email" : "victim@example.com","password":"Wrong-Password"}"#,
            ),
            (
                "/auth/login",
                r#"{"\u0065mail":"\u0076ictim@example.com","password":"Wrong-Password"}"#,
            ),
            (
                "/auth/login?email=other@example.com&x=1",
                r#"{"email":"victim@example.com","password":"Wrong-Password"}"#,
            ),
        ] {
            let request = server
                .request(Method::POST, path)
                .header("content-type", "application/json")
                .header("user-agent", "another")
                .header("cookie", "josoor_device=other; sid=1")
                .body(body);
            limited_by(server.send(request).await, "login_account", "q=3;w=3600");
        }
        let twice =
            r#"{"email":"other@example.com","email":"victim@example.com","password":"Wrong-Password"}"#;
        let request = server
            .request(Method::POST, "/auth/login")
            .header("content-type", "application/json")
            .body(twice);
        server.send(request).await.is_problem(400, "malformed_json");
        assert_eq!(hashed(&server), before);
        server.stop().await;
    }
);

on_both!(
    t61_all_ways_to_write_an_address_share_the_accounts_bucket,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "2/1h");
        let server = stage.start().await;
        for variants in [
            &[
                "victim@example.com",
                "Victim@Example.COM",
                "VICTIM@EXAMPLE.COM",
                "  victim@example.com\t",
                "victim@EXAMPLE.com\n",
            ][..],
            &[
                "m\u{fc}ller@b\u{fc}cher.example",
                "mu\u{308}ller@bu\u{308}cher.example",
                "M\u{dc}LLER@xn--bcher-kva.example",
                "M\u{fc}ller@XN--BCHER-KVA.example",
            ][..],
        ] {
            for (position, email) in variants.iter().enumerate() {
                let answer = sign_in(&server, email, "Wrong-Password").await;
                if position < 2 {
                    answer.is_problem(401, "invalid_credentials");
                } else {
                    limited_by(answer, "login_account", "q=2;w=3600");
                }
            }
        }
        // Dots and tags make another account, and so another bucket.
        for email in ["vic.tim@example.com", "victim+x@example.com"] {
            sign_in(&server, email, "Wrong-Password").await.is(401);
        }
        server.stop().await;
    }
);

on_both!(
    t62_no_other_path_leads_to_a_sign_in_past_the_limit,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "1/1h");
        let server = stage.start().await;
        server.register("path@example.com").await;
        sign_in(&server, "path@example.com", PASSWORD).await.is(200);
        let before = hashed(&server);
        let body = json!({ "email": "path@example.com", "password": PASSWORD }).to_string();
        for path in [
            "/auth/login",
            "//auth/login",
            "/auth//login",
            "/auth/./login",
            "/./auth/login",
            "/auth/x/../login",
            "/auth%2Flogin",
            "/auth%2flogin",
            "/%61uth/login",
            "/auth/logi%6E",
            "/AUTH/login",
            "/auth/LOGIN",
            "/auth/login/",
            "/auth/login//",
            "/auth/login;x",
            "/auth/login;jsessionid=1",
            "/auth;x/login",
            "/auth/login%20",
            "/auth/login%00",
            "/auth/login.json",
            "/auth\\login",
            "http://evil.example/auth/login",
        ] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let answer = exchange(server.address, request.as_bytes(), Duration::from_secs(5)).await;
            assert!(
                matches!(status(&answer), 308 | 400 | 404 | 405 | 429),
                "{path}: {answer}"
            );
        }
        assert_eq!(hashed(&server), before);
        server.stop().await;
    }
);

on_both!(
    t63_failures_count_also_when_the_client_does_not_wait_for_them,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "5/1h");
        // Long enough to hang up in.
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "11");
        let server = stage.start().await;
        server.register("aborted@example.com").await;
        let before = hashed(&server);
        let is_hashing = || {
            let stats = server.app.hasher.stats();
            stats.running + stats.queued > 0
        };
        for number in 0..8 {
            let body = json!({ "email": "aborted@example.com", "password": format!("Wrong-{number}") });
            let body = body.to_string();
            let request = format!(
                "POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let refused = refusals(&server, "login_account");
            let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            eventually("it is being hashed, or was refused", || async {
                is_hashing() || refusals(&server, "login_account") > refused
            })
            .await;
            drop(stream);
            eventually("the hasher rests", || async { !is_hashing() }).await;
        }
        assert_eq!(refusals(&server, "login_account"), 3);
        limited_by(
            sign_in(&server, "aborted@example.com", PASSWORD).await,
            "login_account",
            "q=5;w=3600",
        );
        assert!(hashed(&server) - before <= 5);
        // Without a client that hangs up.
        for _ in 0..5 {
            sign_in(&server, "patient@example.com", "Wrong-Password")
                .await
                .is(401);
        }
        limited_by(
            sign_in(&server, "patient@example.com", PASSWORD).await,
            "login_account",
            "q=5;w=3600",
        );
        server.stop().await;
    }
);

on_both!(
    t64_a_client_over_a_limit_is_rejected_on_every_path,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "3/1h");
        stage.set_limit("login_device", "2/1h");
        let server = stage.start().await;
        let owner = server.register("door@example.com").await;
        let thief = server.log_in("door@example.com").await;
        for _ in 0..2 {
            sign_in(&server, "door@example.com", "Wrong-Password")
                .await
                .is(401);
        }
        // No more from outside, also with the right password.
        sign_in(&server, "door@example.com", PASSWORD).await.is(429);
        // A stolen session does not make an endless oracle of the password, nor does another door.
        let leave = async |tokens: &Tokens, password: &str| {
            let request = server
                .request(Method::DELETE, "/auth/me")
                .bearer_auth(&tokens.access)
                .json(&json!({ "password": password }));
            server.send(request).await
        };
        for _ in 0..2 {
            leave(&thief, "Wrong-Password")
                .await
                .is_problem(401, "invalid_credentials");
        }
        let before = hashed(&server);
        limited_by(leave(&thief, PASSWORD).await, "login_device", "q=2;w=3600");
        sign_in(&server, "door@example.com", PASSWORD).await.is(429);
        assert_eq!(hashed(&server), before);
        // The owner's session goes on, and has tries of its own.
        let owner = Tokens::of(&server.refresh(&owner.refresh).await.is(200));
        server.get("/auth/me", &owner.access).await.is(200);
        leave(&owner, PASSWORD).await.is(204);
        server.stop().await;
    }
);

on_both!(
    t67_a_success_leaves_no_failures_behind,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "5/1s");
        let server = stage.start().await;
        server.register("typist@example.com").await;
        for round in 0..3 {
            // After a window's rest nothing is left of what was before.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            for _ in 0..4 {
                sign_in(&server, "typist@example.com", "Wrong-Password")
                    .await
                    .is_problem(401, "invalid_credentials");
            }
            let answer = sign_in(&server, "typist@example.com", PASSWORD).await;
            assert_eq!(answer.status, 200, "round {round}: {answer:?}");
        }
        server.stop().await;
    }
);

/// The value of the device cookie that an answer sets.
fn device(answer: &Answer) -> String {
    answer
        .headers
        .get_all("set-cookie")
        .iter()
        .find_map(|value| value.to_str().ok()?.strip_prefix("josoor_device="))
        .and_then(|value| value.split(';').next())
        .expect("a device cookie")
        .to_owned()
}

on_both!(
    t68_an_attack_from_everywhere_does_not_lock_out_a_known_device,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set_limit("login_account", "10/1h");
        stage.set_limit("login_pair", "3/1h");
        stage.set_limit("login_device", "4/1h");
        let server = stage.start().await;
        server.register("owner@example.com").await;
        let on = async |device: &str, email: &str, password: &str| {
            let request = server
                .request(Method::POST, "/auth/login")
                .header("x-forwarded-for", "198.51.100.1")
                .header("cookie", format!("josoor_device={device}"))
                .json(&json!({ "email": email, "password": password }));
            server.send(request).await
        };
        let first = sign_in_from(&server, "198.51.100.1", "owner@example.com", PASSWORD).await;
        let known = device(&first.is(200));
        let foreign = server
            .post(
                "/auth/register",
                &json!({ "email": "attacker@example.com", "password": PASSWORD }),
            )
            .await;
        let foreign = device(&foreign.is(201));
        // One address gets three, all addresses together what is left of ten.
        let mut refused_by = Vec::new();
        for number in 0..20 {
            let ip = format!("203.0.113.{}", number % 4);
            let answer = sign_in_from(&server, &ip, "owner@example.com", "Wrong-Password").await;
            if answer.status == 429 {
                let policy = answer.headers["ratelimit-policy"].to_str().unwrap();
                refused_by.push(policy.split('"').nth(1).unwrap().to_owned());
            }
        }
        assert_eq!(refused_by.len(), 11, "{refused_by:?}");
        assert!(refused_by.iter().any(|name| name == "login_account"));
        assert!(refused_by.iter().any(|name| name == "login_pair"));
        let forged = format!("{}{}", &known[..63], if known.ends_with('A') { 'B' } else { 'A' });
        // A device that is not known waits with the attackers, also with a cookie that is another's or made up.
        for cookie in [foreign.as_str(), "x", &known[1..], &forged, &format!("{known}x")] {
            on(cookie, "owner@example.com", PASSWORD).await.is(429);
        }
        // The owner is in at the first try, and known as before.
        let answer = on(&known, "OWNER@example.com", PASSWORD).await.is(200);
        assert_eq!(device(&answer), known);
        // A known device is no licence to guess.
        for _ in 0..3 {
            on(&known, "owner@example.com", "Wrong-Password").await.is(401);
        }
        limited_by(
            on(&known, "owner@example.com", PASSWORD).await,
            "login_device",
            "q=4;w=3600",
        );
        // For another account it is a device like any other, in that account's bucket.
        let before = refusals(&server, "login_device");
        on(&known, "attacker@example.com", "Wrong-Password").await.is(401);
        assert_eq!(refusals(&server, "login_device"), before);
        server.stop().await;
    }
);

on_both!(
    the_answer_over_a_limit_does_not_tell_whether_there_is_an_account,
    async |mut stage: Stage| {
        stage.set_limit("login_account", "2/1h");
        let server = stage.start().await;
        server.register("known@example.com").await;
        let mut answers = Vec::new();
        for email in ["known@example.com", "unknown@example.com"] {
            for _ in 0..2 {
                let answer = sign_in(&server, email, "Wrong-Password").await.is(401);
                for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
                    assert!(!answer.headers.contains_key(name), "{answer:?}");
                }
            }
            let mut answer = limited_by(
                sign_in(&server, email, PASSWORD).await,
                "login_account",
                "q=2;w=3600",
            );
            let names = answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
            answer.json["request_id"] = Value::Null;
            answers.push((answer.json, names));
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(
            answers[0].0["detail"],
            "Too many sign-ins to this account. Wait a little, then try again."
        );
        server.stop().await;
    }
);

on_both!(
    registrations_and_refreshes_have_limits_of_their_own,
    async |mut stage: Stage| {
        stage.set_limit("register_address", "2/1h");
        stage.set_limit("refresh_session", "3/1h");
        let server = stage.start().await;
        let tokens = server.register("one@example.com").await;
        let other = server.register("two@example.com").await;
        let before = hashed(&server);
        let body = json!({ "email": "three@example.com", "password": PASSWORD });
        limited_by(
            server.post("/auth/register", &body).await,
            "register_address",
            "q=2;w=3600",
        );
        assert_eq!(hashed(&server), before);
        let users = database::number(&server.app.db, "select count(*) from users").await;
        assert_eq!(users, 2);
        // Both ways to refresh a session are one.
        for _ in 0..3 {
            server
                .post_as("/auth/refresh", &tokens.access, &json!({}))
                .await
                .is(200);
        }
        limited_by(
            server.refresh(&tokens.refresh).await,
            "refresh_session",
            "q=3;w=3600",
        );
        limited_by(
            server.post_as("/auth/refresh", &tokens.access, &json!({})).await,
            "refresh_session",
            "q=3;w=3600",
        );
        // The session is alive, forged tokens take nothing, and other sessions have their own.
        server.get("/auth/me", &tokens.access).await.is(200);
        let forged = format!("{}x", other.refresh);
        for _ in 0..5 {
            server.refresh(&forged).await.is_problem(401, "token_invalid");
        }
        server.refresh(&other.refresh).await.is(200);
        server.stop().await;
    }
);

on_both!(without_limits_nothing_is_limited, async |mut stage: Stage| {
    stage.set("JOSOOR_AUTH__LIMITS__ENABLED", "false");
    for name in ["login_address", "login_account", "login_device"] {
        stage.set_limit(name, "1/30d");
    }
    let server = stage.start().await;
    for _ in 0..20 {
        sign_in(&server, "free@example.com", "Wrong-Password")
            .await
            .is(401);
    }
    server.stop().await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_count_together_and_redis_holds_no_names() {
    let mut stage = Stage::new(Footprint::Production);
    stage.set_limit("login_account", "10/1h");
    stage.set("JOSOOR_AUTH__REDIS__TIMEOUT", "5s");
    let (one, other) = (stage.start().await, stage.start().await);
    let mut admitted = 0;
    for number in 0..30 {
        let server = if number % 2 == 0 { &one } else { &other };
        let answer = sign_in(server, "shared@example.com", "Wrong-Password").await;
        match answer.status.as_u16() {
            401 => admitted += 1,
            _ => drop(limited_by(answer, "login_account", "q=10;w=3600")),
        }
    }
    assert_eq!(admitted, 10);
    assert_eq!(hashed(&one) + hashed(&other), 10);
    // A restart empties no bucket.
    one.stop().await;
    let one = stage.start().await;
    sign_in(&one, "shared@example.com", PASSWORD).await.is(429);
    let pattern = format!("{}josoor-auth:limit:login_account:*", stage.prefix());
    let keys = redis().command(&format!("KEYS {pattern}")).expect("an answer");
    assert!(keys.starts_with("*1\r\n"), "{keys}");
    for plain in ["shared", "127.0.0.1", "@", "c2hhcmVk"] {
        assert!(!keys.contains(plain), "{keys}");
    }
    let key = keys.split("\r\n").nth(2).expect("a key");
    let left = redis().command(&format!("PTTL {key}")).expect("an answer");
    let left: u64 = left.trim().trim_start_matches(':').parse().expect("a time");
    assert!(
        left <= 3_600_000,
        "it goes when the bucket is full again, after {left} ms"
    );
    one.stop().await;
    other.stop().await;
}

/// Tries until nothing more is let through; how many were. Fails the test at any answer but 401 and 429.
async fn drain(server: &Server, email: &str, quota: &str) -> u32 {
    let mut admitted = 0;
    for _ in 0..15 {
        let answer = sign_in(server, email, "Wrong-Password").await;
        match answer.status.as_u16() {
            401 => admitted += 1,
            _ => drop(limited_by(answer, "login_account", quota)),
        }
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_node_counts_alone_and_stricter() {
    let redis = Redis::start_own(0);
    let mut stage = Stage::new(Footprint::Production);
    stage.set("REDIS_URL", &redis.url());
    stage.set_limit("login_account", "10/1h");
    let server = stage.start().await;
    let shared = server.app.cache.redis().expect("Redis");
    assert_eq!(drain(&server, "up@example.com", "q=10;w=3600").await, 10);

    // No memory left in Redis: it refuses to write.
    redis.command("CONFIG SET maxmemory 1").expect("an answer");
    assert_eq!(drain(&server, "full@example.com", "q=5;w=3600").await, 5);
    redis.command("CONFIG SET maxmemory 0").expect("an answer");
    assert_eq!(drain(&server, "room@example.com", "q=10;w=3600").await, 10);

    redis.hang();
    let begun = Instant::now();
    assert_eq!(drain(&server, "hung@example.com", "q=5;w=3600").await, 5);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    redis.resume();
    assert!(shared.wait_connected(Duration::from_secs(10)).await);
    assert_eq!(drain(&server, "back@example.com", "q=10;w=3600").await, 10);

    // A value that is none counts as an untouched bucket, and is replaced.
    let keys = redis.command("KEYS *limit:login_account:*").expect("an answer");
    for key in keys.split("\r\n").filter(|line| line.contains("limit:")) {
        redis.command(&format!("DEL {key}")).expect("an answer");
        redis
            .command(&format!("LPUSH {key} nonsense"))
            .expect("an answer");
    }
    assert_eq!(drain(&server, "up@example.com", "q=10;w=3600").await, 10);

    redis.stop();
    assert_eq!(drain(&server, "down@example.com", "q=5;w=3600").await, 5);
    // Also a node that starts without Redis, and also who was over the limit before it went.
    let cold = stage.start_unready(josoor_auth::clock::Clock::System).await;
    assert_eq!(drain(&cold, "up@example.com", "q=5;w=3600").await, 5);
    let text = server.app.metrics.encode(&Sample::default());
    assert!(text.contains("josoor_auth_limits_without_redis_total"), "{text}");
    cold.stop().await;

    redis.start();
    assert!(shared.wait_connected(Duration::from_secs(10)).await);
    assert_eq!(drain(&server, "again@example.com", "q=10;w=3600").await, 10);
    server.stop().await;
}
