//! Where to go after a sign-in: `return_to` of the address, on this site alone.

use url::Url;

/// The address that `value` names, if it is one of this site; the same rules as `safeReturnTo` of the SDK.
pub fn safe(value: &str) -> Option<String> {
    // Browsers drop tabs and line ends inside an address and read "\" as "/".
    let is_path = value.starts_with('/') && !value[1..].starts_with('/');
    let is_plain = !value.chars().any(|c| c == '\\' || c.is_ascii_control());
    if !is_path || !is_plain {
        return None;
    }
    let base = Url::parse("https://return-to.invalid").ok()?;
    let url = base.join(value).ok()?;
    let whole = url.as_str();
    let path = whole.strip_prefix("https://return-to.invalid")?;
    // "/.//elsewhere" becomes "//elsewhere" once it is resolved.
    (url.origin() == base.origin() && path.starts_with('/') && !path.starts_with("//"))
        .then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn only_paths_of_this_site_are_followed() {
        for (value, to) in [
            ("/account", "/account"),
            (
                "/account/activity?x=%D8%A7#part",
                "/account/activity?x=%D8%A7#part",
            ),
            ("/ا", "/%D8%A7"),
            ("/a/../b", "/b"),
        ] {
            assert_eq!(safe(value).as_deref(), Some(to));
        }
        for value in [
            "",
            "account",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/.//evil.example",
            "/x/..//evil.example",
            "/a\r\nSet-Cookie: x=1",
            "\\\\evil.example",
        ] {
            assert_eq!(safe(value), None, "{value:?}");
        }
    }
}
