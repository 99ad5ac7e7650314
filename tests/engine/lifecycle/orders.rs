//! Orders: changes of the configuration, processes.

use super::*;

fn pid(read_model: &ConsoleState, id: &str) -> u32 {
    read_model.server(&id.into()).unwrap().info.as_ref().unwrap().pid.unwrap()
}

fn alive(pid: u32) -> bool {
    // A zombie is not a running process.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until the server runs as another process than `old`.
async fn replaced(rig: &Rig, id: &str, old: u32) -> u32 {
    let other =
        |w: &ConsoleState| w.server(&id.into()).is_some_and(|s| s.phase.usable() && s.info.as_ref().and_then(|i| i.pid) != Some(old));
    pid(&rig.until("another process", other).await, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_touches_what_changed_and_nothing_else() {
    let rig = Rig::start(vec![named("same", &["plain"]), named("changed", &["plain"]), named("gone", &["plain"])]);
    for id in ["same", "changed", "gone"] {
        rig.ready(id).await;
    }
    let before = rig.read_model();
    let (same, changed, gone) = (pid(&before, "same"), pid(&before, "changed"), pid(&before, "gone"));
    let staying = rig.submit("same", "question", "{}");
    let leaving: Vec<CallId> = ["changed", "gone"].iter().map(|id| rig.submit(id, "hang", "{}")).collect();
    rig.until("all sent", |w| w.running == 3 && w.calls.iter().all(|c| c.sent.is_some())).await;

    let mut moved = named("same", &["plain"]);
    moved.origin.line = Some(7);
    rig.engine.apply(vec![moved, named("added", &["plain"]), named("changed", &["plain", "--now"])]);
    rig.ready("added").await;
    let renewed = replaced(&rig, "changed", changed).await;
    for call in leaving {
        assert_eq!(failure_of(&*rig.settled(call).await).kind, FailureKind::Transport);
    }
    let read_model = rig.until("the other gone", |w| w.server(&"gone".into()).is_none()).await;
    assert!(!alive(changed) && alive(renewed) && alive(same));
    assert_eq!(pid(&read_model, "same"), same);
    assert!(read_model.call(staying).unwrap().settled.is_none(), "a call under way is not disturbed");
    let ask = rig.until("its question", |w| !w.asks.is_empty()).await.asks[0].id;
    rig.command(Command::Answer { ask, answer: Answer::Decline });
    assert!(text_of(&*rig.settled(staying).await).contains("decline"));
    assert_eq!(failure_of(&rig.call("gone", "echo", "{}").await.1).kind, FailureKind::UnknownServer);
    assert!(read_model.names.tool("gone_echo").is_none() && read_model.names.tool("added_echo").is_some());
    rig.stop().await;
    assert!([same, renewed, gone].iter().all(|pid| !alive(*pid)), "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_ends_the_process_and_restarting_brings_another() {
    let rig = Rig::start(vec![bad("plain")]);
    let first = pid(&rig.ready("bad").await, "bad");
    let hanging = rig.submit("bad", "hang", "{}");
    rig.until("it sent", |w| w.calls[0].sent.is_some()).await;
    rig.command(Command::Disable { server: "bad".into() });
    rig.until("disabled", |w| matches!(&*w.servers[0].phase, Phase::Disabled)).await;
    assert!(!alive(first), "disabled means gone");
    assert_eq!(failure_of(&*rig.settled(hanging).await).kind, FailureKind::Transport);
    let (_, settled) = rig.call("bad", "echo", "{}").await;
    assert!(failure_of(&settled).message.contains("disabled"), "{settled:?}");
    rig.command(Command::Refresh { server: "bad".into() });
    rig.command(Command::Restart { server: "bad".into() });
    let second = replaced(&rig, "bad", first).await;
    rig.command(Command::Restart { server: "bad".into() });
    replaced(&rig, "bad", second).await;
    assert!(!alive(second));
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_during_a_start_leave_no_process_behind() {
    let mut spec = bad("silent_initialize");
    spec.timeouts.stop = Duration::from_millis(200);
    let rig = Rig::start(vec![spec]);
    let up = |n: usize| move |w: &ConsoleState| w.servers[0].stderr.iter().filter(|(_, l)| l.contains("is up")).count() == n;
    rig.until("the first process", up(1)).await;
    rig.command(Command::Restart { server: "bad".into() });
    rig.until("the second process", up(2)).await;
    rig.command(Command::Disable { server: "bad".into() });
    rig.until("disabled", |w| matches!(&*w.servers[0].phase, Phase::Disabled)).await;
    rig.stop().await;
    assert_eq!(crate::processes::of_this_process(), Vec::<u32>::new());
}
