//! People and programs that may act: operators, sessions, API tokens, and what each role may do.

mod access;
mod guesses;
mod keys;
mod passwords;
mod routes;
mod store;

pub(crate) use access::{
    Address, AsAdministrator, AsOperator, AsViewer, FromHere, Local, Principal, Remote, Role,
    Watcher,
};
pub(crate) use guesses::Guesses;
pub(crate) use keys::{Keyring, load_keys};
pub(crate) use routes::{READS, administrator_link, routes};
pub(crate) use store::{FORGOTTEN, forget_operator};
