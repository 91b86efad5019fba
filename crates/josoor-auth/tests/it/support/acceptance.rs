//! Tests that `make acceptance` runs at full size, and `make test` in small. Their names begin with `acceptance_`.

use std::io::Write as _;

/// `small` under `make test`, `full` under `make acceptance`.
pub(crate) fn size(small: usize, full: usize) -> usize {
    if std::env::var_os("ACCEPTANCE_REPORT").is_some() {
        full
    } else {
        small
    }
}

/// The seed of everything that such a test chooses at random: `ACCEPTANCE_SEED`, or always the same.
pub(crate) fn seed() -> u64 {
    std::env::var("ACCEPTANCE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(29_875)
}

/// Adds a figure to the report, and prints it.
pub(crate) fn record(test: &str, figure: &str) {
    println!("{test}: {figure}");
    let Some(path) = std::env::var_os("ACCEPTANCE_REPORT") else {
        return;
    };
    let line = format!("| {test} | {figure} |\n");
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    // One write, so that tests that run beside each other do not mix their lines.
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the report can be written");
}
