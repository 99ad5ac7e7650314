//! The event loop: passes input, events, signals and time to the model, performs its commands, and draws frames when due.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    control::{Control, Lagged, Tail, Workspace, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState},
    domain::{
        argument_history::Recall,
        config_error::ConfigError,
        event::{Event, Notice, NoticeLevel},
        time::{Epoch, Stamp},
        workflow::library::WorkflowLibrary,
        workspace::{ApprovalPrompt, ServerSource},
    },
};

use super::{
    ConsoleOptions, ConsoleUpdate, Startup,
    background::Job,
    draw,
    files::{self, Clipboard, Existing, Saving},
    input::{Input, Reader},
    model::{Model, Setup},
    msg::{Cmd, Msg},
    pacer::{Cause, Pacer},
    preferences::preferences,
    system::{self, Editing},
    terminal::Terminal,
};

/// The most background jobs that run simultaneously.
const WORKERS: usize = 2;
/// Longer texts are not sent to the terminal's clipboard, in bytes: terminals refuse them, or freeze.
const MOST_FOR_TERMINAL: usize = 1 << 20;
/// The most events that are handled before input and time are checked again.
const BATCH: usize = 1024;

/// Runs the console until the user leaves, the terminal goes away or a signal ends it.
///
/// Errors: the terminal cannot be used.
pub async fn run(control: Arc<dyn Control>, options: ConsoleOptions) -> io::Result<Left> {
    let mut signals = Signals::new()?;
    let start = Start::of(&*control.workspace()).await;
    let mut terminal = Terminal::enter(start.known.settings.mouse, options.guard.clone())?;
    let mut console = Console::new(control, options, start, terminal.size());
    console.reader = Some(Reader::start()?);
    let ended = console.run(&mut terminal, &mut signals).await;
    // The reader first, so that input typed from now on does not go to the shell.
    drop(console.reader.take());
    drop(terminal);
    match ended {
        // The terminal is closed, which is an ordinary end: there is no screen for a message.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(Left::HungUp),
        other => other.map(|()| console.left),
    }
}

/// Why the console ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Left {
    /// The user left.
    #[default]
    Quit,
    /// SIGINT from outside.
    Interrupted,
    /// SIGTERM came.
    Terminated,
    /// The terminal was closed (SIGHUP).
    HungUp,
}

/// The signals that the console handles.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    stop: Signal,
    resumed: Signal,
    resized: Signal,
}

/// A signal that the console handles.
enum SignalEvent {
    Interrupt,
    End(Left),
    Stop,
    Resumed,
    Resized,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        // tokio knows SIGTSTP and SIGCONT by number only.
        let by_number = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            stop: signal(by_number(rustix::process::Signal::TSTP))?,
            resumed: signal(by_number(rustix::process::Signal::CONT))?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> SignalEvent {
        tokio::select! {
            _ = self.interrupt.recv() => SignalEvent::Interrupt,
            _ = self.terminate.recv() => SignalEvent::End(Left::Terminated),
            _ = self.hang_up.recv() => SignalEvent::End(Left::HungUp),
            _ = self.stop.recv() => SignalEvent::Stop,
            _ = self.resumed.recv() => SignalEvent::Resumed,
            _ = self.resized.recv() => SignalEvent::Resized,
        }
    }
}

/// The engine's clock, as read from here.
struct Clock {
    start: Instant,
    offset: Duration,
}

impl Clock {
    fn new(epoch: Epoch) -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), offset: unix.saturating_sub(Duration::from_millis(epoch.unix_ms)) }
    }

    /// Returns the time since the loop started.
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn stamp(&self) -> Stamp {
        Stamp::default().plus(self.offset + self.elapsed())
    }
}

struct Console {
    control: Arc<dyn Control>,
    workspace: Arc<dyn Workspace>,
    changes: Option<watch::Receiver<WorkspaceState>>,
    /// The state of the workspace that the model has.
    known: WorkspaceState,
    exports: PathBuf,
    clipboard: Clipboard,
    model: Model,
    tail: Option<Tail>,
    reader: Option<Reader>,
    editing: Option<Editing>,
    /// Background jobs on large results: waiting ones, and running ones.
    tasks: VecDeque<Job>,
    workers: JoinSet<Option<Msg>>,
    /// Files being written and read.
    others: JoinSet<Option<Msg>>,
    /// Called when the console becomes idle.
    rest: fn(),
    /// Called when a signal was received.
    heard: Arc<dyn Fn() + Send + Sync>,
    pacer: Pacer,
    clock: Clock,
    stopped_here: bool,
    ended: bool,
    left: Left,
}

enum Woken {
    Signal(SignalEvent),
    Input(Input),
    Event(Result<Option<Arc<Event>>, Lagged>),
    Edited(io::Result<std::process::ExitStatus>),
    Workspace(Option<WorkspaceState>),
    Done(Option<Msg>),
    Time,
}

/// What the workspace has at the start.
struct Start {
    changes: watch::Receiver<WorkspaceState>,
    known: WorkspaceState,
    startup: Startup,
    recall: Recall,
}

impl Start {
    async fn of(workspace: &dyn Workspace) -> Start {
        let mut changes = workspace.state();
        let known = changes.borrow_and_update().clone();
        let recall = match workspace.request(WorkspaceRequest::Recall).await {
            Ok(WorkspaceReply::Recall(recall)) => recall,
            _ => Recall::default(),
        };
        let startup = match (&known.approval, known.identity.source) {
            (Some(prompt), _) => Startup::Approval(ApprovalPrompt::clone(prompt)),
            (None, ServerSource::NoneConfigured) => match workspace.request(WorkspaceRequest::FindServers).await {
                Ok(WorkspaceReply::Welcome(offer)) => Startup::Welcome(offer),
                _ => Startup::Empty,
            },
            (None, ServerSource::Configuration | ServerSource::CommandLine) => Startup::Normal,
        };
        Start { changes, known, startup, recall }
    }
}

impl Console {
    fn new(control: Arc<dyn Control>, options: ConsoleOptions, start: Start, size: (u16, u16)) -> Console {
        let (read_model, tail) = control.watch();
        let clock = Clock::new(read_model.epoch);
        let setup = Setup {
            theme: options.preferences.theme,
            keymap: options.preferences.keymap,
            mouse: start.known.settings.mouse,
            title: start.known.identity.title.clone(),
            startup: start.startup,
            confirm: options.preferences.confirm,
            recall: start.recall,
            workflows: WorkflowLibrary::clone(&start.known.library),
            invocation: start.known.identity.invocation.clone(),
            inputs: Vec::clone(&start.known.inputs),
        };
        let mut model = Model::new(setup, read_model, size);
        model.at(clock.stamp());
        let mut pacer = Pacer::default();
        pacer.mark(Cause::Input, clock.elapsed());
        pacer.stir(clock.elapsed());
        Console {
            workspace: control.workspace(),
            control,
            changes: Some(start.changes),
            known: start.known,
            exports: options.exports,
            clipboard: Clipboard::default(),
            model,
            tail: Some(tail),
            reader: None,
            editing: None,
            tasks: VecDeque::new(),
            workers: JoinSet::new(),
            others: JoinSet::new(),
            rest: options.rest,
            heard: options.heard,
            pacer,
            clock,
            stopped_here: false,
            ended: false,
            left: Left::default(),
        }
    }

    async fn run(&mut self, terminal: &mut Terminal, signals: &mut Signals) -> io::Result<()> {
        let panicked = terminal.panic_notice();
        while !self.ended && !terminal.panicked() {
            self.draw(terminal)?;
            let woken = self.wait(signals, &panicked).await;
            let now = self.clock.stamp();
            self.model.at(now);
            if !matches!(woken, Woken::Time) {
                self.pacer.stir(self.clock.elapsed());
            }
            for panic in terminal.panics() {
                let text =
                    "A background task panicked. Its operation failed; everything else still works. The report is written when you quit.";
                self.dispatch(Msg::Trouble(text.into()), Cause::Engine, terminal)?;
                terminal.report_at_the_end(panic);
            }
            match woken {
                Woken::Signal(signal) => self.signal(signal, terminal)?,
                Woken::Input(input) => self.inputs(input, terminal)?,
                Woken::Event(event) => self.events(event, terminal)?,
                Woken::Edited(status) => self.edited(status, terminal)?,
                Woken::Workspace(Some(state)) => self.workspace_changed(state, terminal)?,
                Woken::Workspace(None) => self.changes = None,
                Woken::Done(done) => {
                    self.start_jobs();
                    if let Some(msg) = done {
                        self.dispatch(msg, Cause::Input, terminal)?;
                    }
                }
                Woken::Time if self.model.working() => {
                    self.model.work();
                    self.pacer.mark(Cause::Engine, self.clock.elapsed());
                }
                Woken::Time => {}
            }
            if self.pacer.take_tick(self.clock.elapsed()) {
                self.dispatch(Msg::Tick(now), Cause::Engine, terminal)?;
            }
            if self.pacer.take_rest(self.model.moving(), self.clock.elapsed()) {
                drop(tokio::task::spawn_blocking(self.rest));
            }
        }
        Ok(())
    }

    /// Waits for the first of all sources. Signals go before everything, the editor before input, input
    /// before events: a flood of events never delays a key.
    async fn wait(&mut self, signals: &mut Signals, panicked: &Notify) -> Woken {
        // Unfinished filters and sorts continue between inputs, in steps of a few milliseconds.
        let pause = if self.model.working() { Some(Duration::ZERO) } else { self.pacer.wait(self.clock.elapsed()) };
        let editing = self.editing.is_some();
        tokio::select! {
            biased;
            () = panicked.notified() => Woken::Time,
            signal = signals.next() => Woken::Signal(signal),
            status = edited(&mut self.editing) => Woken::Edited(status),
            input = read(&mut self.reader) => Woken::Input(input),
            state = next_state(&mut self.changes) => Woken::Workspace(state),
            Some(done) = self.workers.join_next() => Woken::Done(done.ok().flatten()),
            Some(done) = self.others.join_next() => Woken::Done(done.ok().flatten()),
            () = sleep(pause), if !editing => Woken::Time,
            event = next(&mut self.tail) => Woken::Event(event),
        }
    }

    fn draw(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        self.pacer.animate(self.model.moving(), self.clock.elapsed());
        self.pacer.step(self.model.next_step(), self.clock.elapsed());
        if self.editing.is_none() && self.pacer.frame_due(self.clock.elapsed()) {
            terminal.draw(|frame| draw::draw(&mut self.model, frame.buffer_mut()))?;
            terminal.set_title(&draw::window_title(&self.model))?;
            self.pacer.drawn(self.clock.elapsed());
        }
        Ok(())
    }

    /// Passes a message to the model and performs its commands.
    fn dispatch(&mut self, msg: Msg, cause: Cause, terminal: &mut Terminal) -> io::Result<()> {
        let commands = self.model.update(msg);
        self.pacer.mark(cause, self.clock.elapsed());
        for command in commands {
            self.perform(command, terminal)?;
        }
        Ok(())
    }

    /// Passes the parts of the workspace that changed to the model.
    fn workspace_changed(&mut self, state: WorkspaceState, terminal: &mut Terminal) -> io::Result<()> {
        let before = std::mem::replace(&mut self.known, state);
        let now = self.known.clone();
        let mut updates = vec![];
        if now.settings != before.settings {
            match preferences(&now.settings) {
                Ok(preferences) => updates.push(Msg::Update(ConsoleUpdate::Preferences(Box::new(preferences)))),
                Err(errors) => updates.push(Msg::Notices(errors.iter().map(ConfigError::rejected).collect())),
            }
        }
        if now.identity != before.identity {
            updates.push(Msg::Update(ConsoleUpdate::Servers(now.identity.invocation.clone(), now.identity.title.clone())));
        }
        if !Arc::ptr_eq(&now.library, &before.library) {
            updates.push(Msg::Update(ConsoleUpdate::Workflows(WorkflowLibrary::clone(&now.library))));
        }
        if !Arc::ptr_eq(&now.past, &before.past) {
            updates.push(Msg::Update(ConsoleUpdate::Past(Vec::clone(&now.past))));
        }
        if now.approval != before.approval {
            updates.push(Msg::Update(ConsoleUpdate::Approval(now.approval.as_deref().cloned())));
        }
        if !Arc::ptr_eq(&now.inputs, &before.inputs) {
            updates.push(Msg::Update(ConsoleUpdate::Inputs(Vec::clone(&now.inputs))));
        }
        updates.into_iter().try_for_each(|update| self.dispatch(update, Cause::Engine, terminal))
    }

    fn inputs(&mut self, first: Input, terminal: &mut Terminal) -> io::Result<()> {
        let mut next = Some(first);
        while let Some(input) = next {
            self.dispatch(Msg::Input(input), Cause::Input, terminal)?;
            next = if self.ended { None } else { self.reader.as_mut().and_then(Reader::try_next) };
        }
        Ok(())
    }

    fn events(&mut self, first: Result<Option<Arc<Event>>, Lagged>, terminal: &mut Terminal) -> io::Result<()> {
        let mut batch = Vec::new();
        let mut next = first;
        let lagged = loop {
            match next {
                Ok(Some(event)) => batch.push(event),
                Ok(None) => break None,
                Err(lagged) => break Some(lagged),
            }
            if batch.len() == BATCH {
                break None;
            }
            next = self.tail.as_mut().map_or(Ok(None), Tail::try_next);
        };
        let dropped = self.tail.as_mut().map_or(0, Tail::take_dropped_frames);
        if dropped > 0 {
            let text = format!("{dropped} frames are missing in the traffic: they came faster than the console could read them");
            self.dispatch(Msg::Notices(vec![Notice::new(NoticeLevel::Warn, text)]), Cause::Engine, terminal)?;
        }
        if let Some(Lagged { missed }) = lagged {
            let (read_model, tail) = self.control.watch();
            self.tail = Some(tail);
            self.model.resync(read_model, missed);
            self.pacer.mark(Cause::Engine, self.clock.elapsed());
        } else if batch.is_empty() {
            // The first value was `None`: the engine is gone. An empty queue never comes first.
            self.tail = None;
            self.dispatch(Msg::EngineGone, Cause::Engine, terminal)?;
        } else {
            self.dispatch(Msg::Events(batch), Cause::Engine, terminal)?;
        }
        Ok(())
    }

    fn signal(&mut self, signal: SignalEvent, terminal: &mut Terminal) -> io::Result<()> {
        (self.heard)();
        match signal {
            // Ctrl-C in the editor reaches this process too; it belongs to the editor.
            SignalEvent::Interrupt if self.editing.is_some() => {}
            SignalEvent::Interrupt => (self.ended, self.left) = (true, Left::Interrupted),
            SignalEvent::End(why) => (self.ended, self.left) = (true, why),
            SignalEvent::Stop => self.suspend(terminal)?,
            // Our own suspension ends with this signal too, after everything was restored.
            SignalEvent::Resumed if std::mem::take(&mut self.stopped_here) => {}
            SignalEvent::Resumed if self.editing.is_none() => {
                terminal.resume()?;
                self.resized(terminal)?;
            }
            SignalEvent::Resumed => {}
            SignalEvent::Resized => self.resized(terminal)?,
        }
        Ok(())
    }

    fn resized(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        let (width, height) = terminal.size();
        self.dispatch(Msg::Resize(width, height), Cause::Input, terminal)
    }

    fn suspend(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        let reading = self.reader.take().is_some();
        self.stopped_here = true;
        terminal.suspend()?;
        if self.editing.is_some() {
            // The editor was suspended with us and has the terminal again.
            terminal.pause();
        } else if reading {
            self.reader = Some(Reader::start()?);
            self.resized(terminal)?;
        }
        Ok(())
    }

    fn perform(&mut self, command: Cmd, terminal: &mut Terminal) -> io::Result<()> {
        let trouble = match command {
            Cmd::Submit { token, spec } => {
                let submitted = move |result| match result {
                    Ok(call) => Msg::Submitted { token, call },
                    Err(why) => Msg::NotSubmitted { token, why },
                };
                let mut pending = self.control.submit(spec);
                // An engine in this process replies immediately: the id is known before the first event of the call.
                if let Some(result) = (&mut pending).now_or_never() {
                    return self.dispatch(submitted(result), Cause::Input, terminal);
                }
                self.others.spawn(async move { Some(submitted(pending.await)) });
                None
            }
            Cmd::Command(command) => {
                let reply = self.control.command(command.clone());
                self.others.spawn(async move { command.notice(&reply.await).map(|notice| Msg::Notices(vec![notice])) });
                None
            }
            Cmd::Request(request) => {
                let reply = self.workspace.request(request.clone());
                self.others.spawn(async move { replied(&request, reply.await) });
                None
            }
            Cmd::Save { path, content, overwrite } => {
                self.spawn_blocking(move || {
                    match files::save(&path, &content, if overwrite { Existing::Replace } else { Existing::Keep }) {
                        Saving::Saved(path) => Msg::Saved(Ok(path.display().to_string())),
                        Saving::Exists => Msg::Exists { path, content },
                        Saving::Failed(why) => Msg::Saved(Err(why)),
                    }
                });
                None
            }
            Cmd::OpenFile { name, content } => {
                let exports = self.exports.clone();
                self.spawn_blocking(move || Msg::Saved(files::open(&exports, &name, &content).map(|path| path.display().to_string())));
                None
            }
            Cmd::ReadFile(path) => {
                self.spawn_blocking(move || Msg::FileRead(files::read(&path)));
                None
            }
            Cmd::Work(task) => {
                self.tasks.push_back(task);
                self.start_jobs();
                None
            }
            Cmd::Copy(text) => {
                let desktop = self.clipboard.set(&text);
                match text.len() {
                    ..=MOST_FOR_TERMINAL => terminal.copy(&text).err().map(|e| format!("Copying failed: {e}")),
                    _ if desktop => None,
                    _ => Some("Too long for the terminal's clipboard; save it to a file instead.".to_owned()),
                }
            }
            Cmd::OpenUrl(url) => system::open_url(&url).err(),
            Cmd::Edit(text) => self.edit(terminal, || Editing::start(&text))?,
            Cmd::EditFile(path) => self.edit(terminal, || Editing::open(&path))?,
            Cmd::Mouse(capture) => terminal.capture_mouse(capture).err().map(|e| e.to_string()),
            Cmd::Redraw => {
                terminal.redraw()?;
                None
            }
            Cmd::Suspend if Terminal::has_job_control() => {
                self.suspend(terminal)?;
                None
            }
            Cmd::Suspend => Some("Cannot suspend without a shell; q quits.".to_owned()),
            Cmd::Quit => {
                self.ended = true;
                None
            }
        };
        match trouble {
            Some(text) => self.dispatch(Msg::Trouble(text), Cause::Input, terminal),
            None => Ok(()),
        }
    }

    /// Runs a blocking operation on a separate thread; its result is a message.
    fn spawn_blocking(&mut self, operation: impl FnOnce() -> Msg + Send + 'static) {
        self.others.spawn_blocking(move || Some(operation()));
    }

    /// Starts waiting background jobs, a few at a time: each may take many times the bytes of a result.
    fn start_jobs(&mut self) {
        self.tasks.retain(|task| task.ticket.wanted());
        while self.workers.len() < WORKERS
            && let Some(task) = self.tasks.pop_front()
        {
            self.workers.spawn_blocking(move || task.run().map(|worked| Msg::Worked(Box::new(worked))));
        }
    }

    /// Hands the terminal to the editor; events are handled meanwhile.
    fn edit(&mut self, terminal: &mut Terminal, start: impl FnOnce() -> Result<Editing, String>) -> io::Result<Option<String>> {
        drop(self.reader.take());
        terminal.pause();
        match start() {
            Ok(editing) => {
                self.editing = Some(editing);
                Ok(None)
            }
            Err(why) => {
                self.resume_terminal(terminal)?;
                Ok(Some(why))
            }
        }
    }

    fn edited(&mut self, status: io::Result<std::process::ExitStatus>, terminal: &mut Terminal) -> io::Result<()> {
        let Some(editing) = self.editing.take() else { return Ok(()) };
        let own = editing.is_own();
        let text = editing.finish(status);
        self.resume_terminal(terminal)?;
        let msg = if own { Msg::FileEdited(text.map(drop)) } else { Msg::Edited(text) };
        self.dispatch(msg, Cause::Input, terminal)
    }

    fn resume_terminal(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        terminal.resume()?;
        self.reader = Some(Reader::start()?);
        self.resized(terminal)
    }
}

async fn edited(editing: &mut Option<Editing>) -> io::Result<std::process::ExitStatus> {
    match editing {
        Some(editing) => editing.child.wait().await,
        None => std::future::pending().await,
    }
}

/// Returns the next state of the workspace; `None` when the workspace has ended.
async fn next_state(changes: &mut Option<watch::Receiver<WorkspaceState>>) -> Option<WorkspaceState> {
    match changes {
        Some(changes) => changes.changed().await.ok().map(|()| changes.borrow_and_update().clone()),
        None => std::future::pending().await,
    }
}

/// Returns what the model gets of the reply to a request.
fn replied(request: &WorkspaceRequest, reply: Result<WorkspaceReply, WorkspaceError>) -> Option<Msg> {
    match reply {
        Ok(WorkspaceReply::Welcome(offer)) => Some(Msg::Update(ConsoleUpdate::Welcome(offer))),
        reply => {
            let notices = request.notices(&reply);
            (!notices.is_empty()).then_some(Msg::Notices(notices))
        }
    }
}

async fn read(reader: &mut Option<Reader>) -> Input {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}

async fn next(tail: &mut Option<Tail>) -> Result<Option<Arc<Event>>, Lagged> {
    match tail {
        Some(tail) => tail.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
