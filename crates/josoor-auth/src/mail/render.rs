//! What a mail says: one template for each message and language, from which both its parts are made.
//!
//! A template is a subject, an empty line, and paragraphs with empty lines between them. `[Label]` is the button with the
//! mail's link; `{details}` is when, from where and with which program it happened. The blocks are found before any value
//! is put in, and values are escaped for the part that they go into, so no value can become a block, a tag or a header.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minijinja::{AutoEscape, Environment, Value, context};

use super::frame::{Frame, button, code_line, escape, paragraph};
use crate::config::BrandingConfig;
use crate::domain::{Locale, MailCode, MailKind, Picture, Purpose, Timestamp};
use crate::error::{Error, Result};
use crate::keys::Keys;
use crate::store::{Content, MailDetails, MailRow};

/// A mail, ready to be sent.
#[derive(Clone)]
pub struct Mail {
    /// The recipient's address.
    pub to: String,
    /// Its language.
    pub locale: Locale,
    /// The same for the same row of the outbox, so that a receiver can drop a second copy.
    pub message_id: String,
    /// One line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// Where its button leads, if it has one.
    pub link: Option<String>,
    /// The picture that the HTML part shows by the name [`LOGO`](super::LOGO), and that goes with it.
    pub logo: Option<Picture>,
}

/// Not what it says: it holds a link.
impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail")
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}

/// The files of `templates/mail`, which the build lists: kind, language, text.
static TEMPLATES: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/mail_templates.rs"));

/// The template of a message; `None` for requests, which are not sent.
fn template(kind: MailKind, locale: Locale) -> Option<&'static str> {
    let found = TEMPLATES
        .iter()
        .find(|(name, language, _)| *name == kind.as_str() && *language == locale.as_str());
    found.map(|(_, _, text)| *text)
}

/// The link of a one-time token. The token stands behind `#`, which browsers send to no server and no log keeps.
pub fn link_of(public_url: &str, keys: &Keys, purpose: Purpose, id: uuid::Uuid) -> String {
    let page = match purpose {
        Purpose::Setup => "setup",
        Purpose::ResetPassword | Purpose::Invitation => "reset-password",
        Purpose::VerifyEmail | Purpose::Registration | Purpose::ChangeEmail => "verify-email",
        Purpose::UndoEmailChange | Purpose::UndoDeletion => "undo",
        Purpose::SecureAccount => "secure-account",
        Purpose::SignIn | Purpose::Confirm => "login-link",
    };
    format!(
        "{public_url}/{page}#token={}",
        keys.one_time.issue(purpose, id).expose()
    )
}

/// Writes a mail from its row; the same row always gives the same mail. Fails only on a fault of ours.
pub fn render(row: &MailRow, public_url: &str, branding: &BrandingConfig, keys: &Keys) -> Result<Mail> {
    let fault = |what: &str| Error::Internal(anyhow::anyhow!("mail {}: {what}", row.kind.as_str()));
    let template = template(row.kind, row.locale).ok_or_else(|| fault("it has no template"))?;
    let (subject, body) = template
        .strip_prefix("Subject: ")
        .and_then(|rest| rest.split_once("\n\n"))
        .ok_or_else(|| fault("its template has no subject"))?;
    let Content::Mail(details) = &row.content else {
        return Err(fault("it is a request"));
    };
    // What is confirmed by the code alone has no link of its own.
    let link = match row.kind.purpose().filter(|purpose| *purpose != Purpose::Confirm) {
        Some(purpose) => {
            let token = row.token.ok_or_else(|| fault("it has no token"))?;
            Some(link_of(public_url, keys, purpose, token))
        }
        None => body
            .lines()
            .any(|line| line.starts_with('['))
            .then(|| match details.subject() {
                Some(user) => format!("{public_url}/console/users/{user}"),
                None => format!("{public_url}/forgot-password"),
            }),
    };
    let locale = row.locale;
    let frame = Frame {
        locale,
        public_url,
        branding,
    };
    let site = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
    let words = words(locale);
    let mut plain = Environment::new();
    plain.set_auto_escape_callback(|_| AutoEscape::None);
    let mut escaped = Environment::new();
    escaped.set_auto_escape_callback(|_| AutoEscape::Html);

    let lifetime = row
        .kind
        .purpose()
        .map(|purpose| spell(locale, purpose.lifetime()));
    let code = match (row.kind.purpose(), row.token) {
        (Some(purpose @ (Purpose::SignIn | Purpose::Confirm)), Some(token)) => {
            Some(MailCode::spelled(keys.one_time.code(purpose, token).expose()))
        }
        _ => None,
    };
    let values = |shown: &dyn Fn(&str) -> Value| {
        context! {
            site => shown(site),
            lifetime => &lifetime,
            code => code.as_deref().map_or(Value::UNDEFINED, shown),
            new_address => details.new_address().map_or(Value::UNDEFINED, shown),
            subject => details.subject().map(|user| user.0),
            audit_row => details.audit_row(),
        }
    };
    let in_text = values(&|value| isolated(locale, value).into());
    let in_html = values(&|value| Value::from_safe_string(marked(value)));
    let fill = |environment: &Environment<'_>, source: &str, values: &Value| {
        environment.render_str(source, values).map_err(Error::internal)
    };

    let mut text = match details.name() {
        Some(name) => format!("{} {}{}\n", words.hello, isolated(locale, name), words.comma),
        None => format!("{}{}\n", words.hello, words.comma),
    };
    let mut html = match details.name() {
        Some(name) => paragraph(&format!("{} {}{}", words.hello, marked(name), words.comma)),
        None => paragraph(&format!("{}{}", words.hello, words.comma)),
    };
    for block in body
        .split("\n\n")
        .map(str::trim)
        .filter(|block| !block.is_empty())
    {
        text.push('\n');
        if let Some(label) = block.strip_prefix('[').and_then(|label| label.strip_suffix(']')) {
            let link = link.as_deref().ok_or_else(|| fault("its button leads nowhere"))?;
            text.push_str(link);
            html.push_str(&button(label, link, branding));
        } else if block == "{details}" {
            let (lines, rows) = describe(row, details, words);
            text.push_str(&lines);
            html.push_str(&rows);
        } else {
            text.push_str(&fill(&plain, block, &in_text)?);
            let filled = fill(&escaped, block, &in_html)?;
            let is_code = block == "{{ code }}";
            html.push_str(&if is_code {
                code_line(&filled)
            } else {
                paragraph(&filled)
            });
        }
        text.push('\n');
    }
    if link.is_some() {
        html.push_str(&format!(
            "<p style=\"margin:24px 0 0;font-size:13px;color:#5b6472\">{}<br><span dir=\"ltr\" style=\"word-break:break-all\">{}</span></p>",
            words.or_copy,
            escape(link.as_deref().unwrap_or_default())
        ));
    }
    text.push_str(&frame.signature());
    let subject = fill(&plain, subject, &in_text)?;
    Ok(Mail {
        to: row.recipient.clone(),
        locale,
        message_id: message_id(row, public_url, keys),
        html: frame.page(&escape(&subject), &html),
        subject,
        text,
        link,
        logo: frame.logo().cloned(),
    })
}

/// Not guessable from outside, always the same for the row.
fn message_id(row: &MailRow, public_url: &str, keys: &Keys) -> String {
    let host = domain_of(public_url);
    let tag = keys.tag(
        "message-id",
        &[&row.id.to_be_bytes(), &row.created_at.as_micros().to_be_bytes()],
    );
    format!("<{}.{}@{host}>", row.id, URL_SAFE_NO_PAD.encode(&tag[..12]))
}

/// What stands behind the `@` of a `Message-ID`.
pub(super) fn domain_of(public_url: &str) -> &str {
    public_url
        .split_once("://")
        .map_or(public_url, |(_, rest)| rest)
        .split(['/', ':'])
        .next()
        .filter(|host| !host.is_empty() && host.is_ascii() && !host.starts_with('['))
        .unwrap_or("localhost")
}

/// The words around a message.
struct Words {
    hello: &'static str,
    comma: &'static str,
    or_copy: &'static str,
    time: &'static str,
    address: &'static str,
    program: &'static str,
}

const fn words(locale: Locale) -> &'static Words {
    match locale {
        Locale::En => &Words {
            hello: "Hello",
            comma: ",",
            or_copy: "Button not working? Copy this link into your browser:",
            time: "Time",
            address: "IP address",
            program: "Browser or program",
        },
        Locale::Ar => &Words {
            hello: "مرحبًا",
            comma: "،",
            or_copy: "الزر لا يعمل؟ انسخ هذا الرابط إلى متصفحك:",
            time: "الوقت",
            address: "عنوان IP",
            program: "المتصفح أو البرنامج",
        },
    }
}

/// When, from where and with what it happened, for both parts.
fn describe(row: &MailRow, details: &MailDetails, words: &Words) -> (String, String) {
    let origin = details.origin();
    let facts = [
        (words.time, Some(moment(row.locale, row.created_at))),
        (words.address, origin.ip().map(|ip| ip.to_string())),
        (
            words.program,
            origin.device().map(|device| device.in_language(row.locale)),
        ),
    ];
    let (mut lines, mut rows) = (Vec::new(), String::new());
    for (name, value) in facts {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            continue;
        };
        lines.push(format!("{name}: {}", isolated(row.locale, &value)));
        rows.push_str(&format!(
            "<tr><td style=\"padding:2px 0;color:#5b6472\">{name}</td><td style=\"padding:2px 12px\"><bdi>{}</bdi></td></tr>",
            escape(&value)
        ));
    }
    (
        lines.join("\n"),
        format!("<table role=\"presentation\" style=\"margin:0 0 16px;font-size:14px\">{rows}</table>"),
    )
}

/// `24 November 2026, 08:05 UTC`
pub fn moment(locale: Locale, at: Timestamp) -> String {
    let at = at.to_offset();
    let (day, year, hour, minute) = (at.day(), at.year(), at.hour(), at.minute());
    match locale {
        Locale::En => format!("{day} {} {year}, {hour:02}:{minute:02} UTC", at.month()),
        Locale::Ar => {
            let names = [
                "يناير",
                "فبراير",
                "مارس",
                "أبريل",
                "مايو",
                "يونيو",
                "يوليو",
                "أغسطس",
                "سبتمبر",
                "أكتوبر",
                "نوفمبر",
                "ديسمبر",
            ];
            let month = names[usize::from(u8::from(at.month()) - 1)];
            format!("{day} {month} {year}، {hour:02}:{minute:02} (UTC)")
        }
    }
}

/// A length of time in words, with the plural forms of the language (CLDR).
fn spell(locale: Locale, time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    let (count, unit) = match minutes {
        m if m >= 4 * 24 * 60 && m % (24 * 60) == 0 => (m / (24 * 60), 2),
        m if m >= 60 && m % 60 == 0 => (m / 60, 1),
        m => (m, 0),
    };
    match locale {
        Locale::En => {
            let name = ["minute", "hour", "day"][unit];
            format!("{count} {name}{}", if count == 1 { "" } else { "s" })
        }
        // After "for the time of", in the genitive: one, two, few, many.
        Locale::Ar => {
            let [one, two, few, many] = [
                ["دقيقة واحدة", "دقيقتين", "دقائق", "دقيقة"],
                ["ساعة واحدة", "ساعتين", "ساعات", "ساعة"],
                ["يوم واحد", "يومين", "أيام", "يومًا"],
            ][unit];
            match (count, count % 100) {
                (1, _) => one.to_owned(),
                (2, _) => two.to_owned(),
                (_, 3..=10) => format!("{count} {few}"),
                (_, 11..=99) => format!("{count} {many}"),
                // 100, 101, 102, …
                _ => format!("{count} {}", ["دقيقة", "ساعة", "يوم"][unit]),
            }
        }
    }
}

/// A value in plain text, kept from turning the direction of what is around it (UAX #9: FSI … PDI).
fn isolated(locale: Locale, value: &str) -> String {
    if locale == Locale::En && value.is_ascii() {
        return value.to_owned();
    }
    format!("\u{2068}{value}\u{2069}")
}

/// A value in HTML.
fn marked(value: &str) -> String {
    format!("<bdi>{}</bdi>", escape(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_the_plural_of_their_language() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        for (count, english, arabic) in [
            (1, "1 minute", "دقيقة واحدة"),
            (2, "2 minutes", "دقيقتين"),
            (3, "3 minutes", "3 دقائق"),
            (10, "10 minutes", "10 دقائق"),
            (11, "11 minutes", "11 دقيقة"),
            (30, "30 minutes", "30 دقيقة"),
            (60, "1 hour", "ساعة واحدة"),
            (24 * 60, "24 hours", "24 ساعة"),
            (72 * 60, "72 hours", "72 ساعة"),
            (7 * 24 * 60, "7 days", "7 أيام"),
            (100, "100 minutes", "100 دقيقة"),
            (100 * 24 * 60, "100 days", "100 يوم"),
        ] {
            assert_eq!(spell(Locale::En, minutes(count)), english);
            assert_eq!(spell(Locale::Ar, minutes(count)), arabic);
        }
    }

    #[test]
    fn moments_are_written_in_the_language() {
        let at = "2026-11-04T08:05:50.981692Z".parse().expect("a time");
        assert_eq!(moment(Locale::En, at), "4 November 2026, 08:05 UTC");
        assert_eq!(moment(Locale::Ar, at), "4 نوفمبر 2026، 08:05 (UTC)");
    }

    #[test]
    fn every_message_has_a_template_in_both_languages() {
        for &kind in MailKind::ALL {
            for locale in [Locale::En, Locale::Ar] {
                assert_eq!(template(kind, locale).is_none(), kind.is_request(), "{kind:?}");
            }
        }
        let messages = MailKind::ALL.iter().filter(|kind| !kind.is_request());
        assert_eq!(TEMPLATES.len(), 2 * messages.count(), "a template of no message");
    }
}
