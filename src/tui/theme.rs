//! Themes: colours by role. Named terminal colours by default, so that the user's palette decides.
//!
//! State is never shown by colour alone: next to the colour there is a glyph or a word.

use std::str::FromStr;

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};
use serde::Deserialize;

/// A style for each role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Theme {
    /// The background of the screen; the terminal's own if it is [`Color::Reset`].
    pub background: Color,
    /// Ordinary text.
    pub text: Style,
    /// Less important text: units, hints, descriptions.
    pub muted: Style,
    /// Names and headings worth finding.
    pub accent: Style,
    /// Good outcomes and states.
    pub ok: Style,
    /// Warnings.
    pub warn: Style,
    /// Failures.
    pub fail: Style,
    /// Things in progress.
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
    /// Whether this theme has no colours, so that modifiers must distinguish everything.
    pub mono: bool,
}

/// The names of the built-in themes.
pub const THEMES: [&str; 5] = ["ansi", "dark", "light", "contrast", "mono"];

impl Theme {
    /// Returns the built-in theme with this name.
    pub fn named(name: &str) -> Option<Theme> {
        Some(match name {
            "ansi" => Theme::ansi(),
            "dark" => Theme::dark(),
            "light" => Theme::light(),
            "contrast" => Theme::contrast(),
            "mono" => Theme::mono(),
            _ => return None,
        })
    }

    /// Returns the default: named colours on the terminal's own background.
    pub fn ansi() -> Theme {
        // Text over a faint border is not faint.
        let plain = Style::new().remove_modifier(Modifier::DIM);
        let faint = Style::new().fg(Color::Reset).add_modifier(Modifier::DIM);
        Theme {
            background: Color::Reset,
            text: plain,
            // Faint, not colour 8: in some palettes that is the background.
            muted: faint,
            accent: plain.fg(Color::Cyan),
            ok: plain.fg(Color::Green),
            warn: plain.fg(Color::Yellow),
            fail: plain.fg(Color::Red),
            running: plain.fg(Color::Blue),
            key: plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            border: faint,
            focus: plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            // One colour for the whole row: a reversed row of many colours is a patchwork.
            selection: plain.fg(Color::Black).bg(Color::Cyan),
            selection_idle: plain.add_modifier(Modifier::UNDERLINED),
            found: plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            json_key: plain.fg(Color::Cyan),
            json_string: plain.fg(Color::Green),
            json_number: plain.fg(Color::Yellow),
            json_word: plain.fg(Color::Magenta),
            mono: false,
        }
    }

    /// Returns the theme without colours (`NO_COLOR`): modifiers only.
    pub fn mono() -> Theme {
        let plain = Style::new();
        let (bold, dim) = (plain.add_modifier(Modifier::BOLD), plain.add_modifier(Modifier::DIM));
        Theme {
            background: Color::Reset,
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
            // Dim cells of a reversed row would be a patchwork.
            selection: plain.add_modifier(Modifier::REVERSED).remove_modifier(Modifier::DIM),
            selection_idle: plain.add_modifier(Modifier::UNDERLINED),
            found: plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            json_key: bold,
            json_string: plain,
            json_number: plain,
            json_word: plain,
            mono: true,
        }
    }

    /// Returns light on dark; see `assets/themes/dark.toml`. A test checks that the built-in files parse.
    pub fn dark() -> Theme {
        Theme::parse(DARK).unwrap_or_else(|_| Theme::ansi())
    }

    /// Returns dark on light; see `assets/themes/light.toml`.
    pub fn light() -> Theme {
        Theme::parse(LIGHT).unwrap_or_else(|_| Theme::ansi())
    }

    /// Returns high contrast; see `assets/themes/contrast.toml`.
    pub fn contrast() -> Theme {
        Theme::parse(CONTRAST).unwrap_or_else(|_| Theme::ansi())
    }

    /// Parses a theme from TOML shaped like `assets/themes/dark.toml`. Omitted roles are those
    /// of [`Theme::ansi`]. Errors name the line and the role.
    pub fn parse(toml: &str) -> Result<Theme, String> {
        let mut theme = Theme::ansi();
        let table: toml::Table = toml::from_str(toml).map_err(|error| {
            let line = error.span().and_then(|span| toml.get(..span.start)).map_or(1, |before| before.matches('\n').count() + 1);
            format!("line {line}: {}", error.message())
        })?;
        for (role, value) in table {
            let invalid = |why: String| format!("`{role}`: {why}");
            if role == "background" {
                theme.background = value
                    .as_str()
                    .ok_or_else(|| invalid("should be a colour in quotes".into()))
                    .and_then(|text| colour(text).map_err(invalid))?;
                continue;
            }
            let style = match &value {
                toml::Value::String(text) => Style::new().fg(colour(text).map_err(invalid)?),
                other => other
                    .clone()
                    .try_into::<StyleText>()
                    .map_err(|e| invalid(e.message().to_owned()))
                    .and_then(|text| text.style().map_err(invalid))?,
            };
            let known = ROLES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            let (_, place) = ROLES
                .iter()
                .find(|(name, _)| *name == role)
                .ok_or_else(|| invalid(format!("unknown role; roles are background, {known}")))?;
            *place(&mut theme) = style;
        }
        Ok(theme)
    }

    /// Fills cells drawn without a colour with the theme's background and text colour.
    pub fn ground(&self, buf: &mut Buffer) {
        let text = self.text.fg.unwrap_or(Color::Reset);
        if self.background == Color::Reset && text == Color::Reset {
            return;
        }
        for cell in &mut buf.content {
            if cell.bg == Color::Reset {
                cell.bg = self.background;
            }
            if cell.fg == Color::Reset {
                cell.fg = text;
            }
        }
    }
}

const DARK: &str = include_str!("../../assets/themes/dark.toml");
const LIGHT: &str = include_str!("../../assets/themes/light.toml");
const CONTRAST: &str = include_str!("../../assets/themes/contrast.toml");

type RoleField = fn(&mut Theme) -> &mut Style;

/// The roles of a theme file, by name.
const ROLES: [(&str, RoleField); 17] = [
    ("text", |t| &mut t.text),
    ("muted", |t| &mut t.muted),
    ("accent", |t| &mut t.accent),
    ("ok", |t| &mut t.ok),
    ("warn", |t| &mut t.warn),
    ("fail", |t| &mut t.fail),
    ("running", |t| &mut t.running),
    ("key", |t| &mut t.key),
    ("border", |t| &mut t.border),
    ("focus", |t| &mut t.focus),
    ("selection", |t| &mut t.selection),
    ("selection_idle", |t| &mut t.selection_idle),
    ("found", |t| &mut t.found),
    ("json_key", |t| &mut t.json_key),
    ("json_string", |t| &mut t.json_string),
    ("json_number", |t| &mut t.json_number),
    ("json_word", |t| &mut t.json_word),
];

/// A role as a table in a theme file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StyleText {
    fg: Option<String>,
    bg: Option<String>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    reversed: bool,
}

impl StyleText {
    fn style(&self) -> Result<Style, String> {
        let mut style = Style::new();
        style.fg = self.fg.as_deref().map(colour).transpose()?;
        style.bg = self.bg.as_deref().map(colour).transpose()?;
        let flags = [
            (self.bold, Modifier::BOLD),
            (self.dim, Modifier::DIM),
            (self.italic, Modifier::ITALIC),
            (self.underline, Modifier::UNDERLINED),
            (self.reversed, Modifier::REVERSED),
        ];
        for (_, modifier) in flags.into_iter().filter(|(on, _)| *on) {
            style = style.add_modifier(modifier);
        }
        Ok(style)
    }
}

fn colour(text: &str) -> Result<Color, String> {
    Color::from_str(text).map_err(|_| format!("{text:?} is not a colour; write \"#rrggbb\" or a name such as \"lightblue\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the relative luminance of an sRGB colour (WCAG 2.1).
    fn luminance(colour: Color) -> f64 {
        let Color::Rgb(r, g, b) = colour else { panic!("{colour:?} is not a true colour") };
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }

    /// Returns the contrast ratio (WCAG 2.1).
    fn contrast(one: Color, other: Color) -> f64 {
        let (a, b) = (luminance(one), luminance(other));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn the_ratio_matches_the_standard() {
        assert!((contrast(Color::Rgb(0, 0, 0), Color::Rgb(255, 255, 255)) - 21.0).abs() < 0.001);
        assert!((contrast(Color::Rgb(0x77, 0x77, 0x77), Color::Rgb(255, 255, 255)) - 4.478).abs() < 0.01);
    }

    #[test]
    fn built_in_themes_parse_and_have_every_role() {
        for text in [DARK, LIGHT, CONTRAST] {
            let table: toml::Table = toml::from_str(text).unwrap();
            Theme::parse(text).unwrap();
            for (role, _) in ROLES {
                assert!(table.contains_key(role), "{role}");
            }
        }
    }

    #[test]
    fn text_is_readable_on_its_background() {
        for (name, mut theme, text, quiet) in
            [("dark", Theme::dark(), 4.5, 4.5), ("light", Theme::light(), 4.5, 4.5), ("contrast", Theme::contrast(), 7.0, 7.0)]
        {
            for (role, place) in ROLES {
                let style = *place(&mut theme);
                let ground = style.bg.unwrap_or(theme.background);
                let least = match role {
                    "muted" => quiet,
                    // A line that only separates panes; the focused one is `focus`.
                    "border" => 1.4,
                    _ => text,
                };
                let ratio = contrast(style.fg.unwrap(), ground);
                assert!(ratio >= least, "{name}: {role} has only {ratio:.2}");
            }
        }
    }

    #[test]
    fn states_differ_by_more_than_shades() {
        for theme in [Theme::dark(), Theme::light(), Theme::contrast()] {
            let states = [theme.ok.fg, theme.warn.fg, theme.fail.fg, theme.running.fg, theme.muted.fg];
            for (i, one) in states.iter().enumerate() {
                assert!(states[i + 1..].iter().all(|other| other != one));
            }
        }
    }

    #[test]
    fn a_custom_theme_reports_its_errors() {
        let theme = Theme::parse("fail = { fg = \"#ff0000\", bold = true }\ntext = \"white\"").unwrap();
        assert_eq!(theme.fail, Style::new().fg(Color::Rgb(255, 0, 0)).add_modifier(Modifier::BOLD));
        assert_eq!(theme.ok, Theme::ansi().ok);
        for (text, part) in [
            ("fial = \"red\"", "unknown role"),
            ("ok = \"grean\"", "not a colour"),
            ("ok = 3", "ok"),
            ("\nok = ", "line 2"),
            ("ok = { fog = \"red\" }", "fog"),
        ] {
            let why = Theme::parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
