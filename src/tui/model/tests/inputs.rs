//! The dialog for inputs of configuration files.

use super::*;
use crate::{
    domain::config_input::{InputOption, InputRetention, InputState, InputValue},
    tui::{ConsoleUpdate, WorkspaceRequest},
};

fn input(id: &str, state: InputState) -> ConfigInput {
    ConfigInput {
        file: "/w/.vscode/mcp.json".into(),
        id: id.into(),
        description: Some(format!("About {id}")),
        default: None,
        options: vec![],
        password: false,
        servers: vec!["asks".into(), "other".into()],
        state,
    }
}

fn inputs() -> Vec<ConfigInput> {
    let option = |value: &str, label: Option<&str>| InputOption { value: value.into(), label: label.map(str::to_owned) };
    let options = vec![option("eu", Some("Europe")), option("us", None), option("ap", None)];
    vec![
        ConfigInput { password: true, ..input("key", InputState::Missing) },
        ConfigInput { options, default: Some("us".into()), ..input("region", InputState::Missing) },
        input("name", InputState::Given),
    ]
}

fn with(inputs: Vec<ConfigInput>) -> Harness {
    let mut harness = Harness::set_up(100, 30, test_support::shop_state(), Setup { inputs, ..Harness::setup(Startup::Normal) });
    // The dialog opened without a key press, so keys are locked for a moment.
    harness.model.at(test_support::at(20_000));
    harness
}

fn given(harness: &mut Harness) -> Vec<(String, String, InputRetention)> {
    let of = |command| match command {
        Cmd::Request(WorkspaceRequest::GiveInput { id, value: InputValue(value), retention, .. }) => Some((id, value, retention)),
        _ => None,
    };
    harness.take().into_iter().filter_map(of).collect()
}

#[test]
fn missing_inputs_are_asked_for_one_after_the_other() {
    let mut harness = with(inputs());
    let frame = harness.text("s3cret").frame();
    for text in ["Value of the input key", "1 of 2", "About key", "for asks, other", "••••••", "in this session"] {
        assert!(frame.contains(text), "{text}\n{frame}");
    }
    assert!(!frame.contains("s3cret"), "{frame}");
    let frame = harness.keys("enter").frame();
    for text in ["Value of the input region", "2 of 2", "Europe  eu", "› us"] {
        assert!(frame.contains(text), "{text}\n{frame}");
    }
    let frame = harness.keys("up tab space").frame();
    assert!(frame.contains("› Europe") && frame.contains("in later sessions too"), "{frame}");
    harness.keys("enter");
    assert_eq!(
        given(&mut harness),
        [("key".to_owned(), "s3cret".to_owned(), InputRetention::Session), ("region".to_owned(), "eu".to_owned(), InputRetention::Stored)]
    );
    assert!(harness.model.dialogs.is_empty());
}

#[test]
fn a_key_typed_before_the_dialog_opened_gives_no_value() {
    let mut harness = Harness::with(100, 30, test_support::shop_state(), Startup::Normal);
    harness.send(Msg::Update(ConsoleUpdate::Inputs(inputs())));
    harness.keys("x enter");
    assert_eq!(given(&mut harness), []);
    assert!(harness.frame().contains("Value of the input key"));
}

#[test]
fn postponed_inputs_are_asked_for_on_request_or_when_others_are_missing() {
    let mut harness = with(inputs());
    let frame = harness.keys("esc").frame();
    assert!(frame.contains("Servers wait for values") && !frame.contains("Value of the input"), "{frame}");
    let mut update = |inputs: Vec<ConfigInput>| {
        harness.send(Msg::Update(ConsoleUpdate::Inputs(inputs)));
        let asks = harness.frame().contains("Value of the input");
        harness.model.at(test_support::at(30_000));
        harness.keys("esc");
        asks
    };
    assert!(!update(inputs()), "the same are missing");
    let mut more = inputs();
    more.push(input("new", InputState::Missing));
    assert!(update(more));
    assert!(harness.keys(":").text("inputs").keys("enter").frame().contains("Value of the input key"));
    // With a value for each, all are offered.
    let all = inputs().into_iter().map(|input| ConfigInput { state: InputState::Given, ..input }).collect();
    harness.keys("esc").send(Msg::Update(ConsoleUpdate::Inputs(all)));
    assert!(harness.keys(":").text("inputs").keys("enter").frame().contains("1 of 3"));
}
