//! The conformance suite on everything that implements the trait, and what happens when an instance is lost:
//! the last two need a launcher and the library, and say so where these are missing.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::environment::{Launcher, launcher};
use super::testing::{conform, ranks};
use super::*;

#[test]
fn one_process_conforms() {
    conform(&Single);
}

#[test]
fn threads_conform() {
    for size in [1, 2, 3, 5] {
        ranks(size, |collective| conform(&**collective));
    }
}

#[test]
fn a_launcher_is_known_by_its_variables() {
    let of = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        launcher(move |name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    };
    let sized = |n| Some(Launcher { size: Some(n) });
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[("OMPI_COMM_WORLD_SIZE", "4"), ("PMIX_RANK", "1")]), sized(4));
    assert_eq!(of(&[("PMI_SIZE", "2"), ("PMI_RANK", "0")]), sized(2));
    assert_eq!(of(&[("PMIX_RANK", "0")]), Some(Launcher { size: None }));
    assert_eq!(of(&[("PMIX_RANK", "0"), ("SLURM_STEP_NUM_TASKS", "1")]), sized(1));
    // A script in a Slurm allocation is no instance of several.
    assert_eq!(of(&[("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")]), None);
    assert_eq!(of(&[("OMPI_COMM_WORLD_SIZE", "many")]), None);
}

/// A collective that never answers; aborting it ends the thread that does so.
#[derive(Debug, Default)]
struct Stuck {
    aborted: AtomicBool,
}

impl Collective for Stuck {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        2
    }
    fn all_reduce_sum(&self, _: &mut [f32]) -> Result<(), CollectiveError> {
        while !self.aborted.load(Relaxed) {
            std::thread::yield_now();
        }
        Ok(())
    }
    fn broadcast(&self, _: &mut [f32], _: usize) -> Result<(), CollectiveError> {
        Ok(())
    }
    fn barrier(&self) -> Result<(), CollectiveError> {
        Ok(())
    }
    fn abort(&self, _: i32) -> ! {
        self.aborted.store(true, Relaxed);
        panic!("aborted, as it is to be")
    }
}

#[test]
fn the_watchdog_ends_what_is_stuck_and_nothing_else() {
    let stuck = Arc::new(Stuck::default());
    let limit = Duration::from_millis(150);
    let watchdog = Watchdog::new(Arc::clone(&stuck) as _, limit).unwrap();
    // Many short operations over more than the limit are no reason.
    let begun = Instant::now();
    while begun.elapsed() < 2 * limit {
        watchdog.barrier().unwrap();
    }
    assert!(!stuck.aborted.load(Relaxed));
    let begun = Instant::now();
    watchdog.all_reduce_sum(&mut [1.0]).unwrap();
    assert!(stuck.aborted.load(Relaxed) && begun.elapsed() >= limit);
}

#[test]
fn ranks_stay_in_touch_over_work_of_different_lengths() {
    let quiet = AtomicBool::new(false);
    let seen = ranks(3, |collective| {
        let rank = collective.rank();
        let mut waited = 0;
        let outcome = alongside(
            &**collective,
            &quiet,
            Box::new(move |progress, _| {
                for done in 0..=rank * 5 {
                    progress.report(done, rank * 5);
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok::<_, ()>(progress.all().1)
            }),
            &mut |_| waited += 1,
        );
        (outcome.unwrap().unwrap(), waited)
    });
    assert!(seen[0].1 > 0, "the first waits for the others");
    assert_eq!(seen[2].0, 15, "totals are those of all ranks");
}

#[test]
fn a_stop_of_one_is_a_stop_of_all() {
    let outcomes = ranks(3, |collective| {
        let stop = AtomicBool::new(collective.rank() == 1);
        alongside(
            &**collective,
            &stop,
            Box::new(|_, halt| {
                let begun = Instant::now();
                while !halt.load(Relaxed) {
                    assert!(begun.elapsed() < Duration::from_secs(20), "nobody told this rank");
                    std::thread::yield_now();
                }
                Err::<(), _>("stopped")
            }),
            &mut |_| {},
        )
    });
    assert!(outcomes.into_iter().all(|o| o.unwrap() == Err("stopped")));
}

/// The MPI library and mpirun, where both are there.
fn mpi() -> Option<PathBuf> {
    let plugin = find_plugin().unwrap().or_else(|| {
        // Tests live in `deps`, the library beside the binary.
        let folder = std::env::current_exe().ok()?.parent()?.parent()?.to_owned();
        let file = folder.join("libkennel_mpi.so");
        (file.is_file() && super::plugin::has_mpi(&file)).then_some(file)
    });
    let found = plugin.filter(|_| Command::new("mpirun").arg("--version").output().is_ok());
    if found.is_none() {
        eprintln!("skipped: needs mpirun and a libkennel_mpi.so built with the feature `mpi`");
    }
    found
}

/// Runs one of the ignored tests below as ranks under mpirun.
fn mpirun(plugin: &PathBuf, ranks: usize, test: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("mpirun");
    // As root inside containers, where tests often run.
    command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n"]);
    command.arg(ranks.to_string()).arg(std::env::current_exe().unwrap());
    command.args([&format!("collective::tests::{test}"), "--exact", "--ignored", "--nocapture"]);
    command.args(["--test-threads", "1"]);
    command.env("KENNEL_MPI", plugin).envs(variables.iter().copied());
    command.output().unwrap()
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Median time of a sum over the gradients of a linear head on 2,048 features and 133 classes.
fn reduction(collective: &dyn Collective) -> Duration {
    let mut values = vec![1e-3; 2049 * 133 + 3];
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            collective.barrier().unwrap();
            let begun = Instant::now();
            collective.all_reduce_sum(&mut values).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
#[ignore = "a rank: `mpi_conforms` runs it under mpirun"]
fn rank_conforms() {
    let world = World::from_environment(None).unwrap();
    let done = world.run(
        |_: &()| 1,
        |collective| {
            conform(&**collective);
            let apart = crate::head::team_tests::equality(&**collective);
            assert!(apart <= 1e-5, "{apart}");
            let took = reduction(&**collective);
            // In one piece: mpirun mixes what the ranks write at the same time.
            let text = format!(
                "rank {} of {} conforms; weights are {apart:e} from those of one, a sum of 272,520 takes {took:?}\n",
                collective.rank(),
                collective.size()
            );
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            Ok(())
        },
    );
    done.unwrap();
}

#[test]
fn mpi_conforms() {
    let Some(plugin) = mpi() else { return };
    for size in [2, 3] {
        let output = mpirun(&plugin, size, "rank_conforms", &[]);
        assert!(output.status.success(), "{}", shown(&output));
        let text = shown(&output);
        assert_eq!(text.matches(&format!("of {size} conforms")).count(), size, "{text}");
    }
}

#[test]
#[ignore = "a rank: `a_lost_rank_ends_all` runs it under mpirun"]
fn rank_is_lost() {
    let world = World::from_environment(None).unwrap();
    let how = std::env::var("KENNEL_TEST_LOST").unwrap();
    let outcome = world.run(
        |error: &String| {
            eprintln!("error: {error}");
            7
        },
        |collective| {
            collective.barrier().unwrap();
            if collective.rank() == 1 {
                match how.as_str() {
                    "panic" => panic!("lost by a panic"),
                    "error" => return Err("lost by an error".to_owned()),
                    "exit" => std::process::exit(5),
                    "kill" => {
                        let own = std::process::id().to_string();
                        Command::new("kill").args(["-9", &own]).status().unwrap();
                    }
                    // Alive, but it never comes to the sum.
                    _ => std::thread::sleep(Duration::from_secs(600)),
                }
            }
            collective.all_reduce_sum(&mut [1.0]).unwrap();
            Ok(())
        },
    );
    outcome.unwrap();
}

#[test]
fn a_lost_rank_ends_all() {
    let Some(plugin) = mpi() else { return };
    for how in ["panic", "error", "exit", "kill", "stuck"] {
        let begun = Instant::now();
        let variables = [("KENNEL_TEST_LOST", how), ("KENNEL_COLLECTIVE_TIMEOUT", "1.5")];
        let output = mpirun(&plugin, 3, "rank_is_lost", &variables);
        let text = shown(&output);
        assert!(!output.status.success(), "{how}: {text}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(30), "{how} took {took:?}: {text}");
        let cause = match how {
            "panic" => "lost by a panic",
            "error" => "lost by an error",
            "exit" => "exit",
            "kill" => "signal 9",
            _ => "has waited 2 s for the others",
        };
        assert!(text.contains(cause), "{how}: {text}");
        eprintln!("{how}: {took:?}");
    }
}

#[test]
fn several_instances_without_the_library_are_refused() {
    let Some(plugin) = mpi() else { return };
    // Another MPI's launcher: it says 4, MPI knows of this process alone.
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["collective::tests::rank_conforms", "--exact", "--ignored", "--nocapture"]);
        command.env("KENNEL_MPI", &plugin).envs(variables.iter().copied());
        shown(&command.output().unwrap())
    };
    let text = run(&[("PMI_SIZE", "4"), ("PMI_RANK", "0")]);
    assert!(text.contains("WrongLauncher { said: 4, found: 1 }"), "{text}");
    let text = run(&[("OMPI_COMM_WORLD_SIZE", "2"), ("KENNEL_MPI", "/nowhere/lib.so")]);
    assert!(text.contains("Plugin") && text.contains("/nowhere/lib.so"), "{text}");
}
