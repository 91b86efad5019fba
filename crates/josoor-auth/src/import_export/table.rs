//! Reads a table of another program.

use tokio::sync::mpsc;

use super::fields::Fields;
use super::options::Reading;
use super::reading::{LONGEST_RECORD, Message};
use crate::error::{Error, Invalid};
use crate::store::SourceTable;

/// Sends the rows of a table as lines, numbered from 1. Ends early without a receiver.
pub async fn read_table(mut table: SourceTable, reading: &Reading, sender: mpsc::Sender<Message>) {
    if !table.ignored_columns().is_empty() {
        let columns = table.ignored_columns().to_vec();
        if sender.send(Message::IgnoredColumns(columns)).await.is_err() {
            return;
        }
    }
    let mut ordinal = 0;
    loop {
        let rows = match table.next().await {
            Ok(rows) => rows,
            Err(Error::Internal(cause)) => {
                let _ = sender.send(Message::Broken(format!("{cause:#}"))).await;
                return;
            }
            Err(other) => {
                let _ = sender.send(Message::Broken(other.to_string())).await;
                return;
            }
        };
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let size: usize = row
                .iter()
                .filter_map(|(_, value)| Some(value.as_ref()?.len()))
                .sum();
            let fields = if size > LONGEST_RECORD {
                Err(Invalid::new("line_too_long", "A record has at most 64 KiB.").in_field(""))
            } else {
                let fields = row
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
                Ok(fields.collect::<Fields>())
            };
            let line = reading.line(ordinal + 1, ordinal, 0, fields);
            ordinal += 1;
            if sender.send(Message::Line(line)).await.is_err() {
                return;
            }
        }
    }
    table.close().await;
    let _ = sender.send(Message::End).await;
}
