//! Does the time of "forgot password", or of a registration under `verify_first`, tell whether the address has an account?
//!
//! Sends pairs of each over HTTP, one for a registered address and one for an address without an account, in random order
//! within each pair, and reports how well the best threshold on the time tells them apart (see `sign_in_timing`). Each
//! address is used once, and the outbox is empty before each request, so that what a request leaves to be done is not
//! counted as the next one's time. That is shown by itself: the time of a request which is sent right behind a
//! "forgot password", to a client that times the work that follows it.
//!
//! `cargo bench --bench forgot_timing`, or `make bench`. Settings: `PAIRS` (1000), `COST` (4: the less a hash costs, the less
//! can hide behind it).

mod timing;

use std::time::Duration;

use anyhow::ensure;
use josoor_auth::act::Client;
use josoor_auth::domain::{Email, Locale, Password, Role};
use josoor_auth::{admin::users, crypto};
use serde_json::json;
use timing::{AUC_AT_MOST, Server, Times, setting};

const PASSWORD: &str = "Correct-Horse-1";

/// Waits until nothing is in the outbox.
async fn settle(server: &Server) -> anyhow::Result<()> {
    loop {
        if server.app.db.read().await?.mail_backlog().await?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (pairs, cost) = (setting("PAIRS", 1000)?, setting("COST", 4)?);
    let settings = [
        ("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", cost.to_string()),
        ("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first".to_owned()),
    ];
    let server = Server::start(&settings.each_ref().map(|(name, value)| (*name, value.as_str()))).await?;
    // Addresses of equal length, so that nothing but the look-up differs.
    let address = |is_known: bool, pair: u32| {
        let name = if is_known { 'k' } else { 'x' };
        format!("{name}{pair:06}@example.com")
    };
    for pair in 0..pairs {
        let email = Email::parse(&address(true, pair)).map_err(|reason| anyhow::anyhow!(reason.message))?;
        let password = Password::parse(PASSWORD).map_err(|reason| anyhow::anyhow!(reason.message))?;
        let client = Client::default();
        users::create(
            &server.app,
            &email,
            Some(password),
            None,
            Role::User,
            Locale::En,
            &client,
        )
        .await?;
    }

    let (mut forgot, mut behind, mut register) = (Times::default(), Times::default(), Times::default());
    for pair in 0..pairs {
        let known_first = crypto::random_bytes::<1>()[0] & 1 == 0;
        for is_known in [known_first, !known_first] {
            let email = address(is_known, pair);
            let body = json!({ "email": email });
            settle(&server).await?;
            let (status, time) = server.post("/auth/password/forgot", &body).await?;
            ensure!(status == 202, "forgot password was answered with {status}");
            forgot.push(is_known, time);
            // An address that is not asked for otherwise, and has no account.
            let neutral = json!({ "email": address(false, pairs + pair) });
            let (_, time) = server.post("/auth/password/forgot", &neutral).await?;
            behind.push(is_known, time);
            let body = json!({ "email": email, "password": PASSWORD });
            settle(&server).await?;
            let (status, time) = server.post("/auth/register", &body).await?;
            ensure!(status == 202, "a registration was answered with {status}");
            register.push(is_known, time);
        }
        if (pair + 1) % 100 == 0 {
            eprintln!("{} of {pairs} pairs", pair + 1);
        }
    }
    server.stop().await?;

    let forgot = forgot.report(&format!("forgot password, SQLite, {pairs} interleaved pairs"));
    println!();
    let register = register.report(&format!(
        "registration under verify_first, SQLite, bcrypt cost {cost}, {pairs} interleaved pairs"
    ));
    println!();
    behind.report("another request, sent right behind a forgot password for this address (for information)");
    ensure!(
        forgot.max(register) <= AUC_AT_MOST,
        "the time tells whether an address is registered"
    );
    Ok(())
}
