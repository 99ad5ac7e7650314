//! Preferences of the console: converts themes and key bindings of the configuration.

use crate::{
    config::{ConfigError, Loaded, Settings, ThemeName},
    files::{self, Allowed},
    tui::{Preferences, keymap::Keymap, theme::Theme},
};

/// Returns theme, key bindings and confirmations of the configuration. Fails with all errors.
pub fn preferences(loaded: &Loaded) -> Result<Preferences, Vec<ConfigError>> {
    match (theme(loaded), keymap(&loaded.settings)) {
        (Ok(theme), Ok(keymap)) => Ok(Preferences { theme, keymap, confirm: loaded.settings.console.confirm }),
        (theme, keymap) => Err(theme.err().into_iter().chain(keymap.err().into_iter().flatten()).collect()),
    }
}

/// Returns the theme. `NO_COLOR` (no-color.org) overrides everything.
///
/// Fails when the user's theme file is unreadable or invalid.
fn theme(loaded: &Loaded) -> Result<Theme, ConfigError> {
    if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) {
        return Ok(Theme::mono());
    }
    match &loaded.settings.console.theme {
        ThemeName::Mono => Ok(Theme::mono()),
        ThemeName::Ansi => Ok(Theme::ansi()),
        ThemeName::Dark => Ok(Theme::dark()),
        ThemeName::Light => Ok(Theme::light()),
        ThemeName::Contrast => Ok(Theme::contrast()),
        ThemeName::File(path) => {
            let wrong = |why: String| {
                ConfigError::new(why).in_file(path).hint("use a built-in one: \"ansi\", \"dark\", \"light\", \"contrast\" and \"mono\"")
            };
            match &loaded.theme {
                Some(text) => Theme::parse(text).map_err(wrong),
                None => {
                    let allowed = Allowed { bytes: 1 << 20, within: None };
                    let why = files::read_text(path, allowed).err().map_or_else(|| "was not there".to_owned(), |why| why.to_string());
                    Err(wrong(format!("the theme {why}")))
                }
            }
        }
    }
}

/// Returns the built-in key bindings with the user's over them.
///
/// Fails with all errors: unknown contexts and actions, invalid keys, and sequences that another binding makes
/// unreachable.
fn keymap(settings: &Settings) -> Result<Keymap, Vec<ConfigError>> {
    let mut map = Keymap::built_in();
    let mut errors = vec![];
    for key in &settings.keys {
        if let Err((message, hint)) = map.bind(&key.context, &key.keys, &key.action) {
            errors.push(ConfigError { message, ..key.place.clone() }.hint(hint));
        }
    }
    if errors.is_empty() {
        for conflict in map.unreachable() {
            let place = settings.keys.iter().rev().find(|key| conflict.contains(&format!("[{}]", key.context)));
            let place = place.map(|key| key.place.clone()).unwrap_or_default();
            errors.push(ConfigError { message: conflict, ..place }.hint("unbind one of the two with \"none\""));
        }
    }
    if errors.is_empty() { Ok(map) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::KeySetting,
        tui::{action::Action, keymap::Context},
    };

    fn with(keys: &[(&str, &str, &str)]) -> Settings {
        let keys = keys.iter().enumerate().map(|(line, (context, keys, action))| KeySetting {
            context: (*context).into(),
            keys: (*keys).into(),
            action: (*action).into(),
            place: ConfigError { line: Some(line as u32 + 1), ..ConfigError::default() },
        });
        Settings { keys: keys.collect(), ..Settings::default() }
    }

    #[test]
    fn the_users_keys_come_first_and_none_frees() {
        let map = keymap(&with(&[("global", "ctrl-q", "quit"), ("global", "q", "none")])).unwrap();
        assert_eq!(map.keys_of(Context::Global, Action::Quit), ["Ctrl-q"]);
        let map = keymap(&with(&[("global", "f10", "quit")])).unwrap();
        assert_eq!(map.key(&[Context::Global], Action::Quit).as_deref(), Some("F10"));
    }

    #[test]
    fn errors_have_a_line_and_a_hint() {
        let wrong = [("globl", "a", "quit"), ("global", "a", "quit-now"), ("global", "warp-x", "quit")];
        let errors = keymap(&with(&wrong)).unwrap_err();
        assert_eq!(errors.iter().map(|e| e.line).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        assert!(errors.iter().all(|e| e.hint.is_some()), "{errors:?}");
        assert_eq!(errors[1].hint.as_deref(), Some("did you mean quit?"));
        let errors = keymap(&with(&[("list", "g", "down")])).unwrap_err();
        assert!(errors[0].message.contains("never be reached") && errors[0].line == Some(1), "{errors:?}");
    }
}
