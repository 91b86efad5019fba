//! Pictures that an operator gives for the pages: SVG and PNG.

use std::fmt;
use std::sync::Arc;

use crate::crypto;

/// The largest file that a picture may be, in bytes.
pub const PICTURE_AT_MOST: usize = 200 * 1024;

const PNG_BEGINS: &[u8] = b"\x89PNG\r\n\x1a\n";
const PNG_ENDS: &[u8] = b"IEND\xaeB`\x82";
const SVG: &str = "http://www.w3.org/2000/svg";
const XLINK: &str = "http://www.w3.org/1999/xlink";

/// What kind of file a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// Scalable Vector Graphics.
    Svg,
    /// Portable Network Graphics.
    Png,
}

impl PictureKind {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Svg => "image/svg+xml",
            Self::Png => "image/png",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

/// A picture whose content was checked. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    content: Arc<[u8]>,
    kind: PictureKind,
    hash: String,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("kind", &self.kind)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// Why a file is no picture for the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPicture {
    /// It is larger than [`PICTURE_AT_MOST`].
    TooLarge,
    /// It is neither kind of file.
    UnknownKind,
    /// It is a PNG file whose end is missing.
    Incomplete,
    /// It is SVG that cannot be read; why.
    Malformed(String),
    /// It is SVG with this in it, which pictures on pages do not run and do not load.
    Active(String),
}

impl BadPicture {
    /// What is wrong, and what to do.
    pub fn explain(&self) -> (String, &'static str) {
        match self {
            Self::TooLarge => (
                format!("the file is larger than {} KiB", PICTURE_AT_MOST / 1024),
                "make it smaller: a logo is shown 32 pixels high",
            ),
            Self::UnknownKind => (
                "the file is neither SVG nor PNG".to_owned(),
                "export the picture as SVG or PNG",
            ),
            Self::Incomplete => ("the PNG file is incomplete".to_owned(), "copy or export it again"),
            Self::Malformed(why) => (
                format!("the SVG file cannot be read: {why}"),
                "export it again as plain SVG",
            ),
            Self::Active(what) => (
                format!("the SVG file has {what} in it"),
                "export it as plain SVG, with everything in the file and no scripts",
            ),
        }
    }
}

impl Picture {
    /// Checks the content of a file.
    ///
    /// # Errors
    /// [`BadPicture`].
    pub fn parse(content: Vec<u8>) -> Result<Self, BadPicture> {
        if content.len() > PICTURE_AT_MOST {
            return Err(BadPicture::TooLarge);
        }
        let kind = if content.starts_with(PNG_BEGINS) {
            if content.len() < 45 || !content.ends_with(PNG_ENDS) {
                return Err(BadPicture::Incomplete);
            }
            PictureKind::Png
        } else {
            let text = std::str::from_utf8(&content).map_err(|_| BadPicture::UnknownKind)?;
            check_svg(text)?;
            PictureKind::Svg
        };
        let hash = crypto::content_name(&content);
        Ok(Self {
            content: content.into(),
            kind,
            hash,
        })
    }

    /// The file.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// What kind of file it is.
    pub const fn kind(&self) -> PictureKind {
        self.kind
    }

    /// A name for the file that changes with its content: `logo-0123456789abcdef.svg`.
    pub fn file_name(&self, role: &str) -> String {
        format!("{role}-{}.{}", self.hash, self.kind.extension())
    }
}

/// Accepts SVG that draws itself from the file alone.
fn check_svg(text: &str) -> Result<(), BadPicture> {
    if !text.contains("<svg") && !text.contains(":svg") {
        return Err(BadPicture::UnknownKind);
    }
    let document = match roxmltree::Document::parse(text) {
        Ok(document) => document,
        Err(roxmltree::Error::DtdDetected) => return Err(BadPicture::Active("a document type".to_owned())),
        Err(error) => return Err(BadPicture::Malformed(error.to_string())),
    };
    let root = document.root_element();
    if !root.has_tag_name((SVG, "svg")) {
        return Err(BadPicture::Malformed(format!(
            "its first element is not svg of the namespace {SVG}"
        )));
    }
    for element in document.descendants().filter(roxmltree::Node::is_element) {
        let name = element.tag_name().name();
        if matches!(name, "script" | "foreignObject" | "iframe" | "handler") {
            return Err(BadPicture::Active(format!("the element {name}")));
        }
        for attribute in element.attributes() {
            let is_event = attribute.namespace().is_none() && attribute.name().starts_with("on");
            let is_link =
                attribute.name() == "href" && attribute.namespace().is_none_or(|space| space == XLINK);
            let leads_out = is_link && !attribute.value().starts_with('#') && !is_data(attribute.value());
            if is_event || leads_out {
                return Err(BadPicture::Active(format!(
                    "the attribute {} at the element {name}",
                    attribute.name()
                )));
            }
        }
    }
    Ok(())
}

fn is_data(address: &str) -> bool {
    address.starts_with("data:image/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(inside: &str) -> Result<Picture, BadPicture> {
        let text = format!(
            r#"<svg xmlns="{SVG}" xmlns:xlink="{XLINK}" viewBox="0 0 9 9"><title>x</title>{inside}</svg>"#
        );
        Picture::parse(text.into_bytes())
    }

    /// One grey pixel.
    fn png() -> Vec<u8> {
        let mut png = PNG_BEGINS.to_vec();
        png.extend(b"\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55");
        png.extend(b"\0\0\0\x0aIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\0\0\0\0");
        png.extend(PNG_ENDS);
        png
    }

    #[test]
    fn pictures_are_recognised_by_their_content_and_named_by_it() {
        let one = svg("<path d='M0 0h9'/><use href='#a'/><image href='data:image/png;base64,AA=='/>")
            .expect("a picture");
        assert_eq!(one.kind().media_type(), "image/svg+xml");
        let name = one.file_name("logo");
        assert!(
            name.starts_with("logo-") && name.find(".svg") == Some(21),
            "{name}"
        );
        assert_eq!(svg("").expect("a picture").file_name("logo").len(), 25);
        assert_ne!(svg("").expect("a picture").file_name("logo"), name);
        let png = Picture::parse(png()).expect("a picture");
        assert_eq!(png.kind(), PictureKind::Png);
        assert!(!format!("{png:?}").contains("IHDR"));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let mut short = png();
        short.pop();
        for (content, bad) in [
            (short, BadPicture::Incomplete),
            (vec![b' '; PICTURE_AT_MOST + 1], BadPicture::TooLarge),
            (Vec::new(), BadPicture::UnknownKind),
            (b"GIF89a".to_vec(), BadPicture::UnknownKind),
            (vec![0xff, 0xd8, 0xff, 0xe0], BadPicture::UnknownKind),
            (
                b"<html><script>1</script></html>".to_vec(),
                BadPicture::UnknownKind,
            ),
        ] {
            assert_eq!(Picture::parse(content), Err(bad));
        }
        for text in [
            "<svg/>",
            "<svg",
            "<svg xmlns='http://www.w3.org/2000/svg'><a></svg>",
        ] {
            let bad = Picture::parse(text.into()).expect_err("no picture");
            assert!(matches!(bad, BadPicture::Malformed(_)), "{text}: {bad:?}");
        }
        // As deep as the largest file can be.
        let deep = format!("<svg xmlns='{SVG}'>{}", "<g>".repeat(65_000));
        assert!(Picture::parse(deep.into_bytes()).is_err());
    }

    #[test]
    fn svg_is_neither_a_program_nor_does_it_lead_elsewhere() {
        for inside in [
            "<script>alert(1)</script>",
            "<g><script href='x.js'/></g>",
            "<path onload='alert(1)'/>",
            "<foreignObject/>",
            "<a href='javascript:alert(1)'/>",
            "<a xlink:href='//evil.example'/>",
            "<image href='https://evil.example/x.png'/>",
            "<use href='data:text/html,x'/>",
        ] {
            let bad = svg(inside).expect_err(inside);
            assert!(matches!(bad, BadPicture::Active(_)), "{inside}: {bad:?}");
            let (message, remedy) = bad.explain();
            assert!(message.contains("has the") && !remedy.is_empty(), "{message}");
        }
        let entity = format!("<!DOCTYPE svg [<!ENTITY a 'b'>]><svg xmlns='{SVG}'>&a;</svg>");
        let bad = Picture::parse(entity.into_bytes()).expect_err("an entity");
        assert_eq!(bad, BadPicture::Active("a document type".to_owned()));
    }
}
