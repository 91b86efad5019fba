//! Holds the picture of `docs/ARCHITECTURE.md`: a room names only rooms of its own level and below, and each technology
//! stays in its room.

use std::fs;
use std::path::Path;

/// The rooms by level, from the bottom.
const LEVELS: [&[&str]; 6] = [
    &["clock", "config", "crypto", "domain", "error", "telemetry"],
    &["hasher", "keys", "limits", "mail", "passwords", "redis", "store"],
    &["cache"],
    &[
        "account",
        "act",
        "admin",
        "app",
        "audit",
        "auth",
        "import_export",
        "sessions",
        "worker",
    ],
    &["http"],
    &["cli"],
];

/// What only one room may name.
const TECHNOLOGIES: [(&str, &str); 4] = [
    ("axum::", "http"),
    ("lettre::", "mail"),
    ("redis::", "redis"),
    ("sqlx::", "store"),
];

fn level(room: &str) -> Option<usize> {
    LEVELS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a source names as `crate::room` or `crate::{room, …}`.
fn rooms_named(source: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        if source[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &source[at + "crate::".len()..];
        let list = rest
            .strip_prefix('{')
            .map_or(rest, |list| &list[..list.find('}').unwrap_or(list.len())]);
        let several = rest.starts_with('{');
        for path in list.split(',').take(if several { usize::MAX } else { 1 }) {
            let room: String = path
                .trim_start()
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            rooms.push(room);
        }
    }
    rooms
}

/// Whether a source names a crate by a path that begins with it, and not a room of the same name.
fn names_crate(source: &str, path: &str) -> bool {
    source.match_indices(path).any(|(at, _)| {
        !source[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before))
    })
}

/// What of a source is neither comment nor test.
fn code(source: &str) -> String {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    source[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn check(folder: &Path, room: Option<&str>, faults: &mut Vec<String>, seen: &mut usize) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let room = room.unwrap_or(stem);
        if path.is_dir() {
            check(&path, Some(room), faults, seen);
            continue;
        }
        if ["lib", "main", "arrows", "tests"].contains(&stem) {
            continue;
        }
        *seen += 1;
        let Some(own) = level(room) else {
            faults.push(format!("{} has no level in this test", path.display()));
            continue;
        };
        let source = code(&fs::read_to_string(&path).expect("a source"));
        for named in rooms_named(&source) {
            if level(&named).is_some_and(|other| other > own) {
                faults.push(format!(
                    "{}: {room} names {named}, which is above it",
                    path.display()
                ));
            }
        }
        for (maker, owner) in [("not_counted(", "limits"), ("not_checked(", "passwords")] {
            if room != owner && source.contains(maker) {
                faults.push(format!(
                    "{}: {maker}…) is for tests and measurements",
                    path.display()
                ));
            }
        }
        for (technology, owner) in TECHNOLOGIES {
            if room != owner && names_crate(&source, technology) {
                faults.push(format!("{}: only {owner} may name {technology}", path.display()));
            }
        }
    }
}

#[test]
fn arrows_point_down_only() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    check(&sources, None, &mut faults, &mut seen);
    assert!(seen > 40, "only {seen} sources were looked at");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn rooms_are_found_in_every_form() {
    let source =
        "use crate::store::{Db, Conn};\nuse crate::{http, keys};\nlet x = crate::cache::f(); mycrate::cli;";
    assert_eq!(rooms_named(source), ["store", "http", "keys", "cache"]);
}
