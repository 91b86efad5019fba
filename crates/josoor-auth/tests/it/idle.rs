//! The idle end of a session: any use moves it, on every node, and nothing else does.

use std::time::Duration;

use josoor_auth::clock::Clock;
use josoor_auth::store::Touch;
use reqwest::Method;
use serde_json::{Value, json};

use crate::refresh::row_of;
use crate::support::server::{Server, Stage, Tokens, eventually, on_both};

const MINUTE: Duration = Duration::from_mins(1);

/// Uses the access token and waits until the use is written, which moves the idle end.
async fn use_it(server: &Server, clock: &Clock, tokens: &Tokens, path: &str) {
    server.get(path, &tokens.access).await.is(200);
    let end = clock.now().plus(10 * MINUTE);
    eventually("the use is noted", || async {
        row_of(server, tokens).await.idle_expires_at == end
    })
    .await;
}

fn expires(tokens: &Tokens) -> i64 {
    tokens.claim("exp").as_i64().expect("a time")
}

/// A stage whose sessions may be idle for ten minutes.
fn short(mut stage: Stage) -> Stage {
    stage.set("JOSOOR_AUTH__SESSION__IDLE", "10m");
    stage
}

on_both!(
    trials_10_an_active_user_is_not_signed_out_and_an_idle_one_is,
    async |stage: Stage| {
        let stage = short(stage);
        let clock = Clock::manual(Clock::System.now());
        // Requests and refreshes go to two nodes in turn.
        let nodes = [
            stage.start_with(clock.clone()).await,
            stage.start_with(clock.clone()).await,
        ];
        let mut active = nodes[0].register("active@example.com").await;
        let idle = nodes[0].log_in("active@example.com").await;
        for round in 0..12 {
            let [node, other] = [&nodes[round % 2], &nodes[(round + 1) % 2]];
            // The last use is seven minutes after the sign-in or the refresh, the next one twelve minutes after it: past
            // the idle end unless the use has moved it.
            clock.advance(7 * MINUTE);
            let path = if round % 3 == 0 { "/auth/check" } else { "/auth/me" };
            use_it(node, &clock, &active, path).await;
            clock.advance(5 * MINUTE);
            assert!(expires(&active) <= clock.now().as_secs());
            other
                .get("/auth/me", &active.access)
                .await
                .is_problem(401, "token_expired");
            active = Tokens::of(&other.refresh(&active.refresh).await.is(200));
            other.get("/auth/me", &active.access).await.is(200);
        }
        nodes[1]
            .refresh(&idle.refresh)
            .await
            .is_problem(401, "session_expired");
        let listed = nodes[0].get("/auth/sessions", &active.access).await.is(200);
        assert_eq!(listed.json["items"].as_array().map(Vec::len), Some(1));
        // Ten minutes after the last use it is over, on every node.
        clock.advance(10 * MINUTE);
        for node in &nodes {
            node.refresh(&active.refresh)
                .await
                .is_problem(401, "session_expired");
            assert_eq!(node.get("/auth/me", &active.access).await.status, 401);
        }
        for node in nodes {
            node.stop().await;
        }
    }
);

on_both!(
    trials_10_a_use_neither_revives_a_session_nor_outlasts_its_absolute_end,
    async |stage: Stage| {
        let mut stage = short(stage);
        stage.set("JOSOOR_AUTH__SESSION__ABSOLUTE", "15m");
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        let tokens = server.register("bounded@example.com").await;
        let absolute = clock.now().plus(15 * MINUTE);
        clock.advance(9 * MINUTE);
        server.get("/auth/me", &tokens.access).await.is(200);
        eventually("the idle end is the absolute one", || async {
            row_of(&server, &tokens).await.idle_expires_at == absolute
        })
        .await;
        let next = Tokens::of(&server.refresh(&tokens.refresh).await.is(200));
        assert_eq!(expires(&next), absolute.as_secs());
        let idle = server.log_in("bounded@example.com").await;
        clock.advance(10 * MINUTE);
        for tokens in [&next, &idle] {
            assert_eq!(server.get("/auth/me", &tokens.access).await.status, 401);
            server
                .refresh(&tokens.refresh)
                .await
                .is_problem(401, "session_expired");
        }
        // A note that arrives late finds the session over.
        server
            .app
            .cache
            .note_use(crate::refresh::session_id(&idle), 1, clock.now());
        eventually("the late note is written", || async {
            row_of(&server, &idle).await.last_seen_at == clock.now()
        })
        .await;
        server
            .refresh(&idle.refresh)
            .await
            .is_problem(401, "session_expired");
        server.stop().await;
    }
);

/// The refresh cookie is there as long as the token in it: an access token that is used to its end, and a pause after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_10_the_refresh_token_outlives_the_access_token() {
    let mut stage = short(Stage::new(crate::support::server::Footprint::Embedded));
    stage.set("JWT_EXPIRATION_MINUTES", "60");
    let clock = Clock::manual(Clock::System.now());
    let server = stage.start_with(clock.clone()).await;
    let body: Value = json!({ "email": "cookie@example.com", "password": crate::support::server::PASSWORD, "transport": "cookie" });
    let request = server
        .request(Method::POST, "/auth/register")
        .header("origin", "http://localhost:8000")
        .json(&body);
    let answer = server.send(request).await.is(201);
    let cookie = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find(|value| value.starts_with("josoor_refresh="))
        .expect("a cookie");
    // The grace, the longest life of an access token, and the pause.
    let seconds = 30 + 3600 + 600;
    assert!(
        cookie.contains(&format!("Max-Age={seconds};")) || cookie.ends_with(&format!("Max-Age={seconds}")),
        "{cookie}"
    );
    server.stop().await;
}

/// Notes of many sessions go in one statement, which waits for none of them; the ones that others hold follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_of_use_wait_for_no_session_that_another_transaction_holds() {
    let stage = short(Stage::new(crate::support::server::Footprint::Production));
    let clock = Clock::manual(Clock::System.now());
    let server = stage.start_with(clock.clone()).await;
    let held = server.register("held@example.com").await;
    let free = server.log_in("held@example.com").await;
    clock.advance(MINUTE);
    let db = server.app.db.clone();
    let mut tx = db.begin().await.expect("begun");
    tx.extend_session(crate::refresh::session_id(&held), 1, clock.now(), clock.now())
        .await
        .expect("an answer")
        .expect("live");
    let touches = [&held, &free].map(|tokens| Touch {
        session: crate::refresh::session_id(tokens),
        generation: 1,
        at: clock.now(),
        idle_expires_at: clock.now().plus(10 * MINUTE),
    });
    let writing = tokio::spawn(async move { db.write_touches(&touches).await });
    eventually("the free one is written", || async {
        row_of(&server, &free).await.used_generation == 1
    })
    .await;
    assert_eq!(row_of(&server, &held).await.used_generation, 0);
    tx.commit().await.expect("committed");
    writing.await.expect("no panic").expect("written");
    for tokens in [&held, &free] {
        let row = row_of(&server, tokens).await;
        assert_eq!((row.used_generation, row.last_seen_at), (1, clock.now()));
        assert_eq!(row.idle_expires_at, clock.now().plus(10 * MINUTE));
    }
    server.stop().await;
}
