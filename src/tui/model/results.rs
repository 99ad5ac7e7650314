//! Actions on results: search, JSONPath, saving, opening, following links; subscriptions.

use crate::{
    control::Command,
    domain::{
        body::Body,
        call::{CallSpec, Operation, Origin},
        event::NoticeLevel,
        id::ServerId,
        time::size,
    },
    state::ConsoleState,
    tui::{
        action::Action,
        files::{extension, opens},
        msg::{Cmd, Content},
        overlay::{
            confirm::Confirm,
            menu::{Menu, MenuRow},
            text_prompt::TextPrompt,
        },
        pane::detail::Detail,
        tree::Node,
        view::ViewId,
    },
};

use super::Model;

/// How many earlier searches are remembered.
const MOST_SEARCHES: usize = 50;

/// Something of a result that can be saved or opened, with the name of its file.
enum Choice {
    /// Ask where to save it.
    Save(String, Content),
    /// Open it in another program.
    Open(String, Content),
}

/// Returns the path in a prompt.
fn path_of(prompt: &TextPrompt) -> Result<String, String> {
    let path = prompt.text(0);
    if path.trim().is_empty() { Err("Enter a path.".to_owned()) } else { Ok(path.to_owned()) }
}

impl Model {
    /// Returns the detail that is shown: the open call of a view, a call of the traffic list, or the result of the form.
    pub(super) fn shown(&self) -> &Detail {
        match &self.views.state.entry {
            Some(entry) if self.in_view() => &entry.detail,
            _ => self.console.shown(),
        }
    }

    pub(super) fn shown_mut(&mut self) -> &mut Detail {
        self.shown_parts().0
    }

    pub(super) fn shown_parts(&mut self) -> (&mut Detail, &ConsoleState) {
        let view = self.in_view();
        let detail = match &mut self.views.state.entry {
            Some(entry) if view => &mut entry.detail,
            _ => self.console.shown_mut(),
        };
        (detail, self.session.read_model())
    }

    pub(in crate::tui) fn ask_search(&mut self) {
        let earlier = if self.searches.is_empty() { "" } else { " ↑ shows earlier searches." };
        let note = format!("Case-insensitive unless you type a capital.{earlier}");
        let prompt = TextPrompt::new("Search in the result", note, &[("text", "")]).with_history(&self.searches);
        let prompt = prompt.on_change(|model, text| model.shown_mut().search(text)).on_submit(|model, prompt| {
            model.shown_mut().search(prompt.text(0));
            model.note_search(prompt.text(0).to_owned());
            Ok(vec![])
        });
        self.dialogs.push(prompt);
    }

    /// Remembers a search, each text once.
    fn note_search(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        self.searches.retain(|earlier| *earlier != text);
        self.searches.push(text);
        let surplus = self.searches.len().saturating_sub(MOST_SEARCHES);
        self.searches.drain(..surplus);
    }

    pub(super) fn ask_path(&mut self) {
        let path = self.shown().proposed_path();
        let note = "A JSONPath (RFC 9535): $.items[0], $..name, $.users[?@.age > 30]. Empty clears the filter.";
        let prompt = TextPrompt::new("Filter by JSONPath", note, &[("path", &path)]).on_submit(|model, prompt| {
            let (shown, read_model) = model.shown_parts();
            shown.filter(prompt.text(0), read_model).map(|()| vec![])
        });
        self.dialogs.push(prompt);
    }

    pub(in crate::tui) fn ask_answer_file(&mut self) {
        let note = "The text of the file becomes the answer; you can edit it before sending.";
        let prompt = TextPrompt::new("Answer from a file", note, &[("path", "")]);
        self.dialogs.push(prompt.on_submit(|_, prompt| Ok(vec![Cmd::ReadFile(path_of(prompt)?)])));
    }

    /// Asks where to save: directly if there is one thing to save, otherwise after a menu.
    pub(super) fn ask_save(&mut self) {
        let Some((body, ending)) = self.shown().to_save() else {
            self.toast(NoticeLevel::Info, "Nothing to save here.");
            return;
        };
        let id = self.export_id();
        let mut choices = self.media_choices(&id, Choice::Save);
        choices.insert(
            0,
            ("visible result".to_owned(), size(body.len() as u64), Choice::Save(format!("result-{id}.{ending}"), Content::Bytes(body))),
        );
        match choices.len() {
            1 => drop(self.take_choice(choices.remove(0).2)),
            _ => self.offer("Save", choices),
        }
    }

    /// Saves what is shown of the result under a name of its own. A file with that name is replaced only after a question.
    pub(super) fn save_now(&mut self) -> Vec<Cmd> {
        let Some((body, ending)) = self.shown().to_save() else {
            self.toast(NoticeLevel::Info, "Nothing to save here.");
            return vec![];
        };
        let path = format!("result-{}.{ending}", self.export_id());
        vec![Cmd::Save { path, content: Content::Bytes(body), overwrite: false }]
    }

    pub(super) fn open_media(&mut self) -> Vec<Cmd> {
        let id = self.export_id();
        let mut choices = self.media_choices(&id, Choice::Open);
        match choices.len() {
            0 => {
                self.toast(NoticeLevel::Info, "This result has no image or audio clip; s saves the result.");
                vec![]
            }
            1 => self.take_choice(choices.remove(0).2),
            _ => {
                self.offer("Open in another program", choices);
                vec![]
            }
        }
    }

    fn export_id(&self) -> String {
        self.shown().call().map_or_else(|| "0".into(), |call| format!("{:x}", call.0))
    }

    fn media_choices(&self, id: &str, make: fn(String, Content) -> Choice) -> Vec<(String, String, Choice)> {
        let named = self.shown().media().into_iter().enumerate().map(|(at, (kind, mime, data))| {
            let content = Content::Base64(Body::from(data));
            // We choose the name: no part of it comes from the server.
            let name = format!("{kind}-{id}-{}.{}", at + 1, extension(mime));
            let detail = format!("{} · {}", if mime.is_empty() { "type unknown" } else { mime }, size(content.len() as u64));
            (format!("{kind} {}", at + 1), detail, make(name, content))
        });
        named.collect()
    }

    fn offer(&mut self, title: &str, choices: Vec<(String, String, Choice)>) {
        let keys = ('1'..='9').chain('a'..='z');
        let rows = choices.into_iter().zip(keys);
        let rows = rows.map(|((label, detail, choice), key)| MenuRow::new(key, &label, detail, move |model| model.take_choice(choice)));
        self.dialogs.push(Menu::new(title, rows.collect()));
    }

    fn take_choice(&mut self, choice: Choice) -> Vec<Cmd> {
        match choice {
            Choice::Save(name, content) => {
                let note = format!("{}, readable by you only. Asks before it replaces a file.", size(content.len() as u64));
                let prompt = TextPrompt::new("Save", note, &[("path", &name)]);
                self.dialogs.push(prompt.on_submit(move |_, prompt| {
                    Ok(vec![Cmd::Save { path: path_of(prompt)?, content: content.clone(), overwrite: false }])
                }));
                vec![]
            }
            Choice::Open(name, content) => {
                let ending = name.rsplit('.').next().unwrap_or_default();
                if !opens(ending) {
                    self.toast(NoticeLevel::Warn, "Files of this type are not opened in other programs; s saves the file.");
                    return vec![];
                }
                vec![Cmd::OpenFile { name, content }]
            }
        }
    }

    pub(super) fn saved(&mut self, saved: Result<String, String>) {
        match saved {
            Ok(path) => self.toast(NoticeLevel::Info, format!("Saved: {path}")),
            Err(why) => self.toast(NoticeLevel::Warn, why),
        }
    }

    pub(super) fn exists(&mut self, path: String, content: Content) {
        let confirm =
            Confirm::new("Replace the file?", format!("{path} exists already."), &[(Action::No, "keep"), (Action::Yes, "replace")]);
        let save = move |_: &mut Model| vec![Cmd::Save { path, content, overwrite: true }];
        self.dialogs.push(confirm.guarded(self.session.time()).then(save));
    }

    /// Reads a resource that a result links to, and opens it.
    pub(in crate::tui) fn follow_link(&mut self, uri: String) -> Vec<Cmd> {
        let server = self.shown().call().and_then(|id| self.session.read_model().call(id)).map(|c| c.spec.operation.server().clone());
        let Some(server) = server else { return vec![] };
        // The console shows it, whichever view contains the link.
        self.views.show(ViewId::Console);
        self.followed = Some(self.next_token);
        let spec = CallSpec::new(Operation::Resource { server, uri }, Origin::Console);
        self.submit(spec, None)
    }

    /// Reads a resource that the filter found: reading changes nothing, so Enter need not be pressed twice.
    pub(in crate::tui) fn read_found(&mut self) -> Vec<Cmd> {
        let Some(node) = self.console.tree.selected().cloned() else { return vec![] };
        self.console.call.show(Some(&node), self.session.mirror.read_model.as_ref());
        self.send_call()
    }

    /// Returns the selected resource: the one under the cursor of the tree.
    pub(super) fn meant_resource(&self) -> Option<(ServerId, String)> {
        match self.console.tree.selected() {
            Some(Node::Resource(server, uri)) => Some((server.clone(), uri.to_string())),
            _ => None,
        }
    }

    pub(super) fn subscribe(&mut self) -> Vec<Cmd> {
        let Some((server, uri)) = self.meant_resource() else {
            self.toast(NoticeLevel::Info, "Select a resource first.");
            return vec![];
        };
        let on = !self.session.read_model().server(&server).is_some_and(|s| s.subscriptions.contains_key(&uri));
        vec![Cmd::Command(Command::Subscribe { server, uri, on })]
    }

    /// Returns whether the selected resource is subscribed to.
    pub(super) fn subscribed(&self) -> bool {
        let Some((server, uri)) = self.meant_resource() else { return false };
        self.session.read_model().server(&server).is_some_and(|server| server.subscriptions.contains_key(&uri))
    }

    /// Reports changed resources, except those that are on the screen.
    pub(super) fn updated_resources(&mut self, updated: &[(ServerId, String)]) {
        if let Some((server, uri)) = updated.last() {
            let more = if updated.len() > 1 { format!(" (and {} more)", updated.len() - 1) } else { String::new() };
            self.toast(NoticeLevel::Info, format!("{server}: {uri} has changed{more}."));
        }
    }
}
