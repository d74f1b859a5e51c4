//! The key of each person, under which that person's name is sealed in the record. Removing a
//! person with `forget` destroys the key: the record stays whole, and the name is gone from it.

use std::collections::BTreeMap;

use journal::vault::SealingKey;
use ledger::{KeyId, SubjectKey};
use zeroize::Zeroizing;

use crate::centre::Centre;
use crate::problem::Problem;
use crate::store::{Connection, StoreError, params};

/// The keys of all people, by name.
#[derive(Default)]
pub(crate) struct Keyring(BTreeMap<String, (KeyId, Zeroizing<[u8; 32]>)>);

impl Keyring {
    /// Finds the key of a person.
    pub(crate) fn of(&self, name: &str) -> Option<SubjectKey> {
        self.0.get(name).map(|(id, secret)| SubjectKey::new(*id, secret.clone()))
    }

    /// Finds whose key it is; none when the person was forgotten.
    pub(crate) fn name_of(&self, id: KeyId) -> Option<&str> {
        self.0.iter().find(|(_, (key, _))| *key == id).map(|(name, _)| name.as_str())
    }

    /// Finds a key by its id; none when the person was forgotten.
    pub(crate) fn find(&self, id: KeyId) -> Option<SubjectKey> {
        let (id, secret) = self.0.values().find(|(key, _)| *key == id)?;
        Some(SubjectKey::new(*id, secret.clone()))
    }
}

/// Reads the keys of all people.
pub(crate) async fn load_keys(
    c: &mut Connection<'_>,
    secret: &SealingKey,
) -> Result<Keyring, StoreError> {
    let sql =
        "select o.name, k.id, k.sealed from operator o join subject_key k on k.id = o.subject";
    let mut keyring = Keyring::default();
    for row in c.rows(sql, params![]).await? {
        let id: KeyId = KeyId(row.bytes(1, "a person's key")?);
        let sealed: Vec<u8> = row.get(2)?;
        let opened =
            secret.open(CONTEXT, &sealed).map_err(|_| StoreError::Unreadable("a person's key"))?;
        let key = <[u8; 32]>::try_from(opened.as_slice())
            .map_err(|_| StoreError::Unreadable("a person's key"))?;
        keyring.0.insert(row.get(0)?, (id, Zeroizing::new(key)));
    }
    Ok(keyring)
}

/// Makes a key for a new person and stores it sealed; gives its id.
pub(super) async fn make(
    centre: &Centre,
    c: &mut Connection<'_>,
    name: &str,
) -> Result<KeyId, Problem> {
    let id: KeyId = KeyId(centre.random()?);
    let key = Zeroizing::new(centre.random::<32>()?);
    let random = journal::vault::SystemRandom::new();
    let sealed =
        centre.secret.seal(CONTEXT, key.as_ref(), &random).map_err(|e| Problem::internal(&e))?;
    c.execute(
        "insert into subject_key (id, sealed) values ($1, $2)",
        params![id.0.to_vec(), sealed],
    )
    .await?;
    let mut people = centre.people.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    people.0.insert(name.to_owned(), (id, key));
    Ok(id)
}

/// Forgets a person's key here; the caller deletes it from the store.
pub(super) fn forget(centre: &Centre, name: &str) {
    let mut people = centre.people.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    people.0.remove(name);
}

const CONTEXT: &str = "palisade.person.v1";
