//! Lifetimes of sessions by role and by level.

use std::time::Duration;

use josoor_auth::clock::Clock;

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
