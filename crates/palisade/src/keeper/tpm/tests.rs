//! How a TPM is named.

use super::*;

#[test]
fn a_tpm_is_named_in_the_words_of_its_library() {
    for name in ["device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321", "tabrmd"] {
        assert!(Tpm::of(name, &BTreeSet::new()).is_ok(), "{name}");
    }
    let Err(failure) = Tpm::of("/dev/tpmrm0", &BTreeSet::new()) else { panic!() };
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.line().contains("`device:/dev/tpmrm0`"), "{}", failure.line());
}
