//! Stdio servers that die.

use rustix::process::{Pid, Signal, kill_process};
use switchboard::domain::{
    call::{FailureKind, Outcome},
    server::Exit,
};

use crate::{
    packages,
    support::{Rig, failure_of, text_of},
};

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_a_call_fails_that_call_with_the_signal_and_comes_back() {
    let rig = Rig::start(vec![packages::everything(), packages::time()]);
    rig.ready("time").await;
    let read_model = rig.ready("everything").await;
    let before = read_model.servers[0].info.as_ref().unwrap().pid.unwrap();
    let call = rig.submit("everything", "trigger-long-running-operation", r#"{"duration":600,"steps":6000}"#);
    rig.until("progress", |w| w.call(call).is_some_and(|c| c.progress.is_some())).await;
    kill(before);
    let settled = rig.settled(call).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.exit), (FailureKind::Exited, Some(Exit::Signal(9))), "{failure:?}");
    assert!(failure.may_have_run);
    assert!(failure.stderr.iter().any(|l| l.contains("Starting default (STDIO) server")), "{failure:?}");
    // A call made now waits for the server and is answered by the new one.
    let (_, settled) = rig.call("everything", "echo", r#"{"message":"again"}"#).await;
    assert_eq!(text_of(&settled), "Echo: again");
    let after = rig.server("everything").info.unwrap().pid.unwrap();
    assert_ne!(before, after);
    // The other server noticed nothing.
    assert_eq!(rig.server("time").history.iter().filter(|(_, p)| p.word() == "ready").count(), 1);
    let (_, settled) = rig.call("time", "get_current_time", r#"{"timezone":"UTC"}"#).await;
    assert!(matches!(settled.outcome, Outcome::Ok { .. }));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_server_killed_while_idle_is_noticed_and_comes_back() {
    let rig = Rig::start(vec![packages::time()]);
    let before = rig.ready("time").await.servers[0].info.as_ref().unwrap().pid.unwrap();
    kill(before);
    let read_model = rig
        .until("a new process", |w| {
            let server = &w.servers[0];
            server.phase.usable() && server.info.as_ref().is_some_and(|i| i.pid != Some(before))
        })
        .await;
    let server = &read_model.servers[0];
    let lost = server.history.iter().find_map(|(_, p)| p.failure().cloned()).unwrap();
    assert_eq!(lost.exit, Some(Exit::Signal(9)), "{lost:?}");
    assert_eq!(server.info.as_ref().unwrap().protocol, "2026-07-28");
    rig.stop().await;
}
