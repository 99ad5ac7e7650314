//! Whether the duration that is shown is the wire's, and what the engine adds to a call.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

mod support;

use std::{sync::Arc, time::Instant};

use support::{
    pipe::Pipe,
    report::{self, Of, Series},
    server,
};
use switchboard::{
    control::{Control, LocalControl, Tail},
    domain::{
        call::{CallSpec, Origin},
        event::{EventKind, Settled},
        id::{ServerId, ToolId},
        retention::Retention,
        secret::Secret,
        server::{ServerSpec, Transport},
        time::Epoch,
    },
    engine::EngineOptions,
    mcp::Connections,
};

const CALLS: usize = 200;

fn main() {
    if server::ran() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let words = server::words("plain");
    let args = words[1..].iter().map(|word| Secret::literal(word.as_str())).collect();
    let launch = Transport::Stdio { command: words[0].clone(), args, env: vec![], inherit_env: false, cwd: None };
    let options = EngineOptions { epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, separator: "_".into(), seed: None };
    let engine = LocalControl::new(options, Retention::default(), Arc::new(Connections::new(None)));
    engine.apply(vec![ServerSpec::new("s", launch)]);
    ready(&engine).await;
    let (mut pipe, _) = Pipe::start(&words);
    for (tool, what) in [("parrot", "a call with an immediate answer"), ("nap", "a call that takes 5 ms")] {
        // By turns, so that the machine's moods hit both alike; the first ones only warm up.
        let (mut bare, mut wire, mut total, mut whole) = (vec![], vec![], vec![], vec![]);
        let (_, mut tail) = engine.watch();
        for round in 0..CALLS + 20 {
            let direct = tokio::task::block_in_place(|| pipe.call(tool));
            let began = Instant::now();
            let settled = call(&engine, &mut tail, tool).await;
            let round_trip = began.elapsed();
            if round < 20 {
                continue;
            }
            bare.push(direct);
            wire.push(settled.timings.wire().expect("answered"));
            total.push(settled.timings.total());
            whole.push(round_trip);
        }
        report::heading(&format!("wire: {what}, {CALLS} times"));
        let [bare, wire, total, whole] = [bare, wire, total, whole].map(|durations| Series::of(&durations));
        report::line("by a raw pipe, request's end to answer's end", "ms", &bare).print();
        report::line("shown: wire", "ms", &wire).against("the pipe", bare.median()).print();
        for (name, difference) in [("of medians", wire.median() - bare.median()), ("of 99th percentiles", wire.p99() - bare.p99())] {
            report::line(&format!("difference {name}"), "ms", &Series::new([difference.abs()])).promise(Of::Median, 1.0).print();
        }
        report::line("shown: total, from asking to outcome", "ms", &total).print();
        report::line("from submit to the event of its end", "ms", &whole).against("the pipe", bare.median()).print();
        report::line("the engine's overhead a call", "ms", &Series::new([whole.median() - bare.median()])).print();
    }
    engine.shutdown().await;
}

async fn ready(engine: &LocalControl) {
    let (mut read_model, mut tail) = engine.watch();
    while !read_model.servers.iter().all(|server| server.phase.usable()) {
        match tail.next().await {
            Ok(Some(event)) => Arc::make_mut(&mut read_model).apply(&event),
            _ => (read_model, tail) = engine.watch(),
        }
    }
}

async fn call(engine: &LocalControl, tail: &mut Tail, tool: &str) -> Arc<Settled> {
    let spec = CallSpec::tool(ToolId::new(ServerId::from("s"), tool), "{}", Origin::Cli);
    let id = engine.submit(spec).await.expect("the engine takes calls");
    loop {
        let event = tail.next().await.expect("one call at a time is not a flood").expect("the engine lives");
        match &event.kind {
            EventKind::CallSettled { call, settled } if *call == id => return settled.clone(),
            _ => {}
        }
    }
}
