//! How this process writes: colours, YAML instead of JSON, quiet, the pager. Set once by the composition root.

use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};

/// When output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// If it goes to a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How this process writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// When output has colours.
    pub color: ColorChoice,
    /// Whether documents are YAML instead of JSON.
    pub yaml: bool,
    /// Whether warnings, notes and progress are left out.
    pub quiet: bool,
    /// The command that shows long output, unless there is none.
    pub pager: Option<String>,
}

static PRESENTATION: OnceLock<Presentation> = OnceLock::new();

impl Presentation {
    /// Sets how this process writes. Only the first call has an effect.
    pub fn set(self) {
        let _ = PRESENTATION.set(self);
    }

    /// Returns how this process writes.
    pub fn of_process() -> Presentation {
        PRESENTATION.get().cloned().unwrap_or_default()
    }

    /// Returns whether output has colours that goes to a terminal or not. `variable` reads the environment.
    ///
    /// The order is that of the command line, NO_COLOR (no-color.org), FORCE_COLOR and CLICOLOR_FORCE, CLICOLOR (bixense.com/clicolors),
    /// TERM.
    pub fn colored(&self, terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let on = |name: &str| set(name).is_some_and(|value| value != "0");
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if set("NO_COLOR").is_some() => false,
            ColorChoice::Auto if on("FORCE_COLOR") || on("CLICOLOR_FORCE") => true,
            ColorChoice::Auto if set("CLICOLOR").as_deref() == Some("0") => false,
            ColorChoice::Auto => terminal && set("TERM").as_deref() != Some("dumb"),
        }
    }
}

/// Returns the pager that the environment names: SWITCHBOARD_PAGER, else PAGER, else less. Empty or `cat` is none.
pub fn pager(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let command = variable("SWITCHBOARD_PAGER").or_else(|| variable("PAGER")).unwrap_or_else(|| "less".into());
    Some(command.trim().to_owned()).filter(|command| !command.is_empty() && command != "cat")
}

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The heads of a table.
    Head,
    /// A good state.
    Good,
    /// A state that needs attention.
    Warn,
    /// A failure.
    Bad,
    /// Text of less importance.
    Dim,
}

impl Tone {
    /// Returns the text in the colours of the terminal's palette.
    pub fn paint(self, text: &str) -> String {
        let style = match self {
            Tone::Head => Style::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Dim => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_flag_and_then_the_environment() {
        let colored = |color: ColorChoice, terminal: bool, set: &[(&str, &str)]| {
            let variable = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            Presentation { color, ..Presentation::default() }.colored(terminal, variable)
        };
        let auto = |terminal, set: &[(&str, &str)]| colored(ColorChoice::Auto, terminal, set);
        assert!(auto(true, &[]) && !auto(false, &[]));
        assert!(!auto(true, &[("NO_COLOR", "1")]) && auto(true, &[("NO_COLOR", "")]));
        assert!(auto(false, &[("FORCE_COLOR", "1")]) && auto(false, &[("CLICOLOR_FORCE", "1")]) && !auto(false, &[("FORCE_COLOR", "0")]));
        assert!(!auto(false, &[("NO_COLOR", "1"), ("FORCE_COLOR", "1")]));
        assert!(!auto(true, &[("CLICOLOR", "0")]) && !auto(true, &[("TERM", "dumb")]));
        assert!(colored(ColorChoice::Always, false, &[("NO_COLOR", "1")]));
        assert!(!colored(ColorChoice::Never, true, &[("FORCE_COLOR", "1")]));
    }

    #[test]
    fn the_pager_is_that_of_the_environment() {
        let of = |set: &[(&str, &str)]| pager(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()));
        assert_eq!(of(&[]).as_deref(), Some("less"));
        assert_eq!(of(&[("PAGER", "more -s")]).as_deref(), Some("more -s"));
        assert_eq!(of(&[("PAGER", "more"), ("SWITCHBOARD_PAGER", "")]), None);
        assert_eq!(of(&[("PAGER", "cat")]), None);
    }
}
