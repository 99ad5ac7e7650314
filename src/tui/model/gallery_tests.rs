//! Snapshots of the styles of every view in every size and theme, and of the words that must be readable without colour.
//!
//! The text is checked by the snapshots of the views themselves; these check the styles, each by the roles that have
//! exactly this style, or by its colours if no role has it. `GALLERY=folder cargo test --lib gallery` also writes
//! every scene there as an SVG file.

use std::fmt::Write;

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier, Style},
};

use super::{
    policy_tests::resilient,
    tests::{Harness, assert_scene},
    views_tests::{buffer, frame, keys, model, text},
    workflows_tests::harness,
    *,
};
use crate::tui::{pictures, theme::Theme};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// A scene: the steps to it, and the words that must be readable without colours.
struct Scene {
    name: &'static str,
    made: fn(u16, u16, Theme) -> Model,
    words: &'static [&'static str],
}

fn views(width: u16, height: u16, theme: Theme, pressed: &str) -> Model {
    let mut m = model(width, height, theme);
    keys(&mut m, pressed);
    m
}

fn policies(width: u16, height: u16, theme: Theme, pressed: &str) -> Model {
    let mut m = resilient(width, height, theme);
    keys(&mut m, pressed);
    m
}

fn flows(width: u16, height: u16, theme: Theme, with_runs: bool, pressed: &str) -> Model {
    let mut ran = harness(width, height, with_runs);
    ran.model.session.theme = theme;
    ran.keys(pressed);
    ran.model
}

const SCENES: &[Scene] = &[
    Scene {
        name: "console",
        made: |w, h, theme| {
            let mut harness = Harness::busy(w, h);
            harness.model.session.theme = theme;
            harness.tool("queryu").text("ann");
            harness.model
        },
        words: &["database", "filter"],
    },
    Scene { name: "traffic", made: |w, h, t| views(w, h, t, "2 home"), words: &["✓ ok", "✕ timeout", "! tool error"] },
    Scene { name: "traffic_open", made: |w, h, t| views(w, h, t, "2 home down down enter"), words: &["✕"] },
    Scene {
        name: "traffic_filter",
        made: |w, h, t| {
            let mut m = views(w, h, t, "2 /");
            text(&mut m, "outcome:failed colour:red ser");
            m
        },
        words: &["✕ \"colour:red\"", "server:"],
    },
    Scene { name: "attempts", made: |w, h, t| attempts(w, h, t), words: &["✕ timeout"] },
    Scene { name: "timeline", made: |w, h, t| views(w, h, t, "3"), words: &["▓", "▸", "✕"] },
    Scene { name: "timeline_open", made: |w, h, t| views(w, h, t, "3 left left left down + [ enter"), words: &["✓"] },
    Scene { name: "timeline_shades", made: |w, h, t| policies(w, h, t, "3 + +"), words: &["▓"] },
    Scene { name: "timeline_runs", made: |w, h, t| flows(w, h, t, true, "3 + + j j j j j"), words: &["⇶", "↶", "▸"] },
    Scene { name: "health", made: |w, h, t| views(w, h, t, "4 enter"), words: &["●", "✕", "p95"] },
    Scene { name: "health_breaker", made: |w, h, t| policies(w, h, t, "4 end up"), words: &["OPEN"] },
    Scene { name: "breakers", made: |w, h, t| policies(w, h, t, "4 b"), words: &["CLOSED"] },
    Scene { name: "routes", made: |w, h, t| policies(w, h, t, "4 v"), words: &["email"] },
    Scene { name: "flows_list", made: |w, h, t| flows(w, h, t, true, "down"), words: &["onboard_new_user"] },
    Scene { name: "flows_undone", made: |w, h, t| flows(w, h, t, true, "tab down down"), words: &["✕", "↶ compensated"] },
    Scene { name: "flows_running", made: |w, h, t| flows(w, h, t, true, "down down tab down down"), words: &["▸"] },
    Scene { name: "flows_step", made: |w, h, t| flows(w, h, t, true, "tab down down tab enter"), words: &["✕"] },
    Scene { name: "flows_input", made: |w, h, t| flows(w, h, t, false, "down enter"), words: &["› userId", "string"] },
];

/// Returns the model of a charge with a fallback, opened at its attempts.
fn attempts(width: u16, height: u16, theme: Theme) -> Model {
    let mut m = policies(width, height, theme, "2 /");
    text(&mut m, "tool:charge");
    keys(&mut m, "enter home enter [ [");
    m
}

type Named = (&'static str, fn() -> Theme);
const THEMES: [Named; 3] = [("light", Theme::light), ("dark", Theme::dark), ("mono", Theme::mono)];

/// Returns the roles of a theme with their styles.
fn roles(theme: &Theme) -> Vec<(&'static str, Style)> {
    vec![
        ("text", theme.text),
        ("muted", theme.muted),
        ("accent", theme.accent),
        ("ok", theme.ok),
        ("warn", theme.warn),
        ("fail", theme.fail),
        ("running", theme.running),
        ("key", theme.key),
        ("border", theme.border),
        ("focus", theme.focus),
        ("selection", theme.selection),
        ("idle", theme.selection_idle),
        ("found", theme.found),
        ("json_key", theme.json_key),
        ("json_string", theme.json_string),
        ("json_number", theme.json_number),
        ("json_word", theme.json_word),
    ]
}

/// Resolves a style on the theme's background.
fn resolved(theme: &Theme, style: Style) -> (Color, Color, Modifier) {
    let text = theme.text.fg.unwrap_or(Color::Reset);
    (style.fg.unwrap_or(text), style.bg.unwrap_or(theme.background), style.add_modifier)
}

fn format_style((fg, bg, modifier): (Color, Color, Modifier)) -> String {
    let bits: Vec<String> = modifier.iter_names().map(|(name, _)| format!("+{}", name.to_lowercase())).collect();
    format!("{fg}/{bg}{}", bits.concat())
}

/// Returns the roles that look like this cell; its colours, if there are none.
fn role(theme: &Theme, cell: &Cell) -> String {
    let seen = (cell.fg, cell.bg, cell.modifier);
    if theme.mono {
        // Half of the roles look the same in mono: the visible style counts.
        let names: Vec<String> = cell.modifier.iter_names().map(|(name, _)| name.to_lowercase()).collect();
        return if names.is_empty() { "·".into() } else { names.join("+") };
    }
    let names: Vec<&str> = roles(theme).into_iter().filter(|(_, s)| resolved(theme, *s) == seen).map(|(name, _)| name).collect();
    match names.as_slice() {
        [] => format_style(seen),
        ["text", ..] => "·".into(),
        names => names.join("="),
    }
}

/// Dumps the whole screen, each run of one style under its name.
fn dump(buf: &Buffer, theme: &Theme) -> String {
    let mut out = String::new();
    for y in 0..buf.area.height {
        let mut last = None;
        for x in 0..buf.area.width {
            let cell = &buf[(x, y)];
            let style = (cell.fg, cell.bg, cell.modifier);
            if last != Some(style) {
                let _ = write!(out, "⟦{}⟧", role(theme, cell));
                last = Some(style);
            }
            out.push_str(cell.symbol());
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

#[test]
fn every_view_in_every_size_and_theme() {
    let gallery = std::env::var_os("GALLERY");
    let mut missing = vec![];
    for (width, height) in SIZES {
        for (theme_name, theme) in THEMES {
            let theme = theme();
            let mut out = String::from("The theme:\n");
            for (name, style) in roles(&theme) {
                let _ = writeln!(out, "{name} {}", format_style(resolved(&theme, style)));
            }
            for scene in SCENES {
                let mut plain = (scene.made)(width, height, Theme::ansi());
                let mut m = (scene.made)(width, height, theme);
                let shown = frame(&mut m);
                // The mono theme draws some more characters, such as the brackets of a tab; coloured themes do not.
                assert!(theme.mono || shown == frame(&mut plain), "a theme changes no letter: {} in {theme_name}", scene.name);
                let buf = buffer(&mut m);
                let _ = write!(out, "\n== {}\n{}", scene.name, dump(&buf, &theme));
                if theme.mono {
                    let plain = |colour| colour == Color::Reset;
                    assert!(buf.content.iter().all(|cell| plain(cell.fg) && plain(cell.bg)), "{} has colours", scene.name);
                    missing.extend(
                        scene
                            .words
                            .iter()
                            .filter(|word| !shown.contains(**word))
                            .map(|word| format!("{word} in {} at {width}x{height}:\n{shown}", scene.name)),
                    );
                }
                if let Some(folder) = &gallery {
                    let path = std::path::Path::new(folder).join(format!("{}_{theme_name}_{width}x{height}.svg", scene.name));
                    std::fs::write(path, pictures::svg(&buf, &theme, scene.name)).unwrap();
                }
            }
            assert_scene!(format!("gallery_{theme_name}"), (width, height), out);
        }
    }
    assert!(missing.is_empty(), "not readable without colours:\n{}", missing.join("\n"));
}

#[test]
fn what_has_the_focus_is_seen_without_colours() {
    for scene in SCENES {
        let mut m = (scene.made)(120, 40, Theme::mono());
        let buf = buffer(&mut m);
        let heavy = buf.content.iter().any(|cell| ["┃", "┏", "━"].contains(&cell.symbol()));
        let marked = buf.content.iter().any(|cell| cell.modifier.intersects(Modifier::REVERSED | Modifier::BOLD));
        assert!(heavy && marked, "{}:\n{}", scene.name, frame(&mut m));
    }
}
