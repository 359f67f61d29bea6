//! Who leads and who waits, among callers who ask at the same time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Callers who ask; a few of them at a time lead.
pub(super) struct Queue<Ask, Answer> {
    most_leaders: usize,
    state: Mutex<State<Ask, Answer>>,
}

struct State<Ask, Answer> {
    leaders: usize,
    waiting: VecDeque<Follower<Ask, Answer>>,
}

/// A caller who waits for its turn.
pub(super) struct Follower<Ask, Answer> {
    /// What it asks.
    pub(super) ask: Ask,
    turn: oneshot::Sender<Turn<Ask, Answer>>,
}

/// What a caller who waited gets; nothing where its leader failed.
pub(super) enum Turn<Ask, Answer> {
    /// The answer.
    Answered(Answer),
    /// The lead.
    Leads(Lead<Ask, Answer>),
}

/// Where a caller waits for its turn.
pub(super) type Waiting<Ask, Answer> = oneshot::Receiver<Turn<Ask, Answer>>;

/// The right to send a statement. Whoever drops it, also unused, passes it on.
pub(super) struct Lead<Ask, Answer>(Option<Arc<Queue<Ask, Answer>>>);

impl<Ask, Answer> Queue<Ask, Answer> {
    /// A queue of which so many lead at the same time.
    pub(super) fn new(most_leaders: usize) -> Arc<Self> {
        Arc::new(Self {
            most_leaders,
            state: Mutex::new(State {
                leaders: 0,
                waiting: VecDeque::new(),
            }),
        })
    }

    /// The caller's turn, at once or after it waited; nothing where its leader failed.
    pub(super) async fn turn(queue: &Arc<Self>, ask: &Ask) -> Option<Turn<Ask, Answer>>
    where
        Ask: Clone,
    {
        match Self::enter(queue, ask) {
            Ok(lead) => Some(Turn::Leads(lead)),
            Err(waiting) => waiting.await.ok(),
        }
    }

    /// The lead, or where to wait for one's turn.
    fn enter(queue: &Arc<Self>, ask: &Ask) -> Result<Lead<Ask, Answer>, Waiting<Ask, Answer>>
    where
        Ask: Clone,
    {
        let mut state = queue.state();
        if state.leaders < queue.most_leaders {
            state.leaders += 1;
            return Ok(Lead(Some(Arc::clone(queue))));
        }
        let (turn, come) = oneshot::channel();
        state.waiting.push_back(Follower {
            ask: ask.clone(),
            turn,
        });
        Err(come)
    }

    fn state(&self) -> MutexGuard<'_, State<Ask, Answer>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next who waits; where nobody does there is one leader less.
    fn next(&self) -> Option<Follower<Ask, Answer>> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.leaders -= 1;
        }
        next
    }
}

impl<Ask, Answer> Follower<Ask, Answer> {
    /// Answers it; one that went away does not hear.
    pub(super) fn answer(self, answer: Answer) {
        let _ = self.turn.send(Turn::Answered(answer));
    }
}

impl<Ask, Answer> Lead<Ask, Answer> {
    /// Those who are answered with the leader: who waits, in order, for as long as they fit.
    pub(super) fn followers(
        &self,
        mut fits: impl FnMut(&Ask) -> bool,
    ) -> Vec<Follower<Ask, Answer>> {
        let Some(queue) = &self.0 else {
            return Vec::new();
        };
        let mut state = queue.state();
        let waiting = state.waiting.iter();
        let count = waiting.take_while(|follower| fits(&follower.ask)).count();
        state.waiting.drain(..count).collect()
    }
}

impl<Ask, Answer> Drop for Lead<Ask, Answer> {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else {
            return;
        };
        while let Some(follower) = queue.next() {
            let lead = Lead(Some(Arc::clone(&queue)));
            match follower.turn.send(Turn::Leads(lead)) {
                Ok(()) => return,
                // It went away: the lead is not its to pass on, or this would nest as deep as they are many.
                Err(Turn::Leads(mut lead)) => lead.0 = None,
                Err(Turn::Answered(_)) => {}
            }
        }
    }
}
