//! Whole nanoseconds in parts.
//!
//! In: an amount, weights. Out: a part for each weight; they add up to the amount.

/// Splits `amount_ns` by weights, which become the parts. Each part is rounded down; the last one that has a
/// weight gets the rest. Without any weight all parts are zero.
pub(super) fn split<W: AsMut<[u64]>>(amount_ns: u64, mut weights: W) -> W {
    in_place(amount_ns, weights.as_mut());
    weights
}

fn in_place(amount_ns: u64, parts: &mut [u64]) {
    let sum: u128 = parts.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return;
    }
    // A division of 128 bits takes ten times as long, and is seldom needed.
    let short_sum = u64::try_from(sum).ok();
    let part = |weight: u64| match (amount_ns.checked_mul(weight), short_sum) {
        (Some(product), Some(sum)) => product / sum,
        _ => {
            let part = u128::from(amount_ns) * u128::from(weight) / sum;
            u64::try_from(part).unwrap_or(amount_ns)
        }
    };
    let (mut rest_ns, mut last) = (amount_ns, None);
    for (place, weight) in parts.iter_mut().enumerate().filter(|(_, weight)| **weight > 0) {
        *weight = part(*weight);
        rest_ns = rest_ns.saturating_sub(*weight);
        last = Some(place);
    }
    if let Some(part) = last.and_then(|last| parts.get_mut(last)) {
        *part += rest_ns;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_that_has_a_weight_gets_what_rounding_leaves() {
        assert_eq!(split(10, [1, 1, 1, 0]), [3, 3, 4, 0]);
        assert_eq!(split(10, [0, 0]), [0, 0]);
        assert_eq!(split(0, [5]), [0]);
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole_whatever_the_weights(
            amount_ns in any::<u64>(),
            weights in prop::collection::vec(any::<u64>(), 1..20),
        ) {
            let has_weight = weights.iter().any(|weight| *weight > 0);
            let sum: u128 = split(amount_ns, weights).iter().map(|part| u128::from(*part)).sum();
            prop_assert_eq!(sum, if has_weight { u128::from(amount_ns) } else { 0 });
        }
    }
}
