//! Session of one headless command: its view of the engine, its printer, its time limit, its signals.
//!
//! All waiting is in [`Session::step`], which follows the events, answers servers' questions, prints progress and handles
//! Ctrl-C.

mod lines;
mod waiting;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use self::lines::Line;
use super::{
    Options, exit,
    input::{Lines, TypedLine},
    names::similar,
    print::{Format, Printer},
    replies::{self, ElicitationReplies},
    servers::last_failure,
};
use crate::{
    control::{Command, CommandError, Control, Interest, Lagged, Reply, Tail},
    domain::{
        ask::{Answer, Ask, AskPolicy, Question},
        body::Body,
        call::{CallSpec, Failure, FailureKind, Progress},
        directory::Directory,
        event::{Event, EventKind, Notice, NoticeLevel, Settled},
        id::{AskId, CallId, ServerId},
        plural::counted,
        policy::call_event::CallTrace,
        server::{ConnectFailure, Phase, Step},
        time,
    },
    state::{ConsoleState, ServerView},
};

/// Extra time beyond `--timeout`, in which the engine reports the timeout.
const MARGIN: Duration = Duration::from_millis(200);

/// A signal to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Signals from the composition root.
pub struct Signals(Option<mpsc::Receiver<Option<Signal>>>);

impl Signals {
    /// Returns the signals of `receiver`. A `None` only checks whether signals are still received.
    pub fn with_signs_of_life(receiver: mpsc::Receiver<Option<Signal>>) -> Signals {
        Signals(Some(receiver))
    }

    /// Returns a source without signals.
    pub fn none() -> Signals {
        Signals(None)
    }

    /// Returns the next signal; waits forever when the source is closed. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        if let Some(receiver) = &mut self.0 {
            while let Some(signal) = receiver.recv().await {
                if let Some(signal) = signal {
                    return signal;
                }
            }
            self.0 = None;
        }
        std::future::pending().await
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Stop {
    /// A problem to report.
    Problem(Box<Problem>),
    /// The output failed.
    Output(io::Error),
    /// A signal, or the output is complete.
    Quit(u8),
}

/// A problem, in the form of a failed call.
#[derive(Debug)]
pub struct Problem {
    /// The server, if any.
    pub server: Option<ServerId>,
    /// Who is responsible for the server, if its configuration says so.
    pub owner: Option<String>,
    /// The tool, resource or prompt.
    pub subject: Option<String>,
    /// The failure.
    pub failure: Failure,
    /// Why the server is unavailable.
    pub connect: Option<Arc<ConnectFailure>>,
}

impl Problem {
    /// Returns a problem with only a failure.
    pub fn new(failure: Failure) -> Problem {
        Problem { server: None, owner: None, subject: None, failure, connect: None }
    }

    /// Adds the server and the subject.
    pub fn about(mut self, server: Option<&ServerId>, subject: &str) -> Problem {
        self.server = server.cloned();
        self.subject = Some(subject.to_owned());
        self
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Problem(Box::new(Problem::new(failure)))
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Stop {
        Stop::Problem(Box::new(problem))
    }
}

/// Why a step returned.
pub enum Wake {
    /// An event, already applied to the read model.
    Event(Arc<Event>),
    /// Events were lost; the read model is a new snapshot.
    Resynced,
    /// A command was replied to. Its notice is printed already.
    Replied,
    /// The engine did not start or resume the run that a command named.
    NotStarted(CommandError),
    /// The time limit of the step expired.
    Late,
    /// A signal.
    Signal(Signal),
}

/// A running command.
pub struct Session<'a> {
    /// The engine.
    pub control: Arc<dyn Control>,
    /// The read model.
    pub read_model: Arc<ConsoleState>,
    /// The options.
    pub options: &'a Options,
    /// The printer.
    pub printer: Printer,
    /// Deadline of the whole command.
    pub deadline: Option<Instant>,
    /// Members to add to `_meta` of its requests: a JSON object, or empty.
    pub meta: Body,
    tail: Tail,
    interest: Interest,
    signals: Signals,
    answers: ElicitationReplies,
    answered: HashSet<AskId>,
    started: Instant,
    /// When servers were started for this command.
    servers_started: HashMap<ServerId, Instant>,
    call: Option<CallId>,
    /// Whether that call may change something at the server.
    has_effects: bool,
    /// The lines that the user types, once something was asked.
    lines: Option<Lines>,
    /// The commands that are not replied to yet.
    replies: JoinSet<(Command, Result<Reply, CommandError>)>,
}

impl<'a> Session<'a> {
    /// Starts watching the engine.
    pub fn new(
        control: Arc<dyn Control>,
        options: &'a Options,
        printer: Printer,
        signals: Signals,
        answers: ElicitationReplies,
    ) -> Session<'a> {
        // Only --verbose prints frames.
        let interest = if options.verbose { Interest::All } else { Interest::Events };
        let (read_model, tail) = control.observe(interest);
        let started = Instant::now();
        let deadline = options.timeout.map(|limit| started + limit);
        Session {
            control,
            read_model,
            options,
            printer,
            deadline,
            meta: Body::default(),
            tail,
            interest,
            signals,
            answers,
            answered: HashSet::new(),
            started,
            servers_started: HashMap::new(),
            call: None,
            has_effects: false,
            lines: None,
            replies: JoinSet::new(),
        }
    }

    /// Waits for the next event, at most `until`.
    pub async fn step(&mut self, until: Option<Instant>) -> Result<Wake, Stop> {
        self.answer_open_questions()?;
        let late = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(late);
        loop {
            let due = self.printer.progress_due();
            let progress = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            return tokio::select! {
            biased;
            signal = self.signals.next() => Ok(Wake::Signal(signal)),
            next = self.tail.next() => match next {
                Ok(Some(event)) => {
                    Arc::make_mut(&mut self.read_model).apply(&event);
                    self.note_dropped_frames();
                    self.show(&event)?;
                    Ok(Wake::Event(event))
                }
                Ok(None) => Err(Failure::new(FailureKind::Transport, "the engine ended").into()),
                Err(Lagged { .. }) => {
                    (self.read_model, self.tail) = self.control.observe(self.interest);
                    Ok(Wake::Resynced)
                }
            },
            Some(Ok((command, result))) = self.replies.join_next() => Ok(match (command, result) {
                (Command::StartRun { .. } | Command::ResumeRun { .. } | Command::UndoRun { .. }, Err(error)) => Wake::NotStarted(error),
                (command, result) => {
                    command.notice(&result).iter().for_each(|notice| self.show_notice(notice));
                    Wake::Replied
                }
            }),
            () = &mut late => Ok(Wake::Late),
            () = progress => {
                self.printer.draw_progress();
                continue;
            }
            };
        }
    }

    /// Prints how many frames were not read in time, which are missing in the output.
    fn note_dropped_frames(&mut self) {
        let dropped = self.tail.take_dropped_frames();
        if dropped > 0 {
            self.printer.note(&format!("warning: {} missing: they came faster than they could be printed", counted(dropped, "frame")));
        }
    }

    /// Prints a notice, unless it only informs.
    fn show_notice(&mut self, notice: &Notice) {
        if self.options.verbose || notice.level > NoticeLevel::Info {
            self.printer.note(&notice.text);
            for line in &notice.detail {
                self.printer.note(&format!("  {line}"));
            }
        }
    }

    /// Returns the remaining time of `--timeout`; fails when it has expired.
    pub fn left(&self) -> Result<Option<Duration>, Stop> {
        match self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(left) if left.is_zero() => Err(self.out_of_time().into()),
            left => Ok(left),
        }
    }

    fn out_of_time(&self) -> Failure {
        let limit = self.options.timeout.map(time::short).unwrap_or_default();
        Failure::new(FailureKind::Timeout, format!("--timeout {limit} expired before the request was sent"))
    }

    /// Returns the trace of a call, if known.
    pub fn track(&self, call: CallId) -> Option<CallTrace> {
        self.read_model.call(call)?.track.as_deref().cloned()
    }

    /// Returns who is responsible for a server, or for the members of a group, if the configuration says so.
    pub fn owner(&self, server: &ServerId) -> Option<String> {
        let named = |view: &ServerView| view.spec.owner.clone();
        match self.read_model.server(server) {
            Some(view) => named(view),
            None => {
                let mut owners: Vec<String> = self.read_model.members(server).filter_map(named).collect();
                owners.sort();
                owners.dedup();
                (!owners.is_empty()).then(|| owners.join(", "))
            }
        }
    }

    /// Returns why `server` is unusable, if it is. A group is usable if a member is.
    pub fn unusable(&self, server: &ServerId) -> Option<Problem> {
        if self.read_model.group(server).is_some() && self.read_model.server(server).is_none() {
            return self.unusable_group(server);
        }
        let view = match self.read_model.server(server) {
            Some(view) if view.phase.usable() => return None,
            Some(view) => view,
            None => return Some(Problem::new(unknown_server(&self.read_model, server.as_str()))),
        };
        let name = server.as_str();
        let failure = match &*view.phase {
            Phase::Disabled => Failure::new(FailureKind::NotReady, format!("{name} is disabled"))
                .hint("enable it in the configuration, or start it in the console"),
            Phase::Starting { step } if self.left().is_err() => {
                Failure::new(FailureKind::Timeout, format!("{name} was not ready in time: {}", step.doing())).hint("raise --timeout")
            }
            Phase::Starting { step } => Failure::new(FailureKind::NotReady, format!("{name} is still {}", step.doing()))
                .hint(format!("check it with: switchboard doctor --server {name}")),
            Phase::Failed { why } if why.step == Step::Configure => {
                Failure::new(FailureKind::NotReady, format!("{name} cannot be used: its configuration has an error"))
            }
            Phase::NeedsLogin { why } => {
                let login = why.login.clone();
                let failure = Failure::new(FailureKind::Unauthorized, format!("{name} needs login"));
                let hint = login.as_ref().map(|login| format!("run: {}", login.command));
                Failure { login, hint, ..failure }
            }
            _ => Failure::new(FailureKind::NotReady, format!("{name} could not be started or reached")),
        };
        let mut problem = Problem::new(failure).about(Some(server), name);
        problem.connect = last_failure(view).cloned();
        problem.owner = view.spec.owner.clone();
        Some(problem)
    }

    /// Returns why no member of a group is usable, if none is.
    fn unusable_group(&self, group: &ServerId) -> Option<Problem> {
        let members: Vec<&ServerId> = self.read_model.members(group).map(ServerView::id).collect();
        let problems: Vec<Problem> = members.iter().map_while(|member| self.unusable(member)).collect();
        if problems.len() < members.len() || problems.is_empty() {
            return None;
        }
        let causes = problems.iter().map(|problem| match &problem.connect {
            Some(connect) => format!("{}: {}", problem.failure.message, connect.summary),
            None => problem.failure.message.clone(),
        });
        let causes = causes.collect();
        let failure = Failure::new(FailureKind::NotReady, format!("no member of the group {group} can be used"));
        Some(Problem::new(Failure { causes, ..failure }.hint("check them with: switchboard doctor")).about(Some(group), group.as_str()))
    }

    /// Sends a call and follows it to its end. The first Ctrl-C cancels it, the second quits.
    ///
    /// The engine extends the call's own deadline by progress; `--timeout` is never extended.
    pub async fn follow(&mut self, spec: CallSpec) -> Result<(CallId, Arc<Settled>), Stop> {
        let has_effects = spec.operation.has_effects();
        let id = self.submit(spec).await?;
        (self.call, self.has_effects) = (Some(id), has_effects);
        let unknown = |kind, message: String| Failure { may_have_run: has_effects, ..Failure::new(kind, message) };
        let mut interrupted = false;
        // The engine's own failure says more, so it gets extra time.
        let last = self.deadline.map(|deadline| deadline + MARGIN);
        loop {
            let woke = match self.step(last).await {
                Ok(woke) => woke,
                Err(stop) => {
                    let reason = match stop {
                        Stop::Problem(_) => "the answer to a question is invalid",
                        Stop::Output(_) | Stop::Quit(_) => "the output of switchboard was closed",
                    };
                    self.cancel(id, reason);
                    return Err(stop);
                }
            };
            match woke {
                Wake::Event(event) => match &event.kind {
                    EventKind::CallSettled { call, settled } if *call == id => return Ok((id, settled.clone())),
                    _ => {}
                },
                Wake::Resynced => match self.read_model.call(id) {
                    Some(call) => {
                        if let Some(settled) = &call.settled {
                            return Ok((id, settled.clone()));
                        }
                    }
                    None => return Err(unknown(FailureKind::Transport, "the engine has dropped the call".into()).into()),
                },
                Wake::Replied | Wake::NotStarted(_) => {}
                Wake::Signal(Signal::Interrupt) if !interrupted => {
                    interrupted = true;
                    self.cancel(id, "cancelled by the user");
                    self.printer.note("cancelling; press Ctrl-C again to quit immediately");
                }
                Wake::Signal(signal) => {
                    self.cancel(id, "switchboard was terminated");
                    return Err(Stop::Quit(if signal == Signal::Terminate { exit::TERMINATED } else { exit::INTERRUPTED }));
                }
                Wake::Late => {
                    self.cancel(id, "--timeout expired");
                    let limit = self.options.timeout.map(time::short).unwrap_or_default();
                    return Err(unknown(FailureKind::Timeout, format!("no response within --timeout {limit}")).into());
                }
            }
        }
    }

    /// Submits a call and waits for its id. Leaves the events to the next step.
    async fn submit(&mut self, spec: CallSpec) -> Result<CallId, Stop> {
        let pending = self.control.submit(spec);
        let deadline = self.deadline;
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            submitted = pending => submitted.map_err(|refusal| refusal.failure().into()),
            signal = self.signals.next() => Err(Stop::Quit(match signal {
                Signal::Interrupt => exit::INTERRUPTED,
                Signal::Terminate => exit::TERMINATED,
            })),
            () = late => Err(self.out_of_time().into()),
        }
    }

    fn cancel(&mut self, call: CallId, reason: &str) {
        self.command(Command::Cancel { call, reason: reason.into() });
    }

    /// Requests a line that the user types. `None` if stdin is not available.
    pub fn read_line(&mut self) -> Option<TypedLine> {
        if self.lines.is_none() {
            self.lines = Lines::start(self.printer.take_stdin()?);
        }
        self.lines.as_ref().map(Lines::next)
    }

    /// Gives a command. A later step returns its reply.
    pub fn command(&mut self, command: Command) {
        let reply = self.control.command(command.clone());
        self.replies.spawn(async move { (command, reply.await) });
    }

    /// Waits for `answer`, or for a signal to quit.
    pub async fn or_signal<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::pin!(answer);
        let deadline = self.deadline;
        loop {
            tokio::select! {
                value = &mut answer => return Ok(value),
                woke = self.step(deadline) => match woke? {
                    Wake::Signal(Signal::Interrupt) => return Err(Stop::Quit(exit::INTERRUPTED)),
                    Wake::Signal(Signal::Terminate) => return Err(Stop::Quit(exit::TERMINATED)),
                    Wake::Late => return Err(self.out_of_time().into()),
                    _ => {}
                },
            }
        }
    }

    fn answer_open_questions(&mut self) -> Result<(), Stop> {
        for ask in self.read_model.asks.clone() {
            // Human-input steps are answered by flags, not here; questions to other clients of the engine by them.
            if !self.answered.insert(ask.id) || ask.run.is_some() || ask.client != self.control.client() {
                continue;
            }
            let spec = self.read_model.server(&ask.server).map(|s| s.spec.clone());
            let policy = spec.as_ref().map(|spec| spec.policy(&ask.question));
            // The engine answers questions that the configuration decides.
            if let Some(how) = policy.and_then(by_configuration) {
                self.document_question(&ask, how)?;
                if self.options.verbose {
                    self.print_question(&ask, how);
                }
                continue;
            }
            let (answer, how) = self.answers.answer(&ask.question);
            let (violations, unchecked) = replies::violations(&ask.question, &answer);
            if !violations.is_empty() && self.options.check.is_enforced() {
                return Err(self.refuse_answer(&ask, violations)?.into());
            }
            let warnings = violations.iter().map(|violation| format!("invalid, sent anyway (--no-check): {violation}"));
            for warning in warnings.chain(unchecked.iter().map(|why| format!("not fully validated: {why}"))) {
                self.printer.note(&format!("warning: the answer to {}: {warning}", ask.server));
            }
            self.document_question(&ask, &how)?;
            self.print_question(&ask, &how);
            self.command(Command::Answer { ask: ask.id, answer });
        }
        Ok(())
    }

    /// Cancels a question whose answer from `--elicit` violates the requested schema. Returns the problem to report.
    fn refuse_answer(&mut self, ask: &Ask, violations: Vec<String>) -> Result<Problem, Stop> {
        self.document_question(ask, "cancelled: the answer of --elicit is invalid")?;
        self.command(Command::Answer { ask: ask.id, answer: Answer::Cancel });
        let message = format!("the answer of --elicit is invalid for the question of {}; it was not sent", ask.server);
        let mut failure = Failure::new(FailureKind::InvalidArguments, message).hint("correct it, or send it with --no-check");
        failure.causes = violations;
        failure.may_have_run = self.has_effects || (self.call.is_none() && ask.call.is_some());
        Ok(Problem::new(failure).about(Some(&ask.server), &question_text(&ask.question)))
    }

    /// Prints a question as a line of `--jsonl`.
    fn document_question(&mut self, ask: &Ask, how: &str) -> Result<(), Stop> {
        if self.printer.format() == Format::Jsonl {
            self.printer.document(&Line::Ask {
                server: &ask.server,
                call: ask.call.map(|c| c.to_string()),
                kind: ask.question.word(),
                message: &question_text(&ask.question),
                answer: how,
            })?;
        }
        Ok(())
    }

    /// Prints a question and its response on stderr.
    fn print_question(&mut self, ask: &Ask, how: &str) {
        let (kind, message) = (ask.question.word(), question_text(&ask.question));
        self.printer.note(&format!("{} asks ({kind}): {message} - {how}", ask.server));
    }

    fn show(&mut self, event: &Event) -> Result<(), Stop> {
        if self.printer.format() == Format::Jsonl {
            self.show_line(event)?;
        }
        let (watched, verbose) = (self.printer.stderr_is_terminal(), self.options.verbose);
        match &event.kind {
            EventKind::CallProgress { call, progress } if Some(*call) == self.call => {
                let words = progress_words(progress);
                if watched {
                    self.printer.status(&words);
                } else if verbose {
                    self.printer.note(&words);
                }
            }
            EventKind::ServerLog { server, log } if verbose || (watched && self.call.is_some() && log.call == self.call) => {
                let logger = log.logger.as_ref().map(|l| format!(" {l}")).unwrap_or_default();
                self.printer.note(&format!("{server}{logger} [{}] {}", log.level, log.text));
            }
            EventKind::ServerStderr { server, line } if verbose => self.printer.note(&format!("{server} stderr: {line}")),
            EventKind::ServerAnomaly { server, anomaly } if verbose => {
                self.printer.note(&format!("{server}: {}: {}", anomaly.kind.words(), anomaly.detail));
            }
            EventKind::Notice { notice } => self.show_notice(notice),
            _ => {}
        }
        Ok(())
    }
}

fn question_text(question: &Question) -> String {
    match question {
        Question::Form { message, .. } => message.clone(),
        Question::Url { message, url } => format!("{message} {url}"),
        Question::Sampling { .. } => "a sampling response".into(),
        Question::Roots => "the roots".into(),
    }
}

/// Returns the failure for an unknown server.
pub fn unknown_server(read_model: &ConsoleState, name: &str) -> Failure {
    let names: Vec<&str> = read_model.servers.iter().map(|s| s.id().as_str()).collect();
    no_server(name, &names)
}

/// Returns the failure for a server that is not among `servers`.
pub fn no_server(name: &str, servers: &[&str]) -> Failure {
    let close = similar(name, servers.iter().copied(), 3);
    Failure::new(FailureKind::UnknownServer, format!("{name:?} is not configured")).hint(match (servers, close.as_slice()) {
        ([], _) => "no server is configured".into(),
        (_, []) => format!("servers: {}", servers.join(", ")),
        (_, close) => format!("did you mean {}? servers: {}", close.join(", "), servers.join(", ")),
    })
}

/// Returns a body as raw JSON; `None` when it is not JSON.
pub fn raw(body: &Body) -> Option<Box<RawValue>> {
    RawValue::from_string(body.text().into_owned()).ok()
}

/// Returns a body as raw JSON, or as a string if it is not JSON because it is truncated.
pub fn raw_or_text(body: &Body) -> Option<Box<RawValue>> {
    raw(body).or_else(|| serde_json::value::to_raw_value(&*body.text()).ok())
}

fn by_configuration(policy: &AskPolicy) -> Option<&'static str> {
    match policy {
        AskPolicy::Ask => None,
        AskPolicy::Decline => Some("declined by its configuration"),
        AskPolicy::Fixed(_) => Some("answered by its configuration"),
    }
}

fn progress_words(progress: &Progress) -> String {
    let count = match progress.total {
        Some(total) if total > 0.0 => format!("{:3.0} % ({} of {total})", progress.progress / total * 100.0, progress.progress),
        _ => progress.progress.to_string(),
    };
    match &progress.message {
        Some(message) => format!("{count}  {message}"),
        None => count,
    }
}
