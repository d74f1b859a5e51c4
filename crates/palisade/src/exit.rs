//! Exit codes: what a script may rely on, in one place.

use std::fmt;
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It failed for a reason that no other code names.
    Failed = 1,
    /// The command line, the environment or the configuration file is wrong.
    Usage = 2,
    /// The answer is no: policy denies it, or the server does not permit it.
    Denied = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// The server does not answer.
    Unreachable = 5,
    /// A signature, chain, proof or record does not verify.
    Unverified = 6,
    /// What was to be made is there already, or changed meanwhile.
    Conflict = 7,
    /// A port is taken, or may not be used.
    Port = 10,
    /// The data folder cannot be written.
    Unwritable = 11,
    /// The data folder was written by a newer version.
    Newer = 12,
    /// Others may read the data folder or a key in it.
    Permissions = 13,
    /// Another process runs on this data folder.
    Running = 14,
    /// The passphrase, PIN, token or TPM does not open the master key.
    Passphrase = 15,
    /// The database does not answer or refuses us.
    Store = 16,
    /// A part of the server ended again and again.
    Unstable = 17,
}

impl Exit {
    /// Every code, in order.
    pub(crate) const ALL: [Self; 16] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Denied,
        Self::NotFound,
        Self::Unreachable,
        Self::Unverified,
        Self::Conflict,
        Self::Port,
        Self::Unwritable,
        Self::Newer,
        Self::Permissions,
        Self::Running,
        Self::Passphrase,
        Self::Store,
        Self::Unstable,
    ];

    /// Gives the number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// Finds the code of a number, as one of our own processes reported it.
    pub(crate) fn of(code: u8) -> Self {
        Self::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Failed)
    }

    /// Says what it means and what to do, for the documentation.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "failed; the line on standard error says why",
            Self::Usage => "wrong command line, environment variable or configuration file",
            Self::Denied => "policy denies it (`why`), or the server does not permit it",
            Self::NotFound => "what was named does not exist",
            Self::Unreachable => "the server does not answer: is it running, is the address right?",
            Self::Unverified => "a signature, chain, proof or record does not verify",
            Self::Conflict => "it is there already, or changed meanwhile: look and try again",
            Self::Port => "a port is taken or may not be used: choose another",
            Self::Unwritable => {
                "the data folder cannot be written: choose another or mend its rights"
            }
            Self::Newer => "the data folder is of a newer version: run that version",
            Self::Permissions => {
                "others may read the data folder or a key: `chmod` as the line says"
            }
            Self::Running => "another `palisade up` runs on this data folder",
            Self::Passphrase => "the passphrase, PIN, token or TPM does not open the master key",
            Self::Store => "PostgreSQL does not answer or refuses us",
            Self::Unstable => "a role ended five times in a minute: the log says why",
        }
    }
}

/// Why a command ended badly, with the code to end with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code to exit with.
    pub(crate) exit: Exit,
    /// What happened, from the outermost to the innermost cause.
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// Makes a failure of one sentence.
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Self { exit, error: anyhow::anyhow!("{text}") }
    }

    /// Writes the chain of causes on one line, without saying anything twice.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if line.ends_with(&text) {
                continue;
            }
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        line
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }
}

/// Gives an error the code to exit with.
pub(crate) trait OrExit<T> {
    /// Turns the error into a failure with this code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::fmt::Write;

    #[test]
    fn the_documented_table_is_the_enum() {
        let mut table = String::from("| code | meaning |\n|---|---|\n");
        for exit in Exit::ALL {
            writeln!(table, "| {} | {} |", exit.code(), exit.text()).unwrap();
        }
        expect_test::expect_file!["../docs/exit-codes.md"].assert_eq(&table);
    }

    #[test]
    fn every_code_is_found_again_and_no_two_are_the_same() {
        for exit in Exit::ALL {
            assert_eq!(Exit::of(exit.code()), exit);
        }
        assert_eq!(Exit::of(99), Exit::Failed);
    }

    #[test]
    fn a_chain_is_one_line_that_repeats_nothing() {
        let cause = std::io::Error::other("the disk is full");
        let error = Err::<(), _>(cause).context("cannot write `a`").context("no backup was made");
        let failure = error.or_exit(Exit::Unwritable).unwrap_err();
        assert_eq!(failure.line(), "no backup was made: cannot write `a`: the disk is full");
        assert_eq!(failure.exit, Exit::Unwritable);
        let twice = anyhow::anyhow!("the disk is full").context("the disk is full");
        assert_eq!(Failure { exit: Exit::Failed, error: twice }.line(), "the disk is full");
    }
}
