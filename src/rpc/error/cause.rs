//! Why a call failed, for the log: without anything of a row.

use crate::db::error::chain;

/// An error and its causes in one line. PostgreSQL quotes values in its messages as it quotes names: what is
/// between quotes stays only if it can be nothing but a name of ours.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    withhold(&chain(error))
}

/// From the first quote that may begin a value to the last one everything goes: a value may hold quotes, too.
fn withhold(text: &str) -> String {
    let Some(begin) = first_value(text) else {
        return text.to_owned();
    };
    let (kept, rest) = text.split_at(begin);
    let is_closed = text.bytes().filter(|byte| *byte == b'"').count() % 2 == 0;
    let end = rest.rfind('"').filter(|_| is_closed);
    let after = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
    format!("{kept}\"...\"{after}")
}

/// Where the first quote is that does not begin a name.
fn first_value(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(open) = text[from..].find('"').map(|at| from + at) {
        let close = text[open + 1..].find('"').map(|at| open + 1 + at);
        match close {
            // `invalid input syntax for type integer: "..."`: what comes after a colon is the value.
            Some(close) if is_name(&text[open + 1..close]) && !text[..open].ends_with(": ") => {
                from = close + 1;
            }
            _ => return Some(open),
        }
    }
    None
}

/// Names of tables, columns, constraints and roles: `leadvault_app`, `idx_contacts_email`.
fn is_name(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::withhold;

    #[test]
    fn names_stay_and_values_go() {
        for (said, kept) in [
            (
                r#"duplicate key value violates unique constraint "idx_contacts_email""#,
                r#"duplicate key value violates unique constraint "idx_contacts_email""#,
            ),
            (
                r#"invalid input syntax for type integer: "ada_lovelace""#,
                r#"invalid input syntax for type integer: "...""#,
            ),
            (
                r#"value "4915112345" is out of range for type integer"#,
                r#"value "..." is out of range for type integer"#,
            ),
            (
                r#"invalid value "Ada "the" first" for "ada@x.example""#,
                r#"invalid value "...""#,
            ),
            ("no answer within 7s", "no answer within 7s"),
            (r#"cut off "ada@x.exa"#, r#"cut off "...""#),
        ] {
            assert_eq!(withhold(said), kept);
        }
    }
}
