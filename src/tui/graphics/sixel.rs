//! Sixel graphics (DEC STD 070): bands of six rows of pixels, one line of characters for each colour of a band.

use std::{collections::HashMap, fmt::Write};

use color_quant::NeuQuant;
use image::RgbaImage;

/// The most colours: VT340 and its successors have 256 registers.
const COLOURS: usize = 256;

/// Returns the control sequence of an image. Transparent pixels stay as they are.
pub fn sixel(image: &RgbaImage) -> String {
    let (width, height) = image.dimensions();
    let palette = Palette::of(image);
    let mut out = format!("\x1bP0;1;0q\"1;1;{width};{height}");
    let percent = |value: u8| (u32::from(value) * 100 + 127) / 255;
    for (number, [red, green, blue]) in palette.colours.iter().enumerate() {
        let _ = write!(out, "#{number};2;{};{};{}", percent(*red), percent(*green), percent(*blue));
    }
    let columns = usize::try_from(width).unwrap_or_default();
    for top in (0..height).step_by(6) {
        let mut lines: Vec<Option<Vec<u8>>> = vec![None; palette.colours.len()];
        for y in top..height.min(top + 6) {
            for x in 0..width {
                if let Some(number) = palette.number(image.get_pixel(x, y).0) {
                    let line = lines[number].get_or_insert_with(|| vec![0; columns]);
                    line[x as usize] |= 1 << (y - top);
                }
            }
        }
        for (number, line) in lines.iter().enumerate() {
            if let Some(line) = line {
                let _ = write!(out, "#{number}");
                put_line(line, &mut out);
                out.push('$');
            }
        }
        out.push('-');
    }
    out + "\x1b\\"
}

/// Writes a line of a colour with its repetitions counted.
fn put_line(line: &[u8], out: &mut String) {
    for run in line.chunk_by(|a, b| a == b) {
        let character = char::from(run[0] + b'?');
        if run.len() > 3 {
            let _ = write!(out, "!{}{character}", run.len());
        } else {
            out.extend(std::iter::repeat_n(character, run.len()));
        }
    }
}

/// The colours of an image, found by their upper five bits.
struct Palette {
    colours: Vec<[u8; 3]>,
    numbers: HashMap<[u8; 3], usize>,
}

impl Palette {
    fn of(image: &RgbaImage) -> Palette {
        let mut palette = Palette { colours: vec![], numbers: HashMap::new() };
        for pixel in image.pixels().map(|pixel| pixel.0).filter(is_opaque) {
            let next = palette.colours.len();
            if let std::collections::hash_map::Entry::Vacant(entry) = palette.numbers.entry(class(pixel)) {
                entry.insert(next);
                palette.colours.push([pixel[0], pixel[1], pixel[2]]);
            }
        }
        if palette.colours.len() > COLOURS {
            let quantiser = NeuQuant::new(10, COLOURS, image.as_raw());
            let number = |[red, green, blue]: [u8; 3]| quantiser.index_of(&[red, green, blue, 255]);
            let seen = std::mem::take(&mut palette.colours);
            palette.numbers = seen.into_iter().map(|colour| (class([colour[0], colour[1], colour[2], 255]), number(colour))).collect();
            palette.colours = quantiser.color_map_rgb().chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2]]).collect();
        }
        palette
    }

    /// Returns the number of a pixel's colour; `None` if it is transparent.
    fn number(&self, pixel: [u8; 4]) -> Option<usize> {
        is_opaque(&pixel).then(|| self.numbers.get(&class(pixel)).copied().filter(|number| *number < self.colours.len())).flatten()
    }
}

fn is_opaque(pixel: &[u8; 4]) -> bool {
    pixel[3] >= 128
}

fn class([red, green, blue, _]: [u8; 4]) -> [u8; 3] {
    [red >> 3, green >> 3, blue >> 3]
}

#[cfg(test)]
mod tests {
    use image::Rgba;

    use super::*;

    /// Takes a number from the front of a text.
    fn number(rest: &mut &str) -> u32 {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        *rest = after;
        digits.parse().expect("a number")
    }

    /// Draws a sequence as a terminal does: the colours in percent, `None` where nothing was drawn.
    fn drawn(sequence: &str, width: usize, height: usize) -> Vec<Option<[u32; 3]>> {
        let body = sequence.strip_prefix("\x1bP0;1;0q").and_then(|rest| rest.strip_suffix("\x1b\\")).expect("a sixel sequence");
        let mut pixels = vec![None; width * height];
        let mut colours = HashMap::new();
        let (mut colour, mut x, mut top) = (0, 0, 0);
        let mut rest = body.strip_prefix(&format!("\"1;1;{width};{height}")).expect("its size");
        while let Some(c) = rest.chars().next() {
            rest = &rest[1..];
            let (mut count, mut c) = (1, c);
            if c == '!' {
                count = number(&mut rest);
                c = rest.chars().next().expect("a character");
                rest = &rest[1..];
            }
            match c {
                '#' => {
                    colour = number(&mut rest);
                    if let Some(after) = rest.strip_prefix(";2;") {
                        rest = after;
                        let red = number(&mut rest);
                        rest = &rest[1..];
                        let green = number(&mut rest);
                        rest = &rest[1..];
                        colours.insert(colour, [red, green, number(&mut rest)]);
                    }
                }
                '$' => x = 0,
                '-' => (x, top) = (0, top + 6),
                sixel => {
                    for _ in 0..count {
                        for bit in (0..6).filter(|bit| (sixel as u32 - 0x3f) >> bit & 1 == 1) {
                            pixels[(top + bit) * width + x] = Some(colours[&colour]);
                        }
                        x += 1;
                    }
                }
            }
        }
        pixels
    }

    #[test]
    fn the_pixels_arrive_and_transparent_ones_are_left_out() {
        let colour = |x: u32, y: u32| match (x / 5, y / 4) {
            (0, _) => [255, 0, 0, 255],
            (1, 0) => [0, 128, 255, 255],
            (1, _) => [0, 0, 0, 0],
            _ => [255, 255, 255, 255],
        };
        let image = RgbaImage::from_fn(15, 8, |x, y| Rgba(colour(x, y)));
        let pixels = drawn(&sixel(&image), 15, 8);
        for (place, pixel) in pixels.iter().enumerate() {
            let wanted = match colour(place as u32 % 15, place as u32 / 15) {
                [.., 0] => None,
                [red, green, blue, _] => Some([red, green, blue].map(|value: u8| (u32::from(value) * 100 + 127) / 255)),
            };
            assert_eq!(*pixel, wanted, "{place}");
        }
    }

    #[test]
    fn many_colours_are_reduced_to_the_registers_of_a_terminal() {
        let image = RgbaImage::from_fn(128, 96, |x, y| Rgba([(x * 2) as u8, (y * 2) as u8, (x + y) as u8, 255]));
        let palette = Palette::of(&image);
        assert!(palette.colours.len() <= COLOURS && palette.numbers.len() > COLOURS);
        let pixels = drawn(&sixel(&image), 128, 96);
        for (place, pixel) in pixels.iter().enumerate() {
            let [red, green, _] = pixel.expect("every pixel is drawn");
            let (x, y) = (place as u32 % 128, place as u32 / 128);
            let near = |percent: u32, value: u32| percent.abs_diff(value * 100 / 255) < 20;
            assert!(near(red, x * 2) && near(green, y * 2), "{x} {y}: {red} {green}");
        }
    }
}
