//! `[mail]`

use url::Url;

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
    pub from: Option<String>,
}

impl Reader<'_> {
    pub(super) fn mail(&mut self, public_url: Option<&PublicUrl>) -> Option<MailConfig> {
        let locale = self.read("mail.locale", |raw| {
            values::choice(raw, &[("en", Locale::En), ("ar", Locale::Ar)])
        });
        let smtp_url = self.read("mail.smtp_url", |raw| optional(raw, smtp_url));
        let from = self.read("mail.from", |raw| optional(raw, mailbox));
        let (smtp_url, mut from) = (smtp_url?, from?);
        if smtp_url.is_some() && from.is_none() {
            self.warn(
                "mail.from",
                "not set; mails come from no-reply at the host of PUBLIC_URL, which many receivers take for spam",
            );
            from = public_url.map(|url| format!("no-reply@{}", url.mail_domain()));
        }
        Some(MailConfig {
            locale: locale?,
            smtp_url,
            from,
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

/// A sender: `address` or `Name <address>` (RFC 5322, 3.4), on one line.
fn mailbox(raw: &Raw) -> Parsed<String> {
    let given = text(raw)?;
    let address = match given.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or(""),
        None => given,
    };
    let is_address = address
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !is_address
        || given.len() > 320
        || given.chars().any(char::is_control)
        || address.contains([' ', '<', '>', ','])
    {
        return refused(
            "this is not a sender's address",
            "write address@example.org, or Name <address@example.org>",
        );
    }
    Ok(given.to_owned())
}
