//! Networks whose arithmetic and memory are known, for advice on machines that they were not run on.

use serde::Serialize;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KnownModel {
    /// Its name in Kennel's hub.
    pub name: &'static str,
    /// Floating-point operations of one photo through it: two for each multiply-add.
    pub flop: f64,
    /// Weights in MB, single precision.
    pub weights_mb: f64,
    /// What one photo of a batch holds in memory on its way through, in MB, without gradients.
    pub activations_mb: f64,
    /// Where the numbers come from.
    pub source: &'static str,
}

const KNOWN: [KnownModel; 4] = [
    KnownModel {
        name: "resnet50",
        flop: 8.2e9,
        weights_mb: 102.0,
        activations_mb: 22.0,
        source: "4.1 thousand million multiply-adds and 25.6 million weights at 224×224 (torchvision's table; He et al., 2015)",
    },
    KnownModel {
        name: "resnet18",
        flop: 3.6e9,
        weights_mb: 47.0,
        activations_mb: 10.0,
        source: "1.8 thousand million multiply-adds and 11.7 million weights at 224×224 (torchvision's table; He et al., 2015)",
    },
    KnownModel {
        name: "mobilenetv2",
        flop: 0.6e9,
        weights_mb: 14.0,
        activations_mb: 14.0,
        source: "300 million multiply-adds and 3.5 million weights at 224×224 (Sandler et al., 2018)",
    },
    KnownModel {
        name: "kennel-mini",
        flop: 0.095e9,
        weights_mb: 2.9,
        activations_mb: 6.0,
        source: "47.5 million multiply-adds and 713,140 weights at 160×160 (its model card)",
    },
];

/// All that are known.
pub fn known_models() -> &'static [KnownModel] {
    &KNOWN
}

/// A network by its name; upper case, `-` and `_` do not matter.
pub fn model_of(name: &str) -> Option<KnownModel> {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let wanted = plain(name);
    KNOWN.into_iter().find(|model| plain(model.name) == wanted)
}
