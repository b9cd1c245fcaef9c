//! A small drawing layer over `tiny-skia`: colours, smooth closed outlines, fur edges, and shapes
//! that share one outline. The dogs and the scenes are drawn with nothing else.

use tiny_skia::{
    BlendMode, Color, FillRule, GradientStop, LineCap, LineJoin, LinearGradient, Mask, Paint, Path,
    PathBuilder, Pixmap, Point, RadialGradient, Rect, Shader, SpreadMode, Stroke, Transform,
};

/// A colour, red, green and blue.
pub(super) type Rgb = [u8; 3];

/// A point of the plane, x to the right and y down.
pub(super) type Spot = (f32, f32);

/// How the edge of a shape looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fur {
    /// A clean edge.
    Smooth,
    /// Pointed tufts of this height.
    Shaggy(f32),
    /// Round curls of this height.
    Curly(f32),
}

/// The colour between two, `t` from 0 (`a`) to 1 (`b`).
pub(super) fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    let blend = |x: u8, y: u8| (f32::from(x) + (f32::from(y) - f32::from(x)) * t) as u8;
    [blend(a[0], b[0]), blend(a[1], b[1]), blend(a[2], b[2])]
}

/// The colour made darker (below 1) or lighter (above 1).
pub(super) fn shade(c: Rgb, factor: f32) -> Rgb {
    c.map(|v| (f32::from(v) * factor).clamp(0.0, 255.0) as u8)
}

fn color(c: Rgb, alpha: f32) -> Color {
    Color::from_rgba8(c[0], c[1], c[2], (alpha.clamp(0.0, 1.0) * 255.0) as u8)
}

/// A picture under construction and the coordinates in which it is drawn.
#[derive(Debug)]
pub(super) struct Canvas {
    pub(super) pixmap: Pixmap,
    pub(super) transform: Transform,
    clip: Option<Mask>,
}

impl Canvas {
    /// A transparent canvas of `size` pixels, in coordinates of `size`; `None` for a size that
    /// cannot be allocated.
    pub(super) fn new(size: u32) -> Option<Self> {
        Some(Self {
            pixmap: Pixmap::new(size, size)?,
            transform: Transform::identity(),
            clip: None,
        })
    }

    /// Draws only inside these shapes until [`Canvas::unclip`].
    pub(super) fn clip(&mut self, shapes: &[Path]) {
        let mask = Mask::new(self.pixmap.width(), self.pixmap.height()).map(|mut mask| {
            for shape in shapes {
                mask.fill_path(shape, FillRule::Winding, true, self.transform);
            }
            mask
        });
        self.clip = mask;
    }

    /// Draws everywhere again.
    pub(super) fn unclip(&mut self) {
        self.clip = None;
    }

    fn paint(&mut self, shape: &Path, shader: Shader<'_>, blend_mode: BlendMode) {
        let paint = Paint { shader, blend_mode, anti_alias: true, ..Paint::default() };
        let (pixmap, clip) = (&mut self.pixmap, self.clip.as_ref());
        pixmap.fill_path(shape, &paint, FillRule::Winding, self.transform, clip);
    }

    /// Fills a shape.
    pub(super) fn fill(&mut self, shape: &Path, c: Rgb) {
        self.fill_soft(shape, c, 1.0);
    }

    /// Fills a shape, translucent.
    pub(super) fn fill_soft(&mut self, shape: &Path, c: Rgb, alpha: f32) {
        self.paint(shape, Shader::SolidColor(color(c, alpha)), BlendMode::SourceOver);
    }

    /// Draws a line along a shape.
    pub(super) fn line(&mut self, shape: &Path, c: Rgb, width: f32) {
        let paint = Paint {
            shader: Shader::SolidColor(color(c, 1.0)),
            anti_alias: true,
            ..Paint::default()
        };
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        let (pixmap, clip) = (&mut self.pixmap, self.clip.as_ref());
        pixmap.stroke_path(shape, &paint, &stroke, self.transform, clip);
    }

    /// Fills several shapes as one, with one outline around their union.
    pub(super) fn figure(&mut self, shapes: &[Path], c: Rgb, outline: Rgb, width: f32) {
        for shape in shapes {
            self.line(shape, outline, width * 2.0);
        }
        for shape in shapes {
            self.fill(shape, c);
        }
    }

    /// Fills a shape with colours (and opacities) that change from top to bottom of it.
    pub(super) fn gradient(&mut self, shape: &Path, top: (Rgb, f32), bottom: (Rgb, f32)) {
        let bounds = shape.bounds();
        let shader = LinearGradient::new(
            Point::from_xy(0.0, bounds.top()),
            Point::from_xy(0.0, bounds.bottom()),
            vec![
                GradientStop::new(0.0, color(top.0, top.1)),
                GradientStop::new(1.0, color(bottom.0, bottom.1)),
            ],
            SpreadMode::Pad,
            Transform::identity(),
        );
        if let Some(shader) = shader {
            self.paint(shape, shader, BlendMode::SourceOver);
        }
    }

    /// Lays light and shade over what is already drawn, from one point to another.
    pub(super) fn light(&mut self, from: Spot, to: Spot, light: f32, dark: f32) {
        let shader = LinearGradient::new(
            Point::from_xy(from.0, from.1),
            Point::from_xy(to.0, to.1),
            vec![
                GradientStop::new(0.0, color([255, 250, 235], light)),
                GradientStop::new(0.45, color([255, 250, 235], 0.0)),
                GradientStop::new(0.55, color([30, 20, 60], 0.0)),
                GradientStop::new(1.0, color([30, 20, 60], dark)),
            ],
            SpreadMode::Pad,
            Transform::identity(),
        );
        if let (Some(shader), Some(all)) = (shader, rectangle(-999.0, -999.0, 1999.0, 1999.0)) {
            self.paint(&all, shader, BlendMode::SourceAtop);
        }
    }

    /// A soft round spot of light (or, with a dark colour, of shade).
    pub(super) fn glow(&mut self, at: Spot, radius: f32, c: Rgb, alpha: f32) {
        let centre = Point::from_xy(at.0, at.1);
        let shader = RadialGradient::new(
            centre,
            0.0,
            centre,
            radius,
            vec![GradientStop::new(0.0, color(c, alpha)), GradientStop::new(1.0, color(c, 0.0))],
            SpreadMode::Pad,
            Transform::identity(),
        );
        if let (Some(shader), Some(shape)) = (shader, oval(at, radius, radius)) {
            self.paint(&shape, shader, BlendMode::SourceOver);
        }
    }
}

/// A rectangle by its corner and size.
pub(super) fn rectangle(x: f32, y: f32, width: f32, height: f32) -> Option<Path> {
    Rect::from_xywh(x, y, width, height).map(PathBuilder::from_rect)
}

/// An ellipse by its centre and half axes.
pub(super) fn oval(at: Spot, rx: f32, ry: f32) -> Option<Path> {
    PathBuilder::from_oval(Rect::from_xywh(at.0 - rx, at.1 - ry, rx * 2.0, ry * 2.0)?)
}

/// An ellipse turned by `angle` radians.
pub(super) fn tilted_oval(at: Spot, rx: f32, ry: f32, angle: f32) -> Option<Path> {
    let turn = Transform::from_rotate_at(angle.to_degrees(), at.0, at.1);
    oval(at, rx, ry)?.transform(turn)
}

/// A line through points, open.
pub(super) fn polyline(points: &[Spot]) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        if i == 0 {
            path.move_to(x, y);
        } else {
            path.line_to(x, y);
        }
    }
    path.finish()
}

/// A polygon through points, closed.
pub(super) fn polygon(points: &[Spot]) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        if i == 0 {
            path.move_to(x, y);
        } else {
            path.line_to(x, y);
        }
    }
    path.close();
    path.finish()
}

/// A limb: a band from `a` to `b` with the half widths `ra` and `rb` and round ends.
pub(super) fn limb(a: Spot, b: Spot, ra: f32, rb: f32, fur: Fur) -> Option<Path> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx.hypot(dy).max(0.001);
    let (ux, uy) = (dx / length, dy / length);
    let (nx, ny) = (-uy, ux);
    let points = [
        (a.0 + nx * ra, a.1 + ny * ra),
        (a.0 - ux * ra * 0.8, a.1 - uy * ra * 0.8),
        (a.0 - nx * ra, a.1 - ny * ra),
        (b.0 - nx * rb, b.1 - ny * rb),
        (b.0 + ux * rb * 0.8, b.1 + uy * rb * 0.8),
        (b.0 + nx * rb, b.1 + ny * rb),
    ];
    blob(&points, fur, a.0 * 0.13)
}

/// A band along points, each with the half width there: tails, mostly.
pub(super) fn ribbon(spine: &[(f32, f32, f32)], fur: Fur) -> Option<Path> {
    let n = spine.len();
    let mut left = Vec::with_capacity(2 * n + 1);
    let mut right = Vec::with_capacity(n);
    for i in 0..n {
        let (before, after) = (spine[i.saturating_sub(1)], spine[(i + 1).min(n - 1)]);
        let (dx, dy) = (after.0 - before.0, after.1 - before.1);
        let length = dx.hypot(dy).max(0.001);
        let (x, y, r) = spine[i];
        left.push((x - dy / length * r, y + dx / length * r));
        right.push((x + dy / length * r, y - dx / length * r));
        if i + 1 == n {
            left.push((x + dx / length * r, y + dy / length * r));
        }
    }
    left.extend(right.into_iter().rev());
    blob(&left, fur, 0.3)
}

/// Points along a smooth closed curve through `points` (Catmull-Rom), about 1.5 units apart.
fn smooth(points: &[Spot]) -> Vec<Spot> {
    let n = points.len();
    let at = |i: usize| points[i % n];
    let mut curve = Vec::new();
    for i in 0..n {
        let (p0, p1, p2, p3) = (at(i + n - 1), at(i), at(i + 1), at(i + 2));
        let steps = ((p2.0 - p1.0).hypot(p2.1 - p1.1) / 1.5).ceil().max(2.0) as usize;
        for step in 0..steps {
            let t = step as f32 / steps as f32;
            let (t2, t3) = (t * t, t * t * t);
            let spline = |a: f32, b: f32, c: f32, d: f32| {
                0.5 * (2.0 * b
                    + (c - a) * t
                    + (2.0 * a - 5.0 * b + 4.0 * c - d) * t2
                    + (3.0 * b - a - 3.0 * c + d) * t3)
            };
            curve.push((spline(p0.0, p1.0, p2.0, p3.0), spline(p0.1, p1.1, p2.1, p3.1)));
        }
    }
    curve
}

/// A smooth closed shape through points, its edge drawn as fur; `phase` shifts the tufts so that
/// no two dogs have the same. The points may run in either direction.
pub(super) fn blob(points: &[Spot], fur: Fur, phase: f32) -> Option<Path> {
    let curve = smooth(points);
    let (height, wave) = match fur {
        Fur::Smooth => return polygon(&curve),
        Fur::Shaggy(height) => (height, height * 2.2),
        Fur::Curly(height) => (height, height * 3.2),
    };
    let n = curve.len();
    // The sign of the area tells on which side of the curve the outside is.
    let area: f32 = (0..n)
        .map(|i| {
            let (a, b) = (curve[i], curve[(i + 1) % n]);
            a.0 * b.1 - b.0 * a.1
        })
        .sum();
    let outside = if area > 0.0 { 1.0 } else { -1.0 };
    let mut walked = 0.0;
    let mut edge = Vec::with_capacity(n);
    for i in 0..n {
        let (before, here, after) = (curve[(i + n - 1) % n], curve[i], curve[(i + 1) % n]);
        let (dx, dy) = (after.0 - before.0, after.1 - before.1);
        let length = dx.hypot(dy).max(0.001);
        let (nx, ny) = (dy / length * outside, -dx / length * outside);
        walked += (here.0 - before.0).hypot(here.1 - before.1);
        let position = walked / wave + phase;
        let lift = match fur {
            // A tuft rises slowly and falls at once, with every third one longer.
            Fur::Shaggy(_) => {
                let longer = if (position as i32).rem_euclid(3) == 0 { 1.0 } else { 0.65 };
                position.rem_euclid(1.0) * longer
            }
            _ => (position * std::f32::consts::PI).sin().abs(),
        };
        edge.push((here.0 + nx * lift * height, here.1 + ny * lift * height));
    }
    polygon(&edge)
}
