//! The command line as the log shows it: commands, options and names, without values that may be private.

use clap::{Command, CommandFactory};

use super::args::Cli;

/// Options whose values are shown: names, numbers and paths.
const SHOWN: &[&str] = &["breaker", "config", "count", "format", "inject", "last", "log-file", "server", "set", "timeout"];

/// The text in place of a value that is not shown.
const HIDDEN: &str = "…";

/// Returns the arguments of the program for its log. Shows commands, options, and names of tools and workflows; hides what
/// follows `--`, addresses, and the values of arguments and of most options.
pub fn arguments(words: impl IntoIterator<Item = String>) -> String {
    let mut command = Cli::command();
    command.build();
    let mut scope = &command;
    let mut shown = vec![];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            shown.extend([word, HIDDEN.into()]);
            break;
        }
        if let Some(option) = word.strip_prefix("--") {
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value.to_owned())));
            let value = value.or_else(|| takes_value(scope, name).then(|| words.next()).flatten());
            shown.push(format!("--{}", plain(name)));
            shown.extend(value.map(|value| if SHOWN.contains(&name) { value } else { HIDDEN.into() }));
        } else if let Some(inner) = scope.find_subcommand(&word) {
            scope = inner;
            shown.push(word);
        } else {
            shown.push(match word.split_once('=') {
                Some((key, _)) if plain(key) != HIDDEN => format!("{key}={HIDDEN}"),
                Some(_) => HIDDEN.into(),
                None => plain(&word).to_owned(),
            });
        }
    }
    shown.join(" ")
}

/// Returns whether an option is followed by a value. The options of the program are known in every command.
fn takes_value(command: &Command, name: &str) -> bool {
    command.get_arguments().filter(|arg| arg.get_long() == Some(name)).any(|arg| arg.get_action().takes_values())
}

/// Returns a word that can only be a name; [`HIDDEN`] for any other.
fn plain(word: &str) -> &str {
    let name = !word.is_empty() && word.len() <= 128 && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./*?:".contains(c));
    if name && !word.contains("://") { word } else { HIDDEN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_options_are_shown_and_values_are_not() {
        for (line, shown) in [
            ("call db_query role=admin limit:=3 --json --timeout 5s", "call db_query role=… limit:=… --json --timeout 5s"),
            ("--server db call db/query --args {\"token\":1}", "--server db call db/query --args …"),
            ("call db/query --args={\"token\":1} --yes", "call db/query --args … --yes"),
            ("run w --answer step={} --input a=b --log-file x.log", "run w --answer … --input … --log-file x.log"),
            ("https://user:pw@host/mcp?key=1 tools", "… tools"),
            ("read demo://users --server database", "read … --server database"),
            ("-- npx server --token abc", "-- …"),
            ("tools database_*", "tools database_*"),
            ("--trust abcdef approve", "--trust … approve"),
        ] {
            assert_eq!(arguments(line.split(' ').map(str::to_owned)), shown);
        }
    }
}
