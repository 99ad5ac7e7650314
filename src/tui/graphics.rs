//! Image previews: which graphics protocol the terminal has, images within limits, and their encodings. Pure.
//!
//! The terminal is asked when the first image is shown ([`QUERY`]). Until it replies, and without a protocol, an image is drawn as
//! half blocks. Used by the panes that show results.

pub mod encode;
pub mod picture;
mod sixel;

/// Asks the terminal for kitty graphics, its name and version (XTVERSION), the size of a cell (XTWINOPS 16) and its device
/// attributes (DA1), which every terminal answers: its reply comes last.
pub const QUERY: &str = "\x1b_Gi=4211,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[>q\x1b[16t\x1b[c";

/// How images are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Two pixels a cell, by its two colours.
    #[default]
    Blocks,
    /// The kitty graphics protocol, with Unicode placeholders.
    Kitty,
    /// Inline images of iTerm2 (OSC 1337).
    Iterm2,
    /// Sixel graphics.
    Sixel,
}

/// A reply of the terminal to [`QUERY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalReply {
    /// It understands kitty graphics.
    Kitty,
    /// Its name and version.
    Version(String),
    /// The width and height of a cell in pixels.
    CellSize(u16, u16),
    /// Its device attributes: whether it has sixel graphics.
    Attributes {
        /// Attribute 4.
        sixel: bool,
    },
}

/// Terminals with kitty graphics that also know placeholders, without which a dialog above an image would destroy it.
const PLACEHOLDERS: [&str; 2] = ["kitty", "ghostty"];
/// Terminals with inline images of iTerm2.
const INLINE: [&str; 2] = ["iterm2", "wezterm"];
/// Terminals whose sixel graphics leave traces.
const NO_SIXEL: [&str; 1] = ["konsole"];

/// The graphics of the terminal, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graphics {
    asked: bool,
    kitty: bool,
    version: String,
    cell: Option<(u16, u16)>,
    protocol: Protocol,
}

impl Graphics {
    /// Returns whether the terminal has to be asked, and notes that it was.
    pub fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// Takes a reply of the terminal. The last one, its attributes, determines the protocol.
    pub fn reply(&mut self, reply: TerminalReply) {
        match reply {
            TerminalReply::Kitty => self.kitty = true,
            TerminalReply::Version(version) => self.version = version.to_ascii_lowercase(),
            TerminalReply::CellSize(width, height) => self.cell = (width > 0 && height > 0).then_some((width, height)),
            TerminalReply::Attributes { sixel } => self.protocol = self.best(sixel),
        }
    }

    fn best(&self, sixel: bool) -> Protocol {
        let is = |names: &[&str]| names.iter().any(|name| self.version.starts_with(name));
        match self.cell {
            None => Protocol::Blocks,
            Some(_) if self.kitty && is(&PLACEHOLDERS) => Protocol::Kitty,
            Some(_) if is(&INLINE) => Protocol::Iterm2,
            Some(_) if sixel && !is(&NO_SIXEL) => Protocol::Sixel,
            Some(_) => Protocol::Blocks,
        }
    }

    /// Returns how images are drawn.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the width and height of a cell in pixels; a usual one where it is not known.
    pub fn cell(&self) -> (u16, u16) {
        self.cell.unwrap_or((8, 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(kitty: bool, version: &str, cell: bool, sixel: bool) -> Protocol {
        let mut graphics = Graphics::default();
        assert!(graphics.ask() && !graphics.ask(), "asked once");
        if kitty {
            graphics.reply(TerminalReply::Kitty);
        }
        graphics.reply(TerminalReply::Version(version.into()));
        if cell {
            graphics.reply(TerminalReply::CellSize(9, 18));
        }
        assert_eq!(graphics.protocol(), Protocol::Blocks, "not known before the last reply");
        graphics.reply(TerminalReply::Attributes { sixel });
        graphics.protocol()
    }

    #[test]
    fn the_terminal_chooses_the_protocol() {
        for (kitty, version, cell, sixel, wanted) in [
            (true, "kitty(0.36.1)", true, false, Protocol::Kitty),
            (true, "ghostty 1.2.0", true, false, Protocol::Kitty),
            (true, "WezTerm 20240203", true, true, Protocol::Iterm2),
            (false, "iTerm2 3.5.0", true, true, Protocol::Iterm2),
            (false, "foot(1.16.2)", true, true, Protocol::Sixel),
            (true, "Konsole 24.08", true, true, Protocol::Blocks),
            (false, "tmux 3.4", true, false, Protocol::Blocks),
            (true, "kitty(0.36.1)", false, false, Protocol::Blocks),
            (false, "", true, true, Protocol::Sixel),
        ] {
            assert_eq!(protocol(kitty, version, cell, sixel), wanted, "{version}");
        }
    }

    #[test]
    fn a_cell_without_a_size_is_not_one() {
        let mut graphics = Graphics::default();
        graphics.reply(TerminalReply::CellSize(0, 18));
        graphics.reply(TerminalReply::Attributes { sixel: true });
        assert_eq!((graphics.protocol(), graphics.cell()), (Protocol::Blocks, (8, 16)));
    }
}
