//! Snapshots of every dialog: the text in every size, the styles in every theme. `GALLERY=folder cargo test
//! --lib every_dialog` also writes each there as an SVG file.

use super::{looks::offer, *};
use crate::{domain::event::NoticeLevel, tui::pictures};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// A dialog, and the steps to it from a console with traffic.
type Dialog = (&'static str, fn(u16, u16) -> Harness);

const DIALOGS: [Dialog; 15] = [
    ("help", |w, h| pressed(w, h, "?")),
    ("palette", |w, h| pressed(w, h, ":")),
    ("notices", |w, h| {
        let mut harness = Harness::busy(w, h);
        let notice = Notice { level: NoticeLevel::Warn, text: "email asks for what it may not have".into(), detail: vec!["roots".into()] };
        harness.event(EventKind::Notice { notice: Arc::new(notice) });
        harness.model.toasts.clear();
        harness.keys("N");
        harness
    }),
    ("describe", |w, h| {
        let mut harness = Harness::busy(w, h);
        harness.tool("createuser").keys("esc d");
        harness
    }),
    ("describe_server", |w, h| pressed(w, h, "down d")),
    ("copy", |w, h| pressed(w, h, "y")),
    ("confirm", |w, h| {
        let mut harness = Harness::busy(w, h);
        harness.tool("emailping").keys("enter");
        harness
    }),
    ("quit", |w, h| pressed(w, h, "q")),
    ("burst", |w, h| {
        let mut harness = Harness::busy(w, h);
        harness.tool("queryu").keys("esc F enter");
        harness
    }),
    ("approval", |w, h| {
        let lines = vec!["files: npx -y @modelcontextprotocol/server-filesystem /srv".into(), "    with TOKEN=…".into()];
        let prompt = ApprovalPrompt { path: ".mcp.json".into(), lines, hash: "5f0c".repeat(16) };
        Harness::with(w, h, test_support::shop_state(), Startup::Approval(prompt))
    }),
    ("welcome", |w, h| Harness::with(w, h, test_support::shop().0, Startup::Welcome(offer()))),
    ("inbox_form", |w, h| {
        let mut harness = Harness::busy(w, h);
        harness.event(test_support::ask(1));
        harness
    }),
    ("inbox_url", |w, h| {
        let url = "https://login.example/authorize?for=email".to_owned();
        asked(w, h, Question::Url { message: "Sign in first.".into(), url })
    }),
    ("inbox_sampling", |w, h| {
        let params = r#"{"systemPrompt":"Be brief.","messages":[{"role":"user","content":{"type":"text","text":"Sum up the last week."}}],"maxTokens":200}"#;
        asked(w, h, Question::Sampling { params: Body::from(params) })
    }),
    ("inbox_roots", |w, h| asked(w, h, Question::Roots)),
];

fn pressed(width: u16, height: u16, keys: &str) -> Harness {
    let mut harness = Harness::busy(width, height);
    harness.keys(keys);
    harness
}

/// Returns a console in which a server asks a question, whatever its policy is.
fn asked(width: u16, height: u16, question: Question) -> Harness {
    let mut harness = Harness::busy(width, height);
    harness.event(test_support::asked(1, None, question));
    if harness.model.dialogs.is_empty() {
        harness.keys("i");
    }
    harness
}

#[test]
fn every_dialog_in_every_size() {
    for (name, made) in DIALOGS {
        for (width, height) in SIZES {
            let mut harness = made(width, height);
            assert!(!harness.model.dialogs.is_empty(), "{name}");
            assert_scene!(name, (width, height), harness.frame());
        }
    }
}

/// Returns the rows of the screen that belong to the dialog.
fn own_rows(harness: &mut Harness, theme: Theme) -> String {
    let shown = harness.styled(theme);
    let dialogs = std::mem::take(&mut harness.model.dialogs);
    let behind = harness.styled(theme);
    harness.model.dialogs = dialogs;
    shown.lines().zip(behind.lines()).filter(|(own, other)| own != other).fold(String::new(), |out, (own, _)| out + own + "\n")
}

#[test]
fn every_dialog_in_every_theme() {
    for (theme_name, theme) in [("dark", Theme::dark()), ("light", Theme::light()), ("mono", Theme::mono())] {
        for (width, height) in SIZES {
            let mut pictures = String::new();
            for (name, made) in DIALOGS {
                let mut harness = made(width, height);
                let plain = harness.frame();
                pictures.push_str(&format!("== {name}\n{}\n", own_rows(&mut harness, theme)));
                // A theme changes no letter.
                assert_eq!(harness.frame(), plain, "{name} in {theme_name}");
                if let Some(folder) = std::env::var_os("GALLERY") {
                    let path = std::path::Path::new(&folder).join(format!("{name}_{theme_name}_{width}x{height}.svg"));
                    std::fs::write(path, pictures::svg(&harness.buffer(), &harness.model.session.theme, name)).unwrap();
                }
            }
            assert_scene!(format!("styles_{theme_name}"), (width, height), pictures);
        }
    }
}

#[test]
fn no_dialog_has_a_colour_where_none_is_wanted() {
    for (name, made) in DIALOGS {
        for (width, height) in SIZES {
            let mut harness = made(width, height);
            harness.model.session.theme = Theme::mono();
            let plain = |colour| colour == ratatui::style::Color::Reset;
            assert!(harness.buffer().content.iter().all(|cell| plain(cell.fg) && plain(cell.bg)), "{name}");
        }
    }
}
