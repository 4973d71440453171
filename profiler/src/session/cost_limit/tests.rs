//! A machine with a load on which each level has its price.

use proptest::prelude::*;

use super::*;

/// Attaching takes so many seconds of all CPUs.
const ATTACH: f64 = 0.25;
const MAX: f64 = 0.01;
/// What may be taken at once at most: ten seconds of the limit, and what attaching after a pause takes.
const MOST: f64 = 10.0 * MAX + 2.0 * ATTACH;
const BOTH: CanBeLeftOut = CanBeLeftOut { lines: true, system_calls: true };
const LINES: CanBeLeftOut = CanBeLeftOut { lines: true, system_calls: false };

/// A session that is watched for as long as the limit says.
struct Machine {
    limit: CostLimit,
    can: CanBeLeftOut,
    now_ns: u64,
    window_ns: u64,
    window_length_ns: u64,
    taken: f64,
    /// What may be taken by now, by an account of the test's own.
    budget: f64,
    /// That as the last pause ended.
    after_pause: f64,
    /// Ends of pauses, with what was taken by then.
    pauses: Vec<(u64, f64)>,
    steps: Vec<Step>,
    told: Vec<LeftOut>,
    attach: f64,
    /// Seconds of a pause, which the next reading covers too.
    idle: f64,
    /// What light mode takes by what a full trace takes.
    light: f64,
}

impl Machine {
    fn new(can: CanBeLeftOut) -> Self {
        let now_ns = SECOND_NS;
        let mut limit = CostLimit::new(MAX);
        limit.set_can(can, now_ns);
        limit.begins(now_ns);
        Self {
            limit,
            can,
            now_ns,
            window_ns: now_ns,
            window_length_ns: 60 * SECOND_NS,
            taken: 0.0,
            budget: MOST,
            after_pause: 0.0,
            pauses: Vec::new(),
            steps: Vec::new(),
            told: Vec::new(),
            attach: 0.0,
            idle: 0.0,
            light: 0.6,
        }
    }

    fn ratio(&self, full: f64) -> f64 {
        let light = if self.can.system_calls { self.light } else { 0.9 };
        full * match self.limit.level() {
            Level::Asked => 1.0,
            Level::WithoutLines => 0.9,
            Level::Light | Level::Pauses => light,
        }
    }

    fn passes(&mut self, seconds: f64, taken: f64) {
        self.taken += taken;
        self.budget = (self.budget + MAX * seconds).min(MOST) - taken;
    }

    /// So many seconds pass at a load that takes so much in full.
    fn run(&mut self, seconds: u64, full: f64) {
        let end_ns = self.now_ns + seconds * SECOND_NS;
        while self.now_ns < end_ns {
            self.now_ns += SECOND_NS;
            let ratio = self.ratio(full) + std::mem::take(&mut self.attach);
            self.passes(1.0, ratio);
            let before = self.limit.level();
            let seconds = 1.0 + std::mem::take(&mut self.idle);
            let taken = Taken { now_ns: self.now_ns, ratio: ratio / seconds, seconds };
            let mut step = self.limit.took(taken, &mut || false);
            if self.now_ns - self.window_ns >= self.window_length_ns {
                self.window_ns = self.now_ns;
                step = step.or_else(|| self.limit.ends_window(self.now_ns));
            }
            let Some(step) = step else { continue };
            self.steps.push(step);
            let is_same = before.max(self.limit.level()) == Level::Pauses
                && (self.limit.level() == Level::Light || before == Level::Light);
            match step {
                Step::Pause(pause) => self.pauses(pause),
                Step::Down(_) | Step::Up(_) if is_same => {}
                Step::Down(_) | Step::Up(_) => self.attaches(),
            }
        }
    }

    fn pauses(&mut self, pause: Duration) {
        self.limit.ends();
        self.limit.pauses(self.now_ns);
        self.passes(pause.as_secs_f64(), 0.0);
        self.idle = pause.as_secs_f64();
        self.now_ns += u64::try_from(pause.as_nanos()).unwrap();
        self.after_pause = self.after_pause.min(self.budget);
        self.pauses.push((self.now_ns, self.taken));
        self.limit.ends_pause(self.now_ns);
        self.attaches();
    }

    fn attaches(&mut self) {
        self.limit.ends();
        self.limit.set_can(self.can, self.now_ns);
        self.told.extend(self.limit.left_out());
        self.limit.told();
        self.limit.begins(self.now_ns);
        self.window_ns = self.now_ns;
        self.attach = ATTACH;
    }

    /// What was taken on average in these seconds. Where there are pauses, from the end of one to that of
    /// another.
    fn mean(&mut self, seconds: u64, full: f64) -> f64 {
        let mut start = (self.now_ns, self.taken);
        let before = self.pauses.len();
        self.run(seconds, full);
        let mut end = (self.now_ns, self.taken);
        if let (Some(first), Some(last)) = (self.pauses.get(before), self.pauses.last()) {
            (start, end) = (*first, *last);
        }
        (end.1 - start.1) / Duration::from_nanos(end.0 - start.0).as_secs_f64()
    }
}

#[test]
fn what_costs_less_than_it_may_is_watched_as_it_was_asked_for() {
    let mut machine = Machine::new(BOTH);
    machine.run(3600, 0.9 * MAX);
    assert_eq!(machine.steps, []);
    assert_eq!(machine.limit.left_out(), []);
}

#[test]
fn a_load_that_rises_tenfold_costs_no_more_than_it_may_within_two_windows() {
    for full in [1.2, 1.5, 3.0, 5.0, 30.0] {
        for can in [BOTH, LINES, CanBeLeftOut::default()] {
            let mut machine = Machine::new(can);
            machine.run(600, full * MAX / 10.0);
            machine.run(120, full * MAX);
            let mean = machine.mean(7200, full * MAX);
            assert!(mean <= MAX, "{full}, {can:?}: {mean}, {:?}", machine.steps);
            assert_ne!(machine.limit.level(), Level::Asked, "{full}");
        }
    }
}

#[test]
fn the_first_level_at_which_it_is_not_too_much_is_taken() {
    for (full, level) in [(1.04, Level::WithoutLines), (1.3, Level::Light), (4.0, Level::Pauses)] {
        let mut machine = Machine::new(BOTH);
        machine.run(600, full * MAX);
        assert_eq!(machine.limit.level(), level, "{full}: {:?}", machine.steps);
    }
}

#[test]
fn more_is_watched_again_once_it_would_cost_less_than_it_may() {
    let mut machine = Machine::new(BOTH);
    machine.run(600, 4.0 * MAX);
    assert_eq!(machine.limit.level(), Level::Pauses);
    machine.run(1800, 0.3 * MAX);
    assert_eq!(machine.limit.level(), Level::Asked, "{:?}", machine.steps);
    for part in [Part::Lines, Part::SystemCalls] {
        let ended = machine.told.iter().filter(|told| told.what == part && told.to_ns > Some(told.from_ns));
        assert_eq!(ended.count(), 1, "it is told once: {part:?}");
    }
    let pauses = machine.steps.iter().filter(|step| matches!(step, Step::Pause(_))).count();
    let told = machine.told.iter().filter(|told| told.what == Part::Everything && told.to_ns.is_some());
    assert!(pauses > 0 && told.count() == pauses, "each pause is told");
    assert_eq!(machine.limit.left_out(), [], "nothing is left out now");
}

#[test]
fn a_low_load_ends_pauses_though_attaching_takes_more_than_a_window_gains() {
    let mut machine = Machine::new(BOTH);
    machine.window_length_ns = 10 * SECOND_NS;
    machine.run(600, 4.0 * MAX);
    let before = machine.steps.len();
    machine.run(3600, 0.6 * MAX);
    let pauses = machine.steps.iter().skip(before).filter(|step| matches!(step, Step::Pause(_))).count();
    assert!(pauses <= 1, "{:?}", machine.steps);
    assert_eq!(machine.limit.level(), Level::Asked);
}

#[test]
fn what_was_too_much_soon_after_is_tried_more_seldom_each_time() {
    let mut machine = Machine::new(BOTH);
    // In light mode it takes less than is usual, so watching more looks cheap.
    machine.light = 0.3;
    machine.run(4 * 3600, 1.15 * MAX);
    let ups = machine.steps.iter().filter(|step| matches!(step, Step::Up(_))).count();
    assert!((2..=10).contains(&ups), "{ups}: {:?}", machine.steps);
    assert!(machine.taken <= MAX * 4.0 * 3600.0);
}

#[test]
fn what_goes_on_is_told_to_each_session() {
    let mut machine = Machine::new(BOTH);
    machine.run(600, 1.3 * MAX);
    for _ in 0..2 {
        let told = machine.limit.left_out();
        machine.limit.told();
        let going_on: Vec<_> =
            told.iter().filter(|told| told.to_ns.is_none()).map(|told| told.what).collect();
        assert_eq!(going_on, [Part::Lines, Part::SystemCalls]);
    }
}

#[test]
fn another_server_that_has_no_light_mode_has_no_system_calls_left_out() {
    let mut machine = Machine::new(BOTH);
    machine.run(600, 1.3 * MAX);
    assert_eq!(machine.limit.level(), Level::Light);
    machine.limit.set_can(LINES, machine.now_ns);
    assert_eq!(machine.limit.level(), Level::Pauses);
    let open: Vec<_> = machine.limit.left_out_now().iter().map(|open| open.what).collect();
    assert_eq!(open, [Part::Lines]);
}

#[test]
fn what_ends_by_itself_spares_what_is_watched() {
    let mut limit = CostLimit::new(MAX);
    limit.begins(SECOND_NS);
    let mut asked = 0;
    for second in 2..60 {
        let taken = Taken { now_ns: second * SECOND_NS, ratio: 2.0 * MAX, seconds: 1.0 };
        let step = limit.took(taken, &mut || {
            asked += 1;
            asked == 1
        });
        if step.is_some() {
            break;
        }
    }
    assert_eq!((asked, limit.level()), (2, Level::Pauses));
}

proptest! {
    #[test]
    fn any_load_costs_no_more_than_it_may_but_for_what_pauses_make_up_for(
        can in prop::sample::select(vec![BOTH, LINES, CanBeLeftOut::default()]),
        loads in proptest::collection::vec((10_u64..600, -2.0_f64..1.0), 60),
    ) {
        let mut machine = Machine::new(can);
        for (seconds, magnitude) in loads {
            machine.run(seconds, MAX * 10_f64.powf(magnitude));
            // A stretch before its pause at ten times the limit, and attaching.
            prop_assert!(machine.budget >= -(MAX * 10.0 * 25.0 + 60.0 * MAX + 4.0 * ATTACH), "{}", machine.budget);
        }
        prop_assert!(machine.after_pause >= -1e-9, "a pause is long enough: {}", machine.after_pause);
    }
}
