//! What a fuzz target calls, one function for each parser: any bytes give a value or a refusal
//! that is one short line when it is printed.

use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};

use crate::cli::output::harmless;
use crate::client::{Pin, Place, stream};
use crate::configuration::{Layers, MAX_FILE_BYTES};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::keeper::pkcs11;
use crate::keeper::sealed::Sealed;
use crate::setup::{self, Report, Setup};
use crate::store;

/// Reads a configuration file and, behind a zero byte, lines as environment variables; then every
/// setting as what it must be.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let mut layers = Layers::default();
    if let Err(error) = layers.toml(file, Path::new("/data/palisade.toml")) {
        return told(Err::<(), _>(error).or_exit(Exit::Usage));
    }
    let pairs = variables.lines().filter_map(|line| line.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    if let Err(error) = layers.environment(pairs) {
        return told(Err::<(), _>(error).or_exit(Exit::Usage));
    }
    let configuration = match layers.assemble(PathBuf::from("/data")) {
        Ok(configuration) => configuration,
        Err(error) => return told(Err::<(), _>(error).or_exit(Exit::Usage)),
    };
    if let Some(url) = &configuration.store.value
        && let Some((host, _)) = store::address(url)
    {
        assert!(!host.is_empty());
    }
    if let Some(server) = &configuration.server.value {
        match Place::remote(server, Pin::Root(Vec::new())) {
            Ok(place) => assert!(!place.host().is_empty()),
            Err(failure) => told::<()>(Err(failure)),
        }
    }
}

/// Reads what the supervisor tells a role, what a role says back, and the length before both.
pub fn setup(bytes: &[u8]) {
    let Some((header, body)) = bytes.split_first_chunk() else { return };
    match setup::body_len(*header) {
        Ok(length) => assert!(length <= setup::MAX_LEN),
        Err(error) => told::<()>(Err(error).or_exit(Exit::Failed)),
    }
    same_again::<Setup>(body);
    same_again::<Report>(body);
}

/// Reads a message; what is written of it is read as the same.
fn same_again<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) {
    let Ok(message) = minicbor::decode::<T>(bytes) else { return };
    let written = minicbor::to_vec(&message).expect("writing to memory does not fail");
    let again: T = minicbor::decode(&written).expect("what is written is read");
    assert_eq!(minicbor::to_vec(&again).ok(), Some(written));
}

/// Reads server-sent events, whole and byte by byte.
pub fn events(bytes: &[u8]) {
    let whole = stream::read(bytes.chunks(bytes.len().max(1)));
    let dripped = stream::read(bytes.chunks(1));
    match (whole, dripped) {
        (Ok(whole), Ok(dripped)) => {
            assert_eq!(whole, dripped);
            let n_bytes: usize = whole.iter().map(|m| m.name.len() + m.data.len()).sum();
            // A byte that is no text becomes the three of U+FFFD.
            assert!(n_bytes <= 3 * bytes.len());
        }
        (Err(failure), Err(_)) => told::<()>(Err(failure)),
        (whole, dripped) => panic!("{} {}", whole.is_ok(), dripped.is_ok()),
    }
}

/// Reads what a token or a TPM wrapped of the master key.
pub fn wrapped(bytes: &[u8]) {
    if let Some(name) = pkcs11::key_name(bytes) {
        assert!(name.starts_with("palisade-"));
    }
    if let Some(sealed) = Sealed::parse(bytes) {
        assert_eq!(sealed.to_bytes(), bytes);
    }
}

fn told<T>(result: Result<T, Failure>) {
    let Err(failure) = result else { return };
    let line = failure.line();
    let line = harmless(&line);
    assert!(line.len() <= MAX_LINE && !line.chars().any(char::is_control), "{line:?}");
}

/// The longest line of an error: it may quote two settings.
const MAX_LINE: usize = 1000;
// A file of this length is read whole.
const _: () = assert!(MAX_FILE_BYTES <= 64 * 1024);
