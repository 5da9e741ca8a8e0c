//! Finds out which program listens on a port, for the message that says so.
//!
//! A best effort over /proc: other users' programs are invisible without privileges, and then the
//! answer is how to ask.

use freehold_model::manifest::Protocol;
use std::fs;

/// The states of a listening socket in /proc/net/tcp, and of an unconnected one in /proc/net/udp
/// (`TCP_LISTEN` and `TCP_CLOSE`, include/net/tcp_states.h).
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// The name and pid of whoever listens on `port`, or how to find out.
pub(crate) fn of(protocol: Protocol, port: u16) -> String {
    let (tables, state, flags) = match protocol {
        Protocol::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], LISTEN, "-ltnp"),
        Protocol::Udp => (["/proc/net/udp", "/proc/net/udp6"], UNCONNECTED, "-lunp"),
    };
    sockets(tables, state, port)
        .iter()
        .find_map(|inode| owner(inode))
        .unwrap_or_else(|| format!("another program (`ss {flags} sport = :{port}` names it)"))
}

fn sockets(tables: [&str; 2], state: &str, port: u16) -> Vec<String> {
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).filter_map(|line| listener(line, state, port)).collect()
}

/// The inode of the socket that `line` shows, if it is in `wanted` state on `port`
/// (format: Documentation/networking/proc_net_tcp.rst).
fn listener(line: &str, wanted: &str, port: u16) -> Option<String> {
    let mut fields = line.split_whitespace().skip(1);
    let (_, local) = fields.next()?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let listens = state == wanted && u16::from_str_radix(local, 16) == Ok(port);
    listens.then(|| inode.to_owned())
}

fn owner(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.into_iter().find(|pid| holds(*pid, &wanted))?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (pid {pid})", command.trim()))
}

fn holds(pid: u32, wanted: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let links = descriptors.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    links.into_iter().any(|target| target.as_os_str() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_net_tcp_is_read() {
        let line = "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0";
        assert_eq!(listener(line, LISTEN, 8000).as_deref(), Some("4711"));
        assert_eq!(listener(line, LISTEN, 8001), None);
        assert_eq!(
            listener(&line.replace(" 0A ", " 01 "), LISTEN, 8000),
            None,
            "a connection is no listener"
        );
        assert_eq!(listener("  sl  local_address rem_address   st", LISTEN, 8000), None);
    }
}
