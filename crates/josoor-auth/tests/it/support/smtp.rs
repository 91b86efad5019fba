//! A real mail server, as a child process.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::process::{Process, free_port};
use super::server::eventually;

/// A running mail server.
pub(crate) struct SmtpServer {
    pub(crate) port: u16,
    file: PathBuf,
    process: Process,
}

/// The Python of the environment that `scripts/setup-tests` makes, beside the program under test.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_josoor-auth"))
        .parent()
        .and_then(Path::parent)
        .expect("the target directory");
    let python = target.join("python/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup-tests",
        python.display()
    );
    python
}

impl SmtpServer {
    /// Starts a server that keeps what it takes in a file in `folder`.
    pub(crate) async fn start(folder: &Path, options: &[&str]) -> Self {
        Self::start_on(free_port(), folder, options).await
    }

    pub(crate) async fn start_on(port: u16, folder: &Path, options: &[&str]) -> Self {
        let file = folder.join(format!("mails-{port}.ndjson"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/smtp_server.py");
        let mut args = vec![script.to_owned(), port.to_string(), file.display().to_string()];
        args.extend(options.iter().map(ToString::to_string));
        let process = Process::spawn(python(), args).expect("the mail server starts");
        let server = Self { port, file, process };
        eventually("the mail server listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        server
    }

    /// What it has taken so far.
    pub(crate) fn taken(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        // Without the line that is being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// Waits for a number of mails.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} mails"), || async {
            self.taken().len() >= count
        })
        .await;
        self.taken()
    }

    pub(crate) fn stop(self) {
        self.process.kill();
    }
}

/// Makes a certificate authority and a certificate for `name`; gives the files of the authority, certificate and key.
pub(crate) fn certificate(folder: &Path, name: &str) -> [String; 3] {
    let path = |file: &str| folder.join(format!("{name}-{file}")).display().to_string();
    let [authority, certificate, key] = [path("ca.pem"), path("cert.pem"), path("key.pem")];
    let (authority_key, request, extensions) = (path("ca.key"), path("req.pem"), path("ext"));
    std::fs::write(
        &extensions,
        format!("subjectAltName=DNS:{name},IP:127.0.0.1\n").replace(
            ",IP:127.0.0.1",
            if name == "localhost" { ",IP:127.0.0.1" } else { "" },
        ),
    )
    .expect("written");
    let openssl = |args: &[&str]| {
        let done = std::process::Command::new("openssl")
            .args(args)
            .output()
            .expect("openssl runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=Test authority",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-keyout",
        &authority_key,
        "-out",
        &authority,
    ]);
    openssl(&[
        "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", &key, "-out", &request,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &request,
        "-CA",
        &authority,
        "-CAkey",
        &authority_key,
        "-CAcreateserial",
        "-extfile",
        &extensions,
        "-out",
        &certificate,
    ]);
    [authority, certificate, key]
}
