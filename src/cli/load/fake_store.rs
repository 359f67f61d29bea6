//! What the intake service in memory keeps, how it judges rows, and what can go wrong with it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::proto::{
    intake::v1::{
        Rejection, RowTally,
        bulk_ingest_request::{Open, Row, row},
    },
    r#type::v1::RejectionReason,
};

/// What goes wrong on a stream; one a stream, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Ends without a status after this many frames, the last of them stored in part and not acked.
    Cut(usize),
    /// Answers `open` with UNAVAILABLE.
    Away,
    /// Stores the end of the lane and loses the summary.
    LoseSummary,
    /// Another loader takes the lane after this many frames.
    Fence(usize),
}

/// A lane as it is stored.
#[derive(Debug, Default, Clone)]
pub(crate) struct FakeLane {
    /// Its rows.
    pub(crate) rows: Vec<Row>,
    /// Whether it was finished.
    pub(crate) finished: bool,
}

/// A batch as it is stored.
#[derive(Debug, Default, Clone)]
pub(crate) struct FakeBatch {
    /// Its first `open`.
    pub(crate) open: Open,
    /// Its lanes.
    pub(crate) lanes: BTreeMap<i32, FakeLane>,
}

/// What the service keeps.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// The batches by their ids.
    pub(crate) batches: HashMap<String, FakeBatch>,
    /// What will go wrong.
    pub(crate) faults: VecDeque<Fault>,
    /// How many streams were opened.
    pub(crate) streams: usize,
    /// How many frames without rows came.
    pub(crate) heartbeats: usize,
}

pub(crate) fn refusal(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "leadvault", HashMap::new());
    Status::with_error_details(code, "refused", details)
}

pub(crate) fn is_accepted(row: &Row) -> bool {
    matches!(&row.row, Some(row::Row::Json(json)) if json.starts_with(b"{"))
}

pub(crate) fn tally(rows: &[Row]) -> RowTally {
    let accepted = rows.iter().filter(|row| is_accepted(row)).count() as i64;
    RowTally {
        received: rows.len() as i64,
        accepted,
        duplicate: 0,
        rejected: rows.len() as i64 - accepted,
    }
}

pub(crate) fn rejections(first: usize, rows: &[Row]) -> Vec<Rejection> {
    let rejected = |(index, row): (usize, &Row)| {
        (!is_accepted(row)).then(|| Rejection {
            offset: (first + index) as i64,
            reason: match &row.row {
                Some(row::Row::Unreadable(_)) => RejectionReason::Unreadable.into(),
                Some(row::Row::Oversize(_)) => RejectionReason::RowTooLarge.into(),
                _ => RejectionReason::NotJson.into(),
            },
            ..Rejection::default()
        })
    };
    rows.iter().enumerate().filter_map(rejected).collect()
}
