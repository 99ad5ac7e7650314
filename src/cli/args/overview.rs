//! The help of the program itself, with its commands in groups; clap has one list for all.

use std::fmt::Write as _;

use clap::{Command, Subcommand, builder::Styles};

use super::Cmd;

/// The commands by what they are for. A test compares them with those of [`Cmd`].
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Use servers",
        &["tools", "call", "resources", "templates", "read", "prompts", "prompt", "complete", "watch", "request", "route", "cache"],
    ),
    (
        "Check and configure servers",
        &["servers", "doctor", "list", "add", "remove", "enable", "disable", "import", "config", "approve", "login", "logout", "auth"],
    ),
    ("Workflows", &["run", "runs", "workflow"]),
    ("History", &["calls", "history", "drift", "pins", "open", "check", "mock"]),
    ("Gateway and running engines", &["serve", "install", "token", "up", "down", "ps", "attach", "breaker", "fault", "tap"]),
    ("Program", &["demo", "completions", "man", "help"]),
];

/// What clap says of the command that it adds.
const HELP: &str = "Print this message or the help of a command";

/// Returns the template of the help.
pub fn template() -> String {
    let commands = Cmd::augment_subcommands(Command::new("switchboard"));
    let about = |name: &str| commands.find_subcommand(name).and_then(Command::get_about).map_or_else(|| HELP.into(), ToString::to_string);
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut text = "{before-help}{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS {
        let _ = writeln!(text, "\n{header}{title}:{header:#}");
        for name in names {
            let _ = writeln!(text, "  {literal}{name:<13}{literal:#}{}", about(name));
        }
    }
    let _ = write!(text, "\n{header}Arguments:{header:#}\n{{positionals}}\n\n{header}Options:{header:#}\n{{options}}{{after-help}}");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn every_command_is_in_one_group_and_fits_a_line() {
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let mut command = Cli::command();
        command.build();
        let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        assert_eq!(BTreeSet::from_iter(grouped.iter().copied()), visible.map(Command::get_name).collect());
        assert_eq!(grouped.len(), BTreeSet::from_iter(&grouped).len());
        let help = command.render_help().to_string();
        for name in grouped {
            let lines: Vec<&str> = help.lines().filter(|line| line.trim_start().split(' ').next() == Some(name)).collect();
            assert!(lines.len() == 1 && lines[0].len() <= 80, "{name}: {lines:?}");
        }
        assert!(help.contains("--version") && help.contains("[URL]"), "{help}");
    }
}
