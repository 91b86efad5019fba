//! The program `josoor-auth`.

use std::process::ExitCode;

/// Faster than the system's allocator under many small, short-lived allocations, which is what requests are.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    josoor_auth::cli::run()
}
