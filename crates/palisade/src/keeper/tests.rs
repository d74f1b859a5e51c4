//! Which way is chosen, what is refused, and which line says so.

use std::path::PathBuf;

use super::*;
use crate::configuration::Layers;

/// Chooses by settings of the environment; what was refused is one line.
fn choose(variables: &[(&str, &str)]) -> Result<Choice, String> {
    let mut layers = Layers::default();
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    layers.environment(variables).unwrap();
    Choice::of(&layers.unlocking().unwrap()).map_err(|failure| failure.line())
}

fn refused(variables: &[(&str, &str)]) -> String {
    choose(variables).err().unwrap()
}

/// Files with a secret and something in the place of a module.
fn files() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let (secret, module) = (place.path().join("secret"), place.path().join("module.so"));
    std::fs::write(&secret, "correct horse battery\n").unwrap();
    std::fs::write(&module, "").unwrap();
    (place, secret, module)
}

#[test]
fn what_is_said_chooses_the_way() {
    let (_place, secret, module) = files();
    let (secret, module) = (secret.to_str().unwrap(), module.to_str().unwrap());
    assert!(matches!(choose(&[]), Ok(Choice::KeyFile)));
    let passphrase = choose(&[("PALISADE_PASSPHRASE_FILE", secret)]);
    let Ok(Choice::Passphrase(passphrase)) = passphrase else { panic!() };
    assert_eq!(*passphrase, "correct horse battery");
    let token = choose(&[
        ("PALISADE_PKCS11_MODULE", module),
        ("PALISADE_PKCS11_TOKEN", "palisade"),
        ("PALISADE_PKCS11_PIN_FILE", secret),
    ]);
    assert!(matches!(token, Ok(Choice::Pkcs11(_))));
}

#[test]
fn two_ways_at_once_are_refused_with_who_said_each() {
    let (_place, secret, _) = files();
    let mut layers = Layers::default();
    layers.toml("passphrase_file = \"/x\"", Path::new("/data/palisade.toml")).unwrap();
    layers.flag(Key::Tpm, vec!["device:/dev/tpmrm0".into()]);
    let both = Choice::of(&layers.unlocking().unwrap()).err().unwrap();
    assert_eq!(both.exit, Exit::Usage);
    assert_eq!(
        both.line(),
        "`passphrase_file` (`/data/palisade.toml`) and --tpm both say what unlocks the master \
         key; leave one out"
    );
    let line = refused(&[
        ("PALISADE_PASSPHRASE_FILE", secret.to_str().unwrap()),
        ("PALISADE_PKCS11_MODULE", "/x.so"),
    ]);
    assert_eq!(
        line,
        "`passphrase_file` ($PALISADE_PASSPHRASE_FILE) and `pkcs11_module` \
         ($PALISADE_PKCS11_MODULE) both say what unlocks the master key; leave one out"
    );
}

#[test]
fn half_a_way_is_refused() {
    let cases: [(&[(&str, &str)], &str); 4] = [
        (
            &[("PALISADE_PKCS11_PIN_FILE", "/x")],
            "`pkcs11_pin_file` ($PALISADE_PKCS11_PIN_FILE) means nothing without `pkcs11_module`",
        ),
        (
            &[("PALISADE_TPM_PCRS", "7,11")],
            "`tpm_pcrs` ($PALISADE_TPM_PCRS) means nothing without `tpm`",
        ),
        (
            &[("PALISADE_PKCS11_MODULE", "/x.so"), ("PALISADE_PKCS11_TOKEN", "palisade")],
            "`pkcs11_module` ($PALISADE_PKCS11_MODULE) needs the label of a token \
             (`pkcs11_token`) and the file of its PIN (`pkcs11_pin_file`)",
        ),
        (&[("PALISADE_PASSPHRASE_FILE", "/no/such/file")], "cannot read `/no/such/file`"),
    ];
    for (variables, line) in cases {
        assert!(refused(variables).starts_with(line), "{}", refused(variables));
    }
}

#[test]
fn pcrs_are_a_list_from_each_source_and_none_is_above_23() {
    let pcrs = |layers: &Layers| layers.unlocking().map(|unlocking| unlocking.tpm_pcrs.value);
    let mut file = Layers::default();
    file.toml("tpm_pcrs = [11, 7]", Path::new("/x")).unwrap();
    let mut flag = Layers::default();
    flag.flag(Key::TpmPcrs, vec!["7".into(), "11".into()]);
    assert_eq!(pcrs(&file).unwrap(), pcrs(&flag).unwrap());
    flag.flag(Key::TpmPcrs, vec!["24".into()]);
    let error = pcrs(&flag).unwrap_err().to_string();
    assert!(error.contains("numbers from 0 to 23"), "{error}");
}

#[test]
fn a_file_of_another_way_names_the_flag_that_opens_it() {
    let cases = [
        (Way::KeyFile, "`palisade key rewrap`"),
        (Way::Passphrase, "--passphrase-file"),
        (Way::Keeper(Kind::Pkcs11), "--pkcs11-pin-file"),
        (Way::Keeper(Kind::Tpm), "--tpm"),
    ];
    for (found, flag) in cases {
        let failure = failure(VaultError::OtherUnlock { path: "master.key".into(), found });
        assert_eq!(failure.exit, Exit::Passphrase);
        assert!(failure.line().ends_with(flag), "{}", failure.line());
    }
}

#[cfg(not(feature = "tpm"))]
#[test]
fn without_support_the_tpm_is_refused_with_the_build_that_has_it() {
    let line = refused(&[("PALISADE_TPM", "device:/dev/tpmrm0")]);
    assert!(line.contains("--features tpm") && line.contains("libtss2-dev"), "{line}");
}
