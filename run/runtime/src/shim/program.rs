//! Why a program that is there cannot be executed, in words for the builder of its image: what the kernel
//! says in one number. Called in the instance, after execve(2) failed.

use nix::{
    errno::Errno,
    unistd::{execv, execvp},
};
use std::{
    ffi::CString,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
};

const ELF: &[u8] = b"\x7fELF";

/// Becomes the program. A file that is neither program nor script goes to the shell, as execvp(3) does; what
/// is a program, but for another processor, does not.
pub(super) fn execute(args: &[CString]) -> Errno {
    let Some(program) = args.first() else { return Errno::ENOENT };
    let path = find(&program.to_string_lossy());
    if start_of(&path).starts_with(ELF)
        && let Ok(path) = CString::new(path)
    {
        let Err(error) = execv(&path, args);
        return error;
    }
    let Err(error) = execvp(program, args);
    error
}

/// Where `PATH` has it.
fn find(program: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places = path.split(':').map(|folder| format!("{folder}/{program}"));
    let is_file = |place: &String| {
        fs::metadata(place).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') { None } else { places.find(is_file) }.unwrap_or_else(|| program.to_owned())
}

/// The sentence for the log.
pub(super) fn cannot_run(program: &str, error: Errno) -> String {
    let start = start_of(&find(program));
    let hint = match error {
        Errno::ENOENT if fs::exists(find(program)).unwrap_or(false) => match interpreter(&start) {
            Some(name) => format!(": its interpreter `{name}` is not in the image; add it"),
            None => ": its dynamic loader is not in the image; add it, or link the program statically".into(),
        },
        Errno::ENOEXEC => match machine(&start) {
            Some(other) if other != std::env::consts::ARCH => {
                format!(": it is a program for {other}, and this machine is {}", std::env::consts::ARCH)
            }
            _ => {
                ": it is no program for this machine, and no script that names its interpreter (`#!`)".into()
            }
        },
        Errno::EACCES => {
            ": its user may not execute it, or a folder on the way; see modes and USER of the image".into()
        }
        Errno::EPERM => {
            ": its file asks for capabilities (`setcap`) that no instance has; build it without".into()
        }
        Errno::E2BIG => {
            ": arguments and environment are too long together, or one of them is (128 KiB)".into()
        }
        Errno::ELOOP => ": it is a link that leads to itself".into(),
        Errno::ENOMEM => ": the instance's `memory` is too little to load it".into(),
        _ => String::new(),
    };
    format!("cannot run `{program}`: {}{hint}", error.desc())
}

fn start_of(program: &str) -> Vec<u8> {
    let mut start = Vec::new();
    if let Ok(file) = File::open(program) {
        let _ = file.take(256).read_to_end(&mut start);
    }
    start
}

/// The program that a script names in its first line.
fn interpreter(start: &[u8]) -> Option<String> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let name = line.split_whitespace().next()?.to_owned();
    // Written on Windows.
    Some(if line.ends_with('\r') { format!("{}\\r", name.trim_end_matches('\r')) } else { name })
}

/// For what processor an ELF file is (e_machine), if that is one of the usual.
fn machine(start: &[u8]) -> Option<&'static str> {
    let kind = start.strip_prefix(ELF)?.get(14..16)?;
    let kind = match start[5] {
        2 => u16::from_be_bytes([kind[0], kind[1]]),
        _ => u16::from_le_bytes([kind[0], kind[1]]),
    };
    Some(match kind {
        3 => "x86",
        8 => "mips",
        20 | 21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(20, 0);
        elf[18] = 183;
        let other = if cfg!(target_arch = "aarch64") { "no program" } else { "for aarch64" };
        let table = [
            (file("script", b"#!/no/such/sh -e\necho\n"), Errno::ENOENT, "`/no/such/sh` is not in the image"),
            (file("dos", b"#!/bin/sh\r\necho\n"), Errno::ENOENT, "`/bin/sh\\r` is not in the image"),
            (file("dynamic", b"\x7fELF"), Errno::ENOENT, "dynamic loader"),
            (file("foreign", &elf), Errno::ENOEXEC, other),
            (file("text", b"echo hello\n"), Errno::ENOEXEC, "no script that names its interpreter"),
            (file("short", b"\x7fELF\x02"), Errno::ENOEXEC, "no program for this machine"),
            (file("x", b""), Errno::E2BIG, "128 KiB"),
            (file("x", b""), Errno::EPERM, "setcap"),
            (file("x", b""), Errno::EACCES, "USER"),
            ("/no/such/program".into(), Errno::ENOENT, "No such file"),
        ];
        for (program, error, expected) in table {
            let text = cannot_run(&program, error);
            assert!(text.contains(expected) && text.contains(&program), "{text}");
        }
    }
}
