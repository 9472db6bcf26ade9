// SPDX-License-Identifier: Apache-2.0
//! Searches over numbers that cost a look into a file each.

/// As [`partition_point`], quick if the number is near `low`.
pub(crate) fn gallop<E>(
    low: u64,
    high: u64,
    mut holds: impl FnMut(u64) -> Result<bool, E>,
) -> Result<u64, E> {
    let (mut from, mut step) = (low, 64);
    while from < high {
        let probe = (from + step).min(high) - 1;
        if !holds(probe)? {
            return partition_point(from, probe, holds);
        }
        from = probe + 1;
        step *= 4;
    }
    Ok(high)
}

/// The first number in `low..high` for which `holds` is false, if it is true for all before and false for all after
/// that one; `high` if it is true for all.
pub(crate) fn partition_point<E>(
    mut low: u64,
    mut high: u64,
    mut holds: impl FnMut(u64) -> Result<bool, E>,
) -> Result<u64, E> {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
