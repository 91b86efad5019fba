//! bcrypt (Provos and Mazières, 1999) for several passwords at once in one thread.
//!
//! A round of Blowfish is a chain of lookups, each of which waits for the one before, so a single computation leaves a
//! core idle most of the time. This crate computes `N` of them in step: while one waits for its table, the others go on.
//! On current x86-64 and ARM cores two take about the time of one, and four about 1.3 times as long.
//!
//! Every lane computes the same function as any other bcrypt of version `2b`; how many are computed together changes
//! nothing but the time. The time does not depend on the passwords, but as with every table-driven Blowfish the order in
//! which memory is read does.
//!
//! ```
//! let salt = *b"0123456789abcdef";
//! let [one, other] = bcrypt_interleaved::digests(4, [(b"one".as_slice(), salt), (b"other".as_slice(), salt)]);
//! assert_eq!(bcrypt_interleaved::digests(4, [(b"one".as_slice(), salt)]), [one]);
//! assert_ne!(one, other);
//! ```

mod pi;

use zeroize::Zeroize;

/// The lowest cost that bcrypt is defined for.
pub const MIN_COST: u32 = 4;
/// The highest cost that bcrypt is defined for.
pub const MAX_COST: u32 = 31;
/// How many bytes of a password bcrypt reads, the zero byte that ends each included.
pub const MAX_KEY: usize = 72;

/// Bytes of a salt.
pub type Salt = [u8; 16];
/// The 23 bytes that the text form of bcrypt keeps of its 24.
pub type Digest = [u8; 23];

/// What bcrypt encrypts in the end: "OrpheanBeholderScryDoubt".
const TEXT: [u32; 6] = [
    0x4f72_7068,
    0x6561_6e42,
    0x6568_6f6c,
    0x6465_7253,
    0x6372_7944,
    0x6f75_6274,
];

/// The digests of `N` passwords under their salts, in the order given, after 2^`cost` rounds.
///
/// A password ends at its 72nd byte; the zero byte that bcrypt puts behind it counts as one of them. Zero bytes within a
/// password are bytes like any other.
///
/// # Panics
/// If `cost` is not within [`MIN_COST`] and [`MAX_COST`].
#[must_use]
pub fn digests<const N: usize>(cost: u32, inputs: [(&[u8], Salt); N]) -> [Digest; N] {
    assert!(
        (MIN_COST..=MAX_COST).contains(&cost),
        "bcrypt's cost is {MIN_COST} to {MAX_COST}, not {cost}"
    );
    // Made empty and filled where it stays, so that no copy of it is left on the stack.
    let mut lanes = Box::new([const { Lane::EMPTY }; N]);
    for (lane, (password, salt)) in lanes.iter_mut().zip(&inputs) {
        lane.begin(password, salt);
    }
    expand_with_salt(&mut lanes);
    for _ in 0..1_u64 << cost {
        for lane in lanes.iter_mut() {
            for (subkey, word) in lane.p.iter_mut().zip(lane.key) {
                *subkey ^= word;
            }
        }
        expand(&mut lanes);
        for lane in lanes.iter_mut() {
            for (subkey, word) in lane.p.iter_mut().zip(lane.salt.iter().cycle()) {
                *subkey ^= word;
            }
        }
        expand(&mut lanes);
    }
    finish(&lanes)
}

/// The most that [`all`] computes at once. Four take about 1.3 times as long as one and so give three times as many; more
/// gain little and make all jobs wait longer.
pub const LANES: usize = 4;

/// The digests of any number of passwords, [`LANES`] at a time, in the order given. See [`digests`].
///
/// # Panics
/// As [`digests`].
#[must_use]
pub fn all(cost: u32, inputs: &[(&[u8], Salt)]) -> Vec<Digest> {
    let (fours, rest) = inputs.as_chunks::<LANES>();
    let mut all: Vec<Digest> = fours.iter().flat_map(|four| digests(cost, *four)).collect();
    match *rest {
        [one, two, three] => all.extend(digests(cost, [one, two, three])),
        [one, two] => all.extend(digests(cost, [one, two])),
        [one] => all.extend(digests(cost, [one])),
        _ => {}
    }
    all
}

/// One computation: Blowfish's tables as they are now, and what they are changed with.
#[repr(align(64))]
struct Lane {
    s: [u32; 1024],
    p: [u32; 18],
    key: [u32; 18],
    salt: [u32; 4],
}

impl Lane {
    const EMPTY: Self = Self {
        s: [0; 1024],
        p: [0; 18],
        key: [0; 18],
        salt: [0; 4],
    };

    /// The state before the first expansion.
    fn begin(&mut self, password: &[u8], salt: &Salt) {
        self.s = pi::S;
        self.p = pi::P;
        for (word, bytes) in self.salt.iter_mut().zip(salt.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        }
        // The password and its zero byte, over and over.
        let shown = &password[..password.len().min(MAX_KEY)];
        let mut bytes = shown
            .iter()
            .copied()
            .chain((shown.len() < MAX_KEY).then_some(0))
            .cycle();
        for (word, subkey) in self.key.iter_mut().zip(&mut self.p) {
            *word = bytes
                .by_ref()
                .take(4)
                .fold(0, |word, byte| (word << 8) | u32::from(byte));
            *subkey ^= *word;
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.s.zeroize();
        self.p.zeroize();
        self.key.zeroize();
        self.salt.zeroize();
    }
}

/// Encrypts one block in each lane, in step.
#[expect(clippy::inline_always, reason = "only inlined do the lanes overlap")]
#[inline(always)]
fn encrypt<const N: usize>(lanes: &[Lane; N], left: &mut [u32; N], right: &mut [u32; N]) {
    for i in 0..N {
        left[i] ^= lanes[i].p[0];
    }
    for k in 0..8 {
        round(lanes, 2 * k + 1, left, right);
        round(lanes, 2 * k + 2, right, left);
    }
    for i in 0..N {
        (left[i], right[i]) = (right[i] ^ lanes[i].p[17], left[i]);
    }
}

#[expect(clippy::inline_always, reason = "only inlined do the lanes overlap")]
#[inline(always)]
fn round<const N: usize>(lanes: &[Lane; N], k: usize, from: &[u32; N], to: &mut [u32; N]) {
    for i in 0..N {
        let s = &lanes[i].s;
        let x = from[i].to_be_bytes().map(usize::from);
        let mixed = (s[x[0]].wrapping_add(s[0x100 + x[1]]) ^ s[0x200 + x[2]]).wrapping_add(s[0x300 + x[3]]);
        to[i] ^= lanes[i].p[k] ^ mixed;
    }
}

/// Replaces the tables of each lane by what a block gives that is encrypted again and again.
#[inline(never)]
fn expand<const N: usize>(lanes: &mut [Lane; N]) {
    let (mut left, mut right) = ([0; N], [0; N]);
    for j in 0..9 {
        encrypt(lanes, &mut left, &mut right);
        for i in 0..N {
            [lanes[i].p[2 * j], lanes[i].p[2 * j + 1]] = [left[i], right[i]];
        }
    }
    for j in 0..512 {
        encrypt(lanes, &mut left, &mut right);
        for i in 0..N {
            [lanes[i].s[2 * j], lanes[i].s[2 * j + 1]] = [left[i], right[i]];
        }
    }
}

/// The first expansion, in which the halves of the salt take turns.
fn expand_with_salt<const N: usize>(lanes: &mut [Lane; N]) {
    let (mut left, mut right) = ([0; N], [0; N]);
    for j in 0..9 + 512 {
        for i in 0..N {
            left[i] ^= lanes[i].salt[2 * (j % 2)];
            right[i] ^= lanes[i].salt[2 * (j % 2) + 1];
        }
        encrypt(lanes, &mut left, &mut right);
        for i in 0..N {
            let pair = [left[i], right[i]];
            if j < 9 {
                [lanes[i].p[2 * j], lanes[i].p[2 * j + 1]] = pair;
            } else {
                [lanes[i].s[2 * (j - 9)], lanes[i].s[2 * (j - 9) + 1]] = pair;
            }
        }
    }
}

/// Encrypts the text sixty-four times under the tables that came out.
fn finish<const N: usize>(lanes: &[Lane; N]) -> [Digest; N] {
    let mut digests = [[0; 23]; N];
    for (block, words) in TEXT.chunks_exact(2).enumerate() {
        let (mut left, mut right) = ([words[0]; N], [words[1]; N]);
        for _ in 0..64 {
            encrypt(lanes, &mut left, &mut right);
        }
        for i in 0..N {
            let bytes = left[i].to_be_bytes().into_iter().chain(right[i].to_be_bytes());
            for (place, byte) in digests[i][8 * block..].iter_mut().zip(bytes) {
                *place = byte;
            }
        }
    }
    digests
}
