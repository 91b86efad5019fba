//! The code of this crate, for tests that hold a rule over all of it.

use std::fs;
use std::path::Path;

/// The code of the sources below a directory, without tests and comments, each with its path.
fn read(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, found);
        } else if !path.ends_with("tests.rs") && !path.ends_with("telemetry/codes.rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            let lines = text[..end]
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            found.push((path.display().to_string(), lines.collect::<Vec<_>>().join("\n")));
        }
    }
}

/// The code of every source, without tests and comments, each with its path.
pub(crate) fn all_sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 100, "only {} sources", found.len());
    found
}
