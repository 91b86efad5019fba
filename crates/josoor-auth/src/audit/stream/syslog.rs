//! Syslog messages (RFC 5424) over TLS (RFC 5425) or TCP (RFC 6587, octet counting). The message is the row as JSON.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connect::{Stream, connect};
use crate::audit::export::to_sealed_json;
use crate::config::{PublicUrl, StreamTarget};
use crate::store::AuditRow;

/// Facility 13, log audit.
const FACILITY: u8 = 13;
const WARNING: u8 = 4;
const NOTICE: u8 = 5;

/// How long a receiver has to say that it is gone. Syslog has no acknowledgements: what was written to a connection that the peer had
/// closed already counts as sent otherwise.
const GONE_WITHIN: Duration = Duration::from_millis(200);

/// The longest message name (RFC 5424, 6).
const LONGEST_NAME: usize = 32;

/// A syslog receiver, with the connection to it.
pub(super) struct Syslog {
    target: StreamTarget,
    host: String,
    stream: Option<Box<dyn Stream>>,
}

impl Syslog {
    /// Messages name the host of `origin` as theirs.
    pub(super) fn new(target: &StreamTarget, origin: &PublicUrl) -> Self {
        Self {
            target: target.clone(),
            host: origin
                .host()
                .map_or_else(|| "-".to_owned(), |host| host.to_string()),
            stream: None,
        }
    }

    /// Sends rows on the one connection, which is opened again after a failure.
    pub(super) async fn send(&mut self, rows: &[AuditRow]) -> anyhow::Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.target).await?,
        };
        let text: String = rows.iter().map(|row| self.framed(row)).collect();
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await?;
        let mut ignored = [0; 64];
        match tokio::time::timeout(GONE_WITHIN, stream.read(&mut ignored)).await {
            Err(_) => {}
            Ok(Ok(0)) => anyhow::bail!("the receiver closed the connection"),
            Ok(read) => drop(read?),
        }
        self.stream = Some(stream);
        Ok(())
    }

    fn framed(&self, row: &AuditRow) -> String {
        let message = message(row, &self.host);
        format!("{} {message}", message.len())
    }
}

fn message(row: &AuditRow, host: &str) -> String {
    let severity = if row.outcome == "failure" { WARNING } else { NOTICE };
    let name = &row.action[..row.action.len().min(LONGEST_NAME)];
    format!(
        "<{}>1 {} {host} josoor-auth - {name} - {}",
        FACILITY * 8 + severity,
        row.at,
        to_sealed_json(row)
    )
}
