//! Reads the sources for the architecture test: code without comments, strings and test code, and the paths that it names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{SEARCHES, is_display_text};

/// Returns whether `path` equals `prefix` or is inside it.
pub fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A source without comments, strings and test code.
pub struct Code {
    pub text: String,
    pub strings: Vec<String>,
    /// Where in `text` the placeholder of each string begins.
    places: Vec<usize>,
}

impl Code {
    pub fn read(source: &str) -> Code {
        let (mut text, mut strings, mut places) = (String::new(), Vec::new(), Vec::new());
        let mut rest = source;
        while !rest.is_empty() {
            let skipped = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else if let Some(length) = string_at(rest, &text) {
                strings.push(rest[..length].to_owned());
                places.push(text.len());
                text.push_str("\"\"");
                length
            } else if let Some(length) = char_at(rest) {
                strings.push(rest[..length].to_owned());
                places.push(text.len());
                text.push_str("' '");
                length
            } else if rest.starts_with("#[cfg(test)]") {
                item_end(rest)
            } else {
                let c = rest.chars().next().unwrap();
                text.push(c);
                c.len_utf8()
            };
            rest = &rest[skipped..];
        }
        Code { text, strings, places }
    }

    /// The display texts that the code decides by: searched for, compared with, or matched.
    pub fn decisions(&self) -> impl Iterator<Item = &String> {
        let decides = |place: usize| {
            let before = self.text[..place].trim_end().trim_end_matches(['&', '*']).trim_end();
            // Behind the placeholder, which is two quotes.
            let after = self.text[place + 2..].trim_start();
            let searched = before.strip_suffix('(').is_some_and(|call| {
                let name = call.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                SEARCHES.contains(&name) && call.trim_end_matches(name).trim_end().ends_with('.')
            });
            let compared = before.ends_with("==") || before.ends_with("!=") || after.starts_with("==") || after.starts_with("!=");
            let pattern = after.trim_start_matches(')').trim_start();
            let matched = pattern.starts_with("=>") || pattern.starts_with("| \"\"") || before.ends_with("\"\" |");
            searched || compared || matched
        };
        let strings = self.strings.iter().zip(&self.places);
        strings
            .filter(move |(literal, place)| literal.contains('"') && is_display_text(literal) && decides(**place))
            .map(|(literal, _)| literal)
    }
}

/// Returns the length of the string literal that starts here. `before` distinguishes `br"…"` from a name that ends in
/// r.
pub fn string_at(rest: &str, before: &str) -> Option<usize> {
    let within_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let marks = rest.chars().take_while(|c| "bcr".contains(*c)).count();
    let marks = if within_word { 0 } else { marks };
    let raw = rest[..marks].contains('r');
    let hashes = if raw { rest[marks..].chars().take_while(|c| *c == '#').count() } else { 0 };
    let body = marks + hashes + 1;
    if rest.as_bytes().get(marks + hashes) != Some(&b'"') || marks > 2 {
        return None;
    }
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len()));
    }
    let mut escaped = false;
    for (at, c) in rest[body..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(body + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// Returns the length of the character literal that starts here; `None` for a lifetime.
pub fn char_at(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let end = if inside.starts_with('\\') {
        2 + inside.char_indices().skip(2).find(|(_, c)| *c == '\'').map(|(at, _)| at - 2)?
    } else {
        let c = inside.chars().next()?;
        inside[c.len_utf8()..].starts_with('\'').then_some(c.len_utf8())?
    };
    Some(end + 2)
}

/// Returns the end of the item that starts here: its `;`, or the brace that closes its body.
fn item_end(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = "#[cfg(test)]".len();
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("//") {
            at += here.find('\n').unwrap_or(here.len());
            continue;
        }
        if let Some(length) = string_at(here, &rest[..at]).or_else(|| char_at(here)) {
            at += length;
            continue;
        }
        match here.chars().next() {
            Some('{') => depth += 1,
            Some('}') if depth == 1 => return at + 1,
            Some('}') => depth = depth.saturating_sub(1),
            Some(';') if depth == 0 => return at + 1,
            _ => {}
        }
        at += here.chars().next().map_or(1, char::len_utf8);
    }
    rest.len()
}

/// Returns the words of a source, each with the text after it.
pub fn words(text: &str) -> Vec<(&str, &str)> {
    let part_of = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(part_of) {
        let after = rest[start..].find(|c| !part_of(c)).map_or(rest.len(), |n| start + n);
        found.push((&rest[start..after], &rest[after..]));
        rest = &rest[after..];
    }
    found
}

/// Returns every path that a source names, with `use` trees expanded and `self`/`super` resolved.
pub fn named_paths(file: &str, text: &str) -> BTreeSet<String> {
    let home = module_of(file);
    let mut found = BTreeSet::new();
    let part_of = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut at = 0;
    while let Some(start) = text[at..].find(part_of).map(|n| at + n) {
        let end = text[start..].find(|c| !part_of(c)).map_or(text.len(), |n| start + n);
        let word = &text[start..end];
        at = end;
        // `use<…>` in a type captures lifetimes and names nothing.
        if word == "use" && !text[end..].starts_with('<') {
            let tree = &text[end..text[end..].find(';').map_or(text.len(), |n| end + n)];
            at = end + tree.len();
            expand("", tree, &mut |path| {
                found.insert(resolve(&home, path));
            });
        } else if word.contains("::") {
            found.insert(resolve(&home, word.trim_matches(':')));
        }
    }
    found
}

/// Returns the module of a file, from the root: `tui/pane/mod.rs` is `tui`, `pane`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if ["lib", "main"].contains(&path) { vec![] } else { path.split('/').map(str::to_owned).collect() }
}

/// Passes every path of a `use` tree to `each`.
fn expand(prefix: &str, tree: &str, each: &mut impl FnMut(&str)) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        let whole = format!("{prefix}{path}");
        return each(whole.trim_end_matches("::self").trim_end_matches("::*"));
    };
    let prefix = format!("{prefix}{}", tree[..open].trim());
    let inside = tree[open + 1..].trim_end().trim_end_matches('}');
    // The last brace of a nested tree was cut off with ours, which is harmless.
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &inside[start..at], each);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inside[start..].trim().is_empty() {
        expand(&prefix, &inside[start..], each);
    }
}

fn resolve(home: &[String], path: &str) -> String {
    let mut module = home.to_vec();
    let mut rest = path.strip_prefix("self::").unwrap_or(path);
    if rest.len() == path.len() && !rest.starts_with("super::") {
        return match path.strip_prefix("switchboard::") {
            Some(inside) => format!("crate::{inside}"),
            None => path.to_owned(),
        };
    }
    while let Some(up) = rest.strip_prefix("super::") {
        module.pop();
        rest = up;
    }
    module.push(rest.to_owned());
    format!("crate::{}", module.join("::"))
}

pub fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let all: Vec<(String, String)> = paths
        .iter()
        .map(|path| (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    let for_tests: BTreeSet<String> = all.iter().flat_map(|(file, source)| test_modules(file, source)).collect();
    all.into_iter().filter(|(file, _)| !is_for_tests(file, &for_tests)).collect()
}

/// Returns whether a file is in the list, or belongs to a module in it.
pub fn is_for_tests(file: &str, for_tests: &BTreeSet<String>) -> bool {
    for_tests.contains(file) || Path::new(file).ancestors().skip(1).any(|folder| for_tests.contains(&format!("{}.rs", folder.display())))
}

/// Returns the files of modules that a source declares for tests only.
pub fn test_modules(file: &str, source: &str) -> Vec<String> {
    let folder = module_of(file).join("/");
    let declared = source.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let line = after.trim_start().lines().next()?;
        let line = line.strip_prefix("pub").map_or(line, |rest| rest.trim_start_matches(|c| c != ' ').trim_start());
        let name = line.strip_prefix("mod ")?.strip_suffix(';')?;
        Some(if folder.is_empty() { format!("{name}.rs") } else { format!("{folder}/{name}.rs") })
    });
    declared.collect()
}
