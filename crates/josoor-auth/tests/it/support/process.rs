//! Child processes that never outlive the tests, also when the tests are killed.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A shell stands between us and the program and reads from a pipe that only we hold. However we end, the kernel closes
/// the pipe, the read ends, and the shell ends the program: politely first, for good after five seconds. SIGCONT is for
/// a program that a test has stopped, which would otherwise never see the SIGTERM.
const KEEPER: &str = r#"
"$@" </dev/null >/dev/null 2>&1 &
pid=$!
echo "$pid"
cat >/dev/null
kill -TERM "$pid" 2>/dev/null
kill -CONT "$pid" 2>/dev/null
(sleep 5; kill -KILL "$pid") </dev/null >/dev/null 2>&1 &
wait "$pid"
kill "$!" 2>/dev/null
"#;

/// A running program. Dropping it ends the program and waits until it is gone.
#[derive(Debug)]
pub(crate) struct Process {
    keeper: Child,
    pid: u32,
}

impl Process {
    /// Starts `command`, found on `PATH`, with `args`. Its input is empty and its output is dropped.
    ///
    /// A command that does not exist is not noticed here: wait for what the program should be doing.
    pub(crate) fn spawn<I, S>(command: impl AsRef<OsStr>, args: I) -> io::Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(command)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C and a CI runner's kill go to our whole group; the keeper must survive them to clean up.
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        let stdout = keeper
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no pipe from the keeper"))?;
        BufReader::new(stdout).read_line(&mut line)?;
        let pid = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { keeper, pid })
    }

    /// The program's process id. It stays taken until this value is dropped, also when the program has ended.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by its short name: `STOP`, `CONT`, `TERM`, `KILL`. A program that has ended is no error.
    pub(crate) fn signal(&self, name: &str) {
        // The shell's own `kill`: the standard library sends no signals, and the program of that name may be missing.
        let _ = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &self.pid.to_string()])
            .stderr(Stdio::null())
            .status();
    }

    /// Ends the program at once, as a crash would, and waits until it is gone.
    pub(crate) fn kill(self) {
        self.signal("KILL");
    }

    /// Whether the program is still there; a stopped one is, one that ended is not.
    pub(crate) fn is_running(&self) -> bool {
        // The third field is the state. The name before it is in parentheses and may hold spaces.
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| {
                stat.rsplit_once(") ")
                    .map(|(_, rest)| !rest.starts_with(['Z', 'X']))
            })
            .unwrap_or(false)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A TCP port without a listener that this binary has not given out before.
///
/// The ports are below the range that systems take for outgoing connections, or a connection of another test could sit
/// on the port before its server does.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    // Test binaries that run side by side start at different places.
    let start = std::process::id().wrapping_mul(1_009);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
