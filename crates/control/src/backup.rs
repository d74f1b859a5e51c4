//! Control's part in backups: handing out a copy of the store while it serves, and finding out
//! after a restore what the store no longer knows.

mod copy;
pub(crate) mod cuts;
mod restored;
mod routes;
mod soundness;

pub use restored::{Restored, RestoredError};
pub use routes::STORE;
pub use soundness::{Soundness, check_store};

pub(crate) use copy::Desk;
pub(crate) use routes::routes;
