//! Tests of the drop-down list of a form: on top of all panes, in a form of any size, and first for the mouse.

use super::*;
use crate::{
    domain::catalog::{RawLists, ServerCatalog},
    tui::{model::workflows_tests, view::Part},
};

const PRESS: MouseEventKind = MouseEventKind::Down(MouseButton::Left);

fn mouse(kind: MouseEventKind, (column, row): (u16, u16)) -> Msg {
    Msg::Input(Input::Mouse(MouseEvent { kind, column, row, modifiers: crossterm::event::KeyModifiers::NONE }))
}

/// Returns the form of the demo's `configure` with its list of modes open.
fn configuring(width: u16, height: u16) -> Harness {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../../../assets/demo/flaky.json")).unwrap();
    let tools = file["tools"].as_array().unwrap().iter().map(Body::json).collect();
    let catalog = Arc::new(ServerCatalog::read(RawLists { tools, ..RawLists::default() }, None));
    let mut harness = Harness::busy(width, height);
    harness.event(EventKind::ServerPhase { server: "flaky".into(), phase: Arc::new(Phase::Ready) });
    harness.event(EventKind::ServerListed { server: "flaky".into(), catalog });
    harness.tool("flakyconfigure").keys("down down space");
    harness
}

/// Returns a question of a server with the drop-down list of a field open.
fn asked(width: u16, height: u16) -> Harness {
    let schema = r#"{"type":"object","properties":{"zone":{"enum":["Berlin","Lima","Paris","Tokyo","Quito"]}},"required":["zone"]}"#;
    let question = Question::Form { message: "Where are you?".into(), schema: Body::from(schema) };
    let mut harness = Harness::busy(width, height);
    harness.event(test_support::asked(1, None, question)).keys("space");
    harness
}

/// Returns the input of a workflow with the list of roles open.
fn entering(width: u16, height: u16) -> Harness {
    let mut harness = workflows_tests::harness(width, height, false);
    harness.keys("r").keys("tab tab space");
    assert_eq!(harness.model.views.state.part, Part::Input);
    harness
}

fn open(harness: &mut Harness) -> bool {
    harness.model.choosing().is_some()
}

fn form_json(harness: &mut Harness) -> String {
    let inbox = harness.model.dialogs.top_as::<Inbox>().and_then(|inbox| inbox.form().map(|form| form.json()));
    let model = &mut harness.model;
    let form =
        if model.in_view() { model.views.flows.input.arguments_mut().form_mut() } else { model.console.call.arguments_mut().form_mut() };
    inbox.or(form.map(|form| form.json())).unwrap()
}

#[test]
fn the_list_of_a_small_form_goes_over_its_neighbours() {
    for (width, height) in [(132, 42), (80, 24)] {
        let mut harness = configuring(width, height);
        insta::assert_snapshot!(format!("choices_{width}x{height}"), harness.frame());
        let frame = harness.frame();
        for mode in ["tool_error", "internal_error", "hang", "crash", "garbage"] {
            assert!(frame.contains(mode), "{mode}: {frame}");
        }
    }
}

#[test]
fn a_row_of_the_list_is_clicked_wherever_it_lies() {
    let mut harness = configuring(132, 42);
    let cell = harness.place("garbage");
    assert!(!harness.model.layout.place(Focus::Call).unwrap().contains(cell.into()), "it lies over another pane");
    harness.send(mouse(PRESS, cell));
    assert_eq!(form_json(&mut harness), r#"{"mode":"garbage"}"#);
    assert_eq!((open(&mut harness), harness.model.console.focus), (false, Focus::Call));
}

#[test]
fn the_wheel_moves_in_the_list_that_it_is_over() {
    let mut harness = configuring(132, 42);
    let cell = harness.place("garbage");
    let traffic = harness.model.console.traffic.selected(harness.model.read_model()).map(|call| call.id);
    harness.send(mouse(MouseEventKind::ScrollDown, cell)).keys("enter");
    assert_eq!(form_json(&mut harness), r#"{"mode":"crash"}"#, "three rows on");
    assert_eq!(harness.model.console.traffic.selected(harness.model.read_model()).map(|call| call.id), traffic);
}

#[test]
fn a_click_outside_of_the_list_closes_it_and_has_its_usual_effect() {
    let mut harness = configuring(132, 42);
    harness.send(mouse(PRESS, (5, 5)));
    assert_eq!((open(&mut harness), harness.model.console.focus), (false, Focus::Servers));
    harness.tool("flakyconfigure");
    assert_eq!((open(&mut harness), form_json(&mut harness).as_str()), (false, "{}"), "nothing was chosen");
    // A click on its border does nothing, one on its field closes it, and the right button closes only the list.
    let mut harness = configuring(132, 42);
    let border = harness.place("type to filter");
    harness.send(mouse(PRESS, border));
    assert!(open(&mut harness));
    let field = harness.place("mode ");
    harness.send(mouse(PRESS, field));
    assert!(!open(&mut harness), "{}", harness.frame());
    harness.send(mouse(PRESS, field));
    assert!(open(&mut harness), "{}", harness.frame());
    harness.send(mouse(MouseEventKind::Down(MouseButton::Right), border));
    assert_eq!((open(&mut harness), harness.model.console.focus), (false, Focus::Call));
}

#[test]
fn lists_of_questions_and_of_workflows_are_drawn_and_clicked_alike() {
    let mut question = asked(132, 42);
    let cell = question.place("Quito");
    question.send(mouse(PRESS, cell));
    assert_eq!(form_json(&mut question), r#"{"zone":"Quito"}"#);
    assert!(question.model.dialogs.top_as::<Inbox>().is_some(), "nothing is answered yet");
    let mut input = entering(132, 42);
    let cell = input.place(" analyst ");
    input.send(mouse(PRESS, (cell.0 + 1, cell.1)));
    assert_eq!(form_json(&mut input), r#"{"role":"analyst"}"#);
}

#[test]
fn a_dialog_lies_over_the_list() {
    let mut harness = configuring(132, 42);
    assert!(harness.frame().contains("type to filter"));
    harness.model.dialogs.push(Notices::default());
    assert!(!harness.frame().contains("type to filter"), "{}", harness.frame());
    harness.keys("esc");
    assert!(harness.frame().contains("type to filter"));
}

#[test]
fn a_list_is_open_at_every_size() {
    for mut harness in [configuring(132, 42), asked(132, 42), entering(132, 42)] {
        for (width, height) in (1..=60).flat_map(|width| (1..=30).map(move |height| (width, height))) {
            harness.send(Msg::Resize(width, height));
            let frame = harness.frame();
            assert!(open(&mut harness), "it closed at {width}x{height}");
            if width >= 24 && height >= 8 {
                assert!(frame.contains("type to filter"), "{width}x{height}:\n{frame}");
            }
            let mut beyond = (0..=height).map(|y| (width, y)).chain((0..=width).map(|x| (x, height)));
            assert!(!beyond.any(|(x, y)| harness.model.session.hits.at(x, y).is_some()), "outside the screen at {width}x{height}");
        }
    }
}
