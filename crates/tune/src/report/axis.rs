//! An axis of a plot: a parameter with its own scaling or its choices, the objective, the time, the epoch.

use std::collections::HashMap;

use super::Row;
use super::scale::{Scale, Spread, drawable, number};
use super::view::cut;
use crate::{Domain, Parameter, Scaling};

/// More different texts than this are one kind: they could not be told apart in a picture.
const MOST_KINDS: usize = 200;

/// What an axis is called and how its coordinates are spread.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Numbers {
        scale: Scale,
        /// Whether there is nothing between whole numbers.
        whole: bool,
    },
    /// The choices as people read them, and the place of each text.
    Kinds { names: Vec<String>, places: HashMap<String, usize> },
}

impl Axis {
    /// The axis of a parameter: its whole range, and the trials' values beyond it, which those of an earlier tuning
    /// job may have.
    pub(super) fn of(parameter: &Parameter, rows: &[Row]) -> Self {
        let texts = rows.iter().filter_map(|row| row.values.get(&parameter.name));
        let spread = match parameter.domain.scale() {
            Scaling::Logarithmic => Spread::Log,
            Scaling::ReverseLogarithmic => Spread::ReverseLog,
            Scaling::Auto | Scaling::Linear => Spread::Linear,
        };
        let (low, high, whole) = match &parameter.domain {
            Domain::Continuous { min, max, .. } => (*min, *max, false),
            Domain::Integer { min, max, .. } => (*min as f64, *max as f64, true),
            Domain::Categorical { values } => {
                let (mut names, mut places) = (Vec::new(), HashMap::new());
                for text in values.iter().chain(texts) {
                    if !places.contains_key(text) && names.len() < MOST_KINDS {
                        places.insert(text.clone(), names.len());
                        names.push(plain(text));
                    }
                }
                let kind = Kind::Kinds { names, places };
                return Self { name: parameter.name.clone(), kind };
            }
        };
        let found = texts.filter_map(|text| text.trim().parse().ok());
        let scale = Scale::over([low, high].into_iter().chain(found), spread);
        Self { name: parameter.name.clone(), kind: Kind::Numbers { scale, whole } }
    }

    /// An axis of numbers.
    pub(super) fn numbers(name: &str, scale: Scale, whole: bool) -> Self {
        Self { name: name.to_owned(), kind: Kind::Numbers { scale, whole } }
    }

    /// The coordinate of a trial's text: the number, or the place of the choice.
    pub(super) fn coordinate(&self, text: &str) -> Option<f64> {
        match &self.kind {
            Kind::Numbers { .. } => text.trim().parse().ok().filter(|value| drawable(*value)),
            Kind::Kinds { places, .. } => places.get(text).map(|place| *place as f64),
        }
    }

    /// Where a coordinate stands, from 0 to 1; choices stand in the middle of equal bands.
    pub(super) fn place(&self, coordinate: f64) -> f64 {
        match &self.kind {
            Kind::Numbers { scale, .. } => scale.place(coordinate),
            Kind::Kinds { names, .. } => (coordinate + 0.5) / names.len().max(1) as f64,
        }
    }

    /// How many choices there are; 0 for numbers.
    pub(super) fn kinds(&self) -> usize {
        match &self.kind {
            Kind::Numbers { .. } => 0,
            Kind::Kinds { names, .. } => names.len(),
        }
    }

    /// Whether all trials must have the same value.
    pub(super) fn fixed(&self) -> bool {
        match &self.kind {
            Kind::Numbers { scale, .. } => scale.low >= scale.high,
            Kind::Kinds { names, .. } => names.len() < 2,
        }
    }

    /// Whether equal distances are equal ratios.
    pub(super) fn logarithmic(&self) -> bool {
        matches!(&self.kind, Kind::Numbers { scale, .. } if scale.spread != Spread::Linear)
    }

    /// The name in at most `most` characters, with what is to be said of the scale.
    pub(super) fn label(&self, most: usize) -> String {
        format!(
            "{}{}",
            cut(&self.name, most),
            if self.logarithmic() { ", logarithmic" } else { "" }
        )
    }

    /// About `count` places with the texts that stand there.
    pub(super) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        match &self.kind {
            Kind::Numbers { scale, whole } => scale
                .ticks(count)
                .into_iter()
                .filter(|value| !*whole || value.fract() == 0.0)
                .map(|value| (scale.place(value), tick(value)))
                .collect(),
            // All of them where there is room, or evenly spread ones.
            Kind::Kinds { names, .. } => names
                .iter()
                .enumerate()
                .step_by(names.len().div_ceil(count.max(1)).max(1))
                .map(|(place, name)| (self.place(place as f64), name.clone()))
                .collect(),
        }
    }

    /// Ticks for an upright axis of this height.
    pub(super) fn ticks_along(&self, height: f64) -> Vec<(f64, String)> {
        self.ticks(if self.kinds() > 0 { (height / 17.0) as usize } else { 6 })
    }

    /// Ticks whose texts fit beside each other in this width, cut where they do not.
    pub(super) fn ticks_within(&self, width: f64) -> Vec<(f64, String)> {
        if self.kinds() == 0 {
            return self.ticks(6);
        }
        let ticks = self.ticks((width / 42.0) as usize);
        let room = width / ticks.len().max(1) as f64 / super::frame::LETTER - 1.5;
        ticks.into_iter().map(|(place, text)| (place, cut(&text, room.max(3.0) as usize))).collect()
    }

    /// A trial's value as people read it.
    pub(super) fn text(&self, text: &str) -> String {
        match (&self.kind, text.trim().parse::<f64>()) {
            (Kind::Numbers { whole: false, .. }, Ok(value)) => number(value, 4),
            _ => plain(text),
        }
    }
}

/// A number beside an axis. Six digits tell neighbouring ticks apart wherever they differ at all to the eye.
fn tick(value: f64) -> String {
    number(value, 6)
}

/// SageMaker's SDK writes choices with JSON's quotes, which say nothing to people.
fn plain(text: &str) -> String {
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inside.filter(|text| !text.is_empty()).unwrap_or(text).to_owned()
}
