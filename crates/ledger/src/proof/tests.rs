//! Proofs against the naive tree, at every small size and at random ones.

use super::*;
use crate::tree::tests::{leaves, naive_root};
use proptest::prelude::*;

/// RFC 6962 §2.1.1, word by word.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let half = leaves.len().next_power_of_two() / 2;
    let (mut path, sibling) = if index < half {
        (naive_path(index, &leaves[..half]), naive_root(&leaves[half..]))
    } else {
        (naive_path(index - half, &leaves[half..]), naive_root(&leaves[..half]))
    };
    path.push(sibling);
    path
}

/// RFC 6962 §2.1.2, word by word.
fn naive_subproof(from: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if from == leaves.len() {
        return if known { Vec::new() } else { std::vec![naive_root(leaves)] };
    }
    let half = leaves.len().next_power_of_two() / 2;
    let (mut proof, sibling) = if from <= half {
        (naive_subproof(from, &leaves[..half], known), naive_root(&leaves[half..]))
    } else {
        (naive_subproof(from - half, &leaves[half..], false), naive_root(&leaves[..half]))
    };
    proof.push(sibling);
    proof
}

fn n(len: usize) -> u64 {
    u64::try_from(len).unwrap()
}

#[test]
fn proofs_of_all_small_trees_are_the_naive_ones_and_verify() {
    let all = leaves(33);
    for size in 1..=all.len() {
        let tree = &all[..size];
        let root = naive_root(tree);
        for (index, leaf) in tree.iter().enumerate() {
            let proof = inclusion(n(index), n(size), &Leaves(tree)).unwrap();
            assert_eq!(proof, naive_path(index, tree));
            assert_eq!(verify_inclusion(leaf, n(index), n(size), &root, &proof), Ok(()));
        }
        for from in 1..=size {
            let proof = consistency(n(from), n(size), &Leaves(tree)).unwrap();
            assert_eq!(proof, naive_subproof(from, tree, true));
            assert_eq!(
                verify_consistency(n(from), n(size), &naive_root(&tree[..from]), &root, &proof),
                Ok(())
            );
        }
    }
}

#[test]
fn every_tree_grows_from_the_empty_one() {
    let root = naive_root(&leaves(3));
    assert_eq!(verify_consistency(0, 3, &Hash::of_nothing(), &root, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 3, &root, &root, &[]), Err(ProofError::Mismatch));
    assert_eq!(verify_consistency(0, 0, &root, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(3, 3, &root, &root, &[root]), Err(ProofError::Mismatch));
}

#[test]
fn what_lies_outside_is_refused() {
    let leaves = leaves(3);
    assert_eq!(inclusion(3, 3, &Leaves(&leaves)), Err(ProofError::Outside { index: 3, size: 3 }));
    assert_eq!(consistency(4, 3, &Leaves(&leaves)), Err(ProofError::Backwards { from: 4, to: 3 }));
    assert_eq!(inclusion(3, 9, &Leaves(&leaves)), Err(ProofError::Hashes(Unknown(3))));
    let root = naive_root(&leaves);
    assert!(verify_inclusion(&root, 3, 3, &root, &[]).is_err());
    assert!(verify_consistency(4, 3, &root, &root, &[]).is_err());
}

#[test]
fn huge_sizes_neither_overflow_nor_recurse() {
    struct Any;
    impl Hashes for Any {
        type Error = Infallible;
        fn hash(&self, _: u32, _: u64) -> Result<Hash, Infallible> {
            Ok(Hash([7; 32]))
        }
    }
    let proof = inclusion(u64::MAX - 1, u64::MAX, &Any).unwrap();
    assert!(proof.len() <= 64);
    let proof = consistency(u64::MAX / 3, u64::MAX, &Any).unwrap();
    assert!(proof.len() <= 65);
    let some = Hash([1; 32]);
    assert!(verify_inclusion(&some, u64::MAX - 1, u64::MAX, &some, &proof).is_err());
    assert!(verify_consistency(u64::MAX - 1, u64::MAX, &some, &some, &proof).is_err());
}

proptest! {
    #[test]
    fn a_proof_with_a_change_anywhere_is_refused(
        (size, from, index) in (2..400_usize).prop_flat_map(|size| (Just(size), 1..size, 0..size)),
        at in any::<prop::sample::Index>(),
        bit in 0..256_usize,
    ) {
        let all = leaves(n(size));
        let root = naive_root(&all);
        let path = inclusion(n(index), n(size), &Leaves(&all)).unwrap();
        let from_root = naive_root(&all[..from]);
        let proof = consistency(n(from), n(size), &Leaves(&all)).unwrap();

        prop_assert_eq!(verify_inclusion(&all[index], n(index), n(size), &root, &path), Ok(()));
        prop_assert_eq!(verify_consistency(n(from), n(size), &from_root, &root, &proof), Ok(()));

        let mut flipped = path.clone();
        flipped[at.index(path.len())].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_inclusion(&all[index], n(index), n(size), &root, &flipped).is_err());
        prop_assert!(verify_inclusion(&all[index], n(index), n(size), &root, &path[1..]).is_err());
        let mut flipped = proof.clone();
        flipped[at.index(proof.len())].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_consistency(n(from), n(size), &from_root, &root, &flipped).is_err());
        let longer: Vec<Hash> = proof.iter().copied().chain([root]).collect();
        prop_assert!(verify_consistency(n(from), n(size), &from_root, &root, &longer).is_err());
        prop_assert!(verify_consistency(n(from), n(size), &root, &root, &proof).is_err());
    }
}
