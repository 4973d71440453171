//! Intervals by two clocks: ours, and a witness's.
//!
//! In: pairs of durations by kind of request, and what this machine took for a known piece of work in the
//! same run. Out: their differences at the median, p90 and p99 of each kind, and whether these are what the
//! server does between the two clocks.

use std::collections::BTreeMap;

use crate::switches::Waits;
use crate::trace::TracedRequest;
use crate::yardstick::Speed;

/// How many requests of a kind make its median one of the kind rather than of chance.
const MANY: usize = 20;
/// Of fewer requests than this, the p99 is their maximum, and says something of one request alone.
const HUNDRED: usize = 100;
/// An exchange takes as long as so many heads beside a server under load (40 to 74 in seven tests): half of
/// what lies between two clocks is a server's own code, half are its calls and wakeups.
const EXCHANGE_HEADS: u64 = 48;
/// All kinds together.
const ALL: &str = "all";
/// How long a thread that computes keeps the GIL from others (CPython's `sys.getswitchinterval()`).
const SWITCH_INTERVAL_NS: u64 = 5_000_000;

/// How long a thread waits that loses its CPU to another one (`base_slice_ns` of two CPUs). The kernel's
/// tracer does not show every such wait ([`crate::switches`]: switches that are not shown): among the slowest
/// of a kind there may be some.
const SLICE_NS: u64 = 3_000_000;

/// A request by both clocks, in ns.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// By our account.
    pub ours_ns: u64,
    /// By the witness's.
    pub theirs_ns: u64,
    /// For how long, by the kernel's tracer, its thread waited for a CPU meanwhile: the two may differ by as
    /// much.
    pub without_cpu_ns: u64,
    /// How many waits it is the sum of, one at least. The kernel's account has other moments of a switch
    /// than its tracepoints ([`crate::switches`]), twice a wait. In six runs of requests with 31 waits
    /// each added 0.2 to 7 µs, where a head took 8 to 11. Whether that is the whole cause was not
    /// tested.
    pub waits: u64,
}

impl Pair {
    /// A request by both clocks, and how long these threads waited for a CPU until the later of the two was
    /// read: its own, and those that may have kept it waiting.
    pub fn of(
        request: &TracedRequest,
        (ours_ns, theirs_ns): (u64, u64),
        (waits, threads): (&Waits, &[u32]),
    ) -> Self {
        let end_ns = request.start_ns + request.total_ns + theirs_ns.saturating_sub(ours_ns);
        let without_cpu_ns = waits.of_any(threads, &(request.start_ns..end_ns));
        Self { ours_ns, theirs_ns, without_cpu_ns, waits: 1 }
    }

    /// How far the two are apart, beyond what waits for a CPU explain.
    pub const fn error_ns(self) -> u64 {
        self.ours_ns.abs_diff(self.theirs_ns).saturating_sub(self.without_cpu_ns)
    }

    /// How far the two are apart beyond what more waits than one explain, if each may add what a head takes.
    const fn error_of_one_ns(self, head_ns: u64) -> u64 {
        self.error_ns().saturating_sub(self.waits.saturating_sub(1).saturating_mul(head_ns))
    }
}

/// What may lie between the two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Between {
    /// How fast this machine was in the same run.
    pub speed: Speed,
    /// The server's processes are woken rarely, and begin their work cold, which a yardstick that works on
    /// does not.
    pub is_woken_rarely: bool,
    /// How far apart the readings of the witness's clock are.
    pub resolution_ns: u64,
    /// Another request may take the interpreter between the two clocks.
    pub shares_gil: bool,
    /// What a hypervisor took in the run: one clock of two may contain it. All that is beyond a bound may be
    /// this long together.
    pub stolen_ns: u64,
}

/// Pairs of durations, by kind of request.
#[derive(Debug, Default)]
pub struct Intervals {
    pairs: BTreeMap<String, Vec<Pair>>,
}

/// One bound: where, and how much.
struct Bound {
    percent: usize,
    allowed_ns: u64,
}

impl Bound {
    /// By how much, together, the least of those are too large that must not be: 0 where so many of a hundred
    /// are within the bound.
    fn excess_ns(&self, sorted: &[u64]) -> u64 {
        let within = index(sorted.len(), self.percent).saturating_add(1);
        sorted.iter().take(within).map(|error_ns| error_ns.saturating_sub(self.allowed_ns)).sum()
    }
}

impl Between {
    /// A head, where a server's work is half code, half calls and wakeups. A host may be slow at wakeups and
    /// calls alone. One that others keep awake is quick at these, and no quicker at a server's code.
    fn work_ns(self) -> u64 {
        let Speed { head_ns, exchange_ns, .. } = self.speed;
        head_ns.max(head_ns.midpoint(exchange_ns / EXCHANGE_HEADS))
    }

    /// What a server does between the clocks of its log and ours is parsing a head and writing one. Over all
    /// requests that is at most a dozen times what bare Python takes for it, of one kind at most twenty
    /// times (bodies that h11 reads: sixteen). At its slowest it is three times a dozen, or eight. Of a
    /// few requests even the median is one of the slow ones.
    fn bounds(self, kind: &str, count: usize) -> Vec<Bound> {
        let (work_ns, cold_ns) = (self.work_ns(), self.speed.cold_ns);
        let often_cold_ns = if self.is_woken_rarely { cold_ns } else { 0 };
        let heads = |heads: u64| heads * work_ns + often_cold_ns + self.resolution_ns;
        let intervals = |count: u64| if self.shares_gil { count * SWITCH_INTERVAL_NS } else { 0 };
        let few_ns = if count >= MANY { 0 } else { SLICE_NS };
        // Whoever is woken often also begins cold now and then.
        let slow_ns = heads(36) + (cold_ns - often_cold_ns) + intervals(1) + few_ns;
        let typical_ns = heads(if kind == ALL { 12 } else { 20 });
        let mut bounds = vec![
            Bound { percent: 50, allowed_ns: if count >= MANY { typical_ns } else { slow_ns } },
            Bound { percent: 90, allowed_ns: slow_ns },
        ];
        if count >= HUNDRED {
            bounds.push(Bound { percent: 99, allowed_ns: heads(100) + intervals(2) + 2 * SLICE_NS });
        }
        bounds
    }
}

/// The kind of a request: the first part of its path, or of what follows `/truth`.
pub fn kind(path: &str) -> &str {
    path.trim_start_matches("/truth").trim_start_matches('/').split('/').next().unwrap_or_default()
}

impl Intervals {
    /// Adds a request of a kind.
    pub fn add(&mut self, kind: &str, pair: Pair) {
        self.pairs.entry(kind.to_owned()).or_default().push(pair);
    }

    /// How many requests can be compared.
    pub fn count(&self) -> usize {
        self.pairs.values().map(Vec::len).sum()
    }

    /// Says the differences of each kind on standard error, and gives what is wrong, a sentence each.
    pub fn wrong(&self, between: Between) -> Vec<String> {
        let Speed { head_ns, cold_ns, exchange_ns } = between.speed;
        let us = |ns: u64| ns as f64 / 1e3;
        let (head_us, cold_us) = (us(head_ns), us(cold_ns));
        eprintln!(
            "  a head took {head_us:.1} µs, {cold_us:.0} µs more when cold, an exchange {:.0} µs",
            us(exchange_ns)
        );
        let all: Vec<Pair> = self.pairs.values().flatten().copied().collect();
        let kinds = self.pairs.iter().map(|(kind, pairs)| (kind.as_str(), pairs.as_slice()));
        kinds.chain([(ALL, all.as_slice())]).flat_map(|(kind, pairs)| wrong(kind, pairs, between)).collect()
    }
}

fn wrong(kind: &str, pairs: &[Pair], between: Between) -> Vec<String> {
    let sorted = |value: &dyn Fn(&Pair) -> u64| {
        let mut list: Vec<u64> = pairs.iter().map(value).collect();
        list.sort_unstable();
        list
    };
    let (errors_ns, theirs_ns) = (sorted(&|pair| pair.error_ns()), sorted(&|pair| pair.theirs_ns));
    let of_one_ns = sorted(&|pair| pair.error_of_one_ns(between.work_ns()));
    let bounds = between.bounds(kind, pairs.len());
    eprintln!(
        "  {kind:<10} {:>3} compared, {:>6.0} µs by the witness; difference at the median, p90, p99: {} µs",
        pairs.len(),
        at(&theirs_ns, 50) as f64 / 1e3,
        [50, 90, 99].map(|percent| format!("{:.0}", at(&errors_ns, percent) as f64 / 1e3)).join(", "),
    );
    let above = bounds.iter().filter(|bound| bound.excess_ns(&of_one_ns) > between.stolen_ns);
    above
        .map(|bound| {
            format!(
                "{kind}: at p{} the intervals differ by {:.0} µs, not by {:.0} µs at most; {:.0} µs too much in all, {:.0} µs stolen",
                bound.percent,
                at(&of_one_ns, bound.percent) as f64 / 1e3,
                bound.allowed_ns as f64 / 1e3,
                bound.excess_ns(&of_one_ns) as f64 / 1e3,
                between.stolen_ns as f64 / 1e3,
            )
        })
        .collect()
}

/// The value below which so many of a hundred lie; 0 of none.
fn at(sorted: &[u64], percent: usize) -> u64 {
    sorted.get(index(sorted.len(), percent)).copied().unwrap_or(0)
}

fn index(count: usize, percent: usize) -> usize {
    (count * percent / 100).min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a machine that takes 10 µs for a head.
    fn between() -> Between {
        let speed = Speed { head_ns: 10_000, cold_ns: 20_000, exchange_ns: EXCHANGE_HEADS * 10_000 };
        Between { speed, is_woken_rarely: false, resolution_ns: 0, shares_gil: false, stolen_ns: 0 }
    }

    fn intervals(count: usize, ours_ns: u64, without_cpu_ns: u64) -> Intervals {
        let mut made = Intervals::default();
        for _ in 0..count {
            made.add("fast", Pair { ours_ns, theirs_ns: 1_000_000, without_cpu_ns, waits: 1 });
        }
        made
    }

    #[test]
    fn a_difference_is_wrong_where_the_machine_had_no_time_for_it() {
        let between = between();
        assert_eq!(intervals(40, 1_110_000, 0).wrong(between), Vec::<String>::new());
        assert_eq!(intervals(40, 1_130_000, 0).wrong(between).len(), 1, "all together");
        assert_eq!(intervals(40, 1_210_000, 0).wrong(between).len(), 2, "the kind and all");
        assert_eq!(intervals(40, 790_000, 0).wrong(between).len(), 2, "shorter is as wrong as longer");
        let Between { speed, .. } = between;
        let at_speed = |speed| Between { speed, ..between };
        let slow_code = at_speed(Speed { head_ns: 2 * speed.head_ns, ..speed });
        assert_eq!(intervals(40, 1_130_000, 0).wrong(slow_code).len(), 0);
        let slow_calls = at_speed(Speed { exchange_ns: 2 * speed.exchange_ns, ..speed });
        assert_eq!(intervals(40, 1_130_000, 0).wrong(slow_calls).len(), 0);
        assert_eq!(intervals(40, 1_190_000, 0).wrong(slow_calls).len(), 1, "half of it is code");
        assert_eq!(intervals(40, 1_130_000, 0).wrong(Between { is_woken_rarely: true, ..between }).len(), 0);
        assert_eq!(intervals(40, 1_130_000, 20_000).wrong(between).len(), 0, "it waited for a CPU");
        assert_eq!(intervals(40, 1_130_000, 0).wrong(Between { shares_gil: true, ..between }).len(), 1);
        // 21 of 40 must be within the bound, and each is 10 µs beyond it.
        assert_eq!(intervals(40, 1_130_000, 0).wrong(Between { stolen_ns: 209_999, ..between }).len(), 1);
        assert_eq!(
            intervals(40, 1_130_000, 0).wrong(Between { stolen_ns: 210_000, ..between }).len(),
            0,
            "a hypervisor's"
        );
    }

    #[test]
    fn each_of_many_waits_may_differ_by_a_head_and_no_more() {
        let of_waits = |ours_ns, waits| {
            let mut made = Intervals::default();
            for _ in 0..40 {
                made.add("rows", Pair { ours_ns, theirs_ns: 60_000_000, without_cpu_ns: 0, waits });
            }
            made.wrong(between())
        };
        assert_eq!(
            of_waits(60_400_000, 31),
            Vec::<String>::new(),
            "thirty heads, and ten between the two clocks"
        );
        assert_eq!(of_waits(60_430_000, 31).len(), 1, "all together");
        assert_eq!(of_waits(60_510_000, 31).len(), 2, "the kind and all");
        assert_eq!(of_waits(60_300_000, 1).len(), 2, "one wait");
    }

    #[test]
    fn one_kind_that_is_wrong_throughout_is_found_beside_many_that_are_right() {
        let between = between();
        let mut made = intervals(300, 1_000_000, 0);
        for _ in 0..20 {
            made.add(
                "stream",
                Pair { ours_ns: 9_000_000, theirs_ns: 1_000_000, without_cpu_ns: 0, waits: 1 },
            );
        }
        let wrong = made.wrong(between);
        assert!(wrong.iter().any(|text| text.starts_with("stream: at p50")), "{wrong:?}");
    }
}
