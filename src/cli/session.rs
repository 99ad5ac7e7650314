//! One headless command at work: its view of the engine, its printer, its time limit, its signals.
//!
//! Everything waits in [`Session::step`], which follows the events, answers servers' questions, shows
//! what goes on and hears Ctrl-C.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{sync::mpsc, time::Instant};

use super::{
    Options,
    answers::Answers,
    exit,
    print::{Format, Printer},
    servers::last_failure,
};
use crate::{
    domain::{
        ask::{Ask, AskPolicy, Question},
        body::Body,
        call::{CallSpec, Failure, FailureKind, Progress},
        event::{Event, EventKind, NoticeLevel, Settled},
        frame::Direction,
        id::{AskId, CallId, ServerId},
        policy::call_event::CallTrace,
        read_model::{ConsoleState, ServerView},
        server::{ConnectFailure, Phase},
        time,
    },
    engine::control::{Command, Control, Lagged, Tail},
};

/// How much longer than a server's own limits is waited for it to report why it failed.
const GRACE: Duration = Duration::from_secs(1);

/// How much longer than `--timeout` is waited for the engine to say so itself.
const MARGIN: Duration = Duration::from_millis(200);

/// A signal to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// The signals that come in, from the composition root.
pub struct Signals(Option<mpsc::Receiver<Option<Signal>>>);

impl Signals {
    /// Those from `receiver`. Each `None` only asks whether anybody still takes signals.
    pub fn with_signs_of_life(receiver: mpsc::Receiver<Option<Signal>>) -> Signals {
        Signals(Some(receiver))
    }

    /// None ever.
    pub fn none() -> Signals {
        Signals(None)
    }

    /// The next one; waits forever when no more can come. Cancel-safe.
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

/// Why a command stops before its end.
#[derive(Debug)]
pub enum Stop {
    /// Something is wrong.
    Problem(Box<Problem>),
    /// The output cannot be written.
    Output(io::Error),
    /// A signal, or everything is said already.
    Quit(u8),
}

/// What is wrong, in the form in which failed calls are reported too.
#[derive(Debug)]
pub struct Problem {
    /// The server, if it is about one.
    pub server: Option<ServerId>,
    /// The tool, resource or prompt.
    pub subject: Option<String>,
    /// What is wrong.
    pub failure: Failure,
    /// Why the server is not there.
    pub connect: Option<Arc<ConnectFailure>>,
}

impl Problem {
    /// A problem with nothing but its failure.
    pub fn new(failure: Failure) -> Problem {
        Problem { server: None, subject: None, failure, connect: None }
    }

    /// The same, about this.
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

/// What woke a step up.
pub enum Woke {
    /// An event, already taken in.
    Event(Arc<Event>),
    /// Events were lost; the read model is a new snapshot.
    Resynced,
    /// The limit of the step passed.
    Late,
    /// A signal.
    Signal(Signal),
}

/// A command at work.
pub struct Session<'a> {
    /// The door to the engine.
    pub control: Arc<dyn Control>,
    /// What is known.
    pub read_model: ConsoleState,
    /// The options.
    pub options: &'a Options,
    /// The printer.
    pub printer: Printer,
    /// When the whole command has to be done.
    pub deadline: Option<Instant>,
    tail: Tail,
    signals: Signals,
    answers: Answers,
    answered: HashSet<AskId>,
    started: Instant,
    call: Option<CallId>,
}

impl<'a> Session<'a> {
    /// Starts to watch the engine.
    pub fn new(control: Arc<dyn Control>, options: &'a Options, printer: Printer, signals: Signals, answers: Answers) -> Session<'a> {
        let (read_model, tail) = control.watch();
        let started = Instant::now();
        let deadline = options.timeout.map(|limit| started + limit);
        Session { control, read_model, options, printer, deadline, tail, signals, answers, answered: HashSet::new(), started, call: None }
    }

    /// Waits for the next thing to happen, at most `until`.
    pub async fn step(&mut self, until: Option<Instant>) -> Result<Woke, Stop> {
        self.answer_open_questions()?;
        let late = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = self.signals.next() => Ok(Woke::Signal(signal)),
            next = self.tail.next() => match next {
                Ok(Some(event)) => {
                    self.read_model.apply(&event);
                    self.show(&event)?;
                    Ok(Woke::Event(event))
                }
                Ok(None) => Err(Failure::new(FailureKind::Transport, "the engine ended").into()),
                Err(Lagged { .. }) => {
                    (self.read_model, self.tail) = self.control.watch();
                    Ok(Woke::Resynced)
                }
            },
            () = late => Ok(Woke::Late),
        }
    }

    /// Waits until no server that `needed` chooses is still on its way, and not longer than the
    /// servers' own limits (connect and list) or `--timeout` allow.
    pub async fn settle(&mut self, needed: impl Fn(&ConsoleState, &ServerView) -> bool) -> Result<(), Stop> {
        loop {
            let now = Instant::now();
            let waiting: Vec<(String, Instant)> = self
                .read_model
                .servers
                .iter()
                .filter(|s| s.phase.pending() && needed(&self.read_model, s))
                .map(|s| (wait_words(s), self.patience(s)))
                .filter(|(_, until)| *until > now)
                .collect();
            let Some(until) = waiting.iter().map(|(_, until)| *until).max() else { break };
            let words: Vec<&str> = waiting.iter().map(|(words, _)| words.as_str()).collect();
            self.printer.status(&format!("waiting for {}", words.join(", ")));
            if let Woke::Signal(signal) = self.step(Some(until)).await? {
                return Err(Stop::Quit(match signal {
                    Signal::Interrupt => exit::INTERRUPTED,
                    Signal::Terminate => exit::TERMINATED,
                }));
            }
        }
        self.printer.clear_status();
        Ok(())
    }

    /// Until when a server is waited for. Its lists get time of their own only once it has answered the handshake: a server that
    /// answers nothing costs the time of one connection attempt, and of ending its process, after which it is known to have failed.
    fn patience(&self, server: &ServerView) -> Instant {
        let limits = &server.spec.timeouts;
        let more = if server.info.is_some() { limits.list } else { limits.list.min(limits.stop * 3) };
        let own = self.started + limits.connect + more + GRACE;
        self.deadline.map_or(own, |deadline| own.min(deadline))
    }

    /// What is left of `--timeout`; a failure when nothing is.
    pub fn left(&self) -> Result<Option<Duration>, Stop> {
        match self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(left) if left.is_zero() => Err(self.out_of_time().into()),
            left => Ok(left),
        }
    }

    fn out_of_time(&self) -> Failure {
        let limit = self.options.timeout.map(time::short).unwrap_or_default();
        Failure::new(FailureKind::Timeout, format!("--timeout {limit} passed before anything was sent"))
    }

    /// What happened to a call on its way, as far as it is known.
    pub fn track(&self, call: CallId) -> Option<CallTrace> {
        self.read_model.call(call)?.track.as_deref().cloned()
    }

    /// The problem that keeps `server` from being used, if there is one. A group can be used when a member can.
    pub fn unusable(&self, server: &ServerId) -> Option<Problem> {
        if self.read_model.group(server).is_some() && self.read_model.server(server).is_none() {
            let members: Vec<&ServerId> = self.read_model.members(server).map(ServerView::id).collect();
            let problems: Vec<Problem> = members.iter().map_while(|member| self.unusable(member)).collect();
            return if problems.len() == members.len() && !members.is_empty() { problems.into_iter().next() } else { None };
        }
        let view = match self.read_model.server(server) {
            Some(view) if view.phase.usable() => return None,
            Some(view) => view,
            None => return Some(Problem::new(unknown_server(&self.read_model, server.as_str()))),
        };
        let name = server.as_str();
        let failure = match &*view.phase {
            Phase::Disabled => Failure::new(FailureKind::NotReady, format!("{name} is disabled"))
                .hint("enable it in its configuration, or start it in the console"),
            Phase::Starting { step } if self.left().is_err() => {
                Failure::new(FailureKind::Timeout, format!("{name} was not ready in time: {}", step.doing()))
                    .hint("give it longer with --timeout")
            }
            Phase::Starting { step } => Failure::new(FailureKind::NotReady, format!("{name} is still {}", step.doing()))
                .hint(format!("see what it waits for: switchboard doctor --server {name}")),
            _ => Failure::new(FailureKind::NotReady, format!("{name} could not be started or reached")),
        };
        let mut problem = Problem::new(failure).about(Some(server), name);
        problem.connect = last_failure(view).cloned();
        Some(problem)
    }

    /// Sends a call and follows it to its end. The first Ctrl-C cancels it, the second quits.
    ///
    /// The engine keeps the call's own deadline, which progress moves; `--timeout` nothing moves.
    pub async fn follow(&mut self, spec: CallSpec) -> Result<(CallId, Arc<Settled>), Stop> {
        let id = self.control.submit(spec);
        self.call = Some(id);
        let mut interrupted = false;
        // The engine knows more of why there is no answer: it speaks first.
        let last = self.deadline.map(|deadline| deadline + MARGIN);
        loop {
            let woke = match self.step(last).await {
                Ok(woke) => woke,
                Err(stop) => {
                    self.cancel(id, "the output of switchboard was closed");
                    return Err(stop);
                }
            };
            match woke {
                Woke::Event(event) => match &event.kind {
                    EventKind::CallSettled { call, settled } if *call == id => return Ok((id, settled.clone())),
                    _ => {}
                },
                Woke::Resynced => match self.read_model.call(id) {
                    Some(call) => {
                        if let Some(settled) = &call.settled {
                            return Ok((id, settled.clone()));
                        }
                    }
                    None => return Err(Failure::after_send(FailureKind::Transport, "the engine no longer knows the call").into()),
                },
                Woke::Signal(Signal::Interrupt) if !interrupted => {
                    interrupted = true;
                    self.cancel(id, "cancelled by the user");
                    self.printer.note("cancelling; Ctrl-C again quits at once");
                }
                Woke::Signal(signal) => {
                    self.cancel(id, "switchboard was ended");
                    return Err(Stop::Quit(if signal == Signal::Terminate { exit::TERMINATED } else { exit::INTERRUPTED }));
                }
                Woke::Late => {
                    self.cancel(id, "--timeout passed");
                    let limit = self.options.timeout.map(time::short).unwrap_or_default();
                    return Err(Failure::after_send(FailureKind::Timeout, format!("not answered when --timeout {limit} passed")).into());
                }
            }
        }
    }

    fn cancel(&self, call: CallId, reason: &str) {
        self.control.command(Command::Cancel { call, reason: reason.into() });
    }

    /// Waits for `answer`, or for a signal to quit.
    pub async fn or_signal<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::pin!(answer);
        let deadline = self.deadline;
        loop {
            tokio::select! {
                value = &mut answer => return Ok(value),
                woke = self.step(deadline) => match woke? {
                    Woke::Signal(Signal::Interrupt) => return Err(Stop::Quit(exit::INTERRUPTED)),
                    Woke::Signal(Signal::Terminate) => return Err(Stop::Quit(exit::TERMINATED)),
                    Woke::Late => return Err(self.out_of_time().into()),
                    _ => {}
                },
            }
        }
    }

    fn answer_open_questions(&mut self) -> Result<(), Stop> {
        for ask in self.read_model.asks.clone() {
            // A run asks nobody here: what it needs was said beforehand.
            if !self.answered.insert(ask.id) || ask.run.is_some() {
                continue;
            }
            let spec = self.read_model.server(&ask.server).map(|s| s.spec.clone());
            let policy = spec.as_ref().map(|spec| spec.policy(&ask.question));
            // The engine answers by itself what the configuration decides.
            if let Some(how) = policy.and_then(by_configuration) {
                self.show_question(&ask, how, self.options.verbose)?;
                continue;
            }
            let (answer, how) = self.answers.answer(&ask.question);
            self.show_question(&ask, &how, true)?;
            self.control.command(Command::Answer { ask: ask.id, answer });
        }
        Ok(())
    }

    fn show_question(&mut self, ask: &Ask, how: &str, aloud: bool) -> Result<(), Stop> {
        let message = match &ask.question {
            Question::Form { message, .. } => message.clone(),
            Question::Url { message, url } => format!("{message} {url}"),
            Question::Sampling { .. } => "a model's answer".into(),
            Question::Roots => "the roots".into(),
        };
        if self.printer.format() == Format::Jsonl {
            let kind = ask.question.word();
            self.printer.document(&Line::Ask {
                server: &ask.server,
                call: ask.call.map(|c| c.to_string()),
                kind,
                message: &message,
                answer: how,
            })?;
        }
        if !aloud {
            return Ok(());
        }
        self.printer.note(&format!("{} asks ({}): {message} - {how}", ask.server, ask.question.word()));
        Ok(())
    }

    fn show(&mut self, event: &Event) -> Result<(), Stop> {
        if self.printer.format() == Format::Jsonl {
            self.show_line(event)?;
        }
        let (watched, verbose) = (self.printer.watched(), self.options.verbose);
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
            EventKind::Notice { notice } if verbose || notice.level > NoticeLevel::Info => {
                self.printer.note(&notice.text);
                for line in &notice.detail {
                    self.printer.note(&format!("  {line}"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn show_line(&mut self, event: &Event) -> Result<(), Stop> {
        let at = self.read_model.epoch.unix_ms(event.at);
        let line = match &event.kind {
            EventKind::CallProgress { call, progress } if Some(*call) == self.call => Line::Progress {
                at,
                call: call.to_string(),
                progress: progress.progress,
                total: progress.total,
                message: progress.message.as_deref(),
            },
            EventKind::CallSent { call, round } if Some(*call) == self.call => Line::Sent { at, call: call.to_string(), round: *round },
            EventKind::CallStage { call, stage } if Some(*call) == self.call => {
                Line::CallEvent { at, call: call.to_string(), stage: stage.tag(), words: stage.words() }
            }
            EventKind::ServerLog { server, log } => Line::Log {
                at,
                server,
                level: log.level.word(),
                logger: log.logger.as_deref(),
                text: &log.text,
                call: log.call.map(|c| c.to_string()),
            },
            EventKind::ServerPhase { server, phase } => Line::Phase { at, server, state: phase.word() },
            EventKind::ServerAnomaly { server, anomaly } => {
                Line::Anomaly { at, server, kind: anomaly.kind.words(), detail: &anomaly.detail }
            }
            EventKind::ServerStderr { server, line } if self.options.verbose => Line::Stderr { at, server, text: line },
            EventKind::Frame { frame } if self.options.verbose => Line::Frame {
                at,
                server: &frame.server,
                direction: match frame.direction {
                    Direction::Out => "out",
                    Direction::In => "in",
                },
                call: frame.call.map(|c| c.to_string()),
                size: frame.size,
                cut: frame.cut,
                message: raw(&frame.body),
                text: raw(&frame.body).is_none().then(|| frame.body.text().into_owned()),
            },
            _ => return Ok(()),
        };
        Ok(self.printer.document(&line)?)
    }
}

/// The failure for a server that there is none of.
pub fn unknown_server(read_model: &ConsoleState, name: &str) -> Failure {
    let names: Vec<&str> = read_model.servers.iter().map(|s| s.id().as_str()).collect();
    Failure::new(FailureKind::UnknownServer, format!("there is no server {name:?}")).hint(if names.is_empty() {
        "no server is configured".into()
    } else {
        format!("servers: {}", names.join(", "))
    })
}

/// The JSON text of a body for a document; `None` when it is no JSON.
pub fn raw(body: &Body) -> Option<Box<RawValue>> {
    RawValue::from_string(body.text().into_owned()).ok()
}

/// A body as JSON; as a text when it is none, being cut off.
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

fn wait_words(server: &ServerView) -> String {
    match &*server.phase {
        Phase::Starting { step } => format!("{} ({})", server.id(), step.doing()),
        phase => format!("{} ({})", server.id(), phase.word()),
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

/// A line of `--jsonl` before the last. `at` is in milliseconds since the Unix epoch; a call's id is
/// text, because JSON readers round numbers of 64 bits.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Phase {
        at: u64,
        server: &'a ServerId,
        state: &'a str,
    },
    Sent {
        at: u64,
        call: String,
        round: u32,
    },
    CallEvent {
        at: u64,
        call: String,
        stage: &'a str,
        words: String,
    },
    Progress {
        at: u64,
        call: String,
        progress: f64,
        total: Option<f64>,
        message: Option<&'a str>,
    },
    Log {
        at: u64,
        server: &'a ServerId,
        level: &'a str,
        logger: Option<&'a str>,
        text: &'a str,
        call: Option<String>,
    },
    Ask {
        server: &'a ServerId,
        call: Option<String>,
        kind: &'a str,
        message: &'a str,
        answer: &'a str,
    },
    Anomaly {
        at: u64,
        server: &'a ServerId,
        kind: &'a str,
        detail: &'a str,
    },
    Stderr {
        at: u64,
        server: &'a ServerId,
        text: &'a str,
    },
    Frame {
        at: u64,
        server: &'a ServerId,
        direction: &'a str,
        call: Option<String>,
        size: u64,
        /// How many bytes the message has in all, when only its front is here.
        #[serde(skip_serializing_if = "Option::is_none")]
        cut: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
}
