//! Looking for secrets in files, in each form in which they could lie there.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};

/// What must not be found, with a name for the one who reads the failure.
pub(crate) struct Needle {
    pub(crate) name: String,
    forms: Vec<(String, Vec<u8>)>,
}

/// One form of one needle.
struct Form<'a> {
    needle: &'a str,
    form: &'a str,
    bytes: &'a [u8],
}

/// Something that was found.
pub(crate) struct Hit {
    pub(crate) needle: String,
    pub(crate) form: String,
    pub(crate) path: PathBuf,
    offset: usize,
}

impl Needle {
    /// Takes a secret: it is looked for raw, in hexadecimal, and in base64 however it falls there.
    pub(crate) fn of(name: &str, secret: &[u8]) -> Self {
        assert!(secret.len() >= 12, "`{name}` is too short to be told from chance");
        let mut needle = Self::raw(name, secret);
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        needle.add("HEX", hex.to_uppercase().into_bytes());
        needle.add("hex", hex.into_bytes());
        for shift in 0..3 {
            // What stands before it moves its letters; those that share bits with that are left out.
            let shifted = [&[0; 3][..shift], secret].concat();
            let n_left_out = [0, 2, 3][shift];
            let n_sure = shifted.len() * 8 / 6;
            for (form, text) in [
                ("base64", Base64Unpadded::encode_string(&shifted)),
                ("base64url", Base64UrlUnpadded::encode_string(&shifted)),
            ] {
                let part = text.as_bytes()[n_left_out..n_sure].to_vec();
                needle.add(&format!("{form} at {shift}"), part);
            }
        }
        needle
    }

    /// Takes what is looked for as it is only.
    pub(crate) fn raw(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.into(), forms: vec![("raw".into(), bytes.to_vec())] }
    }

    fn add(&mut self, form: &str, bytes: Vec<u8>) {
        self.forms.push((form.into(), bytes));
    }

    /// Gives each form with its name, as it could lie in a file.
    pub(crate) fn forms(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.forms.iter().map(|(form, bytes)| (form.as_str(), bytes.as_slice()))
    }
}

/// Searches every file below a folder.
pub(crate) fn search(folder: &Path, needles: &[&Needle]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            hits.extend(search(&path, needles));
        } else if kind.is_file() {
            // A file may go while a server works; then there is nothing to find in it.
            let Ok(bytes) = fs::read(&path) else { continue };
            hits.extend(search_bytes(&bytes, needles, &path));
        }
    }
    hits
}

/// Searches bytes, which came from that file.
pub(crate) fn search_bytes(bytes: &[u8], needles: &[&Needle], path: &Path) -> Vec<Hit> {
    let mut heads: HashMap<&[u8], Vec<Form<'_>>> = HashMap::new();
    for needle in needles {
        for (form, bytes) in needle.forms() {
            let forms = heads.entry(&bytes[..HEAD]).or_default();
            forms.push(Form { needle: &needle.name, form, bytes });
        }
    }
    // Most places are told by their first two bytes, without looking further.
    let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    let mut begins = vec![false; 1 << 16];
    heads.keys().for_each(|head| begins[pair(head)] = true);
    let mut hits = Vec::new();
    for (offset, head) in bytes.windows(HEAD).enumerate() {
        if !begins[pair(head)] {
            continue;
        }
        for wanted in heads.get(head).into_iter().flatten() {
            if bytes[offset..].starts_with(wanted.bytes) {
                let (needle, form) = (wanted.needle.to_owned(), wanted.form.to_owned());
                hits.push(Hit { needle, form, path: path.to_owned(), offset });
            }
        }
    }
    hits
}

impl fmt::Debug for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needle, form, path, offset } = self;
        write!(f, "{needle} ({form}) in {} at {offset}", path.display())
    }
}

/// How much of a form is looked up; no form is shorter.
const HEAD: usize = 8;

#[test]
fn every_form_of_a_secret_is_found_wherever_it_begins() {
    let secret = *b"\x00\xff\x10secret of the house\x80\x7f";
    let needle = Needle::of("secret", &secret);
    let place = Path::new("file");
    for shift in 0..7 {
        let before = vec![b'~'; shift];
        let encoded = [&before[..], &secret, b"behind"].concat();
        let lies = [
            encoded.clone(),
            Base64Unpadded::encode_string(&encoded).into_bytes(),
            Base64UrlUnpadded::encode_string(&encoded).into_bytes(),
            encoded.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
            encoded.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes(),
        ];
        for (idx, lie) in lies.iter().enumerate() {
            assert!(!search_bytes(lie, &[&needle], place).is_empty(), "{shift}, {idx}");
        }
    }
    assert!(search_bytes(b"nothing of the kind lies here", &[&needle], place).is_empty());
}
