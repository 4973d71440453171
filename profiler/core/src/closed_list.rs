//! Closed lists of kinds: one row a kind.
//!
//! In: rows of a name in the code, a name in outputs and a meaning. Out: the enum and what is known of each
//! kind.

/// An enum whose kinds are named and described in one row each.
macro_rules! closed_list {
    ($(#[$meta:meta])* pub enum $list:ident { $($kind:ident = $name:literal: $meaning:literal,)* }) => {
        $(#[$meta])*
        pub enum $list { $(#[doc = $meaning] $kind,)* }

        impl $list {
            /// Number of kinds.
            pub const COUNT: usize = [$($name),*].len();

            /// All kinds, in the order of reports.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$kind),*];

            /// Name in every output.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            /// What it means, as a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning),* }
            }
        }
    };
}
