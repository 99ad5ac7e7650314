//! What the documentation shows, made from the program itself: the key table and the pictures of the
//! README. Tests compare them and fail when they differ; `UPDATE_PICTURES=1 cargo test pictures` makes them anew.

mod breaker;
mod workflows;

use std::{fmt::Write, path::Path};

use ratatui::{
    buffer::{Buffer, Cell},
    layout::Rect,
    style::{Color, Modifier},
};
use unicode_width::UnicodeWidthStr;

use super::{
    Startup,
    action::{Action, Group},
    draw,
    input::Input,
    keymap::{Context, Keymap},
    model::{Model, Setup},
    msg::Msg,
    test_support,
    theme::Theme,
};

/// Whether files are to be made anew.
fn update() -> bool {
    std::env::var_os("UPDATE_PICTURES").is_some()
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn hold(path: &str, wanted: &str) {
    if update() {
        let path = root(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, wanted).unwrap();
        return;
    }
    let found = std::fs::read_to_string(root(path)).unwrap_or_default();
    assert!(found == wanted, "{path} is not what the program shows; `UPDATE_PICTURES=1 cargo test pictures` makes it anew");
}

/// The key table of the README.
fn table(keys: &Keymap) -> String {
    let mut out = String::new();
    for group in Group::ALL {
        let _ = write!(out, "\n**{}**\n\n| Key | Action | |\n|---|---|---|\n", group.title());
        for action in Action::ALL.iter().filter(|a| a.group() == group) {
            let mut bound: Vec<String> = vec![];
            for context in Context::ALL {
                for key in keys.keys_of(*context, *action) {
                    let key = format!("`{}`", key.replace('|', "\\|"));
                    if !bound.contains(&key) {
                        bound.push(key);
                    }
                }
            }
            let _ = writeln!(out, "| {} | `{}` | {} |", bound.join(" "), action.name(), action.help());
        }
    }
    let contexts: Vec<String> = Context::ALL.iter().map(|c| format!("`{}`", c.name())).collect();
    let _ = write!(out, "\nContexts: {}.\n", contexts.join(", "));
    out
}

#[test]
fn the_key_table_of_the_readme_is_the_keymap() {
    let readme = std::fs::read_to_string(root("README.md")).unwrap();
    let (before, rest) = readme.split_once("<!-- keys -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /keys -->").unwrap();
    hold("README.md", &format!("{before}<!-- keys -->\n{}\n<!-- /keys -->{after}", table(&Keymap::built_in())));
    let mut other = Keymap::built_in();
    other.bind("global", "f9", "zoom").unwrap();
    assert_ne!(table(&other), table(&Keymap::built_in()), "the table follows the keys");
}

const CELL: (u32, u32) = (9, 19);
const MARGIN: u32 = 18;
const BAR: u32 = 30;

fn hex(colour: Color) -> String {
    match colour {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        other => panic!("{other:?} is no true colour"),
    }
}

/// What a theme without colours is drawn in: text, dim text, ground.
const PLAIN: [Color; 3] = [Color::Rgb(0xd8, 0xd8, 0xd8), Color::Rgb(0x86, 0x86, 0x86), Color::Rgb(0x14, 0x14, 0x14)];

fn paint(cell: &Cell) -> (Color, Color) {
    let text = if cell.modifier.contains(Modifier::DIM) { PLAIN[1] } else { PLAIN[0] };
    let fg = if cell.fg == Color::Reset { text } else { cell.fg };
    let bg = if cell.bg == Color::Reset { PLAIN[2] } else { cell.bg };
    if cell.modifier.contains(Modifier::REVERSED) { (bg, fg) } else { (fg, bg) }
}

/// A screen as an SVG picture in a rounded frame, for web pages.
pub(super) fn svg(buf: &Buffer, theme: &Theme, title: &str) -> String {
    let mut theme = *theme;
    if theme.mono {
        theme.background = PLAIN[2];
        (theme.border.fg, theme.muted.fg) = (Some(PLAIN[1]), Some(PLAIN[1]));
        (theme.fail.fg, theme.warn.fg, theme.ok.fg) = (Some(PLAIN[1]), Some(PLAIN[1]), Some(PLAIN[1]));
    }
    let theme = &theme;
    let (columns, rows) = (u32::from(buf.area.width), u32::from(buf.area.height));
    let (width, height) = (columns * CELL.0 + 2 * MARGIN, rows * CELL.1 + 2 * MARGIN + BAR);
    let (ground, line, dim) = (hex(theme.background), hex(theme.border.fg.unwrap()), hex(theme.muted.fg.unwrap()));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"11\" fill=\"{ground}\" stroke=\"{line}\"/>\n",
        width - 1,
        height - 1
    );
    for (n, colour) in [theme.fail, theme.warn, theme.ok].iter().enumerate() {
        let _ = writeln!(out, "<circle cx=\"{}\" cy=\"22\" r=\"6\" fill=\"{}\"/>", 24 + n * 20, hex(colour.fg.unwrap()));
    }
    let fonts = "ui-monospace,'JetBrains Mono','Cascadia Code','SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace";
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"27\" text-anchor=\"middle\" fill=\"{dim}\" font-family=\"{fonts}\" font-size=\"13\">{title}</text>\n\
         <g font-family=\"{fonts}\" font-size=\"15\" xml:space=\"preserve\">",
        width / 2
    );
    for y in 0..buf.area.height {
        row(buf, y, theme, &mut out);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// One row: runs of one style; each run is told its width, so that any font keeps the columns.
fn row(buf: &Buffer, y: u16, theme: &Theme, out: &mut String) {
    let top = MARGIN + BAR + u32::from(y) * CELL.1;
    let mut x = 0;
    while x < buf.area.width {
        let first = &buf[(x, y)];
        let style = (paint(first), first.modifier);
        let (start, mut text) = (x, String::new());
        while x < buf.area.width && (paint(&buf[(x, y)]), buf[(x, y)].modifier) == style {
            let symbol = buf[(x, y)].symbol();
            text.push_str(symbol);
            x += (symbol.width().max(1)) as u16;
        }
        let (left, wide) = (MARGIN + u32::from(start) * CELL.0, u32::from(x - start) * CELL.0);
        let ((fg, bg), modifier) = style;
        if bg != theme.background {
            let _ = writeln!(out, "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{}\" fill=\"{}\"/>", CELL.1, hex(bg));
        }
        let shown = text.trim_end();
        if shown.trim().is_empty() {
            continue;
        }
        let long = shown.width() as u32 * CELL.0;
        let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let bold = if modifier.contains(Modifier::BOLD) { " font-weight=\"700\"" } else { "" };
        let line = if modifier.contains(Modifier::UNDERLINED) { " text-decoration=\"underline\"" } else { "" };
        let _ = writeln!(
            out,
            "<text x=\"{left}\" y=\"{}\" textLength=\"{long}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{bold}{line}>{escaped}</text>",
            top + 14,
            hex(fg)
        );
    }
}

/// A console in the middle of its work: traffic of a minute, one server that failed.
fn busy(theme: Theme) -> Model {
    let setup = Setup {
        theme,
        keymap: Keymap::built_in(),
        mouse: true,
        title: "shop.toml".into(),
        startup: Startup::Normal,
        confirm: Default::default(),
        recall: Default::default(),
        workflows: Default::default(),
        invocation: Default::default(),
    };
    let mut model = Model::new(setup, test_support::shop_state(), (132, 40));
    let mut script = test_support::Script::after(model.read_model().seq);
    let users = r#"{"users":[{"id":"u_1042","email":"ann@example.org","role":"developer","active":true},{"id":"u_1043","email":"ben@example.org","role":"viewer","active":false}],"total":2}"#;
    for n in 0..46u64 {
        let at = 10_000 + n * 1_270 + n * n % 7 * 90;
        let (server, tool, took) = match n % 9 {
            0 | 2 | 5 => ("database", "query_users", 2 + n % 4),
            1 | 7 => ("email", "send_email", 12 + n % 9),
            3 => ("analytics", "track_event", 700 + n * 60),
            8 => ("email", "ping", 1),
            _ => ("database", "insert_record", 4 + n % 3),
        };
        script.queued(at, 100 + n, test_support::tool_call(server, tool, r#"{"filter":"ann"}"#));
        let outcome = match n {
            16 | 34 => {
                crate::domain::call::Outcome::ToolError { result: crate::domain::body::Body::from(r#"{"isError":true,"content":[]}"#) }
            }
            30 => {
                let failure = crate::domain::call::Failure::after_send(crate::domain::call::FailureKind::Timeout, "no answer within 5 s");
                crate::domain::call::Outcome::Failed { failure: std::sync::Arc::new(failure) }
            }
            _ => test_support::text_result(users),
        };
        script.settled(at, took, 100 + n, outcome);
    }
    script.queued(68_100, 190, test_support::tool_call("analytics", "track_event", r#"{"name":"signup"}"#));
    model.at(test_support::at(69_500));
    model.update(Msg::Events(script.events));
    model
}

fn press(model: &mut Model, code: crossterm::event::KeyCode) -> Vec<super::msg::Cmd> {
    model.update(Msg::Input(Input::Key(crossterm::event::KeyEvent::new(code, crossterm::event::KeyModifiers::NONE))))
}

fn picture(model: &mut Model, title: &str) -> String {
    let mut buf = Buffer::empty(Rect::new(0, 0, 132, 40));
    draw::draw(model, &mut buf);
    svg(&buf, &model.theme.clone(), title)
}

#[test]
fn pictures_of_the_readme_are_what_the_program_shows() {
    use crossterm::event::KeyCode;
    for (name, theme) in [("dark", Theme::dark()), ("light", Theme::light())] {
        let mut model = busy(theme);
        "/queryu".chars().for_each(|c| drop(press(&mut model, KeyCode::Char(c))));
        press(&mut model, KeyCode::Enter);
        "ann".chars().for_each(|c| drop(press(&mut model, KeyCode::Char(c))));
        let fired = press(&mut model, KeyCode::Enter);
        let Some(&super::msg::Cmd::Submit { token, .. }) = fired.last() else { panic!("not fired: {fired:?}") };
        model.update(Msg::Submitted { token, call: crate::domain::id::CallId(145) });
        hold(&format!("assets/screens/console-{name}.svg"), &picture(&mut model, "switchboard"));
    }
}

/// The traffic with a call open that failed, and the calls of a minute on one axis.
#[test]
fn pictures_of_traffic_and_timeline_are_what_the_program_shows() {
    use crossterm::event::KeyCode;
    for (name, mut model, keys) in
        [("traffic", busy(Theme::dark()), "2kkkkkkkkkkkkkk\n"), ("timeline", workflows::told(14_300), "3+++jjjjj")]
    {
        for key in keys.chars() {
            press(&mut model, if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) });
        }
        hold(&format!("assets/screens/{name}.svg"), &picture(&mut model, "switchboard"));
    }
}

/// The flaky server's breaker opens, asks again, closes; what its calls fell back to.
#[test]
fn pictures_of_a_breaker_are_what_the_program_shows() {
    use crate::domain::policy::breaker::State;
    use crossterm::event::KeyCode;
    // Up to when, the state that the breaker has come to, the keys, the name. Charges come at 12 s and every 700 ms.
    let taken = [
        (56_300, State::Open, "4jjj", "breaker-open"),
        (59_850, State::HalfOpen, "4jjj", "breaker-half-open"),
        (64_000, State::Closed, "2/tool:charge\nkkkkkkkkkkkkkk\n[", "breaker-closed"),
    ];
    for (until, state, keys, name) in taken {
        let setup = Setup {
            theme: Theme::dark(),
            keymap: Keymap::built_in(),
            mouse: true,
            title: "demo".into(),
            startup: Startup::Normal,
            confirm: Default::default(),
            recall: Default::default(),
            workflows: Default::default(),
            invocation: Default::default(),
        };
        let mut model = Model::new(setup, test_support::shop_state(), (132, 40));
        let events = breaker::Story::after(model.read_model().seq).told(until);
        model.at(test_support::at(until));
        model.update(Msg::Events(events));
        for key in keys.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            press(&mut model, code);
        }
        let shown = picture(&mut model, "switchboard");
        assert_eq!(model.read_model().server(&test_support::server("flaky")).map(|s| s.breaker.state), Some(state), "{name}");
        hold(&format!("assets/screens/{name}.svg"), &shown);
    }
}
