//! The few cryptographic steps that more than one room needs, over aws-lc-rs.

use std::cell::RefCell;

use aws_lc_rs::{digest, hmac, rand};

/// `N` bytes from the system's cryptographic generator.
///
/// # Panics
/// If the operating system has no randomness to give; nothing safe could be done after that.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// 16 random bytes for what has to be distinct and is no secret, such as the name of a request. They come from the same
/// generator, which is asked for a store of them at a time; what is kept for later is not fit for a key.
///
/// # Panics
/// As [`random_bytes`].
pub fn random_name() -> [u8; 16] {
    thread_local! {
        static STORE: RefCell<([[u8; 16]; 32], usize)> = const { RefCell::new(([[0; 16]; 32], 0)) };
    }
    STORE.with_borrow_mut(|(store, left)| {
        if *left == 0 {
            rand::fill(store.as_flattened_mut()).expect("the operating system gives random bytes");
            *left = store.len();
        }
        *left -= 1;
        store[*left]
    })
}

/// HMAC-SHA-256 (RFC 2104) of one text, as other systems compute it.
pub fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref());
    out
}

/// HMAC-SHA-256 (RFC 2104) of the parts, each preceded by its length so that no two lists of parts collide.
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// SHA-512 (FIPS 180-4).
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out.copy_from_slice(digest::digest(&digest::SHA512, bytes).as_ref());
    out
}

/// A name for content that changes with it: the first 64 bits of its SHA-256, as 16 hexadecimal digits. No protection against
/// content that was made to have the same name.
pub fn content_name(bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let first = digest.first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

/// Whether two byte strings are equal, in time that depends on their lengths alone.
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left, right).is_ok()
}
