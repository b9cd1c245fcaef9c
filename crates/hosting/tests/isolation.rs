//! The walls around functions. Each attempt is made twice, without walls and within them, so that a
//! wall that is not there is seen, and an attempt that fails for another reason too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::path::PathBuf;

use kennel_hosting::function::{Environment, EnvironmentOptions, InitError};
use kennel_hosting::launch::{Isolation, Mount};
use support::function::{Event, PYTHON, environment, python, start};
use support::{DEADLINE, alive, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A function's folders, outside of /tmp because the function has its own.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["code", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("code/app.py"), "x = 1").unwrap();
        std::fs::write(folder.path().join("secret"), "the root's key").unwrap();
        Place { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn options(&self, isolation: Option<Isolation>) -> EnvironmentOptions {
        let mount = |name: &str, target: &str, read_only| Mount {
            source: self.folder.path().join(name),
            target: target.into(),
            read_only,
        };
        EnvironmentOptions {
            mounts: vec![mount("code", "/var/task", true), mount("tmp", "/tmp", false)],
            isolation,
            ..python("")
        }
    }
}

/// The walls as they are meant, with what the tests' runtime needs.
fn walls() -> Option<Isolation> {
    Some(Isolation {
        required: true,
        read: vec![
            PathBuf::from(&PYTHON.1),
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runtime.py").into(),
        ],
        write: Vec::new(),
        file_size: Some(512 << 20),
    })
}

/// Starts an environment, or says why this machine has none.
async fn begin(options: EnvironmentOptions) -> Option<Environment> {
    let environment = start(options).await;
    match environment.ready().await {
        Ok(_) => Some(environment),
        Err(InitError::Exited { .. }) => {
            let lines = environment.take_output();
            let last = lines.last().unwrap().text.clone();
            assert!(last.contains("the kernel refused to"), "{lines:?}");
            eprintln!("skipped: {last}");
            None
        }
        Err(other) => panic!("{other:?} {:?}", environment.take_output()),
    }
}

/// What an attempt says: its value, or the name of its error.
async fn attempt(environment: &Environment, expression: &str) -> String {
    let script = format!(
        r#"
import ctypes, errno, resource, ssl, tempfile
libc = ctypes.CDLL(None, use_errno=True)
def syscall(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "done"
def write(path):
    with open(path, "w") as file: file.write("x")
    return "done"
try:
    answer = str({expression})
except OSError as error:
    answer = errno.errorcode[error.errno]
"#
    );
    let answer = environment.invoke(Event(&script).into()).await.unwrap();
    assert_eq!(answer.error_type, None, "{answer:?}");
    String::from_utf8(answer.payload.to_vec()).unwrap()
}

#[tokio::test]
async fn what_is_outside_stays_outside() {
    let place = Place::new();
    let secret = place.path("secret");
    let parent = std::process::id();
    let system_call = |x86: i64, arm: i64| if cfg!(target_arch = "x86_64") { x86 } else { arm };
    let unshare = system_call(272, 97);
    let pairs = [
        (format!("open({secret:?}).read()"), "the root's key", "EACCES"),
        (format!("write({:?})", place.path("new")), "done", "EACCES"),
        (format!("os.listdir({:?})", place.folder.path()), "[", "EACCES"),
        ("os.listdir('/')".to_owned(), "[", "EACCES"),
        ("open('/etc/shadow').read()".to_owned(), "", "EACCES"),
        (format!("os.kill({parent}, 0)"), "None", "EPERM"),
        (format!("len(open('/proc/{parent}/environ').read()) > 0"), "True", "EACCES"),
        (format!("os.readlink('/proc/{parent}/fd/1')"), "", "EACCES"),
        (format!("os.listdir('/proc/{parent}/cwd/')"), "[", "EACCES"),
        // An anonymous pair is no way out; a socket by itself can be pointed at others.
        ("socket.socket(socket.AF_UNIX).family.name".to_owned(), "AF_UNIX", "EPERM"),
        ("len(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))".to_owned(), "2", "EPERM"),
        // A namespace for users would give all powers within it.
        (format!("syscall({unshare}, 0x10000000)"), "done", "EPERM"),
        ("syscall(425, 1, ctypes.create_string_buffer(256))".to_owned(), "done", "ENOSYS"),
        ("syscall(435, 0, 0)".to_owned(), "EINVAL", "ENOSYS"),
    ];
    let Some(open) = begin(EnvironmentOptions { isolation: None, ..place.options(None) }).await
    else {
        return;
    };
    let Some(walled) = begin(place.options(walls())).await else { return };
    let root = rustix::process::geteuid().is_root();
    for (expression, without, within) in pairs {
        assert_eq!(attempt(&walled, &expression).await, within, "{expression}");
        if expression.contains("shadow") && !root {
            continue;
        }
        let found = attempt(&open, &expression).await;
        // Machines may forbid this to everybody; then there is nothing to compare with.
        let forbidden = ["EPERM", "ENOSYS"].contains(&found.as_str());
        let may_be = expression.starts_with("syscall");
        assert!(found.starts_with(without) || may_be && forbidden, "{expression}: {found}");
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "the root's key");
}

#[tokio::test]
async fn code_cannot_be_changed() {
    let place = Place::new();
    let write = "write('/var/task/app.py')";
    // The mount alone, then without it the walls alone.
    let Some(mounted) = begin(place.options(None)).await else { return };
    assert_eq!(attempt(&mounted, write).await, "EROFS");
    assert_eq!(attempt(&mounted, "write('/var/task/new')").await, "EROFS");
    let mut options = place.options(walls());
    options.mounts.clear();
    let code = place.path("code");
    options.isolation.as_mut().unwrap().read.push(PathBuf::from(&code));
    let Some(walled) = begin(options).await else { return };
    assert_eq!(attempt(&walled, &format!("write('{code}/app.py')")).await, "EACCES");
    assert_eq!(attempt(&walled, &format!("open('{code}/app.py').read()")).await, "x = 1");
    let mut options = place.options(None);
    options.mounts[0].read_only = false;
    let Some(open) = begin(options).await else { return };
    assert_eq!(attempt(&open, write).await, "done");
    assert_eq!(std::fs::read_to_string(place.path("code/app.py")).unwrap(), "x");
}

#[tokio::test]
async fn what_functions_need_works_within_the_walls() {
    let place = Place::new();
    let Some(walled) = begin(place.options(walls())).await else { return };
    for (expression, expected) in [
        ("open('/var/task/app.py').read()", "x = 1"),
        ("write('/tmp/kept')", "done"),
        ("os.rename('/tmp/kept', '/tmp/moved')", "None"),
        ("tempfile.NamedTemporaryFile(dir='/tmp').write(b'x')", "1"),
        ("write('/dev/null')", "done"),
        ("len(open('/dev/urandom', 'rb').read(3))", "3"),
        (
            "subprocess.run(['/bin/echo', 'hello'], capture_output=True).stdout.decode().strip()",
            "hello",
        ),
        ("ssl.create_default_context() is not None", "True"),
        ("len(open('/etc/resolv.conf').read()) >= 0", "True"),
        ("len(socket.socketpair())", "2"),
        ("socket.getaddrinfo('localhost', 80)[0][4][1]", "80"),
        ("[t.start() or t.join() for t in [threading.Thread(target=int)]]", "[None]"),
        ("os.waitpid(os.fork() or os._exit(4), 0)[1] >> 8", "4"),
        ("os.kill(os.getpid(), 0)", "None"),
        ("resource.getrlimit(resource.RLIMIT_NOFILE)", "(1024, 1024)"),
        ("os.truncate(os.open('/tmp/big', os.O_CREAT | os.O_RDWR), 513 << 20)", "EFBIG"),
        (
            "[l.split()[1] for l in open('/proc/self/status') if l[:6] in ('CapEff', 'CapPrm', 'NoNewP')]",
            "['0000000000000000', '0000000000000000', '1']",
        ),
    ] {
        assert_eq!(attempt(&walled, expression).await, expected, "{expression}");
    }
    assert!(walled.take_output().is_empty());
    assert!(std::path::Path::new(&place.path("tmp/moved")).exists());
}

#[tokio::test]
async fn nobody_else_can_speak_to_a_runtime_api() {
    let first = environment("").await;
    let address = attempt(&first, "os.environ['AWS_LAMBDA_RUNTIME_API']").await;
    let ask = "GET /2018-06-01/runtime/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut stranger = tokio::net::TcpStream::connect(&address).await.unwrap();
    stranger.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let end = tokio::time::timeout(DEADLINE, stranger.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty(), "{end:?} {:?}", String::from_utf8_lossy(&answer));
    // Another function is as much a stranger.
    let second = environment("").await;
    let fetch = format!(
        "(lambda s: (s.sendall({ask:?}.encode()), s.recv(12).decode())[1])(socket.create_connection({:?}.split(':')))",
        address
    );
    assert!(["", "ECONNRESET"].contains(&attempt(&second, &fetch).await.as_str()));
    // Its own processes are not, even when they have left its group.
    let own = format!(
        "subprocess.run([sys.executable, '-c', 'import socket; print({fetch})'], capture_output=True, start_new_session=True).stdout.decode().strip()",
        fetch = fetch.replace('\'', "\\'").replace("\\r\\n", "\\\\r\\\\n").replace('"', "\\\"")
    );
    assert_eq!(attempt(&first, &own).await, "HTTP/1.1 404");
}

/// A daemon: in a session of its own, its parent gone, its environment empty on demand.
fn daemon(arguments: &str) -> String {
    format!(
        "int(subprocess.run(['/bin/sh', '-c', {:?}], capture_output=True).stdout)",
        format!("setsid {arguments} /bin/sh -c 'echo $$; exec >&- 2>&-; exec sleep 600' & wait $!")
            .replace(" & wait $!", " &")
    )
}

#[tokio::test]
async fn what_leaves_the_group_dies_with_the_environment() {
    let open = environment("").await;
    let pid: i32 = attempt(&open, &daemon("")).await.parse().unwrap();
    assert!(alive(pid));
    let group = attempt(&open, &format!("os.getpgid({pid}) == os.getpgid(0)")).await;
    assert_eq!(group, "False");
    // It is adopted by the runtime, not by the machine.
    let parent = format!("open('/proc/{pid}/stat').read().split()[3] == str(os.getpid())");
    assert_eq!(attempt(&open, &parent).await, "True");
    drop(open);
    until("the daemon dies", || !alive(pid)).await;
    let place = Place::new();
    let Some(walled) = begin(place.options(walls())).await else { return };
    let pid: i32 = attempt(&walled, &daemon("env -i")).await.parse().unwrap();
    assert!(alive(pid));
    // The leader ends by itself.
    assert!(walled.invoke(Event("os._exit(1)").into()).await.is_err());
    until("the daemon without variables dies", || !alive(pid)).await;
}

/// The next environment may get the numbers of the last one's port and namespace, and must not be taken
/// for a remainder of it.
#[tokio::test]
async fn the_end_of_one_is_not_the_end_of_the_next() {
    let place = Place::new();
    for round in 0..30 {
        let Some(walled) = begin(place.options(walls())).await else { return };
        assert_eq!(attempt(&walled, &format!("{round} + 1")).await, (round + 1).to_string());
    }
}

#[tokio::test]
async fn walls_that_are_not_required_are_told_when_they_are_missing() {
    // Here they are there: nothing is told.
    let mut options = python("");
    let isolation = Isolation { required: false, ..walls().unwrap() };
    options.isolation = Some(isolation);
    let environment = start(options).await;
    environment.ready().await.unwrap();
    for line in environment.take_output() {
        assert!(line.text.contains("going on without a wall"), "{line:?}");
    }
}

#[tokio::test]
async fn metadata_services_are_out_of_reach_and_the_rest_is_not() {
    let place = Place::new();
    let Some(open) = begin(place.options(None)).await else { return };
    let Some(walled) = begin(place.options(walls())).await else { return };
    // Answers at once: a socket that does not wait says that it has begun, or that there is no way.
    let begin_to = |address: &str, port: u16| {
        format!(
            "(lambda s: (s.setblocking(False), s.connect(({address:?}, {port})))[1])(socket.socket(socket.AF_INET6 if ':' in {address:?} else socket.AF_INET))"
        )
    };
    let mut compared = 0;
    for address in ["169.254.169.254", "169.254.170.2", "100.100.100.200", "::ffff:169.254.169.254"]
    {
        let expression = begin_to(address, 80);
        assert_eq!(attempt(&walled, &expression).await, "EHOSTUNREACH", "{address}");
        let without = attempt(&open, &expression).await;
        if without == "EHOSTUNREACH" {
            eprintln!("skipped: this machine has no way to {address} anyway");
        } else {
            compared += 1;
        }
        // Name servers may be there.
        let expression = begin_to(address, 53);
        assert_eq!(attempt(&walled, &expression).await, attempt(&open, &expression).await);
    }
    eprintln!("{compared} addresses could be reached without the wall");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let socket = |kind: &str, rest: &str| {
        format!(
            "(lambda s: [s.connect(('127.0.0.1', {port})), {rest}][-1])(socket.socket(socket.AF_INET, socket.{kind}))"
        )
    };
    for expression in [
        // Waiting and not, streams and datagrams.
        socket("SOCK_STREAM", &format!("s.getpeername()[1] == {port}")),
        begin_to("127.0.0.1", port),
        begin_to("::ffff:127.0.0.1", port),
        format!("socket.create_connection(('127.0.0.1', {port}), timeout=5).getpeername()[1] == {port}"),
        socket("SOCK_DGRAM", "s.getpeername()[0]"),
        format!("socket.create_connection(('127.0.0.1', {closed}))"),
        "syscall(42 if os.uname().machine == 'x86_64' else 203, socket.socket().detach(), ctypes.c_void_p(8), 16)".to_owned(),
        "syscall(42 if os.uname().machine == 'x86_64' else 203, 999, (ctypes.c_char * 16)(2, 0, 0, 80, 127, 0, 0, 1), 16)".to_owned(),
        // glibc sorts addresses with datagram sockets that it connects and dissolves.
        "len(socket.getaddrinfo('127.0.0.1', 80)) > 0".to_owned(),
        "(lambda s: syscall(42 if os.uname().machine == 'x86_64' else 203, s.fileno(), (ctypes.c_char * 16)(), 16))(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))".to_owned(),
    ] {
        let found = attempt(&walled, &expression).await;
        assert_eq!(found, attempt(&open, &expression).await, "{expression}");
        eprintln!("{found}: {expression}");
    }
    let fast = format!("socket.socket().sendto(b'x', socket.MSG_FASTOPEN, ('127.0.0.1', {port}))");
    assert_eq!(attempt(&open, &fast).await, "1");
    assert_eq!(attempt(&walled, &fast).await, "EPERM");
}

/// An address that changes under the eyes of who looks at it is connected to as it was looked at.
/// Datagram sockets, for they are connected without an answer.
#[tokio::test]
async fn addresses_cannot_be_changed_after_the_look() {
    let place = Place::new();
    let Some(open) = begin(place.options(None)).await else { return };
    let Some(walled) = begin(place.options(walls())).await else { return };
    let race = r#"
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
address = (ctypes.c_char * 16)(2, 0, 0, 80, 127, 0, 0, 1)
good, bad = bytes([127, 0, 0, 1]), bytes([169, 254, 169, 254])
target = ctypes.addressof(address) + 4
racing = True
def flip():
    while racing:
        libc.memcpy(ctypes.c_void_p(target), bad, 4)
        libc.memcpy(ctypes.c_void_p(target), good, 4)
sys.setswitchinterval(1e-5)
flipper = threading.Thread(target=flip)
flipper.start()
seen = set()
for _ in range(5000):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if libc.connect(s.fileno(), address, 16) == 0:
        seen.add(s.getpeername()[0])
    else:
        seen.add(ctypes.get_errno())
    s.close()
racing = False
flipper.join()
answer = json.dumps(sorted(map(str, seen)))
"#;
    let seen = walled.invoke(Event(race).into()).await.unwrap();
    // Both were there to be looked at.
    assert_eq!(seen.payload, r#"["113", "127.0.0.1"]"#);
    let seen = open.invoke(Event(race).into()).await.unwrap();
    if seen.payload != r#"["127.0.0.1", "169.254.169.254"]"# {
        eprintln!("not compared: without walls {:?}", seen.payload);
    }
}

#[tokio::test]
async fn calls_that_wait_end_with_their_environment() {
    let place = Place::new();
    let Some(walled) = begin(place.options(walls())).await else { return };
    // Nobody accepts here: once the queue is full, connecting takes for ever.
    let full = "
server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen(0)
threads = [threading.Thread(target=lambda: socket.socket().connect(server.getsockname())) for _ in range(100)]
[thread.start() for thread in threads]
time.sleep(600)
";
    let mut invocation = Event(full).invocation();
    invocation.timeout = std::time::Duration::from_secs(1);
    let waiting = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
            .filter(|name| name.trim() == "connect")
            .count()
    };
    let most = std::sync::atomic::AtomicUsize::new(0);
    let watch = async {
        loop {
            most.fetch_max(waiting(), std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        outcome = walled.invoke(invocation) => assert!(outcome.is_err(), "{outcome:?}"),
        () = watch => {}
    }
    let most = most.into_inner();
    assert!((1..=64).contains(&most), "{most}");
    until("the waiting calls end", || waiting() == 0).await;
}

/// AWS's own runtime client, where `KENNEL_TEST_RIC` names an interpreter that has it.
#[tokio::test]
async fn awslambdaric_runs_within_the_walls() {
    let Ok(interpreter) = std::env::var("KENNEL_TEST_RIC") else {
        eprintln!("skipped: KENNEL_TEST_RIC names no interpreter with awslambdaric");
        return;
    };
    let place = Place::new();
    let code = "import socket, urllib.request\ndef handler(event, context):\n    return {'id': context.aws_request_id}\n";
    std::fs::write(place.path("code/app.py"), code).unwrap();
    let ask = ["-c", "import sys; print(sys.prefix); print(sys.base_prefix)"];
    let output = std::process::Command::new(&interpreter).args(ask).output().unwrap();
    let folders = String::from_utf8(output.stdout).unwrap();
    let mut options = place.options(walls());
    options.command =
        kennel_hosting::Command::new([&interpreter, "-m", "awslambdaric", "app.handler"]);
    options.command.folder = Some("/var/task".into());
    options.isolation.as_mut().unwrap().read.extend(folders.lines().map(PathBuf::from));
    let Some(walled) = begin(options).await else { return };
    let mut invocation = Event("").invocation();
    invocation.payload = "{}".into();
    let answer = walled.invoke(invocation).await.unwrap();
    assert_eq!(answer.payload, r#"{"id": "request-1"}"#);
    assert!(walled.take_output().is_empty());
}

/// Where there are no private mounts, the walls stand around the folders themselves.
#[tokio::test]
async fn without_mounts_the_walls_stand_around_the_sources() {
    let place = Place::new();
    let mut options = place.options(walls());
    options.mounts_optional = true;
    // A mount that cannot be made leaves all of them out.
    options.mounts.push(Mount { target: "/not/../plain".into(), ..options.mounts[0].clone() });
    let environment = start(options).await;
    if environment.ready().await.is_err() {
        eprintln!("skipped: {:?}", environment.take_output());
        return;
    }
    let told = environment.take_output();
    assert!(told[0].text.contains("going on without private mounts"), "{told:?}");
    let (code, tmp) = (place.path("code"), place.path("tmp"));
    for (expression, expected) in [
        (format!("open('{code}/app.py').read()"), "x = 1"),
        (format!("write('{code}/app.py')"), "EACCES"),
        (format!("write('{tmp}/new')"), "done"),
        ("write('/tmp/new')".to_owned(), "EACCES"),
        (format!("open({:?}).read()", place.path("secret")), "EACCES"),
    ] {
        assert_eq!(attempt(&environment, &expression).await, expected, "{expression}");
    }
}
