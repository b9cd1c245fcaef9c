//! `profiler-report.html`: what was found, when the machine did what, where the time went, and the numbers.

mod draw;
mod tables;
mod timelines;

use kennel_report::{escape, plural, put, short, with_code};

use crate::analysis::{About, Status};
use crate::metrics::{INSTANCE_CPU, Kind, MEMORY_BYTES};
use crate::recording::Recording;
use crate::rules::{Finding, Findings};
use crate::stats;
use crate::writer::date;
use draw::{Unit, cut, duration};

const MOST_FACTS: usize = 40;
const LONGEST_FACT: usize = 500;

/// The page.
pub(crate) fn page(recording: &Recording, findings: &Findings, about: &About) -> String {
    let mut out = format!(
        "<p class=\"quiet\">Profiler report: {}, {} of {}.</p>\n",
        escape(&cut(&about.status, 80)),
        plural(about.instances as u64, "instance", "instances"),
        escape(&cut(&about.instance_type, 80))
    );
    heads(&mut out, recording, findings, about);
    notes(&mut out, recording);
    headlines(&mut out, recording, findings);
    timelines::timelines(&mut out, recording);
    tables::phases(&mut out, recording);
    timelines::steps(&mut out, recording);
    rules(&mut out, findings);
    tables::statistics(&mut out, recording);
    facts(&mut out, recording, about);
    kennel_report::page(&cut(&about.job, 200), include_str!("report/style.css"), &out)
}

/// The numbers that come first.
fn heads(out: &mut String, recording: &Recording, findings: &Findings, about: &About) {
    out.push_str("<div class=\"heads\">\n");
    let mut head = |name: &str, value: &str, more: &str| {
        put(
            out,
            format_args!(
                "<div class=\"head\"><div class=\"name\">{name}</div><div class=\"value\">{}</div>\
                 <div class=\"more\">{}</div></div>\n",
                escape(value),
                escape(more)
            ),
        );
    };
    let issues = |list: &[Finding]| list.iter().filter(|f| f.status == Status::IssuesFound).count();
    let (found, hints) = (issues(&findings.sagemaker), issues(&findings.kennel));
    let more = plural(hints as u64, "hint of Kennel's own", "hints of Kennel's own");
    head("Issues", &found.to_string(), &more);
    let took = about.ended_ms.saturating_sub(about.started_ms);
    head("Duration", &duration(took as f64), "");
    let outer = recording.outer_phases();
    let total: u64 = outer.iter().map(|name| recording.total_us(name)).sum();
    if let Some(name) = outer.iter().max_by_key(|name| recording.total_us(name)) {
        let share = recording.total_us(name) as f64 / total.max(1) as f64;
        head(
            "Longest phase",
            &cut(name, 20),
            &format!("{:.0} % of the recorded time", share * 100.0),
        );
    }
    let cpu: Vec<f64> =
        recording.of(Kind::Cpu, INSTANCE_CPU).iter().flat_map(|(_, s)| s.values()).collect();
    if !cpu.is_empty() {
        let mean = format!("{:.0} %", stats::mean(&cpu));
        head("CPU of the instances", &mean, "of their threads, on average");
    }
    let memory = recording
        .of(Kind::Memory, "")
        .iter()
        .filter(|(key, _)| key.name == MEMORY_BYTES)
        .flat_map(|(_, s)| s.values())
        .fold(f64::NAN, f64::max);
    if memory.is_finite() {
        head("Memory", &Unit::Bytes.show(memory), "the most that an instance held");
    }
    out.push_str("</div>\n");
}

/// What is not as complete as it looks.
fn notes(out: &mut String, recording: &Recording) {
    let mut notes = Vec::new();
    if recording.is_empty() {
        notes.push(
            "Nothing was recorded: the run was shorter than an interval, or profiling was off."
                .to_owned(),
        );
    }
    if recording.skipped > 0 {
        let lines = plural(recording.skipped, "line", "lines");
        notes.push(format!("{lines} of the recording could not be read and were left out."));
    }
    if recording.every > 1 {
        notes.push(format!(
            "The recording is long: of its files only one in {} was read.",
            recording.every
        ));
    }
    if recording.cut {
        notes.push(
            "The recording holds more than a report reads: a part of it is left out of what follows."
                .to_owned(),
        );
    }
    if !notes.is_empty() {
        out.push_str("<ul class=\"notes\">\n");
        for note in notes {
            put(out, format_args!("<li>{}</li>\n", escape(&note)));
        }
        out.push_str("</ul>\n");
    }
}

/// The findings, SageMaker's before Kennel's.
fn headlines(out: &mut String, recording: &Recording, findings: &Findings) {
    out.push_str("<section>\n<h2>Findings</h2>\n");
    let issues = |list: &'_ [Finding]| -> Vec<Finding> {
        list.iter().filter(|f| f.status == Status::IssuesFound).cloned().collect()
    };
    let (found, hints) = (issues(&findings.sagemaker), issues(&findings.kennel));
    if found.is_empty() && hints.is_empty() {
        let words = if recording.is_empty() {
            "There is nothing to judge."
        } else {
            "No rule found an issue. Below is what the run did."
        };
        put(out, format_args!("<p>{words}</p>\n"));
    }
    if !(found.is_empty() && hints.is_empty()) {
        out.push_str("<ul class=\"findings\">\n");
        let listed = found
            .iter()
            .map(|f| (f, "", "Rule"))
            .chain(hints.iter().map(|f| (f, " class=\"hint\"", "Kennel's own hint")));
        for (finding, class, who) in listed {
            put(
                out,
                format_args!(
                    "<li{class}><div class=\"who\">{who}: {}</div><p><b>{}</b></p><p>{}</p></li>\n",
                    escape(&finding.rule),
                    words(&finding.means),
                    words(&finding.change)
                ),
            );
        }
        out.push_str("</ul>\n");
    }
    // Without an issue, where the time went is still the first thing one wants to know.
    let split = findings.kennel.iter().find(|f| f.rule == "KennelTimeSplit");
    let judged = split.filter(|f| f.status == Status::NoIssuesFound && f.samples > 0);
    if let Some(split) = judged.filter(|_| hints.is_empty()) {
        put(out, format_args!("<p class=\"quiet\">{}</p>\n", words(&split.sentence())));
    }
    out.push_str("</section>\n");
}

/// A finding's words as HTML; no line break parts a number from its sign.
fn words(sentence: &str) -> String {
    with_code(&capital(sentence)).replace(" %", "\u{a0}%").replace(" ms", "\u{a0}ms")
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn rules(out: &mut String, findings: &Findings) {
    out.push_str("<section>\n<h2>Rules</h2>\n");
    let lists = [
        ("SageMaker's rules", &findings.sagemaker),
        ("Kennel's own checks, which leave the job's status alone", &findings.kennel),
    ];
    for (title, list) in lists {
        put(
            out,
            format_args!(
                "<h3>{title}</h3>\n<table class=\"rules\"><thead><tr><th>Rule</th><th>Status</th>\
                 <th>What it says</th><th class=\"number\">Samples</th></tr></thead><tbody>\n"
            ),
        );
        for finding in list {
            let parameters: Vec<String> =
                finding.parameters.iter().map(|(name, value)| format!("{name} {value}")).collect();
            put(
                out,
                format_args!(
                    "<tr><th>{}</th><td><span class=\"state {}\">{}</span></td><td><p>{}</p>\
                     <div class=\"parameters\">{}</div></td><td class=\"number\">{}</td></tr>\n",
                    escape(&finding.rule),
                    finding.status.as_str(),
                    finding.status.as_str(),
                    words(&finding.sentence()),
                    escape(&parameters.join(", ")),
                    finding.samples
                ),
            );
        }
        out.push_str("</tbody></table>\n");
    }
    out.push_str("</section>\n");
}

fn facts(out: &mut String, recording: &Recording, about: &About) {
    let mut facts = vec![
        ("Job".to_owned(), about.job.clone()),
        ("Status".to_owned(), about.status.clone()),
        ("Instances".to_owned(), format!("{} of {}", about.instances, about.instance_type)),
        ("Started".to_owned(), when(about.started_ms)),
        ("Ended".to_owned(), when(about.ended_ms)),
    ];
    let samples: usize = recording.series.values().map(|series| series.samples).sum();
    facts.push(("Values recorded".to_owned(), short(samples as f64)));
    facts.extend(about.facts.iter().take(MOST_FACTS).cloned());
    out.push_str("<section>\n<h2>The job</h2>\n<dl class=\"facts\">\n");
    for (name, value) in facts {
        put(
            out,
            format_args!(
                "<div><dt>{}</dt><dd>{}</dd></div>\n",
                escape(&cut(&name, LONGEST_FACT)),
                escape(&cut(&value, LONGEST_FACT))
            ),
        );
    }
    out.push_str("</dl>\n</section>\n");
}

/// `2026-11-21 14:35:45 UTC`.
fn when(time_ms: u64) -> String {
    let seconds = time_ms / 1000;
    let (year, month, day) = date(seconds);
    let clock = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

#[cfg(test)]
mod tests;
