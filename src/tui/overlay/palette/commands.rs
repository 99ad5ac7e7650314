//! The commands of the command line, and the rows that match a line. Pure.

use std::{cmp::Reverse, sync::Arc};

use crate::{
    domain::{directory::Directory, id::ToolId, workflow::saved_call::SavedCall},
    state::ConsoleState,
    tui::{
        action::{Action, Group},
        name_search::{Found, NameSearch},
        theme::THEMES,
        tree::Node,
    },
};

use super::{Choice, Known, PaletteRow};

/// Score of a match in the name, above any match in a text.
const NAME: u32 = 1 << 16;
/// Score of an exact name, above all.
const EXACT: u32 = 1 << 20;
/// Score of a name that starts with the line.
const START: u32 = 1 << 12;
/// The score that each typed character must reach on average. A loose match scores less: it is not what was meant.
const LEAST: u32 = 12;
/// The most earlier lines above the actions.
const RECENT: usize = 5;

/// The argument of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    Tool,
    Server(Action),
    Workflow,
    Theme,
    Environment,
    /// Anything with a name: the command goes there, or describes it.
    Anything,
    Text,
}

/// A command with an argument.
struct CommandSpec {
    name: &'static str,
    argument: Argument,
    help: &'static str,
}

const COMMANDS: [CommandSpec; 12] = [
    CommandSpec { name: "call", argument: Argument::Tool, help: "Send a call: call TOOL key=value …" },
    CommandSpec { name: "describe", argument: Argument::Anything, help: "Describe a tool, server, resource, prompt or template" },
    CommandSpec { name: "disable", argument: Argument::Server(Action::Disable), help: "Disconnect a server" },
    CommandSpec { name: "environment", argument: Argument::Environment, help: "Use an environment of the configuration, or none" },
    CommandSpec { name: "filter", argument: Argument::Text, help: "Filter the traffic: filter outcome:failed" },
    CommandSpec { name: "go", argument: Argument::Anything, help: "Go to a tool, server, resource, prompt or workflow" },
    CommandSpec { name: "help", argument: Argument::Text, help: "Search in the help" },
    CommandSpec { name: "reload", argument: Argument::Server(Action::Refresh), help: "Reload tools, resources and prompts of a server" },
    CommandSpec { name: "restart", argument: Argument::Server(Action::Restart), help: "Restart a server" },
    CommandSpec { name: "run", argument: Argument::Workflow, help: "Run a workflow" },
    CommandSpec { name: "start", argument: Argument::Server(Action::Restart), help: "Start a disabled server" },
    CommandSpec { name: "theme", argument: Argument::Theme, help: "Use another theme in this session" },
];

/// The name for no environment.
const NO_ENVIRONMENT: &str = "none";

/// Other names of actions.
const ALIASES: [(&str, Action); 8] = [
    ("q", Action::Quit),
    ("exit", Action::Quit),
    ("bye", Action::Quit),
    ("export", Action::Save),
    ("logs", Action::ViewHealth),
    ("servers", Action::ViewConsole),
    ("questions", Action::Inbox),
    ("keys", Action::Help),
];

/// Returns the rows that match a line, best first.
pub(super) fn rows(line: &str, known: &Known, read_model: &ConsoleState) -> Vec<PaletteRow> {
    let line = line.trim_start();
    if let Some((verb, rest)) = line.split_once(' ')
        && let Some(command) = COMMANDS.iter().find(|command| command.name == verb)
    {
        let rows = argument_rows(command, rest.trim_start(), known, read_model);
        // The words may also be those of an action, as in "start over".
        if !rows.is_empty() || matches!(command.argument, Argument::Tool) {
            return rows;
        }
    }
    let mut rows = named_rows(line.trim_end(), known, read_model);
    if line.is_empty() {
        let recent = known.history.iter().rev().take(RECENT);
        let recent = recent.map(|line| row(Choice::Type(line.clone()), line.clone(), String::new(), "recent"));
        rows.splice(0..0, recent);
    }
    rows
}

fn row(choice: Choice, name: String, about: String, kind: &'static str) -> PaletteRow {
    PaletteRow { choice, name, marks: vec![], about, kind }
}

/// Everything with a name: its name, its kind, its texts.
struct Named {
    node: Node,
    name: String,
    kind: &'static str,
    texts: Vec<String>,
}

fn everything(read_model: &ConsoleState, saved: &[(SavedCall, ToolId)]) -> Vec<Named> {
    let mut all: Vec<Named> = vec![];
    for (name, id) in read_model.names.iter() {
        let tool = read_model.tool(id);
        let texts = tool.map(|tool| [Some(tool.name.to_string()), tool.title.clone(), tool.description.clone()]);
        let mut texts: Vec<String> = texts.into_iter().flatten().flatten().collect();
        texts.push(id.server.to_string());
        all.push(Named { node: Node::Tool(id.clone()), name: name.to_string(), kind: "tool", texts });
    }
    for (call, tool) in saved {
        let texts = vec![call.name.to_string(), call.tool.to_string()];
        all.push(Named { node: Node::Saved(tool.clone(), call.name.clone()), name: call.label.to_string(), kind: "saved call", texts });
    }
    for server in &read_model.servers {
        let id = server.id();
        let texts = server.spec.description.iter().cloned().collect();
        all.push(Named { node: Node::Server(id.clone()), name: id.to_string(), kind: "server", texts });
        let some = |texts: [&Option<String>; 2]| texts.into_iter().flatten().cloned().collect::<Vec<_>>();
        for r in &server.catalog.resources {
            let node = Node::Resource(id.clone(), r.uri.as_str().into());
            all.push(Named { node, name: format!("{id} {}", r.name), kind: "resource", texts: some([&r.title, &r.description]) });
        }
        for t in &server.catalog.templates {
            let node = Node::Template(id.clone(), t.uri.as_str().into());
            all.push(Named { node, name: format!("{id} {}", t.name), kind: "template", texts: some([&t.title, &t.description]) });
        }
        for p in &server.catalog.prompts {
            let node = Node::Prompt(id.clone(), p.name.clone());
            all.push(Named { node, name: format!("{id} {}", p.name), kind: "prompt", texts: some([&p.title, &p.description]) });
        }
    }
    all
}

/// A search that scores rows by name, then by text.
struct Scored {
    search: NameSearch,
    typed: String,
    rows: Vec<(u32, PaletteRow)>,
}

impl Scored {
    fn new(typed: &str) -> Scored {
        Scored { search: NameSearch::new(typed), typed: typed.to_lowercase(), rows: vec![] }
    }

    /// Adds a row if its name or its texts match. `shown` is the name with what precedes it on the line.
    fn add<'t>(&mut self, name: &'t str, mut row: PaletteRow, texts: impl IntoIterator<Item = &'t str>) {
        let plain = name.replace('-', " ").to_lowercase();
        let typed = self.typed.replace('-', " ");
        let least = LEAST * self.typed.chars().filter(|c| !c.is_whitespace()).count() as u32;
        match self.search.in_name(name) {
            Some(Found { score, marks }) if score >= least => {
                let exact = if plain == typed { EXACT } else { 0 };
                let start = if plain.starts_with(&typed) { START } else { 0 };
                let lead = (row.name.chars().count() - name.chars().count().min(row.name.chars().count())) as u32;
                row.marks = marks.into_iter().map(|mark| mark + lead).collect();
                self.rows.push((NAME + score + exact + start, row));
            }
            _ => {
                if self.search.in_texts(texts.into_iter().chain([name]).map(Some)) {
                    self.rows.push((0, row));
                }
            }
        }
    }

    fn sorted(mut self) -> Vec<PaletteRow> {
        self.rows.sort_by_key(|(score, _)| Reverse(*score));
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// Returns the rows of the argument of a command.
fn argument_rows(command: &CommandSpec, rest: &str, known: &Known, read_model: &ConsoleState) -> Vec<PaletteRow> {
    let mut found = Scored::new(rest.trim_end());
    let named = |name: &str| format!("{} {name}", command.name);
    match command.argument {
        Argument::Text => {
            let choice = if command.name == "filter" { Choice::Filter(rest.to_owned()) } else { Choice::Help(rest.to_owned()) };
            return vec![row(choice, named(rest), command.help.to_owned(), "")];
        }
        Argument::Theme => {
            for theme in THEMES {
                found.add(theme, row(Choice::Theme(theme), named(theme), String::new(), "theme"), []);
            }
        }
        Argument::Environment => {
            for name in &known.environments {
                found.add(name, row(Choice::Environment(Some(name.clone())), named(name), String::new(), "environment"), []);
            }
            found.add(NO_ENVIRONMENT, row(Choice::Environment(None), named(NO_ENVIRONMENT), String::new(), "environment"), []);
        }
        Argument::Server(action) => {
            for server in &read_model.servers {
                let choice = Choice::Server(action, server.id().clone());
                found.add(server.id().as_str(), row(choice, named(server.id().as_str()), server.phase.word().to_owned(), "server"), []);
            }
        }
        Argument::Workflow => {
            for name in &known.workflows {
                found.add(name, row(Choice::Run(name.clone()), named(name), String::new(), "workflow"), []);
            }
        }
        Argument::Anything => {
            let describes = command.name == "describe";
            for Named { node, name, kind, texts } in everything(read_model, &known.saved) {
                let choice = if describes { Choice::Describe(node) } else { Choice::Go(node) };
                found.add(&name, row(choice, named(&name), String::new(), kind), texts.iter().map(String::as_str));
            }
            if !describes {
                for name in &known.workflows {
                    found.add(name, row(Choice::Workflow(name.clone()), named(name), String::new(), "workflow"), []);
                }
            }
        }
        Argument::Tool => return call_rows(rest, read_model),
    }
    found.sorted()
}

/// Returns the tools that a call may mean; with arguments, or with its whole name, the call itself.
fn call_rows(rest: &str, read_model: &ConsoleState) -> Vec<PaletteRow> {
    let (name, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
    let exact = read_model.names.iter().find(|(exposed, _)| ***exposed == *name).map(|(_, id)| id.clone());
    let about = |id: &ToolId| read_model.tool(id).and_then(|tool| tool.description.clone()).unwrap_or_default();
    if let Some(id) = exact {
        let about = about(&id).lines().next().unwrap_or_default().to_owned();
        return vec![row(Choice::Call(id, arguments.to_owned()), format!("call {rest}"), about, "call")];
    }
    if rest.contains(' ') {
        return vec![];
    }
    let mut found = Scored::new(rest);
    for (exposed, id) in read_model.names.iter() {
        let about = about(id).lines().next().unwrap_or_default().to_owned();
        let text = format!("call {exposed}");
        let tool = read_model.tool(id);
        let own = tool.map(|tool| tool.name.to_string()).unwrap_or_default();
        found.add(exposed, row(Choice::Type(format!("{text} ")), text, about.clone(), "tool"), [own.as_str(), about.as_str()]);
    }
    found.sorted()
}

/// Returns the rows of everything with a name.
fn named_rows(typed: &str, known: &Known, read_model: &ConsoleState) -> Vec<PaletteRow> {
    let mut found = Scored::new(typed);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == typed);
    if let Some((alias, action)) = alias {
        let about = format!("{}: {}", action.name(), action.help());
        found.rows.push((2 * EXACT, row(Choice::Action(*action), (*alias).to_owned(), about, "")));
    }
    let add_commands = |found: &mut Scored| {
        for command in &COMMANDS {
            let of_command = row(Choice::Type(format!("{} ", command.name)), command.name.to_owned(), command.help.to_owned(), "command");
            found.add(command.name, of_command, [command.help]);
        }
    };
    // An empty line shows what can be typed; otherwise an action of the same name comes first.
    if typed.is_empty() {
        add_commands(&mut found);
    }
    // Quit and the cursor moves come last, so that Enter in a fresh line does not run them.
    let last = |action: &&Action| **action == Action::Quit || action.group() == Group::Move;
    let order = Action::ALL.iter().filter(|a| !last(a)).chain(Action::ALL.iter().filter(last));
    for action in order.filter(|a| a.in_palette() || known.context_actions.contains(a)) {
        let of_action = row(Choice::Action(*action), action.name().to_owned(), action.help().to_owned(), "");
        found.add(action.name(), of_action, [action.help(), action.label()]);
    }
    if !typed.is_empty() {
        add_commands(&mut found);
    }
    for Named { node, name, kind, texts } in everything(read_model, &known.saved) {
        let about = match node {
            Node::Tool(_) | Node::Saved(..) => texts.last().map(|owner| format!("of {owner}")).unwrap_or_default(),
            _ => String::new(),
        };
        found.add(&name, row(Choice::Go(node), name.clone(), about, kind), texts.iter().map(String::as_str));
    }
    for name in known.workflows.iter().filter(|name| !known.saved.iter().any(|(call, _)| call.name == **name)) {
        found.add(name, row(Choice::Workflow(Arc::clone(name)), name.to_string(), String::new(), "workflow"), []);
    }
    found.sorted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::test_support;

    fn known() -> Known {
        Known { workflows: vec!["onboard_new_user".into()], history: vec!["theme light".into()], ..Known::default() }
    }

    fn found(line: &str) -> Vec<(String, Choice)> {
        let rows = rows(line, &known(), &test_support::shop_state());
        rows.into_iter().map(|row| (row.name, row.choice)).collect()
    }

    fn first(line: &str) -> Choice {
        let found = found(line);
        found.first().unwrap_or_else(|| panic!("nothing for {line}")).1.clone()
    }

    #[test]
    fn commands_take_arguments() {
        assert_eq!(first("restart data"), Choice::Server(Action::Restart, "database".into()));
        assert_eq!(first("theme li"), Choice::Theme("light"));
        assert_eq!(first("run onb"), Choice::Run("onboard_new_user".into()));
        assert_eq!(first("filter outcome:failed"), Choice::Filter("outcome:failed".into()));
        assert_eq!(first("go email"), Choice::Go(Node::Server("email".into())));
        assert!(matches!(first("describe create"), Choice::Describe(Node::Tool(tool)) if &*tool.name == "create_user"));
        let create = ToolId::new("database".into(), "create_user");
        assert_eq!(first("call database_create_user name=Ann"), Choice::Call(create, "name=Ann".into()));
        assert_eq!(first("call dbcreate"), Choice::Type("call database_create_user ".into()));
    }

    #[test]
    fn environments_are_chosen_by_name_and_left_by_none() {
        let known = Known { environments: vec!["staging".into(), "production".into()], ..Known::default() };
        let first = |line: &str| rows(line, &known, &test_support::shop_state()).remove(0).choice;
        assert_eq!(first("environment prod"), Choice::Environment(Some("production".into())));
        assert_eq!(first("environment none"), Choice::Environment(None));
        assert_eq!(first("environment"), Choice::Type("environment ".into()));
    }

    #[test]
    fn names_come_before_texts_and_aliases_before_all() {
        assert_eq!(first("q"), Choice::Action(Action::Quit));
        assert_eq!(first("exit"), Choice::Action(Action::Quit));
        assert_eq!(first("restart"), Choice::Action(Action::Restart), "the selected server; a space asks for one");
        assert_eq!(first("inbox"), Choice::Action(Action::Inbox));
        assert_eq!(first("database"), Choice::Go(Node::Server("database".into())));
        assert_eq!(first("onboard"), Choice::Workflow("onboard_new_user".into()));
        assert_eq!(first("fold every"), Choice::Action(Action::FoldAll), "by its description");
        assert!(found("").iter().any(|(name, choice)| name == "theme light" && matches!(choice, Choice::Type(_))));
    }

    #[test]
    fn a_line_that_means_nothing_finds_nothing() {
        for line in ["xyzzy", "restart nothing_like_it", "call no_such_tool a=b", "theme solarised_dark"] {
            assert_eq!(found(line), [], "{line}");
        }
    }
}
