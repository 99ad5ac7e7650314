//! Arguments of the commands that show and change the configuration.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{OnLine, values::is_url};

/// The registry that `add` reads by default.
pub const REGISTRY: &str = "https://registry.modelcontextprotocol.io";

/// `add`.
#[derive(Clone, Debug, Default, Args)]
pub struct AddArgs {
    /// The name of the server [default: by its source], and what to add: a URL, a server.json, manifest.json or configuration
    /// file of a client, or a name in the registry such as io.github.user/server. A command is given after --.
    #[arg(value_name = "[NAME] SOURCE", num_args = 1..=2, required = true)]
    pub what: Vec<String>,
    /// Describe the server.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Put it into this folder of the server tree.
    #[arg(long, value_name = "FOLDER")]
    pub group: Option<String>,
    /// Add it disabled, so that it is not started.
    #[arg(long)]
    pub disabled: bool,
    /// Replace a server of this name.
    #[arg(long)]
    pub replace: bool,
    /// Print the difference and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Read names of servers from this registry.
    #[arg(long, value_name = "URL", env = "SWITCHBOARD_REGISTRY", default_value = REGISTRY)]
    pub registry: String,
    /// The server given after `--`.
    #[command(flatten)]
    pub server: OnLine,
}

/// What `add` adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddSource {
    /// A program with its arguments; never empty.
    Command(Vec<String>),
    /// An address.
    Url(String),
    /// A file that describes servers.
    File(PathBuf),
    /// A name in the registry.
    Registry(String),
}

impl AddArgs {
    /// Returns the name, if it was given, and the source. `is_file` says whether a file exists.
    pub fn source(&self, is_file: impl Fn(&Path) -> bool) -> Result<(Option<String>, AddSource), String> {
        match (self.what.as_slice(), self.server.words.as_slice()) {
            ([name], [_, ..]) => Ok((Some(name.clone()), AddSource::Command(self.server.words.clone()))),
            ([_, _, ..], [_, ..]) => Err("a server has either a source or a command after --".into()),
            ([what], []) => Ok((None, source_of(what, is_file)?)),
            ([name, what], []) => Ok((Some(name.clone()), source_of(what, is_file)?)),
            _ => Err("the server to add is missing".into()),
        }
    }
}

fn source_of(what: &str, is_file: impl Fn(&Path) -> bool) -> Result<AddSource, String> {
    if is_url(what) {
        return Ok(AddSource::Url(what.to_owned()));
    }
    let file = Path::new(what);
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let described = ["json", "jsonc", "mcpb", "dxt", "toml", "yaml", "yml"].contains(&extension);
    if is_file(file) || described || what.starts_with(['.', '/', '~']) {
        return Ok(AddSource::File(file.to_owned()));
    }
    if is_registry_name(what) {
        return Ok(AddSource::Registry(what.to_owned()));
    }
    Err(format!(
        "{what:?} is not a URL, a file or a name in the registry; write a program after --: switchboard add {} -- COMMAND",
        if what.contains(char::is_whitespace) { "NAME" } else { what }
    ))
}

/// Returns whether a word is a name of the registry: a reversed domain, a slash, a name.
fn is_registry_name(word: &str) -> bool {
    let plain = |text: &str, more: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        text.chars().all(allowed) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    word.split_once('/').is_some_and(|(domain, name)| domain.contains('.') && plain(domain, ".-") && plain(name, "._-"))
}

/// `remove`, `enable` and `disable`.
#[derive(Clone, Debug, Default, Args)]
pub struct EditArgs {
    /// The servers.
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Print the difference and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `token`.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: TokenCmd,
}

/// The subcommands of `token`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TokenCmd {
    /// Issue a token and print it, once.
    New {
        /// The name of the token: the principal of its requests.
        name: String,
    },
    /// List the names of the issued tokens.
    List,
    /// Revoke a token. A running gateway refuses it from then on.
    Revoke {
        /// The name of the token.
        name: String,
    },
}

/// `config`.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: ConfigCmd,
}

/// The subcommands of `config`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigCmd {
    /// Print the path of your configuration file.
    ///
    /// With --verbose, all files that are read, and the state folder.
    Path,
    /// Print the configuration files with secrets masked.
    Show,
    /// Edit your configuration file with $VISUAL or $EDITOR, and check it afterwards.
    Edit,
    /// Check the configuration and print its errors with their positions.
    ///
    /// Starts no server. The exit code is 0 if every entry can be used, 7 if some cannot, and 2 if a file cannot be read.
    Check(CheckArgs),
    /// Print the JSON Schema of configuration files, for editors.
    ///
    /// Save it next to the configuration, and name it in the first line of the file for editors with Taplo: `#:schema
    /// ./config.schema.json`.
    Schema,
}

/// How checks print what they find.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// Print findings in this format.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: FindingFormat,
    /// Append a summary in Markdown to this file.
    #[arg(long, value_name = "FILE", env = "GITHUB_STEP_SUMMARY")]
    pub step_summary: Option<PathBuf>,
}

/// A format of findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FindingFormat {
    /// For people.
    #[default]
    Text,
    /// One line each, `FILE:LINE:COLUMN: error: MESSAGE`, as compilers print them.
    Gcc,
    /// SARIF 2.1.0.
    Sarif,
    /// Commands of GitHub Actions, which annotate the files.
    Github,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(words: &[&str], after: &[&str]) -> Result<(Option<String>, AddSource), String> {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let args = AddArgs { what: strings(words), server: OnLine { words: strings(after) }, ..AddArgs::default() };
        args.source(|path| path == Path::new("servers"))
    }

    #[test]
    fn the_source_follows_from_its_form() {
        let file = |name: &str| AddSource::File(name.into());
        for (word, expected) in [
            ("https://x.example/mcp", AddSource::Url("https://x.example/mcp".into())),
            ("io.github.user/my-server", AddSource::Registry("io.github.user/my-server".into())),
            ("./server.json", file("./server.json")),
            ("x.mcpb", file("x.mcpb")),
            ("servers", file("servers")),
        ] {
            assert_eq!(source(&[word], &[]), Ok((None, expected.clone())));
            assert_eq!(source(&["name", word], &[]), Ok((Some("name".into()), expected)));
        }
        let command = AddSource::Command(vec!["npx".into(), "-y".into()]);
        assert_eq!(source(&["db"], &["npx", "-y"]), Ok((Some("db".into()), command)));
    }

    #[test]
    fn a_word_that_is_no_source_is_explained() {
        assert!(source(&["db"], &[]).unwrap_err().contains("switchboard add db -- COMMAND"));
        assert!(source(&["npx -y x"], &[]).unwrap_err().contains("after --"));
        assert!(source(&["a/b"], &[]).is_err(), "a registry name has a domain");
        assert!(source(&["a", "https://x"], &["npx"]).is_err());
    }
}
