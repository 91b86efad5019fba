//! The way to a mail server (RFC 5321), with TLS as RFC 8314 has it.
//!
//! The conversation is held step by step, because what an answer means depends on the step: see `answer`. Each step has a time
//! limit of its own; the last one is long (RFC 5321, 4.5.3.2.6), because a client that gives up there causes a second copy.

mod answer;
mod message;

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use url::{Host, Url};

pub use self::answer::{Effect, SendError, Stage};
use super::render::Mail;
use crate::config::{Helo, MailConfig, Sender};
use crate::domain::Secret;

/// For connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// For connecting and everything until the server has greeted; some wait on purpose before they do.
const HELLO: Duration = Duration::from_secs(30);
/// For one command.
const COMMAND: Duration = Duration::from_mins(1);
/// For the server's last word about a mail.
const LAST_WORD: Duration = Duration::from_mins(10);
/// For what is asked in passing: whether a kept connection is still good, and the end of one.
const BRIEFLY: Duration = Duration::from_secs(2);

/// How long an idle connection is kept, and how many are.
const KEPT_FOR: Duration = Duration::from_secs(30);
const KEPT_AT_MOST: usize = 4;

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

/// A mail server, and connections to it.
pub struct Smtp {
    host: String,
    port: u16,
    safety: Safety,
    /// None where no TLS is used.
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    helo: Helo,
    from: Mailbox,
    kept: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp")
            .field("server", &self.server())
            .finish_non_exhaustive()
    }
}

impl Smtp {
    /// From a URL and a sender that the configuration has checked.
    pub(super) fn new(url: &Secret, from: &Sender, config: &MailConfig) -> anyhow::Result<Self> {
        let url = Url::parse(url.expose()).map_err(|_| anyhow::anyhow!("SMTP_URL cannot be read"))?;
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => anyhow::bail!("SMTP_URL names no server"),
        };
        let safety = safety(&url);
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let credentials = (!url.username().is_empty()).then(|| {
            Credentials::new(
                decoded(url.username()),
                decoded(url.password().unwrap_or_default()),
            )
        });
        let address = Address::new(from.local(), from.domain()).context("MAIL_FROM is no sender")?;
        Ok(Self {
            port: url.port().unwrap_or(match safety {
                Safety::Implicit => 465,
                _ => 587,
            }),
            tls: match safety {
                Safety::Plain => None,
                _ => Some(TlsParameters::new(host.clone()).map_err(|error| without_authorities(&error))?),
            },
            host,
            safety,
            credentials,
            helo: config.helo.clone(),
            from: Mailbox::new(from.name().map(str::to_owned), address),
            kept: Mutex::default(),
        })
    }

    /// Host and port, for messages.
    pub fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The sender, as it stands in a mail.
    pub fn sender(&self) -> String {
        self.from.to_string()
    }

    /// Connects, greets, signs in with credentials and names the sender; sends nothing.
    pub async fn check(&self) -> Result<(), SendError> {
        let mut connection = self.connect().await?;
        let named = self.name_sender(&mut connection, Vec::new()).await;
        let _ = tokio::time::timeout(BRIEFLY, async {
            let _ = connection.command(commands::Rset).await;
            connection.quit().await
        })
        .await;
        named
    }

    /// Hands a mail over. After `Ok` the server has taken responsibility for it.
    pub(super) async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let to = message::address(&mail.to)?;
        let text = message::message(mail, &self.from, &to)?;
        let mut connection = match self.take_kept().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        match self.converse(&mut connection, &to, &text).await {
            Ok(()) => {
                self.keep(connection);
                Ok(())
            }
            Err(error) => {
                if error.reason.code.is_some() {
                    let _ = tokio::time::timeout(BRIEFLY, connection.quit()).await;
                }
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let name = self.name().await;
        let implicit = self.tls.clone().filter(|_| self.safety == Safety::Implicit);
        let connecting = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(CONNECT),
            &name,
            implicit,
            None,
        );
        let mut connection = match tokio::time::timeout(HELLO, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                let stage = if error.status().is_some() {
                    Stage::Hello
                } else {
                    Stage::Connection
                };
                return Err(SendError::of(stage, &error));
            }
            Err(_) => return Err(no_answer(Stage::Connection)),
        };
        match &self.tls {
            Some(tls) if self.safety != Safety::Implicit && connection.can_starttls() => {
                let upgrade = connection.starttls(tls.clone(), &name);
                within(COMMAND, Stage::Tls, upgrade).await?;
            }
            _ if self.safety == Safety::Required => {
                let text = "it offers no STARTTLS, which SMTP_URL requires";
                return Err(SendError::without_answer(Stage::Tls, text));
            }
            _ => {}
        }
        if let Some(credentials) = &self.credentials {
            let sign_in = connection.auth(DEFAULT_MECHANISMS, credentials);
            within(COMMAND, Stage::SignIn, sign_in).await?;
        }
        Ok(connection)
    }

    /// The name that we greet with: a name that is fully qualified, or an address literal (RFC 5321, 4.1.3 and 4.1.4).
    async fn name(&self) -> ClientId {
        let address = match &self.helo {
            Helo::Name(name) => return ClientId::Domain(name.clone()),
            Helo::Address(address) => *address,
            Helo::OwnAddress => self.own_address().await.unwrap_or(IpAddr::from([127, 0, 0, 1])),
        };
        match address.to_canonical() {
            IpAddr::V4(address) => ClientId::Ipv4(address),
            IpAddr::V6(address) => ClientId::Ipv6(address),
        }
    }

    /// The address of this machine on the way to the server.
    async fn own_address(&self) -> Option<IpAddr> {
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let server = tokio::time::timeout(CONNECT, lookup).await.ok()?.ok()?.next()?;
        let any: IpAddr = if server.is_ipv4() {
            [0, 0, 0, 0].into()
        } else {
            [0u16; 8].into()
        };
        // Nothing is sent: connecting a datagram socket only chooses the way.
        let socket = tokio::net::UdpSocket::bind((any, 0)).await.ok()?;
        socket.connect(server).await.ok()?;
        Some(socket.local_addr().ok()?.ip())
    }

    async fn converse(
        &self,
        connection: &mut AsyncSmtpConnection,
        to: &Address,
        text: &[u8],
    ) -> Result<(), SendError> {
        let mut parameters = Vec::new();
        if !AsRef::<str>::as_ref(to).is_ascii() {
            // RFC 6531: only what stands before the @, because the domain is written in A-labels.
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let text = "the mail server takes no addresses in other scripts (SMTPUTF8)";
                return Err(SendError::new(Stage::Recipient, Effect::Never, text));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !text.is_ascii() {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        self.name_sender(connection, parameters).await?;
        let recipient = connection.command(commands::Rcpt::new(to.clone(), Vec::new()));
        within(COMMAND, Stage::Recipient, recipient).await?;
        within(COMMAND, Stage::Text, connection.command(commands::Data)).await?;
        match tokio::time::timeout(LAST_WORD, connection.message(text)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.status().is_some() => Err(SendError::of(Stage::Text, &error)),
            // A server that goes away without an answer has nearly always not taken the mail.
            Ok(Err(_)) => {
                let text = "the connection broke before the mail server answered";
                Err(SendError::new(Stage::Text, Effect::Later, text))
            }
            Err(_) => Err(SendError::unknown("the mail server did not answer in time")),
        }
    }

    async fn name_sender(
        &self,
        connection: &mut AsyncSmtpConnection,
        parameters: Vec<MailParameter>,
    ) -> Result<(), SendError> {
        let command = commands::Mail::new(Some(self.from.email.clone()), parameters);
        within(COMMAND, Stage::Sender, connection.command(command))
            .await
            .map(drop)
    }

    /// A connection that was kept and is still good.
    async fn take_kept(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.kept().pop()?;
            let is_good = since.elapsed() < KEPT_FOR
                && tokio::time::timeout(BRIEFLY, connection.test_connected())
                    .await
                    .unwrap_or(false);
            if is_good {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut kept = self.kept();
        kept.retain(|(_, since)| since.elapsed() < KEPT_FOR);
        if kept.len() < KEPT_AT_MOST {
            kept.push((connection, Instant::now()));
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<(AsyncSmtpConnection, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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

fn no_answer(stage: Stage) -> SendError {
    SendError::without_answer(stage, "it did not answer in time")
}

/// The answer to a step, within its time.
async fn within<T>(
    limit: Duration,
    stage: Stage,
    step: impl Future<Output = Result<T, SmtpError>>,
) -> Result<T, SendError> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done.map_err(|error| SendError::of(stage, &error)),
        Err(_) => Err(no_answer(stage)),
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

#[cfg(test)]
mod tests;
