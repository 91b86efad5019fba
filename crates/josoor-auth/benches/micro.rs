//! The parts of a request, one by one: `cargo bench -p josoor-auth --bench micro`.

use std::hint::black_box;

use anyhow::Context as _;
use criterion::Criterion;
use josoor_auth::act::Client;
use josoor_auth::admin::users;
use josoor_auth::app::App;
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;
use josoor_auth::domain::{Email, Locale, Password, Role, SessionId};
use josoor_auth::sessions::{self, LogIn, SignInWith};
use josoor_auth_verify::{Algorithm, TokenVerifier, VerificationKey};

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("auth.db");
    let secret = "a secret of 32 bytes, in a benchmark";
    let environment = [
        ("JWT_SECRET", secret.to_owned()),
        ("DATABASE_URL", format!("sqlite://{}", file.display())),
        ("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "4".to_owned()),
    ];
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let config = Config::parse(None, &environment)?;
    let app = runtime.block_on(App::open(config, Clock::System))?;
    let token = runtime.block_on(sign_in(&app))?;
    let now = app.clock.now();
    let claims = app.keys.access.verify_as_read(&token, now)?;
    let session = SessionId(claims.sid);

    let mut criterion = Criterion::default().configure_from_args();
    let verifier = TokenVerifier::new("http://localhost:8000", None)
        .with_memory(0)
        .with_key(VerificationKey::hmac(None, Algorithm::HS256, secret.as_bytes())?);
    criterion.bench_function("token: verified in full", |bench| {
        bench.iter(|| assert!(verifier.verify(black_box(&token), now.as_secs()).is_ok()));
    });
    criterion.bench_function("token: verified a moment ago", |bench| {
        bench.iter(|| assert!(app.keys.access.verify_as_read(black_box(&token), now).is_ok()));
    });
    criterion.bench_function("cache: session and user, near", |bench| {
        bench.iter(|| assert!(runtime.block_on(app.cache.resolve(&claims, now)).is_ok()));
    });
    criterion.bench_function("token, session and user", |bench| {
        bench.iter(|| {
            let caller = runtime.block_on(sessions::authenticate(&app, black_box(&token)));
            assert!(caller.is_ok());
        });
    });
    criterion.bench_function("store: a session by its id, SQLite", |bench| {
        bench.iter(|| {
            let read = runtime.block_on(async { app.db.read().await?.session_by_id(session).await });
            assert!(read.is_ok_and(|found| found.is_some()));
        });
    });
    for cost in [4, 8] {
        criterion.bench_function(&format!("hash: bcrypt at cost {cost}, one"), |bench| {
            bench.iter(|| bcrypt_interleaved::all(cost, &[(b"correct horse".as_slice(), [9; 16])]));
        });
        criterion.bench_function(&format!("hash: bcrypt at cost {cost}, four"), |bench| {
            bench.iter(|| bcrypt_interleaved::all(cost, &[(b"correct horse".as_slice(), [9; 16]); 4]));
        });
    }
    criterion.final_summary();
    runtime.block_on(app.close());
    Ok(())
}

/// The access token of a user who is signed in.
async fn sign_in(app: &App) -> anyhow::Result<String> {
    let email = Email::parse("ada@example.com").ok().context("an address")?;
    let password = || {
        Password::parse("correct horse battery 9")
            .ok()
            .context("a password")
    };
    let client = Client::default();
    users::create(
        app,
        &email,
        Some(password()?),
        None,
        Role::User,
        Locale::En,
        &client,
    )
    .await?;
    let done = sessions::log_in(app, &email, password()?, SignInWith::default(), &client).await?;
    let LogIn::Opened(issued) = done else {
        anyhow::bail!("a second factor is asked for");
    };
    Ok(issued.access_token.expose().to_owned())
}
