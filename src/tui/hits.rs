//! The hit map: the hit areas of the screen. Everything that draws records its areas here, and the mouse looks them up.

use std::cell::{Cell, RefCell};

use ratatui::layout::{Position, Rect};

use crate::domain::id::{CallId, ServerId};

use super::{
    action::Action,
    filter_index::By,
    layout::Focus,
    rows::RowId,
    view::{Part, ViewId},
};

/// The component that drew an area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// The header, the banner and the footer.
    #[default]
    Frame,
    /// The activity pane.
    Activity,
    /// A pane of the console.
    Pane(Focus),
    /// A part of another view.
    Part(Part),
    /// The dialog on top.
    Dialog,
    /// The open drop-down list of a form.
    DropDown,
}

/// What a component drew in an area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hit {
    /// Nothing that reacts to a click.
    #[default]
    Ground,
    /// The key of an action, and its label.
    Key(Action),
    /// The key of an action of a form, in the row under the cursor, and its label.
    FormKey(Action),
    /// A row of a list, a value or a form, or a box of a graph, by index.
    Row(usize),
    /// The fold sign of such a row.
    FoldSign(usize),
    /// A message below a row of a form.
    Message(usize),
    /// A frame of a call, by index.
    Frame(usize),
    /// A call.
    Call(CallId),
    /// A row of the traffic view.
    Entry(RowId),
    /// The header of a column of the traffic view.
    Column(By),
    /// The header of a column of a grid, by index.
    GridColumn(usize),
    /// A filter line.
    Query,
    /// The lanes of the timeline.
    Lanes,
    /// The lane of a server in the activity pane.
    Server(ServerId),
    /// The badge for waiting questions.
    Inbox,
    /// The tab of a view.
    View(ViewId),
    /// A tab of a pane, by index.
    Tab(usize),
}

/// An area of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HitArea {
    /// Its cells.
    pub area: Rect,
    /// The component that drew it.
    pub owner: Owner,
    /// What is there.
    pub hit: Hit,
}

/// The areas of the frame drawn last. Drawing code records through a shared reference.
#[derive(Debug, Default)]
pub struct HitMap {
    areas: RefCell<Vec<HitArea>>,
    owner: Cell<Owner>,
    dialogs: Cell<usize>,
}

impl HitMap {
    /// Starts a new frame with this number of dialogs.
    pub fn start(&self, dialogs: usize) {
        self.areas.borrow_mut().clear();
        self.owner.set(Owner::default());
        self.dialogs.set(dialogs);
    }

    /// Returns the number of dialogs in the frame.
    pub fn dialogs(&self) -> usize {
        self.dialogs.get()
    }

    /// Starts a component that covers `area`. The areas recorded from now on belong to it.
    pub fn enter(&self, owner: Owner, area: Rect) {
        self.owner.set(owner);
        self.add(area, Hit::Ground);
    }

    /// Records an area of the current component. It covers the areas recorded before.
    pub fn add(&self, area: Rect, hit: Hit) {
        if !area.is_empty() {
            self.areas.borrow_mut().push(HitArea { area, owner: self.owner.get(), hit });
        }
    }

    /// Returns what was drawn last at a cell.
    pub fn at(&self, x: u16, y: u16) -> Option<HitArea> {
        self.areas.borrow().iter().rev().find(|found| found.area.contains(Position { x, y })).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_drawn_last_is_hit() {
        let hits = HitMap::default();
        hits.start(1);
        hits.enter(Owner::Pane(Focus::Servers), Rect::new(0, 0, 20, 10));
        hits.add(Rect::new(1, 1, 18, 1), Hit::Row(0));
        hits.add(Rect::new(3, 1, 2, 1), Hit::FoldSign(0));
        hits.enter(Owner::Dialog, Rect::new(4, 0, 9, 5));
        hits.add(Rect::new(0, 0, 0, 9), Hit::Row(7));
        let at = |x, y| hits.at(x, y).map(|found| (found.owner, found.hit));
        assert_eq!(at(3, 1), Some((Owner::Pane(Focus::Servers), Hit::FoldSign(0))));
        assert_eq!(at(4, 1), Some((Owner::Dialog, Hit::Ground)));
        assert_eq!(at(18, 1), Some((Owner::Pane(Focus::Servers), Hit::Row(0))));
        assert_eq!(at(0, 9), Some((Owner::Pane(Focus::Servers), Hit::Ground)));
        assert_eq!((at(20, 0), hits.dialogs()), (None, 1));
        hits.start(0);
        assert_eq!((at(3, 1), hits.dialogs()), (None, 0));
    }
}
