//! Variables from a file in the form of `.env` files.

use std::collections::BTreeMap;
use std::path::Path;

use super::problem::{ConfigError, ConfigProblem, Source};
use super::raw::shown;
use super::source::read_limited;
use super::variables::{key_of_name, strip_file_suffix};

/// Settings that say where data is: a file that happens to lie in the working directory does not decide on them.
const ONLY_IF_NAMED: [&str; 2] = ["database.url", "redis.url"];

/// The variables of a file. Real variables override them.
#[derive(Clone)]
pub struct EnvFile {
    pub(super) name: String,
    pub(super) variables: BTreeMap<String, String>,
    skipped: Vec<String>,
}

impl std::fmt::Debug for EnvFile {
    /// Without values, some of which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.variables.keys().collect();
        f.debug_struct("EnvFile")
            .field("name", &self.name)
            .field("variables", &names)
            .finish_non_exhaustive()
    }
}

impl EnvFile {
    /// A file that the operator names.
    ///
    /// # Errors
    /// That it cannot be read, or a line that is no variable.
    pub fn named(path: &Path) -> Result<Self, ConfigError> {
        let name = path.to_string_lossy().into_owned();
        let refused = |line, message: String, remedy: &str| {
            let source = Source::File {
                name: name.clone(),
                line,
            };
            ConfigError::from(ConfigProblem::of_name("--env-file", source, message, remedy))
        };
        let text = read_limited(path).map_err(|reason| {
            refused(
                None,
                format!("the file cannot be read: {reason}"),
                "name a readable file of variables, or leave --env-file out",
            )
        })?;
        let text = zeroize::Zeroizing::new(text);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut variables = BTreeMap::new();
        for pair in dotenvy::from_read_iter(text.as_bytes()) {
            let (variable, value) = pair.map_err(|error| {
                // The error itself quotes the line, which may hold a secret.
                let line = match &error {
                    dotenvy::Error::LineParse(quoted, _) => text
                        .lines()
                        .position(|line| quoted.lines().next().is_some_and(|first| line.contains(first))),
                    _ => None,
                };
                refused(
                    line.map(|line| line + 1),
                    "this is no line of a file of variables".to_owned(),
                    "write NAME=value; put a value with spaces, quotes or a # into single quotes",
                )
            })?;
            variables.insert(variable, value);
        }
        Ok(Self {
            name,
            variables,
            skipped: Vec::new(),
        })
    }

    /// The file `.env` of a developer's working directory, if there is one. What says where data is, is not taken from it.
    ///
    /// # Errors
    /// As [`named`](Self::named).
    pub fn of_directory(directory: &Path) -> Result<Option<Self>, ConfigError> {
        let path = directory.join(".env");
        if !path.is_file() {
            return Ok(None);
        }
        let mut file = Self::named(&path)?;
        ".env".clone_into(&mut file.name);
        let is_skipped = |variable: &String| {
            let stem = strip_file_suffix(variable).unwrap_or(variable);
            key_of_name(stem).is_some_and(|key| ONLY_IF_NAMED.contains(&key.as_str()))
        };
        file.skipped = file
            .variables
            .keys()
            .filter(|name| is_skipped(name))
            .cloned()
            .collect();
        file.variables.retain(|name, _| !is_skipped(name));
        Ok(Some(file))
    }

    /// One sentence on what was read, for the log; names of variables, no values. `used` are the variables that settings came from.
    pub(super) fn report(&self, used: &[String]) -> String {
        let names = |names: &[String]| {
            let names: Vec<_> = names.iter().map(|name| shown(name)).collect();
            names.join(", ")
        };
        let mut text = match used {
            [] => format!("{} sets nothing that counts here", shown(&self.name)),
            used => format!("{} sets {}", shown(&self.name), names(used)),
        };
        if !self.skipped.is_empty() {
            let skipped = names(&self.skipped);
            text.push_str(&format!(
                "; {skipped} in it is ignored, because the file was not named: use --env-file {}",
                shown(&self.name)
            ));
        }
        text
    }
}
