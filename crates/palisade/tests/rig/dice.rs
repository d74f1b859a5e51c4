//! Seeded chance, so that a round that failed can be played again, and how much of it a run wants.

use zeroize::Zeroizing;

/// Throws numbers that only depend on the seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Begins at a seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Throws the next number.
    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Throws a number below a bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound.max(1)
    }

    /// Throws the seed of a key.
    pub(crate) fn secret(&mut self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.throw().to_be_bytes());
        }
        bytes
    }
}

/// How much a soak does: `NAME=COUNT:SEED` in the environment, or a reduction without it.
pub(crate) fn wanted(name: &str, reduction: u64) -> (u64, u64) {
    #[allow(
        clippy::disallowed_methods,
        reason = "a test has no configuration, and the full count is run by `cargo xtask soak`"
    )]
    let text = std::env::var(name).unwrap_or_default();
    let (count, seed) = text.split_once(':').unwrap_or((&text, "7"));
    (count.parse().unwrap_or(reduction), seed.parse().unwrap())
}
