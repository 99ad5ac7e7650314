//! The panes: plain structs that own cursor and scroll, and draw what they are given. They know no engine.

pub mod activity;
pub mod attempts;
pub mod banner;
pub mod breaker;
pub mod call;
pub mod columns;
pub mod detail;
pub mod entry;
pub mod health;
pub mod info;
pub mod query;
pub mod replicas;
pub mod servers;
pub mod table;
pub mod text_view;
pub mod timeline;
pub mod traffic;
pub mod workflows;

use ratatui::style::Style;

use crate::domain::{
    call::Outcome,
    read_model::{ConsoleState, ServerView},
    server::Phase,
    time::Stamp,
};

use super::{keymap::Keymap, theme::Theme};

/// What every pane needs to draw.
#[derive(Clone, Copy)]
pub struct DrawContext<'a> {
    /// What is known.
    pub read_model: &'a ConsoleState,
    /// The colours.
    pub theme: &'a Theme,
    /// The keys, for hints.
    pub keys: &'a Keymap,
    /// Now, on the engine's clock.
    pub now: Stamp,
    /// Counts up while something moves.
    pub tick: u64,
    /// Whether the pane has the focus.
    pub focused: bool,
}

impl DrawContext<'_> {
    /// The style of the row under the cursor.
    pub fn selection(&self) -> Style {
        if self.focused { self.theme.selection } else { self.theme.selection_idle }
    }

    /// The spinner as it stands.
    pub fn spinner(&self) -> &'static str {
        const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
        FRAMES[(self.tick % 10) as usize]
    }
}

/// A server state's lamp: glyph and style.
pub fn lamp(phase: &Phase, theme: &Theme) -> (&'static str, Style) {
    match phase {
        Phase::Starting { .. } => ("◌", theme.running),
        Phase::Ready => ("●", theme.ok),
        Phase::Degraded { .. } => ("◐", theme.warn),
        Phase::Reconnecting { .. } => ("◌", theme.warn),
        Phase::Failed { .. } => ("✕", theme.fail),
        Phase::Disabled => ("⊘", theme.muted),
    }
}

/// A server's state in words: `starting · listing tools`, `reconnecting · attempt 2 in 1.6 s`.
pub fn state_words(server: &ServerView, now: Stamp) -> String {
    match &*server.phase {
        Phase::Starting { step } => format!("starting · {}", step.doing()),
        Phase::Degraded { reason } => format!("degraded · {reason}"),
        Phase::Reconnecting { attempt, until, .. } => {
            format!("reconnecting · attempt {attempt} in {}", crate::domain::time::short(until.since(now)))
        }
        other => other.word().to_owned(),
    }
}

/// How long a server has been in its state while that runs, or since when: a settled screen is not drawn again.
pub fn lasting(phase: &Phase, since: Stamp, look: DrawContext) -> String {
    match phase.pending() {
        true => format!("for {}", crate::domain::time::short(look.now.since(since))),
        false => format!("since {}", &look.read_model.epoch.time_of_day(since)[..8]),
    }
}

/// An outcome's glyph and style.
pub fn outcome_glyph(outcome: &Outcome, theme: &Theme) -> (&'static str, Style) {
    match outcome {
        Outcome::Ok { .. } => ("✓", theme.ok),
        Outcome::ToolError { .. } => ("!", theme.warn),
        Outcome::Failed { .. } => ("✕", theme.fail),
        Outcome::Cancelled { .. } => ("–", theme.muted),
    }
}
