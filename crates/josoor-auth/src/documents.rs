//! Holds the generated parts of `docs/`: what stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->` is what the
//! code says. `UPDATE_DOCS=1 cargo test --package josoor-auth --lib documents` renews them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, Command};
use serde_json::json;

use crate::cli;
use crate::domain::Audit;
use crate::domain::limit;
use crate::http::response::codes::CODES;
use crate::http::{limited_requests, verified_requests};
use crate::telemetry::{Metrics, RefreshOutcome, Sample, SignIn, SpanOutcome, codes};

/// Compares the part `name` of a page with `text`, or renews it where `UPDATE_DOCS` is set.
fn hold(page: &str, name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(page);
    let document = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- generated: {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = document.split_once(&begin).expect(&begin);
    let (_, after) = rest.split_once(&end).expect(&end);
    let renewed = format!("{before}{begin}\n{}\n\n{end}{after}", text.trim());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, renewed).unwrap();
        return;
    }
    assert!(
        document == renewed,
        "docs/{page} is stale; renew it with:\n  UPDATE_DOCS=1 cargo test --package josoor-auth --lib documents"
    );
}

/// Compares a whole file with `text`, or writes it where `UPDATE_DOCS` is set.
fn hold_file(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == text,
        "docs/{file} is stale; renew it with:\n  UPDATE_DOCS=1 cargo test --package josoor-auth --lib documents"
    );
}

/// Text that may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[test]
fn limits_are_documented() {
    hold("reference/limits.md", "limits", &limit::table());
}

#[test]
fn what_counts_each_request_is_documented() {
    hold(
        "SECURITY-MODEL.md",
        "counted requests",
        &limited_requests::table(),
    );
}

#[test]
fn what_each_request_needs_of_its_caller_is_documented() {
    hold(
        "reference/second-factors.md",
        "verified requests",
        &verified_requests::table(),
    );
}

#[test]
fn error_codes_are_documented() {
    let mut text = "| `code` | Status | Meaning |\n|---|---|---|\n".to_owned();
    for entry in CODES {
        let (code, status) = (entry.code, entry.status.as_u16());
        writeln!(
            text,
            "| `{code}` | {status} | **{}.** {} |",
            entry.title,
            cell(entry.meaning)
        )
        .unwrap();
    }
    hold("reference/errors.md", "errors", &text);
}

#[test]
fn actions_of_the_audit_trail_are_documented() {
    let names: Vec<_> = Audit::ALL
        .iter()
        .map(|action| format!("`{}`", action.as_str()))
        .collect();
    hold(
        "reference/http-api.md",
        "actions",
        &format!("{}.", names.join(", ")),
    );
}

#[test]
fn log_codes_are_documented() {
    hold("reference/log-codes.md", "log codes", &codes::table());
}

#[test]
fn lines_of_the_log_have_a_schema() {
    let codes: Vec<_> = codes::CODES.iter().map(|one| one.code).collect();
    let ours = json!({ "pattern": "^josoor_auth" });
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of the log of JOSOOR Auth (log.format = \"json\")",
        "type": "object",
        "additionalProperties": false,
        "required": ["timestamp", "level", "target", "message"],
        "properties": {
            "timestamp": { "type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$" },
            "level": { "enum": ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"] },
            "target": { "type": "string", "minLength": 1 },
            "message": { "type": "string" },
            "request_id": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
            "trace_id": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
            "fields": {
                "type": "object",
                "propertyNames": { "pattern": "^[a-z][a-z0-9_.]*$" },
                "additionalProperties": { "type": ["string", "number", "boolean"] },
                "properties": { "code": { "type": "string" } },
            },
        },
        "allOf": [
            {
                "description": "Our own warnings and errors have a code.",
                "if": { "properties": { "level": { "enum": ["WARN", "ERROR"] }, "target": ours } },
                "then": {
                    "required": ["fields"],
                    "properties": { "fields": { "required": ["code"], "properties": { "code": { "enum": codes } } } },
                },
            },
            {
                "description": "The access log.",
                "if": { "properties": { "target": { "const": "josoor_auth::access" } } },
                "then": {
                    "required": ["fields", "request_id"],
                    "properties": { "fields": {
                        "required": ["method", "route", "status", "duration_us", "client"],
                        "properties": {
                            "status": { "type": "integer", "minimum": 100, "maximum": 599 },
                            "duration_us": { "type": "integer", "minimum": 0 },
                            "user_id": { "type": "integer" },
                        },
                    } },
                },
            },
        ],
    });
    hold_file("log.schema.json", &format!("{schema:#}\n"));
}

#[test]
fn metrics_are_documented() {
    let metrics = Metrics::new();
    // A family without a value is not shown.
    metrics.route("/").request_ends("GET", 200, Duration::ZERO);
    metrics.sign_in(SignIn::Success);
    metrics.sessions_revoked("logout", 1);
    metrics.refresh(RefreshOutcome::Rotated);
    metrics.mail("invitation", "sent");
    metrics.mail_budget_refused("other");
    metrics.limited("login_address");
    metrics.cache("near", "session");
    metrics.audit_streamed("syslog", 1);
    metrics.audit_stream_behind("syslog", 0);
    metrics.spans(SpanOutcome::Sent, 1);
    let exposition = metrics.encode(&Sample {
        mails_waiting: [("other", 0, Duration::ZERO); 3],
        ..Sample::default()
    });
    let mut text = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n".to_owned();
    let comments = |kind| {
        exposition
            .lines()
            .filter_map(move |line| line.strip_prefix(kind)?.split_once(' '))
    };
    for (name, help) in comments("# HELP ") {
        let kind = comments("# TYPE ").find(|typed| typed.0 == name).expect(name).1;
        let suffix = if kind == "counter" { "_total" } else { "" };
        let of_value = if kind == "histogram" { "_count" } else { suffix };
        let sample = exposition
            .lines()
            .find(|line| line.starts_with(&format!("{name}{of_value}{{")));
        let labels: Vec<_> = sample
            .and_then(|line| line.split_once('{')?.1.split_once('}'))
            .map(|(labels, _)| labels.split(',').filter_map(|label| label.split_once('=')))
            .into_iter()
            .flatten()
            .map(|(label, _)| format!("`{label}`"))
            .collect();
        let labels = labels.join(", ");
        writeln!(text, "| `{name}{suffix}` | {kind} | {labels} | {} |", cell(help)).unwrap();
    }
    hold("reference/metrics.md", "metrics", &text);
}

#[test]
fn settings_are_documented() {
    let mut text = String::new();
    let (mut section, mut comment) = (String::new(), Vec::new());
    let file = include_str!("../config.default.toml");
    // The first paragraph is about the file itself.
    for line in file.split_once("\n\n").expect("a paragraph").1.lines() {
        if let Some(words) = line.strip_prefix('#') {
            comment.push(words.trim().to_owned());
        } else if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            writeln!(text, "\n## {section}\n").unwrap();
            if !comment.is_empty() {
                writeln!(text, "{}\n", comment.join(" ")).unwrap();
            }
            text.push_str("| Setting | Default | Variable | Meaning |\n|---|---|---|---|\n");
            comment.clear();
        } else if let Some((key, default)) = line.split_once(" = ") {
            let position = comment
                .iter()
                .position(|words| words.starts_with("Variable: "))
                .expect(key);
            let variable = comment.remove(position)["Variable: ".len()..].to_owned();
            let names: Vec<_> = variable
                .split(|character: char| {
                    !(character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_')
                })
                .filter(|name| name.len() > 3)
                .map(|name| format!("`{name}`"))
                .collect();
            let default = if default == "\"\"" {
                "–".to_owned()
            } else {
                format!("`{default}`")
            };
            let meaning = cell(&comment.join(" "));
            writeln!(
                text,
                "| `{section}.{key}` | {default} | {} | {meaning} |",
                names.join(", ")
            )
            .unwrap();
            comment.clear();
        } else if line.is_empty() {
            comment.clear();
        }
    }
    hold("reference/settings.md", "settings", &text);
}

#[test]
fn the_command_line_is_documented() {
    let mut command = cli::command();
    command.build();
    let mut text = String::new();
    describe_command(&mut text, &command);
    hold("reference/cli.md", "commands", &text);
}

fn describe_command(text: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    writeln!(
        text,
        "\n## {name}\n\n{about}.\n\n```text\n{}\n```",
        usage.trim_start_matches("Usage: ")
    )
    .unwrap();
    let is_listed = |argument: &&Arg| {
        !matches!(argument.get_id().as_str(), "help" | "version")
            && (!argument.is_global_set() || !name.contains(' '))
    };
    let mut arguments = command.get_arguments().filter(is_listed).peekable();
    if arguments.peek().is_some() {
        text.push_str("\n| Argument | Meaning |\n|---|---|\n");
    }
    for argument in arguments {
        let values = argument.get_value_names().unwrap_or_default().join(" ");
        let flag = argument
            .get_long()
            .map(|long| format!("--{long}"))
            .unwrap_or_default();
        let takes_value = argument.get_action().takes_values() && !values.is_empty();
        let shown = format!("{flag} {}", if takes_value { values.as_str() } else { "" });
        let help = argument
            .get_long_help()
            .or(argument.get_help())
            .map(ToString::to_string)
            .unwrap_or_default();
        let default: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        let default = match default.as_slice() {
            [value] if takes_value => format!(". Default: `{value}`"),
            _ => String::new(),
        };
        writeln!(
            text,
            "| `{}` | {}{default} |",
            shown.trim(),
            cell(&help.replace('\n', " "))
        )
        .unwrap();
    }
    for subcommand in command.get_subcommands().filter(|one| one.get_name() != "help") {
        describe_command(text, subcommand);
    }
}
