//! The tabs: the views traffic, timeline, health and workflows next to the console, their shared state, and the layout of their parts.
//!
//! Pure state and geometry; `model::views` routes keys to it, `draw` draws it.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{event::Event, time::Stamp},
    state::ConsoleState,
};

use super::{
    hits::Owner,
    pane::{
        DrawContext,
        filter_line::FilterLine,
        health::{Health, Page},
        row_detail::RowDetail,
        table::TrafficView,
        timeline::Timeline,
        workflows::WorkflowsPane,
    },
    rows::{RowId, Rows},
};

/// A view, chosen by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Servers, calls, results.
    #[default]
    Console,
    /// Traffic: every call and message as rows.
    Traffic,
    /// Timeline: calls as bars.
    Timeline,
    /// Health: figures per server.
    Health,
    /// Workflows over several servers.
    Workflows,
}

impl View {
    /// All views, in the order of their numbers.
    pub const ALL: [View; 5] = [View::Console, View::Traffic, View::Timeline, View::Health, View::Workflows];

    /// Returns the name on the tab.
    pub fn word(self) -> &'static str {
        match self {
            View::Console => "Console",
            View::Traffic => "Traffic",
            View::Timeline => "Timeline",
            View::Health => "Health",
            View::Workflows => "Workflows",
        }
    }
}

/// A part of a view that can have the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The rows, the bars, the table.
    #[default]
    Main,
    /// The open row.
    Entry,
    /// The figures of a server.
    Facts,
    /// The output of a server.
    Lines,
    /// The graph of a workflow.
    Graph,
    /// The input of a workflow.
    Input,
    /// The steps of a run.
    Steps,
    /// One step of a run.
    Step,
}

/// An operation on a filter line.
#[derive(Clone, Copy, Debug)]
pub enum OnQuery<'t> {
    /// Start to edit it.
    Edit,
    /// End the editing.
    End {
        /// Whether the new filter is accepted.
        keep: bool,
    },
    /// Clear it.
    Clear,
    /// Insert the next completion of the current word.
    Complete,
    /// Handle a key.
    Key(KeyEvent),
    /// Insert pasted text.
    Paste(&'t str),
}

/// The state of all views.
pub struct Views {
    /// The current view.
    pub current: View,
    /// The part with the focus.
    pub part: Part,
    /// All rows.
    pub rows: Rows,
    /// The traffic.
    pub traffic: TrafficView,
    /// The timeline.
    pub timeline: Timeline,
    /// The health.
    pub health: Health,
    /// The workflows.
    pub flows: WorkflowsPane,
    /// The row that is open next to traffic or timeline.
    pub entry: Option<RowDetail>,
    /// The places of the parts.
    pub places: Vec<(Part, Rect)>,
}

impl Views {
    /// Creates the views over a snapshot.
    pub fn new(read_model: &ConsoleState) -> Views {
        let mut rows = Rows::default();
        rows.catch_up(read_model);
        Views {
            current: View::Console,
            part: Part::Main,
            traffic: TrafficView::new(&rows),
            timeline: Timeline::new(&rows),
            rows,
            health: Health::default(),
            flows: WorkflowsPane::default(),
            entry: None,
            places: vec![],
        }
    }

    /// Applies an event.
    pub fn push(&mut self, event: &Event) {
        let changed = self.rows.push(event);
        self.traffic.update(&self.rows, changed.as_slice());
        self.timeline.update(&self.rows, changed.as_slice());
    }

    /// Continues from a new snapshot.
    pub fn resync(&mut self, read_model: &ConsoleState) {
        let touched = self.rows.catch_up(read_model);
        self.traffic.update(&self.rows, &touched.changed);
        self.timeline.update(&self.rows, &touched.changed);
    }

    /// Returns whether a filter or a sort is unfinished.
    pub fn working(&self, now: Stamp) -> bool {
        match self.current {
            View::Traffic => self.traffic.working(&self.rows, now),
            View::Timeline => self.timeline.working(&self.rows),
            _ => false,
        }
    }

    /// Works on it for a few milliseconds.
    pub fn work(&mut self, now: Stamp) {
        match self.current {
            View::Timeline => self.timeline.work(&self.rows),
            _ => self.traffic.work(&self.rows, now),
        }
    }

    /// Returns the filter line of the view, if it has one.
    pub fn query(&self) -> Option<&FilterLine> {
        match self.current {
            View::Traffic => Some(self.traffic.query()),
            View::Timeline => Some(self.timeline.query()),
            View::Console | View::Health | View::Workflows => None,
        }
    }

    /// Applies an operation to the filter line of the view.
    pub fn on_query(&mut self, what: OnQuery) {
        match (self.current, what) {
            (View::Traffic, OnQuery::Edit) => self.traffic.edit(&self.rows),
            (View::Traffic, OnQuery::End { keep }) => self.traffic.end_edit(keep, &self.rows),
            (View::Traffic, OnQuery::Clear) => self.traffic.set_filter("", &self.rows),
            (View::Traffic, OnQuery::Complete) => self.traffic.complete(&self.rows),
            (View::Traffic, OnQuery::Key(key)) => self.traffic.key(key, &self.rows),
            (View::Traffic, OnQuery::Paste(text)) => self.traffic.paste(text, &self.rows),
            (View::Timeline, OnQuery::Edit) => self.timeline.edit(&self.rows),
            (View::Timeline, OnQuery::End { keep }) => self.timeline.end_edit(keep, &self.rows),
            (View::Timeline, OnQuery::Clear) => self.timeline.set_filter("", &self.rows),
            (View::Timeline, OnQuery::Complete) => self.timeline.complete(&self.rows),
            (View::Timeline, OnQuery::Key(key)) => self.timeline.key(key, &self.rows),
            (View::Timeline, OnQuery::Paste(text)) => self.timeline.paste(text, &self.rows),
            (View::Console | View::Health | View::Workflows, _) => {}
        }
    }

    /// Sets the filter of the view.
    pub fn set_filter(&mut self, text: &str) {
        match self.current {
            View::Timeline => self.timeline.set_filter(text, &self.rows),
            _ => self.traffic.set_filter(text, &self.rows),
        }
    }

    /// Switches to a view.
    pub fn show(&mut self, view: View) {
        if self.current != view {
            (self.current, self.part, self.entry) = (view, Part::Main, None);
        }
    }

    /// Returns the row under the cursor of the view.
    pub fn selected(&self) -> Option<RowId> {
        match (self.current, &self.entry) {
            (View::Traffic | View::Timeline, Some(entry)) if self.part == Part::Entry => entry.row(),
            (View::Traffic, _) => self.traffic.selected(&self.rows),
            (View::Timeline, _) => self.timeline.selected(&self.rows),
            _ => None,
        }
    }

    /// Returns the parts of the view, in the order of Tab.
    pub fn order(&self) -> &'static [Part] {
        match (self.current, &self.entry) {
            (View::Console, _) => &[],
            (View::Workflows, _) => self.flows.order(self.part),
            (View::Health, _) if self.health.page != Page::Table => &[Part::Main],
            (View::Health, _) => &[Part::Main, Part::Facts, Part::Lines],
            (_, Some(_)) => &[Part::Main, Part::Entry],
            (_, None) => &[Part::Main],
        }
    }

    /// Returns the area of a part, if it is visible.
    pub fn place(&self, part: Part) -> Option<Rect> {
        self.places.iter().find(|(p, _)| *p == part).map(|(_, place)| *place)
    }

    /// Updates areas, cursors and scroll offsets for the available area.
    pub fn fit(&mut self, read_model: &ConsoleState, now: Stamp, body: Rect, zoom: bool) {
        if !self.order().contains(&self.part) {
            self.part = Part::Main;
        }
        if self.current == View::Health {
            self.health.fit(read_model, self.place(Part::Main));
        }
        if self.current == View::Workflows {
            self.flows.fit(read_model, self.place(Part::Main), self.place(Part::Graph));
            if !self.order().contains(&self.part) {
                self.part = Part::Main;
            }
        }
        self.places = self.split(body, zoom);
        match self.current {
            View::Console => {}
            View::Traffic => {
                let place = self.place(Part::Main).unwrap_or(body);
                self.traffic.fit(&self.rows, place);
            }
            View::Timeline => {
                let place = self.place(Part::Main).unwrap_or(body);
                self.timeline.fit(&self.rows, read_model, now, place);
            }
            View::Health => self.health.fit(read_model, self.place(Part::Main)),
            View::Workflows => self.flows.fit(read_model, self.place(Part::Main), self.place(Part::Graph)),
        }
        // The open row is the one under the cursor, unless the focus is in it.
        if self.part == Part::Main
            && let Some(id) = self.selected()
            && let Some(entry) = &mut self.entry
        {
            entry.show(id, &self.rows, read_model);
        }
    }

    fn split(&self, body: Rect, zoom: bool) -> Vec<(Part, Rect)> {
        if self.current == View::Console {
            return vec![];
        }
        let alone = vec![(self.part, body)];
        let left = |width: u16| (Rect { width, ..body }, Rect { x: body.x + width, width: body.width - width, ..body });
        let above = |room: Rect, height: u16| (Rect { height, ..room }, Rect { y: room.y + height, height: room.height - height, ..room });
        match (self.current, &self.entry) {
            _ if zoom => alone,
            (View::Workflows, _) => self.flows.places(self.part, body),
            (View::Health, _) if body.height < 18 || self.health.page != Page::Table => alone,
            (View::Health, _) => {
                let (top, rest) = above(body, self.health.preferred_height().clamp(5, body.height * 2 / 5));
                if body.width < 96 {
                    let below = if self.part == Part::Lines { Part::Lines } else { Part::Facts };
                    return vec![(Part::Main, top), (below, rest)];
                }
                let width = (rest.width * 11 / 20).min(84);
                let (facts, lines) = (Rect { width, ..rest }, Rect { x: rest.x + width, width: rest.width - width, ..rest });
                vec![(Part::Main, top), (Part::Facts, facts), (Part::Lines, lines)]
            }
            (_, None) => vec![(Part::Main, body)],
            (View::Traffic, Some(_)) if body.width >= 170 => {
                let (main, entry) = left(body.width * 11 / 20);
                vec![(Part::Main, main), (Part::Entry, entry)]
            }
            (_, Some(_)) if body.height >= 24 => {
                let (main, entry) = above(body, body.height * 9 / 20);
                vec![(Part::Main, main), (Part::Entry, entry)]
            }
            _ => alone,
        }
    }

    /// Draws the parts; with `dialog`, no part has the focus.
    pub fn draw(&mut self, look: DrawContext, dialog: bool, buf: &mut Buffer) {
        for (part, place) in self.places.clone() {
            let look = DrawContext { focused: part == self.part && !dialog, ..look };
            look.hits.enter(Owner::Part(part), place);
            match (part, self.current) {
                (Part::Main, View::Traffic) => self.traffic.draw(&self.rows, look, place, buf),
                (Part::Main, View::Timeline) => self.timeline.draw(&self.rows, look, place, buf),
                (Part::Main, View::Workflows) => self.flows.draw_list(look, place, buf),
                (Part::Main, _) => self.health.draw(look, place, buf),
                (Part::Graph, _) => self.flows.draw_chart(look, place, buf),
                (Part::Input, _) => self.flows.input.draw(look, place, buf),
                (Part::Steps, _) => self.flows.draw_steps(look, place, buf),
                (Part::Step, _) => self.flows.draw_step(look, place, buf),
                (Part::Entry, _) => {
                    if let Some(entry) = &mut self.entry {
                        entry.draw(&self.rows, look, place, buf);
                    }
                }
                (Part::Facts, _) => self.health.facts.draw(self.health.selected(), look, place, buf),
                (Part::Lines, _) => {
                    let server = self.health.selected().map(|s| s.server.clone());
                    self.health.lines.draw(server.as_ref(), look, place, buf);
                }
            }
        }
    }
}
