//! Custody of the CA, store, registry, API and console.
