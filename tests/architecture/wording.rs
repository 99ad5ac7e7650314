//! The phrases of `tests/data/phrases.txt` occur in no comment, string literal, Markdown or TOML file.

use std::{fs, path::Path, process::Command};

use regex::{Regex, RegexBuilder};

use super::source::{char_at, string_at};

/// What separates two words: white space, and the marks of a comment that continues on the next line.
const SPACE: &str = r"(?:\s+(?:(?://[/!]?|#)\s*)?)";

/// Words that may follow "is no".
const FINE: &[&str] = &["more", "less", "fewer", "larger", "smaller", "later", "earlier", "better", "worse", "different"];

/// A phrase to avoid and what to write instead.
struct Phrase {
    pattern: Regex,
    instead: String,
}

fn phrases() -> Vec<Phrase> {
    let list = fs::read_to_string(root().join("tests/data/phrases.txt")).unwrap();
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (pattern, instead) = line.split_once(" => ").unwrap();
            let pattern = format!(r"(?:\bthere )?\b(?:{pattern})\b").replace(' ', SPACE);
            let pattern = RegexBuilder::new(&pattern).case_insensitive(true).build().unwrap();
            Phrase { pattern, instead: instead.to_owned() }
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The comments and string literals of Rust code, each with the offset where it begins. Comments of consecutive lines are
/// one text.
fn texts(source: &str) -> Vec<(usize, &str)> {
    let (mut found, mut before) = (Vec::new(), String::new());
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        let length = if rest.starts_with("//") {
            comment_lines(rest)
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = string_at(rest, &before) {
            length
        } else if let Some(length) = char_at(rest) {
            before.push(' ');
            at += length;
            continue;
        } else {
            let c = rest.chars().next().unwrap();
            before.push(c);
            at += c.len_utf8();
            continue;
        };
        found.push((at, &rest[..length]));
        before.push(' ');
        at += length;
    }
    found
}

/// The length of the comment that begins here, with those of the lines after it.
fn comment_lines(rest: &str) -> usize {
    let mut end = rest.find('\n').unwrap_or(rest.len());
    while let Some(next) = rest.get(end + 1..).filter(|next| next.trim_start().starts_with("//")) {
        end += 1 + next.find('\n').unwrap_or(next.len());
    }
    end
}

/// Every phrase in `text`, as `line: phrase (write: …)`.
fn offences(phrases: &[Phrase], file: &str, text: &str) -> Vec<String> {
    let parts = if file.ends_with(".rs") { texts(text) } else { vec![(0, text)] };
    let mut found = Vec::new();
    for (start, part) in parts {
        for phrase in phrases {
            for hit in phrase.pattern.find_iter(part) {
                let words: Vec<String> = hit.as_str().split_whitespace().map(str::to_lowercase).collect();
                // "There is no …" and "is no more than …" are fine; "x is no …" is not.
                let fine =
                    words.first().is_some_and(|word| word == "there") || words.last().is_some_and(|word| FINE.contains(&word.as_str()));
                if !fine {
                    let line = text[..start + hit.start()].matches('\n').count() + 1;
                    found.push(format!("{file}:{line}: {:?} (write: {})", hit.as_str(), phrase.instead));
                }
            }
        }
    }
    found
}

/// The texts of the repository: what git tracks, or would track.
fn files() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    // Inputs of the fuzzer and of the schema tests are other people's words.
    let foreign = ["fuzz/seeds/", "tests/data/schemas/"];
    let ours = listed.lines().filter(|file| !foreign.iter().any(|folder| file.starts_with(folder)));
    let ours =
        ours.filter(|file| [".rs", ".md", ".toml", ".yml"].iter().any(|end| file.ends_with(end)) || *file == "test" || *file == ".ci/run");
    let ours: Vec<String> = ours.filter(|file| root().join(file).is_file()).map(str::to_owned).collect();
    assert!(ours.len() > 300, "{} files", ours.len());
    ours
}

#[test]
fn texts_avoid_the_listed_phrases() {
    let phrases = phrases();
    let mut found = Vec::new();
    for file in files() {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        found.extend(offences(&phrases, &file, &text));
    }
    assert!(found.is_empty(), "{} phrases of tests/data/phrases.txt:\n{}", found.len(), found.join("\n"));
}

#[test]
fn planted_phrases_are_found() {
    let (phrases, word) = (phrases(), ["to", "ld"].concat());
    let many = [
        ("a.rs", format!("// It is {word} so.\n"), 1),
        ("a.rs", "/// Answers at\n    /// once.\nfn a() {}\n".replace("Answers", "Replies"), 1),
        ("a.rs", format!("let a = r#\"{word}\"#; let b = '\"'; let c = \"{word}\";"), 2),
        ("a.rs", format!("let {word} = 'a; // There is no server."), 0),
        ("a.md", format!("The user is\n{word}. That is {no} server.", no = "no"), 2),
        ("a.toml", format!("# {word}\nkey = 1"), 1),
    ];
    for (file, text, count) in many {
        let found = offences(&phrases, file, &text);
        assert_eq!(found.len(), count, "{text}: {found:?}");
    }
}
