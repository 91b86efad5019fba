//! What a client calls itself.

use http::{HeaderMap, header};

use crate::telemetry::is_invisible;

/// What the client calls itself in its `User-Agent`: at most 400 characters without controls; empty where it does not say.
pub fn user_agent(headers: &HeaderMap) -> String {
    let value = headers.get(header::USER_AGENT);
    value
        .and_then(|value| clean_user_agent(&String::from_utf8_lossy(value.as_bytes())))
        .unwrap_or_default()
}

fn clean_user_agent(text: &str) -> Option<String> {
    let clean: String = text
        .chars()
        .filter(|character| !is_invisible(*character))
        .take(400)
        .collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agents_are_cleaned() {
        assert_eq!(
            clean_user_agent("a\u{1b}[31m\r\nb\u{202e}c").as_deref(),
            Some("a[31mbc")
        );
        assert_eq!(clean_user_agent(" \t "), None);
        assert_eq!(
            clean_user_agent(&"ض".repeat(500)).map(|text| text.chars().count()),
            Some(400)
        );
    }
}
