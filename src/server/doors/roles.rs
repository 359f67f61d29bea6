//! Which role may call which RPC: the one table.
//!
//! An RPC that it does not name keeps the service from starting, and so does a name that is no RPC.

use std::{collections::HashMap, fmt, str::FromStr};

use prost::Message as _;

use super::Error;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Looks at everything, changes nothing.
    Reader,
    /// Brings rows in, and sees what became of them.
    Loader,
    /// Everything but administration.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Loader, Self::Operator, Self::Admin];

    /// Its name, as the clients file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Loader => "loader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == name);
        role.ok_or_else(|| "a role is reader, loader, operator or admin".to_owned())
    }
}

/// What kind of call an RPC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Looks at what is there.
    Read,
    /// Looks at what became of rows, by the names that their loader knows. Batches do not belong to clients: a
    /// loader who knows the name of another's batch may look at it.
    Follow,
    /// Brings rows in.
    Load,
    /// Changes what is there.
    Operate,
    /// Overrules somebody: a person's no, or the loader of a batch.
    Administer,
}

impl Rule {
    /// Who may.
    pub(super) fn roles(self) -> &'static [Role] {
        use Role::{Admin, Loader, Operator, Reader};
        match self {
            Self::Read => &[Reader, Operator, Admin],
            Self::Follow => &[Reader, Loader, Operator, Admin],
            Self::Load => &[Loader, Operator, Admin],
            Self::Operate => &[Operator, Admin],
            Self::Administer => &[Admin],
        }
    }
}

use Rule::{Administer, Follow, Load, Operate, Read};

/// A service, and the rules of its RPCs.
type Service = (&'static str, &'static [(&'static str, Rule)]);

/// The table.
const SERVICES: [Service; 5] = [
    (
        "leadvault.intake.v1.IntakeService",
        &[
            ("IngestRows", Load),
            ("BulkIngest", Load),
            ("GetBatch", Follow),
            ("ListBatches", Follow),
            ("GetRawLoad", Follow),
            ("ListRawLoads", Read),
            ("ListRejectedRows", Follow),
            ("TraceRow", Follow),
            ("AbandonBatch", Administer),
            ("RetryFailedLoads", Operate),
            ("ListAuditLog", Read),
        ],
    ),
    (
        "leadvault.vault.v1.VaultService",
        &[
            ("PromoteContacts", Operate),
            ("GetContact", Read),
            ("BatchGetContacts", Read),
            ("ListContacts", Read),
            ("ExportContacts", Read),
            ("UpdateContact", Operate),
            ("DeleteContact", Operate),
            ("BatchScoreContacts", Operate),
            ("SuppressContacts", Operate),
            ("UnsuppressContact", Administer),
            ("ListSuppressions", Read),
            ("CheckContactability", Read),
        ],
    ),
    (
        "leadvault.company.v1.CompanyService",
        &[
            ("StageCompanies", Load),
            ("StageCompaniesFromVault", Operate),
            ("ListCompanySlots", Read),
            ("PromoteCompanies", Operate),
            ("GetCompany", Read),
            ("BatchGetCompanies", Read),
            ("ListCompanies", Read),
            ("UpdateCompany", Operate),
            ("ArchiveCompany", Operate),
            ("ListCompanyHistory", Read),
        ],
    ),
    (
        "leadvault.people.v1.PeopleService",
        &[
            ("StagePeople", Load),
            ("StagePeopleFromVault", Operate),
            ("ListPersonSlots", Read),
            ("PromotePeople", Operate),
            ("GetPerson", Read),
            ("BatchGetPeople", Read),
            ("ListPeople", Read),
            ("UpdatePerson", Operate),
            ("ArchivePerson", Operate),
            ("ListPersonHistory", Read),
            ("PutIntelligence", Operate),
            ("GetIntelligence", Read),
            ("EnqueueEnrichment", Operate),
            ("LeaseEnrichment", Operate),
            ("CompleteEnrichment", Operate),
            ("FailEnrichment", Operate),
            ("ListEnrichment", Read),
            ("ReviveEnrichment", Operate),
            ("GetEnrichmentStats", Read),
        ],
    ),
    (
        "leadvault.marketing.v1.MarketingService",
        &[
            ("CreateCampaign", Operate),
            ("GetCampaign", Read),
            ("ListCampaigns", Read),
            ("UpdateCampaign", Operate),
            ("StartCampaign", Operate),
            ("PauseCampaign", Operate),
            ("ResumeCampaign", Operate),
            ("CompleteCampaign", Operate),
            ("RecordOutreach", Operate),
            ("RecordEngagements", Operate),
            ("ListOutreach", Read),
            ("RecordConversions", Operate),
            ("ListConversions", Read),
            ("GetAttributionReport", Read),
            ("GetCampaignPerformance", Read),
            ("ListCampaignPerformance", Read),
            ("GetFunnel", Read),
            ("ListSourceQuality", Read),
            ("CreateFeedbackReport", Operate),
            ("ListFeedbackReports", Read),
        ],
    ),
];

/// The rule of each path, such as `/leadvault.vault.v1.VaultService/GetContact`.
pub(super) type Rules = HashMap<String, Rule>;

/// The table as it is looked up, once it is known to name every RPC of the descriptors and nothing else.
pub(super) fn rules(descriptors: &[u8]) -> Result<Rules, Error> {
    let rules: Rules = SERVICES
        .iter()
        .flat_map(|(service, rules)| {
            let path = move |method| format!("/{service}/{method}");
            rules
                .iter()
                .map(move |(method, rule)| (path(method), *rule))
        })
        .collect();
    let paths = paths(descriptors)?;
    let missing = paths.iter().find(|path| !rules.contains_key(*path));
    if let Some(path) = missing {
        return Err(Error::NoRule(path.clone()));
    }
    match rules.keys().find(|rule| !paths.contains(rule)) {
        Some(rule) => Err(Error::NoRpc(rule.clone())),
        None => Ok(rules),
    }
}

/// The paths of every RPC of the descriptors.
fn paths(descriptors: &[u8]) -> Result<Vec<String>, Error> {
    let set = prost_types::FileDescriptorSet::decode(descriptors)
        .map_err(|error| Error::Descriptors(error.to_string()))?;
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let path = |method: &prost_types::MethodDescriptorProto| {
                format!("/{}.{}/{}", file.package(), service.name(), method.name())
            };
            paths.extend(service.method.iter().map(path));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use prost_types::{FileDescriptorSet, MethodDescriptorProto};

    use super::*;
    use crate::proto::DESCRIPTORS;

    /// The descriptors after a change of the first service's methods.
    fn changed(change: impl FnOnce(&mut Vec<MethodDescriptorProto>)) -> Vec<u8> {
        let mut set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut services = set.file.iter_mut().flat_map(|file| &mut file.service);
        change(&mut services.next().unwrap().method);
        set.encode_to_vec()
    }

    #[test]
    fn every_rpc_has_a_rule() {
        assert!(rules(DESCRIPTORS).unwrap().len() >= 70);
    }

    #[test]
    fn an_rpc_without_a_rule_and_a_rule_without_an_rpc_are_refused() {
        let more = changed(|methods| {
            methods.push(MethodDescriptorProto {
                name: Some("GetSecrets".to_owned()),
                ..MethodDescriptorProto::default()
            });
        });
        let refusal = rules(&more).unwrap_err().to_string();
        assert!(refusal.contains("/GetSecrets"), "{refusal}");

        let mut gone = None;
        let fewer = changed(|methods| gone = methods.pop());
        let refusal = rules(&fewer).unwrap_err().to_string();
        assert!(refusal.contains(gone.unwrap().name()), "{refusal}");
    }
}
