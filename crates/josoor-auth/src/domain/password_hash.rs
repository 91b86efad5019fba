use std::fmt;

/// A stored password hash: modular-crypt or PHC text. Not shown in logs, because who has it can guess at leisure.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a text from the database or from an import. It is not looked at before somebody signs in; one that cannot be
    /// read then matches nothing.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text, to store it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}
