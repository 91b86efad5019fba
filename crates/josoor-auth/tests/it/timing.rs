//! A coarse guard beside the report of `make bench`: a refused sign-in costs the same for every address.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::mail_code::{alike, verified};
use crate::support::database;
use crate::support::server::{Answer, Server, on_both};

/// Dear enough to outweigh everything else, cheap enough to repeat.
const COST: &str = "8";

/// Fails to sign in, by one hash. How long that took.
async fn fail(server: &Server, email: &str, password: &str) -> (Duration, Answer) {
    let before = server.app.hasher.stats().done_total;
    let begun = Instant::now();
    let answer = server
        .post("/auth/login", &json!({ "email": email, "password": password }))
        .await;
    let time = begun.elapsed();
    let answer = answer.is_problem(401, "invalid_credentials");
    assert_eq!(
        server.app.hasher.stats().done_total,
        before + 1,
        "one hash for {email}"
    );
    (time, answer)
}

/// The lower quartile, which a machine that is busy with something else lengthens least.
fn typical(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 4].as_secs_f64()
}

/// That two kinds of refusal take about as long.
fn alike_in_time(what: &str, one: &[Duration], other: &[Duration]) {
    let ratio = typical(one) / typical(other);
    assert!((0.6..1.7).contains(&ratio), "{what}: {ratio:.2} times as long");
}

on_both!(
    t19_a_refused_sign_in_costs_the_same_for_every_address,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", COST);
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
                times.push(fail(&server, email, &password).await.0);
            }
        }
        alike_in_time("a known address beside an unknown one", &known, &unknown);
        server.stop().await;
    }
);

on_both!(
    a_refused_sign_in_costs_the_same_around_the_hundredth_failure,
    async |mut stage: Stage| {
        // Failures in a row after this one: one below the limit, at it, and beyond.
        const AT: [i64; 3] = [99, 100, 101];
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", COST);
        let server = stage.start().await;
        let addresses = ["known@example.com", "unknown@example.com"];
        // On an account without a verified address the limit has no effect.
        verified(&server, addresses[0]).await;
        for email in addresses {
            fail(&server, email, "Wrong-Password").await;
        }
        let mut times: [[Vec<Duration>; 2]; AT.len()] = Default::default();
        for _ in 0..20 {
            for (count, times) in AT.into_iter().zip(&mut times) {
                let mut answers = Vec::new();
                for (email, times) in addresses.into_iter().zip(times) {
                    let before = format!("update failed_sign_ins set count = {}", count - 1);
                    database::execute(&server.app.db, &before).await;
                    let (time, answer) = fail(&server, email, "Wrong-Password").await;
                    times.push(time);
                    answers.push(alike(&answer));
                    let counted = "select max(count) from failed_sign_ins";
                    assert_eq!(database::number(&server.app.db, counted).await, count);
                }
                assert_eq!(answers[0], answers[1], "failure {count}");
            }
        }
        let [below, at, beyond] = &times;
        for (what, [known, unknown]) in [("below", below), ("at", at), ("beyond", beyond)] {
            alike_in_time(
                &format!("a known address {what} the limit beside an unknown one"),
                known,
                unknown,
            );
        }
        alike_in_time(
            "an account beyond its limit beside one below",
            &beyond[0],
            &below[0],
        );
        server.stop().await;
    }
);
