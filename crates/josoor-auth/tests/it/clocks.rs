//! Nodes whose clocks are wrong.

use std::time::Duration;

use josoor_auth::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use crate::revocation::sid;
use crate::support::acceptance::{record, seed, size};
use crate::support::command::Serving;
use crate::support::server::{Footprint, PASSWORD, Server, Stage, Tokens, eventually, http_client};
use crate::support::services::Redis;

/// A node in a process of its own, whose clock is wrong by some seconds.
struct Node {
    process: Serving,
    http: reqwest::Client,
}

impl Node {
    fn start(stage: &Stage, name: &str, seconds: i64) -> Self {
        let offset = format!("{seconds:+}s");
        let variables = [
            ("LD_PRELOAD", library()),
            ("FAKETIME", &offset),
            // A wrong clock still counts seconds of the right length, and so do its timers.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        Self {
            process: tokio::task::block_in_place(|| Serving::start_with(stage, name, &variables)),
            http: http_client(),
        }
    }

    async fn send(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self.http.request(method, self.process.url(path));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn me(&self, tokens: &Tokens) -> u16 {
        self.send(Method::GET, "/auth/me", &tokens.access, None).await.0
    }

    async fn refresh(&self, tokens: &Tokens) -> Tokens {
        let body = json!({ "refresh_token": tokens.refresh });
        let (status, answer) = self.send(Method::POST, "/auth/refresh", "", Some(&body)).await;
        tokens_of(status, &answer)
    }

    async fn log_in(&self, email: &str) -> Tokens {
        let body = json!({ "email": email, "password": PASSWORD });
        let (status, answer) = self.send(Method::POST, "/auth/login", "", Some(&body)).await;
        tokens_of(status, &answer)
    }

    async fn sign_out(&self, tokens: &Tokens) {
        let (status, answer) = self
            .send(Method::POST, "/auth/logout", &tokens.access, Some(&json!({})))
            .await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn parts(&self) -> Value {
        self.send(Method::GET, "/readyz", "", None).await.1["parts"].clone()
    }

    fn stop(mut self) {
        self.process.signal("TERM");
        tokio::task::block_in_place(|| self.process.wait());
    }
}

#[track_caller]
fn tokens_of(status: u16, answer: &Value) -> Tokens {
    assert_eq!(status, 200, "{answer}");
    let text = |name: &str| answer[name].as_str().expect("a token").to_owned();
    Tokens {
        access: text("access_token"),
        refresh: text("refresh_token"),
        user_id: answer["user"]["id"].as_i64().expect("an id"),
    }
}

/// `libfaketime`, which `scripts/setup-tests` installs.
fn library() -> &'static str {
    const PLACES: [&str; 3] = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/faketime/libfaketimeMT.so.1",
    ];
    PLACES
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .expect("libfaketime is installed: see scripts/setup-tests")
}

/// What becomes of Redis while a session is ended.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Empty,
    Old,
    Late,
}

async fn until_ended(node: &Node, tokens: &Tokens) {
    eventually("the session has ended", || async { node.me(tokens).await == 401 }).await;
}

/// One node is right and one is wrong: no one is signed out, and what is ended stays so whatever Redis remembers.
async fn agree(seconds: i64, outage: Outage) {
    let redis = Redis::start_own(0);
    let mut stage = Stage::new(Footprint::Production);
    stage.set("REDIS_URL", &redis.url());
    let right = Node::start(&stage, "right", 0);
    let wrong = Node::start(&stage, "wrong", seconds);
    let parts = wrong.parts().await;
    let expected = if seconds == 0 { "ok" } else { "degraded" };
    eventually("the skew is measured", || async {
        wrong.parts().await["clock"] == expected
    })
    .await;
    assert_eq!(parts["database"], "ok");
    assert_eq!(right.parts().await["clock"], "ok");

    // Tokens of either pass at the other, and so does a second tab a moment after the first, on either.
    let email = "clock@example.com";
    let body = json!({ "email": email, "password": PASSWORD });
    let (status, _) = right.send(Method::POST, "/auth/register", "", Some(&body)).await;
    assert_eq!(status, 201);
    for (one, other) in [(&right, &wrong), (&wrong, &right)] {
        let first = one.log_in(email).await;
        assert_eq!(other.me(&first).await, 200, "{seconds} s");
        let second = one.refresh(&first).await;
        assert_eq!(one.me(&second).await, 200);
        let again = other.refresh(&first).await;
        assert_eq!(again.refresh, second.refresh, "{seconds} s: the second tab");
        assert_eq!(other.me(&again).await, 200);
        let third = other.refresh(&second).await;
        assert_eq!(one.me(&third).await, 200);
        one.sign_out(&third).await;
        until_ended(other, &third).await;
    }

    // A session that the wrong node ends while Redis is away.
    let doomed = right.log_in(email).await;
    let kept = right.log_in(email).await;
    for node in [&right, &wrong] {
        assert_eq!(node.me(&doomed).await, 200);
        assert_eq!(node.me(&kept).await, 200);
    }
    tokio::task::block_in_place(|| match outage {
        Outage::Empty => redis.stop(),
        Outage::Old => {
            assert_eq!(redis.command("SAVE").expect("an answer"), "+OK\r\n");
            redis.stop();
        }
        Outage::Late => redis.hang(),
    });
    wrong.sign_out(&doomed).await;
    assert_eq!(wrong.me(&doomed).await, 401);
    until_ended(&right, &doomed).await;
    wrong.stop();
    // What a node with a right clock would have done since: the outage was long ago.
    let wrong = Node::start(&stage, "mended", 0);
    tokio::task::block_in_place(|| match outage {
        Outage::Empty | Outage::Old => redis.start(),
        Outage::Late => redis.resume(),
    });
    let cold = Node::start(&stage, "cold", seconds);
    for node in [&right, &wrong, &cold] {
        eventually("Redis is in use", || async {
            node.parts().await["redis"] == "ok"
        })
        .await;
        for _ in 0..3 {
            assert_eq!(node.me(&doomed).await, 401, "{seconds} s, {outage:?}");
        }
        assert_eq!(node.me(&kept).await, 200, "{seconds} s, {outage:?}");
    }
    for node in [right, wrong, cold] {
        node.stop();
    }
}

const OFFSETS: [i64; 5] = [-3600, -1200, -61, 45, 3600];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_a7_nodes_with_wrong_clocks_agree() {
    let all = OFFSETS
        .iter()
        .flat_map(|offset| [Outage::Empty, Outage::Old, Outage::Late].map(|outage| (*offset, outage)));
    // In small: each offset once, with outages by the seed.
    let skipped = usize::try_from(seed() % 3).expect("a small number");
    let chosen: Vec<_> = all.skip(size(skipped, 0)).step_by(size(4, 1)).collect();
    for (seconds, outage) in &chosen {
        agree(*seconds, *outage).await;
    }
    record(
        "a7 nodes with wrong clocks",
        &format!(
            "{} cases of offset and outage: no ended session accepted, no second tab refused, no session lost",
            chosen.len()
        ),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c3_a_node_whose_clock_is_ahead_ends_sessions_near_their_end() {
    let mut stage = Stage::new(Footprint::Production);
    // By the wrong clock every session is over already.
    stage.set("JOSOOR_AUTH__SESSION__IDLE", "10m");
    let right = Node::start(&stage, "right", 0);
    let wrong = Node::start(&stage, "wrong", 3600);
    let body = json!({ "email": "near@example.com", "password": PASSWORD });
    let (status, _) = right.send(Method::POST, "/auth/register", "", Some(&body)).await;
    assert_eq!(status, 201);
    let tokens = right.log_in("near@example.com").await;
    assert_eq!(wrong.me(&tokens).await, 200);
    wrong.sign_out(&tokens).await;
    until_ended(&right, &tokens).await;
    let body = json!({ "refresh_token": tokens.refresh });
    let (status, answer) = right.send(Method::POST, "/auth/refresh", "", Some(&body)).await;
    assert_eq!((status, &answer["code"]), (401, &json!("session_revoked")));
    for node in [right, wrong] {
        node.stop();
    }
}

/// A database of this stage, to change what no client can change.
async fn database(stage: &Stage) -> sqlx::PgPool {
    sqlx::PgPool::connect(&stage.environment()["DATABASE_URL"])
        .await
        .expect("PostgreSQL answers")
}

fn set_watermark(redis: &Redis, stage: &Stage, micros: i64) {
    let prefix = stage.prefix();
    let command = format!("SET {prefix}josoor-auth:applied \"{{\\\"version\\\":{micros}}}\"");
    assert_eq!(redis.command(&command).expect("an answer"), "+OK\r\n");
}

/// Ends a session twenty minutes ago while Redis is away with a watermark that is wrong by some seconds, and lets Redis
/// come back with what it remembers.
async fn with_watermark(seconds: i64) {
    let redis = Redis::start_own(0);
    let mut stage = Stage::new(Footprint::Production);
    stage.set("REDIS_URL", &redis.url());
    let server = stage.start().await;
    let tokens = server.register("mark@example.com").await;
    server.get("/auth/me", &tokens.access).await.is(200);
    assert_eq!(redis.command("SAVE").expect("an answer"), "+OK\r\n");
    tokio::task::block_in_place(|| redis.stop());
    server
        .post_as("/auth/logout", &tokens.access, &json!({}))
        .await
        .is(200);
    server.stop().await;
    let pool = database(&stage).await;
    sqlx::query("update changes set at = at - interval '20 minutes'")
        .execute(&pool)
        .await
        .expect("allowed");
    pool.close().await;
    tokio::task::block_in_place(|| redis.start());
    let mark = Clock::System.now().as_micros() + seconds * 1_000_000;
    set_watermark(&redis, &stage, mark);
    let copy = redis
        .command(&format!("GET {}session:{}", stage.prefix(), sid(&tokens)))
        .expect("an answer");
    assert!(copy.contains("user_id"), "Redis still has the live copy: {copy}");
    let server = stage.start_unready(Clock::System).await;
    let refused = async |server: &Server| {
        server
            .get("/auth/me", &tokens.access)
            .await
            .is_problem(401, "session_revoked");
    };
    // No request before: one would find the end in the database and mend the copy.
    eventually("Redis is in use", || async { server.app.cache.is_shared() }).await;
    refused(&server).await;
    let cold = stage.start().await;
    refused(&cold).await;
    server.stop().await;
    cold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_a_watermark_in_the_future_hides_no_revocation() {
    with_watermark(2 * 3600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_a_node_that_writes_marks_of_the_future_is_corrected() {
    let redis = Redis::start_own(0);
    let mut stage = Stage::new(Footprint::Production);
    stage.set("REDIS_URL", &redis.url());
    let server = stage.start().await;
    let prefix = stage.prefix();
    let far = Clock::System.now().plus(Duration::from_hours(2)).as_micros();
    set_watermark(&redis, &stage, far);
    eventually("the mark is that of the database's time again", || async {
        let stored = redis
            .command(&format!("GET {prefix}josoor-auth:applied"))
            .expect("an answer");
        !stored.contains(&far.to_string()) && server.app.cache.is_shared()
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_the_database_stamps_changes() {
    let stage = Stage::new(Footprint::Production);
    let server = stage.start().await;
    let tokens = server.register("stamp@example.com").await;
    server
        .post_as("/auth/logout", &tokens.access, &json!({}))
        .await
        .is(200);
    let pool = database(&stage).await;
    // As a node of the version before would write it, whose clock is an hour behind.
    sqlx::query(
        "insert into changes (at, user_id, until)
         values (clock_timestamp() - interval '1 hour', $1, clock_timestamp() + interval '1 day')",
    )
    .bind(tokens.user_id)
    .execute(&pool)
    .await
    .expect("allowed");
    let late: i64 = sqlx::query_scalar(
        "select count(*) from changes where at < clock_timestamp() - interval '1 minute' or at > clock_timestamp()",
    )
    .fetch_one(&pool)
    .await
    .expect("a count");
    assert_eq!(late, 0);
    pool.close().await;
    server.stop().await;
}
