//! Lists in the order of a time, along the index that begins with a filtered column.
//!
//! A page reads its own rows and those that other filters leave out, and nothing before them.

/// How a list of one statement is read.
#[derive(Debug)]
pub(super) struct Reading {
    /// The filtered column that begins an index in the order of the list, and its parameter.
    pub(super) leading: Option<(&'static str, &'static str)>,
    pub(super) newest_first: bool,
    /// Whether the page begins where another one ended.
    pub(super) goes_on: bool,
}

impl Reading {
    /// The statement of a list, written so that only the index which begins with the filtered column gives the
    /// order. With `=` the planner counts on a campaign's rows being spread evenly and may walk the index of all:
    /// but they come in one piece, and everything may lie before the first. A page that goes on has one beginning,
    /// the end of the one before: of two the index might take the other.
    ///
    /// In the template `{is}` compares a column with its parameter, `{prefix}` and `{value}` stand before a time
    /// and before what it is compared with, `{skip_from}` and `{skip_before}` before the bounds of time.
    pub(super) fn statement(&self, template: &str) -> String {
        let (mut prefix, mut value, mut first) = (String::new(), String::new(), String::new());
        let mut statement = template.to_owned();
        if let Some((column, own)) = self.leading {
            prefix = format!("{column}, ");
            value = format!("{own}, ");
            first = format!("{column} {{direction}}, ");
            statement = statement.replace(
                &format!("{column} {{is}} {own}"),
                &format!("{column} BETWEEN {own} AND {own}"),
            );
        }
        let (after, direction) = if self.newest_first {
            ("<", "DESC")
        } else {
            (">", "ASC")
        };
        let skip = |begins: bool| {
            if self.goes_on && begins {
                "true OR "
            } else {
                ""
            }
        };
        statement
            .replace("{skip_from}", skip(!self.newest_first))
            .replace("{skip_before}", skip(self.newest_first))
            .replace("{is}", "=")
            .replace("{prefix}", &prefix)
            .replace("{value}", &value)
            .replace("{first}", &first)
            .replace("{after}", after)
            .replace("{direction}", direction)
    }
}
