//! Questions of steps at the terminal: asks the user one after the other and gives the answers to the engine.

use std::{collections::VecDeque, sync::Arc};

use super::{input::TypedLine, session::Session};
use crate::{
    control::Command,
    domain::{
        ask::{Answer, Ask, Question},
        body::Body,
        event::{Event, EventKind},
        id::AskId,
        raw_object::RawObject,
        run::RunId,
    },
};

/// The open questions of a run.
pub struct Questions {
    run: RunId,
    waiting: VecDeque<Arc<Ask>>,
    /// The question whose answer is being typed, and where its line arrives.
    current: Option<(Arc<Ask>, TypedLine)>,
}

impl Questions {
    /// Returns the questions of a run that starts.
    pub fn new(run: RunId) -> Questions {
        Questions { run, waiting: VecDeque::new(), current: None }
    }

    /// Notes a question that was opened or closed.
    pub fn handle(&mut self, event: &Event) {
        match &event.kind {
            EventKind::AskOpened { ask } if ask.run.as_ref().is_some_and(|step| step.run == self.run) => {
                self.waiting.push_back(ask.clone())
            }
            EventKind::AskClosed { ask, .. } => self.close(*ask),
            _ => {}
        }
    }

    fn close(&mut self, id: AskId) {
        self.waiting.retain(|ask| ask.id != id);
        if self.current.as_ref().is_some_and(|(ask, _)| ask.id == id) {
            self.current = None;
        }
    }

    /// Prints the next question, if none is being answered.
    pub fn ask_next(&mut self, session: &mut Session<'_>) {
        if self.current.is_some() {
            return;
        }
        let Some(ask) = self.waiting.pop_front() else { return };
        let (message, form) = match &ask.question {
            Question::Form { message, schema } => (message.clone(), has_fields(schema)),
            _ => return self.decline(session, &ask),
        };
        let name = ask.run.as_ref().map(|step| step.step.to_string()).unwrap_or_default();
        session.printer.note(&format!("{name} asks: {message}"));
        if let (true, Question::Form { schema, .. }) = (form, &ask.question) {
            session.printer.note(&format!("  a JSON object of this schema: {}", schema.text()));
        }
        let Some(line) = session.read_line() else { return self.decline(session, &ask) };
        session.printer.question(if form { "JSON (empty declines):" } else { "Approve? [y/N]" });
        self.current = Some((ask, line));
    }

    fn decline(&self, session: &mut Session<'_>, ask: &Ask) {
        session.command(Command::Answer { ask: ask.id, answer: Answer::Decline });
    }

    /// Resolves with the line that the user typed; `None` at the end of input. Never resolves without a question. Cancel-safe.
    pub async fn line(&mut self) -> Option<String> {
        match &mut self.current {
            Some((_, line)) => line.await.unwrap_or(None),
            None => std::future::pending().await,
        }
    }

    /// Gives the typed answer to the engine. One that is not a JSON object is asked for again.
    pub fn answer(&mut self, session: &mut Session<'_>, line: &Option<String>) {
        let Some((ask, _)) = self.current.take() else { return };
        let typed = line.as_deref().unwrap_or_default().trim();
        let form = matches!(&ask.question, Question::Form { schema, .. } if has_fields(schema));
        let answer = match form {
            false if matches!(typed.to_lowercase().as_str(), "y" | "yes") => Answer::Accept { content: Body::from("{}") },
            true if !typed.is_empty() => {
                let content = Body::from(typed.to_owned());
                if RawObject::parse(&content).is_none() {
                    session.printer.note("the answer is not a JSON object");
                    return self.waiting.push_front(ask);
                }
                Answer::Accept { content }
            }
            _ => Answer::Decline,
        };
        session.command(Command::Answer { ask: ask.id, answer });
    }
}

/// Returns whether a form has fields to fill in.
fn has_fields(schema: &Body) -> bool {
    schema.value().is_some_and(|schema| schema["properties"].as_object().is_some_and(|fields| !fields.is_empty()))
}
