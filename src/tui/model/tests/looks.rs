//! Tests of themes, keys, the activity pane, the welcome and the mouse on the drawn screen.

use super::*;
use crate::{
    domain::{catalog::ServerCatalog, config_fault::ConfigFault, pins::PinMode, server::ServerSpec},
    tui::{
        hits::Hit,
        overlay::welcome::{Chosen, FoundConfig, WelcomeState},
    },
};

fn mouse(kind: MouseEventKind, column: u16, row: u16) -> Msg {
    Msg::Input(Input::Mouse(MouseEvent { kind, column, row, modifiers: crossterm::event::KeyModifiers::NONE }))
}

impl Harness {
    /// Returns the cell of a text on the screen, the last one.
    pub(super) fn place(&mut self, text: &str) -> (u16, u16) {
        let buf = self.buffer();
        let found = (0..buf.area.height).rev().find_map(|y| {
            let row: String = (0..buf.area.width).map(|x| buf[(x, y)].symbol()).collect();
            row.rfind(text).map(|at| (row[..at].chars().count() as u16, y))
        });
        found.unwrap_or_else(|| panic!("{text:?} is not on the screen:\n{}", self.frame()))
    }

    pub(super) fn click(&mut self, text: &str) -> &mut Self {
        let (x, y) = self.place(text);
        self.send(mouse(MouseEventKind::Down(MouseButton::Left), x, y)).send(mouse(MouseEventKind::Up(MouseButton::Left), x, y))
    }

    pub(in crate::tui::model) fn styled(&mut self, theme: Theme) -> String {
        self.model.session.theme = theme;
        let buf = self.buffer();
        let mut out = String::new();
        for y in 0..buf.area.height {
            let mut last = None;
            for x in 0..buf.area.width {
                let cell = &buf[(x, y)];
                let style = (cell.fg, cell.bg, cell.modifier);
                if last != Some(style) {
                    out.push_str(&format!("⟦{}⟧", role(&self.model.session.theme, cell)));
                    last = Some(style);
                }
                out.push_str(cell.symbol());
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out
    }
}

/// Returns the name of the role that a cell is drawn in.
fn role(theme: &Theme, cell: &ratatui::buffer::Cell) -> &'static str {
    let named = [
        ("sel", theme.selection),
        ("idle", theme.selection_idle),
        ("key", theme.key),
        ("focus", theme.focus),
        ("ok", theme.ok),
        ("warn", theme.warn),
        ("fail", theme.fail),
        ("run", theme.running),
        ("acc", theme.accent),
        ("line", theme.border),
        ("dim", theme.muted),
    ];
    let same = |style: &ratatui::style::Style| {
        style.bg.is_none_or(|bg| cell.bg == bg) && style.fg.is_none_or(|fg| cell.fg == fg) && cell.modifier.contains(style.add_modifier)
    };
    named.iter().find(|(_, style)| *style != theme.text && same(style)).map_or("·", |(name, _)| name)
}

#[test]
fn frames_in_every_theme_and_size() {
    for (name, theme) in [("dark", Theme::dark()), ("light", Theme::light()), ("mono", Theme::mono())] {
        for (width, height) in [(80, 24), (120, 40), (200, 60)] {
            let mut harness = Harness::busy(width, height);
            let plain = harness.frame();
            harness.model.session.theme = theme;
            assert_eq!(harness.frame(), plain, "{name} changes no letter");
        }
    }
}

#[test]
fn every_cell_of_a_true_colour_theme_has_its_ground() {
    for theme in [Theme::dark(), Theme::light(), Theme::contrast()] {
        for keys in ["?", ":", "end up"] {
            let mut harness = Harness::busy(120, 40);
            harness.model.session.theme = theme;
            harness.keys(keys);
            let buf = harness.buffer();
            let reset = ratatui::style::Color::Reset;
            assert!(buf.content.iter().all(|cell| cell.bg != reset && cell.fg != reset), "{keys}");
        }
    }
}

#[test]
fn without_colours_every_state_has_its_glyph_and_word() {
    let mut harness = Harness::busy(132, 40);
    harness.model.session.theme = Theme::mono();
    harness.event(EventKind::ServerPhase { server: test_support::server("email"), phase: Arc::new(Phase::Disabled) });
    let why = Arc::new(test_support::crash());
    let phase = Arc::new(Phase::Reconnecting { attempt: 2, until: test_support::at(9000), why });
    harness.event(EventKind::ServerPhase { server: test_support::server("database"), phase });
    let frame = harness.frame();
    let states = [
        ("◐ analytics", "degraded"),
        ("✕ flaky", "failed"),
        ("◌ preferences", "starting"),
        ("⊘ email", "disabled"),
        ("◌ database", "retry 2"),
    ];
    for (lamp, word) in states {
        assert!(frame.lines().any(|line| line.contains(lamp) && line.contains(word)), "{lamp} {word}: {frame}");
    }
}

#[test]
fn an_unusable_entry_is_a_row_with_its_reason() {
    let mut harness = Harness::busy(132, 40);
    let fault = ConfigFault {
        file: Some("/home/me/mcp.json".into()),
        line: Some(4),
        key: Some("env".into()),
        message: "the environment variable `API_KEY` is not set".into(),
        hint: Some("set API_KEY before starting".into()),
        ..ConfigFault::default()
    };
    let spec = ServerSpec { config_faults: vec![fault], ..test_support::spec("zeta", None) };
    harness.event(EventKind::ServerAdded { spec: Arc::new(spec) });
    let frame = harness.keys("G").frame();
    assert!(frame.lines().any(|line| line.contains("✕ zeta") && line.contains("failed")), "{frame}");
    for words in ["`API_KEY` is not set", "/home/me/mcp.json:4", "set API_KEY before starting", "edit the file"] {
        assert!(frame.contains(words), "{words}: {frame}");
    }
}

#[test]
fn the_activity_pane_is_visible_until_it_is_hidden_and_does_not_move_when_idle() {
    let mut harness = Harness::busy(132, 40);
    let frame = harness.frame();
    assert!(frame.contains("Last 60 s") && frame.lines().any(|l| l.contains("analytics") && l.contains("▬▬")), "{frame}");
    assert!(harness.model.next_step().is_some_and(|step| step <= std::time::Duration::from_secs(1)));
    harness.keys("L");
    assert!(!harness.frame().contains("Last 60 s"));
    assert_eq!(harness.model.next_step(), None, "a hidden pane causes no wake-up");
    harness.keys("L");
    harness.model.at(test_support::at(200_000));
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.settled(7000, 1000, 104, test_support::text_result("x"));
    harness.send(Msg::Events(script.events));
    harness.frame();
    assert_eq!(harness.model.next_step(), None, "a quiet minute: nothing moves");
    let mut small = Harness::busy(80, 24);
    let lamps = small.frame().lines().nth(1).unwrap().to_owned();
    assert!(lamps.contains("● database") && lamps.contains("◐ analytics 1▸") && lamps.contains("✕ flaky"), "{lamps}");
}

#[test]
fn a_server_that_was_soon_ready_moves_nothing_and_one_that_was_away_does() {
    let mut script = test_support::Script::after(0);
    script.server(10_310, test_support::spec("db", None), Phase::Starting { step: crate::domain::server::Step::Initialize });
    script.push(10_390, EventKind::ServerPhase { server: test_support::server("db"), phase: Arc::new(Phase::Ready) });
    let mut harness = Harness::with(132, 40, test_support::shop().0, Startup::Normal);
    harness.send(Msg::Events(script.events));
    harness.model.at(test_support::at(12_000));
    harness.frame();
    assert_eq!(harness.model.next_step(), None, "it was ready within a cell");
    let why = Arc::new(test_support::crash());
    harness.model.at(test_support::at(20_000));
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    let away = Phase::Reconnecting { attempt: 1, until: test_support::at(23_000), why };
    script.push(20_000, EventKind::ServerPhase { server: test_support::server("db"), phase: Arc::new(away) });
    script.push(23_000, EventKind::ServerPhase { server: test_support::server("db"), phase: Arc::new(Phase::Ready) });
    harness.send(Msg::Events(script.events));
    harness.model.at(test_support::at(24_000));
    harness.frame();
    assert!(harness.model.next_step().is_some(), "its time away moves to the left");
    harness.model.at(test_support::at(84_000));
    harness.frame();
    assert_eq!(harness.model.next_step(), None, "and out of the picture");
}

#[test]
fn rebinding_a_key_changes_help_palette_and_footer() {
    let mut harness = Harness::busy(132, 60);
    harness.model.session.keymap.bind("global", "f9", "zoom").unwrap();
    harness.model.session.keymap.bind("global", "z", "none").unwrap();
    assert!(harness.frame().lines().last().unwrap().contains("F9 zoom"), "{}", harness.frame());
    let row = |h: &mut Harness| h.frame().lines().find(|l| l.contains(Action::Zoom.help())).map(str::to_owned).unwrap();
    let help = row(harness.keys("?").text("Maximise"));
    assert!(help.contains("F9") && !help.contains(" z "), "{help}");
    let palette = row(harness.keys("esc :").text("Maximise"));
    assert!(palette.contains("F9"), "{palette}");
    harness.keys("esc z");
    assert_eq!(harness.model.layout.panes.len(), Harness::busy(132, 60).model.layout.panes.len(), "z is free");
    harness.keys("f9");
    assert_eq!(harness.model.layout.panes.len(), 1);
}

pub(super) fn offer() -> WelcomeState {
    let config = |client: &str, path: &str| FoundConfig {
        client: client.into(),
        path: path.into(),
        servers: 2,
        used: 0,
        lines: vec![
            "files: npx -y @modelcontextprotocol/server-filesystem /srv".into(),
            "    with TOKEN=…".into(),
            "git: uvx mcp-server-git".into(),
        ],
        problems: vec!["line 9: $KEY is not set".into()],
    };
    WelcomeState {
        found: vec![config("Claude Desktop", "~/.config/Claude/claude_desktop_config.json"), config("Cursor", "~/.cursor/mcp.json")],
        target: "~/.config/switchboard/config.toml".into(),
        ..WelcomeState::default()
    }
}

fn empty() -> ConsoleState {
    test_support::shop().0
}

#[test]
fn the_welcome_shows_what_would_be_started_before_it_is() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut harness = Harness::with(width, height, empty(), Startup::Welcome(offer()));
        assert_scene!("welcome", (width, height), harness.frame());
        harness.keys("down enter");
        assert_scene!("welcome_lines", (width, height), harness.frame());
    }
    let mut harness = Harness::with(120, 40, empty(), Startup::Welcome(offer()));
    harness.keys("down enter enter");
    assert_eq!(harness.take(), [], "Enter alone starts nothing");
    assert!(harness.frame().contains("npx -y @modelcontextprotocol/server-filesystem /srv"));
    assert_eq!(harness.keys("y").take(), [Cmd::Request(WorkspaceRequest::Start(Chosen::Import(1)))]);
    assert!(harness.model.dialogs.is_empty() && harness.frame().contains("to find a tool"));
    harness.keys("W down down enter");
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::Start(Chosen::Demo))]);
}

#[test]
fn a_command_is_typed_into_the_welcome() {
    let mut harness = Harness::with(80, 24, empty(), Startup::Welcome(offer()));
    harness.keys("down down down enter").text("npx q 'a b'").keys("enter");
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::Start(Chosen::Open("npx q 'a b'".into())))]);
    harness.keys("W down down down enter esc esc esc");
    assert!(harness.model.dialogs.is_empty());
    let frame = harness.frame();
    assert!(frame.contains("No servers yet") && frame.contains("W to add servers"), "{frame}");
}

#[test]
fn the_welcome_opens_while_servers_run_and_marks_those_in_use() {
    let mut harness = Harness::busy(120, 40);
    assert!(!harness.frame().contains("add servers"), "it takes no room in the footer");
    harness.keys("W");
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::FindServers)]);
    let mut found = WelcomeState { more: true, demo: true, ..offer() };
    found.found[0].used = found.found[0].servers;
    harness.send(Msg::Update(ConsoleUpdate::Welcome(found.clone())));
    insta::assert_snapshot!("welcome_more_120x40", harness.frame());
    // Servers in use are listed, and not started again.
    harness.keys("enter y");
    assert!(harness.frame().contains("are configured already"), "{}", harness.frame());
    assert_eq!(harness.take(), []);
    harness.keys("esc down down enter");
    assert_eq!(harness.take(), [], "the demo runs already");
    harness.keys("up enter y");
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::Start(Chosen::Import(1)))]);
    // It does not cover another dialog.
    harness.keys("/");
    harness.send(Msg::Update(ConsoleUpdate::Welcome(found)));
    assert!(harness.model.dialogs.is_empty());
}

#[test]
fn the_welcome_is_done_by_mouse_alone() {
    let mut harness = Harness::with(120, 40, empty(), Startup::Welcome(offer()));
    harness.click("Cursor").click("write and start");
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::Start(Chosen::Import(1)))]);
    let mut harness = Harness::with(120, 40, empty(), Startup::Welcome(offer()));
    harness.click("The demo");
    assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::Start(Chosen::Demo))]);
}

#[test]
fn a_whole_session_by_mouse_alone() {
    let mut harness = Harness::busy(132, 44);
    // Find a tool, go to its form, into a field, and send by the footer's button.
    let (x, y) = (harness.place("insert_record ").0, harness.place("insert_record ").1 + 1);
    for _ in 0..2 {
        harness.send(mouse(MouseEventKind::Down(MouseButton::Left), x, y));
    }
    harness.click("› filter ");
    assert_eq!(harness.model.console.focus, Focus::Call);
    harness.click("⏎ send");
    let Some(Cmd::Submit { token, spec }) = harness.take().pop() else { panic!("not fired: {}", harness.frame()) };
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8000, 500, spec.operation.clone()).settled(
        8000,
        3,
        500,
        test_support::text_result("{\"users\":[{\"id\":1},{\"id\":2}]}"),
    );
    script.frame(8001, "database", 500, crate::domain::frame::Direction::In, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}");
    harness.send(Msg::Events(script.events)).send(Msg::Submitted { token, call: CallId(500) });
    // Its views are tabs, its rows fold.
    harness.click("frames");
    assert!(harness.frame().contains("tools/call"), "{}", harness.frame());
    harness.click("tree ");
    assert!(harness.frame().contains("users"), "{}", harness.frame());
    // A call of the list opens by a second click, and the right button goes back.
    harness.click("track_event ").click("track_event ");
    assert_eq!(harness.model.console.focus, Focus::Detail);
    harness.send(mouse(MouseEventKind::Down(MouseButton::Right), 1, 1));
    assert_eq!(harness.model.console.focus, Focus::Traffic);
    // A running one is cancelled by its button; help and palette open by theirs, and their rows are buttons too.
    harness.click("cancel call");
    assert!(matches!(harness.take()[..], [Cmd::Command(Command::Cancel { call: CallId(104), .. })]), "{}", harness.frame());
    harness.click("? help");
    assert!(harness.model.dialogs.top_as::<Help>().is_some());
    harness.send(mouse(MouseEventKind::Down(MouseButton::Right), 1, 1));
    harness.click(": palette");
    for _ in 0..10 {
        harness.send(mouse(MouseEventKind::ScrollDown, 60, 20));
    }
    harness.click(Action::Notices.help());
    assert!(harness.model.dialogs.top_as::<Notices>().is_some(), "{}", harness.frame());
    harness.send(mouse(MouseEventKind::Down(MouseButton::Right), 1, 1));
    // A lane of the activity pane leads to its server, a fold sign folds it.
    harness.click("preferences  ");
    assert!(harness.selected().contains("preferences"), "{}", harness.selected());
    harness.click("▾ ● database").frame();
    assert!(!harness.frame().contains("create_user  "), "{}", harness.frame());
    // Leaving asks, and the answers are buttons.
    harness.click(": palette").click(Action::Help.help()).keys("esc");
    harness.click("quit").click("leave");
    assert_eq!(harness.take(), [Cmd::Quit]);
}

#[test]
fn an_answer_of_a_question_is_a_button() {
    let mut harness = Harness::new(120, 40);
    harness.tool("emailping").keys("enter");
    harness.click("no");
    assert!(harness.model.dialogs.is_empty());
    assert_eq!(harness.take(), []);
    let mut harness = Harness::busy(120, 40);
    harness.event(test_support::ask(1)).click("decline");
    assert!(matches!(&harness.take()[..], [Cmd::Command(Command::Answer { answer: Answer::Decline, .. })]), "{}", harness.frame());
}

#[test]
fn dragged_borders_stay_where_they_are() {
    let mut harness = Harness::busy(132, 44);
    let tree = |h: &Harness| h.model.layout.place(Focus::Servers).unwrap();
    let before = tree(&harness);
    let (x, y) = (before.right() - 1, before.y + 3);
    harness.send(mouse(MouseEventKind::Down(MouseButton::Left), x, y));
    for to in [x + 3, x + 9] {
        harness.send(mouse(MouseEventKind::Drag(MouseButton::Left), to, y));
    }
    harness.send(mouse(MouseEventKind::Up(MouseButton::Left), x + 9, y)).send(mouse(MouseEventKind::Drag(MouseButton::Left), 3, y));
    assert_eq!(tree(&harness).width, before.width + 9);
    let traffic = harness.model.layout.place(Focus::Traffic).unwrap();
    harness.send(mouse(MouseEventKind::Down(MouseButton::Left), 100, traffic.y - 1)).send(mouse(
        MouseEventKind::Drag(MouseButton::Left),
        100,
        traffic.y - 4,
    ));
    assert_eq!(harness.model.layout.place(Focus::Traffic).unwrap().height, traffic.height + 3);
    harness.send(Msg::Resize(80, 24)).send(Msg::Resize(132, 44));
    assert_eq!(tree(&harness).width, before.width + 9, "for the whole session");
}

#[test]
fn the_wheel_scrolls_what_is_under_the_pointer() {
    let mut harness = Harness::busy(132, 44);
    let (x, y) = harness.place("track_event ");
    let before = harness.model.console.traffic.selected(harness.model.read_model()).map(|c| c.id);
    harness.send(mouse(MouseEventKind::ScrollUp, x, y));
    assert_ne!(harness.model.console.traffic.selected(harness.model.read_model()).map(|c| c.id), before);
    assert_eq!(harness.model.console.focus, Focus::Servers, "the wheel does not move the focus");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_click_drag_or_size_breaks_it(
        steps in proptest::collection::vec((0u8..8, 0u16..300, 0u16..100, 0u8..12), 1..40),
        dark in any::<bool>(),
    ) {
        let mut harness = Harness::busy(120, 40);
        if dark {
            harness.model.session.theme = Theme::dark();
        }
        for (n, (kind, x, y, other)) in steps.into_iter().enumerate() {
            let left = MouseButton::Left;
            let kind = [
                MouseEventKind::Down(left), MouseEventKind::Drag(left), MouseEventKind::Up(left), MouseEventKind::Down(left),
                MouseEventKind::ScrollUp, MouseEventKind::ScrollDown, MouseEventKind::Down(MouseButton::Right), MouseEventKind::Down(left),
            ][usize::from(kind)];
            match other {
                0 => { harness.send(Msg::Resize(x + 1, y + 1)); }
                1 => { harness.event(test_support::ask(n as u64 + 1)); }
                2 => { harness.keys("/"); }
                3 => { harness.keys(":"); }
                _ => {}
            }
            let screen = harness.model.layout.screen;
            harness.send(mouse(kind, x % screen.width.max(1), y % screen.height.max(1)));
            harness.frame();
            harness.take();
        }
    }

    #[test]
    fn every_size_is_drawn_while_events_arrive(width in 1u16..=300, height in 1u16..=100, calls in 0u64..40) {
        let mut harness = Harness::busy(width, height);
        for n in 0..calls {
            let mut script = test_support::Script::after(harness.model.read_model().seq);
            script.queued(9000 + n * 300, 900 + n, test_support::tool_call("email", "ping", "{}"));
            if n % 3 != 0 {
                script.settled(9000 + n * 300, n * 50, 900 + n, test_support::text_result("x"));
            }
            harness.send(Msg::Events(script.events));
            harness.frame();
        }
    }
}

#[test]
fn views_are_reached_and_left_by_mouse() {
    let mut harness = Harness::busy(132, 44);
    harness.click("Traffic  ");
    let (x, y) = harness.place("Timeline");
    harness.send(mouse(MouseEventKind::Down(MouseButton::Left), x, y));
    assert!(harness.model.in_view() && harness.frame().contains("Last 60 s"), "the activity is on every view");
    // A lane of the activity pane leads back to its server.
    harness.click("● email ");
    assert!(!harness.model.in_view() && harness.selected().contains("email"), "{}", harness.selected());
}

#[test]
fn the_way_out_is_in_the_footer_of_every_view() {
    for (width, height) in [(80, 24), (132, 40)] {
        for keys in ["up", "2", "3", "4", "/ enter", "end"] {
            let mut harness = Harness::busy(width, height);
            harness.keys(keys);
            let frame = harness.frame();
            let footer = frame.lines().last().unwrap();
            // While letters go into a field, `q` is a letter.
            assert!(footer.contains("help") && (harness.model.typing() || footer.contains("q quit")), "{keys}: {footer}");
        }
    }
}

#[test]
fn theme_keys_and_confirmations_follow_the_configuration() {
    let mut harness = Harness::busy(120, 40);
    let mut keymap = Keymap::built_in();
    keymap.bind("global", "f9", "zoom").unwrap();
    let preferences = Preferences { theme: Theme::light(), keymap, confirm: ConfirmPolicy::Never };
    harness.send(Msg::Update(ConsoleUpdate::Preferences(Box::new(preferences))));
    assert!(harness.frame().contains("theme, keys and confirmations"));
    assert_eq!(harness.model.session.theme, Theme::light());
    harness.tool("emailping").keys("enter");
    assert!(matches!(harness.take()[..], [Cmd::Submit { .. }]), "nothing is confirmed any more");
    harness.keys("f9");
    assert_eq!(harness.model.layout.panes.len(), 1);
}

#[test]
fn a_click_is_not_for_a_dialog_that_opened_since_the_last_frame() {
    let mut harness = Harness::busy(132, 44);
    let (x, y) = harness.place("? help");
    harness.frame();
    harness.model.update(Msg::Input(Input::Key(KeyEvent::from(crossterm::event::KeyCode::Char(':')))));
    let press = mouse(MouseEventKind::Down(MouseButton::Left), x, y);
    assert_eq!(harness.model.update(press.clone()), []);
    assert!(
        harness.model.dialogs.top_as::<Palette>().is_some() && harness.model.dialogs.len() == 1,
        "the help did not open over the palette"
    );
    harness.keys("esc").send(press);
    assert!(harness.model.dialogs.top_as::<Help>().is_some() && harness.model.dialogs.len() == 1);
}

#[test]
fn tabs_keys_and_frames_are_clicked_in_monochrome_too() {
    let mut harness = Harness::busy(132, 44);
    harness.model.session.theme = Theme::mono();
    harness.click("track_event ").click("track_event ");
    assert_eq!(harness.model.console.focus, Focus::Detail);
    harness.click("cancel · runs in the background");
    assert!(matches!(harness.take()[..], [Cmd::Command(Command::Cancel { .. })]), "{}", harness.frame());
    harness.click("frames");
    assert!(harness.frame().contains("[frames]"), "{}", harness.frame());
    harness.click("attempts");
    assert!(harness.frame().contains("[attempts]"), "{}", harness.frame());
    // The output of a server has tabs as well.
    let (x, y) = harness.keys("4").place("│ log ");
    harness.send(mouse(MouseEventKind::Down(MouseButton::Left), x + 2, y));
    assert!(harness.frame().contains("[log]"), "{}", harness.frame());
}

#[test]
fn every_action_in_the_footer_is_a_button() {
    for keys in ["", "end", "2", "3", "4", "5"] {
        let mut harness = Harness::busy(132, 44);
        if !keys.is_empty() {
            harness.keys(keys);
        }
        let footer = harness.frame().lines().last().unwrap().to_owned();
        let row = harness.model.layout.footer.y;
        let hits = |harness: &Harness, x| harness.model.session.hits.at(x, row).map(|found| found.hit);
        let shown: Vec<Action> =
            (0..132).filter_map(|x| if let Some(Hit::Key(action)) = hits(&harness, x) { Some(action) } else { None }).collect();
        let mut actions = shown.clone();
        actions.dedup();
        assert!(actions.len() > 2, "{keys}: {footer}");
        for action in actions {
            assert!(footer.contains(action.label()), "{keys}: {action:?} in {footer}");
            let width = shown.iter().filter(|shown| **shown == action).count();
            assert!(width > action.label().chars().count(), "{keys}: {action:?} has {width} cells");
        }
    }
}

#[test]
fn a_tool_that_differs_from_its_pin_is_marked_in_the_tree() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu");
    let id = test_support::server("database");
    let view = harness.model.read_model().server(&id).unwrap().clone();
    let frame = harness.frame();
    assert!(frame.contains("query_users") && !frame.contains("unpinned"), "{frame}");
    let pin_changes = view.catalog.tools.iter().map(|tool| tool.name.clone()).collect();
    let catalog = ServerCatalog { pin_changes, ..ServerCatalog::clone(&view.catalog) };
    harness.event(EventKind::ServerListed { server: id, catalog: Arc::new(catalog) });
    assert!(harness.frame().contains("unpinned"), "{}", harness.frame());
    let spec = ServerSpec { pins: PinMode::Hold, ..ServerSpec::clone(&view.spec) };
    harness.event(EventKind::ServerAdded { spec: Arc::new(spec) });
    assert!(harness.frame().contains("held") && !harness.frame().contains("unpinned"), "{}", harness.frame());
}
