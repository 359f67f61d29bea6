//! Lists of messages.

use leadvault::proto::marketing::v1::{
    ListOutreachRequest, OutreachChannel, OutreachOrder, OutreachStatus,
};

use super::{active, email_to, outreach::over, people, record};
use crate::harness::App;

async fn listed(app: &App, request: &ListOutreachRequest) -> Vec<String> {
    let mut client = app.marketing().await;
    let mut ids = Vec::new();
    let mut request = ListOutreachRequest {
        page_size: 3,
        ..request.clone()
    };
    loop {
        let page = client
            .list_outreach(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.outreach.len() <= 3);
        ids.extend(page.outreach.into_iter().map(|message| message.outreach_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_listed_by_person_campaign_channel_status_and_time() {
    let app = App::start().await;
    let sql = app.sql().await;
    let people = people(&sql, &["a@x.example", "b@x.example"]).await;
    let spring = active(&app, "Spring").await.campaign_id;
    let mut ids = Vec::new();
    for nth in 0..8 {
        let campaign_id = if nth % 2 == 0 { spring.as_str() } else { "" };
        let channel = if nth < 5 {
            OutreachChannel::Email
        } else {
            OutreachChannel::Linkedin
        };
        let item = over(channel, email_to(&people[nth % 3 % 2], campaign_id));
        ids.push(item.outreach_id.clone());
        record(&app, vec![item]).await;
    }
    sql.run(&format!(
        "UPDATE marketing.outreach_history SET status = 'opened', opened_at = now() WHERE id = '{}'",
        ids[6]
    ))
    .await;
    let all = ListOutreachRequest::default();
    assert_eq!(listed(&app, &all).await, ids);
    let newest = ListOutreachRequest {
        order_by: OutreachOrder::SentDesc.into(),
        ..all.clone()
    };
    let mut backwards = listed(&app, &newest).await;
    backwards.reverse();
    assert_eq!(backwards, ids);
    let page = app
        .marketing()
        .await
        .list_outreach(all.clone())
        .await
        .unwrap()
        .into_inner();
    let (third, opened) = (&page.outreach[3], &page.outreach[6]);
    assert_eq!(opened.status(), OutreachStatus::Opened);
    assert!(opened.open_time.is_some());
    for (request, expected) in [
        (
            ListOutreachRequest {
                person_id: people[1].clone(),
                ..all.clone()
            },
            vec![1, 4, 7],
        ),
        (
            ListOutreachRequest {
                campaign_id: spring,
                ..all.clone()
            },
            vec![0, 2, 4, 6],
        ),
        (
            ListOutreachRequest {
                channel: OutreachChannel::Linkedin.into(),
                ..all.clone()
            },
            vec![5, 6, 7],
        ),
        (
            ListOutreachRequest {
                status: OutreachStatus::Opened.into(),
                ..all.clone()
            },
            vec![6],
        ),
        (
            ListOutreachRequest {
                sent_from: third.send_time,
                ..all.clone()
            },
            vec![3, 4, 5, 6, 7],
        ),
        (
            ListOutreachRequest {
                sent_before: third.send_time,
                ..all.clone()
            },
            vec![0, 1, 2],
        ),
    ] {
        let expected: Vec<&String> = expected.iter().map(|nth: &usize| &ids[*nth]).collect();
        assert_eq!(
            listed(&app, &request).await.iter().collect::<Vec<_>>(),
            expected,
            "{request:?}"
        );
    }
    app.stop().await;
}
