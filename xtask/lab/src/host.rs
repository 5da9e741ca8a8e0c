//! A host: its namespace, its disk, its clock, and the program that runs on it.

use crate::{address, card, eventually, run};
use anyhow::{Context, Result, bail};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::Write,
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// What a host can keep.
const DISK: &str = "size=512m,mode=755";
/// Fakes the clock of whatever is started with it (Debian's libfaketime).
const FAKETIME: &str = "faketime/libfaketime.so.1";

/// One machine.
pub struct Host {
    pub(crate) index: usize,
    name: String,
    netns: String,
    dir: PathBuf,
    program: Mutex<Option<Child>>,
    paused: AtomicBool,
}

/// What a host's program is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// It runs.
    Yes,
    /// It is stopped and can be continued.
    Paused,
    /// It does not run.
    No,
}

impl Host {
    pub(crate) fn new(dir: &Path, name: &str, index: usize) -> Result<Host> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
            bail!("`{name}` is no name for a host: use letters, digits and `-`");
        }
        let netns = format!("lab-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = dir.join(name);
        let host = Host {
            index,
            name: name.to_owned(),
            netns,
            dir,
            program: Mutex::default(),
            paused: AtomicBool::new(false),
        };
        fs::create_dir_all(host.data()).with_context(|| host.dir.display().to_string())?;
        mount(Some("tmpfs"), &host.data(), Some("tmpfs"), MsFlags::empty(), Some(DISK))
            .context("giving a host its disk")?;
        run(Command::new("ip").args(["netns", "add", &host.netns]))?;
        run(host.command("ip").args(["link", "set", "lo", "up"]))?;
        Ok(host)
    }

    /// Plugs its card in; the other end.
    pub(crate) fn card(&self) -> Result<File> {
        let card = card::make(&Path::new("/run/netns").join(&self.netns))?;
        let (address, hardware) = (format!("{}/24", self.address()), card::hardware_text(self.index));
        run(self.command("ip").args(["link", "set", "eth0", "address", &hardware, "up"]))?;
        run(self.command("ip").args(["address", "add", &address, "dev", "eth0"]))?;
        Ok(card)
    }

    /// As it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where others reach it.
    pub fn address(&self) -> Ipv4Addr {
        address(self.index)
    }

    /// Its network namespace, as `ip netns` knows it.
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// Its disk.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A file of its own that is not on its disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command on its network, with its clock.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).arg("--").arg(program);
        command.env("FREEHOLD_HOME", self.path("home")).env("NO_COLOR", "1").stdin(Stdio::null());
        if let Some(library) = faketime().filter(|_| self.clock_file().exists()) {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
    }

    /// Starts its program, in a group of its own; what it prints goes to `log`.
    ///
    /// # Errors
    /// When one runs already, or it cannot be started.
    pub fn start(&self, program: &Path, args: &[&str]) -> Result<()> {
        if self.runs() != Runs::No {
            bail!("{} runs already", self.name);
        }
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut command = self.command(program);
        command.args(args).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        *self.program.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    /// Whether its program runs.
    pub fn runs(&self) -> Runs {
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = program.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        match (alive, self.paused.load(Ordering::Relaxed)) {
            (false, _) => Runs::No,
            (true, true) => Runs::Paused,
            (true, false) => Runs::Yes,
        }
    }

    /// Kills its program at once and nothing that it started: as a crash of it would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.paused.store(false, Ordering::Relaxed);
        self.wait(Duration::from_secs(10))
    }

    /// Asks its program to end and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or has not ended after 30 s.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.wait(Duration::from_secs(30))
    }

    /// Stops its program where it is, as a machine that swaps or a virtual machine that is moved.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        self.paused.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.paused.store(false, Ordering::Relaxed);
        self.signal(Signal::SIGCONT)
    }

    /// Sets its clock so far before (or after) the machine's, from its program's next start if it never was
    /// set, at once otherwise.
    ///
    /// # Errors
    /// When libfaketime is not there.
    pub fn set_clock(&self, seconds: i64) -> Result<()> {
        if faketime().is_none() {
            bail!("setting a clock needs libfaketime: sudo apt-get install libfaketime");
        }
        // Replaced whole: it is read at every question for the time.
        let new = self.path("clock.new");
        fs::write(&new, format!("{seconds:+}"))?;
        Ok(fs::rename(new, self.clock_file())?)
    }

    /// Fills its disk to the last byte.
    ///
    /// # Errors
    /// When the filling cannot be written for another reason than want of room.
    pub fn fill(&self) -> Result<()> {
        let mut filling = File::create(self.data().join("filling"))?;
        let block = vec![0; 1 << 20];
        let mut size = block.len();
        while size > 0 {
            match filling.write(&block[..size]) {
                Ok(0) => size /= 2,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => size /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When the filling cannot be removed.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.data().join("filling")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What its program printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn clock_file(&self) -> PathBuf {
        self.path("clock")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        let child = program.as_ref().with_context(|| format!("nothing runs on {}", self.name))?;
        kill(Pid::from_raw(i32::try_from(child.id())?), signal)
            .with_context(|| format!("nothing runs on {}", self.name))
    }

    fn wait(&self, patience: Duration) -> Result<()> {
        if !eventually(patience, || self.runs() == Runs::No) {
            bail!("the program of {} has not ended after {patience:?}:\n{}", self.name, self.log());
        }
        Ok(())
    }

    /// Ends everything on it and removes it.
    pub(crate) fn clear(&mut self) {
        if let Some(mut child) = self.program.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.wait();
        }
        end_everything_under(&self.dir);
        let _ = umount2(&self.data(), MntFlags::MNT_DETACH);
        let _ = run(Command::new("ip").args(["netns", "delete", &self.netns]));
    }
}

/// Kills what outlived its program and names a folder of the host in its command line: shims, which take their
/// instances with them.
fn end_everything_under(dir: &Path) {
    let Some(text) = dir.to_str() else { return };
    let left = || {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            *pid > 1
                && *pid != i32::try_from(std::process::id()).unwrap_or(0)
                && line.windows(text.len()).any(|part| part == text.as_bytes())
        };
        pids.filter(ours).collect::<Vec<_>>()
    };
    eventually(Duration::from_secs(10), || {
        let left = left();
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        left.is_empty()
    });
}

fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join(FAKETIME)).find(|library| library.exists())
}
