//! `josoor-auth audit`.

use std::io::Write as _;

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::{Json, Outcome, find_user, finish, open, pretty, print, print_raw, told};
use crate::app::App;
use crate::audit;
use crate::config::Config;
use crate::sessions::Client;
use crate::store::AuditFilter;
use crate::types::Timestamp;

/// What can be done with the audit trail.
#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// Checks that no row was changed, removed, inserted or cut off
    Verify {
        /// A head that was kept elsewhere, as `audit verify` and the log print it
        #[arg(long, value_name = "POSITION:CODE")]
        head: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Writes the rows to standard output, the latest first
    Export {
        /// How
        #[arg(long, value_enum, default_value = "ndjson")]
        format: Format,
        /// Only what concerns this user: an id or an e-mail address
        #[arg(long)]
        user: Option<String>,
        /// From this moment on (RFC 3339)
        #[arg(long, value_parser = parse_time)]
        from: Option<Timestamp>,
        /// Before this moment (RFC 3339)
        #[arg(long, value_parser = parse_time)]
        to: Option<Timestamp>,
    },
}

/// How an export is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// RFC 4180, with a header
    Csv,
    /// One JSON object per line
    Ndjson,
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "a time is written as in RFC 3339, such as 2026-11-24T08:00:00Z".to_owned())
}

/// Runs a command.
pub(super) async fn run(config: Config, command: AuditCommand) -> Outcome {
    match command {
        AuditCommand::Verify { head, json } => {
            let kept = head
                .map(|text| {
                    audit::parse_head(&text)
                        .ok_or_else(|| told("a head is a position, a colon and 64 hexadecimal digits"))
                })
                .transpose()?;
            let app = open(config).await?;
            let report = audit::verify(&app, kept.as_ref()).await;
            finish(&app, report.map_err(Into::into), |report| {
                show(&report, json.json)
            })
            .await
        }
        AuditCommand::Export {
            format,
            user,
            from,
            to,
        } => {
            let app = open(config).await?;
            let written = async {
                let subject = match user {
                    Some(user) => Some(find_user(&app, &user).await?.id),
                    None => None,
                };
                let filter = AuditFilter {
                    subject,
                    from,
                    to,
                    ..AuditFilter::default()
                };
                export(&app, &filter, format).await
            };
            let written = written.await;
            finish(&app, written, |()| Ok(())).await
        }
    }
}

fn show(report: &audit::Report, json: bool) -> Outcome {
    if json {
        print(&pretty(&json!({
            "whole": report.findings.is_empty(),
            "checked": report.checked,
            "head": report.head,
            "findings": report.findings,
            "unsealed": report.unsealed,
        })))?;
    } else {
        for finding in &report.findings {
            print(finding)?;
        }
        if !report.unsealed.is_empty() {
            let ids: Vec<_> = report.unsealed.iter().map(ToString::to_string).collect();
            print(&format!("not sealed yet: {}", ids.join(" ")))?;
        }
        let verdict = if report.findings.is_empty() {
            "whole"
        } else {
            "NOT whole"
        };
        print(&format!(
            "{} rows checked: the chain is {verdict}",
            report.checked
        ))?;
        if let Some(head) = &report.head {
            print(&format!("head {head}"))?;
        }
    }
    if report.findings.is_empty() {
        Ok(())
    } else {
        Err(told("the audit trail was tampered with, or is not being sealed"))
    }
}

async fn export(app: &App, filter: &AuditFilter, format: Format) -> Outcome {
    audit::record_export(app, "audit", &Client::default()).await?;
    let write = |bytes: &[u8]| -> Outcome {
        match std::io::stdout().lock().write_all(bytes) {
            // The reader has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(told("the output was closed"))
            }
            other => Ok(other?),
        }
    };
    if format == Format::Csv {
        write(&audit::csv_line(&audit::CSV_HEADER))?;
    }
    let mut before = None;
    loop {
        let (rows, next) = audit::list(app, filter, before, 500).await?;
        for row in &rows {
            match format {
                Format::Csv => write(&audit::to_csv(row))?,
                Format::Ndjson => print_raw(&format!("{}\n", audit::to_json(row)))?,
            }
        }
        let Some(next) = next else { return Ok(()) };
        before = Some(next);
    }
}
