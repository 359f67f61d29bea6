//! The writes that may be repeated, room by room.

use std::fmt::Debug;

use futures_util::FutureExt as _;
use leadvault::proto::{
    company::v1::{
        ArchiveCompanyRequest, PromoteCompaniesRequest, StageCompaniesFromVaultRequest,
        StageCompaniesRequest, company_service_client::CompanyServiceClient,
    },
    intake::v1::{
        AbandonBatchRequest, IngestRowsRequest, RetryFailedLoadsRequest,
        intake_service_client::IntakeServiceClient,
    },
    marketing::v1::{
        CampaignType, ConversionType, CreateCampaignRequest, CreateFeedbackReportRequest,
        EngagementKind, MessageType, OutreachChannel, RecordConversionsRequest,
        RecordEngagementsRequest, RecordOutreachRequest, StartCampaignRequest,
        marketing_service_client::MarketingServiceClient,
        record_conversions_request as conversions, record_engagements_request::Event,
        record_outreach_request::Item,
    },
    people::v1::{
        ArchivePersonRequest, CompleteEnrichmentRequest, EnqueueEnrichmentRequest,
        FailEnrichmentRequest, Intelligence, PromotePeopleRequest, PutIntelligenceRequest,
        ReviveEnrichmentRequest, StagePeopleFromVaultRequest, StagePeopleRequest,
        enqueue_enrichment_request::Entry as Enqueued, people_service_client::PeopleServiceClient,
    },
    vault::v1::{
        BatchScoreContactsRequest, Channel as Scope, DeleteContactRequest, PromoteContactsRequest,
        SuppressContactsRequest, SuppressionReason, UnsuppressContactRequest,
        batch_score_contacts_request::Score, suppress_contacts_request::Entry,
        vault_service_client::VaultServiceClient,
    },
};
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use super::{Write, ground::Ground};
use crate::harness::{Lane, open, rows::people};

const CAMPAIGN: &str = "0197a5e2-6f0c-7000-8000-00000000000c";

/// Every write, in an order in which each can be done.
pub(super) fn writes(channel: &Channel, ground: &Ground) -> Vec<Write> {
    let rooms = [
        intake_writes,
        vault_writes,
        company_writes,
        people_writes,
        enrichment_writes,
        marketing_writes,
    ];
    rooms
        .iter()
        .flat_map(|writes| writes(channel, ground))
        .collect()
}

/// Calls by their methods: `unary` ones, and `stream` where the answer is one, of which the last message counts.
macro_rules! write {
    ($kind:ident $client:ident.$method:ident($request:expr) says $says:literal) => {{
        let (client, request) = ($client.clone(), $request);
        Write {
            name: stringify!($method),
            call: Box::new(move || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { $kind(client.$method(request).await?).await }.boxed()
            }),
            says: $says,
        }
    }};
}

async fn unary(answer: tonic::Response<impl Debug>) -> Result<String, Status> {
    Ok(format!("{:?}", answer.into_inner()))
}

async fn stream<T: Debug>(answer: tonic::Response<tonic::Streaming<T>>) -> Result<String, Status> {
    let mut messages = answer.into_inner();
    let mut last = String::new();
    while let Some(message) = messages.message().await? {
        last = format!("{message:?}");
    }
    Ok(last)
}

/// A lane of two rows, from its beginning to its end.
fn bulk_ingest(client: &IntakeServiceClient<Channel>) -> Write {
    let client = client.clone();
    Write {
        name: "bulk_ingest",
        call: Box::new(move || {
            let client = client.clone();
            async move {
                let (mut lane, opened) = Lane::open(client, open("bulk", "crash")).await?;
                lane.rows(0, &people(10..12)).await?;
                let summary = lane.finish(2).await?;
                Ok(format!("{opened:?} {summary:?}"))
            }
            .boxed()
        }),
        says: "finished: true",
    }
}

pub(super) fn enqueue(people: &[String]) -> EnqueueEnrichmentRequest {
    EnqueueEnrichmentRequest {
        entries: people
            .iter()
            .map(|person_id| Enqueued {
                person_id: person_id.clone(),
                priority: 1,
            })
            .collect(),
        ..Default::default()
    }
}

fn intake_writes(channel: &Channel, ground: &Ground) -> Vec<Write> {
    let client = IntakeServiceClient::new(channel.clone());
    let ingest = IngestRowsRequest {
        batch_id: "b".into(),
        source: "crash".into(),
        json_rows: people(0..1).into_iter().map(Into::into).collect(),
        request_id: Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let abandon = AbandonBatchRequest {
        batch_id: "abandoned".into(),
        reason: "stuck".into(),
    };
    let retry = RetryFailedLoadsRequest {
        load_ids: vec![ground.failed_load],
        ..Default::default()
    };
    vec![
        bulk_ingest(&client),
        write!(unary client.ingest_rows(ingest) says "Accepted"),
        write!(unary client.abandon_batch(abandon) says "Abandoned"),
        write!(unary client.retry_failed_loads(retry) says "NotFailed"),
    ]
}

fn vault_writes(channel: &Channel, ground: &Ground) -> Vec<Write> {
    let client = VaultServiceClient::new(channel.clone());
    let suppress = SuppressContactsRequest {
        entries: vec![Entry {
            email: "nobody@x.example".into(),
            scope: Scope::Linkedin.into(),
            reason: SuppressionReason::Manual.into(),
            evidence: "said so".into(),
        }],
        ..Default::default()
    };
    let lift = UnsuppressContactRequest {
        email: "lifted@x.example".into(),
        scope: Scope::All.into(),
        evidence: "ticket 7".into(),
        request_id: Uuid::now_v7().to_string(),
    };
    let delete = DeleteContactRequest {
        contact_id: ground.contact_ids[5],
        etag: ground.contact_etag.clone(),
    };
    let score = BatchScoreContactsRequest {
        scores: vec![Score {
            contact_id: ground.contact_ids[0],
            score: "7".into(),
            reason: "fits".into(),
        }],
        ..Default::default()
    };
    let promote = PromoteContactsRequest::default();
    vec![
        write!(unary client.suppress_contacts(suppress) says "AlreadySuppressed"),
        write!(unary client.unsuppress_contact(lift) says "ticket 7"),
        write!(unary client.delete_contact(delete) says "Inactive"),
        write!(unary client.batch_score_contacts(score) says "Unchanged"),
        write!(stream client.promote_contacts(promote) says "done: 0,"),
    ]
}

fn company_writes(channel: &Channel, ground: &Ground) -> Vec<Write> {
    let client = CompanyServiceClient::new(channel.clone());
    let archive = ArchiveCompanyRequest {
        company_id: ground.company_id.clone(),
        etag: ground.company_etag.clone(),
    };
    let stage = StageCompaniesRequest {
        batch_id: "companies".into(),
        source: "apollo".into(),
        json_rows: vec![br#"{"domain": "z.example"}"#.to_vec().into()],
        offset: Some(0),
        ..Default::default()
    };
    let from_vault = StageCompaniesFromVaultRequest::default();
    let promote = PromoteCompaniesRequest::default();
    vec![
        write!(unary client.archive_company(archive) says "Archived"),
        write!(unary client.stage_companies(stage) says "replayed: true"),
        write!(stream client.stage_companies_from_vault(from_vault) says "done: 0,"),
        write!(stream client.promote_companies(promote) says "done: 0,"),
    ]
}

fn people_writes(channel: &Channel, ground: &Ground) -> Vec<Write> {
    let client = PeopleServiceClient::new(channel.clone());
    let archive = ArchivePersonRequest {
        person_id: ground.people[5].clone(),
        etag: ground.person_etag.clone(),
    };
    let stage = StagePeopleRequest {
        batch_id: "people".into(),
        source: "apollo".into(),
        json_rows: vec![br#"{"email": "new@z.example"}"#.to_vec().into()],
        offset: Some(0),
        ..Default::default()
    };
    let from_vault = StagePeopleFromVaultRequest::default();
    let promote = PromotePeopleRequest::default();
    let put = PutIntelligenceRequest {
        intelligence: Some(Intelligence {
            person_id: ground.people[0].clone(),
            profile_json: "{}".into(),
            fetch_time: Some(std::time::SystemTime::now().into()),
            ..Default::default()
        }),
    };
    vec![
        write!(unary client.archive_person(archive) says "Inactive"),
        write!(unary client.stage_people(stage) says "replayed: true"),
        write!(stream client.stage_people_from_vault(from_vault) says "done: 0,"),
        write!(stream client.promote_people(promote) says "done: 0,"),
        write!(unary client.put_intelligence(put) says "stored: true"),
    ]
}

fn enrichment_writes(channel: &Channel, ground: &Ground) -> Vec<Write> {
    let client = PeopleServiceClient::new(channel.clone());
    let [completed, failed] = [0, 1].map(|nth| ground.leases[nth].clone());
    let complete = CompleteEnrichmentRequest {
        person_id: completed.0,
        lease_token: completed.1,
        not_found_reason: "nobody knows them".into(),
        ..Default::default()
    };
    let fail = FailEnrichmentRequest {
        person_id: failed.0,
        lease_token: failed.1,
        error: "the source was down".into(),
        permanent: false,
    };
    let revive = ReviveEnrichmentRequest {
        person_ids: vec![ground.people[3].clone()],
    };
    let enqueue = enqueue(&ground.people[..1]);
    vec![
        write!(unary client.enqueue_enrichment(enqueue) says "AlreadyQueued"),
        write!(unary client.complete_enrichment(complete) says "Completed"),
        write!(unary client.fail_enrichment(fail) says "the source was down"),
        write!(unary client.revive_enrichment(revive) says "NotDead"),
    ]
}

fn marketing_writes(channel: &Channel, ground: &Ground) -> Vec<Write> {
    let client = MarketingServiceClient::new(channel.clone());
    let create = CreateCampaignRequest {
        campaign_id: CAMPAIGN.into(),
        name: "spring".into(),
        r#type: CampaignType::ColdOutreach.into(),
        ..Default::default()
    };
    let start = StartCampaignRequest {
        campaign_id: CAMPAIGN.into(),
    };
    let send = RecordOutreachRequest {
        items: vec![Item {
            outreach_id: Uuid::now_v7().to_string(),
            person_id: ground.people[0].clone(),
            campaign_id: CAMPAIGN.into(),
            channel: OutreachChannel::Email.into(),
            message_type: MessageType::Initial.into(),
        }],
        ..Default::default()
    };
    let mut send_once = send.clone();
    send_once.request_id = Uuid::now_v7().to_string();
    let now = std::time::SystemTime::now();
    let engage = RecordEngagementsRequest {
        events: vec![Event {
            event_id: "e".into(),
            outreach_id: send.items[0].outreach_id.clone(),
            kind: EngagementKind::Opened.into(),
            occur_time: Some(now.into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let convert = RecordConversionsRequest {
        items: vec![conversions::Item {
            conversion_id: Uuid::now_v7().to_string(),
            person_id: ground.people[0].clone(),
            conversion_type: ConversionType::Meeting.into(),
            conversion_time: Some(now.into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let report = CreateFeedbackReportRequest {
        campaign_id: CAMPAIGN.into(),
        report_date: "2026-01-01".into(),
        ..Default::default()
    };
    vec![
        write!(unary client.create_campaign(create) says "spring"),
        write!(unary client.start_campaign(start) says "Active"),
        write!(unary client.record_outreach(send) says "replayed: true"),
        write!(unary client.record_outreach(send_once) says "replayed: true"),
        write!(unary client.record_engagements(engage) says "Duplicate"),
        write!(unary client.record_conversions(convert) says "replayed: true"),
        write!(unary client.create_feedback_report(report) says "2026-01-01"),
    ]
}
