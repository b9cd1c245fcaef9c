//! What a job leaves: the manifest, metrics.json and the contents of the report.

use std::collections::BTreeMap;
use std::path::Path;

use kennel_infer::hub::Backbone;
use kennel_infer::package::{BackboneRecord, DataRecord, MANIFEST_FORMAT, Manifest};
use kennel_infer::photo::encode_jpeg;
use kennel_infer::pipeline;
use kennel_infer::preprocess::{Preprocess, Preprocessor, Resize, View};

use super::JobOptions;
use super::instances::SplitPhotos;
use crate::dataset::{Dataset, Problem, ProblemKind, Split};
use crate::evaluate::Evaluation;
use crate::features::Extraction;
use crate::head::TrainedHead;
use crate::report;

/// Everything that goes into the outputs.
pub(super) struct Assembly<'a> {
    pub(super) options: &'a JobOptions,
    pub(super) dataset: &'a Dataset,
    pub(super) backbone: &'a Backbone,
    pub(super) extraction: &'a Extraction,
    pub(super) splits: &'a [SplitPhotos; 3],
    pub(super) width: usize,
    pub(super) trained: &'a TrainedHead,
    pub(super) evaluations: &'a [(Split, Evaluation)],
    pub(super) problems: &'a [(usize, Problem)],
    pub(super) warnings: &'a [String],
    pub(super) digest: String,
    pub(super) engine: String,
}

impl Assembly<'_> {
    fn skipped(&self) -> usize {
        self.problems.iter().filter(|(_, p)| p.kind == ProblemKind::Unreadable).count()
    }

    fn flat_metrics(&self) -> BTreeMap<String, f64> {
        let mut flat = BTreeMap::new();
        for (split, found) in self.evaluations {
            flat.insert(format!("{split}_top1"), found.top1);
            flat.insert(format!("{split}_top5"), found.top5);
            flat.insert(format!("{split}_loss"), found.loss);
        }
        flat
    }

    pub(super) fn manifest(&self) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            kennel_version: env!("CARGO_PKG_VERSION").to_owned(),
            classes: self.dataset.classes.clone(),
            preprocess: self.backbone.preprocess.clone(),
            backbone: BackboneRecord {
                name: self.backbone.name.clone(),
                sha256: self.backbone.sha256.clone(),
                features: self.backbone.cut.tensor.clone(),
                width: self.width,
                license: self.backbone.license.clone(),
                fixed_batch: self.backbone.fixed_batch,
            },
            training: self.trained.options.clone(),
            data: DataRecord {
                sha256: self.digest.clone(),
                photos: Split::ALL
                    .into_iter()
                    .zip(self.splits)
                    .map(|(s, of)| (s.name().to_owned(), of.photos.len()))
                    .collect(),
                skipped: self.skipped(),
            },
            metrics: self.flat_metrics(),
            engine: self.engine.clone(),
        }
    }

    pub(super) fn metrics(&self, seconds: &BTreeMap<String, f64>) -> serde_json::Value {
        let splits: serde_json::Map<String, serde_json::Value> = self
            .evaluations
            .iter()
            .map(|(split, e)| {
                let value = serde_json::json!({
                    "top1": e.top1, "top5": e.top5, "loss": e.loss, "count": e.count,
                });
                (split.name().to_owned(), value)
            })
            .collect();
        serde_json::json!({
            "metrics": splits,
            "best_epoch": self.trained.best_epoch,
            "warm_started_classes": self.trained.matched,
            "epochs": self.trained.history,
            "classes": self.dataset.classes.len(),
            "skipped": self.skipped(),
            "features": {
                "cached": self.extraction.cached,
                "computed": self.extraction.computed,
                "seconds_decode": self.extraction.times.decode.as_secs_f64(),
                "seconds_preprocess": self.extraction.times.preprocess.as_secs_f64(),
                "seconds_engine": self.extraction.times.engine.as_secs_f64(),
            },
            "seconds": seconds,
        })
    }

    /// The worst mistakes of the split that measures, with small pictures.
    pub(super) fn mistakes(&self) -> Vec<report::Mistake> {
        let Some((split, found)) = self.evaluations.last() else { return Vec::new() };
        let photos = &self.splits[*split as usize].photos;
        let small = Preprocess {
            resize: Resize::ShorterSide(160),
            crop: [160, 160],
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let Ok(mut preprocessor) = Preprocessor::new(&small) else { return Vec::new() };
        let name = |class: usize| self.dataset.classes[class].name.clone();
        found
            .mistakes
            .iter()
            .take(24)
            .filter_map(|m| {
                let path = &self.dataset.photos[*photos.get(m.position)?].path;
                let photo = pipeline::read(path, &self.options.pipeline.limits).ok()?;
                let pixels = preprocessor.crop(&photo, View::Centre).ok()?;
                Some(report::Mistake {
                    path: short_path(path, &self.dataset.root),
                    truth: name(m.truth),
                    predicted: name(m.predicted),
                    probability: f64::from(m.probability),
                    truth_probability: f64::from(m.truth_probability),
                    thumbnail_jpeg: encode_jpeg(pixels, 160, 160, 80).ok()?,
                })
            })
            .collect()
    }

    pub(super) fn report(
        &self,
        seconds: &BTreeMap<String, f64>,
        mistakes: Vec<report::Mistake>,
    ) -> report::Report {
        let took = |name: &str| {
            let value = seconds.get(name).copied().unwrap_or(0.0);
            format!("{value:.1} s")
        };
        let photos = Split::ALL
            .into_iter()
            .zip(self.splits)
            .map(|(s, of)| format!("{} {s}", of.photos.len()))
            .collect::<Vec<_>>()
            .join(", ");
        let facts = [
            ("backbone", self.backbone.name.clone()),
            ("features", format!("{} from `{}`", self.width, self.backbone.cut.tensor)),
            ("head", self.options.train.head.to_string()),
            ("engine", self.engine.clone()),
            ("classes", self.dataset.classes.len().to_string()),
            ("photos", photos),
            ("skipped", self.skipped().to_string()),
            ("best epoch", self.trained.best_epoch.to_string()),
            ("features took", took("features")),
            ("head took", took("head")),
            ("whole job", took("total")),
            ("kennel", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        report::Report {
            title: format!("Training report: {}", self.dataset.root.display()),
            facts: facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            notes: self.warnings.to_vec(),
            epochs: self
                .trained
                .history
                .iter()
                .map(|e| report::EpochPoint {
                    epoch: e.epoch,
                    train_loss: e.train_loss,
                    valid_loss: e.valid_loss,
                    train_accuracy: e.train_accuracy,
                    valid_accuracy: e.valid_accuracy,
                    learning_rate: e.learning_rate,
                })
                .collect(),
            evaluations: self
                .evaluations
                .iter()
                .rev()
                .map(|(split, e)| report::Evaluation {
                    split: split.name().to_owned(),
                    classes: self.dataset.classes.iter().map(|c| c.name.clone()).collect(),
                    confusion: e.confusion.clone(),
                    top1: e.top1,
                    top5: e.top5,
                    count: e.count,
                })
                .collect(),
            mistakes,
            options_json: serde_json::to_string_pretty(&self.trained.options).unwrap_or_default(),
        }
    }
}

fn short_path(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
