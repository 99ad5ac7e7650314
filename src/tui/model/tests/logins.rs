//! Tests of logins: the key on a row, and the dialog with the address.

use crate::{
    domain::{
        config_input::InputValue,
        login::LoginWanted,
        server::{ConnectFailure, Step},
        workspace::{LoginEnd, LoginStarted},
    },
    tui::ConsoleUpdate,
};

use super::*;

/// A console with a server that wants a login, which is selected.
fn wanting(width: u16, height: u16) -> Harness {
    let mut harness = Harness::new(width, height);
    let command = "switchboard login flaky".to_owned();
    let login = LoginWanted { scopes: vec![], why: "the server requires a login".into(), command };
    let why = ConnectFailure { login: Some(login), ..ConnectFailure::new(Step::Initialize, "the server refused the request: 401") };
    let phase = Arc::new(Phase::NeedsLogin { why: Arc::new(why) });
    harness.event(EventKind::ServerPhase { server: test_support::server("flaky"), phase });
    harness.keys("end up");
    harness
}

fn started() -> LoginStarted {
    let query = "response_type=code&client_id=client-7&state=Wn3yHc0bqk&code_challenge=FQqk9tTQ0H0m4tdt3yHc0bqkWn3yHc0bqk&end=1";
    LoginStarted { server: test_support::server("flaky"), address: format!("https://login.example.com/authorize?{query}"), opened: false }
}

#[test]
fn a_row_that_needs_a_login_has_a_key_for_it() {
    let mut harness = wanting(120, 40);
    let frame = harness.frame();
    assert!(frame.contains("needs login") && frame.contains("o log in"), "{frame}");
    assert_eq!(harness.keys("o").take(), [Cmd::Request(WorkspaceRequest::Login { server: test_support::server("flaky"), scopes: vec![] })]);
    // Other rows have none.
    harness.keys("home o");
    assert_eq!(harness.take(), []);
}

#[test]
fn the_dialog_shows_the_whole_address_and_takes_the_pasted_one() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut harness = wanting(width, height);
        harness.send(Msg::Update(ConsoleUpdate::Login(started())));
        assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::LoginEnd { server: test_support::server("flaky") })]);
        let frame = harness.frame();
        let rows: String = frame.lines().map(|line| line.trim_matches([' ', '│', '┃'])).collect();
        assert!(rows.contains("end=1") && frame.contains("https://login.example.com/authorize?response_type=code"), "{frame}");
        assert_scene!("login", (width, height), frame);
        assert_eq!(harness.keys("ctrl-y").take(), [Cmd::Copy(started().address)]);
        assert!(harness.frame().contains("The address is copied."), "{}", harness.frame());
        harness.text("http://127.0.0.1:7/callback?code=c").keys("enter");
        let address = InputValue("http://127.0.0.1:7/callback?code=c".into());
        let server = test_support::server("flaky");
        assert_eq!(harness.take(), [Cmd::Request(WorkspaceRequest::FinishLogin { server, address })]);
        harness.keys("esc");
        assert!(harness.model.dialogs.is_empty());
    }
}

#[test]
fn the_dialog_says_that_the_login_is_over() {
    let mut harness = wanting(120, 40);
    harness.send(Msg::Update(ConsoleUpdate::Login(started())));
    harness.event(EventKind::ServerPhase { server: test_support::server("flaky"), phase: Arc::new(Phase::Ready) });
    assert!(harness.frame().contains("You are logged in."), "{}", harness.frame());
    assert!(harness.keys("enter").model.dialogs.is_empty());
}

#[test]
fn the_dialog_names_the_end_of_the_login_and_says_how_it_ended() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut harness = wanting(width, height);
        harness.send(Msg::Tick(test_support::at(20_000)));
        harness.send(Msg::Update(ConsoleUpdate::Login(started())));
        let end = harness.model.read_model().epoch.time_of_day(test_support::at(320_000))[..5].to_owned();
        let text = |harness: &mut Harness| -> String {
            let words: Vec<String> = harness.frame().split_whitespace().map(|word| word.replace(['│', '┃'], "")).collect();
            words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        };
        let waiting = text(&mut harness);
        assert!(waiting.contains("redirect until") && waiting.contains(&format!("{end}.")), "{waiting}");
        for (server, end, expected) in [
            ("email", LoginEnd::LoggedIn, "redirect until"),
            ("flaky", LoginEnd::Failed("the server is away".into()), "The login failed: the server is away."),
            ("flaky", LoginEnd::Replaced, "Another login at this server began."),
            ("flaky", LoginEnd::LoggedIn, "You are logged in."),
        ] {
            harness.send(Msg::Update(ConsoleUpdate::LoginEnded(test_support::server(server), end)));
            let shown = text(&mut harness);
            assert!(shown.contains(expected), "{shown}");
        }
    }
}

#[test]
fn a_login_at_a_connected_server_is_over_when_it_ends() {
    let mut harness = Harness::new(120, 40);
    let login = LoginStarted { server: test_support::server("database"), ..started() };
    harness.send(Msg::Update(ConsoleUpdate::Login(login)));
    assert!(!harness.frame().contains("You are logged in"));
    harness.send(Msg::Update(ConsoleUpdate::LoginEnded(test_support::server("database"), LoginEnd::LoggedIn)));
    assert!(harness.frame().contains("You are logged in with the further scopes."), "{}", harness.frame());
}
