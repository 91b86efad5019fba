//! Lifetimes of sessions by role and by level.

use std::time::Duration;

use josoor_auth::clock::Clock;
use josoor_auth::domain::Timestamp;
use serde_json::Value;

use crate::refresh::row_of;
use crate::second_factors::{owner, standing};
use crate::support::command::run;
use crate::support::server::{Server, Stage as TheStage, Tokens, on_both};

const MINUTE: Duration = Duration::from_mins(1);

async fn start(stage: &mut TheStage, clock: &Clock) -> (Server, Server) {
    stage.set("JOSOOR_AUTH__SESSION__IDLE_BY", "admin=10m,acr2=5m");
    stage.set("JOSOOR_AUTH__SESSION__ABSOLUTE_BY", "admin=1h acr2=30m");
    (
        stage.start_with(clock.clone()).await,
        stage.start_with(clock.clone()).await,
    )
}

/// That the session is over, at both nodes and for both tokens.
async fn is_over(servers: [&Server; 2], tokens: &Tokens) {
    for server in servers {
        // By its session, or by itself: it ends with the idle time that it was issued in.
        assert_eq!(server.get("/auth/me", &tokens.access).await.status, 401);
        server
            .refresh(&tokens.refresh)
            .await
            .is_problem(401, "session_expired");
    }
}

on_both!(
    a_session_ends_as_its_role_says_when_idle_and_whatever_happens,
    async |mut stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let (one, two) = start(&mut stage, &clock).await;
        let user = one.register("user@example.com").await;
        let admin = one.register_admin("admin@example.com").await;

        // Unused for longer than administrators may be, and not than users.
        clock.advance(11 * MINUTE);
        is_over([&one, &two], &admin).await;
        for server in [&one, &two] {
            server.get("/auth/me", &user.access).await.is(200);
        }

        // Used, also by a refresh at the other node, a session lives until its role's end.
        let mut admin = one.log_in("admin@example.com").await;
        for round in 0..8 {
            clock.advance(7 * MINUTE);
            let server = if round % 2 == 0 { &two } else { &one };
            admin = Tokens::of(&server.refresh(&admin.refresh).await.is(200));
        }
        // It is 56 minutes old; the token ends with the session.
        let expires = admin.claim("exp").as_i64().expect("a number");
        assert!(expires - one.app.clock.now().as_secs() <= 4 * 60, "{expires}");
        clock.advance(5 * MINUTE);
        for server in [&one, &two] {
            let answer = server.refresh(&admin.refresh).await;
            answer.is_problem(401, "session_expired");
            assert_eq!(server.get("/auth/me", &admin.access).await.status, 401);
        }
        one.get("/auth/me", &user.access).await.is(200);
        one.stop().await;
        two.stop().await;
    }
);

on_both!(
    a_promotion_counts_from_the_next_request_on,
    async |mut stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let (one, two) = start(&mut stage, &clock).await;
        let user = one.register("user@example.com").await;
        clock.advance(20 * MINUTE);
        run(&stage, &["user", "set-role", "user@example.com", "admin"]).with(0);
        // The other node has no copy of its own: the one in Redis was written for the earlier role.
        two.get("/auth/me", &user.access)
            .await
            .is_problem(401, "session_expired");
        two.refresh(&user.refresh)
            .await
            .is_problem(401, "session_expired");
        one.stop().await;
        two.stop().await;
    }
);

on_both!(
    a_session_of_two_factors_ends_as_its_level_says,
    async |mut stage: Stage| {
        let clock = standing();
        let (one, two) = start(&mut stage, &clock).await;
        let person = owner(&one, "person@example.com").await;
        one.get("/auth/me", &person.tokens.access).await.is(200);
        clock.advance(6 * MINUTE);
        is_over([&one, &two], &person.tokens).await;
        one.stop().await;
        two.stop().await;
    }
);

/// The ends of the sessions that a list has, all of which it counts.
async fn listed(server: &Server, path: &str, access: &str) -> Vec<Timestamp> {
    let list = server.get(path, access).await.is(200).json;
    let items = list["items"].as_array().expect("sessions");
    assert_eq!(list["total"], items.len(), "{list}");
    items.iter().map(end).collect()
}

fn end(session: &Value) -> Timestamp {
    let text = session["expires_at"].as_str().expect("a time");
    text.parse().expect("RFC 3339")
}

on_both!(
    lists_have_the_sessions_that_are_live_and_the_ends_that_hold,
    async |mut stage: Stage| {
        let clock = standing();
        let (one, two) = start(&mut stage, &clock).await;
        let own = "/auth/sessions";
        let user = one.register("user@example.com").await;
        let admin = one.register_admin("admin@example.com").await;
        let person = owner(&one, "person@example.com").await;
        let began = clock.now();
        let first_end = began.plus(10 * MINUTE);
        assert_eq!(listed(&one, own, &admin.access).await, [first_end]);
        // Of another role and of another level than the session that asks.
        let users = format!("/admin/users/{}/sessions", user.user_id);
        let by_row = row_of(&one, &user).await.ends_at();
        assert!(by_row > began.plus(60 * MINUTE), "{by_row}");
        assert_eq!(listed(&two, &users, &admin.access).await, [by_row]);
        let persons = format!("/admin/users/{}/sessions", person.tokens.user_id);
        assert_eq!(
            listed(&two, &persons, &admin.access).await,
            [began.plus(5 * MINUTE)]
        );
        let export = one.get("/auth/me/export", &person.tokens.access).await.is(200);
        assert_eq!(end(&export.json["sessions"][0]), began.plus(5 * MINUTE));

        // Over by its role, not by its row.
        clock.advance(11 * MINUTE);
        let mut admin = one.log_in("admin@example.com").await;
        let began = clock.now();
        assert_eq!(listed(&two, own, &admin.access).await, [began.plus(10 * MINUTE)]);
        assert!(listed(&two, &persons, &admin.access).await.is_empty());
        assert_eq!(listed(&two, &users, &admin.access).await, [by_row]);

        // Used, it ends with the hour.
        for _ in 0..8 {
            clock.advance(7 * MINUTE);
            admin = Tokens::of(&two.refresh(&admin.refresh).await.is(200));
        }
        assert_eq!(listed(&one, own, &admin.access).await, [began.plus(60 * MINUTE)]);
        let shown = run(&stage, &["session", "list", "admin@example.com", "--json"]).with(0);
        let shown: Vec<Value> = serde_json::from_str(&shown.out).expect("JSON");
        // The operator's clock is the machine's, which has not come to the first one's end.
        let ends: Vec<_> = shown.iter().map(end).collect();
        assert_eq!(ends, [began.plus(60 * MINUTE), first_end]);
        one.stop().await;
        two.stop().await;
    }
);
