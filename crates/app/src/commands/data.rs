//! `kennel data`: look at photos before training on them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::Table;
use kennel_infer::photo::DecodeLimits;
use kennel_train::dataset::{Layout, ProblemKind, SplitOptions};
use kennel_train::inspect::{Inspection, inspect};

use crate::output::{self, Progress, line};
use crate::signals;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Classes, counts, imbalance, unreadable files and copies, and what training does about each
    Inspect(Arguments),
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// DIR/{train,valid,test}/<class>/* or DIR/<class>/*
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Share of unreadable photos that training accepts; more is an error here too
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    max_bad: f64,
    #[command(flatten)]
    split: SplitArguments,
}

/// How a folder without splits is divided.
#[derive(Debug, Clone, Args)]
pub(crate) struct SplitArguments {
    /// Share of each class for validation, where the folder has no such split
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub valid_share: f64,
    /// Share of each class for testing, where the folder has no splits
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub test_share: f64,
    /// Seed of the split
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub split_seed: u64,
}

impl SplitArguments {
    pub(crate) fn options(&self) -> anyhow::Result<SplitOptions> {
        let shares = [self.valid_share, self.test_share];
        if shares.iter().any(|s| !(0.0..0.9).contains(s)) || shares.iter().sum::<f64>() > 0.9 {
            return Err(output::usage(
                "`--valid-share` and `--test-share` must leave photos to train on\nhint: give shares such as 0.1 and 0.1",
            ));
        }
        Ok(SplitOptions { valid: self.valid_share, test: self.test_share, seed: self.split_seed })
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let Command::Inspect(arguments) = command;
    let stop = signals::stop_flag()?;
    let mut progress: Option<Progress> = None;
    let found = inspect(
        &arguments.dir,
        &arguments.split.options()?,
        &DecodeLimits::default(),
        &stop,
        &mut |done, total| {
            progress.get_or_insert_with(|| Progress::start("reading", total)).set(done);
        },
    )?;
    if let Some(progress) = progress {
        progress.finish();
    }
    if arguments.json {
        line(serde_json::to_string_pretty(&found)?);
    } else {
        print(&found);
    }
    if found.bad_share > arguments.max_bad {
        return Err(output::usage(format!(
            "{:.1} % of the photos cannot be read, more than the allowed {:.1} %\nhint: repair or remove them, or raise `--max-bad`",
            100.0 * found.bad_share,
            100.0 * arguments.max_bad
        )));
    }
    Ok(())
}

fn print(found: &Inspection) {
    let layout = match found.layout {
        Layout::Splits => "folders for train, valid and test",
        Layout::SplitsWithoutValid => {
            "a folder for train but none for validation: a part of train is taken for it"
        }
        Layout::Classes => "one folder per class, split by seed",
    };
    line(format!("{} photos, {} classes; layout: {layout}", found.photos, found.classes.len()));
    if let Some([low, high]) = found.sizes {
        line(format!("sizes: {}×{} to {}×{} pixels", low.0, low.1, high.0, high.1));
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["class", "folder", "train", "valid", "test"]);
    for class in &found.classes {
        table.add_row([
            class.name.clone(),
            class.class.clone(),
            class.train.to_string(),
            class.valid.to_string(),
            class.test.to_string(),
        ]);
    }
    let sum = |f: fn(&kennel_train::inspect::ClassCount) -> usize| {
        found.classes.iter().map(f).sum::<usize>().to_string()
    };
    table.add_row([
        "total".into(),
        String::new(),
        sum(|c| c.train),
        sum(|c| c.valid),
        sum(|c| c.test),
    ]);
    line(table);
    line(format!(
        "imbalance: the largest class has {:.1} times the training photos of the smallest{}",
        found.imbalance,
        if found.imbalance >= 3.0 { "; consider `kennel train --class-weights`" } else { "" }
    ));
    if !found.ignored.is_empty() {
        line(format!(
            "{} other files are left alone, for example {}",
            found.ignored.len(),
            found.ignored[0].display()
        ));
    }
    if found.problems.is_empty() {
        line("no problems found");
        return;
    }
    for (kind, title) in [
        (ProblemKind::Unreadable, "cannot be read"),
        (ProblemKind::Truncated, "end early"),
        (ProblemKind::AcrossSplits, "stand in two splits"),
        (ProblemKind::TwoClasses, "stand under two classes"),
        (ProblemKind::Duplicate, "are copies"),
    ] {
        let of_kind: Vec<_> = found.problems.iter().filter(|p| p.kind == kind).collect();
        let Some(first) = of_kind.first() else { continue };
        line(format!("\n{} photos {title}; training: {}", of_kind.len(), first.action));
        for problem in of_kind.iter().take(50) {
            line(format!("  {}: {}", problem.path.display(), problem.reason));
        }
        if of_kind.len() > 50 {
            line(format!("  … and {} more (`--json` lists all)", of_kind.len() - 50));
        }
    }
}
