//! What lists of messages read.

use leadvault::proto::marketing::v1::{
    ListOutreachRequest, OutreachChannel, OutreachOrder, OutreachStatus,
};

use super::{
    journeys::{campaigns, hour, id, sql_hour},
    people,
};
use crate::harness::App;

/// Of 20,000 messages, one a minute, those that are asked for come in one piece in the middle, and whoever walks the
/// messages of all reads half of them first, in either order.
const MESSAGES: &str = "
    INSERT INTO marketing.outreach_history
        (person_id, campaign_id, channel, message_type, sent_at, status, replied_at)
    SELECT CASE WHEN m.wanted THEN '{late}' ELSE '{early}' END::uuid,
           CASE WHEN m.wanted THEN '{second}' ELSE '{first}' END::uuid,
           CASE WHEN m.wanted THEN 'linkedin' ELSE 'email' END, 'initial', m.sent_at,
           CASE WHEN m.wanted THEN 'replied' ELSE 'sent' END, CASE WHEN m.wanted THEN m.sent_at END
    FROM (SELECT n BETWEEN 9600 AND 10499 AS wanted, {start} + n * interval '1 minute' AS sent_at
          FROM generate_series(1, 20000) AS n) AS m;
    ANALYZE marketing.outreach_history;
    SELECT pg_stat_reset()";

async fn count(app: &App, mut request: ListOutreachRequest) -> usize {
    let mut client = app.marketing().await;
    let mut count = 0;
    loop {
        let page = client.list_outreach(request.clone()).await.unwrap();
        let page = page.into_inner();
        count += page.outreach.len();
        if page.next_page_token.is_empty() {
            return count;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_of_messages_is_read_from_its_index() {
    let app = App::start().await;
    let sql = app.sql().await;
    let who = people(&sql, &["a@x.example", "b@x.example"]).await;
    campaigns(&app, 1..3).await;
    let messages = MESSAGES
        .replace("{early}", &who[0])
        .replace("{late}", &who[1])
        .replace("{first}", &id(1))
        .replace("{second}", &id(2))
        .replace("{start}", &sql_hour(0));
    sql.run(&messages).await;
    let none = ListOutreachRequest {
        page_size: 100,
        ..Default::default()
    };
    let filters = [
        ListOutreachRequest {
            person_id: who[1].clone(),
            ..none.clone()
        },
        ListOutreachRequest {
            campaign_id: id(2),
            ..none.clone()
        },
        ListOutreachRequest {
            channel: OutreachChannel::Linkedin.into(),
            ..none.clone()
        },
        ListOutreachRequest {
            status: OutreachStatus::Replied.into(),
            ..none.clone()
        },
        // From minute 9,600 on, and before minute 10,500.
        ListOutreachRequest {
            sent_from: Some(hour(160)),
            sent_before: Some(hour(175)),
            ..none
        },
    ];
    for request in filters {
        let newest = ListOutreachRequest {
            order_by: OutreachOrder::SentDesc.into(),
            ..request.clone()
        };
        assert_eq!(count(&app, newest).await, 900);
        assert_eq!(count(&app, request).await, 900);
    }
    app.stop().await;
    sql.until_alone().await;
    let read = sql
        .rows(
            "SELECT indexrelname::text, idx_tup_read FROM pg_stat_user_indexes
             WHERE relid = 'marketing.outreach_history'::regclass AND idx_scan > 0 ORDER BY 1",
            &[],
        )
        .await;
    let names: Vec<&str> = read.iter().map(|row| row.get(0)).collect();
    let expected =
        ["campaign_id", "channel", "person_id", "sent_at", "status"].map(|column| match column {
            "sent_at" => "idx_outreach_history_sent_at_id".to_owned(),
            column => format!("idx_outreach_history_{column}_sent_at_id"),
        });
    assert_eq!(names, expected);
    for row in &read {
        let (name, entries): (&str, i64) = (row.get(0), row.get(1));
        // Whoever walks the messages of others reads 9,500 of them for each of the 20 pages. Those of the filter that
        // are left may be sorted where they are so few.
        assert!(
            entries <= 10_000,
            "{entries} entries of {name} for 1,800 messages"
        );
    }
    let walked: i64 = sql
        .one(
            "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = 'marketing.outreach_history'::regclass",
            &[],
        )
        .await;
    assert_eq!(walked, 0);
}
