//! What calls of many items read: a connection keeps the plan that it made while there was little, until statistics
//! know better, and must not read all there is with it by then.

use std::time::SystemTime;

use leadvault::proto::{
    intake::v1::RetryFailedLoadsRequest,
    marketing::v1::{
        BounceType, ConversionType, EngagementKind, MessageType, OutreachChannel,
        RecordConversionsRequest, RecordEngagementsRequest, RecordOutreachRequest,
        record_conversions_request as conversions, record_engagements_request::Event,
        record_outreach_request as outreach,
    },
    people::v1::{
        EnqueueEnrichmentRequest, ReviveEnrichmentRequest,
        enqueue_enrichment_request as enrichment, people_service_client::PeopleServiceClient,
    },
    vault::v1::{
        BatchScoreContactsRequest, Channel, SuppressContactsRequest, SuppressionReason,
        UnsuppressContactRequest, batch_score_contacts_request::Score,
        suppress_contacts_request::Entry,
    },
};

use crate::harness::App;

/// How many calls make a connection keep its plans: six are enough, and there are two connections.
const CALLS: usize = 20;

/// Whom the calls are about, by number: people with their contacts, messages, failed loads and dead entries.
const FEW: &str = "
    INSERT INTO vault.contacts (contact_id, email, source)
    SELECT 100000 + n, format('p%s@x.example', n), 'apollo' FROM generate_series(0, 39) AS n;
    INSERT INTO people.master (id, email)
    SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid, format('p%s@x.example', n)
    FROM generate_series(0, 79) AS n;
    INSERT INTO marketing.outreach_history (id, person_id, channel, message_type, sent_at, status)
    SELECT id, id, 'email', 'initial', now(), 'sent' FROM people.master;
    INSERT INTO ple.enrichment_queue
        (person_id, state, priority, max_failures, available_at, enqueued_at, enqueued_by, ended_at)
    SELECT id, 'dead', 1, 5, now(), now(), 'me', now() FROM people.master ORDER BY id LIMIT 40;
    INSERT INTO intake.raw_loads (load_id, batch_id, source, raw_data, status)
    SELECT 100000 + n, 'b', 'apollo', jsonb_build_object('email', format('f%s@x.example', n)), 'failed'
    FROM generate_series(0, 39) AS n";

/// All the others, who come later.
const MANY: &str = "
    INSERT INTO vault.contacts (email, source)
    SELECT format('m%s@x.example', n), 'apollo' FROM generate_series(1, 3000) AS n;
    INSERT INTO people.master (email) SELECT format('m%s@x.example', n) FROM generate_series(1, 3000) AS n;
    INSERT INTO marketing.campaigns (name, type)
    SELECT n::text, 'cold_outreach' FROM generate_series(1, 3000) AS n;
    INSERT INTO marketing.outreach_history (person_id, channel, message_type, sent_at, status)
    SELECT id, 'email', 'initial', now(), 'sent' FROM people.master WHERE email LIKE 'm%';
    INSERT INTO marketing.engagement_events (event_id, outreach_id, kind, occurred_at, recorded_at)
    SELECT id::text, id, 'opened', now(), now() FROM marketing.outreach_history WHERE id <> person_id;
    INSERT INTO marketing.attribution (person_id, conversion_type, converted_at)
    SELECT id, 'meeting', now() FROM people.master WHERE email LIKE 'm%';
    INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by, created_at)
    SELECT format('s%s@x.example', n), 'all', 'manual', 'x', 'me', now() FROM generate_series(1, 3000) AS n;
    INSERT INTO intake.raw_loads (batch_id, source, raw_data, status)
    SELECT 'b', 'apollo', jsonb_build_object('email', format('l%s@x.example', n)), 'failed'
    FROM generate_series(1, 3000) AS n;
    INSERT INTO intake.email_claims (email, load_id, accepted_at, content_hash)
    SELECT raw_data ->> 'email', load_id, now(), 1 FROM intake.raw_loads WHERE load_id < 100000;
    INSERT INTO ple.enrichment_queue
        (person_id, state, priority, max_failures, available_at, enqueued_at, enqueued_by, ended_at)
    SELECT p.id, s.state, 1, 5, now(), now(), 'me', CASE WHEN s.state <> 'queued' THEN now() END
    FROM people.master AS p
    CROSS JOIN LATERAL (
        SELECT (ARRAY['queued', 'dead', 'completed'])[1 + substr(p.email, 2, strpos(p.email, '@') - 2)::integer % 3])
        AS s (state)
    WHERE p.email LIKE 'm%'";

/// What was read of tables and indexes, where it is more than the calls are about: who reads all in each call reads
/// 60,000. A table that is small for good may be read as a whole.
const READ: &str = "
    SELECT format('%s rows of %s, one by one', seq_tup_read, relid::regclass) FROM pg_stat_user_tables
    WHERE seq_tup_read > 10000
    UNION ALL
    SELECT format('%s entries of %s', idx_tup_read, indexrelname) FROM pg_stat_user_indexes
    WHERE idx_tup_read > 10000";

/// Calls with numbers while there is little, and then while there is much, none of which is read but what they ask
/// for.
async fn assert_reads_its_own(call: impl AsyncFn(&App, usize)) {
    let app = App::start_with(&["--pool-size=2"]).await;
    let sql = app.sql().await;
    sql.run(FEW).await;
    for number in 0..CALLS {
        call(&app, number).await;
    }
    sql.run(MANY).await;
    // What this connection read is told before it is forgotten.
    sql.run("SELECT pg_stat_force_next_flush()").await;
    sql.run("SELECT pg_stat_reset()").await;
    for number in CALLS..2 * CALLS {
        call(&app, number).await;
    }
    app.stop().await;
    sql.until_alone().await;
    let read = sql.rows(READ, &[]).await;
    let read: Vec<&str> = read.iter().map(|row| row.get(0)).collect();
    assert!(read.is_empty(), "{read:?}");
}

/// The person, or the message, with a number.
fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

#[tokio::test(flavor = "multi_thread")]
async fn record_outreach_reads_its_own() {
    assert_reads_its_own(async |app, number| {
        let request = RecordOutreachRequest {
            items: vec![outreach::Item {
                outreach_id: uuid::Uuid::new_v4().to_string(),
                person_id: id(number),
                channel: OutreachChannel::Email.into(),
                message_type: MessageType::Initial.into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        app.marketing()
            .await
            .record_outreach(request)
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn record_engagements_reads_its_own() {
    let kinds = [
        (EngagementKind::Opened, BounceType::Unspecified),
        (EngagementKind::Bounced, BounceType::Soft),
        (EngagementKind::Bounced, BounceType::Hard),
    ];
    assert_reads_its_own(async |app, number| {
        let events = kinds
            .iter()
            .enumerate()
            .map(|(nth, (kind, bounce_type))| Event {
                event_id: format!("{number}-{nth}"),
                outreach_id: id(number),
                kind: (*kind).into(),
                bounce_type: (*bounce_type).into(),
                occur_time: Some(SystemTime::now().into()),
            });
        let request = RecordEngagementsRequest {
            events: events.collect(),
            ..Default::default()
        };
        let mut client = app.marketing().await;
        client.record_engagements(request).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn record_conversions_reads_its_own() {
    assert_reads_its_own(async |app, number| {
        let request = RecordConversionsRequest {
            items: vec![conversions::Item {
                conversion_id: uuid::Uuid::new_v4().to_string(),
                person_id: id(number),
                conversion_type: ConversionType::Meeting.into(),
                conversion_time: Some(SystemTime::now().into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut client = app.marketing().await;
        client.record_conversions(request).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_score_contacts_reads_its_own() {
    assert_reads_its_own(async |app, number| {
        let request = BatchScoreContactsRequest {
            scores: vec![Score {
                contact_id: 100_000 + number as i64,
                score: "7".into(),
                reason: "fits".into(),
            }],
            ..Default::default()
        };
        app.vault()
            .await
            .batch_score_contacts(request)
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suppressing_and_lifting_reads_its_own() {
    assert_reads_its_own(async |app, number| {
        let mut client = app.vault().await;
        let email = format!("p{number}@x.example");
        let request = SuppressContactsRequest {
            entries: vec![Entry {
                email: email.clone(),
                scope: Channel::All.into(),
                reason: SuppressionReason::Manual.into(),
                evidence: "said so".into(),
            }],
            ..Default::default()
        };
        client.suppress_contacts(request).await.unwrap();
        let request = UnsuppressContactRequest {
            email,
            scope: Channel::All.into(),
            evidence: "ticket 7".into(),
            ..Default::default()
        };
        client.unsuppress_contact(request).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enqueueing_and_reviving_reads_its_own() {
    assert_reads_its_own(async |app, number| {
        let mut client = PeopleServiceClient::new(app.channel().await);
        let request = EnqueueEnrichmentRequest {
            entries: vec![enrichment::Entry {
                person_id: id(2 * CALLS + number),
                priority: 1,
            }],
            ..Default::default()
        };
        client.enqueue_enrichment(request).await.unwrap();
        let request = ReviveEnrichmentRequest {
            person_ids: vec![id(number)],
        };
        client.revive_enrichment(request).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_failed_loads_reads_its_own() {
    assert_reads_its_own(async |app, number| {
        let request = RetryFailedLoadsRequest {
            load_ids: vec![100_000 + number as i64],
            ..Default::default()
        };
        app.intake()
            .await
            .retry_failed_loads(request)
            .await
            .unwrap();
    })
    .await;
}
