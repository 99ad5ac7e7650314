//! The output of a server: its stderr and its log messages, with follow, scroll and filter.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        event::{LogLevel, LogMessage},
        id::ServerId,
        server::{Phase, Transport},
        time::Stamp,
    },
    state::ServerView,
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        pane::DrawContext,
        widget::{
            field::{FieldEvent, TextField},
            paint::{Pen, lower, padded, pane, scroll_bar, width},
            rich_text::{Line, RichText, Role},
            window::Move,
        },
    },
};

/// The cells of the time of a line.
const TIME: u16 = 9;

/// The source of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Stderr,
    Log,
}

/// The pane's source, filter and scroll.
pub struct ServerOutput {
    source: Source,
    /// The lines as drawn last.
    text: RichText,
    /// Whether the newest line stays in view.
    follow: bool,
    field: TextField,
    editing: bool,
}

impl Default for ServerOutput {
    fn default() -> Self {
        ServerOutput { source: Source::default(), text: RichText::default(), follow: true, field: TextField::default(), editing: false }
    }
}

impl ServerOutput {
    /// Switches between stderr and log.
    pub fn switch_source(&mut self) {
        self.source = if self.source == Source::Stderr { Source::Log } else { Source::Stderr };
        self.follow = true;
    }

    /// Shows a source by the index of its tab.
    pub fn set_tab(&mut self, tab: usize) {
        if (self.source == Source::Log) != (tab == 1) {
            self.switch_source();
        }
    }

    /// Keeps the newest line in view.
    pub fn follow(&mut self) {
        self.follow = true;
    }

    /// Returns whether the view follows the newest line.
    pub fn following(&self) -> bool {
        self.follow
    }

    /// Returns whether the filter is being edited.
    pub fn editing(&self) -> bool {
        self.editing
    }

    /// Starts editing the filter.
    pub fn edit(&mut self) {
        self.editing = true;
        self.field.select_all();
    }

    /// Ends editing and keeps the filter.
    pub fn finish_edit(&mut self) {
        self.editing = false;
        self.field.deselect();
    }

    /// Ends editing and clears the filter.
    pub fn cancel_edit(&mut self) {
        self.finish_edit();
        self.field.set("");
    }

    /// Clears the filter. Returns whether there was one.
    pub fn clear(&mut self) -> bool {
        let filtered = !self.field.is_empty();
        self.field.set("");
        filtered
    }

    /// Passes a key to the filter.
    pub fn key(&mut self, key: KeyEvent) {
        if self.field.handle(key) == FieldEvent::Changed {
            self.follow = true;
        }
    }

    /// Inserts pasted text into the filter.
    pub fn paste(&mut self, text: &str) {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.field.paste(&line);
    }

    /// Scrolls. Reaching the end follows again.
    pub fn go(&mut self, to: Move) {
        self.text.go(to);
        self.follow = self.text.at_end();
    }

    /// Returns the lines that match the filter, with the restarts of the server between the lines of stderr.
    fn lines(&self, server: &ServerView, ctx: DrawContext) -> Vec<Line> {
        let needle = self.field.text().to_lowercase();
        let has = |text: &str| needle.is_empty() || text.to_lowercase().contains(&needle);
        let time = |at: Stamp| ctx.read_model.epoch.time_of_day(at)[..8].to_owned() + " ";
        match self.source {
            Source::Stderr => {
                let mut starts = server.history.iter().filter(|(_, phase)| matches!(**phase, Phase::Starting { .. })).skip(1).peekable();
                let mut lines = vec![];
                for (at, line) in &server.stderr {
                    let mut restarted = None;
                    while let Some((start, _)) = starts.next_if(|(start, _)| start <= at) {
                        restarted = Some(*start);
                    }
                    if let Some(start) = restarted.filter(|_| needle.is_empty() && !lines.is_empty()) {
                        lines.push(Line::new(time(start), Role::Muted).with("── restarted ──", Role::Warn));
                    }
                    if has(line) {
                        lines.push(Line::new(time(*at), Role::Muted).with(&**line, severity(line)).hanging(TIME));
                    }
                }
                lines
            }
            Source::Log => {
                let passes = |log: &LogMessage| has(&log.text) || has(log.level.word()) || log.logger.as_deref().is_some_and(has);
                let logs = server.logs.iter().filter(|(_, log)| passes(log));
                logs.map(|(at, log)| {
                    let logger = log.logger.as_ref().map(|logger| format!("{logger} ")).unwrap_or_default();
                    Line::new(time(*at), Role::Muted)
                        .with(format!("{:<9} ", log.level), level(&log.level))
                        .with(logger, Role::Accent)
                        .with(&*log.text, Role::Text)
                        .hanging(TIME)
                })
                .collect()
            }
        }
    }

    /// Draws the pane.
    pub fn draw(&mut self, server: Option<&ServerId>, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let style = if ctx.focused { theme.focus } else { theme.text };
        let server = server.and_then(|id| ctx.read_model.server(id));
        let title = match (self.source, server) {
            (Source::Stderr, Some(server)) => format!("stderr of {}", server.id()),
            (Source::Log, Some(server)) => format!("log of {}", server.id()),
            _ => "Output".into(),
        };
        let key = ctx.keys.key(&[Context::Lines], Action::Follow).unwrap_or_default();
        let right = if self.following() { "following".to_owned() } else { format!("paused, {key} to follow") };
        let inner = pane(buf, area, &[(&title, style)], &[(&right, theme.muted)], ctx.focused, theme);
        self.tabs(ctx, area, buf);
        let Some(server) = server else { return };
        let mut list = padded(inner);
        if self.editing || !self.field.is_empty() {
            let key = ctx.keys.key(&[Context::Global], Action::Filter).unwrap_or_default();
            Pen::new(buf, list, 0).put(&key, theme.key);
            ctx.hits.add(Rect { height: list.height.min(1), ..list }, Hit::Query);
            let field = Rect { x: list.x + 2, width: list.width.saturating_sub(2), height: list.height.min(1), ..list };
            self.field.draw(field, buf, theme.text, theme, self.editing && ctx.focused);
            list = Rect { y: list.y.saturating_add(1), height: list.height.saturating_sub(1), ..list };
        }
        self.text.set(self.lines(server, ctx));
        if self.text.is_empty() {
            Pen::new(buf, list, 0).put(self.empty_text(server), theme.muted);
            return;
        }
        self.text.resize(list);
        if self.follow {
            self.text.go(Move::Last);
        }
        self.text.draw(list, buf, theme);
        scroll_bar(buf, Rect { width: list.width + 1, ..list }, self.text.position(), theme.muted);
    }

    fn empty_text(&self, server: &ServerView) -> &'static str {
        match (self.source, self.field.is_empty()) {
            (_, false) => "No lines match. Esc clears the filter.",
            (Source::Stderr, _) if matches!(server.spec.launch, Transport::Http { .. }) => "An HTTP server has no stderr",
            (Source::Stderr, _) => "No output on stderr",
            (Source::Log, _) => "No log messages. Run \"debug logs\" in the palette to request them.",
        }
    }

    fn tabs(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let style = |source| if self.source == source { theme.focus } else { theme.muted };
        let word = |source, word: &str| if self.source == source && theme.mono { format!("[{word}]") } else { word.to_owned() };
        let (stderr, log) = (word(Source::Stderr, "stderr"), word(Source::Log, "log"));
        let border = if ctx.focused { theme.focus } else { theme.border };
        let gap = " │ ";
        let pieces = [(stderr.as_str(), style(Source::Stderr)), (gap, theme.border), (&log, style(Source::Log))];
        if let Some(place) = lower(buf, area, &pieces, border) {
            ctx.hits.add(Rect { width: width(&stderr), ..place }, Hit::Tab(0));
            ctx.hits.add(Rect { x: place.x + width(&stderr) + width(gap), width: width(&log), ..place }, Hit::Tab(1));
        }
    }
}

/// Returns the role of a stderr line, by the severity words in it.
fn severity(line: &str) -> Role {
    let has = |words: &[&str]| words.iter().any(|w| line.contains(w));
    if has(&["error", "Error", "ERROR", "panic", "fatal", "FATAL", "Traceback"]) {
        Role::Fail
    } else if has(&["warn", "Warn", "WARN"]) {
        Role::Warn
    } else {
        Role::Text
    }
}

fn level(level: &LogLevel) -> Role {
    match level {
        LogLevel::Error | LogLevel::Critical | LogLevel::Alert | LogLevel::Emergency => Role::Fail,
        LogLevel::Warning => Role::Warn,
        LogLevel::Debug => Role::Muted,
        LogLevel::Info | LogLevel::Notice | LogLevel::Unknown(_) => Role::Text,
    }
}
