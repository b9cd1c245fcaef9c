//! Charts as drawn lines, beside each other.

use super::font::{Font, encode};
use super::paper::{Colour, LINE, MARGIN, Paper, QUIET, WIDE};
use crate::chart::{Chart, Frame, drawable};
use crate::text::short;

/// Of a chart with its title and legend.
const TALL: f32 = 108.0;
const GUTTER: f32 = 14.0;
/// Wider makes a chart no clearer.
const WIDEST: f32 = 260.0;

/// The colours of the classes that series have, as style.css gives them to pages.
fn colour(class: &str) -> Colour {
    let [r, g, b]: [u8; 3] = match class {
        "train" | "s7" => [0x8a, 0x93, 0xa0],
        "valid" | "s1" => [0xd9, 0x72, 0x2e],
        "s2" => [0x2e, 0x8a, 0x5f],
        "s3" => [0xa0, 0x4f, 0xb0],
        "s4" => [0xcf, 0x4a, 0x3c],
        "s5" => [0x8a, 0x7a, 0x1f],
        "s6" => [0x3a, 0x9a, 0xa8],
        _ => [0x2f, 0x6f, 0x9f],
    };
    [r, g, b].map(|part| f32::from(part) / 255.0)
}

/// Charts that have something to show, in one row.
pub(super) fn row(paper: &mut Paper, charts: &[Chart]) {
    let shown: Vec<(&Chart, Frame)> =
        charts.iter().filter_map(|chart| Some((chart, chart.frame()?))).collect();
    for some in shown.chunks(3) {
        let count = some.len() as f32;
        let wide = ((WIDE - GUTTER * (count - 1.0)) / count).min(WIDEST);
        paper.down(TALL);
        for (index, (chart, frame)) in some.iter().enumerate() {
            let x = MARGIN + index as f32 * (wide + GUTTER);
            draw(paper, (x, wide), chart, frame);
        }
        paper.gap(4.0);
    }
}

fn draw(paper: &mut Paper, (left, wide): (f32, f32), chart: &Chart, frame: &Frame) {
    let scale = paper.scale();
    let (small, foot) = (6.4 * scale, paper.at());
    let right = left + wide;
    let labels: Vec<Vec<u8>> = frame.y_ticks.iter().map(|y| encode(&chart.tick(*y))).collect();
    let widest = labels.iter().map(|l| Font::Regular.width(l, small)).fold(0.0, f32::max);
    let (x0, x1) = (left + widest + 4.0, right - 2.0);
    let (y0, y1) = (foot + 26.0 * scale, foot + (TALL - 14.0) * scale);
    let title = cut(&chart.title, 7.6 * scale, wide);
    paper.show((left, foot + (TALL - 8.0) * scale), 7.6 * scale, QUIET, &title);
    let share = |v: f64, low: f64, high: f64| {
        // One value alone stands in the middle.
        if high > low { (((v - low) / (high - low)) as f32).clamp(0.0, 1.0) } else { 0.5 }
    };
    let x_of = |x: f64| x0 + share(x, frame.x_low, frame.x_high) * (x1 - x0);
    let y_of = |y: f64| y0 + share(y, frame.y_low, frame.y_high) * (y1 - y0);
    for (y, label) in frame.y_ticks.iter().zip(&labels) {
        let at = y_of(*y);
        paper.stroke(&[(x0, at), (x1, at)], (0.4, LINE));
        let x = x0 - 3.0 - Font::Regular.width(label, small);
        paper.show((x, at - small * 0.33), small, QUIET, label);
    }
    paper.stroke(&[(x0, y0), (x1, y0)], (0.6, QUIET));
    let mut free = left;
    for x in &frame.x_ticks {
        let label = encode(&short(*x));
        let wide = Font::Regular.width(&label, small);
        let at = (x_of(*x) - wide / 2.0).min(right - wide);
        // Labels that would run into each other are left out.
        if at >= free {
            paper.show((at, y0 - small - 1.5), small, QUIET, &label);
            free = at + wide + 4.0;
        }
    }
    if let Some((x, _)) = chart.mark.as_ref().filter(|(x, _)| x.is_finite()) {
        paper.stroke(&[(x_of(*x), y0), (x_of(*x), y1)], (0.7, colour("s2")));
    }
    for series in &chart.series {
        let colour = colour(&series.class);
        for run in series.points.split(|point| !drawable(point)) {
            let line: Vec<(f32, f32)> = run.iter().map(|(x, y)| (x_of(*x), y_of(*y))).collect();
            if line.len() > 1 {
                paper.stroke(&line, (1.1, colour));
            }
            if line.len() <= 12 {
                for (x, y) in line {
                    paper.fill((x - 1.2, y - 1.2), (2.4, 2.4), colour);
                }
            }
        }
    }
    legend(paper, (left, foot + 5.0 * scale), right, chart);
}

/// Words on one line, with an ellipsis where they are too long for it.
fn cut(words: &str, size: f32, wide: f32) -> Vec<u8> {
    let mut bytes = encode(words);
    if Font::Regular.width(&bytes, size) > wide {
        let dots = encode("…");
        while !bytes.is_empty()
            && Font::Regular.width(&bytes, size) + Font::Regular.width(&dots, size) > wide
        {
            bytes.pop();
        }
        bytes.extend(dots);
    }
    bytes
}

fn legend(paper: &mut Paper, (left, y): (f32, f32), right: f32, chart: &Chart) {
    let size = 6.4 * paper.scale();
    let words = encode(&chart.x_label);
    let own = Font::Regular.width(&words, size);
    paper.show((right - own, y), size, QUIET, &words);
    let mut x = left;
    for series in chart.series.iter().filter(|s| s.points.iter().any(drawable)) {
        let name = encode(&series.name);
        let wide = Font::Regular.width(&name, size);
        if x + 10.0 + wide > right - own - 4.0 {
            break;
        }
        paper.fill((x, y + 1.2), (7.0, 2.0), colour(&series.class));
        paper.show((x + 9.5, y), size, QUIET, &name);
        x += 16.0 + wide;
    }
}
