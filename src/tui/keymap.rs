//! The key map: contexts of bindings, read from `assets/keymap.toml` with the user's table on top.
//!
//! Pure. The model looks keys up; help, footer and palette ask which key an action has.

use std::{collections::HashMap, str::FromStr};

use crokey::{KeyCombination, KeyCombinationFormat, OneToThree};
use crossterm::event::{KeyCode, KeyModifiers};
use serde::Deserialize;

use super::action::Action;

/// The built-in bindings.
const BUILT_IN: &str = include_str!("../../assets/keymap.toml");

macro_rules! contexts {
    ($($variant:ident $name:literal $doc:literal;)*) => {
        /// Where a binding applies.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Context { $(#[doc = $doc] $variant,)* }

        impl Context {
            /// All contexts.
            pub const ALL: &[Context] = &[$(Context::$variant,)*];

            /// Returns its name in keymaps.
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
    Global "global" "Everywhere except in fields and dialogs.";
    List "list" "In every pane with a cursor.";
    Servers "servers" "The tree of servers.";
    Info "info" "The server pane.";
    Call "call" "The call pane while no field is being edited.";
    Form "form" "A form while no field is being edited.";
    Text "text" "A field of the call pane that is being edited.";
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
    Input "input" "The input of a workflow while no field is being edited.";
    InputText "input-text" "A field of a workflow's input that is being edited.";
    Grid "grid" "A result shown as a table.";
    Describe "describe" "The description of a tool, a server, a workflow.";
    Help "help" "The help overlay.";
    Palette "palette" "The palette.";
    Confirm "confirm" "A confirmation.";
    Inbox "inbox" "The inbox while no field is being edited.";
    InboxText "inbox-text" "A field of the inbox that is being edited.";
    Approval "approval" "The approval of a project's file.";
    Notices "notices" "Past notifications.";
    Welcome "welcome" "The welcome.";
    WelcomeText "welcome-text" "The field of the welcome.";
    Entry "entry" "A prompt: a search text, a path, a number.";
    Menu "menu" "A menu.";
    Burst "burst" "A running burst, and its summary.";
    Watch "watch" "A call that is sent at an interval.";
    LongText "long-text" "The multi-line editor of a field.";
}

/// The meaning of a key or of a sequence so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This action.
    Action(Action),
    /// The start of a longer sequence.
    Pending,
    /// No action.
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
    /// Returns the built-in key map; a test checks that it parses.
    pub fn built_in() -> Keymap {
        Keymap::default().overlay(BUILT_IN).unwrap_or_default()
    }

    /// Applies a user's table (TOML, shaped like `assets/keymap.toml`) on top of this key map.
    ///
    /// A key bound there loses its previous action in that context; `run = "none"` only frees it. All errors are returned
    /// together, each with context and key; conflicts within the result are errors.
    pub fn overlay(mut self, toml: &str) -> Result<Keymap, Vec<String>> {
        let tables: HashMap<String, Vec<Entry>> =
            toml::from_str(toml).map_err(|error| vec![format!("the keymap cannot be read: {error}")])?;
        let mut problems = Vec::new();
        for (name, entries) in tables {
            let Some(context) = Context::ALL.iter().copied().find(|c| c.name() == name) else {
                let known = Context::ALL.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
                problems.push(format!("keymap: unknown context {name:?}; contexts are {known}"));
                continue;
            };
            for entry in entries {
                self.add(context, &entry, &mut problems);
            }
        }
        problems.extend(self.conflicts());
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// Binds a key or sequence in a context; `none` frees it. The names come from the user: an
    /// error is a message and a hint.
    pub fn bind(&mut self, context: &str, keys: &str, action: &str) -> Result<(), (String, String)> {
        let list = |names: Vec<&'static str>| names.join(", ");
        let Some(found) = Context::ALL.iter().copied().find(|c| c.name() == context) else {
            let known = list(Context::ALL.iter().map(|c| c.name()).collect());
            return Err((format!("unknown context {context:?}"), format!("the contexts are {known}")));
        };
        let meaning = Action::from_name(action);
        if meaning.is_none() && action != "none" {
            let hint = did_you_mean(action).unwrap_or_else(|| format!("none, {}", list(Action::ALL.iter().map(|a| a.name()).collect())));
            return Err((format!("unknown action {action:?}"), hint));
        }
        let keys = parse_keys(keys).map_err(|why| {
            (
                format!("{keys:?} is not a key: {why}"),
                "write \"ctrl-q\", \"G\", \"f5\", \"alt-enter\", or \"g g\" for a sequence".to_owned(),
            )
        })?;
        let bindings = self.contexts.entry(found).or_default();
        bindings.retain(|b| b.keys != keys);
        if let Some(action) = meaning {
            // The user's keys are shown first, before the built-in keys of the same action.
            let at = bindings.iter().position(|b| b.action == action).unwrap_or(bindings.len());
            bindings.insert(at, Binding { keys, action });
        }
        Ok(())
    }

    /// Returns a message for each sequence of a context that can never be completed.
    pub fn unreachable(&self) -> Vec<String> {
        self.conflicts()
    }

    fn add(&mut self, context: Context, entry: &Entry, problems: &mut Vec<String>) {
        let action = Action::from_name(&entry.run);
        if action.is_none() && entry.run != "none" {
            let hint = did_you_mean(&entry.run).map(|hint| format!("; {hint}")).unwrap_or_default();
            problems.push(format!("keymap: [{}] unknown action {:?}{hint}", context.name(), entry.run));
            return;
        }
        let bindings = self.contexts.entry(context).or_default();
        for text in &entry.keys {
            match parse_keys(text) {
                Ok(keys) => {
                    bindings.retain(|b| b.keys != keys);
                    bindings.extend(action.map(|action| Binding { keys, action }));
                }
                Err(why) => problems.push(format!("keymap: [{}] {text:?} is not a key: {why}", context.name())),
            }
        }
    }

    /// Returns sequences that can never be completed, because a shorter one in the same context is bound.
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

    /// Looks `keys` up in `contexts`, in this order.
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

    /// Returns the bindings of a context in order: the first key of each action as shown, and the action.
    pub fn hints(&self, context: Context) -> Vec<(String, Action)> {
        let mut hints: Vec<(String, Action)> = Vec::new();
        for binding in self.contexts.get(&context).into_iter().flatten() {
            if !hints.iter().any(|(_, action)| *action == binding.action) {
                hints.push((show(&binding.keys), binding.action));
            }
        }
        hints
    }

    /// Returns what may follow an unfinished sequence: the rest of the keys as shown, and the action.
    pub fn continuations(&self, contexts: &[Context], keys: &[KeyCombination]) -> Vec<(String, Action)> {
        let bindings = contexts.iter().filter_map(|context| self.contexts.get(context)).flatten();
        let longer = bindings.filter(|binding| binding.keys.len() > keys.len() && binding.keys.starts_with(keys));
        longer.map(|binding| (show(&binding.keys[keys.len()..]), binding.action)).collect()
    }

    /// Returns all keys of an action in a context, as shown.
    pub fn keys_of(&self, context: Context, action: Action) -> Vec<String> {
        self.contexts.get(&context).into_iter().flatten().filter(|b| b.action == action).map(|b| show(&b.keys)).collect()
    }

    /// Returns the keys that run an action in these contexts: its first ones that no nearer context binds to another action.
    pub fn pressed(&self, contexts: &[Context], action: Action) -> Option<&[KeyCombination]> {
        let bindings = contexts.iter().filter_map(|context| self.contexts.get(context)).flatten();
        let mut keys = bindings.filter(|binding| binding.action == action).map(|binding| binding.keys.as_slice());
        keys.find(|keys| self.lookup(contexts, keys) == Lookup::Action(action))
    }

    /// Returns the first key of an action in the first of these contexts that has one.
    pub fn key(&self, contexts: &[Context], action: Action) -> Option<String> {
        contexts.iter().find_map(|c| self.keys_of(*c, action).into_iter().next())
    }
}

/// Returns a hint with the names that a user may have meant by the unknown action `name`.
fn did_you_mean(name: &str) -> Option<String> {
    let renamed = Action::RENAMED.iter().find(|(old, _)| *old == name).map(|(_, action)| action.name());
    let near = Action::ALL.iter().map(|action| action.name()).filter(|known| known.contains(name) || name.starts_with(known));
    let names: Vec<&str> = match renamed {
        Some(new) => vec![new],
        None => near.collect(),
    };
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}

fn parse_keys(text: &str) -> Result<Vec<KeyCombination>, String> {
    let keys = text.split_whitespace().map(parse_key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err("it is empty".into()) } else { Ok(keys) }
}

/// Parses a key. crokey reads `G` as `g`: here, an upper-case letter means Shift.
fn parse_key(text: &str) -> Result<KeyCombination, String> {
    let (modifiers, last) = match text.rfind('-') {
        Some(at) if at + 1 < text.len() => text.split_at(at + 1),
        _ => ("", text),
    };
    let upper = last.len() == 1 && last.chars().all(|c| c.is_ascii_uppercase());
    let text = if upper { format!("{modifiers}shift-{last}") } else { text.to_owned() };
    KeyCombination::from_str(&text).map(KeyCombination::normalized).map_err(|e| e.to_string())
}

/// Formats a key or a sequence: `⏎`, `Ctrl-p`, `G`, `g g`.
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
            other => match (other.strip_suffix("-Up"), other.strip_suffix("-Down")) {
                (Some(modifiers), _) => format!("{modifiers}-↑"),
                (_, Some(modifiers)) => format!("{modifiers}-↓"),
                _ => other.to_owned(),
            },
        })
        .collect::<Vec<_>>()
        .join(" ")
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
    fn an_unfinished_sequence_has_continuations() {
        let map = Keymap::built_in();
        let b = key(KeyCode::Char('b'), KeyModifiers::NONE);
        let next = map.continuations(&[Context::Health, Context::List, Context::Global], &[b]);
        assert!(next.contains(&("o".to_owned(), Action::BreakerHoldOpen)) && next.contains(&("b".to_owned(), Action::Breakers)));
        assert!(map.continuations(&[Context::List], &[b]).is_empty());
        assert_eq!(map.keys_of(Context::Result, Action::FormResult), ["Alt-↑", "Alt-↓"]);
    }

    #[test]
    fn a_users_table_overrides_the_built_in_one() {
        let map = Keymap::built_in()
            .overlay("global = [{ keys = [\"q\"], run = \"none\" }, { keys = [\"Q\", \"ctrl-q\"], run = \"quit\" }]")
            .unwrap();
        let quit = |c, m| map.lookup(&[Context::Global], &[key(KeyCode::Char(c), m)]);
        assert_eq!(quit('q', KeyModifiers::NONE), Lookup::Nothing);
        assert_eq!(quit('Q', KeyModifiers::SHIFT), Lookup::Action(Action::Quit));
        assert_eq!(quit('q', KeyModifiers::CONTROL), Lookup::Action(Action::Quit));
    }

    #[test]
    fn an_old_action_name_is_refused_with_its_new_name() {
        for (old, action) in Action::RENAMED {
            assert_eq!(Action::from_name(old), None);
            let (_, hint) = Keymap::built_in().bind("global", "f9", old).unwrap_err();
            assert_eq!(hint, format!("did you mean {}?", action.name()));
        }
    }

    #[test]
    fn all_mistakes_are_reported_together() {
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
