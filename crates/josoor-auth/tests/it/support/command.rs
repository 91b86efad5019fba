//! The program itself, in processes of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::Stage;

const PROGRAM: &str = env!("CARGO_BIN_EXE_josoor-auth");

/// The program of the version before this one, built when first asked for: `scripts/build-previous`.
pub(crate) fn previous_program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/build-previous");
        let output = Command::new(script).output().expect("the script starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let path = String::from_utf8(output.stdout).expect("UTF-8");
        PathBuf::from(path.trim())
    })
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails the test unless standard error has all of these in it.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {self:?}");
        }
        self
    }
}

fn command(stage: &Stage, arguments: &[&str]) -> Command {
    command_of(Path::new(PROGRAM), stage, arguments)
}

/// A program with the stage's stores and nothing else of the tests' own environment.
fn command_of(program: &Path, stage: &Stage, arguments: &[&str]) -> Command {
    // The kernel ends it with the test's thread, should the test be killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(arguments)
        .current_dir(stage.directory())
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        // Never the default port, on which a developer's own server may listen.
        .env("PORT", "0")
        .envs(stage.environment());
    command
}

/// Runs a command to its end.
pub(crate) fn run(stage: &Stage, arguments: &[&str]) -> Ended {
    run_with(stage, arguments, b"")
}

/// Runs a command with something on its standard input.
pub(crate) fn run_with(stage: &Stage, arguments: &[&str], input: &[u8]) -> Ended {
    end(command(stage, arguments), input)
}

/// Runs a command whose standard output or standard error leads to readers that are gone; the code that it ends with.
pub(crate) fn run_unread(stage: &Stage, arguments: &[&str], output: bool, error: bool) -> i32 {
    let unread = |is_unread: bool| {
        if !is_unread {
            return Stdio::null();
        }
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let ended = command(stage, arguments)
        .stdin(Stdio::null())
        .stdout(unread(output))
        .stderr(unread(error))
        .status();
    ended.expect("the program ends").code().unwrap_or(-1)
}

fn end(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A command that does not read its input may be gone before it is written.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("the program ends");
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Runs a command of the version before with something on its standard input.
pub(crate) fn run_previous(stage: &Stage, arguments: &[&str], input: &[u8]) -> Ended {
    end(previous_command(stage, arguments), input)
}

/// A command of the version before, which does not know the limits that came after it.
fn previous_command(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = command_of(previous_program(), stage, arguments);
    for variable in stage.environment().keys() {
        if variable.starts_with("JOSOOR_AUTH__LIMITS__") {
            command.env_remove(variable);
        }
    }
    command.env("JOSOOR_AUTH__LIMITS__ENABLED", "false");
    command
}

/// Starts a command that the test does not wait for.
pub(crate) fn spawn(stage: &Stage, arguments: &[&str]) -> Child {
    command(stage, arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// `josoor-auth serve` in a process of its own, killed when dropped.
pub(crate) struct Serving {
    child: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Serving {
    /// Starts it on a free port and waits until it says that it runs.
    pub(crate) fn start(stage: &Stage) -> Self {
        Self::start_with(stage, "log", &[])
    }

    /// The same with a log file of this name and with further variables.
    pub(crate) fn start_with(stage: &Stage, log: &str, variables: &[(&str, &str)]) -> Self {
        let arguments: &[&str] = if stage.dev {
            &["serve", "--dev"]
        } else {
            &["serve"]
        };
        let command = command_of(Path::new(PROGRAM), stage, arguments);
        Self::start_program(command, stage, log, variables)
    }

    /// Starts the version before this one, as [`start`](Self::start) does this one.
    pub(crate) fn start_previous(stage: &Stage) -> Self {
        let command = previous_command(stage, &["serve"]);
        Self::start_program(command, stage, "log-of-previous", &[])
    }

    /// The same under a limit of resources, as `prlimit` takes it.
    pub(crate) fn start_limited(stage: &Stage, limit: &str) -> Self {
        let mut command = command_of(Path::new("prlimit"), stage, &[limit, "--", PROGRAM, "serve"]);
        if stage.dev {
            command.arg("--dev");
        }
        Self::start_program(command, stage, "log", &[])
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Starts it without waiting for anything.
    pub(crate) fn begin(stage: &Stage, log: &str) -> Self {
        let command = command_of(Path::new(PROGRAM), stage, &["serve"]);
        Self::spawn(command, stage, log, &[])
    }

    fn start_program(command: Command, stage: &Stage, log: &str, variables: &[(&str, &str)]) -> Self {
        let mut serving = Self::spawn(command, stage, log, variables);
        serving.wait_running();
        serving
    }

    fn spawn(mut command: Command, stage: &Stage, log: &str, variables: &[(&str, &str)]) -> Self {
        let log = stage.directory().join(log);
        let file = std::fs::File::create(&log).expect("a log");
        let child = command
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program starts");
        Self {
            child,
            log,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// Waits until it says that it runs.
    fn wait_running(&mut self) {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(address) = self.lines().iter().find_map(|line| {
                line["fields"]["address"]
                    .as_str()
                    .and_then(|text| text.parse().ok())
            }) {
                self.address = address;
                return;
            }
            let ended = self.child.try_wait().expect("a status");
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            assert!(Instant::now() < end, "it does not run: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it handles SIGTERM (bit 15 of `SigCgt` in proc(5)).
    pub(crate) fn wait_handles_stop(&self) {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            if caught.is_some_and(|mask| (mask >> 14) & 1 == 1) {
                return;
            }
            assert!(Instant::now() < end, "it handles no SIGTERM: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has written to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The whole lines of the log, which are JSON without a terminal.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let log = self.log();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a signal by its short name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name])
            .arg(self.child.id().to_string())
            .status()
            .expect("sh is there");
        assert!(sent.success());
    }

    /// Waits for its end. The exit code.
    pub(crate) fn wait(&mut self) -> i32 {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
