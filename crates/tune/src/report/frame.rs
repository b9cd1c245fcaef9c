//! The frame of a plot with two axes: grid, ticks and names, and where a point stands in it.

use super::axis::Axis;
use kennel_report::{escape, put};

const WIDTH: f64 = 490.0;
const HEIGHT: f64 = 290.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// About the width of a character of tick text.
pub(super) const LETTER: f64 = 6.6;

/// A frame with its axes.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    x: &'a Axis,
    y: &'a Axis,
    left: f64,
}

impl<'a> Frame<'a> {
    /// A frame whose left margin holds the tick texts of `y`.
    pub(super) fn new(x: &'a Axis, y: &'a Axis) -> Self {
        let widest = y.ticks(5).iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
        Self { x, y, left: (16.0 + widest as f64 * LETTER).clamp(34.0, 90.0) }
    }

    /// Where a point of the axes' coordinates stands in the picture.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.across(self.x.place(x)), self.up(self.y.place(y)))
    }

    /// The foot of the picture above `x`, for marks that have no height.
    pub(super) fn foot(&self, x: f64) -> (f64, f64) {
        (self.across(self.x.place(x)), HEIGHT - BOTTOM)
    }

    /// The width of one kind of a horizontal axis of kinds, in the picture's units.
    pub(super) fn band(&self) -> f64 {
        (WIDTH - RIGHT - self.left) / self.x.kinds().max(1) as f64
    }

    fn across(&self, place: f64) -> f64 {
        // A little room keeps the points at the ends off the edges.
        self.left + 8.0 + place * (WIDTH - RIGHT - self.left - 16.0)
    }

    fn up(&self, place: f64) -> f64 {
        HEIGHT - BOTTOM - 7.0 - place * (HEIGHT - TOP - BOTTOM - 7.0)
    }

    /// Opens the picture and draws the axes; the caller closes it with `</svg>`.
    pub(super) fn open(&self, out: &mut String, title: &str) {
        let (left, end, foot) = (self.left, WIDTH - RIGHT, HEIGHT - BOTTOM);
        put(
            out,
            format_args!(
                "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
                escape(title)
            ),
        );
        for (place, text) in self.y.ticks(5) {
            let at = self.up(place);
            put(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{left:.1}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\"/>\
                     <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                    left - 7.0,
                    at + 3.8,
                    escape(&text)
                ),
            );
        }
        for (place, text) in self.x.ticks_within(WIDTH - RIGHT - left) {
            let at = self.across(place);
            put(
                out,
                format_args!(
                    "<line class=\"axis\" x1=\"{at:.1}\" y1=\"{foot}\" x2=\"{at:.1}\" y2=\"{}\"/>\
                     <text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                    foot + 4.0,
                    foot + 16.0,
                    escape(&text)
                ),
            );
        }
        put(
            out,
            format_args!(
                "<line class=\"axis\" x1=\"{left:.1}\" y1=\"{foot}\" x2=\"{end}\" y2=\"{foot}\"/>\
                 <text class=\"label\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                f64::midpoint(left, end),
                HEIGHT - 8.0,
                escape(&self.x.label(72)),
            ),
        );
    }
}
