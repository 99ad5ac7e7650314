//! The client's end of a connection: answers pings, passes questions to the engine's [`ClientHandler`], and reports progress,
//! notifications, frames and faults. Both transports of this side use it.

use std::sync::Arc;

use crate::{
    domain::{
        ask::{Answer, NotAQuestion, Question},
        body::Body,
        bounds,
        call::RpcError,
        capabilities::{ClientCapabilities, Undeclared},
        frame::{Anomaly, FrameDraft},
        id::Attribution,
        server::ServerSpec,
        time::{Stamp, size},
    },
    engine::ports::{ClientHandler, RequestObserver},
    protocol::connection::{Connection, Decision, Handler, Incoming, Limits, Observer, Remote},
};

/// Creates the connection to a server. Requests of the server that need a capability which is not among `capabilities` are
/// unknown methods.
pub fn connection_to(spec: &ServerSpec, handler: Arc<dyn ClientHandler>, capabilities: Arc<ClientCapabilities>) -> Arc<Connection> {
    let limits = Limits { message_bytes: spec.limits.message_bytes, ..Limits::default() };
    Connection::new(Remote::Server, limits, Arc::new(ClientEnd { handler, capabilities }))
}

/// The handler of a connection to a server.
struct ClientEnd {
    handler: Arc<dyn ClientHandler>,
    capabilities: Arc<ClientCapabilities>,
}

impl Handler for ClientEnd {
    fn frame(&self, frame: FrameDraft) -> u64 {
        self.handler.frame(frame)
    }

    fn anomaly(&self, anomaly: Anomaly) {
        self.handler.anomaly(anomaly);
    }

    fn notification(&self, method: &str, params: &Body, call: Attribution) {
        self.handler.notification(method, params, call);
    }

    fn request(&self, request: &Incoming<'_>) -> Decision {
        if request.method == "ping" {
            return Decision::Answer(Ok(Body::from("{}")));
        }
        let invalid = |message: String| Decision::Answer(Err(RpcError { code: -32602, message, data: None }));
        let question = match Question::from_request(request.method, request.params) {
            Ok(question) => question,
            Err(NotAQuestion::Method) => return Decision::MethodNotFound,
            Err(NotAQuestion::Mode(_)) if !self.capabilities.declares("elicitation") => return Decision::MethodNotFound,
            Err(NotAQuestion::Mode(mode)) => return invalid(format!("elicitation of the mode {mode} is not declared")),
        };
        match self.capabilities.permit(&question) {
            Ok(()) => {}
            Err(Undeclared::Method) => return Decision::MethodNotFound,
            Err(Undeclared::Member(member)) => return invalid(format!("{} with {member} is not declared", request.method)),
        }
        // The parameters are passed on whole, with members that the question does not have.
        if question.oversize() || request.params.len() > bounds::QUESTION {
            return Decision::TooLarge(format!("the question is longer than {}", size(bounds::QUESTION as u64)));
        }
        let (handler, call) = (self.handler.clone(), request.call);
        let (weight, call_ended) = (question.weight().max(request.params.len()), Answer::Cancel.to_result(&question));
        let (method, params) = (request.method.to_owned(), request.params.detached());
        let answer = Box::pin(async move { handler.ask(&method, params, call).await });
        Decision::Run { answer, weight, call_ended }
    }
}

/// Passes what happens to a request on to the engine's observer.
struct EngineObserver(Arc<dyn RequestObserver>);

/// Adapts an observer of the engine to a connection.
pub fn observed(observer: Arc<dyn RequestObserver>) -> Arc<dyn Observer> {
    Arc::new(EngineObserver(observer))
}

impl Observer for EngineObserver {
    fn sent(&self, at: Stamp, bytes: u64) {
        self.0.sent(at, bytes);
    }

    fn progress(&self, params: &Body) {
        self.0.progress(params);
    }

    fn reason(&self) -> String {
        self.0.reason()
    }

    fn late(&self, at: Stamp) {
        self.0.late(at);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;
    use crate::{
        domain::{
            call::Failure,
            frame::AnomalyKind,
            server::{Step, Transport},
        },
        engine::ports::ConnectionObserver,
        protocol::connection::{Arrival, OPEN, Outbox, Outgoing, PATIENCE, REFUSALS, SENDING},
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
        fn notification(&self, _: &str, _: &Body, _: Attribution) {}
    }

    #[async_trait]
    impl ClientHandler for CountingHandler {
        async fn ask(&self, method: &str, params: Body, _: Attribution) -> Result<Body, RpcError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let during = self.during.lock().take();
            if let Some(during) = during {
                during();
                let question = Question::from_request(method, &params).unwrap();
                return Answer::Cancel.to_result(&question);
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
        async fn send(&self, message: Outgoing) -> Result<(), Failure> {
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
            self.taken.lock().push(message.body.text().into_owned());
            Ok(())
        }

        fn cancel(&self, _: Outgoing) {}
    }

    fn bench(listens: bool) -> (Arc<CountingHandler>, Arc<Deaf>, Arc<Connection>, Arc<dyn Outbox>) {
        bench_with(listens, Arc::default())
    }

    fn bench_with(
        listens: bool,
        capabilities: Arc<ClientCapabilities>,
    ) -> (Arc<CountingHandler>, Arc<Deaf>, Arc<Connection>, Arc<dyn Outbox>) {
        let (handler, outbox) = (Arc::new(CountingHandler::default()), Arc::new(Deaf { listens, ..Deaf::default() }));
        let launch = Transport::Http { url: "http://x/mcp".into(), headers: vec![], socket: None };
        let connection = connection_to(&ServerSpec::new("x", launch), handler.clone(), capabilities);
        (handler, outbox.clone(), connection, outbox)
    }

    fn count(handler: &CountingHandler, kind: AnomalyKind) -> usize {
        handler.anomalies.lock().get(&kind).copied().unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_no_answers_holds_a_few_of_them_and_each_for_a_bounded_time() {
        let (handler, deaf, connection, outbox) = bench(false);
        for n in 0..5_000 {
            let ping = Body::from(format!(r#"{{"jsonrpc":"2.0","id":"p{n}","method":"ping"}}"#));
            connection.incoming(ping, &Arrival::default(), &outbox);
            tokio::task::yield_now().await;
        }
        assert_eq!((deaf.most.load(Ordering::SeqCst), count(&handler, AnomalyKind::Flood)), (SENDING, 5_000 - OPEN));
        // All that wait get their turn, and none is taken.
        let turns = (OPEN + REFUSALS).div_ceil(SENDING) as u32;
        tokio::time::sleep(PATIENCE * turns + Duration::from_secs(1)).await;
        assert_eq!((deaf.most.load(Ordering::SeqCst), deaf.now.load(Ordering::SeqCst)), (SENDING, 0));
        assert_eq!(count(&handler, AnomalyKind::Unread), OPEN + REFUSALS);
        assert_eq!(connection.free_permits(), (OPEN, REFUSALS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_its_server_withdraws_as_its_call_ends_is_not_answered() {
        for (withdrawn, answers) in [(true, 0), (false, 1)] {
            let (handler, deaf, connection, outbox) = bench(true);
            let (server, link) = (connection.clone(), outbox.clone());
            *handler.during.lock() = Some(Box::new(move || {
                if withdrawn {
                    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}"#;
                    server.incoming(Body::from(cancelled), &Arrival::default(), &link);
                }
            }));
            let question = r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"m","requestedSchema":{}}}"#;
            connection.incoming(Body::from(question), &Arrival::default(), &outbox);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!((handler.asked.load(Ordering::SeqCst), deaf.taken.lock().len()), (1, answers), "withdrawn: {withdrawn}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_ids_are_not_answered_and_long_methods_and_questions_are_refused() {
        let (handler, deaf, connection, outbox) = bench(true);
        let long = "x".repeat(300 << 10);
        for message in [
            format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":"method","method":"{long}"}}"#),
            format!(
                r#"{{"jsonrpc":"2.0","id":"schema","method":"elicitation/create","params":{{"message":"m","requestedSchema":{{"title":"{long}"}}}}}}"#
            ),
            format!(r#"{{"jsonrpc":"2.0","id":"sampling","method":"sampling/createMessage","params":{{"systemPrompt":"{long}"}}}}"#),
            format!(
                r#"{{"jsonrpc":"2.0","id":"message","method":"elicitation/create","params":{{"requestedSchema":{{}},"message":"{long}"}}}}"#
            ),
            format!(r#"{{"jsonrpc":"2.0","id":"other","method":"roots/list","params":{{"vendor/x":"{long}"}}}}"#),
        ] {
            connection.incoming(Body::from(message), &Arrival::default(), &outbox);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut taken = deaf.taken.lock().clone();
        taken.sort_by_key(|answer| answer.len());
        let codes: Vec<bool> = taken.iter().map(|answer| answer.contains("-32602") || answer.contains("-32601")).collect();
        assert_eq!(codes, [true; 5], "{taken:?}");
        assert!(taken.iter().all(|answer| answer.len() < 500), "{taken:?}");
        assert_eq!((count(&handler, AnomalyKind::Oversize), handler.asked.load(Ordering::SeqCst)), (6, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_of_open_questions_are_bounded() {
        let long = "x".repeat(200 << 10);
        for params in [
            format!(r#"{{"message":"m","requestedSchema":{{"title":"{long}"}}}}"#),
            format!(r#"{{"message":"{long}","requestedSchema":{{}}}}"#),
            format!(r#"{{"message":"m","requestedSchema":{{}},"vendor/x":"{long}"}}"#),
        ] {
            let (handler, _, connection, outbox) = bench(true);
            for n in 0..50 {
                let ask = format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"elicitation/create","params":{params}}}"#);
                connection.incoming(Body::from(ask), &Arrival::default(), &outbox);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let asked = handler.asked.load(Ordering::SeqCst);
            assert_eq!((asked, count(&handler, AnomalyKind::Flood)), (bounds::QUESTIONS / (201 << 10), 50 - asked));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn questions_that_need_an_undeclared_capability_are_unknown_methods() {
        let capabilities = ClientCapabilities::none().with("roots", Body::from("{}"));
        let (handler, deaf, connection, outbox) = bench_with(true, Arc::new(capabilities));
        for method in ["elicitation/create", "sampling/createMessage", "roots/list"] {
            let request = format!(r#"{{"jsonrpc":"2.0","id":"{method}","method":"{method}","params":{{}}}}"#);
            connection.incoming(Body::from(request), &Arrival::default(), &outbox);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let taken = deaf.taken.lock().clone();
        assert!(taken.len() == 2 && taken.iter().all(|answer| answer.contains("-32601")), "{taken:?}");
        assert_eq!((handler.asked.load(Ordering::SeqCst), handler.anomalies.lock().len()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn v11_v12_questions_beyond_the_declared_members_have_invalid_params() {
        let (handler, deaf, connection, outbox) = bench(true);
        for (id, (method, params)) in [
            ("sampling/createMessage", r#"{"messages":[],"tools":[{"name":"t"}]}"#),
            ("sampling/createMessage", r#"{"messages":[],"toolChoice":{"mode":"required"}}"#),
            ("elicitation/create", r#"{"mode":"vendor","message":"m"}"#),
        ]
        .into_iter()
        .enumerate()
        {
            let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
            connection.incoming(Body::from(request), &Arrival::default(), &outbox);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let taken = deaf.taken.lock().clone();
        assert!(taken.len() == 3 && taken.iter().all(|answer| answer.contains("-32602")), "{taken:?}");
        assert_eq!(handler.asked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn v08_requests_of_a_modern_server_are_reported_and_not_answered() {
        let (handler, deaf, connection, outbox) = bench(true);
        connection.forbid_requests();
        for method in ["ping", "elicitation/create", "custom/thing"] {
            let request = format!(r#"{{"jsonrpc":"2.0","id":"{method}","method":"{method}","params":{{"message":"m"}}}}"#);
            connection.incoming(Body::from(request), &Arrival::default(), &outbox);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!((deaf.taken.lock().len(), handler.asked.load(Ordering::SeqCst)), (0, 0));
        assert_eq!(count(&handler, AnomalyKind::ForbiddenRequest), 3);
        assert_eq!(connection.free_permits(), (OPEN, REFUSALS));
    }
}
