//! Draws a screen as an SVG picture. Borders and block elements become paths, and every character has its own x, so
//! that neither gaps nor the font's advance width move anything off the grid.

use std::{collections::BTreeMap, fmt::Write};

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};
use unicode_width::UnicodeWidthStr;

use crate::tui::theme::Theme;

/// Width and height of a cell in pixels.
const CELL: (u32, u32) = (9, 19);
/// Distance from the top of a cell to the baseline of its text.
const BASELINE: u32 = 14;
const MARGIN: u32 = 18;
/// Height of the title bar.
const BAR: u32 = 30;
const FONTS: &str = "ui-monospace,'JetBrains Mono','Cascadia Code','SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace";

/// Colours for a theme without colours: text, dim text, background.
const PLAIN: [Color; 3] = [Color::Rgb(0xd8, 0xd8, 0xd8), Color::Rgb(0x86, 0x86, 0x86), Color::Rgb(0x14, 0x14, 0x14)];

/// Returns a screen as an SVG picture in a rounded window frame.
pub(in crate::tui) fn svg(buf: &Buffer, theme: &Theme, title: &str) -> String {
    let mut theme = *theme;
    if theme.mono {
        theme.background = PLAIN[2];
        (theme.border.fg, theme.muted.fg) = (Some(PLAIN[1]), Some(PLAIN[1]));
        (theme.fail.fg, theme.warn.fg, theme.ok.fg) = (Some(PLAIN[1]), Some(PLAIN[1]), Some(PLAIN[1]));
    }
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
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"27\" text-anchor=\"middle\" fill=\"{dim}\" font-family=\"{FONTS}\" font-size=\"13\">{title}</text>",
        width / 2
    );
    let mut layers = Layers::default();
    for y in 0..buf.area.height {
        layers.row(buf, y, theme.background);
    }
    layers.write(&mut out);
    out.push_str("</svg>\n");
    out
}

fn hex(colour: Color) -> String {
    match colour {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        other => panic!("{other:?} is not a true colour"),
    }
}

/// Text and background colour of a cell.
fn paint(cell: &Cell) -> (Color, Color) {
    let text = if cell.modifier.contains(Modifier::DIM) { PLAIN[1] } else { PLAIN[0] };
    let fg = if cell.fg == Color::Reset { text } else { cell.fg };
    let bg = if cell.bg == Color::Reset { PLAIN[2] } else { cell.bg };
    if cell.modifier.contains(Modifier::REVERSED) { (bg, fg) } else { (fg, bg) }
}

/// How a line is drawn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stroke {
    Light,
    Heavy,
    Dashed,
}

/// A line from `from` to `to` at `at` across, all in half pixels.
type Segment = (u32, u32, u32);

/// The lines of one colour and stroke. A segment that begins where the last one on its axis ended extends it.
#[derive(Default)]
struct Lines {
    horizontal: BTreeMap<u32, Vec<Segment>>,
    vertical: BTreeMap<u32, Vec<Segment>>,
    corners: String,
}

/// One row's characters of one style.
#[derive(Default)]
struct Glyphs {
    xs: Vec<u32>,
    text: String,
}

/// The picture in the order in which it is painted.
#[derive(Default)]
struct Layers {
    backgrounds: String,
    blocks: BTreeMap<(String, u8), String>,
    lines: BTreeMap<(String, Stroke), Lines>,
    text: String,
}

impl Layers {
    fn row(&mut self, buf: &Buffer, y: u16, ground: Color) {
        let top = MARGIN + BAR + u32::from(y) * CELL.1;
        let mut styles: Vec<((Color, bool), Glyphs)> = Vec::new();
        let mut fills: Vec<(u32, u32, Color)> = Vec::new();
        let mut x = 0;
        while x < buf.area.width {
            let cell = &buf[(x, y)];
            let symbol = cell.symbol();
            let cells = symbol.width().max(1) as u32;
            let left = MARGIN + u32::from(x) * CELL.0;
            let (fg, bg) = paint(cell);
            if bg != ground {
                match fills.last_mut() {
                    Some((from, wide, colour)) if *colour == bg && *from + *wide == left => *wide += cells * CELL.0,
                    _ => fills.push((left, cells * CELL.0, bg)),
                }
            }
            if cell.modifier.contains(Modifier::UNDERLINED) {
                self.segment(fg, Stroke::Light, true, (2 * (top + BASELINE) + 5, 2 * left, 2 * (left + cells * CELL.0)));
            }
            if !self.shape(symbol, (left, top), fg) && !symbol.trim().is_empty() {
                let style = (fg, cell.modifier.contains(Modifier::BOLD));
                let mut chars = symbol.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) if cells == 1 && c <= '\u{ffff}' => {
                        assert!(!('\u{2500}'..='\u{259f}').contains(&c), "{c:?} has no shape");
                        let found = styles.iter().position(|(other, _)| *other == style);
                        let at = found.unwrap_or_else(|| {
                            styles.push((style, Glyphs::default()));
                            styles.len() - 1
                        });
                        styles[at].1.xs.push(left);
                        styles[at].1.text.push(c);
                    }
                    _ => self.glyphs(style, &left.to_string(), top, symbol),
                }
            }
            x += cells as u16;
        }
        for (left, wide, colour) in fills {
            let _ = writeln!(
                self.backgrounds,
                "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{}\" fill=\"{}\"/>",
                CELL.1,
                hex(colour)
            );
        }
        for (style, glyphs) in styles {
            let xs: Vec<String> = glyphs.xs.iter().map(u32::to_string).collect();
            self.glyphs(style, &xs.join(" "), top, &glyphs.text);
        }
    }

    fn glyphs(&mut self, (colour, bold): (Color, bool), xs: &str, top: u32, text: &str) {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let weight = if bold { " font-weight=\"700\"" } else { "" };
        let _ = writeln!(self.text, "<text y=\"{}\" fill=\"{}\"{weight} x=\"{xs}\">{escaped}</text>", top + BASELINE, hex(colour));
    }

    /// Draws a border or block element. Returns whether the symbol is one.
    fn shape(&mut self, symbol: &str, (left, top): (u32, u32), colour: Color) -> bool {
        let (middle, centre) = (2 * left + CELL.0, 2 * top + CELL.1);
        let (right, bottom) = (2 * (left + CELL.0), 2 * (top + CELL.1));
        if let Some(arms) = arms(symbol) {
            let ends = [(true, 2 * left, middle), (true, middle, right), (false, 2 * top, centre), (false, centre, bottom)];
            for ((across, from, to), arm) in ends.into_iter().zip(arms.chars()) {
                let stroke = match arm {
                    'l' => Stroke::Light,
                    'h' => Stroke::Heavy,
                    'd' => Stroke::Dashed,
                    _ => continue,
                };
                self.segment(colour, stroke, across, (if across { centre } else { middle }, from, to));
            }
            return true;
        }
        let corner = match symbol {
            "╭" => Some((bottom, right)),
            "╮" => Some((bottom, 2 * left)),
            "╰" => Some((2 * top, right)),
            "╯" => Some((2 * top, 2 * left)),
            _ => None,
        };
        if let Some((y, x)) = corner {
            let lines = self.lines.entry((hex(colour), Stroke::Light)).or_default();
            let _ = write!(lines.corners, "M{} {}Q{} {} {} {}", half(middle), half(y), half(middle), half(centre), half(x), half(centre));
            return true;
        }
        let Some((rects, opacity)) = blocks(symbol) else { return false };
        let path = self.blocks.entry((hex(colour), opacity)).or_default();
        for [x, y, wide, high] in rects {
            // Eighths of a cell. The top edge is rounded to whole pixels, so that columns of one height are level.
            let (x, wide) = (f64::from(CELL.0) * x / 8.0, f64::from(CELL.0) * wide / 8.0);
            let (from, to) = ((f64::from(CELL.1) * y / 8.0).round(), (f64::from(CELL.1) * (y + high) / 8.0).round());
            let _ = write!(path, "M{} {}h{wide}v{}h-{wide}z", f64::from(left) + x, f64::from(top) + from, to - from);
        }
        true
    }

    fn segment(&mut self, colour: Color, stroke: Stroke, across: bool, (at, from, to): Segment) {
        let lines = self.lines.entry((hex(colour), stroke)).or_default();
        let axis = if across { &mut lines.horizontal } else { &mut lines.vertical };
        let axis = axis.entry(at).or_default();
        match axis.last_mut() {
            Some((_, _, end)) if *end == from => *end = to,
            _ => axis.push((at, from, to)),
        }
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.backgrounds);
        for ((colour, opacity), path) in &self.blocks {
            let opacity = if *opacity == 100 { String::new() } else { format!(" opacity=\"0.{opacity}\"") };
            let _ = writeln!(out, "<path fill=\"{colour}\"{opacity} d=\"{path}\"/>");
        }
        for ((colour, stroke), lines) in &self.lines {
            let style = match stroke {
                Stroke::Light => " stroke-linecap=\"square\"",
                Stroke::Heavy => " stroke-width=\"2\" stroke-linecap=\"square\"",
                Stroke::Dashed => " stroke-dasharray=\"3 3\"",
            };
            let mut path = lines.corners.clone();
            for (y, from, to) in lines.horizontal.values().flatten() {
                let _ = write!(path, "M{} {}H{}", half(*from), half(*y), half(*to));
            }
            for (x, from, to) in lines.vertical.values().flatten() {
                let _ = write!(path, "M{} {}V{}", half(*x), half(*from), half(*to));
            }
            let _ = writeln!(out, "<path fill=\"none\" stroke=\"{colour}\"{style} d=\"{path}\"/>");
        }
        let _ = write!(out, "<g font-family=\"{FONTS}\" font-size=\"15\" xml:space=\"preserve\">\n{}</g>\n", self.text);
    }
}

/// Half pixels as pixels.
fn half(n: u32) -> String {
    if n.is_multiple_of(2) { (n / 2).to_string() } else { format!("{}.5", n / 2) }
}

/// The strokes of a box-drawing character to the left, right, top and bottom: light, heavy, dashed or none.
fn arms(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "─" => "ll--",
        "━" => "hh--",
        "│" => "--ll",
        "┃" => "--hh",
        "┌" => "-l-l",
        "┐" => "l--l",
        "└" => "-ll-",
        "┘" => "l-l-",
        "├" => "-lll",
        "┤" => "l-ll",
        "┬" => "ll-l",
        "┴" => "lll-",
        "┼" => "llll",
        "┏" => "-h-h",
        "┓" => "h--h",
        "┗" => "-hh-",
        "┛" => "h-h-",
        "┣" => "-hhh",
        "┫" => "h-hh",
        "┳" => "hh-h",
        "┻" => "hhh-",
        "╋" => "hhhh",
        "╴" => "l---",
        "╶" => "-l--",
        "╵" => "--l-",
        "╷" => "---l",
        "╸" => "h---",
        "╺" => "-h--",
        "╹" => "--h-",
        "╻" => "---h",
        "┄" | "┈" | "╌" => "dd--",
        "┆" | "┊" | "╎" => "--dd",
        _ => return None,
    })
}

/// The rectangles of a block element in eighths of a cell (left, top, width, height), and their opacity in per cent.
fn blocks(symbol: &str) -> Option<(Vec<[f64; 4]>, u8)> {
    let mut chars = symbol.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else { return None };
    let code = u32::from(c);
    let eighths = |first: char| f64::from(code - u32::from(first) + 1);
    Some(match c {
        '▀' => (vec![[0.0, 0.0, 8.0, 4.0]], 100),
        '▁'..='█' => (vec![[0.0, 8.0 - eighths('▁'), 8.0, eighths('▁')]], 100),
        '▉'..='▏' => (vec![[0.0, 0.0, 8.0 - eighths('▉'), 8.0]], 100),
        '▐' => (vec![[4.0, 0.0, 4.0, 8.0]], 100),
        '░' => (vec![[0.0, 0.0, 8.0, 8.0]], 25),
        '▒' => (vec![[0.0, 0.0, 8.0, 8.0]], 50),
        '▓' => (vec![[0.0, 0.0, 8.0, 8.0]], 75),
        '▔' => (vec![[0.0, 0.0, 8.0, 1.0]], 100),
        '▕' => (vec![[7.0, 0.0, 1.0, 8.0]], 100),
        '▖'..='▟' => {
            let quarters: &[(f64, f64)] = match c {
                '▖' => &[(0.0, 4.0)],
                '▗' => &[(4.0, 4.0)],
                '▘' => &[(0.0, 0.0)],
                '▙' => &[(0.0, 0.0), (0.0, 4.0), (4.0, 4.0)],
                '▚' => &[(0.0, 0.0), (4.0, 4.0)],
                '▛' => &[(0.0, 0.0), (4.0, 0.0), (0.0, 4.0)],
                '▜' => &[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)],
                '▝' => &[(4.0, 0.0)],
                '▞' => &[(4.0, 0.0), (0.0, 4.0)],
                _ => &[(4.0, 0.0), (0.0, 4.0), (4.0, 4.0)],
            };
            (quarters.iter().map(|(x, y)| [*x, *y, 4.0, 4.0]).collect(), 100)
        }
        // The spinner's braille patterns: dots 1 to 3 and 7 on the left, 4 to 6 and 8 on the right.
        '\u{2800}'..='\u{28ff}' => {
            const DOTS: [(f64, f64); 8] = [(1.0, 0.6), (1.0, 2.4), (1.0, 4.2), (5.0, 0.6), (5.0, 2.4), (5.0, 4.2), (1.0, 6.0), (5.0, 6.0)];
            let bits = code - 0x2800;
            let dots = DOTS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            (dots.map(|(_, (x, y))| [*x, *y, 2.0, 1.0]).collect(), 100)
        }
        _ => return None,
    })
}

#[test]
fn borders_are_lines_without_gaps_and_every_character_has_its_column() {
    let mut buf = Buffer::with_lines(["╭──╮ab", "│  │ c", "┗━━┛▐d"]);
    buf[(4, 0)].set_bg(Color::Rgb(1, 2, 3));
    for x in 0..6 {
        for y in 0..3 {
            buf[(x, y)].set_fg(Color::Rgb(9, 9, 9));
        }
    }
    let picture = svg(&buf, &Theme::dark(), "t");
    for part in
        ["M27 57.5H45", "M22.5 67V86", "M49.5 67V86", "M22.5 95.5H49.5", "x=\"54 63\">ab<", "x=\"63\">c<", "<rect x=\"54\" y=\"48\""]
    {
        assert!(picture.contains(part), "no {part} in\n{picture}");
    }
    assert!(!picture.contains(['─', '│', '━', '▐']), "{picture}");
}
