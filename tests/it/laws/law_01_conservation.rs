//! Law 1, conservation. For every batch, lane and reply: received = accepted + duplicate + rejected. Every
//! offset's fate can be looked up.

use leadvault::proto::intake::v1::{
    DuplicatePolicy, IngestRowsRequest, RowFate, RowIdentity, RowTally, TraceRowRequest,
    bulk_ingest_request::Open, trace_row_request::Key,
};

use super::{Random, mixed_rows};
use crate::harness::{App, evidence, open};

const LANES: i32 = 4;
const ROWS: usize = 600;

/// Sends a lane in frames of random sizes that overlap at random, over several connections; the tally that
/// its acks of new rows come to.
async fn send_lane(app: &App, open: Open, rows: &[String], random: &mut Random) -> RowTally {
    let mut tally = RowTally::default();
    let mut sent = 0;
    let (mut lane, _) = app.lane(open.clone()).await.unwrap();
    while sent < rows.len() {
        if random.below(8) == 0 {
            let (again, opened) = app.lane(open.clone()).await.unwrap();
            assert_eq!(opened.next_offset, sent as i64);
            lane = again;
        }
        let end = (sent + random.below(80)).min(rows.len());
        let ack = lane.rows(sent as i64, &rows[sent..end]).await.unwrap();
        assert_eq!(ack.accepted + ack.duplicate + ack.rejected, ack.row_count);
        assert_eq!(ack.row_count as usize, end - sent);
        tally.received += i64::from(ack.row_count);
        tally.accepted += i64::from(ack.accepted);
        tally.duplicate += i64::from(ack.duplicate);
        tally.rejected += i64::from(ack.rejected);
        sent = end;
        // A look back, which changes nothing.
        let from = random.below(sent + 1);
        let replay = lane.rows(from as i64, &rows[from..sent]).await.unwrap();
        assert_eq!(replay.replayed as usize, sent - from);
    }
    let summary = lane.finish(rows.len() as i64).await.unwrap();
    assert_eq!(summary.tally, Some(tally));
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn law_1_every_row_of_a_random_mixture_has_one_fate() {
    let app = App::start().await;
    let lanes = (0..LANES).map(|number| {
        let app = &app;
        async move {
            let mut random = Random(u64::try_from(number).unwrap());
            let rows = mixed_rows(&mut random, ROWS);
            let open = Open {
                lane: number,
                lane_count: LANES,
                on_duplicate: DuplicatePolicy::AcceptChanged.into(),
                ..open("b", "apollo")
            };
            send_lane(app, open, &rows, &mut random).await
        }
    });
    let calls = async {
        let mut random = Random(99);
        for _ in 0..10 {
            let rows = mixed_rows(&mut random, 30);
            let request = IngestRowsRequest {
                batch_id: "b".into(),
                source: "apollo".into(),
                json_rows: rows.into_iter().map(Into::into).collect(),
                // The first call may begin the batch.
                on_duplicate: DuplicatePolicy::AcceptChanged.into(),
                ..Default::default()
            };
            let response = evidence::ingest(&app, request).await.unwrap();
            let tally = response.tally.unwrap();
            let letters = evidence::outcome_fates(&response.outcomes);
            let count = |fate| letters.matches(fate).count() as i64;
            assert_eq!(
                (
                    tally.received,
                    tally.accepted,
                    tally.duplicate,
                    tally.rejected
                ),
                (30, count('a'), count('d'), count('r'))
            );
        }
    };
    let (tallies, ()) = tokio::join!(futures_util::future::join_all(lanes), calls);

    evidence::assert_conserved(&app).await;
    let batch = evidence::batch(&app, "b").await;
    for (lane, tally) in batch
        .lanes
        .iter()
        .filter(|lane| lane.lane >= 0)
        .zip(&tallies)
    {
        assert_eq!(lane.tally.as_ref(), Some(tally));
    }
    for tally in batch
        .lanes
        .iter()
        .map(|lane| lane.tally.unwrap())
        .chain(batch.tally)
    {
        assert_eq!(
            tally.received,
            tally.accepted + tally.duplicate + tally.rejected
        );
        assert!(tally.accepted > 0 && tally.duplicate > 0 && tally.rejected > 0);
    }
    let received: i64 = batch.lanes.iter().map(|lane| lane.next_offset).sum();
    assert_eq!(batch.tally.unwrap().received, received);
    assert_eq!(received, LANES as i64 * ROWS as i64 + 300);
}

/// Every offset can be looked up, and nothing else can.
#[tokio::test(flavor = "multi_thread")]
async fn law_1_the_fate_of_every_offset_is_found() {
    let app = App::start().await;
    let mut random = Random(7);
    let rows = mixed_rows(&mut random, 60);
    let open = open("b", "apollo");
    let tally = send_lane(&app, open, &rows, &mut random).await;
    let mut client = app.intake().await;
    let mut trace = async |offset| {
        let row = RowIdentity {
            batch_id: "b".into(),
            lane: 0,
            offset,
        };
        let request = TraceRowRequest {
            key: Some(Key::Row(row)),
        };
        client.trace_row(request).await
    };
    let mut found = RowTally::default();
    for offset in 0..60 {
        let trace = trace(offset).await.unwrap().into_inner();
        found.received += 1;
        match trace.fate() {
            RowFate::Accepted => found.accepted += 1,
            RowFate::Duplicate => found.duplicate += 1,
            RowFate::Rejected => found.rejected += 1,
            RowFate::Unspecified => panic!("row {offset} has no fate"),
        }
        if trace.fate() == RowFate::Rejected {
            let rejected = trace.rejected_row.unwrap();
            assert_eq!(rejected.rejection.unwrap().offset, offset);
            assert_eq!(rejected.original, rows[offset as usize].as_bytes());
        } else {
            let load = trace.load.unwrap();
            assert_eq!((load.lane, load.offset), (0, offset));
        }
    }
    assert_eq!(found, tally);
    crate::harness::refusal(trace(60).await).is(tonic::Code::NotFound, "NOT_FOUND");
}
