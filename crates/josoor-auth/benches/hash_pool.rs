//! How many passwords the pool verifies in a second with 32 callers, how long each waits, and how long a lone one takes:
//! beside the `bcrypt` crate on as many threads, with the same callers waiting in one queue. In turns, so that both
//! see the same machine. `cargo bench -p josoor-auth --bench hash_pool [-- COST]`

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use josoor_auth::domain::{Network, Password, PasswordHash, Requester};
use josoor_auth::hasher::{Hasher, HasherConfig, Scheme};
use josoor_auth::limits::PasswordCheck;
use josoor_auth::passwords::NewPassword;

const CALLERS: usize = 32;
const ROUNDS: usize = 5;
/// Each round ends when every caller has been answered this often.
const EACH: usize = 3;

type Work = Arc<dyn Fn() + Send + Sync>;

fn main() {
    let cost = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(12);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    let hasher = Hasher::new(HasherConfig {
        threads,
        queue: CALLERS,
        scheme: Scheme::Bcrypt { cost },
    })
    .expect("a pool");
    let password = || Password::parse("correct horse").expect("a password");
    let requester = || Requester::Network(Network::Unknown);
    let stored = runtime
        .block_on(hasher.hash(NewPassword::not_checked(password()), requester()))
        .expect("a hash");
    let crate_stored = bcrypt::hash("correct horse", cost).expect("a hash");

    let pool: Work = {
        let (hasher, handle) = (hasher.clone(), runtime.handle().clone());
        Arc::new(move || {
            let stored = Some(PasswordHash::from_stored(stored.as_str().to_owned()));
            let verdict =
                handle.block_on(hasher.verify(password(), stored, PasswordCheck::not_counted(requester())));
            assert!(verdict.is_ok(), "{verdict:?}");
        })
    };
    let plain: Work = {
        let permits = Arc::new(tokio::sync::Semaphore::new(threads));
        let handle = runtime.handle().clone();
        Arc::new(move || {
            let _permit = handle.block_on(permits.acquire());
            assert!(bcrypt::verify("correct horse", &crate_stored).expect("computed"));
        })
    };
    let mut results: [Vec<Round>; 2] = Default::default();
    for _ in 0..ROUNDS {
        results[0].push(round(&plain));
        results[1].push(round(&pool));
    }
    println!("bcrypt at cost {cost}, {threads} threads, {CALLERS} callers, medians of {ROUNDS} rounds");
    println!(
        "{:<14}{:>12}{:>20}{:>14}",
        "", "verified/s", "median latency", "one alone"
    );
    let [plain, pool] = results.map(|rounds| {
        (
            middle(rounds.iter().map(|round| round.rate)),
            middle(rounds.iter().map(|round| round.latency)),
            middle(rounds.iter().map(|round| round.alone)),
        )
    });
    for (name, figures) in [("bcrypt crate", plain), ("pool", pool)] {
        println!(
            "{name:<14}{:>12.2}{:>18.0}ms{:>12.0}ms",
            figures.0,
            figures.1 * 1e3,
            figures.2 * 1e3
        );
    }
    println!(
        "{:<14}{:>12.2}{:>20.2}{:>14.2}",
        "ratio",
        pool.0 / plain.0,
        pool.1 / plain.1,
        pool.2 / plain.2
    );
}

struct Round {
    /// A second.
    rate: f64,
    /// The median, in seconds.
    latency: f64,
    /// In seconds.
    alone: f64,
}

fn round(work: &Work) -> Round {
    let alone = time(work).as_secs_f64();
    let latencies = Mutex::new(Vec::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let took = time(work).as_secs_f64();
                    latencies
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(took);
                }
            });
        }
    });
    let took = begun.elapsed().as_secs_f64();
    let latencies = latencies.into_inner().unwrap_or_else(PoisonError::into_inner);
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let rate = latencies.len() as f64 / took;
    Round {
        rate,
        latency: middle(latencies.into_iter()),
        alone,
    }
}

fn time(work: &Work) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
