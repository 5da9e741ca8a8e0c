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

#[test]
fn a_second_factor_is_asked_for_by_browser_and_by_command_and_an_admin_takes_it_away() {
    let Some(world) = World::start() else { return };
    let invited = world.json(&["user", "create", "ada", "--role", "developer"]);
    let url = format!("http://{API}");
    let ada = |args: &[&str], input: &str| {
        let mut command = world.command(FREEHOLD);
        command.env("FREEHOLD_HOME", world.path("ada")).args(args).args(["--url", &url]);
        Ended::of_fed(&mut command, input)
    };
    let link = invited["link"].as_str().unwrap();
    ada(&["login", "--invite"], &format!("{link}\n{PASSWORD}\n")).ok();
    let mut browser = Browser::start(&world);
    let sign_in = |browser: &mut Browser| {
        browser.open(&format!("{url}/account"));
        browser.wait_for_page("/signin", "Sign in");
        browser.fill("user", "ada");
        browser.fill("password", PASSWORD);
        browser.click("Sign in");
    };
    sign_in(&mut browser);
    browser.wait_for_page("/account", "Second factor");
    browser.fill("password", PASSWORD);
    browser.click("Set it up");
    browser.wait_for_page("/account/second-factor", "Scan this");
    browser.picture("second-factor");
    let link = browser.value("document.querySelector('a[href^=otpauth]').href").unwrap();
    let secret =
        link.as_str().unwrap().split_once("secret=").unwrap().1.split('&').next().unwrap().to_owned();
    let totp = totp_rs::Builder::new().with_secret(totp_rs::Secret::try_from_base32(&secret).unwrap());
    let totp = totp.build().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    browser.fill("code", &totp.generate(now).to_string());
    browser.click("Turn it on");
    browser.wait_for_page("/account/second-factor", "Recovery codes");
    browser.picture("recovery-codes");
    let recovery = browser.value("document.querySelector('.codes li').innerText").unwrap();
    browser.open(&format!("{url}/account"));
    browser.wait_for_page("/account", "10 recovery codes are left");
    browser.picture("account-second-factor");
    browser.wait("document.querySelector('.who button').click() ?? true");
    browser.wait_for_page("/signin", "Sign in");
    sign_in(&mut browser);
    browser.wait_for_page("/signin/code", "what does your authenticator show?");
    browser.picture("signin-code");
    // The next step's: none is taken twice.
    browser.fill("code", &totp.generate(now + 30).to_string());
    browser.click("Sign in");
    browser.wait_for_page("/account", "Your account");
    ada(&["login", "--user", "ada"], &format!("{PASSWORD}\nwrong\n")).exits(3).says("The code is wrong");
    let recovery = recovery.as_str().unwrap();
    ada(&["login", "--user", "ada"], &format!("{PASSWORD}\n{recovery}\n")).ok().says("user:ada");
    world.freehold(&["user", "reset-second-factor", "ada"]).ok().says("password alone");
    ada(&["whoami"], "").exits(3);
    ada(&["login", "--user", "ada"], &format!("{PASSWORD}\n")).ok();
    world.freehold(&["events"]).ok().says("user.second_factor_reset");
    for hidden in [secret.as_str(), recovery] {
        assert!(!world.up_log().contains(hidden), "the log has a secret");
        let state = world.sh(&format!("grep -rc -- '{hidden}' {}", world.data().join("state.db").display()));
        assert!(state.out.trim() == "0", "the state has a secret: {state:#?}");
    }
}
