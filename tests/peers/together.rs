//! All servers together, and which protocol era each of them speaks.

use std::path::Path;

use switchboard::domain::{
    call::Outcome,
    directory::Directory,
    server::{Era, EraChoice, Phase, Step},
};

use crate::{
    packages::{self, HttpServer},
    support::{Rig, text_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn seven_servers_connect_side_by_side_answer_and_leave_nothing_behind() {
    let (folder, repository) = (tempfile::tempdir().unwrap(), packages::repository());
    let repo = repository.path().canonicalize().unwrap().display().to_string();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join("note.txt"), "written by the test").unwrap();
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![
        packages::everything(),
        packages::remote(&server.url()),
        packages::filesystem(&root.display().to_string()),
        packages::memory(&root.join("memory.jsonl").display().to_string()),
        packages::thinking(),
        packages::time(),
        packages::git(&repo),
    ]);
    let read_model = rig.until("all seven ready", |w| w.servers.len() == 7 && w.servers.iter().all(|s| *s.phase == Phase::Ready)).await;
    let note = root.join("note.txt").display().to_string();
    let calls = [
        ("everything", "echo", r#"{"message":"hi"}"#.to_owned(), "Echo: hi"),
        ("remote", "echo", r#"{"message":"hi"}"#.into(), "Echo: hi"),
        ("filesystem", "read_text_file", format!("{{\"path\":{note:?}}}"), "written by the test"),
        (
            "memory",
            "create_entities",
            r#"{"entities":[{"name":"Ada","entityType":"person","observations":["counts"]}]}"#.into(),
            "\"name\": \"Ada\"",
        ),
        (
            "thinking",
            "sequentialthinking",
            r#"{"thought":"first","nextThoughtNeeded":false,"thoughtNumber":1,"totalThoughts":1}"#.into(),
            "\"thoughtHistoryLength\": 1",
        ),
        ("time", "convert_time", r#"{"source_timezone":"UTC","time":"12:00","target_timezone":"Asia/Tokyo"}"#.into(), "T21:00:00+09:00"),
        ("git", "git_log", format!("{{\"repo_path\":{repo:?}}}"), "Begin"),
    ];
    let submitted: Vec<_> = calls.iter().map(|(server, tool, arguments, _)| rig.submit(server, tool, arguments)).collect();
    for (call, (server, tool, _, expected)) in submitted.into_iter().zip(&calls) {
        let settled = rig.settled(call).await;
        assert!(matches!(settled.outcome, Outcome::Ok { .. }), "{server}: {:?}", settled.outcome);
        assert!(text_of(&settled).contains(expected), "{server}/{tool}: {}", text_of(&settled));
    }
    for name in ["everything_echo", "remote_echo", "filesystem_read_text_file", "time_convert_time", "git_git_log"] {
        assert!(read_model.find_tool(name).is_some(), "{name}");
    }
    let read_model = rig.read_model();
    for server in &read_model.servers {
        assert_eq!(server.anomaly_total(), 0, "{}: {:?}", server.id(), server.anomalies);
    }
    let pids: Vec<u32> = read_model.servers.iter().filter_map(|s| s.info.as_ref()?.pid).collect();
    assert_eq!(pids.len(), 6, "all but the one over HTTP have a process");
    rig.stop().await;
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_is_met_in_the_newest_era_that_it_can() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::everything(), packages::remote(&server.url()), packages::time()]);
    for (id, era, protocol) in
        [("everything", Era::Legacy, "2025-11-25"), ("remote", Era::Legacy, "2025-11-25"), ("time", Era::Modern, "2026-07-28")]
    {
        rig.ready(id).await;
        let info = rig.server(id).info.unwrap();
        assert_eq!((info.era, info.protocol.as_str()), (era, protocol), "{id}");
        assert!(info.name.is_some() && info.version.is_some(), "{id}: {info:?}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_era_can_be_forced() {
    let forced = |era, id: &str| {
        let mut spec = packages::time();
        (spec.era, spec.id) = (era, id.into());
        spec
    };
    let rig = Rig::start(vec![forced(EraChoice::Legacy, "old"), forced(EraChoice::Modern, "new")]);
    for (id, protocol, opening) in [("old", "2025-11-25", "initialize"), ("new", "2026-07-28", "server/discover")] {
        rig.ready(id).await;
        assert_eq!(rig.server(id).info.unwrap().protocol, protocol);
        let (_, settled) = rig.call(id, "get_current_time", r#"{"timezone":"UTC"}"#).await;
        assert!(text_of(&settled).contains("\"timezone\": \"UTC\""), "{}", text_of(&settled));
        let read_model = rig.read_model();
        let first = read_model.frames.iter().find(|f| f.server.as_str() == id).unwrap();
        assert_eq!(first.method.as_deref(), Some(opening), "{id}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_speak_the_forced_era_is_given_up_with_the_reason() {
    let mut spec = packages::everything();
    spec.era = EraChoice::Modern;
    let rig = Rig::start(vec![spec]);
    let read_model = rig.until("cancelled", |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    let why = read_model.servers[0].phase.failure().unwrap();
    assert_eq!(why.step, Step::Discover, "{why:#?}");
    assert!(why.summary.contains("-32601"), "{why:#?}");
    rig.stop().await;
}
