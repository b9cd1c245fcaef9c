//! The page of an advice: time against money, what would do, what would not, and what it rests on.

use kennel_cost::{Ranked, about, duration, paragraph};
use kennel_report::{escape, page, put};

use super::advise::{Shown, money, time};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 46.0;

const STYLE: &str = "\
.head.first .value{color:var(--valid)}\n\
.points circle{fill:var(--quiet);opacity:.55}\n\
.points .front circle{fill:var(--accent);opacity:1}\n\
.points .best circle{fill:var(--valid);opacity:1}\n\
.points .span{stroke:var(--accent);stroke-width:1.2;opacity:.22}\n\
.points .best .span{stroke:var(--valid);opacity:.8}\n\
.points text{fill:var(--ink);font-size:11.5px}\n\
.points .best text{font-weight:650}\n\
.front-line{fill:none;stroke:var(--accent);stroke-width:1.4;stroke-dasharray:5 4;opacity:.7}\n\
.key.other i{background:var(--quiet)}.key.front i{background:var(--accent)}.key.best i{background:var(--valid)}\n\
tr.best th{color:var(--valid);font-weight:650}tr.front th{color:var(--accent)}\n\
blockquote{margin:0;padding-left:16px;border-left:3px solid var(--accent)}\n";

/// The whole page.
pub(super) fn html(shown: &Shown) -> String {
    let advice = &shown.advice;
    let mut body = String::new();
    put(
        &mut body,
        format_args!(
            "<p class=\"quiet\">{} in {}, prices of {} or as each type says. Measured: {}, {}.</p>\n<div class=\"heads\">",
            escape(advice.usage.word()),
            escape(&advice.region),
            escape(&advice.as_of),
            escape(&duration(shown.measured.seconds)),
            escape(&shown.measured.what),
        ),
    );
    let heads = [
        ("recommended", advice.chosen()),
        ("cheapest", advice.cheapest()),
        ("fastest", advice.fastest()),
    ];
    for (name, ranked) in heads {
        let Some(ranked) = ranked else { continue };
        let ((cost, _), (takes, _)) = (money(ranked), time(ranked));
        put(
            &mut body,
            format_args!(
                "<div class=\"head{}\"><div class=\"name\">{name}</div><div class=\"value\" style=\"font-size:1.45rem\">{}</div><div class=\"more\">{takes}, {cost}</div></div>",
                if name == "recommended" { " first" } else { "" },
                escape(&ranked.name),
            ),
        );
    }
    body.push_str("</div>\n<section><h2>Time against money</h2>\n");
    body.push_str(&plot(&advice.ranked, advice.best.as_deref()));
    body.push_str("<p class=\"quiet\">Both axes are logarithmic. Down and to the left is better. The lines at the named types show how far off time and money may be.</p></section>\n");
    if let Some(text) = paragraph(advice, &shown.measured, &shown.need) {
        put(
            &mut body,
            format_args!(
                "<section><h2>Justification</h2><blockquote>{}</blockquote></section>\n",
                bold(&text)
            ),
        );
    }
    body.push_str("<section><h2>What would do</h2><div class=\"scroll\"><table class=\"classes\"><thead><tr><th>type</th><th>has</th><th class=\"number\">an hour</th><th class=\"number\">time</th><th>from … to</th><th class=\"number\">cost</th><th>from … to</th></tr></thead><tbody>\n");
    for ranked in &advice.ranked {
        let ((cost, costs), (takes, between)) = (money(ranked), time(ranked));
        let tilde = if ranked.verified { "" } else { "~" };
        put(
            &mut body,
            format_args!(
                "<tr class=\"{}\"><th scope=\"row\" title=\"{}\">{}</th><td>{}</td><td class=\"number\" data-value=\"{}\">{tilde}{}</td><td class=\"number\" data-value=\"{}\">{takes}</td><td>{between}</td><td class=\"number\" data-value=\"{}\">{cost}</td><td>{costs}</td></tr>\n",
                class(ranked, advice.best.as_deref()),
                escape(&ranked.notes.join("; ")),
                escape(&ranked.name),
                escape(&ranked.has),
                ranked.hourly,
                kennel_cost::dollars(ranked.hourly),
                ranked.seconds.mid,
                ranked.dollars.mid,
            ),
        );
    }
    body.push_str("</tbody></table></div></section>\n");
    if !advice.excluded.is_empty() {
        body.push_str("<section><h2>What would not</h2><ul class=\"pairs\">");
        for one in &advice.excluded {
            put(&mut body, format_args!("<li>{} {}</li>", escape(&one.name), escape(&one.reason)));
        }
        body.push_str("</ul></section>\n");
    }
    body.push_str("<section><h2>What this rests on</h2><ul class=\"pairs\">");
    for text in &shown.notes {
        put(&mut body, format_args!("<li>{}</li>", kennel_report::with_code(text)));
    }
    put(
        &mut body,
        format_args!(
            "<li>~ stands before what rests on a price that is not verified</li><li>memory: about {:.1} GiB, {}</li></ul></section>\n",
            shown.need.memory_gib,
            escape(&shown.need.why)
        ),
    );
    page("Which instance type", STYLE, &body)
}

fn class(ranked: &Ranked, best: Option<&str>) -> &'static str {
    match (best == Some(&ranked.name), ranked.pareto) {
        (true, _) => "best",
        (_, true) => "front",
        _ => "other",
    }
}

/// Markdown's bold as HTML, everything else as text.
fn bold(text: &str) -> String {
    text.split("**")
        .enumerate()
        .map(|(at, part)| match at % 2 {
            1 => format!("<strong>{}</strong>", escape(part)),
            _ => escape(part),
        })
        .collect()
}

/// A logarithmic axis.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let sensible = values.filter(|v| v.is_finite() && *v > 0.0);
        let (low, high) =
            sensible.fold((f64::MAX, f64::MIN_POSITIVE), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low <= high { (low / 1.25, high * 1.25) } else { (1.0, 10.0) };
        Axis { low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let span = (self.high / self.low).ln().max(1e-9);
        let share = (value.max(self.low) / self.low).ln() / span;
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Values to name: of 1, 2 and 5 times the powers of ten, or of `others`, those in reach.
    fn ticks(&self, others: &[f64]) -> Vec<f64> {
        let inside = |v: &f64| *v >= self.low && *v <= self.high;
        if !others.is_empty() {
            return others.iter().copied().filter(inside).collect();
        }
        let wide = (self.high / self.low).log10() > 2.5;
        let mut all = Vec::new();
        for power in -9..=9 {
            for digit in if wide { &[1.0][..] } else { &[1.0, 2.0, 5.0] } {
                all.push(digit * 10_f64.powi(power));
            }
        }
        all.retain(|v| inside(v));
        all
    }
}

/// Times that people name.
const TIMES: [f64; 17] = [
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0,
    28_800.0, 86_400.0, 259_200.0, 864_000.0,
];

/// Where a name stands.
struct Label {
    x: f64,
    y: f64,
    /// It ends at `x`.
    left: bool,
}

impl Label {
    /// Left, top, right and bottom of a name of so many characters.
    fn reach(&self, characters: usize) -> [f64; 4] {
        let wide = characters as f64 * 6.6;
        let from = if self.left { self.x - wide } else { self.x };
        [from, self.y - 10.0, from + wide, self.y + 3.0]
    }
}

/// A place for each name where it covers no other name and no point; the best type's first, then by time. A
/// name for which there is none is left out: the table and the point's own words have it.
fn labels<'a>(points: &[(&'a str, f64, f64)], best: Option<&str>) -> Vec<(&'a str, Label)> {
    let mut order: Vec<&(&str, f64, f64)> = points.iter().collect();
    order.sort_by_key(|(name, ..)| best != Some(*name));
    let mut taken: Vec<[f64; 4]> =
        points.iter().map(|(_, x, y)| [x - 5.0, y - 5.0, x + 5.0, y + 5.0]).collect();
    let mut placed = Vec::new();
    for (name, x, y) in order {
        let places =
            [(8.0, -7.0), (-8.0, 13.0), (8.0, 13.0), (-8.0, -7.0), (10.0, 4.0), (-10.0, 4.0)];
        for (right, down) in places {
            let label = Label { x: x + right, y: y + down, left: right < 0.0 };
            let own = label.reach(name.chars().count());
            let inside =
                own[0] > LEFT && own[2] < WIDTH && own[1] > 0.0 && own[3] < HEIGHT - BOTTOM;
            let covers = |other: &[f64; 4]| {
                own[0] < other[2] && other[0] < own[2] && own[1] < other[3] && other[1] < own[3]
            };
            if inside && !taken.iter().any(covers) {
                taken.push(own);
                placed.push((*name, label));
                break;
            }
        }
    }
    placed
}

fn plot(ranked: &[Ranked], best: Option<&str>) -> String {
    let named = |r: &&Ranked| r.pareto;
    let spans = |pick: fn(&Ranked) -> [f64; 3]| {
        let mids = ranked.iter().map(move |r| pick(r)[1]);
        mids.chain(ranked.iter().filter(named).flat_map(move |r| [pick(r)[0], pick(r)[2]]))
    };
    let x =
        Axis::new(spans(|r| [r.seconds.low, r.seconds.mid, r.seconds.high]), LEFT, WIDTH - RIGHT);
    let y =
        Axis::new(spans(|r| [r.dollars.low, r.dollars.mid, r.dollars.high]), HEIGHT - BOTTOM, TOP);
    let mut out = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"time against money of {} instance types\">\n",
        ranked.len()
    );
    for value in y.ticks(&[]) {
        let at = y.at(value);
        put(
            &mut out,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/><text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                WIDTH - RIGHT,
                LEFT - 7.0,
                at + 3.5,
                about(value)
            ),
        );
    }
    let (axis, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let mut last = f64::MIN;
    for value in x.ticks(&TIMES) {
        let at = x.at(value);
        if at - last < 46.0 {
            continue;
        }
        last = at;
        put(
            &mut out,
            format_args!(
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{axis}\"/><text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                axis + 16.0,
                duration(value)
            ),
        );
    }
    put(
        &mut out,
        format_args!(
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{axis}\" x2=\"{end}\" y2=\"{axis}\"/><text class=\"label\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">time of the job</text><text class=\"label\" x=\"14\" y=\"{}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {})\">cost of the job</text>\n",
            (LEFT + end) / 2.0,
            HEIGHT - 8.0,
            (TOP + axis) / 2.0,
            (TOP + axis) / 2.0
        ),
    );
    let mut front: Vec<&Ranked> = ranked.iter().filter(named).collect();
    front.sort_by(|a, b| a.seconds.mid.total_cmp(&b.seconds.mid));
    let line: Vec<String> = front
        .iter()
        .map(|r| format!("{:.1},{:.1}", x.at(r.seconds.mid), y.at(r.dollars.mid)))
        .collect();
    if line.len() > 1 {
        put(
            &mut out,
            format_args!("<polyline class=\"front-line\" points=\"{}\"/>", line.join(" ")),
        );
    }
    out.push_str("<g class=\"points\">\n");
    let points: Vec<(&str, f64, f64)> =
        front.iter().map(|r| (r.name.as_str(), x.at(r.seconds.mid), y.at(r.dollars.mid))).collect();
    let labels = labels(&points, best);
    // The others first, so that they never cover those that are named.
    for r in ranked.iter().filter(|r| !r.pareto).chain(front) {
        let (cx, cy) = (x.at(r.seconds.mid), y.at(r.dollars.mid));
        let ((cost, costs), (takes, between)) = (money(r), time(r));
        put(&mut out, format_args!("<g class=\"{}\">", class(r, best)));
        if r.pareto {
            put(
                &mut out,
                format_args!(
                    "<line class=\"span\" x1=\"{:.1}\" y1=\"{cy:.1}\" x2=\"{:.1}\" y2=\"{cy:.1}\"/><line class=\"span\" x1=\"{cx:.1}\" y1=\"{:.1}\" x2=\"{cx:.1}\" y2=\"{:.1}\"/>",
                    x.at(r.seconds.low),
                    x.at(r.seconds.high),
                    y.at(r.dollars.low),
                    y.at(r.dollars.high)
                ),
            );
        }
        put(
            &mut out,
            format_args!(
                "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{}\"><title>{}: {takes} ({between}), {cost} ({costs})</title></circle>",
                if r.pareto { 5.0 } else { 3.5 },
                escape(&r.name)
            ),
        );
        if let Some((_, label)) = labels.iter().find(|(name, _)| *name == r.name) {
            put(
                &mut out,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{}</text>",
                    label.x,
                    label.y,
                    if label.left { "end" } else { "start" },
                    escape(&r.name)
                ),
            );
        }
        out.push_str("</g>\n");
    }
    out.push_str("</g></svg>\n<p class=\"legend\"><span class=\"key best\"><i></i>recommended</span> <span class=\"key front\"><i></i>no other is cheaper and as fast</span> <span class=\"key other\"><i></i>the others</span></p>\n");
    out
}
