//! Any text as an argument of a step: a value or an error, never a panic or a hang.

#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard::domain::workflow::{
    expression::{Data, RunFacts, Scope},
    parse::{Source, parse},
    plan::Action,
};

fuzz_target!(|text: &str| {
    // Literal strings of TOML take everything but their own quotes as it is.
    let text = text.replace("'''", "");
    let file = format!("[input]\nx = \"any\"\n[[step]]\nid = \"a\"\ntool = \"t\"\nfor_each = [1]\n[step.arguments]\nx = '''{text}'''\n");
    let Ok(plan) = parse(&Source { file: "fuzz.toml".into(), text: file }, &|_| None) else { return };
    let input = Data::parse(r#"{"x":{"a":[1,2.5,"b",null,{"c":true}],"n":123456789012345678901}}"#).unwrap_or_default();
    let scope = Scope::new(&plan.names, input, &RunFacts::default(), []).with_item(Data::from("item"), 0);
    if let Action::Tool(call) = &plan.steps[0].action {
        if let Ok(data) = call.arguments.eval(&scope) {
            assert!(Data::parse(&data.json()).is_ok(), "what comes out is JSON");
        }
        call.arguments.preview(&scope);
    }
});
