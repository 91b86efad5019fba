//! What kind of answer a client accepts.

use http::{HeaderMap, header};

/// Whether the client is a browser that wants a page.
pub fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}
