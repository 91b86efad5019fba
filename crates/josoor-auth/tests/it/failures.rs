//! Backing stores that stop, hang, forget, and come back with old memories.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use josoor_auth::clock::Clock;
use serde_json::json;

use crate::refresh::all_dead;
use crate::revocation::{sid, until, until_refused};
use crate::support::redis::RedisServer;
use crate::support::server::{Answer, Footprint, PASSWORD, Server, Stage, Tokens, eventually};
use crate::support::services::{Postgres, Redis};

fn stage_on(redis: &Redis) -> Stage {
    let mut stage = Stage::new(Footprint::Production);
    stage.set("REDIS_URL", &redis.url());
    stage
}

async fn log_in(server: &Server, email: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD });
    server.post("/auth/login", &body).await
}

/// Everything that a user does works, now, and ends in a session that is signed out.
async fn all_works(server: &Server, email: &str) -> Tokens {
    let started = Instant::now();
    let tokens = Tokens::of(&log_in(server, email).await.is(200));
    server.get("/auth/me", &tokens.access).await.is(200);
    server
        .post_as("/auth/refresh", &tokens.access, &json!({}))
        .await
        .is(200);
    let tokens = Tokens::of(&server.refresh(&tokens.refresh).await.is(200));
    server.get("/auth/sessions", &tokens.access).await.is(200);
    let body = json!({ "refresh_token": tokens.refresh });
    server.post("/auth/logout", &body).await.is(200);
    all_dead(server, &[&tokens], "session_revoked").await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    tokens
}

/// Runs an outage: no user is signed out in it, and a session that is revoked in it stays revoked.
async fn survive(redis: &Redis, begin: impl FnOnce(), end: impl FnOnce()) {
    let stage = stage_on(redis);
    let (one, other) = (stage.start().await, stage.start().await);
    let email = "outage@example.com";
    let keeper = one.register(email).await;
    let admin = one.register_admin("boss@example.com").await;
    let before = one.log_in(email).await;
    let (during, deactivated) = (one.log_in(email).await, one.register("away@example.com").await);
    for tokens in [&keeper, &during, &deactivated] {
        other.get("/auth/me", &tokens.access).await.is(200);
    }
    let body = json!({ "refresh_token": before.refresh });
    one.post("/auth/logout", &body).await.is(200);
    begin();
    let mut dead = vec![before];
    for server in [&one, &other] {
        server.get("/auth/me", &keeper.access).await.is(200);
        dead.push(all_works(server, email).await);
    }
    let body = json!({ "refresh_token": during.refresh });
    one.post("/auth/logout", &body).await.is(200);
    one.get("/auth/me", &during.access)
        .await
        .is_problem(401, "session_revoked");
    let path = format!("/admin/users/{}", deactivated.user_id);
    let body = json!({ "is_active": false });
    one.patch(&path, &admin.access, &body).await.is(200);
    let waited = until_refused(&other, &during.access, "session_revoked").await;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    let waited = until_refused(&other, &deactivated.access, "account_inactive").await;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    dead.push(during);
    for server in [&one, &other] {
        server.get("/auth/me", &keeper.access).await.is(200);
        let ready = server.get("/readyz", "").await;
        assert_eq!(ready.status, 200, "{ready:?}");
    }
    end();
    let cold = stage.start_unready(Clock::System).await;
    let all = [&one, &other, &cold];
    let check = async || {
        for server in all {
            for tokens in &dead {
                server
                    .get("/auth/me", &tokens.access)
                    .await
                    .is_problem(401, "session_revoked");
            }
            server
                .get("/auth/me", &deactivated.access)
                .await
                .is_problem(401, "account_inactive");
            server.get("/auth/me", &keeper.access).await.is(200);
        }
    };
    eventually("Redis is in use again", || async {
        check().await;
        all.iter().all(|server| server.app.cache.is_shared())
    })
    .await;
    check().await;
    let late = stage.start().await;
    for tokens in &dead {
        all_dead(&late, &[tokens], "session_revoked").await;
    }
    late.get("/auth/me", &keeper.access).await.is(200);
    late.stop().await;
    one.stop().await;
    other.stop().await;
    cold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stopped_and_back_empty() {
    let redis = Redis::start_own(0);
    survive(&redis, || redis.stop(), || redis.start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hung_and_back_with_its_memory() {
    let redis = Redis::start_own(0);
    survive(&redis, || redis.hang(), || redis.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_flushed() {
    let redis = Redis::start_own(0);
    survive(&redis, || redis.flush(), || redis.flush()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_back_with_an_old_snapshot() {
    let redis = Redis::start_own(0);
    let mut saved = String::new();
    survive(
        &redis,
        || saved = redis.command("SAVE").expect("Redis answers"),
        || redis.restart(),
    )
    .await;
    assert_eq!(saved, "+OK\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_down_and_back_with_an_old_snapshot() {
    let redis = Redis::start_own(0);
    survive(
        &redis,
        || {
            assert_eq!(redis.command("SAVE").expect("Redis answers"), "+OK\r\n");
            redis.stop();
        },
        || redis.start(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_refuses_writes() {
    let redis = Redis::start_own(0);
    let set = |text: &str| {
        let answer = redis
            .command(&format!("CONFIG SET {text}"))
            .expect("Redis answers");
        assert_eq!(answer, "+OK\r\n");
    };
    // Reads go on while nothing new is taken (OOM).
    survive(&redis, || set("maxmemory 1"), || set("maxmemory 0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_fails_under_load() {
    let redis = Redis::start_own(0);
    let stage = stage_on(&redis);
    let (one, other) = (stage.start().await, stage.start().await);
    let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = async |number: usize| {
        let email = format!("load{number}@example.com");
        let servers = [&one, &other];
        let mut tokens = one.register(&email).await;
        let mut dead: Vec<Tokens> = Vec::new();
        let mut round = number;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let server = servers[round % 2];
            server.get("/auth/me", &tokens.access).await.is(200);
            match round % 5 {
                0 => tokens = Tokens::of(&server.refresh(&tokens.refresh).await.is(200)),
                1 => {
                    let brief = Tokens::of(&log_in(server, &email).await.is(200));
                    let body = json!({ "refresh_token": brief.refresh });
                    server.post("/auth/logout", &body).await.is(200);
                    server
                        .get("/auth/me", &brief.access)
                        .await
                        .is_problem(401, "session_revoked");
                    dead.push(brief);
                }
                _ => {}
            }
            if let Some(old) = dead.get(round % 7) {
                server
                    .get("/auth/me", &old.access)
                    .await
                    .is_problem(401, "session_revoked");
            }
            requests.fetch_add(1, Ordering::Relaxed);
        }
        dead
    };
    let trouble = async {
        for round in 0..6 {
            let before = requests.load(Ordering::Relaxed);
            tokio::task::block_in_place(|| match round % 3 {
                0 => redis.flush(),
                1 => redis.restart(),
                _ => {
                    redis.hang();
                    std::thread::sleep(Duration::from_millis(700));
                    redis.resume();
                }
            });
            eventually("traffic goes on", || async {
                requests.load(Ordering::Relaxed) > before + 40
            })
            .await;
            eventually("Redis is in use", || async {
                one.app.cache.is_shared() && other.app.cache.is_shared()
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (dead, ()) = tokio::join!(join_all((0..6).map(client)), trouble);
    let late = stage.start().await;
    for tokens in dead.iter().flatten() {
        for server in [&one, &other, &late] {
            server
                .get("/auth/me", &tokens.access)
                .await
                .is_problem(401, "session_revoked");
        }
    }
    late.stop().await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_channel_cut_changes_hold_within_the_near_life() {
    let redis = Redis::start_own(0);
    let stage = stage_on(&redis);
    let (one, other) = (stage.start().await, stage.start().await);
    let admin = one.register_admin("boss@example.com").await;
    one.register("cut@example.com").await;
    let within = |waited: Duration| assert!(waited < Duration::from_secs(5), "{waited:?}");
    for cut in ["CLIENT KILL TYPE pubsub", "CLIENT PAUSE 1500 ALL"] {
        for round in 0..3 {
            let command = cut;
            let cut = async || {
                eventually("Redis is in use", || async { other.app.cache.is_shared() }).await;
                redis.command(command).expect("Redis answers");
            };
            let tokens = one.log_in("cut@example.com").await;
            other.get("/auth/me", &tokens.access).await.is(200);
            cut().await;
            one.post_as("/auth/logout", &tokens.access, &json!({}))
                .await
                .is(200);
            one.get("/auth/me", &tokens.access)
                .await
                .is_problem(401, "session_revoked");
            within(until_refused(&other, &tokens.access, "session_revoked").await);
            all_works(&other, "cut@example.com").await;

            let user = other.log_in("cut@example.com").await;
            let path = format!("/admin/users/{}", user.user_id);
            let change = async |body: serde_json::Value| one.patch(&path, &admin.access, &body).await.is(200);
            for (role, status) in [("admin", 200), ("user", 403)] {
                cut().await;
                change(json!({ "role": role })).await;
                within(
                    until(&other, "/admin/users", &user.access, |answer| {
                        answer.status == status
                    })
                    .await,
                );
            }
            cut().await;
            change(json!({ "is_active": false })).await;
            within(until_refused(&other, &user.access, "account_inactive").await);
            change(json!({ "is_active": true })).await;

            // The address of a deleted account stays reserved for a while.
            let email = format!("gone{round}{}@example.com", command.len());
            let gone = other.register(&email).await;
            other.get("/auth/me", &gone.access).await.is(200);
            cut().await;
            one.delete(&format!("/admin/users/{}", gone.user_id), &admin.access)
                .await
                .is(204);
            within(until_refused(&other, &gone.access, "session_revoked").await);
        }
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_writes_revives_no_session() {
    const SESSIONS: usize = 1000;
    let mut master = RedisServer::start(&[]);
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinels: Vec<RedisServer> = (0..3).map(|_| RedisServer::start_sentinel(master.port)).collect();
    eventually("the sentinels know each other and the replica", || async {
        sentinels.iter().all(|sentinel| {
            let state = sentinel.ask(&["INFO", "sentinel"]);
            state.contains("slaves=1,sentinels=3")
        })
    })
    .await;
    let hosts: Vec<String> = sentinels
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port))
        .collect();
    let mut stage = Stage::new(Footprint::Production);
    stage.set("REDIS_URL", &format!("redis+sentinel://{}/main", hosts.join(",")));
    stage.set("JOSOOR_AUTH__HASH__QUEUE", "1000");
    stage.set("JOSOOR_AUTH__SESSION__MAX_PER_USER", "2000");
    // Fifty sign-ins at a time wait for one row, on a machine that may be busy.
    stage.set("JOSOOR_AUTH__DATABASE__ACQUIRE_TIMEOUT", "30s");
    let (one, other) = (stage.start().await, stage.start().await);
    let keeper = one.register("failover@example.com").await;
    let mut doomed = Vec::new();
    while doomed.len() < SESSIONS {
        doomed.extend(join_all((0..50).map(|_| one.log_in("failover@example.com"))).await);
    }
    let last = format!("{}session:{}", stage.prefix(), sid(&doomed[SESSIONS - 1]));
    eventually("the replica has the copies", || async {
        replica.ask(&["EXISTS", &last]) == ":1\r\n"
    })
    .await;
    // Still a replica, but of no server: it misses what comes now.
    replica.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let answer = one.delete("/auth/sessions", &keeper.access).await.is(200);
    assert_eq!(answer.json["revoked"], SESSIONS);
    assert!(master.ask(&["GET", &last]).contains("revoked"));
    assert!(!replica.ask(&["GET", &last]).contains("revoked"));
    master.kill();
    // One that has received none of it.
    let cold = stage.start_unready(Clock::System).await;
    let mut admitted = 0;
    let mut round = 0;
    let started = Instant::now();
    loop {
        for server in [&one, &other, &cold] {
            for tokens in doomed.iter().skip(round % 20).step_by(20) {
                let answer = server.get("/auth/me", &tokens.access).await;
                assert!(matches!(answer.status.as_u16(), 200 | 401), "{answer:?}");
                admitted += usize::from(answer.status == 200);
            }
            server.get("/auth/me", &keeper.access).await.is(200);
        }
        round += 1;
        if [&one, &other, &cold]
            .iter()
            .all(|server| server.app.cache.is_shared())
        {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "no failover");
    }
    assert!(replica.ask(&["ROLE"]).contains("master"));
    let late = stage.start().await;
    for server in [&one, &other, &late] {
        for tokens in &doomed {
            admitted += usize::from(server.get("/auth/me", &tokens.access).await.status == 200);
        }
        server.get("/auth/me", &keeper.access).await.is(200);
    }
    assert_eq!(admitted, 0);
    assert!(replica.ask(&["GET", &last]).contains("revoked"));
    late.stop().await;
    cold.stop().await;
    one.stop().await;
    other.stop().await;
}

/// Refused for now, quickly, with the time of the next try.
#[track_caller]
fn is_away(answer: Answer, started: Instant) {
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    let answer = answer.is_problem(503, "store_unavailable");
    let after: u64 = answer.headers["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!((1..=60).contains(&after));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_stopped_and_back() {
    let postgres = Postgres::start_own();
    let mut stage = Stage::new(Footprint::Production);
    stage.set("DATABASE_URL", &postgres.new_database());
    let server = stage.start().await;
    let tokens = server.register("database@example.com").await;
    let ended = server.log_in("database@example.com").await;
    server
        .post_as("/auth/logout", &ended.access, &json!({}))
        .await
        .is(200);
    server.get("/auth/me", &tokens.access).await.is(200);
    tokio::task::block_in_place(|| postgres.stop());
    for _ in 0..2 {
        // Known sessions go on from the copies.
        server.get("/auth/me", &tokens.access).await.is(200);
        server
            .get("/auth/me", &ended.access)
            .await
            .is_problem(401, "session_revoked");
        let started = Instant::now();
        is_away(log_in(&server, "database@example.com").await, started);
        let started = Instant::now();
        is_away(server.refresh(&tokens.refresh).await, started);
        let started = Instant::now();
        let body = json!({ "refresh_token": tokens.refresh });
        is_away(server.post("/auth/logout", &body).await, started);
        let started = Instant::now();
        is_away(server.get("/auth/sessions", &tokens.access).await, started);
        let started = Instant::now();
        is_away(server.delete("/auth/sessions", &tokens.access).await, started);
        server.get("/healthz", "").await.is(200);
        let started = Instant::now();
        let ready = server.get("/readyz", "").await.is(503);
        assert_eq!(ready.json["parts"]["database"], "down");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    tokio::task::block_in_place(|| postgres.start());
    let started = Instant::now();
    eventually("the server is ready again", || async {
        server.get("/readyz", "").await.status == 200
    })
    .await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    server.get("/auth/me", &tokens.access).await.is(200);
    server.refresh(&tokens.refresh).await.is(200);
    all_works(&server, "database@example.com").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_postgres_end_under_load() {
    let stage = Stage::new(Footprint::Production);
    let server = stage.start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let client = async |(email, mut tokens): (String, Tokens)| {
        let (mut served, mut away, mut dead) = (0, 0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let answer = server.refresh(&tokens.refresh).await;
            match answer.status.as_u16() {
                200 => {
                    served += 1;
                    tokens = Tokens::of(&answer);
                }
                503 => away += 1,
                _ => panic!("{answer:?}"),
            }
            let answer = log_in(&server, &email).await;
            match answer.status.as_u16() {
                200 => {
                    let brief = Tokens::of(&answer);
                    let body = json!({ "refresh_token": brief.refresh });
                    let answer = server.post("/auth/logout", &body).await;
                    match answer.status.as_u16() {
                        200 => dead.push(brief),
                        503 => away += 1,
                        _ => panic!("{answer:?}"),
                    }
                }
                503 => away += 1,
                _ => panic!("{answer:?}"),
            }
        }
        for tokens in &dead {
            all_dead(&server, &[tokens], "session_revoked").await;
        }
        // No user was signed out by a lost answer.
        server.refresh(&tokens.refresh).await.is(200);
        (served, away)
    };
    let killer = async {
        let url = stage.environment()["DATABASE_URL"].clone();
        let pool = sqlx::PgPool::connect(&url).await.expect("a connection");
        for _ in 0..15 {
            sqlx::query(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and application_name like 'josoor-auth%'",
            )
            .execute(&pool)
            .await
            .expect("allowed");
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        stop.store(true, Ordering::Relaxed);
        pool.close().await;
    };
    let mut users = Vec::new();
    for number in 0..4 {
        let email = format!("ended{number}@example.com");
        let tokens = server.register(&email).await;
        users.push((email, tokens));
    }
    let (results, ()) = tokio::join!(join_all(users.into_iter().map(client)), killer);
    let (served, away) = results
        .into_iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{served} refreshes served, {away} answers 503");
    assert!(served > 0);
    server.stop().await;
}
