//! Where rows go to and slots become golden records: `--into`.

use std::fmt;

use serde::Serialize;

/// What `--into` names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Loads, which become contacts
    #[default]
    Contacts,
    /// Slots, which become the golden records of companies
    Companies,
    /// Slots, which become the golden records of people
    People,
}

/// The rooms of golden records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Golden {
    /// Companies, by domain.
    Companies,
    /// People, by email.
    People,
}

impl Target {
    /// The room of golden records; none for contacts.
    pub(crate) fn golden(self) -> Option<Golden> {
        match self {
            Self::Contacts => None,
            Self::Companies => Some(Golden::Companies),
            Self::People => Some(Golden::People),
        }
    }
}

impl Golden {
    /// Its name, also in batch ids.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Companies => "companies",
            Self::People => "people",
        }
    }

    /// The lane of a batch that holds its staged rows.
    pub(crate) fn lane(self) -> i32 {
        match self {
            Self::Companies => -2,
            Self::People => -3,
        }
    }

    /// The call that lists its slots.
    pub(crate) fn list_slots(self) -> &'static str {
        match self {
            Self::Companies => "leadvault.company.v1.CompanyService/ListCompanySlots",
            Self::People => "leadvault.people.v1.PeopleService/ListPersonSlots",
        }
    }
}

impl fmt::Display for Golden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
