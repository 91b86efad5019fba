//! Where values come from: the built-in file, the operator's file, the environment; and what is said about a bad one.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::values::shown;

/// Every key with its default, which is also the list of the keys that exist.
pub(super) const DEFAULTS: &str = include_str!("../../config.default.toml");

/// The platform's own names for some keys.
pub(super) const PLATFORM_VARIABLES: [(&str, &str); 13] = [
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("MASTER_KEY", "keys.master_key"),
    ("JWT_SECRET", "auth.jwt_secret"),
    ("JWT_ALGORITHM", "auth.jwt_algorithm"),
    ("JWT_EXPIRATION_MINUTES", "auth.jwt_expiration_minutes"),
    ("BIND", "server.bind"),
    ("PORT", "server.port"),
    ("PUBLIC_URL", "server.public_url"),
    ("SMTP_URL", "mail.smtp_url"),
    ("MAIL_FROM", "mail.from"),
    ("CORS_ORIGINS", "server.cors_origins"),
    ("TRUSTED_PROXIES", "server.trusted_proxies"),
];

/// Keys that are never shown whole and may come from `<VARIABLE>_FILE`.
const SECRET_KEYS: [&str; 5] = [
    "database.url",
    "redis.url",
    "keys.master_key",
    "auth.jwt_secret",
    "mail.smtp_url",
];

const PREFIX: &str = "JOSOOR_AUTH__";

/// A configuration file or a secret's file beyond this is a mistake, and is not read into memory.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Where a setting's value comes from. Later kinds override earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The built-in file.
    Default,
    /// The configuration file.
    File {
        /// As it was named on the command line.
        name: String,
        /// From 1; `None` when the file as a whole is meant.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// A file that an environment variable names.
    SecretFile {
        /// The variable, with its `_FILE`.
        variable: String,
        /// The file.
        path: PathBuf,
    },
}

impl Source {
    /// Later sources have higher ranks.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Variable(_) | Self::SecretFile { .. } => 2,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line: None } => f.write_str(&shown(name)),
            Self::File {
                name,
                line: Some(line),
            } => write!(f, "{}:{line}", shown(name)),
            Self::Variable(variable) => f.write_str(&shown(variable)),
            Self::SecretFile { variable, path } => {
                write!(f, "{}={}", shown(variable), shown(&path.to_string_lossy()))
            }
        }
    }
}

/// One thing that keeps the configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key (`session.idle`), or the variable's name or the file's when it belongs to no key.
    pub key: String,
    /// The environment variable that sets the key; `None` when there is no such key.
    pub variable: Option<String>,
    /// Where the value came from.
    pub source: Source,
    /// What is wrong. Never a secret's value.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl ConfigProblem {
    /// A problem of a key that exists.
    pub(super) fn of_key(
        key: &str,
        source: Source,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            key: key.to_owned(),
            variable: Some(variable_of(key)),
            source,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// A problem of a name that is no key, or of a whole file.
    fn of_name(
        name: impl Into<String>,
        source: Source,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            key: name.into(),
            variable: None,
            source,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for ConfigProblem {
    /// One line: the key, its variable and its place; what is wrong; what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut places = Vec::new();
        match (&self.source, &self.variable) {
            (Source::Default, variable) => places.extend(variable.clone()),
            (Source::File { .. }, variable) => {
                places.extend(variable.clone());
                places.push(self.source.to_string());
            }
            (Source::Variable(name), _) if *name == self.key => {}
            (Source::Variable(_) | Source::SecretFile { .. }, _) => places.push(self.source.to_string()),
        }
        f.write_str(&shown(&self.key))?;
        if !places.is_empty() {
            write!(f, " ({})", places.join(", "))?;
        }
        write!(f, ": {}; {}", self.message, self.remedy)
    }
}

/// Why there is no [`Config`](super::Config): everything that is wrong with it, not only the first thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Never empty.
    pub problems: Vec<ConfigProblem>,
}

impl fmt::Display for ConfigError {
    /// One line per problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A value as it was written.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// A string, or anything from the environment.
    Text(Zeroizing<String>),
    /// A TOML integer in decimal digits.
    Number(String),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Something that no key takes, by its name.
    Other(&'static str),
}

impl Raw {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    /// Whether it says "not set".
    pub(super) fn is_unset(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            _ => false,
        }
    }
}

/// A value and where it came from.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) source: Source,
}

/// The value of every key, by key.
pub(super) type Layers = BTreeMap<String, Given>;

/// Whether a key is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET_KEYS.contains(&key)
}

/// The environment variable that sets a key: the platform's name if it has one.
pub(super) fn variable_of(key: &str) -> String {
    PLATFORM_VARIABLES
        .iter()
        .find(|(_, platform_key)| *platform_key == key)
        .map_or_else(|| long_variable_of(key), |(variable, _)| (*variable).to_owned())
}

/// `JOSOOR_AUTH__SECTION__KEY`.
pub(super) fn long_variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// Reads the operator's file.
pub(super) fn read_config_file(path: &Path) -> Result<String, ConfigError> {
    read_limited(path).map_err(|reason| {
        let name = path.to_string_lossy().into_owned();
        let problem = ConfigProblem::of_name(
            "--config",
            Source::File { name, line: None },
            format!("the file cannot be read: {reason}"),
            "name a readable TOML file, or leave --config out",
        );
        ConfigError {
            problems: vec![problem],
        }
    })
}

fn read_limited(path: &Path) -> Result<String, String> {
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

/// Puts the three layers on top of each other. What is unreadable or unknown goes to `problems`; `None` when the file is
/// no TOML, because judging the values of the rest would only add misleading problems.
pub(super) fn layers(
    file: Option<(&str, &str)>,
    env: &BTreeMap<String, String>,
    problems: &mut Vec<ConfigProblem>,
) -> Option<Layers> {
    let mut layers = Layers::new();
    let readable = add_toml(&mut layers, DEFAULTS, None, problems);
    let readable = match file {
        Some((name, text)) => add_toml(&mut layers, text, Some(name), problems) && readable,
        None => readable,
    };
    add_environment(&mut layers, env, problems);
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
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
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

fn add_environment(layers: &mut Layers, env: &BTreeMap<String, String>, problems: &mut Vec<ConfigProblem>) {
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
                Source::Variable(variable.clone()),
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
                    Source::Variable(variable.clone()),
                    "there is no such setting",
                    remedy,
                ));
            }
        }
    }
    for (key, candidates) in candidates {
        if let Some(given) = resolve(&key, &candidates, problems) {
            layers.insert(key, given);
        }
    }
}

/// The name before `_FILE`, in either case, as the rest of a name is.
fn strip_file_suffix(variable: &str) -> Option<&str> {
    let at = variable.len().checked_sub("_FILE".len())?;
    variable
        .get(at..)
        .filter(|suffix| suffix.eq_ignore_ascii_case("_FILE"))
        .and_then(|_| variable.get(..at))
}

/// The key that a variable sets.
fn key_of(layers: &Layers, variable: &str) -> Option<String> {
    if let Some((_, key)) = PLATFORM_VARIABLES.iter().find(|(name, _)| *name == variable) {
        return Some((*key).to_owned());
    }
    let (section, key) = variable.strip_prefix(PREFIX)?.split_once("__")?;
    let key = format!("{section}.{key}").to_ascii_lowercase();
    layers.contains_key(&key).then_some(key)
}

/// What the environment says about one key, if it says one thing.
fn resolve(key: &str, candidates: &[Candidate<'_>], problems: &mut Vec<ConfigProblem>) -> Option<Given> {
    let mut found: Option<Given> = None;
    let mut first: Option<&Candidate<'_>> = None;
    for candidate in candidates {
        let source = Source::Variable(candidate.variable.to_owned());
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
