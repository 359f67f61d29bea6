//! The conversions of a period with the touches before them, read for a report: a page at a time, and no more of
//! them than a report may take.
//!
//! A report holds the touches of one conversion at a time, and one sum a campaign: both are bounded by what it may
//! read.

use chrono::{DateTime, SecondsFormat, Utc};
use diesel_async::AsyncPgConnection;
use futures_util::TryStreamExt as _;

use super::super::{
    attribution::{Tally, Touch},
    repository::conversions_report::{self as repository, Period, TouchedConversion},
};
use crate::rpc::Error;

/// The most that a report reads: the touches before its conversions, and a conversion without one.
const MAX_TOUCHES: usize = 500_000;
/// The conversions of one statement.
const PAGE_CONVERSIONS: usize = 500;

/// Adds the conversions of a period to a tally.
pub(super) async fn read(
    connection: &mut AsyncPgConnection,
    period: &Period,
    tally: &mut Tally,
) -> Result<(), Error> {
    let mut reading = Reading::default();
    while reading.page(connection, period, tally).await? == PAGE_CONVERSIONS {}
    Ok(())
}

/// How far a period is read.
#[derive(Default)]
struct Reading {
    touches: usize,
    /// When the first conversion was.
    begin: Option<DateTime<Utc>>,
    last: Option<TouchedConversion>,
}

impl Reading {
    /// Adds the next conversions; how many.
    async fn page(
        &mut self,
        connection: &mut AsyncPgConnection,
        period: &Period,
        tally: &mut Tally,
    ) -> Result<usize, Error> {
        let after = self.last.map(|last| (last.converted_at, last.id));
        // One more says that there is more.
        let left = MAX_TOUCHES - self.touches + 1;
        let limits = [PAGE_CONVERSIONS, left].map(|limit| limit.try_into().unwrap_or(i64::MAX));
        let mut rows = repository::touched_conversions(connection, period, after, limits).await?;
        let (mut conversions, mut touches) = (0, Vec::new());
        let mut current: Option<TouchedConversion> = None;
        while let Some(row) = rows.try_next().await? {
            self.count(&row)?;
            if current.is_none_or(|current| current.id != row.id) {
                add(current, &mut touches, tally);
                conversions += 1;
            }
            touches.extend(touch(&row));
            current = Some(row);
        }
        add(current, &mut touches, tally);
        self.last = current.or(self.last);
        Ok(conversions)
    }

    fn count(&mut self, row: &TouchedConversion) -> Result<(), Error> {
        let begin = *self.begin.get_or_insert(row.converted_at);
        self.touches += 1;
        if self.touches <= MAX_TOUCHES {
            return Ok(());
        }
        let end = row
            .converted_at
            .to_rfc3339_opts(SecondsFormat::Micros, true);
        let advice = if begin < row.converted_at {
            format!(
                "end it at {end} and begin the next there: reports of parts sum to that of the whole"
            )
        } else {
            format!("those of {end} alone are too many, leave that moment out")
        };
        let description = format!(
            "the conversions of the period have more than {MAX_TOUCHES} touches before them, the most that a report reads; {advice}"
        );
        Err(Error::invalid("converted_before", description))
    }
}

/// Adds a conversion with its touches, which are not needed any more.
fn add(conversion: Option<TouchedConversion>, touches: &mut Vec<Touch>, tally: &mut Tally) {
    if let Some(conversion) = conversion {
        tally.add(conversion.cents.into(), touches);
    }
    touches.clear();
}

fn touch(row: &TouchedConversion) -> Option<Touch> {
    Some(Touch {
        at: i128::from(row.touched_at?.timestamp_micros()) * 1_000,
        campaign_id: row.campaign_id,
    })
}
