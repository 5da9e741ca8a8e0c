//! Signing in with a real browser: invites, passwords, and what the pages look like.

use crate::{
    browser::Browser,
    world::{API, Ended, FREEHOLD, World},
};
use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

const PASSWORD: &str = "four words of ours";

#[test]
fn a_person_follows_an_invite_and_signs_in_with_a_browser() {
    let Some(world) = World::start() else { return };
    let invited = world.json(&["user", "create", "ada", "--role", "developer"]);
    let link = invited["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&format!("http://{API}/invite#fh_")), "{link}");
    let mut browser = Browser::start(&world);
    browser.open(&link);
    browser.wait_for_page("/invite", "Choose a password");
    // The script takes the invite out of the address, and its field out of sight.
    browser.wait("location.hash === '' && document.getElementById('pasted').hidden");
    browser.picture("invite");
    browser.fill("password", PASSWORD);
    browser.fill("again", PASSWORD);
    browser.click("Choose this password");
    browser.wait_for_page("/account", "Your account");
    browser.wait("document.body.innerText.includes('ada') && document.cookie === ''");
    browser.picture("account");
    browser.wait("document.querySelector('.who button').click() ?? true");
    browser.wait_for_page("/signin", "Sign in");
    browser.picture("signin");
    browser.fill("user", "ada");
    browser.fill("password", "wrong wrong wrong");
    browser.click("Sign in");
    browser.wait_for_page("/signin", "is wrong, or the account is locked");
    browser.picture("signin-wrong");
    browser.fill("password", PASSWORD);
    browser.click("Sign in");
    browser.wait_for_page("/account", "Your account");
    // Ended from elsewhere, the browser is nobody at its next step.
    let sessions = world.json(&["session", "list", "--all"]);
    world.freehold(&["session", "revoke", sessions[0]["id"].as_str().unwrap()]).ok();
    browser.open(&format!("http://{API}/account"));
    browser.wait_for_page("/signin", "Sign in");
    let secret = link.rsplit_once("#fh_").unwrap().1;
    assert!(!world.up_log().contains(secret), "the log has an invite");
}

#[test]
fn the_command_is_let_in_by_a_browser_elsewhere() {
    let Some(world) = World::start() else { return };
    let invited = world.json(&["user", "create", "ada", "--role", "developer"]);
    let url = format!("http://{API}");
    let freehold = |home: &str, args: &[&str]| {
        let mut command = world.command(FREEHOLD);
        command.env("FREEHOLD_HOME", world.path(home)).args(args).args(["--url", &url]);
        command
    };
    let invite = format!("{}\n{PASSWORD}\n", invited["link"].as_str().unwrap());
    Ended::of_fed(&mut freehold("first", &["login", "--invite"]), &invite).ok().says("user:ada");
    let mut browser = Browser::start(&world);
    for (allow, code) in [(true, 0), (false, 3)] {
        let mut login = freehold("second", &["login"]);
        let mut login = login.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(login.stderr.take().unwrap()).lines().map(Result::unwrap);
        let link = said.by_ref().find(|line| line.contains("/device?code=")).unwrap().trim().to_owned();
        browser.open(&link);
        if allow {
            browser.wait_for_page("/signin", "Sign in");
            browser.fill("user", "ada");
            browser.fill("password", PASSWORD);
            browser.click("Sign in");
        }
        browser.wait_for_page("/device", "127.0.0.1");
        let code_shown = link.rsplit_once('=').unwrap().1;
        browser.wait(&format!("document.body.innerText.includes({code_shown:?})"));
        if allow {
            browser.picture("device");
        }
        browser.click(if allow { "Allow" } else { "Refuse" });
        browser.wait_for_page("/device", if allow { "is signed in" } else { "Nothing was let in" });
        let rest: Vec<String> = said.collect();
        assert_eq!(login.wait().unwrap().code(), Some(code), "{rest:?}");
        assert_eq!(rest.iter().any(|line| line.contains("refused this sign-in")), !allow, "{rest:?}");
    }
    Ended::of(&mut freehold("second", &["whoami"])).ok().says("user:ada: developer");
}
