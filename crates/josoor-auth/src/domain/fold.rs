//! One folding for everything that people search in and search for, and what users are found and sorted by.
//!
//! Stored text and query are folded by the same function, so that what differs in letter case, in composition, in diacritics, or in
//! how Arabic is typed is the same text. The published examples are `docs/reference/search.md`; a test reads them.
//!
//! Decomposition and composition are Unicode's (NFKD, NFKC) and letter case is the standard library's. The table below is what
//! Unicode does not decompose although people type it in two ways.

use idna::AsciiDenyList;
use idna::uts46::{Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

use super::characters::{is_bidi_control, is_control, is_invisible};

/// The last character of a search text that [`SearchKeys`] has made. A text without it was written by another program or by the
/// release before, and is made again. It has to be another character whenever the folding gives other texts.
pub(super) const FOLDED: char = '\u{1}';

/// The most bytes of a name that decide its place in a list: what an index can hold.
const NAME_KEY_BYTES: usize = 400;

/// Folds a text. Folding it again changes nothing. White space is reduced to single spaces, and none is left at the ends.
///
/// Takes time linear in the text. At most 18 times as many characters come out (U+FDFA).
pub(super) fn fold(text: &str) -> String {
    let folded: String = text
        .chars()
        .map(spacing_accent)
        .nfkd()
        .filter(|c| !is_dropped(*c))
        // Capital letters of small ones tell what is one letter to readers: ς and σ, ß and SS, ı and i.
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .flat_map(same_letters)
        .nfkc()
        .collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Acute accents that stand alone are typed as apostrophes; decomposed they would be a space and an accent.
const fn spacing_accent(c: char) -> char {
    match c {
        '\u{B4}' | '\u{1FFD}' => '\'',
        _ => c,
    }
}

/// Whether a character of a decomposed text makes no difference: marks that Latin, Greek, Cyrillic, Arabic and Hebrew are written
/// with or without, and what is not seen. The marks of other scripts are their vowels.
fn is_dropped(c: char) -> bool {
    matches!(c,
        // Combining diacritical marks, with their extensions, supplement, and those for symbols and half marks.
        '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}'
        // Hebrew points.
        | '\u{591}'..='\u{5BD}' | '\u{5BF}' | '\u{5C1}'..='\u{5C2}' | '\u{5C4}'..='\u{5C5}' | '\u{5C7}'
        // Arabic: signs, tashkeel and the hamza above and below, tatweel, the high hamza, Koranic marks.
        | '\u{610}'..='\u{61A}' | '\u{640}' | '\u{64B}'..='\u{65F}' | '\u{670}' | '\u{674}'
        | '\u{6D6}'..='\u{6DC}' | '\u{6DF}'..='\u{6E4}' | '\u{6E7}'..='\u{6E8}' | '\u{6EA}'..='\u{6ED}'
        | '\u{897}'..='\u{89F}' | '\u{8CA}'..='\u{8E1}' | '\u{8E3}'..='\u{8FF}'
        // Half rings, by which transcriptions write ayn and hamza.
        | '\u{2BE}' | '\u{2BF}'
    ) || is_invisible(c)
        || is_bidi_control(c)
        || (is_control(c) && !c.is_whitespace())
}

/// What a letter is typed as, where Unicode does not say so.
fn same_letters(c: char) -> impl Iterator<Item = char> + Clone {
    let digit = |zero: u32| char::from_u32(u32::from(c) - zero + u32::from('0')).unwrap_or(c);
    let (first, second) = match c {
        // Latin letters with strokes and hooks, and pairs of letters.
        'ø' => ('o', None),
        'đ' | 'ð' | 'ɖ' | 'ɗ' => ('d', None),
        'ł' => ('l', None),
        'ħ' => ('h', None),
        'ŧ' => ('t', None),
        'ŋ' => ('n', None),
        'ə' | 'ǝ' => ('e', None),
        'ɓ' => ('b', None),
        'ƙ' | 'ĸ' => ('k', None),
        'ƴ' => ('y', None),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        'þ' => ('t', Some('h')),
        // Arabic letters that are typed for each other, or by the keyboards of Persian and Urdu.
        'ٱ' | 'ٲ' | 'ٳ' => ('ا', None),
        'ى' | 'ی' | 'ۍ' | 'ے' => ('ي', None),
        'ة' | 'ۃ' | 'ہ' | 'ھ' | 'ە' => ('ه', None),
        'ک' | 'ڪ' => ('ك', None),
        '\u{660}'..='\u{669}' => (digit(0x660), None),
        '\u{6F0}'..='\u{6F9}' => (digit(0x6F0), None),
        '،' => (',', None),
        '؛' => (';', None),
        // What keyboards of phones put for quotes and hyphens. U+1FEF and U+FF40 decompose to U+0060.
        '\u{60}' | '\u{2018}'..='\u{201B}' | '\u{2B9}'..='\u{2BD}' | '\u{2C8}' | '\u{2032}' | '\u{A78C}' => {
            ('\'', None)
        }
        '\u{201C}'..='\u{201F}' => ('"', None),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => ('-', None),
        _ => (c, None),
    };
    std::iter::once(first).chain(second)
}

/// What is searched for: folded words, each of which has to be found, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchWords(Vec<String>);

impl SearchWords {
    /// The words of a query as typed. Of two words of which one is within the other the longer one is enough.
    pub fn parse(query: &str) -> Self {
        let folded = fold(query);
        let mut words: Vec<&str> = folded.split(' ').filter(|word| !word.is_empty()).collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let mut kept: Vec<String> = Vec::new();
        for word in words {
            if !kept.iter().any(|longer| longer.contains(word)) {
                kept.push(word.to_owned());
            }
        }
        Self(kept)
    }

    /// The words, the longest first.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether nothing is searched for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a user is found and sorted by: made from the address and the name whenever one of them is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchKeys {
    /// Lines of text in which words are searched for. The first two are what nodes of the release before search in and write: the
    /// canonical address, and the name in lower case. The rest is there only where it differs: the address as it is displayed,
    /// folded, the name, folded, and with its particles joined. The last line is [`FOLDED`].
    pub text: String,
    /// The place of the name in a list, compared byte by byte: the folded name. `None` without a name.
    pub name: Option<Vec<u8>>,
}

impl SearchKeys {
    /// The keys of a user with this canonical address, empty where there is none, and this name.
    pub fn of(email_key: &str, full_name: Option<&str>) -> Self {
        let name = full_name.map(fold);
        let mut text = format!("{email_key}\n{}", full_name.unwrap_or_default().to_lowercase());
        let folded = [
            fold(&displayed(email_key)),
            name.clone().unwrap_or_default(),
            name.as_deref().map(join_particles).unwrap_or_default(),
        ];
        for line in folded {
            if !text.contains(&line) {
                text.push('\n');
                text.push_str(&line);
            }
        }
        text.push('\n');
        text.push(FOLDED);
        let name = name.map(|name| {
            let mut end = name.len().min(NAME_KEY_BYTES);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name.as_bytes()[..end].to_vec()
        });
        Self { text, name }
    }
}

/// A canonical address as people see it: with the domain in its own script.
fn displayed(email_key: &str) -> String {
    match email_key.rsplit_once('@') {
        Some((local, domain)) if domain.contains("xn--") => {
            let (domain, _) = Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
            format!("{local}@{domain}")
        }
        _ => email_key.to_owned(),
    }
}

/// Words that are written together with the next one by some and apart from it by others, folded.
const PARTICLES: [&str; 18] = [
    "عبد", "ابو", "ابي", "ام", "ابن", "بن", "al", "el", "abd", "abdul", "abdel", "abu", "abou", "umm", "ibn",
    "bin", "d", "o",
];

/// A folded name with its particles joined: `عبد الله` to `عبدالله`, `نور الدين` to `نورالدين`, `abdul rahman` to `abdulrahman`,
/// `al-harbi` to `alharbi`, `o'neil` to `oneil`. Typed apart it is found by its words, and joined by this.
fn join_particles(name: &str) -> String {
    let mut joined = String::with_capacity(name.len());
    let mut word = String::new();
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        if !matches!(c, ' ' | '-' | '\'') {
            word.push(c);
            continue;
        }
        let article = rest.clone().take(2).eq("ال".chars());
        let is_joined = PARTICLES.contains(&word.as_str())
            || (article && c != '\'' && word.chars().last().is_some_and(is_arabic));
        joined.push_str(&word);
        if !is_joined {
            joined.push(c);
        }
        word.clear();
    }
    joined.push_str(&word);
    joined
}

const fn is_arabic(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{6FF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FOLDED, NAME_KEY_BYTES, SearchKeys, SearchWords, fold, join_particles};

    #[test]
    fn what_readers_take_for_one_text_folds_to_one() {
        for texts in [
            &["ΟΔΟΣ", "οδος", "οδοσ", "Οδός"][..],
            &["Straße", "STRASSE", "STRAẞE", "straſſe"],
            &["İI", "ii", "ıI", "Iı"],
            &["e\u{301}", "É", "e", "\u{ff25}"],
            &["ﷲ", "الله", "ﺍﻟﻠﻪ", "اللـه", "ٱللَّه"],
            &["مؤمن", "مومن", "مُؤمِن"],
            &["١٢٣", "123", "۱۲۳", "１２３"],
            &["هيئة", "هييه"],
            &["a b", " a\t\u{a0}b ", "A\u{200f} B"],
            &[
                "o’neil",
                "O'NEIL",
                "o\u{b4}neil",
                "o`neil",
                "o\u{1fef}neil",
                "o\u{1ffd}neil",
                "o\u{ff40}neil",
            ],
            &["ŁÓDŹ", "lodz"],
            &["Nguyễn", "nguyen"],
            &["", " ", "ـ", "\u{64b}", "\u{200d}", "\0"],
        ] {
            for text in texts {
                assert_eq!(fold(text), fold(texts[0]), "{text:?}");
            }
        }
        // Marks that are vowels or other letters stay.
        for (one, other) in [("が", "か"), ("कि", "क"), ("ที", "ท"), ("한", "하")] {
            assert_ne!(fold(one), fold(other));
        }
    }

    #[test]
    fn particles_are_joined() {
        for (name, joined) in [
            ("عبد الله محمد", "عبدالله محمد"),
            ("نور الدين زنكي", "نورالدين زنكي"),
            ("ابو بكر", "ابوبكر"),
            ("abd al-rahman", "abdalrahman"),
            ("o'neil", "oneil"),
            ("saleh al-harbi", "saleh alharbi"),
            ("anna brown", "anna brown"),
            ("d", "d"),
            ("", ""),
        ] {
            assert_eq!(join_particles(name), joined);
        }
    }

    #[test]
    fn lines_that_say_nothing_new_are_not_stored() {
        let text = |email, name| SearchKeys::of(email, name).text;
        assert_eq!(
            text("a@example.com", Some("Anna Brown")),
            "a@example.com\nanna brown\n\u{1}"
        );
        assert_eq!(text("a@example.com", None), "a@example.com\n\n\u{1}");
        assert_eq!(text("", Some("Guest")), "\nguest\n\u{1}");
        assert_eq!(
            text("é@xn--bcher-kva.example", Some("عبد الله")),
            "é@xn--bcher-kva.example\nعبد الله\ne@bucher.example\nعبدالله\n\u{1}"
        );
        let keys = SearchKeys::of("a@example.com", Some(&"ب".repeat(400)));
        assert_eq!(keys.name.map(|name| name.len()), Some(NAME_KEY_BYTES));
        assert_eq!(SearchKeys::of("a@example.com", None).name, None);
    }

    #[test]
    fn words_within_others_are_left_out() {
        let words = |query| SearchWords::parse(query).words().to_vec();
        assert_eq!(words("  an ANNA  anna\tBrown "), ["brown", "anna"]);
        assert_eq!(words("ـ \u{200f}"), [""; 0]);
        assert!(SearchWords::parse("").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_folded_and_folding_again_changes_nothing(text in "\\PC{0,40}|.{0,40}") {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded.clone(), "{:?}", text);
            prop_assert!(!folded.contains(FOLDED));
        }

        #[test]
        fn a_user_is_found_by_the_whole_name_and_address(
            local in "[a-zà-öø-ÿα-ωа-яء-ي]{1,12}",
            name in "\\PC{0,30}",
        ) {
            let keys = SearchKeys::of(&format!("{local}@example.com"), Some(&name));
            for typed in [&local, &local.to_uppercase(), &name] {
                let words = SearchWords::parse(typed);
                let is_found = words.words().iter().all(|word| keys.text.contains(word));
                prop_assert!(is_found, "{:?} in {:?}", words, keys.text);
            }
        }
    }
}
