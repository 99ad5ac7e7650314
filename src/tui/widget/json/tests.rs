//! Tests of the drawing and the navigation of a [`JsonView`].

use proptest::prelude::*;
use ratatui::{buffer::Buffer, layout::Rect};

use super::*;
use crate::tui::{hits::HitMap, theme::Theme};

const DOCUMENT: &str = r#"{"userId":"u_1042","profile":{"email":"ann@example.org","role":"developer","age":12345678901234567890123,"score":1.0,"ok":true,"none":null},"tags":["new","beta"],"empty":{},"list":[],"bio":"first\nsecond\u0007","":"no key","a\u0000b":"\ud800 lone","tags":["again"]}"#;

fn screen(view: &mut JsonView, width: u16, height: u16) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    view.draw(area, &mut buf, &Theme::mono(), true, &HitMap::default());
    crate::tui::widget::test_screen::text_of(&buf)
}

fn press(view: &mut JsonView, keys: &str) {
    for c in keys.chars() {
        view.act(action_of(c));
    }
}

/// Returns the action of a letter in these tests.
fn action_of(c: char) -> Action {
    match c {
        'j' => Action::Down,
        'k' => Action::Up,
        'h' => Action::Left,
        'l' => Action::Right,
        'g' => Action::Top,
        'G' => Action::Bottom,
        '+' => Action::UnfoldLevel,
        '-' => Action::FoldLevel,
        'n' => Action::NextMatch,
        'N' => Action::PreviousMatch,
        _ => Action::Fold,
    }
}

#[test]
fn a_document_as_it_came() {
    let mut view = JsonView::json(Body::from(DOCUMENT));
    insta::assert_snapshot!(screen(&mut view, 80, 20));
    insta::assert_snapshot!(screen(&mut view, 30, 20));
    press(&mut view, "-");
    insta::assert_snapshot!(screen(&mut view, 120, 10));
    assert_eq!(view.line_count(), 9);
}

#[test]
fn a_string_opens_as_text() {
    let mut view =
        JsonView::json(Body::from(r##"{"a":1,"body":"# Title\n\nA line that is too long for the width of this view.\n","z":2}"##));
    press(&mut view, "jl");
    insta::assert_snapshot!(screen(&mut view, 40, 9), @r"
      a     1
    ▾ body  66 B
      │ # Title
      │
      │ A line that is too long for the widt
      │ h of this view.
      z     2
    ");
    press(&mut view, "jjjj");
    assert_eq!(view.cursor_path(), "$.body");
    press(&mut view, "h");
    assert_eq!((view.cursor.line, view.line_count()), (0, 3));
}

#[test]
fn invalid_json_is_shown_as_text() {
    let mut view = JsonView::json(Body::new(&b"{\"a\": 1,\n oops \xff\x1b[2J}"[..]));
    insta::assert_snapshot!(screen(&mut view, 50, 4), @r#"
    ✕ invalid JSON at byte 10: expected a key in doub…
    {"a": 1,
     oops \xff\x1b[2J}
    "#);
}

#[test]
fn invalid_utf8_is_shown_escaped() {
    let mut view = JsonView::json(Body::new(&b"{\"a\xff\":\"x\xfe\x1b[31m\xe2\x80\xae\"}"[..]));
    insta::assert_snapshot!(screen(&mut view, 50, 1), @r#"  a\xff  "x\xfe\x1b[31m\u{202e}""#);
}

#[test]
fn paths_and_values_are_copied() {
    let mut view = JsonView::json(Body::from(DOCUMENT));
    press(&mut view, "jjjj");
    assert_eq!((view.cursor_path().as_str(), &*view.copy_value().text()), ("$.profile.age", "12345678901234567890123"));
    press(&mut view, "kk");
    assert_eq!((&*view.copy_value().text(), &*view.copy_text().text()), ("\"ann@example.org\"", "ann@example.org"));
    press(&mut view, "k");
    assert!(view.copy_value().text().starts_with("{\"email\"") && view.copy_value().text().ends_with("null}"));
    press(&mut view, "Gkk");
    assert_eq!(view.cursor_path(), "$[\"a\\u0000b\"]");
    press(&mut view, "G");
    assert_eq!(view.cursor_path(), "$.tags[0]");
}

#[test]
fn folds_are_left_and_entered() {
    let mut view = JsonView::json(Body::from(DOCUMENT));
    press(&mut view, "jjj");
    press(&mut view, "h");
    assert_eq!(view.cursor_path(), "$.profile");
    press(&mut view, "h");
    assert_eq!(view.line_count(), 12);
    press(&mut view, "j");
    assert_eq!(view.cursor_path(), "$.tags");
    press(&mut view, "kll");
    assert_eq!(view.cursor_path(), "$.profile.email");
}

#[test]
fn a_search_goes_through_the_whole_document_in_pieces() {
    let long = format!("{}needle{}", "x ".repeat(5_000), "y ".repeat(5_000));
    let text = format!(r#"{{"a":{{"b":"Needle"}},"long":"{long}","z":["needle"]}}"#);
    let mut view = JsonView::json(Body::from(text));
    press(&mut view, "-");
    screen(&mut view, 40, 10);
    view.search("needle");
    let mut steps = 0;
    while let Progress::More(_) = view.search_step(1_000) {
        steps += 1;
    }
    assert!(steps > 10);
    assert_eq!(view.match_position(), Some((Some(1), 3)));
    assert_eq!(view.cursor_path(), "$.a.b");
    press(&mut view, "n");
    assert_eq!(view.cursor_path(), "$.long");
    assert!(screen(&mut view, 40, 10).contains("needle"), "the long string is open at the match");
    press(&mut view, "n");
    assert_eq!(view.cursor_path(), "$.z[0]");
    press(&mut view, "n");
    assert_eq!(view.cursor_path(), "$.a.b");
    press(&mut view, "N");
    assert_eq!(view.match_position(), Some((Some(3), 3)));
}

#[test]
fn a_scalar_or_an_empty_document_has_one_row() {
    for (text, shown) in [("1.50", "1.50"), ("\"a\"", "\"a\""), ("{ }", "{ }"), ("[]", "[]"), (" null ", "null")] {
        let mut view = JsonView::json(Body::from(text));
        assert_eq!(screen(&mut view, 20, 3).trim(), shown);
        press(&mut view, "jkhl -+G");
        assert_eq!(view.cursor_path(), "$");
    }
    assert_eq!(screen(&mut JsonView::text(String::new()), 20, 3).trim(), "");
}

#[test]
fn a_long_line_of_text_scrolls_by_rows() {
    let mut view = JsonView::text("word ".repeat(200_000));
    assert!(view.line_count() > 200);
    screen(&mut view, 40, 10);
    press(&mut view, "G");
    let last = screen(&mut view, 40, 10);
    assert!(last.trim_end().ends_with("word"));
    press(&mut view, "kkkkkkkkkkkg");
    assert_eq!((view.cursor, view.line()), (view.first(), 0));
}

#[test]
fn a_big_document_is_indexed_in_little_memory_and_walked_by_screens() {
    let item = r#"{"id":12345,"name":"something","tags":["a","b","c"],"nested":{"x":1.5,"y":null}},"#;
    let text = format!("[{}0]", item.repeat(20_000));
    let size = text.len();
    let mut view = JsonView::json(Body::from(text));
    assert!(view.tree.as_ref().unwrap().memory() < 2 * size);
    assert_eq!(view.line_count(), 20_001);
    press(&mut view, "+++++++");
    assert_eq!(view.line_count(), 20_000 * 10 + 1);
    press(&mut view, "G");
    assert_eq!(view.cursor_path(), "$[20000]");
    press(&mut view, "k");
    assert_eq!(view.cursor_path(), "$[19999].nested.y");
    assert_eq!(view.line(), 199_999);
    press(&mut view, "j");
    insta::assert_snapshot!(screen(&mut view, 60, 6), @r#"
          1  "b"
          2  "c"
      ▾ nested
          x  1.5
          y  null
      20000  0
    "#);
}

proptest! {
    #[test]
    fn any_keys_at_any_size(
        text in "(\\[|\\{|\\]|\\}|\"|,|:|1|a|\\\\n|日|\\n| ){0,40}|\\[(1|\"日本\\\\n\"|\\{\"k\":\\[true,\"\\\\ud800 long text here\"\\]\\})(,(\\[\\]|\\[null\\]|\"x y z\")){0,6}\\]",
        steps in prop::collection::vec((0..24usize, 0u16..41, 0u16..13), 0..40),
        tree in any::<bool>(),
    ) {
        let mut view = if tree { JsonView::json(Body::from(text)) } else { JsonView::text(text) };
        let keys = "jkgGhl +-nNjjkkh l";
        for (key, width, height) in steps {
            let action = match keys.chars().nth(key) {
                Some(c) => action_of(c),
                None => [Action::PageDown, Action::PageUp, Action::Open, Action::Bottom][key % 4],
            };
            if key == 9 {
                view.search("n");
                view.search_step(7);
            }
            view.act(action);
            screen(&mut view, width, height);
            view.cursor_path();
            view.copy_text();
            prop_assert!(view.line() < view.line_count().max(1));
            if height > 1 && width > 0 {
                prop_assert!(view.rows_on_screen().contains(&view.cursor));
            }
        }
    }
}

impl JsonView {
    fn rows_on_screen(&self) -> Vec<Position> {
        std::iter::successors(Some(self.top), |at| self.after(*at)).take(self.height).collect()
    }
}
