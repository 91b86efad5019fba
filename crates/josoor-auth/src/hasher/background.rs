//! The place of the pool's threads among all that want a core.

use std::io;

/// Requests come first where both want a core, by about nine to one; at Linux' lowest priority sign-ins would starve for as
/// long as requests keep all cores busy.
const NICENESS: i32 = 10;

/// Gives this thread a low priority and, where Linux knows of that, long turns.
///
/// A priority alone says how the cores are shared in the long run, and among the threads of one session or container only. A
/// database or a proxy beside this program that wakes for a request may still have to wait until a hash has had its turn.
/// Linux 6.12 and later let it in at once if its turns are shorter than those of the thread that has the core
/// (`sched_attr::sched_runtime`); older ones take no notice.
pub(super) fn lower_priority() -> io::Result<()> {
    let niceness = rustix::process::nice(NICENESS)?;
    if let Err(error) = take_long_turns(niceness) {
        // Sandboxes may not know the call. The priority is what matters more.
        tracing::debug!(%error, "passwords are computed in turns of the usual length");
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library offers this call")]
fn take_long_turns(niceness: i32) -> io::Result<()> {
    /// The longest that Linux allows, in nanoseconds.
    const TURN: u64 = 100_000_000;
    const THIS_THREAD: libc::pid_t = 0;
    const NO_FLAGS: libc::c_uint = 0;

    let attributes = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).map_err(io::Error::other)?,
        sched_policy: libc::SCHED_OTHER.unsigned_abs(),
        sched_flags: 0,
        // What the thread has already: the call sets all at once.
        sched_nice: niceness,
        sched_priority: 0,
        sched_runtime: TURN,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of the attributes, which live until it returns, and writes none where the size is
    // one that it knows; it keeps no pointer to them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            THIS_THREAD,
            &raw const attributes,
            NO_FLAGS,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(not(target_os = "linux"))]
fn take_long_turns(_: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{fs, thread};

    use super::*;

    /// The number after `name :` in what Linux tells of this thread, if it tells that.
    fn sched_value(name: &str) -> Option<u64> {
        let all = fs::read_to_string("/proc/thread-self/sched").ok()?;
        let line = all.lines().find(|line| line.starts_with(name))?;
        line.split_once(':')?.1.trim().parse().ok()
    }

    fn niceness() -> i32 {
        let stat = fs::read_to_string("/proc/thread-self/stat").expect("Linux has it");
        // What stands before the last parenthesis is the name; the niceness is the nineteenth field of all.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        fields
            .split(' ')
            .nth(16)
            .and_then(|field| field.parse().ok())
            .expect("a number")
    }

    fn knows_turns() -> bool {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux has it");
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|part| part.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(6), Some(12))
    }

    #[test]
    fn has_a_low_priority_and_long_turns() {
        let before = niceness();
        let (niceness, turn, allowed) = thread::spawn(|| {
            lower_priority().unwrap();
            let (niceness, turn) = (niceness(), sched_value("se.slice"));
            // Asked again, only to know whether a sandbox forbids it.
            (niceness, turn, take_long_turns(niceness).is_ok())
        })
        .join()
        .unwrap();
        assert_eq!(niceness, (before + NICENESS).min(19));
        if let (true, Some(turn)) = (allowed && knows_turns(), turn) {
            assert_eq!(turn, 100_000_000);
        }
        assert_eq!(self::niceness(), before, "other threads keep theirs");
    }
}
