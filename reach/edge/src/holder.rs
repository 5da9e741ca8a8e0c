//! Finds out which program listens on a port, for the message that says so.
//!
//! A best effort over /proc: other users' programs are invisible without privileges, and then the
//! answer is how to ask.

use std::fs;

/// The state of a listening socket in /proc/net/tcp (`TCP_LISTEN`, include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// The name and pid of whoever listens on `port`, or how to find out.
pub(crate) fn of(port: u16) -> String {
    sockets(port)
        .iter()
        .find_map(|inode| owner(inode))
        .unwrap_or_else(|| format!("another program (`ss -ltnp sport = :{port}` names it)"))
}

fn sockets(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).filter_map(|line| listener(line, port)).collect()
}

/// The inode of the socket that `line` shows, if it listens on `port`
/// (format: Documentation/networking/proc_net_tcp.rst).
fn listener(line: &str, port: u16) -> Option<String> {
    let mut fields = line.split_whitespace().skip(1);
    let (_, local) = fields.next()?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let listens = state == LISTEN && u16::from_str_radix(local, 16) == Ok(port);
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
        assert_eq!(listener(line, 8000).as_deref(), Some("4711"));
        assert_eq!(listener(line, 8001), None);
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), 8000), None, "a connection is no listener");
        assert_eq!(listener("  sl  local_address rem_address   st", 8000), None);
    }
}
