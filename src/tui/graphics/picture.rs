//! Images of results: decoded within limits of bytes, pixels and memory, and scaled down for the preview. Pure.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbaImage, imageops, metadata::Orientation};

use crate::{
    domain::{plural::counted, time::size},
    tui::msg::Content,
};

/// The most bytes of an image file.
const MOST_BYTES: usize = 16_000_000;
/// The most pixels of an image.
const MOST_PIXELS: u64 = 25_000_000;
/// The most memory of a decoder, its result included, in bytes.
const MOST_MEMORY: u64 = 256 << 20;
/// The longest side of a preview in pixels: more than a pane has.
const LONGEST_SIDE: u32 = 1600;

/// A decoded image.
#[derive(Debug, PartialEq)]
pub struct Picture {
    /// The name of its format, as found in its bytes.
    pub format: &'static str,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// The bytes of its file.
    pub bytes: usize,
    /// The pixels of the preview.
    pub(super) pixels: RgbaImage,
}

impl Picture {
    /// Formats the facts about it: `PNG · 640 × 480 · 4.0 kB`.
    pub fn words(&self) -> String {
        format!("{} · {} × {} · {}", self.format, self.width, self.height, size(self.bytes as u64))
    }
}

/// Decodes a file: PNG, JPEG, GIF (its first frame) or WebP. The declared type does not matter. Errors say in one line why there is
/// no preview.
pub fn decode(file: &Content) -> Result<Picture, String> {
    if file.len() > MOST_BYTES {
        return Err(format!("no preview of {}: the limit is {}", size(file.len() as u64), size(MOST_BYTES as u64)));
    }
    let file = file.bytes().ok_or("no preview: the server sent invalid base64")?;
    let broken = || "no preview: the file is incomplete or damaged".to_owned();
    let mut reader = ImageReader::new(Cursor::new(file.bytes())).with_guessed_format().map_err(|_| broken())?;
    let format = match reader.format() {
        Some(ImageFormat::Png) => "PNG",
        Some(ImageFormat::Jpeg) => "JPEG",
        Some(ImageFormat::Gif) => "GIF",
        Some(ImageFormat::WebP) => "WebP",
        _ => return Err("no preview: only PNG, JPEG, GIF and WebP are shown".into()),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|_| broken())?;
    let (width, height) = decoder.dimensions();
    // Before any pixel is decoded: a small file can claim any size.
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MOST_PIXELS || decoder.total_bytes() > MOST_MEMORY {
        let megapixels = usize::try_from(MOST_PIXELS / 1_000_000).unwrap_or_default();
        return Err(format!("no preview of {width} × {height} pixels: the limit is {}", counted(megapixels, "megapixel")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|_| broken())?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width(), image.height());
    let pixels =
        if width.max(height) > LONGEST_SIDE { image.thumbnail(LONGEST_SIDE, LONGEST_SIDE).into_rgba8() } else { image.into_rgba8() };
    Ok(Picture { format, width, height, bytes: file.len(), pixels })
}

/// Scales pixels down to fit into `width` × `height`; smaller ones stay as they are.
pub(super) fn fit(pixels: &RgbaImage, width: u32, height: u32) -> RgbaImage {
    let (own_width, own_height) = (pixels.width().max(1), pixels.height().max(1));
    let (width, height) = (width.max(1), height.max(1));
    if own_width <= width && own_height <= height {
        return pixels.clone();
    }
    let scale = (f64::from(width) / f64::from(own_width)).min(f64::from(height) / f64::from(own_height));
    let scaled = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
    imageops::thumbnail(pixels, scaled(own_width, width), scaled(own_height, height))
}

#[cfg(test)]
pub(in crate::tui) mod tests {
    use base64::Engine as _;
    pub use image::ImageFormat as Format;

    use super::*;
    use crate::domain::body::Body;

    /// Returns an image in a format: its left half red, its right half blue, the last row transparent.
    pub fn file(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
        let pixels = RgbaImage::from_fn(width, height, |x, y| {
            let opaque = if y + 1 == height { 0 } else { 255 };
            image::Rgba(if x < width / 2 { [255, 0, 0, opaque] } else { [0, 0, 255, opaque] })
        });
        let mut bytes = Cursor::new(Vec::new());
        let image = DynamicImage::from(pixels);
        match format {
            ImageFormat::Jpeg => DynamicImage::from(image.to_rgb8()).write_to(&mut bytes, format).unwrap(),
            format => image.write_to(&mut bytes, format).unwrap(),
        }
        bytes.into_inner()
    }

    /// Returns a file in base64, as results have it.
    pub fn base64(file: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(file)
    }

    /// Returns a PNG file whose header claims a size, with too few pixels.
    pub fn claims(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = file(ImageFormat::Png, 4, 4);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }

    fn of(bytes: &[u8]) -> Result<Picture, String> {
        decode(&Content::Bytes(Body::new(bytes.to_vec())))
    }

    #[test]
    fn the_four_formats_are_decoded_whatever_their_declared_type_is() {
        for (format, name) in
            [(ImageFormat::Png, "PNG"), (ImageFormat::Jpeg, "JPEG"), (ImageFormat::Gif, "GIF"), (ImageFormat::WebP, "WebP")]
        {
            let bytes = file(format, 32, 16);
            let picture = of(&bytes).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!((picture.format, picture.width, picture.height, picture.bytes), (name, 32, 16, bytes.len()));
            let [red, _, blue, _] = picture.pixels.get_pixel(2, 2).0;
            assert!(red > 200 && blue < 60, "{name}");
        }
        assert!(of(&file(ImageFormat::Png, 32, 16)).unwrap().words().starts_with("PNG · 32 × 16 · "));
        let encoded = Content::Base64(Body::from(base64(&file(ImageFormat::Png, 3, 3))));
        assert_eq!(decode(&encoded).unwrap().width, 3);
    }

    #[test]
    fn hostile_files_are_refused_in_one_line_before_they_are_decoded() {
        let error = |bytes: &[u8]| of(bytes).unwrap_err();
        assert_eq!(error(&claims(60_000, 60_000)), "no preview of 60000 × 60000 pixels: the limit is 25 megapixels");
        assert!(error(&claims(u32::MAX >> 1, u32::MAX >> 1)).contains("no preview"));
        assert!(error(&claims(4_000, 4_000)).contains("incomplete or damaged"), "fewer pixels than it claims");
        assert!(error(b"<svg xmlns='http://www.w3.org/2000/svg'/>").contains("only PNG"));
        assert!(error(b"").contains("only PNG"));
        assert!(error(&vec![0; MOST_BYTES + 1]).contains("the limit is 16"));
        let broken = Content::Base64(Body::from("%%%"));
        assert!(decode(&broken).unwrap_err().contains("invalid base64"));
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP] {
            let whole = file(format, 40, 40);
            for cut in 0..whole.len() {
                if let Err(why) = of(&whole[..cut]) {
                    assert!(why.starts_with("no preview") && !why.contains('\n'), "{why}");
                }
            }
        }
    }

    #[test]
    fn previews_are_scaled_down_and_never_up() {
        let picture = of(&file(ImageFormat::Png, 3_200, 200)).unwrap();
        assert_eq!((picture.width, picture.height), (3_200, 200));
        assert_eq!(picture.pixels.dimensions(), (1_600, 100));
        assert_eq!(fit(&picture.pixels, 100, 100).dimensions(), (100, 6));
        assert_eq!(fit(&picture.pixels, 0, 0).dimensions(), (1, 1));
        assert_eq!(fit(&picture.pixels, 5_000, 5_000).dimensions(), (1_600, 100));
    }
}
