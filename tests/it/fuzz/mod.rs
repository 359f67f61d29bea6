//! Law 3, fuzzed: whatever bytes a `rows` frame holds, each row ends stored or rejected, as the rules say and as
//! PostgreSQL sees it too; and each load that was accepted ends promoted, or failed with a reason.
//!
//! `cargo test` takes 5,000 rows, the same ones each time. More, and others:
//!
//! ```sh
//! LEADVAULT_FUZZ_CASES=1000000 LEADVAULT_FUZZ_SEED=7 cargo test --test it fuzz -- --nocapture
//! ```

mod emails;
mod expected;
mod found;
mod grammar;
mod values;

use std::collections::{BTreeMap, HashSet};

use leadvault::proto::{
    intake::v1::bulk_ingest_response::Ack,
    vault::v1::{ExportContactsRequest, PromoteContactsRequest},
};
use proptest::{
    strategy::{BoxedStrategy, Strategy as _, ValueTree as _},
    test_runner::{Config, RngSeed, TestRunner},
};
use tonic::Status;

use self::{
    expected::{Expected, expected},
    found::Found,
};
use crate::harness::{App, Lane, evidence, open, rows::json};

const BATCH: &str = "fuzz";
const DEFAULT_CASES: i64 = 5_000;
/// Below what an ack lists of rejections, so that it lists them all.
const FRAME_ROWS: usize = 500;
/// Below `--max-frame-bytes`.
const FRAME_BYTES: usize = 6 * 1024 * 1024;

/// What must occur even in the smallest run: else the generator misses what it is for.
const REASONS: [&str; 11] = [
    "EMPTY_ROW",
    "INVALID_EMAIL",
    "MISSING_EMAIL",
    "NESTED_TOO_DEEPLY",
    "NOT_AN_OBJECT",
    "NOT_JSON",
    "NOT_UTF8",
    "NUMBER_OUT_OF_RANGE",
    "ROW_TOO_LARGE",
    "TEXT_TOO_LONG",
    "UNSTORABLE_TEXT",
];

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().ok().expect("a whole number"),
        Err(_) => default,
    }
}

/// Makes frames of rows, from a seed.
struct Frames {
    rows: BoxedStrategy<Vec<u8>>,
    runner: TestRunner,
    made: usize,
}

impl Frames {
    fn seeded(seed: u64) -> Self {
        Self {
            rows: grammar::any_row(),
            runner: TestRunner::new(Config {
                rng_seed: RngSeed::Fixed(seed),
                failure_persistence: None,
                ..Config::default()
            }),
            made: 0,
        }
    }

    /// The next frame, and whether it goes as one block of lines.
    fn frame(&mut self) -> (Vec<Vec<u8>>, bool) {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < FRAME_ROWS && bytes < FRAME_BYTES {
            let row = self.rows.new_tree(&mut self.runner).unwrap().current();
            bytes += row.len();
            rows.push(row);
        }
        self.made += 1;
        let as_lines = self.made.is_multiple_of(2);
        if as_lines {
            // A line break within a row makes two of it.
            rows = rows
                .iter()
                .flat_map(|row| row.split(|byte| *byte == b'\n'))
                .map(<[u8]>::to_vec)
                .collect();
        }
        (rows, as_lines)
    }
}

/// What came of all rows so far.
#[derive(Default)]
struct Tally {
    rows: i64,
    accepted: i64,
    duplicate: i64,
    rejected: BTreeMap<&'static str, i64>,
    known: HashSet<String>,
}

impl Tally {
    /// Counts a row; the letter of its fate.
    fn count(&mut self, row: &Expected) -> char {
        self.rows += 1;
        match row {
            Err(rejection) => {
                *self.rejected.entry(rejection.reason.as_str()).or_default() += 1;
                'r'
            }
            Ok(email) if self.known.insert(email.as_str().to_owned()) => {
                self.accepted += 1;
                'a'
            }
            Ok(_) => {
                self.duplicate += 1;
                'd'
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_3_any_bytes_of_a_frame_end_stored_or_rejected_and_what_is_stored_promoted_or_failed() {
    let cases = setting("LEADVAULT_FUZZ_CASES", DEFAULT_CASES);
    let seed = setting("LEADVAULT_FUZZ_SEED", 1);
    let app = App::start().await;
    let mut tally = Tally::default();
    send_all(&app, &mut Frames::seeded(seed), cases, &mut tally).await;

    let lane = evidence::lane(&app, BATCH, 0).await.tally.unwrap();
    assert_eq!(
        (lane.received, lane.accepted, lane.duplicate),
        (tally.rows, tally.accepted, tally.duplicate)
    );
    evidence::assert_conserved(&app).await;
    let failed = promote(&app, &tally).await;
    println!(
        "fuzzed with seed {seed}: {} rows, {} accepted, {} duplicate, rejected {:?}; \
         of the accepted {failed} failed in promotion",
        tally.rows, tally.accepted, tally.duplicate, tally.rejected
    );
    let missed: Vec<_> = REASONS
        .iter()
        .filter(|reason| !tally.rejected.contains_key(*reason))
        .collect();
    assert!(missed.is_empty(), "never generated: {missed:?}");
    assert!(tally.accepted > cases / 10 && tally.duplicate > cases / 100);
    app.stop().await;
}

async fn send_all(app: &App, frames: &mut Frames, cases: i64, tally: &mut Tally) {
    let (mut lane, _) = app.lane(open(BATCH, "fuzzer")).await.unwrap();
    let mut found = Found::connect(app).await;
    while tally.rows < cases {
        let (rows, as_lines) = frames.frame();
        let first = tally.rows;
        let ack = match send(&mut lane, first, &rows, as_lines).await {
            Ok(ack) => ack,
            Err(status) => blame(app, &rows, status).await,
        };
        let expected: Vec<_> = rows.iter().map(|row| expected(row)).collect();
        let fates: String = expected.iter().map(|row| tally.count(row)).collect();
        check_ack(&ack, first, &expected, &fates);
        found.check(first, &rows, &expected, &fates).await;
    }
}

async fn send(
    lane: &mut Lane,
    offset: i64,
    rows: &[Vec<u8>],
    as_lines: bool,
) -> Result<Ack, Status> {
    if as_lines {
        return lane.rows(offset, rows).await;
    }
    lane.each(offset, rows.iter().map(json).collect()).await
}

/// A frame failed: says which row did it.
async fn blame(app: &App, rows: &[Vec<u8>], status: Status) -> Ack {
    for (nth, row) in rows.iter().enumerate() {
        let (mut lane, _) = app
            .lane(open(&format!("alone-{nth}"), "fuzzer"))
            .await
            .unwrap();
        if let Err(status) = lane.each(0, vec![json(row)]).await {
            panic!("a row fails its frame: {status:?}\n{}", row.escape_ascii());
        }
    }
    panic!("a frame fails, but none of its rows alone: {status:?}");
}

/// Law 1 of the ack, and each rejection in it.
fn check_ack(ack: &Ack, first: i64, expected: &[Expected], fates: &str) {
    let count = |letter| i32::try_from(fates.matches(letter).count()).unwrap();
    assert_eq!(
        (ack.accepted, ack.duplicate, ack.rejected, ack.replayed),
        (count('a'), count('d'), count('r'), 0)
    );
    assert_eq!(ack.row_count, ack.accepted + ack.duplicate + ack.rejected);
    assert_eq!(ack.next_offset, first + i64::from(ack.row_count));
    let acked = evidence::reasons(&ack.rejections);
    let rejections = (first..).zip(expected).filter_map(|(offset, row)| {
        let rejection = row.as_ref().err()?;
        let reason = format!("REJECTION_REASON_{}", rejection.reason);
        Some((offset, reason, rejection.pointer.clone()))
    });
    let named = acked
        .into_iter()
        .map(|(offset, reason, pointer)| (offset, reason.as_str_name().to_owned(), pointer));
    assert!(named.eq(rejections.take(1_000)), "{ack:?}");
}

/// Promotes what was accepted; how many loads failed. Whatever became a contact can be read.
async fn promote(app: &App, tally: &Tally) -> i64 {
    let mut vault = app.vault().await;
    let request = PromoteContactsRequest {
        batch_id: BATCH.to_owned(),
        ..Default::default()
    };
    let mut progress = vault.promote_contacts(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = progress.message().await.unwrap() {
        last = Some(message);
    }
    let last = last.unwrap();
    assert_eq!((last.done, last.finished), (tally.accepted, true));
    found::check_promoted(app, tally.accepted, last.failed).await;

    let request = ExportContactsRequest::default();
    let mut export = vault.export_contacts(request).await.unwrap().into_inner();
    let mut contacts = 0;
    while let Some(page) = export.message().await.unwrap() {
        contacts += page.contacts.len();
    }
    assert_eq!(contacts as i64, tally.accepted - last.failed);
    last.failed
}
