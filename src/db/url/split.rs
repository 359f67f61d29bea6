//! Takes a connection string apart into what stands before its parameters and the parameters, and
//! puts it together again, so that single parameters can be taken out.

use std::fmt::Write as _;

use super::super::error::Error;

/// A connection string in pieces.
pub(super) struct Parts<'a> {
    /// Scheme, credentials, host and database of a URL; `None` for the key-value form.
    base: Option<&'a str>,
    /// Decoded parameters in their order.
    pub(super) params: Vec<(String, String)>,
}

impl<'a> Parts<'a> {
    /// Takes a string apart; the forms and their quoting are those of tokio-postgres.
    pub(super) fn split(text: &'a str) -> Result<Self, Error> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return split_url(text);
        }
        if text.contains("://") || !text.contains('=') {
            return Err(Error::Url(
                "it begins with neither postgres:// nor postgresql://, and has no key=value pairs"
                    .to_owned(),
            ));
        }
        Ok(Self {
            base: None,
            params: split_pairs(text)?,
        })
    }

    /// The same string without what was taken out of `params`.
    pub(super) fn join(&self) -> String {
        let mut text = self.base.unwrap_or_default().to_owned();
        for (i, (key, value)) in self.params.iter().enumerate() {
            if self.base.is_some() {
                text.push(if i == 0 { '?' } else { '&' });
                text.push_str(&percent_encode(key));
                text.push('=');
                text.push_str(&percent_encode(value));
            } else {
                let value = value.replace('\\', "\\\\").replace('\'', "\\'");
                // Writing to a String cannot fail.
                let _ = write!(text, "{key}='{value}' ");
            }
        }
        text
    }
}

fn split_url(text: &str) -> Result<Parts<'_>, Error> {
    let (base, query) = match find_query(text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    if base.matches('@').count() > 1 {
        // Else a part of the password would be taken for the host's name, and be logged.
        return Err(Error::Url(
            "it has more than one @: write an @ in the user or password as %40".to_owned(),
        ));
    }
    let mut params = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Error::Url("a parameter after the ? has no =".to_owned()));
        };
        params.push((percent_decode(key)?, percent_decode(value)?));
    }
    Ok(Parts {
        base: Some(base),
        params,
    })
}

/// Where the `?` stands that begins the parameters: passwords may hold one, values may hold an `@`.
fn find_query(text: &str) -> Option<usize> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let body = &text[start..];
    let question = body.find('?')?;
    let after_credentials = match body.find('@') {
        Some(at) if at > question && !body[..question].contains('/') => at,
        _ => question,
    };
    let found = body[after_credentials..].find('?')?;
    Some(start + after_credentials + found)
}

/// The key-value form: `key = value`, values in single quotes where they hold spaces.
fn split_pairs(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut params = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            return Err(malformed_pair());
        };
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(malformed_pair());
        }
        let (value, after) = take_value(after.trim_start())?;
        params.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(params)
}

fn take_value(text: &str) -> Result<(String, &str), Error> {
    let quoted = text.starts_with('\'');
    let body = if quoted { &text[1..] } else { text };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &body[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &body[at..])),
            c => value.push(c),
        }
    }
    if quoted || value.is_empty() {
        return Err(malformed_pair());
    }
    Ok((value, ""))
}

fn malformed_pair() -> Error {
    Error::Url(
        "it is not a list of key=value pairs (a value with spaces needs single quotes)".to_owned(),
    )
}

/// Percent-encodes all but what is safe everywhere in a URL.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn percent_decode(text: &str) -> Result<String, Error> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        // As libpq and tokio-postgres: a % that begins no escape stands for itself.
        let escape = if byte == b'%' {
            hex_pair(bytes, at + 1)
        } else {
            None
        };
        decoded.push(escape.unwrap_or(byte));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded)
        .map_err(|_| Error::Url("a parameter is not UTF-8 once percent-decoded".to_owned()))
}

fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |i: usize| char::from(*bytes.get(i)?).to_digit(16);
    u8::try_from(digit(at)? * 16 + digit(at + 1)?).ok()
}
