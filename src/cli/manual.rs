//! Manual pages and completion scripts, generated from the definition of the command line: one page for the program, and one for
//! each command.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{
    Options,
    args::{Cli, ManArgs},
    exit,
    names::similar,
    print::{Format, Io, Printer},
    reference,
    session::Stop,
};
use crate::{
    domain::call::{Failure, FailureKind},
    files,
};

/// Prints the completion script for `shell`.
pub fn completions(shell: Shell, io: Io) -> u8 {
    super::finish(Printer::new(io, Format::Human, true), |printer| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "switchboard", &mut script);
        printer.exact(with_values(shell, &String::from_utf8_lossy(&script)).as_bytes())?;
        Ok(exit::OK)
    })
}

/// Returns a completion script that also completes values: it asks the program for them, and completes the rest itself.
fn with_values(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}\n{}", include_str!("../../assets/completion/values.bash")),
        Shell::Fish => format!("{script}\n{}", include_str!("../../assets/completion/values.fish")),
        // Its function is called by its name: when the file is loaded, and by the completion system.
        Shell::Zsh => {
            let values = format!("{}\nif [ \"$funcstack[1]\"", include_str!("../../assets/completion/values.zsh"));
            let renamed = script.replacen("\n_switchboard() {", "\n_switchboard_static() {", 1);
            renamed.replacen("\nif [ \"$funcstack[1]\"", &format!("\n{values}"), 1)
        }
        _ => script.to_owned(),
    }
}

/// Prints the manual page of the program or of a command, or writes all pages into a folder.
pub fn man(args: &ManArgs, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, true), |printer| {
        let pages = pages()?;
        if let Some(folder) = &args.dir {
            write_all(&pages, folder)?;
            printer.note(&format!("{} pages written to {}", pages.len(), folder.display()));
            return Ok(exit::OK);
        }
        let wanted = name(&args.command);
        match pages.iter().find(|(page, _)| *page == wanted) {
            Some((_, page)) => printer.exact(page)?,
            None => {
                let known: Vec<&str> = pages.iter().filter_map(|(page, _)| page.strip_prefix("switchboard-")).collect();
                let word = args.command.join("-");
                let failure = Failure::new(FailureKind::InvalidArguments, format!("no command is called {:?}", args.command.join(" ")));
                let close = similar(&word, known.iter().copied(), 1).first().map(|close| format!("did you mean {close}?"));
                return Err(failure.hint(close.unwrap_or_else(|| format!("commands: {}", known.join(", ")))).into());
            }
        }
        Ok(exit::OK)
    })
}

fn write_all(pages: &[(String, Vec<u8>)], folder: &Path) -> Result<(), Stop> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(FailureKind::InvalidArguments, format!("{} cannot be written: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, page) in pages {
        let path = folder.join(format!("{name}.1"));
        files::report(&path, page).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Returns the name of the page of a command: `switchboard-workflow-check`.
fn name(path: &[String]) -> String {
    let mut name = "switchboard".to_owned();
    for part in path {
        name.push('-');
        name.push_str(part);
    }
    name
}

/// Returns all pages with their names.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Stop> {
    let mut command = Cli::command();
    command.build();
    let mut found = vec![(name(&[]), program_page(&command)?)];
    add_pages(&command, &mut vec![], &mut found)?;
    Ok(found)
}

fn add_pages(command: &Command, path: &mut Vec<String>, found: &mut Vec<(String, Vec<u8>)>) -> Result<(), Stop> {
    for sub in visible(command) {
        path.push(sub.get_name().to_owned());
        found.push((name(path), command_page(sub, path)?));
        add_pages(sub, path, found)?;
        path.pop();
    }
    Ok(())
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// Renders the sections from the title to the options.
fn first_sections(man: &Man) -> Result<Vec<u8>, Stop> {
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    Ok(out)
}

fn program_page(command: &Command) -> Result<Vec<u8>, Stop> {
    // The text after the long help has separate sections here.
    let command = command.clone().after_long_help("");
    let man = Man::new(command.clone());
    let mut out = first_sections(&man)?;
    out.extend_from_slice(commands(&command, &[]).as_bytes());
    let examples = ["switchboard", "switchboard demo --traffic", "switchboard -- npx -y @modelcontextprotocol/server-everything"];
    out.extend_from_slice(shared_sections(&examples).as_bytes());
    man.render_version_section(&mut out)?;
    Ok(out)
}

fn command_page(command: &Command, path: &[String]) -> Result<Vec<u8>, Stop> {
    // Options of every command are on the page of the program.
    let own = command.clone().mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
    let page = name(path);
    let own = own.after_long_help("").display_name(page.clone());
    let man = Man::new(own).title(page.to_uppercase());
    let mut out = first_sections(&man)?;
    let note = "Options of every command are in switchboard(1), with its exit codes, files and variables of the environment.";
    out.extend_from_slice(format!(".PP\n{}\n", escape(note)).as_bytes());
    if visible(command).next().is_some() {
        out.extend_from_slice(commands(command, path).as_bytes());
    }
    let examples = path.first().map(|first| reference::examples(first)).unwrap_or_default();
    out.extend_from_slice(shared_sections(examples).as_bytes());
    out.extend_from_slice(b".SH \"SEE ALSO\"\n\\fBswitchboard\\fR(1)\n");
    Ok(out)
}

/// The sections that every page has.
fn shared_sections(examples: &[&str]) -> String {
    let mut page = String::new();
    if !examples.is_empty() {
        page.push_str(".SH EXAMPLES\n");
        for example in examples {
            page.push_str(&format!(".PP\n.RS 4\n.EX\n{}\n.EE\n.RE\n", escape(example)));
        }
    }
    page.push_str(&list("\"EXIT STATUS\"", exit::TABLE.iter().map(|(code, meaning)| (code.to_string(), *meaning))));
    page.push_str(&list("ENVIRONMENT", reference::ENVIRONMENT.iter().map(|(names, text)| ((*names).to_owned(), *text))));
    page.push_str(&list("FILES", reference::FILES.iter().map(|(names, text)| ((*names).to_owned(), *text))));
    page
}

fn list<'t>(title: &str, items: impl Iterator<Item = (String, &'t str)>) -> String {
    let mut page = format!(".SH {title}\n");
    for (label, text) in items {
        page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escape(&label), escape(text)));
    }
    page
}

fn commands(command: &Command, path: &[String]) -> String {
    let mut page = String::from(".SH COMMANDS\n");
    let before: String = path.iter().map(|part| format!("{part} ")).collect();
    for sub in visible(command) {
        page.push_str(&format!(".SS {}\n", escape(&format!("switchboard {before}{}", sub.get_name()))));
        let about = sub.get_long_about().or(sub.get_about()).map(ToString::to_string).unwrap_or_default();
        page.push_str(&format!("{}\n", escape(&about)));
        for arg in sub.get_arguments().filter(|a| !a.is_global_set() && !a.is_hide_set() && a.get_id() != "help") {
            let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
            page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escape(&arg.to_string()), escape(&help)));
        }
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

    fn page(name: &str) -> String {
        let found = pages().unwrap_or_else(|_| panic!()).into_iter().find(|(page, _)| page == name);
        String::from_utf8(found.unwrap().1).unwrap()
    }

    #[test]
    fn the_page_has_every_command_and_every_exit_code() {
        let page = page("switchboard");
        for sub in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(page.contains(&format!(".SS switchboard {}", sub.get_name())), "{}", sub.get_name());
        }
        for (code, meaning) in exit::TABLE {
            assert!(page.contains(&format!("\\fB{code}\\fR\n{}", escape(meaning))), "{code}");
        }
        for section in [".SH ENVIRONMENT", ".SH FILES", ".SH EXAMPLES", "NO_COLOR", "config.toml"] {
            assert!(page.contains(section), "{section}");
        }
        assert!(!page.contains("reaper") && !page.contains("demo\\-server"));
    }

    #[test]
    fn completion_scripts_ask_the_program_for_values() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "switchboard", &mut script);
            let script = with_values(shell, &String::from_utf8_lossy(&script));
            assert!(script.contains("__complete"), "{shell}");
            if shell == Shell::Zsh {
                let order = ["\n_switchboard_static() {", "\n_switchboard() {", "$funcstack[1]"].map(|part| script.find(part).expect(part));
                assert!(order.is_sorted(), "{order:?}");
            }
        }
    }

    #[test]
    fn each_command_has_a_page_with_its_own_options_only() {
        let call = page("switchboard-call");
        assert!(call.contains("SWITCHBOARD\\-CALL") || call.contains("SWITCHBOARD-CALL"), "{}", &call[..200]);
        assert!(call.contains("\\-\\-args") && !call.contains("\\-\\-allow\\-unsandboxed"), "{call}");
        assert!(call.contains("switchboard call \\-\\-demo database_query_users") && call.contains("SEE ALSO"));
        let workflow = page("switchboard-workflow");
        assert!(workflow.contains(".SS switchboard workflow check"));
        assert!(page("switchboard-workflow-check").contains("\\-\\-live"));
    }

    #[test]
    fn troff_commands_in_text_are_text() {
        assert_eq!(escape(".so /etc\n'x \\- a-b"), "\\&.so /etc\n\\&'x \\e\\- a\\-b");
    }
}
