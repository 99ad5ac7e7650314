//! How long it takes to parse, check and lay out a workflow of a thousand steps, and to evaluate expressions.
//!
//! `cargo bench --bench workflow` prints the median and the worst of each, next to the allowed values, and fails when a
//! median is over it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

use std::{
    fmt::Write as _,
    hint::black_box,
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use switchboard::domain::{
    body::Body,
    workflow::{
        answer,
        check::{Lookup, ToolFacts, check_against},
        expression::{Data, RunFacts, Scope, StepEnd},
        graph::{Graph, layout},
        parse::{Source, parse},
        plan::{Action, Plan, ReadAs},
    },
};

const STEPS: usize = 1_000;

/// A thousand steps in the shape of real ones: each has arguments with expressions over two earlier steps, a
/// condition, and every tenth an undoing call.
fn text() -> String {
    let mut text = String::from("name = \"large\"\n[input]\nuser = \"string\"\n");
    for n in 0..STEPS {
        write!(text, "\n[[step]]\nid = \"step_{n}\"\ntool = \"server{}_tool\"\ntimeout = \"20s\"\n", n % 20).unwrap();
        let (a, b) = (n.saturating_sub(1 + n * 7 % 13), n.saturating_sub(1 + n * 11 % 29));
        if n > 30 {
            writeln!(text, "when = \"steps.step_{a}.outcome == 'ok'\"").unwrap();
            writeln!(text, "arguments = {{ id = \"{{{{ steps.step_{b}.result.id }}}}\", text = \"Hello {{{{ input.user }}}} of {{{{ steps.step_{a}.result.name | upper }}}}\", n = {n} }}").unwrap();
        } else {
            writeln!(text, "arguments = {{ id = \"{{{{ input.user }}}}\", text = \"x\", n = {n} }}").unwrap();
        }
        if n % 10 == 0 {
            writeln!(text, "compensate = {{ tool = \"server0_tool\", arguments = {{ id = \"{{{{ result.id }}}}\" }} }}").unwrap();
        }
    }
    text
}

fn facts(_: &str) -> Lookup {
    let schema = r#"{"type":"object","properties":{"id":{"type":"string"},"text":{"type":"string"},"n":{"type":"integer"}},"required":["id"],"additionalProperties":false}"#;
    Lookup::Found(ToolFacts { schema: Body::from(schema), output: Some(Body::from(schema)), repeatable: true, reads_only: true })
}

fn times(count: usize, mut work: impl FnMut()) -> Vec<Duration> {
    let once = |_| {
        let begin = Instant::now();
        work();
        begin.elapsed()
    };
    (0..count).map(once).collect()
}

/// A scope in which every step of the plan has settled.
fn settled(plan: &Plan) -> Scope {
    let scope = Scope::new(&plan.names, Data::parse(r#"{"user":"Ann"}"#).unwrap(), &RunFacts::default(), []);
    for index in 0..plan.steps.len() {
        let result = Data::parse(&format!(r#"{{"id":"u_{index}","name":"Ann","more":[1,2,3]}}"#)).unwrap();
        scope.settle(index, StepEnd { outcome: "ok", result: Some(result), ..StepEnd::default() });
    }
    scope
}

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut good = true;
    let mut line = |what: &str, mut all: Vec<Duration>, per: u32, allowed: Duration| {
        all.sort();
        let (median, worst) = (all[all.len() / 2] / per, all[all.len() - 1] / per);
        let fits = median <= allowed;
        good &= fits;
        writeln!(
            out,
            "{what:<58} median {median:>10.1?}   worst {worst:>10.1?}   allowed {allowed:?}   {}",
            if fits { "ok" } else { "OVER" }
        )
    };
    let source = Source { file: "large.toml".into(), text: text() };
    let plan = parse(&source, &|_| None).unwrap();
    let graph = Graph::of(&plan);
    let ms = Duration::from_millis;
    line("1 000 steps parsed", times(30, || drop(black_box(parse(&source, &|_| None)))), 1, ms(30))?;
    line("1 000 steps checked against live schemas", times(30, || assert!(check_against(&plan, &facts).is_empty())), 1, ms(20))?;
    line("1 000 steps laid out", times(30, || drop(black_box(layout(&graph)))), 1, ms(20))?;
    let all = || {
        let plan = parse(&source, &|_| None).unwrap();
        assert!(check_against(&plan, &facts).is_empty());
        drop(black_box(layout(&Graph::of(&plan))));
    };
    line("1 000 steps parsed, checked and laid out", times(30, all), 1, ms(50))?;

    let scope = settled(&plan);
    let evaluate = || {
        for step in &plan.steps {
            if let Some(when) = &step.when {
                assert!(when.test(&scope).unwrap());
            }
            if let Action::Tool(call) = &step.action {
                black_box(call.arguments.eval(&scope).unwrap().body());
            }
        }
    };
    line("condition and arguments of a step", times(50, evaluate), STEPS as u32, Duration::from_micros(20))?;
    let body = Body::from(
        r#"{"content":[{"type":"text","text":"{\"id\":\"u_1\",\"name\":\"Ann\"}"}],"structuredContent":{"id":"u_1","name":"Ann"}}"#,
    );
    let read = || {
        for _ in 0..STEPS {
            black_box(answer::read(ReadAs::Auto, &body).unwrap());
        }
    };
    line("an answer read", times(50, read), STEPS as u32, Duration::from_micros(20))?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
