//! Scenarios as data: scripted servers and calls in, the exact timeline out, on paused time.
//!
//! Each file of `tests/scenarios` has a configuration as users write it, what its servers answer, what is done when, and
//! the timeline that this must give. `UPDATE_SCENARIOS=1` rewrites the timelines, for review before they are committed.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Deserialize;
use switchboard::{
    config::{LoadOptions, load},
    control::{Command, Control},
    domain::{
        call::{CallSpec, Origin, Outcome},
        directory::Directory,
        event::{Event, EventKind, Notice, NoticeLevel},
        id::{CallId, ServerId},
        policy::{
            breaker::{BreakerOverride, Transition},
            call_event::CallEvent,
            fault::Fault,
            pattern::Pattern,
        },
        time::{Stamp, short},
    },
    state::ConsoleState,
};
use tokio::time::Instant;

use crate::{
    puppet::{Act, Puppet, Puppets, duration, tool},
    support::Rig,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// What it shows.
    about: String,
    /// Chance begins here.
    #[serde(default)]
    seed: u64,
    config: String,
    servers: BTreeMap<String, Scripted>,
    #[serde(rename = "do")]
    steps: Vec<Step>,
    timeline: Timeline,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeline {
    /// How many requests each server took in the end.
    #[serde(default)]
    executed: BTreeMap<String, usize>,
    expect: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scripted {
    /// `name` and hints.
    tools: Vec<String>,
    /// What each request gets, in order; the last one for all after it.
    answers: Vec<String>,
    /// Which signs of life are answered, `y` or `n`, the last one for all after it.
    #[serde(default)]
    alive: String,
    /// How long a start takes.
    #[serde(default)]
    start: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: String,
    /// Exposed name.
    call: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
    timeout: Option<String>,
    /// Number of equal concurrent calls.
    times: Option<u32>,
    /// `SERVER[/TOOL] ORDER`.
    breaker: Option<String>,
    /// `SERVER FAULT`.
    inject: Option<String>,
    /// Number of the call.
    cancel: Option<usize>,
    purge: Option<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn order(word: &str) -> BreakerOverride {
    match word {
        "trip" => BreakerOverride::Trip,
        "hold-open" => BreakerOverride::HoldOpen,
        "hold-closed" => BreakerOverride::HoldClosed,
        "reset" => BreakerOverride::Reset,
        other => panic!("no order: {other}"),
    }
}

fn puppet(scripted: &Scripted) -> Puppet {
    let tools = scripted.tools.iter().map(|line| {
        let mut words = line.split_whitespace();
        tool(words.next().expect("a name"), &words.collect::<Vec<_>>())
    });
    let answers: Vec<Act> = scripted.answers.iter().map(|line| Act::parse(line)).collect();
    let next = Mutex::new(0);
    let mut puppet = Puppet::new(tools.collect(), move |_, _| {
        let mut next = next.lock().unwrap();
        let act = answers[(*next).min(answers.len() - 1)].clone();
        *next += 1;
        act
    });
    let alive: Vec<bool> = scripted.alive.chars().map(|c| c == 'y').collect();
    puppet.alive = Box::new(move |n| alive.get(n as usize).or(alive.last()).copied().unwrap_or(true));
    puppet.start = scripted.start.as_deref().map(duration).unwrap_or_default();
    puppet
}

/// Writes down what happens.
struct Scribe {
    begun: Stamp,
    numbers: HashMap<CallId, usize>,
    /// Changes already written down.
    breakers: HashMap<(ServerId, Option<Arc<str>>), Vec<Transition>>,
    lines: String,
}

impl Scribe {
    fn number(&mut self, call: CallId) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(call).or_insert(next)
    }

    fn line(&mut self, at: Stamp, what: &str) {
        let us = at.since(self.begun).as_micros();
        let part = if us.is_multiple_of(1000) { String::new() } else { format!(".{:03}", us % 1000) };
        let _ = writeln!(self.lines, "{:>10}  {what}", format!("{}{part} ms", us / 1000));
    }

    fn event(&mut self, event: &Event, read_model: &ConsoleState) {
        let at = event.at;
        match &event.kind {
            EventKind::CallQueued { call, spec } => {
                let n = self.number(*call);
                self.line(at, &format!("#{n} {}", read_model.call_name(&spec.operation)));
            }
            EventKind::CallStage { call, stage } => {
                let n = self.number(*call);
                let what = staged(stage, &self.numbers);
                self.line(at, &format!("#{n}   {what}"));
            }
            EventKind::CallSettled { call, settled } => {
                let n = self.number(*call);
                let mut what = match &settled.outcome {
                    Outcome::Failed { failure } => format!("{}: {}", failure.kind.words(), failure.message),
                    Outcome::Cancelled { reason } => format!("cancelled: {reason}"),
                    other => other.words().to_owned(),
                };
                if let Some(by) = &settled.by {
                    let _ = write!(what, " by {by}");
                }
                if let Some(age) = settled.cached {
                    let _ = write!(what, ", cached {}", short(age));
                }
                self.line(at, &format!("#{n} = {what}"));
            }
            EventKind::Breaker { server, tool, view } => {
                let known = self.breakers.entry((server.clone(), tool.clone())).or_default();
                let new: Vec<Transition> = view.transitions.iter().filter(|t| !known.contains(t)).cloned().collect();
                known.extend(new.clone());
                let whose = tool.as_ref().map_or_else(|| server.to_string(), |tool| format!("{server}/{tool}"));
                for t in new {
                    self.line(t.at, &format!("breaker of {whose}: {} -> {} ({})", t.from.word(), t.to.word(), t.reason));
                }
            }
            EventKind::Notice { notice } => self.line(at, &format!("notice: {}", notice.text)),
            _ => {}
        }
    }
}

fn staged(stage: &CallEvent, numbers: &HashMap<CallId, usize>) -> String {
    match stage {
        CallEvent::Routed { decision } => {
            let order: Vec<&str> = decision.order.iter().map(ServerId::as_str).collect();
            let mut what = format!("routed to {} ({})", order.join(", "), decision.why);
            for (server, why) in &decision.passed_over {
                let _ = write!(what, "; not {server}: {why}");
            }
            what
        }
        CallEvent::Waiting { on, server } => format!("waits for {server}: {on:?}").to_lowercase(),
        CallEvent::Probing { server } => format!("probes {server}"),
        CallEvent::Attempt { attempt, server, subject, cause } => {
            format!("attempt {attempt}: {server}/{subject} ({})", format!("{cause:?}").to_lowercase())
        }
        CallEvent::Ended { attempt, end, verdict, took } => {
            format!("attempt {attempt} ended after {}: {end} [{}]", short(*took), format!("{verdict:?}").to_lowercase())
        }
        CallEvent::Resent { attempt, cause } => format!("attempt {attempt} sent again in a new session: {}", cause.words()),
        CallEvent::BackOff { pause, why } => format!("pauses {} ({why})", short(*pause)),
        CallEvent::NotRepeated { why } => format!("not repeated: {why}"),
        CallEvent::CacheHit { age, store, stale, .. } => {
            format!("cached response from {store}, {} old{}", short(*age), if *stale { ", stale" } else { "" })
        }
        CallEvent::CacheMiss { .. } => "not cached".into(),
        CallEvent::Shared { with } => format!("shares the answer of #{}", numbers.get(with).copied().unwrap_or_default()),
        CallEvent::Fallback { to, after } => format!("falls back to {to} (after {after})"),
        CallEvent::Injected { what } => format!("injected: {what}"),
        CallEvent::Late { attempt, after } => format!("attempt {attempt} was answered {} after it was sent: too late", short(*after)),
    }
}

async fn play(scenario: &Scenario) -> (String, BTreeMap<String, usize>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let addresses: String =
        scenario.servers.keys().filter(|id| !scenario.config.contains(&format!("[servers.{id}]"))).fold(String::new(), |mut text, id| {
            let _ = write!(text, "\n[servers.{id}]\nurl = \"http://puppet.invalid\"\n");
            text
        });
    let text = format!("{}\n{addresses}", scenario.config);
    std::fs::write(&file, text).unwrap();
    let loaded = load(&LoadOptions { config_files: vec![file], cwd: dir.path().to_owned(), ..LoadOptions::default() });
    let loaded = loaded.unwrap_or_else(|errors| panic!("the configuration: {errors:#?}"));
    assert!(loaded.problems.is_empty(), "{:#?}", loaded.problems);

    let puppets: HashMap<ServerId, Arc<Puppet>> =
        scenario.servers.iter().map(|(id, scripted)| (ServerId::from(id.as_str()), Arc::new(puppet(scripted)))).collect();
    let rig = Rig::seeded(Arc::new(Puppets(puppets.clone())), loaded.servers.clone(), scenario.seed);
    rig.engine.set_rules(loaded.rules.clone());
    rig.engine.set_store(Some(Arc::new(switchboard::cache::Memory::new(1 << 20))));
    let read_model = rig.until("all servers ready", |w| w.servers.iter().all(|s| s.phase.usable())).await;
    let (mut seen, mut tail) = rig.engine.watch();
    let begun = Instant::now();
    let mut scribe = Scribe { begun: Stamp(0), numbers: HashMap::new(), breakers: HashMap::new(), lines: String::new() };
    let at_zero = rig.engine.now();
    scribe.begun = at_zero;

    let mut calls: Vec<CallId> = vec![];
    for step in &scenario.steps {
        tokio::time::sleep_until(begun + duration(&step.at)).await;
        if let Some(name) = &step.call {
            let (tool, _) = read_model.find_tool(name).unwrap_or_else(|| panic!("no tool {name}"));
            for _ in 0..step.times.unwrap_or(1) {
                let spec = CallSpec {
                    timeout: step.timeout.as_deref().map(duration),
                    ..CallSpec::tool(tool.clone(), step.arguments.clone().unwrap_or_else(|| "{}".into()), Origin::Cli)
                };
                calls.push(rig.start_call(spec));
            }
        }
        if let Some((whose, what)) = step.breaker.as_deref().and_then(|text| text.split_once(' ')) {
            let (server, tool) = whose.split_once('/').map_or((whose, None), |(server, tool)| (server, Some(tool.to_owned())));
            rig.command(Command::Breaker { server: server.into(), tool, order: order(what) });
        }
        if let Some((server, fault)) = step.inject.as_deref().and_then(|text| text.split_once(' ')) {
            let fault = (fault != "none").then(|| Fault::parse(fault).unwrap());
            rig.command(Command::Inject { server: server.into(), tool: None, fault });
        }
        if let Some(number) = step.cancel {
            rig.command(Command::Cancel { call: calls[number - 1], reason: "not needed any more".into() });
        }
        if let Some(pattern) = &step.purge {
            assert!(Pattern::parse(pattern).is_ok());
            let reply = rig.notice_of(Command::Purge { pattern: pattern.clone() }).await.expect("a notice");
            // Published, so that the timeline shows it.
            rig.engine.notice(Notice::new(NoticeLevel::Info, reply));
        }
    }
    let last = calls.clone();
    rig.until("all calls ended", |w| last.iter().all(|call| w.call(*call).is_some_and(|c| c.settled.is_some()))).await;
    // What comes after the last end would be wrong, and is seen.
    tokio::time::sleep(Duration::from_secs(1)).await;
    while let Ok(Some(event)) = tail.try_next() {
        Arc::make_mut(&mut seen).apply(&event);
        scribe.event(&event, &seen);
    }
    let executed = puppets.iter().map(|(id, puppet)| (id.to_string(), puppet.executed.lock().unwrap().len())).collect();
    rig.stop().await;
    (scribe.lines, executed)
}

#[test]
fn every_scenario_gives_its_timeline() {
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(files.len() > 20, "the scenarios are gone: {}", files.len());
    let mut wrong = String::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let scenario: Scenario = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (lines, executed) = runtime.block_on(play(&scenario));
        for (server, wanted) in &scenario.timeline.executed {
            if executed.get(server) != Some(wanted) {
                let _ = writeln!(wrong, "--- {name}: {server} took {:?} requests, not {wanted}", executed.get(server));
            }
        }
        if lines.trim_end() == scenario.timeline.expect.trim_matches('\n').trim_end() {
            continue;
        }
        if update {
            let head = &text[..text.find("expect = '''").unwrap_or_else(|| panic!("{name} has no expect = '''"))];
            std::fs::write(&file, format!("{head}expect = '''\n{lines}'''\n")).unwrap();
        } else {
            let _ = writeln!(wrong, "--- {name} ({}) gave:\n{lines}", scenario.about);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
