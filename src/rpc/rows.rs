//! How many rows an answer is about, for the log and the metrics: counted where a message is encoded, so that no
//! handler has to say it.
//!
//! Whoever sends a body asks for the count around each poll of it ([`counted`]); a message that is encoded
//! meanwhile is counted, and anywhere else nothing happens.

use std::{any::Any, cell::Cell};

use crate::proto::{
    company::v1 as company,
    intake::v1::{self as intake, bulk_ingest_response as bulk},
    marketing::v1 as marketing,
    people::v1 as people,
    vault::v1 as vault,
};

tokio::task_local! {
    static COUNTED: Cell<Option<Rows>>;
}

/// Rows of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// So many more than before.
    More(u64),
    /// So many in all.
    Total(u64),
}

impl Rows {
    /// The rows of a call that had so many before.
    pub(crate) fn after(self, before: Option<u64>) -> u64 {
        match self {
            Self::More(more) => before.unwrap_or(0) + more,
            Self::Total(total) => total,
        }
    }
}

/// Polls a body, and says how many rows it sent.
pub(crate) fn counted<T>(poll: impl FnOnce() -> T) -> (T, Option<Rows>) {
    COUNTED.sync_scope(Cell::new(None), || {
        let polled = poll();
        (polled, COUNTED.with(Cell::take))
    })
}

/// A message is encoded.
pub(super) fn count(message: &dyn Any) {
    let Some(rows) = rows_of(message) else {
        return;
    };
    // A client's messages are encoded where nobody asks.
    let _ = COUNTED.try_with(|counted| {
        let both = match (counted.take(), rows) {
            (Some(Rows::More(before)), Rows::More(more)) => Rows::More(before + more),
            (Some(Rows::Total(before)), Rows::More(more)) => Rows::Total(before + more),
            (_, last) => last,
        };
        counted.set(Some(both));
    });
}

macro_rules! rows_of {
    ($(lists: $($list:ident::$message:ident.$field:ident),* $(,)?;)? $(jobs: $($room:ident::$job:ident),* $(,)?;)?) => {
        /// What a message says of rows, where it is about any.
        fn rows_of(message: &dyn Any) -> Option<Rows> {
            $($(
                if let Some(message) = message.downcast_ref::<$list::$message>() {
                    return u64::try_from(message.$field.len()).ok().map(Rows::More);
                }
            )*)?
            $($(
                if let Some(job) = message.downcast_ref::<$room::$job>() {
                    return u64::try_from(job.done).ok().map(Rows::Total);
                }
            )*)?
            message.downcast_ref().and_then(rows_of_bulk)
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($(stringify!($message)),*)?, $($(stringify!($job)),*)?, "BulkIngestResponse"];
    };
}

rows_of! {
    lists:
        intake::IngestRowsResponse.outcomes,
        intake::ListBatchesResponse.batches,
        intake::ListRawLoadsResponse.loads,
        intake::ListRejectedRowsResponse.rows,
        intake::ListAuditLogResponse.entries,
        intake::RetryFailedLoadsResponse.outcomes,
        vault::BatchGetContactsResponse.contacts,
        vault::ListContactsResponse.contacts,
        vault::ExportContactsResponse.contacts,
        vault::BatchScoreContactsResponse.outcomes,
        vault::SuppressContactsResponse.outcomes,
        vault::UnsuppressContactResponse.lifted,
        vault::ListSuppressionsResponse.suppressions,
        vault::CheckContactabilityResponse.answers,
        company::StageCompaniesResponse.outcomes,
        company::ListCompanySlotsResponse.slots,
        company::BatchGetCompaniesResponse.companies,
        company::ListCompaniesResponse.companies,
        company::ListCompanyHistoryResponse.entries,
        people::StagePeopleResponse.outcomes,
        people::ListPersonSlotsResponse.slots,
        people::BatchGetPeopleResponse.people,
        people::ListPeopleResponse.people,
        people::ListPersonHistoryResponse.entries,
        people::EnqueueEnrichmentResponse.outcomes,
        people::LeaseEnrichmentResponse.leases,
        people::ListEnrichmentResponse.entries,
        people::ReviveEnrichmentResponse.outcomes,
        marketing::ListCampaignsResponse.campaigns,
        marketing::RecordOutreachResponse.outcomes,
        marketing::RecordEngagementsResponse.outcomes,
        marketing::ListOutreachResponse.outreach,
        marketing::RecordConversionsResponse.outcomes,
        marketing::ListConversionsResponse.conversions,
        marketing::GetAttributionReportResponse.campaigns,
        marketing::ListCampaignPerformanceResponse.performances,
        marketing::GetFunnelResponse.stages,
        marketing::ListSourceQualityResponse.sources,
        marketing::ListFeedbackReportsResponse.reports;
    jobs:
        vault::PromoteContactsResponse,
        company::StageCompaniesFromVaultResponse,
        company::PromoteCompaniesResponse,
        people::StagePeopleFromVaultResponse,
        people::PromotePeopleResponse;
}

fn rows_of_bulk(response: &intake::BulkIngestResponse) -> Option<Rows> {
    match &response.message {
        Some(bulk::Message::Ack(ack)) => u64::try_from(ack.row_count).ok().map(Rows::More),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::{FileDescriptorSet, field_descriptor_proto::Label};

    use super::*;

    /// A new RPC that answers with many of something has its line above.
    #[test]
    fn every_answer_with_a_list_is_counted() {
        let set = FileDescriptorSet::decode(crate::proto::DESCRIPTORS).unwrap();
        let messages = set.file.iter().flat_map(|file| &file.message_type);
        let lists = messages.filter(|message| {
            let mut fields = message.field.iter();
            message.name().ends_with("Response")
                && fields.any(|field| field.label() == Label::Repeated || field.name() == "done")
        });
        let forgotten: Vec<&str> = lists
            .map(|message| message.name())
            .filter(|name| !NAMES.contains(name))
            .collect();
        assert_eq!(forgotten, Vec::<&str>::new());
    }

    #[test]
    fn what_is_encoded_is_counted_where_somebody_asks() {
        let page = vault::ExportContactsResponse {
            contacts: vec![vault::Contact::default(); 3],
        };
        count(&page);
        let ((), rows) = counted(|| {
            count(&page);
            count(&vault::GetContactResponse::default());
            count(&page);
        });
        assert_eq!(rows, Some(Rows::More(6)));
        assert_eq!(rows.map(|rows| rows.after(Some(4))), Some(10));
        let job = |done| vault::PromoteContactsResponse {
            done,
            ..Default::default()
        };
        let ((), rows) = counted(|| (5..8).for_each(|done| count(&job(done))));
        assert_eq!(rows.map(|rows| rows.after(Some(4))), Some(7));
        assert_eq!(counted(|| ()).1, None);
    }
}
