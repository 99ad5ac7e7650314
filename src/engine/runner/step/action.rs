//! The actions of a step: a tool, prompt or resource, a nested workflow, a question to a person.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Answered, Limits, StepExecution, Try, cancelled};
use crate::{
    domain::{
        body::Body,
        call::Operation,
        id::ServerId,
        journal::RunEntry,
        run::{Purpose, RunOutcome, StepDetail, StepError, StepErrorKind, StepState},
        workflow::{
            expression::Template,
            input_values,
            plan::{MAX_DEPTH, OnError, Plan, ReadAs, ToolCall},
        },
    },
    engine::runner::{
        flow::{self, Frame},
        human_input::{Asker, Unanswered},
        target,
    },
};

impl StepExecution<'_> {
    pub(super) async fn tool(
        &self,
        call: &ToolCall,
        purpose: Purpose,
        attempt: u32,
        limits: &Limits,
        cache: Option<Duration>,
    ) -> Result<Answered, Try> {
        let arguments = self.evaluate(&call.arguments)?.body();
        self.show_arguments(&arguments, purpose);
        let target = self.within(limits, target::tool(self.run(), &call.tool)).await?.map_err(|error| Try::Failed(error, true))?;
        let repeatable = target.repeatable || (self.plan_step().idempotent && purpose == Purpose::Step);
        let read_as = if purpose == Purpose::Step { self.plan_step().read_as } else { ReadAs::Auto };
        let operation = Operation::Tool { tool: target.tool.clone(), arguments: arguments.clone() };
        let (registry, now_ms) = (self.run().runs.registry.read(), self.run().bus().unix_ms());
        let principal = self.run().executor.principal();
        if let Some(fresh) = cache
            && let Some(answer) = self.run().cache().get(&registry, (&operation, &principal), fresh, now_ms).await
        {
            return self.read(&answer, read_as, repeatable);
        }
        let place = self.place(purpose);
        let entry = RunEntry::Sending { place, attempt, what: call.tool.to_string(), arguments: self.flow.shown(&arguments).0 };
        self.run().write(entry).await.map_err(|error| Try::Failed(error, false))?;
        let answer = self.call(operation.clone(), purpose, limits).await.map_err(|tried| tried.repeatable(repeatable))?;
        let answered = self.read(&answer, read_as, repeatable)?;
        // A response that fails the expectations must be requested again, by the next attempt and the next run.
        if let Some(fresh) = cache.filter(|_| self.check_expectations(&answered).is_ok()) {
            self.run().cache().put(&registry, (&operation, &principal), &answer, fresh, self.run().bus().unix_ms()).await;
        }
        Ok(answered)
    }

    pub(super) async fn prompt(&self, server: &str, name: &str, arguments: &Template, limits: &Limits) -> Result<Answered, Try> {
        let arguments = self.evaluate(arguments)?.body();
        self.show_arguments(&arguments, Purpose::Step);
        self.run().write_pending().await.map_err(|error| Try::Failed(error, false))?;
        let operation = Operation::Prompt { server: ServerId::from(server), name: name.to_owned(), arguments };
        let answer = self.call(operation, Purpose::Step, limits).await.map_err(|tried| tried.repeatable(true))?;
        self.read(&answer, self.plan_step().read_as, true)
    }

    pub(super) async fn resource(&self, server: &str, uri: &Template, limits: &Limits) -> Result<Answered, Try> {
        let uri = self.evaluate(uri)?.display();
        self.show_arguments(&Body::json(&serde_json::json!({ "uri": uri })), Purpose::Step);
        self.run().write_pending().await.map_err(|error| Try::Failed(error, false))?;
        let operation = Operation::Resource { server: ServerId::from(server), uri };
        let answer = self.call(operation, Purpose::Step, limits).await.map_err(|tried| tried.repeatable(true))?;
        self.read(&answer, self.plan_step().read_as, true)
    }

    pub(super) async fn workflow(&self, plan: &Arc<Plan>, input: &Template, limits: &Limits) -> Result<Answered, Try> {
        let limit = |message: String| Try::Failed(StepError::new(StepErrorKind::Limit, message), false);
        if self.flow.depth >= MAX_DEPTH {
            return Err(limit(format!("nested workflows exceed the maximum depth of {MAX_DEPTH}")));
        }
        let given = self.evaluate(input)?;
        self.show_arguments(&given.body(), Purpose::Step);
        let input = input_values::prepare(&plan.input, &given).map_err(|wrong| {
            let mut error = StepError::new(StepErrorKind::Expectation, format!("the input does not fit {}: {}", plan.name, wrong[0]));
            error.detail = wrong[1..].iter().cloned().map(StepDetail::Text).collect();
            Try::Failed(error, false)
        })?;
        let prefix = flow::nested_prefix(self.path(), self.item);
        let compensates = self.flow.on_error(self.step) == OnError::Compensate;
        let (depth, deadline) = (self.flow.depth + 1, limits.deadline);
        let parent = Some(self.flow.parked.clone());
        let frame = Frame { prefix, depth, input, signal: self.signal.clone(), deadline, compensates, parent };
        let end = flow::run(self.run(), plan, frame).await;
        match (end.outcome, end.output) {
            (RunOutcome::Ok | RunOutcome::Partial, output) => Ok(Answered::new(output.unwrap_or_default(), String::new())),
            (RunOutcome::Cancelled, _) => {
                let mut error = cancelled(end.why.unwrap_or_default(), !end.not_compensated.is_empty());
                error.detail = not_undone(&end.not_compensated);
                Err(Try::Cancelled(error))
            }
            (outcome, _) => {
                let kind = match outcome {
                    RunOutcome::Refused => StepErrorKind::Refused,
                    RunOutcome::TimedOut => StepErrorKind::Timeout,
                    _ => StepErrorKind::Workflow,
                };
                let why = end.why.unwrap_or_else(|| outcome.words().to_owned());
                let mut error = StepError::new(kind, format!("{}: {why}", plan.name));
                error.detail = not_undone(&end.not_compensated);
                error.may_have_run = !end.not_compensated.is_empty();
                Err(Try::Failed(error, false))
            }
        }
    }

    pub(super) async fn approve(&self, message: &Template, limits: &Limits) -> Result<Answered, Try> {
        let message = self.evaluate(message)?.display();
        self.show_waiting(&message);
        let limits = self.question_limits(limits);
        let asker = self.asker();
        let answer = self.within(&limits, asker.approve(message)).await?;
        self.answered(&limits, answer).await
    }

    pub(super) async fn elicit(&self, message: &Template, schema: &Body, limits: &Limits) -> Result<Answered, Try> {
        let message = self.evaluate(message)?.display();
        self.show_waiting(&message);
        let limits = self.question_limits(limits);
        let asker = self.asker();
        let answer = self.within(&limits, asker.elicit(message, schema)).await?;
        self.answered(&limits, answer).await
    }

    /// Returns the limits of a question, whose time runs from when it was asked first, even by an earlier process.
    fn question_limits(&self, limits: &Limits) -> Limits {
        let asked_ms = self.run().replay.asked_ms(&self.place(Purpose::Step));
        let since = asked_ms.map(|asked_ms| Duration::from_millis(self.run().bus().unix_ms().saturating_sub(asked_ms)));
        let earlier = |deadline: Instant| deadline.checked_sub(since.unwrap_or_default()).unwrap_or_else(Instant::now);
        Limits { signal: limits.signal.clone(), deadline: limits.deadline.map(earlier), limit: limits.limit }
    }

    /// Returns the answer of a person. A question that waits keeps the step until the run is suspended.
    async fn answered(&self, limits: &Limits, answer: Result<Answered, Unanswered>) -> Result<Answered, Try> {
        match answer {
            Ok(answered) => Ok(answered),
            Err(Unanswered::Refused(error)) => Err(Try::Failed(error, false)),
            Err(Unanswered::Waits) => {
                self.flow.parked.park();
                self.within(limits, std::future::pending()).await?
            }
        }
    }

    fn asker(&self) -> Asker<'_> {
        Asker { run: self.run(), step: self.run_step(Purpose::Step) }
    }

    fn show_waiting(&self, message: &str) {
        if self.run().ask || self.run().wait {
            self.flow.update_view(self.step, self.item, |view| view.state = StepState::Waiting { what: message.to_owned() });
        }
    }

    fn show_arguments(&self, arguments: &Body, purpose: Purpose) {
        self.flow.update_view(self.step, self.item, |view| {
            let (arguments, cut) = self.flow.shown(arguments);
            view.state = StepState::Running;
            view.arguments = Some(arguments);
            view.cut |= cut;
            view.attempts += u32::from(purpose == Purpose::Step);
        });
    }
}

/// Returns the lines that report what an inner workflow did not compensate.
fn not_undone(what: &[(String, String)]) -> Vec<StepDetail> {
    what.iter().map(|(step, why)| StepDetail::NotUndone { step_and_why: format!("{step}: {why}") }).collect()
}
