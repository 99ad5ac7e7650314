//! The reference page about other clients' files, written from the tables.

use std::fmt::Write;

use super::{
    Base, ClientKind, Environment, Form, Root,
    keys::{COMMON, Means},
    table::KINDS,
};

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "–".into() } else { items.join(", ") }
}

fn place(base: Base, path: &str) -> String {
    match base {
        Base::Home => code(&format!("~/{path}")),
        Base::HomeOr(variable) => {
            let file = path.rsplit('/').next().unwrap_or(path);
            format!("{}, {}", code(&format!("~/{path}")), code(&format!("${variable}/{file}")))
        }
        Base::Config => code(&format!("~/.config/{path}")),
        Base::Project => format!("{} in a project", code(path)),
    }
}

fn root(root: &Root) -> String {
    let path =
        root.path.iter().map(|key| if key.contains('.') { format!("\"{key}\"") } else { (*key).to_owned() }).collect::<Vec<_>>().join(".");
    match root.form {
        Form::Table => code(&path),
        Form::List => format!("{} (list)", code(&path)),
        Form::Projects => "`projects.PATH.mcpServers`".into(),
        Form::File => "the whole file".into(),
        Form::Described => "the whole file describes one server".into(),
    }
}

fn row(kind: &ClientKind) -> String {
    let names = kind.names.iter().map(|name| format!("{} anywhere", code(name)));
    let places = list(kind.places.iter().map(|at| place(at.base, at.path)).chain(names));
    let own = kind.timeout.map(|means| ("timeout", means));
    let keys = kind.keys.iter().copied().chain(own).filter_map(|(key, means)| Some(format!("{}: {}", code(key), means.sets()?)));
    let environment = if kind.environment == Environment::All { "all" } else { "short" };
    let forms = list(kind.syntax.forms().into_iter().map(code));
    let (places, keys) = (if places == "–" { "by its content".into() } else { places }, list(keys));
    format!("| {} | {places} | {} | {forms} | {environment} | {keys} |", title(kind), list(kind.roots.iter().map(root)))
}

fn title(kind: &ClientKind) -> &'static str {
    match kind.id {
        super::KindId::Generic => "Other clients",
        super::KindId::Flat => "Claude Code plugins, other clients",
        super::KindId::ClaudeProject => "Claude Code (project)",
        super::KindId::ClaudeProjects => "Claude Code (projects)",
        _ => kind.client,
    }
}

/// A key, and the client whose key it is if it is not common.
type ReportedKey = (String, Option<&'static str>);

/// Returns the page.
pub(crate) fn page() -> String {
    let mut out = String::from(
        "## Clients\n\n| Client | Files | Servers | Placeholders | Environment | Keys of its own |\n|---|---|---|---|---|---|\n",
    );
    for kind in KINDS {
        let _ = writeln!(out, "{}", row(kind));
    }
    out.push_str("\n## Keys that are honoured\n\n| Sets | Keys |\n|---|---|\n");
    let mut groups: Vec<(&str, Vec<&str>)> = vec![];
    let mut add = |title: &'static str, key: &'static str| match groups.iter_mut().find(|(other, _)| *other == title) {
        Some((_, keys)) => keys.push(key),
        None => groups.push((title, vec![key])),
    };
    for (key, means) in COMMON {
        if let Some(sets) = means.sets() {
            add(sets, key);
        }
    }
    for (sets, keys) in std::mem::take(&mut groups) {
        let _ = writeln!(out, "| {sets} | {} |", list(keys.into_iter().map(code)));
    }
    out.push_str("\n## Keys that are reported\n\n| Keys | Effect in the client |\n|---|---|\n");
    let mut groups: Vec<(&str, Vec<ReportedKey>)> = vec![];
    let mut add =
        |effect: &'static str, key: String, client: Option<&'static str>| match groups.iter_mut().find(|(other, _)| *other == effect) {
            Some((_, keys)) => keys.push((key, client)),
            None => groups.push((effect, vec![(key, client)])),
        };
    for (key, means) in COMMON {
        if let Some(effect) = means.unused() {
            add(effect, (*key).to_owned(), None);
        }
    }
    for kind in KINDS {
        for (key, means) in kind.keys.iter().filter(|(_, means)| !matches!(means, Means::Label)) {
            if let Some(effect) = means.unused() {
                add(effect, (*key).to_owned(), Some(title(kind)));
            }
        }
        for (path, effect) in kind.file_keys {
            add(effect, path.join("."), Some(title(kind)));
        }
    }
    for (effect, keys) in groups {
        let named =
            |(key, client): (String, Option<&str>)| client.map_or_else(|| code(&key), |client| format!("{} ({client})", code(&key)));
        let _ = writeln!(out, "| {} | {} |", list(keys.into_iter().map(named)), effect.replace('|', "\\|"));
    }
    out
}
