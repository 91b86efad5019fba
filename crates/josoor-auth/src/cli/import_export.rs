//! `user import` and `user export`: arguments, progress and report.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal as _, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::sync::mpsc;

use super::import_report::{IdMap, Report, State, fingerprint, private, progress_bar};
use super::output::{Json, Outcome, finish, note, open, pretty, print, user_error};
use crate::act::Client;
use crate::app::App;
use crate::config::Config;
use crate::domain::{Role, Secret};
use crate::import_export::import::{Event, Options, Summary};
use crate::import_export::{Contents, DOCUMENT_COLUMNS, FirebaseConfig, Message, Reading, SUPABASE_COLUMNS};
use crate::import_export::{Format, Preset, export, import, other_kind, read_table, start_of};
use crate::store::SourceTable;

/// Records that may wait between the reader and the database.
const AHEAD: usize = 1000;

#[derive(Clone, Copy, ValueEnum)]
enum Writing {
    Csv,
    Ndjson,
}

#[derive(Args)]
pub(super) struct ImportArguments {
    /// The file; - is standard input
    #[arg(required_unless_present_any = ["database_url_file", "database_url_env"])]
    file: Option<PathBuf>,
    /// Who wrote it
    #[arg(long, value_enum, default_value = "native")]
    from: Preset,
    /// How it is written; by default from the file's name, else from what --from writes
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Checks everything, also against the database, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Where refused and changed lines are reported, one JSON object each; by default on standard error
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Goes on where a run with the same file and report was interrupted
    #[arg(long, requires = "report", conflicts_with = "dry_run")]
    resume: bool,
    /// Where the source's ids and the users' ids here are written, as CSV (source_id, id, uid, email); replaced when the import is
    /// complete
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "resume"])]
    map: Option<PathBuf>,
    /// Takes users whose password hash cannot be taken over without a password; they set one by a reset
    #[arg(long)]
    without_password: bool,
    /// The role here of users with another role at the source, such as editor=analyst; may be repeated
    #[arg(long, value_name = "NAME=ROLE", value_delimiter = ',', value_parser = parse_role)]
    role_map: Vec<(String, Role)>,
    /// The project's hash parameters, as the Firebase console shows them: its text, or JSON
    #[arg(long, value_name = "FILE")]
    firebase_config: Option<PathBuf>,
    /// Reads a live PostgreSQL table (document: users, supabase: auth.users) instead of a file; FILE holds the database's URL
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "resume", "format"])]
    database_url_file: Option<PathBuf>,
    /// Like --database-url-file, with the URL in an environment variable
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        default_missing_value = "IMPORT_DATABASE_URL",
        conflicts_with_all = ["file", "resume", "format", "database_url_file"]
    )]
    database_url_env: Option<String>,
    #[command(flatten)]
    json: Json,
}

#[derive(Args)]
pub(super) struct ExportArguments {
    /// How to write
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Writing,
    /// A new file, readable by its owner only; by default standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leaves the password hashes out
    #[arg(long)]
    without_hashes: bool,
    /// Writes the second factors, too: secrets of authenticator apps, passkeys, hashes of recovery codes. Such a file shows the codes of all
    /// users, like their phones
    #[arg(long)]
    with_factors: bool,
}

/// `editor=analyst`
fn parse_role(text: &str) -> Result<(String, Role), String> {
    let (name, role) = text
        .split_once('=')
        .ok_or("write it as NAME=ROLE, such as editor=analyst")?;
    let name = name.trim().to_lowercase();
    if name.is_empty() {
        return Err("the name before = is empty".to_owned());
    }
    match role.trim().to_ascii_lowercase().parse() {
        Ok(role) => Ok((name, role)),
        Err(_) => Err("a role is user, analyst or admin".to_owned()),
    }
}

/// Where users come from.
enum Source {
    File(PathBuf),
    StandardInput,
    Table(Secret),
}

impl ImportArguments {
    fn source(&self) -> Outcome<Source> {
        let url =
            match (&self.database_url_file, &self.database_url_env) {
                (Some(path), _) => Some(read_text(path)?),
                (None, Some(name)) => Some(std::env::var(name).map_err(|_| {
                    user_error(format!("the environment variable {name} is not set to a URL"))
                })?),
                (None, None) => None,
            };
        if let Some(url) = url {
            if !matches!(self.from, Preset::Document | Preset::Supabase) {
                return Err(user_error(
                    "a live table is read with --from document or --from supabase",
                ));
            }
            return Ok(Source::Table(Secret::new(url.trim())));
        }
        match &self.file {
            Some(path) if path.as_os_str() == "-" => Ok(Source::StandardInput),
            Some(path) => Ok(Source::File(path.clone())),
            None => Err(user_error("name the file to import, or - for standard input")),
        }
    }

    /// What was asked for, else what the name says, else what the preset writes.
    fn written_as(&self, source: &Source) -> Outcome<Format> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let extension = match source {
            Source::File(path) => path
                .extension()
                .map(|extension| extension.to_string_lossy().to_ascii_lowercase()),
            _ => None,
        };
        match (extension.as_deref(), self.from) {
            (Some("csv"), _) => Ok(Format::Csv),
            (Some("ndjson" | "jsonl"), _) => Ok(Format::Ndjson),
            (Some("json"), _) | (_, Preset::Keycloak | Preset::Firebase) => Ok(Format::Json),
            (_, Preset::Auth0) => Ok(Format::Ndjson),
            _ if matches!(source, Source::Table(_)) => Ok(Format::Csv),
            _ => Err(user_error(
                "say how the file is written: --format csv, ndjson or json",
            )),
        }
    }
}

fn read_text(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(64 * 1024).read_to_string(&mut text));
    read.map_err(|error| user_error(format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}

pub(super) async fn import_users(config: Config, arguments: ImportArguments) -> Outcome {
    let source = arguments.source()?;
    let preset = arguments.from;
    if let Source::File(path) = &source {
        let failed = |error| user_error(format!("cannot read {}: {error}", path.display()));
        let mut file = File::open(path).map_err(failed)?;
        // What is read from a pipe is gone; it is recognised while it is imported.
        if file.metadata().map_err(failed)?.is_file()
            && let Some(reason) = other_kind(&start_of(&mut file).map_err(failed)?, preset.table())
        {
            return Err(user_error(format!("{}: {reason}", path.display())));
        }
    }
    let format = arguments.written_as(&source)?;
    let supported = match preset {
        Preset::Native | Preset::Document | Preset::Supabase | Preset::Auth0 => true,
        Preset::Keycloak => format == Format::Json,
        Preset::Firebase => format != Format::Ndjson,
    };
    if !supported {
        return Err(user_error(format!(
            "{} does not write {}",
            preset.as_str(),
            format.as_str()
        )));
    }
    let firebase = match &arguments.firebase_config {
        Some(path) => Some(FirebaseConfig::parse(&read_text(path)?).map_err(user_error)?),
        None => None,
    };
    let map = match &arguments.map {
        Some(path) => Some(
            IdMap::create(path)
                .map_err(|error| user_error(format!("cannot write {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let (report, before) = open_report(&arguments, &source, format)?;
    let app = open(config).await?;
    let reading = Reading {
        preset,
        format,
        without_password: arguments.without_password,
        roles: arguments.role_map.iter().cloned().collect(),
        firebase,
        now: app.clock.now(),
    };
    let imported = import_into(&app, source, reading, report, map, before, &arguments).await;
    finish(&app, imported, |refused| match refused {
        0 => Ok(()),
        1 => Err(user_error("1 line was refused")),
        more => Err(user_error(format!("{more} lines were refused"))),
    })
    .await
}

fn open_report(arguments: &ImportArguments, source: &Source, format: Format) -> Outcome<(Report, Summary)> {
    let Some(path) = &arguments.report else {
        let report = Report {
            file: None,
            length: 0,
            fingerprint: None,
        };
        return Ok((report, Summary::default()));
    };
    let failed = |error: io::Error| user_error(format!("cannot write {}: {error}", path.display()));
    let fingerprint = match source {
        Source::File(file) if !arguments.dry_run => {
            let without = if arguments.without_password { "without" } else { "" };
            let roles: Vec<String> = arguments
                .role_map
                .iter()
                .map(|(name, role)| format!("{name}={}", role.as_str()))
                .collect();
            Some(fingerprint(
                file,
                &[
                    arguments.from.as_str(),
                    format.as_str(),
                    without,
                    &roles.join(","),
                ],
            )?)
        }
        _ => None,
    };
    let earlier: Option<State> = std::fs::read(State::path(path))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let (file, before, length) = if arguments.resume {
        if fingerprint.is_none() {
            return Err(user_error(
                "only the import of a file can be resumed; running it again does the same",
            ));
        }
        match earlier {
            None => (private(path, false).map_err(failed)?, Summary::default(), 0),
            Some(state) if Some(&state.fingerprint) != fingerprint.as_ref() => {
                return Err(user_error(format!(
                    "{} is of another file or of other options; leave --resume out to start again, which changes nothing that is \
                     already done",
                    State::path(path).display()
                )));
            }
            Some(state) => {
                let mut file = File::options().write(true).open(path).map_err(failed)?;
                // What came after the last batch is reported again.
                file.set_len(state.report).map_err(failed)?;
                file.seek(SeekFrom::End(0)).map_err(failed)?;
                (file, state.done, state.report)
            }
        }
    } else {
        (private(path, false).map_err(failed)?, Summary::default(), 0)
    };
    let report = Report {
        file: Some((BufWriter::new(file), path.clone())),
        length,
        fingerprint,
    };
    Ok((report, before))
}

/// Imports, reports the outcome, and gives how many lines were refused.
async fn import_into(
    app: &App,
    source: Source,
    reading: Reading,
    mut report: Report,
    mut map: Option<IdMap>,
    before: Summary,
    arguments: &ImportArguments,
) -> Outcome<u64> {
    let started = Instant::now();
    let (sender, receiver) = mpsc::channel(AHEAD);
    let bar = start_reading(source, &reading, sender).await?;
    let counts_bytes = arguments.database_url_file.is_none() && arguments.database_url_env.is_none();
    let options = Options {
        preset: reading.preset,
        dry_run: arguments.dry_run,
    };
    let mut last = before;
    let mut observe = |event: Event<'_>| match event {
        Event::IgnoredColumns(columns) => {
            bar.suspend(|| note(&format!("not taken over: {}", columns.join(", "))));
            Ok(())
        }
        Event::Reported(row) => report.line(row, &bar),
        Event::Mapped(rows) => map.as_mut().map_or(Ok(()), |map| map.write(rows)),
        Event::Done {
            records,
            bytes,
            summary,
        } => {
            bar.set_position(if counts_bytes { bytes } else { records });
            bar.set_message(format!("{} made, {} refused,", summary.created, summary.refused));
            last = *summary;
            report.done(records, summary)
        }
    };
    let ended = import::run(app, receiver, &options, before, &mut observe).await;
    bar.finish_and_clear();
    let summary = ended.map_err(|error| {
        let done = match (last.created, arguments.dry_run) {
            (0, _) | (_, true) => "nothing was imported".to_owned(),
            (1, false) => {
                "1 user was imported before that and stays; run the same command again for the rest"
                    .to_owned()
            }
            (more, false) => {
                format!(
                    "{more} users were imported before that and stay; run the same command again for the rest"
                )
            }
        };
        user_error(format!("{}\n{done}", super::output::describe(error)))
    })?;
    if let Some(map) = map {
        map.finish()?;
    }
    if let (Some((_, path)), Some(_)) = (&report.file, &report.fingerprint) {
        // Complete: there is nothing to resume. It may not have been written at all.
        let _ = std::fs::remove_file(State::path(path));
    }
    let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    if arguments.json.json {
        print(&pretty(&json!({
            "dry_run": arguments.dry_run,
            "lines": summary.lines,
            "created": summary.created,
            "unchanged": summary.unchanged,
            "refused": summary.refused,
            "admins": summary.admins,
            "without_password": summary.without_password,
            "changed": summary.changed,
            "seconds": seconds,
        })))?;
    } else {
        let made = if arguments.dry_run {
            "would be created"
        } else {
            "created"
        };
        let changed = match summary.changed {
            0 => String::new(),
            more => format!(", {more} taken with a change"),
        };
        print(&format!(
            "{} {made} ({} of them administrators, {} without a password), {} unchanged, {} refused{changed}, in {seconds} s",
            summary.created, summary.admins, summary.without_password, summary.unchanged, summary.refused,
        ))?;
    }
    Ok(summary.refused)
}

fn read_in_thread(
    reading: Reading,
    input: impl Read + Send + 'static,
    sender: mpsc::Sender<Message>,
) -> Outcome {
    std::thread::Builder::new()
        .name("import-reader".to_owned())
        .spawn(move || reading.read_into(BufReader::with_capacity(64 * 1024, input), &sender))?;
    Ok(())
}

/// Starts whatever reads the source, and gives the bar that fits it.
async fn start_reading(
    source: Source,
    reading: &Reading,
    sender: mpsc::Sender<Message>,
) -> Outcome<ProgressBar> {
    match source {
        Source::StandardInput => {
            read_in_thread(reading.clone(), io::stdin(), sender)?;
            Ok(progress_bar(None, true))
        }
        Source::File(path) => {
            let file = File::open(&path)
                .map_err(|error| user_error(format!("cannot read {}: {error}", path.display())))?;
            let length = file.metadata()?.len();
            read_in_thread(reading.clone(), file, sender)?;
            Ok(progress_bar(Some(length), true))
        }
        Source::Table(url) => {
            let columns = match reading.preset {
                Preset::Supabase => &SUPABASE_COLUMNS[..],
                _ => &DOCUMENT_COLUMNS[..],
            };
            let table = SourceTable::open(&url, reading.preset.table(), columns).await?;
            let bar = progress_bar(Some(table.rows()), false);
            let reading = reading.clone();
            tokio::spawn(async move { read_table(table, &reading, sender).await });
            Ok(bar)
        }
    }
}

pub(super) async fn export_users(config: Config, arguments: ExportArguments) -> Outcome {
    let contents = Contents {
        hashes: !arguments.without_hashes,
        factors: arguments.with_factors,
    };
    let is_shown = arguments.out.is_none() && io::stdout().is_terminal();
    if is_shown && contents.factors {
        return Err(user_error(
            "secrets of authenticator apps are not shown on a terminal; write them to a file with --out",
        ));
    }
    if is_shown && contents.hashes {
        return Err(user_error(
            "password hashes are not shown on a terminal; write them to a file with --out, or leave them out with --without-hashes",
        ));
    }
    let format = match arguments.format {
        Writing::Csv => Format::Csv,
        Writing::Ndjson => Format::Ndjson,
    };
    let app = open(config).await?;
    let exported = export_to(&app, arguments.out.as_deref(), format, contents).await;
    finish(&app, exported, |count| {
        note(&format!("{count} users exported"));
        Ok(())
    })
    .await
}

async fn export_to(app: &App, out: Option<&Path>, format: Format, contents: Contents) -> Outcome<u64> {
    let total = u64::try_from(app.db.read().await?.count_users().await?).unwrap_or_default();
    let bar = if out.is_some() || !io::stdout().is_terminal() {
        progress_bar(Some(total), false)
    } else {
        ProgressBar::hidden()
    };
    let mut progress = |count| bar.set_position(count);
    let client = Client::default();
    let Some(path) = out else {
        let mut out = io::stdout();
        let count = export::run(app, &mut out, format, contents, &client, &mut progress).await;
        bar.finish_and_clear();
        return Ok(count?);
    };
    let file = private(path, true).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => user_error(format!(
            "{} is already there; choose another name",
            path.display()
        )),
        _ => user_error(format!("cannot write {}: {error}", path.display())),
    })?;
    let mut out = BufWriter::new(file);
    let written = export::run(app, &mut out, format, contents, &client, &mut progress).await;
    bar.finish_and_clear();
    let count = match written {
        Ok(count) => count,
        Err(error) => {
            // Half a file could be taken for a whole one.
            let _ = std::fs::remove_file(path);
            return Err(error.into());
        }
    };
    out.get_ref().sync_all()?;
    Ok(count)
}
