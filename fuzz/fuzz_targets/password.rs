//! Passwords: any text is answered, and what was read once reads the same again.
#![no_main]

use josoor_auth::config::Config;
use josoor_auth::domain::Password;
use josoor_auth::passwords::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| {
    let (min_length, text) = input;
    let min_length = usize::from(min_length % 128) + 1;
    let Ok(password) = Password::parse(text) else {
        return;
    };
    assert!((1..=Password::MAX_BYTES).contains(&password.as_bytes().len()));
    let composed = std::str::from_utf8(password.as_bytes()).expect("a password is UTF-8");
    let again = Password::parse(composed).expect("a password is a password");
    assert_eq!(again.as_bytes(), password.as_bytes());
    let variable = "JOSOOR_AUTH__PASSWORD__MIN_LENGTH".to_owned();
    let environment = [(variable, min_length.to_string())].into_iter().collect();
    let config = Config::parse(None, &environment).expect("a configuration");
    let policy = Policy::open(&config).expect("a policy");
    if policy.check_alone(&password).is_ok() {
        assert!(composed.chars().count() >= min_length);
    }
});
