//! What can be asked of a result: search, JSONPath, its images and links, whether it keeps its promise.

use std::{ops::Range, sync::Arc};

use ratatui::style::Style;
use serde_json_path::JsonPath;

use crate::{
    domain::{
        body::Body,
        call::{Operation, Outcome},
        frame::Frame,
        id::ToolId,
        policy::call_event::CallEvent,
        read_model::ConsoleState,
    },
    tui::{
        background::{Done, JobKind},
        pane::DrawContext,
        result_view::Part,
        widget::{
            json::{JsonView, Progress},
            window::Window,
        },
    },
};

use super::{Detail, Tab};

/// Bytes searched between two looks at input.
const STEP: usize = 2 << 20;

/// What a JSONPath found.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    path: String,
    count: usize,
    /// An array of what was found, written anew.
    pub(super) found: Body,
}

impl Detail {
    /// The result, as it came.
    pub fn result(&self) -> Option<&Body> {
        self.result.as_ref()
    }

    /// The view that is shown.
    pub fn tab(&self) -> Tab {
        self.tab
    }

    /// The frames of the call, in order.
    pub fn frames(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.frames.iter()
    }

    /// Searches in what is shown; an empty text ends the search.
    pub fn search(&mut self, text: &str) {
        text.clone_into(&mut self.needle);
        if self.needle.is_empty()
            && let Some(view) = &mut self.view
        {
            view.search("");
        }
        self.search_again();
    }

    pub(super) fn search_again(&mut self) {
        if let Some(view) = self.view.as_mut().filter(|_| !self.needle.is_empty()) {
            view.search(&self.needle);
            view.search_step(STEP);
        }
    }

    /// What is searched for.
    pub fn needle(&self) -> &str {
        &self.needle
    }

    /// Searches on for a while; whether there is more to look at.
    pub fn search_on(&mut self) -> bool {
        let Some(view) = self.view.as_mut().filter(|_| !self.needle.is_empty()) else { return false };
        matches!(view.search_step(STEP), Progress::More(_))
    }

    /// To the next match or the one before.
    pub fn match_step(&mut self, forward: bool) {
        if let Some(view) = &mut self.view {
            if forward { view.next_match() } else { view.previous_match() }
        }
    }

    /// The JSONPath of the filter, or that of the row under the cursor to begin with.
    pub fn path_to_start(&self) -> String {
        match (&self.filter, &self.view) {
            (Some(filter), _) => filter.path.clone(),
            (None, Some(view)) if self.tab == Tab::Tree => view.cursor_path(),
            _ => "$".into(),
        }
    }

    /// Shows what a JSONPath (RFC 9535) selects; an empty one shows everything again.
    ///
    /// What is found is written anew: numbers may lose digits, so the title says so. Errors say what
    /// is wrong with the path and where.
    pub fn filter(&mut self, path: &str, read_model: &ConsoleState) -> Result<(), String> {
        let path = path.trim();
        self.told.trouble = None;
        if path.is_empty() {
            (self.filter, self.waits.found) = (None, None);
            self.set_tab(Tab::Tree, read_model);
            return Ok(());
        }
        JsonPath::parse(path).map_err(|e| e.to_string())?;
        let presented = self.presented.as_ref().ok_or("There is no result to be filtered.")?;
        let job = JobKind::Path { tree: presented.tree.clone(), path: path.to_owned() };
        match job.ask(&mut self.tasks) {
            Ok(Done::Found(found)) => self.take_found(path.to_owned(), found),
            Ok(_) => Ok(()),
            Err(ticket) => {
                self.waits.found = Some((ticket, path.to_owned()));
                Ok(())
            }
        }
    }

    /// Shows what a JSONPath found.
    pub(super) fn take_found(&mut self, path: String, found: Result<(usize, Body, Box<JsonView>), String>) -> Result<(), String> {
        let (count, found, view) = found?;
        self.filter = Some(Filter { path, count, found });
        (self.tab, self.chosen, self.inside, self.scroll) = (Tab::Tree, true, false, Window::default());
        self.take_view(view);
        Ok(())
    }

    /// The JSON of the result, or of what the filter left of it.
    pub(super) fn tree(&self) -> Option<Body> {
        match &self.filter {
            Some(filter) => Some(filter.found.clone()),
            None => Some(self.presented.as_ref()?.tree.clone()),
        }
    }

    /// Ends the filter or the search; whether there was one.
    pub(super) fn end_query(&mut self) -> bool {
        if self.waits.found.take().is_some() || self.told.trouble.take().is_some() {
            return true;
        }
        if self.filter.take().is_some() {
            // The whole result again, in the tree that was filtered.
            let tree = self.tree().map(JobKind::Json);
            self.show_made(tree);
            return true;
        }
        let searched = !self.needle.is_empty();
        self.search("");
        searched
    }

    /// The images, sounds and files of the result.
    pub fn media(&self) -> Vec<(&'static str, &str, &str)> {
        let media = self.parts.iter().filter_map(|(_, _, part)| match part {
            Part::Media { kind, mime, data } => Some((*kind, mime.as_str(), data.as_str())),
            Part::Link(_) => None,
        });
        media.collect()
    }

    /// Whether there are any.
    pub fn has_media(&self) -> bool {
        self.parts.iter().any(|(_, _, part)| matches!(part, Part::Media { .. }))
    }

    /// The resource that the cursor is on, if it is on a link.
    pub fn link_here(&self) -> Option<String> {
        let view = self.view.as_ref()?;
        let here = |index: usize, lines: &Range<usize>| match self.tab {
            Tab::Text => lines.contains(&view.line()),
            Tab::Tree => {
                let path = view.cursor_path();
                ["content", "contents"].iter().any(|key| {
                    let item = format!("$.{key}[{index}]");
                    path.strip_prefix(&item).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                })
            }
            _ => false,
        };
        let whole = self.tab != Tab::Tree || self.filter.is_none() && self.result.as_ref().is_some_and(|r| r.len() == view.body().len());
        self.parts.iter().find_map(|(index, lines, part)| match part {
            Part::Link(uri) if whole && here(*index, lines) => Some(uri.clone()),
            _ => None,
        })
    }

    /// What saving writes: the frame, the text or the JSON that is shown; with the file's extension.
    pub fn to_save(&self) -> Option<(Body, &'static str)> {
        let view = self.view.as_ref()?;
        let body = view.body().clone();
        let extension = match self.tab {
            Tab::Text => "txt",
            // A result came inside of JSON, so it is some.
            Tab::Raw => "json",
            _ if view.is_tree() => "json",
            _ => "txt",
        };
        Some((body, extension))
    }

    /// Holds the structured content against the schema that the tool promised.
    pub(super) fn judge(&mut self, read_model: &ConsoleState) {
        (self.told.verdict, self.told.checking) = (Ok(vec![]), false);
        let Some(call) = self.call.and_then(|id| read_model.call(id)) else { return };
        let Operation::Tool { tool, .. } = &call.spec.operation else { return };
        // What stood in for a failed call is another tool's answer, or nobody's.
        let stood_in = call.stages().iter().any(|(_, stage)| matches!(**stage, CallEvent::Fallback { .. }));
        let place = call.track.as_ref().filter(|_| stood_in).map(|track| track.place());
        let tool = match place {
            None => tool.clone(),
            Some(Some((server, name))) if server != tool.server || name != tool.name => ToolId::new(server, name),
            Some(_) => return,
        };
        let Some(schema) = read_model.tool(&tool).and_then(|t| t.output_schema.as_ref()) else { return };
        let Some(Outcome::Ok { result }) = self.seen.as_ref().map(|s| &s.outcome) else { return };
        if result.is_empty() {
            return;
        }
        let job = JobKind::Judge { result: result.clone(), schema: schema.clone() };
        match job.ask(&mut self.tasks) {
            Ok(Done::Judged(verdict)) => self.told.verdict = verdict,
            Err(ticket) => (self.waits.judged, self.told.checking) = (Some(ticket), true),
            Ok(_) => {}
        }
    }

    /// What is searched for and filtered by, for the title.
    pub(super) fn query_line(&self, look: DrawContext) -> Vec<(String, Style)> {
        let mut pieces = vec![];
        if let Some(filter) = self.filter.as_ref().filter(|_| self.tab == Tab::Tree) {
            pieces.push((format!(" {} ", filter.path), look.theme.found));
            pieces.push((format!("{} found, written anew", filter.count), look.theme.muted));
        }
        if let Some((_, path)) = &self.waits.found {
            pieces.push((format!(" {path} … "), look.theme.running));
        }
        if !self.needle.is_empty() {
            pieces.push((format!(" /{} ", self.needle), look.theme.found));
            let told = match self.view.as_ref().and_then(|v| v.match_position()) {
                Some((Some(at), all)) => format!("{at} of {all}"),
                Some((None, all)) => format!("{all} found"),
                None => "nothing".into(),
            };
            pieces.push((told, look.theme.muted));
        }
        pieces
    }
}
