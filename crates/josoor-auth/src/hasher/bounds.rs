//! How costly a stored hash may be: one table for imports and for verification.
//!
//! A hash above a bound would take a thread more than about a second for each try to sign in, on the machines that this
//! service is meant for. It is not imported, and one that is stored already is not verified: its owner needs a reset. The
//! parameters that the operator has set for new passwords are exempt.

/// What of a hash is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// The base-2 logarithm of bcrypt's rounds.
    Bcrypt,
    /// Argon2's memory in KiB.
    Argon2Memory,
    /// Argon2's memory in KiB times its passes.
    Argon2Work,
    /// scrypt's N times r times p.
    Scrypt,
    /// PBKDF2's rounds times the blocks of its output.
    Pbkdf2,
    /// The base-2 logarithm of phpass's rounds.
    Phpass,
    /// SHA-crypt's rounds.
    ShaCrypt,
}

/// The most of each, in the order of [`Cost`], and what is said of a hash above it.
const TABLE: [(Cost, u64, &str); 7] = [
    (
        Cost::Bcrypt,
        14,
        "its bcrypt cost is above 14, the most that is computed here",
    ),
    (
        Cost::Argon2Memory,
        262_144,
        "its Argon2 memory is above 262144 KiB, the most that is computed here",
    ),
    (
        Cost::Argon2Work,
        1_048_576,
        "its Argon2 memory times passes is above 1048576 KiB, the most that is computed here",
    ),
    (
        Cost::Scrypt,
        1_048_576,
        "its scrypt parameters N times r times p are above 1048576, the most that is computed here",
    ),
    (
        Cost::Pbkdf2,
        2_000_000,
        "its PBKDF2 rounds times blocks are above 2000000, the most that is computed here",
    ),
    (
        Cost::Phpass,
        18,
        "its phpass rounds are above 2 to the power of 18, the most that is computed here",
    ),
    (
        Cost::ShaCrypt,
        1_000_000,
        "its SHA-crypt rounds are above 1000000, the most that is computed here",
    ),
];

impl Cost {
    /// Refuses a value above the bound, in words that name the parameter and the bound.
    pub(super) fn check(self, value: u64) -> Result<(), &'static str> {
        let (_, most, reason) = TABLE[self as usize];
        if value > most { Err(reason) } else { Ok(()) }
    }

    /// What is said of a hash above the bound.
    pub(super) const fn reason(self) -> &'static str {
        TABLE[self as usize].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_every_bound_is_exact_and_reported() {
        for (position, (cost, most, reason)) in TABLE.into_iter().enumerate() {
            assert_eq!(cost as usize, position);
            assert_eq!(cost.check(most), Ok(()));
            assert_eq!(cost.check(most + 1), Err(reason));
            assert_eq!(cost.reason(), reason);
            assert!(reason.contains(&most.to_string()), "{reason}");
        }
    }
}
