//! Does the time of a refused sign-in tell whether the address has an account?
//!
//! Sends pairs of refused sign-ins over HTTP, one to a registered address with a wrong password and one to an address
//! that nobody has, in random order within each pair, and reports how well the best threshold on the time tells them
//! apart: the area under the ROC curve, where 0.5 is blind guessing and 1 is certainty.
//!
//! `cargo bench --bench sign_in_timing`, or `make bench`. Settings: `PAIRS` (1000), `COST` (12).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use josoor_auth::app::App;
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;
use josoor_auth::http::serve::{ServeOptions, serve};
use josoor_auth::{crypto, http};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Above this the issue is not "noise".
const AUC_AT_MOST: f64 = 0.55;

fn setting(name: &str, default: u32) -> anyhow::Result<u32> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is a number")),
        Err(_) => Ok(default),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (pairs, cost) = (setting("PAIRS", 1000)?, setting("COST", 12)?);
    let directory = tempfile::tempdir()?;
    let environment = BTreeMap::from([
        (
            "DATABASE_URL".to_owned(),
            format!("sqlite://{}", directory.path().join("auth.db").display()),
        ),
        ("JOSOOR_AUTH__PASSWORD__BCRYPT_COST".to_owned(), cost.to_string()),
        ("JOSOOR_AUTH__LIMITS__ENABLED".to_owned(), "false".to_owned()),
    ]);
    let config = Config::parse(None, &environment)?;
    let app = App::open(config, Clock::System).await?;
    app.start();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let server = tokio::spawn(serve(
        listener,
        http::router(&app),
        ServeOptions::default(),
        stopped,
        app.readiness(),
    ));

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let post = async |path: &str, email: &str, password: &str| -> anyhow::Result<(u16, Duration)> {
        let body = json!({ "email": email, "password": password });
        let begun = Instant::now();
        let response = client.post(format!("{base}{path}")).json(&body).send().await?;
        let status = response.status().as_u16();
        response.bytes().await?;
        Ok((status, begun.elapsed()))
    };
    ensure!(
        post("/auth/register", "known@example.com", "Correct-Horse-1")
            .await?
            .0
            == 201,
        "registration failed"
    );

    let (mut known, mut unknown) = (Vec::new(), Vec::new());
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
            let (status, time) = post("/auth/login", email, "Wrong-Password-1").await?;
            ensure!(status == 401, "a sign-in was answered with {status}");
            if is_known { &mut known } else { &mut unknown }.push(time);
        }
        if (pair + 1) % 100 == 0 {
            eprintln!("{} of {pairs} pairs", pair + 1);
        }
    }
    stop.cancel();
    server.await?;
    app.close().await;

    let area = auc(&known, &unknown);
    // A classifier may as well call the faster one known.
    let area = area.max(1.0 - area);
    println!("refused sign-ins, SQLite, bcrypt cost {cost}, {pairs} interleaved pairs");
    println!("| address | median ms | 90th percentile ms |");
    println!("|---|---|---|");
    println!(
        "| registered | {:.2} | {:.2} |",
        percentile(&known, 0.5),
        percentile(&known, 0.9)
    );
    println!(
        "| unknown | {:.2} | {:.2} |",
        percentile(&unknown, 0.5),
        percentile(&unknown, 0.9)
    );
    println!("AUC {area:.3} (0.5 tells nothing; at most {AUC_AT_MOST} wanted)");
    ensure!(
        area <= AUC_AT_MOST,
        "the time tells whether an address is registered"
    );
    Ok(())
}

/// The chance that a random one of `left` took longer than a random one of `right` (Mann and Whitney), ties counted
/// half.
fn auc(left: &[Duration], right: &[Duration]) -> f64 {
    let mut wins = 0.0;
    for one in left {
        for other in right {
            wins += match one.cmp(other) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "some millions of pairs at most")]
    let all = (left.len() * right.len()) as f64;
    wins / all
}

/// In milliseconds.
fn percentile(times: &[Duration], share: f64) -> f64 {
    let mut times: Vec<_> = times.iter().map(Duration::as_secs_f64).collect();
    times.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a list of some thousands"
    )]
    let index = ((times.len() - 1) as f64 * share) as usize;
    times[index] * 1000.0
}
