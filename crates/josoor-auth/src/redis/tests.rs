//! Against real servers. Times are bounds generous enough for a slow machine, not measurements.

use std::time::{Duration, Instant};

use super::types::{Kind, RedisEvents};
use super::{ConnectionSettings, Redis, RedisError, RedisEvent};
use crate::domain::Secret;

#[expect(dead_code, reason = "the integration tests use the rest")]
#[path = "../../tests/it/support/process.rs"]
mod process;
#[path = "../../tests/it/support/redis.rs"]
mod redis_server;

use redis_server::RedisServer;

const MINUTE: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_secs(15);

fn start(url: &str, prefix: &str) -> Redis {
    Redis::connect(ConnectionSettings::new(Secret::new(url), prefix).unwrap()).unwrap()
}

async fn connected(url: &str, prefix: &str) -> Redis {
    let kv = start(url, prefix);
    assert!(kv.wait_connected(PATIENCE).await, "connects to {url}");
    kv
}

fn url(server: &RedisServer) -> String {
    format!("redis://127.0.0.1:{}", server.port)
}

async fn next(events: &mut RedisEvents) -> RedisEvent {
    tokio::time::timeout(PATIENCE, events.recv())
        .await
        .expect("an event comes")
        .expect("the store lives")
}

/// Skips what comes before, such as a second loss on the way.
async fn until(events: &mut RedisEvents, wanted: &RedisEvent) {
    while next(events).await != *wanted {}
}

fn message(text: &str) -> RedisEvent {
    RedisEvent::Message(text.to_owned())
}

/// Tries until the command succeeds, as the state changes in the background.
async fn eventually<T>(mut command: impl AsyncFnMut() -> Result<T, RedisError>) -> T {
    let started = Instant::now();
    loop {
        match command().await {
            Ok(done) => return done,
            Err(error) => assert!(started.elapsed() < PATIENCE, "still {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn refusal(url: &str) -> RedisError {
    ConnectionSettings::new(Secret::new(url), "").unwrap_err()
}

#[test]
fn an_unusable_url_is_refused_and_not_repeated() {
    for url in [
        "",
        "localhost:6379",
        "http://hunter2",
        "redis://",
        "redis://:hunter2@",
        "redis://hunter2@host",
        "redis://:hun/ter2@host",
        "redis://:hun#ter2@host",
        "redis://:hun?ter2@host",
        "redis://:hunter2@host:port",
        "redis://:hunter2@host:0",
        "redis://:hunter2@host:65536",
        "redis://:hunter2@host/minus",
        "redis://:hunter2@host/0?protocol=resp3",
        "redis://:hunter2@one,two",
        "redis://:%ff@host",
        "redis://[::1",
        "redis://[::1]hunter2",
        "redis+cluster://:hunter2@one/1",
        "redis+cluster://one,,two",
        "redis+sentinel://:hunter2@one",
        "redis+sentinel://one/?sentinel_password=hunter2",
        "redis+sentinel://one/main/hunter2",
    ] {
        let error = refusal(url);
        assert!(matches!(error, RedisError::Configuration(_)), "{url}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hun") && !shown.contains("ter2"), "{shown}");
    }
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_is_refused() {
    let config = ConnectionSettings::new(Secret::new("redis://localhost"), "").unwrap();
    let other_kind = ConnectionSettings {
        kind: Kind::Cluster,
        ..config.clone()
    };
    assert!(matches!(
        Redis::connect(other_kind),
        Err(RedisError::Configuration(_))
    ));
    let no_time = ConnectionSettings {
        timeout: Duration::ZERO,
        ..config
    };
    assert!(matches!(
        Redis::connect(no_time),
        Err(RedisError::Configuration(_))
    ));
}

#[test]
fn outside_of_a_runtime_connecting_is_refused() {
    let config = ConnectionSettings::new(Secret::new("redis://localhost"), "").unwrap();
    assert!(matches!(
        Redis::connect(config),
        Err(RedisError::Configuration(_))
    ));
}

/// What holds on every kind of installation.
async fn operations(kv: &Redis) {
    assert_eq!(kv.get("missing").await.unwrap(), None);
    kv.set("key", b"\x00\xff bytes", MINUTE).await.unwrap();
    assert_eq!(
        kv.get("key").await.unwrap().as_deref(),
        Some(&b"\x00\xff bytes"[..])
    );
    kv.set("key", b"other", MINUTE).await.unwrap();
    assert_eq!(
        kv.get_pair("key", "missing").await.unwrap(),
        (Some(b"other".to_vec()), None)
    );
    assert_eq!(
        kv.get_pair("missing", "key").await.unwrap(),
        (None, Some(b"other".to_vec()))
    );
    kv.delete("key").await.unwrap();
    kv.delete("key").await.unwrap();
    assert_eq!(kv.get("key").await.unwrap(), None);

    // Three at once, then one for each tenth of a second, whatever was tried in between.
    let (tenth, full) = (Duration::from_millis(100), Duration::from_millis(300));
    for stored in [None, Some("no number"), Some("nan"), Some("-1"), Some("1")] {
        if let Some(stored) = stored {
            kv.set("bucket", stored.as_bytes(), MINUTE).await.unwrap();
        }
        let started = Instant::now();
        for _ in 0..3 {
            assert_eq!(kv.take("bucket", tenth, full).await.unwrap(), None, "{stored:?}");
        }
        let mut taken = 3;
        while taken < 6 {
            match kv.take("bucket", tenth, full).await.unwrap() {
                None => taken += 1,
                Some(wait) => assert!(wait <= tenth, "{wait:?}"),
            }
            assert!(started.elapsed() < PATIENCE, "only {taken} were taken");
        }
        assert!(
            started.elapsed() >= full,
            "six were taken in {:?}",
            started.elapsed()
        );
        // What is full again is gone, in time.
        tokio::time::sleep(full + tenth).await;
        assert_eq!(kv.get("bucket").await.unwrap(), None);
    }
    // A time that lies too far ahead, as after a step back of the clock, refuses for one interval.
    for ahead in ["99999999999999999", "inf"] {
        kv.set("bucket", ahead.as_bytes(), MINUTE).await.unwrap();
        assert_eq!(kv.take("bucket", tenth, full).await.unwrap(), Some(tenth));
        tokio::time::sleep(tenth).await;
        assert_eq!(kv.take("bucket", tenth, full).await.unwrap(), None);
    }

    let many = (0..600)
        .map(|number| (format!("many:{number}"), b"gone".to_vec(), MINUTE))
        .collect();
    kv.set_many(many).await.unwrap();
    for number in [0, 255, 256, 599] {
        assert_eq!(
            kv.get(&format!("many:{number}")).await.unwrap().as_deref(),
            Some(&b"gone"[..])
        );
    }
    kv.set_many(Vec::new()).await.unwrap();

    let stored = async |version: i64| {
        let value = format!(r#"{{"version":{version}}}"#);
        kv.set_versioned("user", version, 0, &value, MINUTE)
            .await
            .unwrap()
    };
    assert!(stored(5).await);
    assert!(!stored(4).await);
    assert!(stored(5).await);
    assert!(stored(12).await);
    assert!(!stored(9).await, "versions are compared as numbers");
    assert_eq!(
        kv.get("user").await.unwrap().as_deref(),
        Some(&br#"{"version":12}"#[..])
    );
    for garbage in [
        "",
        "no json",
        "[12]",
        "12",
        "null",
        r#"{"version":"99"}"#,
        r#"{"version":null}"#,
        "{}",
    ] {
        kv.set("user", garbage.as_bytes(), MINUTE).await.unwrap();
        assert!(stored(1).await, "{garbage} is replaced");
    }

    kv.set("short", b"value", Duration::ZERO).await.unwrap();
    kv.set("long", b"value", Duration::MAX).await.unwrap();
    assert!(kv.get("long").await.unwrap().is_some());
    eventually(async || match kv.get("short").await? {
        None => Ok(()),
        Some(_) => Err(RedisError::Garbage),
    })
    .await;
}

#[tokio::test]
async fn all_operations_work_on_one_server() {
    let server = RedisServer::start(&["--requirepass", "p@ss/word"]);
    let kv = connected(&format!("redis://:p%40ss%2Fword@127.0.0.1:{}/2", server.port), "").await;
    operations(&kv).await;
    assert_eq!(kv.state().kind, "single");
}

#[tokio::test]
async fn prefixes_keep_installations_apart() {
    let server = RedisServer::start(&[]);
    let (left, right) = (
        connected(&url(&server), "left:").await,
        connected(&url(&server), "right:").await,
    );
    let (mut from_left, mut from_right) = (left.events(), right.events());
    until(&mut from_left, &RedisEvent::Subscribed).await;
    until(&mut from_right, &RedisEvent::Subscribed).await;

    left.set("key", b"value", MINUTE).await.unwrap();
    assert_eq!(right.get("key").await.unwrap(), None);
    assert!(server.ask(&["GET", "left:key"]).contains("value"));

    left.publish("to the left").await.unwrap();
    right.publish("to the right").await.unwrap();
    assert_eq!(next(&mut from_left).await, message("to the left"));
    assert_eq!(next(&mut from_right).await, message("to the right"));
}

#[tokio::test]
async fn what_one_publishes_all_receive_in_order() {
    let server = RedisServer::start(&[]);
    let (one, two) = (
        connected(&url(&server), "").await,
        connected(&url(&server), "").await,
    );
    let mut listeners = [one.events(), two.events(), two.events()];
    for events in &mut listeners {
        assert_eq!(next(events).await, RedisEvent::Subscribed);
    }
    let mut late = two.events();
    assert_eq!(
        next(&mut late).await,
        RedisEvent::Subscribed,
        "a late listener learns how things stand"
    );
    for number in 0..100 {
        one.publish(&number.to_string()).await.unwrap();
    }
    for events in &mut listeners {
        for number in 0..100 {
            assert_eq!(next(events).await, message(&number.to_string()));
        }
    }
    let mut events = one.events();
    drop(one);
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
    let end = tokio::time::timeout(PATIENCE, events.recv()).await;
    assert_eq!(end.expect("the listener ends with the last handle"), None);
}

#[tokio::test]
async fn what_the_server_refuses_is_an_error_without_details() {
    let server = RedisServer::start(&[]);
    let kv = connected(&url(&server), "").await;
    server.ask(&["RPUSH", "list", "element"]);
    assert_eq!(kv.get("list").await, Err(RedisError::WrongType));
    assert_eq!(kv.get_pair("other", "list").await, Err(RedisError::WrongType));
    // What is not ours says nothing about versions, and goes.
    assert_eq!(kv.set_versioned("list", 1, 0, "{}", MINUTE).await, Ok(true));
    assert_eq!(kv.get("list").await, Ok(Some(b"{}".to_vec())));

    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(
        kv.set("key", b"value", MINUTE).await,
        Err(RedisError::Refused("OOM".to_owned()))
    );
    let many = vec![("key".to_owned(), b"value".to_vec(), MINUTE)];
    assert_eq!(
        kv.set_many(many).await,
        Err(RedisError::Refused("OOM".to_owned()))
    );
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);

    server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let read_only = Err(RedisError::Unavailable("READONLY".to_owned()));
    assert_eq!(kv.set("key", b"value", MINUTE).await, read_only);
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    eventually(async || kv.set("key", b"value", MINUTE).await).await;

    // The scripts are gone; the next call brings its own again.
    server.ask(&["SCRIPT", "FLUSH"]);
    assert!(
        kv.set_versioned("user", 1, 0, r#"{"version":1}"#, MINUTE)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_hung_server_costs_the_timeout_and_mixes_up_no_answers() {
    let server = RedisServer::start(&[]);
    let kv = connected(&url(&server), "").await;
    let mut events = kv.events();
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
    for number in 0..20 {
        kv.set(
            &format!("key:{number}"),
            format!("value {number}").as_bytes(),
            MINUTE,
        )
        .await
        .unwrap();
    }

    server.signal("STOP");
    let stopped = Instant::now();
    let asked: Vec<_> = (0..20)
        .map(|number| {
            let kv = kv.clone();
            tokio::spawn(async move { kv.get(&format!("key:{number}")).await })
        })
        .collect();
    for answer in asked {
        assert!(matches!(answer.await.unwrap(), Err(RedisError::Unavailable(_))));
    }
    let failed_after = stopped.elapsed();
    assert!(failed_after < Duration::from_secs(1), "{failed_after:?}");

    assert_eq!(next(&mut events).await, RedisEvent::Lost);
    let noticed = stopped.elapsed();
    assert!(noticed < Duration::from_millis(2500), "{noticed:?}");

    // It is known by now; nothing waits any more, not even while a connection is being tried.
    assert!(!kv.state().connected && !kv.state().subscribed);
    let started = Instant::now();
    for _ in 0..1000 {
        assert!(kv.get("key:1").await.is_err());
    }
    assert!(started.elapsed() < Duration::from_secs(1));

    server.signal("CONT");
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
    assert!(kv.wait_connected(PATIENCE).await);
    for number in 0..20 {
        let value = eventually(async || kv.get(&format!("key:{number}")).await).await;
        assert_eq!(value, Some(format!("value {number}").into_bytes()));
    }
}

#[tokio::test]
async fn answers_to_callers_who_left_reach_no_other() {
    let server = RedisServer::start(&[]);
    let kv = connected(&url(&server), "").await;
    for number in 0..50 {
        kv.set(&format!("key:{number}"), number.to_string().as_bytes(), MINUTE)
            .await
            .unwrap();
    }
    // As a client does that closes its request: the commands are on their way when the callers go.
    server.signal("STOP");
    let left = (0..50).map(|number| {
        let kv = kv.clone();
        async move {
            let key = format!("key:{}", 49 - number);
            tokio::time::timeout(Duration::from_millis(20), kv.get(&key))
                .await
                .is_err()
        }
    });
    let left = futures_util::future::join_all(left).await;
    server.signal("CONT");
    assert!(left.contains(&true), "some callers left without an answer");
    for number in 0..50 {
        let value = eventually(async || kv.get(&format!("key:{number}")).await).await;
        assert_eq!(value, Some(number.to_string().into_bytes()));
    }
}

#[tokio::test]
async fn a_server_that_dies_and_returns_is_found_again() {
    let mut server = RedisServer::start(&[]);
    let (kv, other) = (
        connected(&url(&server), "").await,
        connected(&url(&server), "").await,
    );
    let mut events = kv.events();
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
    server.kill();
    assert_eq!(next(&mut events).await, RedisEvent::Lost);
    assert!(matches!(kv.get("key").await, Err(RedisError::Unavailable(_))));
    server.restart();
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
    eventually(async || other.publish("back").await).await;
    assert_eq!(next(&mut events).await, message("back"));
    eventually(async || kv.set("key", b"value", MINUTE).await).await;
}

#[tokio::test]
async fn connections_that_the_server_cuts_are_replaced() {
    let server = RedisServer::start(&[]);
    let kv = connected(&url(&server), "").await;
    let mut events = kv.events();
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
    for kind in ["normal", "pubsub"] {
        server.ask(&["CLIENT", "KILL", "TYPE", kind]);
    }
    assert_eq!(next(&mut events).await, RedisEvent::Lost);
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
    eventually(async || kv.get("key").await).await;
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let mut server = RedisServer::start(&[]);
    server.kill();
    let kv = start(&url(&server), "");
    let mut events = kv.events();
    assert_eq!(
        kv.get("key").await,
        Err(RedisError::Unavailable("not connected".to_owned()))
    );
    assert!(!kv.wait_connected(Duration::from_millis(300)).await);
    server.restart();
    assert!(kv.wait_connected(PATIENCE).await);
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_and_a_wrong_password_are_only_unavailable() {
    let server = RedisServer::start(&["--requirepass", "right"]);
    for url in [
        format!("rediss://:hunter2@127.0.0.1:{}", server.port),
        format!("redis://:hunter2@127.0.0.1:{}", server.port),
        format!("redis+cluster://:hunter2@127.0.0.1:{}", server.port),
        format!("redis+sentinel://:hunter2@127.0.0.1:{}/main", server.port),
    ] {
        let kv = start(&url, "");
        assert!(!kv.wait_connected(Duration::from_millis(500)).await, "{url}");
        let error = kv.get("key").await.unwrap_err();
        assert!(matches!(error, RedisError::Unavailable(_)));
        assert!(!format!("{error:?} {kv:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_peer_that_talks_nonsense_is_only_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The peer may have gone; the next one comes.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n\xff")
                .await;
        }
    });
    for url in [
        format!("redis://127.0.0.1:{port}"),
        format!("rediss://127.0.0.1:{port}"),
        format!("redis+cluster://127.0.0.1:{port}"),
        format!("redis+sentinel://127.0.0.1:{port}/main"),
    ] {
        let kv = start(&url, "");
        assert!(!kv.wait_connected(Duration::from_millis(300)).await, "{url}");
        assert!(matches!(kv.get("key").await, Err(RedisError::Unavailable(_))));
    }
    peer.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_lead_to_the_next_master() {
    let mut master = RedisServer::start(&[]);
    let follows = format!("127.0.0.1 {}", master.port);
    let replica = RedisServer::start(&["--replicaof", &follows, "--repl-diskless-sync-delay", "0"]);
    let sentinels: Vec<_> = (0..3).map(|_| RedisServer::start_sentinel(master.port)).collect();
    let started = Instant::now();
    let ready = |sentinel: &RedisServer| {
        let view = sentinel.ask(&["SENTINEL", "MASTER", "main"]);
        let value = |name: &str| {
            view.split("\r\n")
                .skip_while(|word| *word != name)
                .nth(2)
                .map(str::to_owned)
        };
        value("num-slaves").as_deref() == Some("1") && value("num-other-sentinels").as_deref() == Some("2")
    };
    while !sentinels.iter().all(ready)
        || !replica
            .ask(&["INFO", "replication"])
            .contains("master_link_status:up")
    {
        assert!(
            started.elapsed() < PATIENCE * 2,
            "the sentinels find each other and the replica"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // One sentinel that hangs does not hold the others up.
    sentinels[0].signal("STOP");
    let hosts: Vec<_> = sentinels
        .iter()
        .map(|sentinel| format!("127.0.0.1:{}", sentinel.port))
        .collect();
    let kv = connected(&format!("redis+sentinel://{}/main", hosts.join(",")), "").await;
    sentinels[0].signal("CONT");
    operations(&kv).await;
    let mut events = kv.events();
    assert_eq!(next(&mut events).await, RedisEvent::Subscribed);
    assert_eq!(kv.state().kind, "sentinel");

    master.kill();
    assert_eq!(next(&mut events).await, RedisEvent::Lost);
    until(&mut events, &RedisEvent::Subscribed).await;
    eventually(async || kv.set("after", b"value", MINUTE).await).await;
    assert!(
        replica.ask(&["GET", "after"]).contains("value"),
        "the replica is the master now"
    );
    eventually(async || kv.publish("after").await).await;
    until(&mut events, &message("after")).await;

    // The old master returns as a replica and is not used.
    master.restart();
    eventually(async || kv.set("later", b"value", MINUTE).await).await;
    assert!(replica.ask(&["GET", "later"]).contains("value"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_serves_every_operation_and_outlives_a_hung_member() {
    let servers = RedisServer::start_cluster();
    let hosts: Vec<_> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port))
        .collect();
    let url = format!("redis+cluster://{}", hosts.join(","));
    let (kv, other) = (connected(&url, "p:").await, connected(&url, "p:").await);
    operations(&kv).await;
    assert_eq!(kv.state().kind, "cluster");
    for server in &servers {
        let size = server.ask(&["DBSIZE"]);
        assert!(
            size.starts_with(':') && size.trim() != ":0",
            "every member holds keys: {size}"
        );
    }

    let (mut received, mut received_by_other) = (kv.events(), other.events());
    assert_eq!(next(&mut received).await, RedisEvent::Subscribed);
    assert_eq!(next(&mut received_by_other).await, RedisEvent::Subscribed);
    for number in 0..20 {
        kv.publish(&number.to_string()).await.unwrap();
        assert_eq!(next(&mut received).await, message(&number.to_string()));
        assert_eq!(next(&mut received_by_other).await, message(&number.to_string()));
    }

    // Let the others go on without full coverage, as an installation with replicas would.
    for server in &servers {
        server.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    servers[0].signal("STOP");
    let stopped = Instant::now();
    let mut served = 0;
    for number in 0..30 {
        let started = Instant::now();
        if kv.get(&format!("many:{number}")).await.is_ok() {
            served += 1;
        }
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "every command is bounded"
        );
    }
    assert!(
        served > 0,
        "the other members serve after {:?}",
        stopped.elapsed()
    );
    servers[0].signal("CONT");
    eventually(async || {
        for number in 0..30 {
            kv.get(&format!("many:{number}")).await?;
        }
        Ok(())
    })
    .await;
    eventually(async || kv.publish("whole").await).await;
    until(&mut received, &message("whole")).await;
}
