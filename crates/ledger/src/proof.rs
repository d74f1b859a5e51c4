//! Inclusion and consistency proofs: made from stored hashes, checked with nothing but two roots.
//!
//! No recursion: a proof of a tree with 2^63 leaves takes as much stack as one of a tree with two.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::ops::Range;

use crate::hash::{Hash, node_hash};

/// Gives the hashes of complete subtrees, from which every proof is made.
pub trait Hashes {
    /// Why a hash could not be had.
    type Error;

    /// Gives the root over the leaves from `index << level` to before `(index + 1) << level`.
    fn hash(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Leaves in memory; whoever asks beyond their end is told so.
pub struct Leaves<'a>(pub &'a [Hash]);

/// There is no proof from or to where it was asked for, or it does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E = Infallible> {
    /// The event lies outside the tree.
    #[error("event `{index}` is not in a tree of size `{size}`")]
    Outside {
        /// The event asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The first tree is larger than the second.
    #[error("a tree of size `{from}` can't be the beginning of one of size `{to}`")]
    Backwards {
        /// The first tree's size.
        from: u64,
        /// The second tree's size.
        to: u64,
    },
    /// The proof has too few or too many hashes, or leads to another root.
    #[error("the proof leads to another root")]
    Mismatch,
    /// A stored hash could not be read.
    #[error("{0}")]
    Hashes(E),
}

/// Proves that the leaf at `index` is in the tree of `size` (RFC 6962 §2.1.1).
pub fn inclusion<H: Hashes>(
    index: u64,
    size: u64,
    hashes: &H,
) -> Result<Vec<Hash>, ProofError<H::Error>> {
    if index >= size {
        return Err(ProofError::Outside { index, size });
    }
    let mut proof = Vec::new();
    let mut rest = 0..size;
    while rest.end - rest.start > 1 {
        let middle = split(&rest);
        let (kept, sibling) = if index < middle {
            (rest.start..middle, middle..rest.end)
        } else {
            (middle..rest.end, rest.start..middle)
        };
        proof.push(root_of(sibling, hashes).map_err(ProofError::Hashes)?);
        rest = kept;
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of size `from` is the beginning of the tree of size `to` (RFC 6962 §2.1.2).
pub fn consistency<H: Hashes>(
    from: u64,
    to: u64,
    hashes: &H,
) -> Result<Vec<Hash>, ProofError<H::Error>> {
    if from > to {
        return Err(ProofError::Backwards { from, to });
    }
    let mut proof = Vec::new();
    if from == 0 || from == to {
        return Ok(proof);
    }
    let mut rest = 0..to;
    while from != rest.end {
        let middle = split(&rest);
        if from <= middle {
            proof.push(root_of(middle..rest.end, hashes).map_err(ProofError::Hashes)?);
            rest = rest.start..middle;
        } else {
            proof.push(root_of(rest.start..middle, hashes).map_err(ProofError::Hashes)?);
            rest = middle..rest.end;
        }
    }
    // The verifier has the first root already when `from` is itself one complete subtree.
    if rest.start > 0 {
        proof.push(root_of(rest, hashes).map_err(ProofError::Hashes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Computes the root of the tree of `size`.
pub fn root<H: Hashes>(size: u64, hashes: &H) -> Result<Hash, H::Error> {
    if size == 0 { Ok(Hash::of_nothing()) } else { root_of(0..size, hashes) }
}

/// Checks that `leaf` stands at `index` in the tree of `size` with `root` (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Outside { index, size });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut found = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Mismatch);
        }
        if node % 2 == 1 || node == last {
            found = node_hash(sibling, &found);
            while node.is_multiple_of(2) && node != 0 {
                (node, last) = (node / 2, last / 2);
            }
        } else {
            found = node_hash(&found, sibling);
        }
        (node, last) = (node / 2, last / 2);
    }
    if last == 0 && found == *root { Ok(()) } else { Err(ProofError::Mismatch) }
}

/// Checks that the tree of size `from` is the beginning of the tree of size `to` (RFC 9162 §2.1.4.2).
pub fn verify_consistency(
    from: u64,
    to: u64,
    from_root: &Hash,
    to_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if from > to {
        return Err(ProofError::Backwards { from, to });
    }
    if from == to || from == 0 {
        let same = from_root == to_root;
        let of_nothing = from == 0 && *from_root == Hash::of_nothing();
        return if proof.is_empty() && (if from == to { same } else { of_nothing }) {
            Ok(())
        } else {
            Err(ProofError::Mismatch)
        };
    }
    let (mut node, mut last) = (from - 1, to - 1);
    while node % 2 == 1 {
        (node, last) = (node / 2, last / 2);
    }
    let (first, rest) = match proof {
        _ if from.is_power_of_two() => (from_root, proof),
        [first, rest @ ..] => (first, rest),
        [] => return Err(ProofError::Mismatch),
    };
    let (mut found_from, mut found_to) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Mismatch);
        }
        if node % 2 == 1 || node == last {
            found_from = node_hash(sibling, &found_from);
            found_to = node_hash(sibling, &found_to);
            while node.is_multiple_of(2) && node != 0 {
                (node, last) = (node / 2, last / 2);
            }
        } else {
            found_to = node_hash(&found_to, sibling);
        }
        (node, last) = (node / 2, last / 2);
    }
    if last == 0 && found_from == *from_root && found_to == *to_root {
        Ok(())
    } else {
        Err(ProofError::Mismatch)
    }
}

/// Splits at the largest power of two smaller than the range's length.
fn split(range: &Range<u64>) -> u64 {
    let n_leaves = range.end - range.start;
    range.start + (1 << (n_leaves - 1).ilog2())
}

/// Computes the root over a range whose start is a multiple of its largest power of two.
fn root_of<H: Hashes>(range: Range<u64>, hashes: &H) -> Result<Hash, H::Error> {
    let mut edge = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let level = (range.end - start).ilog2();
        edge.push(hashes.hash(level, start >> level)?);
        start += 1 << level;
    }
    let right_to_left = edge.into_iter().rev();
    Ok(right_to_left
        .reduce(|right, left| node_hash(&left, &right))
        .unwrap_or_else(Hash::of_nothing))
}

/// A leaf was asked for that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only `{0}` leaves are known")]
pub struct Unknown(usize);

impl Hashes for Leaves<'_> {
    type Error = Unknown;

    fn hash(&self, level: u32, index: u64) -> Result<Hash, Unknown> {
        let unknown = Unknown(self.0.len());
        let n_leaves = 1_usize.checked_shl(level).ok_or(unknown)?;
        let start = usize::try_from(index)
            .ok()
            .and_then(|index| index.checked_mul(n_leaves))
            .ok_or(unknown)?;
        let end = start.checked_add(n_leaves).ok_or(unknown)?;
        let leaves = self.0.get(start..end).ok_or(unknown)?;
        let mut tree = crate::Tree::new();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        Ok(tree.root())
    }
}

#[cfg(test)]
mod tests;
