//! The grid: an array of objects as a table with sortable columns, and as CSV (RFC 4180).
//!
//! Only visible rows are drawn. Numbers sort by value, other values by text.

use std::cmp::Ordering;

use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};
use unicode_width::UnicodeWidthStr;

use super::{
    paint::Pen,
    window::{Direction, Move, Window},
};
use crate::{
    domain::{body::Body, json::Json, text::visible},
    tui::{
        action::Action,
        hits::{Hit, HitMap},
        theme::Theme,
    },
};

/// The widest column, in cells, apart from the last one.
const WIDEST: usize = 36;
/// The number of rows, spread over all, whose values decide the width of a column.
const SAMPLE: usize = 200;
/// The most columns.
const MOST_COLUMNS: usize = 200;
/// The most characters of a nested value in a cell.
const NESTED: usize = 200;

/// What a cell holds, which decides its style and its side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// The row does not have this member.
    #[default]
    Missing,
    Text,
    Number,
    /// `true`, `false` or `null`.
    Word,
    /// An object or an array, as compact JSON.
    Nested,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    text: String,
    kind: Kind,
    number: Option<f64>,
}

impl Cell {
    fn new(value: &Json) -> Cell {
        match value {
            Json::String(text) => Cell { text: text.clone(), kind: Kind::Text, number: None },
            Json::Number(text) => Cell { number: text.parse().ok(), text: text.clone(), kind: Kind::Number },
            Json::Null | Json::Bool(_) => Cell { text: value.text(), kind: Kind::Word, number: None },
            _ => Cell { text: value.text(), kind: Kind::Nested, number: None },
        }
    }

    /// Returns the text in one row of the grid.
    fn shown(&self) -> String {
        let start = match self.text.char_indices().nth(NESTED) {
            Some((end, _)) => &self.text[..end],
            None => &self.text,
        };
        visible(start).into_owned()
    }

    fn compare(&self, other: &Cell) -> Ordering {
        let rank = |cell: &Cell| match cell.kind {
            Kind::Number => 0,
            Kind::Missing => 2,
            _ => 1,
        };
        match (self.number, other.number) {
            (Some(one), Some(two)) => one.total_cmp(&two),
            _ => rank(self).cmp(&rank(other)).then_with(|| self.text.cmp(&other.text)),
        }
    }
}

/// The order of the rows: the column and whether it is descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sort {
    column: usize,
    descending: bool,
}

/// The objects of an array as rows.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The document that the grid shows a part of.
    body: Body,
    /// The name of the member with the rows, if the document is an object.
    member: Option<String>,
    columns: Vec<String>,
    widths: Vec<u16>,
    rows: Vec<Vec<Cell>>,
    /// The rows in the order shown.
    order: Vec<u32>,
    sort: Option<Sort>,
    window: Window,
    column: usize,
    /// The first visible column.
    left: usize,
    height: usize,
    needle: Option<(String, Vec<usize>)>,
}

/// Returns the array of objects of a document: the document, or its longest member that is one.
fn objects(json: &Json) -> Option<(Option<&str>, &[Json])> {
    let fits = |items: &[Json]| !items.is_empty() && items.iter().all(|item| matches!(item, Json::Object(members) if !members.is_empty()));
    match json {
        Json::Array(items) => fits(items).then_some((None, items.as_slice())),
        Json::Object(members) => {
            let arrays = members.iter().filter(|(_, value)| fits(value.items()));
            arrays.max_by_key(|(_, value)| value.items().len()).map(|(name, value)| (Some(name.as_str()), value.items()))
        }
        _ => None,
    }
}

/// Returns whether a document has an array of at least two objects, so that a grid shows more than a tree.
pub fn is_tabular(json: &Json) -> bool {
    objects(json).is_some_and(|(_, items)| items.len() > 1)
}

impl Grid {
    /// Creates the grid of a document; `None` if it has no array of objects.
    pub fn new(body: Body) -> Option<Grid> {
        let json = Json::parse(&body.text()).ok()?;
        let (member, items) = objects(&json)?;
        let mut columns: Vec<String> = vec![];
        for (key, _) in items.iter().flat_map(Json::members) {
            if columns.len() < MOST_COLUMNS && !columns.contains(key) {
                columns.push(key.clone());
            }
        }
        let cell = |item: &Json, key: &String| item.get(key).map(Cell::new).unwrap_or_default();
        let rows: Vec<Vec<Cell>> = items.iter().map(|item| columns.iter().map(|key| cell(item, key)).collect()).collect();
        let step = rows.len().div_ceil(SAMPLE).max(1);
        let widths = columns.iter().enumerate().map(|(at, key)| {
            let values = rows.iter().step_by(step).chain(rows.last()).map(|row| row[at].shown().width());
            values.chain([visible(key).width() + 2]).max().unwrap_or(0).min(WIDEST) as u16
        });
        let widths = widths.collect();
        let order = (0..rows.len() as u32).collect();
        let member = member.map(str::to_owned);
        Some(Grid {
            body,
            member,
            columns,
            widths,
            rows,
            order,
            sort: None,
            window: Window::default(),
            column: 0,
            left: 0,
            height: 20,
            needle: None,
        })
    }

    /// Returns the document.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the name of the member with the rows, and the sorted column, for the title.
    pub fn title(&self) -> String {
        let rows = crate::domain::plural::counted(self.rows.len(), "row");
        let sort = self.sort.map(|sort| format!(" by {} {}", visible(&self.columns[sort.column]), if sort.descending { "▼" } else { "▲" }));
        let member = self.member.as_deref().map(|name| format!("{} · ", visible(name))).unwrap_or_default();
        format!("{member}{rows}{}", sort.unwrap_or_default())
    }

    /// Handles an action; returns whether it applies.
    pub fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Left => self.column = self.column.saturating_sub(1),
            Action::Right => self.column = (self.column + 1).min(self.columns.len().saturating_sub(1)),
            Action::Sort | Action::Open => self.sort_by(self.column),
            Action::ReverseSort => self.reverse(),
            _ => match Move::of(action, self.height.saturating_sub(1).max(1)) {
                Some(to) => self.window.go(to, self.rows.len()),
                None => return false,
            },
        }
        true
    }

    /// Sorts by a column; the same column again reverses the order. The cursor stays on its row.
    pub fn sort_by(&mut self, column: usize) {
        if column >= self.columns.len() {
            return;
        }
        let descending = self.sort.is_some_and(|sort| sort.column == column && !sort.descending);
        self.column = column;
        self.order_by(Sort { column, descending });
    }

    fn reverse(&mut self) {
        if let Some(sort) = self.sort {
            self.order_by(Sort { descending: !sort.descending, ..sort });
        }
    }

    fn order_by(&mut self, sort: Sort) {
        let row = self.order.get(self.window.cursor).copied();
        let cell = |row: u32| &self.rows[row as usize][sort.column];
        self.order.sort_by(|one, two| {
            let (one, two) = (cell(*one), cell(*two));
            // Missing values are last in both orders.
            match (one.kind == Kind::Missing, two.kind == Kind::Missing) {
                (false, false) if sort.descending => two.compare(one),
                _ => one.compare(two),
            }
        });
        self.sort = Some(sort);
        if let Some(at) = row.and_then(|row| self.order.iter().position(|other| *other == row)) {
            self.window.cursor = at;
        }
        if let Some((needle, _)) = self.needle.take() {
            self.search(&needle);
        }
    }

    /// Returns the JSON of the cell under the cursor, or its text if it is a string.
    pub fn value(&self) -> Body {
        let cell = self.order.get(self.window.cursor).and_then(|row| self.rows[*row as usize].get(self.column));
        Body::from(cell.map(|cell| cell.text.clone()).unwrap_or_default())
    }

    /// Returns all rows as CSV in the order shown, with a header.
    pub fn csv(&self) -> String {
        let field = |text: &str| match text.contains([',', '"', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let line = |fields: Vec<String>| fields.join(",") + "\r\n";
        let mut csv = line(self.columns.iter().map(|name| field(name)).collect());
        for row in &self.order {
            csv.push_str(&line(self.rows[*row as usize].iter().map(|cell| field(&cell.text)).collect()));
        }
        csv
    }

    /// Searches in all cells, without case unless the text has a capital; an empty text ends the search.
    pub fn search(&mut self, text: &str) {
        self.needle = None;
        if text.is_empty() {
            return;
        }
        let any_case = !text.chars().any(char::is_uppercase);
        let has = |cell: &Cell| if any_case { cell.text.to_lowercase().contains(text) } else { cell.text.contains(text) };
        let rows: Vec<usize> = (0..self.order.len()).filter(|at| self.rows[self.order[*at] as usize].iter().any(has)).collect();
        let next = rows.partition_point(|at| *at < self.window.cursor);
        if let Some(at) = rows.get(next).or(rows.first()) {
            self.window.cursor = *at;
        }
        self.needle = Some((text.to_owned(), rows));
    }

    /// Returns the search text.
    pub fn needle(&self) -> Option<&str> {
        self.needle.as_ref().map(|(text, _)| text.as_str())
    }

    /// Goes to the next or the previous row that matches.
    pub fn step(&mut self, direction: Direction) {
        let Some((_, rows)) = &self.needle else { return };
        let cursor = self.window.cursor;
        let found = match direction {
            Direction::Forward => rows.iter().find(|at| **at > cursor).or(rows.first()),
            Direction::Backward => rows.iter().rev().find(|at| **at < cursor).or(rows.last()),
        };
        if let Some(at) = found {
            self.window.cursor = *at;
        }
    }

    /// Returns the number (from 1) of the match under the cursor, and the number of rows that match.
    pub fn match_position(&self) -> Option<(Option<usize>, usize)> {
        let (_, rows) = self.needle.as_ref()?;
        Some((rows.binary_search(&self.window.cursor).ok().map(|at| at + 1), rows.len()))
    }

    /// Puts the cursor on a visible row, counted from the first one. Returns whether it was there already.
    pub fn click(&mut self, row: usize) -> bool {
        let at = (self.window.top + row).min(self.rows.len().saturating_sub(1));
        std::mem::replace(&mut self.window.cursor, at) == at
    }

    /// Returns the position for a scroll bar: the first visible row, the number of visible rows, and of all rows.
    pub fn position(&self) -> (usize, usize, usize) {
        (self.window.top, self.height, self.rows.len())
    }

    /// Scrolls sideways so that the column of the cursor is visible. Returns the visible columns with their widths.
    fn fit_columns(&mut self, width: u16) -> Vec<(usize, u16)> {
        self.left = self.left.min(self.column);
        let cells = |from: usize, to: usize| self.widths[from..=to].iter().map(|w| w + 2).fold(0u16, u16::saturating_add);
        while self.left < self.column && cells(self.left, self.column) > width.saturating_add(2) {
            self.left += 1;
        }
        let (mut shown, mut used) = (vec![], 0u16);
        for at in self.left..self.columns.len() {
            let left = width.saturating_sub(used);
            if left < 3 {
                break;
            }
            // The last column takes what is left.
            let cells = if at + 1 == self.columns.len() { left } else { self.widths[at].min(left) };
            shown.push((at, cells));
            used = used.saturating_add(cells + 2);
        }
        shown
    }

    /// Draws the header and the visible rows.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, focused: bool, hits: &HitMap) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let columns = self.fit_columns(area.width);
        let mut x = area.x;
        for (at, cells) in &columns {
            let place = Rect { x, y: area.y, width: *cells, height: 1 };
            let mark = match self.sort {
                Some(sort) if sort.column == *at => {
                    if sort.descending {
                        " ▼"
                    } else {
                        " ▲"
                    }
                }
                _ => "",
            };
            let style = if focused && *at == self.column { theme.focus.add_modifier(Modifier::UNDERLINED) } else { theme.accent };
            Pen::new(buf, place, 0).cut(&format!("{}{mark}", visible(&self.columns[*at])), style);
            hits.add(place, Hit::GridColumn(*at));
            x = x.saturating_add(cells + 2);
        }
        let list = Rect { y: area.y + 1, height: area.height - 1, ..area };
        self.height = usize::from(list.height);
        self.window.fit(self.rows.len(), self.height);
        for (y, at) in self.window.rows(self.rows.len(), self.height).enumerate() {
            let line = Rect { y: list.y + y as u16, height: 1, ..list };
            hits.add(line, Hit::Row(y));
            let row = &self.rows[self.order[at] as usize];
            let mut x = line.x;
            for (column, cells) in &columns {
                let cell = &row[*column];
                let style = match cell.kind {
                    Kind::Text => theme.text,
                    Kind::Number => theme.json_number,
                    Kind::Word => theme.json_word,
                    Kind::Nested | Kind::Missing => theme.muted,
                };
                let shown = cell.shown();
                let last = column + 1 == self.columns.len();
                // Numbers line up on the right.
                let pad = if cell.kind == Kind::Number && !last { usize::from(*cells).saturating_sub(shown.width()) } else { 0 };
                let found = self.needle.as_ref().is_some_and(|(needle, _)| shown.to_lowercase().contains(&needle.to_lowercase()));
                let style = if found { style.patch(theme.found) } else { style };
                Pen::new(buf, Rect { x, width: *cells, ..line }, 0).pass(pad).cut(&shown, style);
                x = x.saturating_add(cells + 2);
            }
            if at == self.window.cursor {
                buf.set_style(line, if focused { theme.selection } else { theme.selection_idle });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(json: &str) -> Grid {
        Grid::new(Body::from(json)).unwrap()
    }

    fn shown(grid: &mut Grid, width: u16, height: u16) -> Vec<String> {
        let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
        grid.draw(buf.area, &mut buf, &Theme::mono(), true, &HitMap::default());
        buf.content.chunks(usize::from(width)).map(|row| row.iter().map(|c| c.symbol()).collect::<String>().trim_end().to_owned()).collect()
    }

    const USERS: &str = r#"[{"name":"Ann","age":7},{"name":"bob \"x\"","age":31,"tags":["a"]},{"name":"Cem, jr","age":4.5}]"#;

    #[test]
    fn objects_are_rows_and_their_members_columns() {
        let mut users = grid(USERS);
        assert_eq!(shown(&mut users, 30, 4), ["name     age    tags", "Ann          7", "bob \"x\"     31  [\"a\"]", "Cem, jr    4.5"]);
        assert!(is_tabular(&Json::parse(USERS).unwrap()));
        for other in ["[]", "[1]", "[{}]", "{}", r#"{"a":[1]}"#, r#"[{"a":1},2]"#] {
            assert!(Grid::new(Body::from(other)).is_none(), "{other}");
        }
        let nested = grid(r#"{"count":2,"users":[{"a":1},{"b":2}],"one":[{"c":1}]}"#);
        assert_eq!((nested.title().as_str(), nested.len()), ("users · 2 rows", 2));
    }

    #[test]
    fn rows_are_sorted_by_value_and_missing_values_come_last() {
        let mut users = grid(USERS);
        users.act(Action::Right);
        users.act(Action::Sort);
        assert_eq!(users.csv(), "name,age,tags\r\n\"Cem, jr\",4.5,\r\nAnn,7,\r\n\"bob \"\"x\"\"\",31,\"[\"\"a\"\"]\"\r\n");
        users.act(Action::Sort);
        assert!(users.csv().contains("tags\r\n\"bob"), "{}", users.csv());
        assert_eq!(users.title(), "3 rows by age ▼");
        users.sort_by(2);
        users.sort_by(2);
        assert_eq!(users.order[0], 1, "missing last in both orders");
        assert_eq!(users.value().text(), "", "the cursor is still on its row");
    }

    #[test]
    fn the_cursor_scrolls_in_both_directions() {
        let rows: Vec<String> =
            (0..4000).map(|n| format!(r#"{{"id":{n},"name":"user {n}","mail":"user{n}@example.org","note":"x"}}"#)).collect();
        let mut grid = grid(&format!("[{}]", rows.join(",")));
        grid.act(Action::Bottom);
        assert!(shown(&mut grid, 40, 5)[4].contains("user 3999"));
        grid.act(Action::Right);
        grid.act(Action::Right);
        grid.act(Action::Right);
        assert!(shown(&mut grid, 40, 5)[0].contains("note"), "the column is visible");
        grid.search("user1234@");
        assert_eq!((grid.window.cursor, grid.match_position()), (1234, Some((Some(1), 1))));
        grid.step(Direction::Forward);
        assert_eq!(grid.window.cursor, 1234);
        assert!(!grid.click(2));
    }
}
