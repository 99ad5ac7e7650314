//! Test support: reads the text of a drawn buffer.

use ratatui::buffer::Buffer;

/// Returns the text of a buffer without trailing white space and trailing empty rows.
pub fn text_of(buf: &Buffer) -> String {
    let row = |y| {
        let mut text = String::new();
        let mut x = buf.area.left();
        while x < buf.area.right() {
            let symbol = buf[(x, y)].symbol();
            text.push_str(symbol);
            x += unicode_width::UnicodeWidthStr::width(symbol).max(1) as u16;
        }
        text.trim_end().to_owned()
    };
    let rows: Vec<String> = (buf.area.top()..buf.area.bottom()).map(row).collect();
    rows.join("\n").trim_end().to_owned()
}
