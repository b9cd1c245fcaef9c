//! Bytes and exact sums, carried by the collectives of single-precision numbers.
//!
//! Three bytes are one number below 2²⁴, which single precision holds exactly; and since every place of the
//! buffer is non-zero on one rank only, its sum is exact too.

use super::{Collective, CollectiveError};

/// Numbers per call: memory is bounded, however much is gathered.
const PIECE: usize = 1 << 20;

fn packed(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks(3).map(|part| {
        let byte = |i: usize| u32::from(part.get(i).copied().unwrap_or(0));
        (byte(0) | byte(1) << 8 | byte(2) << 16) as f32
    })
}

fn unpack(values: &[f32], into: &mut Vec<u8>, length: usize) {
    for &value in values {
        let number = value as u32;
        for shift in [0, 8, 16] {
            if into.len() < length {
                into.push((number >> shift) as u8);
            }
        }
    }
}

/// The lengths of what each rank has.
fn lengths(collective: &dyn Collective, own: usize) -> Result<Vec<usize>, CollectiveError> {
    let (rank, size) = (collective.rank(), collective.size());
    let own = (own as u64).to_le_bytes();
    let per_rank = own.len().div_ceil(3);
    let mut values = vec![0.0; per_rank * size];
    for (slot, value) in values.iter_mut().skip(rank * per_rank).zip(packed(&own)) {
        *slot = value;
    }
    collective.all_reduce_sum(&mut values)?;
    Ok(values
        .chunks_exact(per_rank)
        .map(|part| {
            let mut bytes = Vec::with_capacity(own.len());
            unpack(part, &mut bytes, own.len());
            let mut number = [0; 8];
            number.copy_from_slice(&bytes);
            u64::from_le_bytes(number) as usize
        })
        .collect())
}

/// What every rank has, by rank, on every rank.
///
/// # Errors
/// As [`Collective::all_reduce_sum`].
pub fn gather_bytes(
    collective: &dyn Collective,
    own: &[u8],
) -> Result<Vec<Vec<u8>>, CollectiveError> {
    if collective.size() == 1 {
        return Ok(vec![own.to_vec()]);
    }
    let lengths = lengths(collective, own.len())?;
    let mut gathered = Vec::with_capacity(lengths.len());
    let mut values = Vec::new();
    for (rank, &length) in lengths.iter().enumerate() {
        let mut bytes = Vec::with_capacity(length);
        let mine = (rank == collective.rank()).then_some(own);
        let mut sent = 0;
        while bytes.len() < length {
            let count = (length - bytes.len()).div_ceil(3).min(PIECE);
            values.clear();
            match mine {
                Some(own) => {
                    let end = (sent + 3 * count).min(own.len());
                    values.extend(packed(&own[sent..end]));
                    sent = end;
                }
                None => values.resize(count, 0.0),
            }
            collective.broadcast(&mut values, rank)?;
            unpack(&values, &mut bytes, length);
        }
        gathered.push(bytes);
    }
    Ok(gathered)
}

/// The bytes that rank 0 has, on every rank; what the others give is not looked at.
///
/// # Errors
/// As [`Collective::broadcast`].
pub fn broadcast_bytes(
    collective: &dyn Collective,
    own: Vec<u8>,
) -> Result<Vec<u8>, CollectiveError> {
    let own = if collective.rank() == 0 { own } else { Vec::new() };
    Ok(gather_bytes(collective, &own)?.swap_remove(0))
}

/// Replaces every value by its sum over all ranks, in double precision and in the order of the ranks, so that
/// all ranks get the same bits.
///
/// # Errors
/// As [`Collective::all_reduce_sum`]; the lengths must agree.
pub fn sum(collective: &dyn Collective, values: &mut [f64]) -> Result<(), CollectiveError> {
    if collective.size() == 1 {
        return Ok(());
    }
    let own: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let all = gather_bytes(collective, &own)?;
    values.fill(0.0);
    for bytes in &all {
        if bytes.len() != own.len() {
            return Err(CollectiveError::Failed {
                operation: "a sum",
                size: collective.size(),
                reason: format!("{} values on one rank, {} here", bytes.len() / 8, values.len()),
            });
        }
        for (value, part) in values.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut number = [0; 8];
            number.copy_from_slice(part);
            *value += f64::from_le_bytes(number);
        }
    }
    Ok(())
}
