//! Exports a plan's graph as Mermaid, DOT and text.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{
    graph::Layout,
    plan::{Action, Fallback, Phase, Plan, PlanStep},
};
use crate::domain::text::visible;

/// Returns a Mermaid flowchart.
pub fn mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart TD\n");
    for step in &plan.steps {
        let label = labels(step).iter().map(|line| mermaid_text(line)).collect::<Vec<_>>().join("<br/>");
        let (open, close) = match step.action {
            Action::Workflow { .. } => ("[[", "]]"),
            Action::Let { .. } => ("(", ")"),
            Action::Approve { .. } | Action::Elicit { .. } => ("{{", "}}"),
            _ if step.has_items() => ("[/", "/]"),
            _ => ("[", "]"),
        };
        // The prefix keeps ids such as `end` from being Mermaid keywords.
        let _ = writeln!(out, "  s_{}{open}\"{label}\"{close}", step.id);
    }
    for (step, need) in edges(plan) {
        let _ = writeln!(out, "  s_{} --> s_{}", plan.steps[need].id, step.id);
    }
    for step in &plan.steps {
        if let Some(compensate) = &step.compensate {
            let _ = writeln!(out, "  s_{} -. compensated by .-> u_{}([\"{}\"])", step.id, step.id, mermaid_text(&compensate.tool));
        }
    }
    out
}

/// Returns a DOT digraph.
pub fn dot(plan: &Plan) -> String {
    let mut out = format!("digraph {} {{\n  rankdir=TB;\n  node [shape=box, style=rounded];\n", dot_text(&plan.name));
    for step in &plan.steps {
        let shape = match step.action {
            Action::Workflow { .. } => ", shape=folder",
            Action::Let { .. } => ", shape=note",
            Action::Approve { .. } | Action::Elicit { .. } => ", shape=diamond",
            _ if step.has_items() => ", shape=box3d",
            _ => "",
        };
        let _ = writeln!(out, "  {} [label={}{shape}];", dot_text(&step.id), dot_text(&labels(step).join("\n")));
    }
    for (step, need) in edges(plan) {
        let _ = writeln!(out, "  {} -> {};", dot_text(&plan.steps[need].id), dot_text(&step.id));
    }
    for step in &plan.steps {
        if let Some(compensate) = &step.compensate {
            let undo = dot_text(&format!("compensate {}", step.id));
            let _ = writeln!(out, "  {undo} [label={}, style=dashed];", dot_text(&compensate.tool));
            let _ = writeln!(out, "  {} -> {undo} [style=dashed];", dot_text(&step.id));
        }
    }
    out.push_str("}\n");
    out
}

fn edges(plan: &Plan) -> impl Iterator<Item = (&PlanStep, usize)> {
    plan.steps.iter().zip(plan.drawn_needs()).flat_map(|(step, needs)| needs.into_iter().map(move |need| (step, need)))
}

/// Returns the lines of a step's box: id, action, and modifiers.
fn labels(step: &PlanStep) -> Vec<String> {
    let mut lines = vec![step.id.to_string(), visible(&step.action.subject()).into_owned()];
    let mut marks = vec![];
    match step.phase {
        Phase::Main => {}
        Phase::OnFailure => marks.push("on failure".to_owned()),
        Phase::Finally => marks.push("finally".to_owned()),
    }
    if step.else_of.is_some() {
        marks.push("else".to_owned());
    }
    if step.for_each.is_some() {
        marks.push("for each".to_owned());
    }
    if let Some(repeat) = &step.repeat {
        marks.push(format!("repeat ≤{}", repeat.limit));
    }
    if step.when.is_some() {
        marks.push("if".to_owned());
    }
    if let Some(retry) = step.retry.as_ref().filter(|retry| retry.attempts > 1) {
        marks.push(format!("×{}", retry.attempts));
    }
    for fallback in &step.fallback {
        marks.push(match fallback {
            Fallback::Tool { call, .. } => format!("else {}", call.tool),
            Fallback::Value(_) => "else a value".to_owned(),
        });
    }
    if !marks.is_empty() {
        lines.push(marks.join(" · "));
    }
    lines
}

fn mermaid_text(text: &str) -> String {
    visible(text).replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;").replace('#', "&num;")
}

fn dot_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// The directions in which lines leave a cell.
const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

/// Renders a layout with box-drawing characters, one line of text per row.
pub fn text(layout: &Layout) -> String {
    let mut ways = vec![vec![0u8; layout.width]; layout.height];
    let mut cells = vec![vec![' '; layout.width]; layout.height];
    for edge in &layout.edges {
        for pair in edge.points.windows(2) {
            run(&mut ways, pair[0], pair[1]);
        }
        if let (Some(first), Some(last)) = (edge.points.first(), edge.points.last()) {
            mark(&mut ways, *first, UP);
            mark(&mut ways, *last, DOWN);
            put(&mut cells, *last, '▼');
        }
    }
    for (row, ways) in cells.iter_mut().zip(&ways) {
        for (cell, ways) in row.iter_mut().zip(ways) {
            if *cell == ' ' {
                *cell = line(*ways);
            }
        }
    }
    for node in &layout.boxes {
        let inner = node.width.saturating_sub(2);
        let frame =
            |left: char, right: char| std::iter::once(left).chain(std::iter::repeat_n('─', inner)).chain([right]).collect::<String>();
        let content = |text: &str| format!("│ {text}{} │", " ".repeat(inner.saturating_sub(2 + text.width())));
        let lines = [frame('╭', '╮'), content(&node.name), content(&node.subject), frame('╰', '╯')];
        for (row, text) in lines.iter().enumerate() {
            write_row(&mut cells, node.x, node.y + row, text);
        }
    }
    // A NUL marks the second cell of a wide character.
    let rows = cells.into_iter().map(|row| row.into_iter().filter(|cell| *cell != '\0').collect::<String>().trim_end().to_owned());
    rows.fold(String::new(), |out, row| out + &row + "\n")
}

fn put(cells: &mut [Vec<char>], (x, y): (usize, usize), glyph: char) {
    if let Some(cell) = cells.get_mut(y).and_then(|row| row.get_mut(x)) {
        *cell = glyph;
    }
}

fn write_row(cells: &mut [Vec<char>], x: usize, y: usize, text: &str) {
    let mut at = x;
    for glyph in text.chars() {
        let width = glyph.width().unwrap_or(0);
        if width == 0 {
            continue;
        }
        put(cells, (at, y), glyph);
        for covered in 1..width {
            put(cells, (at + covered, y), '\0');
        }
        at += width;
    }
}

fn mark(ways: &mut [Vec<u8>], (x, y): (usize, usize), way: u8) {
    if let Some(cell) = ways.get_mut(y).and_then(|row| row.get_mut(x)) {
        *cell |= way;
    }
}

/// Marks a straight segment of an edge.
fn run(ways: &mut [Vec<u8>], from: (usize, usize), to: (usize, usize)) {
    if from.0 == to.0 {
        let (top, bottom) = (from.1.min(to.1), from.1.max(to.1));
        for y in top..bottom {
            mark(ways, (from.0, y), DOWN);
            mark(ways, (from.0, y + 1), UP);
        }
    } else {
        let (left, right) = (from.0.min(to.0), from.0.max(to.0));
        for x in left..right {
            mark(ways, (x, from.1), RIGHT);
            mark(ways, (x + 1, from.1), LEFT);
        }
    }
}

/// Returns the box-drawing character for the directions of a cell. Public for the pane that draws edges itself.
pub fn line(ways: u8) -> char {
    match ways {
        0 => ' ',
        w if w & (LEFT | RIGHT) == 0 => '│',
        w if w & (UP | DOWN) == 0 => '─',
        w if w == DOWN | RIGHT => '╭',
        w if w == DOWN | LEFT => '╮',
        w if w == UP | RIGHT => '╰',
        w if w == UP | LEFT => '╯',
        w if w == UP | DOWN | RIGHT => '├',
        w if w == UP | DOWN | LEFT => '┤',
        w if w == DOWN | LEFT | RIGHT => '┬',
        w if w == UP | LEFT | RIGHT => '┴',
        _ => '┼',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::{
        DEMO, graph,
        parse::{Source, parse},
    };

    fn demo(name: &str) -> Plan {
        let (_, text) = DEMO.into_iter().find(|(known, _)| *known == name).unwrap();
        parse(&Source { file: format!("{name}.toml"), text: text.into() }, &|_| None).unwrap()
    }

    #[test]
    fn the_demo_is_drawn() {
        insta::assert_snapshot!(text(&graph::layout(&graph::Graph::of(&demo("onboard_new_user")))));
        insta::assert_snapshot!(text(&graph::layout(&graph::Graph::of(&demo("enrich_user_data")))));
        insta::assert_snapshot!(mermaid(&demo("onboard_new_user")));
        insta::assert_snapshot!(dot(&demo("resilient_charge")));
    }

    #[test]
    fn a_fan_is_drawn() {
        let text_of = "name = \"x\"\n[[step]]\nid = \"a\"\ntool = \"start\"\n".to_owned()
            + &["b", "c", "d"].map(|id| format!("[[step]]\nid = \"{id}\"\ntool = \"work_{id}\"\nneeds = [\"a\"]\n")).concat()
            + "[[step]]\nid = \"e\"\ntool = \"日本\"\nneeds = [\"b\", \"c\", \"d\"]\n[[step]]\nid = \"f\"\ntool = \"last\"\nneeds = [\"e\", \"a\"]\n[[step]]\nid = \"g\"\ntool = \"side\"\nneeds = [\"b\"]\n";
        let plan = parse(&Source { file: "x.toml".into(), text: text_of }, &|_| None).unwrap();
        insta::assert_snapshot!(text(&graph::layout(&graph::Graph::of(&plan))));
    }
}
