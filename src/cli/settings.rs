//! `leadvault settings`: every setting of the service, read from the definitions that the command line is parsed by.
//!
//! README's table is this text, which a test keeps so.

use clap::{Arg, ArgAction, Args, CommandFactory as _};

use super::{Cli, say};

/// Print every setting of `serve` as a Markdown table: variable, flag, default, meaning.
#[derive(Args, Debug)]
pub(crate) struct SettingsArgs {}

pub(crate) fn run() {
    say(table().trim_end());
}

fn table() -> String {
    let mut cli = Cli::command();
    // Building hands the settings of all commands, such as those of the log, down to each.
    cli.build();
    let settings = cli
        .find_subcommand("serve")
        .into_iter()
        .flat_map(clap::Command::get_arguments)
        .filter(|arg| !arg.is_hide_set() && !is_help(arg));
    let mut table = "| variable | flag | default | meaning |\n|---|---|---|---|\n".to_owned();
    for setting in settings {
        table += &line(setting);
    }
    table
}

fn is_help(arg: &Arg) -> bool {
    matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

fn line(setting: &Arg) -> String {
    let (meaning, described) = described(setting);
    let cells = [
        code(setting.get_env().map(|name| name.to_string_lossy())),
        code(setting.get_long().map(|name| format!("--{name}"))),
        described.unwrap_or_else(|| default(setting)),
        meaning,
    ];
    format!("| {} |\n", cells.map(|cell| escaped(&cell)).join(" | "))
}

/// What a setting means, and its default where only words can say it: `Where it is [default: here, else there].`
fn described(setting: &Arg) -> (String, Option<String>) {
    let help = setting.get_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let Some((before, rest)) = help.split_once(" [default: ") else {
        return (help, None);
    };
    let (default, after) = rest.split_once(']').unwrap_or((rest, ""));
    (format!("{before}{after}"), Some(default.to_owned()))
}

fn default(setting: &Arg) -> String {
    if matches!(setting.get_action(), ArgAction::SetTrue) {
        return "off".to_owned();
    }
    let values = setting.get_default_values().iter();
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    code((!values.is_empty()).then(|| values.join(",")))
}

fn code(text: Option<impl std::fmt::Display>) -> String {
    text.map(|text| format!("`{text}`")).unwrap_or_default()
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ")
}
