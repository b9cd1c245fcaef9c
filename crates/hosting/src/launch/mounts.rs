//! A private view of the file system: folders of a job appear where scripts expect them, such as
//! /opt/ml, and nowhere else on the machine.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::{LaunchError, Mount};

/// Enters a mount namespace of its own and makes the mounts. Nothing outside of it changes, except
/// that a target directly below `/` whose parent does not exist is made as empty folders by root.
pub(super) fn apply(mounts: &[Mount]) -> Result<(), LaunchError> {
    let Some(first) = mounts.first() else { return Ok(()) };
    let attempt = || -> Result<(), (String, io::Error)> {
        for mount in mounts {
            check(mount)?;
        }
        enter()?;
        for mount in mounts {
            prepare(&mount.target)?;
            let step =
                format!("mount `{}` on `{}`", mount.source.display(), mount.target.display());
            rustix::mount::mount_bind_recursive(&mount.source, &mount.target)
                .map_err(said(step))?;
            if mount.read_only {
                forbid_writing(&mount.target)?;
            }
        }
        Ok(())
    };
    attempt().map_err(|(step, source)| LaunchError::Mount {
        step,
        target: first.target.display().to_string(),
        source,
    })
}

/// Forbids it in our view alone. What is mounted below the folder itself stays as it is.
fn forbid_writing(target: &Path) -> Result<(), (String, io::Error)> {
    let step = || said(format!("make `{}` read-only", target.display()));
    let now = rustix::fs::statvfs(target).map_err(|e| step()(e))?.f_flag;
    // What the machine forbids on the source must be said again; taking it back is refused.
    let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    let kept = [
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    for (found, flag) in kept {
        flags.set(flag, now.contains(found));
    }
    rustix::mount::mount_remount(target, flags, c"").map_err(|e| step()(e))
}

fn said<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> (String, io::Error) {
    move |e| (step.into(), e.into())
}

fn check(mount: &Mount) -> Result<(), (String, io::Error)> {
    let plain = mount.target.components().skip(1).all(|c| matches!(c, Component::Normal(_)));
    if !mount.target.is_absolute() || !plain || mount.target.parent().is_none() {
        let step = format!("mount on `{}`", mount.target.display());
        return Err((step, io::Error::other("the target must be a plain absolute path")));
    }
    let step = format!("mount `{}`", mount.source.display());
    let found = std::fs::metadata(&mount.source).map_err(said(step.clone()))?;
    if found.is_dir() { Ok(()) } else { Err((step, io::ErrorKind::NotADirectory.into())) }
}

/// A mount namespace of our own: directly where we may, else inside a user namespace in which our own
/// user and group keep their numbers.
fn enter() -> Result<(), (String, io::Error)> {
    if unshare(UnshareFlags::NEWNS).is_err() {
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(|e| {
            let source = match e {
                // The kernel's words, "no space left on device", lead astray.
                rustix::io::Errno::NOSPC => {
                    io::Error::other("no more are allowed (user.max_user_namespaces)")
                }
                other => other.into(),
            };
            ("make a user and mount namespace".to_owned(), source)
        })?;
        // Required before an unprivileged process may map a group.
        std::fs::write("/proc/self/setgroups", "deny").map_err(said("give up setgroups"))?;
        std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))
            .map_err(said("map the user"))?;
        std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
            .map_err(said("map the group"))?;
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(said("make the mounts private"))
}

#[expect(
    deprecated,
    reason = "deprecated because of UnshareFlags::FILES, which is never passed here"
)]
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// Makes the mount point exist, in our view only wherever possible.
fn prepare(target: &Path) -> Result<(), (String, io::Error)> {
    if target.is_dir() {
        return Ok(());
    }
    let existing = target.ancestors().skip(1).find(|p| p.is_dir()).unwrap_or(Path::new("/"));
    if existing != Path::new("/") {
        cover(existing).inspect_err(|_| {
            // Better the machine's own folder than a half of it, where the mounts are optional.
            let _ = rustix::mount::unmount(existing, UnmountFlags::DETACH);
        })?;
    }
    std::fs::create_dir_all(target).map_err(said(format!("make `{}`", target.display())))
}

/// Lays a small memory file system over a folder and shows the folder's entries in it, so that new
/// entries can be made beside them without touching the machine's folder.
fn cover(folder: &Path) -> Result<(), (String, io::Error)> {
    let read = || said(format!("read `{}`", folder.display()));
    // The handle still leads to the covered folder afterwards.
    let handle = File::open(folder).map_err(read())?;
    let names: Vec<OsString> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect())
        .map_err(read())?;
    let below = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", folder, "tmpfs", flags, Some(c"mode=0755,size=64m"))
        .map_err(said(format!("mount memory on `{}`", folder.display())))?;
    for name in names {
        let (old, new) = (below.join(&name), folder.join(&name));
        show(&old, &new).map_err(said(format!("keep `{}` visible", new.display())))?;
    }
    Ok(())
}

fn show(old: &Path, new: &Path) -> io::Result<()> {
    let kind = std::fs::symlink_metadata(old)?.file_type();
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(std::fs::read_link(old)?, new);
    }
    if kind.is_dir() {
        std::fs::create_dir(new)?;
    } else {
        File::create(new)?;
    }
    Ok(rustix::mount::mount_bind_recursive(old, new)?)
}
