//! `kennel train --instances N`, `--hosts a:1,b:1`: several processes that train one model.
//!
//! With MPI (the library beside the binary and Open MPI's `mpirun`) this command becomes the launcher's parent,
//! and N times `kennel train` train data-parallel. Without, N children each put the features of their share into the
//! common cache, and this process trains the head from it: the features are where the time goes
//! (docs/adr/0016).

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use kennel_train::collective::{self, World};
use kennel_train::job::{self, JobError, JobEvent, JobOptions};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::output::{self, Progress, line};

/// Instances on one machine; more would be a mistake in typing.
const MOST: usize = 256;

/// How long the others may take to end after one was lost, before they are killed.
const GRACE: Duration = Duration::from_secs(2);

/// How long the launcher may take to end after an instance has ended all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Options of several instances.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InstanceArguments {
    /// Instances that train one model together; `--threads` are divided between them [default: 1]
    #[arg(long, value_name = "N")]
    pub instances: Option<usize>,
    /// Machines with the instances on each, over MPI: photos, `kennel` and its cache at the same paths
    #[arg(long, value_name = "HOST:N,…", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// This process is the child with this number, from 0.
    #[arg(long, hide = true)]
    instance: Option<usize>,
}

/// What this process is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// One that trains: alone, or as what a launcher made it.
    Trainer,
    /// The one that starts this many.
    Parent(usize),
    /// A child that computes the features of its share.
    Share {
        /// Its number, from 0.
        rank: usize,
        /// Children.
        size: usize,
    },
}

impl InstanceArguments {
    /// What this process is to be.
    pub(crate) fn role(&self) -> anyhow::Result<Role> {
        let of_hosts = self.hosts_size()?;
        let size = match (self.instances, of_hosts) {
            (Some(asked), Some(found)) if asked != found => {
                return Err(output::usage(format!(
                    "`--instances {asked}` was asked for, but `--hosts` has places for {found}\nhint: leave `--instances` out"
                )));
            }
            (asked, found) => asked.or(found).unwrap_or(1),
        };
        if !(1..=MOST).contains(&size) {
            return Err(output::usage(format!("`{size}` instances are not between 1 and {MOST}")));
        }
        Ok(match self.instance {
            Some(rank) if rank < size => Role::Share { rank, size },
            Some(_) => return Err(output::usage("there is no such instance")),
            None if World::is_launched() || std::env::var_os(PARENT).is_some() => Role::Trainer,
            None if size == 1 && of_hosts.is_none() => Role::Trainer,
            None => Role::Parent(size),
        })
    }

    /// Places on all hosts.
    fn hosts_size(&self) -> anyhow::Result<Option<usize>> {
        let mut size = 0usize;
        for host in &self.hosts {
            let (name, places) = host.rsplit_once(':').unwrap_or((host, "1"));
            // What starts with a dash would be an option of the launcher.
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            let places = places.parse().ok().filter(|n| (1..=MOST).contains(n));
            let (Some(places), false, true) =
                (places, name.is_empty() || name.starts_with('-'), name.chars().all(plain))
            else {
                return Err(output::usage(format!(
                    "`{host}` is no host with its number of instances\nhint: `--hosts first:1,second:1`"
                )));
            };
            size = size.saturating_add(places);
        }
        Ok((!self.hosts.is_empty()).then_some(size))
    }
}

/// This process's share of the machine's workers.
pub(crate) fn workers(all: usize, rank: usize, size: usize) -> usize {
    (all / size + usize::from(rank < all % size)).max(1)
}

/// Starts the instances. `Some(())` when they have done everything; `None` when the features are in the cache, and
/// the caller is to train from it.
pub(crate) fn start(
    arguments: &InstanceArguments,
    size: usize,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Option<()>> {
    if let Some(library) = mpi()? {
        run_mpi(arguments, size, &library, stop)?;
        return Ok(Some(()));
    }
    if !arguments.hosts.is_empty() {
        return Err(output::usage(
            "`--hosts` needs MPI, and the library for it or Open MPI's `mpirun` is not there\nhint: install Open MPI, then `cargo build --release -p kennel-mpi --features mpi`; the library goes beside `kennel`",
        ));
    }
    tracing::info!(
        "no MPI here: {size} instances share the features, and the head is trained by one"
    );
    let begun = Instant::now();
    let computed = share_features(size, stop)?;
    let seconds = begun.elapsed().as_secs_f64();
    tracing::info!("{size} instances computed {computed} feature vectors in {seconds:.1} s");
    Ok(None)
}

/// The library, where Open MPI's launcher is there too.
fn mpi() -> anyhow::Result<Option<std::path::PathBuf>> {
    let Some(library) = collective::find_plugin()? else { return Ok(None) };
    let version = Command::new("mpirun").arg("--version").stdin(Stdio::null()).output();
    let is_open_mpi = version.is_ok_and(|o| {
        o.status.success() && String::from_utf8_lossy(&o.stdout).contains("Open MPI")
    });
    if !is_open_mpi {
        tracing::warn!("`{}` is there, but no `mpirun` of Open MPI", library.display());
    }
    Ok(is_open_mpi.then_some(library))
}

/// Runs this same command as ranks under mpirun.
fn run_mpi(
    arguments: &InstanceArguments,
    size: usize,
    library: &std::path::Path,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new("mpirun");
    if rustix::process::geteuid().is_root() {
        command.arg("--allow-run-as-root");
    }
    // Every instance has threads of its own; bound to one core they would share it.
    command.args(["--bind-to", "none", "-n", &size.to_string()]);
    if arguments.hosts.is_empty() {
        // The number of places is what was asked for, not what the machine seems to have.
        command.arg("--oversubscribe");
        if size > kennel_infer::pipeline::cores() {
            // Ranks that wait would otherwise keep a core from those that work.
            command.args(["--mca", "mpi_yield_when_idle", "1"]);
        }
    } else {
        command.args(["--host", &arguments.hosts.join(",")]);
        // Processes elsewhere get the launcher's own variables only.
        let ours = std::env::vars().map(|(name, _)| name).filter(|n| n.starts_with("KENNEL_"));
        let all: std::collections::BTreeSet<String> =
            ours.chain(["KENNEL_MPI", PARENT].map(String::from)).collect();
        for name in &all {
            command.args(["-x", name]);
        }
    }
    command.arg(program).args(std::env::args_os().skip(1)).env("KENNEL_MPI", library);
    // The launcher hands its input to the first rank, which ends with it: nothing outlives this process.
    command.env(PARENT, "1").stdin(Stdio::piped());
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let aborted = folder.path().join("aborted");
    command.env(collective::ABORTED, &aborted);
    // A group of its own, so that it can be ended with what it has started here.
    let mut child = command.process_group(0).spawn().context("cannot start `mpirun`")?;
    let mut told = false;
    let mut ending: Option<Instant> = None;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.load(Relaxed) && !told {
            told = true;
            signal(&child, Signal::TERM);
        }
        if aborted.exists() && ending.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            // The instances have ended; the launcher waits for hosts that it cannot reach.
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            break child.wait()?;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if stop.load(Relaxed) {
        let state = "the instances were told to keep their state".to_owned();
        return Err(JobError::Interrupted { state }.into());
    }
    if status.success() {
        return Ok(());
    }
    anyhow::bail!(
        "the {size} instances ended with {}; what one of them or mpirun said above is the cause\nhint: run the same command again to go on from the cache and the checkpoint",
        ended(status)
    )
}

/// Set for processes that have a parent of this kind, which holds their standard input open while it lives.
const PARENT: &str = "KENNEL_PARENT";

/// Where this process was started by [`run_mpi`] or [`share_features`]: stops when the parent is gone.
pub(crate) fn stop_with_parent(stop: &Arc<AtomicBool>) {
    if std::env::var_os(PARENT).is_none() {
        return;
    }
    // Under mpirun the first rank only has the parent's input; that of the others ends at once.
    let rank = std::env::var("OMPI_COMM_WORLD_RANK").unwrap_or_default();
    if !rank.is_empty() && rank != "0" {
        return;
    }
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut sink = [0; 64];
        while std::io::stdin().read(&mut sink).is_ok_and(|n| n > 0) {}
        stop.store(true, Relaxed);
    });
}

/// What a child is, for messages.
fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // One that has just ended is not there to be told.
        let _ = kill_process(pid, signal);
    }
}

/// A child and how far it is.
struct Sharer {
    child: Child,
    done: usize,
    total: usize,
    ended: bool,
}

/// Children that are ended when this goes, whatever the way.
struct Sharers(Vec<Sharer>);

impl Sharers {
    /// Tells all that are left to end, and kills those that do not.
    fn end(&mut self) {
        for sharer in self.0.iter().filter(|s| !s.ended) {
            signal(&sharer.child, Signal::TERM);
        }
        let begun = Instant::now();
        for sharer in self.0.iter_mut().filter(|s| !s.ended) {
            while begun.elapsed() < GRACE && matches!(sharer.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = sharer.child.kill();
            let _ = sharer.child.wait();
            sharer.ended = true;
        }
    }
}

impl Drop for Sharers {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs N children that put the features of their shares into the cache, and answers how many that were.
fn share_features(size: usize, stop: &Arc<AtomicBool>) -> anyhow::Result<usize> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let (sender, reports) = channel();
    let mut sharers = Sharers(Vec::with_capacity(size));
    for rank in 0..size {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1)).arg(format!("--instance={rank}"));
        command.env(PARENT, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        if std::env::var_os("KENNEL_LOG").is_none() {
            command.env("KENNEL_LOG", "warn,s3s=off");
        }
        let mut child = command.spawn().context("cannot start an instance")?;
        if let Some(output) = child.stdout.take() {
            let sender = sender.clone();
            std::thread::spawn(move || listen(rank, BufReader::new(output), &sender));
        }
        sharers.0.push(Sharer { child, done: 0, total: 0, ended: false });
    }
    drop(sender);
    let mut bar: Option<Progress> = None;
    let mut open = true;
    while sharers.0.iter().any(|s| !s.ended) {
        match reports.recv_timeout(Duration::from_millis(50)) {
            Ok((rank, done, total)) => {
                (sharers.0[rank].done, sharers.0[rank].total) = (done, total);
                let done: usize = sharers.0.iter().map(|s| s.done).sum();
                let total: usize = sharers.0.iter().map(|s| s.total).sum();
                let bar = bar.get_or_insert_with(|| Progress::start("features", total));
                bar.grow(total);
                bar.set(done);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // All outputs are closed; the ends of the processes follow.
            Err(RecvTimeoutError::Disconnected) if open => open = false,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if stop.load(Relaxed) {
            sharers.end();
            let state = "the features so far are cached".to_owned();
            return Err(JobError::Interrupted { state }.into());
        }
        for (rank, sharer) in sharers.0.iter_mut().enumerate().filter(|(_, s)| !s.ended) {
            let Some(status) = sharer.child.try_wait()? else { continue };
            sharer.ended = true;
            if !status.success() {
                anyhow::bail!(
                    "instance {} of {size} ended with {} in the features phase\nhint: run the same command again; what was computed is in the cache",
                    rank + 1,
                    ended(status)
                );
            }
        }
    }
    if let Some(bar) = bar {
        bar.finish();
    }
    // What was said last may have come after its child's end.
    for (rank, done, _) in reports {
        sharers.0[rank].done = done;
    }
    Ok(sharers.0.iter().map(|s| s.done).sum())
}

/// Passes a child's reports on: lines of two numbers.
fn listen(rank: usize, output: impl BufRead, to: &Sender<(usize, usize, usize)>) {
    for text in output.lines() {
        let Ok(text) = text else { return };
        let mut numbers = text.split_whitespace().map(str::parse);
        if let (Some(Ok(done)), Some(Ok(total)), None) =
            (numbers.next(), numbers.next(), numbers.next())
            && to.send((rank, done, total)).is_err()
        {
            return;
        }
    }
}

/// The work of a child of [`share_features`].
pub(crate) fn share(
    options: &JobOptions,
    rank: usize,
    size: usize,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    stop_with_parent(stop);
    let mut last: Option<Instant> = None;
    job::share_features(options, (rank, size), stop, &mut |event| match event {
        JobEvent::Extracting { done, total } => {
            let due = last.is_none_or(|at| at.elapsed() >= Duration::from_millis(100));
            if due || done == total {
                last = Some(Instant::now());
                line(format!("{done} {total}"));
            }
        }
        JobEvent::Warning(text) => tracing::warn!("{text}"),
        _ => {}
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(instances: Option<usize>, hosts: &[&str]) -> anyhow::Result<Role> {
        let hosts = hosts.iter().map(|h| (*h).to_owned()).collect();
        InstanceArguments { instances, hosts, instance: None }.role()
    }

    #[test]
    fn numbers_and_hosts_agree_or_are_refused() {
        assert_eq!(of(None, &[]).unwrap(), Role::Trainer);
        assert_eq!(of(Some(1), &[]).unwrap(), Role::Trainer);
        assert_eq!(of(Some(3), &[]).unwrap(), Role::Parent(3));
        assert_eq!(of(None, &["a:2", "b"]).unwrap(), Role::Parent(3));
        assert_eq!(of(Some(3), &["a:2", "10.0.0.7:1"]).unwrap(), Role::Parent(3));
        // One instance on another machine still needs the launcher.
        assert_eq!(of(None, &["far:1"]).unwrap(), Role::Parent(1));
        for (instances, hosts) in [
            (Some(2), &["a:1"][..]),
            (Some(0), &[]),
            (Some(100_000), &[]),
            (None, &["--mca:1"]),
            (None, &["a;rm:1"]),
            (None, &[":1"]),
            (None, &["a:0"]),
            (None, &["a:x"]),
        ] {
            assert!(of(instances, hosts).is_err(), "{instances:?} {hosts:?}");
        }
    }

    #[test]
    fn workers_are_divided_without_rest() {
        for (all, size) in [(8, 2), (7, 3), (2, 2), (16, 5)] {
            let shares: Vec<usize> = (0..size).map(|rank| workers(all, rank, size)).collect();
            assert_eq!(shares.iter().sum::<usize>(), all, "{shares:?}");
        }
        // Everybody gets one, also where there are too few.
        assert_eq!((0..3).map(|rank| workers(1, rank, 3)).sum::<usize>(), 3);
    }

    #[test]
    fn reports_are_two_numbers() {
        let (sender, reports) = channel();
        let text = "3 40\nno numbers\n4 40 9\n5 40\n";
        listen(1, text.as_bytes(), &sender);
        drop(sender);
        assert_eq!(reports.iter().collect::<Vec<_>>(), [(1, 3, 40), (1, 5, 40)]);
    }
}
