//! Compares the strategies on standard functions: `cargo run --release -p kennel-tune --example compare`.
//!
//! Prints a table of the regret (best value found minus the optimum) after 20 trials, median and quartiles over
//! seeds, with one and with four trials at a time, and the time that a proposal takes at 100 trials. Options:
//! the number of seeds (default 100).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use kennel_tune::{
    Assignment, Completion, Domain, Goal, Parameter, Plan, Scaling, Space, Step, Strategy, Trial,
    TrialState, best, next,
};

/// A function to minimise, with its space and its lowest value.
struct Task {
    name: &'static str,
    space: Space,
    cost: fn(&Assignment) -> f64,
    lowest: f64,
    /// Deviation of the noise that a trial's result has.
    noise: f64,
}

fn number(values: &Assignment, name: &str) -> f64 {
    values.get(name).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

fn continuous(name: &str, min: f64, max: f64, scaling: Scaling) -> Parameter {
    Parameter { name: name.to_owned(), domain: Domain::Continuous { min, max, scaling } }
}

fn branin(values: &Assignment) -> f64 {
    let (x, y) = (number(values, "x"), number(values, "y"));
    let pi = std::f64::consts::PI;
    let curve = y - 5.1 / (4.0 * pi * pi) * x * x + 5.0 / pi * x - 6.0;
    curve * curve + 10.0 * (1.0 - 1.0 / (8.0 * pi)) * x.cos() + 10.0
}

fn hartmann(values: &Assignment) -> f64 {
    const ALPHA: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    let term = |row: usize| {
        let distance: f64 = (0..6)
            .map(|place| {
                A[row][place] * (number(values, &format!("x{place}")) - P[row][place]).powi(2)
            })
            .sum();
        ALPHA[row] * (-distance).exp()
    };
    -(0..4).map(term).sum::<f64>()
}

/// Shaped like the validation error of a head: a valley of the learning rate that moves with batch size and
/// optimiser, with walls where training diverges, and a mild preference for small batches.
fn head(values: &Assignment) -> f64 {
    let rate = number(values, "learning_rate").log10();
    let batch = (number(values, "batch_size") / 128.0).log2();
    let (valley, floor, width) = match values.get("optimizer").map(String::as_str) {
        Some("\"adamw\"") => (-2.6, 0.170, 0.8),
        Some("\"adam\"") => (-2.4, 0.178, 0.7),
        _ => (-1.3, 0.185, 1.0),
    };
    let away = (rate - valley - 0.15 * batch) / width;
    let diverged = if away > 1.0 { 0.5 * (away - 1.0) } else { 0.0 };
    floor + 0.06 * away * away + 0.004 * (batch + 0.5).powi(2) + diverged
}

fn space(parameters: Vec<Parameter>) -> Space {
    match Space::new(parameters) {
        Ok(space) => space,
        Err(error) => unreachable!("{error}"),
    }
}

fn head_task(name: &'static str, noise: f64) -> Task {
    use Scaling::Logarithmic;
    Task {
        name,
        space: space(vec![
            continuous("learning_rate", 1e-3, 1e-1, Logarithmic),
            Parameter {
                name: "batch_size".to_owned(),
                domain: Domain::Integer { min: 32, max: 512, scaling: Logarithmic },
            },
            Parameter {
                name: "optimizer".to_owned(),
                domain: Domain::Categorical {
                    values: ["\"sgd\"", "\"adam\"", "\"adamw\""].map(str::to_owned).to_vec(),
                },
            },
        ]),
        cost: head,
        lowest: 0.170,
        noise,
    }
}

fn tasks() -> Vec<Task> {
    use Scaling::Linear;
    vec![
        Task {
            name: "Branin",
            space: space(vec![
                continuous("x", -5.0, 10.0, Linear),
                continuous("y", 0.0, 15.0, Linear),
            ]),
            cost: branin,
            lowest: 0.397_887,
            noise: 0.0,
        },
        Task {
            name: "Hartmann-6",
            space: space((0..6).map(|i| continuous(&format!("x{i}"), 0.0, 1.0, Linear)).collect()),
            cost: hartmann,
            lowest: -3.322_37,
            noise: 0.0,
        },
        head_task("head (mixed)", 0.0),
        head_task("head, noise 0.003", 0.003),
        head_task("head, noise 0.01", 0.01),
    ]
}

/// What a trial reports: its cost, and noise that is the same whenever the same values are tried.
fn observed(task: &Task, values: &Assignment, seed: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (values, seed).hash(&mut hasher);
    // The sum of twelve uniform numbers is as good as normal.
    let (mut bits, mut sum) = (hasher.finish(), -6.0);
    for _ in 0..12 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sum += (bits >> 11) as f64 / (1u64 << 53) as f64;
    }
    (task.cost)(values) + task.noise * sum
}

/// Runs a tuning job whose trials end in the order they were started, and gives the true cost of the trial
/// that seems the best.
fn run(task: &Task, strategy: Strategy, parallel: usize, trials: usize, seed: u64) -> f64 {
    let plan = plan(task, strategy, parallel, trials, seed);
    let mut done: Vec<Trial> = Vec::new();
    loop {
        match next(&plan, &done) {
            Step::Start(started) => done.extend(started.into_iter().map(|values| Trial {
                values,
                state: TrialState::Running,
                reports: Vec::new(),
            })),
            Step::Wait => {
                if let Some(trial) =
                    done.iter_mut().find(|trial| trial.state == TrialState::Running)
                {
                    trial.state = TrialState::Succeeded(observed(task, &trial.values, seed));
                }
            }
            Step::Complete(_) => break,
        }
    }
    best(&plan, &done).map_or(f64::NAN, |index| (task.cost)(&done[index].values))
}

fn plan(task: &Task, strategy: Strategy, parallel: usize, max_trials: usize, seed: u64) -> Plan {
    Plan {
        space: task.space.clone(),
        strategy,
        goal: Goal::Minimize,
        seed,
        max_trials,
        parallel,
        early_stopping: false,
        completion: Completion::default(),
        prior: Vec::new(),
    }
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

fn main() {
    let seeds: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    println!("regret after 20 trials, median (quartiles) of {seeds} seeds; lower is better\n");
    println!(
        "| function | parallel | Random | Bayesian | Random needs as many trials as | seeds won |"
    );
    println!("|---|---|---|---|---|---|");
    for task in &tasks() {
        // The regret of Random by number of trials, to say what a Bayesian regret is worth.
        let mut worth: BTreeMap<usize, f64> = BTreeMap::new();
        for trials in [20, 30, 40, 60, 80, 120, 160, 240, 320, 640] {
            let all =
                (0..seeds).map(|seed| run(task, Strategy::Random, 1, trials, seed) - task.lowest);
            worth.insert(trials, quartiles(all.collect())[1]);
        }
        for parallel in [1, 4] {
            let regrets = |strategy: Strategy| -> Vec<f64> {
                (0..seeds)
                    .map(|seed| run(task, strategy, parallel, 20, seed) - task.lowest)
                    .collect()
            };
            let (random, bayesian) = (regrets(Strategy::Random), regrets(Strategy::Bayesian));
            let won =
                random.iter().zip(&bayesian).filter(|(random, bayesian)| bayesian < random).count();
            let show =
                |[low, middle, high]: [f64; 3]| format!("{middle:.4} ({low:.4} to {high:.4})");
            let bayesian = quartiles(bayesian);
            let needs = worth.iter().find(|(_, regret)| **regret <= bayesian[1]);
            println!(
                "| {} | {parallel} | {} | {} | {} | {won} of {seeds} |",
                task.name,
                show(quartiles(random)),
                show(bayesian),
                needs.map_or("more than 640".to_owned(), |(trials, _)| trials.to_string()),
            );
        }
    }
    println!();
    for task in &tasks() {
        for known in [20usize, 100, 400] {
            let plan = plan(task, Strategy::Bayesian, 1, 1000, 1);
            let mut random = plan.clone();
            random.strategy = Strategy::Random;
            let mut trials: Vec<Trial> = Vec::new();
            while trials.len() < known {
                if let Step::Start(started) = next(&random, &trials) {
                    trials.extend(started.into_iter().map(|values| Trial {
                        state: TrialState::Succeeded((task.cost)(&values)),
                        values,
                        reports: Vec::new(),
                    }));
                }
            }
            let mut times: Vec<f64> = (0..7)
                .map(|_| {
                    let start = Instant::now();
                    std::hint::black_box(next(&plan, &trials));
                    start.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!("{}: a proposal at {known} trials takes {:.1} ms", task.name, times[3]);
        }
    }
}
