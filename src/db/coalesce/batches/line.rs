//! The line of those who wait to be written, and how many write.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

/// A caller who waits.
pub(super) struct Waiting<Item, Answer> {
    /// What is to be written.
    pub(super) items: Vec<Item>,
    /// Where it hears of it; closed once it gave up.
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Callers who wait, first come, first served.
pub(super) struct Line<Item, Answer> {
    most_writers: usize,
    most_items: usize,
    state: Mutex<State<Item, Answer>>,
}

struct State<Item, Answer> {
    writers: usize,
    /// How many items wait, over all.
    items: usize,
    /// Each with the time since when.
    waiting: VecDeque<(Instant, Waiting<Item, Answer>)>,
}

impl<Item, Answer> Waiting<Item, Answer> {
    /// Answers it; one that went away does not hear.
    pub(super) fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

impl<Item, Answer> Line<Item, Answer> {
    /// A line of at most so many items, for so many writers.
    pub(super) fn new(most_writers: usize, most_items: usize) -> Self {
        Self {
            most_writers,
            most_items,
            state: Mutex::new(State {
                writers: 0,
                items: 0,
                waiting: VecDeque::new(),
            }),
        }
    }

    /// Lets a caller wait; whether that takes one writer more.
    ///
    /// # Errors
    /// The most items that may wait, where there is no room.
    pub(super) fn enter(&self, caller: Waiting<Item, Answer>) -> Result<bool, usize> {
        let mut state = self.state();
        if !state.has_room(&caller, self.most_items) {
            state.forget_who_gave_up();
            if !state.has_room(&caller, self.most_items) {
                return Err(self.most_items);
            }
        }
        state.items += caller.items.len();
        state.waiting.push_back((Instant::now(), caller));
        let one_more = state.writers < self.most_writers;
        state.writers += usize::from(one_more);
        Ok(one_more)
    }

    /// Those who come first and have not given up, as long as their items are at most so many; one in any case.
    pub(super) fn take(&self, most: usize) -> Vec<Waiting<Item, Answer>> {
        let mut count = 0;
        self.state().take_while(|_, caller| {
            count += caller.items.len();
            count == caller.items.len() || count <= most
        })
    }

    /// Those who waited at that time already.
    pub(super) fn take_older(&self, time: Instant) -> Vec<Waiting<Item, Answer>> {
        self.state().take_while(|since, _| since <= time)
    }

    /// Where nobody waits there is one writer less, and this says so.
    pub(super) fn end_if_empty(&self) -> bool {
        let mut state = self.state();
        let is_empty = state.waiting.is_empty();
        state.writers -= usize::from(is_empty);
        is_empty
    }

    /// A writer is lost. Where it was the last one nobody is left waiting for it: they hear that by what is dropped.
    pub(super) fn lose_writer(&self) {
        let mut state = self.state();
        state.writers -= 1;
        if state.writers == 0 {
            state.items = 0;
            state.waiting.clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<Item, Answer>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Item, Answer> State<Item, Answer> {
    fn has_room(&self, caller: &Waiting<Item, Answer>, most: usize) -> bool {
        self.items + caller.items.len() <= most
    }

    fn forget_who_gave_up(&mut self) {
        let items = &mut self.items;
        self.waiting.retain(|(_, caller)| {
            let gave_up = caller.answer.is_closed();
            *items -= if gave_up { caller.items.len() } else { 0 };
            !gave_up
        });
    }

    /// Takes callers from the front, without those who gave up.
    fn take_while(
        &mut self,
        mut wanted: impl FnMut(Instant, &Waiting<Item, Answer>) -> bool,
    ) -> Vec<Waiting<Item, Answer>> {
        let mut taken = Vec::new();
        while let Some((since, caller)) = self.waiting.front() {
            let gave_up = caller.answer.is_closed();
            if !gave_up && !wanted(*since, caller) {
                break;
            }
            let Some((_, caller)) = self.waiting.pop_front() else {
                break;
            };
            self.items -= caller.items.len();
            if !gave_up {
                taken.push(caller);
            }
        }
        taken
    }
}
