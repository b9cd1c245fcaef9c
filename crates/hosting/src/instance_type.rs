//! SageMaker's instance types and what this machine gives for them. Numbers are those of
//! <https://aws.amazon.com/sagemaker/ai/pricing/> and of the EC2 types behind them.

#[cfg(test)]
mod tests;

/// What an instance type has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstanceType {
    /// Name such as `ml.m5.xlarge`.
    pub name: &'static str,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// GPUs.
    pub gpus: u32,
    /// Runs on processor credits (the t families); AWS refuses to scale those automatically.
    pub burstable: bool,
}

/// What this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Processor cores that the server may use.
    pub cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// GPUs that child processes can use.
    pub gpus: u32,
}

/// What a child on this machine gets for an instance type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Threads to compute with.
    pub threads: u32,
    /// Memory limit in bytes.
    pub memory_bytes: u64,
    /// GPUs.
    pub gpus: u32,
    /// Says what the type has and this machine has not.
    pub note: Option<String>,
}

macro_rules! types {
    ($($name:literal $vcpus:literal $memory:literal $gpus:literal;)*) => {
        &[$(InstanceType {
            name: $name,
            vcpus: $vcpus,
            memory_gib: $memory as f64,
            gpus: $gpus,
            burstable: false,
        },)*]
    };
}

/// Name, vCPUs, GiB, GPUs.
const TYPES: &[InstanceType] = types! {
    "ml.t2.medium" 2 4 0;
    "ml.t2.large" 2 8 0;
    "ml.t2.xlarge" 4 16 0;
    "ml.t2.2xlarge" 8 32 0;
    "ml.t3.medium" 2 4 0;
    "ml.t3.large" 2 8 0;
    "ml.t3.xlarge" 4 16 0;
    "ml.t3.2xlarge" 8 32 0;
    "ml.m4.xlarge" 4 16 0;
    "ml.m4.2xlarge" 8 32 0;
    "ml.m4.4xlarge" 16 64 0;
    "ml.m4.10xlarge" 40 160 0;
    "ml.m4.16xlarge" 64 256 0;
    "ml.m5.large" 2 8 0;
    "ml.m5.xlarge" 4 16 0;
    "ml.m5.2xlarge" 8 32 0;
    "ml.m5.4xlarge" 16 64 0;
    "ml.m5.12xlarge" 48 192 0;
    "ml.m5.24xlarge" 96 384 0;
    "ml.m6i.large" 2 8 0;
    "ml.m6i.xlarge" 4 16 0;
    "ml.m6i.2xlarge" 8 32 0;
    "ml.m6i.4xlarge" 16 64 0;
    "ml.m6i.8xlarge" 32 128 0;
    "ml.m6i.12xlarge" 48 192 0;
    "ml.m6i.16xlarge" 64 256 0;
    "ml.m6i.24xlarge" 96 384 0;
    "ml.m6i.32xlarge" 128 512 0;
    "ml.c4.large" 2 3.75 0;
    "ml.c4.xlarge" 4 7.5 0;
    "ml.c4.2xlarge" 8 15 0;
    "ml.c4.4xlarge" 16 30 0;
    "ml.c4.8xlarge" 36 60 0;
    "ml.c5.large" 2 4 0;
    "ml.c5.xlarge" 4 8 0;
    "ml.c5.2xlarge" 8 16 0;
    "ml.c5.4xlarge" 16 32 0;
    "ml.c5.9xlarge" 36 72 0;
    "ml.c5.18xlarge" 72 144 0;
    "ml.c6i.large" 2 4 0;
    "ml.c6i.xlarge" 4 8 0;
    "ml.c6i.2xlarge" 8 16 0;
    "ml.c6i.4xlarge" 16 32 0;
    "ml.c6i.8xlarge" 32 64 0;
    "ml.c6i.12xlarge" 48 96 0;
    "ml.c6i.16xlarge" 64 128 0;
    "ml.c6i.24xlarge" 96 192 0;
    "ml.c6i.32xlarge" 128 256 0;
    "ml.r5.large" 2 16 0;
    "ml.r5.xlarge" 4 32 0;
    "ml.r5.2xlarge" 8 64 0;
    "ml.r5.4xlarge" 16 128 0;
    "ml.r5.8xlarge" 32 256 0;
    "ml.r5.12xlarge" 48 384 0;
    "ml.r5.16xlarge" 64 512 0;
    "ml.r5.24xlarge" 96 768 0;
    "ml.p2.xlarge" 4 61 1;
    "ml.p2.8xlarge" 32 488 8;
    "ml.p2.16xlarge" 64 732 16;
    "ml.p3.2xlarge" 8 61 1;
    "ml.p3.8xlarge" 32 244 4;
    "ml.p3.16xlarge" 64 488 8;
    "ml.g4dn.xlarge" 4 16 1;
    "ml.g4dn.2xlarge" 8 32 1;
    "ml.g4dn.4xlarge" 16 64 1;
    "ml.g4dn.8xlarge" 32 128 1;
    "ml.g4dn.12xlarge" 48 192 4;
    "ml.g4dn.16xlarge" 64 256 1;
    "ml.g5.xlarge" 4 16 1;
    "ml.g5.2xlarge" 8 32 1;
    "ml.g5.4xlarge" 16 64 1;
    "ml.g5.8xlarge" 32 128 1;
    "ml.g5.12xlarge" 48 192 4;
    "ml.g5.16xlarge" 64 256 1;
    "ml.g5.24xlarge" 96 384 4;
    "ml.g5.48xlarge" 192 768 8;
};

/// The type of this name; none where it is not in the table.
pub fn find(name: &str) -> Option<InstanceType> {
    let found = TYPES.iter().find(|known| known.name == name)?;
    let burstable = name.starts_with("ml.t2.") || name.starts_with("ml.t3.");
    Some(InstanceType { burstable, ..*found })
}

/// The names of all types, by family and size.
pub fn names() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|known| known.name)
}

/// What a child gets on `machine` for the type of this name; none where the type is not known.
pub fn shape(name: &str, machine: Machine) -> Option<Shape> {
    let wanted = find(name)?;
    let wanted_bytes = (wanted.memory_gib * (1u64 << 30) as f64) as u64;
    let shape = Shape {
        threads: wanted.vcpus.min(machine.cores).max(1),
        memory_bytes: wanted_bytes.min(machine.memory_bytes),
        gpus: wanted.gpus.min(machine.gpus),
        note: None,
    };
    let capped = shape.threads < wanted.vcpus
        || shape.memory_bytes < wanted_bytes
        || shape.gpus < wanted.gpus;
    let note = capped.then(|| {
        let has = list(wanted.vcpus, "vCPU", wanted.memory_gib, wanted.gpus, wanted.gpus > 0);
        let gib = shape.memory_bytes as f64 / (1u64 << 30) as f64;
        let gives = list(shape.threads, "thread", gib, shape.gpus, wanted.gpus > 0);
        format!("{name} has {has}; this machine gives {gives}")
    });
    Some(Shape { note, ..shape })
}

/// "8 vCPUs, 61 GiB and 1 GPU".
fn list(processors: u32, unit: &str, gib: f64, gpus: u32, with_gpus: bool) -> String {
    let many = |count: u32, unit: &str| match count {
        0 => format!("no {unit}"),
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    };
    // One decimal, rounded down: a machine never gives more than it says.
    let memory = format!("{:.1}", (gib * 10.0).floor() / 10.0);
    let memory = format!("{} GiB", memory.strip_suffix(".0").unwrap_or(&memory));
    let processors = many(processors, unit);
    if with_gpus {
        format!("{processors}, {memory} and {}", many(gpus, "GPU"))
    } else {
        format!("{processors} and {memory}")
    }
}
