//! Files of users and password hashes of other programs: any bytes are read to their end, and what is taken can be verified.
#![no_main]

use std::collections::HashMap;

use josoor_auth::domain::{PasswordHash, Timestamp};
use josoor_auth::import_export::{FirebaseConfig, Format, Preset, Reading, other_kind};
use libfuzzer_sys::fuzz_target;
use tokio::sync::mpsc;

const PRESETS: [Preset; 6] = [
    Preset::Native,
    Preset::Document,
    Preset::Supabase,
    Preset::Keycloak,
    Preset::Auth0,
    Preset::Firebase,
];
const FORMATS: [Format; 3] = [Format::Csv, Format::Ndjson, Format::Json];

fuzz_target!(|bytes: &[u8]| {
    let Some(([choice], bytes)) = bytes.split_first_chunk() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    if let Ok(Some(hash)) = PasswordHash::import(&text) {
        let again = PasswordHash::import(hash.as_str()).expect("what was taken is taken again");
        assert_eq!(again.expect("a hash").as_str(), hash.as_str());
    }
    let firebase = FirebaseConfig::parse(&text).ok();
    let _ = other_kind(bytes, "users");
    let choice = usize::from(*choice);
    let reading = Reading {
        preset: PRESETS[choice % PRESETS.len()],
        format: FORMATS[choice / PRESETS.len() % FORMATS.len()],
        without_password: choice % 2 == 0,
        roles: HashMap::new(),
        firebase,
        now: Timestamp::from_micros(1_700_000_000_000_000),
    };
    // Each record has a byte at least.
    let (sender, mut receiver) = mpsc::channel(bytes.len() + 2);
    reading.read_into(bytes, &sender);
    drop(sender);
    while receiver.blocking_recv().is_some() {}
});
