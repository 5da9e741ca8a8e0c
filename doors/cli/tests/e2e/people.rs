//! People and machines with less than everything: tokens by command, and what they may do with it.

use crate::world::{Ended, FREEHOLD, World};
use std::io::Read as _;

/// Runs `freehold ARGS` with another token than the admin's.
fn with(world: &World, token: &str, args: &[&str]) -> Ended {
    Ended::of(world.command(FREEHOLD).env("FREEHOLD_TOKEN", token).args(args))
}

fn token(world: &World, args: &[&str]) -> String {
    let made = world.json(&[&["token", "create"], args].concat());
    made["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_machine_gets_as_far_as_its_token_and_no_further() {
    let Some(world) = World::start() else { return };
    world.freehold(&["org", "create", "elsewhere"]).ok();
    world.freehold(&["project", "create", "hidden", "--org", "elsewhere"]).ok();
    let ci = token(&world, &["ci", "--role", "developer", "--expires", "1d"]);
    let eye = token(&world, &["eye", "--role", "viewer", "--org", "home"]);
    with(&world, &ci, &["whoami"]).ok().says("token:ci: developer of project default");
    with(&world, &ci, &["secret", "list"]).ok();
    with(&world, &ci, &["node", "list"]).ok().says("no nodes");
    with(&world, &ci, &["doctor"]).exits(3).says("You may not read resources");
    with(&world, &eye, &["--json", "node", "list"]).ok().says("nod_");
    let projects = with(&world, &ci, &["project", "list"]).ok().says("default");
    assert!(!projects.out.contains("hidden"), "{projects:#?}");
    with(&world, &ci, &["project", "create", "mine"]).exits(3).says("manage-projects");
    with(&world, &ci, &["token", "create", "more", "--role", "viewer"]).exits(3);
    let hidden = with(&world, &ci, &["app", "delete", "x", "-y", "--project", "hidden"]).exits(4);
    let nowhere = with(&world, &ci, &["app", "delete", "x", "-y", "--project", "nowhere"]).exits(4);
    assert_eq!(hidden.err.replace("hidden", "nowhere"), nowhere.err);
    // What it takes is explained, to the machine and to the admin.
    with(&world, &ci, &["access", "explain", "manage-tokens"]).ok().says("it takes admin");
    world.freehold(&["access", "explain", "deploy", "--all"]).ok().says("token:ci").says("no");
    world.freehold(&["token", "list"]).ok().says("developer of project default");
    world.freehold(&["token", "revoke", "ci"]).ok();
    with(&world, &ci, &["whoami"]).exits(3);
    world.freehold(&["token", "revoke", "ci"]).exits(4);
    let log = world.up_log();
    assert!(!log.contains(&ci[3..]) && !log.contains(&eye[3..]), "the log has a token");
}

#[test]
fn a_stream_ends_when_its_token_is_revoked() {
    let Some(world) = World::start() else { return };
    let eye = token(&world, &["eye", "--role", "viewer"]);
    let mut follow = world.command("curl");
    let url = format!("http://{}/v1/watch?from=0", crate::world::API);
    follow.args(["-sSN", "--max-time", "60", "-H", &format!("Authorization: Bearer {eye}"), &url]);
    let mut started = follow.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = [0; 3];
    started.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    world.freehold(&["token", "revoke", "eye"]).ok();
    let ended = started.wait_with_output().unwrap();
    // 28 is the end of curl's own patience.
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
fn a_person_takes_an_invite_signs_in_and_out_and_is_removed() {
    let Some(world) = World::start() else { return };
    let invited = world.json(&["user", "create", "ada", "--role", "developer", "--full-name", "Ada L."]);
    let invite = invited["invite"].as_str().unwrap().to_owned();
    world.freehold(&["user", "list"]).ok().says("invited");
    let url = format!("http://{}", crate::world::API);
    // Ada has settings of her own.
    let ada = |args: &[&str], input: &str| {
        let mut command = world.command(FREEHOLD);
        command.env("FREEHOLD_HOME", world.path("ada")).args(args).args(["--url", &url]);
        Ended::of_fed(&mut command, input)
    };
    ada(&["whoami"], "").exits(3);
    ada(&["login", "--invite"], &format!("{invite}\nshort\n")).exits(2).says("12 to 256");
    ada(&["login", "--invite"], &format!("{invite}\nfour words of ours\n")).ok().says("user:ada");
    ada(&["login", "--invite"], &format!("{invite}\nfour words of ours\n")).exits(4);
    ada(&["whoami"], "").ok().says("user:ada: developer of project default");
    let kept = std::fs::metadata(world.path("ada/logins.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777, 0o600);
    // Commands ask the server that she signed in to, and the owner's go on asking their own.
    let plain = |args: &[&str]| {
        let mut command = world.command(FREEHOLD);
        Ended::of_fed(command.env("FREEHOLD_HOME", world.path("ada")).args(args), "")
    };
    plain(&["whoami"]).ok().says("user:ada");
    plain(&["context", "list"]).ok().says("local").says(&url);
    plain(&["context", "use", "nope"]).exits(4).says("There are: local.");
    plain(&["context", "rm", "local"]).ok();
    plain(&["whoami"]).exits(2).says("no server is known");
    ada(&["logout"], "").ok();
    ada(&["whoami"], "").exits(3);
    ada(&["login", "--user", "ada"], "wrong wrong wrong\n").exits(3).says("wrong, or the account is locked");
    ada(&["login", "--user", "ada"], "four words of ours\n").ok();
    ada(&["session", "list"], "").ok().says("127.0.0.1").says("(this one)");
    ada(&["user", "list"], "").exits(3);
    world.freehold(&["user", "role", "ada", "--give", "viewer"]).ok().says("viewer of project default");
    ada(&["whoami"], "").ok().says("viewer");
    world.freehold(&["access", "explain", "deploy", "--of-user", "ada"]).ok().says("it takes developer");
    world.freehold(&["user", "delete", "ada", "-y"]).ok();
    ada(&["whoami"], "").exits(3);
    for secret in [&invite[3..], "four words of ours"] {
        assert!(!world.up_log().contains(secret), "the log has a secret");
        let state = world.sh(&format!("grep -rc -- '{secret}' {}", world.data().join("state.db").display()));
        assert!(state.out.trim() == "0", "the state has a secret: {state:#?}");
    }
}
