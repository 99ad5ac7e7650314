//! The graph of a workflow while it runs, and after a failure that was undone.

use crossterm::event::KeyCode;

use super::{hold, picture, press};
use crate::{
    domain::id::CallId,
    tui::{
        Startup,
        keymap::Keymap,
        model::{Model, Setup},
        msg::Msg,
        test_support::{self, runs},
        theme::Theme,
    },
};

pub(super) fn told(now: u64) -> Model {
    let setup = Setup {
        theme: Theme::dark(),
        keymap: Keymap::built_in(),
        mouse: true,
        title: "shop.toml".into(),
        startup: Startup::Normal,
        confirm: Default::default(),
        recall: Default::default(),
        workflows: runs::library(),
        invocation: Default::default(),
    };
    let mut model = Model::new(setup, test_support::shop_state(), (132, 40));
    let events = runs::several(model.read_model().seq);
    model.at(test_support::at(now));
    model.update(Msg::Events(events));
    assert!(model.read_model().call(CallId(5_100)).is_some());
    model
}

#[test]
fn pictures_of_workflows_are_what_the_program_shows() {
    for (name, keys) in [("workflow-running", "5jj\tjj"), ("workflow-undone", "5j\tjj")] {
        let mut model = told(14_300);
        for key in keys.chars() {
            press(&mut model, if key == '\t' { KeyCode::Tab } else { KeyCode::Char(key) });
        }
        hold(&format!("assets/screens/{name}.svg"), &picture(&mut model, "switchboard"));
    }
}
