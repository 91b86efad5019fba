//! Nodes that are restarted one after the other behind a real proxy, while clients go on.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::acceptance::{record, size};
use crate::support::command::Serving;
use crate::support::process::{Process, free_port};
use crate::support::server::{Footprint, PASSWORD, Stage, eventually, http_client};

/// What the proxy knows of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    /// Requests, with `/readyz` as the health check.
    Http,
    /// Connections, without any check.
    Tcp,
}

struct HaProxy {
    port: u16,
    socket: PathBuf,
    _process: Process,
}

impl HaProxy {
    async fn start(folder: &Path, proxy: Proxy, nodes: [u16; 2]) -> Self {
        let port = free_port();
        let socket = folder.join("haproxy.sock");
        let (mode, check, server) = match proxy {
            Proxy::Http => (
                "http",
                "option httpchk
  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost
  http-check expect status 200",
                "check inter 200ms fall 1 rise 1",
            ),
            Proxy::Tcp => ("tcp", "", ""),
        };
        let [a, b] = nodes;
        let config = format!(
            "global
  stats socket {} level admin
defaults
  mode {mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  retries 3
  option redispatch 1
frontend web
  bind 127.0.0.1:{port}
  default_backend nodes
backend nodes
  balance roundrobin
  {check}
  server a 127.0.0.1:{a} {server}
  server b 127.0.0.1:{b} {server}
",
            socket.display()
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, config).expect("written");
        let program = if Path::new("/usr/sbin/haproxy").exists() {
            "/usr/sbin/haproxy"
        } else {
            "haproxy"
        };
        let file = file.display().to_string();
        let process = Process::spawn(program, ["-W", "-db", "-f", file.as_str()]).expect("HAProxy starts");
        let this = Self {
            port,
            socket,
            _process: process,
        };
        eventually("HAProxy has both nodes", || async { this.has_both() }).await;
        this
    }

    /// Whether it sends requests to both nodes.
    fn has_both(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else {
            return false;
        };
        let mut text = String::new();
        if stream.write_all(b"show stat\n").is_err() || stream.read_to_string(&mut text).is_err() {
            return false;
        }
        // The first column is the backend's name, the second the server's, the 18th its state.
        let ready = text.lines().filter(|line| {
            let columns: Vec<&str> = line.split(',').collect();
            columns.first() == Some(&"nodes")
                && matches!(columns.get(1), Some(&"a" | &"b"))
                && columns
                    .get(17)
                    .is_some_and(|state| state.starts_with("UP") || *state == "no check")
        });
        ready.count() == 2
    }
}

/// Once more where the connection was refused, as clients do; every other failure counts.
async fn send(http: &reqwest::Client, url: &str, token: &str, number: usize) -> Result<(), String> {
    let request = || {
        if number.is_multiple_of(20) {
            let body = json!({ "email": "rolling@example.com", "password": PASSWORD });
            http.request(Method::POST, format!("{url}/auth/login"))
                .json(&body)
        } else {
            http.request(Method::GET, format!("{url}/auth/me"))
                .bearer_auth(token)
        }
    };
    let answer = match request().send().await {
        Err(error) if error.is_connect() => request().send().await,
        other => other,
    };
    match answer {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => {
            let status = answer.status();
            Err(format!("{status}: {}", answer.text().await.unwrap_or_default()))
        }
        Err(error) => Err(format!("{error:?}")),
    }
}

async fn restart_behind(proxy: Proxy) {
    let requests = size(1_000, 10_000);
    let rounds = size(1, 5);
    let mut stage = Stage::new(Footprint::Production);
    stage.set("JOSOOR_AUTH__SERVER__DRAIN_DELAY", "2s");
    // The issuer of both nodes' tokens; its default has the node's port.
    stage.set("PUBLIC_URL", "http://localhost:8000");
    stage.set("JOSOOR_AUTH__SESSION__MAX_PER_USER", "10000");
    let ports = [free_port(), free_port()];
    let start = |number: usize, round: usize| {
        let port = ports[number].to_string();
        let log = format!("node-{number}-{round}");
        tokio::task::block_in_place(|| Serving::start_with(&stage, &log, &[("PORT", &port)]))
    };
    let mut nodes = [start(0, 0), start(1, 0)];
    let haproxy = HaProxy::start(stage.directory(), proxy, ports).await;
    let url = format!("http://127.0.0.1:{}", haproxy.port);
    let http = http_client();
    let body = json!({ "email": "rolling@example.com", "password": PASSWORD });
    let registered = http
        .post(format!("{url}/auth/register"))
        .json(&body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(registered.status(), 201);
    let tokens: serde_json::Value = registered.json().await.expect("JSON");
    let token = tokens["access_token"].as_str().expect("a token").to_owned();

    let done = Arc::new(AtomicUsize::new(0));
    let restarted = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..8 {
        let (url, token) = (url.clone(), token.clone());
        let (done, restarted) = (Arc::clone(&done), Arc::clone(&restarted));
        clients.push(tokio::spawn(async move {
            let mut http = http_client();
            let mut failures = Vec::new();
            let mut own = 0;
            loop {
                let number = done.fetch_add(1, Ordering::Relaxed);
                if number >= requests && restarted.load(Ordering::Relaxed) {
                    return failures;
                }
                if let Err(failure) = send(&http, &url, &token, number).await {
                    failures.push(failure);
                }
                own += 1;
                // Kept connections and fresh ones.
                if own % 10 == 0 {
                    http = http_client();
                }
                if number >= requests {
                    // The rest is for as long as the restarts take.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }));
    }
    for round in 1..=rounds {
        for (number, node) in nodes.iter_mut().enumerate() {
            node.signal("TERM");
            let code = tokio::task::block_in_place(|| node.wait());
            assert_eq!(code, 0, "{}", node.log());
            *node = start(number, round);
            eventually("the proxy uses the node again", || async { haproxy.has_both() }).await;
        }
    }
    restarted.store(true, Ordering::Relaxed);
    let mut failures = Vec::new();
    for client in clients {
        failures.extend(client.await.expect("no panic"));
    }
    let sent = done.load(Ordering::Relaxed);
    assert!(sent >= requests);
    record(
        &format!("f7 rolling restart behind HAProxy, {proxy:?}"),
        &format!(
            "{sent} requests of 8 clients over {} restarts: {} failed",
            2 * rounds,
            failures.len()
        ),
    );
    assert!(failures.is_empty(), "{} of {sent}: {failures:#?}", failures.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_f7_a_rolling_restart_behind_a_proxy_with_health_checks_fails_no_request() {
    restart_behind(Proxy::Http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_f7_a_rolling_restart_behind_a_proxy_without_checks_fails_no_request() {
    restart_behind(Proxy::Tcp).await;
}
