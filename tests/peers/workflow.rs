//! A workflow over servers that people run: files, a knowledge graph, the clock, a repository.

use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::{
    domain::{
        body::Body,
        call::Origin,
        run::{RunId, RunOutcome, RunSpec, WorkflowText},
        server::Phase,
    },
    engine::control::Command,
};

use crate::{packages, support::Rig};

const TEXT: &str = r#"
    name = "record_commit"
    on_error = "compensate"
    [input]
    repo = "string"
    folder = "string"

    [[step]]
    id = "log"
    tool = "git_git_log"
    arguments = { repo_path = "{{ input.repo }}", max_count = 1 }
    expect = { that = "'Begin' in text", message = "the first commit is not there" }

    [[step]]
    id = "noon"
    tool = "time_convert_time"
    arguments = { source_timezone = "UTC", time = "12:00", target_timezone = "Asia/Tokyo" }

    [[step]]
    id = "write"
    needs = ["log"]
    tool = "filesystem_write_file"
    arguments = { path = "{{ input.folder }}/commit.txt", content = "{{ steps.log.text }}\nnoon in Tokyo: {{ steps.noon.result.target.datetime }}\n" }

    [[step]]
    id = "remember"
    needs = ["write"]
    tool = "memory_create_entities"
    arguments = { entities = [{ name = "Begin", entityType = "commit", observations = ["{{ steps.write.text }}"] }] }
    compensate = { tool = "memory_delete_entities", arguments = { entityNames = ["Begin"] } }

    [[step]]
    id = "read"
    needs = ["remember"]
    tool = "filesystem_read_text_file"
    result = "text"
    arguments = { path = "{{ input.folder }}/MISSING" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_ties_four_servers_together_and_undoes_what_it_did() {
    let (folder, repository) = (tempfile::tempdir().unwrap(), packages::repository());
    let repo = repository.path().canonicalize().unwrap().display().to_string();
    let root = folder.path().canonicalize().unwrap();
    let rig = Rig::start(vec![
        packages::filesystem(&root.display().to_string()),
        packages::memory(&root.join("memory.jsonl").display().to_string()),
        packages::time(),
        packages::git(&repo),
    ]);
    rig.until("all four ready", |w| w.servers.len() == 4 && w.servers.iter().all(|s| *s.phase == Phase::Ready)).await;
    let input = Body::json(&json!({"repo": repo, "folder": root.display().to_string()}));
    let run = async |number: u64, text: String| {
        let spec = RunSpec::new(
            "record_commit",
            [WorkflowText { name: "record_commit".into(), file: "record_commit.toml".into(), text }],
            input.clone(),
            Origin::Cli,
        );
        let id = RunId::new(number, 0);
        rig.command(Command::StartRun { run: id, spec: Arc::new(spec) });
        let read_model = rig.until("the run ended", |w| w.runs.get(id).is_some_and(|run| run.report.is_some())).await;
        read_model.runs.get(id).and_then(|run| run.report.clone()).unwrap()
    };
    let report = run(1, TEXT.replace("MISSING", "commit.txt")).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    let text: Value = report.output.as_ref().unwrap().parse().unwrap();
    let text = text.as_str().unwrap();
    assert!(text.contains("Begin") && text.contains("T21:00:00+09:00"), "{text}");
    assert!(std::fs::read_to_string(root.join("memory.jsonl")).unwrap().contains("Begin"));
    std::fs::remove_file(root.join("memory.jsonl")).unwrap();
    // The file is not there: what was remembered is forgotten again.
    let report = run(2, TEXT.replace("MISSING", "missing.txt")).await;
    assert_eq!((report.outcome, &report.compensated), (RunOutcome::Compensated, &vec!["remember".to_owned()]), "{report:#?}");
    assert!(!std::fs::read_to_string(root.join("memory.jsonl")).unwrap_or_default().contains("Begin"));
    rig.stop().await;
}
