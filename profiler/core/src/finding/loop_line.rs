//! At which line of the application event loops are kept, as the end of a sentence.
//!
//! In: samples of a snapshot, of threads that run event loops. Out: a clause, where most of them are at one
//! line.

use super::add_where_room;
use super::words::code_line;
use crate::fact::place::{PythonFrame, Whose};
use crate::model::Snapshot;
use crate::model::chain::Chains;
use crate::model::computed::{is_most, line_of};

/// Characters of a name.
const NAME_CHARS: usize = 40;

/// `; loops sleep most in fetch (shop/app.py:17)`.
pub(super) fn add(sentence: &mut String, snapshot: &Snapshot, is_computing: bool) {
    let chains = &snapshot.chains;
    let (what, frame) = if is_computing { ("compute", computed(chains)) } else { ("sleep", slept(chains)) };
    let Some(PythonFrame { function, file, line, .. }) = frame else { return };
    let at = code_line(function, file, *line, NAME_CHARS);
    add_where_room(sentence, &format!("; loops {what} most in {at}"));
}

fn computed(chains: &Chains) -> Option<&PythonFrame> {
    let computed = chains.computed.iter().find(|computed| computed.is_loop)?;
    let most = chains.computed_lines(computed).into_iter().next()?;
    own(chains, most.place).filter(|_| is_most(most.samples, computed.samples))
}

fn slept(chains: &Chains) -> Option<&PythonFrame> {
    let waited = chains.waited.iter().find(|waited| waited.is_loop)?;
    let most = chains.waited_lines(waited).into_iter().next()?;
    let error = most.slept.share_error(&waited.slept)?;
    let share = most.slept.ns as f64 / waited.slept.ns as f64;
    own(chains, most.place).filter(|_| share - 2.0 * error > 0.5)
}

fn own(chains: &Chains, place: u32) -> Option<&PythonFrame> {
    chains.place(Some(place)).and_then(line_of).filter(|frame| frame.whose == Whose::Own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::place::PlaceSeen;
    use crate::model::computed::{Computed, ComputedAt};
    use crate::model::waited::{SleptSum, Waited, WaitedAt};

    fn snapshot() -> Snapshot {
        let frame = |line, whose| PythonFrame {
            file: "/srv/shop/app.py".to_owned(),
            function: "fetch".to_owned(),
            line,
            whose,
        };
        let place = |number, whose| PlaceSeen {
            number,
            frames: vec![frame(17 + number, whose)],
            ..PlaceSeen::default()
        };
        let mut slept = SleptSum::default();
        slept.add(900, false);
        let mut all = slept;
        all.add(100, true);
        let at = |place, samples| ComputedAt { place, samples, collecting: 0 };
        let mut snapshot = Snapshot::default();
        snapshot.chains.places = vec![place(0, Whose::Own), place(1, Whose::Package)];
        snapshot.chains.waited = vec![Waited {
            is_loop: true,
            slept: all,
            places: vec![WaitedAt { place: 0, system_call: 7, slept }],
            ..Waited::default()
        }];
        snapshot.chains.computed =
            vec![Computed { is_loop: true, samples: 100, places: vec![at(1, 95)], ..Computed::default() }];
        snapshot
    }

    fn added(snapshot: &Snapshot, is_computing: bool) -> String {
        let mut sentence = "x".to_owned();
        add(&mut sentence, snapshot, is_computing);
        sentence
    }

    #[test]
    fn the_line_is_named_where_most_is_at_one_of_the_application() {
        let mut snapshot = snapshot();
        assert_eq!(added(&snapshot, false), "x; loops sleep most in fetch (shop/app.py:17)");
        assert_eq!(added(&snapshot, true), "x", "a package is not the application");
        let computed = snapshot.chains.computed.first_mut().expect("made above");
        computed.places = vec![ComputedAt { place: 0, samples: 95, collecting: 0 }];
        assert_eq!(added(&snapshot, true), "x; loops compute most in fetch (shop/app.py:17)");
        snapshot.chains.computed.first_mut().expect("made above").samples = 180;
        assert_eq!(added(&snapshot, true), "x", "that may be less than half");
    }
}
