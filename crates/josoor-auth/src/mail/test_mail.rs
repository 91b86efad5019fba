//! Mails that are about nothing: the one that tests the mail server, and the sample for the preview of the branding.

use super::frame::{Frame, button, escape, paragraph};
use super::render::{Mail, domain_of};
use crate::config::BrandingConfig;
use crate::domain::Locale;

/// A mail that says only that it has arrived. `id` makes its `Message-ID` one of its own.
pub fn test_mail(
    to: &str,
    locale: Locale,
    public_url: &str,
    branding: &BrandingConfig,
    id: uuid::Uuid,
) -> Mail {
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
    let frame = Frame {
        locale,
        public_url,
        branding,
    };
    Mail {
        to: to.to_owned(),
        locale,
        message_id: format!("<test.{}@{}>", id.as_simple(), domain_of(public_url)),
        subject: subject.to_owned(),
        text: format!("{text}\n{}", frame.signature()),
        html: frame.page(subject, &paragraph(&escape(text))),
        link: None,
        logo: frame.logo().cloned(),
    }
}

/// A mail with a button, which leads to the service's first page. It is shown and never sent.
pub fn sample_mail(locale: Locale, public_url: &str, branding: &BrandingConfig) -> Mail {
    let (label, text) = match locale {
        Locale::En => (
            "Open the account page",
            "This is what mails look like. They have a button where there is something to do.",
        ),
        Locale::Ar => (
            "فتح صفحة الحساب",
            "هكذا تبدو الرسائل. وفيها زر حين يكون هناك ما يلزم فعله.",
        ),
    };
    let mut mail = test_mail(
        "user@example.org",
        locale,
        public_url,
        branding,
        uuid::Uuid::nil(),
    );
    let frame = Frame {
        locale,
        public_url,
        branding,
    };
    let blocks = paragraph(&escape(text)) + &button(label, public_url, branding);
    mail.html = frame.page(&escape(branding.name(locale)), &blocks);
    mail
}
