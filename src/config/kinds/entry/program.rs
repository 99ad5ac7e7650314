//! The program of an entry: its command line, environment and working directory.

use std::path::Path;

use super::Entry;
use crate::{
    config::{
        dialect::Use,
        env_file,
        fields::Fields,
        kinds::{
            Environment, KindId,
            keys::{Means, effect},
        },
        server::{self, Reached, Start},
    },
    domain::{
        document::{Kind, Node},
        secret::Secret,
    },
};

/// The variable in which Claude Code gives the project's folder to its servers.
pub(in crate::config) const PROJECT_DIR: &str = "CLAUDE_PROJECT_DIR";

/// Shells, whose scripts have variables of their own.
const SHELLS: [&str; 7] = ["sh", "bash", "zsh", "dash", "ksh", "fish", "ash"];

impl<'r> Entry<'r, '_> {
    pub(super) fn stdio(&mut self, command: &'static str, root: Option<&Path>) -> Option<Reached> {
        let report = self.fields.report;
        let node = self.fields.node(command)?;
        let mut env = vec![];
        for key in self.keys(|means| means == Means::Env) {
            let variables = self.fields.node(key).and_then(Node::fields).unwrap_or_default();
            // VS Code removes a variable whose value is null; elsewhere null means that the key is absent.
            let removed = variables.iter().filter(|variable| self.kind.id == KindId::VsCode && matches!(variable.value.kind, Kind::Null));
            for variable in removed {
                report.unused_key(variable.at, &format!("{key}.{}", variable.key), effect::REMOVED_VARIABLE, None);
            }
            env.extend(server::pairs(&mut self.fields, key));
        }
        if let Some(table) = node.fields() {
            env.extend(server::pairs(&mut Fields::new(report, table, command), "env"));
        }
        self.passed(&mut env);
        if let (true, Some(root)) = (self.kind.id == KindId::ClaudeProject, root)
            && !env.iter().any(|(name, _)| name == PROJECT_DIR)
        {
            // With the variable as its text, so that an approval does not depend on where the project is.
            env.push((PROJECT_DIR.into(), Secret::new(root.to_string_lossy(), format!("${{{PROJECT_DIR}}}"))));
        }
        report.own_env(&env);
        let (program, mut args) = self.command_line(node, command)?;
        for key in self.keys(|means| means == Means::Args) {
            let words = self.fields.array(key).unwrap_or_default();
            let script = script_index(program.expose(), words);
            for (index, word) in words.iter().enumerate() {
                report.used_for(if Some(index) == script { Use::Script } else { Use::Local });
                args.extend(server::scalar(&self.fields, word, key));
            }
            report.used_for(Use::Local);
        }
        if self.kind.id == KindId::VsCode {
            // The editor expands `~/` in arguments.
            for arg in &mut args {
                if let (Some(path), false) = (report.tilde(arg.expose()), arg.interpolated()) {
                    *arg = Secret::literal(path.to_string_lossy());
                }
            }
        }
        let cwd = self.key(Means::Cwd).and_then(|key| self.fields.expanded(key));
        let inherit_env = self.kind.environment == Environment::All;
        let mut reached = server::started(report, node.at, Start { command: program, args, env, inherit_env, cwd }, root)?;
        if let Some(key) = self.key(Means::EnvFile) {
            env_file::add(&mut self.fields, key, &mut reached);
        }
        Some(reached)
    }

    /// Adds variables that the client passes on by name.
    fn passed(&mut self, env: &mut Vec<(String, Secret)>) {
        let report = self.fields.report;
        for (means, required) in [(Means::EnvNames, false), (Means::RequiredEnv, true)] {
            let Some(key) = self.key(means) else { continue };
            let names = self.fields.array(key).unwrap_or_default().iter();
            for (at, name) in names.filter_map(|n| Some((n.at, n.text().or_else(|| n.get("name")?.text())?))) {
                let given = env.iter().any(|(other, _)| other == name);
                if !given && (required || report.env.get(name).is_some()) {
                    env.push((name.to_owned(), report.variable(at, key, "", name)));
                }
            }
        }
    }

    /// Reads the program with its first arguments: text, a list, a line of words, or Zed's table.
    fn command_line(&mut self, node: &'r Node, key: &'static str) -> Option<(Secret, Vec<Secret>)> {
        let report = self.fields.report;
        match &node.kind {
            Kind::Array(words) => {
                let script = words.split_first().and_then(|(program, rest)| Some(script_index(program.text()?, rest)? + 1));
                let mut line = vec![];
                for (index, word) in words.iter().enumerate() {
                    report.used_for(if Some(index) == script { Use::Script } else { Use::Local });
                    line.extend(server::scalar(&self.fields, word, key));
                }
                report.used_for(Use::Local);
                if line.is_empty() {
                    // Words that cannot be resolved are reported already.
                    if words.is_empty() {
                        report.error(node.at, key, "is empty", "name the program to start");
                    }
                    return None;
                }
                let program = line.remove(0);
                Some((program, line))
            }
            Kind::Table(table) => {
                let mut inner = Fields::new(report, table, key);
                let Some(program) = inner.expanded("path") else {
                    report.error(node.at, key, "has no `path`", "name the program to start");
                    return None;
                };
                let words = inner.array("args").unwrap_or_default();
                let args = words.iter().filter_map(|arg| server::scalar(&inner, arg, "args")).collect();
                Some((program, args))
            }
            Kind::Text(text) if self.kind.id == KindId::McPorter && text.contains(char::is_whitespace) => {
                let Some(words) = split_words(text) else {
                    report.error(node.at, key, "has a quotation mark that is not closed", "close it");
                    return None;
                };
                let mut words = words.iter().map(|word| report.expand(node.at, key, word));
                Some((words.next()?, words.collect()))
            }
            _ => Some((self.fields.expanded(key)?, vec![])),
        }
    }
}

/// Returns the index of the script in the arguments of a shell.
fn script_index(program: &str, words: &[Node]) -> Option<usize> {
    let name = program.rsplit('/').next().unwrap_or(program);
    if !SHELLS.contains(&name) {
        return None;
    }
    let flag = words
        .iter()
        .position(|word| word.text().is_some_and(|text| text.starts_with('-') && !text.starts_with("--") && text.ends_with('c')))?;
    Some(flag + 1)
}

/// Splits a command line into words as a POSIX shell does, without expansions. `None` if a quotation mark is not closed.
fn split_words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (vec![], None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_split_like_a_shell_does() {
        for (line, words) in [
            ("npx -y x", Some(vec!["npx", "-y", "x"])),
            ("  a  'b c'\t\"d \\\" e\" f\\ g ''", Some(vec!["a", "b c", "d \" e", "f g", ""])),
            ("a 'b", None),
        ] {
            assert_eq!(split_words(line), words.map(|words| words.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }
}
