//! The mail as it goes over the wire.

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::answer::{Effect, SendError, Stage};
use crate::domain::Email;
use crate::mail::frame::LOGO;
use crate::mail::render::Mail;

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

/// A recipient's address with its domain as A-labels (RFC 5890, 2.3.2.1), which every server takes. The part before the `@`
/// stays as it was typed.
pub(super) fn address(text: &str) -> Result<Address, SendError> {
    let parsed = Email::parse(text).ok();
    let address = parsed.as_ref().and_then(|email| {
        let (local, _) = email.address().split_once('@')?;
        Address::new(local, email.domain()).ok()
    });
    address.ok_or_else(|| never("the recipient's address"))
}

fn never(what: &str) -> SendError {
    let text = format!("{what} cannot be written into a mail");
    SendError::new(Stage::Text, Effect::Never, &text)
}

/// Header fields are built from typed values, so that no text can begin another one.
pub(super) fn message(mail: &Mail, from: &Mailbox, to: &Address) -> Result<Vec<u8>, SendError> {
    let plain = SinglePart::builder()
        .header(ContentType::TEXT_PLAIN)
        .body(mail.text.clone());
    let html = SinglePart::builder()
        .header(ContentType::TEXT_HTML)
        .body(mail.html.clone());
    let parts = MultiPart::alternative().singlepart(plain);
    let parts = match &mail.logo {
        None => parts.singlepart(html),
        Some(logo) => {
            let kind = ContentType::parse(logo.kind().media_type()).map_err(|_| never("the logo"))?;
            let logo = Attachment::new_inline(LOGO.to_owned()).body(Body::new(logo.content().to_vec()), kind);
            parts.multipart(MultiPart::related().singlepart(html).singlepart(logo))
        }
    };
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(mail.subject.clone())
        .message_id(Some(mail.message_id.clone()))
        .header(AutoSubmitted)
        .header(ContentLanguage(mail.locale.to_string()))
        .multipart(parts);
    message
        .map(|message| message.formatted())
        .map_err(|_| never("the mail"))
}
