//! `kennel cost running`: what is up, what it would cost on AWS, and what of it is idle.

use kennel_cost::{Catalogue, Usage, dollars, hours_a_month, instances};
use serde_json::{Value, json};

use super::facts::{Metric, fleets, lambda_pages, metric, provisioned};
use super::region_of;
use crate::client::{Client, Service};
use crate::clock;
use crate::error::ClientError;
use crate::output::{self, line, note, table, text};

/// What has had no request for so long is idle.
const IDLE_S: i64 = 3600;
/// The tag by which the platform stops an idle endpoint, in seconds.
pub(in crate::commands) const IDLE_TAG: &str = "kennel:idle-timeout";

/// One thing that is up.
#[derive(Debug, Clone)]
pub(super) struct Up {
    /// `endpoint`, `job`, `function` or `notebook`.
    pub kind: &'static str,
    pub name: String,
    /// `2 × ml.m5.large`.
    pub what: String,
    pub state: String,
    pub hourly: Option<f64>,
    pub verified: bool,
    pub idle: bool,
    /// Seconds after which the platform stops it by itself.
    pub idle_timeout: Option<i64>,
    pub next: Option<String>,
    /// Why there is no price.
    pub unknown: Option<String>,
}

impl Up {
    fn money(&self, times: f64) -> String {
        match self.hourly {
            Some(hourly) => {
                let tilde = if self.verified { "" } else { "~" };
                format!("{tilde}{}", dollars(hourly * times))
            }
            None => "?".to_owned(),
        }
    }
}

/// What is up, and what could not be looked at.
pub(super) fn look(
    client: &Client,
    catalogue: &Catalogue,
) -> Result<(Vec<Up>, Vec<String>), ClientError> {
    let now = clock::epoch_millis() / 1000;
    let mut looker = Looker { client, catalogue, now, up: Vec::new(), notes: Vec::new() };
    looker.endpoints()?;
    looker.jobs()?;
    looker.functions()?;
    looker.notebooks()?;
    Ok((looker.up, looker.notes))
}

pub(super) fn run(client: &Client, catalogue: &Catalogue, json: bool) -> Result<(), ClientError> {
    let (up, notes) = look(client, catalogue)?;
    let sum: f64 = up.iter().filter_map(|one| one.hourly).sum();
    let idle: f64 = up.iter().filter(|one| one.idle).filter_map(|one| one.hourly).sum();
    // A job ends by itself: a month of it says nothing.
    let lasting: f64 = up.iter().filter(|one| one.kind != "job").filter_map(|one| one.hourly).sum();
    let verified = up.iter().all(|one| one.verified);
    if json {
        let listed: Vec<Value> = up
            .iter()
            .map(|one| {
                json!({
                    "kind": one.kind, "name": one.name, "what": one.what, "status": one.state,
                    "hourly": one.hourly, "monthly": one.hourly.map(|h| h * hours_a_month()),
                    "verified": one.verified, "idle": one.idle, "idle_timeout": one.idle_timeout,
                    "next": one.next, "unknown": one.unknown,
                })
            })
            .collect();
        output::json(&json!({
            "running": listed, "hourly": sum, "monthly": lasting * hours_a_month(),
            "idle_hourly": idle, "verified": verified, "prices_of": catalogue.as_of(), "notes": notes,
        }));
        return Ok(());
    }
    for text in &notes {
        note(format!("note: {text}"));
    }
    if up.is_empty() {
        line("nothing is up that AWS would bill by the hour");
        return Ok(());
    }
    let rows = up.iter().map(|one| {
        let month = if one.kind == "job" { "–".to_owned() } else { one.money(hours_a_month()) };
        let state = if one.idle { format!("{}, idle", one.state) } else { one.state.clone() };
        [one.kind.to_owned(), one.name.clone(), one.what.clone(), state, one.money(1.0), month]
    });
    line(table(["", "name", "what", "status", "an hour", "a month"], rows));
    let tilde = if verified { "" } else { "~" };
    line(format!(
        "\nall of it: {tilde}{} an hour, {tilde}{} a month without the jobs; prices of {} or as the catalogue says",
        dollars(sum),
        dollars(lasting * hours_a_month()),
        catalogue.as_of()
    ));
    for one in up.iter().filter(|one| one.idle || one.unknown.is_some()) {
        if let Some(why) = &one.unknown {
            line(format!("- {} {}: {why}", one.kind, one.name));
        }
        if one.idle {
            let by_itself = match one.idle_timeout {
                Some(seconds) => {
                    format!("; it stops by itself after {}", kennel_cost::duration(seconds as f64))
                }
                None => String::new(),
            };
            line(format!(
                "- {} {} had no request in the last hour and costs {} a month{by_itself}",
                one.kind,
                one.name,
                one.money(hours_a_month())
            ));
            if let Some(next) = &one.next {
                line(format!("  next: {next}"));
            }
        }
    }
    Ok(())
}

/// Looks at everything that is billed by the hour.
struct Looker<'a> {
    client: &'a Client,
    catalogue: &'a Catalogue,
    now: i64,
    up: Vec<Up>,
    notes: Vec<String>,
}

impl Looker<'_> {
    /// What was found, or a note that it could not be looked at.
    fn or_note<T: Default>(
        &mut self,
        what: &str,
        found: Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        match found {
            Ok(found) => Ok(found),
            Err(error) if error.is_not_found() => Ok(T::default()),
            Err(error @ (ClientError::Service(_) | ClientError::Failed(_))) => {
                self.notes.push(format!("could not look at {what}: {error}"));
                Ok(T::default())
            }
            Err(error) => Err(error),
        }
    }

    /// The price of an hour of some instances, and whether it is verified; or why there is none.
    fn hourly(
        &self,
        usage: Usage,
        kind: &str,
        count: u32,
        region: Option<&str>,
    ) -> Result<(f64, bool), String> {
        let region = region.unwrap_or(&self.client.target().region);
        instances(self.catalogue, usage, kind, f64::from(count), 3600.0, region)
            .map(|amount| (amount.dollars, amount.verified))
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    fn pages(
        &self,
        operation: &str,
        body: &Value,
        member: &str,
    ) -> Result<Vec<Value>, ClientError> {
        self.client.json_pages(Service::SageMaker, operation, body, member)
    }

    fn endpoints(&mut self) -> Result<(), ClientError> {
        let listed = self.pages("ListEndpoints", &json!({"MaxResults": 100}), "Endpoints");
        for endpoint in self.or_note("endpoints", listed)? {
            let state = text(&endpoint, "EndpointStatus");
            if matches!(state.as_str(), "Failed" | "Deleting" | "OutOfService") {
                continue;
            }
            let name = text(&endpoint, "EndpointName");
            let found = self.endpoint(&name, &endpoint, &state);
            if let Some(up) = self.or_note(&format!("endpoint `{name}`"), found.map(Some))? {
                self.up.push(up);
            }
        }
        Ok(())
    }

    fn endpoint(&self, name: &str, listed: &Value, state: &str) -> Result<Up, ClientError> {
        let fleets = fleets(self.client, name)?;
        let mut invoked = 0.0;
        for fleet in &fleets {
            let wanted = Metric {
                namespace: "AWS/SageMaker",
                name: "Invocations",
                dimensions: &[("EndpointName", name), ("VariantName", &fleet.variant)],
                statistic: "Sum",
                since: self.now - IDLE_S,
                period: 60,
            };
            invoked += metric(self.client, &wanted, self.now)?.iter().sum::<f64>();
        }
        let tags = self.client.json(
            Service::SageMaker,
            "ListTags",
            &json!({"ResourceArn": text(listed, "EndpointArn")}),
        );
        let idle_timeout = tags.ok().and_then(|tags| {
            let tags = tags["Tags"].as_array()?.clone();
            let tag = tags.iter().find(|tag| tag["Key"] == IDLE_TAG)?;
            tag["Value"].as_str()?.parse::<i64>().ok()
        });
        let what: Vec<String> = fleets
            .iter()
            .map(|f| format!("{} × {}{}", f.count, f.kind, if f.shadow { " (shadow)" } else { "" }))
            .collect();
        let priced = fleets
            .iter()
            .map(|f| self.hourly(Usage::Hosting, &f.kind, f.count, f.region.as_deref()))
            .collect::<Result<Vec<_>, String>>();
        let old =
            listed["CreationTime"].as_f64().is_some_and(|at| self.now as f64 - at > IDLE_S as f64);
        let some = fleets.iter().any(|fleet| fleet.count > 0);
        let mut up = up_of("endpoint", name, &what.join(", "), state, sum(priced));
        up.idle = old && some && invoked == 0.0 && state == "InService";
        up.idle_timeout = idle_timeout;
        up.next = Some(match idle_timeout {
            Some(_) => format!("`kennel endpoint rm {name}` if it is not needed any more"),
            None => format!(
                "`kennel endpoint rm {name}`, or let the next one stop by itself: `kennel deploy … --idle-timeout 30m`"
            ),
        });
        Ok(up)
    }

    fn jobs(&mut self) -> Result<(), ClientError> {
        let body = json!({"StatusEquals": "InProgress", "MaxResults": 100});
        let listed = self.pages("ListTrainingJobs", &body, "TrainingJobSummaries");
        for job in self.or_note("training jobs", listed)? {
            let name = text(&job, "TrainingJobName");
            let body = json!({"TrainingJobName": name});
            let found = self.client.json(Service::SageMaker, "DescribeTrainingJob", &body);
            let job = self.or_note(&format!("job `{name}`"), found)?;
            let resources = &job["ResourceConfig"];
            let Some(kind) = resources["InstanceType"].as_str() else { continue };
            let count = resources["InstanceCount"].as_u64().and_then(|n| u32::try_from(n).ok());
            let spot = job["EnableManagedSpotTraining"].as_bool().unwrap_or(false);
            let usage = if spot { Usage::TrainingSpot } else { Usage::Training };
            let count = count.unwrap_or(1);
            let region = region_of(job["TrainingJobArn"].as_str());
            let priced = self.hourly(usage, kind, count, region);
            let what = format!("{count} × {kind}{}", if spot { " (spot)" } else { "" });
            self.up.push(up_of("job", &name, &what, &text(&job, "SecondaryStatus"), priced));
        }
        Ok(())
    }

    fn functions(&mut self) -> Result<(), ClientError> {
        let path = "/2015-03-31/functions";
        let listed = lambda_pages(self.client, "ListFunctions", path, "Functions");
        for function in self.or_note("functions", listed)? {
            let name = text(&function, "FunctionName");
            let found = provisioned(self.client, &name);
            for (qualifier, count) in self.or_note(&format!("function `{name}`"), found)? {
                let found = self.provisioned(&function, &name, &qualifier, count);
                let what = format!("function `{name}:{qualifier}`");
                if let Some(up) = self.or_note(&what, found.map(Some))? {
                    self.up.push(up);
                }
            }
        }
        Ok(())
    }

    fn provisioned(
        &self,
        function: &Value,
        name: &str,
        qualifier: &str,
        count: u32,
    ) -> Result<Up, ClientError> {
        let memory = function["MemorySize"].as_f64().unwrap_or(128.0);
        let region = region_of(function["FunctionArn"].as_str());
        let of = kennel_cost::Function {
            requests: 0.0,
            duration_ms: 0.0,
            memory_mb: memory,
            architecture: match function["Architectures"][0] == "arm64" {
                true => kennel_cost::Architecture::Arm,
                false => kennel_cost::Architecture::X86,
            },
            provisioned: count,
            provisioned_hours: 1.0,
            provisioned_share: 1.0,
            free_tier: false,
            region: region.unwrap_or(&self.client.target().region),
        };
        let priced = kennel_cost::function(self.catalogue, &of)
            .map(|amount| (amount.dollars, amount.verified))
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned());
        let resource = format!("{name}:{qualifier}");
        let wanted = Metric {
            namespace: "AWS/Lambda",
            name: "Invocations",
            dimensions: &[("FunctionName", name), ("Resource", &resource)],
            statistic: "Sum",
            since: self.now - IDLE_S,
            period: 60,
        };
        let invoked: f64 = metric(self.client, &wanted, self.now)?.iter().sum();
        let what = format!("{count} provisioned × {memory} MB");
        let mut up = up_of("function", &resource, &what, "provisioned", priced);
        up.idle = invoked == 0.0;
        up.next = Some(format!(
            "`kennel function concurrency {name} --qualifier {qualifier} --no-provisioned`"
        ));
        Ok(up)
    }

    fn notebooks(&mut self) -> Result<(), ClientError> {
        let body = json!({"MaxResults": 100});
        let listed = self.pages("ListNotebookInstances", &body, "NotebookInstances");
        for notebook in self.or_note("notebook instances", listed)? {
            let state = text(&notebook, "NotebookInstanceStatus");
            // A stopped one costs its disk only, which is little.
            if !matches!(state.as_str(), "InService" | "Pending" | "Updating" | "Stopping") {
                continue;
            }
            let name = text(&notebook, "NotebookInstanceName");
            let kind = text(&notebook, "InstanceType");
            let region = region_of(notebook["NotebookInstanceArn"].as_str());
            let priced = self.hourly(Usage::Notebook, &kind, 1, region);
            self.up.push(up_of("notebook", &name, &format!("1 × {kind}"), &state, priced));
        }
        Ok(())
    }
}

fn sum(parts: Result<Vec<(f64, bool)>, String>) -> Result<(f64, bool), String> {
    let parts = parts?;
    Ok((parts.iter().map(|p| p.0).sum(), parts.iter().all(|p| p.1)))
}

fn up_of(
    kind: &'static str,
    name: &str,
    what: &str,
    state: &str,
    priced: Result<(f64, bool), String>,
) -> Up {
    let unknown = priced.as_ref().err().cloned();
    Up {
        kind,
        name: name.to_owned(),
        what: what.to_owned(),
        state: state.to_owned(),
        hourly: priced.as_ref().ok().map(|p| p.0),
        verified: priced.is_ok_and(|p| p.1),
        idle: false,
        idle_timeout: None,
        next: None,
        unknown,
    }
}
