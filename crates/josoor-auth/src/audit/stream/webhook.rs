//! A webhook as Standard Webhooks has it: `webhook-id`, `webhook-timestamp` and `webhook-signature` (`v1`, HMAC-SHA-256 over id, time
//! and body).

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::connect::connect;
use crate::audit::export::{hex, to_sealed_json};
use crate::config::WebhookConfig;
use crate::crypto;
use crate::domain::Timestamp;
use crate::store::AuditRow;

/// More than a receiver needs to say what is wrong.
const LARGEST_ANSWER: usize = 64 * 1024;

/// A receiver of webhooks.
pub(super) struct Webhook {
    config: WebhookConfig,
}

impl Webhook {
    pub(super) fn new(config: &WebhookConfig) -> Self {
        Self {
            config: config.clone(),
        }
    }

    /// Posts rows in one request. Any answer but 2xx is a failure; redirects are not followed.
    pub(super) async fn send(&mut self, rows: &[AuditRow], now: Timestamp) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(());
        };
        // The same rows have the same id, however often they are sent.
        let id = format!("audit-{}-{}", first.seq.unwrap_or(0), last.seq.unwrap_or(0));
        let body = json!({
            "type": "audit.rows",
            "timestamp": now,
            "data": {
                "rows": rows.iter().map(to_sealed_json).collect::<Vec<_>>(),
                "head": { "seq": last.seq, "mac": hex(last.mac.as_deref().unwrap_or_default()) },
            },
        })
        .to_string();
        let at = now.as_secs().to_string();
        let target = &self.config.target;
        let stream = connect(target).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer.
        let connection = tokio::spawn(connection);
        let request = Request::post(&self.config.path)
            .header(header::HOST, format!("{}:{}", target.host, target.port))
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("josoor-auth/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::CONNECTION, "close")
            .header("webhook-id", &id)
            .header("webhook-timestamp", &at)
            .header(
                "webhook-signature",
                signature(self.config.secret.expose(), &id, &at, &body),
            )
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await.context("the receiver")?;
        let status = response.status();
        let read = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        connection.abort();
        anyhow::ensure!(status.is_success(), "the receiver answers {status}");
        read.map_err(|error| anyhow::anyhow!("the receiver's answer cannot be read: {error}"))?;
        Ok(())
    }
}

/// `v1,` and the base64 of the code. The settings were checked: the key is base64.
fn signature(secret: &str, id: &str, at: &str, body: &str) -> String {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
        .unwrap_or_default();
    let signed = format!("{id}.{at}.{body}");
    format!(
        "v1,{}",
        STANDARD.encode(crypto::hmac_sha256(&key, signed.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::signature;

    /// The example of the Standard Webhooks specification's libraries.
    #[test]
    fn signatures_are_those_of_the_specification() {
        assert_eq!(
            signature(
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "1614265330",
                "{\"test\": 2432232314}"
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
