//! Variables that look like ours and are not: a misspelt one would be ignored without a word.

use std::collections::BTreeMap;

use super::raw::shown;
use super::source::Layers;
use super::variables::{PLATFORM_VARIABLES, PREFIX, is_secret, long_variable_of};

/// The program's name as variables begin with it, before one underscore. What Kubernetes adds for a service of that name begins so,
/// too.
const NAME: &str = "JOSOOR_AUTH_";

/// From this length on a name with one wrong letter is probably meant for ours.
const LONG_ENOUGH: usize = 8;

/// The same with two wrong letters.
const LONG: usize = 10;

/// A warning for each variable whose name is probably a mistyped one of ours. Values are not shown.
pub(super) fn misspelt(layers: &Layers, env: &BTreeMap<String, String>) -> Vec<String> {
    let known = known_names();
    let is_known = |name: &str| known.iter().any(|known| known == name);
    env.iter()
        .filter(|(name, value)| !value.is_empty() && !is_known(name) && !name.starts_with(PREFIX))
        .filter_map(|(name, value)| {
            let meant = one_underscore(layers, name, value).or_else(|| nearest_known(&known, name))?;
            // The right one is there as well, so this one belongs to another program.
            if env.get(&meant).is_some_and(|value| !value.is_empty()) {
                return None;
            }
            Some(format!(
                "the variable {} is ignored; did you mean {meant}?",
                shown(name)
            ))
        })
        .collect()
}

/// The platform's names, and those of files with secrets.
fn known_names() -> Vec<String> {
    PLATFORM_VARIABLES
        .iter()
        .flat_map(|(name, key)| {
            let file = is_secret(key).then(|| format!("{name}_FILE"));
            [Some((*name).to_owned()), file]
        })
        .flatten()
        .collect()
}

/// `JOSOOR_AUTH_SESSION_IDLE`, where the parts have to be separated by two underscores.
fn one_underscore(layers: &Layers, name: &str, value: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let rest = upper.strip_prefix(NAME)?;
    // `JOSOOR_AUTH_SERVER_PORT=tcp://10.0.0.1:8000`: the address of a service, from Kubernetes.
    if value.contains("://") && rest.ends_with("PORT") {
        return None;
    }
    let plain = |text: &str| text.replace(['_', '.'], "").to_ascii_lowercase();
    let given = plain(rest);
    layers
        .keys()
        .map(|key| {
            let (_, last) = key.split_once('.').unwrap_or(("", key));
            let whole = strsim::osa_distance(&given, &plain(key));
            let by_last = (last.len() >= LONG_ENOUGH).then(|| strsim::osa_distance(&given, &plain(last)));
            (by_last.map_or(whole, |by_last| whole.min(by_last)), key)
        })
        .min()
        .filter(|(distance, _)| *distance <= 1)
        .map(|(_, key)| long_variable_of(key))
}

/// `JWT_SECERT`, `CORS_ORIGIN`, `jwt_secret`.
fn nearest_known(known: &[String], name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    known
        .iter()
        .filter(|known| known.len() >= LONG_ENOUGH)
        .map(|known| (strsim::osa_distance(&upper, known), known))
        .min()
        .filter(|(distance, known)| *distance <= if known.len() >= LONG { 2 } else { 1 })
        .map(|(_, known)| known.clone())
}
