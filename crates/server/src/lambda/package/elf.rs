//! What a program file is compiled for, by the head of its ELF file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::super::rows::Architecture;

/// What lies at a path where a program is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Nothing that could be run.
    Missing,
    /// A file that nobody may execute.
    NotExecutable,
    /// A script, or a format that says nothing of an architecture.
    Any,
    /// For this architecture.
    For(Architecture),
    /// For another machine; its number in the ELF header.
    Foreign(u16),
}

const HEAD: usize = 20;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

/// Looks at a program. Links are followed: they stay inside the folder.
pub(crate) fn look(path: &Path) -> Program {
    let Ok(data) = std::fs::metadata(path) else { return Program::Missing };
    if !data.is_file() {
        return Program::Missing;
    }
    if !executable(&data) {
        return Program::NotExecutable;
    }
    let mut head = Vec::new();
    let read = File::open(path).and_then(|f| f.take(HEAD as u64).read_to_end(&mut head));
    if read.is_err() {
        return Program::Missing;
    }
    machine(&head)
}

fn machine(head: &[u8]) -> Program {
    let Ok(head) = <&[u8; HEAD]>::try_from(head) else { return Program::Any };
    if !head.starts_with(b"\x7fELF") {
        return Program::Any;
    }
    // EI_DATA says in which order the numbers are written.
    let bytes = [head[18], head[19]];
    let number = if head[5] == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    // EI_CLASS 2 is 64-bit; x32 programs have the machine number of x86-64.
    match (head[4], number) {
        (2, EM_X86_64) => Program::For(Architecture::X86),
        (2, EM_AARCH64) => Program::For(Architecture::Arm),
        _ => Program::Foreign(number),
    }
}

#[cfg(unix)]
fn executable(data: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    data.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn executable(_data: &std::fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(class: u8, order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut head = b"\x7fELF".to_vec();
        head.extend([class, order]);
        head.extend([0; 12]);
        head.extend(machine);
        head
    }

    #[test]
    fn machines_are_read_in_both_orders() {
        assert_eq!(machine(&head(2, 1, [62, 0])), Program::For(Architecture::X86));
        assert_eq!(machine(&head(2, 1, [183, 0])), Program::For(Architecture::Arm));
        assert_eq!(machine(&head(2, 2, [0, 183])), Program::For(Architecture::Arm));
        assert_eq!(machine(&head(1, 1, [3, 0])), Program::Foreign(3));
        assert_eq!(machine(&head(1, 1, [62, 0])), Program::Foreign(62));
        assert_eq!(machine(b"#!/bin/sh\nexec true and more"), Program::Any);
        assert_eq!(machine(b"\x7fELF"), Program::Any);
    }
}
