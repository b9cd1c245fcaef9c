//! What the places are made of: sky, ground, plants, buildings, toys.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tiny_skia::Path;

use super::super::brush::{
    Canvas, Fur, Rgb, Spot, blob, mix, oval, polygon, polyline, rectangle, ribbon, shade,
    tilted_oval,
};
use super::SIDE;

pub(super) fn soft(canvas: &mut Canvas, shape: Option<Path>, c: Rgb, alpha: f32) {
    if let Some(shape) = shape {
        canvas.fill_soft(&shape, c, alpha);
    }
}

pub(super) fn stroke(canvas: &mut Canvas, points: &[Spot], c: Rgb, width: f32) {
    if let Some(line) = polyline(points) {
        canvas.line(&line, c, width);
    }
}

pub(super) fn sky(canvas: &mut Canvas, top: Rgb, bottom: Rgb) {
    if let Some(all) = rectangle(-2.0, -2.0, SIDE + 4.0, SIDE + 4.0) {
        canvas.gradient(&all, (top, 1.0), (bottom, 1.0));
    }
}

pub(super) fn floor(canvas: &mut Canvas, y: f32, top: Rgb, bottom: Rgb) {
    if let Some(floor) = rectangle(-2.0, y, SIDE + 4.0, (SIDE - y).max(1.0) + 2.0) {
        canvas.gradient(&floor, (top, 1.0), (bottom, 1.0));
    }
}

pub(super) fn sun(canvas: &mut Canvas, c: Rgb, rng: &mut ChaCha8Rng) {
    if rng.random_bool(0.6) {
        let at = (rng.random_range(10.0..246.0), rng.random_range(12.0..50.0));
        canvas.glow(at, 60.0, c, 0.55);
        soft(canvas, oval(at, 13.0, 13.0), mix(c, [255, 255, 255], 0.4), 1.0);
    }
}

pub(super) fn clouds(canvas: &mut Canvas, c: Rgb, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..4) {
        let (x, y) = (rng.random_range(0.0..SIDE), rng.random_range(14.0..80.0));
        let size = rng.random_range(0.6..1.3);
        for (dx, dy, r) in
            [(-17.0, 3.0, 9.0), (-5.0, -2.0, 13.0), (9.0, 0.0, 11.0), (20.0, 4.0, 8.0)]
        {
            soft(
                canvas,
                oval((x + dx * size, y + dy * size), r * 1.2 * size, r * 0.8 * size),
                c,
                0.85,
            );
        }
    }
}

pub(super) fn hills(canvas: &mut Canvas, y: f32, c: Rgb, rng: &mut ChaCha8Rng) {
    for layer in 0..2 {
        let c = if layer == 0 { mix(c, [220, 230, 240], 0.35) } else { c };
        let mut points = vec![(SIDE + 40.0, y + 60.0), (-40.0, y + 60.0)];
        for i in 0..=6 {
            let lift = rng.random_range(4.0..26.0) * (1.4 - layer as f32 * 0.6);
            points.push((i as f32 * 48.0 - 16.0, y - lift));
        }
        soft(canvas, blob(&points, Fur::Smooth, 0.0), c, 1.0);
    }
}

pub(super) fn tufts(canvas: &mut Canvas, top: f32, c: Rgb, count: usize, rng: &mut ChaCha8Rng) {
    for _ in 0..count {
        let y = rng.random_range(top.min(SIDE - 2.0)..SIDE + 4.0);
        let x = rng.random_range(0.0..SIDE);
        let size = rng.random_range(4.0..9.0);
        for lean in [-0.5, 0.0, 0.5_f32] {
            let tip = (x + lean * size, y - size * (1.0 - lean.abs() * 0.4));
            stroke(canvas, &[(x + lean * 2.0, y), tip], c, 1.3);
        }
    }
}

pub(super) fn flowers(canvas: &mut Canvas, top: f32, rng: &mut ChaCha8Rng) {
    let petals: [Rgb; 4] = [[250, 240, 246], [246, 206, 70], [228, 104, 120], [150, 120, 214]];
    for _ in 0..rng.random_range(5..18) {
        let at = (rng.random_range(0.0..SIDE), rng.random_range(top..SIDE));
        let c = petals[rng.random_range(0..petals.len())];
        for i in 0..5 {
            let (sin, cos) = (i as f32 * 1.257).sin_cos();
            soft(canvas, oval((at.0 + cos * 2.0, at.1 + sin * 2.0), 1.6, 1.6), c, 1.0);
        }
        soft(canvas, oval(at, 1.2, 1.2), [240, 180, 40], 1.0);
    }
}

pub(super) fn pebbles(canvas: &mut Canvas, top: f32, c: Rgb, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(20..50) {
        let at = (rng.random_range(0.0..SIDE), rng.random_range(top..SIDE));
        let size = rng.random_range(0.6..2.4);
        soft(canvas, oval(at, size * 1.4, size), shade(c, rng.random_range(0.85..1.15)), 0.8);
    }
}

pub(super) fn pines(canvas: &mut Canvas, y: f32, c: Rgb, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(3..8) {
        let x = rng.random_range(0.0..SIDE);
        let size = rng.random_range(28.0..66.0);
        let c = shade(c, rng.random_range(0.85..1.2));
        for step in 0..3 {
            let lift = step as f32 * 0.26;
            let half = size * (0.3 - step as f32 * 0.07);
            let bottom = y - size * lift;
            let tip = (x, bottom - size * 0.48);
            soft(canvas, polygon(&[(x - half, bottom), (x + half, bottom), tip]), c, 1.0);
            let snow = [
                (x - half * 0.4, bottom - size * 0.29),
                (x + half * 0.4, bottom - size * 0.29),
                tip,
            ];
            soft(canvas, polygon(&snow), [240, 246, 250], 0.85);
        }
    }
}

pub(super) fn tree(canvas: &mut Canvas, y: f32, rng: &mut ChaCha8Rng) {
    let x = rng.random_range(-10.0..SIDE + 10.0);
    let height = rng.random_range(60.0..110.0);
    let trunk = ribbon(
        &[(x, y + 4.0, 6.0), (x + 2.0, y - height * 0.5, 4.0), (x, y - height, 3.0)],
        Fur::Smooth,
    );
    soft(canvas, trunk, [110, 78, 58], 1.0);
    let crowns: [Rgb; 4] = [[214, 116, 46], [230, 164, 60], [186, 78, 48], [206, 178, 92]];
    let c = crowns[rng.random_range(0..crowns.len())];
    for _ in 0..6 {
        let at = (x + rng.random_range(-26.0..26.0), y - height + rng.random_range(-22.0..22.0));
        let size = rng.random_range(14.0..26.0);
        soft(canvas, oval(at, size, size * 0.85), shade(c, rng.random_range(0.85..1.15)), 0.95);
    }
}

pub(super) fn room(canvas: &mut Canvas, horizon: f32, rng: &mut ChaCha8Rng) {
    let papers: [Rgb; 5] =
        [[226, 206, 180], [176, 200, 196], [206, 184, 190], [188, 194, 220], [214, 214, 186]];
    let paper = papers[rng.random_range(0..papers.len())];
    sky(canvas, shade(paper, 0.95), paper);
    if rng.random_bool(0.5) {
        for i in 0..16 {
            let x = i as f32 * 17.0;
            stroke(canvas, &[(x, 0.0), (x, horizon)], shade(paper, 0.94), 3.0);
        }
    }
    if rng.random_bool(0.7) {
        let (x, y) = (rng.random_range(10.0..170.0), rng.random_range(12.0..40.0));
        soft(canvas, rectangle(x - 4.0, y - 4.0, 72.0, 72.0), [250, 246, 238], 1.0);
        if let Some(pane) = rectangle(x, y, 64.0, 64.0) {
            canvas.gradient(&pane, ([140, 196, 236], 1.0), ([222, 238, 236], 1.0));
        }
        stroke(canvas, &[(x + 32.0, y), (x + 32.0, y + 64.0)], [250, 246, 238], 3.5);
        stroke(canvas, &[(x, y + 32.0), (x + 64.0, y + 32.0)], [250, 246, 238], 3.5);
    } else {
        let (x, y) = (rng.random_range(16.0..190.0), rng.random_range(20.0..50.0));
        soft(canvas, rectangle(x - 3.0, y - 3.0, 50.0, 40.0), [120, 84, 58], 1.0);
        soft(canvas, rectangle(x, y, 44.0, 34.0), [238, 228, 204], 1.0);
        soft(canvas, tilted_oval((x + 22.0, y + 22.0), 14.0, 6.0, 0.2), [104, 150, 120], 1.0);
    }
    let wood = mix([176, 128, 88], [120, 88, 70], rng.random_range(0.0..1.0));
    floor(canvas, horizon, wood, shade(wood, 0.8));
    for i in 1..6 {
        let y = horizon + (i * i) as f32 * 3.4;
        stroke(canvas, &[(0.0, y), (SIDE, y)], shade(wood, 0.82), 1.2);
    }
    stroke(canvas, &[(0.0, horizon), (SIDE, horizon)], [248, 242, 232], 5.0);
    if rng.random_bool(0.6) {
        let rugs: [Rgb; 4] = [[184, 72, 70], [70, 104, 150], [96, 130, 96], [214, 170, 90]];
        let rug = rugs[rng.random_range(0..rugs.len())];
        let at = (rng.random_range(90.0..166.0), horizon + 52.0);
        soft(canvas, oval(at, 112.0, 28.0), rug, 1.0);
        soft(canvas, oval(at, 98.0, 23.0), shade(rug, 1.22), 1.0);
        soft(canvas, oval(at, 90.0, 20.0), rug, 1.0);
    }
}

pub(super) fn street(canvas: &mut Canvas, horizon: f32, rng: &mut ChaCha8Rng) {
    sky(canvas, [170, 200, 226], [240, 230, 220]);
    let walls: [Rgb; 5] =
        [[206, 136, 112], [222, 196, 150], [154, 172, 184], [186, 160, 176], [168, 186, 156]];
    let mut x = -rng.random_range(0.0..40.0);
    while x < SIDE {
        let width = rng.random_range(44.0..82.0);
        let height = rng.random_range(70.0..150.0);
        let wall = shade(walls[rng.random_range(0..walls.len())], rng.random_range(0.9..1.06));
        soft(canvas, rectangle(x, horizon - height, width, height + 2.0), wall, 1.0);
        let lit = rng.random_bool(0.3);
        for row in 0..(height / 27.0) as i32 {
            for column in 0..(width / 21.0) as i32 {
                let (wx, wy) =
                    (x + 7.0 + column as f32 * 20.0, horizon - height + 10.0 + row as f32 * 26.0);
                let pane = if lit { [252, 226, 150] } else { [110, 136, 158] };
                soft(canvas, rectangle(wx, wy, 10.0, 14.0), [244, 238, 228], 0.9);
                soft(canvas, rectangle(wx + 1.2, wy + 1.2, 7.6, 11.6), pane, 1.0);
            }
        }
        x += width + 1.0;
    }
    floor(canvas, horizon, [196, 192, 188], [160, 156, 156]);
    for i in 0..9 {
        let x = i as f32 * 40.0 - 40.0;
        stroke(canvas, &[(x + 20.0, horizon), (x - (128.0 - x) * 0.5, SIDE)], [150, 146, 146], 1.0);
    }
    stroke(canvas, &[(0.0, horizon + 22.0), (SIDE, horizon + 22.0)], [150, 146, 146], 1.0);
    stroke(canvas, &[(0.0, horizon), (SIDE, horizon)], [126, 122, 124], 3.0);
}

pub(super) fn toy(canvas: &mut Canvas, ground: f32, rng: &mut ChaCha8Rng) {
    let at = (rng.random_range(16.0..240.0), ground + rng.random_range(4.0..14.0));
    if rng.random_bool(0.6) {
        let c: Rgb = [[222, 70, 66], [58, 128, 210], [214, 222, 60]][rng.random_range(0..3)];
        soft(canvas, oval((at.0, at.1 + 1.0), 9.0, 8.6), shade(c, 0.5), 1.0);
        soft(canvas, oval(at, 8.0, 8.0), c, 1.0);
        soft(canvas, oval((at.0 - 2.6, at.1 - 2.8), 2.4, 1.8), [255, 255, 255], 0.7);
    } else {
        let bone = |canvas: &mut Canvas, c: Rgb, grow: f32| {
            stroke(canvas, &[(at.0 - 8.0, at.1), (at.0 + 8.0, at.1)], c, 5.0 + grow * 2.0);
            for (x, y) in [(-9.0, -2.6), (-9.0, 2.6), (9.0, -2.6), (9.0, 2.6)] {
                soft(canvas, oval((at.0 + x, at.1 + y), 3.5 + grow, 3.5 + grow), c, 1.0);
            }
        };
        bone(canvas, [136, 120, 104], 1.0);
        bone(canvas, [248, 240, 224], 0.0);
    }
}
