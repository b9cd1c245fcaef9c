//! The platform from outside: the official clients' flows (tests/flows), our own command line, and what
//! `kill -9` leaves.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::{Home, PATIENCE, Ran, children, draw, trained};

/// A running `kennel up`.
struct Platform {
    home: Home,
    server: Child,
    url: String,
}

impl Platform {
    fn start() -> Platform {
        Platform::start_in(Home::new())
    }

    fn start_in(home: Home) -> Platform {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(home.path("server.log"))
            .unwrap();
        let mut server = home
            .kennel()
            .args(["up", "--port", "0", "--data-dir", "platform"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let url = first_line(&mut server);
        assert!(url.starts_with("http://127.0.0.1:"), "`{url}`\n{}", log_of(&home));
        Platform { home, server, url }
    }

    /// One whose functions run with the tests' Python, and whose asynchronous retries do not wait for minutes.
    fn with_functions() -> Platform {
        let home = Home::new();
        let folder = home.path("platform");
        std::fs::create_dir_all(&folder).unwrap();
        let mut config = "[lambda]\nretry_wait_scale = 0.01\n".to_owned();
        if let Some(python) = std::env::var("KENNEL_TEST_PYTHON").ok().filter(|p| !p.is_empty()) {
            config.push_str(&format!("[runtimes.python]\npython = \"{python}\"\n"));
        }
        std::fs::write(folder.join("kennel.toml"), config).unwrap();
        Platform::start_in(home)
    }

    /// The same data folder, after the server ended.
    fn restart(mut self) -> Platform {
        let _ = self.server.wait();
        let home = std::mem::replace(&mut self.home, Home::new());
        Platform::start_in(home)
    }

    fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    fn kennel(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.kennel();
        command.args(arguments).env("KENNEL_DATA_DIR", self.home.path("platform"));
        for name in ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "PYTHONPATH"] {
            command.env_remove(name);
        }
        // `kennel env --install` writes there.
        command.env("HOME", self.home.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.kennel(arguments))
    }

    /// Runs a flow of tests/flows in the environment that `kennel env --install` gives a shell.
    fn flow(&self, name: &str, photos: Option<&Path>) {
        let Some(python) = std::env::var_os("KENNEL_TEST_PYTHON").filter(|p| !p.is_empty()) else {
            eprintln!("SKIPPED: KENNEL_TEST_PYTHON names no Python with boto3 and sagemaker");
            return;
        };
        let flows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/flows");
        self.run(&["env", "--install"]).ok();
        let exports = self.run(&["env", "--json"]).ok().json();
        let mut command = Command::new(python);
        command.arg(flows.join(format!("{name}.py"))).env("HOME", self.home.folder.path());
        for (variable, value) in exports.as_object().unwrap() {
            command.env(variable, value.as_str().unwrap());
        }
        if let Some(photos) = photos {
            command.env("FLOW_PHOTOS", photos);
        }
        command
            .env("KENNEL_BIN", env!("CARGO_BIN_EXE_kennel"))
            .env("KENNEL_DATA_DIR", self.home.path("platform"))
            .env("FLOW_DATA", self.home.path("platform"))
            .env("FLOW_ENDPOINT", "dogs");
        let ran = Ran::of(&mut command);
        assert_eq!(ran.code, Some(0), "{name}:\n{}\n{}\n{}", ran.out, ran.err, log_of(&self.home));
    }

    #[track_caller]
    fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "not in time: {what}\n{}", log_of(&self.home));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn job(&self, name: &str) -> Value {
        self.run(&["job", "show", name, "--json"]).ok().json()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn first_line(server: &mut Child) -> String {
    use std::io::BufRead as _;
    let mut line = String::new();
    std::io::BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn log_of(home: &Home) -> String {
    std::fs::read_to_string(home.path("server.log")).unwrap_or_default()
}

#[test]
fn s3_by_boto3_and_the_aws_command_line() {
    Platform::start().flow("s3", None);
}

#[test]
fn identities_by_boto3() {
    Platform::start().flow("identity", None);
}

#[test]
fn who_may_do_what_by_boto3() {
    Platform::start().flow("access", None);
}

#[test]
fn functions_by_boto3() {
    Platform::with_functions().flow("functions", None);
}

#[test]
fn an_accepted_event_survives_kill_9() {
    let mut platform = Platform::with_functions();
    platform.flow("events_before", None);
    platform.kill();
    let platform = platform.restart();
    platform.flow("events_after", None);
}

#[test]
fn the_courses_function_is_refused_explained_allowed_and_narrowed() {
    let platform = Platform::with_functions();
    platform.run(&["deploy", &trained().model(), "--name", "dogs"]).ok();
    let photos = trained().home.path("photos");
    platform.flow("course", Some(&photos));
}

#[test]
fn an_endpoint_scales_is_deployed_to_and_costs_by_boto3() {
    let platform = Platform::start();
    platform.run(&["deploy", &trained().model(), "--name", "dogs"]).ok();
    let photos = trained().home.path("photos");
    platform.flow("scaling", Some(&photos));
}

#[test]
fn photos_to_an_endpoint_by_boto3() {
    let platform = Platform::start();
    let photos = platform.home.path("photos");
    draw(&photos, 6, 2, 2);
    platform.flow("native", Some(&photos));
}

#[test]
fn debugger_and_profiler_by_boto3() {
    let platform = Platform::start();
    let photos = platform.home.path("photos");
    draw(&photos, 6, 2, 2);
    platform.flow("observed", Some(&photos));
}

#[test]
fn several_instances_by_boto3() {
    let platform = Platform::start();
    let photos = platform.home.path("photos");
    draw(&photos, 6, 2, 2);
    platform.flow("instances", Some(&photos));
}

#[test]
fn tuning_jobs_by_boto3() {
    let platform = Platform::start();
    let photos = platform.home.path("photos");
    draw(&photos, 6, 2, 2);
    platform.flow("tuning", Some(&photos));
}

#[test]
fn a_tuning_job_goes_on_after_kill_9_with_the_trials_it_had() {
    let mut platform = Platform::start();
    let photos = platform.home.path("photos");
    draw(&photos, 6, 2, 2);
    platform.flow("tuning_before", Some(&photos));
    platform.kill();
    let platform = platform.restart();
    platform.flow("tuning_after", None);
}

#[test]
fn the_sagemaker_sdk_as_it_is() {
    Platform::start().flow("sdk", None);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_with_the_first_ones_pid() {
    let platform = Platform::start();
    let second = platform.run(&["up", "--port", "0"]);
    assert_ne!(second.code, Some(0));
    assert!(second.err.contains(&format!("pid {}", platform.server.id())), "{}", second.err);
    let status = platform.run(&["status", "--json"]).ok().json();
    assert_eq!(status["url"], platform.url.as_str(), "{status}");
    platform.run(&["down"]).ok();
    assert!(platform.run(&["down"]).ok().out.contains("nothing runs"));
    let without = platform.run(&["job", "ls"]);
    assert!(without.err.contains("kennel up"), "{}", without.err);
}

#[test]
fn a_standalone_model_is_deployed_and_called_by_one_command_each() {
    let platform = Platform::start();
    let model = trained().model();
    let photos = trained().photos("test");
    let photo = crate::support::files(&photos, ".jpg")[0].display().to_string();
    platform.run(&["deploy", &model, "--name", "dogs"]).ok();
    let said = platform.run(&["invoke", "dogs", &photo, "--json"]).ok();
    let direct = trained().home.run(&["predict", &model, &photo, "--json"]).ok();
    let class = photos_class(&photo);
    assert!(said.out.contains(&class) && direct.out.contains(&class), "{}", said.out);
    let listed = platform.run(&["endpoint", "ls", "--json"]).ok();
    assert!(listed.out.contains("InService"), "{}", listed.out);
    let unknown = platform.run(&["invoke", "cats", &photo]);
    assert!(unknown.err.contains("not found"), "{}", unknown.err);
}

/// The class of a drawn photo is in the classes that are answered, under its display name or its own.
fn photos_class(photo: &str) -> String {
    let folder = Path::new(photo).parent().unwrap().file_name().unwrap();
    let name = folder.to_str().unwrap();
    name.rsplit('.').next().unwrap_or(name).split(['_', '-']).next().unwrap().to_owned()
}

#[test]
fn a_job_survives_kill_9_of_the_server_and_an_endpoint_comes_back() {
    let mut platform = Platform::start();
    let photos = platform.home.path("photos");
    draw(&photos, 6, 2, 2);
    let model = trained().model();
    platform.run(&["deploy", &model, "--name", "dogs"]).ok();
    let data = photos.join("train").display().to_string();
    // Many epochs on few photos: long enough to be killed in the middle, each step tiny.
    platform
        .run(&[
            "job",
            "start",
            "long",
            "--data",
            &data,
            "-H",
            "epochs=4000",
            "-H",
            "batch_size=8",
            "-H",
            "early_stopping=0",
        ])
        .ok();
    let server = platform.server.id();
    let before = platform.eventually("the job trains", || {
        let job = platform.job("long");
        let instances = children(server);
        (job["SecondaryStatus"] == "Training" && instances.len() >= 2).then_some(instances)
    });
    platform.kill();
    // Nothing that the server started outlives it.
    platform.eventually("the instances are gone", || {
        before.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    let platform = platform.restart();
    let job = platform.eventually("the job is over", || {
        let job = platform.job("long");
        (job["TrainingJobStatus"] != "InProgress").then_some(job)
    });
    assert_eq!(job["TrainingJobStatus"], "Completed", "{job}");
    let steps = job["SecondaryStatusTransitions"].as_array().unwrap();
    let again = steps.iter().any(|s| s["StatusMessage"].as_str().unwrap().contains("again"));
    assert!(again, "the job was not interrupted: {job}");
    let archive = job["ModelArtifacts"]["S3ModelArtifacts"].as_str().unwrap();
    let back = platform.home.path("back.tar.gz").display().to_string();
    platform.run(&["bucket", "cp", archive, &back]).ok();
    assert!(std::fs::metadata(&back).unwrap().len() > 1000);
    let photo = crate::support::files(&trained().photos("test"), ".jpg")[0].display().to_string();
    platform.eventually("the endpoint serves again", || {
        (platform.run(&["invoke", "dogs", &photo]).code == Some(0)).then_some(())
    });
}

#[test]
fn an_upload_cut_by_kill_9_leaves_nothing_and_loses_nothing() {
    let mut platform = Platform::start();
    platform.run(&["bucket", "mb", "cut"]).ok();
    let small = platform.home.path("small");
    std::fs::write(&small, b"acknowledged").unwrap();
    let small = small.display().to_string();
    platform.run(&["bucket", "cp", &small, "s3://cut/kept"]).ok();
    let large: PathBuf = platform.home.path("large");
    std::fs::File::create(&large).unwrap().set_len(512 << 20).unwrap();
    let large = large.display().to_string();
    let mut upload = platform.kennel(&["bucket", "cp", &large, "s3://cut/large"]);
    let mut upload = upload.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Cut it once bytes of it have arrived.
    let objects = platform.home.path("platform/objects");
    platform.eventually("the upload has begun", || {
        let arrived = crate::support::files(&objects, "");
        let bytes: u64 = arrived.iter().filter_map(|f| Some(f.metadata().ok()?.len())).sum();
        (bytes > 1 << 20).then_some(())
    });
    platform.kill();
    let _ = upload.kill();
    let _ = upload.wait();
    let platform = platform.restart();
    let listed = platform.run(&["bucket", "ls", "s3://cut", "--json"]).ok();
    assert!(listed.out.contains("kept") && !listed.out.contains("large"), "{}", listed.out);
    let back = platform.home.path("back").display().to_string();
    platform.run(&["bucket", "cp", "s3://cut/kept", &back]).ok();
    assert_eq!(std::fs::read(&back).unwrap(), b"acknowledged");
    platform.run(&["bucket", "cp", &large, "s3://cut/large"]).ok();
}

#[test]
fn the_script_toolkits_own_tests_pass() {
    let configured = std::env::var_os("KENNEL_TEST_PYTHON").filter(|p| !p.is_empty());
    let python = configured.unwrap_or_else(|| "python3".into());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/python");
    let mut command = Command::new(python);
    command.args(["-m", "unittest", "discover"]).current_dir(folder);
    let ran = Ran::of(&mut command);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
}
