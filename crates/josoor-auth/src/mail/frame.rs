//! What stands around the text of a mail: the product's logo or name above it, and where the mail is from below it.

use crate::config::BrandingConfig;
use crate::domain::{Locale, Picture, PictureKind};

/// The name (`Content-ID`, RFC 2392) by which the HTML part shows the logo that goes with the mail.
pub const LOGO: &str = "logo@josoor-auth";

/// Text for HTML, also inside of quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn paragraph(html: &str) -> String {
    format!("<p style=\"margin:0 0 16px\">{html}</p>")
}

/// A code to type in, as large as what the mail is about.
pub(super) fn code_line(html: &str) -> String {
    format!("<p style=\"margin:24px 0;font-size:28px;font-weight:bold;letter-spacing:4px\">{html}</p>")
}

/// The colour of buttons and of the name, and that of text on a button: mails are light.
fn colours(branding: &BrandingConfig) -> (String, String) {
    branding.accent.map_or_else(
        || ("#0f5e6e".to_owned(), "#ffffff".to_owned()),
        |accent| (accent.light.main.to_string(), accent.light.on_main.to_string()),
    )
}

pub(super) fn button(label: &str, link: &str, branding: &BrandingConfig) -> String {
    let (main, on_main) = colours(branding);
    format!(
        "<p style=\"margin:24px 0\"><a href=\"{}\" style=\"display:inline-block;padding:12px 20px;border-radius:6px;\
         background:{main};color:{on_main};text-decoration:none;font-weight:bold\">{}</a></p>",
        escape(link),
        escape(label)
    )
}

/// What all mails of one language have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) locale: Locale,
    pub(super) public_url: &'a str,
    pub(super) branding: &'a BrandingConfig,
}

impl Frame<'_> {
    /// The logo, if it is of a kind that mail programs show. They show no SVG.
    pub(super) fn logo(&self) -> Option<&Picture> {
        let logo = self.branding.logo.as_ref();
        logo.filter(|logo| logo.kind() == PictureKind::Png)
    }

    /// The end of the plain part.
    pub(super) fn signature(&self) -> String {
        let name = self.branding.name(self.locale);
        let support = self
            .branding
            .support
            .as_ref()
            .map_or_else(String::new, |url| format!("{}: {url}\n", self.help()));
        format!("\n-- \n{name}\n{}\n{support}", self.public_url)
    }

    const fn help(&self) -> &'static str {
        match self.locale {
            Locale::En => "Help",
            Locale::Ar => "المساعدة",
        }
    }

    fn wordmark(&self) -> String {
        let (colour, _) = colours(self.branding);
        let name = escape(self.branding.name(self.locale));
        if self.logo().is_some() {
            return format!(
                "<img src=\"cid:{LOGO}\" alt=\"{name}\" height=\"32\" style=\"display:block;height:32px;width:auto;max-width:240px;border:0\">"
            );
        }
        let words = if self.branding.has_name() {
            format!("<bdi>{name}</bdi>")
        } else {
            // In this order in both languages.
            "<bdi lang=\"ar\">جسور</bdi> <span style=\"color:#76878d;font-weight:normal\">|</span> <bdi lang=\"en\">JOSOOR</bdi>"
                .to_owned()
        };
        format!("<span style=\"font-size:18px;font-weight:bold;color:{colour}\">{words}</span>")
    }

    /// The page around the blocks: tables, because mail programs know little else, and nothing that is fetched.
    pub(super) fn page(&self, title: &str, blocks: &str) -> String {
        let locale = self.locale;
        let (direction, align) = match locale {
            Locale::En => ("ltr", "left"),
            Locale::Ar => ("rtl", "right"),
        };
        let url = escape(self.public_url);
        let wordmark = self.wordmark();
        let support = self.branding.support.as_ref().map_or_else(String::new, |url| {
            format!(
                " · <a href=\"{}\" style=\"color:#5b6472\">{}</a>",
                escape(url.as_str()),
                self.help()
            )
        });
        format!(
            r#"<!doctype html>
<html lang="{locale}" dir="{direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>{title}</title>
</head>
<body style="margin:0;padding:0;background:#f3f4f6">
<table role="presentation" dir="{direction}" width="100%" cellpadding="0" cellspacing="0" style="background:#f3f4f6">
<tr><td align="center" style="padding:24px 12px">
<table role="presentation" dir="{direction}" width="100%" cellpadding="0" cellspacing="0" style="max-width:560px;background:#ffffff;border-radius:8px">
<tr><td dir="{direction}" align="{align}" style="padding:24px 32px 0;font-family:'Segoe UI',Tahoma,Arial,sans-serif">{wordmark}</td></tr>
<tr><td dir="{direction}" align="{align}" style="padding:24px 32px 32px;font-family:'Segoe UI',Tahoma,Arial,sans-serif;font-size:16px;line-height:1.7;color:#1f2937">
<h1 style="margin:0 0 16px;font-size:20px;line-height:1.4">{title}</h1>
{blocks}
</td></tr>
</table>
<p style="margin:16px 0 0;font-family:'Segoe UI',Tahoma,Arial,sans-serif;font-size:12px;color:#5b6472"><bdi dir="ltr">{url}</bdi>{support}</p>
</td></tr>
</table>
</body>
</html>
"#
        )
    }
}
