//! `[branding]`: what the product is called and how it looks, on pages and in mails.

use std::io::Read as _;
use std::path::Path;

use url::Url;

use super::raw::{Parsed, Raw, refused, shown};
use super::reader::Reader;
use super::values::{self, optional, text};
use crate::domain::{Accent, CONTRAST, Colour, Locale, Name, PICTURE_AT_MOST, Picture, Shades, Theme};

/// The most characters of a product's name.
const NAME_AT_MOST: usize = 60;

/// A product's name in one language.
type ProductName = Name<NAME_AT_MOST>;

/// `[branding]`
#[derive(Clone, Debug, Default)]
pub struct BrandingConfig {
    name_en: Option<ProductName>,
    name_ar: Option<ProductName>,
    /// The logo; in both themes unless there is one for the dark theme.
    pub logo: Option<Picture>,
    /// The logo on dark surfaces.
    pub logo_dark: Option<Picture>,
    /// The icon of browser tabs.
    pub icon: Option<Picture>,
    /// The colour of links and buttons.
    pub accent: Option<Accent>,
    /// Where users get help.
    pub support: Option<Url>,
    /// The terms of use.
    pub terms: Option<Url>,
    /// What is done with users' data.
    pub privacy: Option<Url>,
}

impl BrandingConfig {
    /// The product's name: the configured one of the language, else that of the other one.
    pub fn name(&self, locale: Locale) -> &str {
        let (own, other, default) = match locale {
            Locale::En => (&self.name_en, &self.name_ar, "JOSOOR"),
            Locale::Ar => (&self.name_ar, &self.name_en, "جسور"),
        };
        own.as_ref().or(other.as_ref()).map_or(default, Name::as_str)
    }

    /// Whether a name is configured. Otherwise the wordmark is جسور | JOSOOR.
    pub const fn has_name(&self) -> bool {
        self.name_en.is_some() || self.name_ar.is_some()
    }
}

fn product_name(raw: &Raw) -> Parsed<Option<ProductName>> {
    ProductName::parse(values::any_text(raw)?).or_else(|reason| {
        refused(
            format!("this cannot be a name: {}", reason.message.trim_end_matches('.')),
            format!("write a name of at most {NAME_AT_MOST} characters on one line"),
        )
    })
}

fn picture(raw: &Raw) -> Parsed<Picture> {
    let path = values::path(raw)?;
    let content = match read(&path) {
        Ok(content) => content,
        Err(why) => {
            return refused(
                format!("{} cannot be read: {why}", shown(&path.to_string_lossy())),
                "name a readable SVG or PNG file",
            );
        }
    };
    Picture::parse(content).or_else(|bad| {
        let (message, remedy) = bad.explain();
        refused(format!("{}: {message}", shown(&path.to_string_lossy())), remedy)
    })
}

/// The content of a file; of one that is too large a little more than is allowed.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    // A pipe would keep the start waiting.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(PICTURE_AT_MOST as u64 + 1)
        .read_to_end(&mut content)?;
    Ok(content)
}

fn shades(raw: &Raw, theme: Theme) -> Parsed<Shades> {
    let Some(colour) = Colour::parse(text(raw)?) else {
        return refused("this is not a colour", "write it like \"#0f5e6e\"");
    };
    Shades::of(colour, theme).or_else(|unreadable| {
        let (contrast, surface, nearest) = (unreadable.contrast, unreadable.surface, unreadable.nearest);
        // Rounded down: 4.496 does not read as what it would have to be.
        let contrast = (contrast * 100.0).floor() / 100.0;
        refused(
            format!(
                "the contrast of {colour} with {surface} of the {} theme is {contrast:.2}:1, and text needs {CONTRAST}:1",
                theme.as_str()
            ),
            format!("a nearby colour that passes is {nearest}"),
        )
    })
}

/// A page of the web, which browsers reach over TLS only.
fn link(raw: &Raw) -> Parsed<Url> {
    const REMEDY: &str = "write it like https://example.org/terms";
    let Ok(url) = Url::parse(text(raw)?) else {
        return refused("this is not a URL", REMEDY);
    };
    if url.scheme() != "https" {
        return refused("the URL must begin with https://", REMEDY);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused("the URL must not hold a user or a password", REMEDY);
    }
    Ok(url)
}

impl Reader<'_> {
    pub(super) fn branding(&mut self) -> Option<BrandingConfig> {
        let name_en = self.read("branding.name_en", product_name);
        let name_ar = self.read("branding.name_ar", product_name);
        let logo = self.read("branding.logo", |raw| optional(raw, picture));
        let logo_dark = self.read("branding.logo_dark", |raw| optional(raw, picture));
        let icon = self.read("branding.icon", |raw| optional(raw, picture));
        let light = self.read("branding.accent", |raw| {
            optional(raw, |raw| shades(raw, Theme::Light))
        });
        let dark = self.read("branding.accent_dark", |raw| {
            optional(raw, |raw| shades(raw, Theme::Dark))
        });
        let support = self.read("branding.support_url", |raw| optional(raw, link));
        let terms = self.read("branding.terms_url", |raw| optional(raw, link));
        let privacy = self.read("branding.privacy_url", |raw| optional(raw, link));
        for (dark, light) in [("logo_dark", "logo"), ("accent_dark", "accent")] {
            let (dark, light) = (format!("branding.{dark}"), format!("branding.{light}"));
            if self.is_given(&dark) && !self.is_given(&light) && !self.has_problem(&dark) {
                self.problem(
                    &dark,
                    format!("{light} is not set"),
                    format!("set {light} as well, or leave this out"),
                );
            }
        }
        let accent = match (light?, dark?) {
            (Some(light), Some(dark)) => Some(Accent { light, dark }),
            (Some(light), None) => Some(Accent::from_light(light)),
            (None, _) => None,
        };
        Some(BrandingConfig {
            name_en: name_en?,
            name_ar: name_ar?,
            logo: logo?,
            logo_dark: logo_dark?,
            icon: icon?,
            accent,
            support: support?,
            terms: terms?,
            privacy: privacy?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::Config;
    use super::*;

    const SVG: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><path d='M0 0h9'/></svg>";

    fn config(settings: &str) -> Result<Arc<BrandingConfig>, String> {
        let text = format!("[branding]\n{settings}");
        Config::parse(Some(("josoor.toml", &text)), &BTreeMap::new())
            .map(|config| config.branding)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_name_of_a_language_stands_in_for_the_other() {
        let names = |settings| {
            let branding = config(settings).expect("settings");
            [Locale::En, Locale::Ar].map(|locale| branding.name(locale).to_owned())
        };
        assert_eq!(names(""), ["JOSOOR", "جسور"]);
        assert_eq!(names("name_en = \" Acme \""), ["Acme", "Acme"]);
        assert_eq!(names("name_ar = \"أكمي\""), ["أكمي", "أكمي"]);
        assert_eq!(names("name_en = \"Acme\"\nname_ar = \"أكمي\""), ["Acme", "أكمي"]);
        assert!(!config("name_en = \"  \"").expect("settings").has_name());
    }

    #[test]
    fn an_accent_has_shades_for_both_themes() {
        let accent = config("accent = \"#7a1f5c\"")
            .expect("settings")
            .accent
            .expect("an accent");
        assert_eq!(accent.light.main.to_string(), "#7a1f5c");
        assert!(accent.dark.main != accent.light.main);
        let both = config("accent = \"#7a1f5c\"\naccent_dark = \"#f3b6dd\"").expect("settings");
        assert_eq!(both.accent.expect("an accent").dark.main.to_string(), "#f3b6dd");
    }

    #[test]
    fn what_is_wrong_is_said_with_a_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            path.to_str().expect("a path").to_owned()
        };
        let good = file("logo.svg", SVG.as_bytes());
        assert!(config(&format!("logo = '{good}'\nlogo_dark = '{good}'\nicon = '{good}'")).is_ok());
        let (gif, large) = (file("a.gif", b"GIF89a"), file("large.png", &vec![b'x'; 300_000]));
        let script = file("b.svg", SVG.replace("<path", "<script/><path").as_bytes());
        for (settings, said) in [
            (
                format!("logo = '{gif}'"),
                "neither SVG nor PNG; export the picture",
            ),
            (format!("logo = '{large}'"), "larger than 200 KiB"),
            (format!("icon = '{script}'"), "the element script"),
            (
                format!("logo = '{}'", folder.path().display()),
                "it is not a file",
            ),
            ("logo = 'absent.svg'".to_owned(), "absent.svg cannot be read"),
            (format!("logo_dark = '{good}'"), "branding.logo is not set"),
            ("accent_dark = '#ffffff'".to_owned(), "branding.accent is not set"),
            (
                "accent = '#ffd400'".to_owned(),
                "the contrast of #ffd400 with #f5f7f8 of the light theme is 1.3",
            ),
            (
                "accent = '#ffd400'".to_owned(),
                "a nearby colour that passes is #806a00",
            ),
            (
                "accent = '#0f5e6e'\naccent_dark = '#0f5e6e'".to_owned(),
                "of the dark theme is",
            ),
            ("accent = 'teal'".to_owned(), "write it like \"#0f5e6e\""),
            (
                "terms_url = 'http://example.org'".to_owned(),
                "must begin with https://",
            ),
            (
                "privacy_url = 'javascript:alert(1)'".to_owned(),
                "must begin with https://",
            ),
            (
                "support_url = 'https://u:p@example.org'".to_owned(),
                "a user or a password",
            ),
            (format!("name_en = '{}'", "x".repeat(61)), "at most 60 characters"),
            ("name_ar = \"a\\u202Eb\"".to_owned(), "this cannot be a name"),
        ] {
            let error = config(&settings).expect_err(&settings);
            assert!(
                error.contains(said) && error.starts_with("branding."),
                "{settings}: {error}"
            );
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
