//! Tests the runner with an executor in place of the engine.

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::json;

use super::*;
use crate::{
    domain::{
        body::Body,
        call::{CallSpec, Operation, Origin, Outcome, Timings},
        catalog::{RawLists, ServerCatalog},
        event::Settled,
        id::CallId,
        run::{RunOutcome, WorkflowText},
        server::{Phase, ServerSpec, Transport},
        time::Epoch,
    },
    engine::{bus::Discard, ports::NoJournal, running::RunningCalls, tail::Filter},
};

/// Answers every call with the number of calls so far.
#[derive(Default)]
struct Counting(Mutex<Vec<CallSpec>>);

impl CallExecutor for Counting {
    fn call(&self, spec: CallSpec) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>) {
        let mut calls = self.0.lock();
        calls.push(spec);
        let result = Body::json(&json!({"content": [], "structuredContent": {"number": calls.len()}}));
        let settled = Settled {
            outcome: Outcome::Ok { result },
            timings: Timings::default(),
            rounds: 1,
            sent_bytes: 1,
            received_bytes: 1,
            attempts: 1,
            by: None,
            cached: None,
        };
        (CallId(calls.len() as u64), std::future::ready(Some(Arc::new(settled))).boxed())
    }

    fn cancel(&self, _: CallId, _: &str) {}
}

#[tokio::test(start_paused = true)]
async fn a_run_makes_its_calls_through_the_executor() {
    let bus = Arc::new(Bus::new(Epoch::default(), Arc::new(Discard)));
    let inbox = Arc::new(Inbox::new(bus.clone(), Arc::new(RunningCalls::default())));
    let registry = Arc::new(Registry::new(bus.clone(), "_"));
    let launch = Transport::Http { url: "http://nowhere.invalid".into(), headers: vec![], socket: None };
    registry.add(&Arc::new(ServerSpec::new("s", launch)));
    registry.set_phase(&"s".into(), Arc::new(Phase::Ready));
    let tools = vec![Body::json(&json!({"name": "t", "inputSchema": {"type": "object"}}))];
    registry.set_catalog(&"s".into(), Arc::new(ServerCatalog::read(RawLists { tools, ..RawLists::default() }, None)));

    let executor = Arc::new(Counting::default());
    let weak: Weak<dyn CallExecutor> = Arc::downgrade(&(executor.clone() as Arc<dyn CallExecutor>));
    let tasks = TaskTracker::new();
    let runs = Runs::new(Arc::new(NoJournal), (bus.clone(), inbox, registry, Arc::default()), weak, tasks.clone());
    let text = "name = \"w\"\n[[step]]\nid = \"a\"\ntool = \"s_t\"\n[[step]]\nid = \"b\"\ntool = \"s_t\"\narguments = { from = \"{{ steps.a.result.number }}\" }\n";
    let source = WorkflowText { name: "w".into(), file: "w.toml".into(), text: text.into() };
    let spec = Arc::new(RunSpec::new("w", [source], Body::from("{}"), Origin::Cli));
    let (run, mut tail) = (RunId::new(1, 1), bus.tail(Filter::default()));
    runs.start(run, spec.clone()).unwrap();
    assert_eq!(runs.start(run, spec), Err(NotStarted::Active));
    let settled = async {
        while let Ok(Some(event)) = tail.next().await {
            if let EventKind::RunSettled { report, .. } = &event.kind {
                return report.clone();
            }
        }
        panic!("the events ended before the run");
    };
    let report = tokio::time::timeout(Duration::from_secs(60), settled).await.expect("the run ends");
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:?}");
    let calls = executor.0.lock();
    let arguments: Vec<String> = calls
        .iter()
        .map(|call| match &call.operation {
            Operation::Tool { arguments, .. } => arguments.text().into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(arguments, ["{}", r#"{"from":1}"#]);
}
