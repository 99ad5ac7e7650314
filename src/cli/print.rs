//! Printer: all output of the headless commands.
//!
//! Escapes text with [`visible`] or [`visible_lines`], so callers pass it unchanged. Results go to stdout, everything else
//! to stderr; known secrets are masked in both. Errors of stdout are returned (the caller ends the command at a broken
//! pipe); errors of stderr are ignored.

use std::{
    borrow::Cow,
    io::{self, BufWriter, IsTerminal, Read, Write},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;
use unicode_width::UnicodeWidthStr;

use super::{
    json,
    pager::Pager,
    style::{Presentation, Tone},
    yaml,
};
use crate::domain::{
    call::Label,
    json::{compact, indent},
    secret::SecretRegistry,
    text::{visible, visible_lines},
};

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Human-readable text.
    #[default]
    Human,
    /// One JSON document.
    Json,
    /// One JSON document per line, as events occur.
    Jsonl,
}

/// Input and output of the program; buffers in tests.
pub struct Io {
    /// Standard input.
    pub stdin: Option<Box<dyn Read + Send>>,
    /// Standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error.
    pub stderr: Box<dyn Write + Send>,
    /// Whether stdin is a terminal.
    pub stdin_tty: bool,
    /// Whether stdout is a terminal.
    pub stdout_tty: bool,
    /// Whether stderr is a terminal.
    pub stderr_tty: bool,
    /// Width of the terminal in cells.
    pub width: usize,
    /// How it is written.
    pub style: IoStyle,
}

/// How output is written; plain by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoStyle {
    /// Whether stdout has colours.
    pub colored_out: bool,
    /// Whether stderr has colours.
    pub colored_err: bool,
    /// Whether documents are YAML instead of JSON.
    pub yaml: bool,
    /// Whether warnings, notes and progress are left out.
    pub quiet: bool,
    /// The pager.
    pub pager: Option<String>,
}

/// Time after which progress is shown: a command that is quick shows none.
const PROGRESS_DELAY: Duration = Duration::from_millis(300);

impl Io {
    /// Returns the streams of this process.
    pub fn real() -> Io {
        let presentation = Presentation::of_process();
        let colored = |terminal: bool| presentation.colored(terminal, |name| std::env::var(name).ok());
        let style = IoStyle {
            colored_out: colored(io::stdout().is_terminal()),
            colored_err: colored(io::stderr().is_terminal()),
            yaml: presentation.yaml,
            quiet: presentation.quiet,
            pager: presentation.pager.clone(),
        };
        let width = crossterm::terminal::size().map_or(80, |(width, _)| if width == 0 { 80 } else { usize::from(width).max(20) });
        Io {
            stdin: Some(Box::new(io::stdin())),
            stdout: Box::new(BufWriter::new(io::stdout())),
            stderr: Box::new(io::stderr()),
            stdin_tty: io::stdin().is_terminal(),
            stdout_tty: io::stdout().is_terminal(),
            stderr_tty: io::stderr().is_terminal(),
            width,
            style,
        }
    }

    /// Sends stdout through the pager, if it is a terminal and there is one. A pager that does not start is left out.
    pub fn paged(mut self) -> Io {
        let command = self.style.pager.take().filter(|_| self.stdout_tty);
        if let Some(pager) = command.and_then(|command| Pager::start(&command).ok()) {
            self.stdout = Box::new(BufWriter::new(pager));
        }
        self
    }
}

/// The printer.
pub struct Printer {
    io: Io,
    format: Format,
    raw: bool,
    /// Width of the progress line.
    status: usize,
    /// Progress that is not shown yet, and when it will be.
    pending: Option<(String, Instant)>,
    /// Whether progress was shown, so that more of it is shown without delay.
    progressed: bool,
    secrets: SecretRegistry,
    via: Option<Option<String>>,
}

/// A document with the engine that the command used.
#[derive(Serialize)]
struct Via<'d, T> {
    #[serde(flatten)]
    document: &'d T,
    via: &'d Option<String>,
}

impl Printer {
    /// Returns a printer to `io` in `format`; with `raw`, results are printed unchanged.
    pub fn new(io: Io, format: Format, raw: bool) -> Printer {
        Printer { io, format, raw, status: 0, pending: None, progressed: false, secrets: SecretRegistry::default(), via: None }
    }

    /// Masks these secrets in the output.
    pub fn masking(self, secrets: &SecretRegistry) -> Printer {
        Printer { secrets: secrets.clone(), ..self }
    }

    /// Adds the member `via` to documents: the name of the engine that the command uses, or null for its own.
    pub fn via(self, via: Option<Option<String>>) -> Printer {
        Printer { via, ..self }
    }

    /// Masks known secrets in a text.
    fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let redactor = self.secrets.redactor();
        if redactor.is_empty() { text.into() } else { redactor.redact(text).into() }
    }

    /// Masks known secrets in a text that is written to a file.
    pub fn masked_text(&self, text: &str) -> String {
        self.masked(text).into_owned()
    }

    /// Masks known secrets in JSON text.
    pub fn masked_json<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let redactor = self.secrets.redactor();
        if redactor.is_empty() { text.into() } else { redactor.redact_json(text).into() }
    }

    /// Returns the format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns whether results are printed unchanged.
    pub fn raw(&self) -> bool {
        self.raw
    }

    /// Returns the width of the terminal; `None` when stdout is not a terminal.
    pub fn width(&self) -> Option<usize> {
        self.io.stdout_tty.then_some(self.io.width)
    }

    /// Returns whether the user can be asked: stdin and stderr are a terminal.
    pub fn can_ask(&self) -> bool {
        self.io.stdin_tty && self.io.stderr_tty
    }

    /// Returns whether stderr is a terminal.
    pub fn stderr_is_terminal(&self) -> bool {
        self.io.stderr_tty
    }

    /// Takes stdin, once.
    pub fn take_stdin(&mut self) -> Option<Box<dyn Read + Send>> {
        self.io.stdin.take()
    }

    /// Prints one line; line breaks in the text are escaped.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.clear_status();
        let text = self.masked(text);
        writeln!(self.io.stdout, "{}", visible(&text))
    }

    /// Prints a name and its state.
    pub fn heading(&mut self, name: &str, state: &str, tone: Option<Tone>) -> io::Result<()> {
        let (name, state) = (visible(&self.masked(name)).into_owned(), visible(&self.masked(state)).into_owned());
        self.clear_status();
        match tone.filter(|_| self.io.style.colored_out) {
            Some(tone) => writeln!(self.io.stdout, "{}  {}", Tone::Head.paint(&name), tone.paint(&state)),
            None => writeln!(self.io.stdout, "{name}  {state}"),
        }
    }

    /// Prints a mark and a line.
    pub fn marked(&mut self, mark: &str, tone: Tone, text: &str) -> io::Result<()> {
        let text = visible(&self.masked(text)).into_owned();
        self.clear_status();
        let mark = if self.io.style.colored_out { tone.paint(mark) } else { mark.to_owned() };
        writeln!(self.io.stdout, "{mark}  {text}")
    }

    /// Prints a text of several lines from a server.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        if self.raw {
            return self.exact(text.as_bytes());
        }
        self.clear_status();
        let text = self.masked(text);
        let text = visible_lines(&text);
        self.io.stdout.write_all(text.as_bytes())?;
        if text.ends_with('\n') || text.is_empty() { Ok(()) } else { self.io.stdout.write_all(b"\n") }
    }

    /// Prints bytes unchanged except for known secrets.
    pub fn exact(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.clear_status();
        match self.secrets.redactor().redact_bytes(bytes) {
            Some(masked) => self.io.stdout.write_all(&masked),
            None => self.io.stdout.write_all(bytes),
        }
    }

    /// Prints a file: unchanged unless stdout is a terminal.
    pub fn file(&mut self, text: &str) -> io::Result<()> {
        if self.io.stdout_tty { self.text(text) } else { self.exact(text.as_bytes()) }
    }

    /// Prints JSON text of a server, indented; unchanged when raw.
    pub fn json_text(&mut self, text: &str) -> io::Result<()> {
        if self.raw {
            return self.exact(text.as_bytes());
        }
        self.clear_status();
        // Indent first, while line breaks occur only where JSON allows them.
        let text = json::escape_hidden(&indent(&self.masked_json(text)));
        writeln!(self.io.stdout, "{text}")
    }

    /// Prints a JSON result: for a terminal like [`Printer::json_text`], else its bytes and a line break, which is left out when
    /// raw.
    pub fn result(&mut self, text: &str) -> io::Result<()> {
        if self.io.stdout_tty && !self.raw {
            return self.json_text(text);
        }
        self.exact(text.as_bytes())?;
        if self.raw { Ok(()) } else { self.exact(b"\n") }
    }

    /// Prints documents in order, each as [`document`](Self::document) does.
    pub fn documents<T: Serialize>(&mut self, documents: impl IntoIterator<Item = T>) -> io::Result<()> {
        documents.into_iter().try_for_each(|document| self.document(&document))
    }

    /// Prints a document, indented or as one line of `--jsonl`. DEL and C1 controls are escaped, and for a terminal all
    /// control and invisible characters. With `raw` nothing is escaped.
    pub fn document<T: Serialize>(&mut self, document: &T) -> io::Result<()> {
        self.clear_status();
        let mut text = match &self.via {
            Some(via) => self.json(&Via { document, via })?,
            None => self.json(document)?,
        };
        if let Cow::Owned(masked) = self.masked_json(&text) {
            text = masked;
        }
        if self.io.style.yaml && self.format == Format::Json {
            text = yaml::to_yaml(&serde_json::from_str(&text)?);
            text.truncate(text.trim_end_matches('\n').len());
        }
        if !self.raw {
            text = if self.io.stdout_tty { json::escape_hidden(&text) } else { json::escape_controls(&text) };
        }
        text.push('\n');
        self.io.stdout.write_all(text.as_bytes())?;
        self.io.stdout.flush()
    }

    fn json(&self, document: &impl Serialize) -> serde_json::Result<String> {
        Ok(match self.format {
            Format::Jsonl => compact(&serde_json::to_string(document)?),
            _ => serde_json::to_string_pretty(document)?,
        })
    }

    /// Prints rows in columns; the last column is not padded. Cut to the width of the terminal, if stdout is one.
    pub fn table(&mut self, indent: &str, rows: &[Vec<String>]) -> io::Result<()> {
        self.toned_table(indent, rows, |_, _| None)
    }

    /// Prints a table whose first row has the heads. `tone` returns the tone of a cell by its row, from 0 below the heads, and its
    /// column.
    pub fn headed_table(&mut self, rows: &[Vec<String>], tone: impl Fn(usize, usize) -> Option<Tone>) -> io::Result<()> {
        self.toned_table("", rows, |row, column| row.checked_sub(1).map_or(Some(Tone::Head), |row| tone(row, column)))
    }

    fn toned_table(&mut self, indent: &str, rows: &[Vec<String>], tone: impl Fn(usize, usize) -> Option<Tone>) -> io::Result<()> {
        self.clear_status();
        for line in self.columns(indent, rows, self.io.style.colored_out, tone) {
            writeln!(self.io.stdout, "{line}")?;
        }
        Ok(())
    }

    /// Prints rows in columns on stderr.
    pub fn note_table(&mut self, indent: &str, rows: &[Vec<String>]) {
        if self.io.style.quiet {
            return;
        }
        for line in self.columns(indent, rows, false, |_, _| None) {
            let _ = writeln!(self.err(), "{line}");
        }
    }

    fn columns(&self, indent: &str, rows: &[Vec<String>], colored: bool, tone: impl Fn(usize, usize) -> Option<Tone>) -> Vec<String> {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| visible(&self.masked(cell)).into_owned()).collect()).collect();
        let mut widths: Vec<usize> = Vec::new();
        for row in &rows {
            for (index, cell) in row.iter().enumerate() {
                match widths.get_mut(index) {
                    Some(width) => *width = (*width).max(cell.width()),
                    None => widths.push(cell.width()),
                }
            }
        }
        let line = |(at, row): (usize, &Vec<String>)| {
            let mut line = indent.to_owned();
            let mut used = indent.width();
            let last = row.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate().take(last + 1) {
                let room = self.width().map_or(usize::MAX, |width| width.saturating_sub(used));
                let shown = if cell.width() > room { cut(cell, room) } else { cell.clone() };
                let full = cell.width() >= room && column < last || cell.width() > room;
                match tone(at, column).filter(|_| colored && !shown.is_empty()) {
                    Some(tone) => line.push_str(&tone.paint(&shown)),
                    None => line.push_str(&shown),
                }
                if full || column == last {
                    break;
                }
                let gap = width - cell.width() + 2;
                line.extend(std::iter::repeat_n(' ', gap.min(room - cell.width())));
                used += cell.width() + gap;
            }
            line.truncate(line.trim_end().len());
            line
        };
        rows.iter().enumerate().map(line).collect()
    }

    /// Flushes stdout and returns stderr. An error of the flush occurs again at the next write to stdout.
    fn err(&mut self) -> &mut dyn Write {
        self.clear_status();
        let _ = self.io.stdout.flush();
        &mut self.io.stderr
    }

    /// Prints a line on stderr.
    pub fn note(&mut self, text: &str) {
        if self.io.style.quiet {
            return;
        }
        let text = self.masked(text);
        let _ = writeln!(self.err(), "{}", visible(&text));
    }

    /// Prints a text of several lines on stderr.
    pub fn note_text(&mut self, text: &str) {
        if self.io.style.quiet {
            return;
        }
        let text = self.masked(text);
        let _ = writeln!(self.err(), "{}", visible_lines(&text).trim_end_matches('\n'));
    }

    /// Prints a report on stderr: labels in a column.
    pub fn report(&mut self, indent: &str, lines: &[(&str, String)]) {
        let lines = report_lines(&self.masked_lines(lines));
        let stderr = self.err();
        for line in lines {
            let _ = writeln!(stderr, "{indent}{line}");
        }
    }

    /// Prints the report of a failure on stderr.
    pub fn failure_report(&mut self, lines: &[(Label, String)]) {
        let lines: Vec<_> = lines.iter().map(|(label, text)| (label.word(), text.clone())).collect();
        let mut lines = report_lines(&self.masked_lines(&lines));
        let colored = self.io.style.colored_err;
        if let Some(first) = lines.first_mut().filter(|_| colored) {
            // The first label says what happened.
            let label = first.find(' ').unwrap_or(first.len());
            *first = format!("{}{}", Tone::Bad.paint(&first[..label]), &first[label..]);
        }
        let stderr = self.err();
        for line in lines {
            let _ = writeln!(stderr, "{line}");
        }
    }

    /// Prints a report on stdout, indented by two.
    pub fn report_out(&mut self, lines: &[(&str, String)]) -> io::Result<()> {
        self.clear_status();
        for line in report_lines(&self.masked_lines(lines)) {
            writeln!(self.io.stdout, "  {line}")?;
        }
        Ok(())
    }

    fn masked_lines<'l>(&self, lines: &[(&'l str, String)]) -> Vec<(&'l str, String)> {
        lines.iter().map(|(label, text)| (*label, self.masked(text).into_owned())).collect()
    }

    /// Prints a question on stderr without a line break.
    pub fn question(&mut self, text: &str) {
        let text = self.masked(text);
        let stderr = self.err();
        let _ = write!(stderr, "{} ", visible(&text));
        let _ = stderr.flush();
    }

    /// Replaces the progress line on stderr, if that is a terminal. Progress is first shown after `PROGRESS_DELAY`, when the
    /// caller draws it (see [`Printer::progress_due`]).
    pub fn status(&mut self, text: &str) {
        if !self.io.stderr_tty || self.io.style.quiet {
            return;
        }
        if !self.progressed {
            let now = Instant::now();
            let due = self.pending.take().map_or(now + PROGRESS_DELAY, |(_, due)| due);
            self.pending = Some((text.to_owned(), due));
            if now < due {
                return;
            }
        }
        self.draw_status(text);
    }

    /// Returns when the progress that waits is to be drawn with [`Printer::draw_progress`].
    pub fn progress_due(&self) -> Option<Instant> {
        self.pending.as_ref().map(|(_, due)| *due)
    }

    /// Draws the progress that waits.
    pub fn draw_progress(&mut self) {
        if let Some((text, _)) = self.pending.take() {
            self.draw_status(&text);
        }
    }

    fn draw_status(&mut self, text: &str) {
        (self.pending, self.progressed) = (None, true);
        let text = cut(&visible(&self.masked(text)), self.io.width.saturating_sub(1));
        let width = text.width();
        let blank = self.status.saturating_sub(width);
        let _ = write!(self.io.stderr, "\r{text}{:blank$}\r", "");
        let _ = self.io.stderr.flush();
        self.status = width;
    }

    /// Clears the progress line.
    pub fn clear_status(&mut self) {
        if self.status > 0 {
            let _ = write!(self.io.stderr, "\r{:1$}\r", "", self.status);
            let _ = self.io.stderr.flush();
            self.status = 0;
        }
    }

    /// Forgets progress that waits: what it was about has ended.
    pub fn end_progress(&mut self) {
        self.pending = None;
        self.clear_status();
    }

    /// Flushes the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.clear_status();
        let _ = self.io.stderr.flush();
        self.io.stdout.flush()
    }
}

fn report_lines(lines: &[(&str, String)]) -> Vec<String> {
    let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let mut out = Vec::new();
    for (label, text) in lines {
        let mut label = *label;
        for part in visible_lines(text).split('\n') {
            out.push(format!("{label:width$}  {part}").trim_end().to_owned());
            label = "";
        }
    }
    out
}

/// Cuts `text` at its end to `width` cells.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if out.width() + unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) + 1 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// Returns milliseconds with microsecond precision, for JSON.
pub fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
