//! Ending sessions: on the node that answered it holds from the next request on.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use josoor_auth::act::Client;
use josoor_auth::admin::users;
use josoor_auth::app::App;
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;
use josoor_auth::domain::{RevokeReason, Role, UserId};
use josoor_auth::sessions;
use josoor_auth::store::UserPatch;
use josoor_auth_verify::Claims;
use serde_json::json;
use uuid::Uuid;

use crate::refresh::{all_dead, audited, session_id};
use crate::support::database;
use crate::support::server::{Answer, PASSWORD, Server, Tokens, eventually, on_both};

pub(crate) fn sid(tokens: &Tokens) -> String {
    session_id(tokens).to_string()
}

/// Another program on the same stores, such as the command line: nothing is shared in memory.
pub(crate) async fn another_program(stage: &crate::support::server::Stage) -> App {
    let config = Config::parse(None, stage.environment()).unwrap_or_else(|error| panic!("{error}"));
    App::open(config, Clock::System).await.expect("the stores open")
}

/// Asks each millisecond until an answer is the new one. How long after this call the last request that was answered the old way
/// was sent; none, when there was none.
pub(crate) async fn until(
    server: &Server,
    path: &str,
    token: &str,
    is_new: impl Fn(&Answer) -> bool,
) -> Duration {
    let begun = Instant::now();
    let mut last = Duration::ZERO;
    loop {
        let sent = begun.elapsed();
        if is_new(&server.get(path, token).await) {
            return last;
        }
        last = sent;
        assert!(
            sent < Duration::from_secs(10),
            "{path} is never answered the new way"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The same, until a token is refused for this reason.
pub(crate) async fn until_refused(server: &Server, token: &str, code: &str) -> Duration {
    until(server, "/auth/me", token, |answer| {
        if answer.status != 401 {
            assert_eq!(answer.status, 200, "{answer:?}");
            return false;
        }
        assert_eq!(answer.code(), code, "{answer:?}");
        true
    })
    .await
}

on_both!(each_revocation_holds_at_once, async |stage: Stage| {
    let server = stage.start().await;
    let admin = server.register_admin("boss@example.com").await;
    let mut number = 0;
    let mut fresh = async || {
        number += 1;
        let email = format!("out{number}@example.com");
        let tokens = server.register(&email).await;
        // Warm: the copies are where the request finds them.
        for _ in 0..2 {
            server.get("/auth/me", &tokens.access).await.is(200);
        }
        (email, tokens)
    };

    // Signing out by refresh token, by access token; again and again is no failure.
    let (email, by_refresh) = fresh().await;
    let body = json!({ "refresh_token": by_refresh.refresh });
    server.post("/auth/logout", &body).await.is(200);
    all_dead(&server, &[&by_refresh], "session_revoked").await;
    server.post("/auth/logout", &body).await.is(200);
    assert_eq!(audited(&server, "session_revoke", &by_refresh).await, 1);
    // T32: new sign-ins revive nothing.
    for _ in 0..10 {
        server.log_in(&email).await;
        all_dead(&server, &[&by_refresh], "session_revoked").await;
    }
    let (_, by_access) = fresh().await;
    for _ in 0..2 {
        server
            .post_as("/auth/logout", &by_access.access, &json!({}))
            .await
            .is(200);
        all_dead(&server, &[&by_access], "session_revoked").await;
    }

    // One of one's own, and all others.
    let (email, first) = fresh().await;
    let (second, third) = (server.log_in(&email).await, server.log_in(&email).await);
    let path = format!("/auth/sessions/{}", sid(&second));
    server.delete(&path, &first.access).await.is(204);
    all_dead(&server, &[&second], "session_revoked").await;
    server
        .delete(&path, &first.access)
        .await
        .is_problem(404, "not_found");
    let answer = server.delete("/auth/sessions", &first.access).await.is(200);
    assert_eq!(answer.json, json!({ "revoked": 1 }));
    all_dead(&server, &[&second, &third], "session_revoked").await;
    server.get("/auth/me", &first.access).await.is(200);

    // T48: no other user's, and not a word about whether it exists.
    let (_, stranger) = fresh().await;
    for path in [
        format!("/auth/sessions/{}", sid(&first)),
        format!("/auth/sessions/{}", Uuid::from_u128(7)),
    ] {
        server
            .delete(&path, &stranger.access)
            .await
            .is_problem(404, "not_found");
    }
    server.get("/auth/me", &first.access).await.is(200);

    // By an administrator.
    let path = format!("/admin/users/{}/sessions", first.user_id);
    let answer = server.delete(&path, &admin.access).await.is(200);
    assert_eq!(answer.json, json!({ "revoked": 1 }));
    all_dead(&server, &[&first], "session_revoked").await;

    // Deactivation, with its own code for the tokens and for the sign-in.
    let (email, away) = fresh().await;
    let path = format!("/admin/users/{}", away.user_id);
    server
        .patch(&path, &admin.access, &json!({ "is_active": false }))
        .await
        .is(200);
    all_dead(&server, &[&away], "account_inactive").await;
    let body = json!({ "email": email, "password": PASSWORD });
    server
        .post("/auth/login", &body)
        .await
        .is_problem(403, "account_inactive");
    let body = json!({ "email": email, "password": "not this one" });
    server
        .post("/auth/login", &body)
        .await
        .is_problem(401, "invalid_credentials");
    server
        .patch(&path, &admin.access, &json!({ "is_active": true }))
        .await
        .is(200);
    all_dead(&server, &[&away], "account_inactive").await;
    let back = server.log_in(&email).await;

    // T45: the role is the server's, not the token's; up and down.
    server
        .get("/admin/users", &back.access)
        .await
        .is_problem(403, "insufficient_role");
    server
        .patch(&path, &admin.access, &json!({ "role": "admin" }))
        .await
        .is(200);
    server.get("/admin/users", &back.access).await.is(200);
    let check = server.get("/auth/check?role=admin", &back.access).await.is(200);
    assert_eq!(check.headers["x-auth-role"], "admin");
    server
        .patch(&path, &admin.access, &json!({ "role": "user" }))
        .await
        .is(200);
    server
        .get("/admin/users", &back.access)
        .await
        .is_problem(403, "insufficient_role");

    // Deletion, and T33: an id is never given again.
    server.delete(&path, &admin.access).await.is(204);
    all_dead(&server, &[&back], "session_revoked").await;
    let (_, newcomer) = fresh().await;
    assert!(newcomer.user_id > back.user_id);
    all_dead(&server, &[&back], "session_revoked").await;
    server.stop().await;
});

on_both!(
    any_session_and_any_user_can_be_resolved_together,
    async |stage: Stage| {
        // Two locks of one kind, chosen by the two ids: all combinations, in a thread that may be given up.
        let server = stage.start().await;
        let (app, runtime) = (server.app.clone(), tokio::runtime::Handle::current());
        let claims = crate::tokens::claims(&server.register("both@example.com").await.access);
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for low in 0..256 {
                let claims = Claims {
                    sid: Uuid::from_u64_pair(7, low),
                    sub: 9,
                    ..claims.clone()
                };
                let found = runtime.block_on(app.cache.resolve(&claims, app.clock.now()));
                assert!(found.is_err());
            }
            let _ = done.send(());
        });
        let waited = tokio::task::block_in_place(|| finished.recv_timeout(Duration::from_secs(20)));
        assert!(waited.is_ok(), "one combination never returned");
        server.stop().await;
    }
);

on_both!(
    another_programs_acts_hold_within_a_second,
    async |stage: Stage| {
        let server = stage.start().await;
        let client = Client::default();
        let mut slowest = Duration::ZERO;
        for round in 0..5 {
            let tokens = server.register(&format!("cli{round}@example.com")).await;
            let other = server.log_in(&format!("cli{round}@example.com")).await;
            let id = UserId(tokens.user_id);
            for tokens in [&tokens, &other] {
                server.get("/auth/me", &tokens.access).await.is(200);
            }
            let program = another_program(&stage).await;
            sessions::revoke_any(&program, session_id(&tokens), &client)
                .await
                .expect("revoked");
            slowest = slowest.max(until_refused(&server, &tokens.access, "session_revoked").await);
            server.get("/auth/me", &other.access).await.is(200);
            let patch = UserPatch {
                role: Some(Role::Admin),
                ..UserPatch::default()
            };
            users::update(&program, id, patch, &client)
                .await
                .expect("promoted");
            let started = std::time::Instant::now();
            eventually("the role holds", || async {
                server.get("/admin/users", &other.access).await.status == 200
            })
            .await;
            slowest = slowest.max(started.elapsed());
            sessions::revoke_all(&program, id, None, RevokeReason::RevokedByAdmin, &client)
                .await
                .expect("revoked");
            slowest = slowest.max(until_refused(&server, &other.access, "session_revoked").await);
            program.close().await;
        }
        assert!(slowest < Duration::from_millis(1300), "{slowest:?}");
        server.stop().await;
    }
);

on_both!(
    a_crash_after_the_commit_loses_no_revocation,
    async |stage: Stage| {
        let server = stage.start().await;
        for &reason in RevokeReason::ALL {
            let tokens = server.register(&format!("{reason}@example.com")).await;
            server.get("/auth/me", &tokens.access).await.is(200);
            // What the code does up to the commit, and then nothing more.
            let now = server.app.clock.now();
            let mut tx = server.app.db.begin().await.expect("a transaction");
            let ended = tx
                .revoke_session(session_id(&tokens), reason, now)
                .await
                .expect("an answer")
                .expect("it was live");
            tx.record_revocation(&ended, reason, now).await.expect("recorded");
            tx.commit().await.expect("committed");
            let code = match reason {
                RevokeReason::PasswordChanged => "password_changed",
                RevokeReason::AccountDeactivated => "account_inactive",
                RevokeReason::RefreshReuse => "refresh_token_reused",
                _ => "session_revoked",
            };
            // The refresh is decided by the database: at once.
            server.refresh(&tokens.refresh).await.is_problem(401, code);
            let waited = until_refused(&server, &tokens.access, code).await;
            assert!(waited < Duration::from_millis(1500), "{waited:?}");
            all_dead(&server, &[&tokens], code).await;
        }
        server.stop().await;
    }
);

on_both!(an_act_without_its_commit_never_was, async |stage: Stage| {
    let server = stage.start().await;
    let tokens = server.register("undone@example.com").await;
    let now = server.app.clock.now();
    let mut tx = server.app.db.begin().await.expect("a transaction");
    let ended = tx
        .revoke_session(session_id(&tokens), RevokeReason::Logout, now)
        .await
        .expect("an answer")
        .expect("it was live");
    tx.record_revocation(&ended, RevokeReason::Logout, now)
        .await
        .expect("recorded");
    drop(tx);
    server.refresh(&tokens.refresh).await.is(200);
    server.get("/auth/me", &tokens.access).await.is(200);
    server.stop().await;
});

on_both!(
    many_ends_and_much_traffic_do_not_block_each_other,
    async |stage: Stage| {
        let server = stage.start().await;
        for round in 0..6 {
            let email = format!("traffic{round}@example.com");
            let keeper = server.register(&email).await;
            let others = join_all((0..12).map(|_| server.log_in(&email))).await;
            // Every first use of a generation is noted in the rows that the revocation ends.
            let uses = join_all(
                others
                    .iter()
                    .rev()
                    .chain(&others)
                    .map(|tokens| server.get("/auth/me", &tokens.access)),
            );
            let end = async {
                tokio::task::yield_now().await;
                server.delete("/auth/sessions", &keeper.access).await
            };
            let (used, ended) = tokio::join!(uses, end);
            ended.is(200);
            for answer in used {
                assert!(matches!(answer.status.as_u16(), 200 | 401), "{answer:?}");
            }
            for tokens in &others {
                server
                    .get("/auth/me", &tokens.access)
                    .await
                    .is_problem(401, "session_revoked");
            }
        }
        server.stop().await;
    }
);

on_both!(ten_thousand_sessions_end_in_one_go, async |stage: Stage| {
    const SESSIONS: i64 = 10_000;
    let server = stage.start().await;
    let keeper = server.register("many@example.com").await;
    let doomed = server.log_in("many@example.com").await;
    server.get("/auth/me", &doomed.access).await.is(200);
    // Copies of a real one, but for their ids.
    let (id, numbers) = match stage.footprint {
        Footprint::Embedded => (
            "randomblob(16)",
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9999) ",
        ),
        Footprint::Production => (
            "gen_random_uuid()",
            "with n(i) as (select generate_series(1, 9999)) ",
        ),
    };
    let columns = "user_id, created_at, last_seen_at, expires_at, idle_expires_at, ip, user_agent, generation, \
                   generation_issued_at, generation_expires_at, used_generation, superseded, retired_generation";
    let sql = format!(
        "insert into sessions (id, {columns}) {numbers} select {id}, {columns} from n, \
         (select * from sessions order by created_at desc limit 1) as one"
    );
    let inserted = database::execute(&server.app.db, &sql).await;
    assert_eq!(i64::try_from(inserted).expect("small"), SESSIONS - 1);
    let started = std::time::Instant::now();
    let answer = server.delete("/auth/sessions", &keeper.access).await.is(200);
    println!("ten thousand sessions ended in {:?}", started.elapsed());
    assert_eq!(answer.json, json!({ "revoked": SESSIONS }));
    all_dead(&server, &[&doomed], "session_revoked").await;
    server.get("/auth/me", &keeper.access).await.is(200);
    for table in ["changes", "audit"] {
        let sql = format!("select count(*) from {table} where reason = 'revoked_by_user'");
        assert_eq!(database::number(&server.app.db, &sql).await, SESSIONS, "{table}");
    }
    server.stop().await;
});
