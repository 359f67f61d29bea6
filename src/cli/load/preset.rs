//! The exports whose columns are known, and the keys that these become.

use crate::cli::target::Target;

/// The exports whose columns are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preset {
    /// People exported from Apollo as CSV.
    #[value(help = "People exported from Apollo as CSV")]
    Apollo,
    /// The connections of a member, `Connections.csv`.
    #[value(help = "Connections.csv from a LinkedIn data export")]
    Linkedin,
    /// Companies as the directory of Y Combinator lists them.
    #[value(help = "Companies as the directory of Y Combinator lists them; for --into companies")]
    Ycombinator,
}

impl Preset {
    /// Its name, which is also the source of its rows unless `--source` says another.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Apollo => "apollo",
            Self::Linkedin => "linkedin",
            Self::Ycombinator => "ycombinator",
        }
    }

    /// Whether its rows can become that.
    pub(crate) fn fits(self, target: Target) -> bool {
        match self {
            Self::Apollo | Self::Linkedin => target != Target::Companies,
            Self::Ycombinator => target == Target::Companies,
        }
    }

    /// Column and key; columns are compared without regard to case.
    pub(super) fn columns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Apollo => APOLLO,
            Self::Linkedin => LINKEDIN,
            Self::Ycombinator => YCOMBINATOR,
        }
    }
}

/// What golden records are read from has the names that staging from the vault reads.
const APOLLO: &[(&str, &str)] = &[
    ("First Name", "first_name"),
    ("Last Name", "last_name"),
    ("Name", "name"),
    ("Title", "title"),
    ("Company", "company"),
    ("Company Name", "company"),
    ("Company Name for Emails", "company_name_for_emails"),
    ("Email", "email"),
    ("Email Status", "email_status"),
    ("Email Confidence", "email_confidence"),
    ("Primary Email Source", "email_source"),
    ("Secondary Email", "secondary_email"),
    ("Tertiary Email", "tertiary_email"),
    ("Seniority", "seniority"),
    ("Departments", "department"),
    ("Contact Owner", "contact_owner"),
    ("Stage", "stage"),
    ("Lists", "lists"),
    ("Corporate Phone", "phone"),
    ("First Phone", "first_phone"),
    ("Work Direct Phone", "work_direct_phone"),
    ("Home Phone", "home_phone"),
    ("Mobile Phone", "mobile_phone"),
    ("Other Phone", "other_phone"),
    ("Company Phone", "company_phone"),
    ("# Employees", "employee_count"),
    ("Industry", "industry"),
    ("Keywords", "keywords"),
    ("Technologies", "technologies"),
    ("Person Linkedin Url", "linkedin_url"),
    ("Website", "website"),
    ("Company Linkedin Url", "company_linkedin_url"),
    ("Facebook Url", "facebook_url"),
    ("Twitter Url", "twitter_url"),
    ("City", "location"),
    ("State", "state"),
    ("Country", "country"),
    ("Company Address", "company_location"),
    ("Company City", "company_city"),
    ("Company State", "company_state"),
    ("Company Country", "company_country"),
    ("SEO Description", "company_description"),
    ("Annual Revenue", "revenue"),
    ("Total Funding", "total_funding"),
    ("Latest Funding", "latest_funding"),
    ("Latest Funding Amount", "latest_funding_amount"),
    ("Last Raised At", "last_raised_at"),
    ("Apollo Contact Id", "apollo_contact_id"),
    ("Apollo Account Id", "apollo_account_id"),
];

const LINKEDIN: &[(&str, &str)] = &[
    ("First Name", "first_name"),
    ("Last Name", "last_name"),
    ("URL", "linkedin_url"),
    ("Email Address", "email"),
    ("Company", "company"),
    ("Position", "title"),
    ("Connected On", "connected_on"),
];

/// The other keys of the directory have names that no golden record reads.
const YCOMBINATOR: &[(&str, &str)] = &[
    ("name", "name"),
    ("website", "website"),
    ("industry", "industry"),
    ("team_size", "employee_count"),
    ("all_locations", "location"),
];
