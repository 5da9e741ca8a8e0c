//! A real browser inside a test's machine: Chromium, driven over the pipe of its DevTools protocol.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>: JSON messages with a zero byte after each, on the file
//! descriptors 3 and 4. Invariant: whatever is waited for has a deadline, and its absence says what the page shows.

use crate::world::{World, workspace};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// One browser with one tab.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    tab: Option<String>,
    last: u64,
}

impl Browser {
    pub(crate) fn start(world: &World) -> Browser {
        let profile = world.path("chromium");
        // The shell gives it its pipes where it looks for them.
        let line = format!(
            "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
             --remote-debugging-pipe --user-data-dir={} about:blank 3<&0 4>&1 0</dev/null 1>/dev/null 2>{}",
            profile.display(),
            world.path("chromium.log").display()
        );
        let mut command = world.command("bash");
        command.args(["-c", &line]).env("HOME", world.path("chromium-home"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("chromium is installed");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut bytes = vec![];
            while output.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
                bytes.pop();
                let message = serde_json::from_slice(&bytes).unwrap_or_default();
                bytes.clear();
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser { child, input, messages, tab: None, last: 0 };
        let targets = browser.call("Target.getTargets", json!({}));
        let page = targets["targetInfos"].as_array().unwrap().iter().find(|it| it["type"] == "page");
        let target = page.expect("chromium opens a tab")["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.tab = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser
    }

    /// Calls a method of the protocol.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if let Some(tab) = &self.tab {
            message["sessionId"] = json!(tab);
        }
        let text = format!("{message}\0");
        self.input.write_all(text.as_bytes()).expect("chromium listens");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message =
                self.messages.recv_timeout(left).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == self.last {
                return match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].clone()),
                };
            }
        }
    }

    /// Goes to an address, as if it had been typed.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The value of an expression; none while the page is on its way to another.
    pub(crate) fn value(&mut self, expression: &str) -> Option<Value> {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.try_call("Runtime.evaluate", params).ok()?;
        answer.get("exceptionDetails").is_none().then(|| answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn wait(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.value(expression) != Some(json!(true)) {
            let shows = || "`${location.href}: ${document.body && document.body.innerText}`";
            assert!(Instant::now() < deadline, "waited for {expression}: {:?}", self.value(shows()));
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Waits until the page of that path is there and says `text`.
    #[track_caller]
    pub(crate) fn wait_for_page(&mut self, path: &str, text: &str) {
        self.wait(&format!(
            "document.readyState === 'complete' && location.pathname === {path:?} && document.body.innerText.includes({text:?})"
        ));
    }

    /// Types into the field of that name: with keys, as people do.
    #[track_caller]
    pub(crate) fn fill(&mut self, name: &str, text: &str) {
        self.fill_in(&format!("input[name={name}]:not([type=hidden])"), text);
    }

    /// The same, into the field that a selector finds.
    #[track_caller]
    pub(crate) fn fill_in(&mut self, selector: &str, text: &str) {
        self.wait(&format!(
            "(() => {{ const it = document.querySelector('{selector}'); if (!it) return false; it.focus(); it.select(); return document.activeElement === it }})()"
        ));
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Clicks the button that says `text`.
    #[track_caller]
    pub(crate) fn click(&mut self, text: &str) {
        self.wait(&format!(
            "(() => {{ const it = [...document.querySelectorAll('main button')].find(it => it.innerText === {text:?}); if (!it) return false; it.click(); return true }})()"
        ));
    }

    /// Takes a picture of the whole page, at a width, light or dark, into `target/pages`.
    pub(crate) fn picture(&mut self, name: &str) -> Vec<PathBuf> {
        let folder = workspace().join("target/pages");
        std::fs::create_dir_all(&folder).unwrap();
        let mut files = vec![];
        for width in [320, 1400] {
            for scheme in ["light", "dark"] {
                let size =
                    json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 });
                self.call("Emulation.setDeviceMetricsOverride", size);
                let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
                self.call("Emulation.setEmulatedMedia", media);
                let over = self.value("document.documentElement.scrollWidth - innerWidth");
                assert!(
                    over.clone().and_then(|it| it.as_i64()) <= Some(0),
                    "{name} is {over:?} wider than {width}"
                );
                let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
                let file = folder.join(format!("{name}-{width}-{scheme}.png"));
                std::fs::write(&file, STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
                files.push(file);
            }
        }
        self.call("Emulation.clearDeviceMetricsOverride", json!({}));
        files
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
