//! Hashes of other programs: what is verified, and what is refused.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::super::bcrypt::Ready;
use super::super::stored::Stored;
use super::super::tests::{DEFAULT_ARGON2ID, DEFAULT_BCRYPT};
use super::*;
use crate::domain::PasswordHash;

fn verifies(hash: &PasswordHash, password: &str) -> bool {
    let stored = Stored::parse(hash.as_str(), None).unwrap_or_else(|reason| panic!("{reason}"));
    assert!(
        !stored
            .matches(b"another password", &mut Ready::default())
            .expect("computed")
    );
    stored
        .matches(password.as_bytes(), &mut Ready::default())
        .expect("computed")
}

#[test]
fn hashes_of_other_programs_verify() {
    for (text, password) in [
        (
            "$pbkdf2$1000$c2l4dGVlbiBieXRlcyAhIQ$Hn7A.NpbFzwg125JnafoXde3xlI",
            "correct horse \u{628}",
        ),
        (
            "$pbkdf2-sha256$1000$//79c2l4dGVlbg$4PmtSoxc4ZG12XTQNwOcmnOKmerCQzEj4AxdSAAPAwY",
            "correct horse \u{628}",
        ),
        (
            "$pbkdf2-sha512$1000$c2l4dGVlbiBieXRlcyAhIQ$l/fJGeafMR147x/j/mtT.X9ZCieeBdTlHI0.J8xjfM5eU8ljuyEiN00DmzDmeIwTNKTA8yUyN/3A0DWqxD0XHQ",
            "correct horse \u{628}",
        ),
        (
            "$scrypt$ln=10,r=8,p=2$c29tZSBzYWx0$DjVKFsdNs2/gkKxlARTn37OUDQkunDwx7DjAaf7Njr8",
            "correct horse \u{628}",
        ),
        (
            "$pbkdf2-sha256$i=2000,l=32$cGhjIHNhbHQ$7w1Au/VQnn5bes+dVo0OkZGzF2yHiOX48chvrv3gNyA",
            "correct horse \u{628}",
        ),
        (
            "$pbkdf2$i=27500$a2V5Y2xvYWs$z4iqWpsFVYK1qW2bl59XdKjbZHOxwTYKnczGCkWaPBKuK+2MmTW/Ol8/ldO/gC+foY51Sh6yi6VW29w9llyLkw",
            "correct horse \u{628}",
        ),
        (
            "pbkdf2_sha256$3000$textsalt$mPrwZwDvdmtwONtPPhMT8RDBJ6tmDtSCRLOeRfckflg=",
            "correct horse \u{628}",
        ),
        (
            "$bcrypt-sha256$v=2,t=2b,r=4$wCOEezUp818qRzQ5zKrAJe$NMbEOApGnyZxAsZOfiD8.7TkfcKoBTq",
            "correct horse \u{628}",
        ),
        (
            "$2a$04$TD9NVEK8uEWQg8X8.i6nkuqnJ9holO/1fxxTcXgTKga1q3LKbrwxW",
            "correct horse \u{628}",
        ),
        (
            "$2y$04$alG4oA7rINHVUCzHUOeYFe55hcT6y3m.RvVankEcGCfc29MRyMXVS",
            "correct horse \u{628}",
        ),
        (
            "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$gyf6zs9xB1D8ppWEzSVVrqGakbvpBN7a7wCUThMpXmQ",
            "correct horse \u{628}",
        ),
        (
            "$argon2i$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$4HJytgN+3W+XJ3qjhbV7xJ+XZpHlavUL0CVobRm1wY4",
            "correct horse \u{628}",
        ),
        (
            "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$vC54CNRc08JvrpF90HxhIcdLkCuM38VDz6/Mr8X2yRI",
            "correct horse \u{628}",
        ),
        (
            "$argon2d$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$d6ewdz06epUIpryN+wVMZwdfDxLCzc21RdyWqH63f3E",
            "correct horse \u{628}",
        ),
        (
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$ZVtMy3Rzpwfb82zPz/7v1suTvLj6wI1L5qiWAKpVSJM",
            "correct horse \u{628}",
        ),
        (
            "$argon2id$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$bc9+LK1sOShww5TwbmRFyPEc1wGmwO2HO0nK5mgv4W0",
            "correct horse \u{628}",
        ),
    ] {
        assert!(verifies(&imported(text), password), "{text}");
    }
}

fn imported(text: &str) -> PasswordHash {
    PasswordHash::import(text)
        .unwrap_or_else(|reason| panic!("{text}: {reason}"))
        .unwrap_or_else(|| panic!("{text} is no hash"))
}

#[derive(serde::Deserialize)]
struct Vector {
    tool: String,
    form: String,
    hash: String,
    password: String,
}

/// Made by the programs themselves: see make_hashes.py beside them.
fn vectors() -> Vec<Vector> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/fixtures/moving/hashes.ndjson"
    );
    std::fs::read_to_string(file)
        .expect("the vectors")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a vector"))
        .collect()
}

#[test]
fn d14_hashes_that_other_programs_made_verify_and_are_replaced() {
    for Vector {
        tool,
        form,
        hash,
        password,
    } in vectors()
    {
        for text in [hash.clone(), format!(" {hash}\u{a0}\r")] {
            let hash = imported(&text);
            assert!(verifies(&hash, &password), "{tool} {form}");
            let stored = Stored::parse(hash.as_str(), None).expect("read");
            for scheme in [DEFAULT_BCRYPT, DEFAULT_ARGON2ID] {
                assert!(stored.is_outdated(scheme, password.as_bytes()), "{tool} {form}");
            }
            // What is written out is read again.
            assert_eq!(imported(hash.as_str()).as_str(), hash.as_str(), "{tool} {form}");
        }
    }
}

#[test]
fn d14_labels_and_spellings_change_nothing() {
    let bcrypt = "$2y$04$alG4oA7rINHVUCzHUOeYFe55hcT6y3m.RvVankEcGCfc29MRyMXVS";
    for label in ["{bcrypt}", "{BCRYPT}", "{crypt}", "{BLF-CRYPT}", "bcrypt$"] {
        assert_eq!(imported(&format!("{label}{bcrypt}")).as_str(), bcrypt);
    }
    // Ory Kratos writes N where others write its logarithm.
    assert_eq!(
        imported("$scrypt$ln=16384,r=8,p=1$c29tZSBzYWx0$DjVKFsdNs2/gkKxlARTn37OUDQkunDwx7DjAaf7Njr8")
            .as_str(),
        "$scrypt$ln=14,r=8,p=1$c29tZSBzYWx0$DjVKFsdNs2/gkKxlARTn37OUDQkunDwx7DjAaf7Njr8"
    );
    for mark in [
        "!",
        "!Vk7GBhjkcefGenCH2TrWES8rQh6GFyUzTPjFwCv4",
        " ! ",
        "*",
        "!$6$salt$x",
    ] {
        assert!(PasswordHash::import(mark).expect("a mark").is_none(), "{mark}");
    }
    for fast in [
        "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{MD5}X03MO1qnZdYdgyfeuILPmQ==",
        "md5$salt$2fc3f9b7a4b2d3cbb6a6d6a1f1a6b0d8",
        "sha1$salt$5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
    ] {
        let reason = PasswordHash::import(fast).expect_err(fast);
        assert!(reason.contains("too fast"), "{fast}: {reason}");
        assert!(PasswordHash::is_about_form(reason));
    }
}

#[test]
fn firebase_verifies_without_the_signer_key() {
    // The example of Firebase's own scrypt utility.
    let decode = |text: &str| {
        STANDARD
            .decode(text)
            .or_else(|_| URL_SAFE.decode(text))
            .expect("base64")
    };
    let signer =
        decode("jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==");
    let hash =
        decode("lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==");
    let stored = PasswordHash::firebase(
        14,
        8,
        &decode("42xEC+ixf3L2lw=="),
        &decode("Bw=="),
        &signer,
        &hash,
    )
    .expect("a hash");
    assert!(verifies(&stored, "user1password"));
    assert!(!stored.as_str().contains("jxspr8Ki0RYycVU8"));
    assert!(PasswordHash::firebase(14, 8, b"salt", b"", &signer, &hash[1..]).is_err());
    assert!(PasswordHash::firebase(25, 8, b"salt", b"", &signer, &hash).is_err());
}

#[test]
fn c11_costs_of_more_than_about_a_second_are_refused_with_parameter_and_bound() {
    let salt = "c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
    let bcrypt = "abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
    for (text, bound) in [
        (format!("$2b$14${bcrypt}"), None),
        (format!("$2b$15${bcrypt}"), Some("bcrypt cost is above 14")),
        (format!("$2b$16${bcrypt}"), Some("bcrypt cost is above 14")),
        (format!("$pbkdf2-sha512$2000000${salt}"), None),
        (format!("$pbkdf2-sha512$9900000${salt}"), Some("above 2000000")),
        (format!("$pbkdf2-sha256$i=2000001${salt}"), Some("above 2000000")),
        (format!("pbkdf2_sha256$2000001${salt}"), Some("above 2000000")),
        (
            format!("pbkdf2:sha256:2000001$salt${}", "00".repeat(32)),
            Some("above 2000000"),
        ),
        ("$P$GQDAodJM0Xd0erTAspg8NuGWIFT7e91".to_owned(), None),
        (
            "$P$HQDAodJM0Xd0erTAspg8NuGWIFT7e91".to_owned(),
            Some("power of 18"),
        ),
        (format!("$5$rounds=1000000$salt${}", "a".repeat(43)), None),
        (
            format!("$5$rounds=1000001$salt${}", "a".repeat(43)),
            Some("above 1000000"),
        ),
        (
            format!("$6$rounds=999999999$salt${}", "a".repeat(86)),
            Some("above 1000000"),
        ),
        (
            format!("scrypt:1048576:8:1$salt${}", "00".repeat(32)),
            Some("above 1048576"),
        ),
        (
            format!("scrypt$1048576$salt$8$1${}", "A".repeat(43)),
            Some("above 1048576"),
        ),
        (
            format!("$scrypt$ln=1048576,r=8,p=1${salt}"),
            Some("above 1048576"),
        ),
        (format!("$wp$2y$15${bcrypt}"), Some("bcrypt cost is above 14")),
        (
            format!("bcrypt_sha256$$2b$15${bcrypt}"),
            Some("bcrypt cost is above 14"),
        ),
        (format!("$scrypt$ln=17,r=8,p=1${salt}"), None),
        (format!("$scrypt$ln=17,r=8,p=2${salt}"), Some("above 1048576")),
        (format!("$scrypt$ln=20,r=8,p=1${salt}"), Some("above 1048576")),
        (format!("$argon2id$v=19$m=262144,t=4,p=1${salt}"), None),
        (
            format!("$argon2id$v=19$m=262145,t=1,p=1${salt}"),
            Some("above 262144 KiB"),
        ),
        (
            format!("$argon2i$v=19$m=262144,t=5,p=1${salt}"),
            Some("above 1048576 KiB"),
        ),
        (
            format!("$argon2d$v=16$m=65536,t=17,p=1${salt}"),
            Some("above 1048576 KiB"),
        ),
    ] {
        match (PasswordHash::import(&text), bound) {
            (Ok(Some(_)), None) => {}
            (Err(reason), Some(bound)) => assert!(reason.contains(bound), "{text}: {reason}"),
            (other, bound) => panic!("{text}: {:?}, {bound:?}", other.map(drop)),
        }
    }
}

#[test]
fn t21_what_is_damaged_dear_or_unknown_is_refused_with_a_reason() {
    for text in [
        "",
        "$",
        "plain",
        "$2x$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$17$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$1$abc$def",
        "$scrypt$ln=14,r=8,p=1$c2FsdA",
        "$scrypt$ln=14,r=8$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=25,r=8,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=20,r=4294967295,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=1$c2FsdA$AAAA",
        "$scrypt$ln=14,r=8,p=1$!$AAAAAAAAAAAAAAAAAAAAAA",
        "$pbkdf2-sha256$0$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "$pbkdf2-sha256$99999999$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "$pbkdf2-sha256$-1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "$pbkdf2-md5$1000$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2i$v=19$m=4294967295,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2i$v=17$m=64,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$firebase-scrypt$v=2,ln=14,r=8,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "pbkdf2_sha256$260000$salt",
        "\u{e4}$2b$",
    ] {
        let reason = PasswordHash::import(text).expect_err(text);
        assert!(
            !reason.is_empty() && !reason.contains("c2FsdA"),
            "{text}: {reason}"
        );
    }
}
