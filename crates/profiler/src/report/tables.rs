//! Where the time went, and the numbers of everything that was sampled.

use kennel_report::{escape, percent, put};

use super::draw::{Unit, cut, duration};
use super::timelines::class;
use crate::metrics::{
    CPU_USE, DISK_OPERATIONS, DISK_READ, DISK_WRITE, GPU_MEMORY, GPU_USE, INSTANCE_CPU, IO_WAIT,
    Kind, MEMORY_BYTES, NET_RECEIVE, NET_TRANSMIT, PLATFORM,
};
use crate::recording::{Key, Recording};
use crate::stats;
use crate::view::WORK;

const MOST_ROWS: usize = 200;
const MOST_PHASES: usize = 24;

pub(super) fn phases(out: &mut String, recording: &Recording) {
    let outer = recording.outer_phases();
    let inner: Vec<&str> = WORK.into_iter().filter(|name| recording.total_us(name) > 0).collect();
    if outer.is_empty() && inner.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Where the time went</h2>\n");
    let several = recording.hosts().len() > 1;
    let note =
        if several { "one after another, mean over the instances" } else { "one after another" };
    bars(out, recording, "Phases", note, &outer);
    bars(out, recording, "Inside features", "time of all workers together", &inner);
    out.push_str("</section>\n");
}

fn bars(out: &mut String, recording: &Recording, title: &str, note: &str, names: &[&str]) {
    let total: f64 = names.iter().map(|name| recording.total_us(name) as f64).sum();
    if total <= 0.0 {
        return;
    }
    put(
        out,
        format_args!(
            "<h3>{title} <small>{note}</small></h3>\n<table class=\"times\"><thead><tr><th>Phase</th>\
             <th class=\"number\">Time</th><th class=\"number\">For</th><th class=\"number\">Each</th>\
             <th>Share</th></tr></thead><tbody>\n"
        ),
    );
    for (index, name) in names.iter().enumerate().take(MOST_PHASES) {
        let on = recording.phase(name);
        let time = recording.total_us(name) as f64;
        let count: u64 = on.iter().map(|(_, phase)| phase.count).fold(0, u64::saturating_add);
        let shown = if WORK.contains(name) { time } else { time / on.len().max(1) as f64 };
        let each = if count > 0 {
            let milliseconds = time / 1000.0 / count as f64;
            if milliseconds < 0.9995 {
                format!("{:.0}\u{a0}µs", milliseconds * 1000.0)
            } else {
                Unit::Milliseconds.show(milliseconds)
            }
        } else {
            String::new()
        };
        let count = if count > 0 { count.to_string() } else { String::new() };
        put(
            out,
            format_args!(
                "<tr><th>{}</th><td class=\"number\">{}</td><td class=\"number\">{count}</td>\
                 <td class=\"number\">{each}</td><td class=\"share\"><span class=\"bar\">\
                 <i class=\"{}\" style=\"width:{:.1}%\"></i></span><span>{}</span></td></tr>\n",
                escape(&cut(name, 40)),
                duration(shown / 1000.0),
                class(name, index),
                time / total * 100.0,
                percent(time / total)
            ),
        );
    }
    out.push_str("</tbody></table>\n");
}

/// What a series is called, and its unit; `None` for what stands elsewhere.
fn describe(key: &Key) -> Option<(String, Unit)> {
    let whole = if key.dimension == PLATFORM { ", whole machine" } else { "" };
    let name = |words: &str, unit: Unit| Some((format!("{words}{whole}"), unit));
    match (key.kind, key.name.as_str(), key.dimension.as_str()) {
        (Kind::Cpu, "cpu", INSTANCE_CPU) => name("CPU of the instance", Unit::Percent),
        (Kind::Cpu, core, CPU_USE) => Some((cut(core, 40), Unit::Percent)),
        (Kind::Cpu, core, IO_WAIT) => Some((format!("{}, waiting", cut(core, 40)), Unit::Percent)),
        (Kind::Gpu, gpu, GPU_USE) => Some((cut(gpu, 40), Unit::Percent)),
        (Kind::Gpu, gpu, GPU_MEMORY) => Some((format!("{}, memory", cut(gpu, 40)), Unit::Percent)),
        (Kind::Memory, MEMORY_BYTES, _) => name("memory", Unit::Bytes),
        (Kind::Disk, DISK_READ, _) => name("read from disk", Unit::BytesPerSecond),
        (Kind::Disk, DISK_WRITE, _) => name("written to disk", Unit::BytesPerSecond),
        (Kind::Disk, DISK_OPERATIONS, _) => name("disk operations", Unit::PerSecond),
        (Kind::Network, NET_RECEIVE, _) => name("received", Unit::BytesPerSecond),
        (Kind::Network, NET_TRANSMIT, _) => name("sent", Unit::BytesPerSecond),
        _ => None,
    }
}

pub(super) fn statistics(out: &mut String, recording: &Recording) {
    if recording.series.is_empty() {
        return;
    }
    out.push_str(
        "<section>\n<h2>Numbers</h2>\n<div class=\"scroll\"><table><thead><tr>\
         <th><button>Instance</button></th><th><button>What</button></th>",
    );
    for name in ["Mean", "Median", "95 %", "Most"] {
        put(out, format_args!("<th class=\"number\">{name}</th>"));
    }
    out.push_str("</tr></thead><tbody>\n");
    // By instance, cores in the order of their numbers.
    let mut rows = 0;
    let mut left_out = 0usize;
    let mut kinds: Vec<(&Key, String, Unit)> = recording
        .series
        .keys()
        .filter_map(|key| describe(key).map(|(words, unit)| (key, words, unit)))
        .collect();
    kinds.sort_by_key(|(key, words, _)| {
        (key.host.len(), key.host.as_str(), key.kind, key.name.len(), words.clone())
    });
    for (key, words, unit) in kinds {
        let Some(series) = recording.series.get(key) else { continue };
        let Some(summary) = stats::summary(series.values()) else { continue };
        if rows == MOST_ROWS {
            left_out += 1;
            continue;
        }
        rows += 1;
        put(
            out,
            format_args!("<tr><th>{}</th><td>{}</td>", escape(&cut(&key.host, 60)), escape(&words)),
        );
        for value in [summary.mean, summary.p50, summary.p95, summary.max] {
            put(out, format_args!("<td class=\"number\">{}</td>", unit.show(value)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    if left_out > 0 {
        put(
            out,
            format_args!("<p class=\"quiet\">{left_out} more are in the recording's files.</p>\n"),
        );
    }
    out.push_str("</section>\n");
}
