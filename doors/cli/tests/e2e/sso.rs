//! Signing in to Freehold with a provider that somebody else wrote (npm's certified oidc-provider), in a real browser:
//! refused while unlinked, linked, signed in with, an invite taken with it; and what the owner of the house sees.

use crate::{
    browser::Browser,
    world::{API, Ended, FREEHOLD, World},
};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    time::Duration,
};

const PASSWORD: &str = "four words of ours";
const SECRET: &str = "a secret of acme and the house: &=%+";
/// Another site than the house's 127.0.0.1, as providers are.
const ISSUER: &str = "http://localhost:3999";

/// Where the provider is, or `None`, said aloud, where it cannot be had.
fn tools() -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/oidc-provider.sh");
    let made = Ended::of(&mut Command::new(script));
    if made.code != 0 {
        eprintln!("SKIPPED: the OpenID provider cannot be had: {}", made.err);
        return None;
    }
    Some(made.out.trim().to_owned())
}

/// The provider, which ends with the test.
struct Acme(Child);

impl Acme {
    fn start(world: &World, tools: &str) -> Acme {
        let mut command = world.command(format!("{tools}/run"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/sso/provider.mjs")).envs([
            ("TOOLS", tools),
            ("ISSUER", ISSUER),
            ("CLIENT_SECRET", SECRET),
            ("REDIRECT", &format!("http://{API}/signin/with/acme/callback")),
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (acme, (send, ready)) = (Acme(child), channel());
        // To its end, or the provider's next line would end it.
        std::thread::spawn(move || {
            for _ in said.filter(|line| line == "ready") {
                let _ = send.send(());
            }
        });
        ready.recv_timeout(Duration::from_secs(30)).expect("the provider listens");
        acme
    }
}

impl Drop for Acme {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn people_sign_in_with_a_provider_of_others() {
    let Some(mut world) = World::new() else { return };
    let Some(tools) = tools() else { return };
    let house = format!("http://{API}");
    world.up(&["--public-url", &house]);
    let acme = Acme::start(&world, &tools);
    let set = |secret: &str| {
        let file = world.write("secret.txt", &format!("{secret}\n"));
        let args = ["sso", "set", "acme", "--title", "Acme", "--issuer", ISSUER, "--client-id", "freehold"];
        world.freehold(&[&args[..], &["--client-secret-file", &file]].concat()).ok()
    };
    set("another").says(&format!("{house}/signin/with/acme/callback"));
    let wrong = world.freehold(&["sso", "check", "acme"]).exits(8);
    assert!(wrong.out.contains("invalid_client"), "{wrong:?}");
    set(SECRET);
    world.freehold(&["sso", "check", "acme"]).ok().says("People can sign in with acme");
    // What is sealed follows the root key.
    world.freehold(&["key", "rotate"]).ok();
    world.freehold(&["sso", "check", "acme"]).ok();

    let invited = world.json(&["user", "create", "ada", "--role", "developer"]);
    let mut login = world.command(FREEHOLD);
    login.env("FREEHOLD_HOME", world.path("ada")).args(["login", "--invite", "--url", &house]);
    Ended::of_fed(&mut login, &format!("{}\n{PASSWORD}\n", invited["invite"].as_str().unwrap())).ok();

    let mut browser = Browser::start(&world);
    let there = |browser: &mut Browser, who: &str| {
        browser.wait("location.origin === 'http://localhost:3999' && document.title === 'Acme'");
        browser.fill("login", who);
        browser.click("Sign in");
    };
    browser.open(&format!("{house}/signin"));
    browser.wait_for_page("/signin", "Sign in with Acme");
    browser.picture("sso-signin");
    browser.click("Sign in with Acme");
    browser.wait("document.title === 'Acme'");
    browser.click("Cancel");
    browser.wait_for_page("/signin/with/acme/callback", "cancelled at Acme");
    browser.open(&format!("{house}/signin"));
    browser.wait_for_page("/signin", "Sign in with Acme");
    browser.click("Sign in with Acme");
    there(&mut browser, "ada-there");
    browser.wait_for_page("/signin/with/acme/callback", "Nothing was made of it");
    browser.picture("sso-stranger");
    // What came back is good once.
    browser.value("location.reload()");
    browser.wait_for_page("/signin/with/acme/callback", "did not begin in this browser");
    assert_eq!(world.json(&["user", "list"]).as_array().map(Vec::len), Some(1), "somebody was made");

    browser.open(&format!("{house}/account"));
    browser.wait_for_page("/signin", "Sign in");
    browser.fill("user", "ada");
    browser.fill("password", PASSWORD);
    browser.click("Sign in");
    browser.wait_for_page("/account", "Other ways to sign in");
    browser.picture("sso-account");
    browser.fill_in("#link-password", PASSWORD);
    browser.click("Link Acme");
    // They are signed in there yet.
    browser.wait_for_page("/account", "ada-there@acme");
    browser.picture("sso-account-linked");
    browser.wait("document.querySelector('.who button').click() ?? true");
    browser.wait_for_page("/signin", "Sign in with Acme");
    browser.click("Sign in with Acme");
    browser.wait_for_page("/account", "ada-there@acme");
    let audit = world.freehold(&["audit", "list"]).ok();
    assert!(
        audit.out.contains("user.identity_linked") && audit.out.contains("identity_provider.set"),
        "{audit:?}"
    );
    let opened = world.freehold(&["events", "--json"]).ok();
    assert!(opened.out.contains("\"by\": \"provider acme\""), "{opened:?}");

    // Somebody who is invited needs no password at all.
    let invited = world.json(&["user", "create", "bob"]);
    browser.call("Network.clearBrowserCookies", serde_json::json!({}));
    browser.open(invited["link"].as_str().unwrap());
    browser.wait_for_page("/invite", "Without a password");
    browser.picture("sso-invite");
    browser.click("Without a password: sign in with Acme");
    there(&mut browser, "bob-there");
    browser.wait_for_page("/account", "bob-there@acme");
    browser.click("Unlink");
    browser.wait_for_page("/account/providers", "your only way to sign in");
    world.freehold(&["sso", "list"]).ok().says("2");
    world.freehold(&["sso", "remove", "acme"]).exits(5).says("bob");
    world.freehold(&["sso", "remove", "acme", "--force"]).ok();
    browser.call("Network.clearBrowserCookies", serde_json::json!({}));
    browser.open(&format!("{house}/signin"));
    browser.wait_for_page("/signin", "Sign in");
    assert_eq!(browser.value("document.body.innerText.includes('Acme')"), Some(false.into()));

    drop(acme);
    let kept = world.sh(&format!("grep -rlF -- '{SECRET}' {} | wc -l", world.data().display()));
    assert_eq!((kept.out.trim(), world.up_log().contains(SECRET)), ("0", false), "the secret is on a disk");
}
