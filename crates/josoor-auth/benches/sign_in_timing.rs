//! Does the time of a refused sign-in tell whether the address has an account?
//!
//! Sends pairs of refused sign-ins over HTTP, one to a registered address with a wrong password and one to an address
//! without an account, in random order within each pair, and reports how well the best threshold on the time separates them
//! apart: the area under the ROC curve, where 0.5 is blind guessing and 1 is certainty.
//!
//! `cargo bench --bench sign_in_timing`, or `make bench`. Settings: `PAIRS` (1000), `COST` (12).

mod timing;

use anyhow::ensure;
use josoor_auth::crypto;
use serde_json::json;
use timing::{AUC_AT_MOST, Server, Times, setting};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (pairs, cost) = (setting("PAIRS", 1000)?, setting("COST", 12)?);
    let server = Server::start(&[("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", &cost.to_string())]).await?;
    let known = json!({ "email": "known@example.com", "password": "Correct-Horse-1" });
    let (status, _) = server.post("/auth/register", &known).await?;
    ensure!(status == 201, "registration failed");

    let mut times = Times::default();
    for pair in 0..pairs {
        // Addresses of equal length, so that nothing but the look-up differs.
        let stranger = format!("x{:04}@example.com", pair % 10_000);
        let known_first = crypto::random_bytes::<1>()[0] & 1 == 0;
        for is_known in [known_first, !known_first] {
            let email = if is_known {
                "known@example.com"
            } else {
                stranger.as_str()
            };
            let body = json!({ "email": email, "password": "Wrong-Password-1" });
            let (status, time) = server.post("/auth/login", &body).await?;
            ensure!(status == 401, "a sign-in was answered with {status}");
            times.push(is_known, time);
        }
        if (pair + 1) % 100 == 0 {
            eprintln!("{} of {pairs} pairs", pair + 1);
        }
    }
    server.stop().await?;

    let area = times.report(&format!(
        "refused sign-ins, SQLite, bcrypt cost {cost}, {pairs} interleaved pairs"
    ));
    ensure!(
        area <= AUC_AT_MOST,
        "the time tells whether an address is registered"
    );
    Ok(())
}
