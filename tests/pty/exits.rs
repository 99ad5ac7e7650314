//! Every exit path restores the terminal and ends every process.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::session::{Session, console, program, signal_to, switchboard};

/// Starts the demo and waits for all of its servers.
fn demo() -> Session {
    let mut session = console(&["demo"]).start();
    // Five stdio servers and the HTTP server, the helper, the program itself.
    assert_eq!(session.ready(), 8);
    assert!(session.screen().alternate_screen() && session.screen().bracketed_paste() && session.screen().hide_cursor());
    session
}

/// Starts a call of `analytics_report` that takes a minute.
fn slow_call(session: &mut Session) {
    session.press("/", "find a tool");
    session.press("report\r", "analytics_report ");
    session.press("\x1560\r", "1 running");
}

#[test]
fn q_quits_immediately_when_nothing_runs() {
    let mut session = demo();
    session.keys("q");
    session.ended().code(0).restored().nothing_left().no_files();
}

#[test]
fn with_a_running_call_q_asks_first() {
    let mut session = demo();
    slow_call(&mut session);
    session.press("\x1b", "E $EDITOR");
    session.press("q", "Leave Switchboard?");
    session.keys("n");
    session.until("the dialog gone", |screen| !screen.contains("Leave Switchboard?"));
    assert!(session.text().contains("1 running"), "staying cancels nothing");
    session.press("q", "Leave Switchboard?");
    session.keys("y");
    session.ended().code(0).restored().nothing_left().no_files();
}

#[test]
fn signals_end_it_cleanly() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut session = demo();
        slow_call(&mut session);
        session.signal(signal);
        session.ended().code(code).restored().nothing_left().no_files();
    }
}

#[test]
fn a_kill_leaves_no_server_behind() {
    let session = demo();
    session.signal(Signal::KILL);
    session.ended().nothing_left();
}

/// Starts a shell that runs the demo, prints its exit status, and reads a line.
fn demo_in_a_shell() -> Session {
    let script = "\"$0\" demo; echo \"ended:$?\"; read line; echo \"got:$line\"";
    let mut session = program(&["/bin/sh", "-c", script, switchboard()]).start();
    session.ready();
    assert!(session.screen().alternate_screen());
    session
}

/// Sends a signal until the process is gone.
fn end_by(pid: u32, signal: Signal) {
    let end = Instant::now() + Duration::from_secs(10);
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < end, "{signal:?} does not end it");
        signal_to(pid, signal);
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Returns the pid of the console that such a shell runs.
fn console_of(session: &Session) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", session.pid)).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_console_that_a_signal_kills_leaves_a_usable_terminal() {
    for signal in [Signal::KILL, Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::QUIT, Signal::ILL] {
        let mut session = demo_in_a_shell();
        let console = console_of(&session);
        // Rust's handler for stack overflows lets the first SIGSEGV or SIGBUS from outside pass.
        end_by(console, signal);
        session.until_session("the restore message", |s| String::from_utf8_lossy(s.stream()).contains("The terminal was restored."));
        session.until_session("the shell again", |s| String::from_utf8_lossy(s.stream()).contains("ended:"));
        assert!(!session.screen().alternate_screen() && !session.screen().bracketed_paste() && !session.screen().hide_cursor());
        // In cooked mode a carriage return ends the line, and is echoed.
        session.keys("hello\r");
        session.until_session("the line read", |s| String::from_utf8_lossy(s.stream()).contains("got:hello"));
        session.ended().code(0).restored().nothing_left();
    }
}

#[test]
fn a_stopped_console_that_is_killed_leaves_the_shells_terminal_alone() {
    let script = "set -m; \"$0\" demo; echo stopped:$?; kill -9 %1; wait; echo waited; read line; echo got:$line";
    let mut session = program(&["/bin/sh", "-c", script, switchboard()]).start();
    session.ready();
    session.press("\x1a", "stopped:");
    session.until_session("the console gone", |s| String::from_utf8_lossy(s.stream()).contains("waited"));
    session.keys("hello\r");
    session.until_session("the line read", |s| String::from_utf8_lossy(s.stream()).contains("got:hello"));
    let ended = session.ended().code(0).restored().nothing_left();
    assert!(!String::from_utf8_lossy(&ended.stream).contains("The terminal was restored."), "it had been given back");
}

#[test]
fn a_closed_terminal_leaves_nothing_behind() {
    demo().hang_up().nothing_left().no_files();
}

#[test]
fn a_closed_terminal_ends_it_even_where_no_signal_tells() {
    // The shell leads the session, ignores the hang-up signal, and survives.
    let script = "trap '' HUP; setsid -w \"$0\" demo </dev/tty; exit 0";
    let mut session = program(&["/bin/sh", "-c", script, switchboard()]).start();
    session.ready();
    session.hang_up().nothing_left().no_files();
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again() {
    let script = "set -m; stty -a; \"$0\" demo; echo stopped:$?; stty -a; read line; echo got:$line; fg >/dev/null; echo ended:$?";
    let mut session = program(&["/bin/sh", "-c", script, switchboard()]).start();
    session.ready();
    let whole = session.text();
    session.press("\x1a", "stopped:");
    let shell = session.screen();
    assert!(!shell.alternate_screen() && !shell.bracketed_paste() && !shell.hide_cursor(), "{}", session.text());
    // What is typed now goes to the shell.
    session.keys("hello\r");
    session.until_session("the line read", |s| String::from_utf8_lossy(s.stream()).contains("got:hello"));
    session.until("the console again", |screen| screen.contains("Servers") && screen.contains("q quit"));
    assert_eq!(session.text(), whole, "all of it is drawn again");
    assert!(session.screen().alternate_screen() && session.screen().bracketed_paste());
    session.keys("q");
    let ended = session.ended().code(0).restored().nothing_left().no_files();
    let all = String::from_utf8_lossy(&ended.stream).into_owned();
    let modes =
        |part: &str| part.lines().filter(|l| l.contains("icanon") || l.contains("echo")).map(str::trim).collect::<Vec<_>>().join(" ");
    let (before, after) = (modes(all.split("\x1b[?1049h").next().unwrap()), modes(all.split("stopped:").nth(1).unwrap()));
    assert!(before.contains(" icanon") && after.contains(&before), "{before:?} against {after:?}");
    assert!(ended.last_words().contains("ended:0"), "{}", ended.last_words());
}

#[test]
fn a_stop_and_a_continue_from_outside_redraw_everything() {
    let mut session = demo();
    let whole = session.text();
    signal_to(session.pid, Signal::STOP);
    let before = session.stream().len();
    signal_to(session.pid, Signal::CONT);
    session.until_session("a whole frame", |s| String::from_utf8_lossy(&s.stream()[before..]).contains("Servers"));
    session.until("the same again", |screen| screen == whole);
    session.keys("q");
    session.ended().code(0).restored().nothing_left().no_files();
}
