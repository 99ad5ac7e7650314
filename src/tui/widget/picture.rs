//! Draws an encoded image: half blocks, placeholders of a kitty image, or a sequence in its first cell.

use ratatui::{
    buffer::{Buffer, CellDiffOption},
    layout::Rect,
    style::Color,
};

use crate::tui::graphics::encode::{Encoded, Halves, Pixels, placeholder};

/// Draws the image at the top left of `area`. `covered` draws half blocks, because text above an image of pixels would damage it.
/// One that was encoded for a larger area is cut; a sequence cannot be cut and is left out.
pub fn draw(image: &Encoded, covered: bool, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    match &image.pixels {
        Some(Pixels::Kitty { id, cells }) => {
            let [_, red, green, blue] = id.to_be_bytes();
            for (column, row) in inside(*cells, area) {
                let cell = &mut buf[(area.x + column, area.y + row)];
                if let Some(symbol) = placeholder(column, row) {
                    cell.set_symbol(&symbol).set_fg(Color::Rgb(red, green, blue));
                }
            }
        }
        Some(Pixels::Inline { sequence, cells: (columns, rows) }) if !covered => {
            if *columns > area.width || *rows > area.height {
                return;
            }
            for (column, row) in inside((*columns, *rows), area) {
                buf[(area.x + column, area.y + row)].set_diff_option(CellDiffOption::Skip);
            }
            let width = std::num::NonZeroU16::MIN;
            buf[(area.x, area.y)].set_symbol(sequence).set_diff_option(CellDiffOption::ForcedWidth(width));
        }
        Some(Pixels::Inline { .. }) | None => {
            for (column, row) in inside((image.blocks.columns, image.blocks.rows()), area) {
                if let Some(halves) = image.blocks.get(column, row) {
                    draw_halves(halves, buf, (area.x + column, area.y + row));
                }
            }
        }
    }
}

/// Returns the cells of an image that are in an area, relative to it.
fn inside((columns, rows): (u16, u16), area: Rect) -> impl Iterator<Item = (u16, u16)> {
    let columns = columns.min(area.width);
    (0..rows.min(area.height)).flat_map(move |row| (0..columns).map(move |column| (column, row)))
}

fn draw_halves(halves: Halves, buf: &mut Buffer, place: (u16, u16)) {
    let colour = |[red, green, blue]: [u8; 3]| Color::Rgb(red, green, blue);
    let cell = &mut buf[place];
    match halves {
        [Some(upper), Some(lower)] => drop(cell.set_symbol("▀").set_fg(colour(upper)).set_bg(colour(lower))),
        [Some(upper), None] => drop(cell.set_symbol("▀").set_fg(colour(upper))),
        [None, Some(lower)] => drop(cell.set_symbol("▄").set_fg(colour(lower))),
        [None, None] => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::graphics::{
        Protocol,
        encode::{Blocks, Target},
    };

    const RED: [u8; 3] = [255, 0, 0];

    fn image(pixels: Option<Pixels>) -> Encoded {
        let target = Target { protocol: Protocol::Blocks, cells: (4, 2), cell: (8, 16) };
        let blocks = Blocks { columns: 2, cells: vec![[Some(RED), Some(RED)], [Some(RED), None], [None, Some(RED)], [None, None]] };
        Encoded { target, blocks, pixels, transmission: None }
    }

    fn drawn(image: &Encoded, covered: bool, size: (u16, u16)) -> Buffer {
        let mut buf = Buffer::empty(Rect::new(0, 0, 6, 3));
        draw(image, covered, Rect::new(1, 1, size.0, size.1), &mut buf);
        buf
    }

    #[test]
    fn half_blocks_have_the_colours_of_both_halves() {
        let buf = drawn(&image(None), false, (4, 2));
        let cell = |x, y| (buf[(x, y)].symbol().to_owned(), buf[(x, y)].fg, buf[(x, y)].bg);
        let red = Color::Rgb(255, 0, 0);
        assert_eq!(cell(1, 1), ("▀".into(), red, red));
        assert_eq!(cell(2, 1), ("▀".into(), red, Color::Reset));
        assert_eq!(cell(1, 2), ("▄".into(), red, Color::Reset));
        assert_eq!(cell(2, 2), (" ".into(), Color::Reset, Color::Reset));
        let cut = drawn(&image(None), false, (1, 1));
        assert_eq!((cut[(1, 1)].symbol(), cut[(2, 1)].symbol(), cut[(1, 2)].symbol()), ("▀", " ", " "));
    }

    #[test]
    fn a_dialog_may_cover_placeholders_and_replaces_a_sequence() {
        let kitty = image(Some(Pixels::Kitty { id: 0x53_5701, cells: (3, 2) }));
        for covered in [false, true] {
            let buf = drawn(&kitty, covered, (4, 2));
            assert_eq!(buf[(3, 2)].symbol(), placeholder(2, 1).unwrap());
            assert_eq!((buf[(3, 2)].fg, buf[(4, 2)].symbol()), (Color::Rgb(0x53, 0x57, 0x01), " "));
        }
        let sixel = image(Some(Pixels::Inline { sequence: "SEQUENCE".into(), cells: (3, 2) }));
        let buf = drawn(&sixel, false, (4, 2));
        assert_eq!(buf[(1, 1)].symbol(), "SEQUENCE");
        assert_eq!((buf[(3, 2)].diff_option, buf[(4, 2)].diff_option), (CellDiffOption::Skip, CellDiffOption::None));
        assert_eq!(drawn(&sixel, true, (4, 2))[(1, 1)].symbol(), "▀", "covered");
        assert_eq!(drawn(&sixel, false, (2, 2)), Buffer::empty(Rect::new(0, 0, 6, 3)), "too small an area");
    }
}
