//! The program `josoor-auth`.

use std::process::ExitCode;

/// Faster than the system's allocator under many small, short-lived allocations, which is what requests are.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, which are resident as a whole for the little that is in use of each: a third more
    // memory with a full cache, and not a request more a second. A kernel that does not know this call has none to give.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    josoor_auth::run()
}
