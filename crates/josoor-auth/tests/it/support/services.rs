//! One PostgreSQL and one Redis of our own for the whole test binary, started when first asked for; and instances that
//! a single test may stop, hang and restart.
//!
//! Everything listens on 127.0.0.1 only, at a free port, and lives in a directory under the system's temporary one.
//! The servers end with the tests (see [`Process`]); what a killed run left on disk is removed by the next one.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::process::{Process, free_port};

/// How long a server may take to answer. Generous: the machine may be compiling at the same time.
const PATIENCE: Duration = Duration::from_mins(1);

/// The tests' PostgreSQL. For a test of its own: [`Postgres::new_database`].
pub(crate) fn postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start_own)
}

/// The tests' Redis. Tests keep apart by their own `redis.prefix` or by their random ids; no test flushes it.
pub(crate) fn redis() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(|| Redis::start_own(0))
}

/// Waits until `condition` holds; fails the test when it does not in a minute.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A PostgreSQL server with its data in a temporary directory. User `postgres`, no password.
#[derive(Debug)]
pub(crate) struct Postgres {
    directory: PathBuf,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl Postgres {
    /// A fresh server for one test, which may stop it.
    pub(crate) fn start_own() -> Self {
        Self::start_own_with(false)
    }

    /// The same with TLS, under a certificate for `localhost` that no authority has signed.
    pub(crate) fn start_with_tls() -> Self {
        Self::start_own_with(true)
    }

    /// The certificate of [`start_with_tls`](Self::start_with_tls).
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    fn start_own_with(has_tls: bool) -> Self {
        let directory = new_directory("postgres");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&directory));
        }
        let data = directory.join("data");
        let mut arguments = [
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]
        .map(OsString::from)
        .to_vec();
        arguments.extend(["-D".into(), data.into_os_string()]);
        let (command, arguments) = as_postgres(program("initdb"), arguments);
        run(Command::new(command).args(arguments).current_dir(&directory));
        if has_tls {
            let (certificate, key) = certificate(&directory);
            let settings = format!(
                "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
                certificate.display(),
                key.display()
            );
            let file = fs::File::options()
                .append(true)
                .open(directory.join("data/postgresql.conf"));
            file.and_then(|mut file| file.write_all(settings.as_bytes()))
                .expect("the settings can be written");
            if is_root() {
                run(Command::new("chown").args(["postgres"]).args([certificate, key]));
            }
        }
        let server = Self {
            directory,
            port: free_port(),
            process: Mutex::new(None),
        };
        server.start();
        server
    }

    /// The URL of the database `postgres`, which no test should fill.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Creates an empty database for the caller alone, and gives its URL.
    pub(crate) fn new_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        run(Command::new(program("createdb")).args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
            &name,
        ]));
        self.url_of(&name)
    }

    /// The port at 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops the server at once: connections break, nothing is written back, as after a crash.
    pub(crate) fn stop(&self) {
        if let Some(process) = lock(&self.process).take() {
            process.signal("QUIT");
            until("PostgreSQL has stopped", || !process.is_running());
        }
    }

    /// Starts the server again, on the same port and the same data; returns when it answers.
    pub(crate) fn start(&self) {
        let log = self.directory.join("log");
        let arguments: Vec<OsString> = [
            "-D".into(),
            self.directory.join("data").into_os_string(),
            "-p".into(),
            self.port.to_string().into(),
        ]
        .into_iter()
        .chain(
            [
                "listen_addresses=127.0.0.1",
                "unix_socket_directories=",
                "max_connections=400",
                // No power fails in these tests, and an fsync of every commit is what they would wait for.
                "fsync=off",
                "synchronous_commit=on",
                // Shared memory of a killed server would stay in /dev/shm.
                "dynamic_shared_memory_type=mmap",
                "shared_buffers=64MB",
            ]
            .into_iter()
            .flat_map(|setting| [OsString::from("-c"), setting.into()]),
        )
        .collect();
        let (command, arguments) = as_postgres(program("postgres"), arguments);
        let process = spawn_logged(&log, command, arguments);
        let is_ready = program("pg_isready");
        until("PostgreSQL answers", || {
            assert!(process.is_running(), "PostgreSQL ended:\n{}", read_log(&log));
            Command::new(&is_ready)
                .args([
                    "-q",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "postgres",
                    "-p",
                    &self.port.to_string(),
                ])
                .status()
                .is_ok_and(|status| status.success())
        });
        *lock(&self.process) = Some(process);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A Redis server that keeps nothing on disk.
#[derive(Debug)]
pub(crate) struct Redis {
    directory: PathBuf,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl Redis {
    /// A fresh server for one test, at `port`; 0 picks a free one.
    pub(crate) fn start_own(port: u16) -> Self {
        let server = Self {
            directory: new_directory("redis"),
            port: if port == 0 { free_port() } else { port },
            process: Mutex::new(None),
        };
        server.start();
        server
    }

    /// The URL for `REDIS_URL`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port at 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server as a crash would: connections break and everything in it is lost.
    pub(crate) fn stop(&self) {
        if let Some(process) = lock(&self.process).take() {
            process.kill();
        }
    }

    /// Starts the server again, empty, on the same port; returns when it answers.
    pub(crate) fn start(&self) {
        let log = self.directory.join("log");
        let port = self.port.to_string();
        let arguments = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
        ]
        .map(OsString::from)
        .into_iter()
        .chain([self.directory.clone().into_os_string()]);
        let process = spawn_logged(&log, "redis-server".into(), arguments);
        until("Redis answers", || {
            assert!(process.is_running(), "Redis ended:\n{}", read_log(&log));
            self.command("PING")
                .is_ok_and(|answer| answer.starts_with("+PONG"))
        });
        *lock(&self.process) = Some(process);
    }

    /// [`stop`](Self::stop), then [`start`](Self::start).
    pub(crate) fn restart(&self) {
        self.stop();
        self.start();
    }

    /// Connections stay open and new ones are accepted by the kernel, but nothing is answered until
    /// [`resume`](Self::resume).
    pub(crate) fn hang(&self) {
        self.signal("STOP");
    }

    /// Ends a [`hang`](Self::hang).
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        lock(&self.process)
            .as_ref()
            .expect("Redis was started")
            .signal(name);
    }

    /// Removes every key.
    pub(crate) fn flush(&self) {
        let answer = self.command("FLUSHALL").expect("Redis answers");
        assert!(answer.starts_with("+OK"), "FLUSHALL: {answer}");
    }

    /// Sends one command without quoting (words separated by spaces) on a connection of its own, and gives the raw
    /// beginning of the answer.
    pub(crate) fn command(&self, command: &str) -> std::io::Result<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        connection.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = [0; 4096];
        let length = connection.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A test that failed while it held the lock says so itself; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Debian keeps PostgreSQL's server programs off `PATH`, in a directory per major version: the newest one counts.
fn program(name: &str) -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some((version(&entry.as_ref().ok()?.path())?, entry.ok()?.path())))
        .filter(|(_, path)| path.join("bin/initdb").exists())
        .max();
    newest.map_or_else(|| name.into(), |(_, path)| path.join("bin").join(name))
}

/// PostgreSQL refuses to run as root, so root runs it as the user that its package made. `setpriv` and not `runuser`: it
/// becomes the program instead of waiting for it, so that our signals reach the right process.
fn as_postgres(command: PathBuf, mut arguments: Vec<OsString>) -> (OsString, Vec<OsString>) {
    if !is_root() {
        return (command.into_os_string(), arguments);
    }
    let mut all: Vec<OsString> = ["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
        .map(OsString::from)
        .to_vec();
    all.push(command.into_os_string());
    all.append(&mut arguments);
    ("setpriv".into(), all)
}

/// A certificate for `localhost` that no authority has signed, and its key, in files of a folder.
pub(crate) fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    run(Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=JOSOOR Auth test",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("the key is ours");
    (certificate, key)
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0)
}

fn spawn_logged(log: &Path, command: OsString, arguments: impl IntoIterator<Item = OsString>) -> Process {
    let redirect = r#"log=$1; shift; exec "$@" >"$log" 2>&1"#;
    let before = [
        "-c".into(),
        redirect.into(),
        "sh".into(),
        log.as_os_str().to_owned(),
        command,
    ];
    Process::spawn("sh", before.into_iter().chain(arguments)).expect("sh is there")
}

fn read_log(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_else(|error| format!("(no log: {error})"))
}

/// Runs a command to its end; fails the test, with what the command said, when it cannot.
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}. `scripts/setup-tests` installs what the tests need.")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `<temporary>/josoor-auth-tests.<pid>.<number>.<name>`; the process id tells later runs whether somebody still uses it.
fn new_directory(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    const PREFIX: &str = "josoor-auth-tests.";
    let temporary = std::env::temp_dir();
    for entry in fs::read_dir(&temporary).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let owner = file_name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('.').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = temporary.join(format!("{PREFIX}{}.{number}.{name}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory)
        .and_then(|()| fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)))
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    directory
}

#[test]
fn the_shared_services_answer_and_are_shared() {
    assert!(std::ptr::eq(postgres(), postgres()));
    assert!(
        redis()
            .command("PING")
            .is_ok_and(|answer| answer.starts_with("+PONG"))
    );
    let (one, other) = (postgres().new_database(), postgres().new_database());
    assert_ne!(one, other);
    for url in [one, other, postgres().url()] {
        run(Command::new(program("psql")).args([&url, "-c", "select 1"]));
    }
}

#[test]
fn an_own_redis_can_hang_and_loses_everything() {
    let redis = Redis::start_own(0);
    let exists = || redis.command("EXISTS here").expect("Redis answers");
    assert_eq!(redis.command("SET here 1").expect("Redis answers"), "+OK\r\n");
    redis.hang();
    assert!(redis.command("PING").is_err());
    redis.resume();
    assert_eq!(exists(), ":1\r\n");
    redis.flush();
    assert_eq!(exists(), ":0\r\n");
    assert_eq!(redis.command("SET here 1").expect("Redis answers"), "+OK\r\n");
    let url = redis.url();
    redis.restart();
    assert_eq!(redis.url(), url);
    assert_eq!(exists(), ":0\r\n");
    redis.stop();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port())).is_err());
    redis.start();
}

#[test]
fn an_own_postgres_keeps_its_data_over_a_crash() {
    let postgres = Postgres::start_own();
    let url = postgres.new_database();
    let sql = |text: &str| {
        Command::new(program("psql"))
            .args([&url, "-qtAc", text])
            .output()
            .expect("psql is there")
    };
    assert!(
        sql("create table kept (id int); insert into kept values (1)")
            .status
            .success()
    );
    postgres.stop();
    assert!(!sql("select 1").status.success());
    postgres.start();
    assert_eq!(sql("select id from kept").stdout, b"1\n");
}

#[test]
fn a_process_can_be_stopped_resumed_and_ends_with_its_owner() {
    let process = Process::spawn("sleep", ["600"]).expect("sh is there");
    let pid = process.pid();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process exists");
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    assert!(process.is_running());
    process.signal("STOP");
    until("the process is stopped", || state() == Some('T'));
    assert!(process.is_running());
    process.signal("CONT");
    until("the process goes on", || state() == Some('S'));
    process.signal("STOP");
    drop(process);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());

    let process = Process::spawn("sleep", ["600"]).expect("sh is there");
    process.signal("KILL");
    until("the process is dead", || !process.is_running());
    process.kill();
}
