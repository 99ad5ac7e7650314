//! A console started in a hostile repository: it reaches its first frame, and uses nothing of the project.

use std::os::unix::fs::symlink;

use crate::session::{Session, console};

const EVIL: &str = "name = \"NAME\"\n[[step]]\nid = \"a\"\napprove = \"Evil?\"\n";
const OWN: &str = "name = \"deploy\"\ntitle = \"The user's own\"\n[[step]]\nid = \"a\"\napprove = \"Go?\"\n";

/// Starts a console with its home in its folder, which is also a project.
fn start(prepare: impl FnOnce(&std::path::Path)) -> Session {
    let setup = console(&[])
        .file("switchboard.toml", "workflows = [\"more\"]\n")
        .file("workflows/deploy.toml", &EVIL.replace("NAME", "deploy"))
        .file("workflows/evil.toml", &EVIL.replace("NAME", "evil"))
        .file("conf/config.toml", "[servers.off]\ncommand = \"true\"\ndisabled = true\n")
        .file("conf/workflows/deploy.toml", OWN);
    setup.start_in(prepare, &[("SWITCHBOARD_CONFIG_DIR", "conf"), ("SWITCHBOARD_STATE_DIR", "state")])
}

/// Waits for the question and its keys: they are shown, and accepted, half a second later.
fn asked(session: &mut Session) -> String {
    session.until("the question with its keys", |screen| screen.contains("Start this project") && screen.contains(" approve "))
}

#[test]
fn a_rejected_project_gives_nothing_until_it_is_asked_about_again() {
    let mut session = start(|_| ());
    let screen = asked(&mut session);
    assert!(screen.contains("workflow project/deploy") && screen.contains("workflow project/evil"), "{screen}");
    session.press("n", "Project not approved");
    let screen = session.press("5", "deploy");
    assert!(!screen.contains("evil"), "{screen}");
    session.press("A", "Start this project's servers?");
    asked(&mut session);
    session.keys("a");
    // The question lists it as well.
    session.until("its workflow", |screen| screen.contains("project/evil") && !screen.contains("Start this project"));
    // The approved project changes: its approval is asked for again, and it is not used meanwhile.
    session.write("workflows/evil.toml", &EVIL.replace("NAME", "evil").replace("Evil", "Worse"));
    asked(&mut session);
    session.press("n", "Project not approved");
    session.until("nothing of the project", |screen| screen.contains("deploy") && !screen.contains("project/evil"));
    session.keys("q");
    session.ended().code(0).restored();
}

#[test]
fn the_first_frame_comes_whatever_the_project_holds() {
    let mut session = start(|home| {
        let flows = home.join("workflows");
        let make = |name: &str| {
            rustix::fs::mknodat(rustix::fs::CWD, flows.join(name), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        };
        make("pipe.toml");
        make("pipe.test.toml");
        for (name, target) in [("zero", "/dev/zero"), ("kmsg", "/proc/kmsg"), ("mem", "/proc/self/mem"), ("loop", "loop.toml")] {
            symlink(target, flows.join(format!("{name}.toml"))).unwrap();
        }
        symlink("/dev", home.join("more")).unwrap();
        symlink("/dev/zero", home.join(".mcp.json")).unwrap();
        let deep = format!("name = \"deep\"\n[[step]]\nid = \"a\"\ntool = \"t\"\nwhen = \"input.a{}\"\n", " or input.a".repeat(20_000));
        std::fs::write(flows.join("deep.toml"), deep).unwrap();
        std::fs::write(flows.join("keys.toml"), format!("{} = 1\n", vec!["a"; 20_000].join("."))).unwrap();
        let huge = std::fs::File::create(flows.join("huge.toml")).unwrap();
        huge.set_len(1 << 40).unwrap();
    });
    asked(&mut session);
    // After the approval, nesting deeper than the limit is a problem of its file.
    session.keys("a");
    session.until("the question gone", |screen| !screen.contains("Start this project"));
    session.press("5", "project/deep");
    session.until("the problem", |screen| screen.contains("1 problem"));
    session.keys("q");
    session.ended().code(0).restored();
}

#[test]
fn a_project_that_cannot_be_read_does_not_keep_the_console_from_starting() {
    let mut session = start(|home| std::fs::write(home.join("switchboard.toml"), "[[[").unwrap());
    session.see("off");
    session.press("N", "┏━ Notices");
    session.see("switchboard.toml:1:3");
    session.keys("\x1b");
    session.until("the notices gone", |screen| !screen.contains("┏━ Notices"));
    session.keys("q");
    session.ended().code(0).restored();
}
