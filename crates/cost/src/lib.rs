//! What things would cost on AWS: a catalogue of prices with its date and source, and the arithmetic of
//! jobs, endpoints, functions and storage. Pure: no I/O, no clock.
//!
//! A price that could not be verified says so, and everything computed from it says so too: it is shown
//! with `~`. How fast a type is, is declared (the catalogue's factors), never measured; [`advise`] therefore
//! answers with ranges.

mod advise;
mod amount;
mod catalogue;
mod error;
mod estimate;
mod model;
mod offer;
mod words;

pub use advise::{
    Advice, AdviseOptions, Excluded, Measured, Need, Ranked, Span, advise, paragraph, pareto,
};
pub use amount::{Amount, Item};
pub use catalogue::{
    Architecture, Catalogue, Family, Gpu, InstanceType, LambdaPrices, Price, StoragePrices, Usage,
};
pub use error::CostError;
pub use estimate::{
    Endpoint, Function, Storage, Training, Tuning, endpoint, function, hours_a_month, instances,
    sentence, storage, training, tuning,
};
pub use model::{KnownModel, known_models, model_of};
pub use offer::{MAX_LINE, OfferKind, OfferReader, Offered, merge};
pub use words::{about, dollars, duration, hours};
