//! The layers: the built-in file, the operator's file, a file of variables, the environment.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::problem::{ConfigError, ConfigProblem, Source};
use super::raw::{Raw, shown};
use super::variables::{PREFIX, is_exact, is_secret, key_of_name, long_variable_of, strip_file_suffix};

/// Every key with its default, which is also the list of the keys that exist.
pub(super) const DEFAULTS: &str = include_str!("../../config.default.toml");

/// A configuration file or a secret's file beyond this is a mistake, and is not read into memory.
const LARGEST_FILE: u64 = 1024 * 1024;

/// A value and where it came from.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) source: Source,
}

/// The value of every key, by key.
pub(super) type Layers = BTreeMap<String, Given>;

/// Reads the operator's file.
pub(super) fn read_config_file(path: &Path) -> Result<String, ConfigError> {
    read_limited(path).map_err(|reason| {
        let name = path.to_string_lossy().into_owned();
        ConfigProblem::of_name(
            "--config",
            Source::File { name, line: None },
            format!("the file cannot be read: {reason}"),
            "name a readable TOML file, or leave --config out",
        )
        .into()
    })
}

pub(super) fn read_limited(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST_FILE {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok(std::mem::take(&mut *text))
}

/// Puts the layers on top of each other. What is unreadable or unknown goes to `problems`; `None` when the file is
/// no TOML, because judging the values of the rest would only add misleading problems.
pub(super) fn layers(
    file: Option<(&str, &str)>,
    env_file: Option<(&str, &BTreeMap<String, String>)>,
    env: &BTreeMap<String, String>,
    problems: &mut Vec<ConfigProblem>,
) -> Option<Layers> {
    let mut layers = Layers::new();
    let readable = add_toml(&mut layers, DEFAULTS, None, problems);
    let readable = match file {
        Some((name, text)) => add_toml(&mut layers, text, Some(name), problems) && readable,
        None => readable,
    };
    if let Some((name, variables)) = env_file {
        add_environment(&mut layers, variables, Some(name), problems);
    }
    add_environment(&mut layers, env, None, problems);
    for (key, given) in &layers {
        require_exact(key, given, problems);
    }
    readable.then_some(layers)
}

/// Adds a TOML text; `name` is `None` for the built-in one, which alone may define keys. False when it is no TOML.
fn add_toml(layers: &mut Layers, text: &str, name: Option<&str>, problems: &mut Vec<ConfigProblem>) -> bool {
    let line_starts: Vec<usize> = std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect();
    let source_at = |offset: Option<usize>| match name {
        None => Source::Default,
        Some(name) => Source::File {
            name: name.to_owned(),
            line: offset.map(|offset| line_starts.partition_point(|start| *start <= offset)),
        },
    };
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            // `Display` of this error quotes the line, which may hold a secret; its message does not.
            problems.push(ConfigProblem::of_name(
                "--config",
                source_at(error.span().map(|span| span.start)),
                format!("this is not TOML: {}", shown(error.message())),
                "correct the line; config.default.toml shows how each key is written",
            ));
            return false;
        }
    };
    for (section, value) in root.get_ref() {
        let at = source_at(Some(section.span().start));
        match value.get_ref() {
            DeValue::Table(table) => {
                let is_known = name.is_none() || is_section(layers, section.get_ref());
                if table.is_empty() && !is_known {
                    problems.push(unknown_key(layers, section.get_ref(), at));
                }
                for (key, value) in table {
                    let at = source_at(Some(key.span().start));
                    let path = format!("{}.{}", section.get_ref(), key.get_ref());
                    let is_plain = !section.get_ref().contains('.') && !key.get_ref().contains('.');
                    if name.is_none() || (is_plain && layers.contains_key(&path)) {
                        layers.insert(
                            path,
                            Given {
                                raw: raw_of(value),
                                source: at,
                            },
                        );
                    } else {
                        problems.push(unknown_key(layers, &path, at));
                    }
                }
            }
            _ if is_section(layers, section.get_ref()) => problems.push(ConfigProblem::of_name(
                section.get_ref().as_ref(),
                at,
                "this is a section, not a value",
                format!("write [{}] and its keys below it", section.get_ref()),
            )),
            _ => problems.push(unknown_key(layers, section.get_ref(), at)),
        }
    }
    true
}

fn raw_of(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::text(text.as_ref()),
        // What does not fit keeps its digits, and is found too large where it is read.
        DeValue::Integer(number) => Raw::Number(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        ),
        DeValue::Boolean(truth) => Raw::Boolean(*truth),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map_or(Raw::Other("an array of other things than texts"), Raw::List),
        DeValue::Float(number) => Raw::Fraction(number.as_str().to_owned()),
        DeValue::Datetime(_) => Raw::Other("a date or time"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

fn is_section(layers: &Layers, name: &str) -> bool {
    layers
        .keys()
        .any(|key| key.split_once('.').is_some_and(|(section, _)| section == name))
}

fn unknown_key(layers: &Layers, key: &str, source: Source) -> ConfigProblem {
    let remedy = nearest(layers, key).map_or_else(
        || "see config.default.toml for the keys that exist".to_owned(),
        |nearest| format!("did you mean {nearest}?"),
    );
    ConfigProblem::of_name(key, source, "there is no such key", remedy)
}

/// The key that was probably meant: the same name in another section, or one that differs in a few letters.
fn nearest<'a>(layers: &'a Layers, key: &str) -> Option<&'a str> {
    if key.len() > 100 {
        return None;
    }
    let (_, last) = key.rsplit_once('.').unwrap_or(("", key));
    layers
        .keys()
        .map(|known| {
            let (_, known_last) = known.split_once('.').unwrap_or(("", known));
            let whole = strsim::osa_distance(key, known);
            // A right name in a wrong section is as good as one wrong letter, however different the section is.
            let distance = if last == known_last { whole.min(1) } else { whole };
            (distance, whole, known.as_str())
        })
        .min()
        .filter(|(distance, ..)| *distance <= (key.chars().count() / 3).clamp(1, 4))
        .map(|(.., known)| known)
}

/// One way in which the environment gives a key.
struct Candidate<'a> {
    /// The variable's name, with its `_FILE` if it has one.
    variable: &'a str,
    /// Without it.
    stem: &'a str,
    /// What the variable holds.
    value: &'a str,
}

impl Candidate<'_> {
    fn is_file(&self) -> bool {
        self.variable.len() != self.stem.len()
    }
}

/// Refuses blanks, quotes, line ends and a byte order mark around a value that is used as it stands: `docker --env-file` and
/// editors leave them, and whatever else holds the same secret would not have them.
fn require_exact(key: &str, given: &Given, problems: &mut Vec<ConfigProblem>) {
    let Raw::Text(text) = &given.raw else { return };
    if !is_exact(key) {
        return;
    }
    let quoted = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    let is_line_end = |char: char| matches!(char, '\n' | '\r');
    let (message, remedy) = if text.starts_with('\u{feff}') {
        (
            "it begins with a byte order mark",
            "save it as UTF-8 without a byte order mark",
        )
    } else if text.contains(is_line_end) {
        (
            "it has line ends in it",
            "write it on one line; in a file, with one line end at most",
        )
    } else if text.trim() != text.as_str() {
        ("it begins or ends with blanks", "remove the blanks")
    } else if quoted('"') || quoted('\'') {
        (
            "it has quotes around it, which would be part of it",
            "remove the quotes",
        )
    } else {
        return;
    };
    problems.push(ConfigProblem::of_key(key, given.source.clone(), message, remedy));
}

/// Adds variables: the real ones, or those of a file.
fn add_environment(
    layers: &mut Layers,
    env: &BTreeMap<String, String>,
    file: Option<&str>,
    problems: &mut Vec<ConfigProblem>,
) {
    let source_of = |variable: &str| source_of(variable, file);
    let mut candidates: BTreeMap<String, Vec<Candidate<'_>>> = BTreeMap::new();
    for (variable, value) in env.iter().filter(|(_, value)| !value.is_empty()) {
        let file_stem = strip_file_suffix(variable);
        let direct = key_of(layers, variable);
        let through_file = file_stem.and_then(|stem| key_of(layers, stem).map(|key| (stem, key)));
        match (direct, through_file) {
            (Some(key), _) => candidates.entry(key).or_default().push(Candidate {
                variable,
                stem: variable,
                value,
            }),
            (None, Some((stem, key))) if is_secret(&key) => {
                candidates.entry(key).or_default().push(Candidate {
                    variable,
                    stem,
                    value,
                });
            }
            // Other programs' variables are none of our business.
            _ if !variable.starts_with(PREFIX) => {}
            (None, Some((stem, _))) => problems.push(ConfigProblem::of_name(
                variable,
                source_of(variable),
                "only secrets can come from a file",
                format!("put the value into {}", shown(stem)),
            )),
            (None, None) => {
                let key = variable[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
                let remedy = nearest(layers, &key).map_or_else(
                    || "see config.default.toml for the variables that exist".to_owned(),
                    |nearest| format!("did you mean {}?", long_variable_of(nearest)),
                );
                problems.push(ConfigProblem::of_name(
                    variable,
                    source_of(variable),
                    "there is no such setting",
                    remedy,
                ));
            }
        }
    }
    for (key, candidates) in candidates {
        if let Some(given) = resolve(&key, &candidates, file, problems) {
            layers.insert(key, given);
        }
    }
}

/// The key that a variable sets.
fn key_of(layers: &Layers, variable: &str) -> Option<String> {
    key_of_name(variable).filter(|key| layers.contains_key(key))
}

fn source_of(variable: &str, file: Option<&str>) -> Source {
    match file {
        None => Source::Variable(variable.to_owned()),
        Some(file) => Source::EnvFile {
            variable: variable.to_owned(),
            file: file.to_owned(),
        },
    }
}

/// What the environment says about one key, if it says one thing.
fn resolve(
    key: &str,
    candidates: &[Candidate<'_>],
    file: Option<&str>,
    problems: &mut Vec<ConfigProblem>,
) -> Option<Given> {
    let mut found: Option<Given> = None;
    let mut first: Option<&Candidate<'_>> = None;
    for candidate in candidates {
        let source = source_of(candidate.variable, file);
        if candidates.iter().any(|other| {
            other.is_file() && !candidate.is_file() && other.stem.eq_ignore_ascii_case(candidate.stem)
        }) {
            problems.push(ConfigProblem::of_key(
                key,
                source,
                format!(
                    "both {} and {}_FILE are given",
                    shown(candidate.stem),
                    shown(candidate.stem)
                ),
                "remove one of them",
            ));
            return None;
        }
        let given = if candidate.is_file() {
            read_secret(key, candidate, problems)?
        } else {
            Given {
                raw: Raw::text(candidate.value),
                source,
            }
        };
        match (&found, first) {
            (Some(earlier), Some(first)) if earlier.raw != given.raw => {
                problems.push(ConfigProblem::of_key(
                    key,
                    given.source,
                    format!(
                        "{} and {} are both given and differ",
                        shown(first.variable),
                        shown(candidate.variable)
                    ),
                    "remove one of them",
                ));
                return None;
            }
            (Some(_), _) => {}
            (None, _) => {
                found = Some(given);
                first = Some(candidate);
            }
        }
    }
    found
}

fn read_secret(key: &str, candidate: &Candidate<'_>, problems: &mut Vec<ConfigProblem>) -> Option<Given> {
    let path = PathBuf::from(candidate.value);
    let source = Source::SecretFile {
        variable: candidate.variable.to_owned(),
        path: path.clone(),
    };
    let reason = match read_limited(&path).map(Zeroizing::new) {
        Ok(text) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !line.is_empty() {
                return Some(Given {
                    raw: Raw::text(line),
                    source,
                });
            }
            "it is empty".to_owned()
        }
        Err(reason) => reason,
    };
    problems.push(ConfigProblem::of_key(
        key,
        source,
        format!("the secret's file cannot be used: {reason}"),
        format!(
            "put the secret into that file, readable for this service, or into {}",
            shown(candidate.stem)
        ),
    ));
    None
}
