//! The inbox: owns the open questions of servers (elicitation, sampling, roots) and of workflow steps. Answers those that a
//! policy covers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    bus::Bus,
    deadline_pause::DeadlinePauses,
    passage::{Desk, PreparedPassage},
    question_routing::call_ended,
    running::RunningCalls,
};
use crate::domain::{
    ask::{Answer, Ask, AskEnd, AskPolicy, Question},
    body::Body,
    bounds,
    call::RpcError,
    event::{EventKind, NoticeLevel},
    id::{AskId, Attribution, CallId, ClientId, ServerId},
    run::RunStep,
    server::ServerSpec,
    time::size,
};

/// Limits of open questions, in total and per server; further ones are declined.
const MAX_OPEN: usize = 100;
const MAX_OPEN_PER_SERVER: usize = 64;

/// The open questions.
pub struct Inbox {
    bus: Arc<Bus>,
    running: Arc<RunningCalls>,
    next: AtomicU64,
    waiting: Mutex<HashMap<AskId, PendingQuestion>>,
    /// Pauses of the deadlines of calls with open questions.
    pub deadline_pauses: DeadlinePauses,
}

struct PendingQuestion {
    server: ServerId,
    /// The size of the question in bytes.
    weight: usize,
    call: Option<CallId>,
    /// The client that is asked.
    client: ClientId,
    /// Whether the desk of the client is asked, and not a user.
    by_desk: bool,
    /// Takes the answer of the user. Dropped when the question is withdrawn.
    answer: oneshot::Sender<Answer>,
}

impl Inbox {
    /// Creates an empty inbox.
    pub fn new(bus: Arc<Bus>, running: Arc<RunningCalls>) -> Inbox {
        Inbox { bus, running, next: AtomicU64::new(1), waiting: Mutex::default(), deadline_pauses: DeadlinePauses::default() }
    }

    /// Gets the answer to a server's question from the policy of `spec` or from the user. Dropping the future withdraws the
    /// question.
    pub async fn ask(self: &Arc<Self>, spec: &ServerSpec, question: Question, call: Attribution) -> Answer {
        if question.oversize() {
            let length = size(question.weight() as u64);
            self.bus.notice(NoticeLevel::Warn, format!("question of {} declined: its {length} exceed the limit", spec.id));
            return Answer::Decline;
        }
        let id = AskId(self.next.fetch_add(1, Ordering::Relaxed));
        let client = call.certain().and_then(|call| self.running.client(call)).unwrap_or_default();
        let (call, at) = (call.likely(), self.bus.now());
        let ask = Arc::new(Ask { id, server: spec.id.clone(), call, question, at, run: None, client });
        let by_policy = match spec.policy(&ask.question) {
            AskPolicy::Ask => None,
            AskPolicy::Decline => Some((Answer::Decline, AskEnd::DeclinedByPolicy)),
            AskPolicy::Fixed(_) if ask.question == Question::Roots => {
                Some((Answer::Accept { content: Body::json(&serde_json::json!({"roots": spec.roots})) }, AskEnd::ConfiguredRoots))
            }
            AskPolicy::Fixed(content) => Some((Answer::Accept { content: content.clone() }, AskEnd::AnsweredByPolicy)),
        };
        if let Some((answer, how)) = by_policy {
            self.bus.publish(EventKind::AskOpened { ask });
            self.bus.publish(EventKind::AskClosed { ask: id, how });
            return answer;
        }
        self.ask_user(ask).await
    }

    /// Asks the user a question of a workflow step. Dropping the future withdraws the question.
    pub async fn ask_for_step(self: &Arc<Self>, workflow: &str, question: Question, step: RunStep) -> Answer {
        let id = AskId(self.next.fetch_add(1, Ordering::Relaxed));
        let at = self.bus.now();
        let server = ServerId::from(workflow);
        self.ask_user(Arc::new(Ask { id, server, call: None, question, at, run: Some(step), client: ClientId::LOCAL })).await
    }

    async fn ask_user(self: &Arc<Self>, ask: Arc<Ask>) -> Answer {
        let (mut open, answer) = match self.open(ask, false) {
            Ok(open) => open,
            Err(refused) => return refused,
        };
        let Ok(answer) = answer.await else {
            open.close(AskEnd::CallEnded);
            return Answer::Cancel;
        };
        open.close(match answer {
            Answer::Accept { .. } => AskEnd::Answered,
            Answer::Decline => AskEnd::Declined,
            Answer::Cancel => AskEnd::Cancelled,
        });
        answer
    }

    /// Registers and publishes a question, or returns the answer that it gets instead. The receiver gets the answer of the user,
    /// and is closed when the question is withdrawn.
    fn open(self: &Arc<Self>, ask: Arc<Ask>, by_desk: bool) -> Result<(OpenQuestion, oneshot::Receiver<Answer>), Answer> {
        let (id, call, client) = (ask.id, ask.call, ask.client);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            let weight = ask.question.weight();
            let of_server = || waiting.values().filter(|other| other.server == ask.server);
            let over_size = of_server().map(|other| other.weight).sum::<usize>() + weight > bounds::QUESTIONS;
            if waiting.len() >= MAX_OPEN || of_server().count() >= MAX_OPEN_PER_SERVER || over_size {
                return Err(Answer::Decline);
            }
            waiting.insert(id, PendingQuestion { server: ask.server.clone(), weight, call, client, by_desk, answer: sender });
            // Under the lock, so that the end of the call happens either before or after.
            if let Some(call) = call {
                self.deadline_pauses.begin(call);
            }
        }
        if let Some(call) = call {
            self.running.note_question(call);
        }
        self.bus.publish(EventKind::AskOpened { ask });
        let mut open = OpenQuestion { inbox: self.clone(), id, call, closed: false };
        if let Some(call) = call
            && !self.running.contains(call)
        {
            // The call ended before the question was registered, so its end did not withdraw the question.
            open.close(AskEnd::CallEnded);
            self.deadline_pauses.forget(call);
            return Err(Answer::Cancel);
        }
        Ok((open, receiver))
    }

    /// Returns whether a user or a client was asked in the course of a call in flight: its result may depend on the answer.
    pub fn asked(&self, call: CallId) -> bool {
        self.running.asked(call)
    }

    /// Returns the passage of a call in flight, if a client made it.
    pub fn passage(&self, call: CallId) -> Option<Arc<PreparedPassage>> {
        self.running.passage(call)
    }

    /// Passes a request of a server on to the desk of its client, and returns the answer. Dropping the future withdraws it.
    pub async fn ask_client(
        self: &Arc<Self>,
        server: &ServerId,
        method: &str,
        params: Body,
        call: Option<CallId>,
        client: ClientId,
        desk: &Arc<dyn Desk>,
    ) -> Result<Body, RpcError> {
        let Some(question) = Question::from_request(method, &params).ok().filter(|question| !question.oversize()) else {
            // Nothing to show; the client may know the request.
            return desk.ask(method, params).await;
        };
        let id = AskId(self.next.fetch_add(1, Ordering::Relaxed));
        let ask = Ask { id, server: server.clone(), call, question: question.clone(), at: self.bus.now(), run: None, client };
        let (mut open, withdrawn) = match self.open(Arc::new(ask), true) {
            Ok(open) => open,
            Err(refused) => return refused.to_result(&question),
        };
        tokio::select! {
            biased;
            _ = withdrawn => {
                open.close(AskEnd::CallEnded);
                call_ended(&question)
            }
            answer = desk.ask(method, params) => {
                open.close(if answer.is_ok() { AskEnd::AnsweredByClient } else { AskEnd::RefusedByClient });
                answer
            }
        }
    }

    /// Withdraws the questions of a settled call.
    pub fn withdraw(&self, call: CallId) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, waiting| waiting.call != Some(call));
        self.deadline_pauses.forget(call);
    }

    /// Returns the client that is asked an open question.
    pub fn client(&self, id: AskId) -> Option<ClientId> {
        self.waiting.lock().get(&id).map(|question| question.client)
    }

    /// Answers an open question. Returns whether it was open; those that a desk answers are not.
    pub fn answer(&self, id: AskId, answer: Answer) -> bool {
        let waiting = self.waiting.lock().extract_if(|other, open| *other == id && !open.by_desk).next();
        waiting.is_some_and(|(_, open)| open.answer.send(answer).is_ok())
    }
}

/// An open question; withdrawn on drop.
struct OpenQuestion {
    inbox: Arc<Inbox>,
    id: AskId,
    call: Option<CallId>,
    closed: bool,
}

impl OpenQuestion {
    fn close(&mut self, how: AskEnd) {
        self.closed = true;
        self.inbox.waiting.lock().remove(&self.id);
        if let Some(call) = self.call {
            self.inbox.deadline_pauses.end(call);
        }
        self.inbox.bus.publish(EventKind::AskClosed { ask: self.id, how });
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        if !self.closed {
            self.close(AskEnd::CallEnded);
        }
    }
}
