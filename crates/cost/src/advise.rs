//! Which instance type for a job: time and money of each, from what the job took here and from declared
//! factors. Nothing of it was measured on AWS, so every answer is a range.
//!
//! The job's seconds are three parts: what one processor does alone, what more processors divide, and of
//! that the network's arithmetic, which a GPU takes over. Processors are compared by the catalogue's factor
//! for one vCPU (m5 is 1), GPUs by their peak and the share of it that such networks reach.

use serde::Serialize;

use crate::catalogue::{Catalogue, InstanceType, Usage};
use crate::estimate::instances;
use crate::words::{about, dollars, duration};

/// A number with how far off it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Span {
    /// At least.
    pub low: f64,
    /// Most likely.
    pub mid: f64,
    /// At most.
    pub high: f64,
}

impl Span {
    /// A span; what is out of order is put in order.
    pub fn new(low: f64, mid: f64, high: f64) -> Span {
        let mid = if mid.is_finite() { mid } else { 0.0 };
        Span { low: low.min(mid), mid, high: high.max(mid) }
    }

    /// A number that is certain.
    pub fn exactly(value: f64) -> Span {
        Span::new(value, value, value)
    }

    fn ends(self) -> [f64; 2] {
        [self.low, self.high]
    }
}

/// Single-precision GFLOP/s that one vCPU of m5 reaches in such networks: ResNet-50 takes two cores with
/// AVX-512 28 to 40 ms a photo in PyTorch and 20 ms in ONNX Runtime (bench/RESULTS.md), and a vCPU is half a
/// core. Declared.
const VCPU_GFLOPS: Span = Span { low: 35.0, mid: 60.0, high: 110.0 };
/// How well a job spreads over more processors than it was measured on: the effective number grows with this
/// power of the ratio. Declared.
const SPREADING: Span = Span { low: 0.75, mid: 0.9, high: 1.0 };
/// The same for more instances, which also wait for each other. Declared.
const INSTANCES: Span = Span { low: 0.7, mid: 0.85, high: 1.0 };

/// How much of the shorter of a GPU's and its processors' work hides behind the longer. Declared.
const OVERLAP: Span = Span { low: 0.0, mid: 0.5, high: 1.0 };

/// What a job took here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Seconds from beginning to end.
    pub seconds: f64,
    /// Processors it computed with.
    pub cores: f64,
    /// Speed of one of them; a vCPU of m5 is 1.
    pub core: Span,
    /// Share of the seconds that more processors divide.
    pub parallel: Span,
    /// Share of the seconds that is the network's arithmetic: part of the parallel one.
    pub network: Span,
    /// That arithmetic in floating-point operations, where it is known.
    pub flop: Option<f64>,
    /// Where the numbers come from, in words.
    pub what: String,
}

/// What the job needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Need {
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Memory of a GPU in GiB.
    pub gpu_memory_gib: f64,
    /// How that was found, in words.
    pub why: String,
}

/// How to advise.
#[derive(Debug, Clone)]
pub struct AdviseOptions<'a> {
    /// For what: training, EC2 …
    pub usage: Usage,
    /// Region of the prices.
    pub region: &'a str,
    /// Instances.
    pub count: u32,
    /// How many times the measured job is done, as for the whole data after a tenth of it.
    pub times: f64,
    /// Billed seconds around the work: image, data, model.
    pub overhead: Span,
    /// Longest time that is good enough.
    pub deadline_s: Option<f64>,
    /// Most that it may cost.
    pub budget: Option<f64>,
}

/// A type that would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// Its name.
    pub name: String,
    /// What it has, in words.
    pub has: String,
    /// Instances.
    pub count: u32,
    /// Dollars for an hour of one.
    pub hourly: f64,
    /// Whether that is verified.
    pub verified: bool,
    /// The price's date.
    pub as_of: String,
    /// Seconds of the job.
    pub seconds: Span,
    /// Dollars of the job.
    pub dollars: Span,
    /// No other type is cheaper and as fast.
    pub pareto: bool,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// A type that would not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Excluded {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// The type that is recommended: of the Pareto types, the least product of time and money.
    pub best: Option<String>,
    /// Types by money.
    pub ranked: Vec<Ranked>,
    /// The others.
    pub excluded: Vec<Excluded>,
    /// Region of the prices.
    pub region: String,
    /// For what.
    pub usage: Usage,
    /// The newest date of the prices; each type has its own.
    pub as_of: String,
}

impl Advice {
    /// The recommended one.
    pub fn chosen(&self) -> Option<&Ranked> {
        let best = self.best.as_ref()?;
        self.ranked.iter().find(|ranked| ranked.name == *best)
    }

    /// The one with the least money.
    pub fn cheapest(&self) -> Option<&Ranked> {
        self.ranked.iter().min_by(|a, b| a.dollars.mid.total_cmp(&b.dollars.mid))
    }

    /// The one with the least time.
    pub fn fastest(&self) -> Option<&Ranked> {
        self.ranked.iter().min_by(|a, b| a.seconds.mid.total_cmp(&b.seconds.mid))
    }
}

/// Time and money of every type that has a price for this.
pub fn advise(
    catalogue: &Catalogue,
    measured: &Measured,
    need: &Need,
    options: &AdviseOptions<'_>,
) -> Advice {
    let mut ranked = Vec::new();
    let mut excluded = Vec::new();
    let count = options.count.max(1);
    for kind in catalogue.types(options.usage) {
        let name = options.usage.name_of(kind);
        let Ok(price) = catalogue.hourly(options.usage, &name, options.region) else { continue };
        if let Some(reason) = too_small(catalogue, kind, need) {
            excluded.push(Excluded { name, reason });
            continue;
        }
        let Some(work) = seconds_of(catalogue, kind, measured, count) else { continue };
        let total = |work: f64, overhead: f64| work * options.times.max(0.0) + overhead;
        let seconds = Span::new(
            total(work.low, options.overhead.low),
            total(work.mid, options.overhead.mid),
            total(work.high, options.overhead.high),
        );
        let cost = |seconds: f64| {
            instances(catalogue, options.usage, &name, f64::from(count), seconds, options.region)
                .map(|amount| amount.dollars)
        };
        let (Ok(low), Ok(mid), Ok(high)) =
            (cost(seconds.low), cost(seconds.mid), cost(seconds.high))
        else {
            continue;
        };
        let dollars_of = Span::new(low, mid, high);
        if let Some(deadline) = options.deadline_s.filter(|deadline| seconds.mid > *deadline) {
            let reason = format!(
                "takes about {}, longer than {}",
                duration(seconds.mid),
                duration(deadline)
            );
            excluded.push(Excluded { name, reason });
            continue;
        }
        if let Some(budget) = options.budget.filter(|budget| dollars_of.mid > *budget) {
            let reason = format!("costs about {}, more than {}", dollars(mid), dollars(budget));
            excluded.push(Excluded { name, reason });
            continue;
        }
        ranked.push(Ranked {
            has: kind.said(),
            count,
            hourly: price.dollars,
            verified: price.verified,
            as_of: price.as_of,
            seconds,
            dollars: dollars_of,
            pareto: false,
            notes: notes(catalogue, kind),
            name,
        });
    }
    pareto(&mut ranked);
    ranked.sort_by(|a, b| {
        let money = a.dollars.mid.total_cmp(&b.dollars.mid);
        money.then(a.seconds.mid.total_cmp(&b.seconds.mid)).then(a.name.cmp(&b.name))
    });
    let product = |r: &Ranked| r.seconds.mid * r.dollars.mid;
    let best = ranked
        .iter()
        .filter(|r| r.pareto)
        .min_by(|a, b| product(a).total_cmp(&product(b)))
        .map(|r| r.name.clone());
    let region = options.region.to_owned();
    let as_of = catalogue.as_of().to_owned();
    Advice { best, ranked, excluded, region, usage: options.usage, as_of }
}

/// A gain of time below this share is none: the estimates are not as good as that.
const WORTH: f64 = 0.03;

/// Marks those that no other beats: none is cheaper and as fast, give or take [`WORTH`].
pub fn pareto(ranked: &mut [Ranked]) {
    let points: Vec<(f64, f64)> = ranked.iter().map(|r| (r.seconds.mid, r.dollars.mid)).collect();
    for (at, one) in ranked.iter_mut().enumerate() {
        let (time, money) = (one.seconds.mid, one.dollars.mid);
        one.pareto = !points.iter().enumerate().any(|(other, (t, m))| {
            let cheaper = *m < money && *t <= time * (1.0 + WORTH);
            // Of two that are alike in both, the first.
            let same = *m == money && (*t < time || (*t == time && other < at));
            other != at && (cheaper || same)
        });
    }
}

/// Why a type cannot hold the job.
fn too_small(catalogue: &Catalogue, kind: &InstanceType, need: &Need) -> Option<String> {
    if kind.memory_gib < need.memory_gib {
        return Some(format!(
            "has {} GiB of memory, the job needs about {:.1}",
            kind.memory_gib, need.memory_gib
        ));
    }
    let gpu = kind.gpu.as_ref().and_then(|name| Some((name, catalogue.gpu(name)?)));
    match gpu {
        Some((name, gpu)) if gpu.memory_gib < need.gpu_memory_gib => Some(format!(
            "its {name} has {} GiB of memory, the job needs about {:.1}",
            gpu.memory_gib, need.gpu_memory_gib
        )),
        _ => None,
    }
}

fn notes(catalogue: &Catalogue, kind: &InstanceType) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(baseline) = kind.baseline {
        notes.push(format!(
            "runs on processor credits: at {:.0} % of its speed once they are used up",
            baseline * 100.0
        ));
    }
    if kind.gpus > 1 {
        notes.push(format!("the job uses one of its {} GPUs", kind.gpus));
    }
    if kind.family() == "p2" {
        notes.push("AWS has retired this family; accounts rarely get it".to_owned());
    } else if kind.family() == "p3" {
        notes.push("AWS is retiring this family".to_owned());
    }
    if let Some(family) = catalogue.family(kind) {
        notes.push(format!("{}; factor {} by declaration", family.processor, family.core));
    }
    notes
}

/// Seconds of the measured job on `count` instances of a type, without what is around it.
fn seconds_of(
    catalogue: &Catalogue,
    kind: &InstanceType,
    measured: &Measured,
    count: u32,
) -> Option<Span> {
    let family = catalogue.family(kind)?;
    let gpu = match &kind.gpu {
        Some(name) => Some(catalogue.gpu(name)?),
        None => None,
    };
    let full = Span::new(
        family.core * (1.0 - family.spread),
        family.core,
        family.core * (1.0 + family.spread),
    );
    let core = match kind.baseline {
        Some(baseline) => {
            Span::new(full.low * baseline, full.mid * (1.0 + baseline) / 2.0, full.high)
        }
        None => full,
    };
    let shape = Shape {
        vcpus: f64::from(kind.vcpus),
        tflops: gpu.map(|gpu| gpu.tflops_f32),
        count: f64::from(count),
    };
    let reach = gpu.map_or(Span::exactly(1.0), |gpu| {
        let (low, high) = gpu.efficiency;
        Span::new(low, (low + high) / 2.0, high)
    });
    let mid = shape.seconds(
        measured,
        &Factors {
            here: measured.core.mid,
            parallel: measured.parallel.mid,
            network: measured.network.mid,
            core: core.mid,
            reach: reach.mid,
            spreading: SPREADING.mid,
            instances: INSTANCES.mid,
            gflops: VCPU_GFLOPS.mid,
            overlap: OVERLAP.mid,
        },
    );
    // All corners: which end of a factor is the slow one depends on the others.
    let (mut least, mut most) = (mid, mid);
    for corner in 0..512_u32 {
        let end = |bit: u32, span: Span| {
            let [low, high] = span.ends();
            if (corner >> bit) & 1 == 0 { low } else { high }
        };
        let seconds = shape.seconds(
            measured,
            &Factors {
                here: end(0, measured.core),
                parallel: end(1, measured.parallel),
                network: end(2, measured.network),
                core: end(3, core),
                reach: end(4, reach),
                spreading: end(5, SPREADING),
                instances: end(6, INSTANCES),
                gflops: end(7, VCPU_GFLOPS),
                overlap: end(8, OVERLAP),
            },
        );
        least = least.min(seconds);
        most = most.max(seconds);
    }
    let span = Span::new(least, mid, most);
    (span.high.is_finite() && span.low >= 0.0).then_some(span)
}

/// What of a type matters for time.
struct Shape {
    vcpus: f64,
    tflops: Option<f64>,
    count: f64,
}

/// One choice of everything that is uncertain.
struct Factors {
    here: f64,
    parallel: f64,
    network: f64,
    core: f64,
    reach: f64,
    spreading: f64,
    instances: f64,
    gflops: f64,
    /// How much of the shorter of GPU and processors' work hides behind the longer: 0 none, 1 all.
    overlap: f64,
}

impl Shape {
    fn seconds(&self, measured: &Measured, by: &Factors) -> f64 {
        let parallel = by.parallel.clamp(0.0, 1.0);
        let network = by.network.clamp(0.0, parallel);
        // One core's speed of here in those of there.
        let speed = by.here / by.core.max(1e-6);
        let alone = measured.seconds * (1.0 - parallel) * speed;
        let ratio = self.vcpus / measured.cores.max(1e-6);
        let effective = if ratio > 1.0 { ratio.powf(by.spreading) } else { ratio };
        let spread = |share: f64| measured.seconds * share * speed / effective.max(1e-6);
        let divided = match self.tflops {
            None => spread(parallel),
            Some(tflops) => {
                let flop = measured.flop.unwrap_or(
                    measured.seconds * network * measured.cores * by.here * by.gflops * 1e9,
                );
                let on_gpu = flop / (tflops * 1e12 * by.reach.max(1e-6));
                let feeding = spread(parallel - network);
                let hidden = by.overlap * on_gpu.min(feeding);
                on_gpu + feeding - hidden
            }
        };
        let team = if self.count > 1.0 { self.count.powf(by.instances) } else { 1.0 };
        alone + divided / team
    }
}

/// The course's justification as a paragraph of Markdown; none where no type would do.
pub fn paragraph(advice: &Advice, measured: &Measured, need: &Need) -> Option<String> {
    let chosen = advice.chosen()?;
    let (cheapest, fastest) = (advice.cheapest()?, advice.fastest()?);
    let range = |span: &Span| format!("{} to {}", about(span.low), about(span.high));
    let time = |span: &Span| format!("{} to {}", duration(span.low), duration(span.high));
    let hourly = |r: &Ranked| {
        let tilde = if r.verified { "" } else { "~" };
        format!("{tilde}{} an hour", dollars(r.hourly))
    };
    let instances = match chosen.count {
        1 => "one".to_owned(),
        n => format!("{n}"),
    };
    let mut text = format!(
        "For this job I choose {instances} **{}** ({}; {} in {}, prices of {}). \
         Measured here it took {} ({}). From that and the declared speed of each type it should take {} \
         there (most likely {}) and cost {} (most likely {}), what surrounds the work included.",
        chosen.name,
        chosen.has,
        hourly(chosen),
        advice.region,
        chosen.as_of,
        duration(measured.seconds),
        measured.what,
        time(&chosen.seconds),
        duration(chosen.seconds.mid),
        range(&chosen.dollars),
        about(chosen.dollars.mid),
    );
    if cheapest.name == chosen.name && fastest.name == chosen.name {
        text.push_str(" No other type of the catalogue is expected to be cheaper or faster.");
    } else {
        if cheapest.name == chosen.name {
            text.push_str(" It is the cheapest of all.");
        } else {
            text.push_str(&format!(
                " The cheapest, {}, would save {} and take {} longer.",
                cheapest.name,
                about(chosen.dollars.mid - cheapest.dollars.mid),
                duration(cheapest.seconds.mid - chosen.seconds.mid),
            ));
        }
        if fastest.name == chosen.name {
            text.push_str(" It is the fastest of all.");
        } else {
            text.push_str(&format!(
                " The fastest, {}, would save {} and cost {} more.",
                fastest.name,
                duration(chosen.seconds.mid - fastest.seconds.mid),
                about(fastest.dollars.mid - chosen.dollars.mid),
            ));
        }
    }
    text.push_str(&format!(
        " The job needs about {:.1} GiB of memory ({}), which {}.",
        need.memory_gib,
        need.why,
        match advice.excluded.iter().filter(|e| e.reason.contains("memory")).count() {
            0 => "every type considered has".to_owned(),
            1 => "rules out one type".to_owned(),
            n => format!("rules out {n} types"),
        }
    ));
    if advice.usage.is_ec2() {
        text.push_str(
            " An EC2 instance starts within a minute or two, is billed until it is stopped, and its model \
             must be copied to S3 by hand before an endpoint can serve it.",
        );
    } else if advice.usage == Usage::Training {
        text.push_str(
            " A training job's instances take a few minutes to start, which is not billed, and go away by \
             themselves when the job ends.",
        );
    }
    text.push_str(" The times are estimates: nothing was measured on AWS.");
    Some(text)
}

#[cfg(test)]
mod tests;
