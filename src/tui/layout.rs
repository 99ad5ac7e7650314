//! The layout: the rectangle of every pane at a screen size. Pure.

use ratatui::layout::Rect;

/// A pane that can have the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The tree.
    Servers,
    /// The call pane.
    Call,
    /// The result of the selected tool's last call.
    Result,
    /// The state of the selected server.
    Info,
    /// Any call in full.
    Detail,
    /// The list of calls.
    Traffic,
}

/// The content of the middle pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middle {
    /// A call and its result.
    Call {
        /// The rows that the call asks for, its border included.
        rows: u16,
    },
    /// A server.
    Info,
    /// A call of the traffic list.
    Detail,
}

impl Middle {
    /// Returns the panes in the order of Tab.
    pub fn order(self) -> &'static [Focus] {
        match self {
            Middle::Call { .. } => &[Focus::Servers, Focus::Call, Focus::Result, Focus::Traffic],
            Middle::Info => &[Focus::Servers, Focus::Info, Focus::Traffic],
            Middle::Detail => &[Focus::Servers, Focus::Detail, Focus::Traffic],
        }
    }
}

/// The sizes that the user chose, for this session. A size that does not fit is reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Rows of the activity pane, its border included; 0 when it is hidden.
    pub activity: u16,
    /// Columns of the tree, where its divider was moved.
    pub left: Option<u16>,
    /// Rows of the call pane, where its divider was moved.
    pub call: Option<u16>,
    /// Rows of the traffic pane, where its divider was moved.
    pub below: Option<u16>,
    /// Whether the header has a banner.
    pub banner: bool,
}

/// A border that can be dragged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divider {
    /// Between the tree and the panes to its right.
    Left,
    /// Under the call pane.
    Call,
    /// Above the traffic pane.
    Below,
}

/// Below this height the activity pane is hidden: panes need the rows.
const STRIP_FROM: u16 = 26;
/// Below this height the banner is hidden; the header shows it in short.
const BANNER_FROM: u16 = 10;
/// From this width and height on, panes are side by side.
const WIDE: (u16, u16) = (96, 20);
/// Below this size only a message is shown.
const LEAST: (u16, u16) = (16, 4);

/// The rectangles of all panes and bars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// The whole screen.
    pub screen: Rect,
    /// The header.
    pub header: Rect,
    /// The banner below it, for a condition that affects everything.
    pub banner: Option<Rect>,
    /// The status dots below it, on narrow screens.
    pub lamps: Option<Rect>,
    /// The activity pane above the footer, if it fits.
    pub activity: Option<Rect>,
    /// The footer.
    pub footer: Rect,
    /// The visible panes.
    pub panes: Vec<(Focus, Rect)>,
    /// Whether one pane is shown at a time.
    pub narrow: bool,
    /// Whether the screen is too small for any pane.
    pub too_small: bool,
}

impl Layout {
    /// Computes the layout.
    pub fn new((width, height): (u16, u16), middle: Middle, focus: Focus, zoom: bool, room: Room) -> Layout {
        let screen = Rect::new(0, 0, width, height);
        if width < LEAST.0 || height < LEAST.1 {
            return Layout { screen, too_small: true, narrow: true, ..Layout::default() };
        }
        let header = Rect { height: 1, ..screen };
        let footer = Rect { y: height - 1, height: 1, ..screen };
        let mut body = Rect { y: 1, height: height - 2, ..screen };
        let narrow = width < WIDE.0 || height < WIDE.1;
        let banner = (room.banner && height >= BANNER_FROM).then_some(Rect { height: 1, ..body });
        if banner.is_some() {
            body = Rect { y: body.y + 1, height: body.height - 1, ..body };
        }
        let lamps = (narrow && height >= 12 && room.activity > 0).then_some(Rect { height: 1, ..body });
        if lamps.is_some() {
            body = Rect { y: body.y + 1, height: body.height - 1, ..body };
        }
        let mut activity = None;
        if !narrow && !zoom && room.activity > 2 && height >= STRIP_FROM {
            let rows = room.activity.min((height / 5).max(5));
            body.height -= rows;
            activity = Some(Rect { y: body.bottom(), height: rows, ..body });
        }
        let panes = if narrow || zoom { vec![(focus, body)] } else { side_by_side(body, middle, room) };
        Layout { screen, header, banner, lamps, activity, footer, panes, narrow, too_small: false }
    }

    /// Returns the border at a cell that can be dragged.
    pub fn divider(&self, x: u16, y: u16) -> Option<Divider> {
        let tree = self.place(Focus::Servers).filter(|_| self.panes.len() > 1)?;
        let on = |place: Rect| place.x <= x && x < place.right() && y + 1 == place.bottom();
        if tree.y <= y && y < tree.bottom() && (x + 1 == tree.right() || x == tree.right()) {
            // The top border of the pane at the right holds its title and tabs.
            return (x < tree.right() || y > tree.y).then_some(Divider::Left);
        }
        if let (Some(call), Some(_)) = (self.place(Focus::Call).filter(|p| on(*p)), self.place(Focus::Result)) {
            debug_assert!(call.height > 0);
            return Some(Divider::Call);
        }
        self.place(Focus::Traffic).filter(|place| y + 1 == place.y).map(|_| Divider::Below)
    }

    /// Returns the sizes after a border was dragged to a cell.
    pub fn drag(&self, divider: Divider, x: u16, y: u16, room: Room) -> Room {
        match divider {
            Divider::Left => Room { left: Some(x + 1), ..room },
            Divider::Call => Room { call: self.place(Focus::Call).map(|call| (y + 1).saturating_sub(call.y)), ..room },
            Divider::Below => Room { below: self.place(Focus::Traffic).map(|traffic| traffic.bottom().saturating_sub(y + 1)), ..room },
        }
    }

    /// Returns the area between header and footer without the activity pane.
    pub fn body(&self) -> Rect {
        let top = self.header.height + self.banner.map_or(0, |b| b.height) + self.lamps.map_or(0, |l| l.height);
        let activity = self.activity.map_or(0, |s| s.height);
        let height = self.screen.height.saturating_sub(top + self.footer.height + activity);
        if self.too_small { Rect::default() } else { Rect { y: top, height, ..self.screen } }
    }

    /// Returns the area of a pane, if it is visible.
    pub fn place(&self, pane: Focus) -> Option<Rect> {
        self.panes.iter().find(|(p, _)| *p == pane).map(|(_, place)| *place)
    }
}

fn side_by_side(body: Rect, middle: Middle, room: Room) -> Vec<(Focus, Rect)> {
    let below = room.below.unwrap_or((body.height * 28 / 100).clamp(5, 16)).clamp(3, body.height.saturating_sub(9).max(3));
    let left = room.left.unwrap_or((body.width * 40 / 100).clamp(44, 64)).clamp(20, body.width.saturating_sub(30).max(20));
    let above = body.height - below;
    let servers = Rect { width: left, height: above, ..body };
    let rest = Rect { x: body.x + left, width: body.width - left, height: above, ..body };
    let traffic = Rect { y: body.y + above, height: below, ..body };
    let mut panes = vec![(Focus::Servers, servers)];
    match middle {
        Middle::Call { rows } => {
            let call = room.call.unwrap_or(rows.clamp(6, (above * 60 / 100).max(6))).clamp(3, above.saturating_sub(3).max(3));
            panes.push((Focus::Call, Rect { height: call, ..rest }));
            panes.push((Focus::Result, Rect { y: rest.y + call, height: above - call, ..rest }));
        }
        Middle::Info => panes.push((Focus::Info, rest)),
        Middle::Detail => panes.push((Focus::Detail, rest)),
    }
    panes.push((Focus::Traffic, traffic));
    panes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_cover_the_body_without_overlap_at_every_size() {
        for width in 1..=220 {
            for height in 1..=70 {
                for middle in [Middle::Call { rows: 50 }, Middle::Call { rows: 3 }, Middle::Info, Middle::Detail] {
                    let dragged = Room { activity: 9, left: Some(width / 2), call: Some(height), below: Some(height / 3), banner: true };
                    for (zoom, room) in [
                        (false, Room::default()),
                        (true, dragged),
                        (false, dragged),
                        (false, Room { left: Some(0), below: Some(0), ..Room::default() }),
                    ] {
                        let layout = Layout::new((width, height), middle, Focus::Servers, zoom, room);
                        if layout.too_small {
                            continue;
                        }
                        let lines = 2
                            + u32::from(layout.banner.is_some())
                            + u32::from(layout.lamps.is_some())
                            + layout.activity.map_or(0, |activity| u32::from(activity.height));
                        let cells: u32 = layout.panes.iter().map(|(_, r)| r.area()).sum();
                        assert_eq!(cells, u32::from(width) * (u32::from(height) - lines), "{width}x{height} {middle:?}");
                        assert!(layout.panes.iter().all(|(_, r)| r.right() <= width && r.bottom() < height));
                    }
                }
            }
        }
    }

    #[test]
    fn eighty_columns_show_one_pane() {
        assert_eq!(Layout::new((80, 24), Middle::Info, Focus::Info, false, Room::default()).panes.len(), 1);
        assert_eq!(Layout::new((120, 40), Middle::Call { rows: 12 }, Focus::Call, false, Room::default()).panes.len(), 4);
    }
}
