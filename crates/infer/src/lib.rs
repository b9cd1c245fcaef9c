//! From a photo's bytes to logits: decoding, preprocessing, ONNX graphs and engines, the hub of
//! backbones, and model packages. Everything here blocks; servers call it from worker threads.

pub mod classifier;
pub mod engine;
pub mod fetch;
pub mod hub;
pub mod onnx;
pub mod package;
pub mod paths;
pub mod photo;
pub mod pipeline;
pub mod preprocess;
#[cfg(test)]
mod testing;

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
