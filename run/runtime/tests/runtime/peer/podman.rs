//! What podman with runc says: asked now if this machine has it, else what it said when the files here were
//! written.

use super::Case;
use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// In a mount and a network namespace of its own, so that nothing of it stays on the machine. Without a
/// network of podman's own making: that would take a bridge. `$1`: an empty folder, `$2`: the layer.
const ASK: &str = r#"
set -eu
podman() {
    command podman --root "$work/root" --runroot "$work/run" --tmpdir "$work/tmp" --storage-driver overlay \
        --runtime /usr/sbin/runc --cgroup-manager cgroupfs --events-backend none "$@"
}
run() {
    podman run --network none --hostname web-1 --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@"
}
work=$1 layer=$2
tar -C "$layer" --xattrs --xattrs-include='security.*' -cf "$work/layer.tar" .
for user in root app; do
    podman import -q --change "USER $user" --change "WORKDIR /srv/app" "$work/layer.tar" "probe:$user" >/dev/null 2>&1
    run --rm "probe:$user" sh /probe.sh > "$work/$user.txt"
    run -d --name "$user" "probe:$user" sleep 1000 >/dev/null
    podman exec "$user" sh /probe.sh > "$work/exec-$user.txt"
    podman rm -f -t 0 "$user" >/dev/null
done
"#;

pub(super) struct Answers {
    /// By the name of the case.
    pub(super) texts: BTreeMap<&'static str, String>,
    /// Whether podman said it now, on this machine.
    pub(super) asked: bool,
}

/// What the probe says in containers of podman's of the image in `layer`.
pub(super) fn answers(layer: &Path) -> Answers {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runtime/peer/podman");
    let read = |dir: &Path| -> BTreeMap<&'static str, String> {
        let text = |case: Case| fs::read_to_string(dir.join(case.name()).with_extension("txt")).unwrap();
        Case::ALL.map(|case| (case.name(), text(case))).into()
    };
    if !has("podman") || !Path::new("/usr/sbin/runc").exists() {
        eprintln!("podman or runc is not here: compared with what it said in {}", files.display());
        return Answers { texts: read(&files), asked: false };
    }
    let work = tempfile::tempdir().unwrap();
    let mut ask = Command::new("unshare");
    ask.args(["--mount", "--net", "--propagation", "private", "bash", "-c", ASK, "ask"]);
    let asked = ask.args([work.path(), layer]).output().unwrap();
    assert!(asked.status.success(), "podman fails: {}", String::from_utf8_lossy(&asked.stderr));
    let texts = read(work.path());
    if std::env::var_os("UPDATE").is_some() {
        for (name, text) in &texts {
            fs::write(files.join(name).with_extension("txt"), format!("# {}\n{text}", versions())).unwrap();
        }
    }
    Answers { texts, asked: true }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn versions() -> String {
    let of = |program: &str| {
        let output = Command::new(program).arg("--version").output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().next().unwrap_or_default().to_owned()
    };
    format!("{}, {}; written by UPDATE=1", of("podman"), of("/usr/sbin/runc"))
}
