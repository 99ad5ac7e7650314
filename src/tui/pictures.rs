//! The pictures of the documentation, drawn by the program itself.
//!
//! Tests compare each file in `assets/screens` with the screen that the program draws now.
//! `UPDATE_DOCS=1 cargo test pictures` writes them again.

mod breaker;
mod svg;
mod workflows;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};

pub(super) use svg::svg;

use super::{
    Startup, draw,
    input::Input,
    keymap::Keymap,
    model::{Model, Setup},
    msg::Msg,
    test_support,
    theme::Theme,
};
use crate::generated_docs::compare_or_update;

fn setup(title: &str, theme: Theme) -> Setup {
    Setup {
        theme,
        keymap: Keymap::built_in(),
        mouse: true,
        title: title.into(),
        startup: Startup::Normal,
        confirm: Default::default(),
        recall: Default::default(),
        layout: Default::default(),
        tour: false,
        opening: None,
        workflows: Default::default(),
        invocation: Default::default(),
        inputs: vec![],
    }
}

/// A console after a minute of traffic, with one server that failed.
fn busy(theme: Theme) -> Model {
    let mut model = Model::new(setup("shop.toml", theme), test_support::shop_state(), (132, 40));
    let mut script = test_support::Script::after(model.read_model().seq);
    let users = r#"{"users":[{"id":"u_1042","email":"ann@example.org","role":"developer","active":true},{"id":"u_1043","email":"ben@example.org","role":"viewer","active":false}],"total":2}"#;
    for n in 0..46u64 {
        let at = 10_000 + n * 1_270 + n * n % 7 * 90;
        let (server, tool, took) = match n % 9 {
            0 | 2 | 5 => ("database", "query_users", 2 + n % 4),
            1 | 7 => ("email", "send_email", 12 + n % 9),
            3 => ("analytics", "track_event", 700 + n * 60),
            8 => ("email", "ping", 1),
            _ => ("database", "insert_record", 4 + n % 3),
        };
        script.queued(at, 100 + n, test_support::tool_call(server, tool, r#"{"filter":"ann"}"#));
        let outcome = match n {
            16 | 34 => {
                crate::domain::call::Outcome::ToolError { result: crate::domain::body::Body::from(r#"{"isError":true,"content":[]}"#) }
            }
            30 => {
                let failure = crate::domain::call::Failure::after_send(crate::domain::call::FailureKind::Timeout, "no answer within 5 s");
                crate::domain::call::Outcome::Failed { failure: std::sync::Arc::new(failure) }
            }
            _ => test_support::text_result(users),
        };
        script.settled(at, took, 100 + n, outcome);
    }
    script.queued(68_100, 190, test_support::tool_call("analytics", "track_event", r#"{"name":"signup"}"#));
    model.at(test_support::at(69_500));
    model.update(Msg::Events(script.events));
    model
}

fn press(model: &mut Model, code: KeyCode) -> Vec<super::msg::Cmd> {
    model.update(Msg::Input(Input::Key(KeyEvent::new(code, KeyModifiers::NONE))))
}

/// Presses a key for each character; a line feed is Enter, a tab is Tab.
fn type_keys(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            key => KeyCode::Char(key),
        };
        press(model, code);
    }
}

/// Draws the screen, checks that it shows what the caption of the picture says, and returns the picture.
fn picture(model: &mut Model, caption: &[&str]) -> String {
    let mut buf = Buffer::empty(Rect::new(0, 0, 132, 40));
    draw::draw(model, &mut buf);
    let rows: Vec<&[ratatui::buffer::Cell]> = buf.content().chunks(usize::from(buf.area.width)).collect();
    let text: String = rows.iter().flat_map(|row| row.iter().map(|cell| cell.symbol()).chain(["\n"])).collect();
    for part in caption {
        assert!(text.contains(part), "the picture does not show {part:?}:\n{text}");
    }
    svg(&buf, &model.session.theme, "switchboard")
}

#[test]
fn pictures_of_the_readme_are_what_the_program_shows() {
    for (name, theme) in [("dark", Theme::dark()), ("light", Theme::light())] {
        let mut model = busy(theme);
        "/queryu".chars().for_each(|c| drop(press(&mut model, KeyCode::Char(c))));
        press(&mut model, KeyCode::Enter);
        "ann".chars().for_each(|c| drop(press(&mut model, KeyCode::Char(c))));
        let commands = press(&mut model, KeyCode::Enter);
        let Some(&super::msg::Cmd::Submit { token, .. }) = commands.last() else { panic!("no call was sent: {commands:?}") };
        model.update(Msg::Submitted { token, call: crate::domain::id::CallId(145) });
        compare_or_update(&format!("assets/screens/console-{name}.svg"), &picture(&mut model, &["query_users", "Result"]));
    }
}

/// The traffic with the detail of a call open, and the calls of three workflow runs on one axis.
#[test]
fn pictures_of_traffic_and_timeline_are_what_the_program_shows() {
    let taken = [
        ("traffic", busy(Theme::dark()), "2kkkkkkkkkkkkkk\n", &["query_users", "ann@example.org"]),
        ("timeline", workflows::model_at(14_300), "3+++jjjjj", &["onboard_new_user", "compensated"]),
    ];
    for (name, mut model, keys, caption) in taken {
        type_keys(&mut model, keys);
        compare_or_update(&format!("assets/screens/{name}.svg"), &picture(&mut model, caption));
    }
}

/// The breaker of the flaky server opens, sends a probe and closes. Only the open breaker is a picture.
#[test]
fn the_picture_of_a_breaker_is_what_the_program_shows() {
    use crate::domain::policy::breaker::State;
    // Charges come at 12 s and every 700 ms after that.
    for (until, state) in [(56_300, State::Open), (59_850, State::HalfOpen), (64_000, State::Closed)] {
        let mut model = Model::new(setup("demo", Theme::dark()), test_support::shop_state(), (132, 40));
        let events = breaker::Story::after(model.read_model().seq).events_until(until);
        model.at(test_support::at(until));
        model.update(Msg::Events(events));
        assert_eq!(model.read_model().server(&test_support::server("flaky")).map(|s| s.breaker.state), Some(state), "{until}");
        type_keys(&mut model, "4jjj");
        let shown = picture(&mut model, &["flaky"]);
        if state == State::Open {
            compare_or_update("assets/screens/breaker-open.svg", &shown);
        }
    }
}
