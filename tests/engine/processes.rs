//! What is left when the program, or the engine, is gone: nothing. Found by the mark that every process of a server inherits.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use switchboard::domain::call::FailureKind;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{PATIENCE, Rig, bad_server, failure_of, stdio};

/// Living processes whose mark begins with the number of the instance `owner`, and the helper that watches over them.
fn of(owner: u32) -> Vec<u32> {
    let mark = format!("SWITCHBOARD_INSTANCE={owner:x}-");
    let helper = format!("\0reaper\0{owner:x}-");
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let marked = environ.split(|b| *b == 0).any(|var| var.starts_with(mark.as_bytes()));
        if marked || String::from_utf8_lossy(&line).contains(&helper) {
            found.push(pid);
        }
    }
    found
}

/// Processes of all engines in this test process: only for tests that look for their own mode.
pub fn of_this_process() -> Vec<u32> {
    // Other tests run concurrently, so only processes with the mode of this one test count.
    of(std::process::id())
        .into_iter()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("silent_initialize"))
        })
        .collect()
}

/// Looks again until it is as wanted.
async fn eventually(what: &str, patience: Duration, wanted: impl Fn() -> bool) {
    let end = Instant::now() + patience;
    while !wanted() {
        assert!(Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A folder with a configuration for each mode, with that one server.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["plain", "family", "stray", "deaf"] {
        let text = format!("[servers.bad]\ncommand = {:?}\nargs = [{mode:?}]\ntimeouts = {{ stop = \"500ms\" }}\n", bad_server());
        std::fs::write(folder.path().join(mode).with_extension("toml"), text).unwrap();
    }
    folder
}

/// The program with a server of this mode.
fn program(folder: &TempDir, mode: &str, line: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .arg("--config")
        .arg(folder.path().join(mode).with_extension("toml"))
        .args(line)
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn end(child: Child) -> (Option<i32>, String) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("the program ends").unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_runs_leave_nothing_behind() {
    let folder = folder();
    let runs: &[(&str, &[&str])] = &[
        ("plain", &["servers"]),
        ("family", &["tools"]),
        ("plain", &["call", "--yes", "bad_strays"]),
        ("stray", &["servers"]),
        ("plain", &["call", "--yes", "bad_exit"]),
    ];
    let mut left = Vec::new();
    let batch: Vec<_> = (0..20).map(|n| runs[n % runs.len()]).map(|(mode, line)| (mode, line, program(&folder, mode, line))).collect();
    for (mode, line, child) in batch {
        let id = child.id().unwrap();
        let (code, stderr) = end(child).await;
        assert_eq!(code, Some(if line.contains(&"bad_exit") { 4 } else { 0 }), "{mode} {line:?}: {stderr}");
        left.extend(of(id).into_iter().map(|pid| (mode, line, pid)));
    }
    assert_eq!(left, [], "gone with the program");
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_the_program_and_all_that_came_of_it() {
    let folder = &folder();
    // How many processes there are besides the helper: the server, what it started, what got away.
    let modes = [("plain", 1), ("family", 3), ("stray", 2), ("deaf", 3)];
    let signals = [(Signal::TERM, Some(143)), (Signal::HUP, Some(143)), (Signal::INT, Some(130)), (Signal::KILL, None)];
    let every = modes.iter().flat_map(|mode| signals.iter().map(move |signal| (mode, signal)));
    futures_util::future::join_all(every.map(|((mode, count), (kind, code))| async move {
        let child = program(folder, mode, &["call", "--yes", "bad_hang"]);
        let id = child.id().unwrap();
        eventually("its processes", PATIENCE, || of(id).len() > *count).await;
        signal(&child, *kind);
        let (ended, stderr) = end(child).await;
        assert_eq!(ended, *code, "{mode}, {kind:?}: {stderr}");
        // After a SIGKILL the helper has the last word; else all is gone already.
        let patience = if *kind == Signal::KILL { Duration::from_secs(5) } else { Duration::ZERO };
        eventually(&format!("nothing left of {mode} after {kind:?}"), patience, || of(id).is_empty()).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_the_end_of_its_input_does_not_delay_the_end_of_the_program() {
    let folder = &folder();
    // With the default of `timeouts.stop`, each stage would take 2 s.
    let text = format!("[servers.bad]\ncommand = {:?}\nargs = [\"deaf\"]\n", bad_server());
    std::fs::write(folder.path().join("deaf").with_extension("toml"), text).unwrap();
    let child = program(folder, "deaf", &["call", "--yes", "bad_hang"]);
    let id = child.id().unwrap();
    eventually("its processes", PATIENCE, || of(id).len() > 3).await;
    signal(&child, Signal::TERM);
    let (ended, stderr) = tokio::time::timeout(Duration::from_secs(3), end(child)).await.expect("ends before two such stages");
    assert_eq!((ended, of(id)), (Some(143), vec![]), "{stderr}");
}

/// Processes whose command line has this word.
fn with_word(word: &str) -> Vec<u32> {
    let word = [b"\0", word.as_bytes(), b"\0"].concat();
    let has = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| memchr::memmem::find(&line, &word).is_some());
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has).collect()
}

/// A configuration with one server of this mode, which gets `token` on its command line.
fn with_token(folder: &TempDir, mode: &str, token: &str) {
    let text = format!("[servers.bad]\ncommand = {:?}\nargs = [{mode:?}, {token:?}]\ntimeouts = {{ stop = \"500ms\" }}\n", bad_server());
    std::fs::write(folder.path().join(token).with_extension("toml"), text).unwrap();
}

/// A word that no other process has.
fn token(what: &str) -> String {
    format!("{what}-{}-{:x}", std::process::id(), fastrand::u64(..))
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_group_environment_or_parent_goes_with_the_program() {
    let folder = &folder();
    let signals = [(Signal::TERM, Some(143)), (Signal::HUP, Some(143)), (Signal::INT, Some(130)), (Signal::KILL, None)];
    futures_util::future::join_all(signals.map(|(kind, code)| async move {
        let token = &token("escaped");
        with_token(folder, "escaped", token);
        let child = program(folder, token, &["call", "--yes", "bad_hang"]);
        // The server, and what left it.
        eventually("its processes", PATIENCE, || with_word(token).len() == 2 && of(child.id().unwrap()).len() > 1).await;
        signal(&child, kind);
        let (ended, stderr) = end(child).await;
        assert_eq!(ended, code, "{kind:?}: {stderr}");
        let patience = if kind == Signal::KILL { Duration::from_secs(5) } else { Duration::ZERO };
        eventually(&format!("nothing left after {kind:?}"), patience, || with_word(token).is_empty()).await;
    }))
    .await;
    // And at an ordinary end.
    let token = &token("escaped");
    with_token(folder, "escaped", token);
    let (code, stderr) = end(program(folder, token, &["call", "--yes", "bad_echo"])).await;
    assert_eq!((code, with_word(token)), (Some(0), vec![]), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_amid_the_start_of_servers_leaves_nothing() {
    let folder = &folder();
    // Twelve servers that start together, killed at every number of them that is seen.
    for count in 0..12 {
        let token = &token("amid");
        let servers: String =
            (0..12).map(|n| format!("[servers.s{n}]\ncommand = {:?}\nargs = [\"escaped\", {token:?}]\n", bad_server())).collect();
        std::fs::write(folder.path().join(token).with_extension("toml"), servers).unwrap();
        let steps: String = (0..12).map(|n| format!("[[step]]\nid = \"s{n}\"\ntool = \"s{n}_hang\"\n")).collect();
        let workflow = folder.path().join("all.toml");
        std::fs::write(&workflow, format!("name = \"all\"\nmax_parallel = 12\n{steps}")).unwrap();
        let child = program(folder, token, &["run", "--yes", workflow.to_str().unwrap()]);
        let id = child.id().unwrap();
        let end_of_wait = Instant::now() + PATIENCE;
        // Without a pause: the moment is what counts.
        while of(id).is_empty() || with_word(token).len() < count {
            assert!(Instant::now() < end_of_wait, "the servers start");
        }
        signal(&child, Signal::KILL);
        end(child).await;
        eventually("nothing left", Duration::from_secs(8), || with_word(token).is_empty() && of(id).is_empty()).await;
    }
}

/// The helper of the program `owner`.
fn helper_of(owner: u32) -> Option<u32> {
    let mark = format!("\0reaper\0{owner:x}-");
    of(owner)
        .into_iter()
        .find(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&mark)))
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_helper_takes_its_servers_along_and_another_one_starts_the_next() {
    let folder = &folder();
    // Killed together with the program, which is stopped meanwhile so that it starts nothing.
    let token = &token("orphan");
    with_token(folder, "plain", token);
    let child = program(folder, token, &["call", "--yes", "bad_hang"]);
    let id = child.id().unwrap();
    eventually("its server", PATIENCE, || !with_word(token).is_empty() && helper_of(id).is_some()).await;
    signal(&child, Signal::STOP);
    kill(helper_of(id).unwrap());
    signal(&child, Signal::KILL);
    end(child).await;
    eventually("nothing left", Duration::from_secs(5), || with_word(token).is_empty() && of(id).is_empty()).await;

    // A surviving engine notices it and starts another helper.
    let rig = Rig::start(vec![stdio("bad", &bad_server(), &["plain"])]);
    let read_model = rig.ready("bad").await;
    let first = read_model.servers[0].info.as_ref().unwrap().pid.unwrap();
    let call = rig.submit("bad", "hang", "{}");
    rig.until("it is sent", |w| w.call(call).is_some_and(|c| c.sent.is_some())).await;
    kill(parent_of(first).expect("the helper"));
    let settled = rig.settled(call).await;
    assert!(matches!(failure_of(&settled).kind, FailureKind::Exited | FailureKind::Transport), "{:?}", failure_of(&settled));
    rig.until("another process", |w| w.servers[0].phase.usable() && w.servers[0].info.as_ref().is_some_and(|i| i.pid != Some(first))).await;
    rig.stop().await;
}

#[cfg(target_os = "linux")]
fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[cfg(target_os = "linux")]
fn parent_of(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_file_size_is_an_error_that_is_shown() {
    let folder = &folder();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 0; exec \"$0\" --config plain.toml servers", env!("CARGO_BIN_EXE_switchboard")]);
    command.env("HOME", folder.path()).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the program ends").unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.code().is_some(), "not ended by a signal: {:?} {stderr}", output.status);
    assert!(stdout.contains("bad") || !stderr.is_empty(), "{:?}: {stdout} {stderr}", output.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_demo_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["--demo", "call", "--yes", "analytics_report", "seconds=60"]);
    command.env("HOME", folder.path()).env("TMPDIR", folder.path()).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    let left = || -> Vec<_> {
        let entries = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("switchboard-demo-"))).collect()
    };
    let started = |path: &std::path::PathBuf| std::fs::metadata(path.join("analytics.log")).is_ok_and(|log| log.len() > 0);
    eventually("the demo", PATIENCE, || left().iter().any(started)).await;
    signal(&child, Signal::KILL);
    end(child).await;
    eventually("no folder", Duration::from_secs(10), || left().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_servers_that_heed_nothing_are_gone_together() {
    let specs = (0..20)
        .map(|n| {
            let mut spec = stdio(&format!("deaf-{n}"), &bad_server(), &["deaf"]);
            spec.timeouts.stop = Duration::from_secs(1);
            spec
        })
        .collect();
    let rig = Rig::start(specs);
    let read_model = rig.until("all ready", |w| w.servers.iter().all(|s| s.phase.usable())).await;
    let leaders: Vec<u32> = read_model.servers.iter().map(|s| s.info.as_ref().unwrap().pid.unwrap()).collect();
    let alive = || leaders.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).count();
    assert_eq!(alive(), 20);
    let call = rig.submit("deaf-0", "hang", "{}");
    // One after the other they would take forty seconds, which is more than the rig waits.
    let settled = rig.engine.clone();
    rig.stop().await;
    assert_eq!(alive(), 0);
    let read_model = switchboard::control::Control::watch(&*settled).0;
    assert!(read_model.call(call).is_some_and(|c| c.settled.is_some()), "calls are cancelled, not forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_leaves_in_its_group_or_takes_out_of_it_goes_with_it() {
    for (mode, tool) in [("family", "echo"), ("stray", "echo"), ("plain", "strays"), ("plain", "grandchild")] {
        let rig = Rig::start(vec![stdio("bad", &bad_server(), &[mode])]);
        let read_model = rig.ready("bad").await;
        let leader = read_model.servers[0].info.as_ref().unwrap().pid.unwrap();
        let mark = mark_of(leader);
        let (_, settled) = rig.call("bad", tool, "{}").await;
        if tool == "grandchild" {
            assert!(failure_of(&settled).exit.is_some());
        } else {
            assert!(!with_mark(&mark).is_empty());
        }
        rig.stop().await;
        assert_eq!(with_mark(&mark), Vec::<u32>::new(), "{mode}, {tool}");
    }
}

fn mark_of(pid: u32) -> Vec<u8> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    environ.split(|b| *b == 0).find(|var| var.starts_with(b"SWITCHBOARD_INSTANCE=")).unwrap().to_vec()
}

fn with_mark(mark: &[u8]) -> Vec<u32> {
    let carries = |pid: &u32| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| e.split(|b| *b == 0).any(|var| var == mark));
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(carries).collect()
}
