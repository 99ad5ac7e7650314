//! Human input: the steps `approve` and `elicit`, answered in advance or by the user through the inbox.

use serde_json::json;

use super::{Run, step::Answered};
use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    journal::{Place, RunEntry},
    run::{Purpose, RunQuestion, RunStep, StepAnswer, StepError, StepErrorKind},
    workflow::{expression::Data, input_values, name::shell_quoted},
};

/// Asks the user for one step.
pub struct Asker<'a> {
    /// The run.
    pub run: &'a Run,
    /// The step's place in the run.
    pub step: RunStep,
}

/// Why a step has no answer.
pub enum Unanswered {
    /// It was refused, or the answer cannot be used.
    Refused(StepError),
    /// The question waits for an answer in a later process.
    Waits,
}

impl From<StepError> for Unanswered {
    fn from(error: StepError) -> Unanswered {
        Unanswered::Refused(error)
    }
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
    pub async fn approve(&self, message: String) -> Result<Answered, Unanswered> {
        let name = shell_quoted(&self.step.step, self.step.item);
        let advice = format!("--approve {name} approves it in advance");
        match self.answer(&message, None, &format!("no user can approve: {message}"), &advice).await? {
            Some(StepAnswer::Approve | StepAnswer::Content { .. }) => Ok(Answered::new(Data::from(true), "approved".to_owned())),
            Some(_) => Err(self.refused(format!("not approved: {message}"), "").into()),
            None => Err(self.refused(format!("the question was withdrawn: {message}"), "").into()),
        }
    }

    /// Returns the answer to the question of the step: given in advance, recorded by an earlier process, or of the user. `None` if
    /// the question was withdrawn. Questions and answers are journaled, so that neither is lost with the process. Without a user
    /// the question suspends the run, or is refused with `refusal` and `advice`.
    async fn answer(&self, message: &str, schema: Option<&Body>, refusal: &str, advice: &str) -> Result<Option<StepAnswer>, Unanswered> {
        let place = Place { step: self.step.step.clone(), item: self.step.item, purpose: self.step.purpose };
        let recorded = self.run.replay.answer(&place);
        let fits = |answer: &&StepAnswer| match answer {
            StepAnswer::Approve => schema.is_none(),
            StepAnswer::Content { .. } | StepAnswer::Decline => true,
            StepAnswer::Repeat | StepAnswer::Skip { .. } => false,
        };
        if let Some(answer) = self.run.answer(&place.step, place.item).filter(fits) {
            // An answer of the first request is in the journal already.
            let first = self.run.spec.answers.iter().any(|(_, first)| first == answer);
            if recorded.is_none() && !first {
                self.record(&place, answer).await?;
            }
            return Ok(Some(answer.clone()));
        }
        if let Some(answer) = recorded {
            return Ok(Some(answer.clone()));
        }
        if !self.run.ask && !self.run.wait {
            return Err(self.refused(refusal.to_owned(), advice).into());
        }
        if self.run.replay.asked_ms(&place).is_none() {
            let (message, schema, unix_ms) = (message.to_owned(), schema.cloned(), self.run.bus().unix_ms());
            self.run.write(RunEntry::Asked { place: place.clone(), message, schema, unix_ms }).await?;
        }
        if !self.run.ask {
            let question = RunQuestion { step: place.step, item: place.item, message: message.to_owned(), schema: schema.cloned() };
            self.run.questions.lock().push(question);
            return Err(Unanswered::Waits);
        }
        let form = schema.cloned().unwrap_or_else(|| Body::json(&json!({"type": "object", "properties": {}})));
        let answer = match (self.ask(Question::Form { message: message.to_owned(), schema: form }).await, schema) {
            (Answer::Accept { .. }, None) => StepAnswer::Approve,
            (Answer::Accept { content }, Some(_)) => StepAnswer::Content { content },
            (Answer::Decline, _) => StepAnswer::Decline,
            (Answer::Cancel, _) => return Ok(None),
        };
        self.record(&place, &answer).await?;
        Ok(Some(answer))
    }

    async fn record(&self, place: &Place, answer: &StepAnswer) -> Result<(), StepError> {
        let unix_ms = self.run.bus().unix_ms();
        self.run.write(RunEntry::Answered { place: place.clone(), answer: answer.clone(), unix_ms }).await
    }

    /// Gets the content that the user enters, with the defaults of the form, or fails.
    pub async fn elicit(&self, message: String, schema: &Body) -> Result<Answered, Unanswered> {
        let name = shell_quoted(&self.step.step, self.step.item);
        let advice = format!("--answer {name}=JSON answers it in advance");
        let content = match self.answer(&message, Some(schema), &format!("no user can answer: {message}"), &advice).await? {
            Some(StepAnswer::Content { content }) => content,
            Some(_) => return Err(self.refused(format!("declined: {message}"), "").into()),
            None => return Err(self.refused(format!("the question was withdrawn: {message}"), "").into()),
        };
        let text = content.text().into_owned();
        let data = Data::parse(&text).map_err(|error| self.refused(format!("the answer is not valid JSON: {error}"), ""))?;
        let data = input_values::prepare(schema, &data).map_err(|wrong| {
            let mut wrong = wrong.into_iter();
            let mut error = StepError::new(StepErrorKind::Expectation, format!("invalid answer: {}", wrong.next().unwrap_or_default()));
            error.detail = wrong.map(Into::into).collect();
            Unanswered::Refused(error)
        })?;
        let text = data.json();
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
