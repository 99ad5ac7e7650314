//! Preferences of the console: theme, key bindings and confirmations from its settings.

use crate::domain::{
    config_error::ConfigError,
    workspace::{ConsoleSettings, KeySetting, ThemeSetting},
};

use super::{Preferences, keymap::Keymap, theme::Theme};

/// Returns the preferences that the settings describe. Fails with all errors.
pub fn preferences(settings: &ConsoleSettings) -> Result<Preferences, Vec<ConfigError>> {
    match (theme(&settings.theme), keymap(&settings.keys)) {
        (Ok(theme), Ok(keymap)) => Ok(Preferences { theme, keymap, confirm: settings.confirm }),
        (theme, keymap) => Err(theme.err().into_iter().chain(keymap.err().into_iter().flatten()).collect()),
    }
}

/// Returns the theme. `NO_COLOR` (no-color.org) overrides everything.
///
/// Fails when the user's theme file is unreadable or invalid.
fn theme(setting: &ThemeSetting) -> Result<Theme, ConfigError> {
    if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) {
        return Ok(Theme::mono());
    }
    match setting {
        ThemeSetting::Mono => Ok(Theme::mono()),
        ThemeSetting::Ansi => Ok(Theme::ansi()),
        ThemeSetting::Dark => Ok(Theme::dark()),
        ThemeSetting::Light => Ok(Theme::light()),
        ThemeSetting::Contrast => Ok(Theme::contrast()),
        ThemeSetting::File { path, text } => {
            let wrong = |why: String| {
                ConfigError::new(why).in_file(path).hint("use a built-in one: \"ansi\", \"dark\", \"light\", \"contrast\" and \"mono\"")
            };
            match text {
                Ok(text) => Theme::parse(text).map_err(wrong),
                Err(why) => Err(wrong(format!("the theme {why}"))),
            }
        }
    }
}

/// Returns the built-in key bindings with the user's over them.
///
/// Fails with all errors: unknown contexts and actions, invalid keys, and sequences that another binding makes
/// unreachable.
fn keymap(keys: &[KeySetting]) -> Result<Keymap, Vec<ConfigError>> {
    let mut map = Keymap::built_in();
    let mut errors = vec![];
    for key in keys {
        if let Err((message, hint)) = map.bind(&key.context, &key.keys, &key.action) {
            errors.push(ConfigError { message, ..key.place.clone() }.hint(hint));
        }
    }
    if errors.is_empty() {
        for conflict in map.unreachable() {
            let place = keys.iter().rev().find(|key| conflict.contains(&format!("[{}]", key.context)));
            let place = place.map(|key| key.place.clone()).unwrap_or_default();
            errors.push(ConfigError { message: conflict, ..place }.hint("unbind one of the two with \"none\""));
        }
    }
    if errors.is_empty() { Ok(map) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::{action::Action, keymap::Context};

    fn with(keys: &[(&str, &str, &str)]) -> Vec<KeySetting> {
        let keys = keys.iter().enumerate().map(|(line, (context, keys, action))| KeySetting {
            context: (*context).into(),
            keys: (*keys).into(),
            action: (*action).into(),
            place: ConfigError { line: Some(line as u32 + 1), ..ConfigError::default() },
        });
        keys.collect()
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
