//! Keys that are replaced while tokens of them are in use.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use josoor_auth::clock::Clock;
use josoor_auth_verify::{TokenVerifier, VerificationKey};
use serde_json::{Value, json};

use crate::support::command::{run, run_with};
use crate::support::database::{number, texts};
use crate::support::server::{JWT_SECRET, Server, Tokens, eventually, on_both};
use crate::support::token;

/// How long a revocation may take, as of a key.
const AT_ONCE: Duration = Duration::from_millis(250);

async fn jwks(server: &Server) -> Vec<Value> {
    let answer = server
        .send(server.request(reqwest::Method::GET, "/.well-known/jwks.json"))
        .await;
    answer.is(200).json["keys"].as_array().expect("keys").clone()
}

fn kid_of(tokens: &Tokens) -> String {
    token::read(&tokens.access).0["kid"]
        .as_str()
        .expect("a kid")
        .to_owned()
}

/// A service that reads the list of keys and keeps it for a while.
struct CachingService {
    keep: Duration,
    read_at: Instant,
    verifier: TokenVerifier,
}

impl CachingService {
    async fn new(server: &Server, keep: Duration) -> Self {
        let mut service = Self {
            keep,
            read_at: Instant::now(),
            verifier: TokenVerifier::new("http://localhost:8000", None),
        };
        service.read(server).await;
        service
    }

    async fn read(&mut self, server: &Server) {
        self.read_at = Instant::now();
        let keys = jwks(server).await;
        let keys = keys
            .iter()
            .map(|key| VerificationKey::from_jwk(key).expect("a key"));
        self.verifier = self.verifier.clone().with_only_keys(keys.collect::<Vec<_>>());
    }

    async fn accepts(&mut self, server: &Server, token: &str) -> bool {
        if self.read_at.elapsed() >= self.keep {
            self.read(server).await;
        }
        self.verifier.verify(token, Clock::System.now().as_secs()).is_ok()
    }
}

on_both!(
    a_planned_rotation_refuses_no_token_anywhere,
    async |mut stage: Stage| {
        stage.set("JWT_ALGORITHM", "EdDSA");
        // An hour and five minutes in small. What is done before the key signs takes a second, several on a busy machine.
        stage.set("JOSOOR_AUTH__KEYS__PUBLISH_FOR", "9s");
        // Every sign-in of the load is kept.
        stage.set("JOSOOR_AUTH__SESSION__MAX_PER_USER", "10000");
        let first = Arc::new(stage.start().await);
        let second = Arc::new(stage.start().await);
        let before = first.register("user@example.com").await;
        let stop = Arc::new(AtomicBool::new(false));
        let (checked, seen) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(std::sync::Mutex::new(BTreeSet::new())),
        );
        let mut working = Vec::new();
        for number in 0..3 {
            let (first, second) = (Arc::clone(&first), Arc::clone(&second));
            let (stop, checked, seen) = (Arc::clone(&stop), Arc::clone(&checked), Arc::clone(&seen));
            working.push(tokio::spawn(async move {
                let email = format!("u{number}@example.com");
                first.register(&email).await;
                let mut service = CachingService::new(&second, Duration::from_secs(3)).await;
                let mut kept: Vec<Tokens> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let (issuer, other) = if kept.len().is_multiple_of(2) {
                        (&first, &second)
                    } else {
                        (&second, &first)
                    };
                    let tokens = issuer.log_in(&email).await;
                    assert!(
                        service.accepts(&second, &tokens.access).await,
                        "{}",
                        kid_of(&tokens)
                    );
                    other.get("/auth/me", &tokens.access).await.is(200);
                    seen.lock().expect("whole").insert(kid_of(&tokens));
                    kept.push(tokens);
                    // An earlier one, also of the key before.
                    let earlier = &kept[kept.len() / 2];
                    other.get("/auth/me", &earlier.access).await.is(200);
                    assert!(service.accepts(&second, &earlier.access).await);
                    checked.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        eventually("there is load", || async { checked.load(Ordering::Relaxed) > 20 }).await;
        let old = kid_of(&before);
        let rotated =
            tokio::task::block_in_place(|| run(&stage, &["key", "rotate", "--json"]).with(0)).json();
        let new = rotated["kid"].as_str().expect("a kid").to_owned();
        assert_eq!(new.len(), 43, "a thumbprint (RFC 7638)");
        assert_eq!(rotated["ended"][0]["kid"], old);
        // Published at every node before it signs.
        for server in [&first, &second] {
            eventually("the next key is published", || async {
                jwks(server).await.len() == 2
            })
            .await;
            assert_eq!(server.app.keys.access.signing_kid(), old);
        }
        tokio::task::block_in_place(|| run(&stage, &["key", "rotate"]))
            .with(1)
            .says(&["is published and signs from", "--now"]);
        let listed = tokio::task::block_in_place(|| run(&stage, &["key", "list"]).with(0));
        assert!(
            listed.out.contains("published, signs from") && listed.out.contains("verifies until"),
            "{listed:?}"
        );
        eventually("both nodes sign with it", || async {
            first.app.keys.access.signing_kid() == new && second.app.keys.access.signing_kid() == new
        })
        .await;
        let during = checked.load(Ordering::Relaxed);
        eventually("the load goes on", || async {
            checked.load(Ordering::Relaxed) > during + 10
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        for work in working {
            work.await.expect("no token was refused");
        }
        let seen: BTreeSet<String> = seen.lock().expect("whole").clone();
        assert_eq!(seen, BTreeSet::from([old, new]));
        // A token of the old key, at both.
        for server in [&first, &second] {
            server.get("/auth/me", &before.access).await.is(200);
            server.get("/auth/check", &before.access).await.is(200);
        }
        let rows = number(
            &first.app.db,
            "select count(*) from audit where action = 'key_change' and reason = 'rotated'",
        )
        .await;
        assert_eq!(rows, 1);
        for server in [first, second] {
            let Ok(server) = Arc::try_unwrap(server) else {
                panic!("the load is over")
            };
            server.stop().await;
        }
    }
);

on_both!(
    a_token_of_a_key_that_a_node_has_not_read_yet_is_accepted,
    async |mut stage: Stage| {
        stage.set("JWT_ALGORITHM", "EdDSA");
        let first = stage.start().await;
        // Messages of Redis do not reach this one.
        if stage.footprint == Footprint::Production {
            stage.set("JOSOOR_AUTH__REDIS__PREFIX", "elsewhere:");
        }
        let second = stage.start().await;
        first.register("user@example.com").await;
        let client = josoor_auth::act::Client::default();
        for _ in 0..5 {
            let how = josoor_auth::admin::keys::How::Now;
            let made = josoor_auth::admin::keys::rotate(&first.app, None, how, &client)
                .await
                .expect("rotated");
            eventually("the first node signs with it", || async {
                first.app.keys.access.signing_kid() == made.kid
            })
            .await;
            let tokens = first.log_in("user@example.com").await;
            second.get("/auth/me", &tokens.access).await.is(200);
            second.get("/auth/check", &tokens.access).await.is(200);
        }
        // A key that does not exist: as ever, however many ask.
        let tokens = first.log_in("user@example.com").await;
        let (mut header, rest) = (
            token::read(&tokens.access).0,
            tokens.access.split_once('.').expect("parts").1,
        );
        header["kid"] = json!("of-no-key");
        let unknown = format!("{}.{rest}", token::encode(header.to_string()));
        let asked = (0..64).map(|_| second.get("/auth/me", &unknown));
        for answer in futures_util::future::join_all(asked).await {
            answer.is_problem(401, "token_invalid");
        }
        first.stop().await;
        second.stop().await;
    }
);

/// Waits until a server refuses a token; how long that took.
async fn refused_after(server: &Server, path: &str, token: &str, since: Instant) -> Duration {
    loop {
        let answer = server.get(path, token).await;
        if answer.status == 401 {
            return since.elapsed();
        }
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "{path} accepts it still: {answer:?}"
        );
    }
}

on_both!(
    tokens_of_a_compromised_key_are_refused_at_once_at_every_node,
    async |mut stage: Stage| {
        stage.set("JWT_ALGORITHM", "ES256");
        let first = stage.start().await;
        let second = stage.start().await;
        let old = first.register("user@example.com").await;
        for server in [&first, &second] {
            server.get("/auth/me", &old.access).await.is(200);
            server.get("/auth/check", &old.access).await.is(200);
        }
        let how = josoor_auth::admin::keys::How::Compromised;
        let client = josoor_auth::act::Client::default();
        let made = josoor_auth::admin::keys::rotate(&first.app, None, how, &client)
            .await
            .expect("rotated");
        let since = Instant::now();
        for server in [&first, &second] {
            for path in ["/auth/me", "/auth/check"] {
                let took = refused_after(server, path, &old.access, since).await;
                assert!(took < AT_ONCE, "{path}: {took:?}");
            }
        }
        // Sessions live on: the refresh token is of another key.
        let renewed = second.refresh(&old.refresh).await.is(200);
        let renewed = Tokens::of(&renewed);
        assert_eq!(kid_of(&renewed), made.kid);
        for server in [&first, &second] {
            server.get("/auth/me", &renewed.access).await.is(200);
            let keys = jwks(server).await;
            assert_eq!(keys.len(), 1);
            assert_eq!(keys[0]["kid"], made.kid);
        }
        // By the command line, and after a restart.
        run(&stage, &["key", "rotate", "--compromised"]).with(0);
        for server in [&first, &second] {
            refused_after(server, "/auth/me", &renewed.access, Instant::now()).await;
        }
        second.stop().await;
        let second = stage.start().await;
        second.get("/auth/me", &renewed.access).await.is(401);
        let tokens = second.log_in("user@example.com").await;
        first.get("/auth/me", &tokens.access).await.is(200);
        let reasons = texts(
            &first.app.db,
            "select reason from audit where action = 'key_change' order by id",
        )
        .await;
        assert_eq!(
            reasons.iter().filter(|reason| *reason == "compromised").count(),
            2,
            "{reasons:?}"
        );
        run(
            &stage,
            &["key", "rotate", "--compromised", "--algorithm", "EdDSA"],
        )
        .with(2);
        first.stop().await;
        second.stop().await;
    }
);

on_both!(
    from_a_shared_secret_to_another_and_to_a_key_pair_no_token_is_refused,
    async |mut stage: Stage| {
        const NEXT: &str = "Hc7Wn2Zq8Lt4Xv6Rb1Yd9Fk3Ms5Pg0JeUaTiOoNzQxB";
        let server = stage.start().await;
        let old = server.register("user@example.com").await;
        run(&stage, &["key", "rotate"])
            .with(1)
            .says(&["JWT_SECRET_PREVIOUS"]);
        server.stop().await;
        // Node by node: the one knows the new secret, the other does not.
        stage.set("JWT_SECRET", NEXT);
        stage.set("JWT_SECRET_PREVIOUS", JWT_SECRET);
        if stage.footprint == Footprint::Embedded {
            let server = stage.start().await;
            server.get("/auth/me", &old.access).await.is(200);
            let new = server.log_in("user@example.com").await;
            assert_ne!(kid_of(&new), kid_of(&old));
            server.get("/auth/me", &new.access).await.is(200);
            server.stop().await;
        }
        // First every node accepts both, with the old one signing; then the new one signs.
        stage.set("JWT_SECRET", JWT_SECRET);
        stage.set("JWT_SECRET_PREVIOUS", NEXT);
        let one = stage.start().await;
        stage.set("JWT_SECRET", NEXT);
        stage.set("JWT_SECRET_PREVIOUS", JWT_SECRET);
        let other = stage.start().await;
        let (mine, yours) = (
            one.log_in("user@example.com").await,
            other.log_in("user@example.com").await,
        );
        assert_ne!(kid_of(&mine), kid_of(&yours));
        for server in [&one, &other] {
            for tokens in [&old, &mine, &yours] {
                server.get("/auth/me", &tokens.access).await.is(200);
            }
        }
        // A key pair, prepared before it is configured.
        let prepared = run(&stage, &["key", "rotate", "--algorithm", "EdDSA", "--json"])
            .with(0)
            .json();
        for server in [&one, &other] {
            eventually("the key pair is published", || async {
                jwks(server).await.len() == 1
            })
            .await;
        }
        one.stop().await;
        stage.set("JWT_ALGORITHM", "EdDSA");
        stage.set("JWT_SECRET", "");
        stage.set("JWT_SECRET_PREVIOUS", NEXT);
        let one = stage.start().await;
        let pair = one.log_in("user@example.com").await;
        assert_eq!(kid_of(&pair), prepared["kid"].as_str().expect("a kid"));
        other.get("/auth/me", &pair.access).await.is(200);
        one.get("/auth/me", &yours.access).await.is(200);
        // Of a secret that no one holds any more: not.
        one.get("/auth/me", &mine.access).await.is(401);
        one.stop().await;
        other.stop().await;
        stage.set("JWT_SECRET", NEXT);
        stage.set("JWT_SECRET_PREVIOUS", NEXT);
        run(&stage, &["config", "check"])
            .with(1)
            .says(&["jwt_secret_previous"]);
    }
);

on_both!(
    a_key_is_replaced_by_age_once_whatever_the_number_of_nodes,
    async |mut stage: Stage| {
        stage.set("JWT_ALGORITHM", "EdDSA");
        stage.set("JOSOOR_AUTH__KEYS__PUBLISH_FOR", "1s");
        let server = stage.start().await;
        let old = server.register("user@example.com").await;
        server.stop().await;
        stage.set("JOSOOR_AUTH__KEYS__ROTATE_EVERY", "1d");
        let young = stage.start().await;
        let key = "select count(*) from keys where purpose = 'access:EdDSA'";
        eventually("the keys were read", || async {
            !young.app.keys.access.signing_kid().is_empty()
        })
        .await;
        assert_eq!(number(&young.app.db, key).await, 1);
        // As if two days had gone by.
        let age = match stage.footprint {
            Footprint::Embedded => {
                "update keys set created_at = created_at - 172800000000 where purpose = 'access:EdDSA'"
            }
            Footprint::Production => {
                "update keys set created_at = created_at - interval '2 days' where purpose = 'access:EdDSA'"
            }
        };
        crate::support::database::execute(&young.app.db, age).await;
        young.stop().await;
        let nodes = [stage.start().await, stage.start().await];
        for node in &nodes {
            eventually("a new key signs", || async {
                let kid = node.app.keys.access.signing_kid();
                kid != kid_of(&old)
            })
            .await;
            node.get("/auth/me", &old.access).await.is(200);
        }
        assert_eq!(number(&nodes[0].app.db, key).await, 2);
        let rows = "select count(*) from audit where action = 'key_change' and reason = 'rotated_by_age'";
        assert_eq!(number(&nodes[0].app.db, rows).await, 1);
        for node in nodes {
            node.stop().await;
        }
        stage.set("JOSOOR_AUTH__KEYS__PUBLISH_FOR", "2d");
        run(&stage, &["config", "check"])
            .with(1)
            .says(&["rotate_every", "publish_for"]);
    }
);

on_both!(
    a_new_master_key_keeps_tokens_keys_and_the_trail,
    async |mut stage: Stage| {
        stage.set("JWT_ALGORITHM", "EdDSA");
        let server = stage.start().await;
        let tokens = server.register("user@example.com").await;
        let head = run(&stage, &["audit", "verify"]).with(0);
        let new = run(&stage, &["key", "generate"]).with(0).out;
        let file = stage.directory().join("new.key");
        std::fs::write(&file, "too short").expect("written");
        let path = file.display().to_string();
        run(&stage, &["key", "rotate-master", "--new-file", &path])
            .with(1)
            .says(&["32 random bytes"]);
        std::fs::write(&file, &new).expect("written");
        let rotated = run(&stage, &["key", "rotate-master", "--new-file", &path]).with(0);
        assert!(
            !rotated.out.contains(new.trim()) && !rotated.err.contains(new.trim()),
            "{rotated:?}"
        );
        // The running node goes on, also with what it had not read.
        server.get("/auth/me", &tokens.access).await.is(200);
        server.refresh(&tokens.refresh).await.is(200);
        let later = server.log_in("user@example.com").await;
        server.stop().await;
        if stage.footprint == Footprint::Production {
            run(&stage, &["key", "list"])
                .with(1)
                .says(&["another MASTER_KEY"]);
            stage.set("MASTER_KEY", new.trim());
        } else {
            let kept = std::fs::read_to_string(stage.directory().join("master.key")).expect("a key");
            assert_eq!(kept.trim(), new.trim());
            assert!(!stage.directory().join("master.key.next").exists());
        }
        run(&stage, &["key", "rotate-master", "--new-file", &path])
            .with(1)
            .says(&["in use"]);
        let server = stage.start().await;
        server.get("/auth/me", &later.access).await.is(200);
        server.refresh(&later.refresh).await.is(200);
        // The trail is whole across it, from before to after.
        eventually("all rows are sealed", || async {
            number(&server.app.db, "select count(*) from audit where seq is null").await == 0
        })
        .await;
        let verified = run(&stage, &["audit", "verify"]).with(0);
        assert_ne!(verified.out, head.out);
        let rows = "select count(*) from audit where action = 'key_change' and reason = 'master_key'";
        assert_eq!(number(&server.app.db, rows).await, 1);
        let doctor = run_with(&stage, &["doctor", "--json"], b"");
        assert!(!doctor.out.contains("cannot be decrypted"), "{doctor:?}");
        // And once more, with keys that are stored under the new one.
        let again = run(&stage, &["key", "generate"]).with(0).out;
        std::fs::write(&file, &again).expect("written");
        run(&stage, &["key", "rotate-master", "--new-file", &path]).with(0);
        server.stop().await;
        if stage.footprint == Footprint::Production {
            stage.set("MASTER_KEY", again.trim());
        }
        let server = stage.start().await;
        server.refresh(&later.refresh).await.is(200);
        run(&stage, &["audit", "verify"]).with(0);
        run(&stage, &["key", "rotate", "--now"]).with(0);
        eventually("a key of the new master key is in use", || async {
            jwks(&server).await.len() == 2
        })
        .await;
        assert_eq!(json!(jwks(&server).await[0]["kty"]), "OKP");
        server.stop().await;
    }
);

on_both!(
    after_a_leaked_master_key_nothing_made_before_is_good,
    async |mut stage: Stage| {
        stage.set("JWT_ALGORITHM", "EdDSA");
        let server = stage.start().await;
        let tokens = server.register("user@example.com").await;
        server.stop().await;
        let file = stage.directory().join("new.key");
        let new = run(&stage, &["key", "generate"]).with(0).out;
        std::fs::write(&file, &new).expect("written");
        let path = file.display().to_string();
        run(&stage, &["key", "rotate-master", "--new-file", &path, "--leaked"])
            .with(0)
            .says(&["audit rebase"]);
        if stage.footprint == Footprint::Production {
            stage.set("MASTER_KEY", new.trim());
        }
        run(&stage, &["audit", "verify"]).with(1);
        run(
            &stage,
            &["audit", "rebase", "--reason", "the master key leaked", "--yes"],
        )
        .with(0);
        let server = stage.start().await;
        server.get("/auth/me", &tokens.access).await.is(401);
        server.refresh(&tokens.refresh).await.is(401);
        let again = server.log_in("user@example.com").await;
        server.get("/auth/me", &again.access).await.is(200);
        assert_ne!(kid_of(&again), kid_of(&tokens));
        eventually("all rows are sealed", || async {
            number(&server.app.db, "select count(*) from audit where seq is null").await == 0
        })
        .await;
        run(&stage, &["audit", "verify"]).with(0);
        server.stop().await;
    }
);

on_both!(
    after_a_lost_master_key_accounts_are_there_and_sign_in,
    async |mut stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("user@example.com").await;
        server.stop().await;
        let new = run(&stage, &["key", "generate"]).with(0).out;
        stage.set("MASTER_KEY", new.trim());
        run(&stage, &["user", "list"])
            .with(1)
            .says(&["another MASTER_KEY"]);
        // As docs/run/keys.md says.
        let db = josoor_auth::config::Config::parse(None, stage.environment()).expect("settings");
        let db = josoor_auth::store::Db::open(&db.database).await.expect("open");
        crate::support::database::execute(&db, "delete from keys").await;
        db.close().await;
        run(&stage, &["session", "revoke", "--all"]).with(0);
        run(
            &stage,
            &["audit", "rebase", "--reason", "the master key is lost", "--yes"],
        )
        .with(0);
        let server = stage.start().await;
        server.refresh(&tokens.refresh).await.is(401);
        let again = server.log_in("user@example.com").await;
        server.get("/auth/me", &again.access).await.is(200);
        eventually("all rows are sealed", || async {
            number(&server.app.db, "select count(*) from audit where seq is null").await == 0
        })
        .await;
        run(&stage, &["audit", "verify"]).with(0);
        server.stop().await;
    }
);
