//! A warning that may come very often.

use std::time::{Duration, Instant};

/// Says when it is time to say something again.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    said: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// How long it is silent after it was said.
    pub(super) const PERIOD: Duration = Duration::from_secs(10);

    /// How often it was left out since it was said last, where it is to be said now.
    pub(super) fn says(&mut self) -> Option<u64> {
        self.says_at(Instant::now())
    }

    fn says_at(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now < said + Self::PERIOD) {
            self.left_out += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_period_with_how_often_it_was_left_out() {
        let mut seldom = Seldom::default();
        let begun = Instant::now();
        assert_eq!(seldom.says_at(begun), Some(0));
        assert_eq!(seldom.says_at(begun), None);
        assert_eq!(seldom.says_at(begun + Seldom::PERIOD / 2), None);
        assert_eq!(seldom.says_at(begun + Seldom::PERIOD), Some(2));
        assert_eq!(seldom.says_at(begun + Seldom::PERIOD * 2), Some(0));
    }
}
