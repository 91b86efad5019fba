//! What an installation puts beside the program: its manual page, and completions for shells.

use std::io::Write as _;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::output::{Outcome, print_raw};

#[derive(Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Prints a script that completes commands and options.
pub(super) fn print_completions(mut command: Command, arguments: &CompletionsArguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "josoor-auth", &mut script);
    print_raw(&String::from_utf8_lossy(&script))
}

/// Prints the manual page of the program and of all its commands, in roff.
pub(super) fn print_manual(mut command: Command) -> Outcome {
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone()).section("8").manual("JOSOOR Auth");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        render_command(command, &mut page)?;
    }
    man.render_version_section(&mut page)?;
    print_raw(&String::from_utf8_lossy(&page))
}

/// A section for each command, also for those below it.
fn render_command(command: &Command, page: &mut Vec<u8>) -> Outcome {
    let name = command
        .get_bin_name()
        .unwrap_or_else(|| command.get_name())
        .to_uppercase();
    writeln!(page, ".SH \"{name}\"")?;
    // Section headings of a page of its own, as paragraphs of this one.
    let mut own = Vec::new();
    let man = Man::new(command.clone());
    man.render_description_section(&mut own)?;
    man.render_options_section(&mut own)?;
    for line in String::from_utf8_lossy(&own).lines() {
        match line.strip_prefix(".SH ") {
            Some("DESCRIPTION") => {}
            Some(heading) => writeln!(page, ".SS {heading}")?,
            None => writeln!(page, "{line}")?,
        }
    }
    for below in command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
    {
        render_command(below, page)?;
    }
    Ok(())
}
