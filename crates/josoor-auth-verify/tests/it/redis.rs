use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use josoor_auth_verify::{Claims, CurrentUser, RedisCheck, Refusal, Role, SessionCheck, SetupError};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{NOW, SESSION, claims, header, sign, token, verifier, with};

/// A port without a listener, below those that systems take for outgoing connections.
fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(1_013);
    std::iter::repeat_with(|| 10_000 + start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % 22_000)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// A redis-server of the test's own. It ends with the value.
struct Server {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        Self::start_with(&[&["--save", "", "--appendonly", "no"], options].concat())
    }

    /// With these arguments alone, besides port and folder.
    fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut process = Command::new("redis-server")
            .args(arguments)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need the program redis-server");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let is_ready = lines.any(|line| {
            let line = line.unwrap();
            line.contains("Ready to accept connections") || line.contains("Sentinel ID")
        });
        assert!(is_ready, "redis-server did not start");
        // Reads on, so that the server never waits for somebody to take its log.
        std::thread::spawn(move || lines.count());
        Self {
            process,
            port,
            _directory: directory,
        }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Answers in the service's place, and counts how often it is asked.
#[derive(Clone, Default)]
struct Fallback {
    asked: Arc<AtomicUsize>,
}

impl SessionCheck for Fallback {
    async fn check(&self, _token: &str, claims: &Claims) -> Result<CurrentUser, Refusal> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(CurrentUser {
            id: claims.sub,
            uid: None,
            email: "from the service".to_owned(),
            email_verified: false,
            role: Role::User,
            session_id: claims.sid,
            acr: 1,
        })
    }
}

fn read_claims() -> Claims {
    verifier().verify(&token(), NOW).unwrap()
}

fn session() -> Value {
    json!({
        "user_id": 42, "email": "old@example.org", "role": "user", "login_at": "2026-01-01T00:00:00Z",
        "expires_at": "2999-01-01T00:00:00Z", "generation": 3, "retired_generation": 0,
    })
}

fn user() -> Value {
    json!({"version": 5, "email": "layla@example.org", "role": "admin", "is_active": true, "full_name": null})
}

/// The service's watermark of so many seconds ago.
fn mark(seconds_ago: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "the check reads the system's clock too")]
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let micros = i64::try_from(now.as_micros()).unwrap() - seconds_ago * 1_000_000;
    json!({ "version": micros }).to_string()
}

struct Bench {
    server: Server,
    connection: redis::aio::MultiplexedConnection,
    fallback: Fallback,
    check: RedisCheck<Fallback>,
}

impl Bench {
    async fn start() -> Self {
        let server = Server::start(&[]);
        let fallback = Fallback::default();
        Self {
            connection: server.connect().await,
            // Most of these tests are about what is read; those about what is kept make a check of their own.
            check: RedisCheck::new(&server.url(), "p:", fallback.clone())
                .unwrap()
                .local_cache(0),
            fallback,
            server,
        }
    }

    async fn put(&mut self, session: Option<&str>, user: Option<&str>) {
        for (key, value) in [
            (format!("p:session:{SESSION}"), session),
            ("p:user:42".to_owned(), user),
            ("p:josoor-auth:applied".to_owned(), Some(mark(0).as_str())),
        ] {
            match value {
                Some(value) => self.connection.set::<_, _, ()>(key, value).await.unwrap(),
                None => self.connection.del::<_, ()>(key).await.unwrap(),
            }
        }
    }

    async fn outcome(&self) -> Result<CurrentUser, Refusal> {
        self.check.check(&token(), &read_claims()).await
    }

    /// Whether the copies, such as they are, are not enough.
    async fn asks_the_service(&mut self, session: Option<&str>, user: Option<&str>) -> bool {
        self.put(session, user).await;
        let before = self.fallback.asked.load(Ordering::SeqCst);
        let outcome = self.outcome().await;
        let asked = self.fallback.asked.load(Ordering::SeqCst) > before;
        assert_eq!(asked, outcome.is_ok_and(|user| user.email == "from the service"));
        asked
    }
}

#[tokio::test]
async fn two_good_copies_let_in_with_the_users_live_role() {
    let mut bench = Bench::start().await;
    bench
        .put(Some(&session().to_string()), Some(&user().to_string()))
        .await;
    let found = bench.outcome().await.unwrap();
    assert_eq!(
        (found.id, found.email.as_str(), found.role),
        (42, "layla@example.org", Role::Admin)
    );
    assert_eq!(found.session_id.to_string(), SESSION);
    let demoted = with(user(), json!({"role": "user", "version": 6}));
    bench
        .put(Some(&session().to_string()), Some(&demoted.to_string()))
        .await;
    assert_eq!(bench.outcome().await.unwrap().role, Role::User);
    assert_eq!(bench.fallback.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_revoked_session_and_an_inactive_account_are_refused_with_the_reason() {
    let mut bench = Bench::start().await;
    for (reason, refusal) in [
        ("password_changed", Refusal::PasswordChanged),
        ("refresh_reuse", Refusal::RefreshTokenReused),
        ("account_deactivated", Refusal::AccountInactive),
        ("logout", Refusal::SessionRevoked),
        ("", Refusal::SessionRevoked),
    ] {
        let tombstone = json!({"revoked": reason}).to_string();
        for user in [Some(user().to_string()), None] {
            bench.put(Some(&tombstone), user.as_deref()).await;
            assert_eq!(bench.outcome().await, Err(refusal), "{reason}");
        }
    }
    let inactive = with(user(), json!({"is_active": false}));
    bench
        .put(Some(&session().to_string()), Some(&inactive.to_string()))
        .await;
    assert_eq!(bench.outcome().await, Err(Refusal::AccountInactive));
    let foreign = with(session(), json!({"user_id": 43}));
    bench
        .put(Some(&foreign.to_string()), Some(&user().to_string()))
        .await;
    assert_eq!(bench.outcome().await, Err(Refusal::TokenInvalid));
    assert_eq!(bench.fallback.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn c2_copies_count_for_nothing_without_a_watermark_of_now() {
    let mut bench = Bench::start().await;
    let marks = [
        None,
        Some(mark(60)),
        // By a clock that is ahead.
        Some(mark(-10)),
        Some(mark(-3600)),
        Some("{}".to_owned()),
        Some("x".to_owned()),
    ];
    for mark in marks {
        bench
            .put(Some(&session().to_string()), Some(&user().to_string()))
            .await;
        let key = "p:josoor-auth:applied";
        match &mark {
            Some(mark) => bench.connection.set::<_, _, ()>(key, mark).await.unwrap(),
            None => bench.connection.del::<_, ()>(key).await.unwrap(),
        }
        assert_eq!(
            bench.outcome().await.unwrap().email,
            "from the service",
            "{mark:?}"
        );
        // A rejection counts all the same.
        bench
            .connection
            .set::<_, _, ()>(format!("p:session:{SESSION}"), r#"{"revoked":"logout"}"#)
            .await
            .unwrap();
        assert_eq!(bench.outcome().await, Err(Refusal::SessionRevoked), "{mark:?}");
    }
}

#[tokio::test]
async fn copies_that_are_missing_or_unreadable_or_old_are_no_answer() {
    let mut bench = Bench::start().await;
    let (session, user) = (session(), user());
    let (good_session, good_user) = (session.to_string(), user.to_string());
    assert!(
        !bench
            .asks_the_service(Some(&good_session), Some(&good_user))
            .await
    );
    assert!(bench.asks_the_service(None, None).await);
    assert!(bench.asks_the_service(None, Some(&good_user)).await);
    assert!(bench.asks_the_service(Some(&good_session), None).await);
    for broken in [
        "",
        "null",
        "[]",
        "{",
        "{}",
        "\u{0}",
        r#"{"revoked":null}"#,
        r#"{"revoked":true}"#,
    ] {
        assert!(
            bench.asks_the_service(Some(broken), Some(&good_user)).await,
            "session {broken}"
        );
        if !broken.contains("revoked") {
            assert!(
                bench.asks_the_service(Some(&good_session), Some(broken)).await,
                "user {broken}"
            );
        }
    }
    for change in [
        json!({"expires_at": "2020-01-01T00:00:00Z"}),
        json!({"expires_at": 4_000_000_000_u64}),
        json!({"expires_at": "soon"}),
        json!({"expires_at": null}),
        json!({"user_id": "42"}),
        json!({"user_id": null}),
    ] {
        let changed = with(session.clone(), change.clone()).to_string();
        assert!(
            bench.asks_the_service(Some(&changed), Some(&good_user)).await,
            "{change}"
        );
    }
    for change in [
        json!({"role": "owner"}),
        json!({"role": null}),
        json!({"is_active": null}),
        json!({"is_active": 1}),
        json!({"email": null}),
    ] {
        let changed = with(user.clone(), change.clone()).to_string();
        assert!(
            bench.asks_the_service(Some(&good_session), Some(&changed)).await,
            "{change}"
        );
    }
    let doubled = good_user.replacen('{', r#"{"role":"user","#, 1);
    assert!(bench.asks_the_service(Some(&good_session), Some(&doubled)).await);
}

#[tokio::test]
async fn the_first_use_of_a_generation_is_published_once() {
    let mut bench = Bench::start().await;
    let client = redis::Client::open(bench.server.url()).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe("p:josoor-auth:invalidate").await.unwrap();
    let mut messages = listener.on_message();
    bench
        .put(Some(&session().to_string()), Some(&user().to_string()))
        .await;
    for generation in [3, 3, 2, 3, 4, 4] {
        let token = sign(&header(), &with(claims(), json!({"gen": generation})));
        let claims = verifier().verify(&token, NOW).unwrap();
        bench.check.check(&token, &claims).await.unwrap();
    }
    let mut published = Vec::new();
    for _ in 0..2 {
        let message = tokio::time::timeout(Duration::from_secs(5), messages.next())
            .await
            .unwrap()
            .unwrap();
        let message: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
        assert_eq!(message["used"]["sid"], SESSION);
        published.push(message["used"]["gen"].as_i64().unwrap());
    }
    published.sort_unstable();
    assert_eq!(published, [3, 4]);
    // Our own message comes after everything that was published before it.
    bench
        .connection
        .publish::<_, _, ()>("p:josoor-auth:invalidate", "the end")
        .await
        .unwrap();
    let last = tokio::time::timeout(Duration::from_secs(5), messages.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(last.get_payload_bytes(), b"the end");
}

#[tokio::test]
async fn a_redis_that_is_gone_or_hangs_costs_a_moment_and_no_one_their_session() {
    let mut bench = Bench::start().await;
    bench
        .put(Some(&session().to_string()), Some(&user().to_string()))
        .await;
    assert_eq!(bench.outcome().await.unwrap().email, "layla@example.org");
    let Bench { server, check, .. } = bench;
    drop(server);
    let before = Instant::now();
    for _ in 0..10 {
        let found = check.check(&token(), &read_claims()).await.unwrap();
        assert_eq!(found.email, "from the service");
    }
    assert!(
        before.elapsed() < Duration::from_secs(1),
        "{:?}",
        before.elapsed()
    );

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let check = RedisCheck::new(&url, "p:", Fallback::default()).unwrap();
    let before = Instant::now();
    for _ in 0..10 {
        let found = check.check(&token(), &read_claims()).await.unwrap();
        assert_eq!(found.email, "from the service");
    }
    assert!(
        before.elapsed() < Duration::from_secs(1),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test]
async fn a_redis_that_comes_back_is_used_again() {
    let mut bench = Bench::start().await;
    bench
        .put(Some(&session().to_string()), Some(&user().to_string()))
        .await;
    bench.outcome().await.unwrap();
    redis::cmd("CLIENT")
        .arg("PAUSE")
        .arg(600)
        .query_async::<()>(&mut bench.connection)
        .await
        .unwrap();
    assert_eq!(bench.outcome().await.unwrap().email, "from the service");
    let came_back = async {
        while bench.outcome().await.unwrap().email == "from the service" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), came_back)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_cluster_serves_both_copies() {
    let server = Server::start(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
    let mut connection = server.connect().await;
    redis::cmd("CLUSTER")
        .arg("ADDSLOTSRANGE")
        .arg(0)
        .arg(16383)
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    let formed = async {
        loop {
            let info: String = redis::cmd("CLUSTER")
                .arg("INFO")
                .query_async(&mut connection)
                .await
                .unwrap();
            if info.contains("cluster_state:ok") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), formed)
        .await
        .unwrap();
    connection
        .set::<_, _, ()>(format!("session:{SESSION}"), session().to_string())
        .await
        .unwrap();
    connection
        .set::<_, _, ()>("user:42", user().to_string())
        .await
        .unwrap();
    connection
        .set::<_, _, ()>("josoor-auth:applied", mark(0))
        .await
        .unwrap();

    let url = format!("redis+cluster://127.0.0.1:{0},127.0.0.1:{0}", server.port);
    let check = RedisCheck::new(&url, "", Fallback::default()).unwrap();
    assert_eq!(
        check.check(&token(), &read_claims()).await.unwrap().email,
        "layla@example.org"
    );
}

#[tokio::test]
async fn behind_sentinel_the_next_master_is_found_and_subscribed_to() {
    let port = |server: &Server| server.port.to_string();
    let mut master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port(&master)]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sentinel.conf");
    let settings = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
        master.port
    );
    std::fs::write(&file, settings).unwrap();
    let sentinel = Server::start_with(&[file.to_str().unwrap(), "--sentinel"]);
    let mut view = sentinel.connect().await;
    let mut knows = async |what: &str| {
        let info: String = redis::cmd("INFO")
            .arg("sentinel")
            .query_async(&mut view)
            .await
            .unwrap();
        info.contains(what)
    };
    eventually("the replica is known", async || knows("slaves=1").await).await;

    let copies = async |server: &Server| {
        let mut connection = server.connect().await;
        for (key, value) in [
            (format!("p:session:{SESSION}"), session().to_string()),
            ("p:user:42".to_owned(), user().to_string()),
            ("p:josoor-auth:applied".to_owned(), mark(0)),
        ] {
            connection.set::<_, _, ()>(key, value).await.unwrap();
        }
        connection
    };
    let subscribers = async |connection: &mut redis::aio::MultiplexedConnection| {
        let (_, count): (String, u64) = redis::cmd("PUBSUB")
            .arg("NUMSUB")
            .arg("p:josoor-auth:invalidate")
            .query_async(connection)
            .await
            .unwrap();
        count
    };
    let mut first = copies(&master).await;
    // One of the Sentinels that are named does not exist.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port);
    let check = RedisCheck::new(&url, "p:", Fallback::default()).unwrap();
    let from_redis = async || {
        let answered = check.check(&token(), &read_claims()).await;
        answered.unwrap().email == "layla@example.org"
    };
    eventually("the master is read", from_redis).await;
    eventually("subscribed at the master", async || {
        subscribers(&mut first).await == 1
    })
    .await;

    master.process.kill().unwrap();
    master.process.wait().unwrap();
    eventually("the replica is promoted", async || {
        knows(&format!("address=127.0.0.1:{}", replica.port)).await
    })
    .await;
    let mut second = copies(&replica).await;
    eventually("subscribed at the next master", async || {
        from_redis().await;
        subscribers(&mut second).await == 1
    })
    .await;
    eventually("the next master is read", async || {
        copies(&replica).await;
        from_redis().await
    })
    .await;
    // Messages from there are applied.
    second
        .publish::<_, _, ()>(
            "p:josoor-auth:invalidate",
            json!({ "revoked": [[SESSION, "logout"]] }).to_string(),
        )
        .await
        .unwrap();
    eventually("the revocation is applied", async || {
        check.check(&token(), &read_claims()).await == Err(Refusal::SessionRevoked)
    })
    .await;
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(waited.is_ok(), "{what}");
}

#[test]
fn the_address_decides_what_is_connected_to() {
    let new = |url: &str| RedisCheck::new(url, "", Fallback::default()).map(|_| ());
    for right in [
        "redis://localhost",
        "redis://:secret@localhost:6380/2",
        "rediss://localhost",
        "redis+cluster://u:p@a:1,b:2",
        "rediss+cluster://a:1",
        "redis+sentinel://a:1/master",
        "rediss+sentinel://:p@a,b/master/1?sentinel_password=q",
    ] {
        assert_eq!(new(right), Ok(()), "{right}");
    }
    for wrong in [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis+cluster://",
        "redis+sentinel://a:1",
    ] {
        assert!(matches!(new(wrong), Err(SetupError::RedisAddress(_))), "{wrong}");
    }
    let shown = format!(
        "{:?}",
        RedisCheck::new("redis://:secret@localhost", "", Fallback::default()).unwrap()
    );
    assert!(!shown.contains("secret"), "{shown}");
}

/// A check that caches what it reads, once it is subscribed to invalidations.
async fn subscribed(bench: &mut Bench) -> RedisCheck<Fallback> {
    let check = RedisCheck::new(&bench.server.url(), "p:", bench.fallback.clone()).unwrap();
    bench
        .put(Some(&session().to_string()), Some(&user().to_string()))
        .await;
    check.check(&token(), &read_claims()).await.unwrap();
    until_subscribed(bench).await;
    // Copies are as old as the watermark; what is older than the subscription is not kept.
    bench
        .put(Some(&session().to_string()), Some(&user().to_string()))
        .await;
    check.check(&token(), &read_claims()).await.unwrap();
    check
}

async fn until_subscribed(bench: &mut Bench) {
    let subscribers = async |bench: &mut Bench| {
        let counted: (String, usize) = redis::cmd("PUBSUB")
            .arg("NUMSUB")
            .arg("p:josoor-auth:invalidate")
            .query_async(&mut bench.connection)
            .await
            .unwrap();
        counted.1
    };
    let started = Instant::now();
    while subscribers(bench).await == 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "no subscription");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The server counts a subscriber before the subscriber knows.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn reads(bench: &mut Bench) -> u64 {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut bench.connection)
        .await
        .unwrap();
    stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_get:calls="))
        .and_then(|rest| rest.split(',').next()?.parse().ok())
        .unwrap_or_default()
}

async fn tell(bench: &mut Bench, message: Value) {
    let () = bench
        .connection
        .publish("p:josoor-auth:invalidate", message.to_string())
        .await
        .unwrap();
}

/// What the check says, as soon as it says something else than letting in with this role.
async fn after(check: &RedisCheck<Fallback>, role: Role) -> Result<CurrentUser, Refusal> {
    let started = Instant::now();
    loop {
        let outcome = check.check(&token(), &read_claims()).await;
        match outcome {
            Ok(found) if found.role == role && started.elapsed() < Duration::from_secs(5) => {}
            other => return other,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_copy_is_cached_until_an_invalidation_arrives() {
    let mut bench = Bench::start().await;
    let check = subscribed(&mut bench).await;
    let before = reads(&mut bench).await;
    for _ in 0..1000 {
        check.check(&token(), &read_claims()).await.unwrap();
    }
    assert_eq!(reads(&mut bench).await, before, "nothing is asked on a hit");
    // A change of role, as the service makes it: the copy, then the message.
    let demoted = with(user(), json!({"role": "user", "version": 6}));
    bench
        .put(Some(&session().to_string()), Some(&demoted.to_string()))
        .await;
    let published = Instant::now();
    tell(&mut bench, json!({"users": [[42, 6]]})).await;
    assert_eq!(after(&check, Role::Admin).await.unwrap().role, Role::User);
    assert!(
        published.elapsed() < Duration::from_millis(250),
        "{:?}",
        published.elapsed()
    );
    // A late message about an older version, and things that are no messages, change nothing.
    for message in [
        json!({"users": [[42, 3]]}),
        json!({"users": [[42]]}),
        json!([]),
        json!({"revoked": [["x"]]}),
    ] {
        tell(&mut bench, message).await;
    }
    assert_eq!(
        check.check(&token(), &read_claims()).await.unwrap().role,
        Role::User
    );
    // A revocation holds, also where the copy in Redis is lost or wrong.
    let published = Instant::now();
    tell(&mut bench, json!({"revoked": [[SESSION, "password_changed"]]})).await;
    assert_eq!(after(&check, Role::User).await, Err(Refusal::PasswordChanged));
    assert!(
        published.elapsed() < Duration::from_millis(250),
        "{:?}",
        published.elapsed()
    );
    assert_eq!(bench.fallback.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a4_a_retired_generation_is_refused_by_its_copy() {
    let mut bench = Bench::start().await;
    for (retired, expected) in [
        (2, None),
        (3, Some(Refusal::PasswordChanged)),
        (9, Some(Refusal::PasswordChanged)),
    ] {
        let session = with(session(), json!({ "retired_generation": retired }));
        bench
            .put(Some(&session.to_string()), Some(&user().to_string()))
            .await;
        assert_eq!(bench.outcome().await.err(), expected, "{retired}");
    }
    assert_eq!(bench.fallback.asked.load(Ordering::SeqCst), 0);
    // A copy that does not say: one of a service that knows no retired generations, or knows them and must be asked.
    let silent = with(session(), json!({ "retired_generation": null }));
    assert!(
        bench
            .asks_the_service(Some(&silent.to_string()), Some(&user().to_string()))
            .await
    );
}

#[tokio::test]
async fn a4_a_retired_generation_is_rejected_as_soon_as_the_message_arrives() {
    let mut bench = Bench::start().await;
    let check = subscribed(&mut bench).await;
    for message in [
        json!({"retired": [[SESSION, 2]]}),
        json!({"retired": [[SESSION]]}),
        json!({"retired": [["x", 9]]}),
        json!({"retired": 9}),
    ] {
        tell(&mut bench, message).await;
    }
    let published = Instant::now();
    tell(&mut bench, json!({"retired": [[SESSION, 3]]})).await;
    assert_eq!(after(&check, Role::Admin).await, Err(Refusal::PasswordChanged));
    assert!(
        published.elapsed() < Duration::from_millis(250),
        "{:?}",
        published.elapsed()
    );
    // A late message about an earlier generation, and an old copy that is read again, bring nothing back.
    tell(&mut bench, json!({"retired": [[SESSION, 1]]})).await;
    assert_eq!(
        check.check(&token(), &read_claims()).await,
        Err(Refusal::PasswordChanged)
    );
    // The next generation of the same session goes on.
    let next = sign(&header(), &with(claims(), json!({"gen": 4})));
    let claims = verifier().verify(&next, NOW).unwrap();
    assert_eq!(check.check(&next, &claims).await.unwrap().role, Role::Admin);
    assert_eq!(bench.fallback.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn with_the_channel_cut_nothing_is_kept_past_the_watermarks_life() {
    let mut bench = Bench::start().await;
    let check = subscribed(&mut bench).await;
    // The service is cut off: it moves the watermark no more, and its revocations do not arrive.
    let key = "p:josoor-auth:applied";
    let () = bench.connection.set(key, mark(3)).await.unwrap();
    let cut = Instant::now();
    let () = redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("pubsub")
        .query_async(&mut bench.connection)
        .await
        .unwrap();
    let started = Instant::now();
    // From now on everything is read with the old watermark, until it is too old for the copies to be used.
    while check.check(&token(), &read_claims()).await.unwrap().email != "from the service" {
        assert!(started.elapsed() < Duration::from_secs(6), "used for too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        cut.elapsed() < Duration::from_millis(5_200),
        "{:?}",
        cut.elapsed()
    );
}

#[tokio::test]
async fn many_requests_of_one_session_read_once() {
    let mut bench = Bench::start().await;
    let check = subscribed(&mut bench).await;
    // Another session of the same user, which was not checked yet.
    let other = "00000000-0000-4000-8000-000000000007";
    let token = sign(&header(), &with(claims(), json!({"sid": other})));
    let claims = verifier().verify(&token, NOW).unwrap();
    let () = bench
        .connection
        .set(format!("p:session:{other}"), session().to_string())
        .await
        .unwrap();
    let before = reads(&mut bench).await;
    let outcomes = futures_util::future::join_all((0..50).map(|_| check.check(&token, &claims))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    // The session, its user and the watermark.
    assert_eq!(reads(&mut bench).await - before, 3);
}
