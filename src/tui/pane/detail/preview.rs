//! The preview of an image of the result: below the text, with its facts, scaled to the rows that are left.

use std::{ops::Range, sync::Arc};

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::body::Body,
    tui::{
        action::Action,
        background::{Done, Job, JobHandle, JobKind},
        graphics::{
            Protocol,
            encode::{Encoded, Target},
            picture::Picture,
        },
        keymap::Context,
        msg::Content,
        pane::DrawContext,
        result_view::Part,
        widget::{paint::Pen, picture},
    },
};

/// The fewest rows of an image, and of the text above it.
const FEWEST_ROWS: u16 = 3;

/// The preview: the image that is shown, and its jobs.
#[derive(Default)]
pub(super) struct Preview {
    /// The image: its place among the parts of the result.
    part: Option<usize>,
    /// The number of the image for the terminal.
    number: u32,
    picture: Option<Result<Arc<Picture>, String>>,
    /// The image as it was encoded last.
    encoded: Option<Arc<Encoded>>,
    /// The area that the last frame had for the image.
    wanted: Option<Target>,
    decoding: Option<JobHandle>,
    encoding: Option<(JobHandle, Target)>,
    /// Whether the terminal has to get the image before it is drawn.
    unsent: bool,
}

/// Returns the data of a part that is an image.
fn image_data(part: &Part) -> Option<&str> {
    match part {
        Part::Media { kind, mime, data } => (*kind == "image" || mime.starts_with("image/")).then_some(data),
        Part::Link(_) => None,
    }
}

impl Preview {
    /// Shows the image whose line in the text is the one at `line`, otherwise the one that is shown, otherwise the first.
    pub(super) fn choose(&mut self, parts: &[(usize, Range<usize>, Part)], line: Option<usize>, tasks: &mut Vec<Job>) {
        let images = || parts.iter().enumerate().filter(|(_, (_, _, part))| image_data(part).is_some());
        let at_line = line.and_then(|line| images().find(|(_, (_, lines, _))| lines.contains(&line)));
        let chosen = at_line.map(|(place, _)| place).or(self.part).or_else(|| images().next().map(|(place, _)| place));
        if chosen == self.part {
            return;
        }
        *self = Preview { part: chosen, number: fastrand::u32(..), wanted: self.wanted, ..Preview::default() };
        if let Some(data) = chosen.and_then(|place| image_data(&parts.get(place)?.2)) {
            let file = Content::Base64(Body::from(data));
            match JobKind::Picture(file).ask(tasks) {
                Ok(Done::Picture(picture)) => self.picture = Some(picture),
                Ok(_) => {}
                Err(handle) => self.decoding = Some(handle),
            }
        }
    }

    /// Returns whether a job is pending.
    pub(super) fn waits(&self) -> bool {
        self.decoding.is_some() || self.encoding.is_some()
    }

    /// Returns whether this job is pending.
    pub(super) fn waits_for(&self, handle: &JobHandle) -> bool {
        self.decoding.as_ref() == Some(handle) || self.encoding.as_ref().is_some_and(|(own, _)| own == handle)
    }

    /// Takes the decoded image.
    pub(super) fn take_picture(&mut self, picture: Result<Arc<Picture>, String>) {
        (self.decoding, self.picture) = (None, Some(picture));
    }

    /// Takes the encoded image.
    pub(super) fn take_encoded(&mut self, encoded: Arc<Encoded>) {
        self.encoding = None;
        self.unsent = encoded.transmission.is_some();
        self.encoded = Some(encoded);
    }

    /// Returns what the terminal has to get before the image is drawn, once.
    pub(super) fn take_transmission(&mut self) -> Option<Arc<str>> {
        std::mem::take(&mut self.unsent).then(|| self.encoded.as_ref()?.transmission.clone()).flatten()
    }

    /// Returns whether an image was decoded, which the terminal may be able to draw.
    pub(super) fn has_picture(&self) -> bool {
        matches!(self.picture, Some(Ok(_)))
    }

    /// Adds the job that encodes the image for the area of the last frame, if that changed.
    pub(super) fn fit(&mut self, tasks: &mut Vec<Job>) {
        let (Some(Ok(picture)), Some(wanted)) = (&self.picture, self.wanted) else { return };
        let known = self.encoding.as_ref().map(|(_, target)| *target).or_else(|| Some(self.encoded.as_ref()?.target));
        if known == Some(wanted) {
            return;
        }
        if let Err(handle) = (JobKind::Encode { picture: picture.clone(), target: wanted, number: self.number }).ask(tasks) {
            self.encoding = Some((handle, wanted));
        }
    }

    /// Returns how many rows of an area the preview takes, if the text above it has `text` rows: none without an image or with too
    /// little room.
    pub(super) fn rows(&self, text: usize, area: Rect) -> u16 {
        let text = u16::try_from(text).unwrap_or(u16::MAX).clamp(1, (area.height / 3).max(1));
        let rest = area.height.saturating_sub(text);
        if self.part.is_none() {
            0
        } else if rest > FEWEST_ROWS {
            rest
        } else {
            // The line that says why the image cannot be shown needs one row.
            u16::from(matches!(self.picture, Some(Err(_))) && rest > 0)
        }
    }

    /// Draws the facts about the image, and the image below.
    pub(super) fn draw(&mut self, parts: &[(usize, Range<usize>, Part)], ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let mut pen = Pen::new(buf, area, 0);
        match &self.picture {
            None => drop(pen.put(&format!("{} decoding …", ctx.spinner()), theme.running)),
            Some(Err(why)) => return pen.cut(&format!("⚠ {why}"), theme.warn),
            Some(Ok(picture)) => {
                let images: Vec<usize> =
                    parts.iter().enumerate().filter(|(_, (_, _, part))| image_data(part).is_some()).map(|(place, _)| place).collect();
                let place = images.iter().position(|place| Some(*place) == self.part).unwrap_or_default();
                let which = if images.len() > 1 { format!("image {} of {} · ", place + 1, images.len()) } else { String::new() };
                pen.put(&format!("{which}{}", picture.words()), theme.text);
                // In the form, the letters are typed.
                for (action, label) in [(Action::Save, " save"), (Action::OpenMedia, " open")] {
                    if let Some(key) = ctx.keys.key(&[Context::Result], action).filter(|_| ctx.focused) {
                        pen.skip(3);
                        ctx.put_key(&mut pen, action, &key, label);
                    }
                }
            }
        }
        let place = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
        // Without colours, half blocks are a grey area.
        if theme.mono && ctx.graphics.protocol() == Protocol::Blocks {
            self.wanted = None;
            Pen::new(buf, place, 0).put("Previews need colours or a terminal with graphics.", theme.muted);
            return;
        }
        self.wanted = Some(Target { protocol: ctx.graphics.protocol(), cells: (place.width, place.height), cell: ctx.graphics.cell() });
        // A terminal that has not got the image yet would draw nothing.
        if let Some(encoded) = self.encoded.as_ref().filter(|_| !self.unsent) {
            picture::draw(encoded, ctx.covered, place, buf);
        }
    }
}
