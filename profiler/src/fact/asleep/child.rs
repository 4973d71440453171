//! Children that threads wait for.
//!
//! In: which child a call names. Out: [`ObjectSeen`]. A process in a PID namespace of its own numbers its
//! children by that.

use profiler_core::fact::asleep::ObjectSeen;

use super::argument::Child;
use super::fdinfo::FdInfo;
use super::{Found, Reader};
use crate::fact::read;

/// Threads of a process whose children are looked at.
const MAX_THREADS: usize = 256;
/// Children looked at.
const MAX_CHILDREN: usize = 64;
/// Bytes of a list of children.
const MAX_BYTES: u64 = 64 * 1024;

impl Reader {
    /// The child that is waited for; `None`: it is not one alone, or not found.
    pub(super) fn child(&self, tgid: u32, which: Child) -> Option<Found> {
        let child = match which {
            Child::Descriptor(fd) => {
                FdInfo::read(&self.proc.of(tgid, &format!("fdinfo/{}", u32::try_from(fd).ok()?)))?.process
            }
            Child::Number(number) if self.is_child(tgid, number, number) => Some(number),
            Child::Number(number) => {
                self.children(tgid).into_iter().find(|child| self.is_child(tgid, *child, number))
            }
            Child::Any => match self.children(tgid).as_slice() {
                [child] => Some(*child),
                _ => None,
            },
        }?;
        self.process(child).map(|process| ObjectSeen::Child(process).into())
    }

    fn children(&self, tgid: u32) -> Vec<u32> {
        let threads = read::numbers(&self.proc.of(tgid, "task"), MAX_THREADS).unwrap_or_default();
        let of_thread = |tid: u32| {
            let text = read::text(&self.proc.of(tgid, &format!("task/{tid}/children")), MAX_BYTES);
            let text = text.unwrap_or_default();
            text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>()
        };
        threads.into_iter().flat_map(of_thread).take(MAX_CHILDREN).collect()
    }

    /// Whether a process is a child of another, which calls it by that number.
    fn is_child(&self, parent: u32, tgid: u32, number: u32) -> bool {
        let text = read::text(&self.proc.of(tgid, "status"), 16 * 1024).unwrap_or_default();
        let words = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let last =
            |name: &str| words(name).split_ascii_whitespace().last().and_then(|word| word.parse().ok());
        last("PPid:") == Some(parent) && last("NSpid:") == Some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fact::Proc;
    use crate::fact::asleep::Looks;

    #[test]
    fn a_child_is_found_by_the_number_that_its_parent_has_for_it_or_if_it_is_the_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (tgid, parent, number) in [(11, 7, "11"), (12, 7, "12\t3"), (13, 8, "13")] {
            fs::create_dir_all(at(&format!("{tgid}/task/{tgid}"))).unwrap();
            fs::write(at(&format!("{tgid}/comm")), format!("c{tgid}\n")).unwrap();
            fs::write(
                at(&format!("{tgid}/status")),
                format!("Name:\tPPid: 9\nPPid:\t{parent}\nNSpid:\t{number}\n"),
            )
            .unwrap();
        }
        for (tgid, children) in [(7, "11 12 "), (8, "13")] {
            fs::create_dir_all(at(&format!("{tgid}/task/{tgid}"))).unwrap();
            fs::write(at(&format!("{tgid}/task/{tgid}/children")), children).unwrap();
        }
        let reader = Reader::new(Proc::at(directory.path()), Looks::All);
        let child = |tgid, which| {
            reader.child(tgid, which).map(|found| match found.object {
                ObjectSeen::Child(process) => process.tgid,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(child(7, Child::Number(11)), Some(11));
        assert_eq!(child(7, Child::Number(3)), Some(12));
        assert_eq!(child(7, Child::Number(13)), None, "another's");
        assert_eq!(child(7, Child::Any), None, "one of two");
        assert_eq!(child(8, Child::Any), Some(13));
    }
}
