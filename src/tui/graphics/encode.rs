//! Encodings of an image for an area: cells of half blocks, and what a graphics protocol takes. Pure.

use std::{fmt::Write, sync::Arc};

use base64::Engine as _;
use image::{ImageEncoder, RgbaImage, codecs::png::PngEncoder};

use super::{
    Protocol,
    picture::{Picture, fit},
    sixel::sixel,
};

/// The base64 of a message of the kitty graphics protocol, in bytes.
const CHUNK: usize = 4096;

/// The area that an image is encoded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// How it is drawn.
    pub protocol: Protocol,
    /// Columns and rows.
    pub cells: (u16, u16),
    /// The width and height of a cell in pixels.
    pub cell: (u16, u16),
}

/// The colours of a cell: of its upper and its lower half. `None` is transparent.
pub type Halves = [Option<[u8; 3]>; 2];

/// An image as half blocks.
#[derive(Debug)]
pub struct Blocks {
    /// Its columns.
    pub columns: u16,
    /// Its cells, row by row.
    pub cells: Vec<Halves>,
}

/// An image for a graphics protocol.
#[derive(Debug)]
pub enum Pixels {
    /// Placeholders of the kitty image with this id.
    Kitty {
        /// The id, in 24 bits.
        id: u32,
        /// Columns and rows.
        cells: (u16, u16),
    },
    /// A control sequence that draws the image at the cursor.
    Inline {
        /// The sequence.
        sequence: String,
        /// Columns and rows.
        cells: (u16, u16),
    },
}

/// An image encoded for an area.
#[derive(Debug)]
pub struct Encoded {
    /// The area.
    pub target: Target,
    /// Half blocks: for terminals without graphics, and while something covers the image.
    pub blocks: Blocks,
    /// What the graphics protocol takes; `None` for half blocks.
    pub pixels: Option<Pixels>,
    /// What the terminal needs before the placeholders of a kitty image are drawn.
    pub transmission: Option<Arc<str>>,
}

/// Encodes an image for an area. `number` differs between images; an image with the number of another replaces it.
pub fn encode(picture: &Picture, target: Target, number: u32) -> Encoded {
    let (pixels, transmission) = match target.protocol {
        Protocol::Blocks => (None, None),
        Protocol::Kitty => {
            let (image, cells) = scaled(&picture.pixels, target);
            // The id is a colour of 24 bits, and zero is not an id.
            let id = 1 + number % 0xff_ffff;
            (Some(Pixels::Kitty { id, cells }), Some(kitty(&image, id, cells).into()))
        }
        Protocol::Iterm2 | Protocol::Sixel => {
            let (image, cells) = scaled(&picture.pixels, target);
            let body = if target.protocol == Protocol::Sixel { sixel(&image) } else { iterm2(&image) };
            (Some(Pixels::Inline { sequence: erase(cells) + &body, cells }), None)
        }
    };
    Encoded { target, blocks: blocks(&picture.pixels, target.cells), pixels, transmission }
}

/// Scales an image to an area; returns the cells that it takes.
fn scaled(pixels: &RgbaImage, target: Target) -> (RgbaImage, (u16, u16)) {
    let ((columns, rows), (width, height)) = (target.cells, target.cell);
    let (width, height) = (u32::from(width.max(1)), u32::from(height.max(1)));
    let image = fit(pixels, u32::from(columns) * width, u32::from(rows) * height);
    let cells = |pixels: u32, each: u32| u16::try_from(pixels.div_ceil(each)).unwrap_or(u16::MAX);
    // With one column, the cell after the sequence would follow without a move of the cursor.
    let taken = (cells(image.width(), width).max(2), cells(image.height(), height));
    (image, taken)
}

fn blocks(pixels: &RgbaImage, (columns, rows): (u16, u16)) -> Blocks {
    let image = fit(pixels, u32::from(columns), u32::from(rows) * 2);
    let colour = |x: u32, y: u32| {
        let [red, green, blue, alpha] = image.get_pixel_checked(x, y)?.0;
        (alpha >= 128).then_some([red, green, blue])
    };
    let rows = image.height().div_ceil(2);
    let cells = (0..rows).flat_map(|row| (0..image.width()).map(move |x| (x, row * 2)));
    let cells = cells.map(|(x, y)| [colour(x, y), colour(x, y + 1)]).collect();
    Blocks { columns: u16::try_from(image.width()).unwrap_or(u16::MAX), cells }
}

impl Blocks {
    /// Returns the colours of a cell.
    pub fn get(&self, column: u16, row: u16) -> Option<Halves> {
        let inside = column < self.columns;
        inside.then(|| self.cells.get(usize::from(row) * usize::from(self.columns) + usize::from(column)).copied()).flatten()
    }

    /// Returns its number of rows.
    pub fn rows(&self) -> u16 {
        let rows = self.cells.len() / usize::from(self.columns.max(1));
        u16::try_from(rows).unwrap_or(u16::MAX)
    }
}

/// Returns an image as a PNG file in base64.
fn png(image: &RgbaImage) -> String {
    let mut file = Vec::new();
    // Writing to memory fails only for an image without pixels, which a decoded one is not.
    let _ = PngEncoder::new(&mut file).write_image(image, image.width(), image.height(), image::ExtendedColorType::Rgba8);
    base64::engine::general_purpose::STANDARD.encode(file)
}

/// Returns the messages that transmit an image and create its virtual placement (kitty graphics protocol, Unicode placeholders).
fn kitty(image: &RgbaImage, id: u32, (columns, rows): (u16, u16)) -> String {
    let data = png(image);
    let mut messages = String::with_capacity(data.len() + data.len() / 256 + 128);
    let mut rest = data.as_str();
    let mut keys = format!("a=T,U=1,f=100,i={id},c={columns},r={rows},");
    loop {
        let (chunk, more) = rest.split_at(rest.len().min(CHUNK));
        let _ = write!(messages, "\x1b_G{keys}q=2,m={};{chunk}\x1b\\", u8::from(!more.is_empty()));
        if more.is_empty() {
            return messages;
        }
        (rest, keys) = (more, String::new());
    }
}

/// Returns the placeholder of a cell of a kitty image; `None` where the protocol has none.
pub fn placeholder(column: u16, row: u16) -> Option<String> {
    let mark = |place: u16| DIACRITICS.chars().nth(usize::from(place));
    Some(['\u{10eeee}', mark(row)?, mark(column)?].iter().collect())
}

/// Returns the sequence of an inline image (iTerm2, OSC 1337).
fn iterm2(image: &RgbaImage) -> String {
    let data = png(image);
    let (width, height) = image.dimensions();
    format!("\x1b]1337;File=inline=1;width={width}px;height={height}px;doNotMoveCursor=1:{data}\x07")
}

/// Returns the sequence that erases the cells below an image: their text would be visible through it.
fn erase((columns, rows): (u16, u16)) -> String {
    let line = format!("\x1b[{columns}X\x1b[1B");
    format!("{}\x1b[{rows}A", line.repeat(usize::from(rows)))
}

/// The combining characters that number rows and columns (kitty graphics protocol, rowcolumn-diacritics).
const DIACRITICS: &str = "\u{305}\u{30d}\u{30e}\u{310}\u{312}\u{33d}\u{33e}\u{33f}\u{346}\u{34a}\u{34b}\u{34c}\u{350}\u{351}\u{352}\u{357}\
     \u{35b}\u{363}\u{364}\u{365}\u{366}\u{367}\u{368}\u{369}\u{36a}\u{36b}\u{36c}\u{36d}\u{36e}\u{36f}\u{483}\u{484}\
     \u{485}\u{486}\u{487}\u{592}\u{593}\u{594}\u{595}\u{597}\u{598}\u{599}\u{59c}\u{59d}\u{59e}\u{59f}\u{5a0}\u{5a1}\
     \u{5a8}\u{5a9}\u{5ab}\u{5ac}\u{5af}\u{5c4}\u{610}\u{611}\u{612}\u{613}\u{614}\u{615}\u{616}\u{617}\u{657}\u{658}\
     \u{659}\u{65a}\u{65b}\u{65d}\u{65e}\u{6d6}\u{6d7}\u{6d8}\u{6d9}\u{6da}\u{6db}\u{6dc}\u{6df}\u{6e0}\u{6e1}\u{6e2}\
     \u{6e4}\u{6e7}\u{6e8}\u{6eb}\u{6ec}\u{730}\u{732}\u{733}\u{735}\u{736}\u{73a}\u{73d}\u{73f}\u{740}\u{741}\u{743}\
     \u{745}\u{747}\u{749}\u{74a}\u{7eb}\u{7ec}\u{7ed}\u{7ee}\u{7ef}\u{7f0}\u{7f1}\u{7f3}\u{816}\u{817}\u{818}\u{819}\
     \u{81b}\u{81c}\u{81d}\u{81e}\u{81f}\u{820}\u{821}\u{822}\u{823}\u{825}\u{826}\u{827}\u{829}\u{82a}\u{82b}\u{82c}\
     \u{82d}\u{951}\u{953}\u{954}\u{f82}\u{f83}\u{f86}\u{f87}\u{135d}\u{135e}\u{135f}\u{17dd}\u{193a}\u{1a17}\u{1a75}\
     \u{1a76}\u{1a77}\u{1a78}\u{1a79}\u{1a7a}\u{1a7b}\u{1a7c}\u{1b6b}\u{1b6d}\u{1b6e}\u{1b6f}\u{1b70}\u{1b71}\u{1b72}\
     \u{1b73}\u{1cd0}\u{1cd1}\u{1cd2}\u{1cda}\u{1cdb}\u{1ce0}\u{1dc0}\u{1dc1}\u{1dc3}\u{1dc4}\u{1dc5}\u{1dc6}\u{1dc7}\
     \u{1dc8}\u{1dc9}\u{1dcb}\u{1dcc}\u{1dd1}\u{1dd2}\u{1dd3}\u{1dd4}\u{1dd5}\u{1dd6}\u{1dd7}\u{1dd8}\u{1dd9}\u{1dda}\
     \u{1ddb}\u{1ddc}\u{1ddd}\u{1dde}\u{1ddf}\u{1de0}\u{1de1}\u{1de2}\u{1de3}\u{1de4}\u{1de5}\u{1de6}\u{1dfe}\u{20d0}\
     \u{20d1}\u{20d4}\u{20d5}\u{20d6}\u{20d7}\u{20db}\u{20dc}\u{20e1}\u{20e7}\u{20e9}\u{20f0}\u{2cef}\u{2cf0}\u{2cf1}\
     \u{2de0}\u{2de1}\u{2de2}\u{2de3}\u{2de4}\u{2de5}\u{2de6}\u{2de7}\u{2de8}\u{2de9}\u{2dea}\u{2deb}\u{2dec}\u{2ded}\
     \u{2dee}\u{2def}\u{2df0}\u{2df1}\u{2df2}\u{2df3}\u{2df4}\u{2df5}\u{2df6}\u{2df7}\u{2df8}\u{2df9}\u{2dfa}\u{2dfb}\
     \u{2dfc}\u{2dfd}\u{2dfe}\u{2dff}\u{a66f}\u{a67c}\u{a67d}\u{a6f0}\u{a6f1}\u{a8e0}\u{a8e1}\u{a8e2}\u{a8e3}\u{a8e4}\
     \u{a8e5}\u{a8e6}\u{a8e7}\u{a8e8}\u{a8e9}\u{a8ea}\u{a8eb}\u{a8ec}\u{a8ed}\u{a8ee}\u{a8ef}\u{a8f0}\u{a8f1}\u{aab0}\
     \u{aab2}\u{aab3}\u{aab7}\u{aab8}\u{aabe}\u{aabf}\u{aac1}\u{fe20}\u{fe21}\u{fe22}\u{fe23}\u{fe24}\u{fe25}\u{fe26}\
     \u{10a0f}\u{10a38}\u{1d185}\u{1d186}\u{1d187}\u{1d188}\u{1d189}\u{1d1aa}\u{1d1ab}\u{1d1ac}\u{1d1ad}\u{1d242}\u{1d243}\
     \u{1d244}";

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::*;
    use crate::{
        domain::body::Body,
        tui::{
            graphics::picture::{decode, tests::file},
            msg::Content,
        },
    };

    fn picture(width: u32, height: u32) -> Picture {
        decode(&Content::Bytes(Body::new(file(ImageFormat::Png, width, height)))).unwrap()
    }

    fn target(protocol: Protocol, columns: u16, rows: u16) -> Target {
        Target { protocol, cells: (columns, rows), cell: (10, 20) }
    }

    #[test]
    fn half_blocks_have_two_pixels_a_cell() {
        let Encoded { blocks, pixels, .. } = encode(&picture(8, 5), target(Protocol::Blocks, 40, 10), 0);
        let (red, blue) = (Some([255, 0, 0]), Some([0, 0, 255]));
        assert_eq!((blocks.columns, blocks.rows()), (8, 3));
        assert_eq!((blocks.get(0, 0), blocks.get(7, 1)), (Some([red, red]), Some([blue, blue])));
        assert_eq!(blocks.get(0, 2), Some([None, None]), "the last row is transparent, and below it is nothing");
        assert!(blocks.get(8, 0).is_none() && blocks.get(0, 3).is_none() && pixels.is_none());
        let small = encode(&picture(400, 100), target(Protocol::Blocks, 40, 10), 0).blocks;
        assert_eq!((small.columns, small.rows()), (40, 5));
    }

    #[test]
    fn kitty_images_are_transmitted_in_chunks_and_placed_by_placeholders() {
        let encoded = encode(&picture(300, 100), target(Protocol::Kitty, 20, 10), 3);
        let Some(Pixels::Kitty { id, cells }) = encoded.pixels else { panic!("no kitty image") };
        assert_eq!((id, cells), (4, (20, 4)), "scaled to 200 x 67 pixels");
        let sent = encoded.transmission.unwrap();
        let messages: Vec<&str> = sent.split_terminator("\x1b\\").collect();
        assert!(messages[0].starts_with(&format!("\x1b_Ga=T,U=1,f=100,i={id},c=20,r=4,q=2,m=")), "{}", messages[0]);
        assert!(messages.iter().all(|message| message.starts_with("\x1b_G") && message.len() <= CHUNK + 80));
        let more = messages.iter().filter(|message| message.contains("m=1;")).count();
        assert_eq!(more + 1, messages.len(), "only the last message ends the image");
        let data: String = messages.iter().filter_map(|message| message.split_once(';')).map(|(_, data)| data).collect();
        let png = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        assert_eq!(decode(&Content::Bytes(Body::new(png))).unwrap().width, 200);
        assert_eq!(placeholder(1, 0).unwrap(), "\u{10eeee}\u{305}\u{30d}");
        assert_eq!((DIACRITICS.chars().count(), placeholder(297, 0)), (297, None));
    }

    #[test]
    fn inline_images_erase_their_cells_first() {
        for (protocol, start) in [(Protocol::Iterm2, "\x1b]1337;File=inline=1;width=30px;height=40px;"), (Protocol::Sixel, "\x1bP0;1;0q")] {
            let encoded = encode(&picture(30, 40), target(protocol, 20, 10), 0);
            let Some(Pixels::Inline { sequence, cells }) = encoded.pixels else { panic!("no sequence") };
            assert_eq!(cells, (3, 2));
            let body = sequence.strip_prefix("\x1b[3X\x1b[1B\x1b[3X\x1b[1B\x1b[2A").expect("erased");
            assert!(body.starts_with(start), "{body}");
            assert_eq!(encoded.blocks.columns, 15, "half blocks for the time when a dialog covers it");
        }
        let narrow = encode(&picture(1, 40), target(Protocol::Sixel, 20, 10), 0);
        assert!(matches!(narrow.pixels, Some(Pixels::Inline { cells: (2, 2), .. })));
    }
}
