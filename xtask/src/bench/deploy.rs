//! From the command to the first answer: `freehold deploy` beside `podman run` of the same image, which
//! both hold already. One instance, a port published on the machine; until a GET is answered.

use super::{median, report::Report, shell};
use anyhow::{Context, Result};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const ROUNDS: usize = 11;
const API: &str = "127.0.0.1:23411";
const PORT: u16 = 23800;
const MANIFEST: &str = r#"
schema = 1
app = "bench"

[process.web]
image = "nginx:1"
check = { http = "/", port = 80 }

[[endpoint]]
process = "web"
listen = 23800
target = 80
"#;

/// A running Freehold with an image in its registry.
pub(crate) struct Bench {
    dir: Arc<tempfile::TempDir>,
    up: Child,
    program: PathBuf,
    store: Option<String>,
}

impl Bench {
    pub(crate) fn start() -> Result<Bench> {
        Bench::start_on(None)
    }

    /// On a PostgreSQL database.
    pub(crate) fn start_on(store: Option<&str>) -> Result<Bench> {
        shell::run(&mut Command::new("scripts/test-images.sh"))?;
        let dir = Arc::new(tempfile::tempdir_in(fs::canonicalize("target")?)?);
        let program = fs::canonicalize("target/release/freehold")?;
        let up = up(&program, dir.path(), store)?;
        let bench = Bench { dir, up, program, store: store.map(str::to_owned) };
        bench.wait()?;
        let token = fs::read_to_string(bench.dir.path().join("data/token"))?;
        shell::run(Command::new("skopeo").args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            &format!("--dest-creds=admin:{}", token.trim()),
            "oci:target/e2e/nginx:1",
            &format!("docker://{API}/nginx:1"),
        ]))?;
        fs::write(bench.dir.path().join("freehold.toml"), MANIFEST)?;
        Ok(bench)
    }

    fn wait(&self) -> Result<()> {
        shell::wait("freehold up", || self.freehold(&["status"]).is_ok())
    }

    /// Stops Freehold in order and starts it again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        shell::run(Command::new("kill").arg(self.up.id().to_string()))?;
        self.up.wait()?;
        self.up = up(&self.program, self.dir.path(), self.store.as_deref())?;
        self.wait()
    }

    /// The process id of `freehold up`.
    pub(crate) fn pid(&self) -> u32 {
        self.up.id()
    }

    /// Describes another app than the one that is usually deployed.
    pub(crate) fn write_manifest(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.dir.path().join("freehold.toml"), text)?)
    }

    pub(crate) fn restore_manifest(&self) -> Result<()> {
        self.write_manifest(MANIFEST)
    }

    /// The process id of the shim of the one instance that runs.
    pub(crate) fn shim(&self) -> Option<u32> {
        let dir = fs::canonicalize(self.dir.path()).ok()?.join("data/instances").display().to_string();
        let pids = fs::read_dir("/proc").ok()?.flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.contains("\0shim\0") && command.contains(&dir)
        })
    }

    pub(crate) fn freehold(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        shell::run(
            command
                .args(args)
                .env("FREEHOLD_HOME", self.dir.path().join("home"))
                .current_dir(self.dir.path()),
        )
    }

    /// Its folder, with `data`, and `freehold.toml` as [`Bench::freehold`] finds it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops Freehold and leaves its folder until what is answered is dropped.
    pub(crate) fn stop(self) -> Arc<tempfile::TempDir> {
        self.dir.clone()
    }
}

fn up(program: &Path, dir: &Path, store: Option<&str>) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(["up", "--stop-apps", "--listen", API, "--data"]).arg(dir.join("data"));
    command.args(store.iter().flat_map(|url| ["--store", url])).env("FREEHOLD_HOME", dir.join("home"));
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.up.id().to_string()).status();
        let _ = self.up.wait();
    }
}

pub(crate) fn measure(report: &mut Report, bench: &Bench) -> Result<()> {
    let podman = Podman::prepare()?;
    let mut ours = vec![];
    let mut theirs = vec![];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        bench.freehold(&["deploy"])?;
        wait_for_answer()?;
        ours.push(start.elapsed().as_secs_f64() * 1000.0);
        bench.freehold(&["app", "delete", "bench", "--yes"])?;

        let start = Instant::now();
        podman.run()?;
        wait_for_answer()?;
        theirs.push(start.elapsed().as_secs_f64() * 1000.0);
        podman.remove()?;
    }
    report.section(
        "Deploy to healthy",
        &format!(
            "nginx from Debian packages, image cached, one instance, until `GET /` on the published port is answered; median of \
             {ROUNDS}. Freehold's time includes the plan, the release, the health check, the move of the endpoint and the receipt."
        ),
        &["", "median", "fastest", "slowest"],
    );
    report.row(spread("`freehold deploy`", ours));
    report.row(spread("`podman run -d -p` (runc)", theirs));
    Ok(())
}

/// A row: who, then the median, the fastest and the slowest of times in milliseconds.
pub(crate) fn spread(who: &str, times: Vec<f64>) -> Vec<String> {
    let (low, high) = times.iter().fold((f64::MAX, 0.0f64), |(low, high), t| (low.min(*t), high.max(*t)));
    vec![who.into(), ms(median(times)), ms(low), ms(high)]
}

fn ms(value: f64) -> String {
    format!("{value:.0} ms")
}

/// The peer, with the same image.
pub(crate) struct Podman {
    image: String,
}

impl Podman {
    fn command() -> Command {
        let mut command = Command::new("podman");
        command.args(["--runtime", "/usr/sbin/runc", "--cgroup-manager", "cgroupfs"]);
        command
    }

    pub(crate) fn prepare() -> Result<Podman> {
        let image = shell::run(Podman::command().args(["pull", "-q", "oci:target/e2e/nginx:1"]))?;
        Ok(Podman { image: image.trim().to_owned() })
    }

    fn run(&self) -> Result<()> {
        self.start(&["-p", &format!("{PORT}:80")], &[])
    }

    /// The same container, with no port of the machine.
    pub(crate) fn run_unpublished(&self) -> Result<()> {
        self.start(&[], &[])
    }

    /// A shell script in a container, with its output in a log file.
    pub(crate) fn run_script(&self, script: &str) -> Result<()> {
        self.start(&["--log-driver", "k8s-file", "--entrypoint", "/bin/sh"], &["-c", script])
    }

    fn start(&self, options: &[&str], command: &[&str]) -> Result<()> {
        let mut podman = Podman::command();
        podman.args(["run", "-d", "--name", "freehold-bench", "--ulimit", "nofile=1024:1024"]);
        podman.args(["--ulimit", "nproc=1024:1024"]).args(options).arg(&self.image).args(command);
        shell::run(&mut podman).map(drop)
    }

    /// A command in the container.
    pub(crate) fn exec(&self, command: &[&str]) -> Result<()> {
        shell::run(Podman::command().args(["exec", "freehold-bench"]).args(command)).map(drop)
    }

    pub(crate) fn logs_tail(&self) -> Result<String> {
        shell::run(Podman::command().args(["logs", "--tail", "1", "freehold-bench"]))
    }

    /// The process that takes the output of the container.
    pub(crate) fn conmon(&self) -> Result<u32> {
        let format = ["inspect", "-f", "{{.State.ConmonPid}}", "freehold-bench"];
        Ok(shell::run(Podman::command().args(format))?.trim().parse()?)
    }

    pub(crate) fn remove(&self) -> Result<()> {
        shell::run(Podman::command().args(["rm", "-f", "-t", "0", "freehold-bench"])).map(drop)
    }
}

fn wait_for_answer() -> Result<()> {
    shell::wait("an answer", || answers().unwrap_or(false)).context("on the published port")
}

fn answers() -> Result<bool> {
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer.ends_with(b"200"))
}
