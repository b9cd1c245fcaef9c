//! The places where the dogs are: drawn behind them, a little in front of them, and the light of
//! the whole picture. Nothing here knows the breed.
//!
//! Coordinates are those of a picture of 256 by 256.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::brush::{Canvas, Rgb, Spot, oval, shade, tilted_oval};
use props::{
    clouds, floor, flowers, hills, pebbles, pines, room, sky, soft, street, stroke, sun, toy, tree,
    tufts,
};

mod props;

/// The kinds of place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Meadow,
    Beach,
    Snow,
    Room,
    Night,
    Autumn,
    Street,
    Studio,
}

/// Every place, for drawing one by lot.
pub(super) const PLACES: [Place; 8] = [
    Place::Meadow,
    Place::Beach,
    Place::Snow,
    Place::Room,
    Place::Night,
    Place::Autumn,
    Place::Street,
    Place::Studio,
];

/// Side of the picture in the scene's units.
const SIDE: f32 = 256.0;

impl Place {
    /// Draws what is behind the dog. `ground` is where its feet will be.
    pub(super) fn draw_behind(self, canvas: &mut Canvas, ground: f32, rng: &mut ChaCha8Rng) {
        let horizon = ground - rng.random_range(26.0..62.0);
        match self {
            Self::Meadow => {
                sky(canvas, [124, 188, 240], [216, 238, 250]);
                sun(canvas, [255, 244, 190], rng);
                clouds(canvas, [255, 255, 255], rng);
                hills(canvas, horizon - 4.0, [132, 186, 120], rng);
                floor(canvas, horizon, [138, 196, 92], [92, 152, 66]);
                tufts(canvas, horizon + 6.0, [74, 132, 54], 26, rng);
                flowers(canvas, horizon + 8.0, rng);
            }
            Self::Beach => {
                sky(canvas, [104, 184, 234], [236, 240, 222]);
                sun(canvas, [255, 240, 180], rng);
                clouds(canvas, [255, 255, 255], rng);
                floor(canvas, horizon - 26.0, [40, 134, 176], [92, 190, 206]);
                for _ in 0..7 {
                    let (x, y) =
                        (rng.random_range(0.0..SIDE), horizon - rng.random_range(4.0..22.0));
                    stroke(
                        canvas,
                        &[(x, y), (x + rng.random_range(12.0..34.0), y)],
                        [214, 240, 242],
                        1.4,
                    );
                }
                floor(canvas, horizon, [240, 220, 168], [218, 186, 126]);
                stroke(canvas, &[(0.0, horizon), (SIDE, horizon)], [252, 250, 240], 4.0);
                pebbles(canvas, horizon + 8.0, [196, 164, 112], rng);
            }
            Self::Snow => {
                sky(canvas, [164, 190, 216], [232, 238, 244]);
                hills(canvas, horizon, [204, 216, 230], rng);
                pines(canvas, horizon + 2.0, [62, 98, 92], rng);
                floor(canvas, horizon, [248, 250, 253], [212, 224, 238]);
                for _ in 0..5 {
                    let at = (rng.random_range(0.0..SIDE), rng.random_range(horizon..SIDE));
                    soft(
                        canvas,
                        tilted_oval(at, rng.random_range(16.0..40.0), 4.0, 0.0),
                        [186, 202, 226],
                        0.45,
                    );
                }
            }
            Self::Room => room(canvas, horizon, rng),
            Self::Night => {
                sky(canvas, [18, 24, 62], [76, 78, 128]);
                for _ in 0..rng.random_range(30..60) {
                    let at =
                        (rng.random_range(0.0..SIDE), rng.random_range(0.0..horizon.max(20.0)));
                    let size = rng.random_range(0.4..1.3);
                    soft(canvas, oval(at, size, size), [255, 250, 224], 0.9);
                }
                let moon = (rng.random_range(24.0..232.0), rng.random_range(22.0..58.0));
                canvas.glow(moon, 52.0, [240, 236, 200], 0.4);
                soft(canvas, oval(moon, 15.0, 15.0), [248, 242, 214], 1.0);
                soft(canvas, oval((moon.0 + 5.0, moon.1 - 3.0), 3.0, 3.0), [220, 212, 180], 1.0);
                soft(canvas, oval((moon.0 - 5.0, moon.1 + 5.0), 2.2, 2.2), [220, 212, 180], 1.0);
                hills(canvas, horizon - 2.0, [44, 52, 88], rng);
                floor(canvas, horizon, [60, 84, 86], [36, 52, 62]);
                tufts(canvas, horizon + 6.0, [30, 46, 52], 22, rng);
            }
            Self::Autumn => {
                sky(canvas, [232, 204, 170], [250, 236, 212]);
                for _ in 0..rng.random_range(3..6) {
                    tree(canvas, horizon, rng);
                }
                floor(canvas, horizon, [196, 150, 84], [150, 104, 56]);
                for _ in 0..rng.random_range(40..70) {
                    let at = (rng.random_range(0.0..SIDE), rng.random_range(horizon..SIDE));
                    let leaf = [[206, 92, 40], [232, 154, 50], [176, 60, 40], [222, 186, 80]];
                    let c: Rgb = leaf[rng.random_range(0..4)];
                    let angle = rng.random_range(-1.5..1.5);
                    soft(canvas, tilted_oval(at, rng.random_range(2.0..4.6), 1.7, angle), c, 1.0);
                }
            }
            Self::Street => street(canvas, horizon, rng),
            Self::Studio => {
                let walls: [Rgb; 7] = [
                    [232, 176, 168],
                    [170, 206, 214],
                    [240, 214, 150],
                    [188, 204, 166],
                    [198, 184, 222],
                    [150, 152, 164],
                    [222, 222, 216],
                ];
                let wall = walls[rng.random_range(0..walls.len())];
                sky(canvas, wall, shade(wall, 1.1));
                for _ in 0..rng.random_range(4..10) {
                    let at = (rng.random_range(0.0..SIDE), rng.random_range(0.0..SIDE));
                    canvas.glow(at, rng.random_range(16.0..48.0), shade(wall, 1.25), 0.5);
                }
                floor(canvas, ground - 18.0, shade(wall, 0.92), shade(wall, 0.78));
            }
        }
    }

    /// The shadow under the dog.
    pub(super) fn draw_shadow(self, canvas: &mut Canvas, at: Spot, half: f32) {
        let c = if self == Self::Snow { [88, 108, 158] } else { [24, 18, 40] };
        for (share, alpha) in [(1.0, 0.16), (0.86, 0.16), (0.68, 0.14)] {
            soft(canvas, oval(at, half * share, half * share * 0.13), c, alpha);
        }
    }

    /// Draws what is in front of the dog.
    pub(super) fn draw_before(self, canvas: &mut Canvas, ground: f32, rng: &mut ChaCha8Rng) {
        match self {
            Self::Meadow => tufts(canvas, ground + 5.0, [84, 148, 60], 12, rng),
            Self::Night => tufts(canvas, ground + 5.0, [34, 54, 58], 10, rng),
            Self::Snow => {
                for _ in 0..rng.random_range(25..70) {
                    let at = (rng.random_range(0.0..SIDE), rng.random_range(0.0..SIDE));
                    let size = rng.random_range(0.7..2.2);
                    soft(canvas, oval(at, size, size), [255, 255, 255], 0.9);
                }
            }
            _ => {}
        }
        if rng.random_bool(0.22) {
            toy(canvas, ground, rng);
        }
    }

    /// How the place colours the light: red, green and blue factors.
    pub(super) fn tint(self) -> [f32; 3] {
        match self {
            Self::Night => [0.84, 0.86, 1.0],
            Self::Autumn => [1.04, 0.98, 0.9],
            Self::Snow => [0.98, 1.0, 1.04],
            Self::Room => [1.03, 1.0, 0.95],
            _ => [1.0, 1.0, 1.0],
        }
    }
}
