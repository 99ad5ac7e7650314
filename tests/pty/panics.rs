//! A panic leaves a usable terminal and a readable message.
//!
//! The program has no known panic, so this test binary runs itself in a terminal, as a console on an
//! engine that panics on a command.

use std::sync::Arc;

use futures_util::FutureExt;
use switchboard::{
    control::{Command, Control, Interest, LocalControl, PendingCall, PendingReply, Reply, Tail, Workspace},
    domain::{
        call::CallSpec,
        id::ClientId,
        retention::Retention,
        server::{ServerSpec, Transport},
        time::Epoch,
    },
    engine::EngineOptions,
    mcp::Connections,
    state::ConsoleState,
    tui::{self, ConsoleOptions, Preferences, keymap::Keymap, theme::Theme},
};

use crate::session::{Session, program};

const WHERE: &str = "SWITCHBOARD_TEST_PANIC";

struct Faulty {
    engine: Arc<LocalControl>,
    in_a_task: bool,
}

impl Control for Faulty {
    fn client(&self) -> ClientId {
        ClientId::LOCAL
    }

    fn observe(&self, interest: Interest) -> (Arc<ConsoleState>, Tail) {
        self.engine.observe(interest)
    }

    fn submit(&self, spec: CallSpec) -> PendingCall {
        Control::submit(&*self.engine, spec)
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        self.engine.workspace()
    }

    fn command(&self, _: Command) -> PendingReply {
        if self.in_a_task {
            tokio::spawn(async { panic!("out of cheese") });
        } else {
            panic!("out of cheese")
        }
        std::future::ready(Ok(Reply::Done)).boxed()
    }
}

#[test]
#[ignore = "run by the tests below in a terminal of its own"]
fn console_that_panics() {
    let in_a_task = std::env::var(WHERE).expect("started by a test") == "task";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let shown = runtime.block_on(async {
        let options = EngineOptions { epoch: Epoch { unix_ms: 0, utc_offset_s: 0 }, separator: "_".into(), seed: None };
        let engine = LocalControl::new(options, Retention::default(), Arc::new(Connections::new(None)));
        let launch = Transport::Stdio { command: "none".into(), args: vec![], env: vec![], inherit_env: false, cwd: None };
        engine.apply(vec![ServerSpec { disabled: true, ..ServerSpec::new("idle", launch) }]);
        let console = ConsoleOptions {
            preferences: Preferences { theme: Theme::ansi(), keymap: Keymap::built_in(), confirm: Default::default() },
            rest: || {},
            heard: std::sync::Arc::new(|| {}),
            guard: None,
            exports: std::env::temp_dir(),
            tour: false,
            opening: None,
            begin: None,
        };
        tui::run(Arc::new(Faulty { engine, in_a_task }), console).await
    });
    assert_eq!(shown.unwrap(), tui::Left::Quit);
}

fn console_with_a_panic_in(place: &str) -> Session {
    let own = std::env::current_exe().unwrap();
    let words = [own.to_str().unwrap(), "panics::console_that_panics", "--exact", "--ignored", "--nocapture", "--test-threads=1"];
    let mut session = program(&words).env(WHERE, place).start();
    session.see("idle");
    assert!(session.screen().alternate_screen());
    session.keys("R");
    session
}

#[test]
fn a_panic_in_the_loop_gives_the_terminal_back() {
    let ended = console_with_a_panic_in("loop").ended().restored();
    let words = ended.last_words();
    assert!(words.contains("out of cheese") && words.contains("tests/pty/panics.rs"), "{words}");
    // On separate lines, from the left margin: the terminal was restored before the message was written.
    assert!(words.contains("\r\n"), "{words:?}");
    assert_ne!(ended.code, 0);
}

#[test]
fn a_panic_in_another_task_is_reported_and_the_console_continues() {
    let mut session = console_with_a_panic_in("task");
    session.see("panicked");
    assert!(session.screen().alternate_screen());
    session.keys("q");
    let ended = session.ended().code(0).restored();
    let words = ended.last_words();
    assert!(words.contains("out of cheese") && words.contains("tests/pty/panics.rs"), "{words}");
}
