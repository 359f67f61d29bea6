//! How the columns of a file become the keys of a row: `--map`, `--preset`, and what happens when two
//! columns want one key.
//!
//! Guarantees: no column is lost. `--map` wins over the preset, a renamed column wins over one that has the
//! key by its own name, the first wins among equals; the loser keeps its own name, or gets `_2`, `_3`, ...

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{error::Error, preset::Preset};

/// What columns are renamed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    renames: Vec<(String, String)>,
    preset: Option<Preset>,
}

impl Mapping {
    /// Reads `--map` values, each `COLUMN=KEY`.
    pub(crate) fn new(maps: &[String], preset: Option<Preset>) -> Result<Self, Error> {
        let mut renames: Vec<(String, String)> = Vec::new();
        for map in maps {
            // The last `=` divides, since a column's name may hold one and a key rarely does.
            let (column, key) = map
                .rsplit_once('=')
                .map(|(column, key)| (column.trim(), key.trim()))
                .filter(|(column, key)| !column.is_empty() && !key.is_empty())
                .ok_or_else(|| {
                    Error::Usage(format!(
                        "--map {map:?} is not COLUMN=KEY, such as --map \"Email Address=email\""
                    ))
                })?;
            if renames.iter().any(|(other, _)| other == column) {
                return Err(Error::Usage(format!("--map names column {column:?} twice")));
            }
            renames.push((column.to_owned(), key.to_owned()));
        }
        Ok(Self { renames, preset })
    }

    /// The preset, if one was chosen.
    pub(crate) fn preset(&self) -> Option<Preset> {
        self.preset
    }

    /// The `--map` columns and their keys, in the order given.
    pub(crate) fn renames(&self) -> &[(String, String)] {
        &self.renames
    }

    /// The first `--map` column that the header does not have: a misspelt one, most likely.
    pub(crate) fn missing_column<'a>(&'a self, header: &[String]) -> Option<&'a str> {
        let known = |column: &str| header.iter().any(|name| name == column);
        self.renames
            .iter()
            .map(|(column, _)| column.as_str())
            .find(|column| !known(column))
    }

    /// The key that a column is renamed to, if it is, and how strong its wish is.
    fn target(&self, column: &str) -> Option<(&str, u8)> {
        if let Some((_, key)) = self.renames.iter().find(|(name, _)| name == column) {
            return Some((key, 0));
        }
        let columns = self.preset?.columns();
        let (_, key) = columns
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(column))?;
        Some((key, 1))
    }

    /// The keys of columns, in the order of the columns, each key once.
    pub(crate) fn keys<S: AsRef<str>>(&self, columns: &[S]) -> Vec<String> {
        let mut keys: Vec<Option<String>> = vec![None; columns.len()];
        let mut taken = HashSet::new();
        for strength in 0..=2 {
            for (key, column) in keys.iter_mut().zip(columns) {
                let (wish, wish_strength) =
                    self.target(column.as_ref()).unwrap_or((column.as_ref(), 2));
                if key.is_none() && wish_strength == strength && taken.insert(wish.to_owned()) {
                    *key = Some(wish.to_owned());
                }
            }
        }
        // Whoever lost keeps its own name, with a number where that is gone too.
        keys.into_iter()
            .zip(columns)
            .map(|(key, column)| {
                key.unwrap_or_else(|| {
                    let name = column.as_ref();
                    let numbered = (2..).map(|n| format!("{name}_{n}"));
                    std::iter::once(name.to_owned())
                        .chain(numbered)
                        .find(|name| taken.insert(name.clone()))
                        .unwrap_or_default()
                })
            })
            .collect()
    }

    /// The row with its keys renamed and its values untouched; nothing where no key changes, or where the
    /// row is not an object.
    pub(crate) fn rename_keys(&self, row: &[u8]) -> Option<Vec<u8>> {
        if self.renames.is_empty() && self.preset.is_none() {
            return None;
        }
        let members = object_members(row)?;
        let columns: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
        if columns.iter().all(|column| self.target(column).is_none()) {
            return None;
        }
        let keys = self.keys(&columns);
        let mut renamed = Vec::with_capacity(row.len());
        let mut object = ObjectWriter::new(&mut renamed);
        for (key, (_, value)) in keys.iter().zip(&members) {
            object.member(key, value.get().as_bytes());
        }
        object.end();
        Some(renamed)
    }
}

/// Writes a JSON object member by member.
pub(crate) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> ObjectWriter<'a> {
    /// Begins an object.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Adds a member whose value is JSON text.
    pub(crate) fn member(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(value);
    }

    /// Adds a member whose value is a string.
    pub(crate) fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        write_string(self.out, value);
    }

    /// Ends the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        write_string(self.out, key);
        self.out.push(b':');
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into memory cannot fail.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok());
}

/// The members of an object in their order, values as raw text; nothing for what is not an object.
fn object_members(row: &[u8]) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(row);
    let members = deserializer.deserialize_map(Members).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(maps: &[&str], preset: Option<Preset>) -> Mapping {
        let maps: Vec<String> = maps.iter().map(|&map| map.to_owned()).collect();
        Mapping::new(&maps, preset).unwrap()
    }

    #[test]
    fn presets_know_their_columns_in_any_case() {
        let apollo = mapping(&[], Some(Preset::Apollo));
        assert_eq!(
            apollo.keys(&[
                "First Name",
                "EMAIL",
                "# Employees",
                "Corporate Phone",
                "Hobby"
            ]),
            ["first_name", "email", "employee_count", "phone", "Hobby"]
        );
        let linkedin = mapping(&[], Some(Preset::Linkedin));
        assert_eq!(
            linkedin.keys(&["URL", "Email Address", "Position"]),
            ["linkedin_url", "email", "title"]
        );
        let directory = mapping(&[], Some(Preset::Ycombinator));
        assert_eq!(
            directory.keys(&["team_size", "all_locations", "website", "url", "status"]),
            ["employee_count", "location", "website", "url", "status"]
        );
    }

    #[test]
    fn apollo_has_the_names_that_golden_records_are_read_from() {
        let apollo = mapping(&[], Some(Preset::Apollo));
        let columns = [
            "Website",
            "Industry",
            "# Employees",
            "Annual Revenue",
            "Company Address",
            "Company Linkedin Url",
            "Person Linkedin Url",
            "Seniority",
            "Departments",
            "City",
        ];
        let company = [
            "website",
            "industry",
            "employee_count",
            "revenue",
            "company_location",
            "company_linkedin_url",
        ];
        let person = ["linkedin_url", "seniority", "department", "location"];
        assert_eq!(apollo.keys(&columns), [&company[..], &person].concat());
    }

    #[test]
    fn map_wins_over_preset_and_preset_over_a_name() {
        let both = mapping(&["Private=email"], Some(Preset::Apollo));
        assert_eq!(
            both.keys(&["email", "Email", "Private"]),
            ["email_2", "Email", "email"]
        );
        let apollo = mapping(&[], Some(Preset::Apollo));
        assert_eq!(
            apollo.keys(&["Company", "Company Name", "company"]),
            ["company", "Company Name", "company_2"]
        );
    }

    #[test]
    fn no_column_is_lost_among_equal_names() {
        let none = Mapping::default();
        assert_eq!(
            none.keys(&["a", "a", "a", "a_2", ""]),
            ["a", "a_3", "a_4", "a_2", ""]
        );
    }

    #[test]
    fn a_map_must_be_a_column_and_a_key() {
        for wrong in ["email", "=email", "Email=", "="] {
            assert!(Mapping::new(&[wrong.to_owned()], None).is_err(), "{wrong}");
        }
        let twice = ["A=b".to_owned(), "A=c".to_owned()];
        assert!(Mapping::new(&twice, None).is_err());
        assert_eq!(mapping(&["a=b=c"], None).keys(&["a=b"]), ["c"]);
    }

    #[test]
    fn renaming_keeps_every_value() {
        let map = mapping(&["b=a"], None);
        let row = r#"{"a": 1e400, "b": "\ud800", "c": {"x" :  1.0}}"#;
        assert_eq!(
            String::from_utf8(map.rename_keys(row.as_bytes()).unwrap()).unwrap(),
            r#"{"a_2":1e400,"a":"\ud800","c":{"x" :  1.0}}"#
        );
        assert_eq!(map.rename_keys(br#"{"x":1}"#), None);
        assert_eq!(map.rename_keys(br#"{"b":1} {"b":2}"#), None);
        assert_eq!(map.rename_keys(b"[1]"), None);
    }
}
