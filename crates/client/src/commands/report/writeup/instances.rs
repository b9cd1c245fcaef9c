//! Which instances, and why.

use kennel_cost::{Ranked, Usage};
use kennel_report::{Block, Column, Table};
use serde_json::Value;

use super::{Writer, named, number, took};
use crate::commands::cost;
use crate::commands::report::facts::{Area, Job};
use crate::commands::report::simulation::instance_type;
use crate::output::text;

/// Notebook instances that are shown.
const NOTEBOOKS: usize = 2;

impl Writer<'_> {
    pub(super) fn instances(&mut self) {
        self.heading("Instances, and why these");
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut row = |writer: &mut Self, what: String, usage: Usage, kind: &str| {
            let price = writer.hourly(usage, kind).map(|price| (price.dollars, price.verified));
            let cells = vec![what, format!("`{kind}`"), writer.has(kind), writer.money(price)];
            if !rows.contains(&cells) {
                rows.push(cells);
            }
        };
        for notebook in self.facts.notebooks.iter().take(NOTEBOOKS) {
            let kind = text(notebook, "InstanceType");
            let what = format!("notebook {}", named(notebook, "NotebookInstanceName"));
            row(self, what, Usage::Notebook, &kind);
        }
        for job in &self.facts.jobs {
            let what = format!("training, {} at once", job.count());
            row(self, what, job.usage(), &job.kind());
        }
        if let Some(endpoint) = &self.facts.endpoint {
            for variant in endpoint.own["ProductionVariants"].as_array().into_iter().flatten() {
                let variant = text(variant, "VariantName");
                if let Some(kind) = instance_type(&endpoint.config, &variant) {
                    row(self, "endpoint".to_owned(), Usage::Hosting, &kind);
                }
            }
        }
        if !rows.is_empty() {
            let columns = ["for", "instance type", "has"].map(Column::words);
            let columns = columns.into_iter().chain([Column::numbers("an hour")]).collect();
            self.blocks.push(Block::Table(Table { columns, rows }));
        }
        if self.unknown(Area::Notebooks) {
        } else if self.facts.notebooks.is_empty() {
            self.missing(
                "There is no notebook instance.",
                "aws sagemaker create-notebook-instance --notebook-instance-name NAME --instance-type ml.t3.medium --role-arn ROLE",
            );
        } else if let Some(notebook) = self.facts.notebooks.first() {
            let kind = text(notebook, "InstanceType");
            let words = self.notebook(&kind);
            self.led("Notebook.", words);
        }
        self.chosen();
    }

    /// A notebook waits most of its time; what it costs beside the training instance is what counts.
    fn notebook(&mut self, kind: &str) -> String {
        let own = self.hourly(Usage::Notebook, kind).map(|p| (p.dollars, p.verified));
        let training = self.facts.jobs.first().map(Job::kind);
        let other = training.as_ref().and_then(|kind| self.hourly(Usage::Notebook, kind));
        let mut words = format!(
            "`{kind}` starts jobs and looks at results, which run on instances of their own: {} an hour",
            self.money(own)
        );
        if let (Some((own, _)), Some(other), Some(training)) = (own, other, training)
            && training != kind
        {
            let other = (other.dollars, other.verified);
            let factor = number(other.0 / own.max(1e-9), 1);
            words.push_str(&format!(
                ", where a notebook on `{training}` would be {} ({factor} times) for the same waiting",
                self.money(Some(other))
            ));
        }
        words.push('.');
        words
    }

    /// The training instance, by what was measured on it.
    fn chosen(&mut self) {
        let Some(job) = self.facts.jobs.first() else { return };
        let kind = job.kind();
        let cost = self.cost(job);
        let (training, phases) = (job.training_s(), job.phases());
        let mut words = format!(
            "`{kind}` trained {} in {}",
            named(&job.own, "TrainingJobName"),
            took(training)
        );
        if let Some(reports) = job.reports().filter(|n| *n > 1 && training > 0.0) {
            words.push_str(&format!(
                " ({} reports, {} each)",
                reports,
                took(training / reports as f64)
            ));
        }
        let billed = job.billable_s();
        words.push_str(&format!(" and was billed for {billed} s: {}.", self.money(cost)));
        if let Some(around) = phases {
            words.push_str(&format!(
                " {} % of its time was training, the rest starting, downloading and uploading.",
                number(100.0 * training / around.max(1e-9), 0)
            ));
        }
        let advised = self.advised(job);
        words.push_str(&advised);
        if advised.is_empty()
            && let Some((cheaper, dearer)) = self.neighbours(&kind, job.usage())
        {
            words.push_str(&format!(
                " Beside it in its family are {cheaper}{} {dearer}: one of twice the price pays when it halves that time.",
                if cheaper.is_empty() || dearer.is_empty() { "" } else { " and" }
            ));
        }
        self.led("Training.", words);
        let ec2 = self.hourly(Usage::Ec2, &kind).map(|p| (p.dollars, p.verified));
        if let (Some((ec2, sure)), Some(own)) = (ec2, self.hourly(Usage::Training, &kind)) {
            let bare = kind.trim_start_matches("ml.");
            let less = number(100.0 * (1.0 - ec2 / own.dollars.max(1e-9)), 0);
            let price = self.money(Some((ec2, sure)));
            self.led("EC2.", format!(
                "The same machine without SageMaker, `{bare}`, is {price} an hour, {less} % less, but is billed from its start to its stop, idle or not."
            ));
        }
    }

    /// What `kennel cost advise` makes of the job's time.
    fn advised(&mut self, job: &Job) -> String {
        let place = (self.facts.region.as_str(), !self.facts.local);
        let advice = cost::advice_of(&job.own, self.catalogue, place);
        let Some(advice) = advice else { return String::new() };
        let (Some(best), Some(cheapest), Some(fastest)) =
            (advice.chosen(), advice.cheapest(), advice.fastest())
        else {
            return String::new();
        };
        let mut said = |one: &Ranked| {
            let dollars = self.money(Some((one.dollars.mid, one.verified)));
            format!("`{}` ({dollars}, {})", one.name, took(one.seconds.mid))
        };
        let mut words = format!(
            " From that time and each type's declared speed `kennel cost advise {}` expects, start included: best for time and money together {}",
            text(&job.own, "TrainingJobName"),
            said(best)
        );
        if cheapest.name != best.name {
            words.push_str(&format!(", cheapest {}", said(cheapest)));
        }
        if fastest.name != best.name {
            words.push_str(&format!(", fastest {}", said(fastest)));
        }
        words.push_str("; an estimate, not a measurement.");
        words
    }

    /// The next smaller and the next larger type of the family, with their prices.
    fn neighbours(&mut self, kind: &str, usage: Usage) -> Option<(String, String)> {
        let own = self.catalogue.instance(kind)?;
        let mut family: Vec<_> = self
            .catalogue
            .types(usage)
            .into_iter()
            .filter(|other| other.family() == own.family())
            .collect();
        family.sort_by(|a, b| a.vcpus.cmp(&b.vcpus).then(a.memory_gib.total_cmp(&b.memory_gib)));
        let place = family.iter().position(|other| other.name == own.name)?;
        let mut said = |place: Option<usize>| {
            let name = place.and_then(|place| family.get(place)).map(|t| usage.name_of(t));
            name.map_or_else(String::new, |name| {
                let price = self.hourly(usage, &name).map(|p| (p.dollars, p.verified));
                format!("`{name}` at {}", self.money(price))
            })
        };
        let (below, above) = (said(place.checked_sub(1)), said(Some(place + 1)));
        (!below.is_empty() || !above.is_empty()).then_some((below, above))
    }

    /// What a job costs.
    pub(super) fn cost(&self, job: &Job) -> Option<(f64, bool)> {
        let count = u32::try_from(job.count()).unwrap_or(u32::MAX);
        let (kind, spot) = (job.kind(), job.usage() == Usage::TrainingSpot);
        let region = &self.facts.region;
        kennel_cost::training(self.catalogue, &kind, count, job.billable_s(), spot, region)
            .ok()
            .map(|amount| (amount.dollars, amount.verified))
    }
}

impl Job {
    pub(super) fn count(&self) -> u64 {
        self.own["ResourceConfig"]["InstanceCount"].as_u64().unwrap_or(1)
    }

    pub(super) fn kind(&self) -> String {
        text(&self.own["ResourceConfig"], "InstanceType")
    }

    pub(super) fn usage(&self) -> Usage {
        match self.own["EnableManagedSpotTraining"].as_bool() {
            Some(true) => Usage::TrainingSpot,
            _ => Usage::Training,
        }
    }

    /// Of each instance.
    pub(super) fn billable_s(&self) -> u64 {
        self.own["BillableTimeInSeconds"].as_u64().unwrap_or(0)
    }

    /// The time in which it trained: the phase of that name, which is counted finer than the whole.
    pub(super) fn training_s(&self) -> f64 {
        let transitions = self.own["SecondaryStatusTransitions"].as_array().into_iter().flatten();
        let phases = transitions.filter(|phase| phase["Status"] == "Training").filter_map(span);
        let sum: f64 = phases.sum();
        if sum > 0.0 { sum } else { self.own["TrainingTimeInSeconds"].as_f64().unwrap_or(0.0) }
    }

    /// The time of all phases.
    fn phases(&self) -> Option<f64> {
        let transitions = self.own["SecondaryStatusTransitions"].as_array()?;
        Some(transitions.iter().filter_map(span).sum()).filter(|sum| *sum > 0.0)
    }

    /// How often it told its metrics.
    fn reports(&self) -> Option<usize> {
        self.curves.iter().map(|curve| curve.points.len()).max()
    }
}

fn span(phase: &Value) -> Option<f64> {
    Some(phase["EndTime"].as_f64()? - phase["StartTime"].as_f64()?)
}
