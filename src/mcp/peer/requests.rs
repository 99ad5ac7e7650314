//! The server's requests: answers pings, passes questions to the client handler and refuses the rest. Bounded in number, bytes
//! and time.
//!
//! A server has at most [`OPEN`] open requests and [`REFUSALS`] refusals waiting to be sent; further requests are dropped and
//! counted as [`AnomalyKind::Flood`]. At most [`SENDING`] responses are sent concurrently, each within [`PATIENCE`], so that a
//! server that accepts no responses occupies only that many connections.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{Arrival, Outbox, Peer};
use crate::{
    domain::{
        ask::{Answer, Question},
        body::Body,
        bounds,
        frame::AnomalyKind,
        id::CallId,
        time::{short, size},
    },
    protocol::wire,
};

/// Maximum open requests of the server; further ones are refused.
const OPEN: usize = 64;
/// Maximum waiting refusals; further requests are not answered.
const REFUSALS: usize = 16;
/// Maximum responses sent concurrently.
const SENDING: usize = 4;
/// How long the server may take to accept a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// The open requests of one server.
pub(super) struct Requests {
    open: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    /// KiB of questions that may be open.
    kib: Arc<Semaphore>,
    questions: Mutex<HashMap<Arc<str>, OpenQuestion>>,
}

/// An open request of the server.
struct OpenQuestion {
    /// The call that it belongs to.
    call: Option<CallId>,
    over: oneshot::Sender<Withdrawn>,
}

/// Why a request of the server needs no response of its handler.
enum Withdrawn {
    /// The server cancelled it and expects no response.
    ByServer,
    /// Its call was cancelled; the response says so.
    WithCall,
}

/// How a request is handled.
enum Plan {
    /// By the client handler.
    Ask(Question, OwnedSemaphorePermit),
    Answer(Result<serde_json::Value, (i64, String)>),
}

impl Default for Requests {
    fn default() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Requests {
            open: permits(OPEN),
            refusals: permits(REFUSALS),
            sending: permits(SENDING),
            kib: permits(bounds::QUESTIONS >> 10),
            questions: Mutex::default(),
        }
    }
}

impl Requests {
    /// Drops all open requests: the connection is gone. Their handlers see that the receiver is closed.
    pub(super) fn clear(&self) {
        self.questions.lock().clear();
    }

    /// Handles a cancellation by the server; `id` is JSON text.
    pub(super) fn cancelled(&self, id: &str) {
        if let Some(question) = self.questions.lock().remove(id) {
            let _ = question.over.send(Withdrawn::ByServer);
        }
    }

    /// Cancels the questions of a cancelled call. Not every server does that itself, and they would stay in the inbox for ever.
    pub(super) fn withdraw(&self, call: CallId) {
        for (_, question) in self.questions.lock().extract_if(|_, question| question.call == Some(call)) {
            let _ = question.over.send(Withdrawn::WithCall);
        }
    }

    /// Decides how to handle a request; `Err` is the refusal of one of too many.
    fn plan(&self, method: &str, params: &Body) -> Result<Plan, String> {
        if method == "ping" {
            return Ok(Plan::Answer(Ok(serde_json::json!({}))));
        }
        let Some(question) = Question::from_request(method, params) else {
            return Ok(Plan::Answer(Err((-32601, format!("{} is not supported", bounds::cut(method, 100))))));
        };
        if question.oversize() {
            let limit = size(bounds::QUESTION as u64);
            return Ok(Plan::Answer(Err((-32602, format!("the question is longer than {limit}")))));
        }
        let kib = u32::try_from(question.weight().div_ceil(1024)).unwrap_or(u32::MAX);
        match self.kib.clone().try_acquire_many_owned(kib) {
            Ok(held) => Ok(Plan::Ask(question, held)),
            Err(_) => Err(format!("more than {} of open questions", size(bounds::QUESTIONS as u64))),
        }
    }
}

impl Peer {
    /// Answers a request of the server, or refuses it.
    pub(super) fn request(
        self: &Arc<Self>,
        id: Arc<str>,
        method: &str,
        params: &Body,
        arrival: &Arrival,
        frame: u64,
        outbox: &Arc<dyn Outbox>,
    ) {
        let note = |kind, detail: String| self.anomaly(kind, detail, arrival.call, Some(frame));
        if id.len() > bounds::ID {
            return note(AnomalyKind::Oversize, format!("a request with an id of more than {}: not answered", size(bounds::ID as u64)));
        }
        let Ok(permit) = self.requests.open.clone().try_acquire_owned() else {
            return self.refuse(id, format!("more than {OPEN} requests under way"), arrival, frame, outbox);
        };
        let plan = match self.requests.plan(method, params) {
            Ok(plan) => plan,
            Err(why) => return self.refuse(id, why, arrival, frame, outbox),
        };
        if let Plan::Answer(Err((code, message))) = &plan
            && (*code == -32602 || method.len() > bounds::METHOD)
        {
            note(AnomalyKind::Oversize, format!("a request that was refused: {message}"));
        }
        let (over, mut withdrawn) = oneshot::channel();
        let call = self.likely_call(arrival);
        self.requests.questions.lock().insert(id.clone(), OpenQuestion { call, over });
        let (peer, outbox) = (self.clone(), outbox.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let answer = match plan {
                Plan::Answer(answer) => answer,
                Plan::Ask(question, _held) => {
                    let asked = tokio::select! {
                        biased;
                        why = &mut withdrawn => Err(why.ok()),
                        answer = peer.handler.ask(question.clone(), call) => Ok(answer),
                    };
                    // The server may have withdrawn it after the channel was looked at: the end of its call answers it as well.
                    let open = asked.is_ok() && peer.requests.questions.lock().remove(&*id).is_some();
                    match asked {
                        Ok(answer) if open => answer.to_result(&question),
                        asked => match asked.map_or_else(|why| why, |_| withdrawn.try_recv().ok()) {
                            Some(Withdrawn::WithCall) => Answer::Cancel.to_result(&question),
                            Some(Withdrawn::ByServer) | None => return,
                        },
                    }
                }
            };
            peer.requests.questions.lock().remove(&*id);
            peer.send_answer(&outbox, wire::response(&id, &answer)).await;
        });
    }

    /// Refuses one request of too many, or drops it if there are too many refusals as well.
    fn refuse(self: &Arc<Self>, id: Arc<str>, why: String, arrival: &Arrival, frame: u64, outbox: &Arc<dyn Outbox>) {
        let permit = self.requests.refusals.clone().try_acquire_owned();
        let done = if permit.is_ok() { "refused" } else { "dropped without an answer" };
        self.anomaly(AnomalyKind::Flood, format!("{why}; this one was {done}"), arrival.call, Some(frame));
        let Ok(permit) = permit else { return };
        let (peer, outbox) = (self.clone(), outbox.clone());
        let body = wire::response(&id, &Err((-32603, "too many concurrent requests".into())));
        tokio::spawn(async move {
            let _permit = permit;
            peer.send_answer(&outbox, body).await;
        });
    }

    /// Sends a response in its turn. A response that the server does not accept in time is dropped and counted.
    async fn send_answer(&self, outbox: &Arc<dyn Outbox>, body: Body) {
        let Ok(_turn) = self.requests.sending.acquire().await else { return };
        if timeout(PATIENCE, outbox.reply(body)).await.is_err() {
            let detail = format!("an answer to a request of the server was not taken within {}", short(PATIENCE));
            self.anomaly(AnomalyKind::Unread, detail, None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::{
        domain::{
            frame::Anomaly,
            server::{ServerSpec, Step, Transport},
            time::Stamp,
        },
        engine::ports::{ClientHandler, ConnectionObserver, FrameDraft},
    };

    /// Counts anomalies by kind, and answers no question but one that `during` is set for.
    #[derive(Default)]
    struct CountingHandler {
        anomalies: Mutex<HashMap<AnomalyKind, usize>>,
        asked: AtomicUsize,
        /// What happens while a question is put, before its call ends and cancels it.
        during: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    impl ConnectionObserver for CountingHandler {
        fn now(&self) -> Stamp {
            Stamp(0)
        }
        fn fresh_start(&self) {}
        fn step(&self, _: Step) {}
        fn at_step(&self) -> Step {
            Step::Run
        }
        fn frame(&self, _: FrameDraft) -> u64 {
            0
        }
        fn anomaly(&self, anomaly: Anomaly) {
            *self.anomalies.lock().entry(anomaly.kind).or_default() += 1;
        }
        fn stderr(&self, _: &str) {}
        fn last_stderr(&self, _: usize) -> Vec<String> {
            vec![]
        }
        fn notification(&self, _: &str, _: &Body, _: Option<CallId>) {}
    }

    #[async_trait]
    impl ClientHandler for CountingHandler {
        async fn ask(&self, _: Question, _: Option<CallId>) -> Answer {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let during = self.during.lock().take();
            if let Some(during) = during {
                during();
                return Answer::Cancel;
            }
            std::future::pending().await
        }
    }

    /// Takes no answer, or all of them.
    #[derive(Default)]
    struct Deaf {
        listens: bool,
        now: AtomicUsize,
        most: AtomicUsize,
        taken: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Outbox for Deaf {
        async fn reply(&self, body: Body) {
            struct Leaves<'a>(&'a AtomicUsize);
            impl Drop for Leaves<'_> {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, Ordering::SeqCst);
                }
            }
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _leaves = Leaves(&self.now);
            if !self.listens {
                std::future::pending::<()>().await;
            }
            self.taken.lock().push(body.text().into_owned());
        }
    }

    fn bench(listens: bool) -> (Arc<CountingHandler>, Arc<Deaf>, Arc<Peer>, Arc<dyn Outbox>) {
        let (handler, outbox) = (Arc::new(CountingHandler::default()), Arc::new(Deaf { listens, ..Deaf::default() }));
        let launch = Transport::Http { url: "http://x/mcp".into(), headers: vec![], socket: None };
        let peer = Peer::new(Arc::new(ServerSpec::new("x", launch)), handler.clone());
        (handler, outbox.clone(), peer, outbox)
    }

    fn count(handler: &CountingHandler, kind: AnomalyKind) -> usize {
        handler.anomalies.lock().get(&kind).copied().unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_no_answers_holds_a_few_of_them_and_each_for_a_bounded_time() {
        let (handler, deaf, peer, outbox) = bench(false);
        for n in 0..5_000 {
            let ping = Body::from(format!(r#"{{"jsonrpc":"2.0","id":"p{n}","method":"ping"}}"#));
            peer.incoming(ping, &Arrival::default(), &outbox);
            tokio::task::yield_now().await;
        }
        assert_eq!((deaf.most.load(Ordering::SeqCst), count(&handler, AnomalyKind::Flood)), (SENDING, 5_000 - OPEN));
        // All that wait get their turn, and none is taken.
        let turns = (OPEN + REFUSALS).div_ceil(SENDING) as u32;
        tokio::time::sleep(PATIENCE * turns + Duration::from_secs(1)).await;
        assert_eq!((deaf.most.load(Ordering::SeqCst), deaf.now.load(Ordering::SeqCst)), (SENDING, 0));
        assert_eq!(count(&handler, AnomalyKind::Unread), OPEN + REFUSALS);
        assert_eq!((peer.requests.open.available_permits(), peer.requests.refusals.available_permits()), (OPEN, REFUSALS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_its_server_withdraws_as_its_call_ends_is_not_answered() {
        for (withdrawn, answers) in [(true, 0), (false, 1)] {
            let (handler, deaf, peer, outbox) = bench(true);
            let server = peer.clone();
            *handler.during.lock() = Some(Box::new(move || {
                if withdrawn {
                    server.requests.cancelled(r#""q""#);
                }
            }));
            let question = r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"m","requestedSchema":{}}}"#;
            peer.incoming(Body::from(question), &Arrival::default(), &outbox);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!((handler.asked.load(Ordering::SeqCst), deaf.taken.lock().len()), (1, answers), "withdrawn: {withdrawn}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_ids_are_not_answered_and_long_methods_and_questions_are_refused() {
        let (handler, deaf, peer, outbox) = bench(true);
        let long = "x".repeat(300 << 10);
        for message in [
            format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":"method","method":"{long}"}}"#),
            format!(
                r#"{{"jsonrpc":"2.0","id":"schema","method":"elicitation/create","params":{{"message":"m","requestedSchema":{{"title":"{long}"}}}}}}"#
            ),
            format!(r#"{{"jsonrpc":"2.0","id":"sampling","method":"sampling/createMessage","params":{{"systemPrompt":"{long}"}}}}"#),
        ] {
            peer.incoming(Body::from(message), &Arrival::default(), &outbox);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut taken = deaf.taken.lock().clone();
        taken.sort_by_key(|answer| answer.len());
        let codes: Vec<bool> = taken.iter().map(|answer| answer.contains("-32602") || answer.contains("-32601")).collect();
        assert_eq!(codes, [true; 3], "{taken:?}");
        assert!(taken.iter().all(|answer| answer.len() < 500), "{taken:?}");
        assert_eq!((count(&handler, AnomalyKind::Oversize), handler.asked.load(Ordering::SeqCst)), (4, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_of_open_questions_are_bounded() {
        let (handler, _, peer, outbox) = bench(true);
        let schema = "x".repeat(200 << 10);
        for n in 0..50 {
            let ask = format!(
                r#"{{"jsonrpc":"2.0","id":{n},"method":"elicitation/create","params":{{"message":"m","requestedSchema":{{"title":"{schema}"}}}}}}"#
            );
            peer.incoming(Body::from(ask), &Arrival::default(), &outbox);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let asked = handler.asked.load(Ordering::SeqCst);
        assert_eq!((asked, count(&handler, AnomalyKind::Flood)), (bounds::QUESTIONS / (201 << 10), 50 - asked));
    }
}
