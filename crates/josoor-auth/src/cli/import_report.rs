//! The report of an import, and how far it had come, so that it can be resumed.

use std::fs::File;
use std::io;
use std::io::{BufWriter, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::output::{Outcome, user_error};
use crate::audit::csv_line;
use crate::crypto;
use crate::error::Error;
use crate::import_export::import::Summary;
use crate::import_export::{Mapping, ReportRow};

/// How far an interrupted import had come. Everything up to here is in the database and in the report.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Of the file and of what was asked.
    pub(super) fingerprint: String,
    /// The length of the report.
    pub(super) report: u64,
    pub(super) done: Summary,
}

impl State {
    pub(super) fn path(report: &Path) -> PathBuf {
        let mut name = report.as_os_str().to_owned();
        name.push(".state");
        name.into()
    }

    /// Replaces the file in one step.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let mut file = private(Path::new(&new), false)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(new, path)
    }
}

/// Opens a file for writing, readable by its owner only, whatever it was before.
pub(super) fn private(path: &Path, must_be_new: bool) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    if must_be_new {
        options.create_new(true);
    } else {
        options.create(true);
    }
    let file = options.open(path)?;
    if !must_be_new {
        use std::os::unix::fs::PermissionsExt as _;
        // Devices keep theirs.
        if file.metadata()?.is_file() {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
            file.set_len(0)?;
        }
    }
    Ok(file)
}

/// Tells a file from another one, or from itself after a change at its beginning or in its length.
pub(super) fn fingerprint(path: &Path, parts: &[&str]) -> Outcome<String> {
    let failed = |error: io::Error| user_error(format!("cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut start = Vec::new();
    file.take(1024 * 1024).read_to_end(&mut start).map_err(failed)?;
    let length = length.to_be_bytes();
    let mut all: Vec<&[u8]> = vec![&length, &start];
    all.extend(parts.iter().map(|part| part.as_bytes()));
    let mac = crypto::mac(b"josoor-auth import state", &all);
    Ok(base64::engine::general_purpose::STANDARD.encode(mac))
}

/// Where refused lines go.
pub(super) struct Report {
    pub(super) file: Option<(BufWriter<File>, PathBuf)>,
    pub(super) length: u64,
    pub(super) fingerprint: Option<String>,
}

impl Report {
    pub(super) fn line(&mut self, row: &ReportRow, bar: &ProgressBar) -> crate::error::Result<()> {
        let mut line = serde_json::to_vec(row).map_err(Error::internal)?;
        line.push(b'\n');
        match &mut self.file {
            Some((file, _)) => {
                file.write_all(&line).map_err(Error::internal)?;
                self.length += line.len() as u64;
                Ok(())
            }
            None => bar
                .suspend(|| io::stderr().write_all(&line))
                .map_err(Error::internal),
        }
    }

    pub(super) fn done(&mut self, records: u64, summary: &Summary) -> crate::error::Result<()> {
        let Some((file, path)) = &mut self.file else {
            return Ok(());
        };
        file.flush().map_err(Error::internal)?;
        if let Some(fingerprint) = &self.fingerprint {
            let state = State {
                fingerprint: fingerprint.clone(),
                report: self.length,
                done: Summary {
                    lines: records,
                    ..*summary
                },
            };
            state.save(&State::path(path)).map_err(Error::internal)?;
        }
        Ok(())
    }
}

/// Which user of the service each user of the source is: a file that is there when the import is complete, readable by its owner
/// only.
pub(super) struct IdMap {
    file: BufWriter<File>,
    path: PathBuf,
    /// Where it is written until then; gone afterwards.
    new: PathBuf,
}

impl IdMap {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let mut file = BufWriter::new(private(&new, false)?);
        file.write_all(&csv_line(&Mapping::COLUMNS))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            new,
        })
    }

    pub(super) fn write(&mut self, rows: &[Mapping]) -> crate::error::Result<()> {
        for row in rows {
            let line = csv_line(&[
                row.source_id.as_deref().unwrap_or_default(),
                &row.id.0.to_string(),
                &row.uid.to_string(),
                &row.email,
            ]);
            self.file.write_all(&line).map_err(Error::internal)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Outcome {
        let failed = |error: io::Error| user_error(format!("cannot write {}: {error}", self.path.display()));
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| std::fs::rename(&self.new, &self.path))
            .map_err(failed)
    }
}

impl Drop for IdMap {
    fn drop(&mut self) {
        // Half a map could be taken for a whole one. After the renaming it is not there.
        let _ = std::fs::remove_file(&self.new);
    }
}

/// A bar on a terminal, and nothing elsewhere.
pub(super) fn progress_bar(total: Option<u64>, is_bytes: bool) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        return bar;
    }
    let template = match (total, is_bytes) {
        (None, _) => "{spinner} {msg} {elapsed}",
        (Some(_), true) => "{wide_bar} {bytes}/{total_bytes} {msg} {eta} left",
        (Some(_), false) => "{wide_bar} {pos}/{len} {msg} {eta} left",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
