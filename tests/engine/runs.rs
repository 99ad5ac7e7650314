//! Runs of workflows over connections in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use switchboard::{
    control::{Command, Control, LocalControl},
    domain::{
        ask::Answer,
        body::Body,
        call::{Failure, FailureKind, Origin},
        event::{Event, EventKind},
        journal::{Place, RunEntry, RunRecord, StepOutcome, StepRecord},
        policy::{Rules, ToolRule, pattern::Pattern},
        retention::Retention,
        run::{Purpose, RunId, RunOutcome, RunReport, RunSpec, StepAnswer, StepState, WorkflowText},
        secret::Secret,
        time::{Epoch, Stamp},
    },
    engine::{
        Adapters, EngineOptions,
        ports::{Journal, JournalError, NoJournal, Reply},
    },
    store::Store,
};

use tokio::sync::Notify;

use crate::{
    fake::{Behaviour, Fake, spec},
    support::{PATIENCE, Rig},
};

mod cancelled;
mod format;
mod journal;
mod resumed;
mod steps;
mod waiting;

/// What the server was asked to do, in order: the `name` argument of each call.
type Log = Arc<Mutex<Vec<String>>>;

/// A server whose tool `echo` does as its arguments say: `ms` to sleep, `fail` to answer an error,
/// `drop` to answer nothing useful; otherwise it gives its arguments back.
fn server(log: &Log) -> Arc<Fake> {
    let log = log.clone();
    let behaviour = Arc::new(Behaviour::new(move |request, observer, handler| {
        let log = log.clone();
        async move {
            let params: Value = request.params.value().unwrap_or_default();
            let arguments = params["arguments"].clone();
            observer.sent(handler.now(), 1);
            let key = arguments["key"].as_str().map(|key| format!(" {key}")).unwrap_or_default();
            log.lock().unwrap().push(format!("{}{key}", arguments["name"].as_str().unwrap_or("?")));
            tokio::time::sleep(Duration::from_millis(arguments["ms"].as_u64().unwrap_or(0))).await;
            if arguments["drop"] == true {
                return Err(Failure::after_send(FailureKind::Transport, "the connection broke"));
            }
            let error = arguments["fail"] == true;
            let result = json!({"content": [{"type": "text", "text": format!("said {}", arguments["name"])}], "structuredContent": arguments, "isError": error});
            Ok(Reply { result: Body::json(&result), first_byte: handler.now(), last_byte: handler.now(), sent_bytes: 1, received_bytes: 1 })
        }
    }));
    Fake::new(move |_| crate::fake::Plan::Serve(Duration::ZERO, behaviour.clone()))
}

fn engine(log: &Log, journal: Arc<dyn Journal>) -> Rig {
    let options = EngineOptions { epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, separator: "_".into(), seed: None };
    let engine = LocalControl::with(options, Retention::default(), Adapters { journal, ..Adapters::new(server(log)) });
    engine.apply(vec![spec("s")]);
    Rig { engine }
}

pub fn wanted(text: &str) -> RunSpec {
    let source = WorkflowText { name: "w".into(), file: "w.toml".into(), text: text.into() };
    RunSpec::new("w", [source], Body::from("{}"), Origin::Cli)
}

/// Rules by which the tool gets an idempotency key in `key`, and is safe to repeat for that reason.
fn keyed() -> Rules {
    let rule = ToolRule { matches: Pattern::parse("s_echo").unwrap(), idempotency_key: Some("key".into()), ..ToolRule::default() };
    Rules { tools: vec![rule], ..Rules::default() }
}

/// The first entry of a run of a workflow.
fn began(text: &str) -> RunEntry {
    RunEntry::Began { spec: Arc::new(wanted(text)), unix_ms: 1 }
}

/// The entry of a request of a step.
fn sending(step: &str, item: Option<u32>, arguments: &str) -> RunEntry {
    let place = Place::new(step, item, Purpose::Step);
    RunEntry::Sending { place, attempt: 1, what: "s_echo".into(), arguments: Body::from(arguments) }
}

pub fn id(number: u64) -> RunId {
    RunId::new(number, 7)
}

/// A run to its end, and every event of it.
pub async fn finished(rig: &Rig, run: RunId, command: Command) -> (Arc<RunReport>, Vec<Arc<Event>>) {
    let mut events = vec![];
    let report = finished_seeing(rig, run, command, |event| events.push(event.clone())).await;
    (report, events)
}

/// A run to its end; `seen` gets every event before it.
async fn finished_seeing(rig: &Rig, run: RunId, command: Command, mut seen: impl FnMut(&Arc<Event>)) -> Arc<RunReport> {
    let (_, mut tail) = rig.engine.watch();
    rig.command(command);
    let waiting = async {
        loop {
            let event = tail.next().await.unwrap().unwrap();
            seen(&event);
            match &event.kind {
                EventKind::RunSettled { run: ended, report } if *ended == run => return report.clone(),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE * 100, waiting).await.expect("the run ends")
}

async fn ran(text: &str) -> (Arc<RunReport>, Vec<Arc<Event>>, Vec<String>) {
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let (report, events) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    rig.stop().await;
    let log = log.lock().unwrap().clone();
    (report, events, log)
}

pub fn output(report: &RunReport) -> Value {
    report.output.as_ref().and_then(Body::value).unwrap_or_else(|| panic!("no output: {report:#?}"))
}

fn states(report: &RunReport) -> BTreeMap<String, &'static str> {
    report.steps.iter().map(|(step, view)| (step.to_string(), view.state.word())).collect()
}

/// When each call of a step was sent and settled, by step.
pub fn spans(events: &[Arc<Event>]) -> BTreeMap<String, (Stamp, Stamp)> {
    let mut steps = BTreeMap::new();
    let mut spans = BTreeMap::new();
    for event in events {
        match &event.kind {
            EventKind::CallQueued { call, spec } => {
                let step = spec.run.as_ref().expect("a call of the run").step.to_string();
                steps.insert(*call, step);
            }
            EventKind::CallSettled { call, settled } => {
                spans.insert(steps[call].clone(), (settled.timings.sent.unwrap(), settled.timings.settled));
            }
            _ => {}
        }
    }
    spans
}

const SAGA: &str = r#"
    name = "w"
    on_error = "compensate"
    [[step]]
    id = "a"
    tool = "s_echo"
    arguments = { name = "a" }
    compensate = { tool = "s_echo", arguments = { name = "undo {{ result.name }}" } }
    [[step]]
    id = "b"
    needs = ["a"]
    tool = "s_echo"
    arguments = { name = "b" }
    compensate = { tool = "s_echo", arguments = { name = "undo {{ result.name }}" } }
    [[step]]
    id = "c"
    needs = ["b"]
    tool = "s_echo"
    arguments = { name = "c", fail = true }
    [[step]]
    id = "d"
    needs = ["c"]
    tool = "s_echo"
    arguments = { name = "d" }
"#;
