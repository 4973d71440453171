//! Everything that did not reach the numbers.
//!
//! In: one row for each count. Out: [`Losses`], and [`LossCount`]: what every output says of a count.

use crate::fact::Counters;

/// What a count says was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing: it does not make a report incomplete.
    Nothing,
    /// Records: it is a cause of the metric `records_lost`.
    Records,
    /// Parts of a recording.
    Parts,
}

/// One count of [`Losses`].
#[derive(Clone, Copy, Debug)]
pub struct LossCount {
    /// Its key in JSON, and its label in metrics.
    pub key: &'static str,
    /// What it says was lost.
    pub lost: Lost,
    /// Its column of the table `windows`, if it has one.
    pub column: Option<&'static str>,
    /// What the text report calls it.
    pub word: &'static str,
    /// What it counts: the words behind the number.
    pub what: &'static str,
    /// What else is said of it in JSON.
    pub note: &'static str,
    /// Its value.
    pub of: fn(&Losses) -> u64,
}

impl LossCount {
    /// All of them, in the order of reports.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OF_THE_RUN.iter().chain(Self::OF_THE_RECORDING).copied()
    }

    /// What it counts, as a sentence.
    pub fn sentence(&self) -> String {
        let (first, rest) = self.what.split_at_checked(1).unwrap_or_default();
        format!("{}{rest}.", first.to_uppercase())
    }
}

macro_rules! losses {
    ($($group:ident $about:literal { $($key:ident: $lost:ident, $column:expr, $word:literal, $what:literal, $note:literal;)* })*) => {
        /// Everything that did not reach the numbers.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Losses {
            /// Kernel-side counters at the end.
            pub kernel: Counters,
            $($(#[doc = $what] pub $key: u64,)*)*
            /// Transitions that should be impossible, by name.
            pub impossible: Vec<(String, u64)>,
            /// The recording ended before the window did.
            pub recording_truncated: bool,
        }

        impl LossCount {
            $(
                #[doc = $about]
                pub const $group: &[Self] = &[$(Self {
                    key: stringify!($key),
                    lost: Lost::$lost,
                    column: $column,
                    word: $word,
                    what: $what,
                    note: $note,
                    of: |losses| losses.$key,
                }),*];
            )*
        }
    };
}

losses! {
    OF_THE_RUN "What a run counts." {
        undecided_waits: Nothing, None, "undecided",
            "waits whose end was not seen: their sleep, run queue and CPU time cannot be distinguished",
            "Nothing is lost by them.";
        malformed: Records, Some("records_malformed"), "malformed", "records that could not be decoded", "";
        late: Records, Some("records_late"), "late", "records that came too late to be put in order", "";
        sequence_holes: Records, Some("sequence_holes"), "holes", "events missing by their sequence numbers", "";
        evicted: Records, Some("evicted"), "evicted",
            "times something was not kept because its table was full",
            "Each table holds something else: it says that something is missing, not how much.";
        crowded: Nothing, None, "crowded",
            "times an event loop was about more requests than are remembered: more time is unexplained, nothing is lost",
            "";
        sleeps_left_out: Nothing, None, "not looked at",
            "sleeps of 50 ms and more that were not looked at, as there were too many at a time",
            "What such a thread waited for is known only as far as its calls show it.";
        looks_refused: Nothing, None, "looks that failed",
            "sleeping threads that could not be looked at: their process was gone, or may not be read", "";
        looks_unplaced: Nothing, None, "looks without a line",
            "sleeping threads of which there was no time or no room to read where in Python they were",
            "What they waited for is known all the same.";
    }
    OF_THE_RECORDING "What reading a recording counts." {
        unreadable_bytes: Parts, Some("unreadable_bytes"), "unreadable",
            "bytes of the recording that could not be read", "";
        unreadable_items: Parts, Some("unreadable_items"), "not understood",
            "records and facts of the recording that could not be read", "They lie in readable parts.";
        missing_items: Parts, Some("missing_items"), "missing",
            "records and facts that the recording's end counts and that were not read", "0 where it has no end.";
    }
}

impl Losses {
    /// Whether anything at all was lost.
    pub fn any(&self) -> bool {
        self.kernel.lost.iter().any(|(_, count)| *count > 0)
            || self.kernel.recursion_misses.iter().any(|(_, count)| *count > 0)
            || LossCount::all().any(|count| count.lost != Lost::Nothing && (count.of)(self) > 0)
            || self.recording_truncated
    }
}
