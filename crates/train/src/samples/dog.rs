//! Drawing one dog: a skeleton for its pose, the parts of the body on it, then the coat
//! (`coat.rs`) and the head (`head.rs`).
//!
//! The drawing is in the dog's own units: it looks to the right, x is 0 in the middle of the body
//! and y is 0 on the ground, negative upwards.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tiny_skia::Path;

use super::breed::{Dog, Ears};
use super::brush::{Canvas, Fur, Spot, blob, limb, mix, oval, shade, tilted_oval};

mod coat;
mod head;

/// Width of the outlines.
const OUTLINE: f32 = 1.5;

/// What the dog is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pose {
    Stand,
    Sit,
    Lie,
}

/// Where the parts of a dog in its pose are.
#[derive(Debug)]
struct Skeleton {
    hip: Spot,
    shoulder: Spot,
    head: Spot,
    tail: Spot,
    torso: Vec<Path>,
    near: Vec<Path>,
    far: Vec<Path>,
    /// Paws of the near side, which get white socks with some markings.
    paws: Vec<Path>,
}

/// Size of the dog in its pose, for placing it in the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) left: f32,
    pub(super) right: f32,
    pub(super) top: f32,
    pub(super) head: Spot,
    pub(super) head_radius: f32,
}

impl Dog {
    /// The room that the dog takes up in this pose.
    pub(super) fn extent(&self, pose: Pose) -> Extent {
        let head = self.head_at(pose);
        let upright = self.ears == Ears::Pointed;
        let ears = if upright { 1.8 * self.ear_size } else { 1.1 };
        Extent {
            left: -self.body / 2.0 - self.depth * 0.25 - 22.0,
            right: head.0 + self.head + self.snout + 4.0,
            top: head.1 - self.head * ears,
            head,
            head_radius: self.head,
        }
    }

    fn shoulder_at(&self, pose: Pose) -> Spot {
        match pose {
            Pose::Stand => (self.body / 2.0, -self.legs - self.depth * 0.4),
            Pose::Sit => (self.body * 0.16, -self.legs - self.depth * 0.62),
            Pose::Lie => (self.body * 0.44, -self.depth * 0.46),
        }
    }

    fn head_at(&self, pose: Pose) -> Spot {
        let (x, y) = self.shoulder_at(pose);
        (
            x + self.neck * 0.6 + self.head * 0.35,
            y - self.depth * 0.3 - self.neck * 0.8 - self.head * 0.5,
        )
    }

    /// Draws the dog; the canvas' transform says where and how large.
    pub(super) fn draw(&self, canvas: &mut Canvas, pose: Pose, rng: &mut ChaCha8Rng) {
        let skeleton = self.skeleton(pose, rng);
        let outline = mix(shade(self.main, 0.35), [40, 28, 30], 0.5);
        self.draw_tail(canvas, &skeleton, outline, rng);
        canvas.figure(&skeleton.far, shade(self.main, 0.78), outline, OUTLINE);

        let neck = self.limb_between(
            (skeleton.shoulder.0 - self.depth * 0.12, skeleton.shoulder.1 - self.depth * 0.02),
            skeleton.head,
            self.depth * 0.36,
            self.head * 0.66,
        );
        let mut shapes = skeleton.torso.clone();
        shapes.extend(neck.clone());
        shapes.extend(skeleton.near.iter().cloned());
        shapes.extend(skeleton.paws.iter().cloned());
        canvas.figure(&shapes, self.main, outline, OUTLINE);
        canvas.clip(&shapes);
        self.mark_body(canvas, &skeleton, rng);
        canvas.unclip();
        self.draw_collar(canvas, &skeleton, neck.as_ref(), rng);
        self.draw_head(canvas, skeleton.head, outline, rng);

        let ground = (skeleton.hip.0, 0.0);
        canvas.light(
            (ground.0 - 20.0, skeleton.head.1 - self.head),
            (ground.0 + 30.0, 0.0),
            0.22,
            0.26,
        );
    }

    /// Fur for smaller parts: the same kind, less of it.
    fn finer(&self, share: f32) -> Fur {
        match self.fur {
            Fur::Smooth => Fur::Smooth,
            Fur::Shaggy(height) => Fur::Shaggy(height * share),
            Fur::Curly(height) => Fur::Curly(height * share),
        }
    }

    fn limb_between(&self, a: Spot, b: Spot, ra: f32, rb: f32) -> Option<Path> {
        limb(a, b, ra, rb, self.finer(0.75))
    }

    fn skeleton(&self, pose: Pose, rng: &mut ChaCha8Rng) -> Skeleton {
        let (b, d, w) = (self.body, self.depth, self.leg_width);
        let shoulder = self.shoulder_at(pose);
        let head = self.head_at(pose);
        let lift = |s: Spot, x: f32, y: f32| (s.0 + x, s.1 + y);
        let paw = |x: f32| oval((x + w * 0.55, -w * 0.7), w * 1.45, w * 0.8);
        let mut parts = Skeleton {
            hip: (-b / 2.0, shoulder.1),
            shoulder,
            head: lift(head, rng.random_range(-2.0..3.0), rng.random_range(-3.0..3.0)),
            tail: (-b / 2.0 - d * 0.12, shoulder.1 - d * 0.22),
            torso: Vec::new(),
            near: Vec::new(),
            far: Vec::new(),
            paws: Vec::new(),
        };
        match pose {
            Pose::Stand => {
                let (hip, bottom) = (parts.hip, -self.legs);
                let tuck = self.tuck * d * 0.4;
                let outline = [
                    lift(shoulder, d * 0.26, -d * 0.02),
                    lift(shoulder, d * 0.02, d * 0.48),
                    (shoulder.0 - b * 0.35, bottom + d * 0.06 - tuck * 0.35),
                    (hip.0 + b * 0.22, bottom - tuck),
                    lift(hip, -d * 0.05, d * 0.34),
                    lift(hip, -d * 0.28, -d * 0.02),
                    lift(hip, -d * 0.02, -d * 0.4),
                    (0.0, shoulder.1 - d * 0.38),
                    lift(shoulder, -d * 0.1, -d * 0.46),
                ];
                parts.torso.extend(blob(&outline, self.fur, 0.0));
                // The legs of one side swing against each other, those of the far side the
                // other way, as in a walk.
                let stride = rng.random_range(-0.32..0.32) * self.legs;
                for (near, side) in [(false, -1.0), (true, 1.0)] {
                    let off = if near { 0.0 } else { d * 0.16 };
                    let front = (shoulder.0 - off * 0.4 + stride * side, 0.0);
                    let hind = (hip.0 + off - stride * side - d * 0.08, 0.0);
                    let elbow = lift(shoulder, -off * 0.5, d * 0.22);
                    let thigh = lift(hip, off, d * 0.1);
                    let hock = (hind.0 - d * 0.14 + stride * side * 0.4, -self.legs * 0.45);
                    let knee = ((thigh.0 + hock.0) / 2.0 + d * 0.12, bottom);
                    let mut limbs = Vec::new();
                    limbs.extend(self.limb_between(elbow, (front.0, -w), d * 0.2, w));
                    limbs.extend(self.limb_between(thigh, knee, d * 0.32, w * 1.7));
                    limbs.extend(self.limb_between(knee, hock, w * 1.6, w * 0.95));
                    limbs.extend(self.limb_between(hock, (hind.0, -w), w, w * 0.9));
                    let paws = [paw(front.0), paw(hind.0)].into_iter().flatten();
                    if near {
                        parts.near.extend(limbs);
                        parts.paws.extend(paws);
                    } else {
                        parts.far.extend(limbs);
                        parts.far.extend(paws);
                    }
                }
            }
            Pose::Sit => {
                let hip = (-b * 0.3, -d * 0.45);
                parts.hip = hip;
                parts.tail = (hip.0 - d * 0.42, -d * 0.16);
                let back =
                    limb(hip, lift(shoulder, -d * 0.05, d * 0.05), d * 0.5, d * 0.43, self.fur);
                parts.torso.extend(back);
                let foot = shoulder.0 + d * 0.24 + rng.random_range(-2.0..3.0);
                let elbow = lift(shoulder, d * 0.1, d * 0.18);
                let far = (foot + w * 1.5, -w);
                parts.far.extend(self.limb_between(elbow, far, d * 0.2, w));
                parts.far.extend(paw(far.0));
                let wide = tilted_oval(lift(hip, d * 0.16, d * 0.06), d * 0.46, d * 0.38, -0.35);
                parts.near.extend(wide);
                parts.near.extend(self.limb_between(elbow, (foot, -w), d * 0.24, w));
                parts.paws.extend(paw(foot));
                parts.paws.extend(oval((hip.0 + d * 0.62, -w * 0.75), w * 2.0, w * 0.85));
            }
            Pose::Lie => {
                let hip = (-b * 0.46, -d * 0.42);
                parts.hip = hip;
                parts.tail = (hip.0 - d * 0.36, -d * 0.22);
                let outline = [
                    lift(shoulder, d * 0.28, d * 0.04),
                    (shoulder.0 + d * 0.1, -1.0),
                    (0.0, -1.0),
                    (hip.0 - d * 0.1, -1.0),
                    lift(hip, -d * 0.42, d * 0.02),
                    lift(hip, -d * 0.05, -d * 0.4),
                    (0.0, shoulder.1 - d * 0.32),
                    lift(shoulder, -d * 0.05, -d * 0.42),
                ];
                parts.torso.extend(blob(&outline, self.fur, 0.0));
                let reach = shoulder.0 + self.legs * rng.random_range(0.75..1.1);
                parts.far.extend(self.limb_between(
                    lift(shoulder, 0.0, d * 0.25),
                    (reach + w * 0.9, -w * 1.4),
                    w * 1.5,
                    w,
                ));
                parts.far.extend(paw(reach + w));
                parts.near.extend(tilted_oval(
                    lift(hip, d * 0.1, d * 0.08),
                    d * 0.46,
                    d * 0.34,
                    -0.15,
                ));
                parts.near.extend(self.limb_between(
                    lift(shoulder, 0.0, d * 0.28),
                    (reach, -w),
                    w * 1.6,
                    w,
                ));
                parts.paws.extend(paw(reach));
                parts.paws.extend(oval((hip.0 + d * 0.68, -w * 0.75), w * 2.2, w * 0.85));
            }
        }
        parts
    }
}
