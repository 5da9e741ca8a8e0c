//! What the tests share: a tiny image, a runtime in a temporary directory, and waiting with deadlines.

use freehold_model::{Bytes, Digest, Exit, InstanceId, Millicores, logs::LogLine, manifest::Driver};
use freehold_runtime::{
    ExecInput, ExecOutput, ExecSession, Handle, Launch, LocalRuntime, LogLimits, RunState, Runtime,
    RuntimeConfig, logs::LogReader,
};
use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use ulid::Ulid;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "sleep", "env", "id", "hostname", "mount", "nc", "kill", "true", "false", "pwd",
    "ps", "seq", "tail", "grep", "ls", "touch", "stty", "tty", "wc", "head", "dd", "mknod", "ip", "chroot",
    "printf", "readlink", "rm",
];

/// Skips the test, visibly, where it cannot run.
macro_rules! world {
    () => {
        match $crate::world::World::new() {
            Some(world) => world,
            None => return,
        }
    };
}
pub(crate) use world;

pub(crate) struct World {
    pub(crate) dir: Tidy,
    pub(crate) runtime: LocalRuntime,
}

/// A directory whose shims end with it, also when a test fails: they outlive everything else.
pub(crate) struct Tidy(TempDir);

impl Tidy {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        let path = self.path().to_string_lossy().into_owned();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&path) {
                kill(pid);
            }
        }
        for entry in fs::read_dir(self.path().join("instances")).into_iter().flatten().flatten() {
            for parent in fs::read_dir("/sys/fs/cgroup/pids").into_iter().flatten().flatten() {
                let group = parent.path().join(entry.file_name());
                let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                procs.lines().for_each(|pid| kill(pid.parse().unwrap()));
            }
        }
    }
}

fn kill(pid: i32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
}

impl World {
    pub(crate) fn new() -> Option<World> {
        let missing = if !rustix::process::geteuid().is_root() {
            "root"
        } else if !Path::new("/bin/busybox").exists() {
            "/bin/busybox (apt-get install busybox-static)"
        } else {
            let dir = tempfile::tempdir().unwrap();
            // The links of a test are in a network of its own: nothing else on the machine has to do with them.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success());
            make_layer(&dir.path().join("layer"));
            let runtime = LocalRuntime::new(config(dir.path())).unwrap();
            return Some(World { dir: Tidy(dir), runtime });
        };
        eprintln!("SKIPPED: this test needs {missing}");
        None
    }

    /// Another agent on the same node.
    pub(crate) fn another(&self) -> LocalRuntime {
        LocalRuntime::new(config(self.dir.path())).unwrap()
    }

    /// Another Freehold over the same directory: a later version, which has an id.
    pub(crate) fn installed(&self, id: &str) -> LocalRuntime {
        let installation = Some(id.parse().unwrap());
        LocalRuntime::new(RuntimeConfig { installation, ..config(self.dir.path()) }).unwrap()
    }

    pub(crate) fn with_log_limits(self, limits: LogLimits) -> World {
        World { runtime: self.runtime.with_log_limits(limits), ..self }
    }

    pub(crate) fn layer(&self) -> PathBuf {
        self.dir.path().join("layer")
    }

    /// A launch that runs `script` in a shell.
    pub(crate) fn launch(&self, script: &str) -> Launch {
        let ulid = Ulid::new();
        let [.., b, c, d] = ulid.to_bytes();
        Launch {
            instance: InstanceId(ulid),
            process: "web".parse().unwrap(),
            hostname: "web-1".into(),
            driver: Driver::Container,
            layers: vec![self.layer()],
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec![("GREETING".into(), "good morning".into())],
            workdir: String::new(),
            user: None,
            cpu: Millicores(1000),
            memory: Bytes(64 << 20),
            pids: 512,
            disk: Bytes(0),
            address: Ipv4Addr::new(10, 128 | b, c, d.clamp(2, 254)),
            gateway: Ipv4Addr::new(10, 127, 255, 1),
            network_bits: 8,
            egress: vec![],
            image: Digest::of(b"image"),
            stop_signal: 15,
            volumes: vec![],
            log_dir: self.dir.path().join("logs").join(ulid.to_string()),
            installation: None,
        }
    }

    pub(crate) fn process(&self, script: &str) -> Launch {
        Launch { driver: Driver::Process, ..self.launch(script) }
    }

    /// Runs to the end.
    pub(crate) async fn run(&self, launch: &Launch) -> (RunState, Vec<LogLine>) {
        let handle = self.runtime.start(launch).await.unwrap();
        let state = over(&*handle).await;
        (state, log(launch))
    }

    /// Runs a script to its end; panics unless it ended with 0. What it printed.
    pub(crate) async fn output(&self, script: &str) -> String {
        self.output_of(&self.launch(script)).await
    }

    pub(crate) async fn output_of(&self, launch: &Launch) -> String {
        let (state, lines) = self.run(launch).await;
        let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        assert!(matches!(&state, RunState::Exited(Exit { code: Some(0), .. })), "{state:?} {text:#?}");
        self.runtime.remove(launch.instance).await.unwrap();
        text.join("\n")
    }
}

fn config(dir: &Path) -> RuntimeConfig {
    let own = std::env::current_exe().unwrap();
    let shim = own.parent().unwrap().parent().unwrap().join("examples/shim");
    assert!(shim.exists(), "{} is not built: cargo build -p freehold-runtime --examples", shim.display());
    RuntimeConfig {
        instances_dir: dir.join("instances"),
        shim: vec![shim.to_str().unwrap().into(), "shim".into()],
        installation: None,
    }
}

fn make_layer(layer: &Path) {
    for name in ["bin", "etc", "tmp", "home/app"] {
        fs::create_dir_all(layer.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1234:1235::/home/app:/bin/sh\n")
        .unwrap();
    fs::write(layer.join("etc/group"), "root:x:0:\napp:x:1235:\nextra:x:77:app\n").unwrap();
}

/// The state, once it satisfies `is`.
pub(crate) async fn until(handle: &dyn Handle, is: impl FnMut(&RunState) -> bool) -> RunState {
    let mut state = handle.state();
    let reached = tokio::time::timeout(PATIENCE, state.wait_for(is)).await;
    reached.unwrap_or_else(|_| panic!("still {:?}", *handle.state().borrow())).unwrap().clone()
}

pub(crate) async fn running(handle: &dyn Handle) -> i32 {
    match until(handle, |state| *state != RunState::Starting).await {
        RunState::Running { pid, .. } => pid,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn over(handle: &dyn Handle) -> RunState {
    until(handle, RunState::is_over).await
}

pub(crate) async fn exit(handle: &dyn Handle) -> Exit {
    match over(handle).await {
        RunState::Exited(exit) => exit,
        other => panic!("{other:?}"),
    }
}

/// Kills it and removes everything of it.
pub(crate) async fn end(runtime: &LocalRuntime, handle: &Arc<dyn Handle>) {
    if !handle.state().borrow().is_over() {
        handle.signal(9).await.unwrap();
    }
    over(&**handle).await;
    runtime.remove(handle.instance()).await.unwrap();
}

pub(crate) fn reader(launch: &Launch) -> LogReader {
    LogReader::new(&launch.log_dir, launch.instance, launch.process.clone())
}

pub(crate) fn log(launch: &Launch) -> Vec<LogLine> {
    reader(launch).tail(100_000).unwrap()
}

/// Waits until the log has a line that contains `text`.
pub(crate) async fn logged(launch: &Launch, text: &str) {
    eventually(&format!("`{text}` in the log"), || log(launch).iter().any(|line| line.text.contains(text)))
        .await;
}

pub(crate) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "no {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Everything of an instance that a machine can show, logs aside.
pub(crate) fn remains(launch: &Launch) -> Vec<String> {
    let id = launch.instance.to_string();
    let shell = format!(
        "find /sys/fs/cgroup -maxdepth 4 -name '{id}' 2>/dev/null; \
         grep -H '{id}' /proc/self/mountinfo; grep -la '{id}' /proc/[0-9]*/cmdline 2>/dev/null; \
         ip -br link show | grep -q '^fh{}@' && echo /proc/self/net/dev: its link",
        &id[id.len() - 12..]
    );
    let output = Command::new("/bin/bash").args(["-c", &shell]).output().unwrap();
    let own = format!("/proc/{}/", std::process::id());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| !line.starts_with(&own) && Path::new(line.split(':').next().unwrap()).exists())
        .map(str::to_owned)
        .collect()
}

/// What an exec session said, by stream, and its end.
pub(crate) async fn collect(mut session: ExecSession) -> (String, String, ExecOutput) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        let output = tokio::time::timeout(PATIENCE, session.output.recv()).await.expect("exec hangs");
        match output.expect("exec ends with a verdict") {
            ExecOutput::Stdout(bytes) => stdout.extend(bytes),
            ExecOutput::Stderr(bytes) => stderr.extend(bytes),
            end => {
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return (text(stdout), text(stderr), end);
            }
        }
    }
}

pub(crate) async fn give(session: &ExecSession, input: ExecInput) {
    session.input.send(input).await.unwrap();
}

/// The shim of an instance, and its forks; the oldest first.
pub(crate) fn shims(launch: &Launch) -> Vec<nix::unistd::Pid> {
    let end = format!("{}\0", launch.instance);
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let mut pids: Vec<i32> = pids
        .filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.ends_with(end.as_bytes()))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().map(nix::unistd::Pid::from_raw).collect()
}

/// The command lines of all processes, arguments separated by zero bytes.
pub(crate) fn processes() -> Vec<String> {
    let proc = fs::read_dir("/proc").unwrap().flatten();
    proc.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

/// The lines with `part` of the packet filter's rules inside an instance, as `nft` lists them; with its
/// elements, their times aside.
pub(crate) fn rules(launch: &Launch, part: &str) -> String {
    let pids =
        Path::new("/sys/fs/cgroup/pids/freehold").join(launch.instance.to_string()).join("cgroup.procs");
    let pid = fs::read_to_string(pids).unwrap().lines().next().unwrap().to_owned();
    let net = format!("--net=/proc/{pid}/ns/net");
    let output = Command::new("nsenter").args([&net, "nft", "list", "ruleset"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| line.contains(part)).map(|line| format!("{line}\n")).collect()
}

/// A layer with a program of this machine and the libraries that it needs, at `/NAME`.
pub(crate) fn with_program(name: &str) -> TempDir {
    let layer = tempfile::tempdir().unwrap();
    let script = format!(
        "set -e; program=$(command -v {name}); cp -L $program {dir}/{name}; \
         for library in $(ldd $program | grep -o '/[^ ]*'); do mkdir -p {dir}$(dirname $library); cp -L $library {dir}$library; done",
        dir = layer.path().display()
    );
    let copied = Command::new("bash").args(["-c", &script]).status().unwrap();
    assert!(copied.success());
    layer
}

/// What the processor's controller counted.
#[derive(Debug)]
pub(crate) struct Cpu {
    pub(crate) periods: u64,
    pub(crate) throttled: u64,
    pub(crate) used_micros: u64,
}

pub(crate) fn cpu(launch: &Launch) -> Cpu {
    let stat = controller_file(launch, "cpu", "cpu.stat");
    let of = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
    };
    // On v1 the use is another controller's to count, in nanoseconds.
    let nanos = || controller_file(launch, "cpuacct", "cpuacct.usage").trim().parse::<u64>().unwrap();
    Cpu {
        periods: of("nr_periods").unwrap(),
        throttled: of("nr_throttled").unwrap(),
        used_micros: of("usage_usec").unwrap_or_else(|| nanos() / 1000),
    }
}

/// How often the controller of processes refused one more.
pub(crate) fn refused_forks(launch: &Launch) -> u64 {
    let events = controller_file(launch, "pids", "pids.events");
    events.lines().find_map(|line| line.strip_prefix("max ")?.parse().ok()).unwrap()
}

/// How many processes and threads there are.
pub(crate) fn tasks(launch: &Launch) -> u64 {
    controller_file(launch, "pids", "pids.current").trim().parse().unwrap()
}

/// A file of the instance's group: of the controller's own hierarchy on v1, of the one there is on v2.
fn controller_file(launch: &Launch, controller: &str, file: &str) -> String {
    let group = format!("freehold/{}/{file}", launch.instance);
    let places = [format!("/sys/fs/cgroup/{controller}/{group}"), format!("/sys/fs/cgroup/{group}")];
    let found = places.iter().find_map(|path| fs::read_to_string(path).ok());
    found.unwrap_or_else(|| panic!("none of {places:?}"))
}
