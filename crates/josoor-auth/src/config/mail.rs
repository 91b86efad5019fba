//! `[mail]`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use url::{Host, Url};

use super::raw::{Parsed, Raw, refused};
use super::reader::Reader;
use super::urls::{PublicUrl, check_server_url};
use super::values::{self, optional, text};
use crate::domain::{Locale, Secret};

/// `[mail]`
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// The language of accounts that are created without one.
    pub locale: Locale,
    /// The mail server; `None`: mails wait in the outbox, and under `serve --dev` they can be read in the development mailbox.
    pub smtp_url: Option<Secret>,
    /// The sender; there is one whenever there is a mail server.
    pub from: Option<Sender>,
    /// The name by which mail servers are greeted.
    pub helo: Helo,
}

/// What a mail server is greeted with (RFC 5321, 4.1.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Helo {
    /// A fully qualified host name, as A-labels.
    Name(String),
    /// An address literal.
    Address(IpAddr),
    /// The literal of the address that the connection leaves from.
    OwnAddress,
}

impl Helo {
    /// The host of `PUBLIC_URL`. Many servers refuse a name without a dot, and one that is of no public domain.
    fn of(public_url: Option<&PublicUrl>) -> Self {
        match public_url.map(PublicUrl::host) {
            Some(Some(Host::Domain(name))) => {
                let name = name.trim_end_matches('.');
                let is_local = name.ends_with(".localhost");
                if name.contains('.') && !name.contains('_') && !is_local {
                    Self::Name(name.to_owned())
                } else {
                    Self::OwnAddress
                }
            }
            Some(Some(Host::Ipv4(address))) if !address.is_loopback() && !address.is_unspecified() => {
                Self::Address(address.into())
            }
            Some(Some(Host::Ipv6(address))) if !address.is_loopback() && !address.is_unspecified() => {
                Self::Address(address.into())
            }
            _ => Self::OwnAddress,
        }
    }
}

/// The sender of mails: a name to show, perhaps, and an address of ASCII alone, its domain as A-labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    name: Option<String>,
    local: String,
    domain: String,
}

impl Sender {
    /// Reads `address` or `Name <address>` (RFC 5322, 3.4), on one line. The name may be in double quotes; whatever it holds, it
    /// needs none.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        const SHAPE: (&str, &str) = (
            "this is not a sender's address",
            "write address@example.org, or Name <address@example.org>",
        );
        let given = text.trim();
        if given.len() > 320 || given.chars().any(char::is_control) {
            return Err(SHAPE);
        }
        if given.len() > 1 && given.starts_with('"') && given.ends_with('"') {
            return Err((
                "the whole sender stands in double quotes",
                "remove the quotes, or put only the name in them: \"Name\" <address@example.org>",
            ));
        }
        let (name, address) = match given.rsplit_once('<') {
            Some((name, rest)) => (name.trim(), rest.strip_suffix('>').ok_or(SHAPE)?),
            None => ("", given),
        };
        let (local, domain) = address.rsplit_once('@').ok_or(SHAPE)?;
        if !local.is_ascii() {
            return Err((
                "what stands before the @ of the sender's address is not ASCII, which many mail servers refuse",
                "send from an address such as no-reply@example.org; the name before it may be in any script",
            ));
        }
        let is_atom = |part: &str| {
            let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
            !part.is_empty() && part.bytes().all(is_atom)
        };
        if local.len() > 64 || !local.split('.').all(is_atom) {
            return Err(SHAPE);
        }
        Ok(Self {
            name: name_of(name),
            local: local.to_owned(),
            domain: ascii_domain(domain).ok_or(SHAPE)?,
        })
    }

    /// The name to show.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// What stands behind it, in ASCII.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

/// As a header field has it, but for characters beyond ASCII.
impl std::fmt::Display for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(name) = &self.name else {
            return write!(f, "{}@{}", self.local, self.domain);
        };
        let is_plain = name
            .chars()
            .all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c));
        if is_plain {
            write!(f, "{name} <{}@{}>", self.local, self.domain)
        } else {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "\"{escaped}\" <{}@{}>", self.local, self.domain)
        }
    }
}

/// The name without the quotes that it may stand in.
fn name_of(given: &str) -> Option<String> {
    let inner = given.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return (!given.is_empty()).then(|| given.to_owned());
    };
    let mut name = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        // A backslash stands for what follows it (RFC 5322, 3.2.4).
        name.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    (!name.trim().is_empty()).then_some(name)
}

/// A domain as A-labels. An address literal is none: header fields are not written with one.
fn ascii_domain(domain: &str) -> Option<String> {
    let ascii = Uts46::new().to_ascii(
        domain.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::Check,
        DnsLength::Verify,
    );
    ascii
        .ok()
        .map(std::borrow::Cow::into_owned)
        .filter(|name| name.parse::<IpAddr>().is_err())
}

fn sender(raw: &Raw) -> Parsed<Sender> {
    Sender::parse(text(raw)?).or_else(|(problem, remedy)| refused(problem, remedy))
}

/// A fully qualified host name, or the literal of an address.
fn helo(raw: &Raw) -> Parsed<Helo> {
    let given = text(raw)?;
    let literal = given.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match literal {
        Some(literal) => match literal.strip_prefix("IPv6:") {
            Some(rest) => rest.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => literal.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        },
        None => None,
    };
    if let Some(address) = address {
        return Ok(Helo::Address(address));
    }
    match ascii_domain(given) {
        Some(name) if name.contains('.') => Ok(Helo::Name(name)),
        _ => refused(
            "mail servers accept no such name",
            "write a fully qualified host name, such as auth.example.org, or an address in brackets, such as [192.0.2.7]",
        ),
    }
}

impl Reader<'_> {
    pub(super) fn mail(&mut self, public_url: Option<&PublicUrl>) -> Option<MailConfig> {
        let locale = self.read("mail.locale", |raw| {
            values::choice(raw, &[("en", Locale::En), ("ar", Locale::Ar)])
        });
        let smtp_url = self.read("mail.smtp_url", |raw| optional(raw, smtp_url));
        let from = self.read("mail.from", |raw| optional(raw, sender));
        let helo = self.read("mail.helo", |raw| optional(raw, helo));
        let (smtp_url, mut from, helo) = (smtp_url?, from?, helo?);
        if smtp_url.is_some() && from.is_none() {
            self.warn(
                "mail.from",
                "not set; mails come from no-reply at the host of PUBLIC_URL, which many receivers take for spam",
            );
            let host = public_url.map_or_else(|| "localhost".to_owned(), PublicUrl::mail_domain);
            let sender = [host.as_str(), "localhost"]
                .into_iter()
                .find_map(|host| Sender::parse(&format!("no-reply@{host}")).ok());
            from = sender;
        }
        Some(MailConfig {
            locale: locale?,
            smtp_url,
            from,
            helo: helo.unwrap_or_else(|| Helo::of(public_url)),
        })
    }
}

fn smtp_url(raw: &Raw) -> Parsed<Secret> {
    let given = text(raw)?;
    if !given.starts_with("smtp://") && !given.starts_with("smtps://") {
        return refused(
            "this is not a URL of a mail server",
            "begin it with smtp:// or smtps://",
        );
    }
    check_server_url(given)?;
    let Ok(url) = Url::parse(given) else {
        return refused("this is not a URL", "write smtp://user:password@host:port");
    };
    if url.scheme() == "smtp" && url.port() == Some(465) {
        return refused(
            "a mail server at port 465 speaks TLS from the first byte, and smtp:// does not",
            "write smtps:// in place of smtp://, or the port 587",
        );
    }
    let mut tls = None;
    for (name, value) in url.query_pairs() {
        if name != "tls" || !matches!(value.as_ref(), "none" | "opportunistic" | "required") {
            return refused(
                "the URL has a parameter that is not known",
                "the only one is tls, which is none, opportunistic or required",
            );
        }
        tls = Some(value.into_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let is_here = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let unsafe_tls = given.starts_with("smtp://") && matches!(tls.as_deref(), Some("none" | "opportunistic"));
    if unsafe_tls && !url.username().is_empty() && !is_here {
        return refused(
            "the password would cross the network readable",
            "use smtps://, or leave tls out, so that STARTTLS is required",
        );
    }
    Ok(Secret::new(given))
}
