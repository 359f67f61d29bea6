//! Tokens: what a client proves its name with, and the hash that is all that is kept of it.
//!
//! A token is 256 random bits, so that nobody finds it by trying: a plain SHA-256 of it tells as little as a slow
//! password hash would, and costs a call a microsecond in place of a tenth of a second.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What each token begins with, so that people, and scanners for leaked secrets, know one when they see it.
const PREFIX: &str = "lv_";
/// How a hash begins in the clients file.
const HASH_PREFIX: &str = "sha256:";
const SECRET_BYTES: usize = 32;

/// A token, which is shown once. It has no `Debug` that would tell it.
pub struct Token(String);

impl Token {
    /// A new one; `None` where the system gives no random bytes.
    pub fn generate() -> Option<Self> {
        let mut secret = [0; SECRET_BYTES];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut secret).ok()?;
        let secret = BASE64_URL_SAFE_NO_PAD.encode(secret);
        Some(Self(format!("{PREFIX}{secret}")))
    }

    /// The token itself, for the one who is to have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Whether a text is a token, or means to be one.
pub(super) fn looks_like_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The SHA-256 of a token's text.
#[derive(Clone, Copy, Debug)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of what a caller says is its token.
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// What it is looked up by: its first half, whose look-up tells by its time whether a hash begins so. No caller
    /// chooses a hash that begins as it likes, let alone a token from that.
    pub(super) fn index(&self) -> u128 {
        let [index, _] = self.halves();
        index
    }

    /// Whether it is the same, in a time that does not tell how much of it is.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    fn halves(&self) -> [u128; 2] {
        let half = |from: usize| {
            self.0[from..from + 16]
                .iter()
                .fold(0, |number, byte| number << 8 | u128::from(*byte))
        };
        [half(0), half(16)]
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, last] = self.halves();
        write!(f, "{HASH_PREFIX}{first:032x}{last:032x}")
    }
}

impl FromStr for TokenHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix(HASH_PREFIX).ok_or(())?;
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| ())?;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_random_and_its_hash_is_that_of_sha256sum() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert!(looks_like_token(one.reveal()));
        assert_eq!(one.reveal().len(), PREFIX.len() + 43);
        assert_eq!(
            TokenHash::of("lv_").to_string(),
            // printf lv_ | sha256sum
            "sha256:be50640a3bf8c4ef78bdb8c596ad8cc60be883b0677fdd0fbe3a67fa5595a067"
        );
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = TokenHash::of("lv_x");
        let read: TokenHash = hash.to_string().parse().unwrap();
        assert!(read.equals(&hash));
        assert!(!read.equals(&TokenHash::of("lv_y")));
        let short = &hash.to_string()[..70];
        for wrong in ["", "sha256:", "sha256:xyz", short, "md5:00"] {
            assert!(wrong.parse::<TokenHash>().is_err(), "{wrong}");
        }
        let unusual = format!("sha256:{}é", "0".repeat(62));
        assert!(unusual.parse::<TokenHash>().is_err());
    }
}
