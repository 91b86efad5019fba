//! The mail with which an operator tests the mail server.

use super::render::{Mail, domain_of, escape, page, paragraph};
use crate::domain::Locale;

/// A mail that says only that it has arrived. `id` makes its `Message-ID` one of its own.
pub fn test_mail(to: &str, locale: Locale, public_url: &str, id: uuid::Uuid) -> Mail {
    let (subject, text) = match locale {
        Locale::En => (
            "Test of the mail server",
            "This mail was sent to test the mail server. It has arrived, and you need do nothing.",
        ),
        Locale::Ar => (
            "اختبار خادم البريد",
            "أُرسلت هذه الرسالة لاختبار خادم البريد، وقد وصلت. لا يلزمك أي إجراء.",
        ),
    };
    Mail {
        to: to.to_owned(),
        locale,
        message_id: format!("<test.{}@{}>", id.as_simple(), domain_of(public_url)),
        subject: subject.to_owned(),
        text: format!("{text}\n\n-- \n{public_url}\n"),
        html: page(locale, subject, &paragraph(&escape(text)), public_url),
        link: None,
    }
}
