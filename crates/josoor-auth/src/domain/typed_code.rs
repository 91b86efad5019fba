//! How people type the digits of a code.

use zeroize::Zeroizing;

/// The text without what only separates, in lower case, with ASCII digits.
pub(super) fn plain(text: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    for char in text.chars() {
        match char {
            '\u{660}'..='\u{669}' => plain.extend(char::from_digit(u32::from(char) - 0x660, 10)),
            '\u{6f0}'..='\u{6f9}' => plain.extend(char::from_digit(u32::from(char) - 0x6f0, 10)),
            '-'
            | '\u{2010}'..='\u{2015}'
            | '\u{2212}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {}
            _ if char.is_whitespace() => {}
            _ => plain.push(char.to_ascii_lowercase()),
        }
    }
    plain
}
