//! The texts of `/proc`, as pure functions: text in, numbers out, nothing where the kernel says it otherwise.

/// One process, from `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Process {
    pub(super) group: i32,
    /// Clock ticks of the process and of its children that it has waited for.
    pub(super) ticks: u64,
    /// Resident pages.
    pub(super) pages: u64,
}

/// Reads `/proc/PID/stat`; the command in parentheses may hold anything, closing parentheses included.
pub(super) fn process(text: &[u8]) -> Option<Process> {
    let end = text.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    // From `state`, the third field of proc_pid_stat(5).
    let mut fields = rest.split_ascii_whitespace().skip(2);
    let group = fields.next()?.parse().ok()?;
    // utime, stime, cutime and cstime are fields 14 to 17.
    let mut ticks = 0u64;
    let mut fields = fields.skip(8);
    for _ in 0..4 {
        // Waited-for times are signed in the kernel's text.
        let field: i64 = fields.next()?.parse().ok()?;
        ticks = ticks.saturating_add(u64::try_from(field).unwrap_or(0));
    }
    // rss is field 24.
    let pages = fields.nth(6)?.parse::<i64>().ok()?;
    Some(Process { group, ticks, pages: u64::try_from(pages).unwrap_or(0) })
}

/// Bytes that a process and its waited-for children had read from and written to disks, from `/proc/PID/io`.
pub(super) fn process_io(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    Some((field("read_bytes:")?, field("write_bytes:")?))
}

/// Ticks of one core since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Core {
    pub(super) number: u32,
    pub(super) busy: u64,
    pub(super) waiting: u64,
    pub(super) idle: u64,
}

/// The cores of `/proc/stat`.
pub(super) fn cores(text: &str) -> Vec<Core> {
    // The cores stand first; the long line of interrupts after them is not looked at.
    text.lines().take_while(|line| line.starts_with("cpu")).filter_map(core).collect()
}

fn core(line: &str) -> Option<Core> {
    let mut fields = line.strip_prefix("cpu")?.split(' ');
    // The line of all cores together has a space here, and so no number.
    let number = fields.next()?.parse().ok()?;
    let mut ticks = [0u64; 8];
    for tick in &mut ticks {
        *tick = fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
    }
    let [user, nice, system, idle, waiting, irq, soft, stolen] = ticks;
    let busy = [user, nice, system, irq, soft, stolen].into_iter().fold(0, u64::saturating_add);
    Some(Core { number, busy, waiting, idle })
}

/// Sums over the real disks of `/proc/diskstats`: bytes read, bytes written, operations.
pub(super) fn disks(text: &str) -> (u64, u64, u64) {
    let (mut read, mut written, mut operations) = (0u64, 0u64, 0u64);
    let mut last = "";
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(name) = fields.nth(2) else { continue };
        // Partitions follow their disk and would count twice; these others are no disks.
        let made = ["loop", "ram", "zram", "dm-", "md", "sr"].iter().any(|p| name.starts_with(p));
        if made || (!last.is_empty() && is_partition(last, name)) {
            continue;
        }
        last = name;
        let numbers: Vec<u64> = fields.take(7).map_while(|f| f.parse().ok()).collect();
        let [reads, _, sectors_read, _, writes, _, sectors_written] = numbers[..] else { continue };
        // A sector is 512 bytes here, whatever the disk's are.
        read = read.saturating_add(sectors_read.saturating_mul(512));
        written = written.saturating_add(sectors_written.saturating_mul(512));
        operations = operations.saturating_add(reads).saturating_add(writes);
    }
    (read, written, operations)
}

fn is_partition(disk: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(disk) else { return false };
    let digits = rest.strip_prefix('p').unwrap_or(rest);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Sums over the interfaces of `/proc/net/dev` but the loopback one: bytes received, bytes sent.
pub(super) fn network(text: &str) -> (u64, u64) {
    let (mut received, mut sent) = (0u64, 0u64);
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> =
            rest.split_ascii_whitespace().take(9).map_while(|f| f.parse().ok()).collect();
        let [first, .., last] = numbers[..] else { continue };
        if numbers.len() == 9 {
            received = received.saturating_add(first);
            sent = sent.saturating_add(last);
        }
    }
    (received, sent)
}

/// Total and used bytes from `/proc/meminfo`.
pub(super) fn memory(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, free) = (field("MemTotal:")?, field("MemAvailable:")?);
    Some((total.saturating_mul(1024), total.saturating_sub(free).saturating_mul(1024)))
}
