//! The system call that a sleeping thread is in.
//!
//! In: the text of `/proc/PID/task/TID/syscall`, the names of the kernel's functions on its stack. Out:
//! [`Call`].

use profiler_common::system_call::arm64;

use super::Refused;

/// `restart_syscall`: a signal interrupted a call with a time limit, and it goes on.
const RESTART: u32 = 219;
/// Which call that is, by the function that goes on with it.
const RESTARTS: [(&str, u32); 4] = [
    ("do_restart_poll", 7),
    ("hrtimer_nanosleep_restart", 35),
    ("futex_wait_restart", 202),
    ("alarm_timer_nsleep_restart", 230),
];

/// A system call and its arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// Its number on the table of `x86_64`; `None`: the thread is in none.
    pub(super) number: Option<u32>,
    /// What was in the registers of arguments.
    pub(super) arguments: [u64; 6],
}

impl Call {
    /// Of the text. A thread that runs has nothing to say.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let mut words = text.split_ascii_whitespace();
        let number = match words.next().ok_or(Refused::Malformed)? {
            "running" => return Err(Refused::Awake),
            "-1" => return Ok(Self::default()),
            number => number.parse().ok().ok_or(Refused::Malformed)?,
        };
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            let word = words.next().and_then(|word| word.strip_prefix("0x")).ok_or(Refused::Malformed)?;
            *argument = u64::from_str_radix(word, 16).ok().ok_or(Refused::Malformed)?;
        }
        let number = if cfg!(target_arch = "aarch64") { arm64::recorded(number) } else { number };
        Ok(Self { number: Some(number), arguments })
    }

    /// With the call that goes on in place of the one that restarts it. Its registers are still the first
    /// one's.
    pub(super) fn restarted(mut self, stack: &[String]) -> Self {
        if self.number == Some(RESTART) {
            let found = RESTARTS.iter().find(|(function, _)| stack.iter().any(|name| name == function));
            self.number = found.map_or(self.number, |(_, number)| Some(*number));
        }
        self
    }

    /// As many as a look keeps.
    pub(super) const fn first_three(&self) -> [u64; 3] {
        let [first, second, third, ..] = self.arguments;
        [first, second, third]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_and_arguments_are_read_and_what_runs_has_none() {
        let text = "0 0x3 0x7f697e8b19a0 0x1 0x7f697e8d8130 0x0 0x0 0x7fff816c50d8 0x7f697eb0d2ad\n";
        let call = Call::parse(text).unwrap();
        assert_eq!(call.arguments, [3, 0x7f69_7e8b_19a0, 1, 0x7f69_7e8d_8130, 0, 0]);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(call.number, Some(0));
        }
        assert_eq!(Call::parse("-1 0x7fff140879a0 0x7f46c5efcc77\n").unwrap(), Call::default());
        assert!(matches!(Call::parse("running\n"), Err(Refused::Awake)));
        for broken in ["", "x", "0", "0 0x1 0x2", "0 1 2 3 4 5 6", "99999999999 0x1 0x1 0x1 0x1 0x1 0x1"] {
            assert!(matches!(Call::parse(broken), Err(Refused::Malformed)), "{broken}");
        }
    }

    #[test]
    fn a_call_that_goes_on_after_a_signal_is_the_one_that_it_was() {
        let call = Call { number: Some(RESTART), arguments: [1, 2, 3, 4, 5, 6] };
        let stack = ["do_poll", "do_sys_poll", "do_restart_poll"].map(str::to_owned);
        assert_eq!(call.restarted(&stack), Call { number: Some(7), ..call });
        assert_eq!(call.restarted(&[]), call);
    }
}
