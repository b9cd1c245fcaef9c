use super::*;

const GIB: u64 = 1 << 30;
const SMALL: Machine = Machine { cores: 2, memory_bytes: 23 * GIB, gpus: 0 };

#[test]
fn what_a_machine_lacks_is_said() {
    let shape = shape("ml.p3.2xlarge", SMALL).unwrap();
    assert_eq!((shape.threads, shape.memory_bytes, shape.gpus), (2, 23 * GIB, 0));
    assert_eq!(
        shape.note.unwrap(),
        "ml.p3.2xlarge has 8 vCPUs, 61 GiB and 1 GPU; this machine gives 2 threads, 23 GiB and no GPU"
    );
}

#[test]
fn what_fits_carries_no_note() {
    let shape = shape("ml.m5.large", SMALL).unwrap();
    assert_eq!((shape.threads, shape.memory_bytes, shape.note), (2, 8 * GIB, None));
    let fraction = super::shape("ml.c4.large", SMALL).unwrap();
    assert_eq!(fraction.memory_bytes, 15 * GIB / 4);
}

#[test]
fn a_cap_of_memory_alone_is_said_too() {
    let machine = Machine { cores: 64, memory_bytes: 23 * GIB - 1, gpus: 0 };
    let note = shape("ml.m5.2xlarge", machine).unwrap().note.unwrap();
    assert_eq!(
        note,
        "ml.m5.2xlarge has 8 vCPUs and 32 GiB; this machine gives 8 threads and 22.9 GiB"
    );
}

#[test]
fn only_known_names_are_found() {
    for unknown in ["ml.m9.huge", "m5.large", "", "ml.m5.Large"] {
        assert_eq!(find(unknown), None, "{unknown}");
    }
    assert!(find("ml.t2.medium").unwrap().burstable);
    assert!(!find("ml.m5.large").unwrap().burstable);
}

#[test]
fn names_are_unique_and_bigger_sizes_are_bigger() {
    let mut all: Vec<&str> = names().collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
    for pair in TYPES.windows(2) {
        let family = |t: &InstanceType| t.name.rsplit_once('.').unwrap().0.to_owned();
        if family(&pair[0]) == family(&pair[1]) {
            assert!(pair[0].vcpus <= pair[1].vcpus, "{} {}", pair[0].name, pair[1].name);
            assert!(pair[0].memory_gib <= pair[1].memory_gib, "{}", pair[1].name);
        }
    }
}
