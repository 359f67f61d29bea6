//! Names that callers choose and indexes hold: batches, sources, actors.

use std::fmt;

/// The longest text that may reach an index, in bytes. A btree entry must fit a third of an 8 KiB page
/// (2,704 bytes), and some indexes hold two of them.
pub const MAX_INDEXED_TEXT_BYTES: usize = 1_000;

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidName {
    /// It is empty, or only white space.
    Blank,
    /// It has this many bytes, over [`MAX_INDEXED_TEXT_BYTES`].
    TooLong(usize),
    /// It holds a control character, such as a line break or U+0000, which PostgreSQL cannot store.
    ControlCharacter,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => write!(f, "must not be blank"),
            Self::TooLong(bytes) => write!(
                f,
                "has {bytes} bytes, at most {MAX_INDEXED_TEXT_BYTES} are taken"
            ),
            Self::ControlCharacter => write!(f, "must not hold control characters"),
        }
    }
}

impl std::error::Error for InvalidName {}

fn check(text: &str) -> Result<(), InvalidName> {
    if text.trim().is_empty() {
        Err(InvalidName::Blank)
    } else if text.len() > MAX_INDEXED_TEXT_BYTES {
        Err(InvalidName::TooLong(text.len()))
    } else if text.chars().any(char::is_control) {
        Err(InvalidName::ControlCharacter)
    } else {
        Ok(())
    }
}

macro_rules! name {
    ($(#[$meta:meta])* $type:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $type(String);

        impl $type {
            /// Takes a text that is not blank, has no control characters and at most
            /// [`MAX_INDEXED_TEXT_BYTES`] bytes.
            ///
            /// # Errors
            /// [`InvalidName`] says which of these does not hold.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The loader's name for a batch.
    BatchId
}

name! {
    /// Where rows come from: apollo, apify, manual, ...
    Source
}

name! {
    /// Who does something, for the audit trail.
    Actor
}

impl BatchId {
    /// A name for a batch whose caller gave none; ids made later sort later.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl Actor {
    /// A caller whom nothing identifies.
    pub fn anonymous() -> Self {
        Self("anonymous".to_owned())
    }

    /// The service itself, when nobody asked it.
    pub fn system() -> Self {
        Self("system".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_blank_not_long_and_printable() {
        assert_eq!(BatchId::parse(" \t"), Err(InvalidName::Blank));
        assert_eq!(
            BatchId::parse(&"x".repeat(1_001)),
            Err(InvalidName::TooLong(1_001))
        );
        assert_eq!(Source::parse("a\0b"), Err(InvalidName::ControlCharacter));
        assert!(Source::parse(&"é".repeat(500)).is_ok());
    }
}
