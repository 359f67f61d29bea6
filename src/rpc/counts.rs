//! How many of a kind are on their way at the same time: over all, and of each client.

use std::{
    collections::HashMap,
    collections::hash_map::Entry,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::domain::Actor;

/// Who is counted: an authenticated name; without one, an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// A client whose name is known.
    Named(Actor),
    /// Whoever calls from there.
    Address(Option<IpAddr>),
}

/// How many of a kind there are, over all and of each client.
#[derive(Debug)]
pub(crate) struct Counts {
    limit: u32,
    limit_per_client: u32,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    all: u32,
    /// Only clients that have any: it does not grow with the clients that there ever were.
    by_client: HashMap<Client, u32>,
}

/// There is no place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    /// How many there may be.
    pub(crate) limit: u32,
    /// Whether of one client, or over all.
    pub(crate) of_client: bool,
}

/// A place among them; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    counts: Arc<Counts>,
    client: Client,
}

impl Counts {
    /// So many over all, and so many of a client.
    pub(crate) fn new(limit: u32, limit_per_client: u32) -> Arc<Self> {
        Arc::new(Self {
            limit,
            limit_per_client,
            now: Mutex::default(),
        })
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`Full`] where there is none.
    pub(crate) fn enter(counts: &Arc<Self>, client: Client) -> Result<Permit, Full> {
        let mut now = counts.now();
        if now.all >= counts.limit {
            return Err(Full {
                limit: counts.limit,
                of_client: false,
            });
        }
        let of_client = now.by_client.entry(client.clone()).or_default();
        if *of_client >= counts.limit_per_client {
            return Err(Full {
                limit: counts.limit_per_client,
                of_client: true,
            });
        }
        *of_client += 1;
        now.all += 1;
        drop(now);
        Ok(Permit {
            counts: Arc::clone(counts),
            client,
        })
    }

    fn leave(&self, client: Client) {
        let mut now = self.now();
        now.all -= 1;
        if let Entry::Occupied(mut of_client) = now.by_client.entry(client) {
            *of_client.get_mut() -= 1;
            if *of_client.get() == 0 {
                of_client.remove();
            }
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let client = std::mem::replace(&mut self.client, Client::Address(None));
        self.counts.leave(client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Client {
        Client::Named(Actor::parse(name).unwrap())
    }

    #[test]
    fn places_are_given_back_and_nothing_is_left_of_who_went() {
        let counts = Counts::new(3, 2);
        let first = Counts::enter(&counts, named("a")).unwrap();
        let _second = Counts::enter(&counts, named("a")).unwrap();
        assert!(Counts::enter(&counts, named("a")).is_err());
        let third = Counts::enter(&counts, named("b")).unwrap();
        assert!(Counts::enter(&counts, named("c")).is_err());
        drop((first, third));
        let _fourth = Counts::enter(&counts, named("a")).unwrap();
        assert!(Counts::enter(&counts, named("a")).is_err());
        assert_eq!(counts.now().by_client.len(), 1);
    }
}
