//! What endpoints' instances use, as CloudWatch shows it: CPUUtilization (100 is one core) and
//! MemoryUtilization (of the machine), the average over a variant's instances, once a minute.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::sagemaker::Inner;

/// AWS publishes instance metrics every minute; sampling more often makes the minute's figures fair.
const PERIOD: Duration = Duration::from_secs(10);
const NAMESPACE: &str = "/aws/sagemaker/Endpoints";

/// Samples until `shutdown` turns true.
pub(in crate::sagemaker) async fn run(inner: Arc<Inner>, mut shutdown: watch::Receiver<bool>) {
    // Processor seconds of an instance's process at the last look.
    let mut before: HashMap<i32, f64> = HashMap::new();
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let elapsed = looked.elapsed().as_secs_f64();
        looked = Instant::now();
        let now = inner.clock.now();
        let mut seen = HashMap::new();
        for endpoint in inner.live.all() {
            for variant in endpoint.variants.iter().chain(&endpoint.shadows) {
                let dimensions =
                    [("EndpointName", endpoint.name.as_str()), ("VariantName", &variant.name)];
                for instance in variant.pool.status().instances {
                    let Some(pid) = instance.pid else { continue };
                    let cpu = instance.usage.cpu_seconds;
                    seen.insert(pid, cpu);
                    let memory = 100.0 * instance.usage.rss_bytes as f64
                        / inner.machine.memory_bytes.max(1) as f64;
                    inner.metrics.record(
                        NAMESPACE,
                        "MemoryUtilization",
                        &dimensions,
                        memory,
                        "Percent",
                        now,
                    );
                    if let Some(last) = before.get(&pid) {
                        let percent =
                            100.0 * (cpu - last).max(0.0) / elapsed.max(f64::MIN_POSITIVE);
                        inner.metrics.record(
                            NAMESPACE,
                            "CPUUtilization",
                            &dimensions,
                            percent,
                            "Percent",
                            now,
                        );
                    }
                }
            }
        }
        before = seen;
    }
}
