//! What a backup is authenticated with.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::master::master_key;
use crate::config::Config;
use crate::crypto;
use crate::error::Result;

/// The key of backups. It comes from the master key, so a backup cannot be changed without it.
pub struct BackupKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupKey(…)")
    }
}

impl BackupKey {
    /// Tells master keys apart without disclosing them: 16 characters.
    pub fn fingerprint(&self) -> String {
        hexadecimal(&crypto::mac(&*self.0, &[b"fingerprint"])[..8])
    }

    /// The code of a manifest: HMAC-SHA-256, in hexadecimal.
    pub fn sign(&self, manifest: &[u8]) -> String {
        hexadecimal(&crypto::mac(&*self.0, &[b"manifest", manifest]))
    }

    /// Whether a code is that of the manifest.
    pub fn verify(&self, manifest: &[u8], code: &[u8]) -> bool {
        crypto::equal(self.sign(manifest).as_bytes(), code)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The key of backups that are made and restored with these settings.
///
/// # Errors
/// `Internal` when there is no master key.
pub fn backup_key(config: &Config) -> Result<BackupKey> {
    Ok(BackupKey(master_key(config, false)?.backup))
}
