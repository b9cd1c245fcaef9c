//! Samples a command's process group until it ends, and writes the report beside it; without a command only
//! the report of what is there.
//!
//! `cargo run --release -p kennel-profiler --example profile -- [--interval MS] FOLDER [COMMAND …]`

fn main() -> anyhow::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
mod linux {
    pub(super) fn main() -> anyhow::Result<()> {
        anyhow::bail!("not implemented on this system")
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::unix::process::CommandExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use anyhow::{Context, Result};
    use kennel_profiler::{About, Analysis, Instance, Sampler, SystemWriter};

    #[expect(clippy::disallowed_methods, reason = "an example is an edge that reads the clock")]
    fn now_ms() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Nanoseconds of processor time that this thread has had.
    fn own_time() -> u64 {
        std::fs::read_to_string("/proc/thread-self/schedstat")
            .ok()
            .and_then(|text| text.split(' ').next()?.parse().ok())
            .unwrap_or(0)
    }

    pub(super) fn main() -> Result<()> {
        let mut words = std::env::args().skip(1).peekable();
        let mut interval = 500;
        if words.peek().is_some_and(|word| word == "--interval") {
            words.next();
            interval = words.next().context("--interval takes milliseconds")?.parse()?;
        }
        let folder =
            PathBuf::from(words.next().context("usage: [--interval MS] FOLDER [COMMAND …]")?);
        let started = now_ms();
        let Some(program) = words.next() else {
            return report(&folder, about("recorded before".to_owned(), "-".to_owned(), started));
        };
        let mut child = Command::new(&program)
            .args(words)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run `{program}`"))?;
        let process_group = i32::try_from(child.id())?;
        let instance = Instance { host: "algo-1".to_owned(), process_group };
        let mut sampler = Sampler::new(vec![instance]);
        let mut writer = SystemWriter::create(&folder)?;
        let (began, mut samples) = (own_time(), 0u64);
        let mut next = Instant::now();
        let status = loop {
            writer.write(&sampler.sample(now_ms()))?;
            samples += 1;
            next += Duration::from_millis(interval);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if let Some(status) = child.try_wait()? {
                break status;
            }
        };
        writer.flush()?;
        let spent = own_time().saturating_sub(began) as f64 / 1e6;
        eprintln!(
            "{samples} samples, {:.3} ms of processor time each, {:.2} % of a core",
            spent / samples as f64,
            spent / now_ms().saturating_sub(started).max(1) as f64 * 100.0
        );
        report(&folder, about(program, status.to_string(), started))
    }

    fn about(job: String, status: String, started_ms: u64) -> About {
        About {
            job,
            instance_type: "local".to_owned(),
            instances: 1,
            started_ms,
            ended_ms: now_ms(),
            status,
            facts: Vec::new(),
        }
    }

    fn report(folder: &Path, about: About) -> Result<()> {
        let began = Instant::now();
        Analysis::read(folder)?.write_rule_output(&folder.join("rule-output"), &about)?;
        eprintln!(
            "report: {} (made in {:.0} ms)",
            folder.join("rule-output/profiler-output/profiler-report.html").display(),
            began.elapsed().as_secs_f64() * 1000.0
        );
        Ok(())
    }
}
