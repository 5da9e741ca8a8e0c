//! A thread per connection, at most [`MOST`] of them, and an orderly end on SIGTERM or SIGINT.
//!
//! The signals are blocked in every thread and read from a descriptor beside the listener, so there
//! is no handler; a blocked signal also reaches a process that is number 1 of its container.

use crate::{
    book::Book,
    http::{self, Failure, Response},
    log, routes,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How many connections are served at a time.
const MOST: usize = 128;
/// How long requests that have begun may take to end.
const FAREWELL: Duration = Duration::from_millis(1500);

/// A descriptor that is readable once the process was asked to stop. Call it before the first thread.
pub(crate) fn stop_signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Listens on every address: IPv6 and IPv4, or IPv4 alone where there is no IPv6.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Ok(listener) => listener,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until a stop signal, then lets the requests that have begun end.
pub(crate) fn serve(listener: &TcpListener, stop: &SignalFd, book: Book) -> io::Result<()> {
    let (book, open) = (Arc::new(book), Arc::new(Open::default()));
    while !asked_to_stop(listener, stop)? {
        match listener.accept() {
            Ok((stream, _)) => connection(stream, &book, &open),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // Out of descriptors, mostly: they come back as connections end.
                log::note(&format!("cannot accept: {error}"));
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
    log::note("stopping");
    open.wait_for_none(FAREWELL);
    Ok(())
}

/// Waits for a connection or a signal.
fn asked_to_stop(listener: &TcpListener, stop: &SignalFd) -> io::Result<bool> {
    let mut watched =
        [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    match poll(&mut watched, PollTimeout::NONE) {
        Ok(_) => Ok(watched[1].any().unwrap_or(false)),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn connection(mut stream: TcpStream, book: &Arc<Book>, open: &Arc<Open>) {
    // Blocking with time-outs; whether a socket inherits the listener's mode differs by system.
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    let Some(ticket) = Ticket::take(open) else {
        let _ = Response::text(503, "too many visitors at once, try again").send(&mut stream, true);
        return;
    };
    let book = book.clone();
    let work = move || {
        let _ticket = ticket;
        converse(&mut stream, &book);
    };
    if let Err(error) = thread::Builder::new().stack_size(256 * 1024).spawn(work) {
        log::note(&format!("cannot start a thread: {error}"));
    }
}

fn converse(stream: &mut TcpStream, book: &Book) {
    let start = Instant::now();
    let (line, response, request) = match http::read(stream) {
        Ok(request) => {
            (format!("{} {}", request.method, request.path), routes::answer(&request, book), Some(request))
        }
        Err(Failure::Bad(status, why)) => (why.to_owned(), Response::text(status, why), None),
        Err(Failure::Gone) => return,
    };
    // Logged before the answer leaves, so that whoever has the answer finds the line.
    log::info(&format!("{line} {} {}ms", response.status, start.elapsed().as_millis()));
    let with_body = request.as_ref().is_none_or(|request| request.method != "HEAD");
    if response.send(stream, with_body).is_ok() && request.is_none() {
        http::drain(stream);
    }
}

/// How many connections are open.
#[derive(Default)]
struct Open {
    count: AtomicUsize,
    none: (Mutex<()>, Condvar),
}

impl Open {
    fn wait_for_none(&self, at_most: Duration) {
        let guard = self.none.0.lock().unwrap_or_else(PoisonError::into_inner);
        let some = |_: &mut ()| self.count.load(Ordering::SeqCst) > 0;
        let _ = self.none.1.wait_timeout_while(guard, at_most, some);
    }
}

/// The right to be one of [`MOST`]; given back when dropped, by a panic too.
struct Ticket(Arc<Open>);

impl Ticket {
    fn take(open: &Arc<Open>) -> Option<Ticket> {
        let taken =
            open.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < MOST).then_some(n + 1));
        taken.ok().map(|_| Ticket(open.clone()))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let _guard = self.0.none.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.count.fetch_sub(1, Ordering::SeqCst);
        self.0.none.1.notify_all();
    }
}
