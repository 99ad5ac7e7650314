//! Toasts: messages in the corner.

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

/// How long a toast stays.
pub(super) const TOAST_TIME: Duration = Duration::from_secs(6);

impl Model {
    /// Shows a toast.
    pub fn toast(&mut self, level: NoticeLevel, text: impl Into<String>) {
        let until = self.session.time().plus(TOAST_TIME);
        self.toasts.push(Toast { level, text: text.into(), until });
        let surplus = self.toasts.len().saturating_sub(MOST);
        self.toasts.drain(..surplus);
    }

    /// Shows notices from before the console started, such as an error in the configuration.
    pub(super) fn tell_earlier_notices(&mut self) {
        let bad = self.session.read_model().notices.iter().filter(|(_, notice)| notice.level > NoticeLevel::Info);
        let bad: Vec<Arc<Notice>> = bad.map(|(_, notice)| notice.clone()).collect();
        self.session.mirror.last = self.session.read_model().notices.back().map_or(Stamp::default(), |(at, _)| *at);
        for notice in bad.iter().skip(bad.len().saturating_sub(MOST)) {
            self.notice(notice);
        }
    }

    /// Shows a notice in the corner; its detail is in the list of notices.
    pub(super) fn notice(&mut self, notice: &Notice) {
        let mut text = notice.text.clone();
        if let Some(first) = notice.detail.first() {
            let key = self.session.keymap.key(&[Context::Global], Action::Notices).unwrap_or_default();
            text.push_str(&format!("\n{first}{}", if notice.detail.len() > 1 { format!(" ({key} for details)") } else { String::new() }));
        }
        self.toast(notice.level, text);
    }

    /// Names the key that undoes a cleared form.
    pub(in crate::tui) fn say_undo(&mut self, cleared: bool) {
        if let Some(key) = self.session.keymap.key(self.contexts(), Action::Undo).filter(|_| cleared) {
            self.toast(NoticeLevel::Info, format!("Cleared. {key} undoes this."));
        }
    }
}
