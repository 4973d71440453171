//! What the reader looks at: place, list, order, filter, row.
//!
//! In: actions. Out: a changed [`Look`]. It holds no numbers, so that it survives every new moment.

use std::sync::Arc;

use super::list::{EndpointKey, Key, ListKind};
use super::model::Kept;

/// Longest filter.
const MAX_FILTER_CHARS: usize = 60;

/// Where the reader is.
#[derive(Clone, Debug)]
pub enum Page {
    /// Everything at a glance.
    Overview,
    /// One endpoint and its requests.
    Endpoint(EndpointKey),
    /// One request over time.
    Request(Arc<Kept>),
    /// A section of the report, by its id; `None`: all of them.
    Section(Option<&'static str>),
    /// What a finding says here, by its id, and what it means.
    Finding(&'static str),
    /// The keys.
    Help,
}

/// What the reader looks at.
#[derive(Clone, Debug)]
pub struct Look {
    /// Places gone through, the present one last.
    pub pages: Vec<Page>,
    /// List at the bottom of the overview.
    pub list: ListKind,
    /// Column by which each list is sorted, by the list's number.
    pub sort: [usize; ListKind::ALL.len()],
    /// What rows must contain.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// Row that the keys act on: what it is, and where it was.
    pub selected: (Option<Key>, usize),
    /// First line shown of a text.
    pub scroll: usize,
    /// Nothing new is shown.
    pub paused: bool,
    /// Something to say, until the next key.
    pub notice: Option<String>,
    /// A report can be written to a file.
    pub can_write: bool,
    /// The source is a recording, which can be stepped.
    pub can_step: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            pages: vec![Page::Overview],
            list: ListKind::Endpoints,
            sort: [0; ListKind::ALL.len()],
            filter: String::new(),
            typing: false,
            selected: (None, 0),
            scroll: 0,
            paused: false,
            notice: None,
            can_write: false,
            can_step: false,
        }
    }
}

impl Look {
    /// Where the reader is.
    pub fn page(&self) -> &Page {
        self.pages.last().unwrap_or(&Page::Overview)
    }

    /// The list that this place shows, if it shows one.
    pub fn shown_list(&self) -> Option<ListKind> {
        match self.page() {
            Page::Overview => Some(self.list),
            Page::Endpoint(_) => Some(ListKind::Requests),
            Page::Request(_) | Page::Section(_) | Page::Finding(_) | Page::Help => None,
        }
    }

    /// Goes to a place.
    pub fn enter(&mut self, page: Page) {
        self.pages.push(page);
        self.rewind();
    }

    /// Goes back; `false`: there is nowhere to go.
    pub fn back(&mut self) -> bool {
        if self.pages.len() < 2 {
            return false;
        }
        self.pages.pop();
        self.rewind();
        true
    }

    /// Shows another list.
    pub fn turn_to(&mut self, list: ListKind) {
        self.list = list;
        self.rewind();
    }

    /// Sorts the list that is shown by its next column.
    pub fn sort_by_next(&mut self) {
        let Some(list) = self.shown_list() else { return };
        if let Some(column) = self.sort.get_mut(list as usize) {
            *column = (*column + 1) % list.orders().len().max(1);
        }
        self.rewind();
    }

    /// Sorts a list by the column of this name, if it has one.
    pub fn sort_by(&mut self, list: ListKind, column: &str) {
        let place = list.orders().iter().position(|order| *order == column);
        if let (Some(sort), Some(place)) = (self.sort.get_mut(list as usize), place) {
            *sort = place;
        }
    }

    /// Name of the order of a list.
    pub fn order_of(&self, list: ListKind) -> &'static str {
        let column = self.sort.get(list as usize).copied().unwrap_or(0);
        list.orders().get(column).copied().unwrap_or_default()
    }

    /// Types a letter of the filter.
    pub fn type_letter(&mut self, letter: char) {
        if self.filter.chars().count() < MAX_FILTER_CHARS && !letter.is_control() {
            self.filter.push(letter);
            self.rewind();
        }
    }

    /// Takes the last letter of the filter back.
    pub fn untype(&mut self) {
        self.filter.pop();
        self.rewind();
    }

    /// Whether a row with this text is wanted; capitals do not count.
    pub fn wants(&self, text: &str) -> bool {
        self.filter.is_empty() || text.to_lowercase().contains(&self.filter.to_lowercase())
    }

    fn rewind(&mut self) {
        self.selected = (None, 0);
        self.scroll = 0;
    }
}
