//! The way to a mail server (RFC 5321), with TLS as RFC 8314 has it.

use std::time::Duration;

use anyhow::Context as _;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use url::{Host, Url};

use super::render::Mail;
use crate::domain::Secret;

/// Why a mail did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The mail server cannot be reached or does not let us in. No mail would leave now.
    #[error("the mail server is not available: {0}")]
    Away(String),
    /// The server refused this mail for now (SMTP 4xx).
    #[error("the mail server wants another try later: {0}")]
    Later(String),
    /// This mail will never be taken (SMTP 5xx, or an address that cannot be written).
    #[error("the mail was refused: {0}")]
    Never(String),
}

/// For each step of the conversation.
const STEP: Duration = Duration::from_secs(10);
/// For a whole mail, from connecting to the server's last word.
const WHOLE: Duration = Duration::from_secs(30);

/// How much TLS is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Safety {
    /// `smtps://`: TLS from the first byte.
    Implicit,
    /// STARTTLS, or nothing is sent.
    Required,
    /// STARTTLS where it is offered.
    Opportunistic,
    /// None.
    Plain,
}

/// A connection to a mail server.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    server: String,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Says that no person wrote the mail (RFC 3834), so that no machine answers it.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The language of the text (RFC 3282).
#[derive(Clone)]
struct ContentLanguage(String);

impl Header for ContentLanguage {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Content-Language")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// Why there are no parameters for TLS: a bare machine or image has no CA certificates.
fn without_authorities(error: &dyn std::error::Error) -> anyhow::Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    anyhow::anyhow!(
        "the mail server's certificate could not be verified: {cause}; install the package ca-certificates, or set \
         SSL_CERT_FILE to a file of CA certificates"
    )
}

impl Smtp {
    /// From a URL that the configuration has checked.
    pub(super) fn new(url: &Secret, from: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url.expose()).map_err(|_| anyhow::anyhow!("SMTP_URL cannot be read"))?;
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => anyhow::bail!("SMTP_URL names no server"),
        };
        let safety = safety(&url);
        let port = url.port().unwrap_or(match safety {
            Safety::Implicit => 465,
            _ => 587,
        });
        let parameters = || TlsParameters::new(host.clone()).map_err(|error| without_authorities(&error));
        let tls = match safety {
            Safety::Implicit => Tls::Wrapper(parameters()?),
            Safety::Required => Tls::Required(parameters()?),
            Safety::Opportunistic => Tls::Opportunistic(parameters()?),
            Safety::Plain => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.as_str())
            .port(port)
            .tls(tls)
            .timeout(Some(STEP))
            .pool_config(
                PoolConfig::new()
                    .max_size(4)
                    .idle_timeout(Duration::from_secs(30)),
            );
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        if !url.username().is_empty() {
            builder = builder.credentials(Credentials::new(
                decoded(url.username()),
                decoded(url.password().unwrap_or_default()),
            ));
        }
        Ok(Self {
            transport: builder.build(),
            from: from.parse().context("MAIL_FROM is no sender")?,
            server: format!("{host}:{port}"),
        })
    }

    /// Host and port, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn sender(&self) -> String {
        self.from.to_string()
    }

    /// Connects, greets and, with credentials, signs in; sends nothing.
    pub async fn check(&self) -> Result<(), SendError> {
        match tokio::time::timeout(WHOLE, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(SendError::Away("it does not answer NOOP".to_owned())),
            Ok(Err(error)) => Err(SendError::Away(cause(&error))),
            Err(_) => Err(SendError::Away("it did not answer in time".to_owned())),
        }
    }

    pub(super) async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let message = self.message(mail)?;
        match tokio::time::timeout(WHOLE, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(sort(&error, mail)),
            Err(_) => Err(SendError::Away("it did not answer in time".to_owned())),
        }
    }

    /// The mail as it goes over the wire. Header fields are built from typed values, so that no text can begin another one.
    fn message(&self, mail: &Mail) -> Result<Message, SendError> {
        let never = |what: &str| SendError::Never(format!("{what} cannot be written into a mail"));
        let to: Address = mail.to.parse().map_err(|_| never("the recipient's address"))?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject.clone())
            .message_id(Some(mail.message_id.clone()))
            .header(AutoSubmitted)
            .header(ContentLanguage(mail.locale.to_string()))
            .multipart(
                MultiPart::alternative()
                    .singlepart(
                        SinglePart::builder()
                            .header(ContentType::TEXT_PLAIN)
                            .body(mail.text.clone()),
                    )
                    .singlepart(
                        SinglePart::builder()
                            .header(ContentType::TEXT_HTML)
                            .body(mail.html.clone()),
                    ),
            )
            .map_err(|_| never("the mail"))
    }
}

fn safety(url: &Url) -> Safety {
    if url.scheme() == "smtps" {
        return Safety::Implicit;
    }
    let asked = url.query_pairs().find(|(name, _)| name == "tls");
    match asked.as_ref().map(|(_, value)| value.as_ref()) {
        Some("none") => Safety::Plain,
        Some("opportunistic") => Safety::Opportunistic,
        // The way to this machine itself needs no encryption.
        None if is_loopback(url) => Safety::Opportunistic,
        _ => Safety::Required,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // The URL standard keeps an IPv4 address as a name under schemes that it does not know.
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost")
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// What a failure means for this mail and for the others.
fn sort(error: &lettre::transport::smtp::Error, mail: &Mail) -> SendError {
    let text = cause(error);
    let Some(status) = error.status() else {
        // Our own side gives up when the server offers no TLS or no way to sign in, which is about all mail; and when it
        // takes no address in other scripts (RFC 6531), which is about this one.
        return if error.is_client() && !mail.to.is_ascii() {
            SendError::Never(text)
        } else {
            SendError::Away(text)
        };
    };
    let code: u16 = status.into();
    match code {
        // Shutting down; signing in wanted, weak or failed: nothing of it is about this mail.
        421 | 454 | 530 | 534 | 535 | 538 => SendError::Away(text),
        400..=499 => SendError::Later(text),
        _ => SendError::Never(text),
    }
}

/// The reason with its causes, on one line, without what could be a secret: servers may repeat what was said to them.
fn cause(error: &lettre::transport::smtp::Error) -> String {
    let mut text = match error.status() {
        Some(code) => format!("SMTP {code}"),
        None => error.to_string(),
    };
    if error.status().is_none() {
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Locale;

    fn mail(to: &str, subject: &str) -> Mail {
        Mail {
            to: to.to_owned(),
            locale: Locale::En,
            message_id: "<1.x@localhost>".to_owned(),
            subject: subject.to_owned(),
            text: "text".to_owned(),
            html: "<p>html</p>".to_owned(),
            link: None,
        }
    }

    fn smtp() -> Smtp {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Smtp::new(
            &Secret::new("smtp://localhost:25"),
            "JOSOOR <no-reply@example.org>",
        )
        .expect("settings")
    }

    #[test]
    fn the_url_says_how_much_tls_is_asked_for() {
        for (url, expected) in [
            ("smtps://mail.example.org", Safety::Implicit),
            ("smtp://mail.example.org", Safety::Required),
            (
                "smtp://mail.example.org:25?tls=opportunistic",
                Safety::Opportunistic,
            ),
            ("smtp://mail.example.org?tls=none", Safety::Plain),
            ("smtp://localhost:1025", Safety::Opportunistic),
            ("smtp://localhost:1025?tls=required", Safety::Required),
        ] {
            assert_eq!(safety(&Url::parse(url).expect("a URL")), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn t80_no_text_begins_a_header_field_of_its_own() {
        for subject in [
            "a\r\nBcc: evil@example.com",
            "a\nBcc: evil@example.com",
            "x\r\n.\r\nMAIL FROM:<a>",
        ] {
            let bytes = smtp()
                .message(&mail("a@example.com", subject))
                .expect("a mail")
                .formatted();
            let text = String::from_utf8(bytes).expect("UTF-8");
            let head = text.split("\r\n\r\n").next().expect("a head");
            assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
            assert!(!text.contains("\r\n.\r\n"), "{text}");
        }
        for to in [
            "a@example.com\r\nBcc: b@example.com",
            "a@example.com, b@example.com",
            "a@x@y",
            "",
        ] {
            assert!(
                matches!(smtp().message(&mail(to, "x")), Err(SendError::Never(_))),
                "{to:?}"
            );
        }
    }
}
