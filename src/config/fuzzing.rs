//! The code under test of the fuzz target `config`. A test runs the seeds and the samples through the same function.

use std::path::Path;

use super::{
    fields::Report,
    kinds::{self, Around},
    source::Source,
    text::Env,
};

/// Reads a file of another client: the first line is its path, the rest its text.
pub fn client_file(input: &str) {
    let (path, text) = input.split_once('\n').unwrap_or(("mcp.json", input));
    let (home, env) = (Path::new("/nonexistent/home"), Env::from_iter([("TOKEN", "value")]));
    let source = Source::new(Path::new("/nonexistent/project").join(path), text);
    let Ok(tree) = source.parse() else { return };
    let placed = kinds::placed(&source.path, Some(home));
    let around = Around { cwd: "/nonexistent/project".into(), ..Around::default() };
    let found = kinds::recognise(&tree, source.language(), &placed, &around);
    let mut report = Report::new(&source, &env, Some(home), Path::new("/nonexistent/project"));
    for draft in kinds::read(&mut report, &found, &placed, &around) {
        assert!(draft.spec.origin.line.is_some(), "every server has a place");
    }
    for problem in report.errors.take().into_iter().chain(report.problems.take()) {
        assert!(problem.file.is_some() && !problem.message.is_empty(), "every problem has a place");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_samples_are_read_without_a_panic() {
        crate::domain::fuzzing::tests::seeds("config", |seed| client_file(&String::from_utf8_lossy(seed)));
    }
}
