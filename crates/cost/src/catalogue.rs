//! The catalogue: instance types with what they have and how fast they are said to be, and prices, each
//! with its source and date. The built-in one is `data/prices.json`; what `kennel cost refresh` fetched is
//! laid over it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::CostError;

/// The data file.
const BUILT_IN: &str = include_str!("../data/prices.json");

/// For what an instance is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// A SageMaker notebook instance.
    Notebook,
    /// A SageMaker training job.
    Training,
    /// A SageMaker training job on managed spot instances.
    TrainingSpot,
    /// A SageMaker endpoint.
    Hosting,
    /// An EC2 instance, Linux, on demand.
    Ec2,
    /// An EC2 spot instance, Linux.
    Ec2Spot,
}

impl Usage {
    /// All of them.
    pub const ALL: [Usage; 6] = [
        Usage::Notebook,
        Usage::Training,
        Usage::TrainingSpot,
        Usage::Hosting,
        Usage::Ec2,
        Usage::Ec2Spot,
    ];

    /// The word for it, as in the data file.
    pub fn word(self) -> &'static str {
        match self {
            Usage::Notebook => "notebook",
            Usage::Training => "training",
            Usage::TrainingSpot => "training-spot",
            Usage::Hosting => "hosting",
            Usage::Ec2 => "ec2",
            Usage::Ec2Spot => "ec2-spot",
        }
    }

    /// Whether it is EC2's own, whose types have no `ml.` before their names.
    pub fn is_ec2(self) -> bool {
        matches!(self, Usage::Ec2 | Usage::Ec2Spot)
    }

    /// How a type is called there: `ml.m5.xlarge` at SageMaker, `m5.xlarge` at EC2.
    pub fn name_of(self, kind: &InstanceType) -> String {
        if self.is_ec2() { kind.name.clone() } else { format!("ml.{}", kind.name) }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Processor architecture of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Architecture {
    /// x86_64.
    X86,
    /// arm64, Graviton.
    Arm,
}

/// What an instance type has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceType {
    /// Name without `ml.`: `m5.xlarge`.
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Kind of GPU, a key of [`Catalogue::gpu`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// GPUs.
    #[serde(default)]
    pub gpus: u32,
    /// Share of each processor that a burstable type may use for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
}

impl InstanceType {
    /// `m5` of `m5.xlarge`.
    pub fn family(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// "4 vCPU, 16 GiB, 1 × T4".
    pub fn said(&self) -> String {
        let gpu = match &self.gpu {
            Some(gpu) => format!(", {} × {gpu}", self.gpus),
            None => String::new(),
        };
        format!("{} vCPU, {} GiB{gpu}", self.vcpus, self.memory_gib)
    }
}

/// What the types of a family share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// `m5`.
    pub name: String,
    /// The processor behind it.
    pub processor: String,
    /// Speed of one vCPU at single-precision arithmetic; m5's is 1. Declared.
    pub core: f64,
    /// How far off that may be, as a share of it.
    pub spread: f64,
    /// Whether it runs on processor credits.
    pub burstable: bool,
    /// Why that number.
    pub why: String,
}

/// A kind of GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Memory of one in GiB.
    pub memory_gib: f64,
    /// Peak in single precision, in TFLOP/s.
    pub tflops_f32: f64,
    /// Share of the peak that a convolutional network reaches, from and to. Declared.
    pub efficiency: (f64, f64),
    /// Where the numbers come from.
    pub source: String,
}

/// A price of one unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Price {
    /// Dollars for a unit: an hour, a request, a GB-second.
    pub dollars: f64,
    /// Whether it was found in AWS's own words.
    pub verified: bool,
    /// Where it comes from.
    pub source: String,
    /// Its date, `2026-09-24`.
    pub as_of: String,
}

/// What Lambda asks for, the first tier of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LambdaPrices {
    /// Region.
    pub region: String,
    /// Key of the sources.
    pub source: String,
    /// Whether all of it was found in AWS's own words.
    pub verified: bool,
    /// One request.
    pub request: f64,
    /// One GB for one second, x86.
    pub gb_second_x86: f64,
    /// One GB for one second, arm.
    pub gb_second_arm: f64,
    /// Provisioned concurrency, one GB for one second, x86.
    pub provisioned_gb_second_x86: f64,
    /// The same on arm.
    pub provisioned_gb_second_arm: f64,
    /// Duration on provisioned concurrency, one GB for one second, x86.
    pub provisioned_duration_x86: f64,
    /// The same on arm.
    pub provisioned_duration_arm: f64,
    /// Requests of a month that cost nothing.
    pub free_requests: f64,
    /// GB-seconds of a month that cost nothing; never for functions with provisioned concurrency.
    pub free_gb_seconds: f64,
}

/// What S3 asks for Standard storage, the first tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoragePrices {
    /// Region.
    pub region: String,
    /// Key of the sources.
    pub source: String,
    /// Whether all of it was found in AWS's own words.
    pub verified: bool,
    /// One GB for a month.
    pub gb_month: f64,
    /// One PUT, COPY, POST or LIST.
    pub put: f64,
    /// One GET or any other.
    pub get: f64,
}

/// Data in and out of endpoints.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataPrices {
    region: String,
    source: String,
    verified: bool,
    gb: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) source: String,
    pub(crate) as_of: String,
}

/// Prices by the hour that have one source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) usage: Usage,
    pub(crate) region: String,
    pub(crate) source: String,
    pub(crate) verified: bool,
    pub(crate) hourly: BTreeMap<String, f64>,
}

/// A file of prices. One that was fetched has prices only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) as_of: String,
    pub(crate) source: String,
    pub(crate) sources: BTreeMap<String, Source>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) families: Vec<Family>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) gpus: BTreeMap<String, Gpu>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) types: Vec<InstanceType>,
    #[serde(default)]
    pub(crate) prices: Vec<Group>,
    #[serde(default)]
    pub(crate) lambda: Vec<LambdaPrices>,
    #[serde(default)]
    pub(crate) s3: Vec<StoragePrices>,
    #[serde(default)]
    endpoint_data: Vec<DataPrices>,
}

/// Types and prices.
#[derive(Debug, Clone)]
pub struct Catalogue {
    data: Data,
    /// Usage, region and bare type name to the price.
    hourly: HashMap<(Usage, String), BTreeMap<String, Price>>,
}

impl Catalogue {
    /// The catalogue that is in the binary.
    pub fn built_in() -> Catalogue {
        // A test parses the file; an unreadable one would leave a catalogue without prices, which says so.
        Catalogue::parse(BUILT_IN).unwrap_or_else(|error| {
            Catalogue::of(Data {
                as_of: String::new(),
                source: error.to_string(),
                sources: BTreeMap::new(),
                families: Vec::new(),
                gpus: BTreeMap::new(),
                types: Vec::new(),
                prices: Vec::new(),
                lambda: Vec::new(),
                s3: Vec::new(),
                endpoint_data: Vec::new(),
            })
        })
    }

    /// A catalogue in the form of `data/prices.json`.
    ///
    /// # Errors
    /// When it is not of that form, a price is no sensible number, or something refers to what is not there.
    pub fn parse(json: &str) -> Result<Catalogue, CostError> {
        let data = read(json)?;
        for kind in &data.types {
            let known = data.families.iter().any(|family| family.name == kind.family());
            let gpu = kind.gpu.as_ref().is_none_or(|gpu| data.gpus.contains_key(gpu));
            if !known || !gpu || kind.vcpus == 0 || !positive(kind.memory_gib) {
                return Err(CostError::Catalogue(format!(
                    "type `{}` has no family or no size",
                    kind.name
                )));
            }
        }
        Ok(Catalogue::of(data))
    }

    fn of(data: Data) -> Catalogue {
        let mut hourly: HashMap<(Usage, String), BTreeMap<String, Price>> = HashMap::new();
        for group in &data.prices {
            let Some(source) = data.sources.get(&group.source) else { continue };
            let to = hourly.entry((group.usage, group.region.clone())).or_default();
            for (name, dollars) in &group.hourly {
                let price = Price {
                    dollars: *dollars,
                    verified: group.verified,
                    source: source.source.clone(),
                    as_of: source.as_of.clone(),
                };
                to.insert(bare(name).to_owned(), price);
            }
        }
        Catalogue { data, hourly }
    }

    /// This catalogue with fetched prices laid over its own; types and factors stay. Prices that are older
    /// than its own are not taken: the answer says whether any were.
    ///
    /// # Errors
    /// When the fetched ones cannot be read.
    pub fn with_fetched(&self, json: &str) -> Result<(Catalogue, bool), CostError> {
        let fetched = read(json)?;
        if fetched.as_of < self.data.as_of {
            return Ok((self.clone(), false));
        }
        let mut data = self.data.clone();
        data.as_of.clone_from(&fetched.as_of);
        data.source.clone_from(&fetched.source);
        // Keys of a fetched file must not take the place of others.
        let own = |key: &str| format!("fetched/{key}");
        for (key, source) in fetched.sources {
            data.sources.insert(own(&key), source);
        }
        data.prices.extend(fetched.prices.into_iter().map(|mut group| {
            group.source = own(&group.source);
            group
        }));
        for mut prices in fetched.lambda {
            prices.source = own(&prices.source);
            data.lambda.retain(|old| old.region != prices.region);
            data.lambda.push(prices);
        }
        for mut prices in fetched.s3 {
            prices.source = own(&prices.source);
            data.s3.retain(|old| old.region != prices.region);
            data.s3.push(prices);
        }
        Ok((Catalogue::of(data), true))
    }

    /// The newest date in it.
    pub fn as_of(&self) -> &str {
        &self.data.as_of
    }

    /// Where the prices come from, in a line.
    pub fn source(&self) -> &str {
        &self.data.source
    }

    /// The price of an hour of an instance. The name may have its `ml.` or not.
    ///
    /// # Errors
    /// When the type is not known, or has no price there.
    pub fn hourly(
        &self,
        usage: Usage,
        instance_type: &str,
        region: &str,
    ) -> Result<Price, CostError> {
        let name = bare(instance_type);
        let here = self.hourly.get(&(usage, region.to_owned()));
        if let Some(price) = here.and_then(|prices| prices.get(name)) {
            return Ok(price.clone());
        }
        if self.instance(name).is_none() {
            return Err(CostError::UnknownType(instance_type.to_owned()));
        }
        let known = match here {
            Some(prices) => {
                let some: Vec<&str> = prices.keys().map(String::as_str).take(6).collect();
                format!("{}, …", some.join(", "))
            }
            None => self.regions(usage).join(", "),
        };
        Err(CostError::NoPrice {
            name: instance_type.to_owned(),
            usage,
            region: region.to_owned(),
            known,
        })
    }

    /// The regions that have prices for a use.
    pub fn regions(&self, usage: Usage) -> Vec<&str> {
        let mut all: Vec<&str> =
            self.hourly.keys().filter(|(of, _)| *of == usage).map(|(_, r)| r.as_str()).collect();
        all.sort_unstable();
        all
    }

    /// The types that have a price for a use in any region, by family and size.
    pub fn types(&self, usage: Usage) -> Vec<&InstanceType> {
        let priced = |name: &str| {
            self.hourly.iter().any(|((of, _), prices)| *of == usage && prices.contains_key(name))
        };
        self.data.types.iter().filter(|kind| priced(&kind.name)).collect()
    }

    /// All types.
    pub fn all_types(&self) -> &[InstanceType] {
        &self.data.types
    }

    /// A type by its name, with `ml.` or without.
    pub fn instance(&self, name: &str) -> Option<&InstanceType> {
        let name = bare(name);
        self.data.types.iter().find(|kind| kind.name == name)
    }

    /// What a type's family shares.
    pub fn family(&self, kind: &InstanceType) -> Option<&Family> {
        self.data.families.iter().find(|family| family.name == kind.family())
    }

    /// A kind of GPU.
    pub fn gpu(&self, name: &str) -> Option<&Gpu> {
        self.data.gpus.get(name)
    }

    /// Lambda's prices.
    ///
    /// # Errors
    /// When the region has none here.
    pub fn lambda(&self, region: &str) -> Result<&LambdaPrices, CostError> {
        self.data.lambda.iter().find(|prices| prices.region == region).ok_or_else(|| {
            no_region("Lambda", region, self.data.lambda.iter().map(|p| p.region.as_str()))
        })
    }

    /// S3's prices.
    ///
    /// # Errors
    /// When the region has none here.
    pub fn s3(&self, region: &str) -> Result<&StoragePrices, CostError> {
        self.data
            .s3
            .iter()
            .find(|prices| prices.region == region)
            .ok_or_else(|| no_region("S3", region, self.data.s3.iter().map(|p| p.region.as_str())))
    }

    /// One GB in or out of an endpoint.
    pub(crate) fn endpoint_data(&self, region: &str) -> Option<Price> {
        let prices = self.data.endpoint_data.iter().find(|prices| prices.region == region)?;
        Some(self.price(prices.gb, prices.verified, &prices.source))
    }

    /// A price with the words of its source.
    pub(crate) fn price(&self, dollars: f64, verified: bool, source: &str) -> Price {
        let source = self.data.sources.get(source);
        Price {
            dollars,
            verified,
            source: source.map(|s| s.source.clone()).unwrap_or_default(),
            as_of: source.map(|s| s.as_of.clone()).unwrap_or_default(),
        }
    }
}

fn no_region<'a>(
    service: &'static str,
    region: &str,
    known: impl Iterator<Item = &'a str>,
) -> CostError {
    let known: Vec<&str> = known.collect();
    CostError::NoRegion { service, region: region.to_owned(), known: known.join(", ") }
}

/// A file of prices, checked.
fn read(json: &str) -> Result<Data, CostError> {
    let data: Data =
        serde_json::from_str(json).map_err(|error| CostError::Catalogue(error.to_string()))?;
    let wrong = |what: String| Err(CostError::Catalogue(what));
    for group in &data.prices {
        if !data.sources.contains_key(&group.source) {
            return wrong(format!("there is no source `{}`", group.source));
        }
        if let Some((name, price)) = group.hourly.iter().find(|(_, price)| !positive(**price)) {
            return wrong(format!("`{price}` is no price of `{name}`"));
        }
    }
    let lambda = data.lambda.iter().flat_map(|p| {
        [
            p.request,
            p.gb_second_x86,
            p.gb_second_arm,
            p.provisioned_gb_second_x86,
            p.provisioned_gb_second_arm,
            p.provisioned_duration_x86,
            p.provisioned_duration_arm,
        ]
    });
    let s3 = data.s3.iter().flat_map(|p| [p.gb_month, p.put, p.get]);
    if let Some(price) = lambda.chain(s3).find(|price| !positive(*price)) {
        return wrong(format!("`{price}` is no price"));
    }
    Ok(data)
}

/// Whether a number can be a price: nothing on AWS costs a million dollars an hour.
fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0 && value < 1e6
}

/// A type's name without `ml.`.
pub(crate) fn bare(name: &str) -> &str {
    name.strip_prefix("ml.").unwrap_or(name)
}

#[cfg(test)]
mod tests;
