//! The graph of a workflow while it runs, and of one that failed and was undone.

use super::{picture, setup, type_keys};
use crate::{
    domain::id::CallId,
    generated_docs::compare_or_update,
    tui::{
        model::{Model, Setup},
        msg::Msg,
        test_support::{self, runs},
        theme::Theme,
    },
};

/// A console with the demo's workflows at `now`: one run ended well, one failed and was undone, one is running.
pub(super) fn model_at(now: u64) -> Model {
    let setup = Setup { workflows: runs::library(), ..setup("shop.toml", Theme::dark()) };
    let mut model = Model::new(setup, test_support::shop_state(), (132, 40));
    let events = runs::several(model.read_model().seq);
    model.at(test_support::at(now));
    model.update(Msg::Events(events));
    assert!(model.read_model().call(CallId(5_100)).is_some());
    model
}

#[test]
fn pictures_of_workflows_are_what_the_program_shows() {
    let taken = [
        ("workflow-running", "5jj\tjj", &["notify_all", "1 running", "✕"][..]),
        ("workflow-undone", "5\tj", &["onboard_new_user", "compensated"]),
    ];
    for (name, keys, caption) in taken {
        let mut model = model_at(14_300);
        type_keys(&mut model, keys);
        compare_or_update(&format!("assets/screens/{name}.svg"), &picture(&mut model, caption));
    }
}
