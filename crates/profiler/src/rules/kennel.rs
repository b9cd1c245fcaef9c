//! Kennel's own rules, for machines without a GPU and for instances that share one: where the time goes, cores
//! with nothing to do, and one instance that holds up the others. They give advice and leave ProfilerReport's
//! status alone, which is SageMaker's.

use serde_json::json;

use super::{Finding, Parameters};
use crate::recording::{Event, Recording};
use crate::stats;

/// A phase that takes more than this share of the run is worth words.
const MAIN_SHARE: f64 = 0.5;
/// Share of the workers' time above which a step of preparing photos stands out: the engine is what it is for.
const DECODE_SHARE: f64 = 0.6;
const PREPROCESS_SHARE: f64 = 0.35;
/// Steps shorter than this are mostly overhead.
const SHORT_STEP_MS: f64 = 2.0;
/// Percent of their threads that instances should get while the machine is busy.
const CROWDED: f64 = 60.0;
/// Share of the cores that may be idle while features are computed.
const IDLE_SHARE: f64 = 0.25;
/// Fewer samples or shorter features say nothing.
const FEWEST_SAMPLES: usize = 4;
/// How much longer than the others an instance may take.
const SLOW: f64 = 1.25;

/// Where the time goes between decoding, preprocessing, the engine and the head.
pub(super) fn time_split(
    recording: &Recording,
    _parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let seconds = |name: &str| recording.total_us(name) as f64 / 1e6;
    let all: f64 = recording.outer_phases().iter().map(|name| seconds(name)).sum();
    if all <= 0.0 {
        return Ok(Finding::fine("not judged: the run recorded no phases"));
    }
    let (features, head) = (seconds("features") / all, seconds("head") / all);
    let (decode, preprocess, engine) =
        (seconds("decode"), seconds("preprocess"), seconds("engine"));
    let workers = decode + preprocess + engine;
    let share = |part: f64| if workers > 0.0 { part / workers } else { 0.0 };
    let details = json!({
        "features": features, "head": head,
        "decode": share(decode), "preprocess": share(preprocess), "engine": share(engine),
    });
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let finding = if features >= MAIN_SHARE && workers > 0.0 {
        let split = format!(
            "features take {} of the run, and of their workers' time decoding {}, preprocessing {}, the engine {}.",
            percent(features),
            percent(share(decode)),
            percent(share(preprocess)),
            percent(share(engine))
        );
        if share(decode) > DECODE_SHARE {
            Finding::issue(
                split,
                "The photos are larger on disk than the network looks at: store copies with a shorter side of a few \
                 hundred pixels as JPEG, and decoding nearly goes away.",
            )
        } else if share(preprocess) > PREPROCESS_SHARE {
            Finding::issue(
                split,
                "Store copies of the photos near the network's input size, and drop `--augmentation` or `--views` \
                 if they bring nothing.",
            )
        } else {
            let mut finding = Finding::fine(split);
            let which = if engine >= decode.max(preprocess) {
                "The engine does most of the work, as it should."
            } else {
                "No part stands out; smaller photos on disk would still help decoding."
            };
            finding.change = format!(
                "{which} `--engine onnxruntime` is faster where it is installed, and so is a smaller `--backbone`; the \
                 feature cache makes the next run skip this."
            );
            finding
        }
    } else if head >= MAIN_SHARE {
        let means = format!("the head takes {} of the run", percent(head));
        match mean_step_ms(recording) {
            Some(step) if step < SHORT_STEP_MS => Finding::issue(
                format!("{means}, in steps of {step:.2} ms each."),
                "Steps that short are mostly overhead: use a larger `--batch-size`, or fewer `--epochs` with \
                 `--early-stopping`.",
            ),
            _ => Finding::fine(format!("{means}; features came mostly from the cache")),
        }
    } else {
        Finding::fine(format!(
            "no phase takes more than half of the run: features {}, head {}",
            percent(features),
            percent(head)
        ))
    };
    let violations = usize::from(finding.fired > 0);
    let pieces: u64 = recording.phases.values().map(|phase| phase.times).sum();
    let pieces = usize::try_from(pieces).unwrap_or(usize::MAX);
    Ok(finding.counted(violations, pieces).with(details))
}

fn mean_step_ms(recording: &Recording) -> Option<f64> {
    let steps = recording.phase("step");
    let times: u64 = steps.iter().map(|(_, phase)| phase.times).sum();
    (times > 0).then(|| recording.total_us("step") as f64 / 1000.0 / times as f64)
}

/// Cores with nothing to do while features are computed, which should keep every one busy, or busy with the
/// work of others.
pub(super) fn idle_cores(
    recording: &Recording,
    _parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let events: Vec<Event> =
        recording.phase("features").iter().flat_map(|(_, p)| p.events.iter().copied()).collect();
    let used = recording.cores_during(&events).filter(|used| used.samples >= FEWEST_SAMPLES);
    let Some(used) = used else {
        return Ok(Finding::fine(format!(
            "not judged: it takes {FEWEST_SAMPLES} samples while features are computed"
        )));
    };
    let idle = (100.0 - used.busy - used.waiting).clamp(0.0, 100.0) / 100.0;
    let waiting = (used.waiting / 100.0).clamp(0.0, 1.0);
    let own = recording.instances_during(&events);
    let details =
        json!({"cores": used.cores, "busy": used.busy, "waiting": used.waiting, "instances": own});
    let cores = |share: f64| format!("{:.1} of {} cores", share * used.cores as f64, used.cores);
    let finding = if waiting > IDLE_SHARE {
        Finding::issue(
            format!(
                "while features are computed, {} wait for the disk on average.",
                cores(waiting)
            ),
            "Keep the photos on a faster disk or store smaller ones; a second run finds them in the feature cache.",
        )
    } else if idle > IDLE_SHARE {
        Finding::issue(
            format!("while features are computed, {} have nothing to do on average.", cores(idle)),
            "Use more workers (`--threads`, by default one per core), or more instances if their threads were \
             limited; with few photos there is nothing to gain.",
        )
    } else if let Some(own) = own.filter(|own| *own < CROWDED) {
        Finding::issue(
            format!(
                "while features are computed, the cores are {:.0} % busy, but the instances use only {own:.0} % of \
                 their threads: other programs take the rest.",
                used.busy
            ),
            "Stop what else runs on this machine, or train when it is quiet; use fewer instances if it is they who \
             share the cores.",
        )
    } else {
        Finding::fine(format!("the cores are {:.0} % busy while features are computed", used.busy))
    };
    let violations = usize::from(finding.fired > 0);
    Ok(finding.counted(violations, used.samples).with(details))
}

/// One instance that takes longer over its features than the others, who then wait for it.
pub(super) fn slow_instance(
    recording: &Recording,
    _parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let hosts = recording.phase("features");
    if hosts.len() < 2 {
        return Ok(Finding::fine("not applicable: one instance"));
    }
    let seconds: Vec<f64> = hosts.iter().map(|(_, p)| p.total_us as f64 / 1e6).collect();
    let slowest = (0..hosts.len()).max_by(|a, b| seconds[*a].total_cmp(&seconds[*b])).unwrap_or(0);
    let others: Vec<usize> = (0..hosts.len()).filter(|i| *i != slowest).collect();
    let usual = stats::quantile(&stats::sorted(others.iter().map(|i| seconds[*i])), 0.5);
    let photos = |i: usize| hosts[i].1.count as f64;
    let usual_photos = stats::quantile(&stats::sorted(others.iter().map(|i| photos(*i))), 0.5);
    let (name, took) = (hosts[slowest].0, seconds[slowest]);
    let details = json!({"slowest": name, "seconds": took, "others": usual});
    let finding = if took <= usual * SLOW {
        Finding::fine("the instances take about the same time over their features")
    } else {
        let means = format!(
            "`{name}` took {took:.1} s over its features, the others {usual:.1} s; all of them wait for it."
        );
        // The slower one may simply have had more to do.
        if usual_photos > 0.0 && photos(slowest) > usual_photos * SLOW {
            let change = format!(
                "It had {} photos where the others had {usual_photos:.0}: spread the objects evenly over the shards.",
                photos(slowest)
            );
            Finding::issue(means, change)
        } else {
            Finding::issue(
                means,
                "It had no more photos than they: look for what else runs on its cores, or use fewer instances than \
                 the machine has cores.",
            )
        }
    };
    let violations = usize::from(finding.fired > 0);
    Ok(finding.counted(violations, hosts.len()).with(details))
}
