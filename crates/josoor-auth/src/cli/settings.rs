//! `josoor-auth config`.

use clap::Subcommand;

use super::output::{Json, Outcome, note, pretty, print};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Shows every setting and where it comes from
    Show(Json),
    /// Checks the settings
    Check,
}

pub(super) fn show_config(config: &Config, json: bool) -> Outcome {
    if json {
        return print(&pretty(&config.to_json()));
    }
    for entry in config.sources() {
        print(&entry.to_string())?;
    }
    Ok(())
}

pub(super) fn check_config(config: &Config) -> Outcome {
    if let Some(report) = &config.env_file_report {
        note(report);
    }
    for warning in &config.warnings {
        note(&format!("warning: {warning}"));
    }
    print("the settings are in order")
}
