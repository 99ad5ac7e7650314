//! Previews of images in results: half blocks, graphics protocols, hostile files.

use serde_json::json;

use super::*;
use crate::tui::graphics::{
    TerminalReply,
    picture::tests::{Format, base64, claims, file},
};

/// A console with the result of a call open in the traffic view.
fn opened(content: serde_json::Value) -> Harness {
    let mut harness = Harness::busy(120, 50);
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8000, 900, test_support::tool_call("database", "query_users", "{}"));
    let result = Body::json(&json!({ "content": content }));
    script.settled(8000, 5, 900, Outcome::Ok { result });
    harness.send(Msg::Events(script.events));
    harness.keys("2 end enter");
    harness
}

fn png(width: u32, height: u32) -> serde_json::Value {
    json!({"type": "image", "mimeType": "image/png", "data": base64(&file(Format::Png, width, height))})
}

/// Draws frames and runs the jobs that they need; returns the other commands.
fn settle(harness: &mut Harness) -> Vec<Cmd> {
    let mut others = vec![];
    for _ in 0..6 {
        harness.frame();
        let mut commands = harness.take();
        commands.extend(harness.model.after_frame());
        for command in commands {
            match command {
                Cmd::Work(job) => {
                    if let Some(worked) = job.run() {
                        harness.send(Msg::Worked(Box::new(worked)));
                    }
                }
                other => others.push(other),
            }
        }
    }
    others
}

/// Returns the replies of a terminal to the query for graphics.
fn reply(harness: &mut Harness, kitty: bool, version: &str, sixel: bool) {
    let mut replies = vec![];
    replies.extend(kitty.then_some(TerminalReply::Kitty));
    replies.extend([TerminalReply::Version(version.into()), TerminalReply::CellSize(10, 20), TerminalReply::Attributes { sixel }]);
    for reply in replies {
        harness.send(Msg::Input(Input::Reply(reply)));
    }
}

#[test]
fn an_image_is_shown_below_the_text_as_half_blocks() {
    let mut harness = opened(json!([{"type": "text", "text": "a flag"}, png(40, 20)]));
    assert!(harness.take().iter().any(|command| matches!(command, Cmd::Work(_))), "decoded on another thread");
    let mut harness = opened(json!([{"type": "text", "text": "a flag"}, png(40, 20)]));
    assert_eq!(settle(&mut harness), [Cmd::AskGraphics]);
    let frame = harness.frame();
    assert!(frame.contains("a flag") && frame.contains("PNG · 40 × 20 · ") && frame.contains("s save"), "{frame}");
    let buf = harness.buffer();
    let blocks: Vec<_> = buf.content.iter().filter(|cell| cell.symbol() == "▀").collect();
    let (red, blue) = (ratatui::style::Color::Rgb(255, 0, 0), ratatui::style::Color::Rgb(0, 0, 255));
    let count = |colour| blocks.iter().filter(|cell| cell.fg == colour).count();
    assert_eq!((count(red), count(blue), blocks.len()), (200, 200, 400), "40 columns, 10 rows: {frame}");
    assert_eq!(settle(&mut harness), [], "nothing is repeated");
    harness.keys("s");
    assert!(harness.frame().contains("image 1"), "{}", harness.frame());
}

#[test]
fn a_kitty_image_is_sent_once_and_survives_a_dialog() {
    let mut harness = opened(json!([png(40, 20)]));
    settle(&mut harness);
    reply(&mut harness, true, "kitty(0.36.1)", false);
    let commands = settle(&mut harness);
    let [Cmd::SendImage(messages)] = &commands[..] else { panic!("{commands:?}") };
    assert!(messages.starts_with("\x1b_Ga=T,U=1,f=100,"), "{messages}");
    let placeholders = |harness: &mut Harness| harness.frame().matches('\u{10eeee}').count();
    assert_eq!(placeholders(&mut harness), 4, "40 x 20 pixels are 4 columns and 1 row");
    harness.keys("s");
    assert!(placeholders(&mut harness) <= 4);
    harness.keys("esc");
    assert_eq!((placeholders(&mut harness), settle(&mut harness)), (4, vec![]));
}

#[test]
fn a_sixel_image_gives_way_to_half_blocks_below_a_dialog() {
    let mut harness = opened(json!([png(40, 20)]));
    settle(&mut harness);
    reply(&mut harness, false, "foot(1.16.2)", true);
    assert_eq!(settle(&mut harness), []);
    let has = |harness: &mut Harness, text: &str| harness.buffer().content.iter().any(|cell| cell.symbol().contains(text));
    assert!(has(&mut harness, "\x1bP0;1;0q\"1;1;40;20") && !has(&mut harness, "▀"));
    harness.keys("?");
    assert!(!has(&mut harness, "\x1bP"), "a dialog is open");
    harness.keys("esc");
    assert!(has(&mut harness, "\x1bP"), "{}", harness.frame());
}

#[test]
fn a_hostile_image_has_one_clear_line() {
    let bomb = json!({"type": "image", "mimeType": "image/png", "data": base64(&claims(60_000, 60_000))});
    let mut harness = opened(json!([bomb]));
    assert_eq!(settle(&mut harness), [], "the terminal is not asked");
    let frame = harness.frame();
    assert!(frame.contains("⚠ no preview of 60000 × 60000 pixels: the limit is 25 megapixels"), "{frame}");
    let mut harness = opened(json!([{"type": "image", "mimeType": "image/svg+xml", "data": base64(b"<svg/>")}]));
    settle(&mut harness);
    assert!(harness.frame().contains("only PNG, JPEG, GIF and WebP are shown"), "{}", harness.frame());
}

#[test]
fn the_image_at_the_cursor_is_shown_and_none_without_colours() {
    let resource =
        json!({"type": "resource", "resource": {"uri": "a://b", "mimeType": "image/png", "blob": base64(&file(Format::Png, 30, 30))}});
    let mut harness = opened(json!([png(40, 20), {"type": "text", "text": "and"}, resource]));
    settle(&mut harness);
    assert!(harness.frame().contains("image 1 of 2 · PNG · 40 × 20"), "{}", harness.frame());
    harness.keys("end");
    settle(&mut harness);
    assert!(harness.frame().contains("image 2 of 2 · PNG · 30 × 30"), "{}", harness.frame());
    harness.model.session.theme = Theme::mono();
    let frame = harness.frame();
    assert!(frame.contains("Previews need colours") && !frame.contains('▀'), "{frame}");
}
