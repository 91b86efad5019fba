//! PgBouncer of Debian's package, in transaction mode, in front of the tests' PostgreSQL.

use std::net::TcpStream;

use super::process::{Process, free_port};
use super::services::{is_root, until};

/// One PgBouncer, which ends when it is dropped.
pub(crate) struct PgBouncer {
    _process: Process,
    directory: tempfile::TempDir,
    port: u16,
}

impl PgBouncer {
    /// Starts one with these further lines of settings, before the server at `port`.
    pub(crate) fn start(server_port: u16, settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let file = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n\
             logfile = {}\n{settings}\n",
            directory.path().join("log").display()
        );
        std::fs::write(&file, text).expect("the settings can be written");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut words = vec![
            "-c".to_owned(),
            format!("PATH='{path}:/usr/sbin' exec \"$@\""),
            "sh".to_owned(),
        ];
        if is_root() {
            // It refuses to run as root.
            let owned = std::process::Command::new("chown")
                .args(["-R", "postgres"])
                .arg(directory.path())
                .status();
            assert!(owned.expect("chown is there").success());
            words.extend(
                [
                    "setpriv",
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--init-groups",
                    "--",
                ]
                .map(str::to_owned),
            );
        }
        words.extend(["pgbouncer".to_owned(), file.display().to_string()]);
        let process = Process::spawn("sh", words).expect("sh is there");
        until("PgBouncer listens", || {
            assert!(
                process.is_running(),
                "PgBouncer ended: {}",
                std::fs::read_to_string(directory.path().join("log")).unwrap_or_default()
            );
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            _process: process,
            directory,
            port,
        }
    }

    /// The URL of a database, given as that of the server itself.
    pub(crate) fn url(&self, direct: &str) -> String {
        let name = direct.rsplit('/').next().expect("a name");
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}
