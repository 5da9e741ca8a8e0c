//! A machine for one test: network namespace, data directory, and the commands run in them.

use crate::{
    ordinary::User,
    planted::{self, Planted},
    traces::end_everything_under,
};
use std::{
    fmt::Debug,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// The binary under test.
pub(crate) const FREEHOLD: &str = env!("CARGO_BIN_EXE_freehold");
pub(crate) const API: &str = "127.0.0.1:7411";

/// One machine. Dropping it ends everything that runs in it.
pub(crate) struct World {
    dir: tempfile::TempDir,
    netns: String,
    up: Option<Child>,
    user: Option<User>,
    pub(crate) planted: Planted,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    #[expect(dead_code, reason = "shown when an assertion fails")]
    pub(crate) command: String,
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// A machine on which Freehold runs; `None`, said aloud, where tests may not make one.
    pub(crate) fn start() -> Option<World> {
        let mut world = World::new()?;
        world.up(&[]);
        Some(world)
    }

    /// A machine on which nothing runs yet.
    pub(crate) fn new() -> Option<World> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: containers and network namespaces need root");
            return None;
        }
        let netns = format!("fh-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        assert_ran(Command::new("ip").args(["netns", "add", &netns]));
        let world =
            World { dir: tempfile::tempdir().unwrap(), netns, up: None, user: None, planted: Planted::new() };
        assert_ran(world.command("ip").args(["link", "set", "lo", "up"]));
        Some(world)
    }

    /// From here on every command is this user's.
    pub(crate) fn become_user(&mut self, user: User) {
        self.user = Some(user);
    }

    /// What runs of the user whose commands these are.
    pub(crate) fn processes_of_user(&self) -> Vec<String> {
        self.user.as_ref().map(User::processes).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn netns(&self) -> &str {
        &self.netns
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts `freehold up` and waits until it is ready.
    pub(crate) fn up(&mut self, more: &[&str]) {
        self.up_without_waiting(more);
        self.wait_ready();
    }

    /// The same with a program file of the machine's own, which may be replaced.
    pub(crate) fn up_from(&mut self, program: &Path) {
        self.spawn_up(program.as_os_str(), &[]);
        self.wait_ready();
    }

    pub(crate) fn up_without_waiting(&mut self, more: &[&str]) {
        self.spawn_up(FREEHOLD.as_ref(), more);
    }

    fn spawn_up(&mut self, program: &std::ffi::OsStr, more: &[&str]) {
        assert!(self.up.is_none(), "freehold up runs already");
        let log = fs::File::options().create(true).append(true).open(self.path("up.log")).unwrap();
        let mut command = self.command(program);
        command.args(["up", "--listen", API, "--data"]).arg(self.data()).args(more);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.up = Some(command.spawn().unwrap());
    }

    pub(crate) fn wait_ready(&self) {
        let ready = || self.freehold(&["status"]).code == 0;
        if !eventually(Duration::from_secs(30), ready) {
            panic!("freehold up is not ready after 30 s:\n{}", self.up_log());
        }
    }

    pub(crate) fn up_log(&self) -> String {
        fs::read_to_string(self.path("up.log")).unwrap_or_default()
    }

    /// A signal to `freehold up`.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let up = self.up.as_ref().expect("freehold up runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(up), signal).unwrap();
    }

    /// `kill -9` of `freehold up`.
    pub(crate) fn kill(&mut self) {
        let mut up = self.up.take().expect("freehold up runs");
        up.kill().unwrap();
        up.wait().unwrap();
    }

    /// SIGTERM to `freehold up`; waits for it to end and answers with its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let mut up = self.up.take().expect("freehold up runs");
        let pid = rustix::process::Pid::from_child(&up);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(
            eventually(Duration::from_secs(30), || up.try_wait().unwrap().is_some()),
            "freehold up did not stop:\n{}",
            self.up_log()
        );
        up.wait().unwrap().code()
    }

    /// A command inside the machine's network, with the machine's client context.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.command_of(self.user.as_ref(), program)
    }

    pub(crate) fn command_of(&self, user: Option<&User>, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).arg("--");
        if let Some(user) = user {
            user.lead(&mut command);
        }
        command.arg(program.as_ref());
        command.env("FREEHOLD_HOME", self.path("home")).env("NO_COLOR", "1");
        command.env(planted::VARIABLE, self.planted.in_environment());
        command.env_remove("FREEHOLD_URL").env_remove("FREEHOLD_TOKEN");
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs `freehold ARGS`.
    pub(crate) fn freehold(&self, args: &[&str]) -> Ended {
        let ended = Ended::of(self.command(FREEHOLD).args(args));
        self.assert_says_no_secret(args, &ended);
        ended
    }

    /// The same, with `input` on its standard input.
    pub(crate) fn freehold_with(&self, args: &[&str], input: &str) -> Ended {
        let ended = Ended::of_fed(self.command(FREEHOLD).args(args), input);
        self.assert_says_no_secret(args, &ended);
        ended
    }

    /// Runs `freehold ARGS --json`, which must succeed, and answers with what it printed.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let ended = self.freehold(&[args, &["--json"]].concat()).ok();
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("no JSON ({error}): {ended:#?}"))
    }

    /// Runs a line of shell.
    pub(crate) fn sh(&self, line: &str) -> Ended {
        Ended::of(self.command("bash").args(["-c", line]))
    }

    /// Writes a file and answers with its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.data().join("token")).unwrap().trim().to_owned()
    }

    /// Copies an image of a layout made by other tools to the built-in registry, with skopeo.
    pub(crate) fn skopeo_push(&self, layout: &Path, tag: &str, name: &str) {
        let (from, to) = (format!("oci:{}:{tag}", layout.display()), format!("docker://{API}/{name}"));
        let credentials = format!("--dest-creds=admin:{}", self.token());
        // What skopeo reads of this machine is root's, whoever runs Freehold.
        Ended::of(self.command_of(None, "skopeo").args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            &credentials,
            &from,
            &to,
        ]))
        .ok();
    }

    /// Builds and pushes an image of static busybox with a small web server, as `name`.
    pub(crate) fn push_busybox(&self, name: &str) {
        let folder = self.path("busybox");
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
        for applet in ["sh", "httpd", "sleep", "echo", "cat", "ls", "kill", "ps", "true", "false", "env"] {
            let _ = std::os::unix::fs::symlink("busybox", bin.join(applet));
        }
        self.write("busybox/www/index.html", "hello\n");
        self.write(
            "busybox/freehold-image.toml",
            "entrypoint = [\"/bin/httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n",
        );
        self.freehold(&["image", "build", folder.to_str().unwrap(), "-t", name]).ok();
    }

    /// The same, with a program of this machine beside it, and the libraries that it needs, at `/bin`.
    pub(crate) fn push_busybox_with(&self, program: &str, name: &str) {
        let folder = self.path("busybox");
        let script = format!(
            "set -e; mkdir -p {dir}/bin; program=$(command -v {program}); cp -L $program {dir}/bin/{program}; \
             for library in $(ldd $program | grep -o '/[^ ]*'); do mkdir -p {dir}$(dirname $library); cp -L $library {dir}$library; done",
            dir = folder.display()
        );
        self.sh(&script).ok();
        self.push_busybox(name);
    }

    /// The body that `url` answers with, or what curl said.
    pub(crate) fn get(&self, url: &str) -> String {
        let ended = Ended::of(self.command("curl").args(["-sS", "--max-time", "5", url]));
        if ended.code == 0 { ended.out } else { ended.err }
    }

    /// The first process, as the machine counts, of the first instance of a process.
    pub(crate) fn pid_of(&self, app: &str, process: &str) -> String {
        let instances = self.instances(app);
        let id =
            instances.iter().find(|it| it["process"] == process).unwrap()["id"].as_str().unwrap().to_owned();
        let groups = self.sh(&format!("cat /sys/fs/cgroup/pids/freehold*/{id}/cgroup.procs /sys/fs/cgroup/freehold*/{id}/cgroup.procs 2>/dev/null"));
        groups.out.lines().next().expect("it has a process").to_owned()
    }

    /// The instances that `status` shows of an app.
    pub(crate) fn instances(&self, app: &str) -> Vec<serde_json::Value> {
        let summaries = self.json(&["status", "-a", app]);
        let first = summaries.as_array().and_then(|all| all.first());
        first.and_then(|env| env["instances"].as_array()).cloned().unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let leaks = if std::thread::panicking() { vec![] } else { self.leaks() };
        if std::thread::panicking() {
            eprintln!("--- log of freehold up ---\n{}", self.up_log());
        }
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
        end_everything_under(self.dir.path());
        let _ = Command::new("ip").args(["netns", "delete", &self.netns]).status();
        assert!(leaks.is_empty(), "planted values were found: {leaks:#?}");
    }
}

impl Ended {
    pub(crate) fn of(command: &mut Command) -> Ended {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Ended::from(command, output)
    }

    /// The same, with `input` on its standard input.
    pub(crate) fn of_fed(command: &mut Command, input: &str) -> Ended {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // One that does not read its input has gone before this is written: its exit code says why.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ended::from(command, output)
    }

    fn from(command: &Command, output: Output) -> Ended {
        Ended {
            command: format!("{command:?}"),
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Itself, if the command succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Ended {
        self.exits(0)
    }

    /// Itself, if the command ended with `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Itself, if it printed `text` somewhere.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Ended {
        assert!(self.out.contains(text) || self.err.contains(text), "does not say {text:?}: {self:#?}");
        self
    }
}

/// Waits until `condition` holds, and says whether it did in time.
pub(crate) fn eventually(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until `observe` answers what `wanted` accepts.
#[track_caller]
pub(crate) fn wait_for<T: Debug>(
    what: &str,
    mut observe: impl FnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let mut last = observe();
    let came = eventually(Duration::from_secs(30), || {
        last = observe();
        wanted(&last)
    });
    assert!(came, "waited 30 s for {what}; last seen: {last:#?}");
    last
}

/// The nginx images made by `scripts/test-images.sh`: an OCI layout with the tags 1 and 2.
pub(crate) fn nginx_layout() -> PathBuf {
    layout("nginx")
}

/// The same of redis: the tag 1.
pub(crate) fn redis_layout() -> PathBuf {
    layout("redis")
}

fn layout(name: &str) -> PathBuf {
    let layout = workspace().join("target/e2e").join(name);
    assert!(layout.join("index.json").exists(), "run `make test`, or scripts/test-images.sh, first");
    layout
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn assert_ran(command: &mut Command) {
    Ended::of(command).ok();
}
