//! Tests of keys, the palette, the footer and the mouse.

use super::*;

#[test]
fn escape_never_quits_and_q_asks_while_calls_run() {
    let mut harness = Harness::busy(120, 40);
    harness.keys("esc esc esc esc");
    assert_eq!(harness.take(), []);
    harness.keys("q");
    assert!(harness.frame().contains("1 call is still running"));
    harness.keys("enter");
    assert_eq!(harness.take(), [], "staying is the answer under the cursor");
    harness.keys("q y");
    assert_eq!(harness.take(), [Cmd::Quit]);
    let mut idle = Harness::new(120, 40);
    assert_eq!(idle.keys("q").take(), [Cmd::Quit]);
}

#[test]
fn letters_typed_into_a_field_are_letters() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").text("q?:/z.x");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("q?:/z.x") && harness.model.dialogs.is_empty());
    harness.keys("esc");
    assert_eq!(harness.model.console.focus, Focus::Call, "the first escape ends typing");
    harness.keys("esc");
    assert_eq!(harness.model.console.focus, Focus::Servers);
}

#[test]
fn the_palette_finds_actions_by_their_names_and_keeps_its_cursor() {
    let mut harness = Harness::new(120, 40);
    for action in Action::ALL.iter().filter(|action| action.in_palette()) {
        harness.keys(":").text(&action.name().replace('-', " "));
        let Some(palette) = harness.model.dialogs.top_as::<Palette>() else { panic!("no palette") };
        assert_eq!(palette.chosen(), Some(PaletteChoice::Action(*action)), "{}", action.name());
        harness.keys("esc");
    }
    // Enter alone does not leave, and a list that changes does not move the cursor to another entry.
    harness.keys(":");
    let chosen = |harness: &Harness| harness.model.dialogs.top_as::<Palette>().and_then(Palette::chosen);
    assert_ne!(chosen(&harness), Some(PaletteChoice::Action(Action::Quit)));
    harness.keys("down down down");
    let before = chosen(&harness);
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    let lists = crate::domain::catalog::RawLists {
        tools: vec![Body::from(r#"{"name":"fresh","inputSchema":{"type":"object"}}"#)],
        ..Default::default()
    };
    let catalog = Arc::new(crate::domain::catalog::ServerCatalog::read(lists, None));
    script.push(8001, EventKind::ServerListed { server: "preferences".into(), catalog });
    harness.send(Msg::Events(script.events));
    assert_eq!(chosen(&harness), before);
}

/// Returns what the palette offers in the current state; closes the palette again.
fn offered(harness: &mut Harness) -> Vec<Action> {
    harness.keys("ctrl-p");
    let Some(palette) = harness.model.dialogs.top_as::<Palette>() else { panic!("no palette: {}", harness.frame()) };
    let actions = palette.rows().iter().filter_map(|entry| match &entry.choice {
        PaletteChoice::Action(action) => Some(*action),
        _ => None,
    });
    let actions = actions.collect();
    harness.keys("esc");
    actions
}

#[test]
fn the_palette_offers_every_action_where_it_does_something() {
    let mut seen: Vec<Action> = vec![];
    let mut at = |harness: &mut Harness, wanted: &[Action], not: &[Action]| {
        let here = offered(harness);
        assert!(wanted.iter().all(|action| here.contains(action)), "{wanted:?} in {here:?}");
        assert!(!not.iter().any(|action| here.contains(action)), "{not:?} in {here:?}");
        seen.extend(here);
    };
    let mut harness = Harness::busy(132, 44);
    at(&mut harness, &[Action::Up, Action::Fold, Action::NextPane, Action::Open], &[Action::NextMatch, Action::Complete]);
    harness.tool("createuser").text("x");
    at(&mut harness, &[Action::LongText, Action::Back, Action::Undo], &[Action::Fold, Action::NextTab, Action::SendUnchecked]);
    // Offered once the form has refused to send.
    harness.keys("ctrl-s");
    at(&mut harness, &[Action::SendUnchecked], &[]);
    harness.keys("esc").traffic().keys("home enter");
    at(&mut harness, &[Action::NextTab, Action::Fold, Action::FoldLevel, Action::UnfoldLevel], &[Action::NextCall, Action::NextMatch]);
    harness.keys("/").text("ann").keys("enter");
    at(&mut harness, &[Action::NextMatch, Action::PreviousMatch], &[]);
    harness.keys("2 /");
    at(&mut harness, &[Action::CompleteFilter], &[Action::Fold]);
    harness.keys("esc 3");
    at(&mut harness, &[Action::NextCall, Action::PreviousCall, Action::PreviousPane], &[Action::FoldLevel]);
    // Chosen in the palette, they run.
    harness.keys("1 ctrl-p").text("view traffic").keys("enter ctrl-p").text("top").keys("enter ctrl-p").text("open").keys("enter");
    assert!(harness.model.views.state.entry.is_some(), "{}", harness.frame());
    let prompt = ApprovalPrompt { path: "switchboard.toml".into(), lines: vec![], hash: "one".into() };
    let mut rejected = Harness::with(132, 44, test_support::shop_state(), Startup::Approval(prompt));
    rejected.keys("n");
    at(&mut rejected, &[Action::Review], &[]);
    // A completion can be accepted only while a server offers some; answers of dialogs are given there.
    let missing: Vec<&Action> = Action::ALL
        .iter()
        .filter(|a| a.group() != crate::tui::action::Group::Dialogs && **a != Action::Complete && !seen.contains(a))
        .collect();
    assert_eq!(missing, Vec::<&Action>::new());
}

#[test]
fn folding_has_names_and_keys_that_can_be_changed() {
    let mut harness = Harness::busy(132, 44);
    harness.traffic().keys("home enter");
    let rows = |h: &mut Harness| h.frame().matches("u_1042").count();
    assert_eq!(rows(&mut harness), 1, "{}", harness.frame());
    harness.keys("-");
    assert_eq!(rows(&mut harness), 0, "{}", harness.frame());
    harness.keys("+ + +");
    assert_eq!(rows(&mut harness), 1, "{}", harness.frame());
    harness.keys("home space");
    assert_eq!(rows(&mut harness), 0, "{}", harness.frame());
    harness.keys("space");
    harness.model.session.keymap.bind("value", "-", "none").unwrap();
    harness.model.session.keymap.bind("value", "f8", "fold-level").unwrap();
    harness.keys("-");
    assert_eq!(rows(&mut harness), 1, "{}", harness.frame());
    harness.keys("f8 f8 f8");
    assert_eq!(rows(&mut harness), 0, "{}", harness.frame());
    harness.keys("?").text("fold-level");
    assert!(harness.frame().contains("F8") && harness.frame().contains(Action::FoldLevel.help()), "{}", harness.frame());
}

#[test]
fn the_cursor_stays_on_its_tool_while_lists_change() {
    let mut harness = Harness::new(120, 40);
    harness.tool("track").keys("esc");
    let before = harness.selected();
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.server(9000, test_support::spec("another", None), Phase::Ready);
    script.push(9001, EventKind::ServerRemoved { server: test_support::server("database") });
    harness.send(Msg::Events(script.events));
    assert_eq!(harness.selected(), before);
}

#[test]
fn the_mouse_selects_opens_and_scrolls() {
    let mut harness = Harness::busy(120, 40);
    let mouse =
        |kind, column, row| Msg::Input(Input::Mouse(MouseEvent { kind, column, row, modifiers: crossterm::event::KeyModifiers::NONE }));
    let press = MouseEventKind::Down(MouseButton::Left);
    harness.send(mouse(press, 5, 5));
    assert!(harness.selected().contains("create_user"), "{}", harness.selected());
    harness.send(mouse(press, 5, 5));
    assert_eq!(harness.model.console.focus, Focus::Call);
    harness.send(mouse(press, 60, 28));
    assert_eq!(harness.model.console.focus, Focus::Traffic);
    harness.send(mouse(MouseEventKind::ScrollDown, 5, 5));
    assert!(!harness.selected().contains("create_user"));
}

#[test]
fn footer_help_and_palette_come_from_the_tables() {
    let mut harness = Harness::busy(132, 60);
    let footer = |h: &mut Harness| h.frame().lines().last().unwrap().to_owned();
    assert!(footer(&mut harness).contains("? help"));
    harness.tool("createuser");
    assert!(footer(&mut harness).starts_with(" ⏎ send   Ctrl-e as JSON"), "{}", footer(&mut harness));
    harness.keys("esc : ctrl-u").text("fold every");
    assert!(harness.frame().contains(Action::FoldAll.help()));
    harness.keys("enter");
    assert!(!harness.frame().contains("create_user "), "{}", harness.frame());
    harness.keys(":").text("trackev").keys("enter");
    assert!(harness.selected().contains("track_event"));
    harness.keys("esc ?").text("command line");
    let frame = harness.frame();
    assert!(frame.contains(Action::Copy.help()) && !frame.contains(Action::Quit.help()));
}
