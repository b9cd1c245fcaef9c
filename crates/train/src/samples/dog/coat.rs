//! What covers the dog: its tail, the markings of its coat, and a collar now and then.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tiny_skia::Path;

use super::super::breed::{Dog, Marking, Tail};
use super::super::brush::{
    Canvas, Fur, Rgb, Spot, blob, oval, polyline, ribbon, shade, tilted_oval,
};
use super::{OUTLINE, Skeleton};

impl Dog {
    pub(super) fn draw_tail(
        &self,
        canvas: &mut Canvas,
        parts: &Skeleton,
        outline: Rgb,
        rng: &mut ChaCha8Rng,
    ) {
        let (x, y) = parts.tail;
        let wag = rng.random_range(-0.3..0.3_f32);
        // The spine of the tail, from its root at 0, 0; negative x is away from the body.
        let (spine, fur): (&[(f32, f32, f32)], Fur) = match self.tail {
            Tail::Stub => {
                (&[(6.0, 3.0, 5.0), (-2.0, -5.0, 5.0), (-6.0, -12.0, 3.5)], self.finer(0.8))
            }
            Tail::Whip => (
                &[
                    (8.0, 0.0, 3.4),
                    (-8.0, 8.0, 2.8),
                    (-15.0, 22.0, 2.3),
                    (-20.0, 34.0, 1.9),
                    (-29.0, 36.0, 1.4),
                ],
                Fur::Smooth,
            ),
            Tail::Sabre => (
                &[
                    (9.0, 4.0, 4.6),
                    (-7.0, -2.0, 4.2),
                    (-18.0, -13.0, 3.6),
                    (-23.0, -27.0, 2.8),
                    (-21.0, -39.0, 1.8),
                ],
                Fur::Smooth,
            ),
            Tail::Brush => (
                &[
                    (9.0, 0.0, 5.0),
                    (-7.0, 7.0, 6.5),
                    (-16.0, 20.0, 8.5),
                    (-21.0, 32.0, 7.0),
                    (-26.0, 42.0, 2.5),
                ],
                Fur::Shaggy(4.0),
            ),
            Tail::Plume => (
                &[
                    (9.0, 3.0, 4.5),
                    (-9.0, -3.0, 6.5),
                    (-21.0, -9.0, 9.0),
                    (-31.0, -18.0, 8.0),
                    (-37.0, -28.0, 3.0),
                ],
                Fur::Shaggy(5.5),
            ),
            Tail::Curl => (
                &[
                    (9.0, 7.0, 5.0),
                    (-5.0, -1.0, 5.6),
                    (-8.0, -14.0, 6.0),
                    (2.0, -22.0, 6.0),
                    (11.0, -16.0, 5.4),
                    (9.0, -8.0, 3.6),
                ],
                match self.fur {
                    Fur::Shaggy(_) => Fur::Shaggy(4.2),
                    _ => Fur::Smooth,
                },
            ),
        };
        let (sin, cos) = wag.sin_cos();
        let lying = parts.tail.1 > -self.depth * 0.3;
        let spine: Vec<_> = spine
            .iter()
            .map(|&(dx, dy, r)| {
                let (rx, ry) = (dx * cos - dy * sin, dx * sin + dy * cos);
                // A tail that would go through the ground lies on it.
                let floor = if lying { -r } else { 0.0 };
                (x + rx, (y + ry).min(floor), r)
            })
            .collect();
        let colour = match self.marking {
            Marking::Saddle | Marking::Patches => self.second,
            _ => self.main,
        };
        let Some(shape) = ribbon(&spine, fur) else {
            return;
        };
        let shape = [shape];
        canvas.figure(&shape, colour, outline, OUTLINE);
        // The tip of a curled tail comes forward over its own root; a line shows the turn.
        if self.tail == Tail::Curl
            && let Some(turn) =
                polyline(&[(x - 1.0, y - 8.0), (x + 3.0, y - 13.0), (x + 6.0, y - 10.0)])
        {
            canvas.line(&turn, outline, 1.2);
        }
        let pale_tip = matches!(self.tail, Tail::Sabre | Tail::Brush)
            && !matches!(self.marking, Marking::Plain | Marking::Mask);
        if pale_tip && let Some(&(tx, ty, r)) = spine.last() {
            canvas.clip(&shape);
            if let Some(tip) = oval((tx, ty), r + 8.0, r + 9.0) {
                canvas.fill(&tip, self.pale);
            }
            canvas.unclip();
        }
    }

    pub(super) fn mark_body(&self, canvas: &mut Canvas, parts: &Skeleton, rng: &mut ChaCha8Rng) {
        let (d, hip, shoulder) = (self.depth, parts.hip, parts.shoulder);
        let along = |t: f32, y: f32| {
            (hip.0 + (shoulder.0 - hip.0) * t, hip.1 + (shoulder.1 - hip.1) * t + y)
        };
        if let Some(belly) = tilted_oval(along(0.5, d * 0.5), self.body * 0.55, d * 0.3, 0.0) {
            canvas.gradient(&belly, (self.pale, 0.0), (self.pale, 0.85));
        }
        // The limb nearest to the eye stands out from the body by a soft line.
        if let Some(limb) = parts.near.first() {
            canvas.line(limb, shade(self.main, 0.8), 1.3);
            canvas.fill_soft(limb, self.main, 0.6);
        }
        match self.marking {
            Marking::Plain | Marking::Mask => {}
            Marking::Patches => {
                for _ in 0..rng.random_range(2..=4) {
                    let at = along(rng.random_range(0.0..1.05), rng.random_range(-0.45..0.2) * d);
                    let size = rng.random_range(0.22..0.42) * d;
                    patch(canvas, at, size, self.second, rng);
                }
            }
            Marking::Spots => {
                for _ in 0..rng.random_range(16..=26) {
                    let at = along(rng.random_range(-0.25..1.35), rng.random_range(-0.8..1.1) * d);
                    let size = rng.random_range(0.05..0.13) * d;
                    patch(canvas, at, size, self.second, rng);
                }
            }
            Marking::Saddle => {
                let low = rng.random_range(-0.02..0.16) * d;
                let points = [
                    along(-0.35, -d * 0.7),
                    along(-0.3, low * 0.5),
                    along(0.1, low),
                    along(0.5, low + d * 0.08),
                    along(0.85, low - d * 0.05),
                    along(1.08, -d * 0.5),
                    along(1.0, -d * 0.9),
                ];
                if let Some(saddle) = blob(&points, Fur::Shaggy(2.4), 0.0) {
                    canvas.fill(&saddle, self.second);
                }
            }
            Marking::Stripes => {
                let count = rng.random_range(8..=12);
                for i in 0..count {
                    let t = (i as f32 + rng.random_range(0.1..0.9)) / count as f32 * 1.3 - 0.15;
                    let bend = rng.random_range(-5.0..5.0);
                    let (x, y) = along(t, -d * 0.6);
                    let length = d * rng.random_range(0.7..1.05);
                    let stripe = [
                        (x, y, 0.6),
                        (x + bend, y + length * 0.4, 1.5),
                        (x + bend * 0.4, y + length, 0.4),
                    ];
                    if let Some(stripe) = ribbon(&stripe, Fur::Smooth) {
                        canvas.fill_soft(&stripe, self.second, 0.85);
                    }
                }
            }
            Marking::Bib => {
                let chest = (shoulder.0 + d * 0.22, shoulder.1 + d * 0.12);
                if let Some(bib) = tilted_oval(chest, d * 0.26, d * 0.44, -0.2) {
                    canvas.fill(&bib, self.pale);
                }
            }
        }
        if matches!(self.marking, Marking::Bib | Marking::Patches) {
            for paw in &parts.paws {
                canvas.fill(paw, self.pale);
            }
        }
        // Soft shade under the belly gives the flat colours some volume.
        if let Some(under) = tilted_oval(along(0.5, d * 0.62), self.body * 0.6, d * 0.22, 0.0) {
            canvas.gradient(&under, ([40, 25, 50], 0.0), ([40, 25, 50], 0.3));
        }
    }

    pub(super) fn draw_collar(
        &self,
        canvas: &mut Canvas,
        parts: &Skeleton,
        neck: Option<&Path>,
        rng: &mut ChaCha8Rng,
    ) {
        let colours: [Rgb; 5] =
            [[206, 60, 58], [52, 110, 190], [240, 176, 44], [70, 150, 90], [150, 80, 160]];
        let colour = colours[rng.random_range(0..colours.len())];
        if !rng.random_bool(0.45) {
            return;
        }
        let (from, to) = (parts.shoulder, parts.head);
        let at = (from.0 + (to.0 - from.0) * 0.5, from.1 + (to.1 - from.1) * 0.5);
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy).max(0.001);
        let half = self.head * 1.1;
        let (nx, ny) = (-dy / length * half, dx / length * half);
        let band = polyline(&[(at.0 - nx, at.1 - ny), (at.0 + nx, at.1 + ny)]);
        if let (Some(band), Some(neck)) = (band, neck) {
            canvas.clip(std::slice::from_ref(neck));
            canvas.line(&band, shade(colour, 0.6), 6.4);
            canvas.line(&band, colour, 4.6);
            canvas.unclip();
        }
        let reach = self.head * 0.62;
        let tag = (at.0 + nx / half * reach, at.1 + ny / half * reach + 2.5);
        if let (Some(rim), Some(tag)) = (oval(tag, 3.6, 3.6), oval(tag, 2.6, 2.6)) {
            canvas.fill(&rim, [150, 110, 30]);
            canvas.fill(&tag, [248, 214, 92]);
        }
    }
}

/// An irregular patch of colour.
pub(super) fn patch(canvas: &mut Canvas, at: Spot, size: f32, c: Rgb, rng: &mut ChaCha8Rng) {
    let points: Vec<Spot> = (0..7)
        .map(|i| {
            let angle = i as f32 / 7.0 * std::f32::consts::TAU;
            let radius = size * rng.random_range(0.7..1.2);
            (at.0 + angle.cos() * radius, at.1 + angle.sin() * radius)
        })
        .collect();
    if let Some(patch) = blob(&points, Fur::Smooth, 0.0) {
        canvas.fill(&patch, c);
    }
}
