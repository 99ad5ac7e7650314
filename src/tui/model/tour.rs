//! Performs the tour of the demo, until its end or the first key.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    domain::{event::NoticeLevel, time::Stamp},
    tui::{
        input::Input,
        msg::Cmd,
        tour::{Does, STEPS},
    },
};

use super::Model;

/// The step that is shown, and until when; nothing before the first tick.
pub struct Tour(Option<(usize, Stamp)>);

impl Model {
    /// Starts the tour.
    pub(super) fn begin_tour(&mut self) {
        self.tour = Some(Tour(None));
    }

    /// Returns the step of the tour that is shown.
    pub fn tour_step(&self) -> Option<usize> {
        self.tour.as_ref().map(|tour| tour.0.map_or(0, |(at, _)| at))
    }

    /// Goes to the next step when it is due.
    pub(super) fn tour_more(&mut self) -> Vec<Cmd> {
        let now = self.session.time();
        let at = match &self.tour {
            None => return vec![],
            Some(Tour(None)) => 0,
            Some(Tour(Some((_, until)))) if now < *until => return vec![],
            Some(Tour(Some((at, _)))) => at + 1,
        };
        let Some(step) = STEPS.get(at) else {
            self.tour = None;
            return vec![];
        };
        self.tour = Some(Tour(Some((at, now.plus(std::time::Duration::from_secs(step.seconds))))));
        step.does.iter().flat_map(|does| self.tour_does(*does)).collect()
    }

    fn tour_does(&mut self, does: Does) -> Vec<Cmd> {
        match does {
            Does::Act(action) => self.act(action),
            Does::Type(text) => {
                let key = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
                text.chars().flat_map(|c| self.key(key(c))).collect()
            }
        }
    }

    /// Ends the tour with the first key or click of the user. Returns whether it did: that key does nothing else.
    pub(super) fn ends_tour(&mut self, input: &Input) -> bool {
        let pressed = match input {
            Input::Key(_) | Input::Paste(_) => true,
            Input::Mouse(event) => matches!(event.kind, crossterm::event::MouseEventKind::Down(_)),
            _ => false,
        };
        let ends = pressed && self.tour.take().is_some();
        if ends {
            self.toast(NoticeLevel::Info, "The tour has ended. ? lists all keys.");
        }
        ends
    }
}
