//! Servers that tests start: each dies with the test binary, even when that is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Starts "$@" in the background with its output in `log`, tells its process id, and kills it when standard input
/// ends. The input is a pipe from the test binary, which the system closes however the binary ends. Signals of a
/// terminal are ignored, because the shell has to outlive the test binary.
const GUARD: &str = r#"
trap '' INT HUP TERM
"$@" >log 2>&1 </dev/null &
server=$!
echo "$server"
cat >/dev/null
kill -KILL "$server" 2>/dev/null
wait "$server" 2>/dev/null
"#;

/// A running server process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    shell: Child,
    lifeline: Option<ChildStdin>,
    id: u32,
}

impl Process {
    /// Runs a program in a directory, where its output goes to `log`. The program must not fork away from its
    /// process; to change the user, go through a program that replaces itself, such as `setpriv`.
    pub(crate) fn spawn(directory: &Path, program: &str, arguments: &[String]) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "guard", program])
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh can be started");
        let lifeline = shell.stdin.take();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("standard output is piped"))
            .read_line(&mut line)
            .expect("the shell tells the process id");
        let id = line.trim().parse().expect("a process id");
        Self { shell, lifeline, id }
    }

    /// Sends a signal by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id.to_string())
            .status()
            .expect("kill can be started");
        assert!(sent.success(), "process {} takes signal {name}", self.id);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.lifeline = None;
        // Nothing can be done about a shell that cannot be waited for.
        let _ = self.shell.wait();
    }
}

/// A TCP port that nobody listens on and that this binary has not given out before.
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
