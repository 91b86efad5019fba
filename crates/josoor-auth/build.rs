//! Packs the built pages (`assets/web`, made by `make web`) for the binary: each file plain, as gzip and as brotli, in one table. Lists
//! the migrations and the templates of mails.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=assets/web");
    let root = Path::new("assets/web");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    assert!(
        files.iter().any(|file| file.ends_with("shell.en.html")),
        "crates/josoor-auth/assets/web has no pages; `make web` builds them"
    );
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let content = fs::read(file).expect("a readable file");
        let name = file
            .strip_prefix(root)
            .expect("a file below")
            .to_str()
            .expect("a name in UTF-8");
        let (gzip, brotli) = (out.join(format!("{number}.gz")), out.join(format!("{number}.br")));
        fs::write(&gzip, pack_gzip(&content)).expect("a writable OUT_DIR");
        fs::write(&brotli, pack_brotli(&content)).expect("a writable OUT_DIR");
        let plain = fs::canonicalize(file).expect("a path");
        let [plain, gzip, brotli] =
            [plain, gzip, brotli].map(|path| path.to_str().expect("a path in UTF-8").to_owned());
        writeln!(
            table,
            "File {{ name: {:?}, plain: include_bytes!({plain:?}), gzip: include_bytes!({gzip:?}), brotli: include_bytes!({brotli:?}) }},",
            name.replace('\\', "/")
        )
        .expect("a string grows");
    }
    table.push(']');
    fs::write(out.join("web_files.rs"), table).expect("a writable OUT_DIR");
    list_migrations(&out);
    list_mail_templates(&out);
}

/// `0012_ways_of_signing_in.sql` is `(12, "ways of signing in", text)`.
fn list_migrations(out: &Path) {
    list(out, "migrations", "migrations.rs", |name| {
        let (number, words) = name.split_once('_').expect("a number and words");
        let number: i64 = number.parse().expect("a number");
        format!("{number}, {:?}", words.replace('_', " "))
    });
}

/// `new_device.en.txt` is `("new_device", "en", text)`.
fn list_mail_templates(out: &Path) {
    list(out, "templates/mail", "mail_templates.rs", |name| {
        let (kind, language) = name.split_once('.').expect("a kind and a language");
        format!("{kind:?}, {language:?}")
    });
}

/// Writes a table of the files of a folder: what `describe` makes of the name, and the text.
fn list(out: &Path, folder: &str, table: &str, describe: impl Fn(&str) -> String) {
    println!("cargo::rerun-if-changed={folder}");
    let mut files = Vec::new();
    collect(Path::new(folder), &mut files);
    files.sort();
    let mut rows = String::from("&[\n");
    for file in files {
        let name = file
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name in UTF-8");
        let path = fs::canonicalize(&file).expect("a path");
        let path = path.to_str().expect("a path in UTF-8");
        writeln!(rows, "({}, include_str!({path:?})),", describe(name)).expect("a string grows");
    }
    rows.push(']');
    fs::write(out.join(table), rows).expect("a writable OUT_DIR");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}; `make web` builds the pages", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn pack_gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(content).expect("memory");
    packer.finish().expect("memory")
}

fn pack_brotli(content: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    {
        let mut packer = brotli::CompressorWriter::new(&mut packed, 4096, 11, 22);
        packer.write_all(content).expect("memory");
    }
    packed
}
