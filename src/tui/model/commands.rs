//! Performs what the command line chose.

use serde_json::{Map, Value};

use crate::{
    control::Command,
    domain::{body::Body, directory::Directory, event::NoticeLevel, id::ToolId, server::Phase},
    tui::{
        WorkspaceRequest,
        action::Action,
        msg::Cmd,
        overlay::{
            describe::Describe,
            help::Help,
            palette::{Choice, Known, Palette},
        },
        theme::Theme,
        tree::Node,
        view::{Part, ViewId},
    },
};

use super::Model;

/// The most lines that are remembered.
const MOST: usize = 100;

impl Model {
    /// Opens the command line.
    pub(super) fn command_line(&mut self) {
        let workflows = self.views.flows.list.iter().map(|flow| flow.name.clone()).collect();
        let saved = self.console.tree.saved_calls().map(|(call, tool)| (call.clone(), tool.clone())).collect();
        let environments = self.session.environments.names.clone();
        let known = Known { context_actions: self.acting_here(), workflows, saved, history: self.lines.clone(), environments };
        self.dialogs.push(Palette::new(known, self.session.read_model()));
    }

    /// Performs a choice. The line is remembered, unless it is empty.
    pub(in crate::tui) fn run_command(&mut self, choice: Choice, line: String) -> Vec<Cmd> {
        if !line.is_empty() {
            self.lines.retain(|earlier| *earlier != line);
            self.lines.push(line);
            let surplus = self.lines.len().saturating_sub(MOST);
            self.lines.drain(..surplus);
        }
        match choice {
            Choice::Action(action) => return self.act(action),
            Choice::Go(node) => self.go_to(&node),
            Choice::Describe(node) => {
                let description = Describe::node(&node, self.session.read_model(), self.session.time());
                description.into_iter().for_each(|description| self.dialogs.push(description));
            }
            Choice::Server(action, server) => {
                let off = self.session.read_model().server(&server).is_some_and(|server| matches!(*server.phase, Phase::Disabled));
                return vec![Cmd::Command(match action {
                    Action::Restart => Command::Restart { server },
                    Action::Disable if off => {
                        self.toast(NoticeLevel::Info, format!("{server} is disabled already; start {server} starts it."));
                        return vec![];
                    }
                    Action::Disable => Command::Disable { server },
                    _ => Command::Refresh { server },
                })];
            }
            Choice::Call(tool, arguments) => return self.call_line(tool, &arguments),
            Choice::Workflow(name) => self.go_to_workflow(&name),
            Choice::Run(name) => {
                self.go_to_workflow(&name);
                return self.act(Action::RunWorkflow);
            }
            Choice::Environment(name) => return vec![Cmd::Request(WorkspaceRequest::UseEnvironment(name))],
            Choice::Theme(name) => match Theme::named(name) {
                Some(theme) => self.session.theme = theme,
                None => self.toast(NoticeLevel::Warn, format!("Unknown theme {name}.")),
            },
            Choice::Filter(text) => self.show_traffic(&text),
            Choice::Help(text) => self.dialogs.push(Help::searching(self.contexts().to_vec(), text)),
            Choice::Type(_) => {}
        }
        vec![]
    }

    fn go_to_workflow(&mut self, name: &str) {
        self.views.show(ViewId::Workflows);
        self.views.state.part = Part::Main;
        self.views.flows.go_to(name);
    }

    /// Sends a call with arguments written `key=value`, through the form, which shows what is wrong with them.
    fn call_line(&mut self, tool: ToolId, arguments: &str) -> Vec<Cmd> {
        let schema = self.session.read_model().tool(&tool).map(|tool| tool.input_schema.clone()).unwrap_or_default();
        let arguments = match arguments_of(arguments, &schema) {
            Ok(arguments) => arguments,
            Err(why) => {
                self.toast(NoticeLevel::Warn, why);
                return vec![];
            }
        };
        let node = Node::Tool(tool);
        self.go_to(&node);
        self.console.call.show(Some(&node), self.session.mirror.read_model.as_ref());
        self.console.call.arguments_mut().set_values(&arguments);
        self.act(Action::Send)
    }
}

/// Returns the JSON object of `key=value` words. A value is text if the schema says so, JSON if it is valid JSON, else text;
/// `key:=json` is always JSON. Quotes join words.
fn arguments_of(line: &str, schema: &Body) -> Result<Body, String> {
    let schema = schema.value().unwrap_or_default();
    let mut object = Map::new();
    for word in words(line)? {
        let Some((key, value)) = word.split_once('=') else { return Err(format!("{word:?} is not key=value; nothing was sent.")) };
        let value = match key.strip_suffix(':') {
            Some(_) => {
                serde_json::from_str(value).map_err(|_| format!("{key}= is followed by something that is not JSON; nothing was sent."))?
            }
            None => {
                let kind = schema.get("properties").and_then(|all| all.get(key)).and_then(|one| one.get("type"));
                let text = kind.and_then(Value::as_str) == Some("string");
                let parsed = serde_json::from_str::<Value>(value).ok().filter(|_| !text);
                parsed.unwrap_or_else(|| Value::from(value))
            }
        };
        object.insert(key.strip_suffix(':').unwrap_or(key).to_owned(), value);
    }
    Ok(Body::json(&Value::Object(object)))
}

/// Splits a line at spaces outside of quotes.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote, mut any) = (vec![], String::new(), None, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', quote) if quote != Some('\'') => word.extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            // Quotes within JSON stay.
            ('"' | '\'', None) if word.is_empty() || word.ends_with('=') && !word.ends_with(":=") => (quote, any) = (Some(c), true),
            (' ', None) => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            _ => word.push(c),
        }
    }
    if quote.is_some() {
        return Err("A quote is not closed; nothing was sent.".to_owned());
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_arguments_by_the_schema() {
        let schema = Body::from(r#"{"properties":{"message":{"type":"string"},"age":{"type":"integer"}}}"#);
        let object = |line: &str| arguments_of(line, &schema).map(|body| body.text().into_owned());
        assert_eq!(object(r#"message="hello world" age=7 x=y"#).unwrap(), r#"{"message":"hello world","age":7,"x":"y"}"#);
        assert_eq!(object("message=5 list:=[1,2]").unwrap(), r#"{"message":"5","list":[1,2]}"#);
        assert_eq!(object(r"message=a\ b").unwrap(), r#"{"message":"a b"}"#);
        assert_eq!(object(r#"o:={"a":"b"}"#).unwrap(), r#"{"o":{"a":"b"}}"#);
        assert_eq!(object("").unwrap(), "{}");
        for wrong in ["message", "message=\"open", "a:=nope"] {
            assert!(object(wrong).is_err(), "{wrong}");
        }
    }
}
