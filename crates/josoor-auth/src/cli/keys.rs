//! `josoor-auth key`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::output::{Failure, Json, Outcome, finish, note, open, pretty, print, user_error};
use crate::act::Client;
use crate::admin::keys::{self, How};
use crate::config::{Algorithm, Config, Database, MasterKey};
use crate::domain::Timestamp;
use crate::keys::{algorithm_of, master_key_file};
use crate::store::KeyRow;

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Prints a fresh master key for MASTER_KEY
    Generate,
    /// Lists the stored keys, without the keys themselves
    List(Json),
    /// Makes the next key for access tokens: published now, signing after keys.publish_for. The one before is accepted until its
    /// last token has expired
    Rotate(RotateArguments),
    /// Encrypts the stored keys with another master key. Give it to every node afterwards
    RotateMaster {
        /// The file with the new master key, as `key generate` prints it
        #[arg(long, value_name = "FILE")]
        new_file: PathBuf,
        /// The old one leaked: every key is replaced and every session revoked. Only while no node runs
        #[arg(long)]
        leaked: bool,
    },
}

#[derive(Args)]
pub(super) struct RotateArguments {
    /// A key of this algorithm, for when JWT_ALGORITHM will name it. Nothing else changes
    #[arg(long, value_name = "ALGORITHM")]
    algorithm: Option<Algorithm>,
    /// It signs at once. Services that keep the list of keys refuse its tokens until they read it again
    #[arg(long)]
    now: bool,
    /// It signs at once, and tokens of every other key are refused at once
    #[arg(long, conflicts_with = "algorithm")]
    compromised: bool,
    #[command(flatten)]
    json: Json,
}

/// What a key does at a time, in words.
fn state_of(row: &KeyRow, now: Timestamp) -> String {
    match (row.verifies_until, algorithm_of(&row.purpose)) {
        (Some(until), _) if until <= now => "over".to_owned(),
        (_, Some(_)) if row.begins_at() > now => format!("published, signs from {}", row.begins_at()),
        (Some(until), _) => format!("verifies until {until}"),
        (None, _) if row.is_current => "current".to_owned(),
        (None, _) => "verifies".to_owned(),
    }
}

pub(super) async fn list_keys(config: Config, json: bool) -> Outcome {
    let app = open(config).await?;
    let rows = async { app.db.read().await?.all_keys().await };
    let rows = rows.await.map_err(Failure::from);
    let now = app.clock.now();
    finish(&app, rows, |rows| {
        if json {
            let items: Vec<_> = rows
                .iter()
                .map(|row| {
                    json!({
                        "kid": row.kid, "purpose": row.purpose, "created_at": row.created_at, "current": row.is_current,
                        "signs_from": row.begins_at(), "verifies_until": row.verifies_until,
                    })
                })
                .collect();
            return print(&pretty(&items));
        }
        for row in rows {
            let state = state_of(&row, now);
            print(&format!("{}\t{}\t{state}\t{}", row.kid, row.purpose, row.created_at))?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn rotate_key(config: Config, arguments: RotateArguments) -> Outcome {
    let app = open(config).await?;
    let how = match (arguments.compromised, arguments.now) {
        (true, _) => How::Compromised,
        (false, true) => How::Now,
        (false, false) => How::Planned,
    };
    let configured = app.config.auth.algorithm;
    let made = keys::rotate(&app, arguments.algorithm, how, &Client::default()).await;
    finish(&app, made.map_err(Failure::from), |made| {
        if arguments.json.json {
            let ended: Vec<_> = made
                .ended
                .iter()
                .map(|(kid, until)| json!({ "kid": kid, "verifies_until": until }))
                .collect();
            return print(&pretty(
                &json!({ "kid": made.kid, "signs_from": made.signs_from, "ended": ended }),
            ));
        }
        print(&format!("{}\tsigns from {}", made.kid, made.signs_from))?;
        for (kid, until) in &made.ended {
            print(&format!("{kid}\tverifies until {until}"))?;
        }
        match arguments.algorithm.filter(|algorithm| *algorithm != configured) {
            Some(algorithm) => note(&format!("Then set JWT_ALGORITHM={algorithm} at every node, one after another.")),
            None if how == How::Compromised => note(
                "Services that keep the list of keys accept tokens of the old one until they read it again, five minutes at most."
            ),
            None => {}
        }
        Ok(())
    })
    .await
}

pub(super) async fn rotate_master(config: Config, new_file: &Path, leaked: bool) -> Outcome {
    let read = std::fs::read_to_string(new_file).map(Zeroizing::new);
    let text = read.map_err(|error| user_error(format!("cannot read {}: {error}", new_file.display())))?;
    let new = MasterKey::from_base64(text.trim()).ok_or_else(|| {
        user_error(format!(
            "{} does not hold 32 random bytes in base64; `josoor-auth key generate` prints a good key",
            new_file.display()
        ))
    })?;
    // The embedded service reads its master key from a file of its own, which is replaced with the commit.
    let own_file = match (&config.database.url, &config.keys.master_key) {
        (Database::Sqlite { path }, None) => Some(master_key_file(path)),
        _ => None,
    };
    let next = match &own_file {
        None => None,
        Some(file) => Some(write_beside(file, text.trim())?),
    };
    let app = open(config).await?;
    let rotated = keys::rotate_master(&app, &new, leaked, &Client::default()).await;
    let rotated = rotated.map_err(Failure::from).and_then(|count| {
        let (Some(next), Some(file)) = (&next, &own_file) else {
            return Ok(count);
        };
        std::fs::rename(next, file).map_err(|error| {
            user_error(format!(
                "the keys are encrypted with the new master key, but it cannot be put in place: {error}. Put {} at {}",
                new_file.display(),
                file.display()
            ))
        })?;
        Ok(count)
    });
    if rotated.is_err()
        && let Some(next) = &next
    {
        let _ = std::fs::remove_file(next);
    }
    finish(&app, rotated, |count| {
        print(&format!("{count} keys are encrypted with the new master key"))?;
        if leaked {
            note("Second factors were removed, because their secrets leaked with the key: users add them again.");
            note("Begin the audit trail again: josoor-auth audit rebase --reason \"the master key leaked\"");
        }
        match &own_file {
            Some(file) => note(&format!("It is in {} now. Backups made before need the old one: keep it with them.", file.display())),
            None => note(
                "Set MASTER_KEY to the new one at every node and restart them, one after another; a node that starts with the old one says \
                 so and ends. Backups made before need the old one: keep it with them."
            ),
        }
        Ok(())
    })
    .await
}

/// Writes a key into a new file beside another one, for its owner only.
fn write_beside(file: &Path, key: &str) -> Outcome<PathBuf> {
    let next = file.with_extension("key.next");
    let write = || {
        let mut handle = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)?;
        writeln!(handle, "{key}")?;
        handle.sync_all()
    };
    write().map_err(|error| user_error(format!("cannot write {}: {error}", next.display())))?;
    Ok(next)
}
