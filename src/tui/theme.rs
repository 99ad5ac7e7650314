//! Colour as a role. Named terminal colours by default, so that the user's palette decides.
//!
//! State is never told by colour alone: whoever uses a role puts a glyph or a word beside it.

use ratatui::style::{Color, Modifier, Style};

/// A style for each role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Theme {
    /// Ordinary text.
    pub text: Style,
    /// Less important text: units, hints, descriptions.
    pub muted: Style,
    /// Names and headings worth finding.
    pub accent: Style,
    /// Good outcomes and states.
    pub ok: Style,
    /// Something to look at.
    pub warn: Style,
    /// Failures.
    pub fail: Style,
    /// Things under way.
    pub running: Style,
    /// A key that can be pressed, in the footer and in help.
    pub key: Style,
    /// The border of a pane without focus.
    pub border: Style,
    /// The border and title of the pane with focus.
    pub focus: Style,
    /// The row under the cursor in the pane with focus.
    pub selection: Style,
    /// The row under the cursor in a pane without focus.
    pub selection_idle: Style,
    /// A match of a search or a filter.
    pub found: Style,
    /// JSON keys.
    pub json_key: Style,
    /// JSON strings.
    pub json_string: Style,
    /// JSON numbers.
    pub json_number: Style,
    /// JSON `true`, `false` and `null`.
    pub json_word: Style,
    /// Whether this theme has no colours, so that modifiers must tell everything.
    pub mono: bool,
}

impl Theme {
    /// The default: named colours on the terminal's own background.
    pub fn ansi() -> Theme {
        let plain = Style::new();
        Theme {
            text: plain,
            muted: plain.fg(Color::DarkGray),
            accent: plain.fg(Color::Cyan),
            ok: plain.fg(Color::Green),
            warn: plain.fg(Color::Yellow),
            fail: plain.fg(Color::Red),
            running: plain.fg(Color::Blue),
            key: plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            border: plain.fg(Color::DarkGray),
            focus: plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            // One colour for the whole row: a reversed row of many colours is a patchwork.
            selection: plain.fg(Color::Black).bg(Color::Cyan),
            selection_idle: plain.fg(Color::White).bg(Color::DarkGray),
            found: plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            json_key: plain.fg(Color::Cyan),
            json_string: plain.fg(Color::Green),
            json_number: plain.fg(Color::Yellow),
            json_word: plain.fg(Color::Magenta),
            mono: false,
        }
    }

    /// No colours at all (`NO_COLOR`): modifiers only.
    pub fn mono() -> Theme {
        let plain = Style::new();
        let (bold, dim) = (plain.add_modifier(Modifier::BOLD), plain.add_modifier(Modifier::DIM));
        Theme {
            text: plain,
            muted: dim,
            accent: bold,
            ok: plain,
            warn: bold,
            fail: bold,
            running: plain,
            key: bold,
            border: dim,
            focus: bold,
            selection: plain.add_modifier(Modifier::REVERSED),
            selection_idle: plain.add_modifier(Modifier::UNDERLINED),
            found: plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            json_key: bold,
            json_string: plain,
            json_number: plain,
            json_word: plain,
            mono: true,
        }
    }
}
