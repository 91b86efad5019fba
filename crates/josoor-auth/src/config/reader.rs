//! Reads values out of the layers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::problem::{ConfigProblem, Source};
use super::raw::{Parsed, Raw};
use super::source::Layers;
use super::{values, variables};

/// Reads values out of the layers and remembers what was wrong with them, so that one run finds everything.
pub(super) struct Reader<'a> {
    pub(super) layers: &'a Layers,
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) warnings: Vec<String>,
    pub(super) env_file_report: Option<String>,
    pub(super) keys_read: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers, problems: Vec<ConfigProblem>) -> Self {
        Self {
            layers,
            problems,
            warnings: Vec::new(),
            env_file_report: None,
            keys_read: BTreeSet::new(),
        }
    }

    /// The value of a key, or a problem and nothing.
    pub(super) fn read<T>(&mut self, key: &'static str, parse: impl FnOnce(&Raw) -> Parsed<T>) -> Option<T> {
        self.keys_read.insert(key);
        if self.has_problem(key) {
            return None;
        }
        let Some(given) = self.layers.get(key) else {
            // Only if `config.default.toml` lacked a key, which a test rules out.
            self.problem(key, "this key has no default", "set it");
            return None;
        };
        match parse(&given.raw) {
            Ok(value) => Some(value),
            Err(refused) => {
                self.problem(key, refused.message, refused.remedy);
                None
            }
        }
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        self.read(key, |raw| values::duration(raw, least..=most))
    }

    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let problem = ConfigProblem::of_key(key, self.source(key), message, remedy);
        self.problems.push(problem);
    }

    pub(super) fn has_problem(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    pub(super) fn warn(&mut self, key: &str, text: &str) {
        self.warnings
            .push(format!("{key} ({}): {text}", variables::variable_of(key)));
    }

    pub(super) fn source(&self, key: &str) -> Source {
        self.layers
            .get(key)
            .map_or(Source::Default, |given| given.source.clone())
    }

    pub(super) fn is_given(&self, key: &str) -> bool {
        self.layers.get(key).is_some_and(|given| !given.raw.is_unset())
    }
}
