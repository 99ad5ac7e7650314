//! Messages in the corner.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::{
        event::{Notice, NoticeLevel},
        time::Stamp,
    },
    tui::{
        action::Action,
        keymap::Context,
        overlay::toast::{MOST, Toast},
    },
};

use super::Model;

/// How long a message stays in the corner.
pub(super) const TOAST_TIME: Duration = Duration::from_secs(6);

impl Model {
    /// Shows a message in the corner for a while.
    pub fn toast(&mut self, level: NoticeLevel, text: impl Into<String>) {
        let until = self.now.max(self.feed.last).plus(TOAST_TIME);
        self.toasts.push(Toast { level, text: text.into(), until });
        let surplus = self.toasts.len().saturating_sub(MOST);
        self.toasts.drain(..surplus);
    }

    /// What went wrong before the console was there (a line of the configuration, say) is told too.
    pub(super) fn tell_earlier_notices(&mut self) {
        let bad = self.feed.read_model.notices.iter().filter(|(_, notice)| notice.level > NoticeLevel::Info);
        let bad: Vec<Arc<Notice>> = bad.map(|(_, notice)| notice.clone()).collect();
        self.feed.last = self.feed.read_model.notices.back().map_or(Stamp::default(), |(at, _)| *at);
        for notice in bad.iter().skip(bad.len().saturating_sub(MOST)) {
            self.notice(notice);
        }
    }

    /// Shows a notice in the corner; its further lines are in the list.
    pub(super) fn notice(&mut self, notice: &Notice) {
        let mut text = notice.text.clone();
        if let Some(first) = notice.detail.first() {
            let key = self.keymap.key(&[Context::Global], Action::Notices).unwrap_or_default();
            text.push_str(&format!("\n{first}{}", if notice.detail.len() > 1 { format!(" ({key}: all of it)") } else { String::new() }));
        }
        self.toast(notice.level, text);
    }

    /// Says how to bring back what was cleared.
    pub(super) fn say_undo(&mut self, cleared: bool) {
        if let Some(key) = self.keymap.key(self.contexts(), Action::Undo).filter(|_| cleared) {
            self.toast(NoticeLevel::Info, format!("Cleared. {key} brings it back."));
        }
    }
}
