//! Policies of strangers: read, or refused with a place, never a panic.

use super::*;
use crate::fuzz::policy;

#[test]
fn every_file_of_the_corpus_is_read_without_a_panic() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/policy");
    let mut n_files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        policy(&std::fs::read(file.unwrap().path()).unwrap());
        n_files += 1;
    }
    assert!(n_files >= 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn a_changed_policy_is_read_without_a_panic(place: prop::sample::Index, piece in "(\\(|\\{|\"|@id|when|==|in|\\PC|\\?principal|//|\n){0,4}") {
        let mut source = starter::SOURCE.to_string();
        let mut place = place.index(source.len());
        while !source.is_char_boundary(place) {
            place -= 1;
        }
        source.insert_str(place, &piece);
        policy(source.as_bytes());
    }

    #[test]
    fn any_text_is_read_without_a_panic(source in "\\PC{0,60}") {
        policy(source.as_bytes());
    }
}

#[test]
fn deep_nesting_of_every_kind_is_survived() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a: ", "}"),
        ("!", ""),
        ("-", ""),
        ("if true then ", " else 1"),
        ("1 + ", ""),
        ("true && ", ""),
    ] {
        for n in [40, 1_000, 20_000] {
            let source = format!(
                "permit(principal, action, resource) when {{ {}1{} == 1 }};",
                open.repeat(n),
                close.repeat(n)
            );
            policy(source.as_bytes());
        }
    }
}
