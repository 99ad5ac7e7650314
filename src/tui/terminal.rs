//! The terminal as a place to draw: entered, left and given back in every way out.
//!
//! The only module that writes escape sequences. Leaving is idempotent and also done by a panic hook, so that a
//! panic in the loop leaves a usable terminal and a readable message; one in another task is kept to be told on the
//! screen. Named by the loop only.
//!
//! A process that a signal ends (SIGSEGV after a stack overflow, SIGABRT, SIGKILL) runs no hook. So another process, the
//! [`TerminalGuard`], gets a description of the terminal before it is taken, and calls [`restore`] then.

use std::{
    io::{self, Read, Stdout, Write},
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossterm::{
    Command,
    clipboard::CopyToClipboard,
    cursor, event as terminal_event, execute, queue,
    style::Print,
    terminal::{self as term, BeginSynchronizedUpdate, EndSynchronizedUpdate},
};
use ratatui::{Frame, backend::CrosstermBackend, layout::Rect};
use rustix::{
    process::{self, Signal},
    termios::{self, ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios},
};
use tokio::sync::Notify;

/// Saves and restores the window's title (XTWINOPS 22 and 23; xterm ctlseqs).
const PUSH_TITLE: &str = "\x1b[22;0t";
const POP_TITLE: &str = "\x1b[23;0t";

/// Ends a control sequence that was cut in the middle (CAN; ECMA-48, xterm ctlseqs).
const CANCEL: &[u8] = b"\x18";

/// How long SIGCONT is waited for, should the process not have been stopped.
const CONTINUED: Duration = Duration::from_secs(2);

/// Panics that are kept to be told.
const MOST_PANICS: usize = 16;

/// The terminal that is drawn on, for [`give_back`].
static CURRENT: Mutex<Option<Arc<State>>> = Mutex::new(None);

/// Gives the terminal back, whichever thread draws on it and whatever became of that. May wait for a terminal that
/// takes nothing.
pub fn give_back() {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(state) = current {
        // Needs no lock that the thread that draws may hold.
        let _ = term::disable_raw_mode();
        leave(&state);
    }
}

/// What is written into a terminal that was restored from outside.
const ENDED: &str = "switchboard ended without restoring the terminal: it crashed or was killed. The terminal was restored.";

/// Another process that restores the terminal if this one ends without doing so.
pub trait TerminalGuard: Send + Sync {
    /// The terminal is about to be taken. [`restore`] restores it with `modes`.
    fn taken(&self, terminal: BorrowedFd<'_>, modes: &str);
    /// The terminal was given back.
    fn given_back(&self);
}

type PanicHook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Sync + Send>;

/// A terminal that is drawn on until this is dropped.
pub struct Terminal {
    /// Never dropped: on a dead terminal its `Drop` prints to stderr, which panics when that is dead
    /// too; what it would do is done by `leave`.
    inner: ManuallyDrop<ratatui::Terminal<CrosstermBackend<Stdout>>>,
    state: Arc<State>,
    previous_hook: Arc<PanicHook>,
    title: String,
    /// What is written when the terminal is given back for good.
    report: Vec<String>,
}

#[derive(Default)]
struct State {
    entered: AtomicBool,
    mouse: AtomicBool,
    panicked: AtomicBool,
    /// What panicked in other tasks and was not told yet.
    elsewhere: Mutex<Vec<String>>,
    notice: Arc<Notify>,
    guard: Option<Arc<dyn TerminalGuard>>,
}

impl Terminal {
    /// Takes the terminal over: raw mode, alternate screen, bracketed paste, the mouse if wanted.
    ///
    /// `guard` restores it if this process ends without doing so.
    pub fn enter(mouse: bool, guard: Option<Arc<dyn TerminalGuard>>) -> io::Result<Terminal> {
        let state = Arc::new(State { mouse: AtomicBool::new(mouse), guard, ..State::default() });
        let previous_hook = Arc::new(panic::take_hook());
        let (in_hook, chained) = (state.clone(), previous_hook.clone());
        let own = std::thread::current().id();
        panic::set_hook(Box::new(move |info| {
            // What panics in a task elsewhere ends that task and what waits for it; the console is there to tell of it.
            if std::thread::current().id() != own {
                let mut elsewhere = in_hook.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
                if elsewhere.len() < MOST_PANICS {
                    elsewhere.push(info.to_string());
                }
                in_hook.notice.notify_one();
                return;
            }
            in_hook.panicked.store(true, Ordering::SeqCst);
            leave(&in_hook);
            chained(info);
        }));
        *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
        let inner = ratatui::Terminal::new(CrosstermBackend::new(io::stdout()));
        let entered = enter(&state);
        match (inner, entered) {
            (Ok(inner), Ok(())) => {
                Ok(Terminal { inner: ManuallyDrop::new(inner), state, previous_hook, title: String::new(), report: vec![] })
            }
            (inner, entered) => {
                leave(&state);
                give_hook_back(previous_hook);
                Err(inner.err().or(entered.err()).unwrap_or_else(|| io::Error::other("the terminal cannot be used")))
            }
        }
    }

    /// Whether the console itself has panicked, so that the terminal was already given back.
    pub fn panicked(&self) -> bool {
        self.state.panicked.load(Ordering::SeqCst)
    }

    /// What panicked in other tasks since this was asked last, each with its place.
    pub fn panics(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.elsewhere.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps what panicked elsewhere to be written, for a report, when the terminal is given back.
    pub fn report_at_the_end(&mut self, panic: String) {
        self.report.push(panic);
    }

    /// Told when another task has panicked.
    pub fn panic_notice(&self) -> Arc<Notify> {
        self.state.notice.clone()
    }

    /// Draws one frame as one update, so that no half of it is ever seen.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        if !self.state.entered.load(Ordering::SeqCst) {
            return Ok(());
        }
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        self.inner.draw(draw)?;
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    /// The size in cells, columns first.
    pub fn size(&self) -> (u16, u16) {
        term::size().unwrap_or((80, 24))
    }

    /// Forgets what is on the screen, so that the next frame draws all of it.
    ///
    /// Not ratatui's `clear`: that asks the terminal for the cursor's place and waits for the answer.
    pub fn redraw(&mut self) -> io::Result<()> {
        let (width, height) = self.size();
        self.inner.resize(Rect::new(0, 0, width, height))
    }

    /// Gives the terminal back for a while: to the shell or to an editor.
    pub fn pause(&mut self) {
        leave(&self.state);
    }

    /// Takes the terminal again after [`Terminal::pause`], or after somebody else changed its modes.
    pub fn resume(&mut self) -> io::Result<()> {
        // A shell may have reset the modes behind our back: leave first, so that entering does it all.
        leave(&self.state);
        enter(&self.state)?;
        let title = std::mem::take(&mut self.title);
        self.set_title(&title)?;
        self.redraw()
    }

    /// Stops this process (and what it was started with) until SIGCONT; returns then.
    ///
    /// The kernel may stop another thread first, and this one runs on for a moment. So it waits for SIGCONT: the terminal
    /// belongs to the shell until then.
    pub fn suspend(&mut self) -> io::Result<()> {
        let (wake, mut continued) = UnixStream::pair()?;
        continued.set_read_timeout(Some(CONTINUED))?;
        let registered = signal_hook::low_level::pipe::register(Signal::CONT.as_raw(), wake)?;
        self.pause();
        let stopped = process::kill_current_process_group(Signal::STOP);
        if stopped.is_ok() {
            // Fails when the time passed while the process was stopped, which is over then as well.
            let _ = continued.read_exact(&mut [0]);
        }
        signal_hook::low_level::unregister(registered);
        stopped?;
        self.resume()
    }

    /// Whether there is a shell to go back to: under job control a job is not its session's first group.
    pub fn has_job_control() -> bool {
        process::getsid(None).is_ok_and(|session| session != process::getpgrp())
    }

    /// Puts text on the user's clipboard by way of the terminal (OSC 52), also through ssh.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))
    }

    /// Sets the window's title; anything in it that could control the terminal is made visible.
    pub fn set_title(&mut self, title: &str) -> io::Result<()> {
        if self.title != title {
            self.title = title.to_owned();
            let harmless = crate::domain::text::visible(title);
            execute!(io::stdout(), term::SetTitle(harmless))?;
        }
        Ok(())
    }

    /// Takes the mouse, or leaves it to the terminal.
    pub fn capture_mouse(&mut self, capture: bool) -> io::Result<()> {
        self.state.mouse.store(capture, Ordering::SeqCst);
        if capture { execute!(io::stdout(), CaptureMouse) } else { execute!(io::stdout(), terminal_event::DisableMouseCapture) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave(&self.state);
        for panic in &self.report {
            // Nobody is left to tell when this fails too.
            let _ = writeln!(io::stderr(), "{panic}\nPlease report this.");
        }
        if !std::thread::panicking() {
            give_hook_back(self.previous_hook.clone());
        }
    }
}

fn give_hook_back(previous: Arc<PanicHook>) {
    drop(panic::take_hook());
    panic::set_hook(Box::new(move |info| previous(info)));
}

/// Presses, releases and the wheel with SGR places, drags included, without the flood of plain motion.
struct CaptureMouse;

impl Command for CaptureMouse {
    fn write_ansi(&self, f: &mut impl std::fmt::Write) -> std::fmt::Result {
        f.write_str("\x1b[?1002h\x1b[?1006h")
    }
}

fn enter(state: &State) -> io::Result<()> {
    if state.entered.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    if let Some(guard) = &state.guard
        && let Ok(modes) = termios::tcgetattr(io::stdout())
    {
        guard.taken(io::stdout().as_fd(), &describe(&modes));
    }
    term::enable_raw_mode()?;
    let mut out = io::stdout();
    queue!(out, Print(PUSH_TITLE), term::EnterAlternateScreen, terminal_event::EnableBracketedPaste, cursor::Hide)?;
    if state.mouse.load(Ordering::SeqCst) {
        queue!(out, CaptureMouse)?;
    }
    out.flush()
}

fn leave(state: &State) {
    if !state.entered.swap(false, Ordering::SeqCst) {
        return;
    }
    // Every step is tried, whatever became of the one before: the terminal may be gone.
    let _ = leave_screen(&mut io::stdout());
    let _ = term::disable_raw_mode();
    if let Some(guard) = &state.guard {
        guard.given_back();
    }
}

fn leave_screen(out: &mut impl Write) -> io::Result<()> {
    let modes = queue!(out, EndSynchronizedUpdate, terminal_event::DisableMouseCapture, terminal_event::DisableBracketedPaste);
    let screen = queue!(out, cursor::Show, term::LeaveAlternateScreen, Print(POP_TITLE));
    out.flush().and(modes).and(screen)
}

/// The modes of a line discipline as a text: input, output, control and local flags, VMIN and VTIME.
fn describe(modes: &Termios) -> String {
    let flags = [modes.input_modes.bits(), modes.output_modes.bits(), modes.control_modes.bits(), modes.local_modes.bits()];
    let [input, output, control, local] = flags.map(u64::from);
    let (least, time) = (modes.special_codes[SpecialCodeIndex::VMIN], modes.special_codes[SpecialCodeIndex::VTIME]);
    format!("{input} {output} {control} {local} {least} {time}")
}

/// Sets the modes that such a text describes.
fn apply(text: &str, modes: &mut Termios) -> Option<()> {
    let mut numbers = text.split(' ').map(str::parse::<u64>);
    let mut flags = || numbers.next()?.ok()?.try_into().ok();
    modes.input_modes = InputModes::from_bits_retain(flags()?);
    modes.output_modes = OutputModes::from_bits_retain(flags()?);
    modes.control_modes = ControlModes::from_bits_retain(flags()?);
    modes.local_modes = LocalModes::from_bits_retain(flags()?);
    let mut code = || numbers.next()?.ok()?.try_into().ok();
    modes.special_codes[SpecialCodeIndex::VMIN] = code()?;
    modes.special_codes[SpecialCodeIndex::VTIME] = code()?;
    Some(())
}

/// Restores the terminal of a console that is gone, and says so there. Errors have nobody to be reported to.
///
/// A shell can have set modes of its own already; only those of the console are replaced.
pub fn restore(modes: &str, terminal: BorrowedFd<'_>) {
    if let Ok(mut now) = termios::tcgetattr(terminal) {
        let raw = !now.local_modes.intersects(LocalModes::ICANON | LocalModes::ISIG) && !now.output_modes.contains(OutputModes::OPOST);
        if raw && apply(modes, &mut now).is_some() {
            let _ = termios::tcsetattr(terminal, OptionalActions::Now, &now);
        }
    }
    let Ok(terminal) = terminal.try_clone_to_owned() else { return };
    let mut out = std::fs::File::from(terminal);
    let mut text = CANCEL.to_vec();
    let _ = leave_screen(&mut text);
    let _ = write!(text, "\r\n{ENDED}\r\n");
    let _ = out.write_all(&text);
}
