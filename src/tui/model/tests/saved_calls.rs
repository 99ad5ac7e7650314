//! Tests of saved calls: saving, finding, opening, sending.

use super::*;
use crate::{
    domain::{run::WorkflowText, workflow::library::WorkflowLibrary, workspace::WorkflowPlace},
    tui::{ConsoleUpdate, WorkspaceRequest, tree::Node},
};

/// Returns a library with folders of a project and of the user, and this file.
fn library(files: &[(&str, &str)]) -> WorkflowLibrary {
    let file = |(name, text): &(&str, &str)| WorkflowText { name: (*name).into(), file: format!("w/{name}.toml"), text: (*text).into() };
    WorkflowLibrary {
        files: files.iter().map(file).collect(),
        folder: Some("/p/workflows".into()),
        user_folder: Some("/u/workflows".into()),
        ..WorkflowLibrary::default()
    }
}

fn with_library(size: (u16, u16), library: WorkflowLibrary) -> Harness {
    let setup = Setup { workflows: library, ..Harness::setup(Startup::Normal) };
    Harness::set_up(size.0, size.1, test_support::shop_state(), setup)
}

/// Saves the call of `create_user` under a name, and returns the written workflow.
fn save(harness: &mut Harness, label: &str) -> (String, String) {
    harness.tool("createu").text("ann@example.org").keys("tab").text("Ann").keys("alt-k");
    assert!(harness.frame().contains("Save call"), "{}", harness.frame());
    harness.text(label).keys("enter enter");
    match harness.take().as_slice() {
        [Cmd::Request(WorkspaceRequest::SaveWorkflow { name, text, place: WorkflowPlace::Project })] => (name.clone(), text.clone()),
        other => panic!("{other:?}\n{}", harness.frame()),
    }
}

#[test]
fn a_call_is_saved_from_the_form_found_by_its_name_and_sent() {
    let mut harness = with_library((120, 40), library(&[]));
    let (name, text) = save(&mut harness, "Create Ann");
    assert_eq!(name, "create_ann");
    assert!(text.contains("default = \"ann@example.org\"") && text.contains("title = \"Create Ann\""), "{text}");
    harness.send(Msg::Update(ConsoleUpdate::Workflows(library(&[(&name, &text)]))));
    let frame = harness.frame();
    let rows: Vec<&str> = frame.lines().collect();
    let tool = rows.iter().position(|row| row.contains("create_user") && !row.contains("database_")).unwrap();
    assert!(rows[tool + 1].contains("» Create Ann"), "listed with its tool: {frame}");
    let selected = harness.model.console.tree.selected();
    assert!(matches!(selected, Some(Node::Saved(_, saved)) if **saved == *name), "the cursor is on it: {selected:?}");
    harness.keys("esc esc home");
    harness.send(Msg::Update(ConsoleUpdate::Workflows(library(&[(&name, &text)]))));
    assert!(!matches!(harness.model.console.tree.selected(), Some(Node::Saved(..))), "only once");

    // By `/`, with its form filled in.
    let mut fresh = with_library((120, 40), library(&[(&name, &text)]));
    fresh.keys("/").text("create ann");
    assert!(fresh.frame().contains("» Create Ann  database_create_user"), "{}", fresh.frame());
    fresh.keys("enter");
    let frame = fresh.frame();
    assert!(frame.contains("Create Ann · database_create_user") && frame.contains("ann@example.org"), "{frame}");
    fresh.keys("enter");
    assert!(fresh.frame().contains("database_create_user"), "{}", fresh.frame());
    fresh.keys("y");
    let sent = fresh.submitted_spec();
    assert_eq!(
        sent.operation,
        test_support::tool_call("database", "create_user", r#"{"email":"ann@example.org","name":"Ann","role":"developer"}"#)
    );

    // By `:`.
    let mut command = with_library((120, 40), library(&[(&name, &text)]));
    command.keys(":").text("create ann").keys("enter");
    assert!(matches!(command.model.console.tree.selected(), Some(Node::Saved(tool, _)) if &*tool.name == "create_user"));
    assert_eq!(command.model.console.focus, Focus::Call);
    assert_eq!(command.take(), [], "it is opened, not sent");
    command.keys("esc esc e");
    assert_eq!(command.take(), [Cmd::EditFile { path: "w/create_ann.toml".into(), line: None }]);
}

#[test]
fn a_saved_call_is_for_the_project_or_for_the_user() {
    let mut harness = with_library((120, 40), library(&[]));
    harness.tool("queryu").text("ann").keys("alt-k").text("find ann").keys("enter");
    let frame = harness.frame();
    assert!(frame.contains("For this project") && frame.contains("/u/workflows"), "{frame}");
    harness.text("u");
    let [Cmd::Request(WorkspaceRequest::SaveWorkflow { name, place: WorkflowPlace::User, .. })] = &harness.take()[..] else {
        panic!("not saved")
    };
    assert_eq!(name, "find_ann");
    // Without a project, there is one folder.
    let one = WorkflowLibrary { folder: Some("/u/workflows".into()), ..library(&[]) };
    let mut alone = with_library((120, 40), one);
    alone.tool("queryu").text("ann").keys("alt-k").text("find ann").keys("enter");
    assert!(matches!(&alone.take()[..], [Cmd::Request(WorkspaceRequest::SaveWorkflow { .. })]), "{}", alone.frame());
}

#[test]
fn a_call_is_saved_from_its_result_and_a_name_only_once() {
    let mut harness = Harness::busy(120, 40);
    harness.send(Msg::Update(ConsoleUpdate::Workflows(library(&[("taken", "name = \"taken\"\n")]))));
    harness.traffic().keys("home enter alt-k").text("taken").keys("enter");
    assert!(harness.frame().contains("exists already"), "{}", harness.frame());
    for _ in 0..5 {
        harness.keys("backspace");
    }
    harness.text("!!").keys("enter");
    assert!(harness.frame().contains("at least one letter or digit"), "{}", harness.frame());
    assert_eq!(harness.take(), []);
    harness.keys("ctrl-u").text("again").keys("enter").text("p");
    let [Cmd::Request(WorkspaceRequest::SaveWorkflow { text, .. })] = &harness.take()[..] else { panic!("{}", harness.frame()) };
    assert!(text.contains("tool = \"") && text.contains("name = \"again\""), "{text}");
}

#[test]
fn a_changed_file_changes_the_form_and_a_removed_one_closes_it() {
    let file =
        |n: u32| format!("name = \"find\"\n[[step]]\nid = \"a\"\ntool = \"database_query_users\"\narguments = {{ filter = \"v{n}\" }}\n");
    let mut harness = with_library((120, 40), library(&[("find", &file(1))]));
    harness.keys("/").text("find").keys("enter");
    assert_eq!(harness.model.console.call.arguments().entered().text(), r#"{"filter":"v1"}"#);
    harness.send(Msg::Update(ConsoleUpdate::Workflows(library(&[("find", &file(2))]))));
    assert_eq!(harness.model.console.call.arguments().entered().text(), r#"{"filter":"v2"}"#);
    harness.send(Msg::Update(ConsoleUpdate::Workflows(library(&[]))));
    assert!(!matches!(harness.model.console.tree.selected(), Some(Node::Saved(..))));
    harness.frame();
}
