use std::{str::FromStr, sync::Arc};

use crossterm::event::{KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        call::Operation,
        event::{Event, EventKind, LogLevel, LogMessage, LogSource},
        frame::{Anomaly, AnomalyKind},
        server::Phase,
    },
    tui::{
        Startup, draw,
        input::Input,
        layout::Focus,
        test_support,
        theme::Theme,
        view::{Part, ViewId},
    },
};

use super::{tests::assert_scene, *};

pub(super) fn model(width: u16, height: u16, theme: Theme) -> Model {
    let setup = Setup { theme, ..super::tests::Harness::setup(Startup::Normal) };
    let mut model = Model::new(setup, test_support::shop_state(), (width, height));
    model.at(test_support::at(8000));
    let events = lively(model.read_model().seq);
    model.update(Msg::Events(events));
    model
}

/// Returns calls of every kind, overlapping ones, and messages of servers.
fn lively(after: u64) -> Vec<Arc<Event>> {
    let mut s = test_support::Script::after(after);
    s.events = test_support::busy(after);
    let mut script = test_support::Script::after(s.events.last().unwrap().seq);
    for n in 0..40u64 {
        let (server, tool) = [("database", "query_users"), ("email", "send_email"), ("database", "insert_record")][(n % 3) as usize];
        let begin = 1600 + n * 150;
        script.queued(begin, 200 + n, test_support::tool_call(server, tool, r#"{"filter":"ann"}"#));
        script.settled(begin, 2 + n * n % 700, 200 + n, test_support::text_result("done"));
    }
    let log = LogMessage {
        level: LogLevel::Warning,
        source: LogSource::Message,
        logger: Some("pool".into()),
        text: "3 of 4 connections \u{1b}[31m busy".into(),
        call: None,
    };
    script.push(7700, EventKind::ServerLog { server: test_support::server("database"), log: Arc::new(log) });
    let anomaly = Anomaly { kind: AnomalyKind::Noise, detail: "Server listening on stdio".into(), call: None, frame: None };
    script.push(7800, EventKind::ServerAnomaly { server: test_support::server("email"), anomaly: Arc::new(anomaly) });
    for line in ["reading config", "warning: no cache", "error: queue is full \u{202e}"] {
        script.push(7900, EventKind::ServerStderr { server: test_support::server("database"), line: line.into() });
    }
    s.events.append(&mut script.events);
    // In the order of time, numbered.
    s.events.sort_by_key(|event| event.at);
    let numbered = (after + 1..).zip(&s.events);
    numbered.map(|(seq, event)| Arc::new(Event { seq, ..Event::clone(event) })).collect()
}

pub(super) fn keys(model: &mut Model, keys: &str) -> Vec<Cmd> {
    let mut commands = vec![];
    for key in keys.split(' ') {
        let upper = key.len() == 1 && key.chars().all(|c| c.is_ascii_uppercase());
        let parsed = crokey::KeyCombination::from_str(&if upper { format!("shift-{key}") } else { key.to_owned() }).unwrap();
        let event: KeyEvent = parsed.normalized().into();
        commands.extend(model.update(Msg::Input(Input::Key(event))));
    }
    commands
}

pub(super) fn text(model: &mut Model, text: &str) {
    for c in text.chars() {
        model.update(Msg::Input(Input::Key(KeyEvent::new(crossterm::event::KeyCode::Char(c), KeyModifiers::NONE))));
    }
}

pub(super) fn buffer(model: &mut Model) -> Buffer {
    let screen = model.layout.screen;
    let mut buf = Buffer::empty(Rect::new(0, 0, screen.width, screen.height));
    draw::draw(model, &mut buf);
    buf
}

pub(super) fn frame(model: &mut Model) -> String {
    let buf = buffer(model);
    let rows = buf.content.chunks(usize::from(buf.area.width).max(1));
    rows.map(|row| row.iter().map(|c| c.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
}

#[test]
fn views_at_the_usual_sizes() {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let mut m = model(width, height, Theme::ansi());
        keys(&mut m, "2");
        assert_scene!("traffic", (width, height), frame(&mut m));
        keys(&mut m, "up up up enter");
        assert_scene!("traffic_open", (width, height), frame(&mut m));
        keys(&mut m, "esc /");
        text(&mut m, "outcome:failed colour:red ser");
        assert_scene!("traffic_filter", (width, height), frame(&mut m));
        keys(&mut m, "esc 3");
        assert_scene!("timeline", (width, height), frame(&mut m));
        keys(&mut m, "left left left down + [ enter");
        assert_scene!("timeline_open", (width, height), frame(&mut m));
        keys(&mut m, "4 enter");
        assert_scene!("health", (width, height), frame(&mut m));
    }
}

#[test]
fn views_are_readable_without_colours() {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let mut m = model(width, height, Theme::mono());
        for (key, words) in
            [("2", &["✓ ok", "✕ timeout", "! tool error", "Traffic"][..]), ("3", &["▓", "▸", "✕"]), ("4", &["●", "✕", "p95"])]
        {
            keys(&mut m, key);
            if key == "2" {
                keys(&mut m, "home");
            }
            let buf = buffer(&mut m);
            assert!(buf.content.iter().all(|c| c.fg == ratatui::style::Color::Reset && c.bg == ratatui::style::Color::Reset));
            let shown = frame(&mut m);
            for word in words {
                assert!(shown.contains(word), "{word} at {width}x{height}: {shown}");
            }
        }
    }
}

#[test]
fn numbers_and_clicks_go_to_views_and_escape_stays() {
    let mut m = model(120, 40, Theme::ansi());
    for (key, view) in [("2", ViewId::Traffic), ("3", ViewId::Timeline), ("4", ViewId::Health), ("1", ViewId::Console)] {
        keys(&mut m, key);
        assert_eq!(m.views.current, view);
    }
    let header: Vec<char> = frame(&mut m).lines().next().unwrap().chars().collect();
    for (word, view) in [("3 T", ViewId::Timeline), ("2 T", ViewId::Traffic), ("4 H", ViewId::Health), ("1 C", ViewId::Console)] {
        let wanted: Vec<char> = word.chars().collect();
        let column = header.windows(3).position(|w| w == wanted).unwrap() as u16;
        let kind = MouseEventKind::Down(MouseButton::Left);
        m.update(Msg::Input(Input::Mouse(MouseEvent { kind, column: column + 2, row: 0, modifiers: KeyModifiers::NONE })));
        assert_eq!(m.views.current, view, "{word}");
    }
    assert_eq!(keys(&mut m, "3 esc esc esc"), []);
    assert_eq!(m.views.current, ViewId::Timeline);
}

#[test]
fn a_mistake_in_a_filter_is_shown_once_its_word_is_finished() {
    let mut m = model(120, 20, Theme::ansi());
    keys(&mut m, "2 /");
    text(&mut m, "outcome:");
    assert!(!frame(&mut m).contains("is missing"), "{}", frame(&mut m));
    text(&mut m, " ");
    assert!(frame(&mut m).contains("is missing"), "{}", frame(&mut m));
    keys(&mut m, "backspace enter");
    assert!(frame(&mut m).contains("is missing"), "{}", frame(&mut m));
}

#[test]
fn a_paused_list_does_not_move_while_rows_arrive() {
    let mut m = model(120, 20, Theme::ansi());
    keys(&mut m, "2 up up");
    let before = m.views.selected();
    // The scroll bar is in the border.
    let without_border = |line: &str| line.trim_end_matches(['┃', '▐', ' ']).to_owned();
    // A running call shows its timer, which advances.
    let list = |m: &mut Model| frame(m).lines().skip(4).take(14).filter(|l| !l.contains("running")).map(without_border).collect::<Vec<_>>();
    let shown = list(&mut m);
    let mut script = test_support::Script::after(m.read_model().seq);
    for n in 0..50 {
        script.queued(8100 + n, 900 + n, test_support::tool_call("email", "ping", "{}")).settled(
            8100 + n,
            1,
            900 + n,
            test_support::text_result("x"),
        );
    }
    m.update(Msg::Events(script.events));
    assert_eq!(m.views.selected(), before);
    assert_eq!(list(&mut m), shown);
    keys(&mut m, "f");
    assert_ne!(list(&mut m), shown);
}

#[test]
fn a_filter_narrows_completes_and_is_cleared() {
    let mut m = model(120, 40, Theme::ansi());
    keys(&mut m, "2 /");
    text(&mut m, "ser");
    keys(&mut m, "tab");
    text(&mut m, "data");
    keys(&mut m, "tab");
    assert_eq!(m.views.traffic.query().text(), "server:database");
    keys(&mut m, "enter");
    assert!(!m.views.traffic.query().editing() && !frame(&mut m).contains("send_email"), "{}", frame(&mut m));
    keys(&mut m, "esc");
    assert!(m.views.traffic.query().text().is_empty() && m.views.current == ViewId::Traffic);
    keys(&mut m, "/");
    text(&mut m, "q");
    keys(&mut m, "esc");
    assert_eq!(m.views.traffic.query().text(), "", "escape restores the previous filter");
}

#[test]
fn rows_are_sorted_in_the_background() {
    let mut m = model(120, 40, Theme::ansi());
    keys(&mut m, "2 s s s s s");
    let mut steps = 0;
    while m.working() {
        m.work();
        steps += 1;
        assert!(steps < 1000, "a sort terminates");
    }
    let took = |m: &Model, at| {
        m.views.traffic.id_at(&m.views.state.rows, at).and_then(|id| m.views.state.rows.get(id)).map(|r| (r.state.pending(), r.took_us))
    };
    let all: Vec<_> = (0..m.views.traffic.len(&m.views.state.rows)).filter_map(|at| took(&m, at)).collect();
    assert!(all.len() > 40 && all.windows(2).all(|w| w[0] >= w[1]), "{all:?}");
}

#[test]
fn the_open_row_is_sent_again_edited_and_copied() {
    let mut m = model(120, 40, Theme::ansi());
    keys(&mut m, "2 /");
    text(&mut m, "tool:query* origin:console");
    keys(&mut m, "enter enter");
    assert_eq!(m.views.state.part, Part::Entry);
    let commands = keys(&mut m, ".");
    let Some(Cmd::Submit { spec, .. }) = commands.last() else { panic!("{commands:?}") };
    assert!(matches!(&spec.operation, Operation::Tool { tool, .. } if &*tool.name == "query_users"));
    assert!(matches!(&keys(&mut m, "y y")[..], [Cmd::Copy(_)]));
    keys(&mut m, "e");
    assert_eq!((m.views.current, m.console.focus), (ViewId::Console, Focus::Call));
}

#[test]
fn an_old_call_names_what_was_dropped() {
    let mut m = model(120, 40, Theme::ansi());
    Arc::make_mut(&mut m.session.mirror.read_model).calls.clear();
    keys(&mut m, "2 home down enter");
    assert!(frame(&mut m).contains("dropped to make room"), "{}", frame(&mut m));
    assert_eq!(keys(&mut m, "."), []);
}

#[test]
fn the_timeline_stays_at_the_time_under_the_cursor_and_opens_the_call() {
    let mut m = model(120, 40, Theme::ansi());
    keys(&mut m, "3 left left left");
    assert!(!m.views.timeline.following());
    let foot = |m: &mut Model| frame(m).lines().rev().nth(2).unwrap()[..20].to_owned();
    let before = foot(&mut m);
    keys(&mut m, "+ + - -");
    assert_eq!(foot(&mut m), before, "zooming does not move the time");
    keys(&mut m, "down [ enter");
    let call = m.views.state.entry.as_ref().and_then(|e| e.call()).and_then(|id| m.read_model().call(id)).cloned();
    assert_eq!(call.map(|c| c.spec.operation.server().to_string()), Some("email".into()));
}

#[test]
fn health_unfolds_tools_and_filters_stderr() {
    let mut m = model(120, 40, Theme::ansi());
    keys(&mut m, "4 home");
    assert!(!frame(&mut m).contains("insert_record"));
    keys(&mut m, "right");
    let shown = frame(&mut m);
    assert!(shown.contains("insert_record") && shown.contains("queue is full") && shown.contains(r"\u{202e}"), "{shown}");
    keys(&mut m, "/");
    text(&mut m, "cache");
    keys(&mut m, "enter");
    let shown = frame(&mut m);
    assert!(shown.contains("no cache") && !shown.contains("queue is full"), "{shown}");
    keys(&mut m, "esc esc end");
    assert_eq!(m.views.health.selected().map(|s| s.server.to_string()), Some("preferences".into()));
    assert!(matches!(&keys(&mut m, "R")[..], [Cmd::Command(crate::control::Command::Restart { .. })]));
}

fn some_key() -> impl Strategy<Value = &'static str> {
    let keys = "1 2 3 4 2 3 4 b v T X O C I E P enter up down left right enter esc tab backtab pageup pagedown home end space backspace / f s S + - [ ] z . e y R t g G h j k l q a o : x";
    proptest::sample::select(keys.split(' ').collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_keys_events_clicks_and_sizes_break_a_view(
        steps in proptest::collection::vec((some_key(), 0u8..14, 1u16..=300, 1u16..=100, any::<u16>()), 1..40),
    ) {
        let mut m = model(120, 40, Theme::ansi());
        for (index, (key, other, width, height, cell)) in steps.into_iter().enumerate() {
            keys(&mut m, key);
            let n = index as u64;
            match other {
                0..=3 => { m.update(Msg::Resize(width, height)); }
                4 => {
                    let mut script = test_support::Script::after(m.read_model().seq);
                    script.queued(8000 + n, 5000 + n, test_support::tool_call("email", "ping", "{}"));
                    if n.is_multiple_of(2) {
                        script.settled(8000 + n, n * 100, 5000 + n, test_support::text_result("日本\u{202e}"));
                    }
                    m.update(Msg::Events(script.events));
                }
                5 => {
                    let mut script = test_support::Script::after(m.read_model().seq);
                    script.push(9000, EventKind::ServerRemoved { server: test_support::server(["email", "database"][index % 2]) });
                    m.update(Msg::Events(script.events));
                }
                6 => m.resync(test_support::shop_state(), n),
                7 => {
                    let mut script = test_support::Script::after(m.read_model().seq);
                    let phase = Arc::new(Phase::Failed { why: Arc::new(test_support::crash()) });
                    script.push(9000, EventKind::ServerPhase { server: test_support::server("email"), phase });
                    m.update(Msg::Events(script.events));
                }
                8 | 9 => {
                    let screen = m.layout.screen;
                    let kind = if other == 8 { MouseEventKind::Down(MouseButton::Left) } else { MouseEventKind::ScrollUp };
                    let (column, row) = (cell % screen.width, cell / 7 % screen.height);
                    m.update(Msg::Input(Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })));
                }
                12 => { m.update(Msg::Events(test_support::policy::resilient(m.read_model().seq))); }
                10 => { m.update(Msg::Tick(test_support::at(9000 + n * 700))); }
                _ => { m.update(Msg::Input(Input::Paste("server:db \u{1b}[A\n>5ms".into()))); }
            }
            if m.working() {
                m.work();
            }
            let shown = frame(&mut m);
            prop_assert!(shown.chars().all(|c| c == '\n' || !crate::domain::text::is_hidden(c)));
        }
    }
}

#[test]
fn every_small_size_of_every_view_is_drawn() {
    let mut m = model(80, 24, Theme::ansi());
    for view in ["2", "3", "4"] {
        for open in [false, true] {
            keys(&mut m, view);
            keys(&mut m, if open { "up enter" } else { "esc" });
            keys(&mut m, view);
            for width in (1..=40).chain([79, 96, 131, 199, 300]) {
                for height in (1..=16).chain([23, 30, 100]) {
                    m.update(Msg::Resize(width, height));
                    frame(&mut m);
                }
            }
            m.update(Msg::Resize(80, 24));
        }
    }
}

#[test]
fn the_timeline_has_a_filter_of_its_own() {
    let mut m = model(120, 40, Theme::ansi());
    keys(&mut m, "3 /");
    text(&mut m, "outcome:failed");
    let shown = frame(&mut m);
    assert!(shown.contains("✕ timeout") && !shown.contains("✓ ok"), "{shown}");
    keys(&mut m, "enter");
    assert!(!m.views.query().unwrap().editing());
    // Only rows that pass are reached, and opened.
    keys(&mut m, "down down [ enter");
    assert!(frame(&mut m).contains("track_event"), "{}", frame(&mut m));
    keys(&mut m, "esc esc");
    assert!(m.views.current == ViewId::Timeline && m.views.query().unwrap().text().is_empty(), "escape clears the filter first");
    keys(&mut m, "f");
    assert!(frame(&mut m).contains("✓ ok"));
    keys(&mut m, "2");
    assert_eq!(m.views.query().unwrap().text(), "", "the traffic has its own");
}

#[test]
fn a_call_that_began_long_before_the_window_is_drawn() {
    let mut m = model(120, 40, Theme::ansi());
    let mut script = test_support::Script::after(m.read_model().seq);
    script.queued(10_000, 900, test_support::tool_call("database", "query_users", "{}"));
    script.settled(10_000, 400_000, 900, test_support::text_result("done"));
    m.at(test_support::at(411_000));
    m.update(Msg::Events(script.events));
    keys(&mut m, "3");
    let shown = frame(&mut m);
    let lane = shown.lines().find(|l| l.contains("● database") && l.contains('┃')).unwrap();
    assert!(lane.matches('▓').count() > 60, "{shown}");
}

#[test]
fn the_open_call_of_a_view_is_searched_filtered_and_saved_there() {
    let mut m = model(120, 40, Theme::ansi());
    keys(&mut m, "2 /");
    text(&mut m, "tool:query_users");
    keys(&mut m, "enter home enter t");
    keys(&mut m, "/");
    text(&mut m, "1042");
    keys(&mut m, "enter");
    assert!(frame(&mut m).contains("/1042 1 of 1"), "{}", frame(&mut m));
    keys(&mut m, "esc |");
    keys(&mut m, "ctrl-u");
    text(&mut m, "$.users[0].id");
    keys(&mut m, "enter");
    assert!(frame(&mut m).contains("1 match"), "{}", frame(&mut m));
    keys(&mut m, "s");
    assert!(frame(&mut m).contains("result-64.json"), "{}", frame(&mut m));
}
