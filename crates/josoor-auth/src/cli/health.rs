//! `josoor-auth health`: asks the service that runs here whether it is ready. Images without a shell have no curl.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::output::{Outcome, print, user_error};
use crate::config::Config;

/// For the whole question. A service whose database hangs says so after one second.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than any answer of `/readyz` has.
const LARGEST_ANSWER: usize = 64 * 1024;

/// What is read of the answer of `/readyz`.
#[derive(Deserialize)]
struct Readiness {
    status: String,
    parts: BTreeMap<String, String>,
}

/// Succeeds when the service on the configured address is ready. Says so, or why not, in one line.
pub(super) async fn show_health(config: &Config) -> Outcome {
    let bind = config.server.bind;
    if bind.port() == 0 {
        return Err(user_error(
            "with port 0 the service takes any free port, so it cannot be found; set BIND or PORT to a port",
        ));
    }
    let address = address_of(bind);
    let asked = tokio::time::timeout(PATIENCE, ask(address)).await;
    let (status, body) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(user_error(format!("{address} does not answer: {error:#}"))),
        Err(_) => {
            return Err(user_error(format!(
                "{address} does not answer within {} s",
                PATIENCE.as_secs()
            )));
        }
    };
    let Ok(readiness) = serde_json::from_slice::<Readiness>(&body) else {
        return Err(user_error(format!(
            "{address} answers {status}, but is not JOSOOR Auth; compare BIND and PORT with the service's"
        )));
    };
    let line = in_words(&readiness);
    if status == StatusCode::OK {
        print(&line)
    } else {
        Err(user_error(line))
    }
}

/// Where a listener on `bind` can be reached from its own machine: one on every interface is also on loopback.
fn address_of(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

async fn ask(address: SocketAddr) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer, or with the program.
    tokio::spawn(connection);
    let request = Request::get("/readyz")
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"))?;
    Ok((status, body.to_bytes()))
}

/// `ready`, or `not ready: draining`, and the parts that are not well.
fn in_words(readiness: &Readiness) -> String {
    let mut words = match readiness.status.as_str() {
        "ok" | "degraded" => "ready".to_owned(),
        other => format!("not ready: {other}"),
    };
    for condition in ["degraded", "down"] {
        let parts: Vec<&str> = readiness
            .parts
            .iter()
            .filter(|(_, state)| *state == condition)
            .map(|(part, _)| part.as_str())
            .collect();
        if !parts.is_empty() {
            words.push_str(&format!("; {condition}: {}", parts.join(", ")));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{Readiness, address_of, in_words};

    #[test]
    fn the_address_of_every_interface_is_asked_at_loopback() {
        for (bind, address) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:9000", "[::1]:9000"),
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("[fd00::7]:80", "[fd00::7]:80"),
        ] {
            let bind = bind.parse().expect("an address");
            assert_eq!(address_of(bind).to_string(), address);
        }
    }

    #[test]
    fn the_answer_is_one_line_that_names_the_parts() {
        for (answer, line) in [
            (r#"{"status":"ok","parts":{"database":"ok"}}"#, "ready"),
            (
                r#"{"status":"degraded","parts":{"database":"ok","mail":"degraded","redis":"degraded"}}"#,
                "ready; degraded: mail, redis",
            ),
            (
                r#"{"status":"down","parts":{"database":"down","redis":"degraded"}}"#,
                "not ready: down; degraded: redis; down: database",
            ),
            (
                r#"{"status":"draining","parts":{"database":"ok"}}"#,
                "not ready: draining",
            ),
        ] {
            let readiness: Readiness = serde_json::from_str(answer).expect("an answer");
            assert_eq!(in_words(&readiness), line);
        }
    }
}
