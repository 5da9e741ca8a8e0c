//! The two ends between which proxies are measured: `xtask load serve|stream|echo|connect ADDRESS …`.
//!
//! Blocking sockets, one thread for each connection: what they cost is the same whoever stands between.
//! A backend reads one byte that says what is wanted: `s` a stream for ever, `e` an echo.

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{RecvFlags, recv};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// What an echo is made of.
const MESSAGE: usize = 1000;
/// What is not counted, at the beginning.
const WARM_UP: Duration = Duration::from_millis(500);

/// Runs one end. The clients print numbers, separated by spaces.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let [what, address, rest @ ..] = args else { bail!("load serve|stream|echo|connect ADDRESS …") };
    let number = |at: usize| -> Result<u64> { Ok(rest.get(at).context("a number is missing")?.parse()?) };
    match what.as_str() {
        "serve" => serve(address),
        "stream" => stream(address, number(0)?, Duration::from_secs(number(1)?)),
        "echo" => echo(address, Duration::from_secs(number(0)?)),
        "connect" => connect(address, number(0)?, Duration::from_secs(number(1)?)),
        _ => bail!("no such load: {what}"),
    }
}

fn serve(address: &str) -> Result<()> {
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        // A peer that went away is the usual end.
        thread::Builder::new().stack_size(64 << 10).spawn(move || drop(answer(stream)))?;
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut read = stream.read(&mut buffer)?;
    if buffer[0] == b's' {
        let piece = vec![0; 256 << 10];
        loop {
            stream.write_all(&piece)?;
        }
    }
    while read > 0 {
        stream.write_all(&buffer[..read])?;
        read = stream.read(&mut buffer)?;
    }
    Ok(())
}

/// Prints bytes per second over `connections`. They are thrown away by the kernel (`MSG_TRUNC`, tcp(7)),
/// so that the client costs little.
fn stream(address: &str, connections: u64, time: Duration) -> Result<()> {
    let total = Arc::new(AtomicU64::new(0));
    for _ in 0..connections {
        let (mut stream, total) = (TcpStream::connect(address)?, Arc::clone(&total));
        stream.write_all(b"s")?;
        thread::spawn(move || {
            let mut nowhere = vec![0; 1 << 20];
            while let Ok((_, read)) = recv(&stream, nowhere.as_mut_slice(), RecvFlags::TRUNC) {
                total.fetch_add(read as u64, Relaxed);
            }
        });
    }
    thread::sleep(WARM_UP);
    let (before, began) = (total.load(Relaxed), Instant::now());
    println!("begin");
    thread::sleep(time);
    let bytes = total.load(Relaxed) - before;
    println!("{}", bytes as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Prints the median and the 99th percentile of a round trip of 1 kB, in microseconds.
fn echo(address: &str, time: Duration) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let message = [b'e'; MESSAGE];
    let (mut answer, mut times, began) = ([0; MESSAGE], vec![], Instant::now());
    while began.elapsed() < time + WARM_UP {
        let sent = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
        if began.elapsed() > WARM_UP {
            times.push(sent.elapsed());
        }
    }
    times.sort_unstable();
    ensure!(!times.is_empty(), "no echo");
    let at = |share: usize| times[times.len() * share / 100].as_nanos() as f64 / 1000.0;
    println!("{} {}", at(50), at(99));
    Ok(())
}

/// Prints how many times a second `clients` connect, ask 100 bytes, and close.
fn connect(address: &str, clients: u64, time: Duration) -> Result<()> {
    let count = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + WARM_UP + time;
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (address, count) = (address.to_owned(), Arc::clone(&count));
            thread::spawn(move || -> Result<()> {
                let mut answer = [0; 100];
                while Instant::now() < until {
                    let mut stream = match TcpStream::connect(&address) {
                        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => continue,
                        connected => connected?,
                    };
                    stream.write_all(&[b'e'; 100])?;
                    stream.read_exact(&mut answer)?;
                    count.fetch_add(1, Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    thread::sleep(WARM_UP);
    let (before, began) = (count.load(Relaxed), Instant::now());
    println!("begin");
    thread::sleep(time);
    let done = (count.load(Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    for one in threads {
        one.join().expect("a client panicked")?;
    }
    println!("{done}");
    Ok(())
}
