//! Where a value comes from, and what is wrong with it.

use std::fmt;
use std::path::PathBuf;

use super::raw::shown;
use super::variables::variable_of;

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
    /// A variable in a file of variables.
    EnvFile {
        /// The variable.
        variable: String,
        /// The file.
        file: String,
    },
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
            Self::EnvFile { .. } => 2,
            Self::Variable(_) | Self::SecretFile { .. } => 3,
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
            Self::EnvFile { variable, file } => write!(f, "{} in {}", shown(variable), shown(file)),
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
    pub(super) fn of_name(
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
            (Source::Variable(_) | Source::EnvFile { .. } | Source::SecretFile { .. }, _) => {
                places.push(self.source.to_string());
            }
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

impl From<ConfigProblem> for ConfigError {
    fn from(problem: ConfigProblem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}
