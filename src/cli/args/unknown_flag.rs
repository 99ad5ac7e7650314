//! Explains an unknown flag of a command whose arguments are written `key=value`: users of other clients write `--key value`.

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;

/// Commands whose arguments are `key=value`.
const COMMANDS: [&str; 3] = ["call", "prompt", "run"];

/// Returns the error with the form that works, if it is about an unknown flag of such a command. `words` is the command line.
pub fn explained(error: clap::Error, words: &[String]) -> clap::Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument) else {
        return error;
    };
    let Some(command) = words.iter().map(String::as_str).find(|word| COMMANDS.contains(word)) else { return error };
    let Some(name) = flag.strip_prefix("--").map(|name| name.split('=').next().unwrap_or(name)).filter(|name| !name.is_empty()) else {
        return error;
    };
    let glued = words.iter().find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='));
    let after = || words.iter().skip_while(|word| *word != flag).nth(1).filter(|word| !word.starts_with('-') && !word.contains('='));
    let value = glued.or_else(|| after().map(String::as_str)).unwrap_or("VALUE");
    let quoted = if value.contains(' ') { format!("'{value}'") } else { value.to_owned() };
    let similar = match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(known)) => format!("\n  tip: a similar flag exists: {known}"),
        _ => String::new(),
    };
    let message = format!("unknown flag --{name}\n\n  tip: {command} takes its arguments as key=value: {name}={quoted}{similar}");
    Cli::command().error(ErrorKind::UnknownArgument, message)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_flag_of_another_client_is_answered_with_the_form_that_works() {
        let rendered = |line: &str| {
            let words: Vec<String> = std::iter::once("switchboard").chain(line.split(' ')).map(str::to_owned).collect();
            explained(Cli::try_parse_from(&words).unwrap_err(), &words).render().to_string()
        };
        for (line, wanted) in [
            ("call mail --to a@example.org", "call takes its arguments as key=value: to=a@example.org\n"),
            ("call mail --to=a@example.org", "to=a@example.org\n"),
            ("call mail --to", "to=VALUE\n"),
            ("run onboard --email ann@example.com --yes", "run takes its arguments as key=value: email=ann@example.com\n"),
            ("prompt explain --sql x", "prompt takes its arguments as key=value: sql=x\n"),
            ("call mail --elict decline", "a similar flag exists: --elicit"),
        ] {
            assert!(rendered(line).contains(wanted), "{line}: {}", rendered(line));
        }
        assert!(!rendered("tools --nonsense").contains("key=value"));
        assert!(!rendered("call mail --to x").contains("-- --to"));
    }
}
