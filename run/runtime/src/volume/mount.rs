//! Puts volumes into an instance's root. Called by the shim, in the mount namespace that only it and the
//! instance are in: the node's own mount table never shows them.

use super::{VolumeMount, data, initialised};
use crate::user::User;
use nix::mount::{MsFlags, mount as mount_syscall};
use rustix::fs::{CWD, Dir, Gid, Mode, OFlags, Uid, fchown, fstat, openat};
use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Shows the volume's data at `place`, a directory of the instance's root. On first use the volume gets
/// what the image has there, with its owners; if that is nothing, it belongs to `user`.
pub(crate) fn mount(volume: &VolumeMount, place: &OwnedFd, user: &User) -> io::Result<()> {
    let data = data(&volume.dir);
    if !initialised(&volume.dir).exists() {
        initialise(&volume.dir, &data, place, user)?;
    }
    // By its descriptor: what the image put on the way there was resolved once, within the root.
    let place = format!("/proc/self/fd/{}", place.as_raw_fd());
    let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
    mount_syscall(Some(&data), place.as_str(), none, bind, none)?;
    Ok(())
}

/// Nobody has written to it yet, so what a start that was cut short left there goes; what was there before any
/// start stays. The folder itself stays: it may be one whose size is enforced.
fn initialise(dir: &Path, data: &Path, place: &OwnedFd, user: &User) -> io::Result<()> {
    let begun = dir.join("initialising");
    let inner = openat(CWD, data, DIRECTORY, Mode::empty())?;
    if !begun.exists() && !is_empty(&inner)? {
        // Somebody put it there: it is not ours to replace.
        return done(dir);
    }
    freehold_tree::empty(data)?;
    File::create(&begun)?.sync_all()?;
    // An empty folder of root's says nothing about who shall write there; any other does.
    if is_empty(place)? && fstat(place)?.st_uid == 0 {
        fchown(&inner, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
    } else {
        freehold_tree::copy_dir(place, &inner, &|| Ok(()))?;
    }
    rustix::fs::syncfs(&inner)?;
    done(dir)?;
    fs::remove_file(begun)
}

/// From now on what the volume holds is what its instances wrote.
fn done(dir: &Path) -> io::Result<()> {
    File::create(initialised(dir))?.sync_all()?;
    File::open(dir)?.sync_all()
}

fn is_empty(dir: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_content_is_the_images_unless_somebody_put_some_there() {
        let root = tempfile::tempdir().unwrap();
        let image = root.path().join("image");
        fs::create_dir(&image).unwrap();
        fs::write(image.join("default"), "x").unwrap();
        let place = openat(CWD, &image, DIRECTORY, Mode::empty()).unwrap();
        let user = User::default();
        let names = |dir: &Path| {
            let names = fs::read_dir(dir.join("data")).unwrap().map(|entry| entry.unwrap().file_name());
            names.map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
        };
        for (before, begun, expected) in
            [(None, false, "default"), (Some("partly"), true, "default"), (Some("mine"), false, "mine")]
        {
            let dir = root.path().join(format!("{before:?}"));
            fs::create_dir_all(dir.join("data")).unwrap();
            before.iter().for_each(|name| fs::write(dir.join("data").join(name), "y").unwrap());
            if begun {
                File::create(dir.join("initialising")).unwrap();
            }
            initialise(&dir, &data(&dir), &place, &user).unwrap();
            assert_eq!(names(&dir), [expected]);
            assert!(initialised(&dir).exists() && !dir.join("initialising").exists());
        }
    }
}
