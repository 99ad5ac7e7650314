//! Prompts and resources that steps read, against what servers list.

use super::near;
use crate::domain::{catalog::template_fits, workflow::expression::Template};

/// What a server lists beside tools.
#[derive(Clone, Debug)]
pub enum Listed {
    /// Its lists are not known, so nothing can be told.
    Unread,
    /// There is no such server.
    NoServer {
        /// Those that there are, to suggest one.
        names: Vec<String>,
    },
    /// Its lists.
    Lists {
        /// Its prompts with their arguments; `true` for those that are required.
        prompts: Vec<(String, Vec<(String, bool)>)>,
        /// Its resources.
        resources: Vec<String>,
        /// The templates of its resources (RFC 6570).
        templates: Vec<String>,
    },
}

/// What is wrong: the key that it is about, words, and what to do.
pub(super) type Wrong = (Vec<String>, String, Option<String>);

fn suggestion(name: &str, names: &[&str], none: &str) -> Option<String> {
    Some(match near(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => none.to_owned(),
        None => format!("there are {}", names.join(", ")),
    })
}

fn no_server(server: &str, names: &[String]) -> Wrong {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    (vec!["server".into()], format!("there is no server `{server}`"), suggestion(server, &names, "none is configured"))
}

/// What does not fit of a prompt that is read.
pub(super) fn prompt(listed: &Listed, server: &str, name: &str, arguments: &Template) -> Vec<Wrong> {
    let prompts = match listed {
        Listed::Unread => return vec![],
        Listed::NoServer { names } => return vec![no_server(server, names)],
        Listed::Lists { prompts, .. } => prompts,
    };
    let Some((_, known)) = prompts.iter().find(|(known, _)| known == name) else {
        let names: Vec<&str> = prompts.iter().map(|(name, _)| name.as_str()).collect();
        let hint = suggestion(name, &names, "it offers none");
        return vec![(vec!["prompt".into()], format!("{server} offers no prompt `{name}`"), hint)];
    };
    let Some(given) = arguments.keys() else { return vec![] };
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let missing = known.iter().filter(|(name, required)| *required && !given.contains(name));
    let missing = missing.map(|(name, _)| (vec!["arguments".to_owned()], format!("`{name}` is missing"), None));
    let unknown = given.iter().filter(|key| !names.contains(&key.as_str())).map(|key| {
        (vec!["arguments".to_owned(), key.clone()], format!("there is no argument `{key}`"), suggestion(key, &names, "it takes none"))
    });
    missing.chain(unknown).collect()
}

/// What does not fit of a resource that is read. Servers may have resources that they do not list (MCP 2025-11-25, server,
/// "Resources"), so that one is only refused where a listed one is meant, or where there are none at all.
pub(super) fn resource(listed: &Listed, server: &str, uri: &Template) -> Option<Wrong> {
    let (resources, templates) = match listed {
        Listed::Unread => return None,
        Listed::NoServer { names } => return Some(no_server(server, names)),
        Listed::Lists { resources, templates, .. } => (resources, templates),
    };
    let key = || vec!["resource".to_owned()];
    if resources.is_empty() && templates.is_empty() {
        return Some((key(), format!("{server} offers no resources"), None));
    }
    let uri = uri.literal()?.as_str()?;
    if resources.iter().any(|known| known == uri) || templates.iter().any(|template| template_fits(template, uri)) {
        return None;
    }
    let near = near(uri, resources.iter().map(String::as_str))?;
    Some((key(), format!("{server} lists no resource `{uri}`"), Some(format!("did you mean `{near}`?"))))
}
