//! `place` of a leaf and of a hop: where in Python a thread waited; `own_code`: whose lines are shown.
//!
//! In: a place of a snapshot, what is own code. Out: serialisable views of them.

use profiler_core::fact::place::{OwnCode, PlaceSeen, PythonFrame};

view! {
    /// The frames of a thread, read while it slept.
    pub(super) struct PlaceView<'a>(place: &'a PlaceSeen) {
        /// The frames, the innermost first.
        frames: Vec<FrameView<'a>> = place.frames.iter().map(FrameView::new).collect(),
        /// There are more frames further out.
        is_cut: bool = place.is_cut,
    }
}

view! {
    pub(super) struct OwnCodeView<'a>(own: &'a OwnCode) {
        /// The package, or the path of a folder or file.
        what: &'a str = &own.what,
        /// What decided it.
        #[cfg_attr(test, schemars(extend("examples" = profiler_core::fact::place::OwnBy::ALL.map(profiler_core::fact::place::OwnBy::name))))]
        by: &'static str = own.by.name(),
    }
}

view! {
    struct FrameView<'a>(frame: &'a PythonFrame) {
        /// The file.
        file: &'a str = &frame.file,
        /// Line in the file; null: the instruction is of no line.
        line: Option<u32> = (frame.line > 0).then_some(frame.line),
        /// Qualified name of the function; before Python 3.11 its name.
        function: &'a str = &frame.function,
        /// Whose code it is.
        #[cfg_attr(test, schemars(extend("examples" = profiler_core::fact::place::Whose::ALL.map(profiler_core::fact::place::Whose::name))))]
        whose: &'static str = frame.whose.name(),
    }
}
