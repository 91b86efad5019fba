//! What the engines say differently about lists of users: how words are found, and how values are bound.

use sqlx::QueryBuilder;

use crate::domain::{SearchWords, Timestamp};
use crate::store::migrate::{FOLDED_POSTGRES, FOLDED_SQLITE};

/// The characters of a gram.
const GRAM: usize = 3;

/// The most grams of a word that are looked up. More of them narrow nothing down that the word itself does not, and each is as long a
/// list as there are users who have it.
const GRAMS_OF_A_WORD: usize = 8;

/// Whether a word has any: a shorter one is found by reading all.
pub(super) fn has_grams(word: &str) -> bool {
    word.chars().nth(GRAM - 1).is_some()
}

/// Grams of a word, evenly over its length, the first and the last among them.
fn grams(word: &str) -> Vec<String> {
    let characters: Vec<char> = word.chars().collect();
    let all: Vec<String> = characters
        .windows(GRAM)
        .map(|gram| gram.iter().collect())
        .collect();
    let wanted = all.len().min(GRAMS_OF_A_WORD);
    (0..wanted)
        .map(|number| all[number * (all.len() - 1) / (wanted - 1).max(1)].clone())
        .collect()
}

/// What the engines say differently.
pub(super) trait Engine: sqlx::Database {
    /// Where users are found by their words: a table and a condition that [`push_grams`](Self::push_grams) goes on with.
    const FROM_GRAMS: &str;
    /// Around conditions that an index covers, so that the table is read only where they hold.
    const BY_INDEX_FIRST: (&str, &str);
    /// After a text that is compared byte by byte.
    const BYTEWISE: &str;
    /// The last character of a search text, and what it is where the text is folded.
    const FOLDED: (&str, &str);
    /// After a query whose rows are locked, but for those that another transaction has.
    const LOCK_FREE_ROWS: &str;
    fn push_grams(query: &mut QueryBuilder<Self>, words: &SearchWords);
    fn push_text(query: &mut QueryBuilder<Self>, text: String);
    fn push_bytes(query: &mut QueryBuilder<Self>, bytes: Vec<u8>);
    fn push_number(query: &mut QueryBuilder<Self>, number: i64);
    fn push_flag(query: &mut QueryBuilder<Self>, flag: bool);
    fn push_time(query: &mut QueryBuilder<Self>, time: Timestamp);
}

macro_rules! bind_values {
    () => {
        fn push_text(query: &mut QueryBuilder<Self>, text: String) {
            query.push_bind(text);
        }
        fn push_bytes(query: &mut QueryBuilder<Self>, bytes: Vec<u8>) {
            query.push_bind(bytes);
        }
        fn push_number(query: &mut QueryBuilder<Self>, number: i64) {
            query.push_bind(number);
        }
        fn push_flag(query: &mut QueryBuilder<Self>, flag: bool) {
            query.push_bind(flag);
        }
        fn push_time(query: &mut QueryBuilder<Self>, time: Timestamp) {
            query.push_bind(time);
        }
    };
}

impl Engine for sqlx::Postgres {
    const FROM_GRAMS: &str = "users where josoor_auth_grams(users.search_text) @> ";
    // Its planner knows how many rows a condition leaves.
    const BY_INDEX_FIRST: (&str, &str) = ("", "");
    const BYTEWISE: &str = " collate \"C\"";
    const FOLDED: (&str, &str) = FOLDED_POSTGRES;
    const LOCK_FREE_ROWS: &str = " for update skip locked";

    fn push_grams(query: &mut QueryBuilder<Self>, words: &SearchWords) {
        let grams: Vec<String> = words.words().iter().flat_map(|word| grams(word)).collect();
        query.push_bind(grams);
    }

    bind_values!();
}

impl Engine for sqlx::Sqlite {
    // The order of the tables is fixed: the index of grams first, so that counting ends where it is to.
    const FROM_GRAMS: &str =
        "users_search cross join users on users.id = users_search.rowid where users_search match ";
    const BY_INDEX_FIRST: (&str, &str) = (" and users.id in (select users.id from users where true", ")");
    const BYTEWISE: &str = "";
    const FOLDED: (&str, &str) = FOLDED_SQLITE;
    // One transaction writes at a time.
    const LOCK_FREE_ROWS: &str = "";

    fn push_grams(query: &mut QueryBuilder<Self>, words: &SearchWords) {
        // Phrases in FTS5's syntax, all of which have to be there.
        let phrases: Vec<String> = words
            .words()
            .iter()
            .filter(|word| has_grams(word))
            .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
            .collect();
        query.push_bind(phrases.join(" "));
    }

    bind_values!();
}

#[cfg(test)]
mod tests {
    use super::{GRAMS_OF_A_WORD, grams};

    #[test]
    fn grams_cover_a_word_from_its_beginning_to_its_end() {
        assert_eq!(grams("ab"), [""; 0]);
        assert_eq!(grams("abc"), ["abc"]);
        assert_eq!(grams("منىم"), ["منى", "نىم"]);
        let long = grams("example.com and on");
        assert_eq!(long.len(), GRAMS_OF_A_WORD);
        assert_eq!((long[0].as_str(), long[7].as_str()), ("exa", " on"));
    }
}
