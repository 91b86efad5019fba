//! The master key, which encrypts the other keys in the database and is kept outside of it.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::config::{Config, Database};
use crate::crypto;
use crate::domain::Secret;
use crate::error::{Error, Result};

/// How a value is encrypted at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedFormat {
    /// Nonce, ciphertext, tag: what nodes of the version before read, too.
    Unversioned,
    /// The same after a byte that names the format.
    Versioned,
}

/// The byte in front of [`SealedFormat::Versioned`].
const SEALED_VERSION: u8 = 1;

/// A fresh master key, as `MASTER_KEY` takes it.
pub fn generate_master_key() -> Secret {
    Secret::new(STANDARD.encode(*Zeroizing::new(crypto::random_bytes::<32>())))
}

/// The key that the others are sealed with (AES-256-GCM).
pub(super) struct MasterKey {
    key: LessSafeKey,
    /// The bytes of the key of the audit trail.
    pub(super) audit: Zeroizing<[u8; 32]>,
    /// The bytes of the key of backups.
    pub(super) backup: Zeroizing<[u8; 32]>,
    /// Where it came from, for error messages.
    origin: String,
}

impl MasterKey {
    pub(super) fn new(bytes: &[u8; 32], origin: impl Into<String>) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, bytes)
            .map_err(|_| Error::Internal(anyhow::anyhow!("the master key has a wrong length")))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            audit: Zeroizing::new(crypto::mac(bytes, &[b"audit-chain"])),
            backup: Zeroizing::new(crypto::mac(bytes, &[b"backup"])),
            origin: origin.into(),
        })
    }

    /// Encrypts a value. `name` is authenticated with it, so that values cannot be swapped.
    pub(super) fn seal(&self, name: &str, plain: &[u8], format: SealedFormat) -> Result<Vec<u8>> {
        let nonce: [u8; 12] = crypto::random_bytes();
        let mut text = plain.to_vec();
        let (version, data): (&[u8], _) = match format {
            SealedFormat::Unversioned => (&[], name.as_bytes().to_vec()),
            SealedFormat::Versioned => (&[SEALED_VERSION], versioned_name(name)),
        };
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(data), &mut text)
            .map_err(|_| Error::Internal(anyhow::anyhow!("a key could not be encrypted")))?;
        Ok([version, nonce.as_slice(), &text].concat())
    }

    /// Decrypts a value of either format. A value without a version may begin with any byte, so both are tried; the tag decides.
    pub(super) fn open(&self, name: &str, sealed: &[u8]) -> Result<(Zeroizing<Vec<u8>>, SealedFormat)> {
        if let Some((&SEALED_VERSION, rest)) = sealed.split_first()
            && let Some(plain) = self.decrypt(versioned_name(name), rest)
        {
            return Ok((plain, SealedFormat::Versioned));
        }
        let plain = self.decrypt(name.as_bytes().to_vec(), sealed).ok_or_else(|| {
            Error::Internal(anyhow::anyhow!(
                "the stored key `{name}` cannot be decrypted with {}: it was sealed with another MASTER_KEY. \
                 Give the one that this database was made with",
                self.origin
            ))
        })?;
        Ok((plain, SealedFormat::Unversioned))
    }

    fn decrypt(&self, data: Vec<u8>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_at_checked(12)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(data), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }
}

/// What a versioned value is authenticated with.
fn versioned_name(name: &str) -> Vec<u8> {
    [&[SEALED_VERSION], name.as_bytes()].concat()
}

/// Finds the master key: configured; or, beside a SQLite file, generated once (only with `may_create`); or derived from
/// `JWT_SECRET`.
pub(super) fn master_key(config: &Config, may_create: bool) -> Result<MasterKey> {
    if let Some(key) = &config.keys.master_key {
        return MasterKey::new(key.expose(), "MASTER_KEY");
    }
    match (&config.database.url, &config.auth.jwt_secret) {
        (Database::Sqlite { path }, _) => {
            let file = master_key_file(path);
            let key = read_or_create_master_key(&file, may_create).map_err(|cause| {
                Error::Internal(cause.context(format!("the master key file {}", file.display())))
            })?;
            MasterKey::new(&key, file.display().to_string())
        }
        (Database::Postgres { .. }, Some(secret)) => {
            let key = Zeroizing::new(crypto::mac(secret.expose().as_bytes(), &[b"master-key"]));
            MasterKey::new(&key, "the key derived from JWT_SECRET")
        }
        (Database::Postgres { .. }, None) => Err(Error::Internal(anyhow::anyhow!(
            "MASTER_KEY is needed on PostgreSQL: `josoor-auth key generate` prints one"
        ))),
    }
}

/// Where the master key of a SQLite database is kept when `MASTER_KEY` is not given.
pub fn master_key_file(database: &Path) -> PathBuf {
    database.with_file_name("master.key")
}

fn read_or_create_master_key(file: &Path, may_create: bool) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt;

    if !file.exists() {
        anyhow::ensure!(
            may_create,
            "is missing; put back the one that this database was made with, or give it in MASTER_KEY"
        );
        // Written aside and linked into place, so that another process sees it whole or not at all.
        let draft = file.with_extension(format!("key.{}", std::process::id()));
        let mut handle = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(handle, "{}", generate_master_key().expose())?;
        handle.sync_all()?;
        let linked = std::fs::hard_link(&draft, file);
        std::fs::remove_file(&draft)?;
        match linked {
            Ok(()) => {
                tracing::info!(file = %file.display(), "generated a master key; keep a copy of it apart from the database");
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = Zeroizing::new(std::fs::read_to_string(file)?);
    let bytes = Zeroizing::new(
        STANDARD
            .decode(text.trim())
            .map_err(|_| anyhow::anyhow!("is not base64"))?,
    );
    let key =
        <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| anyhow::anyhow!("does not hold 32 bytes"))?;
    Ok(Zeroizing::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_either_format_is_decrypted_and_says_which_it_is() {
        let master = MasterKey::new(&[7; 32], "a test").expect("a key");
        for format in [SealedFormat::Unversioned, SealedFormat::Versioned] {
            // Every first byte of a value without a version comes up, also that of a version.
            for _ in 0..2000 {
                let sealed = master.seal("server k", b"plain", format).expect("encrypted");
                let (plain, found) = master.open("server k", &sealed).expect("decrypted");
                assert_eq!((plain.as_slice(), found), (&b"plain"[..], format));
            }
        }
    }

    #[test]
    fn a_value_is_bound_to_its_name_its_format_and_its_key() {
        let master = MasterKey::new(&[7; 32], "a test").expect("a key");
        let other = MasterKey::new(&[8; 32], "a test").expect("a key");
        let sealed = master
            .seal("server k", b"plain", SealedFormat::Versioned)
            .expect("encrypted");
        assert_eq!(sealed[0], SEALED_VERSION);
        assert!(master.open("server l", &sealed).is_err());
        assert!(other.open("server k", &sealed).is_err());
        // Without its version byte it is not one of the other format.
        assert!(master.open("server k", &sealed[1..]).is_err());
        assert!(master.open("server k", &[]).is_err());
        assert!(master.open("server k", &[SEALED_VERSION; 9]).is_err());
    }
}
