//! The project's parameters of Firebase's own hash.

use base64::Engine as _;
use serde::Deserialize;

use crate::domain::Secret;

/// The parameters of Firebase's own hash, which are the project's and stand in no export.
#[derive(Clone, Debug)]
pub struct FirebaseConfig {
    pub(super) signer_key: Secret,
    pub(super) salt_separator: Vec<u8>,
    pub(super) rounds: u32,
    pub(super) memory_cost: u32,
}

impl FirebaseConfig {
    /// Reads the JSON object that the Firebase console and `projects.getConfig` show.
    ///
    /// # Errors
    /// In words for an operator, without the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Parameters {
            algorithm: String,
            #[serde(alias = "signerKey")]
            base64_signer_key: String,
            #[serde(alias = "saltSeparator")]
            base64_salt_separator: String,
            rounds: u32,
            #[serde(alias = "memoryCost")]
            mem_cost: u32,
        }
        // The parser's own words could repeat the key.
        let read: Parameters = serde_json::from_str(text).map_err(|_| {
            "the Firebase parameters are not understood; the file has to be a JSON object with algorithm, base64_signer_key, \
             base64_salt_separator, rounds and mem_cost"
                .to_owned()
        })?;
        if read.algorithm != "SCRYPT" {
            return Err(
                "Firebase's own algorithm is SCRYPT; hashes of others cannot be taken over".to_owned(),
            );
        }
        let decode = |name: &str, text: &str| {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|_| format!("{name} of the Firebase parameters is not base64"))
        };
        decode("base64_signer_key", &read.base64_signer_key)?;
        Ok(Self {
            salt_separator: decode("base64_salt_separator", &read.base64_salt_separator)?,
            signer_key: Secret::new(read.base64_signer_key),
            rounds: read.rounds,
            memory_cost: read.mem_cost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_firebase_are_never_repeated() {
        let parse = |text: &str| FirebaseConfig::parse(text).map(|config| format!("{config:?}"));
        let good = "{\"algorithm\":\"SCRYPT\",\"base64_signer_key\":\"c2VjcmV0\",\"base64_salt_separator\":\"Bw==\",\"rounds\":8,\"mem_cost\":14}";
        assert!(!parse(good).unwrap().contains("c2VjcmV0"));
        for (from, to) in [
            ("SCRYPT", "BCRYPT"),
            ("c2VjcmV0", "c2VjcmV0*"),
            ("Bw==", "*"),
            ("8", "\"c2VjcmV0\""),
        ] {
            let error = parse(&good.replacen(from, to, 1)).unwrap_err();
            assert!(!error.contains("c2VjcmV0"), "{error}");
        }
    }
}
