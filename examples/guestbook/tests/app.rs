//! The program as a visitor and as the platform see it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

struct App {
    child: Child,
    log: BufReader<ChildStdout>,
    port: u16,
}

impl App {
    fn start(data: &Path) -> App {
        let mut child = Command::new(env!("CARGO_BIN_EXE_guestbook"))
            .envs([("PORT", "0"), ("LOG", "info"), ("FREEHOLD_INSTANCE", "web-1")])
            .env("DATA_DIR", data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut app = App { log: BufReader::new(child.stdout.take().unwrap()), child, port: 0 };
        let line = app.line_with("listening on ");
        app.port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        app
    }

    fn line_with(&mut self, wanted: &str) -> String {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "the log ended before `{wanted}`");
        }
        line
    }

    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    fn post(&self, body: &str) -> String {
        let length = body.len();
        self.send(&format!("POST /messages HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    fn terminate(&self) {
        let id = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(id, nix::sys::signal::SIGTERM).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn messages_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut app = App::start(data.path());
    assert!(app.get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(app.get("/whoami").ends_with("\r\n\r\nweb-1\n"));
    let answer = app.post("name=Ada&text=%3Cb%3Ehello%3C%2Fb%3E");
    assert!(answer.starts_with("HTTP/1.1 303") && answer.contains("\r\nLocation: /\r\n"), "{answer}");
    assert!(app.line_with("POST /messages").contains(" 303 "));
    app.terminate();
    assert!(app.ended().success());

    let app = App::start(data.path());
    let json = app.get("/messages");
    assert!(json.contains(r#""name":"Ada","text":"<b>hello</b>""#), "{json}");
    let page = app.get("/");
    assert!(page.contains("&lt;b&gt;hello&lt;/b&gt;") && !page.contains("<b>hello"), "{page}");
}

#[test]
fn a_request_that_has_begun_ends_before_the_program_does() {
    let data = tempfile::tempdir().unwrap();
    let mut app = App::start(data.path());
    let mut slow = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
    slow.write_all(b"POST /messages HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\ntext=").unwrap();
    // Connections are accepted in turn: with this one answered, the slow one has been accepted.
    app.get("/healthz");
    app.terminate();
    app.line_with("stopping");
    slow.write_all(b"late").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    assert!(app.ended().success());
    assert!(App::start(data.path()).get("/messages").contains("late"));
}

#[test]
fn an_idle_visitor_does_not_hold_up_the_end() {
    let data = tempfile::tempdir().unwrap();
    let mut app = App::start(data.path());
    let _idle = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
    app.get("/healthz");
    let start = Instant::now();
    app.terminate();
    assert!(app.ended().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn bad_requests_are_answered() {
    let data = tempfile::tempdir().unwrap();
    let app = App::start(data.path());
    for (wanted, request) in [
        ("400", "nonsense\r\n\r\n"),
        ("404", "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("405", "DELETE /messages HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("411", "POST /messages HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("431", &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000))),
    ] {
        let answer = app.send(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {wanted} ")), "{answer}");
    }
    assert!(app.post("text=").starts_with("HTTP/1.1 400"));
    assert!(app.get("/messages").ends_with("\r\n\r\n[]"));
}

#[test]
fn unknown_arguments_are_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_guestbook")).arg("--no-such-flag").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown argument `--no-such-flag`"));
}

#[test]
fn without_a_folder_to_write_it_serves_all_the_same() {
    let data = tempfile::NamedTempFile::new().unwrap();
    let app = App::start(&data.path().join("below-a-file"));
    assert!(app.get("/healthz").starts_with("HTTP/1.1 200"));
}
