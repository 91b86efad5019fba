//! Every width computes what the `bcrypt` crate computes, and what is published.

use bcrypt_interleaved::{Digest, Salt, all, digests};
use proptest::prelude::*;

/// What the `bcrypt` crate gives for the bytes that bcrypt looks at.
fn expected(cost: u32, password: &[u8], salt: Salt) -> Digest {
    let mut key = password.to_vec();
    key.push(0);
    key.truncate(72);
    let full = bcrypt::bcrypt(cost, salt, &key);
    *full.first_chunk().expect("24 bytes")
}

/// Computes all inputs `N` at a time and compares each.
fn compare<const N: usize>(cost: u32, inputs: &[(Vec<u8>, Salt)]) {
    for chunk in inputs.chunks(N) {
        // The last chunk may be short; its first input fills the lanes that are left.
        let lanes: [(&[u8], Salt); N] = std::array::from_fn(|i| {
            let (password, salt) = chunk.get(i).unwrap_or(&chunk[0]);
            (password.as_slice(), *salt)
        });
        for ((password, salt), digest) in lanes.iter().zip(digests(cost, lanes)) {
            assert_eq!(
                digest,
                expected(cost, password, *salt),
                "width {N}, cost {cost}, {password:?}, {salt:?}"
            );
        }
    }
}

fn compare_all_widths(cost: u32, inputs: &[(Vec<u8>, Salt)]) {
    compare::<1>(cost, inputs);
    compare::<2>(cost, inputs);
    compare::<3>(cost, inputs);
    compare::<4>(cost, inputs);
    compare::<5>(cost, inputs);
    compare::<8>(cost, inputs);
    for count in 0..inputs.len().min(9) {
        let some: Vec<(&[u8], Salt)> = inputs[..count]
            .iter()
            .map(|(password, salt)| (password.as_slice(), *salt))
            .collect();
        let expected: Vec<Digest> = some
            .iter()
            .map(|(password, salt)| expected(cost, password, *salt))
            .collect();
        assert_eq!(all(cost, &some), expected);
    }
}

fn numbered(count: usize, length: impl Fn(usize) -> usize) -> Vec<(Vec<u8>, Salt)> {
    (0..count)
        .map(|i| {
            let byte = |j: usize| u8::try_from((i * 37 + j * 101 + 7) % 256).expect("a byte");
            let password = (0..length(i)).map(byte).collect();
            (password, std::array::from_fn(|j| byte(j + 1000)))
        })
        .collect()
}

#[test]
fn every_length() {
    compare_all_widths(4, &numbered(81, |i| i));
}

#[test]
fn every_cost() {
    for cost in 4..=12 {
        compare_all_widths(cost, &numbered(1, |_| 12));
        compare::<4>(cost, &numbered(4, |i| 10 + 20 * i));
    }
}

#[test]
fn what_comes_after_the_72nd_byte_does_not_count() {
    let salt = [7; 16];
    let (short, long) = ([b'x'; 72], [b'x'; 200]);
    let [one, other] = digests(4, [(short.as_slice(), salt), (long.as_slice(), salt)]);
    assert_eq!(one, other);
    let [shorter] = digests(4, [(&short[..71], salt)]);
    assert_ne!(one, shorter);
}

#[test]
fn published_vectors() {
    // From the tests of the original implementation (OpenBSD, jBCrypt): password, whole hash.
    for (password, hash) in [
        ("", "$2a$08$HqWuK6/Ng6sg9gQzbLrgb.Tl.ZHfXLhvt/SgVyWhQqgqcZ7ZuUtye"),
        (
            "a",
            "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
        ),
        (
            "abc",
            "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i",
        ),
        (
            "abcdefghijklmnopqrstuvwxyz",
            "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC",
        ),
        (
            "~!@#$%^&*()      ~!@#$%^&*()PNBFRD",
            "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO",
        ),
        (
            "U*U",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        ),
    ] {
        let cost = hash[4..6].parse().expect("a cost");
        let salt: Salt = decode(&hash[7..29]).try_into().expect("a salt");
        let [digest] = digests(cost, [(password.as_bytes(), salt)]);
        assert_eq!(digest.as_slice(), decode(&hash[29..]), "{password:?}");
    }
}

/// bcrypt's own base64.
fn decode(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let (mut bits, mut have, mut bytes) = (0_u32, 0, Vec::new());
    for character in text.chars() {
        let six = ALPHABET.find(character).expect("bcrypt's alphabet");
        bits = (bits << 6) | u32::try_from(six).expect("six bits");
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push(u8::try_from((bits >> have) & 0xff).expect("a byte"));
        }
    }
    bytes
}

#[test]
#[should_panic(expected = "bcrypt's cost is 4 to 31, not 3")]
fn costs_that_bcrypt_does_not_have() {
    let _ = digests(3, [(b"x".as_slice(), [0; 16])]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_input(
        inputs in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..100), any::<Salt>()), 1..9)
    ) {
        compare_all_widths(4, &inputs);
    }
}
