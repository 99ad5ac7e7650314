//! Tests of the tree of servers.

use super::{search::begins_word, *};
use crate::tui::test_support;

fn names(tree: &Tree) -> Vec<String> {
    tree.rows()
        .iter()
        .map(|r| match &r.node {
            Node::Group(g) => format!("[{g}]"),
            Node::Replicas(g) => format!("<{g}>"),
            Node::Member(_, s) => format!("@{s}"),
            Node::Server(s) => s.to_string(),
            Node::Tool(t) => format!(".{}", t.name),
            Node::Saved(_, name) => format!("={name}"),
            Node::Section(_, s) => format!("({})", s.word()),
            Node::Resource(_, t) | Node::Template(_, t) | Node::Prompt(_, t) => format!("..{t}"),
        })
        .collect()
}

#[test]
fn groups_contain_servers_and_the_cursor_stays_on_its_node() {
    let read_model = test_support::shop_state();
    let mut tree = Tree::default();
    tree.rebuild(&read_model);
    let shown = names(&tree);
    assert_eq!(shown[..3], ["[shop]", "database", ".create_user"], "{shown:?}");
    let email = tree.rows().iter().position(|r| r.node == Node::Server("email".into())).unwrap();
    tree.move_to(email);
    tree.fold(Folding::Fold, &read_model);
    tree.fold(Folding::Fold, &read_model);
    assert_eq!(tree.selected(), Some(&Node::Group("shop".into())), "folding twice goes to the parent");
    tree.move_to(email);
    tree.fold_all(&read_model);
    assert_eq!(tree.selected(), Some(&Node::Server("email".into())));
    assert!(!names(&tree).iter().any(|n| n.starts_with('.')));
}

#[test]
fn the_filter_finds_real_names_titles_and_descriptions_after_exposed_names() {
    let read_model = test_support::shop_state();
    let mut tree = Tree::default();
    let (server, tool) = read_model
        .servers
        .iter()
        .find_map(|server| Some((server, server.catalog.tools.iter().find(|tool| tool.description.is_some())?)))
        .unwrap();
    tree.set_filter(tool.description.as_ref().unwrap().to_uppercase(), &read_model);
    let wanted = Node::Tool(ToolId::new(server.id().clone(), tool.name.clone()));
    assert!(tree.rows().iter().any(|row| row.node == wanted && row.marks.is_empty()), "{:?}", names(&tree));
    tree.set_filter(tool.name.to_uppercase(), &read_model);
    assert_eq!(tree.rows()[0].node, wanted, "a name comes first, whatever its case");
}

#[test]
fn the_filter_finds_tools_of_all_servers_and_leaves_no_trace_when_cancelled() {
    let read_model = test_support::shop_state();
    let mut tree = Tree::default();
    tree.rebuild(&read_model);
    tree.move_to(1);
    tree.set_filter("emsend".into(), &read_model);
    assert_eq!(names(&tree), [".send_email"]);
    assert_eq!(tree.rows()[0].marks.len(), 6);
    tree.end_filter(FilterEnd::Cancel, &read_model);
    assert_eq!(tree.selected(), Some(&Node::Server("database".into())));
    tree.fold_all(&read_model);
    tree.set_filter("emsend".into(), &read_model);
    tree.end_filter(FilterEnd::Accept, &read_model);
    assert_eq!(tree.selected(), Some(&Node::Tool(ToolId::new("email".into(), "send_email"))), "accepted: its server is unfolded");
}

#[test]
fn a_word_that_begins_with_the_filter_goes_before_a_part_of_a_tool_name() {
    let read_model = test_support::shop_state();
    let mut tree = Tree::default();
    tree.rebuild(&read_model);
    let mut first = |filter: &str| {
        tree.set_filter(filter.into(), &read_model);
        tree.selected().cloned()
    };
    // `sche` is in no name of a tool; `use` begins a word of a tool and of a template; `se` begins one of a tool only.
    assert!(matches!(first("sche"), Some(Node::Resource(..))));
    assert!(matches!(first("use"), Some(Node::Tool(_))));
    assert!(matches!(first("sum"), Some(Node::Prompt(..))));
    assert!(matches!(first("createu"), Some(Node::Tool(tool)) if &*tool.name == "create_user"));
    assert!(begins_word("arch", "architecture.md") && begins_word("U", "query_users") && !begins_word("arch", "research"));
}

#[test]
fn saved_calls_are_listed_with_their_tool_and_found_by_their_name() {
    let read_model = test_support::shop_state();
    let saved = |name: &str, label: &str, tool: &str| SavedCall {
        name: name.into(),
        label: label.into(),
        tool: tool.into(),
        arguments: crate::domain::body::Body::from("{}"),
        file: format!("workflows/{name}.toml"),
    };
    let calls = [
        saved("ann", "Find Ann", "database_query_users"),
        saved("project/all", "Everybody", "database/query_users"),
        saved("gone", "Gone", "no_such_tool"),
    ];
    let mut tree = Tree::default();
    tree.set_saved(calls.into(), &read_model);
    let shown = names(&tree);
    let at = shown.iter().position(|name| name == ".query_users").unwrap();
    assert_eq!(shown[at + 1..at + 3], ["=ann", "=project/all"], "{shown:?}");
    assert!(!shown.contains(&"=gone".to_owned()));
    tree.set_filter("find an".into(), &read_model);
    assert_eq!((names(&tree)[0].as_str(), tree.rows()[0].marks.len()), ("=ann", 6));
    tree.end_filter(FilterEnd::Accept, &read_model);
    assert!(matches!(tree.selected(), Some(Node::Saved(tool, _)) if &*tool.name == "query_users"));
    tree.set_saved(Arc::new([]), &read_model);
    assert!(!names(&tree).iter().any(|name| name.starts_with('=')));
}
