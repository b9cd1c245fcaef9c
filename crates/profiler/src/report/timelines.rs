//! What ran when: the phases as a band, and below it everything that was sampled, over one time.

use std::borrow::Cow;
use std::collections::BTreeSet;

use kennel_report::put;

use super::draw::{Axis, Line, Panel, Piece, Unit, band, join, legend, map};
use crate::metrics::{
    CPU_USE, DISK_OPERATIONS, DISK_READ, DISK_WRITE, GPU_MEMORY, GPU_USE, INSTANCE_CPU, IO_WAIT,
    Kind, MEMORY_BYTES, NET_RECEIVE, NET_TRANSMIT, PLATFORM,
};
use crate::recording::{Recording, Series};
use crate::stats;

/// Instances and lines that are drawn; the rest is in the files.
pub(super) const MOST_HOSTS: usize = 8;
/// More cores than this are a map, not lines.
const MOST_CORE_LINES: usize = 4;
const OUTLIER: f64 = 3.0;

/// The colour of a phase: the trainer's have their own, others take what comes.
pub(super) fn class(name: &str, index: usize) -> String {
    const OWN: [&str; 9] =
        ["features", "head", "evaluate", "package", "", "scan", "decode", "backbone", "preprocess"];
    let number = match name {
        "preprocess" => 5,
        "engine" => 0,
        name => OWN.iter().position(|own| *own == name).unwrap_or(index) % 8,
    };
    format!("p{number}")
}

fn pieces(recording: &Recording, host: &str, axis: Axis) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, name) in recording.outer_phases().into_iter().enumerate() {
        let Some(phase) = recording.phases.get(&(host.to_owned(), name.to_owned())) else {
            continue;
        };
        pieces.extend(phase.events.iter().map(|event| Piece {
            name: name.to_owned(),
            class: class(name, index),
            start: event.start_us as f64 / 1000.0,
            end: event.end_us() as f64 / 1000.0,
        }));
    }
    join(pieces, axis)
}

pub(super) fn timelines(out: &mut String, recording: &Recording) {
    let Some((begin, end)) = recording.span_ms() else { return };
    let axis = Axis { low: begin as f64, high: end.max(begin + 1) as f64, is_time: true };
    out.push_str("<section>\n<h2>What ran when</h2>\n");
    let mut hosts = recording.hosts();
    if hosts.len() > MOST_HOSTS {
        put(
            out,
            format_args!(
                "<p class=\"quiet\">The first {MOST_HOSTS} of {} instances are drawn.</p>\n",
                hosts.len()
            ),
        );
        hosts.truncate(MOST_HOSTS);
    }
    let rows: Vec<(String, Vec<Piece>)> = hosts
        .iter()
        .map(|host| ((*host).to_owned(), pieces(recording, host, axis)))
        .filter(|(_, pieces)| !pieces.is_empty())
        .collect();
    // On narrow screens the drawings are moved sideways together, so that their words stay readable.
    out.push_str("<div class=\"wide\">\n");
    if !rows.is_empty() {
        out.push_str(&band(axis, &rows));
        let mut seen = BTreeSet::new();
        let keys = rows.iter().flat_map(|(_, pieces)| pieces).filter(|p| seen.insert(&p.name));
        legend(out, keys.take(16).map(|piece| (piece.class.as_str(), piece.name.as_str())));
    }
    // Instances run the same phases side by side: the first one's stand behind all panels.
    let shade = rows.first().map_or(&[][..], |(_, pieces)| pieces);
    cores(out, recording, axis, shade);
    let (zero, some): (Vec<Panel<'_>>, Vec<Panel<'_>>) =
        panels(recording, &hosts).into_iter().partition(Panel::is_zero);
    for panel in some {
        out.push_str(&panel.html(axis, shade));
    }
    out.push_str("</div>\n");
    if !zero.is_empty() {
        let titles: Vec<&str> = zero.iter().map(|panel| panel.title.as_str()).collect();
        put(
            out,
            format_args!("<p class=\"quiet\">Zero all the time: {}.</p>\n", titles.join("; ")),
        );
    }
    out.push_str("</section>\n");
}

fn cores(out: &mut String, recording: &Recording, axis: Axis, shade: &[Piece]) {
    let cores = recording.of(Kind::Cpu, CPU_USE);
    let title = "Cores of the machine";
    if cores.len() > MOST_CORE_LINES {
        let series: Vec<&Series> = cores.iter().map(|(_, series)| *series).collect();
        out.push_str(&map(axis, title, &series));
        return;
    }
    let lines = cores
        .iter()
        .enumerate()
        .map(|(index, (key, series))| Line::of(key.name.clone(), index, series))
        .collect();
    let panel = Panel {
        title: title.to_owned(),
        note: "each in percent of its time, whoever used it".to_owned(),
        unit: Unit::Percent,
        lines,
        marks: Vec::new(),
        at_least: 100.0,
    };
    out.push_str(&panel.html(axis, shade));
}

fn panels<'a>(recording: &'a Recording, hosts: &[&'a str]) -> Vec<Panel<'a>> {
    let panel = |title: &str, note: &str, unit: Unit, at_least: f64, lines: Vec<Line<'a>>| Panel {
        title: title.to_owned(),
        note: note.to_owned(),
        unit,
        lines,
        marks: Vec::new(),
        at_least,
    };
    // One line per instance of each of these names.
    let by_host = |kind: Kind, names: &[(&str, &str)], dimension: &str| -> Vec<Line<'a>> {
        let mut lines = Vec::new();
        for host in hosts {
            for (name, word) in names {
                if let Some(series) = recording.one(host, kind, name, dimension) {
                    let name =
                        if word.is_empty() { (*host).to_owned() } else { format!("{host} {word}") };
                    lines.push(Line::of(name, lines.len(), series));
                }
            }
        }
        lines
    };
    let of_machine = |kind: Kind, names: &[(&str, &str)]| -> Vec<Line<'a>> {
        let mut lines = Vec::new();
        for (name, word) in names {
            let found = recording.of(kind, PLATFORM).into_iter().find(|(key, _)| key.name == *name);
            if let Some((_, series)) = found {
                lines.push(Line::of(*word, lines.len(), series));
            }
        }
        lines
    };
    let gpus = |dimension: &str| -> Vec<Line<'a>> {
        recording
            .of(Kind::Gpu, dimension)
            .into_iter()
            .take(MOST_HOSTS)
            .enumerate()
            .map(|(index, (key, series))| {
                Line::of(format!("{} {}", key.host, key.name), index, series)
            })
            .collect()
    };
    let rates = [(DISK_READ, "read"), (DISK_WRITE, "written")];
    vec![
        panel(
            "CPU of the instances",
            "100 % is all threads of an instance",
            Unit::Percent,
            100.0,
            by_host(Kind::Cpu, &[("cpu", "")], INSTANCE_CPU),
        ),
        panel("Waiting for disks", "mean over the cores", Unit::Percent, 10.0, waiting(recording)),
        panel(
            "Memory of the instances",
            "",
            Unit::Bytes,
            1e6,
            by_host(Kind::Memory, &[(MEMORY_BYTES, "")], ""),
        ),
        panel(
            "Memory, whole machine",
            "",
            Unit::Bytes,
            1e6,
            of_machine(Kind::Memory, &[(MEMORY_BYTES, "used")]),
        ),
        panel(
            "Disk, by the instances",
            "",
            Unit::BytesPerSecond,
            1e5,
            by_host(Kind::Disk, &rates, ""),
        ),
        panel("Disk, whole machine", "", Unit::BytesPerSecond, 1e5, of_machine(Kind::Disk, &rates)),
        panel(
            "Disk operations, whole machine",
            "",
            Unit::PerSecond,
            10.0,
            of_machine(Kind::Disk, &[(DISK_OPERATIONS, "operations")]),
        ),
        panel(
            "Network, whole machine",
            "without the loopback interface",
            Unit::BytesPerSecond,
            1e5,
            of_machine(Kind::Network, &[(NET_RECEIVE, "received"), (NET_TRANSMIT, "sent")]),
        ),
        panel("GPU", "", Unit::Percent, 100.0, gpus(GPU_USE)),
        panel("GPU memory", "", Unit::Percent, 100.0, gpus(GPU_MEMORY)),
    ]
}

fn waiting(recording: &Recording) -> Vec<Line<'_>> {
    let cores = recording.of(Kind::Cpu, IO_WAIT);
    let mut sums: std::collections::BTreeMap<u64, (f64, f64)> = std::collections::BTreeMap::new();
    for (time, value) in cores.iter().flat_map(|(_, series)| &series.points) {
        let sum = sums.entry(*time).or_default();
        *sum = (sum.0 + value, sum.1 + 1.0);
    }
    let points: Vec<(u64, f64)> =
        sums.into_iter().map(|(time, (sum, count))| (time, sum / count)).collect();
    vec![Line { name: "waiting".to_owned(), class: "s4".to_owned(), points: Cow::Owned(points) }]
}

/// How long the head's steps took, with those marked that took far longer than the others.
pub(super) fn steps(out: &mut String, recording: &Recording) {
    let hosts = recording.phase("step");
    if hosts.is_empty() {
        return;
    }
    let (mut lines, mut marks, mut last) = (Vec::new(), Vec::new(), 1);
    for (index, (host, phase)) in hosts.iter().take(MOST_HOSTS).enumerate() {
        // Steps in the order in which they ran: their own numbers begin again with each epoch or trial.
        let times: Vec<f64> = phase.events.iter().map(|e| e.duration_us as f64 / 1000.0).collect();
        let limit = stats::mean(&times) + OUTLIER * stats::deviation(&times);
        let points: Vec<(u64, f64)> =
            times.iter().enumerate().map(|(at, time)| (at as u64, *time)).collect();
        marks.extend(points.iter().filter(|p| p.1 > limit).map(|p| (p.0 as f64, p.1)));
        last = last.max(points.len().saturating_sub(1));
        lines.push(Line {
            name: (*host).to_owned(),
            class: format!("s{index}"),
            points: Cow::Owned(points),
        });
    }
    // Of too many, the longest are shown.
    marks.sort_by(|a, b| b.1.total_cmp(&a.1));
    let panel = Panel {
        title: "Duration of a step".to_owned(),
        note: format!(
            "in the order in which they ran; {} beyond {OUTLIER} standard deviations marked",
            kennel_report::plural(marks.len() as u64, "step", "steps")
        ),
        unit: Unit::Milliseconds,
        lines,
        marks,
        at_least: 0.0,
    };
    let axis = Axis { low: 0.0, high: last as f64, is_time: false };
    out.push_str("<section>\n<h2>Steps of the head</h2>\n");
    put(out, format_args!("<div class=\"wide\">{}</div>\n", panel.html(axis, &[])));
    out.push_str("</section>\n");
}
