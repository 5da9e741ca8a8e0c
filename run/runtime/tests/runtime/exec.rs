//! Commands beside a running container.

use crate::world::{self, World, world};
use freehold_model::exec::{ExecRequest, TtySize};
use freehold_runtime::{ExecInput, ExecOutput, Handle, Launch, Runtime, RuntimeError};
use std::{fs, os::fd::AsRawFd, sync::Arc, time::Duration};

async fn started(world: &World) -> (Launch, Arc<dyn Handle>) {
    let launch = world.launch("echo ready; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    world::logged(&launch, "ready").await;
    (launch, handle)
}

fn request(command: &[&str]) -> ExecRequest {
    ExecRequest::new(command.iter().copied())
}

fn terminal(command: &[&str]) -> ExecRequest {
    ExecRequest { tty: Some(TtySize { rows: 31, cols: 97 }), ..request(command) }
}

async fn sh(handle: &Arc<dyn Handle>, script: &str) -> (String, String, ExecOutput) {
    world::collect(handle.exec(&request(&["sh", "-c", script])).await.unwrap()).await
}

#[tokio::test]
async fn codes_are_those_of_the_command() {
    let world = world!();
    let (_, handle) = started(&world).await;
    assert_eq!(
        sh(&handle, "echo out; echo err >&2; exit 42").await,
        ("out\n".into(), "err\n".into(), ExecOutput::Exit(42))
    );
    assert_eq!(sh(&handle, "kill -9 $$").await.2, ExecOutput::Exit(137));
    let (_, stderr, end) = world::collect(handle.exec(&request(&["no-such-program"])).await.unwrap()).await;
    assert_eq!(end, ExecOutput::Exit(127));
    assert!(stderr.contains("no-such-program"), "{stderr}");
    assert_eq!(
        world::collect(handle.exec(&request(&["/etc/passwd"])).await.unwrap()).await.2,
        ExecOutput::Exit(126)
    );
    assert!(matches!(handle.exec(&request(&[])).await, Err(RuntimeError::BadLaunch { .. })));
    world::end(&world.runtime, &handle).await;
    assert!(matches!(handle.exec(&request(&["true"])).await, Err(RuntimeError::NotRunning(_))));
}

/// As where Freehold runs in a container whose first process is no init.
#[tokio::test]
async fn commands_whose_orphans_nobody_reaps_do_not_keep_their_instance() {
    let world = world!();
    // Orphans come to this process, which reaps only what it started.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let (_, handle) = started(&world).await;
    let (.., end) = world::collect(handle.exec(&request(&["no-such-program"])).await.unwrap()).await;
    assert_eq!(end, ExecOutput::Exit(127));
    drop(handle.exec(&request(&["sleep", "1000000"])).await.unwrap());
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn its_terminal_belongs_to_its_user_who_may_open_it_again() {
    let world = world!();
    let launch = Launch { user: Some("app".into()), ..world.launch("sleep 1000") };
    let handle = world.runtime.start(&launch).await.unwrap();
    world::running(&*handle).await;
    let script = "echo again > /dev/stdout; echo and > /dev/tty; [ -O /dev/stdin ] && echo mine; echo $TERM";
    let (text, _, end) = world::collect(handle.exec(&terminal(&["sh", "-c", script])).await.unwrap()).await;
    assert_eq!((text.as_str(), end), ("again\r\nand\r\nmine\r\nxterm-256color\r\n", ExecOutput::Exit(0)));
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn it_is_confined_like_the_container() {
    let world = world!();
    let launch = Launch { user: Some("app".into()), ..world.launch("echo ready; sleep 1000") };
    let handle = world.runtime.start(&launch).await.unwrap();
    world::logged(&launch, "ready").await;
    let (text, _, end) = sh(&handle, "id; hostname; echo $GREETING; ls /sys/class/net; ps; grep -E 'Cap|NoNew|Seccomp' /proc/self/status; echo fds $(ls /proc/self/fd)").await;
    assert_eq!(end, ExecOutput::Exit(0));
    for wanted in [
        "uid=1234(app) gid=1235(app)",
        "77(extra)",
        "web-1",
        "good morning",
        "eth0",
        "CapEff:\t0000000000000000",
        "CapBnd:\t00000000800405fb",
        "Seccomp:\t2",
        "sleep 1000",
    ] {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
    assert!(text.ends_with("\nfds 0 1 2 3\n"), "three streams and the directory listed: {text}");
    world::end(&world.runtime, &handle).await;

    let (_, handle) = started(&world).await;
    let (text, ..) = sh(&handle, "grep -E 'Cap' /proc/self/status").await;
    assert!(
        text.contains("CapEff:\t00000000800405fb") && text.contains("CapInh:\t0000000000000000"),
        "{text}"
    );
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn its_memory_counts_as_the_containers() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let (.., end) = sh(&handle, "exec dd if=/dev/zero of=/dev/null bs=200M count=1").await;
    assert_eq!(end, ExecOutput::Exit(137));
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn input_reaches_it_until_its_end() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let session = handle.exec(&request(&["wc", "-c"])).await.unwrap();
    let input = session.input.clone();
    let writer = tokio::spawn(async move {
        for _ in 0..100 {
            input.send(ExecInput::Bytes(vec![b'x'; 50_000])).await.unwrap();
        }
        input.send(ExecInput::Eof).await.unwrap();
    });
    let (stdout, _, end) = world::collect(session).await;
    assert_eq!((stdout.trim(), end), ("5000000", ExecOutput::Exit(0)));
    writer.await.unwrap();

    let session = handle.exec(&request(&["cat"])).await.unwrap();
    let (input, output) = (session.input, session.output);
    input.send(ExecInput::Bytes(b"hello".to_vec())).await.unwrap();
    drop(input);
    let (spare, _) = tokio::sync::mpsc::channel(1);
    let (stdout, ..) = world::collect(freehold_runtime::ExecSession { input: spare, output }).await;
    assert_eq!(stdout, "hello", "dropping the input ends it");
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn output_is_complete_however_slowly_it_is_read() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let mut session = handle.exec(&request(&["head", "-c", "8000000", "/dev/zero"])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut bytes = 0;
    let end = loop {
        match session.output.recv().await.unwrap() {
            ExecOutput::Stdout(more) => bytes += more.len(),
            end => break end,
        }
    };
    assert_eq!((bytes, end), (8_000_000, ExecOutput::Exit(0)));
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn a_terminal_is_one() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let script = "tty; stty size; trap 'stty size; exit 9' WINCH; echo waiting; while :; do sleep 0.05; done";
    let mut session = handle.exec(&terminal(&["sh", "-c", script])).await.unwrap();
    let mut text = String::new();
    while !text.contains("waiting") {
        match session.output.recv().await.unwrap() {
            ExecOutput::Stdout(bytes) => text.push_str(&String::from_utf8(bytes).unwrap()),
            other => panic!("{other:?} {text}"),
        }
    }
    assert!(text.contains("/dev/pts/") && text.contains("31 97"), "{text}");
    world::give(&session, ExecInput::Resize(TtySize { rows: 50, cols: 120 })).await;
    let (stdout, _, end) = world::collect(session).await;
    assert!(stdout.contains("50 120"), "{stdout}");
    assert_eq!(end, ExecOutput::Exit(9));

    let session = handle.exec(&terminal(&["sh"])).await.unwrap();
    world::give(&session, ExecInput::Bytes(b"exit 11\n".to_vec())).await;
    assert_eq!(world::collect(session).await.2, ExecOutput::Exit(11));
    let session = handle.exec(&terminal(&["cat"])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    world::give(&session, ExecInput::Bytes(vec![3])).await;
    assert_eq!(world::collect(session).await.2, ExecOutput::Exit(130), "Ctrl-C interrupts");
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn signals_reach_it_even_while_it_reads_nothing() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let session = handle.exec(&request(&["sleep", "1000"])).await.unwrap();
    world::give(&session, ExecInput::Bytes(vec![0; 200_000])).await;
    world::give(&session, ExecInput::Signal(15)).await;
    assert_eq!(world::collect(session).await.2, ExecOutput::Exit(143));
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn input_for_one_that_closed_it_goes_nowhere() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let script = "exec 0<&-; echo closed; while :; do sleep 0.05; done";
    let mut session = handle.exec(&request(&["sh", "-c", script])).await.unwrap();
    assert_eq!(session.output.recv().await, Some(ExecOutput::Stdout(b"closed\n".to_vec())));
    world::give(&session, ExecInput::Bytes(vec![0; 200_000])).await;
    world::give(&session, ExecInput::Signal(15)).await;
    assert_eq!(world::collect(session).await.2, ExecOutput::Exit(143));
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn it_ends_with_its_caller_and_with_its_instance() {
    let world = world!();
    let (number, other) = (format!("54{}", std::process::id()), format!("55{}", std::process::id()));
    let (_, handle) = started(&world).await;
    let session = handle.exec(&request(&["sleep", &number])).await.unwrap();
    let runs = || world::processes().iter().any(|line| line.starts_with(&format!("sleep\0{number}")));
    world::eventually("command", runs).await;
    drop(session);
    world::eventually("end of the command", || !runs()).await;

    let session = handle.exec(&request(&["sleep", &other])).await.unwrap();
    let runs = || world::processes().iter().any(|line| line.starts_with(&format!("sleep\0{other}")));
    world::eventually("command", runs).await;
    world::end(&world.runtime, &handle).await;
    assert_eq!(world::collect(session).await.2, ExecOutput::Exit(137));
}

#[tokio::test]
async fn what_it_leaves_behind_does_not_hold_up_its_end() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let (stdout, _, end) = sh(&handle, "sleep 1000 & echo started").await;
    assert_eq!((stdout.as_str(), end), ("started\n", ExecOutput::Exit(0)));
    world::end(&world.runtime, &handle).await;
}

/// Keeps a file from being opened by anybody else, thus from being executed, for as long as it lives: up to
/// the kernel's 45 seconds (fcntl(2), F_SETLEASE).
struct Lease(#[expect(dead_code, reason = "held, not used")] fs::File);

impl Lease {
    fn take(path: &str) -> Lease {
        use nix::libc::{F_SETLEASE, F_WRLCK, SIGURG, fcntl};
        /// As <asm-generic/fcntl.h> has it.
        const F_SETSIG: i32 = 10;
        let file = fs::File::options().read(true).write(true).open(path).unwrap();
        // SAFETY: both commands take a number. The signal that says that somebody waits is one that is ignored.
        let taken = unsafe {
            fcntl(file.as_raw_fd(), F_SETSIG, SIGURG) == 0
                && fcntl(file.as_raw_fd(), F_SETLEASE, F_WRLCK) == 0
        };
        assert!(taken, "no lease: {}", std::io::Error::last_os_error());
        Lease(file)
    }
}

#[tokio::test]
async fn nobody_in_the_instance_can_look_into_what_joins_it() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let slow = format!("/proc/{}/root/tmp/busybox", world::running(&*handle).await);
    fs::copy("/bin/busybox", &slow).unwrap();
    let lease = Lease::take(&slow);
    let session = handle.exec(&request(&["/tmp/busybox", "true"])).await.unwrap();
    // Its name is everybody's to read; what it holds and what it is would let them get at the node.
    let script = "while :; do for p in /proc/[0-9]*; do read name < $p/comm; \
                  if [ \"$name\" = freehold ]; then echo found; \
                  for link in $p/exe $p/cwd $p/root $p/fd/*; do readlink $link; done; exit; \
                  fi; done; done 2> /dev/null";
    let (seen, ..) = sh(&handle, script).await;
    assert_eq!(seen, "found\n", "it can be looked into");
    drop(lease);
    assert_eq!(world::collect(session).await.2, ExecOutput::Exit(0));
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn nothing_is_inherited_that_a_file_with_capabilities_would_bring_back() {
    use rustix::thread::{CapabilitySets, capabilities, set_capabilities};
    let world = world!();
    let launch = Launch { user: Some("app".into()), ..world.launch("echo ready; sleep 1000") };
    let handle = world.runtime.start(&launch).await.unwrap();
    world::logged(&launch, "ready").await;
    // As a service manager may have started the node. The helper is started by this very thread.
    let own = capabilities(None).unwrap();
    set_capabilities(None, CapabilitySets { inheritable: own.permitted, ..own }).unwrap();
    for user in [None, Some("root".to_owned())] {
        let request = ExecRequest { user, ..request(&["grep", "CapInh", "/proc/self/status"]) };
        let (text, ..) = world::collect(handle.exec(&request).await.unwrap()).await;
        assert_eq!(text, "CapInh:\t0000000000000000\n");
    }
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn user_variables_and_directory_are_as_asked() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let mut asked = ExecRequest {
        user: Some("app".into()),
        workdir: Some("/home/app".into()),
        env: [("GREETING".to_owned(), "hello".to_owned()), ("MORE".into(), "a b".into())].into(),
        ..request(&["sh", "-c", "id -un; pwd; echo $HOME $GREETING $MORE"])
    };
    let (text, ..) = world::collect(handle.exec(&asked).await.unwrap()).await;
    assert_eq!(text, "app\n/home/app\n/home/app hello a b\n");
    asked.workdir = Some("/missing".into());
    let (.., end) = world::collect(handle.exec(&asked).await.unwrap()).await;
    assert!(matches!(&end, ExecOutput::Failed(why) if why.contains("working directory /missing")), "{end:?}");
    asked.user = Some("nobody-here".into());
    let (.., end) = world::collect(handle.exec(&asked).await.unwrap()).await;
    assert!(matches!(&end, ExecOutput::Failed(why) if why.contains("nobody-here")), "{end:?}");
    asked.env = [("A=B".to_owned(), String::new())].into();
    assert!(matches!(handle.exec(&asked).await, Err(RuntimeError::BadLaunch { .. })));
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn when_nobody_listens_it_is_asked_before_it_is_killed_with_all_it_started() {
    let world = world!();
    let (_, handle) = started(&world).await;
    let pid = world::running(&*handle).await;
    let own = format!("56{}", std::process::id());
    let script =
        format!("trap 'echo asked > /tmp/asked' HUP; set -m; sleep {own} & sleep {own}; sleep {own}");
    let session = handle.exec(&request(&["sh", "-c", &script])).await.unwrap();
    let run = || world::processes().iter().filter(|line| line.starts_with(&format!("sleep\0{own}"))).count();
    world::eventually("both commands", || run() == 2).await;
    drop(session);
    let asked = format!("/proc/{pid}/root/tmp/asked");
    world::eventually("the question", || fs::read_to_string(&asked).is_ok_and(|text| text == "asked\n"))
        .await;
    world::eventually("the end of all", || run() == 0).await;
    world::end(&world.runtime, &handle).await;
}
