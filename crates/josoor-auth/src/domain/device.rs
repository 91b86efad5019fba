//! Short names for devices, made of a fixed vocabulary: nothing that a client sends is in them.

use std::fmt;

use uuid::Uuid;

use super::ids::UserId;
use super::locale::Locale;

/// A device that an account knows now, according to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// The account.
    pub user: UserId,
    /// The device's row.
    pub id: Uuid,
}

/// A program by the mark that its `User-Agent` has. The order matters: most browsers also name those that they descend from.
const PROGRAMS: [(&str, &str); 19] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("python-requests/", "Python"),
    ("python-httpx/", "Python"),
    ("PostmanRuntime/", "Postman"),
    ("okhttp/", "OkHttp"),
    ("Dart/", "Dart"),
    ("node", "Node.js"),
];

const SYSTEMS: [(&str, &str); 9] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
    ("FreeBSD", "FreeBSD"),
];

/// A device by names of the vocabulary, such as "Firefox on Windows". A guess from the `User-Agent`, never used to decide
/// whether somebody may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceLabel {
    program: Option<&'static str>,
    system: Option<&'static str>,
}

impl DeviceLabel {
    /// The label of a `User-Agent`; `None` when the vocabulary has neither its program nor its system.
    pub fn of(user_agent: &str) -> Option<Self> {
        let named = |table: &[(&str, &'static str)]| {
            let found = table.iter().find(|(mark, _)| user_agent.contains(mark));
            found.map(|(_, name)| *name)
        };
        let label = Self {
            program: named(&PROGRAMS),
            system: named(&SYSTEMS),
        };
        (label.program.is_some() || label.system.is_some()).then_some(label)
    }

    /// Reads what [`Display`](fmt::Display) wrote. `None` for every text with a word outside the vocabulary.
    pub fn parse(text: &str) -> Option<Self> {
        let known = |table: &[(&str, &'static str)], text: &str| {
            let found = table.iter().find(|(_, name)| *name == text);
            found.map(|(_, name)| *name)
        };
        if let Some((program, system)) = text.split_once(" on ") {
            return Some(Self {
                program: Some(known(&PROGRAMS, program)?),
                system: Some(known(&SYSTEMS, system)?),
            });
        }
        let label = Self {
            program: known(&PROGRAMS, text),
            system: known(&SYSTEMS, text),
        };
        (label.program.is_some() || label.system.is_some()).then_some(label)
    }

    /// The label in a language. In Arabic with a right-to-left mark in front, because its first letter is a Latin one, from
    /// which the direction would else be taken.
    pub fn in_language(self, locale: Locale) -> String {
        match (self.program, self.system) {
            (Some(program), Some(system)) => match locale {
                Locale::En => format!("{program} on {system}"),
                Locale::Ar => format!("\u{200f}{program} على {system}"),
            },
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => String::new(),
        }
    }
}

impl fmt::Display for DeviceLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_language(Locale::En))
    }
}

/// The label of a `User-Agent`, with a text for unknown ones.
pub fn device_label(user_agent: &str) -> String {
    DeviceLabel::of(user_agent).map_or_else(|| "Unknown device".to_owned(), |label| label.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_reads_back_and_holds_nothing_that_a_client_sent() {
        for (mark, _) in PROGRAMS.iter().chain(&SYSTEMS) {
            let label = DeviceLabel::of(&format!("lock your account at evil.example {mark} call 1900"))
                .expect("a known mark");
            let text = label.to_string();
            assert!(!text.contains("evil") && !text.contains("1900"), "{text}");
            assert_eq!(DeviceLabel::parse(&text), Some(label));
        }
        let both = DeviceLabel::of("Firefox/140.0 (Windows NT 10.0)").expect("a known mark");
        assert_eq!(both.to_string(), "Firefox on Windows");
        assert_eq!(DeviceLabel::parse("Firefox on Windows"), Some(both));
        for text in [
            "",
            "evil",
            "Firefox on evil",
            "evil on Windows",
            "Firefox on Windows on evil",
        ] {
            assert_eq!(DeviceLabel::parse(text), None, "{text}");
        }
        assert_eq!(DeviceLabel::of("a program of its own"), None);
    }
}
