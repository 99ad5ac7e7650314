//! The links of the documentation: every link inside of the repository leads to a file, and every fragment to a heading. The pages of the
//! site are all in its table of contents.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it cannot continue")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files of the repository, by their path.
fn pages() -> Vec<PathBuf> {
    let mut found = vec![];
    for folder in ["", "docs", "examples", "packaging", "fuzz"] {
        let Ok(entries) = fs::read_dir(root().join(folder)) else { continue };
        let files = entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name()));
        found.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    found.sort();
    found
}

/// The text without fenced blocks and code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            continue;
        }
        if inside {
            continue;
        }
        out.extend(line.split('`').step_by(2).map(|part| format!("{part} ")));
        out.push('\n');
    }
    out
}

/// The targets of the links of a text.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let mut found: Vec<String> = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split_whitespace().next().unwrap_or_default().to_owned())
        .collect();
    for attribute in ["src=\"", "srcset=\"", "href=\""] {
        found.extend(prose.split(attribute).skip(1).filter_map(|rest| rest.split_once('"')).map(|(target, _)| target.to_owned()));
    }
    found
}

/// The fragments of the headings of a page, as GitHub and mdBook make them.
fn fragments(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        }
        let heading = line.trim_start_matches('#');
        if inside || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let words = heading.trim().to_lowercase();
        let slug: String = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
        found.insert(slug.replace(' ', "-"));
    }
    found
}

/// The path without `.` and `..`; `None` if it leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !out.pop() => return None,
            Component::Normal(part) => out.push(part),
            _ => {}
        }
    }
    Some(out)
}

/// What is wrong with the links of a page.
fn broken(page: &Path, text: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut found = vec![];
    for target in links(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, fragment) = target.split_once('#').unwrap_or((&target, ""));
        let file = if path.is_empty() { Some(page.to_owned()) } else { normal(&page.parent().unwrap().join(path)) };
        let Some(text) = file.as_deref().and_then(&read) else {
            found.push(format!("{}: {target}: no such file", page.display()));
            continue;
        };
        if !fragment.is_empty() && !fragments(&text).contains(fragment) {
            found.push(format!("{}: {target}: no such heading", page.display()));
        }
    }
    found
}

fn read(path: &Path) -> Option<String> {
    let path = root().join(path);
    if path.is_dir() { Some(String::new()) } else { fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) }
}

#[test]
fn all_links_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() > 25, "{pages:?}");
    let found: Vec<String> = pages.iter().flat_map(|page| broken(page, &read(page).unwrap(), read)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn broken_links_are_found() {
    let other = |path: &Path| (path == Path::new("docs/a.md")).then(|| "# One\n## Two words, here\n".to_owned());
    let page = Path::new("docs/b.md");
    let text = "[a](a.md) [b](a.md#two-words-here) `[c](none.md)`\n```\n[d](none.md)\n```\n[e](https://x.example)";
    assert_eq!(broken(page, text, other), Vec::<String>::new());
    let text = "[a](a.md#three) [b](none.md) [c](../../out.md) <img src=\"none.svg\">";
    assert_eq!(broken(page, text, other).len(), 4);
}

#[test]
fn the_site_has_every_page_once() {
    let summary = read(Path::new("docs/SUMMARY.md")).unwrap();
    let mut listed = links(&summary);
    listed.sort();
    let mut expected: Vec<String> =
        pages().iter().filter_map(|page| page.strip_prefix("docs").ok()).map(|page| page.display().to_string()).collect();
    expected.retain(|page| page != "SUMMARY.md");
    assert_eq!(listed, expected);
    // The site is docs/ only: a link out of it leads nowhere there.
    let leaving =
        |page: &PathBuf| links(&read(page).unwrap()).into_iter().find(|target| target.starts_with("..")).map(|to| (page.clone(), to));
    let found: Vec<_> = pages().iter().filter(|page| page.starts_with("docs")).filter_map(leaving).collect();
    assert!(found.is_empty(), "{found:?}");
}
