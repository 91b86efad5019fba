//! A coarse guard beside the report of `make bench`: a refused sign-in costs the same for every address.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::server::on_both;

on_both!(
    t19_a_refused_sign_in_costs_the_same_for_every_address,
    async |mut stage: Stage| {
        // Dear enough to outweigh everything else, cheap enough to repeat.
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "8");
        let server = stage.start().await;
        server.register("known@example.com").await;
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for round in 0..30 {
            for (email, times) in [
                ("known@example.com", &mut known),
                ("unknown@example.com", &mut unknown),
            ] {
                // Also long passwords, which are hashed in another format.
                let password = if round % 2 == 0 {
                    "Wrong-Password".to_owned()
                } else {
                    "Wrong".repeat(60)
                };
                let before = server.app.hasher.stats().done_total;
                let begun = Instant::now();
                let answer = server
                    .post("/auth/login", &json!({ "email": email, "password": password }))
                    .await;
                times.push(begun.elapsed());
                answer.is_problem(401, "invalid_credentials");
                assert_eq!(
                    server.app.hasher.stats().done_total,
                    before + 1,
                    "one hash for {email}"
                );
            }
        }
        let median = |times: &mut Vec<Duration>| {
            times.sort();
            times[times.len() / 2].as_secs_f64()
        };
        let ratio = median(&mut known) / median(&mut unknown);
        assert!(
            (0.6..1.7).contains(&ratio),
            "a known address takes {ratio:.2} times as long"
        );
        server.stop().await;
    }
);
