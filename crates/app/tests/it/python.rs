//! The packaged network in Python's onnxruntime, fed by Pillow and numpy as torchvision would: the same
//! logits as `kennel predict --json`.

use std::path::Path;
use std::process::Command;

use crate::support::{Ran, assert_close, files, trained};

const SCRIPT: &str = r#"
import json, sys, tarfile
import numpy as np, onnxruntime
from PIL import Image

model, *photos = sys.argv[1:]
with tarfile.open(model) as archive:
    network = archive.extractfile("model.onnx").read()
    manifest = json.load(archive.extractfile("kennel.json"))
settings = manifest["preprocess"]
session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
rows = []
for photo in photos:
    image = Image.open(photo).convert("RGB")
    width, height = image.size
    # torchvision.transforms.Resize(n), bilinear with antialias.
    side = settings["resize"]["shorter_side"]
    assert side == 183, "the test draws photos for this size"
    if width <= height:
        size = (side, int(side * height / width))
    else:
        size = (int(side * width / height), side)
    image = image.resize(size, Image.BILINEAR)
    crop_height, crop_width = settings["crop"]
    top = int(round((image.size[1] - crop_height) / 2.0))
    left = int(round((image.size[0] - crop_width) / 2.0))
    image = image.crop((left, top, left + crop_width, top + crop_height))
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
    pixels = (pixels - np.float32(settings["mean"])) / np.float32(settings["std"])
    batch = pixels.transpose(2, 0, 1)[None].astype(np.float32)
    rows.append(session.run(None, {session.get_inputs()[0].name: batch})[0][0].tolist())
print(json.dumps(rows))
"#;

#[test]
fn onnxruntime_in_python_gives_the_same_logits() {
    let Some(python) = std::env::var_os("KENNEL_TEST_PYTHON") else {
        eprintln!("SKIPPED: KENNEL_TEST_PYTHON names no Python with onnxruntime, pillow and numpy");
        return;
    };
    let run = trained();
    // Lossless, since two JPEG decoders may differ in a last bit. With the shorter side as the network
    // wants it both sides see the same pixels, and only the crop and the network are compared; odd
    // differences show which way each rounds half a pixel.
    let drawn = image::open(&files(&run.photos("test"), ".jpg")[5]).unwrap().to_rgb8();
    let side = 183;
    let exact = [(side, side), (side, 260), (261, side)];
    let resized = [(96, 96), (96, 61), (448, 300), (300, 449)];
    let photos: Vec<String> = exact
        .iter()
        .chain(&resized)
        .map(|&(width, height)| {
            let path = run.home.path(&format!("shape_{width}x{height}.png"));
            let filter = image::imageops::FilterType::CatmullRom;
            image::imageops::resize(&drawn, width, height, filter).save(&path).unwrap();
            path.display().to_string()
        })
        .collect();
    let model = run.model();
    let mut arguments = vec!["predict", "--json", &model];
    arguments.extend(photos.iter().map(String::as_str));
    let predicted = run.home.run(&arguments).ok().json();
    let script = run.home.path("logits.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let ran = Ran::of(Command::new(Path::new(&python)).arg(&script).arg(&model).args(&photos)).ok();
    let rows: Vec<Vec<f64>> = serde_json::from_value(ran.json()).unwrap();
    assert_eq!(rows.len(), photos.len());
    for (position, (row, found)) in rows.iter().zip(predicted.as_array().unwrap()).enumerate() {
        let logits: Vec<f64> = serde_json::from_value(found["logits"].clone()).unwrap();
        // Resizing may differ from Pillow by a fraction of a grey level.
        let tolerance = if position < exact.len() { 1e-4 } else { 0.02 };
        assert_close(&logits, row, tolerance);
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = product(&logits, row) / (product(&logits, &logits) * product(row, row)).sqrt();
        assert!(cosine > 0.9999, "{}: {cosine}", photos[position]);
    }
}
