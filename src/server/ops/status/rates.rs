//! How much happens: the totals of the metrics, sampled into a small ring.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::MissedTickBehavior;

use crate::metrics::{Metrics, Totals};

/// How often the totals are looked at.
const PERIOD: Duration = Duration::from_secs(5);
/// How far back they are kept.
pub(super) const WINDOW: Duration = Duration::from_secs(600);
/// Over how long the rate of now is taken.
const RECENT: Duration = Duration::from_secs(60);
/// What the window takes, and one sample from before it.
const MOST_SAMPLES: usize = 121;

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    totals: Totals,
}

/// The ring; clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::server::ops) struct Rates(Arc<Mutex<VecDeque<Sample>>>);

/// How often something happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    /// A second, over the last minute.
    pub(super) recent: f64,
    /// How long ago, and how often a second since the point before; the newest last.
    pub(super) points: Vec<(Duration, f64)>,
}

impl Rates {
    /// Looks at the totals, for ever.
    pub(in crate::server::ops) fn sample(
        &self,
        metrics: Metrics,
    ) -> impl Future<Output = ()> + use<> {
        let rates = self.clone();
        async move {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                rates.keep(Instant::now(), metrics.totals());
            }
        }
    }

    fn keep(&self, at: Instant, totals: Totals) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == MOST_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample { at, totals });
    }

    /// What was sampled of one total, up to what it is now.
    pub(super) fn series(&self, now: Instant, totals: Totals, of: fn(&Totals) -> u64) -> Series {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Sample> = samples.iter().copied().collect();
        drop(samples);
        let newest = Sample { at: now, totals };
        all.push(newest);
        let rate = |from: &Sample, to: &Sample| {
            // What is younger than a second has had a second.
            let seconds = to.at.saturating_duration_since(from.at).as_secs_f64();
            of(&to.totals).saturating_sub(of(&from.totals)) as f64 / seconds.max(1.0)
        };
        let points = all.windows(2).filter_map(|pair| match pair {
            [from, to] => Some((now.saturating_duration_since(to.at), rate(from, to))),
            _ => None,
        });
        let points = points.filter(|(ago, _)| *ago <= WINDOW).collect();
        let is_recent = |sample: &&Sample| now.saturating_duration_since(sample.at) <= RECENT;
        let recent = all.iter().find(is_recent);
        Series {
            recent: recent.map_or(0.0, |from| rate(from, &newest)),
            points,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: u64) -> Totals {
        Totals {
            rows,
            ..Totals::default()
        }
    }

    #[test]
    fn rates_are_of_the_last_minute_and_the_ring_is_bounded() {
        let rates = Rates::default();
        let start = Instant::now();
        let mut now = start;
        // 100 a second for an hour, then nothing for half a minute.
        for tick in 0..=720 {
            now = start + PERIOD * tick;
            rates.keep(now, rows(u64::from(tick) * 500));
        }
        let total = rows(720 * 500);
        let series = rates.series(now, total, |totals| totals.rows);
        assert_eq!(series.recent, 100.0);
        assert_eq!(series.points.len(), 121);
        // The last one is of now, in which nothing happened yet.
        assert!(series.points[..120].iter().all(|(_, rate)| *rate == 100.0));
        let later = now + Duration::from_secs(30);
        let series = rates.series(later, total, |totals| totals.rows);
        assert_eq!(series.recent, 50.0);
        assert!(series.points.iter().all(|(ago, _)| *ago <= WINDOW));
    }

    #[test]
    fn a_server_that_just_started_has_rates() {
        let rates = Rates::default();
        let now = Instant::now();
        assert_eq!(rates.series(now, rows(7), |t| t.rows).recent, 0.0);
        rates.keep(now, Totals::default());
        assert_eq!(rates.series(now, rows(7), |t| t.rows).recent, 7.0);
    }
}
