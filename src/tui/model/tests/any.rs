//! Property tests: floods, any keys, every size.

use super::*;

#[test]
fn a_flood_of_events_changes_the_figures_only() {
    let mut harness = Harness::new(120, 40);
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    for call in 0..5_000u64 {
        script.queued(9000 + call, 10_000 + call, test_support::tool_call("database", "query_users", "{}"));
        script.settled(9000 + call, 2, 10_000 + call, test_support::text_result("x"));
    }
    harness.send(Msg::Events(script.events));
    assert_eq!(harness.model.read_model().settled_total, 5_000);
    assert!(harness.frame().contains("5000 calls · following"));
    assert_eq!(harness.model.read_model().running, 0);
}

fn some_key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "up",
        "down",
        "left",
        "right",
        "enter",
        "esc",
        "tab",
        "backtab",
        "pageup",
        "pagedown",
        "home",
        "end",
        "space",
        "backspace",
        "/",
        ":",
        "?",
        "i",
        "z",
        "x",
        "y",
        "n",
        "a",
        "e",
        "E",
        "f",
        "g",
        "G",
        "h",
        "j",
        "k",
        "l",
        "t",
        ".",
        "r",
        "R",
        "D",
        "u",
        "N",
        "M",
        "q",
        "]",
        "[",
        "{",
        "\"",
        "ctrl-e",
        "ctrl-s",
        "ctrl-p",
        "ctrl-c",
        "ctrl-n",
        "ctrl-r",
        "ctrl-u",
        "ctrl-d",
        "f1",
        "o",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_keys_events_and_sizes_break_it(
        steps in proptest::collection::vec((some_key(), 0u8..30, 1u16..=200, 1u16..=60), 1..60),
    ) {
        let mut harness = Harness::busy(80, 24);
        for (index, (key, other, width, height)) in steps.into_iter().enumerate() {
            harness.keys(key);
            let n = index as u64;
            match other {
                0..=4 => { harness.send(Msg::Resize(width, height)); }
                5 => { harness.event(test_support::ask(n + 1)); }
                6 => { harness.event(EventKind::AskClosed { ask: AskId(n), how: AskEnd::CallEnded }); }
                7 => { harness.event(EventKind::ServerRemoved { server: test_support::server("database") }); }
                8 => { harness.event(EventKind::ServerPhase { server: test_support::server("email"), phase: Arc::new(Phase::Failed { why: Arc::new(test_support::crash()) }) }); }
                9 => { harness.model.resync(test_support::shop_state(), n); }
                10 => { harness.send(Msg::Input(Input::Paste("pasted \u{1b}[A\n{\"a\":1}".into()))); }
                11 => {
                    let mouse = MouseEvent { kind: MouseEventKind::Down(MouseButton::Left), column: width - 1, row: height - 1, modifiers: crossterm::event::KeyModifiers::NONE };
                    harness.send(Msg::Input(Input::Mouse(mouse)));
                }
                12 => { harness.send(Msg::Tick(test_support::at(9000 + n * 100))); }
                _ => {}
            }
            for command in harness.take() {
                if let Cmd::Submit { token, spec } = command {
                    let call = 100_000 + n;
                    let mut script = test_support::Script::after(harness.model.read_model().seq);
                    script.queued(9000 + n, call, spec.operation).settled(9000 + n, 1, call, Outcome::Ok { result: Body::from("{\"content\":[{\"type\":\"text\",\"text\":\"日本\\u202e\"}]}") });
                    harness.send(Msg::Events(script.events)).send(Msg::Submitted { token, call: CallId(call) });
                }
            }
            let frame = harness.frame();
            prop_assert!(frame.chars().all(|c| c == '\n' || !crate::domain::text::is_hidden(c)));
        }
    }

    #[test]
    fn every_size_is_drawn(width in 1u16..=200, height in 1u16..=60, keys in proptest::collection::vec(some_key(), 0..6)) {
        let mut harness = Harness::busy(width, height);
        for key in keys {
            harness.keys(key);
            harness.frame();
        }
    }
}

#[test]
fn every_small_size_is_drawn() {
    for width in 1..=40 {
        for height in 1..=14 {
            let mut harness = Harness::busy(width, height);
            harness.frame();
            harness.keys("?").frame();
            harness.event(test_support::ask(1)).keys("esc i").frame();
        }
    }
}
