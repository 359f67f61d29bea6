//! Streams that nobody uses, or whose answers nobody takes, end and free what they held.

use leadvault::proto::vault::v1::ExportContactsRequest;
use tonic::Code;

use crate::harness::{App, Lane, open, refusal, until};

/// Must-show: a thousand idle streams are cut by the idle timeout.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_streams_are_cut() {
    let flags = [
        "--max-streams=1000",
        "--max-streams-per-client=1000",
        "--stream-idle-timeout=20",
    ];
    let app = App::start_with(&flags).await;
    // One connection carries them all.
    let client = app.intake().await;
    let mut lanes = Vec::new();
    for number in 0..500 {
        let lane = open(&format!("b{number}"), "apollo");
        lanes.push(Lane::open(client.clone(), lane).await.unwrap().0);
        // And one that says nothing at all.
        lanes.push(Lane::connect(client.clone()).await);
    }
    for mut lane in lanes {
        refusal(lane.receive().await).is(Code::DeadlineExceeded, "STREAM_IDLE");
    }
    app.stop().await;
}

/// An export holds a transaction: who does not read must not hold it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_ends_its_export() {
    let app = App::start_with(&["--stream-idle-timeout=4"]).await;
    let owner = app.sql().await;
    owner
        .run(
            "INSERT INTO vault.contacts (email, source, custom_fields)
             SELECT 'p' || n || '@x.example', 'apollo', jsonb_build_object('note', repeat('x', 100000))
             FROM generate_series(1, 400) AS n",
        )
        .await;
    let open_transactions = "SELECT count(*) FROM pg_stat_activity
                             WHERE datname = current_database() AND backend_type = 'client backend' AND xact_start IS NOT NULL
                               AND pid <> pg_backend_pid()";
    let request = ExportContactsRequest::default();
    let mut export = app.vault().await.export_contacts(request).await.unwrap();
    until("the export runs", async || {
        (owner.one::<i64>(open_transactions, &[]).await > 0).then_some(())
    })
    .await;
    until("it ends", async || {
        (owner.one::<i64>(open_transactions, &[]).await == 0).then_some(())
    })
    .await;
    // Whoever reads after all is told, however late: here after several times of what is waited for it.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let stream = export.get_mut();
    let ended = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if it were whole"),
            Err(status) => break status,
        }
    };
    let refused = refusal(Err::<(), _>(ended)).is(Code::DeadlineExceeded, "STREAM_IDLE");
    assert!(
        refused.message.contains("stream-idle-timeout"),
        "{refused:?}"
    );
    app.stop().await;
}
