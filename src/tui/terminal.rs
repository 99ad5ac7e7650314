//! The terminal to draw on: entered, left, and restored on every exit path.
//!
//! The only module that writes escape sequences; those of images are in cells (`graphics`). Leaving is idempotent and also done by a panic hook, so that a
//! panic in the loop leaves a usable terminal and a readable message; one in another task is stored and shown on the
//! screen. Used by the loop only.
//!
//! A process that a signal ends (SIGSEGV after a stack overflow, SIGABRT, SIGKILL) runs no hook. Another process, the
//! [`TerminalGuard`], therefore gets a description of the terminal before it is entered, and calls [`restore`] then.

use std::{
    io::{self, Read, Stdout, Write},
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    panic,
    sync::{
        Arc,
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
use parking_lot::Mutex;
use ratatui::{Frame, backend::CrosstermBackend, layout::Rect};
use rustix::{
    process::{self, Signal},
    termios::{self, ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios},
};
use tokio::sync::Notify;

use super::graphics;

/// Saves and restores the window's title (XTWINOPS 22 and 23; xterm ctlseqs).
const PUSH_TITLE: &str = "\x1b[22;0t";
const POP_TITLE: &str = "\x1b[23;0t";

/// Aborts a control sequence that was cut off (CAN; ECMA-48, xterm ctlseqs).
const CANCEL: &[u8] = b"\x18";

/// How long SIGCONT is waited for, in case the process was not stopped.
const CONTINUED: Duration = Duration::from_secs(2);

/// The most panics that are stored.
const MOST_PANICS: usize = 16;

/// The terminal that is drawn on, for [`give_back`].
static CURRENT: Mutex<Option<Arc<State>>> = Mutex::new(None);

/// Restores the terminal, on any thread and in any state of the thread that draws. May block on a terminal that
/// does not read.
pub fn give_back() {
    let current = CURRENT.lock().clone();
    if let Some(state) = current {
        // Takes no lock that the thread that draws may hold.
        let _ = term::disable_raw_mode();
        leave(&state);
    }
}

/// The message in a terminal that was restored from outside.
const ENDED: &str = "switchboard ended without restoring the terminal: it crashed or was killed. The terminal was restored.";

/// Another process that restores the terminal if this one dies without doing so.
pub trait TerminalGuard: Send + Sync {
    /// The terminal is about to be entered. [`restore`] restores it with `modes`.
    fn taken(&self, terminal: BorrowedFd<'_>, modes: &str);
    /// The terminal was restored.
    fn given_back(&self);
}

type PanicHook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Sync + Send>;

/// A terminal that is drawn on until this is dropped.
pub struct Terminal {
    /// Never dropped: on a closed terminal its `Drop` prints to stderr, which panics if that is closed
    /// too; `leave` does what it would do.
    inner: ManuallyDrop<ratatui::Terminal<CrosstermBackend<Stdout>>>,
    state: Arc<State>,
    previous_hook: Arc<PanicHook>,
    title: String,
    /// The image that was sent last: a terminal that was left may have dropped it.
    image: Option<Arc<str>>,
    /// Messages to write when the terminal is finally restored.
    report: Vec<String>,
}

#[derive(Default)]
struct State {
    entered: AtomicBool,
    mouse: AtomicBool,
    panicked: AtomicBool,
    /// Panics of other tasks that were not shown yet.
    elsewhere: Mutex<Vec<String>>,
    notice: Arc<Notify>,
    guard: Option<Arc<dyn TerminalGuard>>,
}

impl Terminal {
    /// Enters the terminal: raw mode, alternate screen, bracketed paste, mouse capture if requested.
    ///
    /// `guard` restores it if this process dies without doing so.
    pub fn enter(mouse: bool, guard: Option<Arc<dyn TerminalGuard>>) -> io::Result<Terminal> {
        let state = Arc::new(State { mouse: AtomicBool::new(mouse), guard, ..State::default() });
        let previous_hook = Arc::new(panic::take_hook());
        let (in_hook, chained) = (state.clone(), previous_hook.clone());
        let own = std::thread::current().id();
        panic::set_hook(Box::new(move |info| {
            // A panic in another task ends that task and those that wait for it; the console shows a message.
            if std::thread::current().id() != own {
                tracing::error!(target: "switchboard::panic", thread = std::thread::current().name().unwrap_or_default(), "{info}");
                let mut elsewhere = in_hook.elsewhere.lock();
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
        *CURRENT.lock() = Some(state.clone());
        let inner = ratatui::Terminal::new(CrosstermBackend::new(io::stdout()));
        let entered = enter(&state);
        match (inner, entered) {
            (Ok(inner), Ok(())) => {
                Ok(Terminal { inner: ManuallyDrop::new(inner), state, previous_hook, title: String::new(), image: None, report: vec![] })
            }
            (inner, entered) => {
                leave(&state);
                give_hook_back(previous_hook);
                Err(inner.err().or(entered.err()).unwrap_or_else(|| io::Error::other("the terminal cannot be used")))
            }
        }
    }

    /// Returns whether the console itself has panicked, so that the terminal was restored already.
    pub fn panicked(&self) -> bool {
        self.state.panicked.load(Ordering::SeqCst)
    }

    /// Returns the panics in other tasks since the last call, each with its location.
    pub fn panics(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.elsewhere.lock())
    }

    /// Stores a panic of another task, to be written as a report when the terminal is restored.
    pub fn report_at_the_end(&mut self, panic: String) {
        self.report.push(panic);
    }

    /// Returns the notification for a panic in another task.
    pub fn panic_notice(&self) -> Arc<Notify> {
        self.state.notice.clone()
    }

    /// Draws one frame in one synchronized update, so that it is never partly visible.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        if !self.state.entered.load(Ordering::SeqCst) {
            return Ok(());
        }
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        self.inner.draw(draw)?;
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    /// Returns the size in cells, columns first.
    pub fn size(&self) -> (u16, u16) {
        term::size().unwrap_or((80, 24))
    }

    /// Invalidates the screen, so that the next frame redraws all of it.
    ///
    /// Not ratatui's `clear`: that requests the cursor position from the terminal and waits for the reply.
    pub fn redraw(&mut self) -> io::Result<()> {
        let (width, height) = self.size();
        self.inner.resize(Rect::new(0, 0, width, height))
    }

    /// Restores the terminal temporarily: for the shell or for an editor.
    pub fn pause(&mut self) {
        leave(&self.state);
    }

    /// Enters the terminal again after [`Terminal::pause`], or after another program changed its modes.
    pub fn resume(&mut self) -> io::Result<()> {
        // A shell may have reset the modes: leave first, so that entering sets all of them.
        leave(&self.state);
        enter(&self.state)?;
        let title = std::mem::take(&mut self.title);
        self.set_title(&title)?;
        if let Some(image) = self.image.take() {
            self.send_image(image)?;
        }
        self.redraw()
    }

    /// Stops this process group until SIGCONT; returns then.
    ///
    /// The kernel may stop another thread first, and this one runs on for a moment. It therefore waits for SIGCONT: the
    /// terminal belongs to the shell until then.
    pub fn suspend(&mut self) -> io::Result<()> {
        let (wake, mut continued) = UnixStream::pair()?;
        continued.set_read_timeout(Some(CONTINUED))?;
        let registered = signal_hook::low_level::pipe::register(Signal::CONT.as_raw(), wake)?;
        self.pause();
        let stopped = process::kill_current_process_group(Signal::STOP);
        if stopped.is_ok() {
            // Times out if the time passed while the process was stopped, which is over then as well.
            let _ = continued.read_exact(&mut [0]);
        }
        signal_hook::low_level::unregister(registered);
        stopped?;
        self.resume()
    }

    /// Returns whether there is a shell to return to: under job control a job is not its session's first group.
    pub fn has_job_control() -> bool {
        process::getsid(None).is_ok_and(|session| session != process::getpgrp())
    }

    /// Copies text to the user's clipboard through the terminal (OSC 52), also over ssh.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))
    }

    /// Asks the terminal which graphics it has. Its replies are input.
    pub fn ask_graphics(&mut self) -> io::Result<()> {
        execute!(io::stdout(), Print(graphics::QUERY))
    }

    /// Sends the messages of an image that placeholders refer to.
    pub fn send_image(&mut self, messages: Arc<str>) -> io::Result<()> {
        execute!(io::stdout(), Print(&messages))?;
        self.image = Some(messages);
        Ok(())
    }

    /// Sets the window's title; control characters in it are made visible.
    pub fn set_title(&mut self, title: &str) -> io::Result<()> {
        if self.title != title {
            self.title = title.to_owned();
            let harmless = crate::domain::text::visible(title);
            execute!(io::stdout(), term::SetTitle(harmless))?;
        }
        Ok(())
    }

    /// Captures the mouse, or releases it to the terminal.
    pub fn capture_mouse(&mut self, capture: bool) -> io::Result<()> {
        self.state.mouse.store(capture, Ordering::SeqCst);
        if capture { execute!(io::stdout(), CaptureMouse) } else { execute!(io::stdout(), terminal_event::DisableMouseCapture) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave(&self.state);
        for panic in &self.report {
            // If this fails too, there is no way to report it.
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

/// Enables presses, releases, drags and the wheel with SGR coordinates, without plain motion.
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
    // Every step is tried, even if the one before failed: the terminal may be closed.
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

/// Formats the modes of a line discipline: input, output, control and local flags, VMIN and VTIME.
fn describe(modes: &Termios) -> String {
    let flags = [modes.input_modes.bits(), modes.output_modes.bits(), modes.control_modes.bits(), modes.local_modes.bits()];
    let [input, output, control, local] = flags.map(u64::from);
    let (least, time) = (modes.special_codes[SpecialCodeIndex::VMIN], modes.special_codes[SpecialCodeIndex::VTIME]);
    format!("{input} {output} {control} {local} {least} {time}")
}

/// Sets the modes from such a text.
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

/// Restores the terminal of a console that died, and says so there. Errors are ignored: they cannot be reported.
///
/// A shell may have set its own modes already; only those of the console are replaced.
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
