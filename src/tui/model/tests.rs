use std::str::FromStr;

use crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use ratatui::{buffer::Buffer, layout::Rect};

use super::*;
use crate::{
    domain::{
        ask::{Answer, Ask, Question},
        body::Body,
        call::{Operation, Outcome},
        event::EventKind,
        server::Phase,
    },
    engine::control::Command,
    tui::{action::Action, fake, input::Input, overlay::palette::Choice as PaletteChoice, view},
};

pub(super) struct Harness {
    pub(super) model: Model,
    commands: Vec<Cmd>,
}

impl Harness {
    pub(super) fn new(width: u16, height: u16) -> Harness {
        Harness::with(width, height, fake::shop_world(), Startup::Normal)
    }

    pub(super) fn with(width: u16, height: u16, world: World, startup: Startup) -> Harness {
        Harness::set_up(width, height, world, Harness::setup(startup))
    }

    pub(super) fn setup(startup: Startup) -> Setup {
        Setup {
            theme: Theme::ansi(),
            keymap: Keymap::built_in(),
            mouse: true,
            title: "shop.toml".into(),
            startup,
            confirm: ConfirmPolicy::default(),
            recall: Recall::default(),
            workflows: Default::default(),
            invocation: Invocation::default(),
        }
    }

    pub(super) fn set_up(width: u16, height: u16, world: World, setup: Setup) -> Harness {
        let mut model = Model::new(setup, world, (width, height));
        model.at(fake::at(8000));
        Harness { model, commands: vec![] }
    }

    pub(super) fn busy(width: u16, height: u16) -> Harness {
        let mut harness = Harness::new(width, height);
        let seq = harness.model.world().seq;
        harness.send(Msg::Events(fake::busy(seq)));
        harness
    }

    pub(super) fn send(&mut self, msg: Msg) -> &mut Self {
        let commands = self.model.update(msg);
        self.commands.extend(commands);
        self
    }

    /// Presses keys as the keymap writes them, with spaces between.
    pub(super) fn keys(&mut self, keys: &str) -> &mut Self {
        for key in keys.split(' ') {
            let upper = key.len() == 1 && key.chars().all(|c| c.is_ascii_uppercase());
            let parsed = KeyCombination::from_str(&if upper { format!("shift-{key}") } else { key.to_owned() }).unwrap();
            let event: KeyEvent = parsed.normalized().into();
            self.send(Msg::Input(Input::Key(event)));
        }
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.send(Msg::Input(Input::Key(KeyEvent::new(crossterm::event::KeyCode::Char(c), crossterm::event::KeyModifiers::NONE))));
        }
        self
    }

    pub(super) fn event(&mut self, kind: EventKind) -> &mut Self {
        let mut script = fake::Script::after(self.model.world().seq);
        script.push(7600, kind);
        self.send(Msg::Events(script.events))
    }

    pub(super) fn buffer(&mut self) -> Buffer {
        let screen = self.model.layout.screen;
        let mut buf = Buffer::empty(Rect::new(0, 0, screen.width, screen.height));
        view::draw(&mut self.model, &mut buf);
        buf
    }

    pub(super) fn frame(&mut self) -> String {
        let buf = self.buffer();
        let width = usize::from(buf.area.width).max(1);
        let rows = buf.content.chunks(width);
        rows.map(|row| row.iter().map(|c| c.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
    }

    pub(super) fn selected(&self) -> String {
        format!("{:?}", self.model.tree.selected())
    }

    /// Goes to a tool by the filter.
    pub(super) fn tool(&mut self, name: &str) -> &mut Self {
        self.keys("/").text(name).keys("enter")
    }

    pub(super) fn traffic(&mut self) -> &mut Self {
        while self.model.focus != Focus::Traffic {
            self.keys("tab");
        }
        self
    }

    pub(super) fn take(&mut self) -> Vec<Cmd> {
        std::mem::take(&mut self.commands)
    }

    pub(super) fn submitted_spec(&mut self) -> CallSpec {
        match self.take().pop() {
            Some(Cmd::Submit { spec, .. }) => spec,
            other => panic!("nothing was submitted: {other:?}"),
        }
    }
}

#[test]
fn the_first_frame_shows_servers_before_any_is_ready() {
    let (mut world, events) = fake::shop();
    world.apply(&events[0]);
    let frame = Harness::with(120, 40, world, Startup::Normal).frame();
    assert!(frame.contains("database") && frame.contains("starting · program"), "{frame}");
}

#[test]
fn what_went_wrong_before_the_first_frame_is_told_with_its_line() {
    let mut world = fake::shop_world();
    let mut script = fake::Script::after(world.seq);
    let detail = vec!["switchboard.toml:12: unknown field `comand`".to_owned(), "did you mean `command`?".to_owned()];
    let notice = crate::domain::event::Notice { level: NoticeLevel::Error, text: "The configuration has an error".into(), detail };
    script.push(900, EventKind::Notice { notice: Arc::new(notice) });
    script.events.iter().for_each(|event| world.apply(event));
    let mut harness = Harness::with(120, 40, world, Startup::Normal);
    harness.model.toasts.iter_mut().for_each(|toast| toast.until = fake::at(99_000));
    assert!(harness.frame().contains("switchboard.toml:12") && harness.frame().contains("N: all of it"), "{}", harness.frame());
    assert!(harness.keys("N").frame().contains("did you mean `command`?"));
}

#[test]
fn an_empty_console_says_how_to_get_servers() {
    let (world, _) = fake::shop();
    let frame = Harness::with(120, 40, world, Startup::Empty).frame();
    assert!(frame.contains("switchboard --demo"), "{frame}");
}

#[test]
fn frames_at_the_usual_sizes() {
    for (width, height) in [(80, 24), (120, 40), (200, 60), (20, 5)] {
        let mut harness = Harness::busy(width, height);
        insta::assert_snapshot!(format!("tree_{width}x{height}"), harness.frame());
        harness.tool("queryu");
        insta::assert_snapshot!(format!("call_{width}x{height}"), harness.frame());
        harness.traffic().keys("up up up up enter");
        insta::assert_snapshot!(format!("detail_{width}x{height}"), harness.frame());
    }
    let mut harness = Harness::busy(132, 40);
    harness.keys("end up");
    insta::assert_snapshot!("failed_server_132x40", harness.frame());
    insta::assert_snapshot!("help_132x40", harness.keys("?").frame());
    insta::assert_snapshot!("palette_132x40", harness.keys("esc : r e s").frame());
}

#[test]
fn a_safe_tool_fires_with_two_keys_and_remembers_its_arguments() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").text("ann").keys("enter");
    let spec = harness.submitted_spec();
    assert_eq!(spec.operation, fake::tool_call("database", "query_users", r#"{"filter":"ann"}"#));
    harness.keys("esc down").tool("queryu").keys("ctrl-s");
    assert_eq!(harness.submitted_spec().operation, spec.operation, "the arguments are still there");
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_the_reason_and_nothing_is_sent() {
    let mut harness = Harness::new(120, 40);
    harness.tool("createuser").keys("ctrl-s");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("required"), "{}", harness.frame());
}

#[test]
fn a_tool_that_may_destroy_is_asked_about_once() {
    let mut harness = Harness::new(120, 40);
    harness.tool("emailping").keys("enter");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("Fire email_ping?"), "{}", harness.frame());
    harness.keys("n");
    assert_eq!(harness.take(), [], "no means no");
    harness.keys("enter a");
    harness.submitted_spec();
    harness.keys("enter");
    harness.submitted_spec();
    harness.keys("esc").tool("sendemail").text("ann").keys("enter y");
    harness.submitted_spec();
    harness.keys("enter");
    assert_eq!(harness.take(), [], "this once was this once");
}

#[test]
fn a_server_can_be_believed_for_a_session_and_is_still_asked_about_what_may_destroy() {
    let mut harness = Harness::new(120, 40);
    harness.tool("emailping").keys("enter");
    assert!(harness.frame().contains("b  fire, and believe email in this session"), "{}", harness.frame());
    harness.keys("b");
    harness.submitted_spec();
    harness.keys("enter");
    harness.submitted_spec();
    harness.keys("esc").tool("sendemail").text("ann").keys("enter");
    assert_eq!(harness.take(), [], "what may destroy is asked about");
    let frame = harness.frame();
    assert!(frame.contains("The server says") && !frame.contains("believe email"), "{frame}");
    harness.keys("b");
    assert_eq!(harness.take(), [], "an answer that is not offered");
    assert!(harness.frame().contains("Fire email_send_email?"), "still asked: {}", harness.frame());
}

#[test]
fn the_result_of_the_fired_call_is_shown_and_others_go_on() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").keys("enter");
    let Some(Cmd::Submit { token, spec }) = harness.take().pop() else { panic!("not fired") };
    let mut script = fake::Script::after(harness.model.world().seq);
    script.queued(8000, 500, spec.operation.clone()).queued(8001, 501, fake::tool_call("email", "ping", "{}"));
    harness.send(Msg::Events(script.events)).send(Msg::Submitted { token, call: CallId(500) });
    assert!(harness.frame().contains("cancels it"), "{}", harness.frame());
    let mut script = fake::Script::after(harness.model.world().seq);
    script.settled(8000, 3, 500, fake::text_result("one\n\"two\" \u{1b}[2J\u{202e}"));
    harness.send(Msg::Events(script.events));
    let frame = harness.frame();
    assert!(frame.contains("✓ ok · 3.0 ms") && frame.contains(r#""two" \x1b[2J\u{202e}"#), "text unescaped, control visible: {frame}");
    assert_eq!(harness.model.world().running, 1);
}

#[test]
fn a_running_call_is_cancelled_and_only_that() {
    let mut harness = Harness::busy(120, 40);
    harness.traffic().keys("ctrl-c");
    let [Cmd::Command(Command::Cancel { call, .. })] = harness.take()[..] else { panic!("not cancelled") };
    assert_eq!(call, CallId(104));
    harness.keys("up x");
    assert_eq!(harness.take(), [], "a call that has ended cannot be cancelled");
}

#[test]
fn firing_again_takes_the_call_under_the_cursor() {
    let mut harness = Harness::busy(120, 40);
    harness.traffic().keys("up up up up .");
    assert_eq!(harness.submitted_spec().operation, fake::tool_call("database", "query_users", r#"{"filter":"ann"}"#));
    harness.keys("up up up up e");
    assert!(harness.frame().contains("ann"), "{}", harness.frame());
    assert_eq!(harness.model.focus, Focus::Call);
}

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
    assert!(harness.frame().contains("q?:/z.x") && harness.model.modals.is_empty());
    harness.keys("esc");
    assert_eq!(harness.model.focus, Focus::Call, "the first escape ends typing");
    harness.keys("esc");
    assert_eq!(harness.model.focus, Focus::Servers);
}

#[test]
fn a_question_opens_by_itself_but_never_steals_typing() {
    let mut harness = Harness::busy(120, 40);
    harness.tool("queryu").text("an");
    harness.event(fake::ask(1)).text("n");
    assert!(harness.model.modals.is_empty() && harness.frame().contains("F3 opens the inbox"), "{}", harness.frame());
    // The key that is told is the one that works here.
    harness.keys("f3");
    let frame = harness.frame();
    assert!(frame.contains("email asks in email_send_email") && frame.contains("Really send it?"), "{frame}");
    harness.text("yes").keys("ctrl-s");
    let [Cmd::Command(Command::Answer { answer: Answer::Accept { content }, .. })] = &harness.take()[..] else { panic!("no answer") };
    assert_eq!(content, &Body::from(r#"{"confirm":"yes"}"#));
    harness.event(EventKind::AskClosed { ask: AskId(1), how: "accepted".into() });
    assert!(harness.model.modals.is_empty(), "an answered question leaves");

    // The badge that tells it is a button.
    let mut typing = Harness::busy(120, 40);
    typing.tool("queryu").text("an").event(fake::ask(1)).click("1 question");
    assert!(matches!(typing.model.modals.last(), Some(Modal::Inbox(_))), "{}", typing.frame());

    let mut idle = Harness::busy(120, 40);
    idle.event(fake::ask(1));
    assert!(matches!(idle.model.modals.last(), Some(Modal::Inbox(_))));
    // A key that was on its way to something else declines nothing.
    idle.keys("ctrl-n");
    assert_eq!(idle.take(), []);
    idle.model.at(fake::at(9000));
    idle.keys("ctrl-n");
    assert!(matches!(&idle.take()[..], [Cmd::Command(Command::Answer { answer: Answer::Decline, .. })]));
}

#[test]
fn the_palette_finds_actions_by_their_names_and_keeps_its_cursor() {
    let mut harness = Harness::new(120, 40);
    for action in Action::ALL.iter().filter(|action| action.in_palette()) {
        harness.keys(":").text(&action.name().replace('-', " "));
        let Some(Modal::Palette(palette)) = harness.model.modals.last() else { panic!("no palette") };
        assert_eq!(palette.chosen(), Some(PaletteChoice::Action(*action)), "{}", action.name());
        harness.keys("esc");
    }
    // Enter alone does not leave, and a list that changes takes the cursor nowhere else.
    harness.keys(":");
    let chosen = |harness: &Harness| match harness.model.modals.last() {
        Some(Modal::Palette(palette)) => palette.chosen(),
        _ => None,
    };
    assert_ne!(chosen(&harness), Some(PaletteChoice::Action(Action::Quit)));
    harness.keys("down down down");
    let before = chosen(&harness);
    let mut script = fake::Script::after(harness.model.world().seq);
    let lists = crate::domain::catalog::RawLists {
        tools: vec![Body::from(r#"{"name":"fresh","inputSchema":{"type":"object"}}"#)],
        ..Default::default()
    };
    let catalog = Arc::new(crate::domain::catalog::ServerCatalog::read(lists, None));
    script.push(8001, EventKind::ServerListed { server: "preferences".into(), catalog });
    harness.send(Msg::Events(script.events));
    assert_eq!(chosen(&harness), before);
}

/// What the palette offers where the harness is; it is closed again.
fn offered(harness: &mut Harness) -> Vec<Action> {
    harness.keys("ctrl-p");
    let Some(Modal::Palette(palette)) = harness.model.modals.last() else { panic!("no palette: {}", harness.frame()) };
    let actions = palette.entries().iter().filter_map(|entry| match &entry.choice {
        PaletteChoice::Action(action) => Some(*action),
        PaletteChoice::Tool(_) => None,
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
    at(&mut harness, &[Action::LongText, Action::Back, Action::Undo], &[Action::Fold, Action::NextTab]);
    harness.keys("esc").traffic().keys("home enter");
    at(&mut harness, &[Action::NextTab, Action::Fold, Action::FoldLevel, Action::UnfoldLevel], &[Action::NextCall, Action::NextMatch]);
    harness.keys("/").text("ann").keys("enter");
    at(&mut harness, &[Action::NextMatch, Action::PreviousMatch], &[]);
    harness.keys("2 /");
    at(&mut harness, &[Action::CompleteFilter], &[Action::Fold]);
    harness.keys("esc 3");
    at(&mut harness, &[Action::NextCall, Action::PreviousCall, Action::PreviousPane], &[Action::FoldLevel]);
    // Chosen there, they do it.
    harness.keys("1 ctrl-p").text("view traffic").keys("enter ctrl-p").text("top").keys("enter ctrl-p").text("open").keys("enter");
    assert!(harness.model.views.entry.is_some(), "{}", harness.frame());
    // A suggestion is there to be taken only while a server makes some; answers of dialogs are given there.
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
    harness.model.keymap.bind("value", "-", "none").unwrap();
    harness.model.keymap.bind("value", "f8", "fold-level").unwrap();
    harness.keys("-");
    assert_eq!(rows(&mut harness), 1, "{}", harness.frame());
    harness.keys("f8 f8 f8");
    assert_eq!(rows(&mut harness), 0, "{}", harness.frame());
    harness.keys("?").text("fold-level");
    assert!(harness.frame().contains("F8") && harness.frame().contains(Action::FoldLevel.help()), "{}", harness.frame());
}

#[test]
fn the_inbox_shows_the_keys_that_do_something_and_always_the_way_out() {
    let row = |harness: &mut Harness| harness.frame().lines().find(|l| l.contains("⏎ answer")).map(str::to_owned).unwrap_or_default();
    let mut harness = Harness::busy(80, 24);
    harness.event(fake::ask(1));
    let shown = row(&mut harness);
    for word in ["address", "file", "next"] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
    assert!(shown.contains("Ctrl-n decline") && shown.contains("Esc back"), "{shown}");
    harness.event(fake::ask(2));
    assert!(row(&mut harness).contains("Ctrl-t next   Esc back"), "{}", harness.frame());
    // All of them at once.
    let params = r#"{"messages":[{"role":"user","content":{"type":"text","text":"Sum up."}}],"maxTokens":200}"#;
    let question = Question::Sampling { params: Body::from(params) };
    let ask = Ask { id: AskId(3), server: "email".into(), call: None, question, at: fake::at(7500), run: None };
    harness.event(EventKind::AskOpened { ask: Arc::new(ask) });
    harness.model.modals.clear();
    harness.keys("i ctrl-t ctrl-t");
    let shown = row(&mut harness);
    assert!(shown.contains("from a file") && shown.contains("Esc back"), "{}", harness.frame());
}

#[test]
fn many_calls_of_one_that_asks_are_answered() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").keys("esc F").keys("enter");
    assert!(matches!(harness.model.modals.last(), Some(Modal::Burst(_))), "{}", harness.frame());
    harness.event(fake::ask(1));
    assert!(matches!(harness.model.modals.last(), Some(Modal::Inbox(_))), "{}", harness.frame());
}

#[test]
fn the_keys_of_a_form_are_in_the_keymap_and_members_are_added_where_an_object_is_open() {
    let mut harness = Harness::new(120, 40);
    let schema = r#"{"name":"fill","inputSchema":{"type":"object","required":["rows"],"properties":{"rows":{"type":"array","items":{"type":"object","additionalProperties":{"type":"string"}}}}},"annotations":{"readOnlyHint":true}}"#;
    let free = r#"{"name":"anything","inputSchema":{"type":"object","additionalProperties":{"type":"string"}},"annotations":{"readOnlyHint":true}}"#;
    let lists = crate::domain::catalog::RawLists { tools: vec![Body::from(schema), Body::from(free)], ..Default::default() };
    let catalog = Arc::new(crate::domain::catalog::ServerCatalog::read(lists, None));
    harness.event(EventKind::ServerListed { server: "database".into(), catalog });
    harness.tool("databasefill");
    harness.keys("a a").text("colour").keys("enter").text("red").keys("enter");
    let Some(Cmd::Submit { spec, .. }) = harness.take().pop() else { panic!("not fired: {}", harness.frame()) };
    let Operation::Tool { arguments, .. } = &spec.operation else { panic!() };
    assert_eq!(arguments, &Body::from(r#"{"rows":[{"colour":"red"}]}"#));
    harness.keys("esc").tool("anything");
    harness.keys("a").text("shape").keys("enter").text("round").keys("enter");
    let Some(Cmd::Submit { spec, .. }) = harness.take().pop() else { panic!("not fired: {}", harness.frame()) };
    let Operation::Tool { arguments, .. } = &spec.operation else { panic!() };
    assert_eq!(arguments, &Body::from(r#"{"shape":"round"}"#));
}

#[test]
fn a_page_is_shown_in_full_and_opened_only_by_its_key() {
    let mut harness = Harness::busy(120, 40);
    let url = "https://login.example/oauth?state=abc";
    let question = Question::Url { message: "Sign in".into(), url: url.into() };
    let ask = Arc::new(Ask { id: AskId(9), server: "email".into(), call: None, question, at: fake::at(7000), run: None });
    harness.event(EventKind::AskOpened { ask });
    assert!(harness.frame().contains(url));
    assert_eq!(harness.take(), []);
    assert_eq!(harness.keys("o").take(), [Cmd::OpenUrl(url.into())]);
}

#[test]
fn a_projects_file_is_approved_by_its_hash() {
    let prompt = ApprovalPrompt { path: ".mcp.json".into(), lines: vec!["npx \u{1b}[2J".into()], hash: "abc123".into() };
    let mut harness = Harness::with(120, 40, fake::shop_world(), Startup::Approval(prompt));
    let frame = harness.frame();
    assert!(frame.contains("abc123") && frame.contains(r"npx \x1b[2J"), "{frame}");
    harness.keys("enter esc");
    assert_eq!(harness.take(), [], "neither is an answer");
    assert_eq!(harness.keys("a").take(), [Cmd::Request(ConsoleRequest::Approve("abc123".into()))]);
}

#[test]
fn a_projects_file_that_changes_asks_as_at_the_start_but_not_amid_typing() {
    let prompt = |hash: &str| ApprovalPrompt { path: "switchboard.toml".into(), lines: vec![format!("run-{hash}")], hash: hash.into() };
    let changed = |hash: &str| Msg::Update(ConsoleUpdate::Approval(Some(prompt(hash))));
    let mut harness = Harness::new(120, 40);
    harness.keys("/");
    harness.send(changed("one"));
    harness.keys("a");
    assert_eq!(harness.take(), [], "a letter of the filter approves nothing");
    assert!(!harness.frame().contains("run-one"));
    harness.keys("esc esc");
    assert!(harness.frame().contains("run-one"), "{}", harness.frame());
    // It changes again while the dialog is open.
    harness.send(changed("two"));
    let frame = harness.frame();
    assert!(frame.contains("run-two") && !frame.contains("run-one"), "{frame}");
    assert_eq!(harness.keys("a").take(), [Cmd::Request(ConsoleRequest::Approve("two".into()))]);
    // Approved elsewhere, or taken back.
    harness.send(changed("three"));
    harness.send(Msg::Update(ConsoleUpdate::Approval(None)));
    assert!(!harness.frame().contains("run-three"), "{}", harness.frame());
}

#[test]
fn a_failed_server_shows_its_report_and_the_key_for_the_next_step() {
    let mut harness = Harness::new(120, 40);
    harness.keys("end up");
    let frame = harness.frame();
    for part in
        ["exited before it answered initialize", "port 70000", r"\x1b[31m", "exited with code 3", "/usr/bin/flaky-server", "R restarts it"]
    {
        assert!(frame.contains(part), "{part}: {frame}");
    }
    assert_eq!(harness.keys("R").take(), [Cmd::Command(Command::Restart { server: fake::server("flaky") })]);
}

#[test]
fn the_cursor_stays_on_its_tool_while_lists_change() {
    let mut harness = Harness::new(120, 40);
    harness.tool("track").keys("esc");
    let before = harness.selected();
    let mut script = fake::Script::after(harness.model.world().seq);
    script.server(9000, fake::spec("another", None), Phase::Ready);
    script.push(9001, EventKind::ServerRemoved { server: fake::server("database") });
    harness.send(Msg::Events(script.events));
    assert_eq!(harness.selected(), before);
}

#[test]
fn templates_and_prompts_have_forms() {
    let mut harness = Harness::new(120, 40);
    let template = Node::Template(fake::server("database"), "db://users/{id}".into());
    harness.model.go_to(&template);
    harness.model.settle();
    harness.text("a b").keys("enter");
    let wanted = Operation::Resource { server: fake::server("database"), uri: "db://users/a%20b".into() };
    assert_eq!(harness.submitted_spec().operation, wanted);
    harness.model.go_to(&Node::Prompt(fake::server("database"), "summarise".into()));
    harness.model.settle();
    harness.keys("ctrl-s");
    assert_eq!(harness.take(), [], "a required argument is missing");
    harness.text("users").keys("enter");
    let Operation::Prompt { arguments, .. } = harness.submitted_spec().operation else { panic!("no prompt") };
    assert_eq!(arguments, Body::from(r#"{"table":"users"}"#));
}

#[test]
fn json_and_form_hold_the_same_arguments() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").text("ann").keys("ctrl-e ctrl-s");
    let Operation::Tool { arguments, .. } = harness.submitted_spec().operation else { panic!("no tool") };
    assert_eq!(arguments.value(), Some(serde_json::json!({"filter": "ann"})));
    harness.send(Msg::Edited(Ok("{ \"filter\": ".into())));
    assert!(harness.frame().contains("Not JSON yet"), "{}", harness.frame());
    harness.keys("ctrl-s");
    assert_eq!(harness.take(), []);
    harness.send(Msg::Edited(Ok("{\"filter\": \"bob\"}".into()))).keys("ctrl-e ctrl-s");
    let Operation::Tool { arguments, .. } = harness.submitted_spec().operation else { panic!("no tool") };
    assert_eq!(arguments.value(), Some(serde_json::json!({"filter": "bob"})));
}

#[test]
fn a_view_that_fell_behind_says_so() {
    let mut harness = Harness::new(120, 40);
    harness.model.resync(fake::shop_world(), 77);
    assert!(harness.frame().contains("fell behind by 77 events"), "{}", harness.frame());
}

#[test]
fn eighty_columns_drill_down_and_back_with_a_breadcrumb() {
    let mut harness = Harness::busy(80, 24);
    harness.keys("down down enter");
    assert!(harness.frame().contains(" database › create_user"), "{}", harness.frame());
    harness.keys("tab tab tab tab");
    assert!(
        harness.frame().lines().next().unwrap().contains("user › result"),
        "after the last field comes the result: {}",
        harness.frame()
    );
    harness.keys("esc esc esc");
    assert!(harness.frame().contains(" switchboard › servers"));
    harness.tool("queryu").keys("enter");
    let Some(Cmd::Submit { token, .. }) = harness.take().pop() else { panic!("not fired") };
    harness.send(Msg::Submitted { token, call: CallId(104) });
    assert_eq!(harness.model.focus, Focus::Result, "the result comes to the front");
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
    assert_eq!(harness.model.focus, Focus::Call);
    harness.send(mouse(press, 60, 28));
    assert_eq!(harness.model.focus, Focus::Traffic);
    harness.send(mouse(MouseEventKind::ScrollDown, 5, 5));
    assert!(!harness.selected().contains("create_user"));
}

#[test]
fn footer_help_and_palette_come_from_the_tables() {
    let mut harness = Harness::busy(132, 60);
    let footer = |h: &mut Harness| h.frame().lines().last().unwrap().to_owned();
    assert!(footer(&mut harness).contains("? help"));
    harness.tool("createuser");
    assert!(footer(&mut harness).starts_with(" ⏎ fire   Ctrl-e as JSON"), "{}", footer(&mut harness));
    harness.keys("esc : ctrl-u").text("fold every");
    assert!(harness.frame().contains(Action::FoldAll.help()));
    harness.keys("enter");
    assert!(!harness.frame().contains("create_user "), "{}", harness.frame());
    harness.keys(":").text("trackev").keys("enter");
    assert!(harness.selected().contains("track_event"));
    harness.keys("esc ?").text("clipboard");
    let frame = harness.frame();
    assert!(frame.contains(Action::Copy.help()) && !frame.contains(Action::Quit.help()));
}

#[test]
fn everything_can_be_told_without_colours() {
    let mut harness = Harness::busy(120, 40);
    harness.model.theme = Theme::mono();
    let buf = harness.buffer();
    assert!(buf.content.iter().all(|c| c.fg == ratatui::style::Color::Reset && c.bg == ratatui::style::Color::Reset));
    let frame = harness.frame();
    for word in ["● ", "failed", "degraded", "✓ ok", "! tool error", "✕ timeout", "– cancelled"] {
        assert!(frame.contains(word), "{word}: {frame}");
    }
}

#[test]
fn events_of_a_flood_change_the_figures_and_nothing_else() {
    let mut harness = Harness::new(120, 40);
    let mut script = fake::Script::after(harness.model.world().seq);
    for call in 0..5_000u64 {
        script.queued(9000 + call, 10_000 + call, fake::tool_call("database", "query_users", "{}"));
        script.settled(9000 + call, 2, 10_000 + call, fake::text_result("x"));
    }
    harness.send(Msg::Events(script.events));
    assert_eq!(harness.model.world().settled_total, 5_000);
    assert!(harness.frame().contains("5000 calls · following"));
    assert_eq!(harness.model.world().running, 0);
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
                5 => { harness.event(fake::ask(n + 1)); }
                6 => { harness.event(EventKind::AskClosed { ask: AskId(n), how: "gone".into() }); }
                7 => { harness.event(EventKind::ServerRemoved { server: fake::server("database") }); }
                8 => { harness.event(EventKind::ServerPhase { server: fake::server("email"), phase: Arc::new(Phase::Failed { why: Arc::new(fake::crash()) }) }); }
                9 => { harness.model.resync(fake::shop_world(), n); }
                10 => { harness.send(Msg::Input(Input::Paste("pasted \u{1b}[A\n{\"a\":1}".into()))); }
                11 => {
                    let mouse = MouseEvent { kind: MouseEventKind::Down(MouseButton::Left), column: width - 1, row: height - 1, modifiers: crossterm::event::KeyModifiers::NONE };
                    harness.send(Msg::Input(Input::Mouse(mouse)));
                }
                12 => { harness.send(Msg::Beat(fake::at(9000 + n * 100))); }
                _ => {}
            }
            for command in harness.take() {
                if let Cmd::Submit { token, spec } = command {
                    let call = 100_000 + n;
                    let mut script = fake::Script::after(harness.model.world().seq);
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
            harness.event(fake::ask(1)).keys("esc i").frame();
        }
    }
}

mod choices;
mod dialogs;
mod looks;
