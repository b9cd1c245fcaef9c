//! Walls around a child that runs strangers' code, of what the kernel offers to everybody: which files
//! it may open (Landlock), which system calls it may make ([`syscalls`](super::syscalls)), no
//! capabilities, small limits. docs/adr/0019 says what they keep out and what they do not.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use super::{LaunchError, LaunchSpec, Mount, refused, syscalls};

/// Open files, as in Lambda.
const OPEN_FILES: u64 = 1024;

/// The newest of the kernel's rules that are known here; an older kernel enforces those that it knows.
const RULES: ABI = ABI::V6;

/// What programs need of the system to run at all: no secrets, and nothing of other users. `/etc` not
/// as a whole, for with root's number its private files would open too.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/var/lib/ca-certificates",
    "/proc",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
];

/// Devices that hold nothing.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What an isolated child may touch. Beside it, the system's own programs and libraries can be read, and
/// the folders of its mounts used as they say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Refuse to start where the kernel lacks a wall; otherwise a line on standard error tells which.
    pub required: bool,
    /// Files and folders that may be read and executed, as seen after the mounts. What does not exist
    /// is passed over.
    pub read: Vec<PathBuf>,
    /// Files and folders that may also be changed.
    pub write: Vec<PathBuf>,
    /// Bytes of the largest file that may be written; 512 MiB in Lambda.
    pub file_size: Option<u64>,
}

impl Isolation {
    /// The last steps before the program: nothing that they forbid is needed afterwards.
    pub(super) fn apply(&self, spec: &LaunchSpec, mounted: bool) -> Result<(), LaunchError> {
        self.limit()?;
        drop_capabilities()?;
        let files = self.files(&spec.mounts, mounted);
        self.check(files)?;
        self.check(syscalls::restrict())?;
        self.check(network(spec.supervised))
    }

    /// Passes an error on, or tells it and goes on.
    fn check(&self, wall: Result<(), LaunchError>) -> Result<(), LaunchError> {
        match wall {
            Err(error) if !self.required => {
                eprintln!(
                    "kennel: going on without a wall: {}",
                    super::one_line(&error.to_string())
                );
                Ok(())
            }
            other => other,
        }
    }

    fn limit(&self) -> Result<(), LaunchError> {
        let least = |resource, limit: u64| {
            let hard = rustix::process::getrlimit(resource).maximum.map_or(limit, |h| h.min(limit));
            let limit = Rlimit { current: Some(hard), maximum: Some(hard) };
            rustix::process::setrlimit(resource, limit)
        };
        least(Resource::Nofile, OPEN_FILES)
            .and_then(|()| self.file_size.map_or(Ok(()), |size| least(Resource::Fsize, size)))
            .map_err(|e| refused("lower the limits", e.into()))
    }

    fn files(&self, mounts: &[Mount], mounted: bool) -> Result<(), LaunchError> {
        // Where a mount was not made, its source is what the child gets.
        let place = |mount: &Mount| {
            if mounted { mount.target.clone() } else { mount.source.clone() }
        };
        let (fixed, changing): (Vec<&Mount>, Vec<&Mount>) =
            mounts.iter().partition(|mount| mount.read_only);
        let mut read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        read.extend(self.read.iter().cloned());
        read.extend(fixed.into_iter().map(place));
        let mut write: Vec<PathBuf> = self.write.clone();
        write.extend(changing.into_iter().map(place));
        let devices: Vec<&Path> = DEVICES.iter().map(Path::new).collect();
        let status = landlock(&read, &write, &devices)
            .map_err(|e| refused("restrict which files can be opened", std::io::Error::other(e)))?;
        match status {
            RulesetStatus::NotEnforced => Err(refused(
                "restrict which files can be opened",
                std::io::Error::other("the kernel has no Landlock, or it is switched off"),
            )),
            // What newer kernels add (abstract sockets, signals, devices) is left out by older ones.
            _ => Ok(()),
        }
    }
}

fn landlock(
    read: &[PathBuf],
    write: &[PathBuf],
    devices: &[&Path],
) -> Result<RulesetStatus, RulesetError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(RULES)))?
        .add_rules(path_beneath_rules(write, writable()))?
        .add_rules(path_beneath_rules(devices, AccessFs::ReadFile | AccessFs::WriteFile))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Hands every `connect` to the server.
fn network(supervised: bool) -> Result<(), LaunchError> {
    let failed = |source| refused("supervise connections", source);
    if !supervised {
        let why = "the server cannot reach into its children (kernel.yama.ptrace_scope), so cloud metadata addresses stay reachable";
        return Err(failed(std::io::Error::other(why)));
    }
    let listener = super::notify::install().map_err(failed)?;
    let descriptors = [listener.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let supervisor = std::io::stdin();
    let byte = [std::io::IoSlice::new(b"n")];
    // From here on every `connect` waits for the server, or fails where it is gone.
    sendmsg(&supervisor, &byte, &mut ancillary, SendFlags::empty())
        .map_err(|e| failed(e.into()))?;
    Ok(())
}

/// All that can be done with files and with devices that are given, without making devices.
fn writable() -> BitFlags<AccessFs> {
    AccessFs::from_all(RULES) & !(AccessFs::MakeChar | AccessFs::MakeBlock)
}

/// With root's number a child would keep root's powers. Without new privileges it gets none back.
fn drop_capabilities() -> Result<(), LaunchError> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)
        .map_err(|e| refused("give up capabilities", e.into()))
}
