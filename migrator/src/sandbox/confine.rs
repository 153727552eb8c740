//! What the last stage gives up before it becomes the migration.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath,
    PathFd, PathFdError, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_no_new_privs,
};

use super::{Limits, Policy, missing};

/// The newest rules that we know; an older kernel enforces those that it knows.
const LANDLOCK: ABI = ABI::V7;

/// Programs and libraries, to be read and executed. What a system does not have is left out.
const SYSTEM: [&str; 7] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/opt",
    "/nix/store",
];
/// Files that programs read to start, or to learn which image this is.
const FILES: [&str; 6] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/os-release",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
];

/// Gives up what it can; what not is said.
pub(super) fn confine(policy: &Policy) {
    for (what, result) in [
        ("resource limits", limit(policy)),
        // Where memory gets short the migration goes first, not what watches it.
        (
            "being the first to go",
            std::fs::write("/proc/self/oom_score_adj", "1000"),
        ),
        ("fewer capabilities", drop_capabilities()),
        (
            "a ban on new privileges",
            set_no_new_privs(true).map_err(io::Error::from),
        ),
    ] {
        if let Err(error) = result {
            missing(what, &error);
        }
    }
    match landlock(policy) {
        Ok(RulesetStatus::FullyEnforced) => {}
        Ok(RulesetStatus::PartiallyEnforced) => {
            missing("all of Landlock", &"this kernel knows a part of it");
        }
        Ok(RulesetStatus::NotEnforced) => missing("Landlock", &"this kernel does not have it"),
        Err(error) => missing("Landlock", &error),
    }
}

fn limit(policy: &Policy) -> io::Result<()> {
    let Limits {
        cpu_seconds,
        file_bytes,
        address_space,
        processes,
        files,
    } = policy.limits;
    let to = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    // Outside a user namespace of its own it would be counted with all else that this user runs.
    if policy.own_users {
        setrlimit(Resource::Nproc, to(processes))?;
    }
    for (resource, value) in [
        (Resource::Core, 0),
        (Resource::Cpu, cpu_seconds),
        (Resource::Fsize, file_bytes),
        (Resource::Nofile, files),
        (Resource::As, address_space),
        (Resource::Memlock, 0),
    ] {
        setrlimit(resource, to(value))?;
    }
    Ok(())
}

/// Keeps what reading and writing files of other owners takes: stores have always been written with
/// it. Without new privileges no program gets the rest back.
fn drop_capabilities() -> io::Result<()> {
    let keep = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID;
    let permitted = capabilities(None)?.permitted & keep;
    clear_ambient_capability_set()?;
    Ok(set_capabilities(
        None,
        CapabilitySets {
            effective: permitted,
            permitted,
            inheritable: CapabilitySet::empty(),
        },
    )?)
}

fn landlock(policy: &Policy) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        | AccessFs::Refer
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        // Nothing is allowed of it: no TCP, also where there is no network namespace.
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    let programs = SYSTEM.map(|path| (Path::new(path), read | AccessFs::Execute));
    let files = FILES.map(|path| (Path::new(path), AccessFs::ReadFile.into()));
    let null = [(
        Path::new("/dev/null"),
        AccessFs::ReadFile | AccessFs::WriteFile,
    )];
    let sources = policy.readable.iter().map(|path| (path.as_path(), read));
    let own = [(policy.writable.as_path(), write)];
    for (path, access) in programs
        .into_iter()
        .chain(files)
        .chain(null)
        .chain(sources)
        .chain(own)
    {
        if let Some(rule) = rule(path, access) {
            rules = rules.add_rule(rule)?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// What is not there needs no rule.
fn rule(path: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    let opened: Result<PathFd, PathFdError> = PathFd::new(path);
    Some(PathBeneath::new(opened.ok()?, access))
}
