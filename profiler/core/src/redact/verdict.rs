//! What redaction does with a byte.
//!
//! In: nothing. Out: the verdicts that its state machines give.

/// What becomes of a byte.
pub(super) enum Verdict {
    Keep,
    /// Kept, and an element (start line, header name, token) begins here.
    Begin,
    Hide,
    /// Hidden, with all of its element that is still at hand.
    HideElement,
    /// Kept, but the element before it is hidden.
    HideBefore,
}
