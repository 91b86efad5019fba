//! The least that can be done, to measure a server beside it:
//!
//! * `bare plain PORT BYTES`: an axum server that only answers, with a body of this size;
//! * `bare refresh PORT DATABASE_URL CONNECTIONS`: one conditional update through a pool of this size, and two signatures, at
//!   `POST /auth/refresh`;
//! * `bare login PORT COST`: a hash of the `bcrypt` crate at `POST /auth/login`, as many at once as there are cores;
//! * `bare bcrypt COST SECONDS`: hashes a second of the `bcrypt` crate on all cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Rows that refreshes take turns at: as many as no two of them meet at one.
const ROWS: i64 = 10_000;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["plain", port, bytes] => serve(port, plain(bytes.parse()?)),
        ["refresh", port, url, connections] => {
            let runtime = tokio::runtime::Runtime::new()?;
            let router = runtime.block_on(refresh(url, connections.parse()?))?;
            runtime.block_on(listen(port, router))
        }
        ["login", port, cost] => serve(port, login(cost.parse()?)),
        ["bcrypt", cost, seconds] => {
            let rate = hashes(cost.parse()?, Duration::from_secs(seconds.parse()?));
            println!("{rate:.2}");
            Ok(())
        }
        _ => Err(
            "usage: bare plain PORT BYTES | refresh PORT DATABASE_URL CONNECTIONS | login PORT COST | bcrypt COST SECONDS"
                .into(),
        ),
    }
}

fn serve(port: &str, router: Router) -> Outcome {
    tokio::runtime::Runtime::new()?.block_on(listen(port, router))
}

async fn listen(port: &str, router: Router) -> Outcome {
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    Ok(axum::serve(listener, router).await?)
}

fn plain(bytes: usize) -> Router {
    // Made once: nothing is to be spared that a plain server could spare.
    let body: &'static str = format!("{{\"a\":\"{}\"}}", "a".repeat(bytes.saturating_sub(8))).leak();
    let answer = move || async move { ([("content-type", "application/json")], body) };
    Router::new().route("/auth/me", get(answer))
}

async fn refresh(url: &str, connections: u32) -> Outcome<Router> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .connect(url)
        .await?;
    for sql in [
        "create table bare_sessions (id bigint primary key, generation bigint not null)",
        "insert into bare_sessions select id, 0 from generate_series(0, 9999) as id",
    ] {
        sqlx::query(sql).execute(&pool).await?;
    }
    let generations: Arc<Vec<AtomicU64>> = Arc::new((0..ROWS).map(|_| AtomicU64::new(0)).collect());
    let (turn, key) = (Arc::new(AtomicUsize::new(0)), EncodingKey::from_secret(&[7; 32]));
    let answer = move || {
        let (pool, generations, turn, key) = (
            pool.clone(),
            Arc::clone(&generations),
            Arc::clone(&turn),
            key.clone(),
        );
        async move {
            let row = turn.fetch_add(1, Ordering::Relaxed) % generations.len();
            let generation = generations[row].fetch_add(1, Ordering::Relaxed);
            let (row, generation) = (
                i64::try_from(row).unwrap_or(0),
                i64::try_from(generation).unwrap_or(0),
            );
            let updated = sqlx::query(
                "update bare_sessions set generation = generation + 1 where id = $1 and generation = $2",
            )
            .bind(row)
            .bind(generation)
            .execute(&pool)
            .await;
            if !updated.is_ok_and(|done| done.rows_affected() == 1) {
                return (StatusCode::INTERNAL_SERVER_ERROR, String::new());
            }
            let claims = json!({
                "iss": "http://localhost:8000", "sub": "1", "email": "ada@example.com", "role": "user", "sid": row,
                "gen": generation, "iat": 1_790_000_000_i64, "exp": 4_000_000_000_i64,
            });
            let token = || encode(&Header::default(), &claims, &key).unwrap_or_default();
            let body = json!({ "access_token": token(), "refresh_token": token() });
            (StatusCode::OK, body.to_string())
        }
    };
    Ok(Router::new().route("/auth/refresh", post(answer)))
}

fn login(cost: u32) -> Router {
    let permits = Arc::new(tokio::sync::Semaphore::new(cores()));
    let answer = move || {
        let permits = Arc::clone(&permits);
        async move {
            let _permit = permits.acquire().await;
            #[expect(clippy::disallowed_methods, reason = "this is the plain pool")]
            let done = tokio::task::spawn_blocking(move || hash(cost)).await;
            match done {
                Ok(()) => StatusCode::OK,
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
            }
        }
    };
    Router::new().route("/auth/login", post(answer))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn hash(cost: u32) {
    std::hint::black_box(bcrypt::bcrypt(cost, [9; 16], b"correct horse\0"));
}

/// A second, on all cores.
fn hashes(cost: u32, time: Duration) -> f64 {
    let (begun, done) = (Instant::now(), AtomicUsize::new(0));
    let took = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores())
            .map(|_| {
                scope.spawn(|| {
                    while begun.elapsed() < time {
                        hash(cost);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            let _ = thread.join();
        }
        begun.elapsed()
    });
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let count = done.load(Ordering::Relaxed) as f64;
    count / took.as_secs_f64()
}
