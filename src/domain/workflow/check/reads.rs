//! Checks the prompts and resources that steps read against the servers' lists.

use super::closest_match;
use crate::domain::{catalog::template_fits, workflow::expression::Template};

/// The prompts and resources of a server.
#[derive(Clone, Debug)]
pub enum Listed {
    /// The lists are not known yet.
    Unread,
    /// The server is not configured.
    NoServer {
        /// Known servers, for a suggestion.
        names: Vec<String>,
    },
    /// The lists.
    Lists {
        /// Prompts with their arguments; `true` for required ones.
        prompts: Vec<(String, Vec<(String, bool)>)>,
        /// Resources.
        resources: Vec<String>,
        /// Resource templates (RFC 6570).
        templates: Vec<String>,
    },
}

/// A mismatch: the key path, the message, and a hint.
pub(super) type Mismatch = (Vec<String>, String, Option<String>);

fn suggestion(name: &str, names: &[&str], none: &str) -> Option<String> {
    Some(match closest_match(name, names.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if names.is_empty() => none.to_owned(),
        None => format!("available: {}", names.join(", ")),
    })
}

fn no_server(server: &str, names: &[String]) -> Mismatch {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    (vec!["server".into()], format!("unknown server `{server}`"), suggestion(server, &names, "no servers are configured"))
}

/// Checks a prompt and its arguments.
pub(super) fn prompt(listed: &Listed, server: &str, name: &str, arguments: &Template) -> Vec<Mismatch> {
    let prompts = match listed {
        Listed::Unread => return vec![],
        Listed::NoServer { names } => return vec![no_server(server, names)],
        Listed::Lists { prompts, .. } => prompts,
    };
    let Some((_, known)) = prompts.iter().find(|(known, _)| known == name) else {
        let names: Vec<&str> = prompts.iter().map(|(name, _)| name.as_str()).collect();
        let hint = suggestion(name, &names, "it lists no prompts");
        return vec![(vec!["prompt".into()], format!("{server} does not list the prompt `{name}`"), hint)];
    };
    let Some(keys) = arguments.keys() else { return vec![] };
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let missing = known.iter().filter(|(name, required)| *required && !keys.contains(name));
    let missing = missing.map(|(name, _)| (vec!["arguments".to_owned()], format!("`{name}` is missing"), None));
    let unknown = keys.iter().filter(|key| !names.contains(&key.as_str())).map(|key| {
        (vec!["arguments".to_owned(), key.clone()], format!("unknown argument `{key}`"), suggestion(key, &names, "it takes no arguments"))
    });
    missing.chain(unknown).collect()
}

/// Checks a resource. Servers may have resources that they do not list (MCP 2025-11-25, server, "Resources"). So a
/// URI is reported only if it looks like a misspelt listed one, or if the server lists no resources at all.
pub(super) fn resource(listed: &Listed, server: &str, uri: &Template) -> Option<Mismatch> {
    let (resources, templates) = match listed {
        Listed::Unread => return None,
        Listed::NoServer { names } => return Some(no_server(server, names)),
        Listed::Lists { resources, templates, .. } => (resources, templates),
    };
    let key = || vec!["resource".to_owned()];
    if resources.is_empty() && templates.is_empty() {
        return Some((key(), format!("{server} lists no resources"), None));
    }
    let uri = uri.literal()?.as_str()?;
    if resources.iter().any(|known| known == uri) || templates.iter().any(|template| template_fits(template, uri)) {
        return None;
    }
    let candidate = closest_match(uri, resources.iter().map(String::as_str))?;
    Some((key(), format!("{server} does not list the resource `{uri}`"), Some(format!("did you mean `{candidate}`?"))))
}
