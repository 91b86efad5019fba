//! The colour of a product on the pages, and whether it can be read there (WCAG 2.2, 1.4.3).

use std::fmt;

use palette::color_difference::Wcag21RelativeContrast as _;
use palette::{Mix as _, Srgb};

/// A colour in sRGB with eight bits for each channel, written `#rrggbb`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Colour(Srgb<u8>);

const BLACK: Colour = Colour(Srgb::new(0, 0, 0));
const WHITE: Colour = Colour(Srgb::new(0xff, 0xff, 0xff));

impl Colour {
    /// Reads `#rrggbb` or `#rgb`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hexadecimal.then(|| digits.parse().ok().map(Self))?
    }

    /// The contrast between two colours, from 1 to 21.
    pub fn contrast(self, other: Self) -> f32 {
        self.exact().relative_contrast(other.exact())
    }

    fn exact(self) -> Srgb<f32> {
        self.0.into_format()
    }

    /// A mixture that has this part of the other colour, from 0 to 1.
    fn mixed(self, other: Self, part: f32) -> Self {
        Self(self.exact().mix(other.exact(), part).into_format())
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:x}", self.0)
    }
}

impl fmt::Debug for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The least contrast of text with what it stands on.
pub const CONTRAST: f32 = 4.5;

/// A theme of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark text on light surfaces.
    Light,
    /// The reverse.
    Dark,
}

impl Theme {
    /// As the pages' `data-theme` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The page and the cards on it: `--page` and `--card` of `web/src/tokens.css`.
    const fn surfaces(self) -> [Colour; 2] {
        match self {
            Self::Light => [Colour(Srgb::new(0xf5, 0xf7, 0xf8)), WHITE],
            Self::Dark => [
                Colour(Srgb::new(0x11, 0x18, 0x1b)),
                Colour(Srgb::new(0x1a, 0x23, 0x27)),
            ],
        }
    }

    /// What text that is drawn on the accent is in.
    const fn on_accent(self) -> Colour {
        match self {
            Self::Light => WHITE,
            Self::Dark => Colour(Srgb::new(0x0b, 0x11, 0x14)),
        }
    }

    /// Towards what a colour gains contrast.
    const fn extreme(self) -> Colour {
        match self {
            Self::Light => BLACK,
            Self::Dark => WHITE,
        }
    }

    /// A surface that is tinted with a colour.
    fn tinted(self, colour: Colour) -> Colour {
        let [_, card] = self.surfaces();
        card.mixed(colour, if self == Self::Light { 0.1 } else { 0.16 })
    }
}

/// A colour that cannot be read on the pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unreadable {
    /// Its least contrast.
    pub contrast: f32,
    /// The surface that it has this with.
    pub surface: Colour,
    /// The nearest colour of its kind that can be read.
    pub nearest: Colour,
}

/// The accent of a theme, and what is derived from it: the colours `--main…` of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shades {
    /// Links, and buttons that do what a form is for.
    pub main: Colour,
    /// The text on such a button.
    pub on_main: Colour,
    /// Such a button under the pointer.
    pub hover: Colour,
    /// A tinted surface.
    pub soft: Colour,
}

impl Shades {
    /// The shades of an accent in a theme.
    ///
    /// # Errors
    /// [`Unreadable`] where its contrast is below [`CONTRAST`] with the page, a card, a tinted surface or the text on it.
    pub fn of(accent: Colour, theme: Theme) -> Result<Self, Unreadable> {
        let (contrast, surface) = least_contrast(accent, theme);
        if contrast < CONTRAST {
            let nearest = nearest(accent, theme);
            return Err(Unreadable {
                contrast,
                surface,
                nearest,
            });
        }
        Ok(Self::derived(accent, theme))
    }

    fn derived(accent: Colour, theme: Theme) -> Self {
        Self {
            main: accent,
            on_main: theme.on_accent(),
            hover: accent.mixed(theme.extreme(), 0.2),
            soft: theme.tinted(accent),
        }
    }
}

/// The accent of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accent {
    /// In the light theme.
    pub light: Shades,
    /// In the dark theme.
    pub dark: Shades,
}

impl Accent {
    /// With the nearest colour that can be read in the dark theme.
    pub fn from_light(light: Shades) -> Self {
        let dark = Shades::derived(nearest(light.main, Theme::Dark), Theme::Dark);
        Self { light, dark }
    }
}

fn least_contrast(accent: Colour, theme: Theme) -> (f32, Colour) {
    let [page, card] = theme.surfaces();
    [page, card, theme.tinted(accent), theme.on_accent()]
        .map(|surface| (accent.contrast(surface), surface))
        .into_iter()
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .unwrap_or((1.0, page))
}

/// The colour itself, or with as little black or white in it as makes it readable.
fn nearest(accent: Colour, theme: Theme) -> Colour {
    (0_u8..=100)
        .map(|percent| accent.mixed(theme.extreme(), f32::from(percent) / 100.0))
        .find(|colour| least_contrast(*colour, theme).0 >= CONTRAST)
        .unwrap_or(theme.extreme())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::parse(text).expect("a colour")
    }

    #[test]
    fn colours_are_hexadecimal() {
        assert_eq!(colour("#0F5e6e").to_string(), "#0f5e6e");
        assert_eq!(colour("#abc").to_string(), "#aabbcc");
        for text in [
            "0f5e6e",
            "#0f5e6",
            "#0f5e6e00",
            "#gggggg",
            "teal",
            "",
            "#",
            "#é12345",
            "#1é234",
            "##aabbc",
        ] {
            assert!(Colour::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        assert!((BLACK.contrast(WHITE) - 21.0).abs() < 0.01);
        // Of the examples of the guidelines' working group: #767676 is the lightest grey that passes on white.
        assert!(colour("#767676").contrast(WHITE) >= CONTRAST);
        assert!(colour("#777777").contrast(WHITE) < CONTRAST);
    }

    #[test]
    fn the_surfaces_are_those_of_the_style_sheet() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/src/tokens.css");
        let css = std::fs::read_to_string(path).expect("the style sheet");
        for (name, number) in [("--page", 0), ("--card", 1)] {
            let [light, dark] = [Theme::Light, Theme::Dark].map(|theme| theme.surfaces()[number]);
            let rule = format!("{name}: light-dark({light}, {dark});");
            assert!(css.contains(&rule), "{rule}");
        }
        // The product's own accent passes, as any other has to.
        for (accent, theme) in [("#0f5e6e", Theme::Light), ("#7fd0df", Theme::Dark)] {
            assert!(css.contains(accent) && Shades::of(colour(accent), theme).is_ok());
        }
    }

    #[test]
    fn an_accent_that_cannot_be_read_is_refused_with_one_that_can() {
        let yellow = Shades::of(colour("#ffd400"), Theme::Light).expect_err("too light");
        assert!((1.2..1.5).contains(&yellow.contrast), "{yellow:?}");
        assert_eq!(yellow.nearest.to_string(), "#806a00");
        let navy = Shades::of(colour("#102a6b"), Theme::Dark).expect_err("too dark");
        assert!(navy.contrast < 2.0 && Shades::of(navy.nearest, Theme::Dark).is_ok());
    }

    proptest! {
        #[test]
        fn for_every_colour_there_is_one_near_it_that_passes(red: u8, green: u8, blue: u8) {
            for theme in [Theme::Light, Theme::Dark] {
                let given = Colour(Srgb::new(red, green, blue));
                let shades = match Shades::of(given, theme) {
                    Ok(shades) => shades,
                    Err(unreadable) => {
                        prop_assert!(unreadable.contrast < CONTRAST);
                        Shades::of(unreadable.nearest, theme).expect("readable")
                    }
                };
                for pair in [(shades.main, shades.soft), (shades.on_main, shades.main), (shades.on_main, shades.hover)] {
                    prop_assert!(pair.0.contrast(pair.1) >= CONTRAST, "{given} {pair:?}");
                }
                if theme == Theme::Light {
                    let dark = Accent::from_light(shades).dark;
                    prop_assert_eq!(Shades::of(dark.main, Theme::Dark), Ok(dark));
                }
            }
        }
    }
}
