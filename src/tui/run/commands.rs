//! Performs the commands of the model: calls, files, the clipboard, the editor, the terminal.

use std::io;

use futures_util::FutureExt;

use super::{Console, Terminal, replied};
use crate::{
    control::{WorkspaceError, WorkspaceReply, WorkspaceRequest},
    domain::{history::HistoryPage, journal::CallRecord},
    tui::{
        ConsoleUpdate,
        files::{self, Existing, Saving},
        input::Reader,
        msg::{Cmd, Msg},
        pacer::Cause,
        rows,
        system::{self, Editing},
    },
};

/// The most background jobs that run simultaneously.
const WORKERS: usize = 2;
/// Longer texts are not sent to the terminal's clipboard, in bytes: terminals refuse them, or freeze.
const MOST_FOR_TERMINAL: usize = 1 << 20;

impl Console {
    pub(super) fn perform(&mut self, command: Cmd, terminal: &mut Terminal) -> io::Result<()> {
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
            Cmd::ReadPast(filter, before) => {
                let (asked, limit) = (filter.clone(), rows::past::PAGE);
                let reply = self.workspace.request(WorkspaceRequest::History { filter, within: None, before: Some(before), limit });
                self.others.spawn(async move { Some(Msg::Update(ConsoleUpdate::PastPage(asked, before, page_of(reply.await)))) });
                None
            }
            Cmd::ReadPastCall(call) => {
                let reply = self.workspace.request(WorkspaceRequest::Calls { last: 0, ids: vec![call.0] });
                self.others.spawn(async move { Some(Msg::Update(ConsoleUpdate::PastRow(call, record_of(reply.await)))) });
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
            Cmd::AskGraphics => terminal.ask_graphics().err().map(|e| e.to_string()),
            Cmd::SendImage(messages) => {
                terminal.send_image(messages)?;
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
            Cmd::EditFile { path, line } => self.edit(terminal, || Editing::open(&path, line))?,
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
    pub(super) fn start_jobs(&mut self) {
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

    pub(super) fn edited(&mut self, status: io::Result<std::process::ExitStatus>, terminal: &mut Terminal) -> io::Result<()> {
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

/// Returns a page of the history, or why it cannot be read.
fn page_of(reply: Result<WorkspaceReply, WorkspaceError>) -> Result<HistoryPage, String> {
    match reply {
        Ok(WorkspaceReply::History(page)) => Ok(page),
        Ok(_) => Err(WorkspaceError::Unavailable.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns a call of the history; `None` if it was deleted or cannot be read.
fn record_of(reply: Result<WorkspaceReply, WorkspaceError>) -> Option<Box<CallRecord>> {
    match reply {
        Ok(WorkspaceReply::Calls(calls)) => calls.into_iter().next().map(Box::new),
        _ => None,
    }
}
