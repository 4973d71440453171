//! `place` of a leaf and of a hop: where in Python a thread waited.
//!
//! In: a place of a snapshot. Out: a serialisable view of it.

use profiler_core::fact::place::{PlaceSeen, PythonFrame};

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
