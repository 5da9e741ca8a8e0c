//! Tries whether a running instance is healthy, again and again, and tells the worker what holds.
//!
//! One task per run, ended with it. Judging the results is `health`'s; here is only the trying.

mod answer;

use crate::health::{Health, Streak};
use freehold_model::{
    CheckAnswer,
    exec::ExecRequest,
    manifest::{Check, Probe},
};
use freehold_runtime::{ExecOutput, ExecSession, Handle, rootless};
use jiff::Timestamp;
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// The answers that are kept, and the characters of each.
const ANSWERS: usize = 5;
const SAID: usize = 200;
/// What has no check counts as healthy after running so long.
const SETTLED: Duration = Duration::from_secs(1);

/// The checks of one run; they end when this is dropped.
pub(crate) struct Prober {
    /// What holds.
    pub(crate) health: watch::Receiver<Health>,
    answers: Answers,
    _task: AbortOnDropHandle<()>,
}

/// The last few answers, the oldest first.
type Answers = Arc<Mutex<VecDeque<CheckAnswer>>>;

impl Prober {
    /// Starts to check a run that began at `since`, `age` ago; `healthy` when an earlier agent saw it pass.
    pub(crate) fn start(
        check: Option<Check>,
        handle: Arc<dyn Handle>,
        since: Timestamp,
        age: Duration,
        healthy: bool,
    ) -> Prober {
        let (said, health) = watch::channel(Health { healthy, message: None });
        let answers = Answers::default();
        let task = match check {
            None => tokio::spawn(settle(said, age)),
            Some(check) => tokio::spawn(check_on(check, handle, since, age, said, Arc::clone(&answers))),
        };
        Prober { health, answers, _task: AbortOnDropHandle::new(task) }
    }

    /// What the check said last.
    pub(crate) fn answers(&self) -> Vec<CheckAnswer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn remember(answers: &Answers, at: Timestamp, result: &Result<String, String>) {
    let (passed, said) = match result {
        Ok(said) => (true, said),
        Err(said) => (false, said),
    };
    // What a command says is a stranger's.
    let said = said.chars().take(SAID).collect();
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    answers.push_back(CheckAnswer { at, passed, said });
    while answers.len() > ANSWERS {
        answers.pop_front();
    }
}

async fn settle(said: watch::Sender<Health>, age: Duration) {
    sleep(SETTLED.saturating_sub(age)).await;
    said.send_replace(Health { healthy: true, message: None });
    said.closed().await;
}

async fn check_on(
    check: Check,
    handle: Arc<dyn Handle>,
    since: Timestamp,
    age: Duration,
    said: watch::Sender<Health>,
    answers: Answers,
) {
    let begun = Instant::now();
    let age = || age + begun.elapsed();
    let mut streak = Streak::new(said.borrow().healthy);
    loop {
        let tried = Instant::now();
        let result = try_once(&check, &handle).await;
        remember(&answers, since + age(), &result);
        let health = streak.record(&check, result.map(drop), age());
        said.send_if_modified(|known| std::mem::replace(known, health.clone()) != health);
        sleep_until(tried + streak.pause(&check, age())).await;
    }
}

async fn try_once(check: &Check, handle: &Arc<dyn Handle>) -> Result<String, String> {
    let limit = check.timeout;
    let address = |port| SocketAddr::new(handle.address().into(), port);
    let attempt = async {
        match &check.probe {
            Probe::Tcp { port } => {
                connect(address(*port)).await.map(|_| format!("port {port} accepts connections"))
            }
            Probe::Http { path, port } => get(address(*port), path).await,
            Probe::Command(command) => run(handle, command).await,
        }
    };
    timeout(limit.duration(), attempt).await.unwrap_or_else(|_| Err(format!("no answer within {limit}")))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    rootless::connect(address)
        .await
        .map_err(|error| format!("connecting to port {}: {error}", address.port()))
}

/// A GET over HTTP/1.1 that looks at the final status alone.
async fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let mut stream = connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: freehold-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let written = stream.write_all(request.as_bytes()).await;
    // One that answers before it has read all may close: what it said counts.
    match (answer::final_status(stream).await, written) {
        (Ok(code @ 200..=399), _) => Ok(format!("GET {path} answered {code}")),
        (Ok(code), _) => Err(format!("GET {path} answered {code}")),
        (Err(_), Err(error)) => Err(format!("GET {path}: {error}")),
        (Err(error), Ok(())) => Err(format!("GET {path}: {error}")),
    }
}

async fn run(handle: &Arc<dyn Handle>, command: &[String]) -> Result<String, String> {
    let request = ExecRequest::new(command.to_vec());
    let ExecSession { input, mut output } = handle.exec(&request).await.map_err(|error| error.to_string())?;
    drop(input);
    let command = command.join(" ");
    while let Some(said) = output.recv().await {
        match said {
            ExecOutput::Exit(0) => return Ok(format!("`{command}` exited with code 0")),
            ExecOutput::Exit(code) => return Err(format!("`{command}` exited with code {code}")),
            ExecOutput::Failed(reason) => return Err(format!("`{command}`: {reason}")),
            ExecOutput::Stdout(_) | ExecOutput::Stderr(_) => {}
        }
    }
    Err(format!("`{command}` ended, nobody saw how"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncReadExt, net::TcpListener};

    /// Answers one request with `answer`, and hands back what was asked.
    async fn asked(answer: &'static str) -> (Result<String, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let result = get(address, "/healthz").await;
        (result, server.await.unwrap().replace(&address.to_string(), "ADDRESS"))
    }

    #[tokio::test]
    async fn a_get_asks_politely_and_judges_the_code() {
        let (result, request) = asked("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n").await;
        assert_eq!(result, Ok("GET /healthz answered 302".into()));
        assert!(request.starts_with("GET /healthz HTTP/1.1\r\nHost: ADDRESS\r\n"), "{request}");
        let (result, _) = asked("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        assert_eq!(result, Err("GET /healthz answered 503".into()));
        let (result, _) = asked("hello\n").await;
        assert_eq!(result, Err("GET /healthz: the answer is not HTTP/1.1".into()));
        let (result, _) =
            asked("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").await;
        assert_eq!(result, Ok("GET /healthz answered 200".into()), "an interim answer is none");
    }

    #[tokio::test]
    async fn a_closed_port_is_named() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = connect(free).await.unwrap_err();
        assert!(error.starts_with(&format!("connecting to port {}: ", free.port())), "{error}");
    }
}
