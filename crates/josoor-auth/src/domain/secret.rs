//! Text that must not be shown.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret text: wiped when dropped, never printed, never compared. [`expose`](Self::expose) says in the code
/// where it is used.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
