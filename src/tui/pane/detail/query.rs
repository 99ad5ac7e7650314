//! Queries of a result: search, JSONPath filter, media and links, and the check against the output schema.

use std::{ops::Range, sync::Arc};

use ratatui::style::Style;
use serde_json_path::JsonPath;

use crate::{
    domain::{
        body::Body,
        call::{Operation, Outcome},
        directory::Directory,
        frame::Frame,
        id::ToolId,
        plural::counted,
        policy::call_event::CallEvent,
    },
    state::ConsoleState,
    tui::{
        background::{Done, JobKind},
        pane::DrawContext,
        result_view::Part,
        widget::{
            content::Content,
            json::{JsonView, Progress},
            window::{Direction, Window},
        },
    },
};

use super::{Detail, Tab};

/// Bytes searched between two checks for input.
const STEP: usize = 2 << 20;

/// The matches of a JSONPath.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    path: String,
    count: usize,
    /// The matches as an array, reformatted.
    pub(super) found: Body,
}

impl Detail {
    /// Returns the result as received.
    pub fn result(&self) -> Option<&Body> {
        self.result.as_ref()
    }

    /// Returns the tab that is shown.
    pub fn tab(&self) -> Tab {
        self.tab
    }

    /// Returns the frames of the call, in order.
    pub fn frames(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.frames.iter()
    }

    /// Searches the view. An empty text ends the search.
    pub fn search(&mut self, text: &str) {
        text.clone_into(&mut self.needle);
        if self.needle.is_empty()
            && let Some(view) = &mut self.view
        {
            view.search("");
        }
        self.restart_search();
    }

    pub(super) fn restart_search(&mut self) {
        if let Some(view) = self.view.as_mut().filter(|_| !self.needle.is_empty()) {
            view.search(&self.needle);
            view.search_step(STEP);
        }
    }

    /// Returns the search text.
    pub fn needle(&self) -> &str {
        &self.needle
    }

    /// Searches the next piece. Returns whether the search is unfinished.
    pub fn continue_search(&mut self) -> bool {
        let Some(view) = self.view.as_mut().filter(|_| !self.needle.is_empty()) else { return false };
        matches!(view.search_step(STEP), Progress::More(_))
    }

    /// Goes to the next or the previous match.
    pub fn match_step(&mut self, direction: Direction) {
        if let Some(view) = &mut self.view {
            view.match_step(direction);
        }
    }

    /// Returns the JSONPath of the filter, or else of the row under the cursor, as a proposal.
    pub fn proposed_path(&self) -> String {
        match (&self.filter, &self.view) {
            (Some(filter), _) => filter.path.clone(),
            (None, Some(Content::Json(view))) if self.tab == Tab::Tree => view.cursor_path(),
            _ => "$".into(),
        }
    }

    /// Shows the matches of a JSONPath (RFC 9535). An empty path shows the whole result.
    ///
    /// The matches are reformatted: numbers may lose digits, so the title says so. Errors name the mistake in the path
    /// and its position.
    pub fn filter(&mut self, path: &str, read_model: &ConsoleState) -> Result<(), String> {
        let path = path.trim();
        self.notes.trouble = None;
        if path.is_empty() {
            (self.filter, self.pending.found) = (None, None);
            self.set_tab(Tab::Tree, read_model);
            return Ok(());
        }
        JsonPath::parse(path).map_err(|e| e.to_string())?;
        let presented = self.presented.as_ref().ok_or("no result to filter")?;
        let job = JobKind::Path { tree: presented.tree.clone(), path: path.to_owned() };
        match job.ask(&mut self.tasks) {
            Ok(Done::Found(found)) => self.take_found(path.to_owned(), found),
            Ok(_) => Ok(()),
            Err(ticket) => {
                self.pending.found = Some((ticket, path.to_owned()));
                Ok(())
            }
        }
    }

    /// Shows the matches of a JSONPath.
    pub(super) fn take_found(&mut self, path: String, found: Result<(usize, Body, Box<JsonView>), String>) -> Result<(), String> {
        let (count, found, view) = found?;
        self.filter = Some(Filter { path, count, found });
        (self.tab, self.chosen, self.inside, self.scroll) = (Tab::Tree, true, false, Window::default());
        self.take_view(Content::Json(view));
        Ok(())
    }

    /// Returns the JSON of the result, or of the filter's matches.
    pub(super) fn tree(&self) -> Option<Body> {
        match &self.filter {
            Some(filter) => Some(filter.found.clone()),
            None => Some(self.presented.as_ref()?.tree.clone()),
        }
    }

    /// Ends the filter or the search. Returns whether there was one.
    pub(super) fn end_query(&mut self) -> bool {
        if self.pending.found.take().is_some() || self.notes.trouble.take().is_some() {
            return true;
        }
        if self.filter.take().is_some() {
            // Back to the whole result in the tree.
            let tree = self.tree().map(JobKind::Json);
            self.start_view_job(tree);
            return true;
        }
        let searched = !self.needle.is_empty();
        self.search("");
        searched
    }

    /// Returns the images, audio and files of the result.
    pub fn media(&self) -> Vec<(&'static str, &str, &str)> {
        let media = self.parts.iter().filter_map(|(_, _, part)| match part {
            Part::Media { kind, mime, data } => Some((*kind, mime.as_str(), data.as_str())),
            Part::Link(_) => None,
        });
        media.collect()
    }

    /// Returns whether the result has media.
    pub fn has_media(&self) -> bool {
        self.parts.iter().any(|(_, _, part)| matches!(part, Part::Media { .. }))
    }

    /// Returns the URI of the resource link under the cursor.
    pub fn link_at_cursor(&self) -> Option<String> {
        let view = self.view.as_ref()?.json()?;
        let under_cursor = |index: usize, lines: &Range<usize>| match self.tab {
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
        let unfiltered =
            self.tab != Tab::Tree || self.filter.is_none() && self.result.as_ref().is_some_and(|r| r.len() == view.body().len());
        self.parts.iter().find_map(|(index, lines, part)| match part {
            Part::Link(uri) if unfiltered && under_cursor(*index, lines) => Some(uri.clone()),
            _ => None,
        })
    }

    /// Returns what is saved, the frame, text or JSON that is shown, with the file's extension.
    pub fn to_save(&self) -> Option<(Body, &'static str)> {
        let view = self.view.as_ref()?;
        let body = view.body().clone();
        let extension = match self.tab {
            Tab::Text if self.is_markdown() => "md",
            Tab::Text => "txt",
            Tab::Table => return Some((Body::from(view.grid()?.csv()), "csv")),
            // A result is part of a JSON message, so it is JSON.
            Tab::Raw => "json",
            _ if view.is_tree() => "json",
            _ => "txt",
        };
        Some((body, extension))
    }

    /// Checks the structured content against the tool's output schema.
    pub(super) fn check_schema(&mut self, read_model: &ConsoleState) {
        (self.notes.schema_check, self.notes.checking) = (Ok(vec![]), false);
        let Some(call) = self.call.and_then(|id| read_model.call(id)) else { return };
        let Operation::Tool { tool, .. } = &call.spec.operation else { return };
        // After a fallback, the result is that of another tool, or of none.
        let fell_back = call.stages().iter().any(|(_, stage)| matches!(**stage, CallEvent::Fallback { .. }));
        let place = call.track.as_ref().filter(|_| fell_back).map(|track| track.place());
        let tool = match place {
            None => tool.clone(),
            Some(Some((server, name))) if server != tool.server || name != tool.name => ToolId::new(server, name),
            Some(_) => return,
        };
        let Some(schema) = read_model.tool(&tool).and_then(|t| t.output_schema.as_ref()) else { return };
        let Some(Outcome::Ok { result }) = self.settled.as_ref().map(|s| &s.outcome) else { return };
        if result.is_empty() {
            return;
        }
        let job = JobKind::Judge { result: result.clone(), schema: schema.clone() };
        match job.ask(&mut self.tasks) {
            Ok(Done::Judged(schema_check)) => self.notes.schema_check = schema_check,
            Err(ticket) => (self.pending.schema_check, self.notes.checking) = (Some(ticket), true),
            Ok(_) => {}
        }
    }

    /// Returns the filter and the search for the title.
    pub(super) fn query_line(&self, ctx: DrawContext) -> Vec<(String, Style)> {
        let mut pieces = vec![];
        if let Some(grid) = self.view.as_ref().and_then(Content::grid) {
            pieces.push((format!(" {}", grid.title()), ctx.theme.muted));
        }
        if let Some(filter) = self.filter.as_ref().filter(|_| self.tab == Tab::Tree) {
            pieces.push((format!(" {} ", filter.path), ctx.theme.found));
            pieces.push((format!("{} (reformatted)", match_count(filter.count)), ctx.theme.muted));
        }
        if let Some((_, path)) = &self.pending.found {
            pieces.push((format!(" {path} … "), ctx.theme.running));
        }
        if !self.needle.is_empty() {
            pieces.push((format!(" /{} ", self.needle), ctx.theme.found));
            let count = match self.view.as_ref().and_then(|v| v.match_position()) {
                Some((Some(at), all)) => format!("{at} of {all}"),
                Some((None, all)) => match_count(all),
                None => "no matches".into(),
            };
            pieces.push((count, ctx.theme.muted));
        }
        pieces
    }
}

fn match_count(count: usize) -> String {
    counted(count, "match")
}
