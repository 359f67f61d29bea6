//! Every write that finds its work done, while the standby is away: what is there may have been cut on its way to the
//! standby, so that whoever repeats it waits for the standby like whoever did it.

mod ground;
mod writes;

use futures_util::future::BoxFuture;
use leadvault::proto::people::v1::people_service_client::PeopleServiceClient;
use tonic::{Status, transport::Endpoint};

use self::{ground::Ground, writes::writes};
use super::failover::Pair;
use crate::harness::{Sql, Workspace, until};

/// A write that may be repeated: its name, the call, and what its repetition says.
struct Write {
    name: &'static str,
    call: Box<dyn Fn() -> BoxFuture<'static, Result<String, Status>> + Send>,
    says: &'static str,
}

/// Repeats a write: its commit waits for the standby, and the call for its commit.
async fn repeat(sql: &Sql, write: &Write) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    assert_eq!(sql.one::<i64>(waiting, &[]).await, 0, "{}", write.name);
    let answering = tokio::spawn((write.call)());
    until(write.name, async || {
        let waiting = sql.one::<i64>(waiting, &[]).await == 1;
        assert!(
            !answering.is_finished(),
            "{} was answered before the standby had what it found",
            write.name
        );
        waiting.then_some(())
    })
    .await;
    // As if an administrator went on without the standby, which is done for each commit of the call.
    // Once for each: a second word would end the statement that follows.
    let go_on = "SELECT pid || ' ' || query_start, pg_cancel_backend(pid) FROM pg_stat_activity
                 WHERE wait_event = 'SyncRep' AND pid || ' ' || query_start <> ALL ($1)";
    let mut told = Vec::new();
    until(write.name, async || {
        let waiting = sql.rows(go_on, &[&told]).await;
        told.extend(waiting.iter().map(|row| row.get::<_, String>(0)));
        answering.is_finished().then_some(())
    })
    .await;
    let said = answering.await.unwrap().unwrap();
    assert!(said.contains(write.says), "{}: {said}", write.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_whoever_finds_a_write_done_waits_for_the_standby() {
    let workspace = Workspace::new();
    let pair = Pair::start(&workspace).await;
    let sql = Sql::connect(&pair.primary.url("leads")).await;
    let endpoint = Endpoint::from_shared(pair.service.endpoint()).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let ground = Ground::lay(&sql, PeopleServiceClient::new(channel.clone())).await;
    let writes = writes(&channel, &ground);
    for write in &writes {
        let done = (write.call)().await;
        done.unwrap_or_else(|status| panic!("{}: {status:?}", write.name));
    }
    pair.standby.stop("fast");

    for write in &writes {
        repeat(&sql, write).await;
    }

    pair.standby.start();
    assert_eq!(pair.service.stop().await.0.code(), Some(0));
}
