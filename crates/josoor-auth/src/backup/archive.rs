//! The file: a tar archive (POSIX.1-1988, ustar), written in one pass, with a digest of each file in it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use super::manifest::FileEntry;

/// The size of a header, and what every file is padded to.
const BLOCK: usize = 512;

/// The longest manifest: a few hundred tables.
const MANIFEST_AT_MOST: u64 = 1 << 20;

/// The names in the archive.
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MANIFEST_CODE: &str = "manifest.mac";

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes an archive. A file's length need not be known before it is written.
pub(super) struct Writer {
    out: BufWriter<File>,
    modified: u64,
    current: Option<Current>,
    files: Vec<FileEntry>,
}

struct Current {
    name: String,
    header_at: u64,
    bytes: u64,
    digest: Context,
}

impl Writer {
    /// Begins an archive in an empty file. `modified` is the time of its files, in seconds since 1970.
    pub(super) fn new(file: File, modified: u64) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 17, file),
            modified,
            current: None,
            files: Vec::new(),
        }
    }

    /// Begins a file.
    pub(super) fn begin(&mut self, name: &str) -> io::Result<()> {
        let header_at = self.out.stream_position()?;
        self.out.write_all(&[0; BLOCK])?;
        self.current = Some(Current {
            name: name.to_owned(),
            header_at,
            bytes: 0,
            digest: Context::new(&SHA256),
        });
        Ok(())
    }

    /// Ends the file, now that its length is known.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let over = usize::try_from(current.bytes % BLOCK as u64).unwrap_or_default();
        if over > 0 {
            self.out.write_all(&[0; BLOCK][over..])?;
        }
        let after = self.out.stream_position()?;
        let mut header = tar::Header::new_ustar();
        header.set_path(&current.name)?;
        header.set_size(current.bytes);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.modified);
        header.set_cksum();
        self.out.seek(SeekFrom::Start(current.header_at))?;
        self.out.write_all(header.as_bytes())?;
        self.out.seek(SeekFrom::Start(after))?;
        self.files.push(FileEntry {
            name: current.name,
            bytes: current.bytes,
            sha256: hexadecimal(current.digest.finish().as_ref()),
        });
        Ok(())
    }

    /// The files so far.
    pub(super) fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Ends the archive. What was written is on the disk afterwards.
    pub(super) fn finish(mut self) -> io::Result<File> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("no file of the archive was begun"));
        };
        self.out.write_all(bytes)?;
        current.digest.update(bytes);
        current.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file of an archive, with its place.
pub(super) struct Placed {
    pub(super) entry: FileEntry,
    at: u64,
}

/// An archive that was read through.
pub(super) struct Reader {
    pub(super) files: Vec<Placed>,
    pub(super) manifest: Vec<u8>,
    pub(super) code: Vec<u8>,
}

impl Reader {
    /// Reads an archive through and computes the digest of each file.
    ///
    /// # Errors
    /// When it is no archive, ends too early, or has no manifest.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 17, File::open(path)?));
        let mut reader = Self {
            files: Vec::new(),
            manifest: Vec::new(),
            code: Vec::new(),
        };
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let (at, bytes) = (entry.raw_file_position(), entry.size());
            match name.as_str() {
                MANIFEST | MANIFEST_CODE if bytes > MANIFEST_AT_MOST => {
                    return Err(io::Error::other("its manifest is too long"));
                }
                MANIFEST => drop(entry.read_to_end(&mut reader.manifest)?),
                MANIFEST_CODE => drop(entry.read_to_end(&mut reader.code)?),
                _ => {
                    let sha256 = digest(&mut entry, bytes)?;
                    let entry = FileEntry { name, bytes, sha256 };
                    reader.files.push(Placed { entry, at });
                }
            }
        }
        if reader.manifest.is_empty() || reader.code.is_empty() {
            return Err(io::Error::other(
                "it has no manifest: it is not whole, or no backup of JOSOOR Auth",
            ));
        }
        Ok(reader)
    }

    /// Opens a file of the archive for reading once more.
    pub(super) fn open_file(&self, path: &Path, name: &str) -> io::Result<io::Take<BufReader<File>>> {
        let placed = self.files.iter().find(|placed| placed.entry.name == name);
        let placed = placed.ok_or_else(|| io::Error::other(format!("there is no {name} in it")))?;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(placed.at))?;
        Ok(BufReader::with_capacity(1 << 17, file).take(placed.entry.bytes))
    }
}

fn digest(read: &mut impl Read, expected: u64) -> io::Result<String> {
    let mut digest = Context::new(&SHA256);
    let mut chunk = vec![0; 1 << 17];
    let mut total = 0;
    loop {
        match read.read(&mut chunk)? {
            0 if total == expected => return Ok(hexadecimal(digest.finish().as_ref())),
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early")),
            length => {
                digest.update(&chunk[..length]);
                total += length as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, files: &[(&str, &[u8])]) {
        let mut writer = Writer::new(File::create(path).expect("a file"), 1_700_000_000);
        for (name, text) in files {
            writer.begin(name).expect("begun");
            // In two pieces, as it comes.
            let (first, rest) = text.split_at(text.len() / 2);
            writer.write_all(first).expect("written");
            writer.write_all(rest).expect("written");
            writer.end().expect("ended");
        }
        writer.finish().expect("finished");
    }

    #[test]
    fn what_was_written_is_read_with_the_same_digests() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.tar");
        let long = vec![7; 1300];
        write(
            &path,
            &[
                ("a.csv", b"abc"),
                ("empty.csv", b""),
                ("b.csv", &long),
                (MANIFEST, b"{}"),
                (MANIFEST_CODE, b"code"),
            ],
        );
        let reader = Reader::open(&path).expect("an archive");
        let entries: Vec<_> = reader
            .files
            .iter()
            .map(|placed| (placed.entry.name.as_str(), placed.entry.bytes))
            .collect();
        assert_eq!(entries, [("a.csv", 3), ("empty.csv", 0), ("b.csv", 1300)]);
        // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
        assert_eq!(
            reader.files[0].entry.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            (reader.manifest.as_slice(), reader.code.as_slice()),
            (&b"{}"[..], &b"code"[..])
        );
        let mut text = Vec::new();
        let mut file = reader.open_file(&path, "b.csv").expect("a file");
        file.read_to_end(&mut text).expect("read");
        assert_eq!(text, long);
        assert!(reader.open_file(&path, "c.csv").is_err());
    }

    #[test]
    fn an_archive_that_was_cut_or_has_no_manifest_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.tar");
        write(
            &path,
            &[("a.csv", &[1; 5000]), (MANIFEST, b"{}"), (MANIFEST_CODE, b"code")],
        );
        let whole = std::fs::read(&path).expect("read");
        for length in [0, 1, 511, 512, 3000, 5700, whole.len() - 2600] {
            std::fs::write(&path, &whole[..length]).expect("written");
            assert!(Reader::open(&path).is_err(), "{length} bytes");
        }
        write(&path, &[("a.csv", b"abc")]);
        assert!(Reader::open(&path).is_err());
    }
}
