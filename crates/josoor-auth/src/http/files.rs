//! The built files of the pages (`assets/web`, made by `make web`), which `build.rs` packs into the binary.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, header};

use crate::error::{Error, Result};

/// One file, plain and packed.
pub struct File {
    /// Below `assets/web`.
    pub name: &'static str,
    /// As it was built.
    pub plain: &'static [u8],
    /// Packed with gzip.
    pub gzip: &'static [u8],
    /// Packed with brotli.
    pub brotli: &'static [u8],
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// The route of the files.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/assets/{*name}", get(file))
}

/// The file of this name.
pub fn find(name: &str) -> Option<&'static File> {
    FILES
        .binary_search_by(|file| file.name.cmp(name))
        .ok()
        .and_then(|index| FILES.get(index))
}

/// The text of the file of this name; empty when there is none.
pub fn text(name: &str) -> &'static str {
    find(name)
        .and_then(|file| std::str::from_utf8(file.plain).ok())
        .unwrap_or_default()
}

/// The address of the pages' style sheet, below the service's own.
pub fn style_sheet() -> &'static str {
    FILES
        .iter()
        .map(|file| file.name)
        .find(|name| {
            std::path::Path::new(name)
                .extension()
                .is_some_and(|kind| kind == "css")
        })
        .unwrap_or_default()
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response> {
    let file = find(&format!("assets/{name}")).ok_or(Error::NotFound)?;
    let kind = match name.rsplit_once('.').map(|(_, kind)| kind) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    };
    // What has no hash in its name may be another file tomorrow.
    let keep = if name.contains('-') {
        "public, max-age=31536000, immutable"
    } else {
        "public, max-age=86400"
    };
    let (encoding, content) = match accepted_encoding(&headers) {
        Some("br") => (Some("br"), file.brotli),
        Some("gzip") => (Some("gzip"), file.gzip),
        _ => (None, file.plain),
    };
    let mut response = (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, keep),
            (header::VARY, "accept-encoding"),
        ],
        content,
    )
        .into_response();
    if let Some(encoding) = encoding {
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Ok(response)
}

/// The best of our encodings that an `Accept-Encoding` header (RFC 9110, 12.5.3) takes.
fn accepted_encoding(headers: &HeaderMap) -> Option<&'static str> {
    let takes = |wanted: &str| {
        headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|part| {
                let mut part = part.split(';').map(str::trim);
                let is_wanted = part.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
                let quality = part.find_map(|p| p.strip_prefix("q=")?.parse::<f32>().ok());
                is_wanted && quality.is_none_or(|quality| quality > 0.0)
            })
    };
    ["br", "gzip"].into_iter().find(|encoding| takes(encoding))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that a document, or a script that it loads, names at once.
    fn loaded(document: &'static str) -> Vec<&'static str> {
        let mut wanted: Vec<_> = document
            .split("{{base}}/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|name| name.starts_with("assets/"))
            .collect();
        let mut index = 0;
        while let Some(name) = wanted.get(index).copied() {
            for import in text(name)
                .split("from\"./")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
            {
                let found = FILES
                    .iter()
                    .find(|file| file.name.strip_prefix("assets/") == Some(import));
                if let Some(found) = found.filter(|found| !wanted.contains(&found.name)) {
                    wanted.push(found.name);
                }
            }
            index += 1;
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    #[test]
    fn every_file_that_a_page_names_is_there_and_packs_well() {
        for name in ["shell.en.html", "shell.ar.html"] {
            let page = text(name);
            let named = loaded(page);
            assert!(named.len() >= 3 && named.contains(&style_sheet()), "{named:?}");
            for name in named {
                assert!(find(name).is_some(), "{name}");
            }
            assert!(!page.contains("<style") && !page.contains("javascript:") && !page.contains("://"));
            assert_eq!(
                page.matches("<script").count(),
                page.matches("<script type=\"module\" src=").count()
            );
        }
    }

    #[test]
    fn the_first_load_of_account_and_console_is_at_most_220_kb() {
        let larger = ["assets/account-", "assets/console-", "assets/styles-later-"];
        for name in ["shell.en.html", "shell.ar.html"] {
            let mut wanted = loaded(text(name));
            wanted.extend(FILES.iter().map(|file| file.name).filter(|name| {
                larger.iter().any(|prefix| name.starts_with(prefix)) || name.contains(".more-")
            }));
            let bytes: usize = wanted
                .iter()
                .filter_map(|name| find(name))
                .map(|file| file.gzip.len())
                .sum();
            assert!((20_000..=220_000).contains(&bytes), "{bytes} bytes: {wanted:?}");
        }
    }

    #[test]
    fn encodings_are_sent_to_who_takes_them() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            accepted_encoding(&headers)
        };
        assert_eq!(with("gzip, deflate, br, zstd"), Some("br"));
        assert_eq!(with("gzip;q=0.5, br;q=0"), Some("gzip"));
        assert_eq!(with("identity"), None);
        assert_eq!(accepted_encoding(&HeaderMap::new()), None);
    }
}
