//! AWS's public price list, line by line.
//!
//! The regional files (`/offers/v1.0/aws/AmazonEC2/current/us-east-1/index.csv`) are comma-separated: a few
//! lines of head with the publication date, one line of column names, then a line for each price, all of it
//! in quotes (<https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-list-query-api.html>). EC2's
//! has hundreds of megabytes, so nothing is kept but the prices that the catalogue has a place for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::catalogue::{Catalogue, Usage};
use crate::error::CostError;

/// Longest line that is read; AWS's have about two thousand characters.
pub const MAX_LINE: usize = 64 * 1024;
/// Lines before the column names; AWS's have five.
const MAX_HEAD: u64 = 100;

/// A service's offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferKind {
    /// Notebooks, training and hosting.
    SageMaker,
    /// Instances.
    Ec2,
    /// Functions.
    Lambda,
    /// Objects.
    S3,
}

impl OfferKind {
    /// All that the catalogue has a place for.
    pub const ALL: [OfferKind; 4] =
        [OfferKind::SageMaker, OfferKind::Lambda, OfferKind::S3, OfferKind::Ec2];

    /// The offer's code.
    pub fn code(self) -> &'static str {
        match self {
            OfferKind::SageMaker => "AmazonSageMaker",
            OfferKind::Ec2 => "AmazonEC2",
            OfferKind::Lambda => "AWSLambda",
            OfferKind::S3 => "AmazonS3",
        }
    }

    /// Where its file for a region is, below the price list's address.
    pub fn path(self, region: &str) -> String {
        format!("/offers/v1.0/aws/{}/current/{region}/index.csv", self.code())
    }
}

/// What a file told.
#[derive(Debug, Clone, PartialEq)]
pub struct Offered {
    /// Whose prices.
    pub kind: OfferKind,
    /// Region.
    pub region: String,
    /// Date of publication, `2026-09-24`.
    pub published: String,
    /// Prices of an hour.
    pub hourly: BTreeMap<Usage, BTreeMap<String, f64>>,
    /// Prices of Lambda or S3 by usage type, without the region's prefix.
    pub units: BTreeMap<String, f64>,
}

/// Where the columns are that matter.
#[derive(Debug, Default)]
struct Columns {
    term: Option<usize>,
    price: Option<usize>,
    currency: Option<usize>,
    start: Option<usize>,
    usage_type: Option<usize>,
    operation: Option<usize>,
    location_type: Option<usize>,
    tenancy: Option<usize>,
    system: Option<usize>,
    software: Option<usize>,
    capacity: Option<usize>,
}

/// Reads a file line by line, in memory that does not depend on the file.
#[derive(Debug)]
pub struct OfferReader {
    found: Offered,
    known: Vec<String>,
    columns: Option<Columns>,
    head: u64,
}

/// Usage types of Lambda and S3 that are kept.
const UNITS: [&str; 10] = [
    "Request",
    "Lambda-GB-Second",
    "Lambda-GB-Second-ARM",
    "Lambda-Provisioned-Concurrency",
    "Lambda-Provisioned-Concurrency-ARM",
    "Lambda-Provisioned-GB-Second",
    "Lambda-Provisioned-GB-Second-ARM",
    "TimedStorage-ByteHrs",
    "Requests-Tier1",
    "Requests-Tier2",
];

impl OfferReader {
    /// A reader that keeps the types that `catalogue` knows.
    pub fn new(kind: OfferKind, region: &str, catalogue: &Catalogue) -> OfferReader {
        OfferReader {
            found: Offered {
                kind,
                region: region.to_owned(),
                published: String::new(),
                hourly: BTreeMap::new(),
                units: BTreeMap::new(),
            },
            known: catalogue.all_types().iter().map(|kind| kind.name.clone()).collect(),
            columns: None,
            head: 0,
        }
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// When the file is no price list: no column names near its beginning, or not the columns it must have.
    pub fn line(&mut self, line: &str) -> Result<(), CostError> {
        match &self.columns {
            Some(columns) => {
                // Most lines are reserved terms; they are left before they are taken apart.
                if line.contains("OnDemand") {
                    let row = fields(line);
                    if let Some((usage_type, price)) = row_price(columns, &row, self.found.kind) {
                        let usage_type = usage_type.to_owned();
                        self.keep(&usage_type, price);
                    }
                }
                Ok(())
            }
            None => self.head(line),
        }
    }

    fn head(&mut self, line: &str) -> Result<(), CostError> {
        self.head += 1;
        if self.head > MAX_HEAD {
            return Err(CostError::Offer("it has no line of column names".to_owned()));
        }
        let row = fields(line);
        match row.first().map(String::as_str) {
            Some("Publication Date") => {
                let date = row.get(1).map(String::as_str).unwrap_or_default();
                self.found.published = date.chars().take(10).collect();
            }
            Some("OfferCode") if row.get(1).is_some_and(|c| c != self.found.kind.code()) => {
                return Err(CostError::Offer(format!(
                    "it is that of `{}`, not of `{}`",
                    row.get(1).map(String::as_str).unwrap_or_default(),
                    self.found.kind.code()
                )));
            }
            Some("SKU") => {
                let at = |name: &str| row.iter().position(|c| c.eq_ignore_ascii_case(name));
                let columns = Columns {
                    term: at("TermType"),
                    price: at("PricePerUnit"),
                    currency: at("Currency"),
                    start: at("StartingRange"),
                    usage_type: at("usageType"),
                    operation: at("operation"),
                    location_type: at("Location Type"),
                    tenancy: at("Tenancy"),
                    system: at("Operating System"),
                    software: at("Pre Installed S/W"),
                    capacity: at("CapacityStatus"),
                };
                let needed = [columns.term, columns.price, columns.usage_type];
                if needed.iter().any(Option::is_none) {
                    return Err(CostError::Offer(
                        "it lacks a column: TermType, PricePerUnit or usageType".to_owned(),
                    ));
                }
                self.columns = Some(columns);
            }
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, usage_type: &str, price: f64) {
        let usage_type = without_region(usage_type);
        match self.found.kind {
            OfferKind::Lambda | OfferKind::S3 => {
                if UNITS.contains(&usage_type) {
                    put(&mut self.found.units, usage_type, price);
                }
            }
            OfferKind::SageMaker | OfferKind::Ec2 => {
                let Some((word, name)) = usage_type.split_once(':') else { return };
                let usage = match (self.found.kind, word) {
                    (OfferKind::SageMaker, "Notebk") => Usage::Notebook,
                    (OfferKind::SageMaker, "Train") => Usage::Training,
                    (OfferKind::SageMaker, "Host") => Usage::Hosting,
                    (OfferKind::Ec2, "BoxUsage") => Usage::Ec2,
                    _ => return,
                };
                let bare = crate::catalogue::bare(name);
                if self.known.iter().any(|known| known == bare) {
                    put(self.found.hourly.entry(usage).or_default(), name, price);
                }
            }
        }
    }

    /// What was found.
    ///
    /// # Errors
    /// When that is nothing.
    pub fn finish(self) -> Result<Offered, CostError> {
        if self.columns.is_none() {
            return Err(CostError::Offer("it has no line of column names".to_owned()));
        }
        if !looks_like_a_date(&self.found.published) {
            return Err(CostError::Offer("it has no date of publication".to_owned()));
        }
        if self.found.hourly.is_empty() && self.found.units.is_empty() {
            return Err(CostError::Offer(format!(
                "it has no price of {} that the catalogue has a place for",
                self.found.kind.code()
            )));
        }
        Ok(self.found)
    }
}

/// A price once; of two, the higher, which promises less.
fn put(to: &mut BTreeMap<String, f64>, name: &str, price: f64) {
    let kept = to.entry(name.to_owned()).or_insert(price);
    *kept = kept.max(price);
}

/// The usage type and price of a row that is an on-demand price as the catalogue means it.
fn row_price<'a>(columns: &Columns, row: &'a [String], kind: OfferKind) -> Option<(&'a str, f64)> {
    let get = |column: Option<usize>| column.and_then(|at| row.get(at)).map(String::as_str);
    // An absent column is no reason to refuse; a present one must say this.
    let is = |column: Option<usize>, wanted: &str| get(column).is_none_or(|is| is == wanted);
    if get(columns.term) != Some("OnDemand")
        || !is(columns.currency, "USD")
        || !is(columns.location_type, "AWS Region")
    {
        return None;
    }
    if kind == OfferKind::Ec2
        && !(is(columns.operation, "RunInstances")
            && is(columns.tenancy, "Shared")
            && is(columns.system, "Linux")
            && is(columns.software, "NA")
            && is(columns.capacity, "Used"))
    {
        return None;
    }
    // Of a tiered price, the first tier.
    let first = get(columns.start).is_none_or(|start| {
        start.is_empty() || start.parse::<f64>().is_ok_and(|start| start == 0.0)
    });
    let price: f64 = get(columns.price)?.parse().ok()?;
    let sensible = price.is_finite() && price > 0.0 && price < 1e6;
    if first && sensible { Some((get(columns.usage_type)?, price)) } else { None }
}

/// `USW2-Train:ml.m5.large` without `USW2-`; us-east-1 of old has no prefix.
fn without_region(usage_type: &str) -> &str {
    match usage_type.split_once('-') {
        Some((prefix, rest))
            if (2..=5).contains(&prefix.len())
                && prefix.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) =>
        {
            rest
        }
        _ => usage_type,
    }
}

fn looks_like_a_date(text: &str) -> bool {
    text.len() == 10
        && text.chars().enumerate().all(|(at, c)| match at {
            4 | 7 => c == '-',
            _ => c.is_ascii_digit(),
        })
}

/// The fields of a line of comma-separated values; a quotation mark in quotes is written twice.
fn fields(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut characters = line.trim_end_matches(['\r', '\n']).chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    all.push(field);
    all
}

/// The offers as a file that [`Catalogue::with_fetched`] takes; `before` is an earlier such file, whose other
/// regions and services stay.
///
/// # Errors
/// When Lambda's or S3's file lacks a price.
pub fn merge(offers: &[Offered], before: Option<&str>, from: &str) -> Result<String, CostError> {
    let mut old: Value = before
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| json!({"sources": {}, "prices": [], "lambda": [], "s3": []}));
    let mut newest = old["as_of"].as_str().unwrap_or_default().to_owned();
    for offer in offers {
        newest = newest.max(offer.published.clone());
        let region = offer.region.as_str();
        let key = format!("{}/{region}", offer.kind.code());
        old["sources"][&key] = json!({
            "source": format!("AWS public price list, offer {}, {from}", offer.kind.code()),
            "as_of": offer.published,
        });
        let drop = |old: &mut Value, list: &str, usage: Option<Usage>| {
            if let Some(list) = old[list].as_array_mut() {
                list.retain(|entry| {
                    entry["region"] != region
                        || usage.is_some_and(|usage| entry["usage"] != usage.word())
                });
            }
        };
        let push = |old: &mut Value, list: &str, entry: Value| {
            if let Some(list) = old[list].as_array_mut() {
                list.push(entry);
            }
        };
        for (usage, hourly) in &offer.hourly {
            drop(&mut old, "prices", Some(*usage));
            let entry = json!({
                "usage": usage.word(), "region": region, "source": key, "verified": true, "hourly": hourly,
            });
            push(&mut old, "prices", entry);
        }
        let unit = |name: &str| {
            offer.units.get(name).copied().ok_or_else(|| {
                CostError::Offer(format!("{} has no price of `{name}`", offer.kind.code()))
            })
        };
        match offer.kind {
            OfferKind::Lambda => {
                let entry = json!({
                    "region": region, "source": key, "verified": true,
                    "request": unit("Request")?,
                    "gb_second_x86": unit("Lambda-GB-Second")?,
                    "gb_second_arm": unit("Lambda-GB-Second-ARM")?,
                    "provisioned_gb_second_x86": unit("Lambda-Provisioned-Concurrency")?,
                    "provisioned_gb_second_arm": unit("Lambda-Provisioned-Concurrency-ARM")?,
                    "provisioned_duration_x86": unit("Lambda-Provisioned-GB-Second")?,
                    "provisioned_duration_arm": unit("Lambda-Provisioned-GB-Second-ARM")?,
                    // Not in the price list; the same in all regions.
                    "free_requests": 1_000_000, "free_gb_seconds": 400_000,
                });
                drop(&mut old, "lambda", None);
                push(&mut old, "lambda", entry);
            }
            OfferKind::S3 => {
                let entry = json!({
                    "region": region, "source": key, "verified": true,
                    "gb_month": unit("TimedStorage-ByteHrs")?,
                    "put": unit("Requests-Tier1")?,
                    "get": unit("Requests-Tier2")?,
                });
                drop(&mut old, "s3", None);
                push(&mut old, "s3", entry);
            }
            OfferKind::SageMaker | OfferKind::Ec2 => {}
        }
    }
    old["as_of"] = newest.into();
    old["source"] = format!("AWS public price list, {from}").into();
    serde_json::to_string_pretty(&old).map_err(|error| CostError::Offer(error.to_string()))
}

#[cfg(test)]
mod tests;
