//! An amount of money with what it is made of.

use serde::Serialize;

use crate::catalogue::Price;
use crate::words::dollars;

/// One line of a bill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// What it is for: `2 × ml.m5.xlarge`.
    pub what: String,
    /// How much of it.
    pub quantity: f64,
    /// Of what: `instance-hours`, `requests`, `GB-seconds`.
    pub unit: &'static str,
    /// Dollars for one unit.
    pub price: f64,
    /// Dollars for all.
    pub dollars: f64,
    /// Whether the price was found in AWS's own words.
    pub verified: bool,
    /// Where the price comes from.
    pub source: String,
    /// The price's date.
    pub as_of: String,
}

/// What something costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Amount {
    /// Dollars, before taxes, discounts and free tiers unless a line says otherwise.
    pub dollars: f64,
    /// Whether all prices in it are verified.
    pub verified: bool,
    /// Region of the prices.
    pub region: String,
    /// What it is made of.
    pub items: Vec<Item>,
    /// What a reader should know: rounding, what is left out.
    pub notes: Vec<String>,
}

impl Amount {
    /// Nothing, in a region.
    pub fn nothing(region: &str) -> Amount {
        Amount {
            dollars: 0.0,
            verified: true,
            region: region.to_owned(),
            items: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, what: String, quantity: f64, unit: &'static str, price: &Price) {
        let cost = quantity * price.dollars;
        self.dollars += cost;
        self.verified &= price.verified;
        self.items.push(Item {
            what,
            quantity,
            unit,
            price: price.dollars,
            dollars: cost,
            verified: price.verified,
            source: price.source.clone(),
            as_of: price.as_of.clone(),
        });
    }

    /// The dollars in words, with `~` where a price is not verified.
    pub fn said(&self) -> String {
        format!("{}{}", if self.verified { "" } else { "~" }, dollars(self.dollars))
    }

    /// The oldest date among its prices; empty where it has no line.
    pub fn as_of(&self) -> &str {
        self.items.iter().map(|item| item.as_of.as_str()).min().unwrap_or_default()
    }
}
