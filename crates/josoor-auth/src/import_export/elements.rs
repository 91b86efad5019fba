//! The objects of a JSON document, one by one, each of bounded length.

use std::io;
use std::io::BufRead;

use super::lines::{LONGEST, Record, too_long};

/// Where the elements of a JSON document are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// In the array that is the document, or one after the other without one.
    Bare,
    /// In the array `users` of the object that is the document, or of each object of the array that is the document.
    Users,
}

/// Takes a JSON document apart into its elements without holding more than one of them. Only brackets and strings are
/// followed, so that an element that makes no sense inside costs itself alone.
pub(super) struct Elements<R> {
    input: R,
    line: u64,
    pub(super) consumed: u64,
    peeked: Option<u8>,
}

/// Why the rest of a document cannot be read.
pub(super) enum Stop {
    Io(io::Error),
    /// The brackets do not fit from this line on.
    Malformed(u64),
    /// There is no array `users`.
    NoUsers,
    /// The receiver of the elements wants no more.
    Unwanted,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<R: BufRead> Elements<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            line: 1,
            consumed: 0,
            peeked: None,
        }
    }

    /// Hands out each element. `emit` says whether it wants more.
    pub(super) fn each(
        &mut self,
        layout: Layout,
        emit: &mut dyn FnMut(Record<Vec<u8>>) -> bool,
    ) -> Result<(), Stop> {
        // A byte order mark.
        if self.peek()? == Some(0xEF) {
            for expected in *b"\xEF\xBB\xBF" {
                if self.next()? != Some(expected) {
                    return Err(self.malformed());
                }
            }
        }
        let first = self.skip_space()?;
        match layout {
            Layout::Bare if first == Some(b'[') => self.array(emit)?,
            Layout::Bare => {
                while self.skip_space()?.is_some() {
                    self.element(emit)?;
                    if self.skip_space()? == Some(b',') {
                        self.next()?;
                    }
                }
                return Ok(());
            }
            Layout::Users => {
                let mut found = false;
                if first == Some(b'[') {
                    self.next()?;
                    if self.skip_space()? == Some(b']') {
                        self.next()?;
                    } else {
                        loop {
                            found |= self.users_of_object(emit)?;
                            if !self.another(b']')? {
                                break;
                            }
                        }
                    }
                } else {
                    found = self.users_of_object(emit)?;
                }
                if !found {
                    return Err(Stop::NoUsers);
                }
            }
        }
        match self.skip_space()? {
            None => Ok(()),
            Some(_) => Err(self.malformed()),
        }
    }

    fn malformed(&self) -> Stop {
        Stop::Malformed(self.line)
    }

    fn peek(&mut self) -> Result<Option<u8>, Stop> {
        if self.peeked.is_none() {
            loop {
                match self.input.fill_buf() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                    Ok(available) => {
                        self.peeked = available.first().copied();
                        break;
                    }
                }
            }
        }
        Ok(self.peeked)
    }

    fn next(&mut self) -> Result<Option<u8>, Stop> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.input.consume(1);
            self.peeked = None;
            self.consumed += 1;
            self.line += u64::from(byte == b'\n');
        }
        Ok(byte)
    }

    fn skip_space(&mut self) -> Result<Option<u8>, Stop> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.next()?,
                other => return Ok(other),
            };
        }
    }

    /// After an element or member: whether another one follows; the closing bracket is taken.
    fn another(&mut self, closing: u8) -> Result<bool, Stop> {
        self.skip_space()?;
        match self.next()? {
            Some(b',') => Ok(true),
            Some(byte) if byte == closing => Ok(false),
            _ => Err(self.malformed()),
        }
    }

    fn array(&mut self, emit: &mut dyn FnMut(Record<Vec<u8>>) -> bool) -> Result<(), Stop> {
        self.next()?;
        if self.skip_space()? == Some(b']') {
            self.next()?;
            return Ok(());
        }
        loop {
            self.element(emit)?;
            if !self.another(b']')? {
                return Ok(());
            }
        }
    }

    fn element(&mut self, emit: &mut dyn FnMut(Record<Vec<u8>>) -> bool) -> Result<(), Stop> {
        self.skip_space()?;
        let number = self.line;
        let mut kept = Some(Vec::new());
        self.value(&mut kept)?;
        let record = Record {
            number,
            end: self.consumed,
            content: kept.ok_or_else(too_long),
        };
        if emit(record) { Ok(()) } else { Err(Stop::Unwanted) }
    }

    /// Whether the object that begins here has an array `users`, the elements of which are handed out.
    fn users_of_object(&mut self, emit: &mut dyn FnMut(Record<Vec<u8>>) -> bool) -> Result<bool, Stop> {
        if self.skip_space()? != Some(b'{') {
            return Err(self.malformed());
        }
        self.next()?;
        if self.skip_space()? == Some(b'}') {
            self.next()?;
            return Ok(false);
        }
        let mut found = false;
        loop {
            if self.skip_space()? != Some(b'"') {
                return Err(self.malformed());
            }
            let mut name = Some(Vec::new());
            self.value(&mut name)?;
            self.skip_space()?;
            if self.next()? != Some(b':') {
                return Err(self.malformed());
            }
            if name.as_deref() == Some(b"\"users\"") && self.skip_space()? == Some(b'[') {
                self.array(emit)?;
                found = true;
            } else {
                self.skip_space()?;
                self.value(&mut None)?;
            }
            if !self.another(b'}')? {
                return Ok(found);
            }
        }
    }

    /// Passes one value and keeps its bytes; with more than [`LONGEST`] of them, or with `None` given, none.
    fn value(&mut self, kept: &mut Option<Vec<u8>>) -> Result<(), Stop> {
        let mut depth = 0_usize;
        let mut in_string = false;
        let mut any = false;
        loop {
            let Some(byte) = self.peek()? else {
                // A number or a word may end with the file; what is open may not.
                return if any && depth == 0 && !in_string {
                    Ok(())
                } else {
                    Err(self.malformed())
                };
            };
            if depth == 0
                && !in_string
                && matches!(byte, b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')
            {
                return if any { Ok(()) } else { Err(self.malformed()) };
            }
            any = true;
            self.take(kept)?;
            if in_string {
                match byte {
                    b'\\' => self.take(kept)?,
                    b'"' => {
                        in_string = false;
                        if depth == 0 {
                            return Ok(());
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, kept: &mut Option<Vec<u8>>) -> Result<(), Stop> {
        let Some(byte) = self.next()? else {
            return Err(self.malformed());
        };
        if kept.as_ref().is_some_and(|bytes| bytes.len() >= LONGEST) {
            *kept = None;
        }
        if let Some(bytes) = kept {
            bytes.push(byte);
        }
        Ok(())
    }
}
