//! Where the endpoint that computes most does that, as the end of a sentence.
//!
//! In: samples of a snapshot. Out: a clause, where there are enough of them.

use super::words::{code_line, percent, ratio};
use super::{add_where_room, gil};
use crate::model::Snapshot;
use crate::model::computed::{line_of, standard_error};
use crate::model::gil::Contender;

/// Characters of a name.
const NAME_CHARS: usize = 40;
/// A share whose error is larger is not told.
const MAX_ERROR: f64 = 0.05;
/// A smaller share is not worth a clause.
const MIN_SHARE: f64 = 0.2;

/// `; GET /report computes 62 % in render (shop/views.py:88)`.
pub(super) fn add(sentence: &mut String, snapshot: &Snapshot) {
    let Some((endpoint, computed, most)) = snapshot.chains.computes_most() else { return };
    let share = ratio(most.samples, computed.samples);
    let is_sure = standard_error(most.samples, computed.samples).is_some_and(|error| error <= MAX_ERROR);
    let Some(frame) = snapshot.chains.place(Some(most.place)).and_then(line_of) else { return };
    if !is_sure || share < MIN_SHARE {
        return;
    }
    let clause = format!(
        "; {} computes {} in {}",
        gil::subject(&Contender::Endpoint(endpoint.to_owned())),
        percent(share),
        code_line(&frame.function, &frame.file, frame.line, NAME_CHARS),
    );
    add_where_room(sentence, &clause);
}
