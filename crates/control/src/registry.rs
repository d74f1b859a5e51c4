//! The registry: sites, zones, kinds and devices, and what is known of each now.

pub(crate) mod attention;
pub(crate) mod device;
mod page;
pub(crate) mod places;
mod routes;
pub(crate) mod view;

pub(crate) use routes::{READS, routes};
