//! Switching the environment on the command line, and its name in the header.

use super::*;
use crate::{
    domain::workspace::Environments,
    tui::{ConsoleUpdate, WorkspaceRequest},
};

fn with(current: Option<&str>) -> Harness {
    let mut harness = Harness::busy(120, 40);
    let names = vec!["staging".into(), "production".into()];
    harness.send(Msg::Update(ConsoleUpdate::Environments(Environments { current: current.map(str::to_owned), names })));
    harness
}

#[test]
fn the_header_names_the_environment_in_use() {
    let header = |current: Option<&str>| with(current).frame().lines().next().unwrap().to_owned();
    assert!(header(Some("staging")).contains("staging  ●"), "{}", header(Some("staging")));
    assert!(!header(None).contains("staging"));
    let name = "x".repeat(300);
    let long = header(Some(&name));
    assert!(long.contains("1 Console") && long.contains('…'), "{long}");
    let hostile = header(Some("a\u{1b}[2J"));
    assert!(!hostile.contains('\u{1b}'), "{hostile}");
}

#[test]
fn the_command_line_switches_the_environment() {
    let mut harness = with(Some("staging"));
    harness.keys(":").text("environment pro");
    assert!(harness.frame().contains("environment production"), "{}", harness.frame());
    harness.keys("enter");
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::UseEnvironment(Some("production".into())))]);
    harness.keys(":").text("environment none").keys("enter");
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::UseEnvironment(None))]);
}
