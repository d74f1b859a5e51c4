//! What a backup says about itself, first of all.

use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::folder;

/// What the first part says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// When the backup was made.
    pub(crate) made: String,
    /// The version of the program that made it.
    pub(crate) program: String,
    /// Where the store is.
    pub(crate) store: Kept,
}

/// Where an installation's store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In the backup.
    Here,
    /// On a PostgreSQL server, which has backups of its own.
    Elsewhere,
}

impl Manifest {
    /// Writes it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Self { made, program, store } = self;
        let value = json!({
            "made": made, "program": program, "format": folder::VERSION, "store": store.word(),
        });
        value.to_string().into_bytes()
    }

    /// Reads it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let unknown = || Failure::new(Exit::Unverified, "the backup's manifest is malformed");
        let value: Value = serde_json::from_slice(bytes).map_err(|_| unknown())?;
        let format = value.get("format").and_then(Value::as_u64).ok_or_else(unknown)?;
        if format != u64::from(folder::VERSION) {
            let text = format!(
                "the backup is of a data folder of format {format}, this program reads {}; \
                 use the program that made it",
                folder::VERSION
            );
            return Err(Failure::new(Exit::Newer, text));
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let store = match text("store").as_deref() {
            Some("sqlite") => Kept::Here,
            Some("postgresql") => Kept::Elsewhere,
            Some(_) | None => return Err(unknown()),
        };
        Ok(Self {
            made: text("made").ok_or_else(unknown)?,
            program: text("program").ok_or_else(unknown)?,
            store,
        })
    }
}

impl Kept {
    /// Names it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Here => "sqlite",
            Self::Elsewhere => "postgresql",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        for store in [Kept::Here, Kept::Elsewhere] {
            let made = Manifest { made: "2026-11-21T02:00:00Z".into(), program: "1".into(), store };
            assert_eq!(Manifest::parse(&made.to_bytes()).unwrap(), made);
        }
    }

    #[test]
    fn another_format_and_nonsense_are_told_apart() {
        let of = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err().exit;
        let newer = r#"{"made":"","program":"","format":2,"store":"sqlite"}"#;
        assert_eq!(of(newer), Exit::Newer);
        for text in ["", "{}", "[]", r#"{"made":"","program":"","format":1,"store":"x"}"#] {
            assert_eq!(of(text), Exit::Unverified, "{text}");
        }
    }
}
