//! What is there before the writes.

use leadvault::proto::people::v1::{
    LeaseEnrichmentRequest, people_service_client::PeopleServiceClient,
};
use tonic::transport::Channel;

use super::writes::enqueue;
use crate::harness::Sql;

/// What is there before: people, their contacts and company, a message to be, loads and entries that ended badly.
pub(super) struct Ground {
    pub(super) people: Vec<String>,
    pub(super) contact_ids: Vec<i64>,
    pub(super) contact_etag: String,
    pub(super) person_etag: String,
    pub(super) company_id: String,
    pub(super) company_etag: String,
    pub(super) failed_load: i64,
    pub(super) leases: Vec<(String, i64)>,
}

impl Ground {
    pub(super) async fn lay(sql: &Sql, mut people: PeopleServiceClient<Channel>) -> Self {
        sql.run(
            "INSERT INTO vault.contacts (email, source)
             SELECT format('p%s@x.example', n), 'apollo' FROM generate_series(0, 5) AS n;
             INSERT INTO people.master (email) SELECT email FROM vault.contacts ORDER BY email;
             INSERT INTO company.master (domain, name) VALUES ('y.example', 'Y');
             INSERT INTO intake.raw_loads (batch_id, source, raw_data, status)
             VALUES ('failed', 'apollo', '{\"email\": \"failed@x.example\"}', 'failed');
             INSERT INTO intake.batches (batch_id, source, on_duplicate, created_by)
             VALUES ('abandoned', 'apollo', 'mark', 'me');
             SELECT vault.f_suppress('{lifted@x.example}', '{all}', '{manual}', '{said so}', 'me')",
        )
        .await;
        let ids = "SELECT array_agg(id::text ORDER BY email) FROM people.master";
        let who: Vec<String> = sql.one(ids, &[]).await;
        people
            .enqueue_enrichment(enqueue(&who[1..4]))
            .await
            .unwrap();
        let dead = "UPDATE ple.enrichment_queue SET state = 'dead', ended_at = now()
                    WHERE person_id = $1::text::uuid";
        sql.rows(dead, &[&who[3]]).await;
        let request = LeaseEnrichmentRequest {
            worker: "w".into(),
            max_count: 2,
            lease_ms: 600_000,
        };
        let leased = people.lease_enrichment(request).await.unwrap().into_inner();
        let leases = leased.leases.into_iter();
        Self {
            people: who,
            contact_ids: sql
                .one(
                    "SELECT array_agg(contact_id ORDER BY email) FROM vault.contacts",
                    &[],
                )
                .await,
            contact_etag: sql
                .one(
                    "SELECT vault.f_etag(c) FROM vault.contacts AS c WHERE email = 'p5@x.example'",
                    &[],
                )
                .await,
            person_etag: sql
                .one(
                    "SELECT people.f_etag(p) FROM people.master AS p WHERE email = 'p5@x.example'",
                    &[],
                )
                .await,
            company_id: sql.one("SELECT id::text FROM company.master", &[]).await,
            company_etag: sql
                .one("SELECT company.f_etag(c) FROM company.master AS c", &[])
                .await,
            failed_load: sql
                .one(
                    "SELECT load_id FROM intake.raw_loads WHERE status = 'failed'",
                    &[],
                )
                .await,
            leases: leases
                .map(|lease| (lease.person.unwrap().person_id, lease.lease_token))
                .collect(),
        }
    }
}
