//! What an epoll instance waits for, by the classes of what is on its list.
//!
//! In: entries of the list that come and go. Out: [`Interest`].

use crate::fact::DescriptorClass;

/// What an epoll instance waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// A listener is in the list.
    pub listener: bool,
    /// A listener is registered for one event only (`EPOLLONESHOT`).
    pub is_one_shot: bool,
    /// Number of client connections in the list.
    pub clients: usize,
    /// Number of back-end sockets in the list.
    pub backends: usize,
    /// Number of anything else in the list.
    pub others: usize,
    /// The client's descriptor, where there is exactly one client and nothing else.
    pub only_client: Option<i32>,
}

impl Interest {
    /// An entry more. `None`: a number that is no longer open. The kernel removed it at close.
    pub(super) fn add(&mut self, fd: i32, class: Option<DescriptorClass>, is_one_shot: bool) {
        match class {
            None => return,
            Some(DescriptorClass::Listener) => {
                self.listener = true;
                self.is_one_shot |= is_one_shot;
            }
            Some(DescriptorClass::Client) => self.clients += 1,
            Some(DescriptorClass::Backend { .. }) => self.backends += 1,
            Some(_) => self.others += 1,
        }
        self.only_client = self.is_one_client().then_some(fd);
    }

    /// An entry less. Returns whether all is known of the rest: not which client is the only one, nor whether
    /// there is another listener.
    pub(super) fn remove(&mut self, class: Option<DescriptorClass>) -> bool {
        let count = match class {
            None => return true,
            Some(DescriptorClass::Listener) => return false,
            Some(DescriptorClass::Client) => &mut self.clients,
            Some(DescriptorClass::Backend { .. }) => &mut self.backends,
            Some(_) => &mut self.others,
        };
        *count = count.saturating_sub(1);
        self.only_client = None;
        !self.is_one_client()
    }

    const fn is_one_client(&self) -> bool {
        self.clients == 1 && !self.listener && self.backends + self.others == 0
    }
}
