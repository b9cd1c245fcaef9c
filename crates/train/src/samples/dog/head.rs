//! The head: skull, snout, ears, markings and face. It looks to the right and a little towards
//! the viewer, so that both eyes are seen.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tiny_skia::Path;

use super::super::breed::{Dog, Ears, Marking};
use super::super::brush::{
    Canvas, Fur, Rgb, Spot, blob, limb, mix, oval, polyline, shade, tilted_oval,
};
use super::OUTLINE;
use super::coat::patch;

impl Dog {
    pub(super) fn draw_head(
        &self,
        canvas: &mut Canvas,
        h: Spot,
        outline: Rgb,
        rng: &mut ChaCha8Rng,
    ) {
        let (r, s, w) = (self.head, self.snout, self.snout_width);
        let at = |x: f32, y: f32| (h.0 + x * r, h.1 + y * r);
        let dark_ears = !matches!(self.marking, Marking::Plain | Marking::Bib | Marking::Stripes);
        let ear = if dark_ears { self.second } else { shade(self.main, 0.86) };
        self.draw_ear(canvas, h, false, shade(ear, 0.8), outline);

        let root = at(0.42, 0.3);
        let tip = (h.0 + r * 0.62 + s, h.1 + r * 0.36);
        let skull = blob(
            &[
                at(0.0, -0.94),
                at(0.66, -0.68),
                at(0.94, 0.0),
                at(0.66, 0.66),
                at(0.0, 0.88),
                at(-0.7, 0.66),
                at(-0.96, 0.0),
                at(-0.68, -0.7),
            ],
            self.finer(0.55),
            0.4,
        );
        let muzzle = limb(root, tip, w * 0.92, w * 0.66, Fur::Smooth);
        let mut shapes: Vec<Path> = skull.into_iter().chain(muzzle.clone()).collect();
        if self.beard {
            let chin = (tip.0 - w * 0.2, tip.1 + w * 0.45);
            let points = [
                (chin.0 - w * 1.1, chin.1 - w * 0.5),
                (chin.0 + w * 0.55, chin.1 - w * 0.55),
                (chin.0 + w * 0.35, chin.1 + w * 0.6),
                (chin.0 - w * 0.4, chin.1 + w * 0.85),
            ];
            shapes.extend(blob(&points, Fur::Shaggy(4.0), 0.0));
        }
        canvas.figure(&shapes, self.main, outline, OUTLINE);

        canvas.clip(&shapes);
        self.mark_head(canvas, h, muzzle.as_ref(), rng);
        canvas.unclip();
        self.draw_ear(canvas, h, true, ear, outline);
        self.draw_face(canvas, h, tip, outline, rng);
    }

    fn mark_head(&self, canvas: &mut Canvas, h: Spot, muzzle: Option<&Path>, rng: &mut ChaCha8Rng) {
        let (r, s) = (self.head, self.snout);
        let at = |x: f32, y: f32| (h.0 + x * r, h.1 + y * r);
        match self.marking {
            Marking::Mask => {
                if let Some(mask) = tilted_oval(
                    (h.0 + r * 0.72 + s * 0.6, h.1 + r * 0.34),
                    r * 0.62 + s * 0.55,
                    r * 0.52,
                    0.05,
                ) {
                    canvas.fill(&mask, self.second);
                }
            }
            Marking::Bib => {
                if let Some(muzzle) = muzzle {
                    canvas.fill(muzzle, self.pale);
                }
                if let Some(blaze) = blob(
                    &[at(0.52, 0.3), at(0.36, -0.4), at(0.46, -1.1), at(0.66, -0.5)],
                    Fur::Smooth,
                    0.0,
                ) {
                    canvas.fill(&blaze, self.pale);
                }
            }
            Marking::Patches => patch(canvas, at(0.1, -0.3), r * 0.6, self.second, rng),
            Marking::Spots => {
                for _ in 0..4 {
                    let spot = at(rng.random_range(-0.8..0.8), rng.random_range(-0.8..0.7));
                    patch(canvas, spot, r * 0.12, self.second, rng);
                }
            }
            Marking::Saddle => {
                if let Some(cheek) =
                    tilted_oval((h.0 + r * 0.5 + s * 0.5, h.1 + r * 0.75), r * 0.9, r * 0.45, 0.0)
                {
                    canvas.fill(&cheek, self.pale);
                }
            }
            Marking::Plain | Marking::Stripes => {
                if let Some(chin) =
                    tilted_oval((h.0 + r * 0.5 + s * 0.5, h.1 + r * 0.85), r * 0.9, r * 0.38, 0.0)
                {
                    canvas.fill_soft(&chin, self.pale, 0.6);
                }
            }
        }
        if self.beard
            && let Some(beard) = oval((h.0 + r * 0.6 + s, h.1 + r * 0.75), r * 0.5, r * 0.52)
        {
            canvas.fill_soft(&beard, self.pale, 0.65);
        }
    }

    fn draw_ear(&self, canvas: &mut Canvas, h: Spot, near: bool, c: Rgb, outline: Rgb) {
        let (r, e) = (self.head, self.ear_size);
        // The far ear sits on the other side of the head and is seen a little smaller.
        let (shift, size) = if near { (0.0, e) } else { (0.92, e * 0.9) };
        let at = |x: f32, y: f32| (h.0 + (x * size + shift) * r, h.1 + y * size * r);
        let fur = self.finer(0.8);
        let (points, inner): (Vec<Spot>, bool) = match self.ears {
            Ears::Pointed => (
                vec![
                    at(-0.82, -0.42),
                    at(-0.78, -1.15),
                    at(-0.6, -1.72),
                    at(-0.3, -1.2),
                    at(-0.08, -0.72),
                ],
                near,
            ),
            Ears::Button => (
                vec![
                    at(-0.9, -0.5),
                    at(-0.66, -1.0),
                    at(-0.16, -0.94),
                    at(-0.2, -0.5),
                    at(-0.52, -0.02),
                ],
                false,
            ),
            Ears::Floppy => (
                vec![
                    at(-0.5, -0.94),
                    at(-0.18, -0.74),
                    at(-0.4, -0.1),
                    at(-0.72, 0.42),
                    at(-1.08, 0.3),
                    at(-1.02, -0.4),
                ],
                false,
            ),
            Ears::Long => (
                vec![
                    at(-0.5, -0.74),
                    at(-0.2, -0.5),
                    at(-0.26, 0.4),
                    at(-0.42, 1.24),
                    at(-0.84, 1.34),
                    at(-1.12, 0.86),
                    at(-0.94, -0.06),
                ],
                false,
            ),
            Ears::Rose => (
                vec![
                    at(-0.24, -0.9),
                    at(-0.2, -0.6),
                    at(-0.62, -0.44),
                    at(-1.24, -0.56),
                    at(-1.3, -0.82),
                    at(-0.76, -1.02),
                ],
                false,
            ),
        };
        let Some(shape) =
            blob(&points, if self.ears == Ears::Pointed { Fur::Smooth } else { fur }, 0.2)
        else {
            return;
        };
        canvas.figure(&[shape], c, outline, OUTLINE);
        if inner
            && let Some(pink) =
                blob(&[at(-0.66, -0.66), at(-0.6, -1.36), at(-0.3, -0.8)], Fur::Smooth, 0.0)
        {
            canvas.fill_soft(&pink, [226, 150, 142], 0.75);
        }
    }

    fn draw_face(
        &self,
        canvas: &mut Canvas,
        h: Spot,
        tip: Spot,
        outline: Rgb,
        rng: &mut ChaCha8Rng,
    ) {
        let (r, w) = (self.head, self.snout_width);
        let nose = (tip.0 + w * 0.36, tip.1 - w * 0.3);
        let mouth = (tip.0 - w * 0.1, tip.1 + w * 0.34);
        let open = rng.random_bool(0.4);
        let sleepy = rng.random_bool(0.08);
        let look = rng.random_range(-0.04..0.05) * r;
        let dark = mix(outline, [24, 18, 20], 0.6);

        if open
            && let Some(tongue) =
                tilted_oval((mouth.0, mouth.1 + w * 0.42), w * 0.32, w * 0.55, 0.12)
        {
            canvas.figure(&[tongue], [232, 112, 118], [150, 52, 62], 0.9);
        }
        let smile = [
            (nose.0 - w * 0.04, nose.1 + w * 0.2),
            (mouth.0 + w * 0.3, mouth.1),
            (mouth.0 - w * 0.2, mouth.1 + w * 0.12),
            (mouth.0 - w * 0.75, mouth.1 - w * 0.16),
        ];
        if let Some(smile) = polyline(&smile) {
            canvas.line(&smile, dark, 1.5);
        }
        let size = (r * 0.17 + w * 0.1).max(3.6);
        if let (Some(ball), Some(shine)) = (
            oval(nose, size * 1.1, size * 0.85),
            oval((nose.0 - size * 0.2, nose.1 - size * 0.35), size * 0.36, size * 0.18),
        ) {
            canvas.fill(&ball, [36, 28, 32]);
            canvas.fill_soft(&shine, [255, 255, 255], 0.6);
        }
        for (x, y, scale) in [(0.16, -0.14, 1.0), (0.7, -0.18, 0.82)] {
            let eye = (h.0 + x * r + look, h.1 + y * r);
            let size = r * 0.15 * scale;
            if sleepy {
                let lid =
                    [(eye.0 - size, eye.1), (eye.0, eye.1 + size * 0.6), (eye.0 + size, eye.1)];
                if let Some(lid) = polyline(&lid) {
                    canvas.line(&lid, dark, 1.6);
                }
                continue;
            }
            let parts = [
                (oval(eye, size * 1.3, size * 1.42), [252, 250, 246], 0.92),
                (
                    oval((eye.0 + size * 0.18, eye.1 + size * 0.05), size, size * 1.15),
                    [46, 30, 26],
                    1.0,
                ),
                (
                    oval((eye.0 + size * 0.5, eye.1 - size * 0.42), size * 0.38, size * 0.38),
                    [255, 255, 255],
                    1.0,
                ),
            ];
            for (part, c, alpha) in parts {
                if let Some(part) = part {
                    canvas.fill_soft(&part, c, alpha);
                }
            }
        }
    }
}
