//! Running `kennel` with a cache and data folder of its own, and what several tests need.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use kennel_train::samples::{SampleOptions, write_dataset};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes this long; it only ends a test that would hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A machine of a test's own: nothing is shared with other tests or with the user's folders.
pub(crate) struct Home {
    pub folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The binary with an environment that the caller's does not reach.
    pub(crate) fn kennel(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kennel"));
        for name in ["KENNEL_HUB", "KENNEL_ML_ROOT", "KENNEL_LOG", "SAGEMAKER_BIND_TO_PORT"] {
            command.env_remove(name);
        }
        command
            .env("KENNEL_CACHE", self.path("cache"))
            .env("KENNEL_DATA", self.path("data"))
            .env("KENNEL_ENGINE", "rten")
            .env("NO_COLOR", "1")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.kennel().args(arguments))
    }
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Ran {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// Itself, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// Draws `train`, `valid` and `test` pictures of each of the eight breeds.
pub(crate) fn draw(root: &Path, train: usize, valid: usize, test: usize) {
    let options = SampleOptions {
        train_per_class: train,
        valid_per_class: valid,
        test_per_class: test,
        size: 96,
        ..SampleOptions::default()
    };
    write_dataset(root, &options, &mut |_, _| {}).unwrap();
}

/// A model that one run made for all tests, and the photos it was trained on.
pub(crate) struct Trained {
    pub home: Home,
    pub log: Ran,
}

impl Trained {
    pub(crate) fn model(&self) -> String {
        self.home.path("model.tar.gz").display().to_string()
    }

    pub(crate) fn photos(&self, split: &str) -> PathBuf {
        self.home.path("photos").join(split)
    }
}

pub(crate) fn trained() -> &'static Trained {
    static TRAINED: OnceLock<Trained> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let home = Home::new();
        draw(&home.path("photos"), 6, 2, 2);
        let log = home.run(&["train", "photos", "--epochs", "8", "--batch-size", "8"]).ok();
        Trained { home, log }
    })
}

/// All files below a folder whose name ends so, sorted.
pub(crate) fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// metrics.json without what a machine, or a cache, is free to change.
pub(crate) fn lasting(mut metrics: Value) -> Value {
    let object = metrics.as_object_mut().unwrap();
    object.remove("seconds").unwrap();
    object.remove("features").unwrap();
    metrics
}

/// Processes whose parent is `pid`.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let after = stat.rsplit(')').next().unwrap_or_default();
            after.split_whitespace().nth(1) == Some(&pid.to_string())
        })
        .collect()
}

/// Polls the outside world until something is so; how long that takes proves nothing.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A command that runs while the test looks at its log; ended with the test at the latest. It cannot
/// run far ahead of what the test has read: the pipe fills up and it waits. So a test that acts on the
/// fifth of many lines acts in time, however busy the machine is.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::sync_channel(8);
        let log = Arc::new(Mutex::new(String::new()));
        let all = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut all = all.lock().unwrap();
                all.push_str(&line);
                all.push('\n');
                drop(all);
                let _ = sender.send(line);
            }
        });
        Running { child, lines, log }
    }

    /// The next line of the log that holds a text.
    #[track_caller]
    pub(crate) fn line_with(&self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(e) => panic!("no line with {text:?} ({e}): {}", self.log()),
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        // The pipe ends with the process; nobody else holds its other end.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break self.child.wait().unwrap(),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end: {}", self.log()),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that answers `/ping` with 200.
pub(crate) struct Server {
    pub process: Running,
    pub port: u16,
    agent: ureq::Agent,
}

impl Server {
    /// Starts `kennel serve …`, which has to be told to take a free port.
    pub(crate) fn start(command: &mut Command) -> Server {
        let process = Running::start(command);
        let line = process.line_with(" on http://");
        let port = line.rsplit(':').next().and_then(|p| p.trim().parse().ok());
        let port = port.unwrap_or_else(|| panic!("{line}"));
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let server = Server { process, port, agent };
        until("a healthy server", || {
            let url = format!("http://127.0.0.1:{port}/ping");
            server.agent.get(url).call().is_ok_and(|r| r.status().as_u16() == 200)
        });
        server
    }

    /// Logits of one photo.
    pub(crate) fn logits(&self, photo: &Path) -> Vec<f64> {
        let mut response = self
            .agent
            .post(format!("http://127.0.0.1:{}/invocations", self.port))
            .header("content-type", "image/jpeg")
            .send(std::fs::read(photo).unwrap().as_slice())
            .unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        assert_eq!(response.status().as_u16(), 200, "{text}");
        let rows: Vec<Vec<f64>> = serde_json::from_str(&text).unwrap();
        let [row] = <[_; 1]>::try_from(rows).unwrap();
        row
    }
}

#[track_caller]
pub(crate) fn assert_close(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (a, b) in found.iter().zip(wanted) {
        assert!((a - b).abs() <= tolerance, "{a} {b}\n{found:?}\n{wanted:?}");
    }
}
