//! Tests of the panes: the usual sizes, and failures.

use super::*;

#[test]
fn the_first_frame_shows_servers_before_any_is_ready() {
    let (mut read_model, events) = test_support::shop();
    read_model.apply(&events[0]);
    let frame = Harness::with(120, 40, read_model, Startup::Normal).frame();
    assert!(frame.contains("database") && frame.contains("starting · spawn"), "{frame}");
}

#[test]
fn a_problem_from_before_the_first_frame_is_shown_with_its_line() {
    let mut read_model = test_support::shop_state();
    let mut script = test_support::Script::after(read_model.seq);
    let detail = vec!["switchboard.toml:12: unknown field `comand`".to_owned(), "did you mean `command`?".to_owned()];
    let notice = crate::domain::event::Notice { level: NoticeLevel::Error, text: "The configuration has an error".into(), detail };
    script.push(900, EventKind::Notice { notice: Arc::new(notice) });
    script.events.iter().for_each(|event| read_model.apply(event));
    let mut harness = Harness::with(120, 40, read_model, Startup::Normal);
    harness.model.toasts.iter_mut().for_each(|toast| toast.until = test_support::at(99_000));
    assert!(harness.frame().contains("switchboard.toml:12") && harness.frame().contains("N for details"), "{}", harness.frame());
    assert!(harness.keys("N").frame().contains("did you mean `command`?"));
}

#[test]
fn an_empty_console_explains_how_to_add_servers() {
    let (read_model, _) = test_support::shop();
    let frame = Harness::with(120, 40, read_model, Startup::Empty).frame();
    assert!(frame.contains("switchboard --demo"), "{frame}");
}

#[test]
fn frames_at_the_usual_sizes() {
    for (width, height) in [(80, 24), (120, 40), (200, 60), (20, 5)] {
        let mut harness = Harness::busy(width, height);
        assert_scene!("tree", (width, height), harness.frame());
        harness.tool("queryu");
        assert_scene!("call", (width, height), harness.frame());
        harness.traffic().keys("up up up up enter");
        assert_scene!("detail", (width, height), harness.frame());
    }
    let mut harness = Harness::busy(132, 40);
    harness.keys("end up");
    insta::assert_snapshot!("failed_server_132x40", harness.frame());
    assert_boxes(&harness.keys("?").frame());
    insta::assert_snapshot!("palette_132x40", harness.keys("esc : r e s").frame());
}

#[test]
fn a_failed_server_shows_its_report_and_the_key_for_the_next_step() {
    let mut harness = Harness::new(120, 40);
    harness.keys("end up");
    let frame = harness.frame();
    for part in
        ["exited before it answered initialize", "port 70000", r"\x1b[31m", "exited with code 3", "/usr/bin/flaky-server", "R restart"]
    {
        assert!(frame.contains(part), "{part}: {frame}");
    }
    assert_eq!(harness.keys("R").take(), [Cmd::Command(Command::Restart { server: test_support::server("flaky") })]);
}

#[test]
fn a_console_that_missed_events_reports_it() {
    let mut harness = Harness::new(120, 40);
    harness.model.resync(test_support::shop_state(), 77);
    assert!(harness.frame().contains("missed 77 events"), "{}", harness.frame());
}

#[test]
fn every_state_is_readable_without_colours() {
    let mut harness = Harness::busy(120, 40);
    harness.model.session.theme = Theme::mono();
    let buf = harness.buffer();
    assert!(buf.content.iter().all(|c| c.fg == ratatui::style::Color::Reset && c.bg == ratatui::style::Color::Reset));
    let frame = harness.frame();
    for word in ["● ", "failed", "degraded", "✓ ok", "! tool error", "✕ timeout", "– cancelled"] {
        assert!(frame.contains(word), "{word}: {frame}");
    }
}

#[test]
fn eighty_columns_drill_down_and_back_and_name_the_views() {
    let mut harness = Harness::busy(80, 24);
    harness.keys("down down enter");
    let frame = harness.frame();
    assert!(frame.contains("━ database_create_user ━") && frame.lines().next().unwrap().contains("5 Workflows"), "{frame}");
    harness.keys("tab tab tab tab");
    assert_eq!(harness.model.console.focus, Focus::Result, "after the last field comes the result");
    harness.keys("alt-up");
    assert_eq!(harness.model.console.focus, Focus::Call, "one key back");
    harness.keys("alt-down esc esc esc");
    assert_eq!(harness.model.console.focus, Focus::Servers);
    harness.tool("queryu").keys("enter");
    let Some(Cmd::Submit { token, .. }) = harness.take().pop() else { panic!("not fired") };
    harness.send(Msg::Submitted { token, call: CallId(104) });
    assert_eq!(harness.model.console.focus, Focus::Result, "the result comes to the front");
}
