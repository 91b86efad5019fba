//! The bytes of a file as UTF-8 text, and files that are none.

use std::io::{self, BufRead, Cursor, Read};

/// How much of a file is read to find out what it is.
const START: u64 = 512;

/// Converted at a time.
const CHUNK: usize = 8 * 1024;

/// Why a file cannot be one of users, in words for an operator, if its first bytes say so. `table` is the source's own table.
pub fn other_kind(start: &[u8], table: &str) -> Option<String> {
    let says = |words: &str| start.windows(words.len()).any(|part| part == words.as_bytes());
    Some(
        if start.starts_with(b"PGDMP") || says("PostgreSQL database dump") {
            format!(
                "this is a dump of pg_dump, not a table; write the table with \
             psql -c \"\\copy (select * from {table}) to 'users.csv' csv header\" and import users.csv"
            )
        } else if says("MySQL dump") || says("MariaDB dump") {
            "this is a dump of a whole database; export the table of users as CSV with a header".to_owned()
        } else if start.starts_with(b"SQLite format 3\0") {
            format!(
                "this is a database of SQLite; write the table with sqlite3 -header -csv FILE \"select * from {table}\" >users.csv"
            )
        } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"\xD0\xCF\x11\xE0") {
            "this is a workbook of Excel or an archive; save the sheet as \"CSV UTF-8\", or unpack the archive first".to_owned()
        } else if start.starts_with(b"\x1F\x8B")
            || start.starts_with(b"BZh")
            || start.starts_with(b"\x28\xB5\x2F\xFD")
        {
            "this file is compressed; unpack it first".to_owned()
        } else {
            return None;
        },
    )
}

/// The first bytes of a file.
pub fn start_of(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    input.take(START).read_to_end(&mut start)?;
    Ok(start)
}

/// `start` and the rest as UTF-8. A byte order mark of UTF-16, as Excel and PowerShell write it, is followed; what it does not
/// encode becomes U+FFFD.
pub(super) fn as_utf8<'a>(start: Vec<u8>, rest: impl BufRead + 'a) -> Box<dyn BufRead + 'a> {
    let is_big_endian = match start.get(..2) {
        Some([0xFF, 0xFE]) => false,
        Some([0xFE, 0xFF]) => true,
        _ => return Box::new(Cursor::new(start).chain(rest)),
    };
    let mut input = Cursor::new(start).chain(rest);
    // From memory.
    input.consume(2);
    Box::new(io::BufReader::new(Utf16 {
        input,
        is_big_endian,
        half: None,
        high: None,
        text: Vec::new(),
        given: 0,
    }))
}

/// Reads UTF-16 and gives UTF-8.
struct Utf16<R> {
    input: R,
    is_big_endian: bool,
    /// The first byte of a unit whose second is not read yet.
    half: Option<u8>,
    /// The first unit of a pair.
    high: Option<u16>,
    text: Vec<u8>,
    given: usize,
}

impl<R: BufRead> Utf16<R> {
    fn convert(&mut self) -> io::Result<()> {
        self.text.clear();
        self.given = 0;
        while self.text.is_empty() {
            let bytes = self.input.fill_buf()?;
            let used = bytes.len().min(CHUNK);
            if used == 0 {
                // Half a unit, or of a pair.
                if self.half.take().is_some() | self.high.take().is_some() {
                    self.text.extend_from_slice("\u{FFFD}".as_bytes());
                }
                return Ok(());
            }
            let mut units: Vec<u16> = self.high.take().into_iter().collect();
            for byte in &bytes[..used] {
                match self.half.take() {
                    None => self.half = Some(*byte),
                    Some(first) if self.is_big_endian => units.push(u16::from_be_bytes([first, *byte])),
                    Some(first) => units.push(u16::from_le_bytes([first, *byte])),
                }
            }
            self.input.consume(used);
            if units.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit)) {
                self.high = units.pop();
            }
            let text: String = char::decode_utf16(units)
                .map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            self.text.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            self.convert()?;
        }
        let count = out.len().min(self.text.len() - self.given);
        out[..count].copy_from_slice(&self.text[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Read in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut rest = io::BufReader::with_capacity(piece, bytes);
        let start = start_of(&mut (&mut rest).take(piece as u64)).unwrap();
        let mut text = Vec::new();
        as_utf8(start, rest).read_to_end(&mut text).unwrap();
        text
    }

    fn utf16(text: &str, is_big_endian: bool) -> Vec<u8> {
        std::iter::once(0xFEFF)
            .chain(text.encode_utf16())
            .flat_map(|unit| {
                if is_big_endian {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect()
    }

    #[test]
    fn d15_utf_16_is_read_as_excel_writes_it() {
        for is_big_endian in [false, true] {
            let mut bytes = utf16("email;نورة\u{1F600}", is_big_endian);
            for piece in 2..9 {
                assert_eq!(read(&bytes, piece), "email;نورة\u{1F600}".as_bytes());
            }
            bytes.pop();
            assert_eq!(read(&bytes, 64), "email;نورة\u{FFFD}".as_bytes());
        }
        assert_eq!(read(b"\xFF\xFE\x00\xD8a\x00", 3), "\u{FFFD}a".as_bytes());
        assert_eq!(read(b"\xEF\xBB\xBFa", 2), b"\xEF\xBB\xBFa");
        assert_eq!(read(b"", 2), b"");
    }

    #[test]
    fn d15_files_of_other_kinds_are_named_with_the_remedy() {
        for (start, words) in [
            (&b"PGDMP\x01\x0e"[..], "\\copy (select * from auth.users)"),
            (
                b"--\n-- PostgreSQL database dump\n--\n",
                "\\copy (select * from auth.users)",
            ),
            (b"-- MySQL dump 10.13  Distrib 8.0", "CSV with a header"),
            (b"SQLite format 3\0", "sqlite3 -header -csv"),
            (b"PK\x03\x04\x14\x00", "CSV UTF-8"),
            (b"\x1f\x8b\x08", "unpack"),
        ] {
            let reported = other_kind(start, "auth.users").expect("another kind");
            assert!(reported.contains(words), "{reported}");
        }
        for start in [&b""[..], b"email,id\n", b"{\"email\"", b"\xFF\xFEe\0"] {
            assert_eq!(other_kind(start, "users"), None);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_the_same_in_utf_16(text in any::<String>(), is_big_endian: bool, piece in 2_usize..40) {
            prop_assert_eq!(read(&utf16(&text, is_big_endian), piece), text.as_bytes());
        }

        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..64), piece in 2_usize..9) {
            let mut marked = vec![0xFF, 0xFE];
            marked.extend(bytes);
            prop_assert!(String::from_utf8(read(&marked, piece)).is_ok());
        }
    }
}
