//! Lines and CSV records of a file, each of bounded length.

use std::collections::VecDeque;
use std::io;
use std::io::BufRead;

use crate::error::Invalid;

/// The most bytes that one record may have. The largest honest ones, Supabase's with their metadata, have a few thousand.
pub(super) const LONGEST: usize = 64 * 1024;

/// A record, or why there is none.
pub(super) struct Record<T> {
    /// The line of the file on which it begins, from 1.
    pub(super) number: u64,
    /// How many bytes of the file have been read, for the progress.
    pub(super) end: u64,
    pub(super) content: Result<T, Invalid>,
}

pub(super) fn too_long() -> Invalid {
    Invalid::new("line_too_long", "A record has at most 64 KiB.")
}

pub(super) fn not_text() -> Invalid {
    Invalid::new(
        "invalid_utf8",
        "The line is not UTF-8 text. Save the file as UTF-8; Excel calls it \"CSV UTF-8\".",
    )
}

/// One line, without its end.
struct Physical {
    number: u64,
    end: u64,
    /// `None`: longer than [`LONGEST`].
    bytes: Option<Vec<u8>>,
}

/// The lines of a file.
pub(super) struct Lines<R> {
    input: R,
    number: u64,
    consumed: u64,
    /// Between the fields of a CSV record.
    separator: u8,
    /// Read ahead for a quoted line break, and given back.
    returned: VecDeque<Physical>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            consumed: 0,
            separator: b',',
            returned: VecDeque::new(),
        }
    }

    /// Chooses the separator by which the first record, the header, falls into the most fields that `is_known` knows. A line
    /// `sep=;` before it, which Excel writes and reads, says it.
    pub(super) fn find_separator(&mut self, is_known: &dyn Fn(&str) -> bool) -> io::Result<()> {
        if let Some(first) = self.peek()? {
            let first = first.trim_ascii();
            if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] = *first {
                self.separator = separator;
                self.returned.pop_front();
                return Ok(());
            }
            let known = |separator| {
                let mut reader = Csv::new(separator);
                let fields = reader.feed(first).then(|| reader.finish()).flatten();
                let fields = fields.unwrap_or_default();
                fields
                    .iter()
                    .filter(|field| std::str::from_utf8(field).is_ok_and(is_known))
                    .count()
            };
            // The first of several that are as good: a comma.
            let best = b"|\t;,".iter().copied().max_by_key(|separator| known(*separator));
            self.separator = best.unwrap_or(b',');
        }
        Ok(())
    }

    /// The next line that is not empty, which stays there.
    fn peek(&mut self) -> io::Result<Option<&[u8]>> {
        while let Some(line) = self.physical()? {
            if !line
                .bytes
                .as_ref()
                .is_some_and(|bytes| bytes.trim_ascii().is_empty())
            {
                self.returned.push_front(line);
                break;
            }
        }
        Ok(self.returned.front().and_then(|line| line.bytes.as_deref()))
    }

    fn physical(&mut self) -> io::Result<Option<Physical>> {
        if let Some(line) = self.returned.pop_front() {
            return Ok(Some(line));
        }
        let mut bytes = Some(Vec::new());
        let mut any = false;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if available.is_empty() {
                break;
            }
            any = true;
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = end.map_or(available, |end| &available[..end]);
            bytes = bytes.filter(|bytes| bytes.len() + part.len() <= LONGEST);
            if let Some(bytes) = &mut bytes {
                bytes.extend_from_slice(part);
            }
            let used = end.map_or(available.len(), |end| end + 1);
            self.input.consume(used);
            self.consumed += used as u64;
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        if let Some(bytes) = &mut bytes {
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
            if self.number == 1 && bytes.starts_with(b"\xEF\xBB\xBF") {
                bytes.drain(..3);
            }
        }
        Ok(Some(Physical {
            number: self.number,
            end: self.consumed,
            bytes,
        }))
    }

    /// The next line that is not empty.
    pub(super) fn line(&mut self) -> io::Result<Option<Record<Vec<u8>>>> {
        while let Some(line) = self.physical()? {
            if line
                .bytes
                .as_ref()
                .is_some_and(|bytes| bytes.trim_ascii().is_empty())
            {
                continue;
            }
            return Ok(Some(Record {
                number: line.number,
                end: line.end,
                content: line.bytes.ok_or_else(too_long),
            }));
        }
        Ok(None)
    }

    /// The next CSV record (RFC 4180). A line whose quotes do not fit is refused alone, also when it seems to go on: what
    /// follows is read again. `width` is how many fields a record has; one over several lines that has another number is
    /// taken for a line with a stray quote.
    pub(super) fn csv(&mut self, width: Option<usize>) -> io::Result<Option<Record<Vec<String>>>> {
        let Some(first) = self.line()? else {
            return Ok(None);
        };
        let (number, end) = (first.number, first.end);
        let refused = |reason| {
            Ok(Some(Record {
                number,
                end,
                content: Err(reason),
            }))
        };
        let bytes = match first.content {
            Ok(bytes) => bytes,
            Err(reason) => return refused(reason),
        };
        let broken = || {
            Invalid::new(
                "invalid_csv",
                "The quotes of this line do not fit: a quoted field ends with a quote before a separator or the line's end, and a \
                 quote in it is written twice.",
            )
        };
        let mut reader = Csv::new(self.separator);
        let mut following: Vec<Physical> = Vec::new();
        let mut length = bytes.len();
        let mut fits = reader.feed(&bytes);
        while fits && reader.is_open() {
            let Some(next) = self.physical()? else {
                fits = false;
                break;
            };
            length += next.bytes.as_ref().map_or(LONGEST + 1, |bytes| bytes.len() + 1);
            fits = length <= LONGEST
                && reader.feed(b"\n")
                && reader.feed(next.bytes.as_deref().unwrap_or_default());
            following.push(next);
        }
        let last = following.last().map_or(end, |line| line.end);
        let fields = if fits { reader.finish() } else { None };
        match fields {
            Some(fields) if following.is_empty() || width.is_none_or(|width| width == fields.len()) => {
                let fields: Result<Vec<String>, _> = fields.into_iter().map(String::from_utf8).collect();
                Ok(Some(Record {
                    number,
                    end: last,
                    content: fields.map_err(|_| not_text()),
                }))
            }
            _ => {
                for line in following.into_iter().rev() {
                    self.returned.push_front(line);
                }
                refused(broken())
            }
        }
    }
}

/// Takes a CSV record apart, piece by piece.
struct Csv {
    separator: u8,
    fields: Vec<Vec<u8>>,
    field: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Plain,
    Quoted,
    /// After a quote inside a quoted field: the end of the field, or half of a doubled quote.
    Quote,
}

impl Csv {
    fn new(separator: u8) -> Self {
        Self {
            separator,
            fields: Vec::new(),
            field: Vec::new(),
            state: State::Start,
        }
    }

    /// Whether what was read so far can be (the beginning of) a record.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.state = match (self.state, byte) {
                (State::Start, b'"') => State::Quoted,
                (State::Start | State::Plain | State::Quote, byte) if *byte == self.separator => {
                    self.fields.push(std::mem::take(&mut self.field));
                    State::Start
                }
                (State::Start | State::Plain, byte) => {
                    self.field.push(*byte);
                    State::Plain
                }
                (State::Quoted, b'"') => State::Quote,
                (State::Quote, b'"') | (State::Quoted, _) => {
                    self.field.push(*byte);
                    State::Quoted
                }
                (State::Quote, _) => return false,
            };
        }
        true
    }

    /// Whether a quoted field goes on.
    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    fn finish(mut self) -> Option<Vec<Vec<u8>>> {
        if self.is_open() {
            return None;
        }
        self.fields.push(self.field);
        Some(self.fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::elements::{Elements, Layout, Stop};
    use super::{LONGEST, Lines};

    type Numbered<T> = (u64, Result<T, &'static str>);

    /// Line numbers, with the fields or the code.
    fn csv(text: &[u8], width: usize) -> Vec<Numbered<Vec<String>>> {
        let mut lines = Lines::new(text);
        let mut out = Vec::new();
        while let Some(record) = lines.csv(Some(width)).unwrap() {
            out.push((record.number, record.content.map_err(|reason| reason.code)));
        }
        out
    }

    /// The fields of a record that was taken.
    macro_rules! fields {
        ($fields:expr) => {
            Ok($fields.iter().map(ToString::to_string).collect())
        };
    }

    #[test]
    fn records_are_separated_and_numbered() {
        let text = "\u{FEFF}a,b\r\n\r\n\"c \"\"d\"\"\",\"e\r\nf\"\ng,\n,h".as_bytes();
        assert_eq!(
            csv(text, 2),
            [
                (1, fields!(["a", "b"])),
                (3, fields!(["c \"d\"", "e\nf"])),
                (5, fields!(["g", ""])),
                (6, fields!(["", "h"])),
            ]
        );
    }

    #[test]
    fn a_broken_line_costs_itself_only() {
        let broken = Err("invalid_csv");
        assert_eq!(
            csv(b"a,\"b\nc,d\ne,f\n", 2),
            [
                (1, broken.clone()),
                (2, fields!(["c", "d"])),
                (3, fields!(["e", "f"]))
            ]
        );
        assert_eq!(
            csv(b"a,\"b\n\"c\",d\n", 2),
            [(1, broken.clone()), (2, fields!(["c", "d"]))]
        );
        assert_eq!(
            csv(b"\"a\"b,c\nd,e\n", 2),
            [(1, broken.clone()), (2, fields!(["d", "e"]))]
        );
        // It would go on for two lines, but then has too many fields.
        assert_eq!(
            csv(b"a,\"b\nc,d\",e\nf,g", 2),
            [
                (1, broken),
                (2, fields!(["c", "d\"", "e"])),
                (3, fields!(["f", "g"]))
            ]
        );
        assert_eq!(
            csv(b"a,\xFF\nb,c\n", 2),
            [(1, Err("invalid_utf8")), (2, fields!(["b", "c"]))]
        );
        let mut long = vec![b'x'; 10 * 1024 * 1024];
        long.extend_from_slice(b"\na,b\n");
        assert_eq!(
            csv(&long, 2),
            [(1, Err("line_too_long")), (2, fields!(["a", "b"]))]
        );
    }

    #[test]
    fn d15_the_separator_is_the_one_that_makes_columns_of_the_header() {
        let is_known = |name: &str| ["email", "full_name"].contains(&name);
        for (text, expected) in [
            ("email,full_name\na,b;c\n", ["a", "b;c"]),
            ("email;full_name\na;\"b,c\"\n", ["a", "b,c"]),
            (
                "\u{feff}\r\n\r\nemail\tfull_name\r\na\t\"b\tc\"\r\n",
                ["a", "b\tc"],
            ),
            ("\u{feff}sep=;\r\nemail;full_name\r\na;b\r\n", ["a", "b"]),
            ("email|full_name\na|b\n", ["a", "b"]),
            ("email;\"full_name\"\na;\"b\"\"\"\n", ["a", "b\""]),
            ("what,ever;else\na,b\n", ["a", "b"]),
        ] {
            let mut lines = Lines::new(text.as_bytes());
            lines.find_separator(&is_known).unwrap();
            let header = lines.csv(None).unwrap().expect("a header").content.unwrap();
            let record = lines.csv(Some(2)).unwrap().expect("a record");
            assert_eq!(record.content.unwrap(), expected, "{text} {header:?}");
        }
        let mut none = Lines::new(&b"\n\n"[..]);
        none.find_separator(&is_known).unwrap();
        assert!(none.csv(None).unwrap().is_none());
    }

    fn elements(text: &str, layout: Layout) -> (Vec<Numbered<String>>, Option<u64>) {
        let mut out = Vec::new();
        let ended = Elements::new(text.as_bytes()).each(layout, &mut |record| {
            let content = record.content.map(|bytes| String::from_utf8(bytes).unwrap());
            out.push((record.number, content.map_err(|reason| reason.code)));
            true
        });
        let stopped = match ended {
            Ok(()) => None,
            Err(Stop::Malformed(line)) => Some(line),
            Err(_) => Some(0),
        };
        (out, stopped)
    }

    #[test]
    fn elements_are_found_wherever_they_stand() {
        let two = vec![
            (1, Ok("{\"a\":[1,\"]\\\"\"]}".to_owned())),
            (2, Ok("2".to_owned())),
        ];
        let list = "[{\"a\":[1,\"]\\\"\"]},\n2]";
        assert_eq!(elements(list, Layout::Bare), (two.clone(), None));
        assert_eq!(
            elements("{\"a\":[1,\"]\\\"\"]}\n2\n", Layout::Bare),
            (two.clone(), None)
        );
        let object = format!("{{\"x\":{{\"users\":[7]}},\"users\":{list},\"y\":null}}");
        assert_eq!(elements(&object, Layout::Users), (two, None));
        let several = "[{\"users\":[1]},{\"users\":[]},{\"id\":1,\"users\":[2]}]";
        assert_eq!(elements(several, Layout::Users).0.len(), 2);
        for nothing in ["{}", "[]", "{\"users\":{}}", "[{\"a\":1}]"] {
            assert_eq!(elements(nothing, Layout::Users), (vec![], Some(0)), "{nothing}");
        }
        assert_eq!(elements("[]", Layout::Bare), (vec![], None));
    }

    #[test]
    fn what_is_too_long_or_truncated_is_reported() {
        let long = format!("[1,\"{}\",\n2]", "x".repeat(LONGEST));
        let (found, stopped) = elements(&long, Layout::Bare);
        assert_eq!(found[1], (1, Err("line_too_long")));
        assert_eq!((found.len(), stopped), (3, None));
        for (text, count) in [("[1,\n{\"a\":", 1), ("[1,\n2", 2), ("[1\n2]", 1), ("[1,\n]", 1)] {
            let (found, stopped) = elements(text, Layout::Bare);
            assert_eq!((found.len(), stopped), (count, Some(2)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_to_its_end(bytes in prop::collection::vec(prop::sample::select(b"a,\"\n\r\\{}[]:\xFFu".to_vec()), 0..60)) {
            let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
            let numbers: Vec<u64> = csv(&bytes, 2).iter().map(|(number, _)| *number).collect();
            prop_assert!(numbers.is_sorted() && numbers.iter().all(|number| (1..=lines).contains(number)));
            for layout in [Layout::Bare, Layout::Users] {
                let mut read = Elements::new(&bytes[..]);
                let _ = read.each(layout, &mut |_| true);
                prop_assert!(read.consumed <= bytes.len() as u64);
            }
        }

        #[test]
        fn what_was_written_is_read(records in prop::collection::vec(prop::collection::vec("[a\",\n é]{0,6}", 3), 1..6)) {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            for record in &records {
                writer.write_record(record).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let read: Vec<Vec<String>> = csv(&text, 3).into_iter().map(|(_, content)| content.unwrap()).collect();
            prop_assert_eq!(read, records);
        }
    }
}
