//! Which characters of Unicode the text types refuse, said once.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Controls of the writing direction (Unicode's Bidi_Control): they let a text show itself as another one.
pub(super) fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// C0, DEL and C1, and the two separators that end a line as they do.
pub(super) fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Characters that leave nothing on the screen: Unicode's Default_Ignorable_Code_Point and general category Cf, but
/// for the bidi controls, which have their own function.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{34F}'
            | '\u{600}'..='\u{605}'
            | '\u{6DD}'
            | '\u{70F}'
            | '\u{890}'..='\u{891}'
            | '\u{8E2}'
            | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200D}'
            | '\u{2060}'..='\u{2065}'
            | '\u{206A}'..='\u{206F}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}'
            | '\u{110BD}'
            | '\u{110CD}'
            | '\u{13430}'..='\u{1343F}'
            | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// Code points that are no character yet, and those that never will be (U+FFFF and the like). What a later Unicode makes of
/// them, such as their lower case or their composed form, would change what a stored text is equal to.
pub(super) fn is_unassigned(c: char) -> bool {
    !c.is_ascii() && c.general_category() == GeneralCategory::Unassigned
}

/// Whether normalisation would turn the character into a different single one, or into its compatibility form: the
/// fullwidth `＠`, the ligature `ﬁ`, the Kelvin sign. Letters that merely decompose into a base and its marks stay.
pub(super) fn is_compatibility(c: char) -> bool {
    if c.is_ascii() {
        return false;
    }
    let once = std::iter::once(c);
    if !once.clone().nfc().eq(once.clone().nfkc()) {
        return true;
    }
    let mut composed = once.nfc();
    let first = composed.next();
    composed.next().is_none() && first != Some(c)
}

#[cfg(test)]
mod tests {
    use super::{is_compatibility, is_invisible, is_unassigned};

    #[test]
    fn unassigned_code_points_and_noncharacters_are_not_characters() {
        for c in [
            '\u{378}',
            '\u{FFFF}',
            '\u{FFFE}',
            '\u{FDD0}',
            '\u{1FFFE}',
            '\u{10FFFF}',
            '\u{E0080}',
            '\u{50000}',
        ] {
            assert!(is_unassigned(c), "U+{:04X}", u32::from(c));
        }
        for c in "aé\u{301}ب한中😀\u{E000}ẞ\u{1E900}".chars() {
            assert!(!is_unassigned(c), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn compatibility_is_not_composition() {
        for c in "＠﹫．ﬁſ①ﷺ\u{212A}\u{212B}\u{2126}\u{37E}\u{1FEF}\u{F900}".chars() {
            assert!(is_compatibility(c), "{c}");
        }
        for c in ['@', 'é', '\u{301}', 'ب', 'آ', 'ı', 'İ', 'ß', '\u{958}', '한'] {
            assert!(!is_compatibility(c), "{c}");
        }
    }

    #[test]
    fn letters_are_visible() {
        for c in 'a'..='z' {
            assert!(!is_invisible(c));
        }
        assert!(is_invisible('\u{200B}'));
        assert!(!is_invisible('\u{646}'));
    }
}
