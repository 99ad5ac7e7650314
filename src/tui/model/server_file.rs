//! The file of a server: opens it at the server's table, and changes the table.

use std::path::PathBuf;

use crate::{
    domain::{event::NoticeLevel, id::ServerId, workspace::ServerEdit},
    tui::{
        WorkspaceRequest,
        action::Action,
        msg::Cmd,
        overlay::{
            confirm::Confirm,
            menu::{Menu, MenuRow},
            text_prompt::TextPrompt,
        },
    },
};

use super::Model;

impl Model {
    /// Returns the selected server with its file and line.
    pub(super) fn server_file(&self) -> Option<(ServerId, PathBuf, Option<u32>)> {
        let server = self.meant_server()?;
        let origin = &self.session.read_model().server(&server)?.spec.origin;
        Some((server, origin.file.clone()?, origin.line))
    }

    /// Opens the server's file in `$EDITOR`, at the server's table, or the file of the selected saved call.
    pub(super) fn edit_server(&mut self) -> Vec<Cmd> {
        if let Some(path) = self.saved_file() {
            return vec![Cmd::EditFile { path, line: None }];
        }
        match self.server_file() {
            Some((_, file, line)) => vec![Cmd::EditFile { path: file.display().to_string(), line }],
            None => {
                self.toast(NoticeLevel::Info, "Select a server that is in a file; this one was added for the session only.");
                vec![]
            }
        }
    }

    /// Opens the menu of changes of the server.
    pub(super) fn server_menu(&mut self) {
        let Some((server, file, line)) = self.server_file() else {
            self.toast(NoticeLevel::Info, "Select a server that is in a file; this one was added for the session only.");
            return;
        };
        let disabled = self.session.read_model().server(&server).is_some_and(|view| view.spec.disabled);
        let place = match line {
            Some(line) => format!("{}:{line}", file.display()),
            None => file.display().to_string(),
        };
        let (word, edit) = if disabled { ("Enable for good", ServerEdit::Enable) } else { ("Disable for good", ServerEdit::Disable) };
        let (switched, copied, removed) = (server.clone(), server.clone(), server.clone());
        let rows = vec![
            MenuRow::new('e', "Open in $EDITOR", place, |model| model.edit_server()),
            MenuRow::new('d', word, "disabled = true".into(), move |_| request(&switched, edit)),
            MenuRow::new('c', "Duplicate …", "a copy under another name".into(), move |model| model.ask_duplicate(copied)),
            MenuRow::new('x', "Remove …", "asks first".into(), move |model| model.ask_remove(removed)),
        ];
        self.dialogs.push(Menu::new(&format!("Server {server}"), rows));
    }

    fn ask_duplicate(&mut self, server: ServerId) -> Vec<Cmd> {
        let name = format!("{server}-2");
        let prompt = TextPrompt::new(format!("Duplicate {server}"), "The copy starts when it is written.", &[("name", &name)]);
        self.dialogs.push(prompt.on_submit(move |_, prompt| {
            let name = prompt.text(0).trim().to_owned();
            if name.is_empty() {
                return Err("Enter a name.".into());
            }
            Ok(request(&server, ServerEdit::Duplicate(name)))
        }));
        vec![]
    }

    fn ask_remove(&mut self, server: ServerId) -> Vec<Cmd> {
        let file = self.session.read_model().server(&server).and_then(|view| view.spec.origin.file.clone());
        let file = file.map(|file| file.display().to_string()).unwrap_or_default();
        let text = format!("The table of {server} is removed from {file}. Calls that are running on it are cancelled.");
        let confirm = Confirm::new(format!("Remove {server}?"), text, &[(Action::No, "keep"), (Action::Yes, "remove")]);
        self.dialogs.push(confirm.then(move |_| request(&server, ServerEdit::Remove)));
        vec![]
    }
}

fn request(server: &ServerId, edit: ServerEdit) -> Vec<Cmd> {
    vec![Cmd::Request(WorkspaceRequest::EditServer { server: server.clone(), edit })]
}
