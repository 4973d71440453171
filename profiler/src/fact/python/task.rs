//! Which of a process's tasks can be distinguished, and where that stands in a `PyThreadState`.
//!
//! In: mapped files, the interpreter's version. Out: [`TaskKind`], [`TaskWay`]. What runs coroutines gives
//! each task a `contextvars.Context` of its own and enters it for every step. Greenlets have none by
//! themselves, but from CPython 3.11 on a stack of frames each. Modules are loaded while a process runs: what
//! can be distinguished changes then.

use profiler_common::account::STATE_WORDS;
use profiler_common::gil::TaskWay;
use profiler_core::fact::{InterpreterSeen, TaskKind};

use super::elf::Image;
use super::layout::{Version, task_places};
use crate::fact::mapping::Mapped;

/// What the tasks of a process are, by the modules that it has loaded; `None`: it has none.
pub(super) fn kind(mapped: &[Mapped], image: &Image) -> Option<TaskKind> {
    let any = |is: &dyn Fn(&Mapped) -> bool| mapped.iter().any(is);
    let is_gevent = |file: &Mapped| file.name().starts_with("_gevent") || file.path.contains("/gevent/");
    let is_loop = |file: &Mapped| {
        file.name().starts_with("_asyncio.")
            || file.path.contains("/uvloop/") && file.name().starts_with("loop.")
    };
    // Programs on gevent load asyncio as well, through what they use, and do not run it. eventlet itself
    // does, and some libraries have greenlets in programs on asyncio.
    let has_greenlets = any(&|file| file.name().starts_with("_greenlet."));
    let has_contexts = image.has_contexts || any(&|file| file.name().starts_with("_contextvars."));
    match (image.has_asyncio || any(&is_loop), has_greenlets) {
        _ if any(&is_gevent) => Some(TaskKind::Greenlets),
        (true, true) => Some(TaskKind::Either),
        (true, false) => Some(TaskKind::Contexts),
        (false, true) => Some(TaskKind::Greenlets),
        // What runs coroutines in plain Python (trio) gives each task a context, too.
        (false, false) => has_contexts.then_some(TaskKind::Contexts),
    }
}

/// The way to the tasks of this interpreter's process, which are of this kind; `None`: they cannot be read.
fn way_of(seen: &InterpreterSeen, kind: TaskKind) -> Option<TaskWay> {
    // A thread is recognised by the number that its state bears; with several locks the last holder of the
    // main one says less.
    let number_at = seen.thread_number_at.filter(|_| seen.locks.len() == 1)?;
    let places = task_places(seen.version.as_deref().and_then(Version::parse_full)?)?;
    let place = |at: u64| {
        let distance = at.checked_sub(number_at).filter(|distance| distance.is_multiple_of(8))?;
        Some(distance / 8).filter(|place| (1..STATE_WORDS as u64).contains(place))
    };
    let context = if kind == TaskKind::Greenlets { 0 } else { place(places.context)? };
    let chunk = match (kind, places.chunk) {
        (TaskKind::Contexts, _) | (TaskKind::Either, None) => 0,
        (TaskKind::Greenlets | TaskKind::Either, at) => place(at?)?,
    };
    Some(TaskWay { number_at, context, chunk })
}

/// What can be known of the tasks of this interpreter's process.
pub(super) fn told(seen: &InterpreterSeen, mapped: &[Mapped], image: &Image) -> Option<TaskKind> {
    kind(mapped, image).filter(|kind| way_of(seen, *kind).is_some())
}

/// The way to the tasks of this interpreter's process; `None`: they are not read.
pub fn task_way(seen: &InterpreterSeen) -> Option<TaskWay> {
    way_of(seen, seen.tasks?)
}

#[cfg(test)]
mod tests {
    use profiler_core::fact::InterpreterLock;

    use super::*;

    fn mapped(paths: &[&str]) -> Vec<Mapped> {
        paths.iter().map(|path| Mapped { path: (*path).to_owned(), ..Mapped::default() }).collect()
    }

    fn seen(version: &str) -> InterpreterSeen {
        InterpreterSeen {
            version: Some(version.to_owned()),
            thread_number_at: Version::parse_full(version)
                .and_then(|version| version.thread_number_at().or(version.thread_handle_at())),
            locks: vec![InterpreterLock { address: 4096, interpreter: 0, interval_us: 5000 }],
            ..InterpreterSeen::default()
        }
    }

    #[test]
    fn modules_that_are_loaded_tell_what_the_tasks_are() {
        let kind_of = |paths: &[&str]| kind(&mapped(paths), &Image::default());
        let asyncio = "/usr/lib/python3.11/lib-dynload/_asyncio.cpython-311-x86_64-linux-gnu.so";
        let uvloop = "/v/site-packages/uvloop/loop.cpython-311-x86_64-linux-gnu.so";
        let contexts = "/usr/lib/python3.11/lib-dynload/_contextvars.cpython-311-x86_64-linux-gnu.so";
        let greenlet = "/v/site-packages/greenlet/_greenlet.cpython-311-x86_64-linux-gnu.so";
        let gevent = "/v/site-packages/gevent/libev/corecext.cpython-311-x86_64-linux-gnu.so (deleted)";
        assert_eq!(kind_of(&["/usr/bin/python3.11", "/v/_asynciomore.so", "/v/loop.so"]), None);
        for paths in [&[asyncio][..], &[uvloop], &[contexts]] {
            assert_eq!(kind_of(paths), Some(TaskKind::Contexts), "{paths:?}");
        }
        assert_eq!(kind_of(&[greenlet, asyncio]), Some(TaskKind::Either));
        for paths in [&[greenlet][..], &[contexts, greenlet], &[asyncio, greenlet, gevent]] {
            assert_eq!(kind_of(paths), Some(TaskKind::Greenlets), "{paths:?}");
        }
        let built_in = Image { has_asyncio: true, ..Image::default() };
        assert_eq!(kind(&[], &built_in), Some(TaskKind::Contexts));
        assert_eq!(kind(&mapped(&[greenlet]), &built_in), Some(TaskKind::Either));
        let built_in = Image { has_contexts: true, ..Image::default() };
        assert_eq!(kind(&[], &built_in), Some(TaskKind::Contexts));
        assert_eq!(kind(&mapped(&[greenlet]), &built_in), Some(TaskKind::Greenlets));
    }

    #[test]
    fn tasks_are_read_where_the_version_and_the_threads_own_state_are_known() {
        let way =
            |seen: &InterpreterSeen, kind| task_way(&InterpreterSeen { tasks: Some(kind), ..seen.clone() });
        let context = |version: &str| {
            let way = way(&seen(version), TaskKind::Contexts).filter(|way| way.chunk == 0)?;
            Some(way.number_at + 8 * way.context)
        };
        let chunk = |version: &str| {
            let way = way(&seen(version), TaskKind::Greenlets).filter(|way| way.context == 0)?;
            Some(way.number_at + 8 * way.chunk)
        };
        assert_eq!(["3.8.18", "3.9", "3.10.13"].map(context), [Some(240); 3]);
        assert_eq!(["3.8.18", "3.9", "3.10.13", "3.16.0"].map(chunk), [None; 4]);
        assert_eq!((context("3.11.2"), chunk("3.11.2")), (Some(224), Some(296)));
        for version in ["3.12.1", "3.13.5", "3.14.10"] {
            assert_eq!((context(version), chunk(version)), (Some(208), Some(232)), "{version}");
        }
        assert_eq!((context("3.15.2"), chunk("3.15.2")), (Some(232), Some(256)));
        let either = way(&seen("3.11.2"), TaskKind::Either);
        assert_eq!(either, Some(TaskWay { number_at: 160, context: 8, chunk: 17 }));
        let older = way(&seen("3.10.13"), TaskKind::Either);
        assert_eq!(older, Some(TaskWay { number_at: 176, context: 8, chunk: 0 }));
        let mut without = seen("3.11.2");
        without.thread_number_at = None;
        assert_eq!(way(&without, TaskKind::Contexts), None);
        let mut several = seen("3.12.1");
        several.locks.push(InterpreterLock { address: 8192, interpreter: 1, interval_us: 5000 });
        assert_eq!(way(&several, TaskKind::Contexts), None);
        assert_eq!(task_way(&seen("3.11.2")), None, "no task is known");
    }
}
