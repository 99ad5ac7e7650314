//! Any text as a workflow file: a plan or problems, never a panic or a hang. A plan is laid out and exported.

#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard::domain::workflow::{
    case, export,
    graph::{Graph, layout},
    parse::{Source, parse},
};

fuzz_target!(|text: &str| {
    let source = Source { file: "fuzz.toml".into(), text: text.into() };
    let library = |name: &str| (name == "fuzz").then(|| source.clone());
    match parse(&source, &library) {
        Ok(plan) => {
            let layout = layout(&Graph::of(&plan));
            if layout.width * layout.height < 1 << 20 {
                export::text(&layout);
            }
            export::mermaid(&plan);
            export::dot(&plan);
        }
        Err(problems) => problems.iter().for_each(|problem| drop(problem.render())),
    }
    let _ = case::parse(&source);
});
