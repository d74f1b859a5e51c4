//! Random numbers for decisions and client ids, drawn many at a time.

use policy::DecisionId;

/// A supply of random bytes.
pub(crate) struct Ids {
    bytes: [u8; SUPPLY],
    used: usize,
}

impl Default for Ids {
    fn default() -> Self {
        Self { bytes: [0; SUPPLY], used: SUPPLY }
    }
}

impl Ids {
    /// Draws a decision's id.
    ///
    /// Without randomness it is all zeros: an id names a decision and guards nothing, and denying
    /// must not fail.
    pub(crate) fn decision(&mut self) -> DecisionId {
        DecisionId::from_random(self.draw().unwrap_or_default())
    }

    /// Draws a number, if there is randomness.
    pub(crate) fn number(&mut self) -> Option<u64> {
        self.draw().map(u64::from_le_bytes)
    }

    fn draw<const N: usize>(&mut self) -> Option<[u8; N]> {
        if SUPPLY.saturating_sub(self.used) < N {
            aws_lc_rs::rand::fill(&mut self.bytes).ok()?;
            self.used = 0;
        }
        let (drawn, _) = self.bytes.get(self.used..)?.split_first_chunk()?;
        self.used += N;
        Some(*drawn)
    }
}

/// How many bytes are drawn at once.
const SUPPLY: usize = 1_280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_repeat() {
        let mut ids = Ids::default();
        let drawn: std::collections::BTreeSet<_> = (0..10_000).map(|_| ids.decision()).collect();
        assert_eq!(drawn.len(), 10_000);
    }
}
