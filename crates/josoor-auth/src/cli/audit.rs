//! `josoor-auth audit`.

use std::io::Write as _;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::output::{Json, Outcome, confirm, find_user, finish, open, pretty, print, print_raw, user_error};
use crate::act::Client;
use crate::app::App;
use crate::audit;
use crate::config::Config;
use crate::domain::{Timestamp, UserId};
use crate::store::AuditFilter;

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
    /// Erases network addresses and user agents from the rows about a user, deleted or not
    Erase {
        /// An id or an email address; of a deleted person the id
        user: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Refuses rows without a code from now on, for good: the last node of the version before is gone
    RequireMac,
    /// Begins the chain again after a break that you know of; what is there is no longer checked
    Rebase {
        /// Why; it stands in the trail
        #[arg(long, value_parser = parse_reason)]
        reason: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Writes the rows to standard output, the latest first
    Export {
        /// How
        #[arg(long, value_enum, default_value = "ndjson")]
        format: Format,
        /// Only what concerns this user: an id or an email address
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

fn parse_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
        return Err("a reason has 1 to 200 characters, on one line".to_owned());
    }
    Ok(text.to_owned())
}

/// Between two tries to erase what is not sealed yet, and how many there are.
const WAIT: (Duration, u32) = (Duration::from_millis(200), 50);

async fn erase(app: &App, user: &str, yes: bool) -> Outcome<String> {
    // A person who was deleted is known by id only.
    let id = match user.trim().parse::<i64>() {
        Ok(id) if id > 0 => UserId(id),
        _ => find_user(app, user).await?.id,
    };
    confirm(
        &format!(
            "Network addresses and user agents of user {id} will be erased from the audit trail for good."
        ),
        yes,
    )?;
    let client = Client::default();
    let mut rows = 0;
    for _ in 0..WAIT.1 {
        // Where no service runs, nothing else seals.
        audit::seal(app).await?;
        let erased = audit::erase(app, id, &client).await?;
        rows += erased.rows;
        if erased.waiting == 0 {
            audit::seal(app).await?;
            return Ok(format!("erased from {rows} rows about user {id}"));
        }
        tokio::time::sleep(WAIT.0).await;
    }
    Err(user_error(format!(
        "erased from {rows} rows about user {id}; others are not sealed, so they cannot be erased: `josoor-auth audit verify` says why"
    )))
}

/// Runs a command.
pub(super) async fn run(config: Config, command: AuditCommand) -> Outcome {
    match command {
        AuditCommand::Verify { head, json } => {
            let kept = head
                .map(|text| {
                    audit::parse_head(&text)
                        .ok_or_else(|| user_error("a head is a position, a colon and 64 hexadecimal digits"))
                })
                .transpose()?;
            let app = open(config).await?;
            let report = audit::verify(&app, kept.as_ref()).await;
            finish(&app, report.map_err(Into::into), |report| {
                show(&report, json.json)
            })
            .await
        }
        AuditCommand::Erase { user, yes } => {
            let app = open(config).await?;
            let erased = erase(&app, &user, yes).await;
            finish(&app, erased, |text| print(&text)).await
        }
        AuditCommand::RequireMac => {
            let app = open(config).await?;
            let required = audit::require_mac(&app, &Client::default()).await;
            finish(&app, required.map_err(Into::into), |is_new| {
                print(if is_new {
                    "rows without a code are refused from now on"
                } else {
                    "rows without a code were refused already"
                })
            })
            .await
        }
        AuditCommand::Rebase { reason, yes } => {
            confirm(
                "What the audit trail holds now will no longer be checked; the chain begins again.",
                yes,
            )?;
            let app = open(config).await?;
            let head = audit::rebase(&app, &reason, &Client::default()).await;
            finish(&app, head.map_err(Into::into), |head| {
                print(&format!("the chain begins again\nhead {head}"))
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
            "refused": report.refused,
            "adopted": report.adopted,
            "erased": report.erased,
            "mac_required": report.mac_required,
            "rebased": report.rebased,
        })))?;
    } else {
        for finding in &report.findings {
            print(finding)?;
        }
        if !report.unsealed.is_empty() {
            let ids: Vec<_> = report.unsealed.iter().map(ToString::to_string).collect();
            print(&format!("not sealed yet: {}", ids.join(" ")))?;
        }
        if let Some(rebased) = &report.rebased {
            print(&format!(
                "the chain begins again at {rebased}; rows before that were not checked"
            ))?;
        }
        if report.adopted > 0 {
            print(&format!(
                "{} rows came from the version before, without a code until they were sealed",
                report.adopted
            ))?;
        }
        if report.erased > 0 {
            print(&format!(
                "{} rows lost what was personal in them, as later rows say",
                report.erased
            ))?;
        }
        if !report.mac_required {
            print("rows without a code are still accepted; `josoor-auth audit require-mac` ends that")?;
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
        Err(user_error(
            "the audit trail was tampered with, or is not being sealed",
        ))
    }
}

async fn export(app: &App, filter: &AuditFilter, format: Format) -> Outcome {
    audit::record_export(app, "audit", &Client::default()).await?;
    let write = |bytes: &[u8]| -> Outcome {
        match std::io::stdout().lock().write_all(bytes) {
            // The reader has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(user_error("the output was closed"))
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
