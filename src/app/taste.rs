//! The user's colours and keys: from words of the configuration to what the console understands.

use crate::{
    config::{ConfigError, Settings, ThemeName},
    tui::{keymap::Keymap, theme::Theme},
};

/// The colours. `NO_COLOR` (no-color.org) goes over everything.
///
/// Fails when the user's own theme cannot be read or understood.
pub fn theme(settings: &Settings) -> Result<Theme, ConfigError> {
    if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) {
        return Ok(Theme::mono());
    }
    match &settings.console.theme {
        ThemeName::Mono => Ok(Theme::mono()),
        ThemeName::Ansi => Ok(Theme::ansi()),
        ThemeName::Dark => Ok(Theme::dark()),
        ThemeName::Light => Ok(Theme::light()),
        ThemeName::Contrast => Ok(Theme::contrast()),
        ThemeName::File(path) => {
            let wrong = |why: String| {
                ConfigError::new(why).in_file(path).hint("the built-in ones are \"ansi\", \"dark\", \"light\", \"contrast\" and \"mono\"")
            };
            let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("the theme cannot be read: {e}")))?;
            Theme::parse(&text).map_err(wrong)
        }
    }
}

/// The built-in keys with the user's over them.
///
/// Fails with everything that is wrong: contexts and actions that are not there, words that are no
/// keys, sequences that another key ends before they are finished.
pub fn keymap(settings: &Settings) -> Result<Keymap, Vec<ConfigError>> {
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
            errors.push(ConfigError { message: conflict, ..place }.hint("free one of the two with \"none\""));
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
    fn mistakes_carry_their_line_and_a_way_out() {
        let wrong = [("globl", "a", "quit"), ("global", "a", "quit-now"), ("global", "warp-x", "quit")];
        let errors = keymap(&with(&wrong)).unwrap_err();
        assert_eq!(errors.iter().map(|e| e.line).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        assert!(errors.iter().all(|e| e.hint.is_some()), "{errors:?}");
        assert_eq!(errors[1].hint.as_deref(), Some("perhaps quit"));
        let errors = keymap(&with(&[("list", "g", "down")])).unwrap_err();
        assert!(errors[0].message.contains("never be reached") && errors[0].line == Some(1), "{errors:?}");
    }
}
