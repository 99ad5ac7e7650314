//! Tests of descriptions, the command line, favourites and help.

use super::*;
use crate::{
    domain::{id::ToolId, secret::Secret, server::Transport},
    tui::{overlay::describe::Describe, view::ViewId},
};

fn described(harness: &Harness) -> bool {
    harness.model.dialogs.top_as::<Describe>().is_some()
}

#[test]
fn a_tool_is_described_with_its_schema_and_everything_can_be_searched_and_copied() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut harness = Harness::busy(width, height);
        harness.tool("createuser").keys("esc d");
        assert!(described(&harness), "{}", harness.frame());
        let about = harness.frame();
        for part in ["Create a user in the directory", "database", "readOnlyHint false", "definition"] {
            assert!(about.contains(part), "{part} in {about}");
        }
        harness.keys("]");
        assert!(harness.frame().contains("additional") || harness.frame().contains("properties"), "{}", harness.frame());
        harness.keys("/").text("invitations");
        assert!(harness.frame().contains("1 of 1"), "{}", harness.frame());
        harness.keys("enter y");
        assert!(matches!(&harness.take()[..], [Cmd::Copy(text)] if text.contains("invitations")));
        harness.keys("esc");
        assert!(described(&harness), "Esc ends the search first");
        harness.keys("esc");
        assert!(harness.model.dialogs.is_empty());
    }
}

#[test]
fn a_server_is_described_without_its_secrets() {
    let mut harness = Harness::busy(120, 40);
    let headers =
        vec![("Authorization".to_owned(), Secret::literal("Bearer hunter2")), ("X-Key".to_owned(), Secret::new("hunter3", "${KEY}"))];
    let launch = Transport::Http { url: "https://api.example.org/mcp?token=hunter4".into(), headers, socket: None };
    let env = vec![("PASSWORD".to_owned(), Secret::literal("hunter5"))];
    let stdio = Transport::Stdio { command: "serve".into(), args: vec![], env, inherit_env: false, cwd: Some("/srv".into()) };
    for (id, launch) in [("web", launch), ("local", stdio)] {
        let spec = crate::domain::server::ServerSpec { launch, ..test_support::spec(id, None) };
        harness.event(EventKind::ServerAdded { spec: Arc::new(spec) });
        harness.keys("/").text(id).keys("enter d");
        assert!(described(&harness), "{}", harness.frame());
        let frame = harness.frame();
        assert!(!frame.contains("hunter"), "{frame}");
        let wanted: &[&str] = if id == "web" { &["Authorization: (hidden)", "X-Key: ${KEY}"] } else { &["PASSWORD", "/srv"] };
        assert!(wanted.iter().all(|part| frame.contains(part)), "{frame}");
        harness.keys("d");
    }
    assert!(harness.model.dialogs.is_empty(), "the same key closes it");
}

#[test]
fn every_kind_of_row_is_described() {
    let mut harness = Harness::busy(120, 40);
    let rows = harness.model.console.tree.rows().len();
    harness.keys("+");
    assert!(harness.model.console.tree.rows().len() >= rows);
    let mut kinds = 0;
    harness.keys("home");
    for _ in 0..harness.model.console.tree.rows().len() {
        if harness.model.is_enabled(Action::Describe) {
            harness.keys("d");
            assert!(described(&harness), "{}", harness.selected());
            harness.frame();
            harness.keys("] ] [ end home esc");
            kinds += 1;
        }
        harness.keys("down");
    }
    assert!(kinds > 10 && harness.model.dialogs.is_empty());
    // In the traffic, a call's tool.
    harness.traffic().keys("home d");
    assert!(described(&harness), "{}", harness.frame());
}

#[test]
fn the_command_line_runs_what_matches_and_nothing_else() {
    let mut harness = Harness::busy(120, 40);
    harness.take();
    harness.keys(":").text("restart mem").keys("enter");
    assert!(harness.take().is_empty() && !harness.model.dialogs.is_empty(), "no such server: {}", harness.frame());
    harness.keys("ctrl-u").text("restart ema").keys("enter");
    assert!(matches!(&harness.take()[..], [Cmd::Command(Command::Restart { server })] if server.as_str() == "email"));
    harness.keys(":").text("theme light").keys("enter");
    assert_eq!(harness.model.session.theme, Theme::light());
    harness.keys(": up up").keys("enter");
    assert!(matches!(&harness.take()[..], [Cmd::Command(Command::Restart { .. })]), "the line before the last one");
    harness.keys(":").text("filter outcome:failed").keys("enter");
    assert_eq!(harness.model.views.current, ViewId::Traffic);
    assert!(harness.frame().contains("outcome:failed"), "{}", harness.frame());
    harness.keys("1 :").text("call dbquery").keys("tab");
    harness.text("filter=ann").keys("enter");
    let CallSpec { operation, .. } = harness.submitted_spec();
    let Operation::Tool { tool, arguments } = operation else { panic!("not a tool") };
    assert_eq!((tool, arguments.text().as_ref()), (ToolId::new("database".into(), "query_users"), r#"{"filter":"ann"}"#));
    harness.keys("esc :").text("q").keys("enter");
    assert!(matches!(&harness.take()[..], [Cmd::Quit]) || harness.frame().contains("Leave Switchboard?"), "{}", harness.frame());
}

#[test]
fn favourites_come_first_and_are_stored() {
    let mut harness = Harness::busy(120, 40);
    harness.tool("trackev").keys("esc");
    harness.take();
    harness.keys("*");
    assert!(matches!(&harness.take()[..], [Cmd::Request(WorkspaceRequest::Remember(entry))] if entry.favourite == Some(true)));
    assert!(harness.frame().contains('★'), "{}", harness.frame());
    harness.keys("/");
    assert!(harness.selected().contains("track_event"), "{}", harness.selected());
    harness.keys("esc *");
    assert!(!harness.frame().contains('★'), "{}", harness.frame());
}

#[test]
fn help_begins_with_the_pane_in_focus() {
    let mut harness = Harness::busy(120, 40);
    harness.keys("?");
    let first = harness.frame().lines().find(|line| line.contains("┃  ")).map(str::to_owned);
    assert!(harness.frame().contains("The tree of servers"), "{first:?}");
    harness.keys("q 2 / f1");
    let frame = harness.frame();
    assert!(frame.contains("server:email") || frame.contains("outcome:"), "the language first: {frame}");
}

#[test]
fn an_unfinished_sequence_lists_what_may_follow() {
    let mut harness = Harness::busy(120, 40);
    harness.keys("down b");
    let footer = harness.frame().lines().last().unwrap().to_owned();
    assert!(footer.contains("b …") && footer.contains("i inject fault"), "{footer}");
}
