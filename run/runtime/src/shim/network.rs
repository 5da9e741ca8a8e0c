//! The network of a container: one pair of linked interfaces, `eth0` inside, `fh…` on the node.
//!
//! Inside there is the instance's address, a route to the node, and by way of it to other instances; a
//! default route only where the egress opens anything. Which packets go where is decided by the packet
//! filter ([`crate::network`]): inside before the first process runs, and again on the node.

use super::StartError;
use crate::{
    installation::table,
    launch::Launch,
    netfilter::{Family, Netfilter},
    netlink::Netlink,
    network::rules,
    rootless,
};
use nix::sched::{CloneFlags, setns};
use std::{fs, fs::File, io};

/// Connects the network namespace of `pid` to the node.
pub(super) fn connect(launch: &Launch, pid: i32) -> Result<(), StartError> {
    node_side(launch, pid).map_err(StartError::because("cannot make the instance's network link"))?;
    within(pid, || inner_side(launch))
        .map_err(StartError::because("cannot set up the network inside the instance"))
}

/// Removes the link; the kernel would do it too, but some time after the last process is gone.
pub(super) fn disconnect(launch: &Launch) -> io::Result<()> {
    Netlink::open()?.delete_link(&launch.link())
}

/// Makes the link again for an instance that runs: its addresses and rules, and the connections within, stay.
/// Called by the agent's side, when somebody removed it.
pub(crate) fn reconnect(launch: &Launch, pid: i32) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    // An end that is left inside keeps the other one, wherever that was taken to.
    crate::network::inside(&namespace, || Netlink::open()?.delete_link("eth0"))?;
    node_side(launch, pid)?;
    crate::network::inside(&namespace, || {
        let netlink = Netlink::open()?;
        way_in(&netlink, launch)?;
        way_out(&netlink, launch)
    })
}

fn node_side(launch: &Launch, pid: i32) -> io::Result<()> {
    let name = launch.link();
    let netlink = Netlink::open()?;
    netlink.delete_link(&name)?;
    netlink.add_veth(&name, "eth0", pid.unsigned_abs())?;
    // IPv6 would give both ends addresses of their own, which nobody asked for.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    // What comes out of it has its address.
    fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1")?;
    // Without the node's rules nothing is forwarded, not even where the node forwards for others.
    let guarded = Netfilter::open()?.has(Family::Ipv4, &table(launch.installation.as_ref()))?;
    fs::write(format!("/proc/sys/net/ipv4/conf/{name}/forwarding"), if guarded { "1" } else { "0" })?;
    let index = netlink.index_of(&name)?;
    netlink.add_address(index, launch.gateway)?;
    netlink.set_up(index)?;
    netlink.add_host_route(index, launch.address, launch.gateway)
}

fn inner_side(launch: &Launch) -> io::Result<()> {
    let netlink = Netlink::open()?;
    open_to_users()?;
    netlink.set_up(netlink.index_of("lo")?)?;
    way_in(&netlink, launch)?;
    Netfilter::open()?.commit(rules(launch)).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("egress cannot be enforced: {error}; `freehold doctor` says what is missing"),
        )
    })?;
    way_out(&netlink, launch)
}

fn way_in(netlink: &Netlink, launch: &Launch) -> io::Result<()> {
    let index = netlink.index_of("eth0")?;
    netlink.add_address(index, launch.address)?;
    netlink.set_up(index)?;
    netlink.add_host_route(index, launch.gateway, launch.address)
}

/// Set last, when the rules hold.
fn way_out(netlink: &Netlink, launch: &Launch) -> io::Result<()> {
    let bits = if launch.egress.is_empty() { launch.network_bits } else { 0 };
    netlink.add_route_by(netlink.index_of("eth0")?, launch.gateway, bits)
}

/// A port below 1024 and an echo request are no privilege where the network is one's own: as Docker has it.
/// Names under /proc/sys/net mean the network of the process that writes.
fn open_to_users() -> io::Result<()> {
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
    let groups = format!("0 {}", rootless::last_group());
    fs::write("/proc/sys/net/ipv4/ping_group_range", groups)
}

/// Runs `act` in the network namespace of `pid`, and comes back.
fn within<T>(pid: i32, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let own = File::open("/proc/self/ns/net")?;
    setns(File::open(format!("/proc/{pid}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
    let result = act();
    setns(own, CloneFlags::CLONE_NEWNET)?;
    result
}
