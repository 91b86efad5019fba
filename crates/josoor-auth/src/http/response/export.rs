//! Lists as files: CSV for spreadsheets, NDJSON for programs, written page by page, so that an export of any length needs the
//! memory of one page.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _};
use http::header;

use crate::audit::csv_line;
use crate::error::{Invalid, Result};
use crate::http::request::definition::{FieldText, NotNull, TextSchema, request_fields};
use crate::http::request::field_types::pattern_schema;
use crate::passwords::Policy;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// One JSON text per line.
    Ndjson,
}

impl FieldText for Format {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        match text {
            "csv" => Ok(Self::Csv),
            "ndjson" => Ok(Self::Ndjson),
            _ => Err(Invalid::new("unknown_format", "format is csv or ndjson.")),
        }
    }

    fn schema() -> TextSchema {
        pattern_schema("^(csv|ndjson)$")
    }
}

request_fields! {
    /// What the query of an export says about its form.
    pub struct ExportForm {
        /// Default: csv
        format: Option<Format>,
        /// CSV with a byte order mark, for spreadsheets
        bom: NotNull<bool>,
    }
}

impl ExportForm {
    /// The kind of file.
    pub fn format(&self) -> Format {
        self.format.unwrap_or(Format::Csv)
    }

    /// The answer: a file of this name, with the pages as they come.
    pub fn respond(
        &self,
        name: &str,
        header_row: &[&str],
        pages: impl Stream<Item = Result<Vec<u8>>> + Send + 'static,
    ) -> Response {
        let (kind, extension) = match self.format() {
            Format::Csv => ("text/csv; charset=utf-8", "csv"),
            Format::Ndjson => ("application/x-ndjson", "ndjson"),
        };
        let mut head = Vec::new();
        if self.format() == Format::Csv {
            if self.bom.0 == Some(true) {
                head.extend_from_slice("\u{feff}".as_bytes());
            }
            head.extend_from_slice(&csv_line(header_row));
        }
        let head = futures_util::stream::once(std::future::ready(Ok(head)));
        // The status is long sent when a page fails: all that is left is to break off.
        let body = head.chain(pages).map(|page| {
            page.map(Bytes::from)
                .map_err(|_| std::io::Error::other("the database does not answer"))
        });
        let headers = [
            (header::CONTENT_TYPE, kind.to_owned()),
            (
                header::CONTENT_DISPOSITION,
                format!("attachment; filename=\"{name}.{extension}\""),
            ),
        ];
        (headers, Body::from_stream(body)).into_response()
    }
}

/// A line of NDJSON.
pub fn json_line(value: &serde_json::Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}
