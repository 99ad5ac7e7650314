use super::*;
use crate::domain::workflow::problem::render_all;

fn source(text: &str) -> Source {
    Source { file: "flow.toml".into(), text: text.into() }
}

#[test]
fn demo_workflows_parse() {
    for (name, text) in crate::domain::workflow::DEMO {
        let plan = parse(&Source { file: format!("{name}.toml"), text: text.into() }, &|_| None);
        let plan = plan.unwrap_or_else(|problems| panic!("{}", render_all(&problems)));
        assert_eq!(plan.name, name);
    }
}
