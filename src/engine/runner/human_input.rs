//! `approve` and `elicit`: steps that ask a person, through the inbox or by what was said beforehand.

use serde_json::json;

use super::{Run, step::Answered};
use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    run::{Purpose, RunStep, StepAnswer, StepError, StepErrorKind},
    schema::Checker,
    workflow::{expression::Data, name::shell_quoted},
};

/// Where a question comes from.
pub struct Asker<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its path.
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

    /// A yes, or why there is none.
    pub async fn approve(&self, message: String) -> Result<Answered, StepError> {
        let (path, name) = (&self.step.step, shell_quoted(&self.step.step, self.step.item));
        match self.run.answer(path, self.step.item) {
            Some(StepAnswer::Approve | StepAnswer::Content { .. }) => {}
            _ if !self.run.ask => {
                return Err(
                    self.refused(format!("nobody is there to approve: {message}"), &format!("--approve {name} approves it beforehand"))
                );
            }
            _ => {
                let schema = Body::json(&json!({"type": "object", "properties": {}}));
                match self.put(Question::Form { message: message.clone(), schema }).await {
                    Answer::Accept { .. } => {}
                    Answer::Decline => return Err(self.refused(format!("not approved: {message}"), "")),
                    Answer::Cancel => return Err(self.refused(format!("the question was withdrawn: {message}"), "")),
                }
            }
        }
        Ok(Answered::new(Data::from(true), "approved".to_owned()))
    }

    /// What was entered, or why nothing was.
    pub async fn elicit(&self, message: String, schema: &Body) -> Result<Answered, StepError> {
        let (path, name) = (&self.step.step, shell_quoted(&self.step.step, self.step.item));
        let content = match self.run.answer(path, self.step.item) {
            Some(StepAnswer::Content { content }) => content.clone(),
            _ if !self.run.ask => {
                let flag = format!("--answer {name}=JSON answers it beforehand");
                return Err(self.refused(format!("nobody is there to answer: {message}"), &flag));
            }
            _ => match self.put(Question::Form { message: message.clone(), schema: schema.clone() }).await {
                Answer::Accept { content } => content,
                Answer::Decline => return Err(self.refused(format!("declined: {message}"), "")),
                Answer::Cancel => return Err(self.refused(format!("the question was withdrawn: {message}"), "")),
            },
        };
        let text = content.text().into_owned();
        let data = Data::parse(&text).map_err(|error| self.refused(format!("the answer is no JSON: {error}"), ""))?;
        let wrong = Checker::new(schema).check(&data.value());
        if let Some(first) = wrong.first() {
            let mut error = StepError::new(StepErrorKind::Expectation, format!("the answer does not fit: {first}"));
            error.detail = wrong.iter().skip(1).map(|violation| violation.to_string().into()).collect();
            return Err(error);
        }
        Ok(Answered::new(data, text))
    }

    /// What to do about something that was sent before the run was interrupted: again, or count it as
    /// done; `None` to leave it.
    pub async fn doubt(&self, what: &str, arguments: &Body) -> Option<StepAnswer> {
        let done = match self.step.purpose {
            Purpose::Compensation => "It was being undone",
            _ => "It was sent",
        };
        let message = format!(
            "{done} when the run was interrupted, and may have had its effect: {what} of the step {} with {}. What now?",
            self.step.step,
            arguments.text()
        );
        let choices = InDoubtChoice::ALL.map(InDoubtChoice::word);
        let schema = json!({"type": "object", "required": ["action"], "properties": {
            "action": {"type": "string", "title": "What to do", "enum": choices},
            "result": {"type": "string", "title": "Its result as JSON, when it counts as done", "default": "null"},
        }});
        let Answer::Accept { content } = self.put(Question::Form { message, schema: Body::json(&schema) }).await else { return None };
        let chosen = content.value()?;
        let action = chosen["action"].as_str()?;
        match InDoubtChoice::ALL.into_iter().find(|choice| choice.word() == action)? {
            InDoubtChoice::Repeat => Some(StepAnswer::Repeat),
            InDoubtChoice::CountAsDone => {
                let result = Body::from(chosen["result"].as_str().unwrap_or("null"));
                Some(StepAnswer::Skip { result: if result.value().is_some() { result } else { Body::json(&result.text()) } })
            }
        }
    }

    async fn put(&self, question: Question) -> Answer {
        self.run.inbox().ask_for_step(&self.run.spec.workflow, question, self.step.clone()).await
    }
}
