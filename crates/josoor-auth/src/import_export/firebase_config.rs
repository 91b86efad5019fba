//! The project's parameters of Firebase's own hash.

use std::collections::HashMap;

use serde_json::Value;

use super::hashes::decode_base64;
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
    /// Reads what the Firebase console shows (`hash_config { algorithm: SCRYPT, … }`), or the JSON object of `projects.getConfig`,
    /// alone or under its name. Base64 may be of either alphabet.
    ///
    /// # Errors
    /// In words for an operator, without the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let values = json_values(text).unwrap_or_else(|| console_values(text));
        let value = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| values.get(*name));
            found.ok_or_else(|| {
                format!(
                    "the Firebase parameters have no {}; the file has to be what the Firebase console shows, hash_config {{ … }}, or a \
                     JSON object, with algorithm, base64_signer_key, base64_salt_separator, rounds and mem_cost",
                    names[0]
                )
            })
        };
        let decode = |names: [&str; 2]| {
            let text = value(names)?;
            let bytes = decode_base64(text);
            bytes.ok_or_else(|| format!("{} of the Firebase parameters is not base64", names[0]))
        };
        let number = |names: [&str; 2]| {
            let number = value(names)?.parse::<u32>();
            number.map_err(|_| format!("{} of the Firebase parameters is not a number", names[0]))
        };
        if value(["algorithm", "hashAlgorithm"])? != "SCRYPT" {
            return Err(
                "Firebase's own algorithm is SCRYPT; hashes of others cannot be taken over".to_owned(),
            );
        }
        let signer_key = ["base64_signer_key", "signerKey"];
        decode(signer_key)?;
        Ok(Self {
            signer_key: Secret::new(value(signer_key)?.clone()),
            salt_separator: decode(["base64_salt_separator", "saltSeparator"])?,
            rounds: number(["rounds", "rounds"])?,
            memory_cost: number(["mem_cost", "memoryCost"])?,
        })
    }
}

/// The texts and numbers of a JSON object.
fn json_values(text: &str) -> Option<HashMap<String, String>> {
    let Value::Object(mut object) = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()? else {
        return None;
    };
    for name in ["hash_config", "hashConfig"] {
        if let Some(Value::Object(inner)) = object.remove(name) {
            object = inner;
        }
    }
    let values = object.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, text)),
        Value::Number(number) => Some((name, number.to_string())),
        _ => None,
    });
    Some(values.collect())
}

/// `name: value` between braces, with commas or line ends between them.
fn console_values(text: &str) -> HashMap<String, String> {
    let inside = text.split_once('{').map_or(text, |(_, rest)| rest);
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let bare = |text: &str| text.trim().trim_matches(['"', '\'']).trim().to_owned();
    inside
        .split([',', '\n'])
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, value)| (bare(name), bare(value)))
        .collect()
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
            ("rounds", "c2VjcmV0"),
        ] {
            let error = parse(&good.replacen(from, to, 1)).unwrap_err();
            assert!(!error.contains("c2VjcmV0"), "{error}");
        }
    }

    #[test]
    fn d15_what_the_console_shows_is_read_as_it_is() {
        let console = "hash_config {\r\n  algorithm: SCRYPT,\r\n  base64_signer_key: jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==,\r\n  \
            base64_salt_separator: Bw==,\r\n  rounds: 8,\r\n  mem_cost: 14,\r\n}\r\n";
        let json = "\u{feff}{\"hashConfig\":{\"algorithm\":\"SCRYPT\",\"signerKey\":\"jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA\",\
            \"saltSeparator\":\"Bw\",\"rounds\":\"8\",\"memoryCost\":14}}";
        for text in [
            console,
            &console.replace('\r', ""),
            &console.replace("\r\n", " "),
            json,
        ] {
            let config = FirebaseConfig::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                (
                    config.salt_separator.as_slice(),
                    config.rounds,
                    config.memory_cost
                ),
                (&b"\x07"[..], 8, 14)
            );
            assert_eq!(
                decode_base64(config.signer_key.expose()).map(|key| key.len()),
                Some(64)
            );
        }
        assert_eq!(decode_base64("-_-_"), decode_base64("+/+/"));
        for text in ["", "{}", "hash_config", "hash_config {", "}{", "[1]", ":,:"] {
            assert!(FirebaseConfig::parse(text).is_err(), "{text}");
        }
    }
}
