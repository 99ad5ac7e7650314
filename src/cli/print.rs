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
use unicode_width::UnicodeWidthStr;

use super::json;
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
}

impl Io {
    /// Returns the streams of this process.
    pub fn real() -> Io {
        let width = crossterm::terminal::size().map_or(80, |(width, _)| if width == 0 { 80 } else { usize::from(width).max(20) });
        Io {
            stdin: Some(Box::new(io::stdin())),
            stdout: Box::new(BufWriter::new(io::stdout())),
            stderr: Box::new(io::stderr()),
            stdin_tty: io::stdin().is_terminal(),
            stdout_tty: io::stdout().is_terminal(),
            stderr_tty: io::stderr().is_terminal(),
            width,
        }
    }
}

/// The printer.
pub struct Printer {
    io: Io,
    format: Format,
    raw: bool,
    status: usize,
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
        Printer { io, format, raw, status: 0, secrets: SecretRegistry::default(), via: None }
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
        for line in self.columns(indent, rows) {
            self.line(&line)?;
        }
        Ok(())
    }

    /// Prints rows in columns on stderr.
    pub fn note_table(&mut self, indent: &str, rows: &[Vec<String>]) {
        for line in self.columns(indent, rows) {
            self.note(&line);
        }
    }

    fn columns(&self, indent: &str, rows: &[Vec<String>]) -> Vec<String> {
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
        let line = |row: &Vec<String>| {
            let mut line = indent.to_owned();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
            }
            let line = line.trim_end();
            match self.width() {
                Some(width) if line.width() > width => cut(line, width),
                _ => line.to_owned(),
            }
        };
        rows.iter().map(line).collect()
    }

    /// Flushes stdout and returns stderr. An error of the flush occurs again at the next write to stdout.
    fn err(&mut self) -> &mut dyn Write {
        self.clear_status();
        let _ = self.io.stdout.flush();
        &mut self.io.stderr
    }

    /// Prints a line on stderr.
    pub fn note(&mut self, text: &str) {
        let text = self.masked(text);
        let _ = writeln!(self.err(), "{}", visible(&text));
    }

    /// Prints a text of several lines on stderr.
    pub fn note_text(&mut self, text: &str) {
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
        self.report("", &lines);
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

    /// Replaces the status line on stderr, if that is a terminal.
    pub fn status(&mut self, text: &str) {
        if !self.io.stderr_tty {
            return;
        }
        let text = cut(&visible(&self.masked(text)), self.io.width.saturating_sub(1));
        let width = text.width();
        let blank = self.status.saturating_sub(width);
        let _ = write!(self.io.stderr, "\r{text}{:blank$}\r", "");
        let _ = self.io.stderr.flush();
        self.status = width;
    }

    /// Clears the status line.
    pub fn clear_status(&mut self) {
        if self.status > 0 {
            let _ = write!(self.io.stderr, "\r{:1$}\r", "", self.status);
            let _ = self.io.stderr.flush();
            self.status = 0;
        }
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
mod tests {
    use super::*;

    #[test]
    fn reports_line_up_and_server_text_is_harmless() {
        let lines = report_lines(&[("failed", "protocol: bad\u{1b}[2J".into()), ("data", "a\nb".into())]);
        assert_eq!(lines, ["failed  protocol: bad\\x1b[2J", "data    a", "        b"]);
    }

    #[test]
    fn lines_are_cut_to_cells() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
