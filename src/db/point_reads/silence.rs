//! Since when a connection owes answers and has given none.
//!
//! Whoever asked may not wait for as long as it takes to know that a connection is dead; the next one who asks knows it
//! from here. Every read that was asked is owed until its answer came, also where nobody waits for it any more.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What a connection owes.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<Debt>);

#[derive(Debug, Default)]
struct Debt {
    reads: u32,
    /// Of the last answer, or of the first read after a time without any; only looked at while reads are owed.
    since: Option<Instant>,
}

impl Silence {
    /// One more read is on its way.
    pub(super) fn asked(&self) {
        self.asked_at(Instant::now());
    }

    /// One of them was answered.
    pub(super) fn answered(&self) {
        self.answered_at(Instant::now());
    }

    /// How many are on their way.
    pub(super) fn owed(&self) -> u32 {
        self.debt().reads
    }

    /// Whether none was answered for longer than this.
    pub(super) fn is_longer_than(&self, limit: Duration) -> bool {
        self.is_longer_at(Instant::now(), limit)
    }

    fn asked_at(&self, now: Instant) {
        let mut debt = self.debt();
        debt.reads += 1;
        debt.since.get_or_insert(now);
    }

    fn answered_at(&self, now: Instant) {
        let mut debt = self.debt();
        debt.reads = debt.reads.saturating_sub(1);
        debt.since = (debt.reads > 0).then_some(now);
    }

    fn is_longer_at(&self, now: Instant, limit: Duration) -> bool {
        let since = self.debt().since;
        since.is_some_and(|since| now.saturating_duration_since(since) > limit)
    }

    fn debt(&self) -> MutexGuard<'_, Debt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(7);

    #[test]
    fn silence_lasts_from_the_first_read_or_the_last_answer_while_any_is_owed() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let silence = Silence::default();
        assert!(!silence.is_longer_at(at(100), LIMIT), "nothing was asked");

        silence.asked_at(at(100));
        silence.asked_at(at(105));
        assert!(!silence.is_longer_at(at(107), LIMIT));
        assert!(silence.is_longer_at(at(108), LIMIT), "the first one waits");

        silence.answered_at(at(108));
        assert_eq!(silence.owed(), 1);
        assert!(!silence.is_longer_at(at(115), LIMIT), "it spoke at 108");
        assert!(
            silence.is_longer_at(at(116), LIMIT),
            "the second one is still owed"
        );

        silence.answered_at(at(116));
        assert_eq!(silence.owed(), 0);
        assert!(!silence.is_longer_at(at(1_000), LIMIT), "all are answered");
    }
}
