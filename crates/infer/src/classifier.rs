//! A packaged model, ready to classify: what `predict`, `evaluate` and `serve` share.

use std::sync::Arc;

use crate::engine::{self, EngineError, EngineKind, EngineOptions, Session};
use crate::onnx::OnnxError;
use crate::package::{Class, Manifest, Package};
use crate::photo::Photo;
use crate::pipeline::Network;
use crate::preprocess::{PreprocessError, Preprocessor, View};

use kennel_base::{ErrorCode, ErrorCoded};

/// Why photos could not be classified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassifyError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A photo cannot be brought to size.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The packaged network is not one Kennel can run.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The network and the manifest do not belong together.
    #[error(
        "the model gives {logits} logits for {classes} classes\nhint: the package was altered; train it again"
    )]
    Classes {
        /// Values per photo that came out.
        logits: usize,
        /// Classes in the manifest.
        classes: usize,
    },
}

impl ErrorCoded for ClassifyError {
    fn code(&self) -> ErrorCode {
        match self {
            ClassifyError::Engine(e) => e.code(),
            ClassifyError::Preprocess(e) => e.code(),
            ClassifyError::Onnx(e) => e.code(),
            ClassifyError::Classes { .. } => ErrorCode::InvalidInput,
        }
    }
}

/// A model with its engine session. One caller at a time; [`Classifier::fork`] makes another.
#[derive(Debug)]
pub struct Classifier {
    manifest: Arc<Manifest>,
    session: Box<dyn Session>,
    preprocessor: Preprocessor,
    fixed_batch: Option<usize>,
    input: Vec<f32>,
}

impl Classifier {
    /// Loads a package into an engine.
    ///
    /// # Errors
    /// When the engine refuses the network or the preprocessing cannot work.
    pub fn load(package: &Package, options: &EngineOptions) -> Result<Self, ClassifyError> {
        let network = network(package);
        Ok(Classifier {
            manifest: Arc::new(package.manifest.clone()),
            session: engine::load(&network.onnx, options)?,
            preprocessor: Preprocessor::new(&network.preprocess)?,
            fixed_batch: network.fixed_batch,
            input: Vec::new(),
        })
    }

    /// Another classifier of the same model for a second worker.
    ///
    /// # Errors
    /// As [`Classifier::load`].
    pub fn fork(&self) -> Result<Self, ClassifyError> {
        Ok(Classifier {
            manifest: Arc::clone(&self.manifest),
            session: self.session.fork()?,
            preprocessor: Preprocessor::new(&self.manifest.preprocess)?,
            fixed_batch: self.fixed_batch,
            input: Vec::new(),
        })
    }

    /// The model's manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The engine in use.
    pub fn engine(&self) -> EngineKind {
        self.session.kind()
    }

    /// Logits of each photo, in the order of the manifest's classes.
    ///
    /// # Errors
    /// When a photo cannot be brought to size or the engine fails.
    pub fn logits(&mut self, photos: &[Photo]) -> Result<Vec<Vec<f32>>, ClassifyError> {
        let mut all = Vec::with_capacity(photos.len());
        for part in photos.chunks(self.fixed_batch.unwrap_or(photos.len()).max(1)) {
            self.run_part(part, &mut all)?;
        }
        Ok(all)
    }

    fn run_part(&mut self, photos: &[Photo], all: &mut Vec<Vec<f32>>) -> Result<(), ClassifyError> {
        let settings = self.preprocessor.settings();
        let (length, [height, width]) = (settings.input_len(), settings.crop);
        let count = self.fixed_batch.unwrap_or(photos.len());
        // Overwritten photo by photo; what a padded batch holds besides is thrown away with its output.
        self.input.resize(count * length, 0.0);
        for (photo, out) in photos.iter().zip(self.input.chunks_exact_mut(length)) {
            self.preprocessor.run(photo, View::Centre, out)?;
        }
        let shape = [count, 3, height as usize, width as usize];
        let output = self.session.run(&self.input, shape)?;
        let classes = self.manifest.classes.len();
        if output.width() != classes || output.shape.first() != Some(&count) {
            return Err(ClassifyError::Classes { logits: output.width(), classes });
        }
        all.extend(output.rows().take(photos.len()).map(<[f32]>::to_vec));
        Ok(())
    }
}

/// The packaged network for [`crate::pipeline::run`].
pub fn network(package: &Package) -> Network {
    Network {
        onnx: Arc::new(package.network.clone()),
        preprocess: package.manifest.preprocess.clone(),
        fixed_batch: package.manifest.backbone.fixed_batch,
    }
}

/// Probabilities of logits: softmax, computed so that large logits cannot overflow.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = logits.iter().map(|v| f64::from(v - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|v| (v / sum) as f32).collect()
}

/// Positions of the `k` largest values, largest first; ties go to the earlier position.
pub fn top_k(values: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(k);
    order
}

/// One answer of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Label<'a> {
    /// The class.
    pub class: &'a Class,
    /// Its probability, 0..1.
    pub probability: f32,
}

/// The `k` most probable classes for logits.
pub fn labels<'a>(manifest: &'a Manifest, logits: &[f32], k: usize) -> Vec<Label<'a>> {
    let probabilities = softmax(logits);
    top_k(&probabilities, k)
        .into_iter()
        .filter_map(|i| {
            Some(Label { class: manifest.classes.get(i)?, probability: probabilities[i] })
        })
        .collect()
}

#[cfg(test)]
mod tests;
