//! Why a call failed, for the log: without anything of a row.

use diesel::result::Error as Diesel;

use crate::db::error::chain;

/// What opens a quotation, in any of the languages that PostgreSQL speaks; the last one is Rust's.
const QUOTES: [char; 15] = [
    '"', '\'', '“', '”', '„', '‟', '‘', '’', '‚', '«', '»', '‹', '›', '「', '`',
];
/// What stands before a name that is quoted. Where another language has other words, names go, too.
const NAMED: [&str; 10] = [
    "constraint",
    "relation",
    "table",
    "view",
    "column",
    "index",
    "sequence",
    "schema",
    "function",
    "role",
];

/// An error and its causes in one line. PostgreSQL quotes values in its messages as it quotes names: from the first
/// quotation on that can be anything but a name of ours everything goes, and so it does from an address on that a
/// statement failed with, since a function of somebody else's may raise it without quotes.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let said = chain(error);
    let mut end = first_value(&said);
    if matches!(error.downcast_ref(), Some(Diesel::DatabaseError(..))) {
        end = end.min(first_address(&said));
    }
    withhold(&said, end)
}

/// What is said before this place.
fn withhold(said: &str, end: usize) -> String {
    match said.get(..end) {
        Some(kept) if end < said.len() => format!("{kept}..."),
        _ => said.to_owned(),
    }
}

/// Where the first quotation begins that is no name; the length where there is none.
fn first_value(said: &str) -> usize {
    let mut from = 0;
    while let Some((open, quote)) = next_quote(said, from) {
        let begin = open + quote.len_utf8();
        match said[begin..].find(quote) {
            Some(length) if is_name(&said[..open], &said[begin..begin + length]) => {
                from = begin + length + quote.len_utf8();
            }
            _ => return open,
        }
    }
    said.len()
}

/// The next quote that is no apostrophe.
fn next_quote(said: &str, from: usize) -> Option<(usize, char)> {
    let mut before = said[..from].chars().next_back();
    for (at, letter) in said[from..].char_indices() {
        let rest = &said[from + at + letter.len_utf8()..];
        let is_within_a_word = before.is_some_and(char::is_alphabetic)
            && rest.starts_with(char::is_alphabetic)
            && matches!(letter, '\'' | '’');
        if QUOTES.contains(&letter) && !is_within_a_word {
            return Some((from + at, letter));
        }
        before = Some(letter);
    }
    None
}

/// Names of tables, columns, constraints and roles, after the word for what they are: `role "leadvault_app"`.
fn is_name(before: &str, quoted: &str) -> bool {
    let word = before.split_whitespace().next_back().unwrap_or_default();
    let is_ours = |letter| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
    NAMED.contains(&word) && !quoted.is_empty() && quoted.bytes().all(is_ours)
}

/// Where the first word begins that may be an address.
fn first_address(said: &str) -> usize {
    let Some(sign) = said.find('@') else {
        return said.len();
    };
    let before = &said[..sign];
    before
        .char_indices()
        .rfind(|(_, letter)| letter.is_whitespace())
        .map_or(0, |(at, space)| at + space.len_utf8())
}

#[cfg(test)]
mod tests {
    use diesel::result::DatabaseErrorKind;

    use super::*;

    /// What the log says of what PostgreSQL said.
    fn logged(said: &str) -> String {
        let said = Box::new(said.to_owned());
        cause(&Diesel::DatabaseError(DatabaseErrorKind::Unknown, said))
    }

    #[test]
    fn names_stay_and_values_go() {
        for (said, kept) in [
            (
                r#"duplicate key value violates unique constraint "idx_contacts_email""#,
                r#"duplicate key value violates unique constraint "idx_contacts_email""#,
            ),
            (
                r#"null value in column "email" of relation "contacts" violates not-null constraint"#,
                r#"null value in column "email" of relation "contacts" violates not-null constraint"#,
            ),
            (
                r#"invalid input syntax for type integer: "ada_lovelace""#,
                "invalid input syntax for type integer: ...",
            ),
            (
                r#"value "4915112345" is out of range for type integer"#,
                "value ...",
            ),
            (
                r#"value "ada_lovelace" is out of range for type integer"#,
                "value ...",
            ),
            (
                r#"invalid value "Ada "the" first" for "ada@x.example""#,
                "invalid value ...",
            ),
            (r#"column "Ada Lovelace" does not exist"#, "column ..."),
            ("no answer within 7s", "no answer within 7s"),
            (
                "the database's answer can't be read",
                "the database's answer can't be read",
            ),
            (r#"cut off "ada@x.exa"#, "cut off ..."),
            ("no more rows of ada@x.example today", "no more rows of ..."),
            ("ada@x.example is not welcome", "..."),
        ] {
            assert_eq!(logged(said), kept);
        }
    }

    #[test]
    fn values_go_whatever_the_quotes_are() {
        let german = "ungültige Eingabesyntax für Typ integer: »ada@x.example«";
        assert_eq!(
            logged(german),
            "ungültige Eingabesyntax für Typ integer: ..."
        );
        for (open, close) in [
            ('"', '"'),
            ('\'', '\''),
            ('»', '«'),
            ('«', '»'),
            ('„', '“'),
            ('“', '”'),
            ('”', '”'),
            ('‘', '’'),
            ('‚', '‘'),
            ('‹', '›'),
            ('「', '」'),
            ('`', '`'),
        ] {
            let said = format!("valeur {open}Ada Lovelace{close} : d'une ligne");
            assert_eq!(logged(&said), "valeur ...", "{said}");
            let spaced = format!("valeur {open}\u{a0}Ada\u{a0}{close}");
            assert_eq!(logged(&spaced), "valeur ...", "{spaced}");
        }
    }

    /// Of a connection the login and the host are no row's.
    #[test]
    fn addresses_of_databases_stay() {
        let lost = std::io::Error::other("cannot connect to app@db.example:5432/leads");
        assert_eq!(cause(&lost), "cannot connect to app@db.example:5432/leads");
    }
}
