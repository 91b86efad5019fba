//! Changes of values that can be empty.

/// What a change says of a value that can be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Stays as it is.
    #[default]
    Keep,
    /// Is taken away.
    Clear,
    /// A new value.
    Set(T),
}
