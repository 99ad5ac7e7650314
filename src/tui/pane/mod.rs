//! The panes: plain structs that own cursor and scroll and draw the read model. They do not depend on the engine.

pub mod activity;
pub mod attempts;
pub mod banner;
pub mod breaker;
pub mod call;
pub mod columns;
pub mod detail;
pub mod filter_line;
pub mod filtered_rows;
pub mod health;
pub mod info;
pub mod replicas;
pub mod row_detail;
pub mod servers;
pub mod table;
pub mod text_view;
pub mod timeline;
pub mod traffic;
pub mod workflows;

use ratatui::style::Style;

use crate::{
    domain::{call::Outcome, server::Phase, time::Stamp},
    state::{ConsoleState, ServerView},
};

use super::{
    action::Action,
    graphics::Graphics,
    hits::{Hit, HitMap},
    keymap::Keymap,
    theme::Theme,
    widget::paint::Pen,
};

/// The context that every pane needs to draw.
#[derive(Clone, Copy)]
pub struct DrawContext<'a> {
    /// The read model.
    pub read_model: &'a ConsoleState,
    /// The colours.
    pub theme: &'a Theme,
    /// The keymap, for hints.
    pub keys: &'a Keymap,
    /// Records what is drawn where.
    pub hits: &'a HitMap,
    /// The current time of the engine's clock.
    pub now: Stamp,
    /// The animation counter. Increases while something moves.
    pub tick: u64,
    /// Whether the pane has the focus.
    pub focused: bool,
    /// The graphics of the terminal.
    pub graphics: &'a Graphics,
    /// Whether something lies above the panes, so that an image of pixels would be damaged.
    pub covered: bool,
}

impl DrawContext<'_> {
    /// Returns the style of the row under the cursor.
    pub fn selection(&self) -> Style {
        if self.focused { self.theme.selection } else { self.theme.selection_idle }
    }

    /// Writes a key and its label, which a click presses.
    pub fn put_key(&self, pen: &mut Pen, action: Action, key: &str, label: &str) {
        let start = pen.x();
        pen.put(key, self.theme.key).put(label, self.theme.muted);
        if !key.is_empty() {
            self.hits.add(pen.since(start), Hit::Key(action));
        }
    }

    /// Returns the current frame of the spinner.
    pub fn spinner(&self) -> &'static str {
        const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
        FRAMES[(self.tick % 10) as usize]
    }
}

/// Returns the status dot of a server's phase: glyph and style.
pub fn status_dot(phase: &Phase, theme: &Theme) -> (&'static str, Style) {
    match phase {
        Phase::Idle => ("○", theme.muted),
        Phase::Starting { .. } => ("◌", theme.running),
        Phase::Ready => ("●", theme.ok),
        Phase::Degraded { .. } => ("◐", theme.warn),
        Phase::Reconnecting { .. } => ("◌", theme.warn),
        Phase::Failed { .. } => ("✕", theme.fail),
        Phase::NeedsLogin { .. } => ("?", theme.warn),
        Phase::Disabled => ("⊘", theme.muted),
    }
}

/// Formats a server's state: `starting · listing tools`, `reconnecting · attempt 2 in 1.6 s`.
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

/// Formats how long a server has been in a transient phase, or since when it has been in a stable one. The fixed time of a
/// stable phase saves redrawing an idle screen.
pub fn lasting(phase: &Phase, since: Stamp, ctx: DrawContext) -> String {
    match phase.pending() {
        true => format!("for {}", crate::domain::time::short(ctx.now.since(since))),
        false => format!("since {}", &ctx.read_model.epoch.time_of_day(since)[..8]),
    }
}

/// Returns an outcome's glyph and style.
pub fn outcome_glyph(outcome: &Outcome, theme: &Theme) -> (&'static str, Style) {
    match outcome {
        Outcome::Ok { .. } => ("✓", theme.ok),
        Outcome::Interim { .. } => ("…", theme.accent),
        Outcome::ToolError { .. } => ("!", theme.warn),
        Outcome::Failed { .. } => ("✕", theme.fail),
        Outcome::Cancelled { .. } => ("–", theme.muted),
    }
}
