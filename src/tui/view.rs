//! The views: the trait of what fills the screen between header and footer, and the state that the views share.
//!
//! `console`, `calls` (traffic and timeline), `health` and `workflows` implement the trait. The model passes input to the
//! current view and performs what follows from it. What only the model can do is an [`Effect`], as in dialogs.

pub mod calls;
pub mod console;
pub mod health;
pub mod workflows;

use crossterm::event::KeyEvent;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::{
    domain::{event::Event, id::CallId},
    state::ConsoleState,
};

use super::{
    action::Action,
    background::Material,
    copying::{CopyKind, prepared},
    dialog::Effect,
    hits::{Hit, HitArea, Owner},
    keymap::Context,
    model::Model,
    msg::Cmd,
    pane::{
        DrawContext, filter_line::FilterLine, health::Health, row_detail::RowDetail, table::TrafficView, timeline::Timeline,
        workflows::WorkflowsPane,
    },
    rows::{RowId, Rows},
    widget::{form::FormView, window::Direction},
};

/// A view, chosen by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViewId {
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

impl ViewId {
    /// All views, in the order of their numbers.
    pub const ALL: [ViewId; 5] = [ViewId::Console, ViewId::Traffic, ViewId::Timeline, ViewId::Health, ViewId::Workflows];

    /// Returns the name on the tab.
    pub fn word(self) -> &'static str {
        match self {
            ViewId::Console => "Console",
            ViewId::Traffic => "Traffic",
            ViewId::Timeline => "Timeline",
            ViewId::Health => "Health",
            ViewId::Workflows => "Workflows",
        }
    }

    /// Returns the action that shows the view.
    pub fn action(self) -> Action {
        match self {
            ViewId::Console => Action::ViewConsole,
            ViewId::Traffic => Action::ViewTraffic,
            ViewId::Timeline => Action::ViewTimeline,
            ViewId::Health => Action::ViewHealth,
            ViewId::Workflows => Action::ViewWorkflows,
        }
    }

    /// Returns the view that an action shows.
    pub fn of(action: Action) -> Option<ViewId> {
        ViewId::ALL.into_iter().find(|view| view.action() == action)
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

/// An input to a view.
#[derive(Clone, Copy, Debug)]
pub enum ViewInput<'i> {
    /// An action of its contexts.
    Action(Action),
    /// A key that is not bound in its contexts.
    Key(KeyEvent),
    /// Pasted text.
    Paste(&'i str),
    /// A click.
    Click(&'i HitArea, Position),
    /// One row of the wheel over a component.
    Wheel(Owner, Action),
}

/// What follows from an input.
pub enum ViewOutcome {
    /// The input does not concern the view.
    Ignored,
    /// The view handled it.
    Done,
    /// The view handled it, and the effect happens.
    Run(Effect),
}

impl ViewOutcome {
    /// Runs an effect.
    pub fn run(effect: impl FnOnce(&mut Model) -> Vec<Cmd> + 'static) -> ViewOutcome {
        ViewOutcome::Run(Box::new(effect))
    }

    /// Changes the model.
    pub fn change(change: impl FnOnce(&mut Model) + 'static) -> ViewOutcome {
        ViewOutcome::run(|model| {
            change(model);
            vec![]
        })
    }

    /// Performs an action.
    pub fn act(action: Action) -> ViewOutcome {
        ViewOutcome::run(move |model| model.act(action))
    }

    /// Copies a value.
    pub fn copy(material: Option<Material>) -> ViewOutcome {
        ViewOutcome::run(move |model| model.copied(CopyKind::Value, prepared(CopyKind::Value, &material.unwrap_or_default())))
    }

    /// Leaves the zoom.
    pub fn restore() -> ViewOutcome {
        ViewOutcome::change(|model| model.restore())
    }
}

/// What fills the screen between header and footer.
pub trait View {
    /// Returns the contexts in which its keys are looked up, nearest first.
    fn contexts(&self, state: &ViewState) -> &'static [Context];

    /// Returns whether letters go into a field.
    fn typing(&self, state: &ViewState) -> bool;

    /// Returns whether a form takes this key although it is bound to an action.
    fn takes_key(&self, _key: KeyEvent, _enabled: bool, _state: &ViewState) -> bool {
        false
    }

    /// Returns whether an action would have an effect now; `None` if the view does not decide.
    fn enabled(&self, action: Action, state: &ViewState, ctx: DrawContext) -> Option<bool>;

    /// Returns what an action would do in the current state; `None` for its usual label.
    fn label(&self, _action: Action, _state: &ViewState, _ctx: DrawContext) -> Option<&'static str> {
        None
    }

    /// Returns whether pasted text may have several lines.
    fn takes_lines(&self, _state: &ViewState) -> bool {
        false
    }

    /// Handles an input. The key of a clicked hint is pressed afterwards.
    fn handle(&mut self, input: ViewInput, state: &mut ViewState, ctx: DrawContext) -> ViewOutcome;

    /// Returns its parts in the order of Tab.
    fn order(&self, _state: &ViewState) -> &'static [Part] {
        &[Part::Main]
    }

    /// Updates areas, cursors and scroll offsets for the available area; `zoom` shows only the part with the focus.
    fn fit(&mut self, state: &mut ViewState, ctx: DrawContext, body: Rect, zoom: bool);

    /// Draws the parts, with the focus unless a dialog has it.
    fn draw(&mut self, state: &mut ViewState, ctx: DrawContext, buf: &mut Buffer);

    /// Returns the call under its cursor.
    fn call(&self, _state: &ViewState, _ctx: DrawContext) -> Option<CallId> {
        None
    }

    /// Returns the form with the focus, whose drop-down list is drawn over everything.
    fn form_mut(&mut self, _state: &ViewState) -> Option<&mut FormView> {
        None
    }

    /// Returns whether something in it moves without input.
    fn moving(&self, _state: &ViewState, _ctx: DrawContext) -> bool {
        false
    }

    /// Returns whether a filter or a sort is unfinished.
    fn working(&self, _state: &ViewState, _ctx: DrawContext) -> bool {
        false
    }

    /// Works on it for a few milliseconds.
    fn work(&mut self, _state: &ViewState, _ctx: DrawContext) {}
}

/// What the views other than the console share.
#[derive(Default)]
pub struct ViewState {
    /// The part with the focus.
    pub part: Part,
    /// The row that is open next to traffic or timeline.
    pub entry: Option<RowDetail>,
    /// The areas of the parts.
    pub places: Vec<(Part, Rect)>,
    /// All rows.
    pub rows: Rows,
}

impl ViewState {
    /// Returns the area of a part, if it is visible.
    pub fn place(&self, part: Part) -> Option<Rect> {
        self.places.iter().find(|(p, _)| *p == part).map(|(_, place)| *place)
    }

    /// Returns the rows of a page of a part, whose head takes `head` rows.
    fn page(&self, part: Part, head: u16) -> usize {
        usize::from(self.place(part).unwrap_or_default().height.saturating_sub(head)).max(1)
    }

    /// Moves the focus to the clicked part. Returns whether it had the focus, or the click needs no focus first; `None` for the
    /// hint of a key.
    fn press(&mut self, found: &HitArea) -> Option<bool> {
        let Owner::Part(part) = found.owner else { return None };
        let had = std::mem::replace(&mut self.part, part) == part;
        match found.hit {
            Hit::Key(_) | Hit::FormKey(_) => None,
            Hit::FoldSign(_) => Some(true),
            _ => Some(had),
        }
    }

    /// Goes to the next or previous part.
    fn turn(&mut self, order: &[Part], direction: Direction) {
        let at = order.iter().position(|p| *p == self.part).unwrap_or(0);
        self.part = order.get(direction.cycle(at, order.len())).copied().unwrap_or_default();
    }

    /// Draws each part with `draw`.
    fn draw_parts(&mut self, ctx: DrawContext, mut draw: impl FnMut(&mut ViewState, Part, DrawContext, Rect)) {
        for (part, place) in self.places.clone() {
            let ctx = DrawContext { focused: ctx.focused && part == self.part, ..ctx };
            ctx.hits.enter(Owner::Part(part), place);
            draw(self, part, ctx, place);
        }
    }
}

/// The views other than the console.
pub struct Views {
    /// The current view.
    pub current: ViewId,
    /// What they share.
    pub state: ViewState,
    /// The traffic.
    pub traffic: TrafficView,
    /// The timeline.
    pub timeline: Timeline,
    /// The health.
    pub health: Health,
    /// The workflows.
    pub flows: WorkflowsPane,
}

impl Views {
    /// Creates the views over a snapshot.
    pub fn new(read_model: &ConsoleState) -> Views {
        let mut rows = Rows::default();
        rows.catch_up(read_model);
        Views {
            current: ViewId::Console,
            traffic: TrafficView::new(&rows),
            timeline: Timeline::new(&rows),
            state: ViewState { rows, ..ViewState::default() },
            health: Health::default(),
            flows: WorkflowsPane::default(),
        }
    }

    /// Applies an event.
    pub fn push(&mut self, event: &Event) {
        let changed = self.state.rows.push(event);
        self.update(changed.as_slice());
    }

    /// Continues from a new snapshot.
    pub fn resync(&mut self, read_model: &ConsoleState) {
        let touched = self.state.rows.catch_up(read_model);
        self.update(&touched.changed);
        if let Some(entry) = &mut self.state.entry {
            entry.detail.sync(read_model);
        }
    }

    fn update(&mut self, changed: &[RowId]) {
        self.traffic.update(&self.state.rows, changed);
        self.timeline.update(&self.state.rows, changed);
    }

    /// Returns the filter line of the view, if it has one.
    pub fn query(&self) -> Option<&FilterLine> {
        match self.current {
            ViewId::Traffic => Some(self.traffic.query()),
            ViewId::Timeline => Some(self.timeline.query()),
            ViewId::Console | ViewId::Health | ViewId::Workflows => None,
        }
    }

    /// Returns the row under the cursor of the view.
    pub fn selected(&self) -> Option<RowId> {
        match self.current {
            ViewId::Traffic => calls::selected(&self.traffic, &self.state),
            ViewId::Timeline => calls::selected(&self.timeline, &self.state),
            ViewId::Console | ViewId::Health | ViewId::Workflows => None,
        }
    }

    /// Switches to a view.
    pub fn show(&mut self, view: ViewId) {
        if self.current != view {
            (self.current, self.state.part, self.state.entry) = (view, Part::Main, None);
        }
    }

    /// Returns the current view and the shared state; `None` in the console.
    pub fn current(&self) -> Option<(&dyn View, &ViewState)> {
        let view: &dyn View = match self.current {
            ViewId::Console => return None,
            ViewId::Traffic => &self.traffic,
            ViewId::Timeline => &self.timeline,
            ViewId::Health => &self.health,
            ViewId::Workflows => &self.flows,
        };
        Some((view, &self.state))
    }

    /// Returns the current view and the shared state for changes; `None` in the console.
    pub fn current_mut(&mut self) -> Option<(&mut dyn View, &mut ViewState)> {
        let view: &mut dyn View = match self.current {
            ViewId::Console => return None,
            ViewId::Traffic => &mut self.traffic,
            ViewId::Timeline => &mut self.timeline,
            ViewId::Health => &mut self.health,
            ViewId::Workflows => &mut self.flows,
        };
        Some((view, &mut self.state))
    }
}
