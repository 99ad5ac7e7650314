use std::{sync::Arc, time::Duration};

use crate::{
    control::Command,
    domain::{
        event::EventKind,
        id::{CallId, ToolId},
        policy::{breaker::BreakerOverride, fault::Fault},
    },
    tui::{Startup, call_segments, layout::Focus, pane::health::Page, test_support, theme::Theme, view::ViewId},
};

use super::{
    tests::assert_scene,
    views_tests::{frame, keys, text},
    *,
};

/// Returns the shop with breakers, groups, faults and calls with many events.
pub(super) fn resilient(width: u16, height: u16, theme: Theme) -> Model {
    let setup = Setup { theme, ..super::tests::Harness::setup(Startup::Normal) };
    let read_model = test_support::shop_state();
    let events = test_support::policy::resilient(read_model.seq);
    let mut m = Model::new(setup, read_model, (width, height));
    m.at(test_support::at(8000));
    m.update(Msg::Events(events));
    m
}

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn node(m: &mut Model, wanted: &Node) {
    let read_model = m.session.mirror.read_model.clone();
    m.console.tree.reveal(wanted, &read_model);
    m.update(Msg::Tick(test_support::at(8000)));
}

#[test]
fn resilience_at_the_usual_sizes() {
    for (width, height) in SIZES {
        let mut m = resilient(width, height, Theme::ansi());
        assert_scene!("resilience_tree", (width, height), frame(&mut m));
        node(&mut m, &Node::Replicas("mail".into()));
        keys(&mut m, "enter");
        assert_scene!("resilience_group", (width, height), frame(&mut m));
        keys(&mut m, "2 home");
        assert_scene!("resilience_traffic", (width, height), frame(&mut m));
        keys(&mut m, "/");
        text(&mut m, "tool:charge");
        keys(&mut m, "enter home enter [ [");
        assert_scene!("resilience_attempts", (width, height), frame(&mut m));
        keys(&mut m, "esc esc esc 3 + +");
        assert_scene!("resilience_timeline", (width, height), frame(&mut m));
        keys(&mut m, "4 end up");
        assert_scene!("resilience_health", (width, height), frame(&mut m));
        keys(&mut m, "b b");
        assert_scene!("resilience_breakers", (width, height), frame(&mut m));
        keys(&mut m, "v");
        assert_scene!("resilience_routes", (width, height), frame(&mut m));
    }
    let mut m = resilient(120, 40, Theme::ansi());
    keys(&mut m, "4 end up b i");
    insta::assert_snapshot!("resilience_inject_120x40", frame(&mut m));
    keys(&mut m, "esc P");
    insta::assert_snapshot!("resilience_purge_120x40", frame(&mut m));
}

#[test]
fn a_late_response_is_in_the_trace_of_its_call_and_changes_nothing_else() {
    let mut m = resilient(120, 40, Theme::ansi());
    let mut script = test_support::Script::after(m.read_model().seq);
    script.queued(9000, 900, test_support::tool_call("database", "query_users", "{}"));
    let failure = crate::domain::call::Failure::after_send(crate::domain::call::FailureKind::Timeout, "no answer within 500 ms");
    script.settled(9000, 500, 900, crate::domain::call::Outcome::Failed { failure: Arc::new(failure) });
    m.update(Msg::Events(script.events));
    let (failed, p95) = (m.read_model().failed_total, m.read_model().stats.percentile(95.0));
    let mut script = test_support::Script::after(m.read_model().seq);
    let late = crate::domain::policy::call_event::CallEvent::Late { attempt: 1, after: Duration::from_millis(740) };
    test_support::policy::stage(&mut script, 9740, 900, late);
    m.update(Msg::Events(script.events));
    keys(&mut m, "2 end enter [");
    let shown = frame(&mut m);
    let place = |words: &str| shown.find(words).unwrap_or_else(|| panic!("{words}: {shown}"));
    assert!(place("no answer within 500 ms") < place("+500 ms ✕ timeout"));
    assert!(place("+500 ms ✕ timeout") < place("attempt 1: late response 740 ms after it was sent"));
    assert_eq!((m.read_model().failed_total, m.read_model().stats.percentile(95.0)), (failed, p95));
}

#[test]
fn states_are_readable_without_colours() {
    for (width, height) in SIZES {
        let mut m = resilient(width, height, Theme::mono());
        let shown = frame(&mut m);
        assert!(shown.contains("FAULTS INJECTED: 2"), "{shown}");
        keys(&mut m, "4 b b");
        // Every panel, at every scroll position.
        let mut seen = String::new();
        keys(&mut m, "home");
        for _ in 0..8 {
            seen.push_str(&frame(&mut m));
            keys(&mut m, "right");
        }
        for words in [
            "↯ OPEN",
            "◑ HALF-OPEN",
            "○ CLOSED",
            "held open manually",
            "held closed manually",
            "□",
            "◪",
            "■",
            "▣",
            "in 13 s",
            "opens at 50 %",
        ] {
            assert!(seen.contains(words), "{words} at {width}x{height}: {seen}");
        }
    }
}

#[test]
fn breakers_are_tripped_held_and_reset_from_tree_and_health() {
    let mut m = resilient(120, 40, Theme::ansi());
    let order = |commands: Vec<Cmd>| match commands.as_slice() {
        [Cmd::Command(Command::Breaker { server, tool, order })] => Some((server.to_string(), tool.clone(), *order)),
        _ => None,
    };
    node(&mut m, &Node::Server("database".into()));
    assert_eq!(order(keys(&mut m, "b t")), Some(("database".into(), None, BreakerOverride::Trip)));
    node(&mut m, &Node::Tool(ToolId::new("database".into(), "create_user")));
    assert_eq!(order(keys(&mut m, "b x")), Some(("database".into(), Some("create_user".into()), BreakerOverride::Reset)));
    node(&mut m, &Node::Tool(ToolId::new("database".into(), "insert_record")));
    assert_eq!(order(keys(&mut m, "b o")), None, "a tool without its own breaker does not represent its server");
    assert!(frame(&mut m).contains("no breaker of its own"), "{}", frame(&mut m));
    node(&mut m, &Node::Replicas("mail".into()));
    assert_eq!(order(keys(&mut m, "b t")), None);
    keys(&mut m, "4 b b");
    assert_eq!(m.views.health.page, Page::Breakers);
    keys(&mut m, "home right");
    assert_eq!(order(keys(&mut m, "b c")), Some(("database".into(), Some("create_user".into()), BreakerOverride::HoldClosed)));
    keys(&mut m, "enter");
    assert_eq!(m.views.health.page, Page::Table);
    assert_eq!(m.views.health.selected().and_then(|s| s.tool.clone()).as_deref(), Some("create_user"));
    assert_eq!(order(keys(&mut m, "b o")), Some(("database".into(), Some("create_user".into()), BreakerOverride::HoldOpen)));
}

#[test]
fn faults_are_injected_changed_and_stopped() {
    let mut m = resilient(120, 40, Theme::ansi());
    node(&mut m, &Node::Server("payments".into()));
    keys(&mut m, "b i ctrl-u");
    text(&mut m, "latency=1s,explode=1");
    assert_eq!(keys(&mut m, "enter"), []);
    assert!(frame(&mut m).contains("unknown fault"), "{}", frame(&mut m));
    keys(&mut m, "ctrl-u");
    text(&mut m, "drop=10%");
    let wanted = Fault { drop: 0.1, ..Fault::default() };
    let inject = |server: &str, tool: Option<&str>, fault| {
        Cmd::Command(Command::Inject { server: server.into(), tool: tool.map(str::to_owned), fault })
    };
    assert_eq!(keys(&mut m, "enter"), [inject("payments", None, Some(wanted))]);
    assert_eq!(
        keys(&mut m, "b e"),
        [inject("database", Some("query_users"), None), inject("email", None, None)],
        "payments has no fault, so all faults stop"
    );
    node(&mut m, &Node::Server("email".into()));
    assert_eq!(keys(&mut m, "b e"), [inject("email", None, None)]);
    keys(&mut m, "b i");
    assert!(frame(&mut m).contains("latency=200ms,fail=0.3"), "the prompt shows the current fault: {}", frame(&mut m));
    keys(&mut m, "esc");
    let mut script = test_support::Script::after(m.read_model().seq);
    script.push(8100, EventKind::FaultSet { server: "email".into(), tool: None, fault: None });
    script.push(8100, EventKind::FaultSet { server: "database".into(), tool: Some("query_users".into()), fault: None });
    script.push(8100, EventKind::Cache { view: Default::default() });
    m.update(Msg::Events(script.events));
    assert!(!frame(&mut m).contains("FAULT") && m.layout.banner.is_none(), "{}", frame(&mut m));
    assert_eq!(keys(&mut m, "b e"), []);
}

#[test]
fn the_cache_is_purged_by_pattern() {
    let mut m = resilient(120, 40, Theme::ansi());
    node(&mut m, &Node::Tool(ToolId::new("database".into(), "query_users")));
    keys(&mut m, "P");
    assert_eq!(keys(&mut m, "enter"), [Cmd::Command(Command::Purge { pattern: "database/query_users".into() })]);
    keys(&mut m, "P ctrl-u");
    assert_eq!(keys(&mut m, "enter"), []);
    assert!(frame(&mut m).contains("Enter a pattern"), "{}", frame(&mut m));
}

#[test]
fn a_countdown_ticks_once_a_second_and_only_where_it_is_visible() {
    let mut m = resilient(120, 40, Theme::ansi());
    // Long after the last call: only the countdown to a probe at 20.5 s changes.
    let mut script = test_support::Script::after(m.read_model().seq);
    test_support::policy::breaker(&mut script, 8100, "payments", None, test_support::policy::open(8100, 400_500));
    m.update(Msg::Events(script.events));
    m.activity_shown = false;
    m.update(Msg::Tick(test_support::at(300_200)));
    assert_eq!(m.next_step(), Some(Duration::from_millis(300)), "to the next whole second before the probe");
    keys(&mut m, "2");
    assert_eq!(m.next_step(), None, "not visible in the traffic");
    keys(&mut m, "4 end up");
    assert_eq!(m.next_step(), Some(Duration::from_millis(300)));
    m.update(Msg::Tick(test_support::at(400_500)));
    assert_eq!(m.next_step(), None, "the countdown is over");
    assert!(frame(&mut m).contains("next probe due"), "{}", frame(&mut m));
}

#[test]
fn a_call_is_split_without_gaps_where_it_has_events() {
    let m = resilient(120, 40, Theme::ansi());
    let cut = call_segments::segments(m.read_model().call(CallId(300)).unwrap(), test_support::at(8000));
    let segments: Vec<(char, u64)> = cut.iter().map(|s| (s.kind.glyph(), s.to.since(s.from).as_millis() as u64)).collect();
    assert_eq!(segments, [('░', 180), ('▓', 1000), ('·', 420), ('▓', 400), ('◇', 199), ('▞', 450)]);
    assert!(cut.iter().all(|segment| !segment.open));
    let hedged = call_segments::segments(m.read_model().call(CallId(301)).unwrap(), test_support::at(8000));
    assert_eq!(
        hedged.iter().map(|s| (s.kind.glyph(), s.to)).collect::<Vec<_>>(),
        [('▓', test_support::at(5000)), ('▒', test_support::at(5000))]
    );
    let pausing = call_segments::segments(m.read_model().call(CallId(307)).unwrap(), test_support::at(8000));
    assert!(pausing.last().is_some_and(|s| s.open && s.kind.glyph() == '·' && s.to == test_support::at(8000)), "{pausing:?}");
}

#[test]
fn a_tool_of_a_group_is_confirmed_unless_every_member_is_trusted() {
    let mut m = resilient(120, 40, Theme::ansi());
    node(&mut m, &Node::Tool(ToolId::new("mail".into(), "send_email")));
    keys(&mut m, "enter");
    text(&mut m, "ann@example.org");
    assert_eq!(keys(&mut m, "ctrl-s"), [], "asked first");
    assert!(frame(&mut m).contains("may modify data"), "{}", frame(&mut m));
    let commands = keys(&mut m, "y");
    let Some(Cmd::Submit { spec, .. }) = commands.last() else { panic!("{commands:?}") };
    assert_eq!(spec.operation.server().as_str(), "mail");
}

#[test]
fn a_routed_call_is_opened_from_the_routes() {
    let mut m = resilient(120, 40, Theme::ansi());
    keys(&mut m, "4 v");
    // The rows are built when they are drawn.
    frame(&mut m);
    keys(&mut m, "end enter");
    assert_eq!((m.views.current, m.console.focus), (ViewId::Console, Focus::Detail));
    assert!(frame(&mut m).contains("routed to email"), "{}", frame(&mut m));
}

#[test]
fn every_small_size_of_the_new_pages_is_drawn() {
    for steps in ["1", "4", "4 b", "4 v", "3 + +", "2 home enter [ [", "4 end up I", "P"] {
        let mut m = resilient(80, 24, Theme::ansi());
        keys(&mut m, steps);
        for width in (1..=40).step_by(3).chain([55, 79, 96, 131, 199, 300]) {
            for height in (1..=16).chain([23, 30, 100]) {
                m.update(Msg::Resize(width, height));
                frame(&mut m);
            }
        }
    }
}
