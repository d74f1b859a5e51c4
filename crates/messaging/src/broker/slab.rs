//! Places that are reached by number, where a number that has been given back never reaches the next tenant.

use alloc::vec::Vec;

/// A place in a slab, and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) slot: u32,
    generation: u32,
}

#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, tenant: T) -> Key {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize]; // Invariant: `free` names entries that are there
            entry.tenant = Some(tenant);
            return Key { slot, generation: entry.generation };
        }
        let slot = u32::try_from(self.entries.len())
            .expect("four thousand million tenants don't fit memory");
        self.entries.push(Entry { generation: 0, tenant: Some(tenant) });
        Key { slot, generation: 0 }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self
            .entries
            .get_mut(key.slot as usize)
            .filter(|entry| entry.generation == key.generation)?;
        let tenant = entry.tenant.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.slot);
        Some(tenant)
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.slot as usize)?;
        entry.tenant.as_ref().filter(|_| entry.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        entry.tenant.as_mut().filter(|_| entry.generation == key.generation)
    }

    /// Returns the key of whoever has this place now.
    pub(super) fn key_at(&self, slot: u32) -> Option<Key> {
        let entry = self.entries.get(slot as usize)?;
        entry.tenant.as_ref().map(|_| Key { slot, generation: entry.generation })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0_u32..).zip(&self.entries).filter_map(|(slot, entry)| {
            let tenant = entry.tenant.as_ref()?;
            Some((Key { slot, generation: entry.generation }, tenant))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_a_former_tenant_reaches_nobody() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(first.slot, second.slot);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }
}
