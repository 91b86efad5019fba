//! Refresh tokens: the decision table, and who wins when many come at once.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use josoor_auth::act::Client;
use josoor_auth::admin::users;
use josoor_auth::clock::Clock;
use josoor_auth::domain::{Role, SessionId, UserId};
use josoor_auth::sessions;
use josoor_auth::store::{Db, SessionRow, UserPatch};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{Answer, PASSWORD, Server, Tokens, eventually, on_both};

/// The grace of the default configuration.
const GRACE: Duration = Duration::from_secs(30);

const DAY: Duration = Duration::from_hours(24);

fn manual() -> Clock {
    Clock::manual(Clock::System.now())
}

pub(crate) fn session_id(tokens: &Tokens) -> SessionId {
    let text = tokens.claim("sid");
    SessionId(text.as_str().expect("a session id").parse().expect("a UUID"))
}

pub(crate) async fn row_of(server: &Server, tokens: &Tokens) -> SessionRow {
    let mut conn = server.app.db.write().await.expect("a connection");
    let row = conn.session_by_id(session_id(tokens)).await.expect("an answer");
    row.expect("the session is kept")
}

/// How many rows of one action the audit trail holds for a session.
pub(crate) async fn audited(server: &Server, action: &str, tokens: &Tokens) -> i64 {
    const SQL: &str = "select count(*) from audit where action = $1 and session_id = $2";
    let session = session_id(tokens).0;
    match &server.app.db {
        Db::Postgres(pool) => sqlx::query_scalar(SQL)
            .bind(action)
            .bind(session)
            .fetch_one(&**pool)
            .await
            .expect("a count"),
        Db::Sqlite { writer, .. } => sqlx::query_scalar(SQL)
            .bind(action)
            .bind(session)
            .fetch_one(writer)
            .await
            .expect("a count"),
    }
}

/// The claims of a token, unverified.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("JSON")
}

async fn next(server: &Server, tokens: &Tokens) -> Tokens {
    Tokens::of(&server.refresh(&tokens.refresh).await.is(200))
}

/// Uses the access token and waits until that is noted.
async fn use_access(server: &Server, tokens: &Tokens) {
    server.get("/auth/me", &tokens.access).await.is(200);
    let generation = tokens.claim("gen").as_i64().expect("a generation");
    eventually("the use is noted", || async {
        row_of(server, tokens).await.used_generation >= generation
    })
    .await;
}

/// Fails unless every token of a session is refused with `code`, wherever it is presented.
pub(crate) async fn all_dead(server: &Server, tokens: &[&Tokens], code: &str) {
    for tokens in tokens {
        server.refresh(&tokens.refresh).await.is_problem(401, code);
        server.get("/auth/me", &tokens.access).await.is_problem(401, code);
        server
            .get("/auth/check", &tokens.access)
            .await
            .is_problem(401, code);
        server
            .post_as("/auth/refresh", &tokens.access, &json!({}))
            .await
            .is_problem(401, code);
    }
}

on_both!(the_current_token_rotates, async |stage: Stage| {
    let server = stage.start().await;
    let first = server.register("rotates@example.com").await;
    let second = next(&server, &first).await;
    assert_ne!(first.refresh, second.refresh);
    assert_eq!((first.claim("gen"), second.claim("gen")), (json!(1), json!(2)));
    assert_eq!(claims(&second.refresh)["gen"], 2);
    assert_eq!(first.claim("sid"), second.claim("sid"));
    assert_ne!(first.claim("jti"), second.claim("jti"));
    let third = next(&server, &second).await;
    assert_eq!(third.claim("gen"), 3);
    // An access token of an earlier generation is good until it expires.
    for tokens in [&first, &second, &third] {
        server.get("/auth/me", &tokens.access).await.is(200);
    }
    server.stop().await;
});

on_both!(
    within_the_grace_the_very_same_token_comes_again,
    async |stage: Stage| {
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let first = server.register("again@example.com").await;
        let second = next(&server, &first).await;
        use_access(&server, &second).await;
        for wait in [0, 10, 19] {
            clock.advance(Duration::from_secs(wait));
            let again = next(&server, &first).await;
            assert_eq!(again.refresh, second.refresh);
            assert_eq!(again.claim("gen"), 2);
        }
        assert!(row_of(&server, &second).await.revoked_at.is_none());
        clock.advance(Duration::from_secs(1));
        server
            .refresh(&first.refresh)
            .await
            .is_problem(401, "refresh_token_reused");
        all_dead(&server, &[&first, &second], "refresh_token_reused").await;
        server.stop().await;
    }
);

on_both!(
    a_lost_answer_costs_nothing_and_the_lost_token_is_dead,
    async |stage: Stage| {
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let first = server.register("lost@example.com").await;
        // Three answers are lost, each for longer than the grace; the client still holds its first token. The access
        // token it holds goes on being used.
        let mut lost = Vec::new();
        for generation in 2..=4 {
            let answer = next(&server, &first).await;
            assert_eq!(answer.claim("gen"), generation);
            lost.push(answer);
            server.get("/auth/me", &first.access).await.is(200);
            clock.advance(GRACE);
        }
        let held = next(&server, &first).await;
        assert_eq!(held.claim("gen"), 5);
        let held = next(&server, &held).await;
        assert!(row_of(&server, &held).await.revoked_at.is_none());
        // A thief with one of the lost answers ends the session, even at once.
        server
            .refresh(&lost[2].refresh)
            .await
            .is_problem(401, "refresh_token_reused");
        let all: Vec<&Tokens> = lost.iter().chain([&first, &held]).collect();
        all_dead(&server, &all, "refresh_token_reused").await;
        server.stop().await;
    }
);

on_both!(reuse_ends_the_session_once, async |stage: Stage| {
    let clock = manual();
    let server = stage.start_with(clock.clone()).await;
    let first = server.register("reuse@example.com").await;
    let bystander = server.log_in("reuse@example.com").await;
    let second = next(&server, &first).await;
    use_access(&server, &second).await;
    clock.advance(GRACE);
    server
        .refresh(&first.refresh)
        .await
        .is_problem(401, "refresh_token_reused");
    // T40: at once and for ever, the leeway is not for tokens of a session that has ended.
    all_dead(&server, &[&first, &second], "refresh_token_reused").await;
    clock.advance(Duration::from_secs(15));
    all_dead(&server, &[&first, &second], "refresh_token_reused").await;
    assert_eq!(audited(&server, "refresh_reuse", &first).await, 1);
    // The other session of the same user is not touched.
    server.get("/auth/me", &bystander.access).await.is(200);
    let bystander = next(&server, &bystander).await;
    // T32: new sign-ins revive nothing.
    for _ in 0..3 {
        server.log_in("reuse@example.com").await;
        all_dead(&server, &[&first, &second], "refresh_token_reused").await;
    }
    server.get("/auth/me", &bystander.access).await.is(200);
    assert_eq!(audited(&server, "refresh_reuse", &first).await, 1);
    server.stop().await;
});

on_both!(a_grandparent_is_reuse_after_its_grace, async |stage: Stage| {
    let clock = manual();
    let server = stage.start_with(clock.clone()).await;
    let first = server.register("grandparent@example.com").await;
    let second = next(&server, &first).await;
    let third = next(&server, &second).await;
    // In its grace, even the grandparent gives the current token: three tabs in a row.
    assert_eq!(next(&server, &first).await.refresh, third.refresh);
    clock.advance(GRACE);
    server
        .refresh(&first.refresh)
        .await
        .is_problem(401, "refresh_token_reused");
    all_dead(&server, &[&first, &second, &third], "refresh_token_reused").await;
    server.stop().await;
});

on_both!(of_the_superseded_the_last_eight_count, async |stage: Stage| {
    let server = stage.start_with(manual()).await;
    let mut all = vec![server.register("eight@example.com").await];
    for _ in 0..9 {
        let last = all.last().expect("one at least");
        all.push(next(&server, last).await);
    }
    assert_eq!(next(&server, &all[1]).await.refresh, all[9].refresh);
    server
        .refresh(&all[0].refresh)
        .await
        .is_problem(401, "refresh_token_reused");
    all_dead(&server, &[&all[0], &all[5], &all[9]], "refresh_token_reused").await;
    server.stop().await;
});

on_both!(
    the_memory_of_rotations_survives_a_restart,
    async |stage: Stage| {
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let first = server.register("restart@example.com").await;
        let second = next(&server, &first).await;
        server.stop().await;
        let server = stage.start_with(clock.clone()).await;
        assert_eq!(next(&server, &first).await.refresh, second.refresh);
        // The last notes are written before the process ends.
        server.get("/auth/me", &second.access).await.is(200);
        server.stop().await;
        clock.advance(GRACE);
        let server = stage.start_with(clock.clone()).await;
        server
            .refresh(&first.refresh)
            .await
            .is_problem(401, "refresh_token_reused");
        server.stop().await;
        let server = stage.start_with(clock).await;
        all_dead(&server, &[&first, &second], "refresh_token_reused").await;
        assert_eq!(audited(&server, "refresh_reuse", &first).await, 1);
        server.stop().await;
    }
);

on_both!(a_session_ends_idle_and_absolutely, async |stage: Stage| {
    let clock = manual();
    let server = stage.start_with(clock.clone()).await;
    let idle = server.register("idle@example.com").await;
    let mut busy = server.log_in("idle@example.com").await;
    let (begun, absolute) = (clock.now(), clock.now().plus(30 * DAY));
    for _ in 0..4 {
        clock.advance(6 * DAY);
        busy = next(&server, &busy).await;
        for token in [&busy.access, &busy.refresh] {
            let exp = claims(token)["exp"].as_i64().expect("a time");
            assert!(exp <= absolute.as_secs());
        }
    }
    server
        .refresh(&idle.refresh)
        .await
        .is_problem(401, "session_expired");
    assert!(row_of(&server, &idle).await.revoked_at.is_none());
    clock.advance(Duration::from_secs(6 * 86_400 - 5));
    // Five seconds before the end: the access token is good for five seconds, whatever its lifetime is.
    let last = next(&server, &busy).await;
    assert_eq!(claims(&last.access)["exp"], absolute.as_secs());
    assert_eq!(claims(&last.refresh)["exp"], absolute.as_secs());
    server
        .post_as("/auth/refresh", &last.access, &json!({}))
        .await
        .is_problem(401, "refresh_token_required");
    server.get("/auth/me", &last.access).await.is(200);
    clock.advance(Duration::from_secs(5));
    assert_eq!(clock.now(), begun.plus(30 * DAY));
    server
        .refresh(&last.refresh)
        .await
        .is_problem(401, "session_expired");
    server
        .get("/auth/me", &last.access)
        .await
        .is_problem(401, "token_expired");
    // A sign-out of what is over is no failure.
    let body = json!({ "refresh_token": last.refresh });
    server.post("/auth/logout", &body).await.is(200);
    server.stop().await;
});

on_both!(an_expired_token_is_no_sign_of_theft, async |stage: Stage| {
    let clock = manual();
    let server = stage.start_with(clock.clone()).await;
    let first = server.register("expired@example.com").await;
    clock.advance(4 * DAY);
    let second = next(&server, &first).await;
    use_access(&server, &second).await;
    clock.advance(5 * DAY);
    // Superseded days ago and its successor used: reuse, if it were not past its end.
    server
        .refresh(&first.refresh)
        .await
        .is_problem(401, "token_expired");
    let third = next(&server, &second).await;
    assert_eq!(third.claim("gen"), 3);
    assert_eq!(audited(&server, "refresh_reuse", &first).await, 0);
    server.stop().await;
});

on_both!(
    a_bearer_alone_renews_access_and_moves_the_idle_end,
    async |stage: Stage| {
        let mut stage = stage;
        stage.set("JOSOOR_AUTH__SESSION__IDLE", "1h");
        // A refresh token expires this and the idle time after it was issued.
        stage.set("JWT_EXPIRATION_MINUTES", "60");
        let clock = manual();
        let server = stage.start_with(clock.clone()).await;
        let tokens = server.register("bearer@example.com").await;
        let mut access = tokens.access.clone();
        for _ in 0..5 {
            clock.advance(Duration::from_mins(50));
            let answer = server.post_as("/auth/refresh", &access, &json!({})).await.is(200);
            assert!(answer.json.get("refresh_token").is_none(), "{answer:?}");
            access = answer.text_of("access_token");
            assert_eq!(claims(&access)["gen"], 1);
        }
        // No rotation has happened, and the refresh token itself has expired in the meantime.
        assert_eq!(row_of(&server, &tokens).await.generation, 1);
        server
            .refresh(&tokens.refresh)
            .await
            .is_problem(401, "token_expired");
        server.get("/auth/me", &access).await.is(200);
        // An invalid bearer beside a body token is ignored.
        let other = server.log_in("bearer@example.com").await;
        let body = json!({ "refresh_token": other.refresh });
        server.post_as("/auth/refresh", "nonsense", &body).await.is(200);
        clock.advance(Duration::from_hours(1));
        server
            .post_as("/auth/refresh", &access, &json!({}))
            .await
            .is_problem(401, "token_expired");
        server.stop().await;
    }
);

on_both!(each_token_is_for_one_endpoint_only, async |stage: Stage| {
    let server = stage.start().await;
    let tokens = server.register("doors@example.com").await;
    server
        .refresh(&tokens.access)
        .await
        .is_problem(401, "token_invalid");
    for (method, path, body) in doors(&tokens) {
        let mut request = server.request(method, &path).bearer_auth(&tokens.refresh);
        if let Some(body) = body {
            request = request.json(&body);
        }
        server.send(request).await.is_problem(401, "token_invalid");
    }
    // Signing out with the wrong one is no mistake to report, and does nothing.
    server
        .post_as("/auth/logout", &tokens.refresh, &json!({}))
        .await
        .is(200);
    server
        .post("/auth/logout", &json!({ "refresh_token": tokens.access }))
        .await
        .is(200);
    // Nothing of this has hurt the session.
    server.get("/auth/me", &tokens.access).await.is(200);
    next(&server, &tokens).await;
    server.stop().await;
});

/// Every endpoint that takes a bearer token and refuses one that is not good.
fn doors(tokens: &Tokens) -> Vec<(Method, String, Option<Value>)> {
    let sid = tokens.claim("sid").as_str().expect("text").to_owned();
    let id = tokens.user_id;
    vec![
        (Method::GET, "/auth/me".into(), None),
        (
            Method::PATCH,
            "/auth/me".into(),
            Some(json!({ "full_name": "X" })),
        ),
        (
            Method::DELETE,
            "/auth/me".into(),
            Some(json!({ "password": PASSWORD })),
        ),
        (Method::GET, "/auth/sessions".into(), None),
        (Method::DELETE, "/auth/sessions".into(), None),
        (Method::DELETE, format!("/auth/sessions/{sid}"), None),
        (Method::GET, "/auth/check".into(), None),
        (Method::PUT, "/auth/check/any/path".into(), None),
        (Method::POST, "/auth/refresh".into(), Some(json!({}))),
        (Method::GET, "/admin/users".into(), None),
        (Method::GET, format!("/admin/users/{id}"), None),
        (
            Method::PATCH,
            format!("/admin/users/{id}"),
            Some(json!({ "role": "admin" })),
        ),
        (Method::DELETE, format!("/admin/users/{id}"), None),
        (Method::GET, format!("/admin/users/{id}/sessions"), None),
        (Method::DELETE, format!("/admin/users/{id}/sessions"), None),
    ]
}

on_both!(a_revoked_session_stays_revoked, async |stage: Stage| {
    let server = stage.start().await;
    let tokens = server.register_admin("revoked@example.com").await;
    let other = server.log_in("revoked@example.com").await;
    server.delete("/auth/sessions", &other.access).await.is(200);
    for (method, path, body) in doors(&tokens) {
        let mut request = server.request(method, &path).bearer_auth(&tokens.access);
        if let Some(body) = body {
            request = request.json(&body);
        }
        server.send(request).await.is_problem(401, "session_revoked");
    }
    let me = server.get("/auth/me", &other.access).await.is(200);
    assert_eq!(me.json["full_name"], Value::Null);
    assert_eq!(me.json["role"], "admin");
    server.stop().await;
});

on_both!(no_mutation_of_a_refresh_token_passes, async |stage: Stage| {
    let server = stage.start().await;
    let tokens = server.register("mutations@example.com").await;
    let token = &tokens.refresh;
    let mut mutations: HashSet<String> = HashSet::new();
    for at in 0..token.len() {
        mutations.insert(token[..at].to_owned());
        mutations.insert(token[at..].to_owned());
        mutations.insert(format!("{}{}", &token[..at], &token[at + 1..]));
        // Also the unused bits of the last character of a part, which decode to the same bytes.
        let old = token.as_bytes()[at];
        for new in [old ^ 1, old ^ 2, old ^ 32, b'=', b'.', b'+', b'/', b' '] {
            if new.is_ascii() && !new.is_ascii_control() {
                let mut bytes = token.clone().into_bytes();
                bytes[at] = new;
                mutations.insert(String::from_utf8(bytes).expect("ASCII"));
            }
        }
    }
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let (header, payload) = signed.split_once('.').expect("three parts");
    let parts = |payload: &Value| URL_SAFE_NO_PAD.encode(payload.to_string());
    let mut forged = claims(token);
    forged["gen"] = json!(2);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"rt+jwt"}"#);
    mutations.extend([
        format!("{token}="),
        format!("{token}=="),
        format!("{token}\n"),
        format!(" {token}"),
        format!("Bearer {token}"),
        format!("{token}.{signature}"),
        format!("{token}.."),
        format!("{header}.{}.{signature}", parts(&forged)),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{signed}."),
        "\u{0}".to_owned(),
        "a.b.c".to_owned(),
        "..".to_owned(),
        "x".repeat(9000),
        format!("{token}{}", "A".repeat(9000)),
    ]);
    mutations.remove(token);
    let mutations: Vec<String> = mutations.into_iter().collect();
    for chunk in mutations.chunks(32) {
        let answers: Vec<Answer> = join_all(chunk.iter().map(|token| server.refresh(token))).await;
        for (token, answer) in chunk.iter().zip(answers) {
            assert!(
                matches!(answer.status.as_u16(), 400 | 401 | 422),
                "{token:?}: {answer:?}"
            );
            assert!(answer.json.get("access_token").is_none());
        }
    }
    // None of them has been taken for a replay.
    next(&server, &tokens).await;
    server.stop().await;
});

on_both!(
    of_64_refreshes_at_once_one_makes_a_generation,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("many@example.com").await;
        let attempts = (0..64).map(|_| server.refresh(&tokens.refresh));
        let answers = join_all(attempts).await;
        let given: HashSet<String> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
        assert_eq!(given.len(), 1);
        assert_eq!(Tokens::of(&answers[0]).claim("gen"), 2);
        assert!(!given.contains(&tokens.refresh));
        server.stop().await;
    }
);

on_both!(
    without_grace_one_of_many_wins_and_the_others_end_it,
    async |stage: Stage| {
        let mut stage = stage;
        stage.set("JOSOOR_AUTH__SESSION__REFRESH_GRACE", "0s");
        let server = stage.start().await;
        for round in 0..10 {
            let tokens = server.register(&format!("zero{round}@example.com")).await;
            let answers = join_all((0..8).map(|_| server.refresh(&tokens.refresh))).await;
            // While the current generation is unused, its predecessor may take its place.
            let given: HashSet<String> = answers
                .iter()
                .filter(|answer| answer.status == 200)
                .map(|answer| Tokens::of(answer).refresh)
                .collect();
            assert_eq!(given.len(), 8, "each its own generation");
            let generation = row_of(&server, &tokens).await.generation;
            assert_eq!(generation, 9);
        }
        server.stop().await;
    }
);

on_both!(revocation_wins_against_refresh, async |stage: Stage| {
    let server = stage.start().await;
    let keeper = server.register("race@example.com").await;
    for round in 0..100 {
        let tokens = server.log_in("race@example.com").await;
        let sid = tokens.claim("sid").as_str().expect("text").to_owned();
        let path = format!("/auth/sessions/{sid}");
        let refreshes = join_all((0..3).map(|_| server.refresh(&tokens.refresh)));
        let renewal = async { server.post_as("/auth/refresh", &tokens.access, &json!({})).await };
        let revocation = async {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
                server.delete(&path, &keeper.access).await.is(204);
            } else {
                let body = json!({ "refresh_token": tokens.refresh });
                server.post("/auth/logout", &body).await.is(200);
            }
        };
        let (refreshed, renewed, ()) = tokio::join!(refreshes, renewal, revocation);
        let mut access = vec![tokens.access.clone()];
        let mut refresh = vec![tokens.refresh.clone()];
        for answer in refreshed.iter().chain([&renewed]) {
            if answer.status == 200 {
                access.push(answer.text_of("access_token"));
                if let Some(token) = answer.json["refresh_token"].as_str() {
                    refresh.push(token.to_owned());
                }
            } else {
                assert_eq!(answer.status, 401, "{answer:?}");
                assert!(
                    ["session_revoked", "refresh_token_required"].contains(&answer.code()),
                    "{answer:?}"
                );
            }
        }
        for token in &access {
            server
                .get("/auth/me", token)
                .await
                .is_problem(401, "session_revoked");
        }
        for token in &refresh {
            server.refresh(token).await.is_problem(401, "session_revoked");
        }
    }
    server.get("/auth/me", &keeper.access).await.is(200);
    server.stop().await;
});

on_both!(deactivation_wins_against_everything, async |stage: Stage| {
    let server = stage.start().await;
    let first = server.register("away@example.com").await;
    let id = UserId(first.user_id);
    let active = |is_active| UserPatch {
        is_active: Some(is_active),
        ..UserPatch::default()
    };
    let client = Client::default();
    for _ in 0..30 {
        let tokens = server.log_in("away@example.com").await;
        let refresh = server.refresh(&tokens.refresh);
        let body = json!({ "email": "away@example.com", "password": PASSWORD });
        let log_in = server.post("/auth/login", &body);
        let deactivate = users::update(&server.app, id, active(false), &client);
        let (refreshed, signed_in, deactivated) = tokio::join!(refresh, log_in, deactivate);
        deactivated.expect("deactivated");
        let mut access = vec![tokens.access.clone()];
        for answer in [&refreshed, &signed_in] {
            match answer.status.as_u16() {
                200 => access.push(answer.text_of("access_token")),
                401 | 403 => assert_eq!(answer.code(), "account_inactive", "{answer:?}"),
                _ => panic!("{answer:?}"),
            }
        }
        for token in &access {
            server
                .get("/auth/me", token)
                .await
                .is_problem(401, "account_inactive");
        }
        // Activation does not bring the sessions back.
        users::update(&server.app, id, active(true), &client)
            .await
            .expect("activated");
        for token in &access {
            server
                .get("/auth/me", token)
                .await
                .is_problem(401, "account_inactive");
        }
        let live = sessions::list(&server.app, id, Role::User).await.expect("a list");
        assert!(live.is_empty(), "{live:?}");
    }
    server.stop().await;
});

on_both!(
    sixty_four_sign_ins_at_once_make_as_many_sessions,
    async |stage: Stage| {
        let mut stage = stage;
        stage.set("JOSOOR_AUTH__HASH__QUEUE", "100");
        // All of them wait for one row, on a machine that may be busy.
        stage.set("JOSOOR_AUTH__DATABASE__ACQUIRE_TIMEOUT", "30s");
        let server = stage.start().await;
        let first = server.register("crowd@example.com").await;
        let all = join_all((0..64).map(|_| server.log_in("crowd@example.com"))).await;
        let ids: HashSet<String> = all
            .iter()
            .chain([&first])
            .map(|tokens| tokens.claim("sid").to_string())
            .collect();
        assert_eq!(ids.len(), 65);
        let list = server.get("/auth/sessions", &first.access).await.is(200);
        assert_eq!(list.json["total"], 65);
        // All sign out at once, each several times.
        let logouts = all.iter().flat_map(|tokens| [tokens; 4]).map(|tokens| {
            let body = json!({ "refresh_token": tokens.refresh });
            let server = &server;
            async move { server.post("/auth/logout", &body).await.is(200) }
        });
        join_all(logouts).await;
        for tokens in &all {
            server
                .get("/auth/me", &tokens.access)
                .await
                .is_problem(401, "session_revoked");
        }
        assert_eq!(audited(&server, "session_revoke", &all[7]).await, 1);
        server.get("/auth/me", &first.access).await.is(200);
        server.stop().await;
    }
);

on_both!(one_reuse_of_many_raises_the_alarm, async |stage: Stage| {
    let clock = manual();
    let server = stage.start_with(clock.clone()).await;
    let first = server.register("alarm@example.com").await;
    let second = next(&server, &first).await;
    use_access(&server, &second).await;
    clock.advance(GRACE);
    let answers = join_all((0..32).map(|_| server.refresh(&first.refresh))).await;
    for answer in answers {
        answer.is_problem(401, "refresh_token_reused");
    }
    assert_eq!(audited(&server, "refresh_reuse", &first).await, 1);
    all_dead(&server, &[&first, &second], "refresh_token_reused").await;
    server.stop().await;
});
