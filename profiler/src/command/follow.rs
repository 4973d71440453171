//! Following one server, as the options of `serve` have it.
//!
//! In: options, how to find the server. Out: what watches it and what answers about it; how to attach; what
//! says sentences on stderr.

use std::cell::RefCell;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::mode::{Lack, Mode, running_kernel_has_light};
use super::target;
use crate::agent::board::Board;
use crate::agent::cost::Cost;
use crate::agent::follow::{Chosen, Find, Follow, Say};
use crate::agent::frozen::Frozen;
use crate::agent::full::Full;
use crate::agent::http::Answers;
use crate::attach;
use crate::cli::Serve;
use crate::fact::Tree;
use crate::session::shared::Programs;

/// Most who may ask for a full trace, or for what is kept, at once: each is answered at the next moment.
const MAX_ASKS: usize = 4;
/// Questions that wait for an answer at once: more than one only when nobody answers.
const MAX_QUESTIONS: usize = 4;

/// Threads that one set of programs follows where all servers share it.
const MAX_THREADS_OF_ALL: u32 = 16_384;

/// What watches one server, and what answers about it. `only_pid`: one process is meant, and not what comes
/// after it.
pub(super) fn follow(
    options: &Rc<Serve>,
    (find, only_pid): (Find, Option<u32>),
    programs: Rc<Programs>,
    say: Say,
) -> (Follow, Answers) {
    let board = Arc::new(Board::default());
    let (asker, questions) = mpsc::channel(MAX_QUESTIONS);
    let (full_asker, asks) = mpsc::channel(MAX_ASKS);
    let (kept_asker, kept_asks) = mpsc::channel(MAX_ASKS);
    let answers = Answers::new(Arc::clone(&board), asker, options.window);
    let answers = answers.with_full(full_asker).with_kept(kept_asker);
    let (front, chosen) = (Rc::clone(options), Rc::clone(options));
    let follow = Follow {
        find,
        with_front_end: Rc::new(move |server| target::with_front_end(server, &front.front_end, front.quiet)),
        only_pid,
        window: options.window,
        choose: Rc::new(move |tree| choose(&chosen, tree)),
        own: options.looks.own.clone().into(),
        programs,
        say,
        full: Full::new(&options.full_traces, Arc::clone(&board)),
        asks,
        board,
        exporter: None,
        rows: None,
        questions,
        keep: options.kept.wanted(),
        kept_asks,
        last_kept: None,
        frozen: Frozen::new(options.kept.keep_when.clone()),
        changes: Rc::default(),
        cost: options.max_cost.ratio.map(Cost::new),
        server: None,
    };
    (follow, answers)
}

/// How to attach: in light mode, with full traces beside it, or in full.
fn choose(options: &Serve, tree: &Tree) -> Chosen {
    let asked = match (options.light, options.full) {
        (true, _) => Some(Mode::Light),
        (false, true) => Some(Mode::Full),
        (false, false) => None,
    };
    let lack = Lack::of_tree(tree, options.front_end.with_front_end.is_some());
    let (mode, sentence) = Mode::of_serve(asked, lack);
    let light = mode == Mode::Light;
    let settings = |light: bool| attach::Settings {
        hooks: target::hooks(options.hooks, light),
        gil: target::gil(options.gil, light),
        tls: target::tls(options.tls, light),
        looks: target::looks(&options.looks),
        ring_bytes: options.ring_bytes,
        all_of_light: asked.is_none(),
        max_threads: options.all.then_some(MAX_THREADS_OF_ALL),
    };
    // What asks the kernel for its types, only where it matters.
    let has_lighter = || options.max_cost.ratio.is_some() && !light && running_kernel_has_light();
    Chosen {
        attach: settings(light),
        full: light.then(|| settings(false)),
        lighter: has_lighter().then(|| attach::Settings { all_of_light: false, ..settings(true) }),
        instead: (light && asked.is_none()).then(|| settings(false)),
        sentence,
    }
}

/// Says each sentence, unless it was said last; `quiet`: nothing.
pub(super) fn sayer(quiet: bool) -> Say {
    let said = RefCell::new(String::new());
    Rc::new(move |sentence: &str| {
        if !quiet && *said.borrow() != sentence {
            // Nobody may be reading: then there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "wsgi-trace: {sentence}");
            sentence.clone_into(&mut said.borrow_mut());
        }
    })
}
