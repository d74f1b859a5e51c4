//! A place for each connection: so many in all, so many from one network, so that no stranger can
//! take every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use policy::Network;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that are served at once.
const MAX_CONNECTIONS: usize = 2048;
/// Of them, from one address (one /64 of IPv6); a whole office may stand behind one.
const MAX_PER_NETWORK: usize = 256;

/// The places there are.
pub(super) struct Places {
    room: Arc<Semaphore>,
    taken: Mutex<HashMap<Network, usize>>,
}

/// One connection's place, given back when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    network: Network,
    _room: OwnedSemaphorePermit,
}

impl Places {
    /// Begins with every place free.
    pub(super) fn new() -> Arc<Self> {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Arc::new(Self { room, taken: Mutex::default() })
    }

    /// Takes a place, if there is one for this address.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let network = Network::of(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(network).or_default();
        // What reaches us on loopback may be a proxy that speaks for everybody.
        if *count >= MAX_PER_NETWORK && !network.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), network, _room: room })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn one_network_cannot_take_every_place() {
        let places = Places::new();
        let address = |last: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        let all = u16::try_from(MAX_PER_NETWORK).unwrap();
        let held: Vec<_> = (0..all).map(|last| places.take(address(last)).unwrap()).collect();
        assert!(places.take(address(9999)).is_none());
        assert!(places.take("192.0.2.1".parse().unwrap()).is_some());
        drop(held);
        assert!(places.take(address(9999)).is_some());
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn all_places_together_are_bounded() {
        let places = Places::new();
        let home = "127.0.0.1".parse().unwrap();
        let held: Vec<_> = std::iter::from_fn(|| places.take(home)).collect();
        assert_eq!(held.len(), MAX_CONNECTIONS);
    }
}
