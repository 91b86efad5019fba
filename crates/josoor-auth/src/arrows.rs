//! Holds the picture of `docs/ARCHITECTURE.md`: a room names only the rooms that it may, each technology stays in its room, and
//! no file names another one that names it back, however long the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What everything may stand on.
const BASE: &str = "domain error config clock crypto";
/// What hides one technology each, and the parts that stand on these.
const PARTS: &str = "store redis hasher keys limits mail passwords cache telemetry app act";
const IDENTITY: &str = "auth sessions audit";
const USE_CASES: &str = "account admin import_export backup";

/// Which rooms a room may name, from the bottom. What is not here is not allowed.
const ALLOWED: [(&str, &[&str]); 28] = [
    ("clock", &["domain"]),
    ("crypto", &[]),
    ("domain", &["error", "crypto"]),
    ("config", &["domain"]),
    ("error", &[]),
    ("telemetry", &[BASE]),
    ("redis", &[BASE, "telemetry"]),
    ("store", &[BASE, "telemetry"]),
    ("passwords", &[BASE, "telemetry"]),
    ("keys", &[BASE, "store"]),
    ("mail", &[BASE, "store keys telemetry"]),
    ("limits", &[BASE, "redis telemetry"]),
    ("hasher", &[BASE, "limits passwords telemetry"]),
    ("cache", &[BASE, "redis store telemetry"]),
    (
        "app",
        &[
            BASE,
            "store redis hasher keys limits mail passwords cache telemetry",
        ],
    ),
    (
        "act",
        &[
            BASE,
            "store redis hasher keys limits mail passwords cache telemetry app",
        ],
    ),
    ("audit", &[BASE, PARTS]),
    ("auth", &[BASE, PARTS, "audit"]),
    ("sessions", &[BASE, PARTS, "audit auth"]),
    ("account", &[BASE, PARTS, IDENTITY]),
    ("admin", &[BASE, PARTS, IDENTITY, "account"]),
    ("import_export", &[BASE, PARTS, IDENTITY]),
    ("backup", &[BASE, PARTS, "audit"]),
    ("worker", &[BASE, PARTS, IDENTITY, USE_CASES]),
    ("http", &[BASE, PARTS, IDENTITY, USE_CASES]),
    ("cli", &[BASE, PARTS, IDENTITY, USE_CASES, "worker http"]),
    ("main", &["cli"]),
    ("lib", &["cli"]),
];

/// What only one room may name.
const TECHNOLOGIES: [(&str, &str); 4] = [
    ("axum", "http"),
    ("lettre", "mail"),
    ("redis", "redis"),
    ("sqlx", "store"),
];

/// The words, signs and strings of a source without its comments and without what is for tests.
fn tokens(source: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let word = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = rest.find('"').unwrap_or_default() + 1;
            rest[begin..]
                .find(&end)
                .map_or(rest.len(), |at| begin + at + end.len())
        } else if first == '"' {
            let mut is_escaped = false;
            let end = rest[1..].find(|c| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\\") {
            rest[3..].find('\'').map_or(rest.len(), |end| end + 4)
        } else if first == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(3).map_or(rest.len(), |(end, _)| end)
        } else if word > 0 {
            all.push(rest[..word].to_owned());
            word
        } else if rest.starts_with("::") {
            all.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                all.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    all
}

/// The number of `#` of a raw string that begins here.
fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// Removes the items that are compiled for tests only, and gives the modules among them.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let is = |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|token| token == text);
        let attribute = is(0, "#") && is(1, "[") && is(2, "cfg") && is(3, "(");
        if !(attribute && (is(4, "test") || (is(4, "all") && is(6, "test")))) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += tokens[at..]
            .iter()
            .position(|token| token == "]")
            .unwrap_or_default()
            + 1;
        let mut depth = 0;
        while let Some(token) = tokens.get(at) {
            match token.as_str() {
                "mod" if depth == 0 => modules.extend(tokens.get(at + 1).cloned()),
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && (token == ";" || token == "}") {
                break;
            }
        }
    }
    (kept, modules)
}

/// Every path that a source imports or that begins with `crate`, `super` or `self`, with its groups taken apart.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_import = tokens[at] == "use";
        let is_path = ["crate", "super", "self"].contains(&tokens[at].as_str())
            && tokens.get(at + 1).is_some_and(|token| token == "::");
        if is_import {
            at = tree(tokens, at + 1, &[], &mut found);
        } else if is_path {
            at = tree(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path or group from `at` on, below `prefix`; gives the place behind it.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "::" => at += 1,
            "{" if tokens[at - 1] == "::" || tokens[at - 1] == "use" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, &path, found);
                    if tokens.get(at).is_some_and(|token| token == ",") {
                        at += 1;
                    }
                    if tokens.get(at).is_some_and(|token| token == "as") {
                        at += 2;
                    }
                }
                return at + 1;
            }
            name if name.chars().all(|c| c.is_alphanumeric() || c == '_') && name != "as" => {
                path.push(name.to_owned());
                at += 1;
                if tokens.get(at).is_none_or(|token| token != "::") {
                    break;
                }
            }
            "*" => {
                at += 1;
                break;
            }
            _ => break,
        }
    }
    if tokens.get(at).is_some_and(|token| token == "as") {
        at += 2;
    }
    found.push(path);
    at.max(1)
}

type Module = Vec<String>;

/// One source: what it is called, and what it names.
struct Source {
    file: PathBuf,
    words: Vec<String>,
    paths: Vec<Vec<String>>,
}

/// The room of a module; the crate itself is `lib`.
fn room(module: &Module) -> &str {
    module.first().map_or("lib", String::as_str)
}

/// The sources of a crate by module; those for tests are left out.
fn read(root: &Path, module: &Module, skipped: &[String], into: &mut BTreeMap<Module, Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(root)
        .expect("a folder of sources")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    // A module before what is below it: it says which of its modules are for tests.
    entries.sort_by_key(|path| {
        (
            path.is_dir(),
            path.file_stem()
                .is_none_or(|stem| !["mod", "lib"].iter().any(|first| stem == *first)),
        )
    });
    let mut skipped = skipped.to_vec();
    for path in entries {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name")
            .to_owned();
        if skipped.contains(&stem) {
            continue;
        }
        let mut own = module.clone();
        if path.is_dir() {
            own.push(stem);
            read(&path, &own, &[], into);
            continue;
        }
        match stem.as_str() {
            "mod" | "lib" => {}
            "main" => own = vec!["main".to_owned()],
            _ => own.push(stem),
        }
        let source = fs::read_to_string(&path).expect("a source");
        let (words, for_tests) = without_tests(&tokens(&source));
        if own == *module {
            skipped.extend(for_tests);
        }
        let paths = paths(&words);
        into.insert(
            own,
            Source {
                file: path,
                words,
                paths,
            },
        );
    }
}

type Graph = BTreeMap<Module, BTreeMap<Module, String>>;

/// Which module names which, and by what path.
fn arrows(sources: &BTreeMap<Module, Source>) -> Graph {
    let mut graph = Graph::new();
    for (module, source) in sources {
        let mut named = BTreeMap::new();
        for path in &source.paths {
            let mut base = module.clone();
            let mut rest = &path[..];
            if path.first().is_some_and(|first| first == "crate") {
                base.clear();
                rest = &path[1..];
            } else {
                while let Some((first, others)) = rest.split_first() {
                    match first.as_str() {
                        "self" => {}
                        "super" => drop(base.pop()),
                        _ => break,
                    }
                    rest = others;
                }
                // A path without a beginning of its own is of this crate when it begins with a module below.
                if rest.len() == path.len() {
                    let mut child = base.clone();
                    child.extend(rest.first().cloned());
                    if !sources.contains_key(&child) {
                        continue;
                    }
                }
            }
            let target = (0..=rest.len()).rev().find_map(|length| {
                let target = [&base[..], &rest[..length]].concat();
                sources.contains_key(&target).then_some(target)
            });
            if let Some(target) = target.filter(|target| target != module) {
                named.entry(target).or_insert_with(|| path.join("::"));
            }
        }
        graph.insert(module.clone(), named);
    }
    graph
}

/// The modules that can be reached from one.
fn reached<'a>(graph: &'a Graph, from: &'a Module) -> BTreeSet<&'a Module> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        for target in graph.get(module).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(target) {
                next.push(target);
            }
        }
    }
    seen
}

/// The circles: sets of modules that all reach each other, with the arrows among them.
fn circles(graph: &Graph) -> Vec<(BTreeSet<&Module>, String)> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|from| (from, reached(graph, from))).collect();
    let mut found: BTreeSet<BTreeSet<&Module>> = BTreeSet::new();
    for (from, targets) in &reach {
        if targets.contains(from) {
            found.insert(
                targets
                    .iter()
                    .copied()
                    .filter(|to| reach[to].contains(from))
                    .collect(),
            );
        }
    }
    let described = found.into_iter().map(|circle| {
        let mut text = String::from("a circle:");
        for from in &circle {
            for (to, path) in graph[*from].iter().filter(|(to, _)| circle.contains(to)) {
                text.push_str(&format!(
                    "\n    {} names {} ({path})",
                    from.join("::"),
                    to.join("::")
                ));
            }
        }
        (circle, text)
    });
    described.collect()
}

fn may_name(room: &str, other: &str) -> bool {
    ALLOWED
        .iter()
        .filter(|(name, _)| *name == room)
        .any(|(_, lists)| lists.iter().any(|list| list.split(' ').any(|name| name == other)))
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the folder of the crates")
        .to_owned()
}

fn sources_of(name: &str) -> BTreeMap<Module, Source> {
    let mut sources = BTreeMap::new();
    read(
        &crates().join(name).join("src"),
        &Module::new(),
        &[],
        &mut sources,
    );
    sources
}

#[test]
fn arrows_point_down_only() {
    let sources = sources_of("josoor-auth");
    assert!(sources.len() > 80, "only {} sources were read", sources.len());
    let mut faults = Vec::new();
    for (module, named) in arrows(&sources) {
        let source = &sources[&module];
        let room = room(&module);
        if ALLOWED.iter().all(|(name, _)| *name != room) {
            faults.push(format!(
                "{}: the room {room} is not in ALLOWED",
                source.file.display()
            ));
        }
        for (target, path) in named {
            let other = self::room(&target);
            if other != room && !may_name(room, other) {
                faults.push(format!(
                    "{}: {room} may not name {other} ({path})",
                    source.file.display()
                ));
            }
        }
        for (technology, owner) in TECHNOLOGIES {
            if room != owner && names_crate(&source.words, technology) {
                faults.push(format!(
                    "{}: only {owner} may name {technology}",
                    source.file.display()
                ));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Whether a path begins with the name of a crate, and not of a room that is called the same.
fn names_crate(words: &[String], name: &str) -> bool {
    words
        .windows(3)
        .any(|words| words[0] != "::" && words[1] == name && words[2] == "::")
}

#[test]
fn no_file_names_one_that_names_it_back() {
    for name in ["josoor-auth", "josoor-auth-verify", "bcrypt-interleaved"] {
        let graph = arrows(&sources_of(name));
        let faults: Vec<String> = circles(&graph).into_iter().map(|(_, text)| text).collect();
        assert!(faults.is_empty(), "{name}:\n{}", faults.join("\n"));
    }
}

#[test]
fn the_allowed_arrows_make_no_circle() {
    for (place, (room, lists)) in ALLOWED.iter().enumerate() {
        for other in lists.iter().flat_map(|list| list.split(' ')) {
            let below = ALLOWED[..place].iter().any(|(name, _)| *name == other);
            let is_base = BASE.split(' ').any(|name| name == other);
            assert!(below || is_base, "{room} may name {other}, which is not below it");
        }
    }
}

fn graph_of(files: &[(&str, &str)]) -> Graph {
    let sources = files.iter().map(|(module, source)| {
        let (words, _) = without_tests(&tokens(source));
        let paths = paths(&words);
        let source = Source {
            file: PathBuf::from(module),
            words,
            paths,
        };
        (module.split("::").map(str::to_owned).collect(), source)
    });
    arrows(&sources.collect())
}

#[test]
fn paths_are_found_in_every_form() {
    let source = r##"
        use crate::{a::{B, c::{self, D as E}}, f};
        use self::g::*; // use crate::comment::X;
        use child::H;
        fn i() { super::super::j::k(crate::l::M); mycrate::n(); let o = "crate::p"; let q = r#"crate::r"#; let s = '"'; crate::t() }
        #[cfg(test)]
        mod tests { use crate::u; }
    "##;
    let (words, modules) = without_tests(&tokens(source));
    let found: Vec<String> = paths(&words).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        [
            "crate::a::B",
            "crate::a::c::self",
            "crate::a::c::D",
            "crate::f",
            "self::g",
            "child::H",
            "super::super::j::k",
            "crate::l::M",
            "crate::t"
        ]
    );
    assert_eq!(modules, ["tests"]);
}

#[test]
fn circles_are_found() {
    let straight = [
        ("a", "use crate::b::c::D;"),
        ("b", "mod c; pub use self::c::D;"),
        ("b::c", "use crate::e;"),
        ("e", ""),
    ];
    assert!(circles(&graph_of(&straight)).is_empty());
    for (module, source) in [
        ("b::c", "use super::Base;"),
        ("b::c", "fn f() { crate::a::g() }"),
        ("e", "use crate::{x, a::{y, z}};"),
        ("e", "use super::b::{c::{F, G}};"),
    ] {
        let mut files: Vec<_> = straight
            .iter()
            .copied()
            .filter(|(name, _)| *name != module)
            .collect();
        files.push((module, source));
        assert_eq!(circles(&graph_of(&files)).len(), 1, "{module}: {source}");
    }
    let in_tests = [
        ("a", "use crate::b;"),
        (
            "b",
            "#[cfg(test)]\nmod tests { use crate::a; }\n#[cfg(test)] use crate::a::X;",
        ),
    ];
    assert!(circles(&graph_of(&in_tests)).is_empty());
}

#[test]
fn arrows_up_are_found() {
    for (room, other) in [
        ("store", "sessions"),
        ("domain", "store"),
        ("limits", "keys"),
        ("auth", "sessions"),
        ("app", "worker"),
        ("http", "cli"),
    ] {
        assert!(!may_name(room, other), "{room} → {other}");
    }
    assert!(may_name("http", "sessions") && may_name("sessions", "auth") && may_name("account", "sessions"));
}
