//! The engine that is always there: `rten`, pure Rust.

use std::fmt;
use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

use super::{EngineError, EngineKind, Output, Session};

struct RtenSession {
    model: Arc<Model>,
    input: NodeId,
    output: NodeId,
    threads: usize,
    options: RunOptions,
}

impl fmt::Debug for RtenSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtenSession").field("threads", &self.threads).finish_non_exhaustive()
    }
}

pub(super) fn load(onnx: &Arc<Vec<u8>>, threads: usize) -> Result<Box<dyn Session>, EngineError> {
    let failed = |reason: String| EngineError::Load { engine: EngineKind::Rten, reason };
    let model = ModelOptions::with_all_ops()
        .prepack_weights(true)
        .load(onnx.as_ref().clone())
        .map_err(|e| failed(e.to_string()))?;
    let only = |ids: &[NodeId], what: &str| match ids {
        [id] => Ok(*id),
        _ => Err(failed(format!("the network has {} {what}, not one", ids.len()))),
    };
    let input = only(model.input_ids(), "inputs")?;
    let output = only(model.output_ids(), "outputs")?;
    Ok(Box::new(session(Arc::new(model), input, output, threads)))
}

fn session(model: Arc<Model>, input: NodeId, output: NodeId, threads: usize) -> RtenSession {
    let pool = Arc::new(ThreadPool::with_num_threads(threads));
    let mut options = RunOptions::default();
    options.thread_pool = Some(pool);
    RtenSession { model, input, output, threads, options }
}

impl Session for RtenSession {
    fn run(&mut self, input: &[f32], shape: [usize; 4]) -> Result<Output, EngineError> {
        let failed = |reason: String| EngineError::Run { engine: EngineKind::Rten, reason };
        let view = NdTensorView::try_from_data(shape, input)
            .map_err(|_| failed(format!("{} values do not fill {shape:?}", input.len())))?;
        let mut outputs = self
            .model
            .run(vec![(self.input, view.into())], &[self.output], Some(self.options.clone()))
            .map_err(|e| failed(e.to_string()))?;
        let value = outputs.pop().ok_or_else(|| failed("it gave no output".into()))?;
        let tensor =
            value.into_tensor::<f32>().ok_or_else(|| failed("the output is not float32".into()))?;
        let shape = tensor.shape().to_vec();
        Ok(Output { shape, values: tensor.into_data() })
    }

    fn fork(&self) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(session(Arc::clone(&self.model), self.input, self.output, self.threads)))
    }

    fn kind(&self) -> EngineKind {
        EngineKind::Rten
    }
}
