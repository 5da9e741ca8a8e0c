//! A machine of a test's own: a network namespace with an outside that somebody else's machine is on.
//!
//! The test's thread enters it, and with it all that the test starts.

use crate::world::{self, World};
use freehold_runtime::{
    Handle, Launch, LocalRuntime, Runtime,
    network::{Attempt, Neighbourhood},
};
use nix::sched::{CloneFlags, setns, unshare};
use std::{
    fs::{self, File},
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
    time::Duration,
};

const OWN: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

pub(crate) struct Machine {
    outside: File,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let outside = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let namespace = File::open("/proc/thread-self/ns/net").unwrap();
            // Listens on all addresses, which come later; lives as long as the test.
            let listeners = [80, 81].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());
            for listener in listeners {
                std::thread::spawn(move || listener.incoming().for_each(drop));
            }
            namespace
        });
        let outside = outside.join().unwrap();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let machine = Machine { outside };
        sh("ip link set lo up; ip link add up0 type veth peer name out0");
        let target =
            format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&machine.outside));
        sh(&format!("ip link set out0 netns {target}; ip addr add {OWN}/30 dev up0; ip link set up0 up"));
        machine.there(|| {
            sh(&format!("ip link set lo up; ip addr add {OUTSIDE}/30 dev out0; ip link set out0 up"))
        });
        sh("nft add table ip theirs");
        machine
    }

    /// An address beyond the machine, where the ports 80 and 81 are open.
    pub(crate) fn outside(&self) -> Ipv4Addr {
        OUTSIDE
    }

    /// The machine's own address outside.
    pub(crate) fn own(&self) -> Ipv4Addr {
        OWN
    }

    /// Starts instances under the node's rules.
    pub(crate) async fn run(
        &self,
        world: &World,
        wanted: &Neighbourhood,
        launches: &[Launch],
    ) -> (LocalRuntime, Vec<Arc<dyn Handle>>) {
        let runtime = world.another();
        self.settle(&runtime, Some(wanted)).await;
        let mut handles = vec![];
        for launch in launches {
            let handle = world.runtime.start(launch).await.unwrap();
            world::running(&*handle).await;
            handles.push(handle);
        }
        (runtime, handles)
    }

    pub(crate) async fn settle(&self, runtime: &LocalRuntime, wanted: Option<&Neighbourhood>) {
        runtime.settle(wanted).await.unwrap();
    }

    /// What comes of connecting from outside, by a route through the machine.
    pub(crate) fn connect_from_outside(&self, to: Ipv4Addr, port: u16) -> Attempt {
        self.there(|| {
            sh(&format!("ip route replace 10.0.0.0/8 via {OWN}"));
            match TcpStream::connect_timeout(&SocketAddr::from((to, port)), Duration::from_secs(2)) {
                Ok(_) => Attempt::Connected,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Attempt::Refused,
                Err(error) if error.kind() == ErrorKind::TimedOut => Attempt::Silent,
                Err(_) => Attempt::Closed,
            }
        })
    }

    pub(crate) fn sysctl(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/sys/{name}")).unwrap().trim().to_owned()
    }

    pub(crate) fn tables(&self) -> String {
        let output = Command::new("nft").args(["list", "tables"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn there<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                setns(&self.outside, CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            entered.join().unwrap()
        })
    }
}

fn sh(line: &str) {
    let output = Command::new("bash").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}
