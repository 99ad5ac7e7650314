//! Compares the definitions of two servers.

use super::{Change, Definition, DefinitionKind, Difference, DifferenceKind, about, compare, items};
use crate::domain::{body::Body, catalog::ServerCatalog, id::ServerId, server::SessionInfo, stored_catalog::StoredServer};

/// Returns the definitions of a server as it lists them now; `info` is its self-description, if it is connected.
pub fn listed(catalog: &ServerCatalog, info: Option<&SessionInfo>) -> Vec<Definition> {
    let tools = catalog.tools.iter().map(|tool| &tool.raw);
    let prompts = catalog.prompts.iter().map(|prompt| &prompt.raw);
    let templates = catalog.templates.iter().map(|template| &template.raw);
    let mut found = items(tools, prompts, templates);
    found.extend(info.map(|info| about(&StoredServer::new(info))).into_iter().flatten());
    found
}

/// Returns what differs for callers of the server `before` if another server takes its place: by name of the definition, the server
/// itself first. The changes have no time.
pub fn between(server: &ServerId, before: &[Definition], after: &[Definition]) -> Vec<Change> {
    let find = |all: &'_ [Definition], key: (DefinitionKind, &str)| {
        all.iter().find(|definition| (definition.kind, &*definition.name) == key).map(|definition| Body::from(&*definition.text))
    };
    // The server and its instructions first.
    let mut keys: Vec<(DefinitionKind, &str)> = before.iter().chain(after).map(|definition| (definition.kind, &*definition.name)).collect();
    keys.sort_by_key(|(kind, name)| (!matches!(kind, DefinitionKind::Server), !matches!(kind, DefinitionKind::Instructions), *kind, *name));
    keys.dedup();
    let whole = |kind| vec![Difference { kind, path: String::new(), before: None, after: None }];
    let change = |key: (DefinitionKind, &str)| {
        let differences = match (find(before, key), find(after, key)) {
            (Some(before), Some(after)) if before == after => vec![],
            (Some(before), Some(after)) => compare(key.0, &before, &after),
            (None, _) => whole(DifferenceKind::Added),
            (Some(_), None) => whole(DifferenceKind::Removed),
        };
        Change { server: server.clone(), kind: key.0, name: key.1.to_owned(), at_ms: 0, accepted: true, differences }
    };
    keys.into_iter().map(change).filter(|change| !change.differences.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::drift::Impact;

    fn tool(name: &str, required: &str) -> Definition {
        let item = format!(r#"{{"name":"{name}","inputSchema":{{"type":"object","properties":{{"a":{{}}}},"required":[{required}]}}}}"#);
        Definition::of_item(DefinitionKind::Tool, &Body::from(item), "name").unwrap()
    }

    fn server(version: &str, instructions: Option<&str>) -> Vec<Definition> {
        let info = StoredServer {
            name: Some("files".into()),
            version: Some(version.into()),
            instructions: instructions.map(str::to_owned),
            capabilities: Body::from(format!(r#"{{"tools":{{"listChanged":{}}}}}"#, version == "1")),
            ..StoredServer::default()
        };
        about(&info)
    }

    #[test]
    fn callers_of_a_server_see_what_another_one_lacks_adds_and_changes() {
        let id = ServerId::new("old");
        let before = [server("1", Some("be kind")), vec![tool("same", ""), tool("gone", ""), tool("stricter", "")]].concat();
        let after = [vec![tool("new", ""), tool("stricter", "\"a\""), tool("same", "")], server("2", None)].concat();
        let changes = between(&id, &before, &after);
        let found: Vec<_> = changes.iter().map(|change| (change.kind.word(), &*change.name, change.impact().word())).collect();
        assert_eq!(
            found,
            [
                ("server", "", "compatible"),
                ("instructions", "", "breaking"),
                ("tool", "gone", "breaking"),
                ("tool", "new", "compatible"),
                ("tool", "stricter", "breaking"),
            ]
        );
        let paths: Vec<&str> = changes[0].differences.iter().map(|difference| &*difference.path).collect();
        assert_eq!(paths, ["capabilities", "version"]);
        assert!(changes.iter().all(|change| change.server == id && change.at_ms == 0));
        let back = between(&id, &after, &before);
        assert_eq!(back.iter().filter(|change| change.impact() == Impact::Breaking).count(), 1, "{back:?}");
        assert_eq!(between(&id, &before, &before), []);
        assert_eq!(between(&id, &[], &[]), []);
    }

    #[test]
    fn the_definitions_of_a_server_are_those_of_its_lists_and_its_self_description() {
        use crate::domain::{catalog::RawLists, time::Stamp};
        let tools = vec![Body::from(r#"{"name":"b","inputSchema":{}}"#), Body::from(r#"{"name":"a","inputSchema":{}}"#)];
        let catalog = ServerCatalog::read(RawLists { tools: tools.clone(), ..RawLists::default() }, None);
        let names = |found: Vec<Definition>| found.into_iter().map(|definition| definition.name).collect::<Vec<_>>();
        assert_eq!(names(listed(&catalog, None)), ["b", "a"]);
        let info = SessionInfo { instructions: Some("x".into()), ..SessionInfo::bare(Stamp::default()) };
        let kinds: Vec<_> = listed(&catalog, Some(&info)).iter().map(|definition| definition.kind).collect();
        assert_eq!(kinds, [DefinitionKind::Tool, DefinitionKind::Tool, DefinitionKind::Instructions, DefinitionKind::Server]);
    }
}
