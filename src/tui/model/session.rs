//! The session: what every view and dialog reads (the read model, the time, the colours, the keys), and the hit map that they
//! record into. Owned by the model.

use crate::{
    domain::{time::Stamp, workspace::Environments},
    state::ConsoleState,
    tui::{graphics::Graphics, hits::HitMap, keymap::Keymap, pane::DrawContext, state_mirror::StateMirror, theme::Theme},
};

/// The state that views and dialogs share.
pub struct Session {
    /// The read model as of the last event.
    pub mirror: StateMirror,
    /// Now, on the engine's clock.
    pub now: Stamp,
    /// Animation steps so far.
    pub tick: u64,
    /// The colours.
    pub theme: Theme,
    /// The keys.
    pub keymap: Keymap,
    /// The configuration's name.
    pub title: String,
    /// The environments of the configuration.
    pub environments: Environments,
    /// What the last frame shows where.
    pub hits: HitMap,
    /// The graphics of the terminal.
    pub graphics: Graphics,
    /// Whether a dialog or a message lies above the panes.
    pub covered: bool,
}

impl Session {
    /// Returns the read model.
    pub fn read_model(&self) -> &ConsoleState {
        &self.mirror.read_model
    }

    /// Returns the time, or that of the last event if it is later.
    pub fn time(&self) -> Stamp {
        self.now.max(self.mirror.last)
    }

    /// Returns what a pane or a dialog needs to draw, with or without the focus.
    pub fn context(&self, focused: bool) -> DrawContext<'_> {
        DrawContext {
            read_model: self.read_model(),
            theme: &self.theme,
            keys: &self.keymap,
            hits: &self.hits,
            now: self.time(),
            tick: self.tick,
            focused,
            graphics: &self.graphics,
            covered: self.covered,
        }
    }
}
