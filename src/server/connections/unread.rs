//! The answers that a client has still to take.
//!
//! Whoever does not read an answer leaves it in memory, and keeps its place from others. HTTP/2 gives no way to take
//! back a stream that waits for its client to have room for it; a connection can be closed.
//!
//! Guarantee: a connection on which an answer waits for twice the time that an answer has is closed by then, and none is
//! on which answers wait for less than that time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The answers of a connection that wait to be read. Time goes in periods, and each is remembered by the one in which
/// it began to wait, so that nothing has to be locked or searched.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Unread(Arc<Periods>);

#[derive(Debug, Default)]
struct Periods {
    current: AtomicUsize,
    /// How many wait since an even period, and how many since an odd one.
    waiting: [AtomicUsize; 2],
}

/// An answer that waits, until this is dropped.
#[derive(Debug)]
pub(in crate::server) struct Waiting {
    unread: Unread,
    since: usize,
}

impl Unread {
    /// An answer waits from now on.
    pub(in crate::server) fn wait(&self) -> Waiting {
        let since = self.0.current.load(Ordering::Relaxed);
        self.of(since).fetch_add(1, Ordering::Relaxed);
        Waiting {
            unread: self.clone(),
            since,
        }
    }

    /// Begins a period, unless one that waited for all of the last one still does; says whether it began.
    pub(super) fn next_period(&self) -> bool {
        let next = self.0.current.load(Ordering::Relaxed).wrapping_add(1);
        let is_clear = self.of(next).load(Ordering::Relaxed) == 0;
        if is_clear {
            self.0.current.store(next, Ordering::Relaxed);
        }
        is_clear
    }

    fn of(&self, period: usize) -> &AtomicUsize {
        let [even, odd] = &self.0.waiting;
        if period.is_multiple_of(2) { even } else { odd }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.unread.of(self.since).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_whole_period_is_found() {
        let unread = Unread::default();
        drop(unread.wait());
        assert!(unread.next_period());
        let waiting = unread.wait();
        assert!(unread.next_period());
        let another = unread.wait();
        assert!(!unread.next_period());
        drop(waiting);
        assert!(unread.next_period());
        drop(another);
        assert!(unread.next_period());
    }
}
