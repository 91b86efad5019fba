//! The environment of the process.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::problem::{ConfigError, ConfigProblem, Source};
use super::variables::{key_of_name, strip_file_suffix};

/// The variables that are text, as [`Config::load`](super::Config::load) takes them. Those of other programs may be anything.
///
/// # Errors
/// One problem for each variable that is named for a setting and whose value is not UTF-8.
pub fn text_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut environment = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else {
            continue;
        };
        let is_ours = [Some(name.as_str()), strip_file_suffix(&name)]
            .into_iter()
            .flatten()
            .any(|name| key_of_name(name).is_some());
        match value.into_string() {
            Ok(value) => {
                environment.insert(name, value);
            }
            Err(_) if is_ours => problems.push(ConfigProblem::of_name(
                name.clone(),
                Source::Variable(name),
                "the value is not UTF-8",
                "write it as text; bytes at random are handed over in base64",
            )),
            Err(_) => {}
        }
    }
    if problems.is_empty() {
        Ok(environment)
    } else {
        Err(ConfigError { problems })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_setting_that_is_no_text_is_a_problem_and_of_another_program_nothing() {
        let bytes = || OsString::from_vec(b"hidden\xff".to_vec());
        for name in ["JWT_SECRET", "MASTER_KEY_FILE", "JOSOOR_AUTH__SESSION__IDLE"] {
            let error = text_variables([(name.into(), bytes())])
                .expect_err(name)
                .to_string();
            assert!(
                error.starts_with(&format!("{name}: the value is not UTF-8")),
                "{error}"
            );
            assert!(!error.contains("hidden"), "{error}");
        }
        let read = text_variables([("LS_COLORS".into(), bytes()), ("PORT".into(), "1".into())]);
        let read = read.expect("variables");
        assert_eq!(
            read.into_iter().collect::<Vec<_>>(),
            [("PORT".to_owned(), "1".to_owned())]
        );
    }
}
