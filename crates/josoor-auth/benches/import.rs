//! Does the import of many users need more memory than that of a few?
//!
//! Imports a tenth of the users and then all of them into new SQLite databases with the program itself, and a second time
//! each, and reports rows per second and the peak of the process's resident memory (VmHWM of Linux's /proc).
//!
//! `cargo bench --bench import`, or `make bench`. Settings: `USERS` (100000).

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Above this the memory is not flat.
const RATIO_AT_MOST: f64 = 1.25;

/// A bcrypt hash. Nothing is computed with it.
const HASH: &str = "$2b$12$abcdefghijklmnopqrstuuN9qo8uLOickgx2ZMRZoMyeIjZAgcfl7";

struct Measured {
    rows_per_second: f64,
    peak_kib: u64,
    summary: Value,
}

/// The most memory that the process has had resident so far, while it is there.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn import(directory: &Path, file: &Path, users: u32) -> anyhow::Result<Measured> {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_josoor-auth"))
        .args(["user", "import", "--json"])
        .arg(file)
        .current_dir(directory)
        .env(
            "DATABASE_URL",
            format!("sqlite://{}", directory.join("auth.db").display()),
        )
        .stdout(Stdio::piped())
        .spawn()?;
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        peak = peak_kib(child.id()).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = started.elapsed().as_secs_f64();
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the import failed");
    Ok(Measured {
        rows_per_second: f64::from(users) / seconds,
        peak_kib: peak,
        summary: serde_json::from_slice(&output.stdout)?,
    })
}

fn main() -> anyhow::Result<()> {
    let users: u32 = match std::env::var("USERS") {
        Ok(text) => text.parse().context("USERS is a number")?,
        Err(_) => 100_000,
    };
    let mut peaks = Vec::new();
    println!("users      run     rows/s  peak memory");
    for users in [users / 10, users] {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("users.csv");
        let mut text = String::from("id,email,full_name,role,password_hash,created_at\n");
        for number in 1..=users {
            writeln!(
                text,
                "{number},user{number}@example.com,User Number {number},user,{HASH},2024-01-02T03:04:05Z"
            )?;
        }
        std::fs::write(&file, text)?;
        for (run, counter) in [("first", "created"), ("second", "unchanged")] {
            let measured = import(directory.path(), &file, users)?;
            ensure!(measured.summary[counter] == users, "{}", measured.summary);
            println!(
                "{users:<10} {run:<6} {:>8.0}  {:>7.1} MiB",
                measured.rows_per_second,
                f64::from(u32::try_from(measured.peak_kib)?) / 1024.0
            );
            peaks.push(f64::from(u32::try_from(measured.peak_kib)?));
        }
    }
    let (first, second) = (peaks[2] / peaks[0], peaks[3] / peaks[1]);
    println!("ten times the users need {first:.2} times the memory; the second time {second:.2}");
    ensure!(
        first <= RATIO_AT_MOST && second <= RATIO_AT_MOST,
        "the memory grows with the file"
    );
    Ok(())
}
