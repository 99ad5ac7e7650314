//! Human input: the steps `approve` and `elicit`, answered in advance or by the user through the inbox.

use serde_json::json;

use super::{Run, step::Answered};
use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    run::{Purpose, RunStep, StepAnswer, StepError, StepErrorKind},
    schema::Checker,
    workflow::{expression::Data, name::shell_quoted},
};

/// Asks the user for one step.
pub struct Asker<'a> {
    /// The run.
    pub run: &'a Run,
    /// The step's place in the run.
    pub step: RunStep,
}

/// What can be chosen about an in-doubt step.
#[derive(Clone, Copy)]
enum InDoubtChoice {
    Repeat,
    CountAsDone,
}

impl InDoubtChoice {
    const ALL: [InDoubtChoice; 2] = [InDoubtChoice::Repeat, InDoubtChoice::CountAsDone];

    /// The value in the form's schema.
    fn word(self) -> &'static str {
        match self {
            InDoubtChoice::Repeat => "repeat",
            InDoubtChoice::CountAsDone => "count as done",
        }
    }
}

impl Asker<'_> {
    fn refused(&self, message: String, flag: &str) -> StepError {
        let mut error = StepError::new(StepErrorKind::Refused, message);
        if !flag.is_empty() {
            error.detail.push(format!("try: {flag}").into());
        }
        error
    }

    /// Gets the approval of a step, or fails.
    pub async fn approve(&self, message: String) -> Result<Answered, StepError> {
        let (path, name) = (&self.step.step, shell_quoted(&self.step.step, self.step.item));
        match self.run.answer(path, self.step.item) {
            Some(StepAnswer::Approve | StepAnswer::Content { .. }) => {}
            _ if !self.run.ask => {
                return Err(self.refused(format!("no user can approve: {message}"), &format!("--approve {name} approves it in advance")));
            }
            _ => {
                let schema = Body::json(&json!({"type": "object", "properties": {}}));
                match self.ask(Question::Form { message: message.clone(), schema }).await {
                    Answer::Accept { .. } => {}
                    Answer::Decline => return Err(self.refused(format!("not approved: {message}"), "")),
                    Answer::Cancel => return Err(self.refused(format!("the question was withdrawn: {message}"), "")),
                }
            }
        }
        Ok(Answered::new(Data::from(true), "approved".to_owned()))
    }

    /// Gets the content that the user enters, or fails.
    pub async fn elicit(&self, message: String, schema: &Body) -> Result<Answered, StepError> {
        let (path, name) = (&self.step.step, shell_quoted(&self.step.step, self.step.item));
        let content = match self.run.answer(path, self.step.item) {
            Some(StepAnswer::Content { content }) => content.clone(),
            _ if !self.run.ask => {
                let flag = format!("--answer {name}=JSON answers it in advance");
                return Err(self.refused(format!("no user can answer: {message}"), &flag));
            }
            _ => match self.ask(Question::Form { message: message.clone(), schema: schema.clone() }).await {
                Answer::Accept { content } => content,
                Answer::Decline => return Err(self.refused(format!("declined: {message}"), "")),
                Answer::Cancel => return Err(self.refused(format!("the question was withdrawn: {message}"), "")),
            },
        };
        let text = content.text().into_owned();
        let data = Data::parse(&text).map_err(|error| self.refused(format!("the answer is not valid JSON: {error}"), ""))?;
        let violations = Checker::new(schema).check(&data.value());
        if let Some(first) = violations.first() {
            let mut error = StepError::new(StepErrorKind::Expectation, format!("invalid answer: {first}"));
            error.detail = violations.iter().skip(1).map(|violation| violation.to_string().into()).collect();
            return Err(error);
        }
        Ok(Answered::new(data, text))
    }

    /// Asks the user to resolve an in-doubt request: repeat it or count it as done. `None` leaves it in doubt.
    pub async fn resolve_in_doubt(&self, what: &str, arguments: &Body) -> Option<StepAnswer> {
        let prefix = match self.step.purpose {
            Purpose::Compensation => "It was being undone",
            _ => "It was sent",
        };
        let message = format!(
            "{prefix} when the run was interrupted and may have taken effect: {what} of the step {} with {}. What now?",
            self.step.step,
            arguments.text()
        );
        let choices = InDoubtChoice::ALL.map(InDoubtChoice::word);
        let schema = json!({"type": "object", "required": ["action"], "properties": {
            "action": {"type": "string", "title": "What to do", "enum": choices},
            "result": {"type": "string", "title": "Its result as JSON, when it counts as done", "default": "null"},
        }});
        let Answer::Accept { content } = self.ask(Question::Form { message, schema: Body::json(&schema) }).await else { return None };
        let values = content.value()?;
        let action = values["action"].as_str()?;
        match InDoubtChoice::ALL.into_iter().find(|choice| choice.word() == action)? {
            InDoubtChoice::Repeat => Some(StepAnswer::Repeat),
            InDoubtChoice::CountAsDone => {
                let result = Body::from(values["result"].as_str().unwrap_or("null"));
                Some(StepAnswer::Skip { result: if result.value().is_some() { result } else { Body::json(&result.text()) } })
            }
        }
    }

    async fn ask(&self, question: Question) -> Answer {
        self.run.inbox().ask_for_step(&self.run.spec.workflow, question, self.step.clone()).await
    }
}
