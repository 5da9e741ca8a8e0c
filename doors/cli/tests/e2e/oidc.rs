//! Freehold as the OpenID provider of an app: from its manifest to a person signed in and out, by two clients that
//! somebody else wrote (authlib, openid-client), each in its own way.

use crate::world::{API, Ended, FREEHOLD, World};
use std::process::Command;

const PASSWORD: &str = "four words of ours";
const MANIFEST: &str = r#"
schema = 1
app = "photos"

[process.web]
image = "photos:1"
memory = "32MiB"
stop_timeout = "1s"

[[endpoint]]
process = "web"
listen = 8000
target = 8080

[sign_in]
process = "web"
redirect = ["http://127.0.0.1:8000/callback"]
after_sign_out = ["http://127.0.0.1:8000/"]
"#;

/// Where the clients are, or `None`, said aloud, where they cannot be had.
fn clients() -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/oidc-clients.sh");
    let made = Ended::of(&mut Command::new(script));
    if made.code != 0 {
        eprintln!("SKIPPED: the OpenID clients cannot be had: {}", made.err);
        return None;
    }
    Some(made.out.trim().to_owned())
}

#[test]
fn an_app_signs_people_in_by_clients_of_others() {
    let Some(mut world) = World::new() else { return };
    let Some(tools) = clients() else { return };
    let issuer = format!("http://{API}");
    world.up(&[]);
    world.push_busybox("photos:1");
    let file = world.write("freehold.toml", MANIFEST);
    world.freehold(&["plan", "-f", &file]).exits(2).says("--public-url");
    world.terminate();
    world.up(&["--public-url", &issuer]);
    world.freehold(&["plan", "-f", &file]).ok().says("default.photos.prod").says("OIDC_CLIENT_SECRET");
    world.freehold(&["oidc", "clients"]).ok().says("People sign in to no app");
    world.freehold(&["deploy", "-f", &file]).ok();
    let all = world.json(&["oidc", "clients"]);
    assert_eq!(all[0]["client_id"], "default.photos.prod", "{all}");
    // What the instance is told; nobody else is.
    let inside = |name: &str| {
        let line = format!("echo ${name}");
        world.freehold(&["exec", "-a", "photos", "--", "/bin/sh", "-c", &line]).ok().out.trim().to_owned()
    };
    let secret = inside("OIDC_CLIENT_SECRET");
    assert_eq!((secret.len(), inside("OIDC_ISSUER")), (64, issuer.clone()));
    let invited = world.json(&["user", "create", "ada", "--role", "viewer", "--full-name", "Ada L."]);
    let mut login = world.command(FREEHOLD);
    login.env("FREEHOLD_HOME", world.path("ada")).args(["login", "--invite", "--url", &issuer]);
    let said = invited["invite"].as_str().unwrap();
    Ended::of_fed(&mut login, &format!("{said}\n{PASSWORD}\n")).ok();

    let walk = |program: String, script: &str, more: &[&str]| {
        let script = format!("{}/tests/e2e/oidc/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut command = world.command(program);
        command.arg(script).args(more).envs([
            ("OIDC_ISSUER", &*issuer),
            ("OIDC_CLIENT_ID", "default.photos.prod"),
            ("OIDC_CLIENT_SECRET", &secret),
            ("REDIRECT", "http://127.0.0.1:8000/callback"),
            ("AFTER", "http://127.0.0.1:8000/"),
            ("PASSWORD", PASSWORD),
            ("TOOLS", &tools),
        ]);
        Ended::of(&mut command).ok().says("walked");
    };
    let python = format!("{tools}/authlib/bin/python");
    walk(python.clone(), "with_authlib.py", &["client_secret_basic"]);
    walk(format!("{tools}/node/run"), "with_openid_client.mjs", &[]);
    // A client that knows the keys of before fetches the new one.
    world.freehold(&["oidc", "rotate-keys"]).ok().says("published");
    walk(python, "with_authlib.py", &["client_secret_post"]);

    let state = world.sh(&format!("grep -rlF -- '{secret}' {} | wc -l", world.data().display()));
    assert_eq!((state.out.trim(), world.up_log().contains(&secret)), ("0", false), "the secret is on a disk");
    // Without the app there is no client; rolled out again without `[sign_in]`, there is none either.
    let plain = MANIFEST.split("[sign_in]").next().unwrap();
    world.write("freehold.toml", plain);
    world.freehold(&["deploy", "-f", &file]).ok();
    world.freehold(&["oidc", "clients"]).ok().says("People sign in to no app");
    world.freehold(&["rollback", "-a", "photos"]).ok();
    assert_eq!(inside("OIDC_CLIENT_SECRET"), secret);
    world.freehold(&["oidc", "clients"]).ok().says("default.photos.prod");
    world.freehold(&["app", "delete", "photos", "-y"]).ok();
    assert_eq!(world.json(&["oidc", "clients"]).as_array().map(Vec::len), Some(0));
}
