//! Several servers on one PostgreSQL and one Redis, and what they keep in Redis.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::refresh::{all_dead, audited};
use crate::revocation::{sid, until, until_refused};
use crate::support::redis::RedisServer;
use crate::support::server::{Footprint, Server, Stage, Tokens, eventually};
use crate::support::services;

/// The value under one of this stage's keys in the shared Redis, in raw form.
fn stored(stage: &Stage, key: &str) -> String {
    let command = format!("GET {}{key}", stage.prefix());
    services::redis().command(&command).expect("Redis answers")
}

fn stored_json(stage: &Stage, key: &str) -> Value {
    let raw = stored(stage, key);
    let (_, body) = raw.split_once("\r\n").expect("a bulk string");
    serde_json::from_str(body.trim_end()).unwrap_or_else(|error| panic!("{key}: {raw}: {error}"))
}

fn life(stage: &Stage, key: &str) -> i64 {
    let command = format!("PTTL {}{key}", stage.prefix());
    let raw = services::redis().command(&command).expect("Redis answers");
    raw.trim_start_matches(':').trim().parse().expect("a number")
}

fn put(stage: &Stage, key: &str, value: &Value) {
    let value = value.to_string().replace('"', "\\\"");
    let command = format!("SET {}{key} \"{value}\"", stage.prefix());
    let answer = services::redis().command(&command).expect("Redis answers");
    assert_eq!(answer, "+OK\r\n");
}

async fn two(stage: &Stage) -> (Server, Server) {
    (stage.start().await, stage.start().await)
}

/// How late a change held on the other node: what was promised, and measured in a thousand rounds.
#[track_caller]
fn judge(what: &str, mut waits: Vec<Duration>) {
    waits.sort();
    let at = |share: usize| waits[waits.len() * share / 1000];
    let (median, p99, longest) = (at(500), at(990), waits[waits.len() - 1]);
    println!("{what} on the other node: p50 {median:?}, p99 {p99:?}, max {longest:?}");
    assert!(median <= Duration::from_millis(5), "{what}: {median:?}");
    assert!(p99 <= Duration::from_millis(50), "{what}: {p99:?}");
    assert!(longest < Duration::from_millis(250), "{what}: {longest:?}");
}

const ROUNDS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_holds_on_the_other_node_within_250_ms() {
    let stage = Stage::new(Footprint::Production);
    let (one, other) = two(&stage).await;
    one.register("latency@example.com").await;
    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        let tokens = one.log_in("latency@example.com").await;
        other.get("/auth/me", &tokens.access).await.is(200);
        one.post_as("/auth/logout", &tokens.access, &json!({}))
            .await
            .is(200);
        waits.push(until_refused(&other, &tokens.access, "session_revoked").await);
        one.get("/auth/me", &tokens.access)
            .await
            .is_problem(401, "session_revoked");
    }
    judge("a revocation", waits);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_role_holds_on_the_other_node_within_250_ms() {
    let stage = Stage::new(Footprint::Production);
    let (one, other) = two(&stage).await;
    let admin = one.register_admin("boss@example.com").await;
    let user = other.register("worker@example.com").await;
    let path = format!("/admin/users/{}", user.user_id);
    let mut waits = Vec::new();
    for _ in 0..ROUNDS / 2 {
        for (role, status) in [("admin", 200), ("user", 403)] {
            one.patch(&path, &admin.access, &json!({ "role": role }))
                .await
                .is(200);
            waits.push(
                until(&other, "/admin/users", &user.access, |answer| {
                    answer.status == status
                })
                .await,
            );
        }
    }
    judge("a change of role", waits);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deactivation_and_deletion_hold_on_the_other_node_within_250_ms() {
    let stage = Stage::new(Footprint::Production);
    let (one, other) = two(&stage).await;
    let admin = one.register_admin("boss@example.com").await;
    let (mut deactivated, mut deleted) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let email = format!("worker{round}@example.com");
        let user = other.register(&email).await;
        let path = format!("/admin/users/{}", user.user_id);
        other.get("/auth/me", &user.access).await.is(200);
        one.patch(&path, &admin.access, &json!({ "is_active": false }))
            .await
            .is(200);
        deactivated.push(until_refused(&other, &user.access, "account_inactive").await);
        one.patch(&path, &admin.access, &json!({ "is_active": true }))
            .await
            .is(200);
        let user = other.log_in(&email).await;
        other.get("/auth/me", &user.access).await.is(200);
        one.delete(&path, &admin.access).await.is(204);
        deleted.push(until_refused(&other, &user.access, "session_revoked").await);
    }
    judge("deactivation", deactivated);
    judge("deletion", deleted);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_on_two_nodes_agree_on_one_generation() {
    let stage = Stage::new(Footprint::Production);
    let (one, other) = two(&stage).await;
    for round in 0..5 {
        let tokens = one.register(&format!("two{round}@example.com")).await;
        let answers = join_all((0..64).map(|number| {
            let server = if number % 2 == 0 { &one } else { &other };
            server.refresh(&tokens.refresh)
        }))
        .await;
        let given: HashSet<String> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
        assert_eq!(given.len(), 1);
        // A refresh here and a revocation there, at the same time.
        let current = given.iter().next().expect("one");
        let body = json!({ "refresh_token": tokens.refresh });
        let (refreshed, ended) = tokio::join!(one.refresh(current), other.post("/auth/logout", &body));
        ended.is(200);
        if refreshed.status == 200 {
            let last = Tokens::of(&refreshed);
            one.refresh(&last.refresh)
                .await
                .is_problem(401, "session_revoked");
            other
                .refresh(&last.refresh)
                .await
                .is_problem(401, "session_revoked");
            let waited = until_refused(&one, &last.access, "session_revoked").await;
            assert!(waited < Duration::from_millis(250), "{waited:?}");
        }
        all_dead(&other, &[&tokens], "session_revoked").await;
        assert_eq!(audited(&one, "session_revoke", &tokens).await, 1);
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_redis_is_what_others_may_read() {
    let stage = Stage::new(Footprint::Production);
    let (one, other) = two(&stage).await;
    let tokens = one.register("layout@example.com").await;
    let (session, user) = (
        format!("session:{}", sid(&tokens)),
        format!("user:{}", tokens.user_id),
    );
    let copy = stored_json(&stage, &session);
    assert_eq!(copy["user_id"], tokens.user_id);
    assert_eq!(copy["email"], "layout@example.com");
    assert_eq!(copy["role"], "user");
    for member in ["login_at", "expires_at"] {
        assert!(copy[member].as_str().expect("a time").ends_with('Z'), "{copy}");
    }
    assert!(copy.get("revoked").is_none());
    let before = stored_json(&stage, &user);
    for (member, expected) in [
        ("version", json!(1)),
        ("email", json!("layout@example.com")),
        ("role", json!("user")),
        ("is_active", json!(true)),
    ] {
        assert_eq!(before[member], expected);
    }
    let week = 7 * 86_400_000;
    assert!((week - 60_000..=week).contains(&life(&stage, &session)));
    assert!((1..=86_400_000).contains(&life(&stage, &user)));

    // The version grows with a change; neither the code nor a late writer puts a lower one back.
    let body = json!({ "full_name": "Layla" });
    one.patch("/auth/me", &tokens.access, &body).await.is(200);
    let now = stored_json(&stage, &user);
    assert_eq!((&now["version"], &now["full_name"]), (&json!(2), &json!("Layla")));
    let redis = one.app.cache.redis().expect("Redis");
    let life_of = Duration::from_mins(1);
    let written = redis
        .set_versioned(&user, 1, 0, &before.to_string(), life_of)
        .await;
    assert_eq!(written, Ok(false));
    assert_eq!(stored_json(&stage, &user), now);
    // A stale copy put there by force does not pass at a node that knows better, and goes with the next change.
    put(&stage, &user, &before);
    for server in [&one, &other] {
        let me = server.get("/auth/me", &tokens.access).await.is(200);
        assert_eq!(me.json["full_name"], "Layla");
    }
    let body = json!({ "full_name": "Layla B." });
    other.patch("/auth/me", &tokens.access, &body).await.is(200);
    assert_eq!(stored_json(&stage, &user)["version"], 3);
    // One with a higher version stays until a change overtakes it.
    let mut high = stored_json(&stage, &user);
    high["version"] = json!(10);
    put(&stage, &user, &high);
    one.refresh(&tokens.refresh).await.is(200);
    assert_eq!(stored_json(&stage, &user)["version"], 10);

    // The tombstone, to the letter; nothing writes over it; it stays until the absolute end.
    one.post_as("/auth/logout", &tokens.access, &json!({}))
        .await
        .is(200);
    assert_eq!(stored_json(&stage, &session), json!({ "revoked": "logout" }));
    let month = 30 * 86_400_000;
    assert!((month - 60_000..=month).contains(&life(&stage, &session)));
    let late = redis
        .set_versioned(&session, i64::MAX, i64::MAX, &copy.to_string(), life_of)
        .await;
    assert_eq!(late, Ok(false));
    for server in [&one, &other] {
        all_dead(server, &[&tokens], "session_revoked").await;
    }
    assert_eq!(stored_json(&stage, &session), json!({ "revoked": "logout" }));
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_under_our_keys_is_read_past_and_replaced() {
    let stage = Stage::new(Footprint::Production);
    let server = stage.start().await;
    let tokens = server.register("garbage@example.com").await;
    let dead = server.log_in("garbage@example.com").await;
    let revoked = format!("session:{}", sid(&dead));
    server
        .post_as("/auth/logout", &dead.access, &json!({}))
        .await
        .is(200);
    let prefix = stage.prefix().to_owned();
    let keys = [
        format!("session:{}", sid(&tokens)),
        format!("user:{}", tokens.user_id),
        revoked,
        "josoor-auth:applied".to_owned(),
    ];
    let commands = [
        "SET @ xx",
        "SET @ \"\"",
        "SET @ null",
        "SET @ []",
        "SET @ 17",
        "SET @ \"\\xff\\xfe\\x00\"",
        "SET @ \"{}\"",
        r#"SET @ "{\"version\":\"x\",\"user_id\":\"1\"}""#,
        r#"SET @ "{\"version\":1e308}""#,
        "HSET @ revoked x",
        "LPUSH @ 1 2 3",
        "SADD @ 1",
    ];
    for command in commands {
        for key in &keys {
            services::redis()
                .command(&format!("DEL {prefix}{key}"))
                .expect("Redis answers");
            let command = command.replace('@', &format!("{prefix}{key}"));
            let answer = services::redis().command(&command).expect("Redis answers");
            assert!(!answer.starts_with('-'), "{command}: {answer}");
        }
        // A node that knows nothing yet: what it admits, it has read.
        let cold = stage.start_unready(josoor_auth::clock::Clock::System).await;
        for server in [&cold, &server] {
            server.get("/auth/me", &tokens.access).await.is(200);
            server
                .get("/auth/me", &dead.access)
                .await
                .is_problem(401, "session_revoked");
        }
        eventually("Redis is in use again", || async { cold.app.cache.is_shared() }).await;
        cold.get("/auth/me", &tokens.access).await.is(200);
        cold.get("/auth/me", &dead.access)
            .await
            .is_problem(401, "session_revoked");
        server.log_in("garbage@example.com").await;
        cold.stop().await;
    }
    // The refresh writes copies again, whatever type stood there, on a node that uses Redis again.
    eventually("this node uses Redis again", || async {
        server.app.cache.is_shared()
    })
    .await;
    server.refresh(&tokens.refresh).await.is(200);
    eventually("the copy is written", || async {
        stored(&stage, &keys[0]).starts_with('$')
    })
    .await;
    assert_eq!(stored_json(&stage, &keys[0])["user_id"], tokens.user_id);
    assert!(
        server
            .app
            .cache
            .resolve(&crate::tokens::claims(&tokens.access), server.app.clock.now())
            .await
            .is_ok()
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_serves_the_copies_and_carries_the_invalidations() {
    let cluster = RedisServer::start_cluster();
    let hosts: Vec<String> = cluster
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port))
        .collect();
    let mut stage = Stage::new(Footprint::Production);
    stage.set("REDIS_URL", &format!("redis+cluster://{}", hosts.join(",")));
    let (one, other) = two(&stage).await;
    for round in 0..10 {
        let tokens = one.register(&format!("cluster{round}@example.com")).await;
        other.get("/auth/me", &tokens.access).await.is(200);
        let tokens = Tokens::of(&other.refresh(&tokens.refresh).await.is(200));
        one.post_as("/auth/logout", &tokens.access, &json!({}))
            .await
            .is(200);
        let waited = until_refused(&other, &tokens.access, "session_revoked").await;
        assert!(waited < Duration::from_millis(250), "{waited:?}");
        all_dead(&one, &[&tokens], "session_revoked").await;
    }
    assert!(one.app.cache.is_shared() && other.app.cache.is_shared());
    one.stop().await;
    other.stop().await;
}
