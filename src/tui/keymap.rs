//! Which key does what where: contexts of bindings, read from `assets/keymap.toml` and a user's table over it.
//!
//! Pure. The model looks keys up; help, footer and palette ask which key an action has.

use std::{collections::HashMap, str::FromStr};

use crokey::{KeyCombination, KeyCombinationFormat, OneToThree};
use crossterm::event::{KeyCode, KeyModifiers};
use serde::Deserialize;

use super::action::Action;

/// The bindings that come with the program.
const BUILT_IN: &str = include_str!("../../assets/keymap.toml");

macro_rules! contexts {
    ($($variant:ident $name:literal $doc:literal;)*) => {
        /// Where a binding holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Context { $(#[doc = $doc] $variant,)* }

        impl Context {
            /// All contexts.
            pub const ALL: &[Context] = &[$(Context::$variant,)*];

            /// Its name in keymaps.
            pub fn name(self) -> &'static str {
                match self { $(Context::$variant => $name,)* }
            }

            /// Where it applies, as a sentence.
            pub fn about(self) -> &'static str {
                match self { $(Context::$variant => $doc,)* }
            }
        }
    };
}

contexts! {
    Global "global" "Everywhere but in fields and dialogs.";
    List "list" "In every pane with a cursor.";
    Servers "servers" "The tree.";
    Info "info" "The server pane.";
    Call "call" "The call pane while no field takes letters.";
    Form "form" "A form while no field takes letters.";
    Text "text" "A field of the call pane that takes letters.";
    Json "json" "The arguments as JSON.";
    Filter "filter" "The filter line of the tree.";
    Result "result" "The result pane and the detail of a call.";
    Value "value" "A value shown as a tree: a result, a frame, arguments.";
    Traffic "traffic" "The list of calls.";
    Table "table" "The traffic view.";
    Query "query" "The filter line of the traffic view and of a server's output.";
    Timeline "timeline" "The timeline.";
    Health "health" "The table of servers and tools.";
    Lines "lines" "A server's stderr and log.";
    Workflows "workflows" "The list of workflows.";
    Graph "graph" "The graph, the steps and the selected step of a workflow.";
    Input "input" "The input of a workflow while no field takes letters.";
    InputText "input-text" "A field of a workflow's input that takes letters.";
    Help "help" "The help overlay.";
    Palette "palette" "The palette.";
    Confirm "confirm" "A question of Switchboard itself.";
    Inbox "inbox" "The inbox while no field takes letters.";
    InboxText "inbox-text" "A field of the inbox that takes letters.";
    Approval "approval" "The approval of a project's file.";
    Notices "notices" "The list of notices.";
    Welcome "welcome" "The welcome.";
    WelcomeText "welcome-text" "The field of the welcome.";
    Entry "entry" "A line or two asked for: what to search for, a path, a number.";
    Menu "menu" "A menu.";
    Burst "burst" "Many calls under way, and their summary.";
    LongText "long-text" "A field's text in many lines.";
}

/// What a key, or a sequence so far, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This.
    Action(Action),
    /// The beginning of something.
    Pending,
    /// Nothing.
    Nothing,
}

/// One key or sequence and what it does.
#[derive(Clone, Debug, PartialEq)]
struct Binding {
    keys: Vec<KeyCombination>,
    action: Action,
}

/// All bindings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keymap {
    contexts: HashMap<Context, Vec<Binding>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    keys: Vec<String>,
    run: String,
}

impl Keymap {
    /// The bindings that come with the program; a test holds that they parse.
    pub fn built_in() -> Keymap {
        Keymap::default().overlay(BUILT_IN).unwrap_or_default()
    }

    /// Lays a user's table (TOML, shaped like `assets/keymap.toml`) over this one.
    ///
    /// A key bound there loses its old meaning in that context; `run = "none"` only frees it. Errors
    /// name the context and the key, all of them at once; conflicts within the result are errors.
    pub fn overlay(mut self, toml: &str) -> Result<Keymap, Vec<String>> {
        let tables: HashMap<String, Vec<Entry>> =
            toml::from_str(toml).map_err(|error| vec![format!("the keymap cannot be read: {error}")])?;
        let mut problems = Vec::new();
        for (name, entries) in tables {
            let Some(context) = Context::ALL.iter().copied().find(|c| c.name() == name) else {
                let known = Context::ALL.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
                problems.push(format!("keymap: there is no context {name:?}; contexts are {known}"));
                continue;
            };
            for entry in entries {
                self.add(context, &entry, &mut problems);
            }
        }
        problems.extend(self.conflicts());
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// Gives a key or sequence another meaning in a context; `none` frees it. The names are the user's: an
    /// error says what is wrong, and what would be right.
    pub fn bind(&mut self, context: &str, keys: &str, action: &str) -> Result<(), (String, String)> {
        let list = |names: Vec<&'static str>| names.join(", ");
        let Some(found) = Context::ALL.iter().copied().find(|c| c.name() == context) else {
            let known = list(Context::ALL.iter().map(|c| c.name()).collect());
            return Err((format!("there is no context {context:?}"), format!("the contexts are {known}")));
        };
        let meaning = Action::from_name(action);
        if meaning.is_none() && action != "none" {
            let near = Action::ALL.iter().map(|a| a.name()).filter(|name| name.contains(action) || action.starts_with(name));
            let near: Vec<&str> = near.collect();
            let hint = match near.as_slice() {
                [] => format!("none, {}", list(Action::ALL.iter().map(|a| a.name()).collect())),
                near => format!("perhaps {}", near.join(" or ")),
            };
            return Err((format!("there is no action {action:?}"), hint));
        }
        let keys = parse_keys(keys).map_err(|why| {
            (format!("{keys:?} is no key: {why}"), "write \"ctrl-q\", \"G\", \"f5\", \"alt-enter\", or \"g g\" for a sequence".to_owned())
        })?;
        let bindings = self.contexts.entry(found).or_default();
        bindings.retain(|b| b.keys != keys);
        if let Some(action) = meaning {
            // What the user chose is what is shown: before the built-in keys of the same action.
            let at = bindings.iter().position(|b| b.action == action).unwrap_or(bindings.len());
            bindings.insert(at, Binding { keys, action });
        }
        Ok(())
    }

    /// Sequences of a context that can never be finished, as sentences.
    pub fn unreachable(&self) -> Vec<String> {
        self.conflicts()
    }

    fn add(&mut self, context: Context, entry: &Entry, problems: &mut Vec<String>) {
        let action = Action::from_name(&entry.run);
        if action.is_none() && entry.run != "none" {
            problems.push(format!("keymap: [{}] there is no action {:?}", context.name(), entry.run));
            return;
        }
        let bindings = self.contexts.entry(context).or_default();
        for text in &entry.keys {
            match parse_keys(text) {
                Ok(keys) => {
                    bindings.retain(|b| b.keys != keys);
                    bindings.extend(action.map(|action| Binding { keys, action }));
                }
                Err(why) => problems.push(format!("keymap: [{}] {text:?} is no key: {why}", context.name())),
            }
        }
    }

    /// Sequences that can never be finished, since a shorter one in the same context ends them.
    fn conflicts(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (context, bindings) in &self.contexts {
            for (i, one) in bindings.iter().enumerate() {
                for other in bindings.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, b)| b) {
                    if other.keys.len() > one.keys.len() && other.keys.starts_with(&one.keys) {
                        found.push(format!(
                            "keymap: [{}] {:?} ({}) can never be reached: {:?} ({}) comes first",
                            context.name(),
                            show(&other.keys),
                            other.action.name(),
                            show(&one.keys),
                            one.action.name()
                        ));
                    }
                }
            }
        }
        found
    }

    /// What `keys` mean, looked for in `contexts` in this order.
    pub fn lookup(&self, contexts: &[Context], keys: &[KeyCombination]) -> Lookup {
        for context in contexts {
            let Some(bindings) = self.contexts.get(context) else { continue };
            if let Some(binding) = bindings.iter().find(|b| b.keys == keys) {
                return Lookup::Action(binding.action);
            }
            if bindings.iter().any(|b| b.keys.starts_with(keys)) {
                return Lookup::Pending;
            }
        }
        Lookup::Nothing
    }

    /// The bindings of a context in order: how the first key of each action is shown, and the action.
    pub fn hints(&self, context: Context) -> Vec<(String, Action)> {
        let mut hints: Vec<(String, Action)> = Vec::new();
        for binding in self.contexts.get(&context).into_iter().flatten() {
            if !hints.iter().any(|(_, action)| *action == binding.action) {
                hints.push((show(&binding.keys), binding.action));
            }
        }
        hints
    }

    /// All keys of an action in a context, as shown.
    pub fn keys_of(&self, context: Context, action: Action) -> Vec<String> {
        self.contexts.get(&context).into_iter().flatten().filter(|b| b.action == action).map(|b| show(&b.keys)).collect()
    }

    /// The first key of an action in the first of these contexts that has one.
    pub fn key(&self, contexts: &[Context], action: Action) -> Option<String> {
        contexts.iter().find_map(|c| self.keys_of(*c, action).into_iter().next())
    }
}

fn parse_keys(text: &str) -> Result<Vec<KeyCombination>, String> {
    let keys = text.split_whitespace().map(parse_key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err("it is empty".into()) } else { Ok(keys) }
}

/// crokey reads `G` as `g`: an upper-case letter says shift here.
fn parse_key(text: &str) -> Result<KeyCombination, String> {
    let (modifiers, last) = match text.rfind('-') {
        Some(at) if at + 1 < text.len() => text.split_at(at + 1),
        _ => ("", text),
    };
    let upper = last.len() == 1 && last.chars().all(|c| c.is_ascii_uppercase());
    let text = if upper { format!("{modifiers}shift-{last}") } else { text.to_owned() };
    KeyCombination::from_str(&text).map(KeyCombination::normalized).map_err(|e| e.to_string())
}

/// Shows a key or a sequence: `⏎`, `Ctrl-p`, `G`, `g g`.
pub fn show(keys: &[KeyCombination]) -> String {
    let format = KeyCombinationFormat::default().with_implicit_shift();
    keys.iter()
        .map(|key| match format.to_string(*key).as_str() {
            "Enter" => "⏎".to_owned(),
            "BackTab" => "Shift-Tab".to_owned(),
            "Up" => "↑".to_owned(),
            "Down" => "↓".to_owned(),
            "Left" => "←".to_owned(),
            "Right" => "→".to_owned(),
            "PageUp" => "PgUp".to_owned(),
            "PageDown" => "PgDn".to_owned(),
            "Hyphen" => "-".to_owned(),
            // Shift is implied by a capital letter only.
            name if key.modifiers.contains(KeyModifiers::SHIFT) && matches!(key.codes, OneToThree::One(KeyCode::F(_))) => {
                format!("Shift-{name}")
            }
            other => other.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The keys that are shown like this: what [`show`] makes, backwards. `None` when it is no key.
pub fn read_shown(text: &str) -> Option<Vec<KeyCombination>> {
    let key = |word: &str| {
        let name = match word {
            "⏎" => "enter",
            "Shift-Tab" => "backtab",
            "↑" => "up",
            "↓" => "down",
            "←" => "left",
            "→" => "right",
            "PgUp" => "pageup",
            "PgDn" => "pagedown",
            other => other,
        };
        parse_key(name).ok()
    };
    let keys: Option<Vec<KeyCombination>> = text.split_whitespace().map(key).collect();
    keys.filter(|keys| !keys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    fn key(code: KeyCode, modifiers: KeyModifiers) -> KeyCombination {
        KeyCombination::from(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn the_built_in_map_parses_without_conflicts() {
        assert_eq!(Keymap::default().overlay(BUILT_IN).err(), None);
        for context in Context::ALL {
            assert!(!Keymap::built_in().hints(*context).is_empty(), "{context:?}");
        }
    }

    #[test]
    fn every_action_is_bound_or_in_the_palette() {
        let map = Keymap::built_in();
        for action in Action::ALL {
            let bound = Context::ALL.iter().any(|c| !map.keys_of(*c, *action).is_empty());
            assert!(bound || action.in_palette(), "{action:?} cannot be reached");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        for binding in Keymap::built_in().contexts.values().flatten() {
            assert_eq!(read_shown(&show(&binding.keys)).as_ref(), Some(&binding.keys), "{}", show(&binding.keys));
        }
        assert_eq!(read_shown("database"), None);
    }

    #[test]
    fn sequences_wait_and_shift_is_a_capital() {
        let map = Keymap::built_in();
        let g = key(KeyCode::Char('g'), KeyModifiers::NONE);
        let contexts = [Context::Servers, Context::List, Context::Global];
        assert_eq!(map.lookup(&contexts, &[g]), Lookup::Pending);
        assert_eq!(map.lookup(&contexts, &[g, g]), Lookup::Action(Action::Top));
        for shifted in [key(KeyCode::Char('G'), KeyModifiers::NONE), key(KeyCode::Char('G'), KeyModifiers::SHIFT)] {
            assert_eq!(map.lookup(&contexts, &[shifted]), Lookup::Action(Action::Bottom));
        }
        assert_eq!(map.lookup(&contexts, &[key(KeyCode::BackTab, KeyModifiers::SHIFT)]), Lookup::Action(Action::PreviousPane));
        assert_eq!(map.lookup(&contexts, &[key(KeyCode::Char('?'), KeyModifiers::NONE)]), Lookup::Action(Action::Help));
        assert_eq!(map.lookup(&contexts, &[key(KeyCode::Char('%'), KeyModifiers::NONE)]), Lookup::Nothing);
    }

    #[test]
    fn a_users_table_lies_over_it() {
        let map = Keymap::built_in()
            .overlay("global = [{ keys = [\"q\"], run = \"none\" }, { keys = [\"Q\", \"ctrl-q\"], run = \"quit\" }]")
            .unwrap();
        let quit = |c, m| map.lookup(&[Context::Global], &[key(KeyCode::Char(c), m)]);
        assert_eq!(quit('q', KeyModifiers::NONE), Lookup::Nothing);
        assert_eq!(quit('Q', KeyModifiers::SHIFT), Lookup::Action(Action::Quit));
        assert_eq!(quit('q', KeyModifiers::CONTROL), Lookup::Action(Action::Quit));
    }

    #[test]
    fn mistakes_are_told_all_at_once() {
        let problems = Keymap::built_in()
            .overlay(
                "nowhere = []\nglobal = [{ keys = [\"warp-x\"], run = \"quit\" }, { keys = [\"g\"], run = \"fly\" }]\nlist = [{ keys = [\"g\"], run = \"up\" }]",
            )
            .unwrap_err();
        for part in ["nowhere", "warp-x", "fly", "never be reached"] {
            assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:?}");
        }
        assert!(Keymap::built_in().overlay("global = 3").unwrap_err()[0].contains("cannot be read"));
    }
}
