//! Passkeys with a real browser and its virtual authenticator: added, signed in with, cloned, taken away.
//!
//! <https://chromedevtools.github.io/devtools-protocol/tot/WebAuthn/>

use crate::{
    browser::Browser,
    world::{API, World},
};
use serde_json::{Value, json};

const PASSWORD: &str = "four words of ours";
const URL: &str = "http://localhost:7411";

fn device(browser: &mut Browser) -> Value {
    browser.call("WebAuthn.enable", json!({}));
    let options = json!({
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
        "isUserVerified": true, "automaticPresenceSimulation": true,
    });
    browser.call("WebAuthn.addVirtualAuthenticator", json!({ "options": options }))["authenticatorId"].clone()
}

fn sign_out(browser: &mut Browser) {
    browser.wait("document.querySelector('.who button').click() ?? true");
    browser.wait_for_page("/signin", "Sign in with a passkey");
}

#[test]
fn a_person_adds_a_passkey_and_signs_in_with_it_and_a_copy_of_it_lets_nobody_in() {
    let Some(mut world) = World::new() else { return };
    world.up(&["--public-url", URL]);
    let invited = world.json(&["user", "create", "ada", "--role", "developer"]);
    // Ada is kept out until she has one, and told so.
    world
        .freehold(&["org", "second-factor", "home", "--require"])
        .ok()
        .says("Kept out until they add one on the page /account: ada");
    let mut browser = Browser::start(&world);
    let device = device(&mut browser);
    browser.open(invited["link"].as_str().unwrap());
    browser.fill("password", PASSWORD);
    browser.fill("again", PASSWORD);
    browser.click("Choose this password");
    browser.wait_for_page("/account", "The org home asks for a second factor or a passkey");
    browser.picture("account-kept-out");
    browser.fill("name", "my phone");
    browser.fill_in("#passkey-password", "wrong wrong wrong");
    browser.click("Add a passkey");
    browser.wait("document.querySelector('form.passkey .alert').innerText.includes('is wrong')");
    browser.picture("account-passkey-refused");
    browser.fill_in("#passkey-password", PASSWORD);
    browser.click("Add a passkey");
    browser.wait_for_page("/account", "not used yet");
    browser.wait("!document.body.innerText.includes('asks for a second factor')");
    world.freehold(&["org", "second-factor", "home", "--require"]).ok().says("all have one");
    world.freehold(&["org", "second-factor", "home"]).exits(2);
    world.freehold(&["org", "second-factor", "nowhere", "--require"]).exits(4);
    world.freehold(&["org", "second-factor", "home", "--optional"]).ok().says("need no second factor");
    browser.picture("account-passkey");
    let listed = world.json(&["user", "passkeys", "ada"]);
    assert_eq!((listed[0]["name"].as_str(), listed[0]["last_used"].as_str()), (Some("my phone"), None));
    // The same device is not added twice: the browser says so.
    browser.fill_in("#passkey-password", PASSWORD);
    browser.click("Add a passkey");
    browser.wait("document.querySelector('form.passkey .alert').innerText.includes('already')");
    sign_out(&mut browser);
    browser.picture("signin-passkey");
    browser.click("Sign in with a passkey");
    browser.wait_for_page("/account", "last used");
    assert!(world.json(&["user", "passkeys", "ada"])[0]["last_used"].is_string());
    world.freehold(&["events"]).ok().says("user.passkey_added").says("passkey");
    sign_out(&mut browser);
    // Whoever does not unlock the device does not get in.
    let verified = |browser: &mut Browser, yes: bool| {
        browser.call("WebAuthn.setUserVerified", json!({ "authenticatorId": device, "isUserVerified": yes }));
    };
    verified(&mut browser, false);
    browser.click("Sign in with a passkey");
    browser.wait("document.querySelector('form.passkey .alert').innerText.includes('No passkey was given')");
    browser.picture("signin-passkey-none");
    verified(&mut browser, true);
    // A copy of an hour ago counts from where it was made.
    let kept = browser.call("WebAuthn.getCredentials", json!({ "authenticatorId": device }));
    let mut copy = kept["credentials"][0].clone();
    assert!(copy["signCount"].as_u64() > Some(1), "{copy}");
    copy["signCount"] = json!(1);
    let all = json!({ "authenticatorId": device });
    browser.call("WebAuthn.clearCredentials", all);
    browser.call("WebAuthn.addCredential", json!({ "authenticatorId": device, "credential": copy }));
    browser.click("Sign in with a passkey");
    browser.wait_for_page("/signin/passkey", "lets nobody in here");
    browser.picture("signin-passkey-refused");
    world.freehold(&["events"]).ok().says("user.passkey_counter_back");
    // By its address the server is somebody else to passkeys, and the page says where they work.
    browser.open(&format!("http://{API}/signin"));
    browser.wait_for_page("/signin", "With a passkey you sign in at localhost:7411");
    browser.wait("document.querySelector('form.passkey').hidden");
    world.freehold(&["user", "passkeys", "ada", "--remove", "my phone", "-y"]).ok().says("signs nobody in");
    browser.open(&format!("{URL}/signin"));
    browser.wait_for_page("/signin", "Sign in with a passkey");
    browser.click("Sign in with a passkey");
    browser.wait_for_page("/signin/passkey", "lets nobody in here");
    world
        .freehold(&["user", "passkeys", "ada", "--remove", "my phone", "-y"])
        .exits(4)
        .says("has no passkey called");
}

#[test]
fn without_a_host_name_the_account_says_what_to_set() {
    let Some(world) = World::start() else { return };
    let invited = world.json(&["user", "create", "ada", "--role", "developer"]);
    let mut browser = Browser::start(&world);
    browser.open(invited["link"].as_str().unwrap());
    browser.fill("password", PASSWORD);
    browser.fill("again", PASSWORD);
    browser.click("Choose this password");
    browser.wait_for_page("/account", "--public-url https://home.example");
    browser.picture("account-no-passkeys");
    browser.wait("document.querySelector('form.passkey') === null");
}
