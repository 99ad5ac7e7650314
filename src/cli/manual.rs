//! Manual page and completion scripts, generated from the definition of the command line.

use clap::{Command, CommandFactory};

use super::{
    args::Cli,
    exit,
    print::{Format, Io, Printer},
    session::Stop,
};

/// Prints the completion script for `shell`.
pub fn completions(shell: clap_complete::Shell, io: Io) -> u8 {
    super::finish(Printer::new(io, Format::Human, true), |printer| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "switchboard", &mut script);
        printer.exact(&script)?;
        Ok(exit::OK)
    })
}

/// Prints the manual page.
pub fn man(io: Io) -> u8 {
    super::finish(Printer::new(io, Format::Human, true), |printer| {
        printer.exact(&page()?)?;
        Ok(exit::OK)
    })
}

fn page() -> Result<Vec<u8>, Stop> {
    let mut command = Cli::command();
    command.build();
    // The text after the long help has separate sections here.
    let command = command.after_long_help("");
    let man = clap_mangen::Man::new(command.clone());
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    out.extend_from_slice(commands(&command).as_bytes());
    out.extend_from_slice(exit_status().as_bytes());
    man.render_version_section(&mut out)?;
    Ok(out)
}

fn commands(command: &Command) -> String {
    let mut page = String::from(".SH COMMANDS\n");
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        page.push_str(&format!(".SS {}\n", escape(&format!("switchboard {}", sub.get_name()))));
        let about = sub.get_long_about().or(sub.get_about()).map(ToString::to_string).unwrap_or_default();
        page.push_str(&format!("{}\n", escape(&about)));
        for arg in sub.get_arguments().filter(|a| !a.is_global_set() && !a.is_hide_set() && a.get_id() != "help") {
            let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
            page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escape(&arg.to_string()), escape(&help)));
        }
    }
    page
}

fn exit_status() -> String {
    let mut page = String::from(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in exit::TABLE {
        page.push_str(&format!(".TP\n\\fB{code}\\fR\n{}\n", escape(meaning)));
    }
    page
}

/// Escapes text for troff.
fn escape(text: &str) -> String {
    let lines = text.replace('\\', "\\e").replace('-', "\\-");
    let lines: Vec<String> = lines.lines().map(|l| if l.starts_with(['.', '\'']) { format!("\\&{l}") } else { l.to_owned() }).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_every_exit_code() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for sub in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(page.contains(&format!(".SS switchboard {}", sub.get_name())), "{}", sub.get_name());
        }
        for (code, meaning) in exit::TABLE {
            assert!(page.contains(&format!("\\fB{code}\\fR\n{}", escape(meaning))), "{code}");
        }
        assert!(!page.contains("reaper") && !page.contains("demo\\-server"));
    }

    #[test]
    fn troff_commands_in_text_are_text() {
        assert_eq!(escape(".so /etc\n'x \\- a-b"), "\\&.so /etc\n\\&'x \\e\\- a\\-b");
    }
}
