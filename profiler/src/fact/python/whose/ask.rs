//! Whose code files are, asked of a thread of its own: a file system that hangs must not hang its asker.
//!
//! In: files, as code objects have them, and of which process. Out: what is known by now; questions are
//! bounded, and so is how long an answer is waited for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use profiler_core::fact::place::{OwnBy, OwnCode, Whose};

use super::installed::Folders;
use super::{Decided, Named, Owners};
use crate::fact::budget::{Budget, Spent};
use crate::fact::{Proc, read};

/// Questions that wait.
const MAX_QUESTIONS: usize = 64;
/// How long an answer is waited for, from the question on.
const PATIENCE: Duration = Duration::from_millis(15);
/// Files known of one process, and bytes of their names.
const MAX_FILES: usize = 8192;
const MAX_BYTES: usize = 1024 * 1024;
/// What is said of own code.
const MAX_OWN: usize = 64;
/// Processes that the thread remembers, and roots of theirs.
const MAX_PROCESSES: usize = 256;
const MAX_ROOTS: usize = 16;
/// CPU time that the thread saves up, for when it meets a large application.
const SAVED: Duration = Duration::from_secs(1);

/// A process: a number that no other has, and its own.
pub(in crate::fact::python) type Numbered = (u64, u32);

/// Files of one process.
struct Question {
    process: Numbered,
    proc: Proc,
    files: Vec<String>,
}

struct Answer {
    serial: u64,
    files: Vec<(String, Known, Option<OwnCode>)>,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::fact::python) struct Known {
    /// Its whole path, if the code object has another.
    pub(in crate::fact::python) whole: Option<String>,
    pub(in crate::fact::python) whose: Whose,
}

/// Files of one process; `None`: asked for.
#[derive(Debug, Default)]
struct Files {
    known: HashMap<String, Option<Known>>,
    bytes: usize,
}

/// Asks, and remembers answers.
#[derive(Debug, Default)]
pub(in crate::fact::python) struct Ask {
    own: Vec<String>,
    /// `None`: the thread has not been needed yet.
    thread: Option<Line>,
    files: HashMap<u64, Files>,
    /// When each question that waits was asked, the oldest first.
    waiting: VecDeque<Instant>,
    answers: u64,
    told: Vec<OwnCode>,
    untold: Vec<OwnCode>,
}

#[derive(Debug)]
struct Line {
    questions: SyncSender<Question>,
    answers: Receiver<Answer>,
}

impl Ask {
    /// With what the user names as own code.
    pub(in crate::fact::python) fn with_own(own: &[String]) -> Self {
        let said = |text: &String| OwnCode { what: Named::of(text).what(), by: OwnBy::Option };
        let told: Vec<OwnCode> = own.iter().map(said).collect();
        Self { own: own.to_vec(), untold: told.clone(), told, ..Self::default() }
    }

    /// These files of a process will be asked for, if there is room for a question.
    pub(in crate::fact::python) fn files<'a>(
        &mut self,
        proc: &Proc,
        process: Numbered,
        files: impl Iterator<Item = &'a str>,
    ) -> bool {
        self.hear(None);
        let known = self.files.entry(process.0).or_default();
        if known.known.len() >= MAX_FILES || known.bytes >= MAX_BYTES {
            *known = Files::default();
        }
        let mut asked: Vec<String> = Vec::new();
        for file in files.filter(|file| !known.known.contains_key(*file)) {
            if !asked.iter().any(|one| one == file) {
                asked.push(file.to_owned());
            }
        }
        if asked.is_empty() {
            return true;
        }
        if self.thread.is_none() {
            self.thread = begin(&self.own);
        }
        let Some(thread) = &self.thread else { return false };
        let question = Question { process, proc: proc.clone(), files: asked.clone() };
        match thread.questions.try_send(question) {
            Ok(()) => {
                known.bytes += asked.iter().map(String::len).sum::<usize>();
                known.known.extend(asked.into_iter().map(|file| (file, None)));
                self.waiting.push_back(Instant::now());
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// What is known of a file. Waits for it, unless the thread has been silent for long.
    pub(in crate::fact::python) fn known(&mut self, serial: u64, file: &str) -> Option<&Known> {
        let is_asked = |ask: &Self| {
            ask.files.get(&serial).is_some_and(|files| matches!(files.known.get(file), Some(None)))
        };
        while is_asked(self) {
            let until = *self.waiting.front()? + PATIENCE;
            if !self.hear(until.checked_duration_since(Instant::now())) {
                break;
            }
        }
        self.files.get(&serial)?.known.get(file)?.as_ref()
    }

    /// Answers so far.
    pub(in crate::fact::python) fn answers(&mut self) -> u64 {
        self.hear(None);
        self.answers
    }

    /// Forgets processes.
    pub(in crate::fact::python) fn retain(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.files.retain(|serial, _| is_kept(*serial));
    }

    /// What was found to be own code since this was asked last.
    pub(in crate::fact::python) fn take_own(&mut self) -> Vec<OwnCode> {
        std::mem::take(&mut self.untold)
    }

    /// Takes the next answers; waits so long for one. Says whether there was one.
    fn hear(&mut self, patience: Option<Duration>) -> bool {
        let Some(thread) = &self.thread else { return false };
        let first = match patience {
            Some(patience) => thread.answers.recv_timeout(patience).ok(),
            None => thread.answers.try_recv().ok(),
        };
        let Some(first) = first else { return false };
        let answers: Vec<Answer> = std::iter::once(first).chain(thread.answers.try_iter()).collect();
        for answer in answers {
            self.note(answer);
        }
        true
    }

    fn note(&mut self, answer: Answer) {
        self.waiting.pop_front();
        self.answers += 1;
        let Some(files) = self.files.get_mut(&answer.serial) else { return };
        for (file, known, own) in answer.files {
            if let Some(own) = own.filter(|own| self.told.len() < MAX_OWN && !self.told.contains(own)) {
                self.told.push(own.clone());
                self.untold.push(own);
            }
            files.bytes += known.whole.as_ref().map_or(0, String::len);
            files.known.insert(file, Some(known));
        }
    }
}

/// Begins the thread. It ends with the asker.
fn begin(own: &[String]) -> Option<Line> {
    let own: Arc<[Named]> = own.iter().map(|text| Named::of(text)).collect();
    let (questions, asked) = sync_channel::<Question>(MAX_QUESTIONS);
    // As many answers as can wait, so that it never waits itself.
    let (answer, answers) = sync_channel(MAX_QUESTIONS + 1);
    let mut desk = Desk { own, ..Desk::default() };
    let thread = std::thread::Builder::new().name("whose code".to_owned()).spawn(move || {
        let mut budget = Budget::with_savings(SAVED);
        while let Ok(question) = asked.recv() {
            if let Some(pause) = budget.pause() {
                std::thread::sleep(pause);
            }
            let spent = Spent::begin();
            let answered = desk.answer(question);
            budget.spend(spent);
            if answer.send(answered).is_err() {
                return;
            }
        }
    });
    thread.ok().map(|_| Line { questions, answers })
}

/// The thread's end of it.
#[derive(Default)]
struct Desk {
    own: Arc<[Named]>,
    processes: HashMap<u64, Owners>,
    /// By mount namespace and root: processes of one see the same files.
    roots: HashMap<(String, String), Folders>,
}

impl Desk {
    fn answer(&mut self, question: Question) -> Answer {
        let Question { process: (serial, tgid), proc, files } = question;
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&serial) {
            self.processes.clear();
        }
        if self.roots.len() >= MAX_ROOTS {
            self.roots.clear();
        }
        let owners =
            self.processes.entry(serial).or_insert_with(|| Owners::of(&proc, tgid, Arc::clone(&self.own)));
        let link = |name: &str| read::link(&proc.of(tgid, name)).unwrap_or_default();
        let folders = self.roots.entry((link("ns/mnt"), link("root"))).or_default();
        let decide = |file: String| {
            let whole = owners.whole(&proc, tgid, &file);
            let Decided { whose, own } =
                owners.decide(&proc, tgid, whole.as_deref().unwrap_or(&file), folders);
            (file, Known { whole, whose }, own)
        };
        Answer { serial, files: files.into_iter().map(decide).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(answer: impl FnOnce(&Receiver<Question>, &SyncSender<Answer>) + Send + 'static) -> Ask {
        let (questions, asked) = sync_channel(1);
        let (sender, answers) = sync_channel(1);
        std::thread::spawn(move || answer(&asked, &sender));
        Ask { thread: Some(Line { questions, answers }), ..Ask::default() }
    }

    fn answer_to(question: &Question) -> Answer {
        let known = || Known { whole: None, whose: Whose::Own };
        let own = || Some(OwnCode { what: "/srv".to_owned(), by: OwnBy::Unlisted });
        let files = question.files.iter().map(|file| (file.clone(), known(), own())).collect();
        Answer { serial: question.process.0, files }
    }

    fn asked(ask: &mut Ask, file: &str) -> Option<Whose> {
        ask.files(&Proc::default(), (1, 9), [file, file].into_iter());
        ask.known(1, file).map(|known| known.whose)
    }

    #[test]
    fn an_answer_is_remembered_and_what_is_own_is_told_once() {
        let mut ask = ask(|asked, answers| {
            for question in asked {
                assert_eq!(question.files.len(), 1, "a file twice");
                let _ = answers.send(answer_to(&question));
            }
        });
        // A busy machine may take longer than one is patient.
        while asked(&mut ask, "a.py").is_none() {}
        while asked(&mut ask, "b.py").is_none() {}
        assert_eq!(ask.files[&1].known.len(), 2);
        assert_eq!((ask.take_own().len(), ask.take_own().len()), (1, 0));
        ask.retain(|serial| serial != 1);
        assert_eq!(ask.known(1, "a.py"), None);
    }

    #[test]
    fn a_thread_that_hangs_keeps_nobody_waiting_and_what_finds_no_room_is_said() {
        let (end, ended) = sync_channel::<()>(1);
        let mut ask = ask(move |asked, answers| {
            let first = asked.recv();
            let _ = ended.recv();
            let answered = first.map(|first| answers.send(answer_to(&first)));
            assert!(answered.is_ok());
            let _ = ended.recv();
        });
        assert_eq!(asked(&mut ask, "0.py"), None);
        let refused = |file: u32, ask: &mut Ask| {
            let name = format!("{file}.py");
            let has_room = ask.files(&Proc::default(), (1, 9), [name.as_str()].into_iter());
            assert_eq!(ask.known(1, &name), None);
            !has_room
        };
        assert!((1..20).filter(|file| refused(*file, &mut ask)).count() >= 17);
        end.send(()).expect("it waits");
        while ask.known(1, "0.py").is_none() {
            ask.hear(Some(PATIENCE));
        }
    }

    #[test]
    fn the_thread_says_whose_files_of_this_process_are() {
        let mut ask = Ask::with_own(&["/nowhere/shop".to_owned()]);
        let process = (1, std::process::id());
        while ask.known(1, "/nowhere/shop/a.py").is_none() {
            ask.files(&Proc::default(), process, ["/nowhere/shop/a.py", "<string>"].into_iter());
        }
        let whose = |file| ask.files[&1].known[file].as_ref().map(|known| known.whose);
        assert_eq!(
            (whose("/nowhere/shop/a.py"), whose("<string>")),
            (Some(Whose::Own), Some(Whose::Standard))
        );
        let own = OwnCode { what: "/nowhere/shop".to_owned(), by: OwnBy::Option };
        assert_eq!(ask.take_own(), [own]);
    }
}
