use std::sync::Arc;

use proptest::prelude::*;

use crate::{
    control::Command,
    domain::run::{RunFrom, RunOutcome, RunSpec, StepState},
    tui::{
        Startup,
        test_support::{self, runs},
        theme::Theme,
        view::{Part, ViewId},
    },
};

use super::tests::{Harness, assert_scene};
use super::*;

pub(super) fn harness(width: u16, height: u16, with_runs: bool) -> Harness {
    let setup = Setup { workflows: runs::library(), ..Harness::setup(Startup::Normal) };
    let mut harness = Harness::set_up(width, height, test_support::shop_state(), setup);
    if with_runs {
        let seq = harness.model.read_model().seq;
        harness.send(Msg::Events(runs::several(seq)));
        harness.model.at(test_support::at(14_300));
        harness.send(Msg::Tick(test_support::at(14_300)));
    }
    harness.keys("5");
    harness
}

fn started(harness: &mut Harness) -> (crate::domain::run::RunId, Arc<RunSpec>) {
    match harness.take().as_slice() {
        [Cmd::Command(Command::StartRun { run, spec })] => (*run, spec.clone()),
        other => panic!("no run was started: {other:?}"),
    }
}

#[test]
fn every_state_at_every_size() {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let shot = |name: &str, harness: &mut Harness| assert_scene!(name, (width, height), harness.frame());
        shot("flows_never_run", &mut harness(width, height, false));
        let mut ran = harness(width, height, true);
        // The one that was compensated, and the step that failed.
        shot("flows_list", ran.keys("tab"));
        shot("flows_undone", ran.keys("down down"));
        shot("flows_steps", ran.keys("tab"));
        shot("flows_step", ran.keys("enter"));
        shot("flows_running", harness(width, height, true).keys("down down tab down down"));
        shot("flows_input", harness(width, height, false).keys("down enter"));
        shot("flows_broken", harness(width, height, false).keys("G tab"));
        shot("flows_dry", harness(width, height, false).keys("down n"));
    }
}

#[test]
fn themes_change_no_letter() {
    for (name, theme) in [("dark", Theme::dark()), ("light", Theme::light()), ("mono", Theme::mono())] {
        let mut ran = harness(120, 40, true);
        ran.keys("tab down down");
        let text = ran.frame();
        ran.model.session.theme = theme;
        assert_eq!(ran.frame(), text, "{name}");
    }
}

#[test]
fn a_run_is_started_from_its_form_and_followed() {
    let mut harness = harness(120, 40, false);
    harness.keys("r");
    assert_eq!(harness.model.views.state.part, Part::Input);
    harness.keys("enter");
    assert_eq!(harness.take(), [], "a required field is missing");
    harness.text("ann@example.org").keys("tab").text("Ann").keys("enter");
    assert_eq!(harness.take(), [], "its tools are confirmed, as before a call");
    let frame = harness.frame();
    assert!(frame.contains("Run onboard_new_user?") && frame.contains("database_delete_user"), "{frame}");
    harness.keys("y");
    let (run, spec) = started(&mut harness);
    assert_eq!(spec.input.text(), r#"{"email":"ann@example.org","name":"Ann","role":"viewer"}"#);
    assert!(spec.ask && spec.from.is_none());
    assert_eq!(harness.model.views.state.part, Part::Graph);
    assert!(run.unix_ms() > 0);
    // The engine chooses another id in this test: the last run of the workflow is shown.
    let seq = harness.model.read_model().seq;
    harness.send(Msg::Events(runs::compensated(seq, 2, 12_000)));
    let frame = harness.frame();
    assert!(frame.contains("failed and compensated") && frame.contains("↶ compensated") && frame.contains("✕ 890 ms"), "{frame}");
}

#[test]
fn runs_are_repeated_cancelled_and_started_from_a_step() {
    let mut harness = harness(120, 40, true);
    harness.keys(". a");
    let (_, spec) = started(&mut harness);
    assert_eq!(&*spec.workflow, "onboard_new_user");
    assert!(spec.input.text().contains("ann@example.org"));
    harness.keys("tab down down R");
    let toast = harness.model.toasts.last().map(|toast| toast.text.clone()).unwrap_or_default();
    assert_eq!(toast, "Compensated steps run again as well: create_user.");
    harness.keys("y");
    let (_, spec) = started(&mut harness);
    assert_eq!(spec.from, Some(RunFrom { run: runs::run(2), step: "welcome".into() }));
    let mut harness = self::harness(120, 40, true);
    harness.keys("down down x");
    assert!(matches!(harness.take().as_slice(), [Cmd::Command(Command::CancelRun { run, .. })] if *run == runs::run(3)));
    harness.keys("tab down down X");
    assert!(matches!(harness.take().as_slice(), [Cmd::Command(Command::CancelStep { step, .. })] if step == "send"));
    harness.keys("esc up x");
    assert_eq!(harness.take(), [], "that run has ended");
}

#[test]
fn a_followed_run_shows_its_progress_until_the_user_moves() {
    let mut harness = harness(120, 40, false);
    let seq = harness.model.read_model().seq;
    harness.model.views.flows.begin(runs::run(3), "notify_all");
    harness.send(Msg::Events(runs::notifying(seq, 3, 9_000)));
    assert_eq!(harness.model.views.flows.selected().map(|s| &**s), Some("send"));
    harness.keys("tab up");
    assert_eq!(harness.model.views.flows.selected().map(|s| &**s), Some("users"));
    harness.send(Msg::Tick(test_support::at(9_300)));
    assert_eq!(harness.model.views.flows.selected().map(|s| &**s), Some("users"));
}

#[test]
fn files_are_edited_and_read_again() {
    let mut harness = harness(120, 40, false);
    harness.keys("e");
    assert_eq!(harness.take(), [Cmd::EditFile { path: "workflows/onboard_new_user.toml".into(), line: None }]);
    harness.send(Msg::FileEdited(Ok(())));
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::ReadWorkflows)]);
    let mut library = runs::library();
    library.files[0].text.push_str("[[step]]\nid = \"welcome\"\ntool = \"x\"\n");
    harness.send(Msg::Update(ConsoleUpdate::Workflows(library)));
    let frame = harness.frame();
    assert!(frame.contains("1 problem") && frame.contains("onboard_new_user.toml:5") && frame.contains("^^^"), "{frame}");
    harness.keys("r");
    assert_eq!(harness.take(), [], "a broken workflow is not run");
}

#[test]
fn marked_calls_become_a_workflow() {
    let mut harness = harness(120, 40, true);
    harness.keys("2 home m m w");
    let frame = harness.frame();
    assert!(frame.contains("Save as workflow") && frame.contains("2 steps; values taken"), "{frame}");
    harness.keys("enter");
    match harness.take().as_slice() {
        [Cmd::Request(WorkspaceRequest::SaveWorkflow { name, text, .. })] => {
            assert_eq!(name, "from_calls");
            assert_eq!(text.matches("[[step]]").count(), 2, "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert!(harness.model.views.state.rows.marked.is_empty());
    harness.keys("w");
    assert!(harness.frame().contains("1 step. Saved in"));
    // A name in use is refused, and can be changed.
    for _ in 0..60 {
        harness.keys("backspace");
    }
    harness.text("notify_all").keys("enter");
    assert!(harness.frame().contains("already") && harness.take().is_empty());
}

#[test]
fn a_run_groups_its_calls_in_traffic() {
    let mut harness = harness(200, 60, true);
    harness.keys("2");
    let frame = harness.frame();
    assert!(frame.lines().any(|l| l.contains("send_email") && l.contains("onboard_new_user") && l.contains("welcome")), "{frame}");
    harness.keys("/").text("run:onboard*").keys("enter");
    while harness.model.working() {
        harness.model.work();
    }
    let frame = harness.frame();
    assert!(frame.contains("delete_user") && !frame.contains("get_preferences"), "{frame}");
}

#[test]
fn a_run_has_a_lane_on_the_timeline() {
    let mut harness = harness(120, 40, true);
    harness.keys("3 +");
    let frame = harness.frame();
    let lane = |frame: &str, name: &str| frame.lines().find(|l| l.contains(name)).map(str::to_owned).unwrap_or_default();
    let undone = lane(&frame, "⇶ onbo");
    assert!(undone.contains("┣") && undone.contains("↶ failed and compensated · 1.08 s"), "{frame}");
    assert!(lane(&frame, "⇶ noti").contains("▸") && lane(&frame, "⇶ noti").contains("running"), "{frame}");
    // The cursor on it shows its calls, on any server, and Enter opens one of them.
    harness.keys("j j j j j j");
    let frame = harness.frame();
    assert!(frame.contains("calls of onboard_new_user, run ") && frame.contains("create_user, compensation"), "{frame}");
    harness.keys("enter");
    let call = harness.model.views.state.entry.as_ref().and_then(|e| e.call()).and_then(|id| harness.model.read_model().call(id)).cloned();
    assert!(call.is_some_and(|call| call.spec.run.as_ref().is_some_and(|step| step.run == runs::run(2))));
    // The filter hides rows that do not pass, and the lanes of runs without rows.
    harness.keys("esc /").text("run:notify*").keys("enter");
    let frame = harness.frame();
    assert!(!frame.contains("⇶ onbo") && frame.contains("⇶ noti"), "{frame}");
}

#[test]
fn an_outcome_and_a_state_have_a_glyph_each() {
    let harness = harness(80, 24, false);
    let look = harness.model.look();
    let state = |state| crate::domain::run::StepView { state, ..Default::default() };
    let mut glyphs: Vec<&str> = [StepState::Pending, StepState::Ok, StepState::Compensated, StepState::Skipped { why: String::new() }]
        .into_iter()
        .map(|s| crate::tui::pane::workflows::state::of_step(&state(s), look).0)
        .collect();
    glyphs.sort_unstable();
    glyphs.dedup();
    assert_eq!(glyphs.len(), 4);
    let outcome = crate::tui::pane::workflows::state::of_outcome(RunOutcome::CompensationFailed, look.theme);
    assert_eq!(outcome.0, "‼");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_keys_at_any_size(width in 1u16..=220, height in 1u16..=70, with_runs in any::<bool>(), keys in proptest::collection::vec(prop::sample::select(vec![
        "up", "down", "left", "right", "h", "j", "k", "l", "enter", "esc", "tab", "backtab", "r", "d", ".", "R", "x", "X", "e", "z", "G", "pagedown", "]", "5", "ctrl-e", "w", "m", "y", "end", "/",
    ]), 0..14)) {
        let mut harness = harness(width, height, with_runs);
        for key in keys {
            harness.keys(key);
            harness.frame();
        }
        prop_assert!(ViewId::ALL.contains(&harness.model.views.current));
    }
}

#[test]
fn a_declined_run_is_not_started_and_an_allowed_one_does_not_ask_again() {
    let mut harness = harness(120, 40, true);
    harness.keys(". n");
    assert_eq!(harness.take(), []);
    harness.keys(". enter");
    assert_eq!(harness.take(), [], "the cursor is on no: its tools may be destructive");
    harness.keys(". a");
    started(&mut harness);
    // A tool that no server lists has no definition that an answer could apply to.
    harness.keys(".");
    let frame = harness.frame();
    assert!(
        frame.contains("may call database_delete_user") && frame.contains("(not listed now)") && !frame.contains("email_send_email of"),
        "{frame}"
    );
    harness.keys("y");
    started(&mut harness);
}

#[test]
fn a_projects_workflow_has_a_name_of_its_own_and_its_runs_too() {
    let mut library = runs::library();
    let theirs = "name = \"onboard_new_user\"\n[[step]]\nid = \"a\"\ntool = \"database_delete_user\"\n";
    let inner = "name = \"outer\"\n[[step]]\nid = \"a\"\nworkflow = \"theirs\"\n";
    let text =
        |name: &str, text: &str| crate::domain::run::WorkflowText { name: name.into(), file: format!("p/{name}.toml"), text: text.into() };
    library.project = vec![text("onboard_new_user", theirs), text("theirs", &theirs.replace("onboard_new_user", "theirs"))];
    library.files.push(text("outer", inner));
    let flows = library.clone().planned().entries();
    let flow = |name: &str| flows.iter().find(|flow| &*flow.name == name).unwrap();
    assert_ne!(flow("onboard_new_user").plan.as_ref().unwrap().steps.len(), 1, "the user's name wins");
    assert_eq!(flow("project/onboard_new_user").plan.as_ref().unwrap().steps.len(), 1);
    assert!(flow("outer").plan.is_err(), "a user's workflow never runs a project's");
    let mut harness = harness(120, 40, false);
    harness.send(Msg::Update(ConsoleUpdate::Workflows(library.planned())));
    harness.model.views.flows.reveal("project/onboard_new_user");
    harness.keys("r enter y");
    let (_, spec) = started(&mut harness);
    assert_eq!((&*spec.workflow, spec.sources[0].file.as_str()), ("project/onboard_new_user", "p/onboard_new_user.toml"));
}
