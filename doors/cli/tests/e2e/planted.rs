//! Planted values: secrets that a test makes up, and looks for everywhere afterwards (invariant 7).
//!
//! Every [`World`] has one in the environment of every command, `freehold up` included, and a scenario
//! plants those that it sets as secrets. What commands print is searched at once; when a world ends,
//! and whenever [`World::assert_nothing_leaked`] is called, so are all files of its machine (the database
//! with its log, journals, instances with what they wrote, logs, core files) and the arguments of every
//! process. A value is looked for as it is, in base64 and in hexadecimal.

use crate::world::{Ended, World, wait_for};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The variable that carries a world's own.
pub(crate) const VARIABLE: &str = "FREEHOLD_PLANTED";

/// The values planted in one world; the first is in the environment.
#[derive(Debug)]
pub(crate) struct Planted(Mutex<Vec<String>>);

impl Planted {
    pub(crate) fn new() -> Planted {
        Planted(Mutex::new(vec![fresh()]))
    }

    pub(crate) fn in_environment(&self) -> String {
        self.0.lock().unwrap()[0].clone()
    }

    /// Every way in which a value may be written down.
    fn needles(&self) -> Vec<String> {
        let written = |value: &String| {
            let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
            [value.clone(), base64(value), hex]
        };
        self.0.lock().unwrap().iter().flat_map(written).collect()
    }
}

impl World {
    /// A value that may be seen nowhere but in the workload that it is given to.
    pub(crate) fn plant(&self) -> String {
        let value = fresh();
        self.planted.0.lock().unwrap().push(value.clone());
        value
    }

    /// From here on `value` may be seen nowhere.
    pub(crate) fn plant_value(&self, value: &str) {
        self.planted.0.lock().unwrap().push(value.to_owned());
    }

    /// Fails if a command said what it may not. What a workload itself says is its own business.
    pub(crate) fn assert_says_no_secret(&self, args: &[&str], ended: &Ended) {
        let verb = args.iter().find(|arg| !arg.starts_with('-'));
        if matches!(verb, Some(&"exec" | &"logs")) {
            return;
        }
        let needles = self.planted.needles();
        let leaked = needles.iter().any(|one| ended.out.contains(one) || ended.err.contains(one));
        assert!(!leaked, "`freehold {}` says a planted value", args.join(" "));
    }

    /// Fails if any planted value can be found on the machine.
    pub(crate) fn assert_nothing_leaked(&self) {
        let leaks = self.leaks();
        assert!(leaks.is_empty(), "planted values were found: {leaks:#?}");
    }

    /// Where planted values are found.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let needles = self.planted.needles();
        let folder = self.data().parent().unwrap().to_owned();
        let mut leaks = files_with(&folder, &needles);
        leaks.extend(processes_with(&folder, &needles));
        leaks
    }
}

/// Forty characters that nothing else has.
fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!(
        "planted-{now:024}-{:04x}-{:04x}",
        std::process::id() & 0xffff,
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// By grep, which is fast in unoptimised builds as well.
fn files_with(folder: &Path, needles: &[String]) -> Vec<String> {
    let mut grep = Command::new("grep");
    grep.args(["-r", "-l", "-a", "-F", "--devices=skip", "-f", "-"]).arg(folder);
    let mut grep = grep.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    grep.stdin.take().unwrap().write_all(needles.join("\n").as_bytes()).unwrap();
    let found = grep.wait_with_output().unwrap();
    // 0: found; 1: not found; 2: something could not be read, such as a file that went meanwhile.
    String::from_utf8_lossy(&found.stdout).lines().map(|line| format!("file {line}")).collect()
}

/// Arguments of all processes; and the environment of shims, which is not the instances' own.
fn processes_with(folder: &Path, needles: &[String]) -> Vec<String> {
    let mut found = vec![];
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| {
            let bytes = fs::read(process.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let arguments = read("cmdline");
        let shows = |text: &str| needles.iter().any(|needle| text.contains(needle.as_str()));
        if shows(&arguments) {
            found.push(format!("arguments of process {}", process.path().display()));
        }
        let is_shim = arguments.contains("\0shim\0") && arguments.contains(folder.to_str().unwrap());
        if is_shim && shows(&read("environ")) {
            found.push(format!("environment of shim {}", process.path().display()));
        }
    }
    found
}

/// RFC 4648, without what the last characters depend on.
fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = text.as_bytes().chunks_exact(3);
    let letters = whole.flat_map(|three| {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        [18, 12, 6, 0].map(|shift| LETTERS[(bits >> shift) as usize & 63] as char)
    });
    letters.collect()
}

/// The search itself must be able to fail.
#[test]
fn a_leak_is_found_however_it_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let planted = Planted::new();
    let value = planted.in_environment();
    assert!(files_with(folder.path(), &planted.needles()).is_empty());
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (name, text) in [("plain", value.clone()), ("base64", base64(&value)), ("hex", hex)] {
        let file = folder.path().join(name);
        fs::write(&file, [b"\0\xffbinary ", text.as_bytes(), b"\0"].concat()).unwrap();
        assert_eq!(files_with(folder.path(), &planted.needles()).len(), 1, "{name}");
        fs::remove_file(file).unwrap();
    }
    let mut sleeper = Command::new("sleep").args(["30"]).arg0_of(&value).spawn().unwrap();
    // Its arguments are to be seen a moment after it has started.
    let look = || processes_with(folder.path(), &planted.needles());
    let found = wait_for("the arguments", look, |found| !found.is_empty());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
}

/// Gives a command another name for itself.
trait Named {
    fn arg0_of(&mut self, name: &str) -> &mut Command;
}

impl Named for Command {
    fn arg0_of(&mut self, name: &str) -> &mut Command {
        std::os::unix::process::CommandExt::arg0(self, name)
    }
}
