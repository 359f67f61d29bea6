//! What companies and people have in common: slots, promotion, history.
//!
//! Raw rows and contacts are staged into slots; promotion reads the slots and merges them into golden records;
//! the database writes the history of those. The two rooms differ in their keys and their columns, which each
//! says in its own files and functions; the rest is here once. Both schemas name their tables alike, and their
//! functions `f_stage_slots`, `f_stage_contacts` and `f_take_pending` have the same arguments and results.

pub(crate) mod fields;
pub(crate) mod from_vault;
pub(crate) mod history;
pub(crate) mod promotion;
pub(crate) mod reading;
mod repository;
pub(crate) mod slots;
pub(crate) mod staging;

/// Which of the two rooms, in the words of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Its schema.
    pub(crate) schema: &'static str,
    /// The column of slots and their heads that holds the key.
    pub(crate) key: &'static str,
    /// The column of the history that says whose it is.
    pub(crate) id: &'static str,
    /// The lane of a batch that holds its staged rows.
    pub(crate) lane: i32,
}

impl Kind {
    /// Fills a statement's `{schema}`, `{key}` and `{id}`.
    fn fill(&self, statement: &str) -> String {
        statement
            .replace("{schema}", self.schema)
            .replace("{key}", self.key)
            .replace("{id}", self.id)
    }
}
