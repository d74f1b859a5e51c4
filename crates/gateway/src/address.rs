//! How many connections each address has: what a stranger can take up is bounded before it speaks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use policy::Network;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;

/// The table of addresses; it holds those with connections only, so the connections bound it.
pub(crate) struct Addresses {
    tallies: Mutex<Tallies>,
    unproven: usize,
    unproven_per_address: usize,
    connections_per_address: usize,
    handshakes_per_address: usize,
}

/// One connection's place in the table; it is given back when dropped.
pub(crate) struct Place {
    addresses: Arc<Addresses>,
    network: Network,
    turns: Arc<Semaphore>,
    proven: bool,
}

#[derive(Default)]
struct Tallies {
    by_network: HashMap<Network, Tally>,
    n_unproven: usize,
}

struct Tally {
    n_unproven: usize,
    n_connections: usize,
    /// The address's turns to compute handshakes.
    turns: Arc<Semaphore>,
}

impl Addresses {
    pub(crate) fn bounded(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            tallies: Mutex::default(),
            unproven: limits.unproven,
            unproven_per_address: limits.unproven_per_address,
            connections_per_address: limits.connections_per_address,
            handshakes_per_address: limits.handshakes_per_address,
        })
    }

    /// Takes a place for a connection whose peer is not proven, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = Network::of(address);
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if tallies.n_unproven >= self.unproven {
            return None;
        }
        let tally = tallies.by_network.entry(network).or_insert_with(|| Tally {
            n_unproven: 0,
            n_connections: 0,
            turns: Arc::new(Semaphore::new(self.handshakes_per_address)),
        });
        let is_full = tally.n_unproven >= self.unproven_per_address
            || tally.n_connections >= self.connections_per_address;
        if is_full {
            // Were the entry new, its bounds would be zero: an empty one may stay until the next.
            return None;
        }
        tally.n_unproven += 1;
        tally.n_connections += 1;
        let turns = Arc::clone(&tally.turns);
        tallies.n_unproven += 1;
        Some(Place { addresses: Arc::clone(self), network, turns, proven: false })
    }
}

impl Place {
    /// Waits for one of the address's turns to compute a handshake.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.turns).acquire_owned().await
    }

    /// Takes note that the peer has proven who it is.
    pub(crate) fn prove(&mut self) {
        if !self.proven {
            self.proven = true;
            self.change(|tally| tally.n_unproven = tally.n_unproven.saturating_sub(1), 1);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Tally), n_proven: usize) {
        let mut tallies = self.addresses.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.n_unproven = tallies.n_unproven.saturating_sub(n_proven);
        if let Some(tally) = tallies.by_network.get_mut(&self.network) {
            change(tally);
            if tally.n_connections == 0 {
                tallies.by_network.remove(&self.network);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let n_unproven = usize::from(!self.proven);
        let leave = |tally: &mut Tally| {
            tally.n_unproven = tally.n_unproven.saturating_sub(n_unproven);
            tally.n_connections = tally.n_connections.saturating_sub(1);
        };
        self.change(leave, n_unproven);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Arc<Addresses> {
        let limits = Limits {
            unproven: 3,
            unproven_per_address: 2,
            connections_per_address: 3,
            ..Limits::default()
        };
        Addresses::bounded(&limits)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_from_one_address_and_from_all_are_bounded() {
        let addresses = addresses();
        let first = addresses.enter(ip("192.0.2.1")).unwrap();
        let _second = addresses.enter(ip("192.0.2.1")).unwrap();
        assert!(addresses.enter(ip("192.0.2.1")).is_none());
        let _third = addresses.enter(ip("192.0.2.2")).unwrap();
        assert!(addresses.enter(ip("192.0.2.3")).is_none());
        drop(first);
        assert!(addresses.enter(ip("192.0.2.3")).is_some());
    }

    #[test]
    fn the_proven_make_room_for_strangers_up_to_the_address_bound() {
        let addresses = addresses();
        let mut places: Vec<Place> = Vec::new();
        for _ in 0..3 {
            let mut place = addresses.enter(ip("192.0.2.1")).unwrap();
            place.prove();
            places.push(place);
        }
        assert!(addresses.enter(ip("192.0.2.1")).is_none());
        places.pop();
        assert!(addresses.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_nothing_stays_behind() {
        let addresses = addresses();
        let places = [addresses.enter(ip("2001:db8::1")), addresses.enter(ip("2001:db8::2"))];
        assert!(places.iter().all(Option::is_some));
        assert!(addresses.enter(ip("2001:db8::3")).is_none());
        assert!(addresses.enter(ip("2001:db8:0:1::3")).is_some());
        drop(places);
        assert!(addresses.tallies.lock().unwrap().by_network.is_empty());
    }
}
