//! Tests of prompts with a default value, and of pasting into them.

use crate::domain::argument_history::{RecallKind, Recalled};

use super::*;

fn paste(harness: &mut Harness, text: &str) {
    harness.send(Msg::Input(Input::Paste(text.into())));
}

/// Returns the text of a field of the prompt on top.
fn prompt(harness: &Harness, field: usize) -> String {
    harness.model.dialogs.top_as::<TextPrompt>().expect("a prompt").text(field).to_owned()
}

#[test]
fn five_typed_into_the_burst_prompt_are_five_calls() {
    let mut harness = Harness::busy(120, 40);
    harness.tool("queryu").keys("esc F 5");
    assert_eq!(prompt(&harness, 0), "5");
    // The second field has a default too; Tab and back replace nothing that was typed.
    harness.keys("tab 2");
    assert_eq!(prompt(&harness, 1), "2");
    harness.keys("backtab 0");
    assert_eq!((prompt(&harness, 0), prompt(&harness, 1)), ("50".into(), "2".into()));
    harness.keys("backspace enter");
    let Some(burst) = harness.model.dialogs.top_as::<Burst>() else { panic!("no burst: {}", harness.frame()) };
    assert_eq!(burst.wants() + burst.open().count(), 0, "two were asked for already");
    assert_eq!(harness.take().iter().filter(|cmd| matches!(cmd, Cmd::Submit { .. })).count(), 2);
}

#[test]
fn every_prompt_with_a_default_selects_it() {
    // The pane, the keys that lead to a row in it, the key of the prompt, the start of its default value.
    let places = [
        (Focus::Traffic, "home enter", "s", "result-"),
        (Focus::Traffic, "home enter", "|", "$"),
        (Focus::Servers, "down", "b i", "latency=200ms,fail=30%"),
        (Focus::Servers, "2", "w", "analytics_"),
    ];
    for (pane, way, keys, value) in places {
        let opened = || {
            let mut harness = Harness::busy(120, 40);
            if pane == Focus::Traffic {
                harness.traffic();
            }
            harness.keys(way).keys(keys);
            assert!(harness.model.dialogs.top_as::<TextPrompt>().is_some(), "{keys}: {}", harness.frame());
            harness
        };
        let before = prompt(&opened(), 0);
        assert!(before.starts_with(value), "{keys}: {before}");
        let after = |keys: &str| {
            let mut harness = opened();
            harness.keys(keys);
            prompt(&harness, 0)
        };
        assert_eq!(after("x"), "x", "{keys}: a letter replaces it");
        assert_eq!(after("backspace"), "", "{keys}");
        assert_eq!(after("delete"), "", "{keys}");
        assert_eq!(after("end x"), format!("{before}x"), "{keys}: End leaves it");
        assert_eq!(after("home x"), format!("x{before}"), "{keys}");
        assert_eq!(after("right x"), format!("{before}x"), "{keys}");
        assert_eq!(after("down x"), format!("{before}x"), "{keys}");
        let mut harness = opened();
        paste(&mut harness, "pasted\r\n");
        assert_eq!(prompt(&harness, 0), "pasted", "{keys}: a paste replaces it and confirms nothing");
    }
}

#[test]
fn a_search_starts_empty_and_up_brings_back_earlier_ones() {
    let mut harness = Harness::busy(120, 40);
    harness.traffic().keys("home enter");
    for text in ["user399", "user12", "user399"] {
        harness.keys("/");
        assert_eq!(prompt(&harness, 0), "");
        harness.text(text).keys("enter");
    }
    harness.keys("/").text("typed").keys("up");
    assert_eq!(prompt(&harness, 0), "user399");
    harness.keys("up");
    assert_eq!(prompt(&harness, 0), "user12", "each text once");
    harness.keys("up down down");
    assert_eq!(prompt(&harness, 0), "typed");
    harness.keys("up x enter");
    assert_eq!(harness.model.shown().needle(), "user399x");
}

#[test]
fn a_filter_that_is_edited_again_is_replaced_by_what_is_typed() {
    let mut harness = Harness::busy(120, 40);
    harness.keys("2 /").text("tool:a").keys("enter /").text("tool:b").keys("enter");
    assert!(harness.frame().contains("tool:b") && !harness.frame().contains("tool:atool:b"), "{}", harness.frame());
    harness.keys("/ end").text("x").keys("enter");
    assert!(harness.frame().contains("tool:bx"), "{}", harness.frame());
}

#[test]
fn a_remembered_argument_is_replaced_by_what_is_typed() {
    let mut recall = Recall::default();
    let mut harness = Harness::busy(120, 40);
    harness.tool("createuser").text("old@example.com");
    let arguments = harness.model.console.call.arguments().text().unwrap().into();
    let Some(Node::Tool(tool)) = harness.model.console.tree.selected().cloned() else { panic!("no tool") };
    recall.note(Recalled { server: tool.server.clone(), kind: RecallKind::Tool, name: tool.name.to_string(), arguments, favourite: None });
    let remembered = || {
        let setup = Setup { recall: recall.clone(), ..Harness::setup(Startup::Normal) };
        let mut harness = Harness::set_up(120, 40, test_support::shop_state(), setup);
        // The cursor starts at the first empty required field; this is the one before it.
        harness.tool("createuser").keys("backtab");
        let selected = harness.model.console.call.arguments_mut().form_mut().unwrap().path().clone();
        assert_eq!(harness.model.console.call.arguments().text_at(&selected).as_deref(), Some("old@example.com"), "{}", harness.frame());
        (harness, selected)
    };
    for (keys, value) in [("x", "x"), ("end x", "old@example.comx"), ("backspace", ""), ("tab backtab y", "y")] {
        let (mut harness, path) = remembered();
        harness.keys(keys);
        assert_eq!(harness.model.console.call.arguments().text_at(&path).as_deref(), Some(value), "{keys}");
    }
    // What the user typed is not selected when the cursor comes back to it.
    let (mut harness, path) = remembered();
    harness.keys("a tab backtab b");
    assert_eq!(harness.model.console.call.arguments().text_at(&path).as_deref(), Some("ab"));
}

#[test]
fn pasted_line_ends_arrive_as_line_feeds_everywhere() {
    for end in ["\n", "\r", "\r\n"] {
        let lines = ["one", "\ttwo", ""].join(end);
        let mut harness = Harness::new(120, 40);
        harness.tool("createuser");
        paste(&mut harness, &lines);
        let path = harness.model.console.call.arguments_mut().form_mut().unwrap().path().clone();
        assert_eq!(harness.model.console.call.arguments().text_at(&path).as_deref(), Some("one\n\ttwo\n"), "{end:?}");
        harness.model.long_text();
        harness.keys("ctrl-end");
        paste(&mut harness, &lines);
        let Some(long) = harness.model.dialogs.top_as::<LongText>() else { panic!("no long text") };
        assert!(long.text().ends_with("one\n\ttwo\n") && !long.text().contains('\r'), "{:?}", long.text());
        harness.keys("ctrl-s esc e");
        assert!(harness.model.console.call.arguments().editing_json(), "{}", harness.frame());
        harness.model.console.call.arguments_mut().set_text("");
        paste(&mut harness, &["{", "\"email\": \"a@b.c\",", "\"name\": \"x\"", "}"].join(end));
        assert!(
            harness.model.console.call.arguments().text().unwrap().lines().count() == 4,
            "{:?}",
            harness.model.console.call.arguments().text()
        );
    }
}

#[test]
fn a_paste_that_is_too_long_or_contains_control_characters_is_reported() {
    let mut harness = Harness::busy(120, 40);
    harness.send(Msg::Input(Input::PasteRefused { bytes: 10 << 20 }));
    assert!(harness.frame().contains("Nothing was pasted: the text has 10"), "{}", harness.frame());
    harness.keys("/");
    paste(&mut harness, &"a".repeat(1 << 20));
    assert_eq!(harness.model.console.tree.filter(), Some(""));
    paste(&mut harness, "em\0ail\u{9b}\n");
    assert_eq!(harness.model.console.tree.filter(), Some("email"), "a line end confirms nothing");
    assert!(harness.frame().contains("2 control characters"), "{}", harness.frame());
    harness.keys("esc").traffic().keys("home enter /");
    paste(&mut harness, &"a".repeat(1 << 20));
    assert!(harness.frame().contains("Nothing was pasted"), "in the prompt itself: {}", harness.frame());
    assert_eq!(prompt(&harness, 0), "");
}

#[test]
fn a_toast_never_covers_a_dialog_and_appears_after_it() {
    let prompt = crate::tui::ApprovalPrompt { path: ".mcp.json".into(), lines: vec!["npx".into()], hash: "5f0c".repeat(16) };
    for (width, height) in [(80, 24), (120, 40), (40, 12)] {
        let mut harness = Harness::with(width, height, test_support::shop_state(), Startup::Approval(prompt.clone()));
        harness.model.toasts.clear();
        let before = harness.frame();
        for n in 0..4 {
            harness.model.toast(NoticeLevel::Warn, format!("{n}: {}", "a long notice ".repeat(20)));
        }
        let frame = harness.frame();
        assert_eq!(frame, before);
        harness.model.at(test_support::at(60_000));
        harness.send(Msg::Tick(test_support::at(60_000)));
        harness.keys("n");
        assert!(harness.frame().contains("long notice"), "its time starts when the dialog closes: {}", harness.frame());
        let later = test_support::at(67_000);
        harness.send(Msg::Tick(later));
        assert!(!harness.frame().contains("long notice"));
    }
}
