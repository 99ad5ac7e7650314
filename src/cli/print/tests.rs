//! Tests of the printer.

use super::*;

#[test]
fn reports_line_up_and_server_text_is_harmless() {
    let lines = report_lines(&[("failed", "protocol: bad\u{1b}[2J".into()), ("data", "a\nb".into())]);
    assert_eq!(lines, ["failed  protocol: bad\\x1b[2J", "data    a", "        b"]);
}

#[test]
fn columns_are_padded_painted_and_cut() {
    let (mut io, out, _) = crate::cli::test_support::buffers(None);
    (io.stdout_tty, io.width, io.style.colored_out) = (true, 20, true);
    let mut printer = Printer::new(io, Format::Human, false);
    let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
    let rows = [row(["NAME", "STATE", "TARGET"]), row(["a", "ready", "a long target here"]), row(["bcdef", "x", ""])];
    printer.headed_table(&rows, |row, column| (row == 0 && column == 1).then_some(Tone::Good)).unwrap();
    printer.flush().unwrap();
    let head = |text: &str| Tone::Head.paint(text);
    let good = Tone::Good.paint("ready");
    assert_eq!(out.text(), format!("{}   {}  {}\na      {good}  a lon…\nbcdef  x\n", head("NAME"), head("STATE"), head("TARGET")));
}

#[tokio::test(start_paused = true)]
async fn progress_is_shown_only_after_a_while() {
    let (mut io, _, err) = crate::cli::test_support::buffers(None);
    io.stderr_tty = true;
    let mut printer = Printer::new(io, Format::Human, false);
    printer.status("one");
    tokio::time::advance(Duration::from_millis(200)).await;
    printer.status("two");
    assert_eq!(err.text(), "");
    let due = printer.progress_due().unwrap();
    tokio::time::sleep_until(due).await;
    printer.draw_progress();
    assert!(err.text().contains("two") && !err.text().contains("one"));
    printer.status("three\u{1b}");
    assert!(err.text().contains("\rthree\\x1b"), "later progress has no delay");
    assert_eq!(err.text().lines().count(), 1, "{:?}", err.text());
    printer.end_progress();
    assert!(printer.progress_due().is_none());
}

#[test]
fn quiet_output_has_failures_only() {
    let (mut io, _, err) = crate::cli::test_support::buffers(None);
    (io.style.quiet, io.stderr_tty) = (true, true);
    let mut printer = Printer::new(io, Format::Human, false);
    printer.note("note");
    printer.note_text("text");
    printer.status("status");
    printer.report("", &[("failed", "it".into())]);
    assert_eq!(err.text(), "failed  it\n");
}

#[test]
fn lines_are_cut_to_cells() {
    assert_eq!(cut("abcdef", 4), "abc…");
    assert_eq!(cut("日本語", 4), "日…");
    assert_eq!(cut("abc", 3), "abc");
}
