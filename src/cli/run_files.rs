//! Files of `run`: inputs that are read from files, and the file for the outputs.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
};

use super::print::Printer;
use crate::{
    domain::{
        call::{Failure, FailureKind},
        json::indent,
        run::RunReport,
        time::size,
    },
    files,
};

/// Largest input that is read from a file, in bytes.
const LONGEST_INPUT: u64 = 64 << 20;

/// Reads a file that the command names; `-` is stdin. A pipe is allowed.
pub fn read(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: String| Failure::new(FailureKind::InvalidArguments, format!("{} cannot be read: {error}", path.display()));
    let reason = |error: std::io::Error| match error.kind() {
        ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        ErrorKind::NotFound => "the file does not exist".to_owned(),
        _ => error.to_string(),
    };
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(path).map_err(|error| unreadable(reason(error)))?),
    };
    let mut text = String::new();
    source.take(LONGEST_INPUT + 1).read_to_string(&mut text).map_err(|error| unreadable(reason(error)))?;
    if text.len() as u64 > LONGEST_INPUT {
        return Err(unreadable(format!("the file is larger than {}", size(LONGEST_INPUT))));
    }
    Ok(text)
}

/// Replaces `KEY=@FILE` and `KEY:=@FILE` by the content of the file. `KEY=@@TEXT` is the text `@TEXT`.
pub fn expand(assignments: impl Iterator<Item = String>) -> Result<Vec<String>, Failure> {
    assignments.map(expand_one).collect()
}

fn expand_one(assignment: String) -> Result<String, Failure> {
    let Some((key, value)) = assignment.split_once('=') else { return Ok(assignment) };
    let Some(path) = value.strip_prefix('@') else { return Ok(assignment) };
    if path.starts_with('@') {
        return Ok(format!("{key}={path}"));
    }
    let text = read(Path::new(path)).map_err(|failure| failure.hint(format!("for the text itself write {key}=@{value}")))?;
    Ok(format!("{key}={text}"))
}

/// Writes the outputs of a run as JSON, with the secrets masked that the printer masks. Returns whether the run has any.
pub fn write_output(path: &Path, report: &RunReport, printer: &Printer) -> Result<bool, Failure> {
    let Some(output) = &report.output else { return Ok(false) };
    let text = indent(&printer.masked_json(&output.text()));
    write(path, &format!("{text}\n"))?;
    Ok(true)
}

/// Writes a file that the command names.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    files::report(path, text.as_bytes()).map_err(|error| unwritable(path, &error))
}

/// Fails if a file cannot be written later, as far as that is known now.
pub fn check_target(path: &Path) -> Result<(), Failure> {
    files::check_report(path).map_err(|error| unwritable(path, &error).hint("name a file in a folder that exists"))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::InvalidArguments, format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "a=b\n@c").unwrap();
        let given = [format!("t=@{}", path.display()), "n=@@ann".to_owned(), "m=a@b".to_owned(), format!("j:=@{}", path.display())];
        let expanded = expand(given.into_iter()).unwrap();
        assert_eq!(expanded, ["t=a=b\n@c", "n=@ann", "m=a@b", "j:=a=b\n@c"]);
        let failure = expand(["t=@/nowhere/x".to_owned()].into_iter()).unwrap_err();
        assert_eq!(failure.message, "/nowhere/x cannot be read: the file does not exist");
        std::fs::write(&path, [0xff, 0xfe, 0]).unwrap();
        for (path, why) in [(path.as_path(), "it is not text in UTF-8"), (folder.path(), "it is a folder")] {
            let failure = read(path).unwrap_err();
            assert!(failure.message.ends_with(why), "{failure:?}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("there"), "").unwrap();
        std::os::unix::fs::symlink(at("there"), at("link")).unwrap();
        for (name, right) in [("new", true), ("there", true), ("", false), ("link", false), ("nowhere/new", false), ("there/new", false)] {
            assert_eq!(check_target(&at(name)).is_ok(), right, "{name}");
        }
        assert!(check_target(Path::new("/dev/stdout")).is_ok());
    }
}
