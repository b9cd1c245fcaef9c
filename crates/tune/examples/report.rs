//! Writes sample tuning reports into a folder, for eyes: `cargo run -p kennel-tune --example report -- FOLDER`.

use std::error::Error;
use std::path::Path;

use kennel_tune::report::{Report, Row, render};
use kennel_tune::{Assignment, Domain, Goal, Parameter, Scaling, TrialState};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn continuous(name: &str, min: f64, max: f64, scaling: Scaling) -> Parameter {
    Parameter { name: name.to_owned(), domain: Domain::Continuous { min, max, scaling } }
}

fn integer(name: &str, min: i64, max: i64) -> Parameter {
    Parameter {
        name: name.to_owned(),
        domain: Domain::Integer { min, max, scaling: Scaling::Auto },
    }
}

fn choice(name: &str, values: &[&str]) -> Parameter {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    Parameter { name: name.to_owned(), domain: Domain::Categorical { values } }
}

/// A made-up training: the learning rate matters most, the optimiser and the width a little, the rest not.
fn train(random: &mut ChaCha8Rng, values: &Assignment) -> f64 {
    let number = |name: &str| values.get(name).and_then(|text| text.parse::<f64>().ok());
    let rate = number("learning_rate").unwrap_or(0.003);
    let mut accuracy = 0.91 - 0.11 * (rate.log10() + 2.4).powi(2);
    if values.get("optimizer").is_some_and(|name| name == "sgd") {
        accuracy -= 0.06;
    }
    accuracy += 0.012 * number("hidden_units").unwrap_or(64.0).log2() - 0.08;
    (accuracy + random.random_range(-0.015..0.015)).max(0.02)
}

/// The page of a job with so many trials, of which some were stopped and some failed.
fn sample(parameters: Vec<Parameter>, trials: usize, goal: Goal) -> Report {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut rows: Vec<Row> = Vec::new();
    let mut clock = 0.0;
    let mut best: Option<(usize, f64)> = None;
    for number in 0..trials {
        let mut values = Assignment::new();
        for Parameter { name, domain } in &parameters {
            // As a strategy would, later trials stay nearer to what was best.
            let near = (trials - number) as f64 / trials as f64;
            let text = match domain {
                Domain::Continuous { min, max, scaling } => {
                    let unit: f64 = (0.62 + random.random_range(-0.7..0.7) * near).clamp(0.0, 1.0);
                    match scaling {
                        Scaling::Logarithmic => (min.ln() + unit * (max.ln() - min.ln())).exp(),
                        Scaling::ReverseLogarithmic => {
                            1.0 - (1.0 - min) * ((1.0 - max) / (1.0 - min)).powf(unit)
                        }
                        _ => min + unit * (max - min),
                    }
                    .to_string()
                }
                Domain::Integer { min, max, .. } => random.random_range(*min..=*max).to_string(),
                Domain::Categorical { values } => {
                    values[random.random_range(0..values.len())].clone()
                }
            };
            values.insert(name.clone(), text);
        }
        let accuracy = train(&mut random, &values);
        let value = |accuracy: f64| match goal {
            Goal::Maximize => accuracy,
            Goal::Minimize => (1.0 / accuracy).powi(2) - 0.9,
        };
        let epochs = if accuracy < 0.72 && number > 4 { random.random_range(2..6) } else { 12 };
        let reports: Vec<f64> = (1..=epochs)
            .map(|epoch| {
                let noise: f64 = random.random_range(-0.012..0.012);
                value((accuracy * (1.0 - 0.75 * (-f64::from(epoch) / 2.2).exp()) + noise).max(0.02))
            })
            .collect();
        let last = reports.last().copied().unwrap_or(f64::NAN);
        let started = clock;
        clock += 3.0 + f64::from(epochs) * random.random_range(0.8..1.6);
        let state = match number {
            7 | 23 => TrialState::Failed,
            _ if epochs < 12 => TrialState::Stopped(Some(last)),
            _ if number + 1 == trials && trials > 10 => TrialState::Running,
            _ => TrialState::Succeeded(last),
        };
        if matches!(state, TrialState::Succeeded(_)) {
            let better = |other: f64| (last > other) == (goal == Goal::Maximize);
            if best.is_none_or(|(_, other)| better(other)) {
                best = Some((number, last));
            }
        }
        rows.push(Row {
            name: format!("dogs-tuning-{:03}-{:08x}", number + 1, random.random_range(0..u32::MAX)),
            values,
            state,
            reports: if state == TrialState::Failed { Vec::new() } else { reports },
            started: Some(started * 0.5),
            ended: (state != TrialState::Running).then_some(clock * 0.5 + 4.0),
        });
    }
    Report {
        title: "Tuning of dogs120 on mobilenet_v2".to_owned(),
        facts: [
            ("Strategy", "Bayesian, early stopping on"),
            ("Data", "12,000 photos, 120 classes"),
            ("Engine", "rten, 2 threads"),
            ("Ended because", "all trials have ended"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        notes: vec!["2 trials failed; see `kennel logs`".to_owned()],
        goal,
        metric: if goal == Goal::Maximize { "valid_accuracy" } else { "valid_loss" }.to_owned(),
        parameters,
        trials: rows,
        best: best.map(|(number, _)| number),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("where to? give a folder")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let rate = || continuous("learning_rate", 1e-5, 1e-1, Scaling::Logarithmic);
    let few = || vec![rate(), choice("batch_size", &["\"32\"", "\"64\"", "\"128\""])];
    let some = || {
        vec![
            rate(),
            choice("batch_size", &["16", "32", "64", "128"]),
            choice("optimizer", &["adamw", "sgd"]),
            continuous("dropout", 0.0, 0.6, Scaling::Linear),
            integer("hidden_units", 16, 1024),
        ]
    };
    let many = || {
        let mut all = some();
        all.push(continuous("momentum", 0.5, 0.999, Scaling::ReverseLogarithmic));
        all.push(continuous("weight_decay", 1e-6, 1e-2, Scaling::Logarithmic));
        all.push(choice(
            "augmentation_policy",
            &["none", "crop and flip", "crop, flip, colour", "everything there is"],
        ));
        all.push(integer("warmup_epochs", 0, 5));
        all.push(continuous("label_smoothing", 0.0, 0.2, Scaling::Linear));
        all
    };
    // What people give it one day: long names, many choices, more parameters than fit.
    let odd = || {
        let kinds: Vec<String> =
            (1..=30).map(|i| format!("backbone_family_{i:02}_large")).collect();
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        let mut all = many();
        all.truncate(7);
        all.push(choice("feature_extractor_backbone_with_its_version", &kinds));
        all.push(integer("a_very_long_hyperparameter_name_that_never_ends", 1, 3));
        all.push(continuous("<b>bold</b> & \"quoted\"", -1e6, 1e6, Scaling::Linear));
        all
    };
    for (name, report) in [
        ("odd", sample(odd(), 40, Goal::Maximize)),
        ("5", sample(few(), 5, Goal::Maximize)),
        ("20", sample(some(), 20, Goal::Maximize)),
        ("60", sample(many(), 60, Goal::Minimize)),
        ("100", sample(some(), 100, Goal::Minimize)),
        ("1", sample(few(), 1, Goal::Maximize)),
        ("0", sample(few(), 0, Goal::Maximize)),
    ] {
        std::fs::write(folder.join(format!("tuning-{name}.html")), render(&report))?;
    }
    Ok(())
}
