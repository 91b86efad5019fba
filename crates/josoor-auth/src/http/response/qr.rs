//! QR codes as SVG images.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

use crate::error::{Error, Result};

/// Modules of the quiet zone around a code (ISO/IEC 18004, 5.3.8).
const QUIET: i32 = 4;

/// A QR code of a text: dark on light, whatever is around it, one unit for each module.
///
/// # Errors
/// `Internal` for a text that is longer than a code can hold.
pub fn svg(text: &str) -> Result<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium)
        .map_err(|_| Error::Internal(anyhow::anyhow!("a text is too long for a QR code")))?;
    let size = code.size();
    let whole = size + 2 * QUIET;
    let mut path = String::new();
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let begin = x;
            while x < size && code.get_module(x, y) {
                x += 1;
            }
            if x > begin {
                // Writing into a string cannot fail.
                let _ = write!(
                    path,
                    "M{},{}h{}v1h-{}z",
                    begin + QUIET,
                    y + QUIET,
                    x - begin,
                    x - begin
                );
            }
            x += 1;
        }
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole} {whole}\" shape-rendering=\"crispEdges\" role=\"img\">\
         <rect width=\"{whole}\" height=\"{whole}\" fill=\"#fff\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that the path of an image draws.
    fn drawn(svg: &str) -> std::collections::BTreeSet<(i32, i32)> {
        let path = svg
            .split("d=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a path");
        let mut modules = std::collections::BTreeSet::new();
        for run in path.split('M').filter(|run| !run.is_empty()) {
            let (at, rest) = run.split_once('h').expect("a run");
            let (x, y) = at.split_once(',').expect("a place");
            let (x, y): (i32, i32) = (x.parse().expect("x"), y.parse().expect("y"));
            let length: i32 = rest
                .split('v')
                .next()
                .expect("a length")
                .parse()
                .expect("a number");
            modules.extend((x..x + length).map(|x| (x - QUIET, y - QUIET)));
        }
        modules
    }

    #[test]
    fn an_image_draws_exactly_the_dark_modules() {
        let text = "otpauth://totp/auth.example.com:sara%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=auth.example.com";
        let svg = svg(text).expect("an image");
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).expect("a code");
        let modules = drawn(&svg);
        for y in 0..code.size() {
            for x in 0..code.size() {
                assert_eq!(modules.contains(&(x, y)), code.get_module(x, y), "{x} {y}");
            }
        }
        assert!(svg.contains(&format!("viewBox=\"0 0 {0} {0}\"", code.size() + 8)));
    }

    #[test]
    fn a_text_that_is_too_long_is_refused() {
        assert!(svg(&"a".repeat(4000)).is_err());
    }
}
