//! The gate's batches are of several callers, so that none of their deadlines ends one: an answer that never comes does
//! not hold them for ever.

use tonic::Code;

use super::{active, email_to, people, record, try_record};
use crate::harness::{App, Network, Proxy, Sql, fresh_database, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_opens_again_where_the_network_forgot_its_connection() {
    let url = fresh_database().await;
    let proxy = Proxy::before(&url).await;
    let flags = ["--pool-size=1", "--statement-timeout=4"];
    let app = App::start_on(proxy.url.clone(), &flags).await;
    let campaign = active(&app, "spring").await.campaign_id;
    let person = people(&Sql::connect(&url).await, &["a@x.example"]).await;
    let message = email_to(&person[0], &campaign);

    proxy.turn(Network::Forgetful);
    let answer = try_record(&app, vec![message.clone()]).await;
    let refusal = refusal(answer).is(Code::Unavailable, "DATABASE_UNAVAILABLE");
    assert!(refusal.retry, "{refusal:?}");
    // Whether it was done nobody knew, and it may be sent again.
    let outcome = &record(&app, vec![message]).await[0];
    assert!(outcome.send_time.is_some(), "{outcome:?}");
    app.stop().await;
}
