//! Addresses and names: any text is answered, and what was read once reads the same again.
#![no_main]

use josoor_auth::domain::{Email, FullName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(email) = Email::parse(text) {
        assert_eq!(email.address(), text.trim());
        assert!(email.address().len() <= Email::MAX_BYTES);
        let again = Email::parse(email.key()).expect("a key is an address");
        assert_eq!(again.key(), email.key(), "a key is its own key");
        assert_eq!(email.key().matches('@').count(), 1);
        assert!(
            !email
                .key()
                .contains(|c: char| c.is_whitespace() || c.is_control())
        );
        let shouted = Email::parse(&email.address().to_ascii_uppercase()).expect("cases do not matter");
        assert_eq!(shouted, email);
    }
    if let Ok(Some(name)) = FullName::parse(text) {
        assert_eq!(FullName::parse(name.as_str()), Ok(Some(name.clone())));
    }
});
