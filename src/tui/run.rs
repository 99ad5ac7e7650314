//! The event loop: passes input, events, signals and time to the model, performs its commands, and draws frames when due.

mod commands;
mod signals;
mod start;

pub use signals::Left;

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    control::{Control, Lagged, Tail, Workspace, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState},
    domain::{
        config_error::ConfigError,
        console_layout::ConsoleLayout,
        event::{Event, Notice, NoticeLevel},
        plural::counted,
        time::{Epoch, Stamp},
        workflow::library::WorkflowLibrary,
    },
};

use super::{
    ConsoleOptions, ConsoleUpdate,
    background::Job,
    draw,
    files::Clipboard,
    input::{Input, Reader},
    model::{Model, Setup},
    msg::Msg,
    pacer::{Cause, Pacer},
    preferences::preferences,
    system::Editing,
    terminal::Terminal,
};

use self::{
    signals::{SignalEvent, Signals},
    start::Start,
};

/// The most events that are handled before input and time are checked again.
const BATCH: usize = 1024;

/// The longest wait for the layout to be stored at the end.
const LAYOUT_SAVED_WITHIN: Duration = Duration::from_millis(500);

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
    console.save_layout().await;
    // The reader first, so that input typed from now on does not go to the shell.
    drop(console.reader.take());
    drop(terminal);
    match ended {
        // The terminal is closed, which is an ordinary end: there is no screen for a message.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(Left::HungUp),
        other => other.map(|()| console.left),
    }
}

/// The engine's clock, as read from here.
struct Clock {
    start: Instant,
    offset: Duration,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "converts the epoch of an engine that may be in another process")]
    fn new(epoch: Epoch) -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), offset: unix.saturating_sub(Duration::from_millis(epoch.unix_ms)) }
    }

    /// Returns a clock that begins at this time.
    fn begin(at: Stamp) -> Clock {
        Clock { start: Instant::now(), offset: Duration::from_nanos(at.0) }
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
    /// The layout of the last session.
    layout: ConsoleLayout,
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

impl Console {
    fn new(control: Arc<dyn Control>, options: ConsoleOptions, start: Start, size: (u16, u16)) -> Console {
        let (read_model, tail) = control.watch();
        let clock = options.begin.map_or_else(|| Clock::new(read_model.epoch), Clock::begin);
        let setup = Setup {
            theme: options.preferences.theme,
            keymap: options.preferences.keymap,
            mouse: start.known.settings.mouse,
            title: start.known.identity.title.clone(),
            startup: start.startup,
            confirm: options.preferences.confirm,
            tour: options.tour,
            opening: options.opening,
            recall: start.recall,
            layout: start.layout.clone(),
            workflows: WorkflowLibrary::clone(&start.known.library),
            invocation: start.known.identity.invocation.clone(),
            inputs: Vec::clone(&start.known.inputs),
        };
        let mut model = Model::new(setup, read_model, size);
        model.at(clock.stamp());
        if let Some(session) = start.known.session {
            // A new model has nothing to do.
            let _ = model.update(Msg::Update(ConsoleUpdate::Session(session)));
        }
        let _ = model.update(Msg::Update(ConsoleUpdate::Environments(start.known.identity.environments.clone())));
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
            layout: start.layout,
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

    /// Stores the layout for the next start, if it changed. A workspace that does not answer does not delay the end.
    async fn save_layout(&mut self) {
        let layout = self.model.current_layout();
        if layout != self.layout {
            let kept = self.workspace.request(WorkspaceRequest::SaveLayout(layout));
            let _ = tokio::time::timeout(LAYOUT_SAVED_WITHIN, kept).await;
        }
    }

    fn draw(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        self.pacer.animate(self.model.moving(), self.clock.elapsed());
        self.pacer.step(self.model.next_step(), self.clock.elapsed());
        if self.editing.is_none() && self.pacer.frame_due(self.clock.elapsed()) {
            terminal.draw(|frame| draw::draw(&mut self.model, frame.buffer_mut()))?;
            terminal.set_title(&draw::window_title(&self.model))?;
            self.pacer.drawn(self.clock.elapsed());
            for command in self.model.after_frame() {
                self.perform(command, terminal)?;
            }
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
        if now.identity.environments != before.identity.environments {
            updates.push(Msg::Update(ConsoleUpdate::Environments(now.identity.environments.clone())));
        }
        if let Some(session) = now.session.filter(|session| before.session != Some(*session)) {
            updates.push(Msg::Update(ConsoleUpdate::Session(session)));
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
            let text = format!("The traffic lacks {}: they came faster than the console could read them", counted(dropped, "frame"));
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
        Ok(WorkspaceReply::Login(login)) => Some(Msg::Update(ConsoleUpdate::Login(login))),
        Ok(WorkspaceReply::LoginEnded(end)) => {
            let WorkspaceRequest::LoginEnd { server } = request else { return None };
            Some(Msg::Update(ConsoleUpdate::LoginEnded(server.clone(), end)))
        }
        Ok(WorkspaceReply::History(page)) => {
            let WorkspaceRequest::History { filter, .. } = request else { return None };
            Some(Msg::Update(ConsoleUpdate::History(filter.clone(), page)))
        }
        Ok(WorkspaceReply::Calls(calls)) => Some(Msg::Update(ConsoleUpdate::PastCall(Box::new(calls.into_iter().next()?)))),
        Ok(WorkspaceReply::Sessions(sessions)) => Some(Msg::Update(ConsoleUpdate::Sessions(sessions))),
        Ok(WorkspaceReply::HistoryStats(stats)) => Some(Msg::Update(ConsoleUpdate::Statistics(stats))),
        Ok(WorkspaceReply::Drift(changes)) => Some(Msg::Update(ConsoleUpdate::Drift(changes))),
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
