//! Reads a source record by record.

use std::io::BufRead;

use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::auth0::AUTH0_COLUMNS;
use super::document::DOCUMENT_COLUMNS;
use super::elements::{Elements, Layout, Stop};
use super::encoding::{as_utf8, other_kind, start_of};
use super::fields::{Fields, Get, Parsed, shown};
use super::firebase::FIREBASE_COLUMNS;
use super::lines::{LONGEST, Lines, Record, not_text};
use super::native::COLUMNS;
use super::options::Reading;
use super::supabase::SUPABASE_COLUMNS;
use super::user::{Format, Incoming, Preset, ReportRow};
use crate::audit::csv_plain;
use crate::domain::Email;
use crate::error::Invalid;

/// One record of the source, in order.
#[derive(Debug)]
pub struct Line {
    /// The line of the file on which it begins, or the number of the row, from 1.
    pub number: u64,
    /// How many records came before it.
    pub ordinal: u64,
    /// How many bytes of the file have been read with it.
    pub end: u64,
    /// The user, or why there is none.
    pub content: Result<Box<Incoming>, ReportRow>,
}

/// What a source sends.
#[derive(Debug)]
pub enum Message {
    /// A record.
    Line(Line),
    /// Columns that the preset ignores, reported once.
    IgnoredColumns(Vec<String>),
    /// The source has been read whole.
    End,
    /// The source cannot be read any further; in words for an operator.
    Broken(String),
}

impl Reading {
    /// Reads a whole file and sends what it finds. Ends early without a receiver.
    ///
    /// Blocks: to be run in a thread of its own.
    pub fn read_into(&self, input: impl BufRead, sender: &mpsc::Sender<Message>) {
        let last = match self.read(input, sender) {
            Ok(()) => Message::End,
            Err(Stop::Unwanted) => return,
            Err(Stop::Io(error)) => Message::Broken(format!("the file cannot be read: {error}")),
            Err(Stop::NoUsers) => {
                Message::Broken("there is no array \"users\" in the document; is --from right?".to_owned())
            }
            Err(Stop::Malformed(line)) => Message::Broken(format!(
                "the JSON document is broken or breaks off at line {line}; what follows was not read"
            )),
        };
        // The receiver may be gone.
        let _ = sender.blocking_send(last);
    }

    fn read(&self, mut input: impl BufRead, sender: &mpsc::Sender<Message>) -> Result<(), Stop> {
        let start = start_of(&mut input)?;
        if let Some(reason) = other_kind(&start, self.preset.table()) {
            let _ = sender.blocking_send(Message::Broken(reason));
            return Err(Stop::Unwanted);
        }
        let input = as_utf8(start, input);
        let mut ordinal = 0;
        let mut send = |number, end, fields: Result<Fields, Invalid>| {
            let line = self.line(number, ordinal, end, fields.map_err(|reason| reason.in_field("")));
            ordinal += 1;
            sender.blocking_send(Message::Line(line)).is_ok()
        };
        match self.format {
            Format::Json => {
                let layout = match self.preset {
                    Preset::Keycloak | Preset::Firebase => Layout::Users,
                    _ => Layout::Bare,
                };
                Elements::new(input).each(layout, &mut |record| {
                    send(record.number, record.end, json_object(record))
                })
            }
            Format::Ndjson => {
                let mut lines = Lines::new(input);
                while let Some(record) = lines.line()? {
                    if !send(record.number, record.end, json_object(record)) {
                        return Err(Stop::Unwanted);
                    }
                }
                Ok(())
            }
            Format::Csv => {
                let mut lines = Lines::new(input);
                let columns = match self.header(&mut lines)? {
                    Ok((columns, ignored)) => {
                        if !ignored.is_empty()
                            && sender.blocking_send(Message::IgnoredColumns(ignored)).is_err()
                        {
                            return Err(Stop::Unwanted);
                        }
                        columns
                    }
                    Err(reason) => {
                        let _ = sender.blocking_send(Message::Broken(reason));
                        return Err(Stop::Unwanted);
                    }
                };
                // Firebase leaves fields out at the end.
                let exact = self.preset != Preset::Firebase;
                while let Some(record) = lines.csv(exact.then_some(columns.len()))? {
                    // Spreadsheets write the separators of rows that were emptied.
                    if record.content.as_ref().is_ok_and(|fields| {
                        fields.len() > 1 && fields.iter().all(|field| field.trim().is_empty())
                    }) {
                        continue;
                    }
                    let fields = record.content.and_then(|fields| {
                        if exact && fields.len() != columns.len() {
                            return Err(Invalid::new(
                                "wrong_number_of_fields",
                                format!(
                                    "The header has {} fields and this line {}.",
                                    columns.len(),
                                    fields.len()
                                ),
                            ));
                        }
                        Ok(self.named(&columns, fields))
                    });
                    if !send(record.number, record.end, fields) {
                        return Err(Stop::Unwanted);
                    }
                }
                Ok(())
            }
        }
    }

    /// The columns of a CSV file, and those among them that are ignored.
    #[expect(clippy::type_complexity, reason = "two results and a pair, used in one place")]
    fn header(
        &self,
        lines: &mut Lines<impl BufRead>,
    ) -> Result<Result<(Vec<String>, Vec<String>), String>, Stop> {
        if self.preset == Preset::Firebase {
            return Ok(Ok((FIREBASE_COLUMNS.map(str::to_owned).to_vec(), Vec::new())));
        }
        let known = self.known();
        lines.find_separator(&|name| known_column(name, known).is_some())?;
        let Some(record) = lines.csv(None)? else {
            return Ok(Err(
                "the file is empty; its first line has to name the columns".to_owned()
            ));
        };
        let Ok(columns) = record.content else {
            return Ok(Err(
                "the first line, which names the columns, is not CSV".to_owned()
            ));
        };
        let columns: Vec<String> = columns
            .iter()
            .map(|name| known_column(name, known).unwrap_or(name.trim()).to_owned())
            .collect();
        for (index, name) in columns.iter().enumerate() {
            // Spreadsheets write separators for columns that were deleted.
            if !name.is_empty() && columns[..index].contains(name) {
                return Ok(Err(format!("the column {} is there twice", shown(name))));
            }
        }
        if !columns.iter().any(|name| name == "email") {
            if columns.iter().any(|name| name.contains('@')) {
                return Ok(Err(
                    "there is no column email; the first line has to name the columns".to_owned(),
                ));
            }
            let there: Vec<String> = columns.iter().take(20).map(|name| shown(name)).collect();
            return Ok(Err(format!(
                "there is no column email; the columns are {}",
                there.join(", ")
            )));
        }
        let unknown: Vec<String> = columns
            .iter()
            .filter(|name| !name.is_empty() && !known.contains(&name.as_str()))
            .map(|name| shown(name))
            .collect();
        if self.preset == Preset::Native && !unknown.is_empty() {
            return Ok(Err(format!(
                "unknown columns: {}; a native file has {}",
                unknown.join(", "),
                COLUMNS.join(", ")
            )));
        }
        Ok(Ok((columns, unknown)))
    }

    /// The fields of a CSV record by their columns. In a file of ours the apostrophe goes that keeps spreadsheets from computing.
    fn named(&self, columns: &[String], fields: Vec<String>) -> Fields {
        let is_guarded = self.preset == Preset::Native;
        columns
            .iter()
            .zip(fields)
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, text)| {
                let text = if is_guarded {
                    csv_plain(&text).to_owned()
                } else {
                    text
                };
                (name.clone(), Value::String(text))
            })
            .collect()
    }

    /// The fields that may hold the source's own id.
    fn source_id(&self) -> &'static [&'static str] {
        match self.preset {
            Preset::Native | Preset::Document | Preset::Supabase | Preset::Keycloak => &["id"],
            Preset::Auth0 => &["user_id", "_id"],
            Preset::Firebase => &["localId"],
        }
    }

    /// The top-level fields that the preset reads.
    fn known(&self) -> &'static [&'static str] {
        match self.preset {
            Preset::Native => &COLUMNS,
            Preset::Document => &DOCUMENT_COLUMNS,
            Preset::Supabase => &SUPABASE_COLUMNS,
            Preset::Auth0 => &AUTH0_COLUMNS,
            Preset::Keycloak | Preset::Firebase => &[],
        }
    }

    /// What becomes of one record.
    pub fn line(&self, number: u64, ordinal: u64, end: u64, fields: Parsed<Fields>) -> Line {
        let content = match fields {
            Err(reason) => Err(ReportRow::refused(number, reason)),
            Ok(fields) => {
                let source_id = Get(&fields).source_id(self.source_id());
                match self.user(&fields) {
                    Ok(user) => Ok(Box::new(Incoming {
                        preferred_uid: source_id
                            .as_deref()
                            .and_then(|id| Uuid::try_parse(id).ok())
                            .filter(|uid| !uid.is_nil()),
                        source_id,
                        ..user
                    })),
                    Err(reason) => {
                        let email = Get(&fields).text("email").ok().flatten();
                        let email = email.and_then(|text| Email::parse(text).ok());
                        Err(ReportRow {
                            email: email.map(|email| email.address().to_owned()),
                            source_id,
                            ..ReportRow::refused(number, reason)
                        })
                    }
                }
            }
        };
        Line {
            number,
            ordinal,
            end,
            content,
        }
    }

    fn user(&self, fields: &Fields) -> Parsed<Incoming> {
        let get = Get(fields);
        match self.preset {
            Preset::Native => self.native(&get),
            Preset::Document => self.document(&get),
            Preset::Supabase => self.supabase(&get),
            Preset::Keycloak => self.keycloak(&get),
            Preset::Auth0 => self.auth0(&get),
            Preset::Firebase => self.firebase(&get),
        }
    }
}

fn json_object(record: Record<Vec<u8>>) -> Result<Fields, Invalid> {
    let bytes = record.content?;
    if std::str::from_utf8(&bytes).is_err() {
        return Err(not_text());
    }
    // The parser's own words could repeat a hash.
    serde_json::from_slice(&bytes).map_err(|_| Invalid::new("malformed_json", "This is not a JSON object."))
}

/// The known column that a header's name means: letter case, spaces and signs do not count, nor how "e-mail" is spelled.
fn known_column<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let fold = |name: &str| -> String {
        name.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let exact = known.iter().find(|column| **column == name.trim());
    exact.copied().or_else(|| {
        let folded = match fold(name).as_str() {
            "mail" | "emailaddress" => "email".to_owned(),
            folded => folded.to_owned(),
        };
        known.iter().copied().find(|column| fold(column) == folded)
    })
}

/// The longest record, for records that are made of rows.
pub(super) const LONGEST_RECORD: usize = LONGEST;
