//! Limits on every axis that an attacker can multiply: networks, accounts, sessions; and shares in the hasher's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use josoor_auth::act::Client;
use josoor_auth::domain::{Email, Password};
use josoor_auth::http::openapi_document;
use josoor_auth::sessions::{self, LogIn, SignInWith};
use josoor_auth::telemetry::Sample;
use reqwest::Method;
use serde_json::json;

use crate::support::acceptance;
use crate::support::database;
use crate::support::server::{Answer, PASSWORD, Server, Tokens, eventually, on_both};

async fn sign_in_from(server: &Server, ip: &str, email: &str, password: &str) -> Answer {
    let request = server
        .request(Method::POST, "/auth/login")
        .header("x-forwarded-for", ip)
        .json(&json!({ "email": email, "password": password }));
    server.send(request).await
}

async fn change_password_from(server: &Server, ip: &str, token: &str) -> Answer {
    let request = server
        .request(Method::POST, "/auth/password/change")
        .header("x-forwarded-for", ip)
        .bearer_auth(token)
        .json(&json!({ "current_password": "Wrong-Password-1", "new_password": "a new sentence" }));
    server.send(request).await
}

/// Fails the test unless this limit refused.
#[track_caller]
fn limited_by(answer: Answer, name: &str) -> Answer {
    let answer = answer.is_problem(429, "rate_limited");
    let policy = answer.headers["ratelimit-policy"].to_str().expect("a policy");
    assert!(
        policy.starts_with(&format!("\"{name}\";")),
        "{policy}, not {name}"
    );
    answer
}

/// Opens a session without being counted, as the command line would.
async fn open_session(server: &Server, email: &str) -> String {
    let (email, password) = (
        Email::parse(email).expect("an address"),
        Password::parse(PASSWORD),
    );
    let password = password.expect("a password");
    let (with, client) = (SignInWith::default(), Client::default());
    let signed_in = sessions::log_in(&server.app, &email, password, with, &client).await;
    let LogIn::Opened(issued) = signed_in.expect("signed in") else {
        panic!("{email:?} has a second factor");
    };
    issued.access_token.expose().to_owned()
}

on_both!(
    a1_checks_of_the_password_count_by_network_session_and_account,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set_limit("login_address", "6/1h");
        stage.set_limit("login_device", "2/1h");
        stage.set_limit("password_account", "4/1h");
        let server = stage.start().await;
        server.register("many@example.com").await;
        let mut tokens = Vec::new();
        for _ in 0..6 {
            tokens.push(open_session(&server, "many@example.com").await);
        }
        let wrong = async |ip: &str, token: &str| change_password_from(&server, ip, token).await;
        for _ in 0..2 {
            wrong("192.0.2.1", &tokens[0])
                .await
                .is_problem(401, "invalid_credentials");
        }
        limited_by(wrong("192.0.2.2", &tokens[0]).await, "login_device");
        for token in &tokens[1..3] {
            wrong("192.0.2.1", token)
                .await
                .is_problem(401, "invalid_credentials");
        }
        // More sessions and more networks are no more tries; nor are the other requests that verify the password.
        limited_by(wrong("192.0.2.3", &tokens[3]).await, "password_account");
        for (number, method, path, body) in [
            (4, Method::DELETE, "/auth/me", json!({ "password": PASSWORD })),
            (
                5,
                Method::POST,
                "/auth/email/change",
                json!({ "password": PASSWORD, "new_email": "other@example.com" }),
            ),
        ] {
            let request = server.request(method, path).bearer_auth(&tokens[number]);
            let request = request.header("x-forwarded-for", "192.0.2.4").json(&body);
            limited_by(server.send(request).await, "password_account");
        }
        // The owner signs in as before, and strangers' sign-ins take nothing from this bucket.
        sign_in_from(&server, "192.0.2.5", "many@example.com", PASSWORD)
            .await
            .is(200);
        // One network: sign-ins and checks within sessions together, whatever accounts.
        server.register("second@example.com").await;
        let second = open_session(&server, "second@example.com").await;
        for _ in 0..2 {
            wrong("192.0.2.1", &second)
                .await
                .is_problem(401, "invalid_credentials");
        }
        let third = open_session(&server, "second@example.com").await;
        limited_by(wrong("192.0.2.1", &third).await, "login_address");
        let refused = sign_in_from(&server, "192.0.2.1", "third@example.com", PASSWORD).await;
        limited_by(refused, "login_address");
        server.stop().await;
    }
);

on_both!(
    a1_one_account_does_not_keep_others_from_the_hasher,
    async |mut stage: Stage| {
        // No limit holds here: the queue alone has to be fair. Long enough to fill it.
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "9");
        stage.set("JOSOOR_AUTH__HASH__THREADS", "1");
        stage.set("JOSOOR_AUTH__HASH__QUEUE", "8");
        let server = Arc::new(stage.start().await);
        server.register("attacker@example.com").await;
        server.register("other@example.com").await;
        let token = open_session(&server, "attacker@example.com").await;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let attackers: Vec<_> = (0..24)
            .map(|_| {
                let (server, stop, sent, token) = (server.clone(), stop.clone(), sent.clone(), token.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        change_password_from(&server, "203.0.113.1", &token).await;
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        eventually("the queue is full of one account's jobs", || async {
            server.app.hasher.stats().shed_total > 0
        })
        .await;
        for number in 0..10 {
            let ip = format!("198.51.100.{number}");
            sign_in_from(&server, &ip, "other@example.com", PASSWORD)
                .await
                .is(200);
        }
        stop.store(true, Ordering::Relaxed);
        join_all(attackers).await;
        assert!(sent.load(Ordering::Relaxed) > 24);
        Arc::into_inner(server).expect("the last one").stop().await;
    }
);

/// The median time of sign-ins from other networks to four accounts in alternation, the first of which has this number, and how many
/// were refused.
async fn measure_sign_ins(server: &Server, first: usize, count: usize) -> (Duration, usize) {
    let mut times = Vec::new();
    let mut refused = 0;
    for number in 0..count {
        let begun = Instant::now();
        let (ip, email) = (
            format!("198.51.100.{number}"),
            format!("u{}@example.com", first + number % 4),
        );
        let answer = sign_in_from(server, &ip, &email, PASSWORD).await;
        refused += usize::from(answer.status != 200);
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    (times[count / 2], refused)
}

on_both!(
    acceptance_a1_sessions_of_one_account_do_not_slow_others_down,
    async |mut stage: Stage| {
        let sessions = acceptance::size(20, 80);
        let (cost, count) = if sessions == 80 { ("12", 40) } else { ("10", 8) };
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", cost);
        stage.set("JOSOOR_AUTH__HASH__THREADS", "2");
        for limit in &josoor_auth::domain::limit::TABLE {
            let default = if limit.default.contains('`') {
                ""
            } else {
                limit.default
            };
            stage.set_limit(limit.name(), default);
        }
        let server = Arc::new(stage.start().await);
        server.register("attacker@example.com").await;
        // Four for each measurement, whose sign-ins are as many as the limit of an account admits at once.
        for number in 0..8 {
            server.register(&format!("u{number}@example.com")).await;
        }
        let mut tokens = Vec::new();
        for _ in 0..sessions {
            tokens.push(open_session(&server, "attacker@example.com").await);
        }
        let (idle, refused) = measure_sign_ins(&server, 0, count).await;
        assert_eq!(refused, 0);
        let stop = Arc::new(AtomicBool::new(false));
        let (verified, limited) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let attackers: Vec<_> = tokens
            .chunks(2)
            .map(|tokens| {
                let (server, stop, tokens) = (server.clone(), stop.clone(), tokens.to_vec());
                let (verified, limited) = (verified.clone(), limited.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        for token in &tokens {
                            let answer = change_password_from(&server, "203.0.113.1", token).await;
                            match answer.status.as_u16() {
                                401 => verified.fetch_add(1, Ordering::Relaxed),
                                429 => limited.fetch_add(1, Ordering::Relaxed),
                                _ => panic!("{answer:?}"),
                            };
                        }
                        // A client on the other side of a network, not a loop that takes both cores for itself.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                })
            })
            .collect();
        let (attacked, refused) = measure_sign_ins(&server, 4, count).await;
        stop.store(true, Ordering::Relaxed);
        join_all(attackers).await;
        let (verified, limited) = (verified.load(Ordering::Relaxed), limited.load(Ordering::Relaxed));
        acceptance::record(
            "acceptance_a1",
            &format!(
                "{sessions} sessions: idle {idle:?}, attacked {attacked:?}, {refused} of {count} refused; attacker: {verified} verified, {limited} limited"
            ),
        );
        assert_eq!(refused, 0);
        assert!(limited > 0);
        assert!(attacked <= idle * 4, "idle {idle:?}, attacked {attacked:?}");
        Arc::into_inner(server).expect("the last one").stop().await;
    }
);

on_both!(c8_a_wide_v6_network_has_few_quotas, async |mut stage: Stage| {
    stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
    stage.set_limit("login_address", "1/1h");
    let server = stage.start().await;
    let mut admitted = 0;
    for number in 0..64_u32 {
        // Sixteen /56s of one /48, four /64s of each.
        let ip = format!("2001:db8:7:{:x}{:02x}::1", number / 4, number % 4);
        let answer = sign_in_from(&server, &ip, &format!("u{number}@example.com"), PASSWORD).await;
        match answer.status.as_u16() {
            401 => admitted += 1,
            _ => drop(limited_by(answer, "login_address")),
        }
    }
    assert_eq!(admitted, 16);
    sign_in_from(&server, "2001:db8:8::1", "x@example.com", PASSWORD)
        .await
        .is(401);
    // A ministry is one address; the next one is another.
    for number in 0..40 {
        let ip = format!("192.0.2.{number}");
        sign_in_from(&server, &ip, "x@example.com", PASSWORD)
            .await
            .is(401);
    }
    server.stop().await;
});

/// Every operation of the document that writes and takes a token of somebody who is signed in, and nothing else.
fn writing_operations() -> Vec<(Method, String)> {
    let document = serde_json::to_value(openapi_document()).expect("JSON");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let needs_token = operation["security"] == json!([{ "bearer": [] }]);
            let is_write = !matches!(method.as_str(), "get" | "head") || path.ends_with("/export");
            if needs_token && is_write && !path.starts_with("/auth/check") {
                let method = method.to_uppercase().parse().expect("a method");
                operations.push((method, path.clone()));
            }
        }
    }
    operations
}

on_both!(
    b13_every_write_of_a_signed_in_user_has_a_limit,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set_limit("write_address", "3/1h");
        stage.set_limit("write_account", "1/1h");
        stage.set_limit("admin_account", "1/1h");
        let server = stage.start().await;
        let operations = writing_operations();
        assert!(operations.len() >= 12, "{operations:?}");
        let send = async |method: &Method, path: &str, tokens: &Tokens, ip: &str| {
            let path = path.replace("/sessions/{id}", "/sessions/00000000-0000-4000-8000-000000000000");
            let request = server
                .request(method.clone(), &path.replace("{id}", "999999"))
                .header("x-forwarded-for", ip)
                .header("content-type", "application/json")
                .bearer_auth(&tokens.access);
            server.send(request).await
        };
        for (number, (method, path)) in operations.iter().enumerate() {
            let admin = server.register_admin(&format!("a{number}@example.com")).await;
            let other = server.register_admin(&format!("b{number}@example.com")).await;
            let label = format!("{method} {path}");
            let one = format!("192.0.2.{number}");
            // Whatever becomes of the request: one is counted, and the next one is refused.
            let first = send(method, path, &admin, &one).await;
            assert_ne!(first.status, 429, "{label}");
            let limit = if path.starts_with("/admin") {
                "admin_account"
            } else {
                "write_account"
            };
            let second = send(method, path, &admin, &one).await;
            assert_eq!(second.status, 429, "{label}: {second:?}");
            limited_by(second, limit);
            // Another account of the same network is counted in the network's bucket, too.
            let third = send(method, path, &other, &one).await;
            assert_ne!(third.status, 429, "{label}: {third:?}");
            let fourth = send(method, path, &other, &one).await;
            limited_by(fourth, "write_address");
            // Reading is not writing.
            server.get("/auth/me", &other.access).await;
        }
        server.stop().await;
    }
);

on_both!(
    b13_what_is_repeated_or_changes_nothing_is_not_written_again,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("flip@example.com").await;
        let count = async |sql: &str| database::number(&server.app.db, sql).await;
        let rows = "select count(*) from audit where action = 'user_update'";
        let changes = "select count(*) from changes";
        let before = count(changes).await;
        for _ in 0..5 {
            server
                .patch("/auth/me", &tokens.access, &json!({ "full_name": "The Same" }))
                .await
                .is(200);
        }
        assert_eq!(count(rows).await, 1);
        assert_eq!(
            count(changes).await,
            before + 1,
            "what changes nothing writes nothing"
        );
        for number in 0..5 {
            let body = json!({ "full_name": format!("Another {number}") });
            let answer = server.patch("/auth/me", &tokens.access, &body).await.is(200);
            assert_eq!(answer.json["full_name"], body["full_name"]);
        }
        assert_eq!(count(rows).await, 1, "one row within a minute");
        // What an administrator does to an account is recorded each time.
        let admin = server.register_admin("admin@example.com").await;
        for number in 0..3 {
            let path = format!("/admin/users/{}", tokens.user_id);
            let body = json!({ "full_name": format!("By admin {number}") });
            server.patch(&path, &admin.access, &body).await.is(200);
        }
        assert_eq!(count(rows).await, 4);
        server.stop().await;
    }
);

fn gauge(server: &Server, name: &str) -> Option<String> {
    let text = server.app.metrics.encode(&Sample::default());
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name).map(str::to_owned));
    line.map(|value| value.trim().to_owned())
}

on_both!(
    d5_failed_sign_ins_over_the_whole_service_raise_an_alarm_that_ends,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set("JOSOOR_AUTH__LIMITS__FAILED_SIGN_INS_ALERT", "5/3s");
        let server = stage.start().await;
        server.register("right@example.com").await;
        let alarm = |server: &Server| gauge(server, "josoor_auth_failed_sign_ins_alert ");
        for _ in 0..20 {
            sign_in_from(&server, "192.0.2.1", "right@example.com", PASSWORD)
                .await
                .is(200);
        }
        assert_eq!(alarm(&server).as_deref(), Some("0"), "successes raise none");
        eventually("the alarm", || async {
            let answers = (0..10).map(|number| {
                let (ip, email) = (format!("192.0.2.{number}"), format!("u{number}@example.com"));
                let server = &server;
                async move {
                    sign_in_from(server, &ip, &email, "Wrong-Password-1")
                        .await
                        .is(401)
                }
            });
            join_all(answers).await;
            alarm(&server).as_deref() == Some("1")
        })
        .await;
        // No one is locked out.
        sign_in_from(&server, "192.0.2.1", "right@example.com", PASSWORD)
            .await
            .is(200);
        eventually("its end", || async { alarm(&server).as_deref() == Some("0") }).await;
        server.stop().await;
    }
);
