//! Tokens that die with their generation, what renews them, and how many sessions there may be.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use josoor_auth::account::password;
use josoor_auth::act::Client;
use josoor_auth::clock::Clock;
use josoor_auth::domain::{Password, SessionId};
use josoor_auth::sessions;
use josoor_auth::store::Touch;
use josoor_auth_verify::{Claims, RedisCheck, Refusal, ServiceCheck, SessionCheck};
use reqwest::Method;
use serde_json::{Value, json};

use crate::refresh::{audited, row_of, session_id};
use crate::revocation::{another_program, until_refused};
use crate::support::acceptance::{record, seed, size};
use crate::support::command::Serving;
use crate::support::database;
use crate::support::mailbox::mails;
use crate::support::server::{
    Answer, Footprint, PASSWORD, Server, Stage as TheStage, Tokens, eventually, http_client, on_both,
};
use crate::support::services;

const OTHER: &str = "Other-Password-42";

const GRACE: Duration = Duration::from_secs(30);

const DAY: Duration = Duration::from_hours(24);

fn manual() -> Clock {
    Clock::manual(Clock::System.now())
}

async fn next(server: &Server, tokens: &Tokens) -> Tokens {
    Tokens::of(&server.refresh(&tokens.refresh).await.is(200))
}

async fn change(server: &Server, access: &str, current: &str, new: &str) -> Tokens {
    let body = json!({ "current_password": current, "new_password": new });
    let answer = server.post_as("/auth/password/change", access, &body).await;
    Tokens::of(&answer.is(200))
}

async fn renew(server: &Server, access: &str) -> Answer {
    server.post_as("/auth/refresh", access, &json!({})).await
}

async fn log_out(server: &Server, refresh: &str) -> Answer {
    server
        .post("/auth/logout", &json!({ "refresh_token": refresh }))
        .await
}

/// Fails unless nothing accepts these tokens, because they were retired.
async fn retired(server: &Server, tokens: &Tokens) {
    for path in [
        "/auth/me",
        "/auth/check",
        "/auth/check/any/path",
        "/auth/sessions",
    ] {
        server
            .get(path, &tokens.access)
            .await
            .is_problem(401, "password_changed");
    }
    renew(server, &tokens.access)
        .await
        .is_problem(401, "password_changed");
    server
        .refresh(&tokens.refresh)
        .await
        .is_problem(401, "password_changed");
}

/// The claims of an access token, unverified.
pub(crate) fn claims(access: &str) -> Claims {
    let (_, claims) = crate::support::token::read(access);
    serde_json::from_value(claims).expect("claims")
}

on_both!(
    access_tokens_say_how_and_when_the_user_was_verified,
    async |stage: Stage| {
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let registered = server.register("verified@example.com").await;
        let at = clock.now().as_secs();
        let expect = |tokens: &Tokens, at: i64| {
            assert_eq!(tokens.claim("amr"), json!(["pwd"]));
            assert_eq!(tokens.claim("acr"), "1");
            assert_eq!(tokens.claim("auth_time"), at);
            assert_eq!(tokens.claim("email_verified"), false);
        };
        expect(&registered, at);
        let row = row_of(&server, &registered).await;
        assert_eq!((row.amr.as_str(), row.acr.as_str()), ("pwd", "1"));
        assert_eq!(row.auth_time, Some(row.created_at));
        // A refresh does not move the time; a sign-in and a verification of the password within the session do.
        clock.advance(Duration::from_mins(5));
        let refreshed = next(&server, &registered).await;
        expect(&refreshed, at);
        let signed_in = server.log_in("verified@example.com").await;
        expect(&signed_in, at + 300);
        clock.advance(Duration::from_mins(5));
        let changed = change(&server, &refreshed.access, PASSWORD, OTHER).await;
        expect(&changed, at + 600);
        server.stop().await;
        // A session of a release that records none of this: the sign-in counts.
        let server = stage.start_with(clock.clone()).await;
        database::execute(&server.app.db, "update sessions set auth_time = null").await;
        expect(&next(&server, &changed).await, at);
        server.stop().await;
    }
);

on_both!(
    a4_access_tokens_of_a_retired_generation_are_refused_at_once,
    async |stage: Stage| {
        let server = stage.start().await;
        let mut all = vec![server.register("retired@example.com").await];
        for _ in 0..3 {
            let last = all.last().expect("one at least");
            all.push(next(&server, last).await);
        }
        for tokens in &all {
            server.get("/auth/me", &tokens.access).await.is(200);
        }
        let mine = change(&server, &all[3].access, PASSWORD, OTHER).await;
        for tokens in &all {
            retired(&server, tokens).await;
        }
        // The session goes on, without an alarm.
        server.get("/auth/me", &mine.access).await.is(200);
        let mine = next(&server, &mine).await;
        assert_eq!(audited(&server, "refresh_reuse", &mine).await, 0);
        // Again, by a token of the middle of the next chain.
        let middle = mine.clone();
        let mine = next(&server, &mine).await;
        let last = change(&server, &mine.access, OTHER, PASSWORD).await;
        for tokens in all.iter().chain([&middle, &mine]) {
            retired(&server, tokens).await;
        }
        server.get("/auth/me", &last.access).await.is(200);
        server.stop().await;
        // Also to a node that knows nothing yet.
        let server = stage.start().await;
        for tokens in all.iter().chain([&middle, &mine]) {
            retired(&server, tokens).await;
        }
        server.get("/auth/me", &last.access).await.is(200);
        server.stop().await;
    }
);

on_both!(
    a4_a_retirement_reaches_a_node_by_the_table,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("table@example.com").await;
        server.get("/auth/me", &tokens.access).await.is(200);
        // Another program on the same database, which shares nothing with the server but that and Redis.
        let other = another_program(&stage).await;
        let caller = sessions::authenticate(&other, &tokens.access)
            .await
            .expect("good");
        let client = Client {
            actor: Some(caller.id()),
            ..Client::default()
        };
        let (current, new) = (
            Password::parse(PASSWORD).unwrap(),
            Password::parse(OTHER).unwrap(),
        );
        let issued = password::change(&other, &caller, current, new, &client)
            .await
            .expect("changed");
        until_refused(&server, &tokens.access, "password_changed").await;
        retired(&server, &tokens).await;
        server.get("/auth/me", issued.access_token.expose()).await.is(200);
        // Nodes of the release before take a row with a session for its end.
        let rows = "select count(*) from changes where session_id is not null";
        assert_eq!(database::number(&server.app.db, rows).await, 0);
        let rows =
            "select count(*) from changes where retired_session is not null and retired_generation = 1";
        assert_eq!(database::number(&server.app.db, rows).await, 1);
        other.close().await;
        server.stop().await;
    }
);

/// A copy of a node of the release before says nothing of retired generations, and replaces the one that does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_a_copy_that_does_not_say_what_is_retired_is_not_enough() {
    let stage = TheStage::new(Footprint::Production);
    let one = stage.start().await;
    let tokens = one.register("silent@example.com").await;
    let mine = change(&one, &tokens.access, PASSWORD, OTHER).await;
    let key = format!("{}session:{}", stage.prefix(), session_id(&tokens));
    let stored = services::redis()
        .command(&format!("GET {key}"))
        .expect("an answer");
    let (_, body) = stored.split_once("\r\n").expect("a bulk string");
    let mut copy: Value = serde_json::from_str(body.trim_end()).expect("JSON");
    assert_eq!(copy["retired_generation"], 1, "{copy}");
    copy.as_object_mut()
        .expect("an object")
        .remove("retired_generation");
    let text = copy.to_string().replace('"', "\\\"");
    let answer = services::redis().command(&format!("SET {key} \"{text}\""));
    assert_eq!(answer.expect("an answer"), "+OK\r\n");
    // A node that has received nothing.
    let other = stage.start().await;
    retired(&other, &tokens).await;
    other.get("/auth/me", &mine.access).await.is(200);
    let stored = services::redis()
        .command(&format!("GET {key}"))
        .expect("an answer");
    assert!(stored.contains("\"retired_generation\":1"), "{stored}");
    one.stop().await;
    other.stop().await;
}

/// During an upgrade: a node of the version before takes no retirement for the end of the session, and what it writes to Redis brings
/// no retired token back at a new node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_a_node_of_the_version_before_ends_nothing_and_brings_nothing_back() {
    let stage = TheStage::new(Footprint::Production);
    let previous = Serving::start_previous(&stage);
    let server = stage.start().await;
    let http = http_client();
    let old = server.register("upgrade@example.com").await;
    let at_previous =
        async |path: &str, token: &str| server.send(http.get(previous.url(path)).bearer_auth(token)).await;
    at_previous("/auth/me", &old.access).await.is(200);
    let mine = change(&server, &old.access, PASSWORD, OTHER).await;
    let body = json!({ "email": "upgrade@example.com", "password": OTHER });
    let bystander = Tokens::of(&server.post("/auth/login", &body).await.is(200));
    at_previous("/auth/me", &bystander.access).await.is(200);
    // A later row of the table that only its tail tells it of: by then it has read the one of the retirement.
    let end = format!(
        "insert into changes (at, user_id, session_id, reason, until)
         select now(), user_id, id, 'logout', expires_at from sessions where id = '{}'",
        sid(&bystander)
    );
    database::execute(&server.app.db, &end).await;
    eventually("its tail has read the table", || async {
        at_previous("/auth/me", &bystander.access).await.status == 401
    })
    .await;
    // Its refresh writes a copy that says nothing of retired generations.
    at_previous("/auth/me", &mine.access).await.is(200);
    let body = json!({ "refresh_token": mine.refresh });
    let answer = server
        .send(http.post(previous.url("/auth/refresh")).json(&body))
        .await;
    let mine = Tokens::of(&answer.is(200));
    let another = stage.start().await;
    for node in [&server, &another] {
        retired(node, &old).await;
        node.get("/auth/me", &mine.access).await.is(200);
    }
    server.stop().await;
    another.stop().await;
}

/// No token from before a change of the password is accepted for a request that starts 250 ms after the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_a4_no_token_from_before_a_change_of_the_password_is_accepted_250_ms_later() {
    let stage = TheStage::new(Footprint::Production);
    let (one, other) = (stage.start().await, stage.start().await);
    one.register("rounds@example.com").await;
    let service = |server: &Server| ServiceCheck::new(&server.url("")).expect("an address");
    let by_service = service(&other);
    let by_redis =
        RedisCheck::new(&services::redis().url(), stage.prefix(), service(&other)).expect("an address");
    let rounds = size(20, 1000);
    let mut latest = Duration::ZERO;
    let mut password = PASSWORD.to_owned();
    for round in 0..rounds {
        // Which node answers, by the bits of the seed.
        let turn = seed().rotate_right(u32::try_from(round % 64).expect("short")) & 1;
        let (here, there) = if turn == 0 { (&one, &other) } else { (&other, &one) };
        let sign_in = async || {
            let body = json!({ "email": "rounds@example.com", "password": password });
            Tokens::of(&here.post("/auth/login", &body).await.is(200))
        };
        // A session of before, an earlier generation of this one, and the one that asks.
        let bystander = sign_in().await;
        let first = sign_in().await;
        let second = next(here, &first).await;
        let before = [&bystander, &first, &second];
        for tokens in before {
            for server in [here, there] {
                server.get("/auth/me", &tokens.access).await.is(200);
                server.get("/auth/check", &tokens.access).await.is(200);
            }
            let claims = claims(&tokens.access);
            for _ in 0..2 {
                by_redis.check(&tokens.access, &claims).await.expect("good");
            }
            by_service.check(&tokens.access, &claims).await.expect("good");
        }
        let new = format!("Round-{round}-{PASSWORD}");
        let mine = change(here, &second.access, &password, &new).await;
        password = new;
        let answered = Instant::now();
        let by = async |check: &dyn AsyncCheck, tokens: &Tokens| {
            let claims = claims(&tokens.access);
            let mut last = Duration::ZERO;
            loop {
                let sent = answered.elapsed();
                match check.ask(&tokens.access, &claims).await {
                    Ok(()) => last = sent,
                    Err(refusal) => {
                        assert_eq!(refusal, Refusal::PasswordChanged);
                        return last;
                    }
                }
                assert!(sent < Duration::from_secs(10), "accepted for ever");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        for tokens in before {
            let waits = tokio::join!(
                until_refused(here, &tokens.access, "password_changed"),
                until_refused(there, &tokens.access, "password_changed"),
                by(&by_redis, tokens),
                by(&by_service, tokens),
            );
            assert_eq!(waits.0, Duration::ZERO, "the answering node");
            latest = latest.max(waits.1).max(waits.2).max(waits.3);
            for server in [here, there] {
                server
                    .get("/auth/check", &tokens.access)
                    .await
                    .is_problem(401, "password_changed");
                server
                    .refresh(&tokens.refresh)
                    .await
                    .is_problem(401, "password_changed");
            }
        }
        for server in [here, there] {
            server.get("/auth/me", &mine.access).await.is(200);
        }
        let claims = claims(&mine.access);
        by_redis.check(&mine.access, &claims).await.expect("good");
        by_service.check(&mine.access, &claims).await.expect("good");
        log_out(here, &mine.refresh).await.is(200);
    }
    assert!(latest < Duration::from_millis(250), "{latest:?}");
    record(
        "a4: the last token of before that was accepted",
        &format!("{latest:?} after the answer, {rounds} rounds"),
    );
    one.stop().await;
    other.stop().await;
}

/// Both checks of `josoor-auth-verify` behind one name.
trait AsyncCheck {
    fn ask<'a>(
        &'a self,
        token: &'a str,
        claims: &'a Claims,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;
}

impl<C: SessionCheck> AsyncCheck for C {
    fn ask<'a>(
        &'a self,
        token: &'a str,
        claims: &'a Claims,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>> {
        Box::pin(async move { self.check(token, claims).await.map(drop) })
    }
}

on_both!(
    a4_a_bearer_renews_only_where_no_refresh_token_is_in_use,
    async |stage: Stage| {
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let thief = server.register("bearer@example.com").await;
        // The first front end: it never uses its refresh token.
        let renewed = renew(&server, &thief.access).await.is(200);
        assert!(renewed.json.get("refresh_token").is_none(), "{renewed:?}");
        // Once the refresh token is used, no access token renews itself: neither an old one nor the newest.
        let owner = next(&server, &thief).await;
        for access in [&thief.access, &renewed.text_of("access_token"), &owner.access] {
            renew(&server, access)
                .await
                .is_problem(401, "refresh_token_required");
            server.get("/auth/me", access).await.is(200);
        }
        // Not after a change of the password either; but there, where it was never used.
        let owner = change(&server, &owner.access, PASSWORD, OTHER).await;
        renew(&server, &owner.access)
            .await
            .is_problem(401, "refresh_token_required");
        let body = json!({ "email": "bearer@example.com", "password": OTHER });
        let first = Tokens::of(&server.post("/auth/login", &body).await.is(200));
        let mut latest = change(&server, &first.access, OTHER, PASSWORD).await;
        latest.access = renew(&server, &latest.access)
            .await
            .is(200)
            .text_of("access_token");
        renew(&server, &first.access)
            .await
            .is_problem(401, "password_changed");
        let latest = change(&server, &latest.access, PASSWORD, OTHER).await;
        renew(&server, &latest.access).await.is(200);
        // A pause that is longer than the token's life.
        clock.advance(DAY);
        renew(&server, &latest.access)
            .await
            .is_problem(401, "token_expired");
        server.stop().await;
    }
);

on_both!(
    a4_renewals_by_bearer_end_seven_days_after_the_sign_in,
    async |mut stage: Stage| {
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let tokens = server.register("week@example.com").await;
        let mut access = tokens.access.clone();
        for hours in (20..168).step_by(20) {
            clock.advance(Duration::from_hours(20));
            let answer = renew(&server, &access).await.is(200);
            let left = answer.json["expires_in"].as_i64().expect("seconds");
            assert_eq!(left, 3600 * (168 - hours).min(24), "after {hours} h");
            access = answer.text_of("access_token");
        }
        clock.advance(Duration::from_hours(8));
        // Not a moment longer, whatever the token says.
        renew(&server, &access).await.is_problem(401, "token_expired");
        server.stop().await;

        stage.set("JOSOOR_AUTH__AUTH__BEARER_RENEWAL_MAX", "1h");
        let server = stage.start_with(clock.clone()).await;
        let tokens = server.log_in("week@example.com").await;
        clock.advance(Duration::from_mins(59));
        renew(&server, &tokens.access).await.is(200);
        clock.advance(Duration::from_mins(1));
        renew(&server, &tokens.access)
            .await
            .is_problem(401, "refresh_token_required");
        server.get("/auth/me", &tokens.access).await.is(200);
        server.stop().await;

        stage.set("JOSOOR_AUTH__AUTH__BEARER_RENEWAL", "false");
        let server = stage.start_with(clock).await;
        let tokens = server.log_in("week@example.com").await;
        renew(&server, &tokens.access)
            .await
            .is_problem(401, "refresh_token_required");
        renew(&server, "x").await.is_problem(401, "token_invalid");
        next(&server, &tokens).await;
        server.stop().await;
    }
);

const OWN: &str = "http://localhost:8000";

/// A sign-in in cookie transport from a page of the service, with these cookies.
async fn cookie_sign_in(server: &Server, origin: &str, email: &str, cookies: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD, "transport": "cookie" });
    let mut request = server
        .request(Method::POST, "/auth/login")
        .header("origin", origin)
        .json(&body);
    if !cookies.is_empty() {
        request = request.header("cookie", cookies);
    }
    server.send(request).await.is(200)
}

async fn with_cookie(
    server: &Server,
    origin: &str,
    path: &str,
    cookies: &str,
    bearer: Option<&str>,
) -> Answer {
    let mut request = server
        .request(Method::POST, path)
        .header("origin", origin)
        .header("cookie", cookies);
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    server.send(request).await
}

/// Every `Set-Cookie` of an answer: name, value, and the attributes that matter here.
fn set_cookies(answer: &Answer) -> Vec<(String, String, String)> {
    let all = answer.headers.get_all("set-cookie").iter();
    all.map(|value| {
        let text = value.to_str().expect("ASCII");
        let (pair, attributes) = text.split_once("; ").expect("attributes");
        let (name, value) = pair.split_once('=').expect("a pair");
        let path = attributes
            .split("; ")
            .find_map(|attribute| attribute.strip_prefix("Path="));
        let removes = attributes.contains("Max-Age=0");
        assert_eq!(removes, value.is_empty(), "{text}");
        assert!(
            attributes.contains("HttpOnly") && attributes.contains("SameSite=Strict"),
            "{text}"
        );
        (
            name.to_owned(),
            value.to_owned(),
            path.expect("a path").to_owned(),
        )
    })
    .collect()
}

/// The cookies that a browser has after an answer.
fn browser(answer: &Answer) -> String {
    let set = set_cookies(answer);
    let kept = set.iter().filter(|(_, value, _)| !value.is_empty());
    kept.map(|(name, value, _)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("; ")
}

on_both!(
    a4_a_session_of_a_cookie_is_not_renewed_by_bearer,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("cookie@example.com").await;
        let answer = cookie_sign_in(&server, OWN, "cookie@example.com", "").await;
        let access = answer.text_of("access_token");
        renew(&server, &access)
            .await
            .is_problem(401, "refresh_token_required");
        // An invalid bearer beside the cookie is ignored.
        let cookies = browser(&answer);
        let refreshed = with_cookie(&server, OWN, "/auth/refresh", &cookies, Some("x")).await;
        refreshed.is(200);
        server.stop().await;
    }
);

on_both!(
    c4_c5_cookies_have_the_strictest_names_and_paths_that_the_address_allows,
    async |mut stage: Stage| {
        for (public_url, prefix, path) in [
            ("https://auth.example.com", "__Host-", "/"),
            ("https://example.org/identity", "__Secure-", "/identity/auth"),
            ("http://localhost:8000", "", "/auth"),
            ("http://localhost:8000/identity", "", "/identity/auth"),
        ] {
            stage.set("PUBLIC_URL", public_url);
            let server = stage.start().await;
            let email = format!("paths{}@example.com", public_url.len());
            server.register(&email).await;
            let origin: url::Url = public_url.parse().unwrap();
            let origin = origin.origin().ascii_serialization();
            let answer = cookie_sign_in(&server, &origin, &email, "").await;
            let expected = [
                format!("{prefix}josoor_refresh"),
                format!("{prefix}josoor_device"),
            ];
            let set = set_cookies(&answer);
            assert_eq!(
                set.iter().map(|set| &set.0).collect::<Vec<_>>(),
                expected.iter().collect::<Vec<_>>()
            );
            assert!(set.iter().all(|set| set.2 == path), "{set:?}");
            for value in answer.headers.get_all("set-cookie") {
                assert_eq!(value.to_str().unwrap().ends_with("; Secure"), !prefix.is_empty());
            }
            // They are read as they were set.
            let cookies = browser(&answer);
            let refreshed = with_cookie(&server, &origin, "/auth/refresh", &cookies, None)
                .await
                .is(200);
            assert_eq!(set_cookies(&refreshed)[0].0, expected[0]);
            let again = cookie_sign_in(&server, &origin, &email, &cookies).await;
            assert_eq!(
                set_cookies(&again)
                    .iter()
                    .find(|set| set.0 == expected[1] && !set.1.is_empty())
                    .unwrap()
                    .1,
                set[1].1
            );
            let out = with_cookie(&server, &origin, "/auth/logout", &browser(&again), None)
                .await
                .is(200);
            assert_eq!(
                set_cookies(&out)[0],
                (expected[0].clone(), String::new(), path.to_owned())
            );
            // A mark that a sibling host has planted under the plain name is not read.
            if !prefix.is_empty() {
                let planted = format!("{cookies}; josoor_device=planted");
                let third = cookie_sign_in(&server, &origin, &email, &planted).await;
                assert_eq!(
                    set_cookies(&third)
                        .iter()
                        .find(|set| set.0 == expected[1])
                        .unwrap()
                        .1,
                    set[1].1
                );
            }
            server.stop().await;
        }
    }
);

on_both!(
    c5_names_and_paths_of_the_release_before_are_read_and_replaced,
    async |mut stage: Stage| {
        for (public_url, before, now, path) in [
            (
                "https://example.org/identity",
                "__Host-josoor_refresh",
                "__Secure-josoor_refresh",
                "/identity/auth",
            ),
            (
                "http://localhost:8000",
                "josoor_refresh",
                "josoor_refresh",
                "/auth",
            ),
        ] {
            stage.set("PUBLIC_URL", public_url);
            let server = stage.start().await;
            let email = format!("before{}@example.com", public_url.len());
            let tokens = server.register(&email).await;
            let origin: url::Url = public_url.parse().unwrap();
            let origin = origin.origin().ascii_serialization();
            let cookies = format!("{before}={}", tokens.refresh);
            let refreshed = with_cookie(&server, &origin, "/auth/refresh", &cookies, None)
                .await
                .is(200);
            let set = set_cookies(&refreshed);
            assert_eq!(set.len(), 2, "{set:?}");
            assert_eq!((set[0].0.as_str(), set[0].2.as_str()), (now, path));
            assert!(!set[0].1.is_empty());
            assert_eq!(set[1], (before.to_owned(), String::new(), "/".to_owned()));
            server.stop().await;
        }
    }
);

on_both!(
    c5_a_sign_in_in_the_same_browser_ends_the_session_of_its_cookie,
    async |stage: Stage| {
        let server = stage.start().await;
        let elsewhere = server.register("one@example.com").await;
        server.register("two@example.com").await;
        let first = cookie_sign_in(&server, OWN, "one@example.com", "").await;
        let first_access = first.text_of("access_token");
        // Also as somebody else: the browser forgets the first one.
        let second = cookie_sign_in(&server, OWN, "two@example.com", &browser(&first)).await;
        server
            .get("/auth/me", &first_access)
            .await
            .is_problem(401, "session_revoked");
        server
            .get("/auth/me", &second.text_of("access_token"))
            .await
            .is(200);
        server.get("/auth/me", &elsewhere.access).await.is(200);
        let replaced = "select count(*) from audit where action = 'session_revoke' and reason = 'replaced'";
        assert_eq!(database::number(&server.app.db, replaced).await, 1);
        let alarms = "select count(*) from audit where action = 'refresh_reuse'";
        assert_eq!(database::number(&server.app.db, alarms).await, 0);
        // A sign-in that fails ends nothing; neither does one that keeps its token in the body.
        let cookies = browser(&second);
        let wrong =
            json!({ "email": "two@example.com", "password": "Wrong-Password", "transport": "cookie" });
        let request = server
            .request(Method::POST, "/auth/login")
            .header("origin", OWN)
            .header("cookie", &cookies);
        server.send(request.json(&wrong)).await.is(401);
        let body = json!({ "email": "two@example.com", "password": PASSWORD });
        let request = server
            .request(Method::POST, "/auth/login")
            .header("cookie", &cookies);
        server.send(request.json(&body)).await.is(200);
        server
            .get("/auth/me", &second.text_of("access_token"))
            .await
            .is(200);
        // A registration in the same browser is a sign-in, too.
        let body = json!({ "email": "three@example.com", "password": PASSWORD, "transport": "cookie" });
        let request = server
            .request(Method::POST, "/auth/register")
            .header("origin", OWN)
            .header("cookie", &cookies);
        server.send(request.json(&body)).await.is(201);
        server
            .get("/auth/me", &second.text_of("access_token"))
            .await
            .is_problem(401, "session_revoked");
        server.stop().await;
    }
);

on_both!(c1_a_retired_token_ends_nothing, async |stage: Stage| {
    let server = stage.start().await;
    let thief = server.register("retired@example.com").await;
    let owner = next(&server, &thief).await;
    let owner = change(&server, &owner.access, PASSWORD, OTHER).await;
    log_out(&server, &thief.refresh).await.is(200);
    server
        .post_as("/auth/logout", &thief.access, &json!({}))
        .await
        .is(200);
    with_cookie(
        &server,
        OWN,
        "/auth/logout",
        &format!("josoor_refresh={}", thief.refresh),
        None,
    )
    .await
    .is(200);
    server.get("/auth/me", &owner.access).await.is(200);
    assert!(row_of(&server, &owner).await.revoked_at.is_none());
    assert_eq!(audited(&server, "session_revoke", &owner).await, 0);
    // A superseded one of the same session is its owner's: a tab that signs out late.
    let late = owner.clone();
    let owner = next(&server, &owner).await;
    log_out(&server, &late.refresh).await.is(200);
    server
        .get("/auth/me", &owner.access)
        .await
        .is_problem(401, "session_revoked");
    log_out(&server, &late.refresh).await.is(200);
    server.stop().await;
});

on_both!(
    c1_old_tokens_do_not_use_up_what_the_owner_may_do,
    async |mut stage: Stage| {
        stage.set_limit("refresh_session", "5/1h");
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let thief = server.register("bucket@example.com").await;
        let owner = change(&server, &thief.access, PASSWORD, OTHER).await;
        let hammer = async |token: &str, access: &str| {
            for _ in 0..20 {
                server.refresh(token).await;
                renew(&server, access).await;
            }
        };
        hammer(&thief.refresh, &thief.access).await;
        // Superseded, within the grace.
        let late = owner.clone();
        let mut owner = next(&server, &owner).await;
        hammer(&late.refresh, &late.access).await;
        for _ in 0..4 {
            owner = next(&server, &owner).await;
        }
        server
            .refresh(&owner.refresh)
            .await
            .is_problem(429, "rate_limited");
        server.get("/auth/me", &owner.access).await.is(200);
        server.stop().await;
    }
);

/// The ids of a user's live sessions.
async fn live(server: &Server, access: &str) -> HashSet<String> {
    let list = server.get("/auth/sessions", access).await.is(200);
    let items = list.json["items"].as_array().expect("a list");
    items
        .iter()
        .map(|item| item["id"].as_str().expect("text").to_owned())
        .collect()
}

fn sid(tokens: &Tokens) -> String {
    session_id(tokens).to_string()
}

/// Uses the access token and waits until that is noted.
async fn use_it(server: &Server, tokens: &Tokens) {
    server.get("/auth/me", &tokens.access).await.is(200);
    eventually("the use is noted", || async {
        row_of(server, tokens).await.used_generation > 0
    })
    .await;
}

async fn sign_in_with_mark(server: &Server, email: &str, mark: Option<&str>) -> (Answer, String) {
    let body = json!({ "email": email, "password": PASSWORD });
    let mut request = server.request(Method::POST, "/auth/login").json(&body);
    if let Some(mark) = mark {
        request = request.header("cookie", format!("josoor_device={mark}"));
    }
    let answer = server.send(request).await;
    let mark = set_cookies(&answer)
        .into_iter()
        .find(|set| set.0 == "josoor_device");
    (answer, mark.map(|set| set.1).unwrap_or_default())
}

on_both!(
    c7_sessions_beyond_the_limit_end_in_order,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__SESSION__MAX_PER_USER", "4");
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let email = "many@example.com";
        let idle = server.register(email).await;
        use_it(&server, &idle).await;
        clock.advance(Duration::from_secs(1));
        let busy = server.log_in(email).await;
        use_it(&server, &busy).await;
        clock.advance(Duration::from_secs(1));
        let unused = server.log_in(email).await;
        clock.advance(Duration::from_secs(1));
        // A known device: it presents its mark, and uses the session.
        let (_, mark) = sign_in_with_mark(&server, email, None).await;
        server
            .delete(
                &format!(
                    "/auth/sessions/{}",
                    live(&server, &busy.access)
                        .await
                        .iter()
                        .find(|id| ![sid(&idle), sid(&busy), sid(&unused)].contains(id))
                        .unwrap()
                ),
                &busy.access,
            )
            .await
            .is(204);
        let known = Tokens::of(&sign_in_with_mark(&server, email, Some(&mark)).await.0.is(200));
        use_it(&server, &known).await;
        assert_eq!(live(&server, &busy.access).await.len(), 4);
        // The one that was never used goes first, although it is not the oldest.
        clock.advance(Duration::from_secs(1));
        let fifth = server.log_in(email).await;
        use_it(&server, &fifth).await;
        server
            .get("/auth/me", &unused.access)
            .await
            .is_problem(401, "session_revoked");
        assert_eq!(
            live(&server, &fifth.access).await,
            HashSet::from([sid(&idle), sid(&busy), sid(&known), sid(&fifth)])
        );
        // Then the one that was unused for longest.
        clock.advance(Duration::from_secs(1));
        let sixth = server.log_in(email).await;
        use_it(&server, &sixth).await;
        assert_eq!(
            live(&server, &sixth.access).await,
            HashSet::from([sid(&busy), sid(&known), sid(&fifth), sid(&sixth)])
        );
        for _ in 0..3 {
            clock.advance(Duration::from_secs(1));
            let tokens = server.log_in(email).await;
            use_it(&server, &tokens).await;
        }
        // Never one that was used within the hour on a known device.
        assert!(live(&server, &known.access).await.contains(&sid(&known)));
        let rows = "select count(*) from audit where action = 'session_revoke' and reason = 'session_limit'";
        assert_eq!(database::number(&server.app.db, rows).await, 5);
        // One mail a day.
        eventually("a mail", || async {
            mails(&server, email)
                .await
                .iter()
                .any(|mail| mail.kind == "session_limit")
        })
        .await;
        let queued = "select count(*) from outbox where kind = 'session_limit'";
        assert_eq!(database::number(&server.app.db, queued).await, 1);
        clock.advance(DAY);
        server.log_in(email).await;
        assert_eq!(database::number(&server.app.db, queued).await, 2);
        server.stop().await;
    }
);

on_both!(
    c7_a_sign_in_is_refused_when_no_session_may_end,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__SESSION__MAX_PER_USER", "3");
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let email = "full@example.com";
        let first = server.register(email).await;
        let (_, mark) = sign_in_with_mark(&server, email, None).await;
        let mut known = Vec::new();
        for _ in 0..3 {
            let tokens = Tokens::of(&sign_in_with_mark(&server, email, Some(&mark)).await.0.is(200));
            use_it(&server, &tokens).await;
            known.push(tokens);
        }
        server
            .get("/auth/me", &first.access)
            .await
            .is_problem(401, "session_revoked");
        for _ in 0..2 {
            let (refused, _) = sign_in_with_mark(&server, email, None).await;
            let refused = refused.is_problem(409, "session_limit");
            assert!(refused.headers.get("set-cookie").is_none());
        }
        // As to a stranger as long as the password is wrong.
        let wrong = json!({ "email": email, "password": "Wrong-Password" });
        server
            .post("/auth/login", &wrong)
            .await
            .is_problem(401, "invalid_credentials");
        let rows = "select count(*) from audit where action = 'sign_in' and outcome = 'failure' and reason = 'session_limit'";
        assert_eq!(database::number(&server.app.db, rows).await, 2);
        for tokens in &known {
            server.get("/auth/me", &tokens.access).await.is(200);
        }
        // Signing out makes space, and so does an hour.
        log_out(&server, &known[0].refresh).await.is(200);
        let fourth = server.log_in(email).await;
        use_it(&server, &fourth).await;
        clock.advance(Duration::from_mins(61));
        server.log_in(email).await;
        server.stop().await;
    }
);

on_both!(
    c7_sixty_four_sign_ins_at_once_stay_within_the_limit,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__HASH__QUEUE", "100");
        stage.set("JOSOOR_AUTH__SESSION__MAX_PER_USER", "20");
        // All of them wait for one row, on a machine that may be busy.
        stage.set("JOSOOR_AUTH__DATABASE__ACQUIRE_TIMEOUT", "30s");
        let server = stage.start().await;
        let email = "crowd@example.com";
        server.register(email).await;
        for _ in 0..19 {
            server.log_in(email).await;
        }
        let all = join_all((0..64).map(|_| server.log_in(email))).await;
        let live = "select count(*) from sessions where revoked_at is null";
        assert_eq!(database::number(&server.app.db, live).await, 20);
        let ended = "select count(*) from sessions where revoke_reason = 'session_limit'";
        assert_eq!(database::number(&server.app.db, ended).await, 64);
        let mut accepted = 0;
        for tokens in &all {
            let answer = server.get("/auth/me", &tokens.access).await;
            accepted += i64::from(answer.status == 200);
        }
        assert_eq!(accepted, 20);
        server.stop().await;
    }
);

/// Every order of what an owner and a thief may do, against the rows themselves; the table alone is walked further in
/// `rotation.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_a4_whatever_a_thief_did_the_owners_next_step_ends_it() {
    for footprint in [Footprint::Embedded, Footprint::Production] {
        let stage = TheStage::new(footprint);
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        server.register("path@example.com").await;
        let length = size(2, 3);
        let mut count = 0;
        for number in 0..7_usize.pow(u32::try_from(length).expect("short")) {
            let acts: Vec<usize> = (0..length)
                .map(|at| number / 7_usize.pow(u32::try_from(at).expect("short")) % 7)
                .collect();
            for ending in 0..3 {
                walk(&server, &clock, &acts, ending).await;
                count += 1;
            }
        }
        record(
            "a4: orders of owner and thief against the rows",
            &format!("{count} on {footprint:?}"),
        );
        server.stop().await;
    }
}

async fn walk(server: &Server, clock: &Clock, acts: &[usize], ending: usize) {
    let context = format!("{acts:?}, ending {ending}");
    let mut password = PASSWORD;
    let mut owner = server.log_in("path@example.com").await;
    let mut thief = owner.clone();
    let refresh = async |tokens: &mut Tokens| {
        let answer = server.refresh(&tokens.refresh).await;
        let went_on = answer.status == 200;
        if went_on {
            *tokens = Tokens::of(&answer);
        }
        went_on
    };
    let works = async |access: &str| {
        let is_accepted = server.get("/auth/me", access).await.status == 200;
        if is_accepted {
            // The note of it, which would be written within a moment.
            let claims = claims(access);
            let touch = Touch {
                session: SessionId(claims.sid),
                generation: claims.generation,
                at: clock.now(),
                idle_expires_at: clock.now(),
            };
            server.app.db.write_touches(&[touch]).await.expect("written");
        }
        is_accepted
    };
    for act in acts {
        match act {
            0 => drop(refresh(&mut owner).await),
            1 => drop(refresh(&mut thief).await),
            2 => drop(works(&owner.access).await),
            3 => drop(works(&thief.access).await),
            4 => drop(renew(server, &owner.access).await),
            5 => drop(renew(server, &thief.access).await),
            _ => clock.advance(GRACE),
        }
    }
    match ending {
        0 => {
            log_out(server, &owner.refresh).await.is(200);
        }
        1 => {
            let body = json!({ "current_password": password, "new_password": OTHER });
            let answer = server
                .post_as("/auth/password/change", &owner.access, &body)
                .await;
            if answer.status == 200 {
                owner = Tokens::of(&answer);
                password = OTHER;
            } else {
                assert_eq!(answer.code(), "refresh_token_reused", "{context}");
            }
        }
        _ => {
            let mut rounds = 0;
            loop {
                rounds += 1;
                assert!(rounds <= 3, "{context}");
                if !refresh(&mut owner).await {
                    break;
                }
                works(&owner.access).await;
                assert_ne!(renew(server, &thief.access).await.status, 200, "{context}");
                clock.advance(GRACE);
                if !refresh(&mut thief).await {
                    break;
                }
                clock.advance(GRACE);
            }
        }
    }
    assert!(!works(&thief.access).await, "{context}");
    assert_ne!(renew(server, &thief.access).await.status, 200, "{context}");
    assert!(!refresh(&mut thief).await, "{context}");
    if password == OTHER {
        assert!(works(&owner.access).await, "{context}");
        change(server, &owner.access, OTHER, PASSWORD).await;
    }
    let session = json!({ "email": "path@example.com", "password": PASSWORD });
    let cleaner = Tokens::of(&server.post("/auth/login", &session).await.is(200));
    server.delete("/auth/sessions", &cleaner.access).await.is(200);
    log_out(server, &cleaner.refresh).await.is(200);
}
