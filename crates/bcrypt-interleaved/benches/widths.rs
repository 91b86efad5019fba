//! How long each width takes beside the `bcrypt` crate, in turns, so that both see the same machine.
//! `cargo bench -p bcrypt-interleaved [-- COST]`

use std::hint::black_box;
use std::time::{Duration, Instant};

use bcrypt_interleaved::{Salt, digests};

const ROUNDS: usize = 9;

fn main() {
    let cost = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(12);
    let salt = [9; 16];
    let mut plain = Vec::new();
    let mut widths: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        plain.push(time(|| {
            black_box(bcrypt::bcrypt(cost, salt, black_box(b"correct horse\0")));
        }));
        widths[0].push(time(|| interleaved::<1>(cost, salt)));
        widths[1].push(time(|| interleaved::<2>(cost, salt)));
        widths[2].push(time(|| interleaved::<3>(cost, salt)));
        widths[3].push(time(|| interleaved::<4>(cost, salt)));
    }
    let plain = median(&mut plain);
    println!("cost {cost}, one thread, medians of {ROUNDS}");
    println!("{:<24}{:>12}{:>14}{:>14}", "", "time", "x crate", "hashes/s x");
    println!("{:<24}{plain:>12.1?}{:>14.2}{:>14.2}", "bcrypt crate", 1.0, 1.0);
    for (times, width) in widths.iter_mut().zip(1_u8..) {
        let ratio = median(times).as_secs_f64() / plain.as_secs_f64();
        println!(
            "{:<24}{:>12.1?}{ratio:>14.2}{:>14.2}",
            format!("{width} interleaved"),
            median(times),
            f64::from(width) / ratio
        );
    }
}

fn interleaved<const N: usize>(cost: u32, salt: Salt) {
    black_box(digests(cost, [(black_box(b"correct horse".as_slice()), salt); N]));
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
