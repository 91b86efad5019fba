//! Servers that tests start: each dies with the test binary, even when that is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

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

/// A TCP port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
