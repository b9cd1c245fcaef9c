//! Ranks that are threads of a test, and the conformance suite of the trait.

use std::sync::{Arc, Barrier, Mutex};

use super::{Collective, CollectiveError, broadcast_bytes, check_root, gather_bytes, sum};

/// A rank that is a thread. Sums are taken in the order of the ranks.
#[derive(Debug)]
pub(crate) struct Thread {
    rank: usize,
    meeting: Arc<(Barrier, Mutex<Vec<Vec<f32>>>)>,
}

/// Runs `work` as that many ranks and returns what each gave.
pub(crate) fn ranks<T: Send>(
    size: usize,
    work: impl Fn(&Arc<dyn Collective>) -> T + Sync,
) -> Vec<T> {
    let meeting = Arc::new((Barrier::new(size), Mutex::new(vec![Vec::new(); size])));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..size)
            .map(|rank| {
                let thread: Arc<dyn Collective> =
                    Arc::new(Thread { rank, meeting: Arc::clone(&meeting) });
                let work = &work;
                scope.spawn(move || work(&thread))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

impl Thread {
    /// Everybody gives, and everybody gets what `merge` makes of it.
    fn meet(&self, values: &mut [f32], merge: impl Fn(&[Vec<f32>]) -> Vec<f32>) {
        let (barrier, given) = &*self.meeting;
        given.lock().unwrap()[self.rank] = values.to_vec();
        barrier.wait();
        let answer = merge(&given.lock().unwrap());
        values.copy_from_slice(&answer);
        barrier.wait();
    }
}

impl Collective for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.meeting.1.lock().unwrap().len()
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.meet(values, |given| {
            let mut total = vec![0.0; given[0].len()];
            for part in given {
                assert_eq!(part.len(), total.len(), "lengths differ");
                for (total, value) in total.iter_mut().zip(part) {
                    *total += value;
                }
            }
            total
        });
        Ok(())
    }

    fn broadcast(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        check_root("a broadcast", root, self.size())?;
        self.meet(values, |given| given[root].clone());
        Ok(())
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        self.meet(&mut [], |_| Vec::new());
        Ok(())
    }

    fn abort(&self, code: i32) -> ! {
        panic!("aborted with {code}")
    }
}

/// What every implementation has to do, called on every rank.
pub(crate) fn conform(collective: &dyn Collective) {
    let (rank, size) = (collective.rank(), collective.size());
    assert!(rank < size);
    collective.barrier().unwrap();

    // Sums, of every length from none to more than one piece, in place and the same everywhere.
    for length in [0, 1, 7, 4096, 300_000] {
        let mut values: Vec<f32> = (0..length).map(|i| (rank * 10 + i % 5) as f32).collect();
        collective.all_reduce_sum(&mut values).unwrap();
        let ranks = 10 * size * (size - 1) / 2;
        for (i, value) in values.iter().enumerate() {
            assert_eq!(*value, (ranks + size * (i % 5)) as f32, "{length} {i}");
        }
    }
    // The same bits on all ranks, also where the order of the additions matters.
    let awkward: Vec<f32> =
        (0..1000).map(|i| ((i * 7919 + rank * 104_729) % 1000) as f32 * 0.001 - 0.3).collect();
    let mut summed = awkward.clone();
    collective.all_reduce_sum(&mut summed).unwrap();
    let bits: Vec<u8> = summed.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
    for other in gather_bytes(collective, &bits).unwrap() {
        assert!(other == bits, "ranks got different bits");
    }
    // Twice the same question has twice the same answer.
    let mut again = awkward;
    collective.all_reduce_sum(&mut again).unwrap();
    assert_eq!(again, summed);
    // What is no number stays visible.
    let mut broken = [if rank == 0 { f32::NAN } else { 1.0 }, 1.0];
    collective.all_reduce_sum(&mut broken).unwrap();
    assert!(broken[0].is_nan() && broken[1] == size as f32);

    // Broadcasts from every root; no such root is an error and moves nothing.
    for root in 0..size {
        let mut values: Vec<f32> = (0..5000).map(|i| (rank * 10_000 + i) as f32).collect();
        collective.broadcast(&mut values, root).unwrap();
        assert!(values.iter().enumerate().all(|(i, v)| *v == (root * 10_000 + i) as f32));
    }
    assert!(collective.broadcast(&mut [1.0], size).is_err());

    // Bytes of different lengths, none among them, and every value of a byte.
    let own: Vec<u8> = (0..rank * 1000 + 255 * rank).map(|i| (i * 31 + rank) as u8).collect();
    let all = gather_bytes(collective, &own).unwrap();
    assert_eq!(all.len(), size);
    for (other, bytes) in all.iter().enumerate() {
        let wanted: Vec<u8> =
            (0..other * 1000 + 255 * other).map(|i| (i * 31 + other) as u8).collect();
        assert!(*bytes == wanted, "rank {rank} got wrong bytes of {other}");
    }
    let told = broadcast_bytes(collective, vec![rank as u8, 7, 255, 0]).unwrap();
    assert_eq!(told, [0, 7, 255, 0]);
    // Double precision is not lost on the way.
    let mut exact = [1.0 / 3.0, 1e300, rank as f64];
    sum(collective, &mut exact).unwrap();
    let mut wanted = 0.0;
    (0..size).for_each(|_| wanted += 1.0 / 3.0);
    assert_eq!(exact, [wanted, 1e300 * size as f64, (size * (size - 1) / 2) as f64]);
    collective.barrier().unwrap();
}
