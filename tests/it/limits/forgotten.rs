//! A network that looks well and brings no answer any more, where no deadline ends the wait for one.

use tonic::Code;

use crate::harness::{App, Lane, Network, Proxy, fresh_database, open, refusal, rows::people};

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_answer_never_comes_ends_its_stream() {
    let proxy = Proxy::before(&fresh_database().await).await;
    let flags = ["--pool-size=1", "--statement-timeout=5"];
    let app = App::start_on(proxy.url.clone(), &flags).await;
    let client = app.intake().await;
    let (mut lane, _) = Lane::open(client.clone(), open("b", "crash"))
        .await
        .unwrap();
    lane.rows(0, &people(0..2)).await.unwrap();

    proxy.turn(Network::Forgetful);
    let refusal =
        refusal(lane.rows(2, &people(2..4)).await).is(Code::Unavailable, "DATABASE_UNAVAILABLE");
    assert!(refusal.retry, "{refusal:?}");

    let (mut lane, opened) = Lane::open(client, open("b", "crash")).await.unwrap();
    assert_eq!(opened.next_offset, 2);
    lane.rows(2, &people(2..4)).await.unwrap();
    let tally = lane.finish(4).await.unwrap().tally.unwrap();
    assert_eq!(tally.accepted, 4);
    app.stop().await;
}
