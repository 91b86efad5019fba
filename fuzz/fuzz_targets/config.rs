//! The configuration: any TOML text with any variables is read or refused with at least one problem.
#![no_main]

use std::collections::BTreeMap;

use josoor_auth::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Lines of NAME=value, an empty line, then the file.
    let (variables, file) = text.split_once("\n\n").unwrap_or(("", text));
    let variables: BTreeMap<String, String> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        // Those name files to read, which a fuzzer should not choose.
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match Config::parse(Some(("fuzz.toml", file)), &variables) {
        Ok(config) => {
            let _ = config.sources();
        }
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
});
