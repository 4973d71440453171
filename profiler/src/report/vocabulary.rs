//! One vocabulary: what each phase, thread state and holding is called, its letter, its colour, what it
//! means.
//!
//! In: nothing. Out: a [`Term`] for each. Every form of report and the live screen take theirs from here. On
//! the page a term has the colour of the class that is named after it (`html/style.css`). `docs/phases.md`
//! says the same to users.

use profiler_core::model::now::ThreadNow;
use profiler_core::model::slot::Holding;
use profiler_core::phase::Phase;
use profiler_core::timeline::ThreadState;
use ratatui::style::Color;

/// One kind of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its word, in every output.
    pub name: &'static str,
    /// Its letter, which alone shows it where there is no colour.
    pub letter: char,
    /// Its colour in a terminal: of the sixteen, the nearest to that of the page.
    pub colour: Color,
    /// What it means, in a few words.
    pub meaning: &'static str,
}

/// What holds a slot that waits for a client without a request.
pub const IDLE_CONNECTIONS: [Holding; 3] = [Holding::FirstByte, Holding::KeepaliveIdle, Holding::Linger];

/// What nothing holds.
pub const FREE: Term = Term { name: "free", letter: ' ', colour: Color::Reset, meaning: "" };

/// A phase of requests.
pub const fn of_phase(phase: Phase) -> Term {
    let (letter, colour, meaning) = match phase {
        Phase::AcceptQueue => ('a', Color::Red, "in the listener's accept queue"),
        Phase::PoolWait => ('p', Color::LightRed, "waiting for a free thread"),
        Phase::LoopWait => ('o', Color::LightRed, "loop or dispatcher busy"),
        Phase::ReadHead => ('h', Color::LightBlue, "reading the head"),
        Phase::ReadBody => ('b', Color::Blue, "reading the body"),
        Phase::ClientReadStall => ('C', Color::LightBlue, "client slow to send"),
        Phase::Cpu => ('R', Color::Green, "running Python"),
        Phase::RunQueue => ('q', Color::LightYellow, "runnable, waiting for a CPU"),
        Phase::GilWait => ('G', Color::Magenta, "waiting for the GIL"),
        Phase::LockWait => ('L', Color::LightMagenta, "waiting for another lock"),
        Phase::BackendWait => ('B', Color::Yellow, "waiting for a back end"),
        Phase::ChildWait => ('P', Color::Yellow, "waiting for a child process"),
        Phase::FileWait => ('F', Color::Yellow, "waiting for a file"),
        Phase::FaultWait => ('f', Color::Yellow, "page faults"),
        Phase::Sleep => ('S', Color::Gray, "sleeping on purpose"),
        Phase::Write => ('w', Color::Cyan, "writing the response"),
        Phase::ClientWriteStall => ('W', Color::LightCyan, "client slow to receive"),
        Phase::FrontEnd => ('e', Color::LightMagenta, "in the front end"),
        Phase::Unexplained => ('?', Color::White, "not known"),
    };
    Term { name: phase.name(), letter, colour, meaning }
}

/// What a thread does: where that is a phase, the phase's term.
pub const fn of_state(state: ThreadState) -> Term {
    if let Some(phase) = state.phase() {
        return of_phase(phase);
    }
    let (letter, colour, meaning) = match state {
        ThreadState::Idle => ('.', Color::Reset, "waiting for work"),
        ThreadState::ClientIo => ('i', Color::Cyan, "moving bytes of a client"),
        ThreadState::ClientWait => ('c', Color::LightCyan, "waiting for a slow client"),
        _ => ('x', Color::Gray, "none of the others"),
    };
    Term { name: state.name(), letter, colour, meaning }
}

/// What holds a slot: where that is a phase, the phase's term.
pub const fn of_holding(holding: Holding) -> Term {
    let (letter, colour, meaning) = match holding {
        Holding::ClientReadStall => return of_phase(Phase::ClientReadStall),
        Holding::ClientWriteStall => return of_phase(Phase::ClientWriteStall),
        Holding::Request => ('r', Color::LightGreen, "serving a request"),
        Holding::FirstByte => ('n', Color::LightYellow, "connected, nothing sent yet"),
        Holding::KeepaliveIdle => ('k', Color::LightYellow, "kept alive between requests"),
        Holding::Upgraded => ('u', Color::LightMagenta, "a WebSocket or a tunnel"),
        Holding::Stream => ('v', Color::LightMagenta, "a stream of events"),
        Holding::Linger => ('l', Color::LightYellow, "waiting for the client to close"),
        Holding::Housekeeping => ('H', Color::Gray, "the worker's own work"),
    };
    Term { name: holding.name(), letter, colour, meaning }
}

/// What a thread does now, and for what kind of connection if it serves none.
pub const fn of_thread(thread: &ThreadNow) -> Term {
    match (thread.state, thread.holding) {
        (
            ThreadState::ClientWait,
            Some(holding @ (Holding::FirstByte | Holding::KeepaliveIdle | Holding::Linger)),
        ) => of_holding(holding),
        (state, _) => of_state(state),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const STYLE: &str = include_str!("html/style.css");
    const PAGE: &str = include_str!("../../../docs/phases.md");

    /// Every term, those that are the same more than once.
    fn all() -> Vec<Term> {
        let states = ThreadState::ALL.into_iter().map(of_state);
        let phases = Phase::ALL.into_iter().map(of_phase);
        states.chain(phases).chain(Holding::ALL.into_iter().map(of_holding)).collect()
    }

    #[test]
    fn what_has_one_word_has_one_letter_one_colour_and_one_meaning_and_nothing_else_has_them() {
        let all = all();
        for (index, one) in all.iter().enumerate() {
            for other in all.iter().skip(index + 1) {
                let is_same = one.name == other.name;
                assert_eq!(one == other, is_same, "{one:?}, {other:?}");
                assert_eq!(one.letter == other.letter, is_same, "{one:?}, {other:?}");
                assert_eq!(one.meaning == other.meaning, is_same, "{one:?}, {other:?}");
            }
        }
    }

    #[test]
    fn every_term_is_called_what_the_outputs_call_it() {
        assert!(ThreadState::ALL.into_iter().all(|state| of_state(state).name == state.name()));
        assert!(Phase::ALL.into_iter().all(|phase| of_phase(phase).name == phase.name()));
        assert!(Holding::ALL.into_iter().all(|holding| of_holding(holding).name == holding.name()));
        assert!(all().iter().all(|term| term.letter.is_ascii()));
    }

    #[test]
    fn every_term_but_idle_has_a_colour_of_its_own_on_the_page() {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        for name in all().iter().map(|term| term.name) {
            let rule = format!("rect.{name} {{ fill: ");
            let rules: Vec<&str> = STYLE.split(rule.as_str()).skip(1).collect();
            assert_eq!(rules.len(), usize::from(name != ThreadState::Idle.name()), "{name}");
            for rest in rules {
                let fill = rest.split(';').next().unwrap_or_default();
                assert_eq!(*names.entry(fill).or_insert(name), name, "{fill}");
            }
        }
    }

    #[test]
    fn the_guide_has_every_term_with_its_letter_and_its_meaning() {
        for Term { name, letter, meaning, .. } in all() {
            let row = format!("| `{name}` | `{letter}` | {meaning} |");
            assert!(PAGE.contains(&row), "docs/phases.md has no row that begins with {row}");
        }
    }
}
