//! A file of passwords that are known from data breaches, which the operator names.
//!
//! Its form is that of the "Pwned Passwords" download: one SHA-1 per line in hexadecimal digits, sorted, and behind it, if at all, a colon and
//! a count. Shorter prefixes of the hashes do, of [`SHORTEST`] digits or more, all of one length. The file is searched where
//! it lies, by its offsets, however large it is, and only when a password is set.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest;

use crate::domain::Password;
use crate::telemetry::codes;

/// Digits of a whole SHA-1.
const DIGITS: usize = 40;
/// Fewer digits than these would refuse passwords by chance: with a billion of lines one in 18,000 million.
const SHORTEST: usize = 16;
/// No line is longer: 40 digits, a colon, a count, a line end.
const LINE: usize = 96;
/// Up to this size the whole file is read at the start to see whether it is sorted; of a larger one, samples.
const READ_WHOLE: u64 = 4 << 20;
/// How many places of a larger file are checked.
const SAMPLES: u64 = 4096;
/// What is left of the file at the end of a search, which is read at once.
const BLOCK: u64 = 4096;

/// The file, open. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct BreachedFile(Arc<SortedFile>);

#[derive(Debug)]
struct SortedFile {
    path: PathBuf,
    file: File,
    size: u64,
    /// Hexadecimal digits of each line.
    digits: usize,
}

impl BreachedFile {
    /// Opens the file and checks its form.
    ///
    /// # Errors
    /// It cannot be read, is empty, has other lines, or is not sorted.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let remedy = "name a readable file with one SHA-1 per line, sorted, such as the Pwned Passwords download; or empty the setting";
        let open = SortedFile::open(path).with_context(|| {
            format!(
                "password.breached_file: {} cannot be used; {remedy}",
                path.display()
            )
        })?;
        Ok(Self(Arc::new(open)))
    }

    /// Whether the file has this password, in its composed form or as it was typed. When the file cannot be read any more
    /// the answer is no, with a warning in the log: a broken disk must not keep people from setting a password.
    pub(super) async fn has(&self, password: &Password) -> bool {
        let mut hashes = vec![sha1(password.as_bytes())];
        hashes.extend(password.as_typed().map(sha1));
        let open = Arc::clone(&self.0);
        #[expect(
            clippy::disallowed_methods,
            reason = "this is file work, of some thirty short reads"
        )]
        let found = tokio::task::spawn_blocking(move || {
            for hash in &hashes {
                if open.has(hash)? {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        let found: io::Result<bool> = found.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        found.unwrap_or_else(|error| {
            let path = self.0.path.display();
            tracing::warn!(code = codes::BREACHED_FILE_UNREADABLE, %path, %error, "the file of breached passwords cannot be read; a password was set without it");
            false
        })
    }
}

/// In upper-case hexadecimal digits.
fn sha1(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest
        .as_ref()
        .iter()
        .fold(String::with_capacity(DIGITS), |mut text, byte| {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02X}");
            text
        })
}

impl SortedFile {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        ensure!(metadata.is_file(), "it is no file");
        let mut open = Self {
            path: path.to_owned(),
            file,
            size: metadata.len(),
            digits: 0,
        };
        let first = open.line_at(0)?.context("it is empty")?.1;
        open.digits = first.len();
        ensure!(
            (SHORTEST..=DIGITS).contains(&open.digits),
            "its first line does not have {SHORTEST} to {DIGITS} hexadecimal digits"
        );
        let step = if open.size <= READ_WHOLE {
            1
        } else {
            open.size / SAMPLES
        };
        let (mut at, mut before) = (0, first);
        while let Some((next, line)) = open.line_at(at)? {
            ensure!(before <= line, "it is not sorted: see about byte {at}");
            before = line;
            at = next.max(open.line_start(at + step)?);
        }
        Ok(open)
    }

    fn has(&self, hash: &str) -> io::Result<bool> {
        let wanted = &hash[..self.digits.min(hash.len())];
        // The line, if it is there, begins in low..high.
        let (mut low, mut high) = (0, self.size);
        while high - low > BLOCK {
            let middle = self.line_start(low.midpoint(high))?;
            match self.line_at(middle)? {
                Some((_, line)) if middle < high => match line.as_str().cmp(wanted) {
                    std::cmp::Ordering::Equal => return Ok(true),
                    std::cmp::Ordering::Less => low = middle,
                    std::cmp::Ordering::Greater => high = middle,
                },
                _ => break,
            }
        }
        let mut at = low;
        while at < high {
            match self.line_at(at)? {
                Some((_, line)) if line == wanted => return Ok(true),
                Some((next, line)) if line.as_str() < wanted => at = next,
                _ => break,
            }
        }
        Ok(false)
    }

    /// Where the first line begins at or behind a place.
    fn line_start(&self, at: u64) -> io::Result<u64> {
        if at == 0 || at >= self.size {
            return Ok(at.min(self.size));
        }
        let bytes = self.read(at - 1)?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        Ok(end.map_or(self.size, |end| at + end as u64))
    }

    /// The digits of the line that begins at a place, in upper case, and where the next one begins. `None` at the end.
    fn line_at(&self, at: u64) -> io::Result<Option<(u64, String)>> {
        let bytes = self.read(at)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let (line, next) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&bytes[..end], at + end as u64 + 1),
            None => (&bytes[..], self.size),
        };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let rest = &line[digits..];
        let is_well_formed = bytes.len() < LINE || line.len() < bytes.len();
        if !is_well_formed || !matches!(rest.first(), None | Some(b':' | b'\r')) {
            return Err(unreadable(at));
        }
        if self.digits > 0 && digits != self.digits {
            return Err(unreadable(at));
        }
        let text = String::from_utf8_lossy(&line[..digits]).to_ascii_uppercase();
        Ok(Some((next, text)))
    }

    /// At most [`LINE`] bytes from a place on.
    fn read(&self, at: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; LINE];
        let mut length = 0;
        while length < bytes.len() {
            match self.file.read_at(&mut bytes[length..], at + length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn unreadable(at: u64) -> io::Error {
    io::Error::other(format!(
        "the line at byte {at} does not have as many hexadecimal digits as the first, alone or before a colon"
    ))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn lines(count: u32, digits: usize, end: &str) -> String {
        let mut hashes: Vec<String> = (0..count)
            .map(|number| sha1(format!("breached {number}").as_bytes())[..digits].to_owned())
            .collect();
        hashes.sort_unstable();
        hashes
            .iter()
            .enumerate()
            .fold(String::new(), |mut text, (position, hash)| {
                let _ = write!(
                    text,
                    "{hash}{}{end}",
                    if digits == DIGITS {
                        format!(":{position}")
                    } else {
                        String::new()
                    }
                );
                text
            })
    }

    #[test]
    fn the_hash_is_sha_1() {
        assert_eq!(sha1(b"password"), "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8");
    }

    #[tokio::test]
    async fn d4_every_line_is_found_and_nothing_else() {
        for (count, digits, end) in [
            (1, 40, "\n"),
            (2, 40, "\r\n"),
            (3000, 40, "\n"),
            (3000, 40, "\r\n"),
            (3000, 16, "\n"),
            (3001, 23, "\n"),
        ] {
            let text = lines(count, digits, end);
            // Also without the last line end, and in lower case.
            for text in [text.clone(), text.trim_end().to_owned(), text.to_lowercase()] {
                let file = file(&text);
                let breached = BreachedFile::open(file.path()).unwrap();
                for number in 0..count {
                    let password = password(&format!("breached {number}"));
                    assert!(breached.has(&password).await, "{number} of {count}, {digits}");
                }
                for number in 0..1000 {
                    assert!(!breached.has(&password(&format!("unknown {number}"))).await);
                }
            }
        }
    }

    #[tokio::test]
    async fn d4_a_password_is_found_as_it_was_typed_too() {
        let typed = "cafe\u{301} noir";
        for form in [typed, "caf\u{e9} noir"] {
            let file = file(&format!("{}\n", sha1(form.as_bytes())));
            let breached = BreachedFile::open(file.path()).unwrap();
            assert!(breached.has(&password(typed)).await);
        }
    }

    #[test]
    fn d4_a_file_that_cannot_be_used_is_refused_with_the_remedy() {
        let good = lines(100, 40, "\n");
        let mut swapped: Vec<&str> = good.lines().collect();
        swapped.swap(40, 41);
        let broken = good.replacen('\n', "\nnot a hash\n", 50);
        for text in [
            "",
            "\n",
            "ABCDEF0123456789ABCDEF0123456789ABCDEF01\nABC\n",
            "password\n",
            &swapped.join("\n"),
            &broken,
        ] {
            let file = file(text);
            let error = format!("{:#}", BreachedFile::open(file.path()).unwrap_err());
            assert!(
                error.contains("password.breached_file") && error.contains("sorted"),
                "{error}"
            );
        }
        for path in ["/no/such/file", "/"] {
            let error = format!("{:#}", BreachedFile::open(Path::new(path)).unwrap_err());
            assert!(
                error.contains("password.breached_file") && error.contains("or empty the setting"),
                "{error}"
            );
        }
    }
}
