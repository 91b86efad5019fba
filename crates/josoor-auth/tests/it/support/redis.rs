//! Redis servers, sentinels and clusters of Debian's `redis-server`, on free ports in temporary directories.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::process::{Process, free_port};

/// Runs a server in a directory, where its output goes to `log`.
fn spawn(directory: &Path, arguments: &[String]) -> Process {
    let directory = directory.to_str().expect("a temporary path is text");
    let before = [
        "-c",
        r#"cd "$1" && shift && exec redis-server "$@" >log 2>&1"#,
        "redis",
        directory,
    ];
    let arguments = before.into_iter().chain(arguments.iter().map(String::as_str));
    Process::spawn("sh", arguments).expect("sh is there")
}

/// One `redis-server` without persistence.
#[derive(Debug)]
pub(crate) struct RedisServer {
    process: Option<Process>,
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    pub(crate) port: u16,
}

impl RedisServer {
    /// Starts a server with further arguments, as on its command line, and waits until it answers.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at(free_port(), arguments)
    }

    /// The same at this port.
    pub(crate) fn start_at(port: u16, arguments: &[&str]) -> Self {
        let mut server = Self {
            process: None,
            directory: tempfile::tempdir().expect("a temporary directory"),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            port,
        };
        server.restart();
        server
    }

    /// Starts it again on its port, empty.
    pub(crate) fn restart(&mut self) {
        self.process = None;
        let mut arguments: Vec<String> = [
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        arguments.push(self.port.to_string());
        arguments.extend_from_slice(&self.arguments);
        self.process = Some(spawn(self.directory.path(), &arguments));
        wait_for_answer(self.port, self.directory.path());
    }

    /// A sentinel that watches a master under the name `main`, with short times.
    pub(crate) fn start_sentinel(master_port: u16) -> Self {
        let port = free_port();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master_port} 2\n\
             sentinel down-after-milliseconds main 700\nsentinel failover-timeout main 3000\n"
        );
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, settings).expect("the settings can be written");
        let arguments = [file.display().to_string(), "--sentinel".to_owned()];
        let process = spawn(directory.path(), &arguments);
        wait_for_answer(port, directory.path());
        Self {
            process: Some(process),
            directory,
            arguments: Vec::new(),
            port,
        }
    }

    /// Three masters that share all slots.
    pub(crate) fn start_cluster() -> Vec<Self> {
        let servers: Vec<Self> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                Self::start(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    "1500",
                    "--cluster-port",
                    &bus,
                ])
            })
            .collect();
        let created = std::process::Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(servers.iter().map(|server| format!("127.0.0.1:{}", server.port)))
            .arg("--cluster-yes")
            .output()
            .expect("redis-cli can be started");
        assert!(
            created.status.success(),
            "{}",
            String::from_utf8_lossy(&created.stdout)
        );
        let started = Instant::now();
        while !servers
            .iter()
            .all(|server| server.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        {
            assert!(started.elapsed() < Duration::from_secs(10), "the members agree");
            std::thread::sleep(Duration::from_millis(20));
        }
        servers
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Sends a signal by its name without `SIG`: `STOP` makes it hang, `CONT` lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        self.process.as_ref().expect("the server runs").signal(name);
    }

    /// What the server answers to one command given as words, in the raw form of the protocol.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        ask(self.port, words).unwrap_or_default()
    }
}

fn ask(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "*{}\r\n", words.len())?;
    for word in words {
        write!(stream, "${}\r\n{word}\r\n", word.len())?;
    }
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn wait_for_answer(port: u16, directory: &Path) {
    let started = Instant::now();
    // Any answer will do: a server with a password answers with an error.
    while ask(port, &["PING"]).unwrap_or_default().is_empty() {
        if started.elapsed() > Duration::from_secs(10) {
            let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
            panic!("redis-server does not answer on port {port}: {log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
