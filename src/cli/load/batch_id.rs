//! The id of a file's batch, made so that the same command finds its batch again and a corrected one does
//! not.
//!
//! `<name>-<16 hex digits>`: the file's name without folders, and the beginning of a SHA-256 over the
//! decompressed content and over every flag that changes what becomes of its rows. The recipe is fixed: a
//! later release must find the batches of an earlier one.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{args::OnDuplicate, format::Format, mapping::Mapping};
use crate::cli::target::Target;

/// Names longer than this are cut; the content, which is in the hash, tells files apart.
const MAX_NAME_BYTES: usize = 200;

/// What the rows of a batch are made from.
pub(crate) struct Recipe<'a> {
    /// The SHA-256 of the file's decompressed content.
    pub(crate) content: &'a [u8; 32],
    /// `--into`.
    pub(crate) into: Target,
    /// `--source`.
    pub(crate) source: &'a str,
    /// `--map` and `--preset`.
    pub(crate) mapping: &'a Mapping,
    /// `--on-duplicate`.
    pub(crate) on_duplicate: OnDuplicate,
    /// The format that the file is read in.
    pub(crate) format: Format,
}

impl Recipe<'_> {
    /// A hash over all of it, as 64 hex digits.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        // Each part with its length, so that no two recipes run together.
        let mut add = |part: &[u8]| {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        match self.into.golden() {
            // What was loaded before there were other targets keeps its id.
            None => add(b"leadvault load 1"),
            Some(golden) => add(format!("leadvault load 1 into {golden}").as_bytes()),
        }
        add(self.content);
        add(self.source.as_bytes());
        add(self
            .mapping
            .preset()
            .map_or("", |preset| preset.name())
            .as_bytes());
        add(self.on_duplicate.name().as_bytes());
        add(self.format.name().as_bytes());
        for (column, key) in self.mapping.renames() {
            add(column.as_bytes());
            add(key.as_bytes());
        }
        hex(&hasher.finalize())
    }

    /// The batch id of a file.
    pub(crate) fn batch_id(&self, file_name: &str) -> String {
        let mut name: String = file_name
            .chars()
            .map(|c| if c.is_control() { '_' } else { c })
            .collect();
        while name.len() > MAX_NAME_BYTES {
            name.pop();
        }
        format!("{name}-{}", &self.fingerprint()[..16])
    }
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::preset::Preset;

    fn mapping(maps: &[&str], preset: Option<Preset>) -> Mapping {
        let maps: Vec<String> = maps.iter().map(|&map| map.to_owned()).collect();
        Mapping::new(&maps, preset).unwrap()
    }

    #[test]
    fn every_part_of_the_recipe_makes_another_batch() {
        let (none, apollo) = (mapping(&[], None), mapping(&[], Some(Preset::Apollo)));
        let (one, two) = (mapping(&["a=bc"], None), mapping(&["ab=c"], None));
        let recipe = |content, source, mapping, on_duplicate, format| Recipe {
            content,
            into: Target::Contacts,
            source,
            mapping,
            on_duplicate,
            format,
        };
        let (mark, csv) = (OnDuplicate::Mark, Format::Csv);
        let ids: std::collections::HashSet<String> = [
            recipe(&[0; 32], "s", &none, mark, csv),
            recipe(&[1; 32], "s", &none, mark, csv),
            recipe(&[0; 32], "t", &none, mark, csv),
            recipe(&[0; 32], "s", &apollo, mark, csv),
            recipe(&[0; 32], "s", &one, mark, csv),
            recipe(&[0; 32], "s", &two, mark, csv),
            recipe(&[0; 32], "s", &none, OnDuplicate::AcceptChanged, csv),
            recipe(&[0; 32], "s", &none, mark, Format::Ndjson),
            Recipe {
                into: Target::Companies,
                ..recipe(&[0; 32], "s", &none, mark, csv)
            },
            Recipe {
                into: Target::People,
                ..recipe(&[0; 32], "s", &none, mark, csv)
            },
        ]
        .iter()
        .map(|recipe| recipe.batch_id("leads.csv"))
        .collect();
        assert_eq!(ids.len(), 10);
    }

    #[test]
    fn the_recipe_is_pinned() {
        let mapping = mapping(&["E-Mail=email"], Some(Preset::Linkedin));
        let recipe = Recipe {
            content: &[7; 32],
            into: Target::Contacts,
            source: "linkedin",
            mapping: &mapping,
            on_duplicate: OnDuplicate::Mark,
            format: Format::Csv,
        };
        // A change here would make every loaded file a new batch after an upgrade.
        assert_eq!(
            recipe.batch_id("Connections.csv"),
            "Connections.csv-a7bfb9722674cfdf"
        );
        assert_eq!(recipe.batch_id(&"é\n".repeat(200)).len(), 200 + 17);
    }
}
