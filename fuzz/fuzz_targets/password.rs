//! Passwords: any text is answered, and what was read once reads the same again.
#![no_main]

use josoor_auth::types::Password;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| {
    let (min_length, text) = input;
    let Ok(password) = Password::parse(text) else {
        return;
    };
    assert!((1..=Password::MAX_BYTES).contains(&password.as_bytes().len()));
    let composed = std::str::from_utf8(password.as_bytes()).expect("a password is UTF-8");
    let again = Password::parse(composed).expect("a password is a password");
    assert_eq!(again.as_bytes(), password.as_bytes());
    let long_enough = composed.chars().count() >= usize::from(min_length);
    if password.check_policy(usize::from(min_length)).is_ok() {
        assert!(long_enough);
    }
});
