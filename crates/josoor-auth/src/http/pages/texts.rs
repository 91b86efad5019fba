//! The words of the pages, in both languages. The pages of signed-in users (`web/`) read the shared ones from the same files.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::domain::Locale;

/// A text, or the forms of a counted one (CLDR).
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// One form.
    Plain(String),
    /// By plural category.
    Counted(HashMap<String, String>),
}

type Texts = HashMap<String, Text>;

static ENGLISH: LazyLock<Texts> = LazyLock::new(|| {
    read([
        include_str!("../../../templates/pages/texts/shared.en.json"),
        include_str!("../../../templates/pages/texts/flow.en.json"),
    ])
});

static ARABIC: LazyLock<Texts> = LazyLock::new(|| {
    read([
        include_str!("../../../templates/pages/texts/shared.ar.json"),
        include_str!("../../../templates/pages/texts/flow.ar.json"),
    ])
});

fn read(files: [&str; 2]) -> Texts {
    files
        .into_iter()
        .flat_map(|file| serde_json::from_str::<Texts>(file).unwrap_or_default())
        .collect()
}

/// All texts of a language.
pub fn all(locale: Locale) -> &'static Texts {
    match locale {
        Locale::En => &ENGLISH,
        Locale::Ar => &ARABIC,
    }
}

/// The text of a key that is put together, such as `error.<code>`.
pub fn find(locale: Locale, key: &str) -> Option<&'static str> {
    match all(locale).get(key)? {
        Text::Plain(text) => Some(text),
        Text::Counted(_) => None,
    }
}

/// The text of a key; the key itself where there is none, which a test rules out.
pub fn text(locale: Locale, key: &str) -> &str {
    find(locale, key).unwrap_or(key)
}

/// A counted text.
pub fn counted(locale: Locale, key: &str, count: u64) -> String {
    let Some(Text::Counted(forms)) = all(locale).get(key) else {
        return key.to_owned();
    };
    let form = forms.get(category(locale, count)).or_else(|| forms.get("other"));
    fill(form.map_or(key, String::as_str), &[("count", &count.to_string())])
}

/// Puts values into a text. Each is isolated (Unicode FSI … PDI), because an address or a name of the other script would
/// otherwise pull the punctuation around it to its own side.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let hole = after.split_once('}');
        let value = hole.and_then(|(name, _)| values.iter().find(|(known, _)| *known == name));
        if let (Some((_, behind)), Some((_, value))) = (hole, value) {
            filled.push('\u{2068}');
            filled.push_str(value);
            filled.push('\u{2069}');
            rest = behind;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

/// A length of time to wait, in words.
pub fn duration(locale: Locale, seconds: u64) -> String {
    match seconds {
        21_600.. => counted(locale, "time.hours", seconds.div_ceil(3600)),
        120.. => counted(locale, "time.minutes", seconds.div_ceil(60)),
        _ => counted(locale, "time.seconds", seconds),
    }
}

/// The plural category of a whole number (CLDR 48).
const fn category(locale: Locale, count: u64) -> &'static str {
    match (locale, count, count % 100) {
        (_, 1, _) => "one",
        (Locale::Ar, 0, _) => "zero",
        (Locale::Ar, 2, _) => "two",
        (Locale::Ar, _, 3..=10) => "few",
        (Locale::Ar, _, 11..=99) => "many",
        (Locale::En | Locale::Ar, ..) => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::FactorMethod;

    fn plain(text: &str) -> String {
        text.replace(['\u{2068}', '\u{2069}'], "")
    }

    #[test]
    fn both_languages_have_the_same_texts() {
        let keys = |locale| all(locale).keys().collect::<BTreeSet<_>>();
        assert!(keys(Locale::En).len() > 150);
        assert_eq!(keys(Locale::En), keys(Locale::Ar));
        for (key, text) in all(Locale::Ar) {
            if let Text::Counted(forms) = text {
                assert_eq!(forms.len(), 6, "{key}");
            }
        }
    }

    #[test]
    fn all_texts_are_used_and_all_that_are_used_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = String::new();
        for folder in ["templates/pages", "src/http/pages"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() && !path.ends_with("texts.rs") {
                    sources.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        // Put together from the service's names, or from the name of a page.
        let composed = |key: &str| {
            key.starts_with("error.")
                || key.starts_with("code.lead_")
                || key.starts_with("field.")
                || key.starts_with("reason.")
                || [".sent", ".sent_more", ".again", ".done"]
                    .iter()
                    .any(|end| key.ends_with(end))
                || ["link_invalid", "link_expired", "link_used"]
                    .iter()
                    .any(|end| key.ends_with(end))
        };
        // The shared ones may be `web/`'s alone.
        let own: Texts =
            serde_json::from_str(include_str!("../../../templates/pages/texts/flow.en.json")).unwrap();
        for key in own.keys().filter(|key| !composed(key)) {
            assert!(sources.contains(&format!("\"{key}\"")), "{key} is used nowhere");
        }
        for (at, call) in sources.match_indices("t(\"") {
            let is_other = sources[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let found = sources[at + call.len()..].split('"').next().unwrap_or_default();
            let is_text = found.contains('.') && !is_other;
            assert!(
                !is_text || all(Locale::En).contains_key(found),
                "there is no text {found}"
            );
        }
    }

    #[test]
    fn each_code_of_a_second_factor_is_asked_for_in_words() {
        for method in FactorMethod::ALL.iter().filter(|method| method.is_code()) {
            let key = format!("code.lead_{}", method.as_str());
            assert!(find(Locale::En, &key).is_some(), "there is no text {key}");
        }
    }

    #[test]
    fn waits_are_counted_as_one_speaks() {
        for (seconds, english, arabic) in [
            (1, "1 second", "ثانية واحدة"),
            (2, "2 seconds", "ثانيتين"),
            (5, "5 seconds", "5 ثوانٍ"),
            (42, "42 seconds", "42 ثانية"),
            (121, "3 minutes", "3 دقائق"),
            (21_600, "6 hours", "6 ساعات"),
        ] {
            assert_eq!(plain(&duration(Locale::En, seconds)), english);
            assert_eq!(plain(&duration(Locale::Ar, seconds)), arabic);
        }
    }

    #[test]
    fn values_are_isolated() {
        assert_eq!(
            fill("to {email}!", &[("email", "a@b.c")]),
            "to \u{2068}a@b.c\u{2069}!"
        );
        assert_eq!(fill("{unknown} {", &[]), "{unknown} {");
        assert_eq!(fill("{a}", &[("a", "{a}")]), "\u{2068}{a}\u{2069}");
    }
}
