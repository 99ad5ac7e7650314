//! `envFile` of Cursor and VS Code: reads the environment variables of a server from a separate file.
//!
//! The values are masked wherever they would be displayed or written. They can still change what runs (`NODE_OPTIONS`,
//! `LD_PRELOAD`), so the approval of a project covers the values at the time of the approval.

use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    error::ConfigError,
    fields::Fields,
    server::Reached,
    source::{Source, Whose},
};
use crate::{
    domain::{
        secret::Secret,
        server::{ServerSpec, Transport},
    },
    files,
};

/// Names under which the path of the file, the digest of its content and its variables are recorded with a server.
const FILE: &str = "env_file";
const DIGEST: &str = "env_file.sha256";
const NAMES: &str = "env_file.names";

/// Adds the variables of the file that `key` names to a program; those in `env` override them. An error in the file makes this server
/// unusable.
pub(super) fn add(fields: &mut Fields<'_, '_>, key: &'static str, reached: &mut Reached) {
    let report = fields.report;
    let (Some(node), Some(text)) = (fields.node(key), fields.text(key)) else { return };
    let Transport::Stdio { env, .. } = &mut reached.launch else { return };
    let path = report.expand(node.at, key, text);
    if path.expose().is_empty() {
        if !report.unset() {
            report.error(node.at, key, "names no file", "remove it, or name the file with the variables");
        }
        return;
    }
    let folder = report.source.path.parent().unwrap_or(Path::new("/"));
    let path = report.tilde(path.expose()).unwrap_or_else(|| folder.join(path.expose()));
    reached.written.push((FILE.into(), text.to_owned()));
    report.files.borrow_mut().push(path.clone());
    // A path that leaves the project as written is displayed in the approval. One that leaves it through a link is
    // refused, because the approval could not show it.
    let whose = report.root.filter(|root| files::lexical(&path).starts_with(root)).map_or(Whose::User, Whose::Project);
    let pairs = match Source::read(&path, whose).map_err(|(_, error)| error).and_then(|source| parse(&source)) {
        Ok(pairs) => pairs,
        Err(error) => {
            report.unusable(ConfigError { key: Some(key.into()), ..error });
            return;
        }
    };
    let digest: String = Sha256::digest(json!(pairs).to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    reached.written.push((DIGEST.into(), digest));
    let mut names = vec![];
    for (name, value) in pairs {
        if env.iter().all(|(other, _)| *other != name) {
            names.push(name.clone());
            // Written as a variable, so that the value is neither displayed nor written to another file.
            let written = format!("${{{name}}}");
            env.push((name, Secret::new(value, written)));
        }
    }
    reached.written.push((NAMES.into(), names.join(" ")));
}

/// The `envFile` of a server.
pub(super) struct EnvFile<'s> {
    /// Its path as written in the configuration.
    pub file: &'s str,
    /// The digest of its content, if it could be read.
    pub digest: Option<&'s str>,
    /// The variables that were read from it.
    pub names: Vec<&'s str>,
}

/// Returns the `envFile` of a server, if it has one.
pub(super) fn of_server(spec: &ServerSpec) -> Option<EnvFile<'_>> {
    let noted = |key: &str| spec.origin.written.iter().find(|(name, _)| name == key).map(|(_, text)| text.as_str());
    let names = noted(NAMES).unwrap_or_default().split_whitespace().collect();
    Some(EnvFile { file: noted(FILE)?, digest: noted(DIGEST), names })
}

/// Parses lines of `NAME=value` with comments, `export` and quotes as in a shell and dotenv. The last value of a name
/// applies.
fn parse(source: &Source) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs: Vec<(String, String)> = vec![];
    for (number, line) in source.text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = pair(line).map_err(|(message, hint)| {
            let line = u32::try_from(number + 1).unwrap_or(u32::MAX);
            ConfigError { line: Some(line), ..ConfigError::new(message).in_file(&source.path) }.hint(hint)
        })?;
        pairs.retain(|(other, _)| *other != name);
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Parses one line. The error is a message and a hint that contain none of its text.
fn pair(line: &str) -> Result<(String, String), (&'static str, &'static str)> {
    let line = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).map_or(line, str::trim_start);
    let (name, value) = line.split_once('=').ok_or(("is not NAME=value", "write NAME=value, or # before a comment"))?;
    let name = name.trim_end();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return Err(("names no variable before `=`", "names are of A-Z a-z 0-9 _ . -"));
    }
    // A `#` after a blank begins a comment, even where there is no value.
    let bare = value.find(" #").or_else(|| value.find("\t#")).map_or(value, |at| &value[..at]);
    let value = value.trim_start();
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&value[1..], quote)?,
        _ => bare.trim().to_owned(),
    };
    if value.contains('\0') {
        return Err(("has a NUL character", "remove it: the operating system does not allow it"));
    }
    Ok((name.to_owned(), value))
}

/// Parses a quoted value after its opening quotation mark. In double quotes a backslash escapes.
fn quoted(text: &str, quote: char) -> Result<String, (&'static str, &'static str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => {
                let rest = chars.as_str().trim_start();
                let clean = rest.is_empty() || rest.starts_with('#');
                return if clean { Ok(value) } else { Err(("has text after the closing quotation mark", "quote the whole value")) };
            }
            '\\' if quote == '"' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(c @ ('"' | '\\' | '$')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(("has a quotation mark that is not closed", "close it on the same line; \\n between \" is a line end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_shells_and_dotenv_do() {
        for (line, name, value) in [
            ("A=b", "A", "b"),
            ("  export\tA = b c  ", "A", "b c"),
            ("exported=1", "exported", "1"),
            ("A=", "A", ""),
            ("A= # none", "A", ""),
            ("A=b#c # d", "A", "b#c"),
            ("A=b=c==", "A", "b=c=="),
            ("A=\"b # c\" # d", "A", "b # c"),
            ("A='b\\n\"$X'", "A", "b\\n\"$X"),
            ("A=\"l\\nm\\\"\\\\\\$\\d\"", "A", "l\nm\"\\$\\d"),
            ("A=ü${B}", "A", "ü${B}"),
        ] {
            assert_eq!(pair(line.trim()).unwrap(), (name.to_owned(), value.to_owned()), "{line}");
        }
        let source = Source::new("/e", "\u{feff}# x\r\nA=1\r\n\r\nB=2\nA=3\n");
        assert_eq!(parse(&source).unwrap(), [("B".to_owned(), "2".to_owned()), ("A".into(), "3".into())]);
        for (text, line) in
            [("A=1\ns3cret", 2), ("=s3cret", 1), ("A B=s3cret", 1), ("A='s3cret", 1), ("\n\nA=\"x\"s3cret", 3), ("A=\"s3cret\\", 1)]
        {
            let error = parse(&Source::new("/e", text)).unwrap_err();
            assert_eq!((error.file.as_deref(), error.line), (Some(Path::new("/e")), Some(line)), "{text}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
