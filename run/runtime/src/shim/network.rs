//! The network of a container: one pair of linked interfaces, `eth0` inside, `fh…` on the node.
//!
//! Inside there is the instance's address, a route to the node, and by way of it to other instances; a
//! default route only where the egress opens anything. Which packets go where is decided by the packet
//! filter ([`crate::network`]): inside before the first process runs, and again on the node.

use super::StartError;
use crate::{
    launch::Launch,
    netfilter::{Family, Netfilter},
    netlink::Netlink,
    network::{TABLE, rules},
    rootless,
};
use freehold_model::InstanceId;
use nix::sched::{CloneFlags, setns};
use std::{fs, fs::File, io};

/// The interface on the node's side; interfaces have at most 15 characters. The last twelve of the
/// id are all random bits.
pub(crate) fn link_name(instance: InstanceId) -> String {
    let id = instance.to_string();
    format!("fh{}", &id[id.len() - 12..])
}

/// Connects the network namespace of `pid` to the node.
pub(super) fn connect(launch: &Launch, pid: i32) -> Result<(), StartError> {
    node_side(launch, pid).map_err(StartError::because("cannot make the instance's network link"))?;
    within(pid, || inner_side(launch))
        .map_err(StartError::because("cannot set up the network inside the instance"))
}

/// Removes the link; the kernel would do it too, but some time after the last process is gone.
pub(super) fn disconnect(launch: &Launch) -> io::Result<()> {
    Netlink::open()?.delete_link(&link_name(launch.instance))
}

fn node_side(launch: &Launch, pid: i32) -> io::Result<()> {
    let name = link_name(launch.instance);
    let netlink = Netlink::open()?;
    netlink.delete_link(&name)?;
    netlink.add_veth(&name, "eth0", pid.unsigned_abs())?;
    // IPv6 would give both ends addresses of their own, which nobody asked for.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    // What comes out of it has its address.
    fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1")?;
    // Without the node's rules nothing is forwarded, not even where the node forwards for others.
    let guarded = Netfilter::open()?.has(Family::Ipv4, TABLE)?;
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
    let index = netlink.index_of("eth0")?;
    netlink.add_address(index, launch.address)?;
    netlink.set_up(index)?;
    netlink.add_host_route(index, launch.gateway, launch.address)?;
    Netfilter::open()?.commit(rules(launch)).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("egress cannot be enforced: {error}; `freehold doctor` says what is missing"),
        )
    })?;
    let bits = if launch.egress.is_empty() { launch.network_bits } else { 0 };
    netlink.add_route_by(index, launch.gateway, bits)
}

/// A port below 1024 and an echo request are no privilege where the network is one's own: as Docker has it.
/// Names under /proc/sys/net mean the network of whoever writes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_fit_and_differ() {
        let a: InstanceId = "ins_01jd0000000000000000000000".parse().unwrap();
        let b: InstanceId = "ins_01jd0000000000000000000001".parse().unwrap();
        assert!(link_name(a).len() <= 15);
        assert_ne!(link_name(a), link_name(b));
    }
}
