//! Passwords: argon2id, with the parameters kept beside each hash.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use zeroize::Zeroizing;

use crate::problem::Problem;

/// The shortest password that is taken; length is what resists guessing.
pub(crate) const MIN_LEN: usize = 12;
/// The longest, so that hashing stays bounded.
pub(crate) const MAX_LEN: usize = 512;

/// Hashes a new password.
pub(crate) async fn hash(password: Zeroizing<String>, salt: [u8; 16]) -> Result<String, Problem> {
    if password.chars().count() < MIN_LEN || password.len() > MAX_LEN {
        return Err(Problem::malformed(format!(
            "a password has {MIN_LEN} to {MAX_LEN} characters"
        )));
    }
    let work = move || -> Result<String, argon2::password_hash::Error> {
        let hash: PasswordHash =
            Argon2::default().hash_password_with_salt(password.as_bytes(), &salt)?;
        Ok(hash.to_string())
    };
    let hashed = tokio::task::spawn_blocking(work).await.map_err(|e| Problem::internal(&e))?;
    hashed.map_err(|e| Problem::internal(&e))
}

/// Compares a password with a kept hash; without one it takes as long, and answers no.
pub(crate) async fn matches(
    password: Zeroizing<String>,
    kept: Option<String>,
) -> Result<bool, Problem> {
    if password.len() > MAX_LEN {
        return Ok(false);
    }
    let work = move || match kept.as_deref().map(PasswordHash::new) {
        Some(Ok(hash)) => Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(),
        Some(Err(_)) | None => {
            let mut out = [0; 32];
            let _ = Argon2::default().hash_password_into(password.as_bytes(), &[0; 16], &mut out);
            false
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| Problem::internal(&e))
}
