//! Pulling and unpacking an image of 500 MB: `freehold image pull --unpack` beside `skopeo copy` to an OCI
//! layout and `umoci unpack`. One registry (Debian's docker-registry) on loopback serves both, its files in
//! the page cache; each round begins with nothing fetched.

use super::{median, report::Report, shell};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

const ROUNDS: usize = 5;
const REGISTRY: &str = "127.0.0.1:23850";
const API: &str = "127.0.0.1:23851";
const LAYERS: usize = 5;

/// The files of each layer: how many, and of how many bytes. About 100 MB, as packages of a distribution
/// are: most files small, most bytes in large ones.
const FILES: [(usize, usize); 4] = [(2500, 3_000), (800, 16_000), (200, 130_000), (9, 6_000_000)];

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let layout = image()?;
    let registry = Registry::start(&layout)?;
    let (mut ours, mut theirs, mut synced) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        ours.push(freehold().context("freehold image pull")?);
        let (plain, durable) = skopeo_and_umoci().context("skopeo and umoci")?;
        theirs.push(plain);
        synced.push(durable);
    }
    drop(registry);
    let packed: u64 = size(&layout.join("blobs/sha256"))?;
    report.section(
        "Pull and unpack",
        &format!(
            "An image of {LAYERS} gzip layers, 500 MB unpacked, {} MB packed, {} files, from docker-registry on loopback to the \
             same disk; nothing cached on the pulling side; median of {ROUNDS}. What Freehold has unpacked is durable (each \
             layer is synced before it appears) and every digest was checked twice; the second row of the others adds \
             `sync -f` to be durable too.",
            packed / 1_000_000,
            LAYERS * FILES.iter().map(|(count, _)| count).sum::<usize>(),
        ),
        &["", "median", "fastest", "slowest", "times Freehold"],
    );
    let aim = median(ours.clone());
    for (who, times) in [
        ("`freehold image pull --unpack`", ours),
        ("`skopeo copy` + `umoci unpack`", theirs),
        ("the same + `sync -f`", synced),
    ] {
        let (low, high) = times.iter().fold((f64::MAX, 0.0f64), |(low, high), t| (low.min(*t), high.max(*t)));
        let middle = median(times);
        let seconds = |time: f64| format!("{time:.2} s");
        report.row(vec![
            who.into(),
            seconds(middle),
            seconds(low),
            seconds(high),
            format!("{:.1}", middle / aim),
        ]);
    }
    Ok(())
}

fn freehold() -> Result<f64> {
    let dir = tempfile::tempdir_in("target")?;
    let program = fs::canonicalize("target/release/freehold")?;
    let home = dir.path().join("home");
    let mut up = Command::new(&program);
    up.args(["up", "--listen", API, "--data"]).arg(dir.path().join("data")).env("FREEHOLD_HOME", &home);
    let _up = Running(up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let run = |args: &[&str]| shell::run(Command::new(&program).args(args).env("FREEHOLD_HOME", &home));
    shell::wait("freehold up", || run(&["status"]).is_ok())?;
    settle()?;
    let start = Instant::now();
    run(&["image", "pull", &format!("{REGISTRY}/bench:1"), "--unpack"])?;
    let took = start.elapsed().as_secs_f64();
    let layers = fs::read_dir(dir.path().join("data/images/layers"))?.count();
    anyhow::ensure!(layers == LAYERS, "{layers} layers were unpacked");
    Ok(took)
}

/// Seconds until it is unpacked, and until that is on disk.
fn skopeo_and_umoci() -> Result<(f64, f64)> {
    let dir = tempfile::tempdir_in("target")?;
    let (layout, bundle) = (dir.path().join("layout"), dir.path().join("bundle"));
    settle()?;
    let start = Instant::now();
    shell::run(
        Command::new("skopeo")
            .args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"])
            .arg(format!("docker://{REGISTRY}/bench:1"))
            .arg(format!("oci:{}:1", layout.display())),
    )?;
    let image = format!("{}:1", layout.display());
    shell::run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
    let unpacked = start.elapsed().as_secs_f64();
    shell::run(Command::new("sync").arg("-f").arg(&bundle))?;
    Ok((unpacked, start.elapsed().as_secs_f64()))
}

/// Lets the disk finish what was written before, so that nobody pays for another's bytes.
fn settle() -> Result<()> {
    shell::run(&mut Command::new("sync")).map(drop)
}

/// The layout with the image, made once.
fn image() -> Result<PathBuf> {
    let layout = PathBuf::from("target/bench/pull");
    if layout.join("complete").exists() {
        return Ok(layout);
    }
    let _ = fs::remove_dir_all(&layout);
    fs::create_dir_all("target/bench")?;
    let tag = format!("{}:1", layout.display());
    shell::run(Command::new("umoci").args(["init", "--layout"]).arg(&layout))?;
    shell::run(Command::new("umoci").args(["new", "--image", &tag]))?;
    for layer in 0..LAYERS {
        let dir = tempfile::tempdir_in("target")?;
        fill(dir.path(), layer)?;
        let insert = ["insert", "--image", &tag];
        shell::run(Command::new("umoci").args(insert).arg(dir.path()).arg(format!("/layer{layer}")))?;
    }
    shell::run(Command::new("umoci").args(["gc", "--layout"]).arg(&layout))?;
    File::create(layout.join("complete"))?;
    Ok(layout)
}

/// Files that compress to about 40 %, as programs and texts do.
fn fill(dir: &Path, layer: usize) -> Result<()> {
    let mut noise = Noise(layer as u64 + 1);
    for (kind, (count, size)) in FILES.iter().enumerate() {
        for number in 0..*count {
            let folder = dir.join(format!("{kind}/{}", number / 50));
            fs::create_dir_all(&folder)?;
            let mut file = BufWriter::new(File::create(folder.join(format!("file-{number}")))?);
            let mut left = size / 2 + noise.below(*size);
            while left > 0 {
                let mut part = [0; 48];
                noise.part(&mut part);
                let most = left.min(part.len());
                file.write_all(&part[..most])?;
                left -= most;
            }
            file.flush()?;
        }
    }
    Ok(())
}

/// A generator of numbers that are the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap_or_default() % limit
    }

    /// A third noise, the rest one of a few hundred words.
    fn part(&mut self, part: &mut [u8; 48]) {
        for byte in &mut part[..16] {
            *byte = self.next() as u8;
        }
        let mut word = Noise(self.next() % 256);
        for byte in &mut part[16..] {
            *byte = b'a' + (word.next() % 26) as u8;
        }
    }
}

/// docker-registry with the image in it.
struct Registry {
    _running: Running,
    _dir: tempfile::TempDir,
}

impl Registry {
    fn start(layout: &Path) -> Result<Registry> {
        let dir = tempfile::tempdir_in("target")?;
        let root = fs::canonicalize(dir.path())?;
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{REGISTRY}'}}\n",
            root.display()
        );
        let file = dir.path().join("config.yml");
        fs::write(&file, config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running(command.spawn().context("cannot run docker-registry")?);
        let url = format!("http://{REGISTRY}/v2/");
        shell::wait("docker-registry", || {
            shell::run(Command::new("curl").args(["-sf", "--max-time", "1", &url])).is_ok()
        })?;
        shell::run(
            Command::new("skopeo")
                .args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"])
                .arg(format!("oci:{}:1", layout.display()))
                .arg(format!("docker://{REGISTRY}/bench:1")),
        )?;
        Ok(Registry { _running: running, _dir: dir })
    }
}

/// A program that ends with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn size(dir: &Path) -> Result<u64> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
