//! Holds migrations additive: nodes of the release before run on the new tables during an upgrade, so nothing that their statements
//! name may go, change its type or become stricter.

use std::collections::BTreeSet;

use super::{Engine, MIGRATIONS, migrator};

/// What was released before this rule. Later migrations follow it.
const FREE: i64 = 4;

/// What may stand in a migration although it is not additive, with its reason.
const EXCEPTIONS: &[(i64, Engine, &[&str])] = &[
    // An address may be null, and a locale is any language tag: both only admit more.
    (
        12,
        Engine::Postgres,
        &[
            "users: alter column email drop not null",
            "users: alter column email_key drop not null",
            "users: drop constraint if exists users_locale_check",
            "registrations: drop constraint if exists registrations_locale_check",
            "outbox: drop constraint if exists outbox_locale_check",
        ],
    ),
    // The same, where a table has to be rebuilt for it. Only this release's own program uses the file.
    (
        12,
        Engine::Sqlite,
        &[
            "delete from sqlite_sequence where name =",
            "drop table users",
            "users_rebuilt: rename to users",
            "drop table registrations",
            "registrations_rebuilt: rename to registrations",
            "delete from sqlite_sequence where name =",
            "drop table outbox",
            "outbox_rebuilt: rename to outbox",
        ],
    ),
];

/// The statements of a text in lower case, without comments and without what stands in quotes. Of a trigger or function only
/// the head is left.
fn statements(sql: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let skip = |end: &str, from: usize| {
            rest[from..]
                .find(end)
                .map_or(rest.len(), |at| from + at + end.len())
        };
        let length = if rest.starts_with("--") {
            skip("\n", 0)
        } else if rest.starts_with("$$") {
            skip("$$", 2)
        } else if next == '\'' {
            skip("'", 1)
        } else {
            plain.push(next.to_ascii_lowercase());
            rest = &rest[next.len_utf8()..];
            continue;
        };
        plain.push(' ');
        rest = &rest[length..];
    }
    let mut found = Vec::new();
    let mut is_in_body = false;
    for part in plain.split(';') {
        let words = part.split_whitespace().collect::<Vec<_>>().join(" ");
        let ends_body = words == "end";
        if !is_in_body && !words.is_empty() {
            found.push(words.clone());
        }
        // Of SQLite's triggers the body is a list of statements.
        is_in_body =
            (is_in_body || words.starts_with("create trigger") && words.contains(" begin ")) && !ends_body;
    }
    found
}

/// Splits at the commas that stand in no parentheses.
fn actions(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

/// What in a text is not additive.
fn objections(sql: &str) -> Vec<String> {
    let statements = statements(sql);
    let mut new_tables = BTreeSet::new();
    let mut new_columns = BTreeSet::new();
    let mut found = Vec::new();
    for statement in &statements {
        let words: Vec<&str> = statement.split([' ', '(']).collect();
        match words.as_slice() {
            ["create", "table", table, ..] | ["create", "virtual", "table", table, ..] => {
                new_tables.insert((*table).to_owned());
            }
            ["alter", "table", table, ..] => {
                let head = "alter table ".len() + table.len();
                for action in actions(&statement[head..]) {
                    let is_additive = if let Some(column) = action.strip_prefix("add column ") {
                        let name = column.split(' ').next().unwrap_or_default();
                        new_columns.insert(format!("{table}.{name}"));
                        !column.contains("not null") || column.contains("default")
                    } else {
                        action.starts_with("alter column ") && action.contains(" set default")
                    };
                    if !is_additive && !new_tables.contains(*table) || action.starts_with("rename") {
                        found.push(format!("{table}: {action}"));
                    }
                }
            }
            ["create", "unique", "index", _, "on", table, ..] => {
                // What is unique from now on must not be what an older statement writes.
                let columns = statement.split_once('(').map_or("", |(_, columns)| columns);
                let columns = columns.split(')').next().unwrap_or_default();
                let is_new = columns
                    .split(',')
                    .any(|column| new_columns.contains(&format!("{table}.{}", column.trim())));
                if !is_new && !new_tables.contains(*table) {
                    found.push(statement.clone());
                }
            }
            ["create", "index" | "trigger" | "function", ..] | ["insert" | "update" | "select", ..] => {}
            _ => found.push(statement.clone()),
        }
        // A rebuilt table is a new one under the old name.
        if let Some((_, name)) = statement.split_once(" rename to ") {
            new_tables.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn migrations_are_additive() {
    for engine in [Engine::Postgres, Engine::Sqlite] {
        let migrator = migrator(engine);
        for migration in migrator.iter().filter(|migration| migration.version > FREE) {
            let expected: Vec<&str> = EXCEPTIONS
                .iter()
                .filter(|(version, of, _)| *version == migration.version && *of == engine)
                .flat_map(|(.., texts)| texts.iter().copied())
                .collect();
            let found = objections(migration.sql.as_str());
            assert_eq!(found, expected, "migration {} on {engine:?}", migration.version);
        }
    }
}

#[test]
fn what_is_not_additive_is_found() {
    for sql in [
        "drop table users",
        "alter table users drop column email",
        "alter table users rename to people",
        "alter table users rename column email to address",
        "alter table users alter column id type text",
        "alter table users alter column full_name set not null",
        "alter table users add column age bigint not null",
        "alter table users add constraint grown check (version > 1)",
        "alter table users add check (locale <> '')",
        "alter table users add column age bigint, drop column email",
        "create unique index users_name on users (full_name)",
        "delete from users",
        "truncate users",
        "drop index users_role",
        "-- a comment\nDROP TABLE users",
        "create trigger t after insert on users begin select 1; end; drop table users",
    ] {
        assert_eq!(objections(sql).len(), 1, "{sql}");
    }
    for sql in [
        "alter table users add column age bigint",
        "alter table users add column age bigint not null default 0 check (age >= 0)",
        "create table pets (id bigint primary key, name text not null); create unique index pets_name on pets (name)",
        "alter table users add column tag text; create unique index users_tag on users (tag)",
        "create index users_locale on users (locale); update users set version = 2; insert into guards values ('drop table', 0)",
        "-- drop table users;\ncreate trigger t after insert on users begin delete from pets; end;",
        "create function f() returns trigger language plpgsql as $$ begin drop table users; end $$",
    ] {
        assert_eq!(objections(sql), [""; 0], "{sql}");
    }
    // Every number once, in order.
    let versions: Vec<i64> = MIGRATIONS.iter().map(|(version, ..)| *version).collect();
    assert!(versions.is_sorted_by(|one, next| one < next));
}
