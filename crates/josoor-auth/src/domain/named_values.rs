//! Enums whose values have one name everywhere: in the database, in tokens, in the log and in answers.

/// Defines such an enum from one row for each value: the enum, `ALL`, `as_str` and `parse`.
macro_rules! named_values {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$note:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$note])* $value,)+
        }

        impl $name {
            /// All of them, in the order of their definition.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            /// The name: as stored and as shown.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            /// The value of this name, which may be one of a later release.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|value| value.as_str() == name)
            }
        }
    };
}

pub(super) use named_values;
