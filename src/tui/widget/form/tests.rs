//! Tests of the drawing and the keys of a form.

use proptest::prelude::*;
use ratatui::{buffer::Buffer, layout::Rect};

use super::*;
use crate::tui::{
    hits::{Hit, HitMap},
    theme::Theme,
};

const USER: &str = r#"{"type":"object","properties":{
  "email":{"type":"string","format":"email","description":"Where invitations go. Must not be in use by another user of the directory."},
  "name":{"type":"string","minLength":2},
  "role":{"enum":["developer","admin","viewer"],"default":"developer"},
  "notify":{"type":"boolean"},
  "seats":{"type":"integer","minimum":1,"maximum":10},
  "tags":{"type":"array","items":{"type":"string"}},
  "address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"},"zip":{"type":"string"}},"required":["street"]},
  "auth":{"oneOf":[{"title":"Password","type":"object","properties":{"password":{"type":"string"}},"required":["password"]},{"title":"Key","type":"object","properties":{"key":{"type":"string"}},"required":["key"]}]},
  "labels":{"type":"object","additionalProperties":{"type":"string"}},
  "nick":{"type":["string","null"]}
},"required":["email","name"]}"#;

fn view(schema: &str) -> FormView {
    FormView::new(&Body::from(schema))
}

fn screen(view: &mut FormView, width: u16, height: u16) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    let hits = HitMap::default();
    view.draw(area, &mut buf, &Theme::mono(), true, &hits);
    view.draw_list(area, &mut buf, &Theme::mono(), &hits);
    crate::tui::widget::test_screen::text_of(&buf)
}

fn code(view: &mut FormView, code: KeyCode) -> FormEvent {
    view.handle(KeyEvent::new(code, KeyModifiers::NONE))
}

fn write(view: &mut FormView, text: &str) {
    for c in text.chars() {
        code(view, KeyCode::Char(c));
    }
}

fn filled() -> FormView {
    let mut view = view(USER);
    view.set_json(r#"{"email":"ann@example.org","name":"Ann","role":"admin","tags":["new","beta"],"address":{"street":"Main","zip":"1"},"auth":{"key":"k"},"labels":{"team":"red"},"nick":null}"#)
        .unwrap();
    view
}

#[test]
fn a_fresh_form() {
    let mut view = view(USER);
    insta::assert_snapshot!(screen(&mut view, 80, 18));
    insta::assert_snapshot!(screen(&mut view, 30, 18));
}

#[test]
fn a_filled_form() {
    let mut view = filled();
    insta::assert_snapshot!(screen(&mut view, 120, 24));
    insta::assert_snapshot!(screen(&mut view, 30, 24));
}

#[test]
fn text_and_enter_are_enough_for_one_string() {
    let mut view = view(r#"{"type":"object","properties":{"loud":{"type":"boolean"},"message":{"type":"string"}},"required":["message"]}"#);
    assert!(view.wants_text());
    write(&mut view, "hi jk");
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::Submit);
    assert_eq!(view.json(), r#"{"message":"hi jk"}"#);
}

#[test]
fn errors_are_shown_and_focused() {
    let mut view = view(USER);
    write(&mut view, "invalid");
    code(&mut view, KeyCode::Tab);
    write(&mut view, "A");
    code(&mut view, KeyCode::Up);
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::Refused);
    assert_eq!(view.path(), &[1]);
    insta::assert_snapshot!(screen(&mut view, 80, 12));
    write(&mut view, "nn");
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::Submit, "an unusual format is a warning, not an error");
}

#[test]
fn a_refusal_shows_its_reason() {
    let mut view = view(USER);
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::Refused);
    assert!(screen(&mut view, 80, 20).contains("✕ required"));
}

#[test]
fn choices_are_typed_or_stepped_through() {
    let mut view = view(USER);
    view.go(vec![2]);
    write(&mut view, "vi");
    assert!(view.json().contains("viewer"));
    code(&mut view, KeyCode::Left);
    assert!(view.json().contains("admin"));
    code(&mut view, KeyCode::Tab);
    code(&mut view, KeyCode::Char(' '));
    assert!(view.json().contains(r#""notify":true"#));
    code(&mut view, KeyCode::Char(' '));
    code(&mut view, KeyCode::Char(' '));
    assert!(!view.json().contains("notify"));
}

const MANY: &str = r#"{"type":"object","properties":{
  "zone":{"enum":["Europe/Berlin","Europe/Paris","America/Lima","America/New York","Asia/Tokyo"]},
  "how":{"oneOf":[{"title":"Password","type":"string"},{"title":"Key","type":"object","properties":{"key":{"type":"string"}}},{"title":"Token","type":"integer"},{"title":"Card","type":"boolean"}]},
  "n":{"enum":[1,2,3]}
},"required":["zone","how"]}"#;

#[test]
fn many_choices_are_listed_and_found_by_typing() {
    let mut view = view(MANY);
    view.go(vec![0]);
    code(&mut view, KeyCode::Char(' '));
    assert!(view.wants_text(), "letters go into the list");
    insta::assert_snapshot!(screen(&mut view, 60, 12));
    write(&mut view, "ERICA new");
    let shown = screen(&mut view, 60, 12);
    assert!(shown.contains("1 of 5") && shown.contains("New York") && !shown.contains("Asia/Tokyo  "), "{shown}");
    code(&mut view, KeyCode::Enter);
    assert_eq!(view.json(), r#"{"zone":"America/New York"}"#);
    // Escape changes nothing, arrows move, Tab picks as well.
    code(&mut view, KeyCode::Char(' '));
    code(&mut view, KeyCode::Down);
    code(&mut view, KeyCode::Esc);
    assert_eq!(view.json(), r#"{"zone":"America/New York"}"#);
    code(&mut view, KeyCode::Char(' '));
    code(&mut view, KeyCode::Down);
    code(&mut view, KeyCode::Tab);
    assert_eq!(view.json(), r#"{"zone":"Asia/Tokyo"}"#);
    code(&mut view, KeyCode::Char(' '));
    write(&mut view, "nowhere");
    assert!(screen(&mut view, 60, 12).contains("No matches"));
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::None, "nothing is chosen, and nothing sent");
    code(&mut view, KeyCode::Esc);
    // Unions open a list as well. Few choices are stepped through.
    view.go(vec![1]);
    code(&mut view, KeyCode::Char(' '));
    write(&mut view, "tok");
    code(&mut view, KeyCode::Enter);
    assert!(matches!(view.kind(), Some(Kind::Union { picked: 2, .. })));
    view.go(vec![2]);
    code(&mut view, KeyCode::Char(' '));
    assert!(view.json().contains(r#""n":1"#), "{}", view.json());
    // At any size and position of the field.
    view.go(vec![0]);
    code(&mut view, KeyCode::Char(' '));
    for width in 1..40 {
        for height in 1..14 {
            screen(&mut view, width, height);
        }
    }
}

#[test]
fn changes_are_undone_one_by_one() {
    let mut view = filled();
    view.clear_undo();
    let before = view.json();
    assert!(!view.can_undo());
    // A key that changes nothing adds no undo step.
    view.go(vec![0]);
    code(&mut view, KeyCode::Esc);
    code(&mut view, KeyCode::Char('d'));
    assert!(!view.can_undo());
    view.go(vec![5, 1]);
    code(&mut view, KeyCode::Char('d'));
    assert!(!view.json().contains("beta"));
    view.undo();
    assert_eq!((view.json(), view.path().clone()), (before.clone(), vec![5, 1]), "the item and the cursor");
    view.reset();
    assert_ne!(view.json(), before);
    view.undo();
    assert_eq!(view.json(), before);
    // Letters typed into a field in one visit are one undo step.
    view.go(vec![1]);
    view.edit();
    write(&mut view, "abel");
    code(&mut view, KeyCode::Tab);
    code(&mut view, KeyCode::Char(' '));
    view.go(vec![9]);
    code(&mut view, KeyCode::Esc);
    code(&mut view, KeyCode::Backspace);
    view.undo();
    assert!(view.json().contains(r#""nick":null"#));
    while view.can_undo() {
        view.undo();
    }
    assert_eq!(view.json(), before);
    assert_eq!(view.undo(), FormEvent::None);
}

#[test]
fn items_are_added_moved_and_removed() {
    let mut view = view(USER);
    view.go(vec![5]);
    code(&mut view, KeyCode::Char('a'));
    write(&mut view, "one");
    view.handle(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT));
    write(&mut view, "two");
    code(&mut view, KeyCode::Esc);
    code(&mut view, KeyCode::Char('K'));
    assert!(view.json().contains(r#""tags":["two","one"]"#));
    insta::assert_snapshot!(screen(&mut view, 80, 11));
    code(&mut view, KeyCode::Char('d'));
    assert!(view.json().contains(r#""tags":["one"]"#));
    code(&mut view, KeyCode::Char('d'));
    assert!(!view.json().contains("tags"));
    assert_eq!(view.path(), &[5]);
}

#[test]
fn alternatives_and_other_members() {
    let mut view = view(USER);
    view.go(vec![7]);
    code(&mut view, KeyCode::Right);
    code(&mut view, KeyCode::Down);
    write(&mut view, "secret");
    assert!(view.json().contains(r#""auth":{"key":"secret"}"#), "{}", view.json());
    view.go(vec![8]);
    code(&mut view, KeyCode::Char('a'));
    write(&mut view, "team");
    code(&mut view, KeyCode::Enter);
    write(&mut view, "red");
    assert!(view.json().contains(r#""labels":{"team":"red"}"#), "{}", view.json());
}

#[test]
fn null_and_empty_text_are_explicit() {
    let mut view = view(USER);
    view.go(vec![9]);
    code(&mut view, KeyCode::Esc);
    code(&mut view, KeyCode::Char('n'));
    assert!(view.json().contains(r#""nick":null"#));
    code(&mut view, KeyCode::Char('"'));
    assert!(view.json().contains(r#""nick":"""#));
    code(&mut view, KeyCode::Char('x'));
    assert!(!view.json().contains("nick"));
    code(&mut view, KeyCode::Char('i'));
    write(&mut view, "né");
    assert!(view.json().contains(r#""nick":"né""#));
}

#[test]
fn the_ends_of_the_form_lead_out() {
    let mut view = view(USER);
    assert_eq!(code(&mut view, KeyCode::BackTab), FormEvent::Leave(Leave::Before));
    view.go(vec![9]);
    assert_eq!(code(&mut view, KeyCode::Tab), FormEvent::Leave(Leave::After));
    assert_eq!(code(&mut view, KeyCode::Esc), FormEvent::None);
    assert!(!view.wants_text());
    assert_eq!(code(&mut view, KeyCode::Esc), FormEvent::Leave(Leave::Out));
}

#[test]
fn a_tool_without_arguments_fires() {
    let mut view = view(r#"{"type":"object"}"#);
    assert!(screen(&mut view, 40, 3).contains("No arguments"));
    assert!(!view.wants_text());
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::Submit);
    assert_eq!(code(&mut view, KeyCode::Tab), FormEvent::Leave(Leave::After));
}

#[test]
fn hostile_schema_text_is_harmless() {
    let mut view = view(
        "{\"properties\":{\"a\\u001b[2J\":{\"type\":\"string\",\"description\":\"x\\u202ey\\u001b]0;t\\u0007\",\"default\":\"\\u0007\"}}}",
    );
    let shown = screen(&mut view, 60, 10);
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown}");
    assert!(shown.contains(r"\u{202e}"));
}

#[test]
fn a_long_form_scrolls_with_the_cursor() {
    let fields: Vec<String> = (0..50).map(|i| format!(r#""f{i}":{{"type":"string","minLength":3}}"#)).collect();
    let mut view = view(&format!(r#"{{"type":"object","properties":{{{}}}}}"#, fields.join(",")));
    for i in 0..50 {
        write(&mut view, "x");
        let shown = screen(&mut view, 40, 7);
        assert!(shown.lines().any(|line| line.starts_with(&format!("› f{i} "))), "{shown}");
        assert!(shown.contains("✕"), "{shown}");
        code(&mut view, KeyCode::Down);
    }
}

proptest! {
    #[test]
    fn any_keys_at_any_size(steps in prop::collection::vec((0..30usize, 0u16..41, 0u16..13), 0..50), full in any::<bool>()) {
        let mut view = if full { filled() } else { view(USER) };
        let keys = "jkhl adxn\"iJKgGt1";
        for (key, width, height) in steps {
            let code = match keys.chars().nth(key) {
                Some(c) => KeyCode::Char(c),
                None => [KeyCode::Tab, KeyCode::BackTab, KeyCode::Esc, KeyCode::Enter, KeyCode::Left, KeyCode::Right, KeyCode::Backspace, KeyCode::PageDown][key % 8],
            };
            view.handle(KeyEvent::new(code, KeyModifiers::NONE));
            screen(&mut view, width, height);
            prop_assert!(view.form().rows().iter().any(|row| row.path == view.at), "{:?}", view.at);
            let json = view.json();
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }
}

const BOXES: &str = r#"{"type":"object","properties":{
  "channels":{"type":"array","items":{"type":"string","enum":["email","sms","push"]},"minItems":1,"description":"Where to notify."},
  "note":{"type":"string"}
},"required":["channels"]}"#;

#[test]
fn options_of_a_check_list_are_checked_with_the_keyboard() {
    let mut view = FormView::new(&Body::from(BOXES));
    assert_eq!(view.path(), &[0, 0], "the cursor starts on the first option");
    let later = BOXES.replace(r#"["channels"]"#, r#"["channels","note"]"#);
    assert_eq!(FormView::new(&Body::from(later)).path(), &[0, 0], "before a required text below it");
    code(&mut view, KeyCode::Char(' '));
    code(&mut view, KeyCode::Char('p'));
    assert_eq!(view.path(), &[0, 2], "a letter goes to its option");
    code(&mut view, KeyCode::Char(' '));
    assert_eq!(view.json(), r#"{"channels":["email","push"]}"#);
    code(&mut view, KeyCode::Char(' '));
    assert_eq!(view.json(), r#"{"channels":["email"]}"#);
    view.undo();
    assert_eq!(view.json(), r#"{"channels":["email","push"]}"#);
    assert_eq!(view.path(), &[0, 2]);
    code(&mut view, KeyCode::Esc);
    code(&mut view, KeyCode::Left);
    assert_eq!(view.path(), &[0]);
    code(&mut view, KeyCode::Char(' '));
    assert_eq!(view.form().rows().len(), 2, "folded");
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::Submit);
}

#[test]
fn options_of_a_check_list_are_checked_with_the_mouse() {
    let mut view = FormView::new(&Body::from(BOXES));
    assert!(view.click(&Hit::Row(2)) && view.click(&Hit::Row(1)));
    assert_eq!(view.json(), r#"{"channels":["email","sms"]}"#);
    assert!(view.click(&Hit::Row(2)));
    assert_eq!(view.json(), r#"{"channels":["email"]}"#);
}

#[test]
fn a_check_list_without_a_needed_option_is_refused() {
    let mut view = FormView::new(&Body::from(BOXES));
    assert!(!screen(&mut view, 60, 12).contains('✕'), "not before the user tried");
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::Refused);
    let shown = screen(&mut view, 60, 12);
    assert!(shown.contains("✕ required") && shown.contains("[ ] email") && shown.contains("0 of 3"), "{shown}");
    code(&mut view, KeyCode::Char(' '));
    let shown = screen(&mut view, 60, 12);
    assert!(shown.contains("[x] email") && shown.contains("1 of 3"), "{shown}");
    assert_eq!(code(&mut view, KeyCode::Enter), FormEvent::Submit);
}
