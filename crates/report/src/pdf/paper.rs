//! Pages that are filled from top to bottom. All sizes in points.

use pdf_writer::{Content, Name, Str};

use super::font::Font;
use super::words::Line;

/// A4.
pub(super) const WIDTH: f32 = 595.28;
pub(super) const HEIGHT: f32 = 841.89;
/// Left and right.
pub(super) const MARGIN: f32 = 44.0;
/// Between the margins.
pub(super) const WIDE: f32 = WIDTH - 2.0 * MARGIN;
const TOP: f32 = 36.0;
const BOTTOM: f32 = 38.0;

/// Red, green and blue from 0 to 1.
pub(super) type Colour = [f32; 3];
pub(super) const INK: Colour = [0.13, 0.145, 0.165];
pub(super) const QUIET: Colour = [0.4, 0.42, 0.46];
pub(super) const LINE: Colour = [0.84, 0.83, 0.81];

/// The pages so far, and the place on the last one.
pub(super) struct Paper {
    pages: Vec<Content>,
    page: Content,
    /// Of the last line's foot, from the page's foot.
    y: f32,
    scale: f32,
}

impl Paper {
    /// Everything but the page is made smaller or larger by `scale`.
    pub(super) fn new(scale: f32) -> Paper {
        Paper { pages: Vec::new(), page: Content::new(), y: HEIGHT - TOP, scale }
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.len() + 1
    }

    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    pub(super) fn finish(mut self) -> Vec<Content> {
        self.pages.push(self.page);
        self.pages
    }

    /// Begins a page unless there is so much room on this one.
    pub(super) fn need(&mut self, height: f32) {
        if self.y - height * self.scale < BOTTOM && self.y < HEIGHT - TOP {
            let full = std::mem::replace(&mut self.page, Content::new());
            self.pages.push(full);
            self.y = HEIGHT - TOP;
        }
    }

    /// Goes down for something of this height, to the next page if need be.
    pub(super) fn down(&mut self, height: f32) {
        self.need(height);
        self.y -= height * self.scale;
    }

    /// Leaves room, but not at the top of a page.
    pub(super) fn gap(&mut self, height: f32) {
        if self.y < HEIGHT - TOP {
            self.y -= height * self.scale;
        }
    }

    /// The height at which it is; from the page's foot.
    pub(super) fn at(&self) -> f32 {
        self.y
    }

    /// Whether something of this height fits on one page.
    pub(super) fn fits_a_page(&self, height: f32) -> bool {
        height * self.scale < HEIGHT - TOP - BOTTOM
    }

    /// A line of words on the height at which it is; they stand a little above it.
    pub(super) fn line(&mut self, x: f32, line: &Line, colour: Colour) {
        let mut x = x;
        let base = self.y + 2.6 * self.scale;
        for (font, bytes) in &line.runs {
            show(&mut self.page, (x, base), (*font, line.size), colour, bytes);
            x += font.width(bytes, line.size);
        }
    }

    /// A line across.
    pub(super) fn rule(&mut self, colour: Colour) {
        let y = self.y;
        self.stroke(&[(MARGIN, y), (MARGIN + WIDE, y)], (0.6, colour));
    }

    /// A bar at the left, beside a line of this height.
    pub(super) fn bar(&mut self, height: f32) {
        let (y, top) = (self.y, self.y + height * self.scale);
        self.stroke(&[(MARGIN + 1.0, y), (MARGIN + 1.0, top)], (1.6, [0.85, 0.45, 0.18]));
    }

    /// A drawn line through points.
    pub(super) fn stroke(&mut self, points: &[(f32, f32)], (width, colour): (f32, Colour)) {
        let Some(((x, y), rest)) = points.split_first() else { return };
        let [r, g, b] = colour;
        self.page.save_state().set_line_width(width).set_stroke_rgb(r, g, b).move_to(*x, *y);
        for (x, y) in rest {
            self.page.line_to(*x, *y);
        }
        self.page.stroke().restore_state();
    }

    /// A filled rectangle.
    pub(super) fn fill(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), colour: Colour) {
        let [r, g, b] = colour;
        self.page.save_state().set_fill_rgb(r, g, b).rect(x, y, width, height);
        self.page.fill_nonzero().restore_state();
    }

    /// Encoded letters anywhere on the page.
    pub(super) fn show(&mut self, at: (f32, f32), size: f32, colour: Colour, bytes: &[u8]) {
        show(&mut self.page, at, (Font::Regular, size), colour, bytes);
    }
}

/// Encoded letters on a page.
pub(super) fn show(
    page: &mut Content,
    (x, y): (f32, f32),
    (font, size): (Font, f32),
    [r, g, b]: Colour,
    bytes: &[u8],
) {
    page.begin_text().set_fill_rgb(r, g, b).set_font(Name(font.resource()), font.beside(size));
    page.next_line(x, y).show(Str(bytes)).end_text();
}
