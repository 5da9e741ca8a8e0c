//! The runbooks for the secret root key and the admin's credentials: every command of them, in order, while
//! visitors are served and secrets are set.

use crate::world::{Ended, FREEHOLD, World, wait_for, workspace};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const MANIFEST: &str = r#"
schema = 1
app = "safe"

[process.web]
image = "safe:1"
command = ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]
memory = "32MiB"
secrets = ["PIN"]
check = { http = "/", port = 8080, every = "200ms", timeout = "2s", grace = "10s" }

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#;

/// The commands of a runbook as one script. What a service manager does, the test does when it is asked.
fn script(name: &str) -> String {
    let text = fs::read_to_string(workspace().join(format!("docs/runbooks/{name}.md"))).unwrap();
    let blocks: Vec<&str> =
        text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "{name}");
    format!(
        "set -euo pipefail\nset -x\nfreehold() {{ {FREEHOLD} \"$@\"; }}\n\
         systemctl() {{ [ \"$*\" = 'restart freehold' ]; touch wanted; until [ -e done ]; do sleep 0.05; done; }}\n{}",
        blocks.concat()
    )
}

fn begin(world: &World, name: &str) -> Child {
    let mut shell = world.command("bash");
    shell.args(["-c", &script(name)]).env("FREEHOLD_DATA", world.data());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(shell: Child) {
    let done = shell.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn house() -> Option<World> {
    let world = World::start()?;
    world.push_busybox("safe:1");
    let file = world.write("freehold.toml", MANIFEST);
    world.freehold_with(&["secret", "set", "PIN", "-a", "safe"], "one-value-of-many\n").ok();
    world.freehold(&["deploy", "-f", &file]).ok();
    Some(world)
}

/// Asks for the page until `stop`; answers with whatever was not the page, and how often it was asked for.
fn visit(mut curl: impl FnMut() -> Command, stop: &AtomicBool) -> (u32, Vec<String>) {
    let (mut count, mut failures) = (0, vec![]);
    while !stop.load(Ordering::Relaxed) {
        let ended = Ended::of(&mut curl());
        if ended.out != "hello\n" {
            failures.push(format!("{ended:?}"));
        }
        count += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    (count, failures)
}

/// Sets it when dropped, so that a failed assertion ends the load.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_root_key_is_rotated_while_secrets_are_set_and_used() {
    let Some(world) = house() else { return };
    let before = world.freehold(&["key", "show"]).ok().out;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let visitor = scope.spawn(|| visit(|| curl(&world), &stop));
        let setter = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                let value = format!("value-number-{count}\n");
                world.freehold_with(&["secret", "set", "OTHER", "-a", "safe"], &value).ok();
            }
            count
        });
        let set = || world.json(&["secret", "list", "-a", "safe"]).as_array().map_or(0, Vec::len);
        wait_for("a secret to be set", set, |count| *count == 2);
        end(begin(&world, "rotate-secret-root-key"));
        drop(stopping);
        let (visits, failures) = visitor.join().unwrap();
        assert!(visits > 0 && failures.is_empty(), "{failures:#?}");
        assert!(setter.join().unwrap() > 0);
    });
    assert_ne!(world.freehold(&["key", "show"]).ok().out, before);
    // A new instance opens what was sealed before.
    world.freehold_with(&["secret", "rotate", "PIN", "-a", "safe", "--deploy"], "another-value\n").ok();
    let pin = world.freehold(&["exec", "-a", "safe", "--", "/bin/sh", "-c", "echo $PIN"]).ok();
    assert_eq!(pin.out.trim_end(), "another-value");
}

#[test]
fn the_admins_token_is_replaced_while_visitors_are_served() {
    let Some(mut world) = house() else { return };
    let old = world.token();
    let stop = AtomicBool::new(false);
    let netns = world.netns().to_owned();
    let curl = || {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{netns}")).args(["--", "curl", "-sS", "--max-time", "5"]);
        // The proxy is this process: while it starts anew, visitors try again as a browser does.
        command.args(["--retry", "20", "--retry-all-errors", "--retry-delay", "1", "http://127.0.0.1:8000/"]);
        command
    };
    let (visits, failures) = std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let visitor = scope.spawn(|| visit(&curl, &stop));
        let shell = begin(&world, "rotate-admin-credentials");
        let folder = world.path("");
        let wanted = |name: &str| Path::new(&folder).join(name).exists();
        wait_for("the runbook to ask for a restart", || wanted("wanted"), |asked| *asked);
        assert_eq!(world.terminate(), Some(0));
        world.up(&[]);
        fs::write(folder.join("done"), "").unwrap();
        end(shell);
        drop(stopping);
        visitor.join().unwrap()
    });
    assert!(visits > 0 && failures.is_empty(), "{failures:#?}");
    assert_ne!(world.token(), old);
    Ended::of(world.command(FREEHOLD).arg("whoami").env("FREEHOLD_TOKEN", &old)).exits(3);
    assert_eq!(world.instances("safe").len(), 1);
}

fn curl(world: &World) -> Command {
    let mut command = world.command("curl");
    command.args(["-sS", "--max-time", "5", "http://127.0.0.1:8000/"]);
    command
}
