//! Ends what a command started, when nobody is at the other end any more: asks first (SIGHUP), as a
//! terminal that is closed does, and kills what is left of its session after a while.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// A command may take so long to tidy up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends the session that `leader` began.
pub(super) fn end(leader: i32) {
    let deadline = Instant::now() + PATIENCE;
    signal_all(&members(leader), Signal::SIGHUP);
    // One that is stopped can be asked nothing.
    signal_all(&members(leader), Signal::SIGCONT);
    while Instant::now() < deadline {
        if members(leader).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Whoever forks meanwhile is found by the next round.
    while Instant::now() < deadline + PATIENCE {
        let left = members(leader);
        if left.is_empty() {
            return;
        }
        signal_all(&left, Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal_all(pids: &[i32], signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

/// The processes of a session that are not dead: those whose session is the leader's, whatever group they
/// made for themselves (proc_pid_stat(5): the third and sixth field).
fn members(leader: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| session_of(*pid) == Some(leader)).collect()
}

fn session_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_of_a_process_is_found() {
        let own = nix::unistd::getsid(None).unwrap().as_raw();
        let pid = std::process::id() as i32;
        assert_eq!(session_of(pid), Some(own));
        assert!(members(own).contains(&pid));
    }
}
