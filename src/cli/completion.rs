//! Completion of values that only the program knows: which ones a word of a command line can be. The composition root finds them, in
//! the running engine or in the store, and starts no server.

use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory};

use super::{
    args::{Cli, CompleteWordsArgs, Global},
    exit,
    print::{Format, Io, Printer},
};

/// What a word can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A server or group.
    Server,
    /// The exposed name of a tool.
    Tool,
    /// `name=` of an argument of this tool.
    Argument(String),
    /// The URI of a resource.
    Resource,
    /// A prompt.
    Prompt,
    /// A prompt or a resource template.
    PromptOrTemplate,
    /// A workflow.
    Workflow,
    /// A recorded run.
    Run,
    /// A running engine.
    Instance,
    /// A program that the gateway can be installed into.
    Client,
}

/// The word to complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it can be.
    pub kind: ValueKind,
    /// Its beginning.
    pub prefix: String,
    /// The configuration files that the line names.
    pub config: Vec<PathBuf>,
    /// Whether the line selects the demo.
    pub demo: bool,
    /// The running engine that the line names.
    pub via: Option<String>,
}

impl Wanted {
    /// Adds what the line says to the flags of this command.
    pub fn add_to(&self, global: &mut Global) {
        global.config.clone_from(&self.config);
        global.demo |= self.demo;
        if self.via.is_some() {
            global.via.clone_from(&self.via);
        }
    }
}

/// A value, and what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The value.
    pub value: String,
    /// Its description, in one line; may be empty.
    pub about: String,
}

/// Returns what the word at `args.index` can be; `None` if the static completion knows it.
pub fn wanted(args: &CompleteWordsArgs) -> Option<Wanted> {
    let prefix = args.words.get(args.index).cloned().unwrap_or_default();
    if prefix.starts_with('-') {
        return None;
    }
    let root = Cli::command();
    let mut line = Line { command: &root, root: &root, path: vec![], positional: vec![], config: vec![], demo: false, via: None };
    let mut words = args.words.get(1..args.index)?.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            return None;
        }
        if let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) {
            let (name, inline) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
            let Some(arg) = line.flag(name).filter(|arg| arg.get_action().takes_values()) else {
                line.demo |= name == "-demo";
                continue;
            };
            let id = arg.get_id().as_str().to_owned();
            match inline.or_else(|| words.next().cloned()) {
                Some(value) => line.set(&id, value),
                None => {
                    let kind = line.kind_of_flag(&id)?;
                    return line.wanted(kind, prefix);
                }
            }
        } else {
            line.word(word);
        }
    }
    let kind = line.kind_of_word()?;
    line.wanted(kind, prefix)
}

/// A command line up to the word that is completed.
struct Line<'c> {
    root: &'c Command,
    command: &'c Command,
    path: Vec<&'c str>,
    positional: Vec<String>,
    config: Vec<PathBuf>,
    demo: bool,
    via: Option<String>,
}

impl<'c> Line<'c> {
    /// Returns the flag of this name, without its first hyphen.
    fn flag(&self, name: &str) -> Option<&'c Arg> {
        let is = |arg: &&Arg| match name.strip_prefix('-') {
            Some(long) => arg.get_long() == Some(long),
            None => name.chars().count() == 1 && arg.get_short() == name.chars().next(),
        };
        self.command.get_arguments().find(is).or_else(|| self.root.get_arguments().find(is))
    }

    fn set(&mut self, id: &str, value: String) {
        match id {
            "config" => self.config.push(value.into()),
            "via" => self.via = Some(value),
            _ => {}
        }
    }

    fn word(&mut self, word: &str) {
        match self.command.find_subcommand(word).filter(|_| self.positional.is_empty()) {
            Some(command) => {
                self.path.push(command.get_name());
                self.command = command;
            }
            None => self.positional.push(word.to_owned()),
        }
    }

    fn kind_of_flag(&self, id: &str) -> Option<ValueKind> {
        Some(match id {
            "servers" => ValueKind::Server,
            "via" => ValueKind::Instance,
            "resume" | "undo" => ValueKind::Run,
            _ => return None,
        })
    }

    fn kind_of_word(&self) -> Option<ValueKind> {
        let first = self.positional.is_empty();
        Some(match (self.path.as_slice(), first) {
            (["tools" | "call" | "route"], true) => ValueKind::Tool,
            (["call"], false) => ValueKind::Argument(self.positional.first()?.clone()),
            (["read" | "watch"], true) => ValueKind::Resource,
            (["prompt"], true) => ValueKind::Prompt,
            (["complete"], true) => ValueKind::PromptOrTemplate,
            (["request" | "breaker" | "fault"], true) => ValueKind::Server,
            (["servers" | "login" | "logout" | "remove" | "enable" | "disable" | "doctor"], _) => ValueKind::Server,
            (["run"], true) | (["runs", "list"], true) | (["workflow", "check" | "graph" | "show" | "test"], true) => ValueKind::Workflow,
            (["runs", "show" | "resume" | "undo"], true) => ValueKind::Run,
            (["attach" | "down"], true) => ValueKind::Instance,
            (["install"], true) => ValueKind::Client,
            _ => return None,
        })
    }

    fn wanted(self, kind: ValueKind, prefix: String) -> Option<Wanted> {
        let Line { config, demo, via, .. } = self;
        Some(Wanted { kind, prefix, config, demo, via })
    }
}

/// Prints the candidates that begin with the prefix, one a line: the value, a tab, its description.
pub fn print(candidates: &[Candidate], prefix: &str, io: Io) -> u8 {
    super::finish(Printer::new(io, Format::Human, true), |printer| {
        for Candidate { value, about } in candidates.iter().filter(|candidate| candidate.value.starts_with(prefix)) {
            let about = about.lines().next().unwrap_or_default().replace('\t', " ");
            printer.exact(format!("{value}\t{about}\n").as_bytes())?;
        }
        Ok(exit::OK)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Option<Wanted> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        wanted(&CompleteWordsArgs { index: words.len() - 1, words })
    }

    #[test]
    fn a_word_is_known_by_its_command_and_its_place() {
        for (line, kind) in [
            ("switchboard call ec", ValueKind::Tool),
            ("switchboard call echo ", ValueKind::Argument("echo".into())),
            ("switchboard call --json echo message=hi ", ValueKind::Argument("echo".into())),
            ("switchboard -o json read ", ValueKind::Resource),
            ("switchboard prompt re", ValueKind::Prompt),
            ("switchboard complete ", ValueKind::PromptOrTemplate),
            ("switchboard tools --server ", ValueKind::Server),
            ("switchboard disable a ", ValueKind::Server),
            ("switchboard run ", ValueKind::Workflow),
            ("switchboard run --resume 12", ValueKind::Run),
            ("switchboard runs show ", ValueKind::Run),
            ("switchboard workflow check ", ValueKind::Workflow),
            ("switchboard call --via ", ValueKind::Instance),
            ("switchboard install cu", ValueKind::Client),
        ] {
            assert_eq!(found(line).map(|wanted| wanted.kind), Some(kind), "{line}");
        }
        for line in
            ["switchboard ca", "switchboard call --js", "switchboard tools -- npx ", "switchboard call --timeout ", "switchboard config "]
        {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn flags_of_the_line_select_the_servers() {
        let wanted = found("switchboard --config a.toml --demo call --via=work --config b.toml e").expect("a tool");
        assert_eq!((wanted.config, wanted.demo, wanted.via.as_deref()), (vec!["a.toml".into(), "b.toml".into()], true, Some("work")));
        assert_eq!((wanted.kind, wanted.prefix.as_str()), (ValueKind::Tool, "e"));
    }
}
